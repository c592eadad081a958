"""Kernels, mixtures, lists, ratings and reliability on torch: equal numbers, gradients, learned parts by annotator."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from preflearn.choice import (  # noqa: E402
    Binary,
    ClassLabel,
    Flip,
    Margin,
    Ordinal,
    OrdinalRating,
    Scaled,
    kernels,
    listwise,
    mixture,
    one_hot,
    plackett_luce,
    reliability,
    segment_sum,
    smoothed_target,
    strength,
)
from preflearn.choice.margin import scaled, with_margin  # noqa: E402
from preflearn.choice.modules import AnnotatorFlip, AnnotatorLink, LinkModule  # noqa: E402
from preflearn.choice.multitask import min_norm  # noqa: E402
from preflearn.choice.rating import Gaussian  # noqa: E402
from preflearn.choice.stable import log_softmax  # noqa: E402

RNG = np.random.default_rng(0)
A, B, POINT = RNG.normal(size=(3, 8, 6))
GATE, POSITIVE = RNG.normal(size=(8, 3)), RNG.uniform(0.1, 2, (8, 6))
LOG_P, UNIT = np.log(RNG.uniform(0.05, 0.95, (8, 3))), np.array([0, 2, 1, 0, 0, 2, 4, 1])
SHARES = RNG.dirichlet(np.ones(3), 8)
RELEVANCE, MASK = RNG.integers(0, 4, (8, 6)).astype(float), RNG.random((8, 6)) < 0.8
MASK[:, 0] = True
TARGET, D = np.eye(2)[RNG.integers(0, 2, 8)], RNG.normal(0, 2, 8)
GRAM = POSITIVE @ POSITIVE.T
P = functools.partial

PARTS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "difference": (kernels.difference, (A, B)),
    "skew": (kernels.skew, (A, B, GATE)),
    "squared": (kernels.ideal_point, (A, B, POINT)),
    "unsquared": (P(kernels.ideal_point, form="unsquared"), (A, B, POINT)),
    "cosine": (P(kernels.ideal_point, form="cosine"), (A, B, POINT)),
    "gaussian": (kernels.gaussian, (A, POSITIVE, B, POSITIVE[::-1].copy())),
    "lexicographic": (kernels.lexicographic, (A, B, POSITIVE)),
    "antisymmetrised": (kernels.antisymmetrised, (A, B)),
    "log_ratio": (P(kernels.log_ratio, beta=0.1), (A, B)),
    "partial_return": (P(kernels.partial_return, discount=0.9), (A, MASK)),
    "regret": (kernels.regret, (A, B, POINT)),
    "segment_sum": (P(segment_sum, size=5), (A, UNIT)),
    "segment_sum of numbers": (P(segment_sum, size=5), (D, UNIT)),
    "log_mixture": (P(mixture.log_mixture, units=5), (LOG_P, np.log(SHARES[0]), UNIT)),
    "log_mixture by unit": (P(mixture.log_mixture, units=5), (LOG_P, np.log(SHARES[:5]), UNIT)),
    "log_mixture by record": (mixture.log_mixture, (LOG_P, np.log(SHARES))),
    "responsibilities": (P(mixture.responsibilities, units=5), (LOG_P, np.log(SHARES[0]), UNIT)),
    "unit_weight": (P(mixture.unit_weight, units=5), (np.log(SHARES), UNIT)),
    "hedge": (P(mixture.hedge, rate=0.7), (SHARES, LOG_P)),
    "entropy": (mixture.entropy, (SHARES,)),
    "with_margin": (with_margin, (TARGET, D, A[:, 0])),
    "scaled": (scaled, (TARGET, D, POSITIVE[:, 0])),
    "Margin": (Margin(3, ties=True).derivatives, (D,)),
    "Scaled": (Scaled(3, ties=True).derivatives, (D,)),
    "pairwise": (listwise.pairwise, (RELEVANCE, A, MASK)),
    "lambda_weighted": (P(listwise.lambda_weighted, beta=0.5), (RELEVANCE, A, MASK)),
    "skips": (P(listwise.adjacent_and_skips, skips=2), (RELEVANCE, A, MASK)),
    "soft skips": (P(listwise.adjacent_and_skips, skips=2, soft=True), (RELEVANCE, A, MASK)),
    "pair_derivatives": (listwise.pair_derivatives, (listwise.lambda_weights(RELEVANCE, A), A)),
    "softmax": (listwise.softmax, (listwise.top_one(RELEVANCE, MASK), A, MASK)),
    "softmax_derivatives": (listwise.softmax_derivatives, (listwise.top_one(RELEVANCE, MASK), A, MASK)),
    "relevance_of_ranks": (listwise.relevance_of_ranks, (RELEVANCE,)),
    "log_softmax": (log_softmax, (A, MASK)),
    "Gaussian": (Gaussian().derivatives, (D, A[:, 0], A[:, 1:4])),
    "Gaussian of means": (P(Gaussian().derivatives, count=3.0, spread=0.5), (D, A[:, 0], A[:, 1:4])),
    "OrdinalRating": (OrdinalRating(4).derivatives, (D, np.sort(A[:, :3], axis=1))),
    "constrain": (OrdinalRating(7).constrain, (A,)),
    "ClassLabel": (ClassLabel(tuple("abcdef")).derivatives, (np.eye(6)[RELEVANCE[:, 0].astype(int)], A)),
    "induced_log_prob": (P(reliability.induced_log_prob, temperature=2.0), (A, B)),
    "posterior_correct": (reliability.posterior_correct, (LOG_P[:, 0], LOG_P[:, 1], SHARES[:, 0])),
    "update_reliability": (
        P(reliability.update_reliability, size=5),
        (SHARES[:, 0], UNIT, POSITIVE[:, 0]),
    ),
    "moving_reliability": (reliability.moving_reliability, (SHARES[:5, 0], SHARES[:, 0], UNIT)),
    "peer_keep": (P(reliability.peer_keep, share=0.6), (D,)),
    "ensemble_strength": (strength.ensemble_strength, (A,)),
    "agreement": (strength.agreement, (SHARES, D)),
    "flip_below": (strength.flip_below, (SHARES, D)),
    "soften_near_zero": (P(strength.soften_near_zero, width=1.0, eps=0.2), (SHARES, D)),
    "smoothed_target": (smoothed_target, (SHARES, SHARES[:, 0])),
    "min_norm": (min_norm, (GRAM,)),
}


def same(ours: Any, theirs: Any) -> None:
    if isinstance(ours, tuple):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs):
            same(mine, other)
        return
    np.testing.assert_allclose(np.asarray(ours), theirs.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("part", "arguments"), PARTS.values(), ids=PARTS.keys())
def test_numbers_equal_numpy(part: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    same(part(*arguments), part(*(torch.from_numpy(argument) for argument in arguments)))


DIFFERENTIABLE = [
    "skew",
    "squared",
    "unsquared",
    "cosine",
    "gaussian",
    "lexicographic",
    "partial_return",
    "segment_sum",
    "log_mixture",
    "log_mixture by unit",
    "log_mixture by record",
    "responsibilities",
    "unit_weight",
    "hedge",
    "entropy",
    "pairwise",
    "lambda_weighted",
    "skips",
    "soft skips",
    "softmax",
    "induced_log_prob",
    "posterior_correct",
]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients(name: str) -> None:
    """Autograd against differences, first order of every float argument and second order where it is cheap."""
    part, arguments = PARTS[name]
    tensors = [torch.from_numpy(argument).clone() for argument in arguments]
    listed = name in {"pairwise", "lambda_weighted", "skips", "soft skips", "softmax"}
    for position, tensor in enumerate(tensors):
        # Relevances and targets of lists are data.
        tensor.requires_grad_(tensor.is_floating_point() and not (listed and position == 0))
    assert torch.autograd.gradcheck(part, tensors, eps=1e-6, atol=1e-7)


class TestClosedForms:
    """Autograd of the values equals the closed derivatives."""

    @staticmethod
    def check(value: Callable[..., Any], exact: Any, at: np.ndarray) -> None:
        """``at [n, q]``: the derivatives of n independent rows in q coordinates each."""
        point = torch.from_numpy(at).requires_grad_(True)
        (score,) = torch.autograd.grad(value(point).sum(), point, create_graph=True)
        same(exact.score, score)
        for k in range(at.shape[1]):
            (curvature,) = torch.autograd.grad(score[:, k].sum(), point, retain_graph=True)
            np.testing.assert_allclose(exact.curvature[:, k], curvature.numpy(), rtol=1e-11, atol=1e-11)

    def test_lists(self) -> None:
        relevance, mask = torch.from_numpy(RELEVANCE), torch.from_numpy(MASK)
        weights = {
            listwise.pairwise: listwise.pair_weights(RELEVANCE, A, MASK),
            P(listwise.lambda_weighted, beta=1.0): listwise.lambda_weights(RELEVANCE, A, MASK),
            P(listwise.adjacent_and_skips, skips=2): listwise.skip_weights(RELEVANCE, A, MASK, skips=2),
        }
        for objective, weight in weights.items():
            exact = listwise.pair_derivatives(weight, A)
            self.check(lambda u, of=objective: of(relevance, u, mask), exact, A)
        target = listwise.top_one(RELEVANCE, MASK)
        exact = listwise.softmax_derivatives(target, A, MASK)
        self.check(lambda u: listwise.softmax(torch.from_numpy(target), u, mask), exact, A)

    def test_ratings_and_margins(self) -> None:
        value, point = torch.from_numpy(D), np.column_stack((D[::-1], A[:, :3]))
        named = {"count": 4.0, "spread": 0.3}
        exact = Gaussian().derivatives(D, point[:, 0], point[:, 1:], **named)
        self.check(lambda x: Gaussian().log_prob(value, x[:, 0], x[:, 1:], **named), exact, point)
        link, cuts = OrdinalRating(4), np.sort(A[:, :3], axis=1)
        target = np.eye(4)[RNG.integers(0, 4, 8)]
        exact = link.weighted(target, D, cuts)
        rows = np.column_stack((D, cuts))
        self.check(lambda x: link.log_prob(torch.from_numpy(target), x[:, 0], x[:, 1:]), exact, rows)
        exact = with_margin(TARGET, D, A[:, 0])
        margin, two = torch.from_numpy(A[:, 0]), torch.from_numpy(TARGET)
        self.check(lambda x: with_margin(two, x[:, 0], margin).log_prob, exact, D[:, None])
        for graded in (Margin(2), Scaled(2)):
            exact = graded.weighted(target, D)
            self.check(lambda x, of=graded: of.log_prob(torch.from_numpy(target), x[:, 0]), exact, D[:, None])


class TestSafeGradients:
    def test_on_the_ideal_point(self) -> None:
        for form in ("squared", "unsquared", "cosine"):
            a = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
            kernels.ideal_point(a, torch.ones(2, 3), torch.zeros(3), form).sum().backward()
            np.testing.assert_array_equal(a.grad.numpy(), 0)

    def test_padding_of_nan(self) -> None:
        utility = torch.tensor([0.5, math.nan, -0.5], dtype=torch.float64)
        mask, relevance = torch.tensor([True, False, True]), torch.tensor([1.0, 5.0, 2.0])
        target = torch.tensor([0.25, 0.0, 0.75], dtype=torch.float64)
        for objective in (
            listwise.pairwise,
            listwise.lambda_weighted,
            listwise.adjacent_and_skips,
            P(listwise.adjacent_and_skips, soft=True, skips=None),
            lambda r, u, m: listwise.softmax(target, u, m),
            lambda r, u, m: kernels.partial_return(u, m, 0.9),
        ):
            u = utility.clone().requires_grad_(True)
            objective(relevance, u, mask).backward()
            assert torch.isfinite(u.grad).all()
            assert u.grad[1] == 0
            assert (u.grad[[0, 2]] != 0).all()

    def test_weights_of_zero(self) -> None:
        log_p = torch.from_numpy(LOG_P).requires_grad_(True)
        weight = torch.tensor([0.0, -math.inf, -1.0], dtype=torch.float64)
        mixture.log_mixture(log_p, weight, torch.from_numpy(UNIT), 6).sum().backward()
        assert torch.isfinite(log_p.grad).all()
        assert (log_p.grad[:, 1] == 0).all()
        shares = torch.tensor([0.0, 0.4, 0.6], dtype=torch.float64, requires_grad=True)
        mixture.entropy(shares).backward()
        assert torch.isfinite(shares.grad).all()

    def test_gradient_of_a_mixture_is_its_responsibility(self) -> None:
        """Fisher's identity: EM and gradient ascent see the same weights."""
        log_p, unit = torch.from_numpy(LOG_P).requires_grad_(True), torch.from_numpy(UNIT)
        weight = np.log(SHARES[0])
        mixture.log_mixture(log_p, torch.from_numpy(weight), unit, 5).sum().backward()
        same(mixture.responsibilities(LOG_P, weight, UNIT, 5)[UNIT], log_p.grad)


def test_exchange_changes_the_sign_to_the_last_bit() -> None:
    for dtype in (torch.float32, torch.float64):
        a, b = torch.randn(2, 50, 16, dtype=dtype, generator=torch.Generator().manual_seed(1))
        gate = torch.rand(50, 8, dtype=dtype, generator=torch.Generator().manual_seed(2))
        assert torch.equal(kernels.skew(a, b, gate), -kernels.skew(b, a, gate))
        assert torch.equal(kernels.difference(a, b), -kernels.difference(b, a))
        assert torch.equal(kernels.gaussian(a, b.exp(), b, a.exp()), -kernels.gaussian(b, a.exp(), a, b.exp()))


def test_min_norm_takes_gradients_as_constants() -> None:
    g = torch.randn(3, 5, generator=torch.Generator().manual_seed(3), requires_grad=True)
    weights = min_norm(g @ g.T)
    assert weights.dtype == torch.float32
    assert not weights.requires_grad


def test_ranks_of_lambda_weights_follow_the_model() -> None:
    """Constants for the gradient, but those of the current utilities: moving an item changes them."""
    relevance = torch.tensor([2.0, 1.0, 0.0])
    low, high = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.3, 0.2, 0.1])
    assert not torch.equal(listwise.lambda_weights(relevance, low), listwise.lambda_weights(relevance, high))
    assert not listwise.lambda_weights(relevance, low.requires_grad_(True)).requires_grad


def fit(module: LinkModule, *rows: torch.Tensor) -> None:
    """Minimise the penalised loss by L-BFGS."""
    optimiser = torch.optim.LBFGS(
        [p for p in module.parameters() if p.numel()], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = module(*rows).sum() + module.penalty()
        loss.backward()
        return loss

    optimiser.step(closure)


class TestAnnotatorLink:
    truth = np.array([[0.2, 0.8], [0.6, 2.5], [0.4, 1.2]])

    def rows(self, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(seed)
        who, d = rng.integers(0, 3, n), rng.normal(0, 2, n)
        target = one_hot(Ordinal(2).sample(d, self.truth[who], rng), 5)
        return torch.from_numpy(target), torch.from_numpy(d), torch.from_numpy(who)

    def test_recovers_the_cut_points_of_each(self) -> None:
        """With expected counts as targets the maximum is the truth, but for the prior's weight of 1e-6."""
        who = torch.arange(3).repeat_interleave(41)
        d = torch.linspace(-4, 4, 41, dtype=torch.float64).repeat(3)
        target = 50 * torch.exp(Ordinal(2).log_probs(d, torch.from_numpy(self.truth)[who]))
        module, pooled = AnnotatorLink(Ordinal(2), 3, 1e-6, dtype=torch.float64), LinkModule(Ordinal(2))
        fit(module, target, d, who)
        np.testing.assert_allclose(module.parameters_of(torch.arange(3)).detach().numpy(), self.truth, rtol=1e-3)
        fit(pooled.double(), target, d, who)
        # The least loss there is: the entropy of the answers. Pooling the three readers costs .0755 nats per answer.
        entropy = -torch.special.xlogy(target, target / 50).sum().item()
        assert module(target, d, who).sum().item() == pytest.approx(entropy, rel=1e-7)
        assert pooled(target, d, who).sum().item() == pytest.approx(entropy + 6150 * 0.0755, rel=1e-3)

    def test_shrinkage_goes_from_their_own_to_the_pooled(self) -> None:
        rows = self.rows(300, seed=1)
        gaps = []
        for shrinkage in (1e-3, 30.0, 1e6):
            module = AnnotatorLink(Ordinal(2), 4, shrinkage, dtype=torch.float64)
            fit(module, *rows)
            gaps.append(module.deviation.detach().abs().max().item())
            # Nobody has heard of the fourth one: the pooled parameters, as for an unknown code.
            known = module.parameters_of(torch.tensor([3, -1]))
            same(known[0].detach().numpy(), known[1])
            same(module.shape_parameters.detach().numpy(), known[1])
        assert gaps[0] > 1.5 * gaps[1] > 1000 * gaps[2]
        pooled = LinkModule(Ordinal(2), dtype=torch.float64)
        fit(pooled, *rows)
        np.testing.assert_allclose(
            module.shape_parameters.detach().numpy(), pooled.shape_parameters.detach().numpy(), rtol=1e-3
        )

    def test_penalty_by_hand(self) -> None:
        module = AnnotatorLink(Ordinal(2), 2, shrinkage=3.0)
        assert module.penalty() == 0
        with torch.no_grad():
            module.deviation += 0.5
        assert module.penalty().item() == pytest.approx(0.5 * 3 * 4 * 0.25)

    def test_refuses_what_cannot_differ(self) -> None:
        with pytest.raises(ValueError, match="no shape parameters"):
            AnnotatorLink(Binary(), 3)
        with pytest.raises(ValueError, match="positive"):
            AnnotatorLink(Ordinal(2), 3, shrinkage=0.0)


class TestAnnotatorFlip:
    def test_starts_at_the_prior_and_penalises_by_hand(self) -> None:
        module = AnnotatorFlip(Ordinal(2), 2, prior=(8.0, 2.0), dtype=torch.float64)
        np.testing.assert_allclose(module.rates.detach().numpy(), 0.2, rtol=1e-12)
        expected = [*Ordinal(2).initial(), 0.2]
        np.testing.assert_allclose(module.shape_parameters.detach().numpy(), expected, rtol=1e-12)
        assert module.penalty().item() == pytest.approx(-2 * (8 * math.log(0.8) + 2 * math.log(0.2)))
        assert module.parameters_of(torch.tensor([[0, 1, -1]])).shape == (1, 3, 3)

    def test_ends_where_em_ends(self) -> None:
        """With known utilities the penalised maximum is the fixed point of posterior and update."""
        rng = np.random.default_rng(0)
        quality = np.array([0.95, 0.8, 0.6, 0.3])
        d, who = rng.normal(0, 2, 3000), rng.integers(0, 4, 3000)
        meant = rng.random(3000) < 1 / (1 + np.exp(-d))
        won = np.where(rng.random(3000) < quality[who], meant, ~meant)
        target = one_hot(won.astype(int), 2)
        module = AnnotatorFlip(Binary(), 5, dtype=torch.float64)
        fit(module, torch.from_numpy(target), torch.from_numpy(d), torch.from_numpy(who))
        found = 1 - module.rates.detach().numpy()
        recorded = Binary().log_prob(target, d)
        swapped = Binary().log_prob(target[:, ::-1], d)
        eta = np.full(5, 0.9)
        for _ in range(500):
            w = reliability.posterior_correct(recorded, swapped, eta[who])
            eta = reliability.update_reliability(w, who, None, 5)
        np.testing.assert_allclose(found, eta, atol=1e-6)
        np.testing.assert_allclose(found[:4], quality, atol=0.08)
        assert found[4] == pytest.approx(0.9, abs=1e-6)  # no labels: the prior

    def test_is_flip_with_a_rate_per_row(self) -> None:
        module = AnnotatorFlip(Ordinal(2), 2, dtype=torch.float64)
        with torch.no_grad():
            module.deviation[:] = torch.tensor([[0.3], [-1.0]])
        who, d = torch.tensor([0, 1, -1]), torch.tensor([0.3, -0.4, 2.0], dtype=torch.float64)
        rates = torch.cat((module.rates, torch.tensor([0.1], dtype=torch.float64)))
        cuts = torch.tensor(Ordinal(2).initial(), dtype=torch.float64).expand(3, 2)
        expected = Flip(Ordinal(2)).log_probs(d, torch.cat((cuts, rates[who][:, None]), -1))
        same(expected.detach().numpy(), module.log_probs(d, who))

    def test_refuses_priors_of_contrarians(self) -> None:
        for prior in ((1.0, 9.0), (9.0, 0.0)):
            with pytest.raises(ValueError, match="wrong < correct"):
                AnnotatorFlip(Binary(), 2, prior)


def test_modules_save_and_load() -> None:
    for make in (P(AnnotatorLink, Ordinal(2), 3), P(AnnotatorFlip, Ordinal(2), 3), P(LinkModule, Ordinal(2))):
        first, second = make(), make()
        with torch.no_grad():
            for parameter in first.parameters():
                parameter += 0.1
        second.load_state_dict(first.state_dict())
        who = torch.tensor([0, 2, -1])
        assert torch.equal(first.parameters_of(who), second.parameters_of(who))


def test_listmle_is_plackett_luce() -> None:
    """The name of the paper for it: the soft form of all skips, and the existing part, agree on tensors too."""
    ranks = torch.tensor([[2, 1, 3], [1, 3, 2]])
    utility = torch.tensor([[0.3, -1.0, 0.2], [0.0, 2.0, 1.0]], dtype=torch.float64)
    soft = listwise.adjacent_and_skips(listwise.relevance_of_ranks(ranks), utility, skips=None, soft=True)
    torch.testing.assert_close(soft, plackett_luce.log_prob(ranks, utility), rtol=1e-13, atol=0)
