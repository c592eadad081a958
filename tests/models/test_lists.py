"""Rankings: planted orders under every list outcome, ties and partial lists, answers about pairs, what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import kendalltau
from tests.contract import check_preference_model
from tests.models.makers import gumbel_rankings, with_rankings

from preflearn.errors import InputError, NotComputable
from preflearn.models import Composed, load
from preflearn.models.assemble import _fill_between
from preflearn.models.outcomes import LambdaPairs, ListPairs, PlackettLuce, SkipPairs, TopOne
from preflearn.models.outcomes.lists import resolved_ties, win_share
from preflearn.models.population import Mixture
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.lists import lipo, plackett_luce, ranklist
from preflearn.simulate.embedded import embedded

SEED = 0


class Ranked:
    """Rankings of responses to one prompt each, by Plackett-Luce with known utilities."""

    def __init__(self, seed: int, lists: int = 120, size: int = 6, scale: float = 2.0):
        rng = np.random.default_rng(seed)
        self.w = rng.standard_normal(8)
        self.w *= scale / np.linalg.norm(self.w)
        self.study = embedded(
            lambda a, b, who, prompt: (a - b) @ self.w,
            features=8,
            prompts=lists + 100,
            per_prompt=size,
            annotators=20,
            votes=15,
            seed=seed,
        )
        self.utility = self.study.x @ self.w
        self.items = np.arange(lists * size).reshape(lists, size)
        self.ranks = gumbel_rankings(self.utility, self.items, rng)
        self.rest = slice(lists * size, None)

    def data(self, ranks=None, **columns):
        return with_rankings(self.study, self.items, self.ranks if ranks is None else ranks, **columns)

    def tau(self, model) -> float:
        """Agreement of the order of responses that no list has shown."""
        return float(kendalltau(model.utility(self.study.data)[self.rest], self.utility[self.rest]).statistic)


@pytest.fixture(scope="module")
def ranked():
    return Ranked(SEED)


@pytest.mark.parametrize(
    ("make", "least"),
    [
        (plackett_luce, 0.88),
        (lipo, 0.83),
        (ranklist, 0.88),
        (lambda **options: ranklist(skips=1, soft=False, **options), 0.88),
        (lambda **options: Composed(outcomes=(ListPairs(),), **options), 0.87),
        (lambda **options: Composed(outcomes=(TopOne(),), **options), 0.84),
    ],
    ids=["plackett_luce", "lipo", "ranklist", "adjacent", "pairs", "softmax"],
)
def test_planted_orders_are_found(ranked, make, least):
    model = make(encoder="embedding").fit(ranked.data())
    assert ranked.tau(model) > least
    check_preference_model(model, ranked.study.data)
    assert model.outcome_probs(ranked.study.data).outcomes == ("b", "a")
    utility = dict(zip(ranked.study.data.responses["response_id"], model.utility(ranked.study.data)))
    pairs = ranked.study.data.comparisons.select("response_a", "response_b").rows()
    d = np.array([utility[a] - utility[b] for a, b in pairs])
    np.testing.assert_allclose(model.prob(ranked.study.data), 1 / (1 + np.exp(-d)), atol=1e-12)


def test_saved_models_answer_alike(ranked, tmp_path):
    model = lipo(encoder="embedding").fit(ranked.data())
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(load(tmp_path / "m").prob(ranked.study.data), model.prob(ranked.study.data))
    with pytest.raises(NotComputable, match="no likelihood"):
        model.prob_draws(ranked.study.data, 5, 0)


def test_the_likelihood_finds_the_scale_and_the_best_order():
    """Plackett-Luce is well specified here; lambda weights look at the top and lose order below it."""
    gap, sizes = [], []
    for seed in range(SEED, SEED + 4):
        ranked = Ranked(seed)
        full = plackett_luce(encoder="embedding").fit(ranked.data())
        gap.append(ranked.tau(full) - ranked.tau(lipo(encoder="embedding").fit(ranked.data())))
        found = full.network_.head.last.weight.detach().numpy()[0] / full.vocabulary_.scale
        sizes.append(found @ ranked.w / (ranked.w @ ranked.w))
    assert np.mean(gap) > 0.005
    assert np.mean(sizes) == pytest.approx(1, abs=0.15)


def test_lists_of_two_are_comparisons():
    """Ties included: half a win for either."""
    ranked = Ranked(SEED + 1, lists=200, size=2)
    ranks = np.where((np.arange(200) % 5 == 0)[:, None], 1, ranked.ranks)
    outcome = np.select([ranks[:, 0] < ranks[:, 1], ranks[:, 0] > ranks[:, 1]], ["a", "b"], "tie")
    pairs = pl.DataFrame(
        {
            "comparison_id": [f"c-{i}" for i in range(200)],
            "response_a": [f"r-{i}" for i in ranked.items[:, 0]],
            "response_b": [f"r-{i}" for i in ranked.items[:, 1]],
            "outcome": outcome,
        }
    )
    lists = plackett_luce(encoder="embedding").fit(ranked.data(ranks))
    votes = bradley_terry(encoder="embedding").fit(ranked.study.data.replace(comparisons=pairs))
    np.testing.assert_allclose(lists.utility(ranked.study.data), votes.utility(ranked.study.data), atol=1e-4)


def test_partial_rankings_choices_and_best_worst(ranked):
    top = np.where(ranked.ranks <= 2, ranked.ranks, 0)
    first = np.where(ranked.ranks == 1, 1, 0)
    ends = np.where((ranked.ranks == 1) | (ranked.ranks == 6), ranked.ranks, 0)
    full = ranked.tau(plackett_luce(encoder="embedding").fit(ranked.data()))
    tau = {
        name: ranked.tau(plackett_luce(encoder="embedding").fit(ranked.data(ranks, kind=[kind] * len(ranks))))
        for name, ranks, kind in [
            ("top", top, "partial"),
            ("first", first, "choice"),
            ("ends", ends, "best_worst"),
            ("misread", ends, "partial"),
        ]
    }
    assert full > tau["first"] + 0.01 and min(tau["top"], tau["first"], tau["ends"]) > 0.75
    # Read as a partial ranking the worst would lie above everything that was not named.
    assert tau["ends"] > tau["misread"] + 0.1


def test_best_worst_lists_put_the_others_between():
    ranks = np.array([[1.0, 0, 4, 0], [1, 0, 0, 0], [0, 1, 2, 0]])
    _fill_between(ranks, np.ones(ranks.shape, bool))
    np.testing.assert_array_equal(ranks, [[1, 2.5, 4, 2.5], [1, 0, 0, 0], [1.5, 1, 2, 1.5]])


def test_ties_are_resolved_both_ways_and_change_nothing_else():
    ranks = torch.tensor([[1.0, 3, 3, 5, 0], [1, 2, 3, 4, 0], [1.5, 1.5, 2, 1, 0]])
    ahead, behind = (resolved_ties(ranks, forward=way) for way in (True, False))
    assert torch.equal(ahead[1], ranks[1]) and torch.equal(behind[1], ranks[1])
    assert ahead[0].argsort().tolist() == [4, 0, 1, 2, 3] and behind[0].argsort().tolist() == [4, 0, 2, 1, 3]
    assert ahead[2].argsort().tolist() == [4, 3, 0, 1, 2] and behind[2].argsort().tolist() == [4, 3, 1, 0, 2]
    mask = torch.tensor([[True, True, True, False]])
    part = PlackettLuce()
    u = torch.tensor([[0.3, -1.0, 0.8, 9.0]], dtype=torch.float64)
    tied = part._likelihood(torch.tensor([[2.0, 2, 1, 0]]), u, mask)
    either = [part._likelihood(torch.tensor([r]), u, mask) for r in ([2.0, 3, 1, 0], [3.0, 2, 1, 0])]
    assert tied == pytest.approx(float(sum(either)) / 2, rel=1e-12)


def test_shares_of_the_list_that_an_item_beats():
    relevance = torch.tensor([[-1.0, -2, -2, -torch.inf, 7]])
    mask = torch.tensor([[True, True, True, True, False]])
    np.testing.assert_allclose(win_share(relevance, mask), [[1, 0.5, 0.5, 0, 0]])


def test_people_with_opposite_tastes_rank_oppositely():
    """A mixture of rankings: the camp of each person is known from a few lists, and answers comparisons."""
    rng = np.random.default_rng(SEED)
    w = rng.standard_normal(8)
    camp = np.where(np.arange(30) < 15, 1.0, -1.0)
    study = embedded(
        lambda a, b, who, prompt: camp[who] * ((a - b) @ w),
        features=8,
        annotators=30,
        votes=30,
        seed=SEED,
        per_prompt=5,
    )
    who = np.repeat(np.arange(30), 8)
    items = np.arange(1000).reshape(200, 5)[rng.integers(200, size=240)]
    key = camp[who][:, None] * (study.x @ w)[items] + rng.gumbel(size=items.shape)
    data = with_rankings(study, items, np.argsort(np.argsort(-key, axis=1), axis=1) + 1, who)
    everyone = np.ones(900, bool)
    mixed = plackett_luce(population=Mixture(2), encoder="embedding").fit(data)
    alike = plackett_luce(encoder="embedding").fit(data)
    assert study.right(mixed.prob(study.data), everyone) > 0.93
    assert study.right(alike.prob(study.data), everyone) < 0.65


def test_bad_rankings_are_refused_before_any_fitting(ranked):
    def refused(match, given, **changes):
        data = ranked.data(given)
        data = data.replace(rankings=data.rankings.with_columns(**changes))
        with pytest.raises(InputError, match=match):
            plackett_luce(encoder="embedding").fit(data)

    refused("without a rank", 0 * ranked.ranks)
    refused("ties everything", 0 * ranked.ranks + 1)
    refused("ranks begin at 1", ranked.ranks - 2)
    refused("lists 6 responses and 5 ranks", ranked.ranks, ranks=pl.col("ranks").list.head(5))
    with pytest.raises(InputError, match="no rankings"):
        plackett_luce(encoder="embedding").fit(ranked.study.data)
    some = ranked.ranks.copy()
    some[:7] = 0
    some[7:10] = 1
    assert lipo(encoder="embedding").fit(ranked.data(some)).left_out_ == {
        "lists without a rank": 7,
        "lists that tie everything": 3,
    }
    for part in (LambdaPairs(), SkipPairs(3)):
        assert part.table == "rankings"
