"""Mistakes found in widely used rating code, each with the result that shows it is not made here.

The wrong results are computed in the test from the formula that makes the mistake, so that the contrast is seen.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from preflearn.choice import Binary
from preflearn.choice import Davidson as DavidsonLink
from preflearn.ranking import BradleyTerry, Davidson, rank, votes_of_codes
from preflearn.ranking.cells import cells_of_votes
from preflearn.ranking.votes import Votes
from tests.ranking.makers import battles, counted, simulated


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def contextual_votes(n=20_000, coefficient=0.25, seed=0):
    generator = np.random.default_rng(seed)
    theta = np.linspace(-1, 1, 12)
    a = generator.integers(0, 12, n)
    b = (a + generator.integers(1, 12, n)) % 12
    feature = generator.normal(size=n)
    won = generator.random(n) < sigmoid(theta[a] - theta[b] + coefficient * feature)
    cells = cells_of_votes(a, b, won.astype(int), 12, np.eye(2), features=feature[:, None])
    items = tuple(f"m{i:02d}" for i in range(12))
    votes = Votes(items, Binary(), cells, n, {}, None, covariates=("style",), covariate_scale=(1.0,))
    return votes, theta


def test_a_ridge_of_one_does_not_swallow_the_style_effect():
    """A penalty of 1 on a *mean* loss weighs as much as 20,000 on the sum, and shrinks 0.25 to about 0.02."""
    covered, estimates = 0, []
    for seed in range(20):
        votes, theta = contextual_votes(seed=seed)
        model = BradleyTerry(cluster=None, covariate_ridge=1.0).fit_votes(votes)
        effect = model.leaderboard().effects[0]
        covered += effect.low < 0.25 < effect.high
        estimates.append(effect.estimate)
        np.testing.assert_allclose(model.strengths_, theta, atol=0.15)
    assert covered >= 16 and abs(np.mean(estimates) - 0.25) < 0.015
    swallowed = BradleyTerry(cluster=None, covariate_ridge=20_000).fit_votes(votes)
    assert swallowed.leaderboard().effects[0].estimate < 0.05


def test_the_fit_does_not_stop_after_two_iterations():
    """Two steps of the minorise-maximise iteration reach about 0.8 of the true spread; a full fit reaches 1."""
    generator = np.random.default_rng(0)
    n = 20
    theta = np.linspace(-1.5, 1.5, n)
    a = generator.integers(0, n, 200_000)
    b = (a + generator.integers(1, n, 200_000)) % n
    won = (generator.random(200_000) < sigmoid(theta[a] - theta[b])).astype(int)
    model = BradleyTerry(cluster=None)
    fitted = model.fit_votes(votes_of_codes([f"m{i:02d}" for i in range(n)], a, b, won, model.link()))
    slope = lambda estimate: np.polyfit(theta, estimate, 1)[0]  # noqa: E731
    assert slope(fitted.strengths_) == pytest.approx(1, abs=0.02)
    wins = np.zeros((n, n))
    np.add.at(wins, (np.where(won, a, b), np.where(won, b, a)), 1)
    pi = np.ones(n)
    for _ in range(2):
        pi = wins.sum(1) / ((wins + wins.T) / (pi[:, None] + pi[None, :])).sum(1)
        pi /= pi.sum()
    assert slope(np.log(pi)) < 0.9
    gradient = fitted.design_.evaluate(fitted.fit_.parameters).gradient
    assert np.abs(gradient).max() < 1e-3


def test_the_score_of_every_annotator_is_the_derivative_of_their_votes():
    """The gradient per annotator adds up all votes of an annotator (not the last one) and is indexed right."""
    from preflearn.ranking.scores import cluster_scores

    data, _ = simulated(400, annotators=7)
    fitted = Davidson(cluster="annotator_id", interval="sandwich").fit(data)
    design, fit = fitted.design_, fitted.fit_
    scores = cluster_scores(design, fit, "annotator_id").toarray()
    matrix = design.cells.clusters["annotator_id"].toarray()
    step = 1e-6
    for annotator in range(7):
        weights = design.row_weights(matrix[annotator])
        for k in range(design.size):
            shift = step * np.eye(design.size)[k]
            up, down = (design.value(fit.parameters + sign * shift, weights) for sign in (1, -1))
            assert (up - down) / (2 * step) == pytest.approx(scores[annotator, k], abs=1e-5)


def test_an_undefeated_item_has_no_interval_of_width_zero_and_the_others_keep_theirs():
    board = rank(counted([("a", "b", 60, 40), ("c", "a", 50, 0), ("c", "b", 50, 0)]), cluster=None)
    assert board["c"].status == "undefeated" and board["c"].low is None
    assert board["a"].strength == pytest.approx(np.log(1.5) / 2, abs=1e-9)
    assert board["b"].strength == pytest.approx(-np.log(1.5) / 2, abs=1e-9)


def test_components_are_not_given_intervals_as_if_comparable():
    board = rank(counted([("a", "b", 60, 40), ("c", "d", 60, 30)]), cluster=None)
    assert [board[item].strength is None for item in "abcd"] == [False, False, True, True]


def test_the_order_in_which_a_tie_names_its_sides_is_irrelevant():
    """A tie must move both sides the same way whichever is named first."""
    for model in (BradleyTerry, Davidson):
        base = [("a", "b", "a"), ("b", "a", "a"), ("b", "c", "a"), ("c", "b", "a"), ("a", "c", "b")]
        one = model(cluster=None).fit(battles([*base, ("a", "c", "tie")]))
        two = model(cluster=None).fit(battles([*base, ("c", "a", "tie")]))
        np.testing.assert_allclose(one.strengths_, two.strengths_, atol=1e-12)
    # Between equals a tie changes nothing.
    even = battles([("a", "b", "a"), ("a", "b", "b"), ("a", "b", "tie")])
    np.testing.assert_allclose(Davidson(cluster=None).fit(even).strengths_, 0, atol=1e-12)


def test_a_hundred_bootstrap_refits_take_no_longer_than_a_coffee():
    """100,000 votes, 50 items: process pools and per-vote jackknives need minutes here."""
    generator = np.random.default_rng(0)
    theta = generator.normal(size=50)
    a = generator.integers(0, 50, 100_000)
    b = (a + generator.integers(1, 50, 100_000)) % 50
    won = (generator.random(100_000) < sigmoid(theta[a] - theta[b])).astype(int)
    model = BradleyTerry(cluster=None, interval="bootstrap", n_bootstrap=100)
    start = time.process_time()
    model.fit_votes(votes_of_codes([f"m{i:02d}" for i in range(50)], a, b, won, model.link()))
    assert time.process_time() - start < 10
    closed = BradleyTerry(cluster=None, interval="model")
    closed.fit_votes(votes_of_codes([f"m{i:02d}" for i in range(50)], a, b, won, closed.link()))
    np.testing.assert_allclose(model.covariance_.standard_errors(), closed.covariance_.standard_errors(), rtol=0.35)


def test_ties_do_not_compress_the_scale_of_davidson():
    """Ties as half wins draw strengths together by about 15 %; Davidson keeps the scale."""
    generator = np.random.default_rng(0)
    n = 30
    theta = generator.normal(size=n)
    theta -= theta.mean()
    a = generator.integers(0, n, 100_000)
    b = (a + generator.integers(1, n, 100_000)) % n
    y = np.asarray(DavidsonLink().sample(theta[a] - theta[b], (np.log(0.2835),), generator))
    rows = [(f"m{i:02d}", f"m{j:02d}", ("b", "tie", "a")[k]) for i, j, k in zip(a, b, y)]
    data = battles(rows)
    slope = lambda model: np.polyfit(theta, model(cluster=None).fit(data).strengths_, 1)[0]  # noqa: E731
    assert slope(Davidson) == pytest.approx(1, abs=0.02)
    assert slope(BradleyTerry) < 0.9
