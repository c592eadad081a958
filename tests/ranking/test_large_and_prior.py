"""Intervals under a prior, graphs on which gradients crawl, and covariances that are carried by draws."""

from __future__ import annotations

import time

import numpy as np
import pytest

from preflearn.choice import Binary
from preflearn.ranking import BradleyTerry, Davidson, RaoKupper, Votes, rank, votes_of_codes
from preflearn.ranking import newton as newton_module
from preflearn.ranking.cells import cells_of_votes
from preflearn.ranking.covariance import Covariance
from preflearn.ranking.ranksets import rank_sets, union_bound
from tests.ranking.makers import battles, counted, simulated


def says(model, text):
    return any(text in warning for warning in model.warnings_)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def fit_codes(model, n, a, b, y, **clusters):
    return model.fit_votes(votes_of_codes([f"m{i:05d}" for i in range(n)], a, b, y, model.link(), clusters=clusters))


# -- priors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", [False, True])
def test_an_undefeated_item_is_as_uncertain_as_the_model_says(cluster):
    """All its votes ended alike, so their residuals show no noise; they would give it a quarter of the width."""
    rows = [("a", "b", 60, 40), ("c", "a", 10, 0), ("c", "b", 10, 0)]
    model = BradleyTerry(cluster=None, ghost=0.5, interval="model").fit(counted(rows))
    robust = BradleyTerry(cluster=None, ghost=0.5).fit(counted(rows))
    expected, found = model.covariance_.standard_errors(), robust.covariance_.standard_errors()
    assert found[2] == pytest.approx(expected[2], rel=0.1)
    np.testing.assert_allclose(found, expected, rtol=0.15)
    if cluster:
        a, b = np.repeat([0, 2, 2], [100, 10, 10]), np.repeat([1, 0, 1], [100, 10, 10])
        y = np.concatenate([np.arange(100) < 60, np.ones(20)]).astype(int)
        clustered = fit_codes(BradleyTerry(ghost=0.5), 3, a, b, y, u=np.arange(120) % 30)
        assert clustered.covariance_.standard_errors()[2] == pytest.approx(expected[2], rel=0.15)


def test_components_joined_by_the_prior_keep_their_clusters():
    """Only items without any mixed result are left to the model; in the second component people still differ."""
    data, _ = simulated(3000, n_items=4, annotators=30, spread=1.2, log_tie=-np.inf)
    other, _ = simulated(2000, n_items=3, annotators=30, spread=1.2, log_tie=-np.inf, seed=1)
    rows = [(r["response_a"], r["response_b"], r["outcome"]) for r in data.comparisons.rows(named=True)]
    more = [(f"x{r['response_a']}", f"x{r['response_b']}", r["outcome"]) for r in other.comparisons.rows(named=True)]
    people = [*data.comparisons["annotator_id"], *other.comparisons["annotator_id"]]
    joined = BradleyTerry(ghost=0.5).fit(battles(rows + more, annotator_id=people))
    alone = BradleyTerry(ghost=0.5).fit(battles(more, annotator_id=people[3000:]))
    contrast = np.array([1.0, -1.0, 0.0])
    expected = alone.covariance_.of(contrast[None])[0]
    found = joined.covariance_.of(np.concatenate([np.zeros(4), contrast])[None])[0]
    assert joined.status_[-1] == "other_component" and found == pytest.approx(expected, rel=0.05)


def prior_coverage(option, value, repeats=150, n=12, votes=100):
    """Coverage of strengths that are drawn anew, of items that lost and won, and of the others."""
    mixed, alike = [], []
    for seed in range(repeats):
        generator = np.random.default_rng(seed)
        theta = generator.normal(size=n)
        theta -= theta.mean()
        a = generator.integers(0, n, votes)
        b = (a + generator.integers(1, n, votes)) % n
        y = (generator.random(votes) < sigmoid(theta[a] - theta[b])).astype(int)
        board = fit_codes(BradleyTerry(**{option: value}), n, a, b, y).leaderboard()
        for i in range(n):
            line = board[f"m{i:05d}"]
            if line.strength is not None:
                (mixed if line.status == "estimable" else alike).append(line.low <= theta[i] <= line.high)
    return np.mean(mixed), np.mean(alike)


def test_intervals_under_a_prior_cover_also_the_undefeated():
    mixed, alike = prior_coverage("ghost", 0.5)
    assert 0.92 <= mixed <= 0.97 and alike >= 0.85
    assert prior_coverage("ridge", 1.0)[0] >= 0.89  # residuals alone: 0.85


def test_the_prior_has_a_part_in_the_sandwich():
    """Under a prior that outweighs the votes the sandwich is the prior's width, not zero."""
    data = counted([("a", "b", 3, 2)])
    heavy = BradleyTerry(cluster=None, ridge=1e4).fit(data).covariance_.standard_errors()
    # Two strengths of prior variance 1e-4; their centring halves it.
    np.testing.assert_allclose(heavy, np.sqrt(1e-4 / 2), rtol=1e-2)


def test_resampling_of_the_undefeated_is_said():
    rows = [("a", "b", 60, 40), ("c", "a", 10, 0), ("c", "b", 10, 0)]
    model = BradleyTerry(cluster=None, ghost=0.5, interval="bootstrap", n_bootstrap=50).fit(counted(rows))
    assert says(model, "whose votes all ended alike")


# -- graphs ----------------------------------------------------------------------------------------------------------


def chain(n, votes=20, seed=0):
    """Each item meets the next; strengths and variances by hand from the log-odds of every pair."""
    generator = np.random.default_rng(seed)
    left = np.repeat(np.arange(n - 1), votes)
    y = generator.integers(0, 2, len(left))
    y[::votes], y[1::votes] = 0, 1
    wins = y.reshape(n - 1, votes).sum(1)
    gap = np.log(wins / (votes - wins))
    strengths = np.concatenate([[0], -np.cumsum(gap)])
    variance = votes / (wins * (votes - wins))
    share = (n - 1 - np.arange(n - 1)) / n
    spread = np.concatenate([[0], np.cumsum(variance * (1 - 2 * share))]) + (variance * share**2).sum()
    return (left, left + 1, y), strengths - strengths.mean(), np.sqrt(spread)


def test_a_chain_of_items_is_solved_exactly_and_soon():
    """Conjugate gradients need as many steps as the chain has items, squared."""
    votes, strengths, errors = chain(6_000)
    start = time.process_time()
    model = fit_codes(BradleyTerry(), 6_000, *votes)
    assert time.process_time() - start < 20  # with gradients alone: minutes
    np.testing.assert_allclose(model.strengths_, strengths, atol=1e-8)
    ratio = model.covariance_.standard_errors() / errors
    assert abs(ratio.mean() - 1) < 0.05 and np.abs(ratio - 1).max() < 0.2


@pytest.mark.parametrize("model", [Davidson, RaoKupper])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_factorisation_of_sparse_graphs_has_borders_too(model, ridge, monkeypatch):
    data, _ = simulated(2000, position=0.3)
    options = {"cluster": None, "position": True, "ridge": ridge}
    exact = model(**options).fit(data)
    monkeypatch.setattr(newton_module, "DENSE_LIMIT", 0)
    monkeypatch.setattr(newton_module, "CG_STEPS", 1)
    monkeypatch.setattr(newton_module, "_MANY_EDGES", 1_000)
    factorised = model(**options).fit(data)
    assert factorised.design_.slow_gradients
    np.testing.assert_allclose(factorised.strengths_, exact.strengths_, atol=1e-7)
    np.testing.assert_allclose(factorised.other_, exact.other_, atol=1e-7)


@pytest.mark.parametrize("limit", [2_000, 0])
def test_parameters_that_the_votes_do_not_determine_are_refused_by_every_solver(limit, monkeypatch):
    monkeypatch.setattr(newton_module, "DENSE_LIMIT", limit)
    generator = np.random.default_rng(0)
    n, votes = 30, 3000
    a = generator.integers(0, n, votes)
    b = (a + generator.integers(1, n, votes)) % n
    x = generator.normal(size=votes)
    y = generator.integers(0, 2, votes)
    cells = cells_of_votes(a, b, y, n, np.eye(2), features=np.column_stack([x, x]))
    names = tuple(f"m{i:02d}" for i in range(n))
    model = BradleyTerry().fit_votes(Votes(names, Binary(), cells, votes, {}, None, ("x", "twin"), (1.0, 1.0)))
    assert np.isnan(model.strengths_).all() and says(model, "singular")


# -- draws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Davidson, RaoKupper])
def test_drawn_model_based_errors_hold_for_the_shape_parameters(model, monkeypatch):
    data, _ = simulated(4000)
    exact = model(cluster=None, interval="model").fit(data)
    monkeypatch.setattr(newton_module, "DENSE_LIMIT", 0)
    drawn = model(cluster=None, interval="model").fit(data)
    np.testing.assert_allclose(
        drawn.covariance_.standard_errors(), exact.covariance_.standard_errors(), rtol=4 / np.sqrt(2 * 400)
    )
    assert says(drawn, "estimated from 400 draws")


def test_drawn_errors_of_the_undefeated_and_of_priors(monkeypatch):
    rows = [("a", "b", 60, 40), ("c", "a", 10, 0), ("c", "b", 10, 0)]
    exact = BradleyTerry(cluster=None, ghost=0.5).fit(counted(rows))
    monkeypatch.setattr(newton_module, "DENSE_LIMIT", 0)
    drawn = BradleyTerry(cluster=None, ghost=0.5).fit(counted(rows))
    np.testing.assert_allclose(
        drawn.covariance_.standard_errors(), exact.covariance_.standard_errors(), rtol=4 / np.sqrt(2 * 400)
    )


# -- places ----------------------------------------------------------------------------------------------------------


def test_the_union_bound_knows_how_many_clusters_there_were():
    found = Covariance(np.eye(3), None, "clustered", {"u": 12}, 11.0, [])
    assert union_bound(0.95, 10, found) == pytest.approx(3.4966, abs=1e-4)  # t of 11 degrees at 99.75 % (tables)
    few = Covariance(None, np.random.default_rng(0).normal(size=(400, 1200)), "clustered", {"u": 12}, 11.0, [])
    many = few._replace(degrees_of_freedom=np.inf)
    strengths = np.linspace(-1, 1, 1200)
    assert rank_sets(strengths, few).critical > 1.5 * rank_sets(strengths, many).critical


def test_levels_beyond_the_draws_use_the_union_bound():
    found = Covariance(np.eye(4), None, "sandwich", {}, np.inf, [])
    strengths = np.zeros(4)
    critical = [rank_sets(strengths, found, level=level).critical for level in (0.9, 0.99, 0.999, 0.999999)]
    assert critical == sorted(critical) and critical[-1] == pytest.approx(5.23, abs=0.01)


def test_differences_known_exactly_are_no_rounding_errors():
    data = counted([("a", "b", 6, 4), ("b", "c", 6, 4)])
    model = BradleyTerry(cluster=None).fit(data)
    exact = model.covariance_._replace(matrix=np.full((3, 3), 0.0) + 1e-18 * np.eye(3))
    with np.errstate(all="raise"):
        sets = rank_sets(np.array([0.0, 0.0, 1e-17]), exact)
    assert sets.low.tolist() == [1, 1, 1] and sets.high.tolist() == [3, 3, 3]
    assert rank(data)["a"].rank_low == 1
