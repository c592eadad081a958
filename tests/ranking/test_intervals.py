"""Covariances against brute force, bootstrap against closed form, rank sets, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from preflearn.errors import InputError
from preflearn.ranking import BradleyTerry, Davidson, RaoKupper
from preflearn.ranking import newton as newton_module
from preflearn.ranking.covariance import covariance
from preflearn.ranking.newton import newton
from preflearn.ranking.ranksets import rank_sets
from preflearn.ranking.scores import cluster_scores
from tests.ranking.makers import battles, simulated
from tests.ranking.test_solver import LINKS, design_of


def brute_force(design, fit):
    """Score [C, n + q] of every cell, written out densely."""
    scores = design.scores(fit.parameters)
    rows = np.zeros((len(design.row), design.size))
    for cell, row in enumerate(design.row):
        rows[cell, design.left[row]] += scores[cell, 0]
        rows[cell, design.right[row]] -= scores[cell, 0]
        rows[cell, design.n : design.n + design.p] = scores[cell, 0] * design.features[row]
        rows[cell, design.n + design.p :] = scores[cell, 1:]
    return rows


@pytest.mark.parametrize("link", LINKS, ids=lambda link: "/".join(link.outcomes))
def test_sandwiches_equal_brute_force(link):
    design = design_of(link)
    fit = newton(design, np.concatenate([np.zeros(design.n + design.p), link.initial()]))
    per_cell = brute_force(design, fit)
    bread = np.linalg.pinv(fit.information.dense())
    weight = design.cells.weight
    expected = bread @ (per_cell.T @ (weight[:, None] ** 2 * per_cell)) @ bread
    found = covariance(design, fit, kind="sandwich").matrix
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)
    user = design.cells.clusters["u"].toarray()
    by_user = user @ per_cell
    np.testing.assert_allclose(cluster_scores(design, fit, "u").toarray(), by_user, atol=1e-10)
    clusters = len(user)
    expected = bread @ (clusters / (clusters - 1) * by_user.T @ by_user) @ bread
    found = covariance(design, fit, kind="clustered", clusters=("u",))
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-6, atol=1e-12)
    assert found.degrees_of_freedom == clusters - 1
    np.testing.assert_allclose(covariance(design, fit, kind="model").matrix, bread, rtol=1e-6, atol=1e-10)
    # The scores of all votes sum to zero at the maximum.
    np.testing.assert_allclose(by_user.sum(0), 0, atol=1e-5)


def test_one_vote_per_cluster_is_the_plain_sandwich():
    data, _ = simulated(600)
    plain = Davidson(cluster=None).fit(data).covariance_.matrix
    own = Davidson(cluster="comparison_id").fit(data).covariance_.matrix
    np.testing.assert_allclose(own, plain * 600 / 599, rtol=1e-9)


def test_two_ways_add_and_subtract_the_intersection():
    data, _ = simulated(2000, annotators=30)
    data = data.replace(comparisons=data.comparisons.with_columns(task=data.comparisons["response_a"]))
    fit = lambda cluster: Davidson(cluster=cluster).fit(data)  # noqa: E731
    both = fit(("annotator_id", "task"))
    one, two = fit("annotator_id").covariance_.matrix, fit("task").covariance_.matrix
    pair = data.comparisons["annotator_id"].cast(str) + "|" + data.comparisons["task"]
    cut = Davidson(cluster="pair").fit(data.replace(comparisons=data.comparisons.with_columns(pair=pair)))
    expected = one + two - cut.covariance_.matrix
    values, vectors = np.linalg.eigh(expected)
    repaired = (vectors * np.maximum(values, 0)) @ vectors.T
    np.testing.assert_allclose(both.covariance_.matrix, repaired, atol=1e-9)


@pytest.mark.parametrize("cluster", [None, "annotator_id"])
def test_bootstrap_agrees_with_the_sandwich(cluster):
    data, _ = simulated(3000, annotators=120, spread=0.6)
    closed = Davidson(cluster=cluster).fit(data).covariance_.standard_errors()
    resampled = Davidson(cluster=cluster, interval="bootstrap", n_bootstrap=400, seed=1).fit(data)
    np.testing.assert_allclose(resampled.covariance_.standard_errors(), closed, rtol=0.15)
    again = Davidson(cluster=cluster, interval="bootstrap", n_bootstrap=400, seed=1).fit(data)
    np.testing.assert_array_equal(again.replicates_, resampled.replicates_)


def test_bootstrap_cannot_resample_two_ways():
    data, _ = simulated(300)
    with pytest.raises(InputError, match="one kind of cluster"):
        BradleyTerry(cluster=("annotator_id", "shown_first"), interval="bootstrap").fit(data)


@pytest.mark.parametrize("kind", ["model", "sandwich", "clustered"])
def test_draws_carry_the_covariance_of_large_problems(kind, monkeypatch):
    data, _ = simulated(4000, annotators=200, spread=0.5)
    cluster = "annotator_id" if kind == "clustered" else None
    interval = "model" if kind == "model" else "sandwich"
    exact = BradleyTerry(cluster=cluster, interval=interval).fit(data)
    monkeypatch.setattr(newton_module, "DENSE_LIMIT", 0)
    drawn = BradleyTerry(cluster=cluster, interval=interval).fit(data)
    assert drawn.covariance_.matrix is None and exact.covariance_.draws is None
    np.testing.assert_allclose(
        drawn.covariance_.standard_errors(), exact.covariance_.standard_errors(), rtol=4 / np.sqrt(2 * 400)
    )
    assert any("estimated from 400 draws" in warning for warning in drawn.warnings_) or kind == "model"
    for options in ({"scale": "probability"}, {"anchor": "m3"}):
        one, two = exact.leaderboard(**options), drawn.leaderboard(**options)
        for standing in one.items:
            assert two[standing.item].se == pytest.approx(standing.se, rel=4 / np.sqrt(2 * 400))


def test_rank_sets_hold_all_true_ranks_at_once():
    # 10 items in two close groups; with probability .95 every true rank lies in its set.
    theta = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 1.0, 1.05, 1.1, 1.15, 1.2])
    true_rank = 1 + np.array([(theta > value).sum() for value in theta])
    generator = np.random.default_rng(0)
    hits, separated = [], []
    for repeat in range(200):
        a = generator.integers(0, 10, 3000)
        b = (a + generator.integers(1, 10, 3000)) % 10
        won = generator.random(3000) < 1 / (1 + np.exp(theta[b] - theta[a]))
        model = BradleyTerry(cluster=None, interval="model", seed=repeat)
        from preflearn.ranking import votes_of_codes

        model.fit_votes(votes_of_codes([f"m{i}" for i in range(10)], a, b, won.astype(int), model.link()))
        sets = rank_sets(model.strengths_, model.covariance_, n_draws=500, seed=repeat)
        hits.append(((sets.low <= true_rank) & (true_rank <= sets.high)).all())
        separated.append(sets.high[5:].max() <= 5)
    assert np.mean(hits) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 200)
    assert np.mean(separated) > 0.9  # the sets are not vacuous: the groups are told apart


def test_tiers_follow_the_rank_sets():
    data, _ = simulated(6000, n_items=5)
    board = Davidson().fit(data).leaderboard()
    tiers = [standing.tier for standing in board.items]
    assert tiers == sorted(tiers) and tiers[0] == 1
    for standing in board.items:
        assert standing.rank_low <= standing.rank_high
    assert tiers[-1] == 5  # strengths half a logit apart are separated by 6,000 votes


def coverage(make, truth, model, repeats, seed=0, **options):
    hits, total = 0, 0
    for repeat in range(repeats):
        data = make(seed + repeat)
        fitted = model(seed=repeat, **options).fit(data)
        board = fitted.leaderboard()
        for index, target in enumerate(truth):
            standing = board[f"m{index}"]
            hits += standing.low <= target <= standing.high
            total += 1
    return hits / total


@pytest.mark.slow
def test_coverage_of_independent_votes_and_of_davidson_ties():
    truth = np.linspace(-1, 1, 12)
    make_ties = lambda seed: simulated(3000, 12, seed=seed, log_tie=-1.4)[0]  # noqa: E731
    make_plain = lambda seed: simulated(3000, 12, seed=seed, log_tie=-np.inf)[0]  # noqa: E731
    for interval in ("model", "sandwich"):
        assert 0.93 <= coverage(make_plain, truth, BradleyTerry, 300, cluster=None, interval=interval) <= 0.97
        assert 0.93 <= coverage(make_ties, truth, Davidson, 300, cluster=None, interval=interval) <= 0.97
    half_wins = coverage(make_ties, truth, BradleyTerry, 100, cluster=None)
    assert half_wins < 0.9


@pytest.mark.slow
def test_coverage_of_heterogeneous_annotators_needs_clusters():
    truth = pseudo_true(12, 0.8)
    make = lambda seed: simulated(  # noqa: E731
        30_000, 12, seed=seed, log_tie=-np.inf, annotators=60, spread=0.8
    )[0]
    assert 0.93 <= coverage(make, truth, BradleyTerry, 200, cluster="annotator_id") <= 0.97
    assert coverage(make, truth, BradleyTerry, 100, cluster=None) < 0.7


def pseudo_true(n, spread):
    """Centred strengths that a Bradley-Terry fit to infinitely many annotators would have."""
    theta = np.linspace(-1, 1, n)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    gaps = theta[:, None] - theta[None, :]
    share = ((1 / (1 + np.exp(-(gaps[..., None] + np.sqrt(2) * spread * nodes)))) * weights).sum(-1) / weights.sum()
    rows = [(i, j) for i in range(n) for j in range(i + 1, n)]
    data = battles(
        [(f"m{i:02d}", f"m{j:02d}", None) for i, j in rows], probability=[float(share[i, j]) for i, j in rows]
    )
    return BradleyTerry(cluster=None).fit(data).strengths_


def test_clustering_widens_intervals_where_people_differ_and_only_there():
    alike, _ = simulated(6000, annotators=60)
    differing, _ = simulated(6000, annotators=60, spread=0.8)
    width = {}
    for name, data in (("alike", alike), ("differing", differing)):
        for cluster in (None, "annotator_id"):
            errors = RaoKupper(cluster=cluster).fit(data).covariance_.standard_errors()[:6]
            width[name, cluster] = errors.mean()
    assert width["differing", "annotator_id"] > 1.4 * width["differing", None]
    assert width["alike", "annotator_id"] == pytest.approx(width["alike", None], rel=0.15)
