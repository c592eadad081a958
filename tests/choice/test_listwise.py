"""Lists: values by hand, the pair that every list of two becomes, ties, padding, closed derivatives."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.choice import Binary, listwise, plackett_luce
from preflearn.choice.types import Derivatives

NAN = math.nan
OBJECTIVES = {
    "pairwise": listwise.pairwise,
    "lambda": listwise.lambda_weighted,
    "adjacent": listwise.adjacent_and_skips,
    "skips": lambda r, u, m=None: listwise.adjacent_and_skips(r, u, m, skips=2),
    "soft": lambda r, u, m=None: listwise.adjacent_and_skips(r, u, m, skips=2, soft=True),
    "softmax": lambda r, u, m=None: listwise.softmax(listwise.top_one(r, m), u, m),
}
objectives = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())


def lists(seed: int, n: int = 5, k: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, (n, k)).astype(float), rng.normal(0, 2, (n, k))


class TestByHand:
    def test_lambda(self) -> None:
        # Gains 2, sqrt 2, 1; ranks 1, 3, 2; natural logarithms of 2, 4, 3 as discounts.
        value = listwise.lambda_weighted(np.array([1.0, 0.5, 0.0]), np.array([0.3, -0.2, 0.1]))
        root = math.sqrt(2)
        inverse = [1 / math.log(2), 1 / math.log(4), 1 / math.log(3)]
        terms = [
            (2 - root) * (inverse[0] - inverse[1]) * math.log1p(math.exp(-0.5)),
            (2 - 1) * (inverse[0] - inverse[2]) * math.log1p(math.exp(-0.2)),
            (root - 1) * (inverse[2] - inverse[1]) * math.log1p(math.exp(0.3)),
        ]
        assert value == pytest.approx(-sum(terms), rel=1e-14)
        assert value == pytest.approx(-0.585652, abs=1e-6)

    @pytest.mark.parametrize(("skips", "loss"), [(1, 1.261416), (2, 1.664242), (3, 1.791170), (None, 1.791170)])
    def test_skips(self, skips: int | None, loss: float) -> None:
        utility = np.array([2.0, 1.5, 0.5, 0.0])
        distances = range(1, 4 if skips is None else skips + 1)
        terms = [math.log1p(math.exp(-(utility[i] - utility[i + g]))) for g in distances for i in range(4 - g)]
        value = listwise.adjacent_and_skips(np.array([4, 3, 2, 1]), utility, skips=skips)
        assert value == pytest.approx(-math.fsum(terms), rel=1e-14)
        assert value == pytest.approx(-loss, abs=1e-6)

    def test_soft_skips(self) -> None:
        utility = np.array([2.0, 1.5, 0.5])
        rivals = [math.log(math.exp(1.5) + math.exp(0.5)), 0.5]
        expected = -sum(math.log1p(math.exp(rival - u)) for rival, u in zip(rivals, utility))
        value = listwise.adjacent_and_skips(np.array([3, 2, 1]), utility, skips=2, soft=True)
        assert value == pytest.approx(expected, rel=1e-14)

    def test_ties_make_no_pair_and_one_level(self) -> None:
        # Levels: {0, 2} above {1}, above {3}; adjacent pairs are 0-1, 2-1, 1-3, and 0-3, 2-3 skip a level.
        weights = listwise.skip_weights(np.array([5, 2, 5, 1]), np.zeros(4))
        assert {tuple(pair) for pair in np.argwhere(weights)} == {(0, 1), (2, 1), (1, 3)}
        weights = listwise.skip_weights(np.array([5, 2, 5, 1]), np.zeros(4), skips=2)
        assert {tuple(pair) for pair in np.argwhere(weights)} == {(0, 1), (2, 1), (1, 3), (0, 3), (2, 3)}

    def test_softmax(self) -> None:
        utility = np.log([1.0, 2.0, 5.0])
        assert listwise.softmax(np.array([0, 0, 1]), utility) == pytest.approx(math.log(5 / 8))
        shares = listwise.top_one(np.log([1.0, 1.0, 2.0]))
        np.testing.assert_allclose(shares, [0.25, 0.25, 0.5], rtol=1e-14)
        expected = (math.log(1 / 8) + math.log(2 / 8) + 2 * math.log(5 / 8)) / 4
        assert listwise.softmax(shares, utility) == pytest.approx(expected)


class TestTwoItems:
    """A list of two is a comparison."""

    d = np.linspace(-4, 4, 9)
    utility = np.stack((d, np.zeros(9)), axis=-1)
    first = np.array([1.0, 0.0])

    def test_pairs_choices_and_rankings_are_bradley_terry(self) -> None:
        expected = Binary().log_probs(self.d)[:, 1]
        for value in (
            listwise.pairwise(self.first, self.utility),
            listwise.adjacent_and_skips(self.first, self.utility),
            listwise.adjacent_and_skips(self.first, self.utility, soft=True),
            listwise.softmax(self.first, self.utility),
            plackett_luce.log_prob(np.array([1, 2]), self.utility),
        ):
            np.testing.assert_allclose(value, expected, rtol=1e-13)

    def test_lambda_weighs_it_by_a_constant(self) -> None:
        weight = 1 / math.log(2) - 1 / math.log(3)
        value = listwise.lambda_weighted(self.first, self.utility, beta=0.5)
        np.testing.assert_allclose(value, weight * Binary().log_probs(0.5 * self.d)[:, 1], rtol=1e-13)


class TestIdentities:
    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 10**6))
    def test_all_soft_skips_are_plackett_luce_and_all_skips_are_pairs(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        utility = rng.normal(0, 2, (4, 6))
        ranks = rng.permuted(np.broadcast_to(np.arange(1, 7), (4, 6)), axis=1)
        ranks = np.where(ranks > rng.integers(2, 7), 0, ranks)  # a list that stops early
        relevance = listwise.relevance_of_ranks(ranks)
        soft = listwise.adjacent_and_skips(relevance, utility, skips=None, soft=True)
        np.testing.assert_allclose(soft, plackett_luce.log_prob(ranks, utility), rtol=1e-12)
        pairs = listwise.adjacent_and_skips(relevance, utility, skips=None)
        np.testing.assert_array_equal(pairs, listwise.pairwise(relevance, utility))
        np.testing.assert_allclose(listwise.adjacent_and_skips(relevance, utility, skips=6), pairs, rtol=1e-13)

    def test_pairwise_is_the_sum_of_its_comparisons(self) -> None:
        relevance, utility = lists(1)
        for r, u, value in zip(relevance, utility, listwise.pairwise(relevance, utility)):
            pairs = [(i, j) for i, j in itertools.permutations(range(6), 2) if r[i] > r[j]]
            assert value == pytest.approx(sum(Binary().log_probs(u[i] - u[j])[1] for i, j in pairs), rel=1e-13)

    @objectives
    def test_order_of_items_and_padding_do_not_matter(self, objective) -> None:
        relevance, utility = lists(2)
        expected = objective(relevance, utility)
        order = np.random.default_rng(3).permutation(6)
        np.testing.assert_allclose(objective(relevance[:, order], utility[:, order]), expected, rtol=1e-12)
        padded = [np.concatenate((x, np.full((5, 2), junk)), axis=1) for x, junk in ((relevance, 9.0), (utility, NAN))]
        mask = np.arange(8) < 6
        np.testing.assert_allclose(objective(*padded, np.broadcast_to(mask, (5, 8))), expected, rtol=1e-12)

    @objectives
    def test_a_common_shift_does_not_matter_and_order_is_rewarded(self, objective) -> None:
        relevance, utility = lists(4)
        np.testing.assert_allclose(objective(relevance, utility + 3), objective(relevance, utility), rtol=1e-11)
        assert (objective(relevance, relevance) > objective(relevance, -relevance)).all()

    def test_not_judged_is_left_out(self) -> None:
        relevance, utility = np.array([2.0, NAN, 1.0]), np.array([0.3, 5.0, -0.1])
        expected = Binary().log_probs(0.4)[1]
        assert listwise.pairwise(relevance, utility) == pytest.approx(expected)
        assert listwise.adjacent_and_skips(relevance, utility) == pytest.approx(expected)
        np.testing.assert_allclose(listwise.top_one(np.log([3.0, NAN, 1.0])), [0.75, 0, 0.25], rtol=1e-14)
        alone = listwise.lambda_weighted(relevance[[0, 2]], utility[[0, 2]])
        assert listwise.lambda_weighted(relevance, utility) == pytest.approx(float(alone))

    @pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"softmax"}))
    def test_lists_without_an_order_say_nothing(self, name: str) -> None:
        assert OBJECTIVES[name](np.full(3, 2.0), np.array([0.3, 5.0, -0.1])) == 0


class TestDerivatives:
    @staticmethod
    def check(evaluate, at: Derivatives, utility: np.ndarray) -> None:
        h = 1e-5
        np.testing.assert_allclose(at.log_prob, evaluate(utility).log_prob, rtol=1e-13)
        for k in range(utility.shape[-1]):
            step = h * np.eye(utility.shape[-1])[k]
            up, down = evaluate(utility + step), evaluate(utility - step)
            slope = (up.log_prob - down.log_prob) / (2 * h)
            np.testing.assert_allclose(at.score[..., k], slope, rtol=1e-7, atol=1e-8)
            np.testing.assert_allclose(at.curvature[..., k], (up.score - down.score) / (2 * h), rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(at.curvature.sum(-1), 0, atol=1e-12)
        assert (np.linalg.eigvalsh(at.curvature) < 1e-10).all()

    @pytest.mark.parametrize("beta", [1.0, 0.3])
    def test_pairs(self, beta: float) -> None:
        relevance, utility = lists(5)
        weights = listwise.lambda_weights(relevance, utility)
        at = listwise.pair_derivatives(weights, utility, beta)
        np.testing.assert_allclose(at.log_prob, listwise.lambda_weighted(relevance, utility, beta=beta), rtol=1e-13)
        self.check(lambda u: listwise.pair_derivatives(weights, u, beta), at, utility)

    def test_softmax(self) -> None:
        relevance, utility = lists(6)
        target = 3 * listwise.top_one(relevance)
        self.check(
            lambda u: listwise.softmax_derivatives(target, u), listwise.softmax_derivatives(target, utility), utility
        )

    def test_padding_gets_no_derivative(self) -> None:
        utility = np.array([0.5, NAN, -0.5])
        mask = np.array([True, False, True])
        target = np.array([0.25, 0.0, 0.75])
        weights = listwise.pair_weights(np.array([1.0, 7.0, 2.0]), utility, mask)
        plain = np.array([0.5, -0.5])
        for at, alone in (
            (listwise.softmax_derivatives(target, utility, mask), listwise.softmax_derivatives(target[mask], plain)),
            (
                listwise.pair_derivatives(weights, utility),
                listwise.pair_derivatives(weights[np.ix_(mask, mask)], plain),
            ),
        ):
            np.testing.assert_allclose(at.score[mask], alone.score, rtol=1e-14)
            np.testing.assert_allclose(at.curvature[np.ix_(mask, mask)], alone.curvature, rtol=1e-14)
            assert at.score[1] == 0
            assert (at.curvature[1] == 0).all()


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="K"):
        listwise.pairwise(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="at least 1"):
        listwise.adjacent_and_skips(np.ones(3), np.ones(3), skips=0)
