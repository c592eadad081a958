"""The bootstrap where resampling meets weights, lone votes, fragile items and many items."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from preflearn.errors import NotComputable
from preflearn.ranking import BradleyTerry, Davidson, rank, rank_by
from preflearn.ranking import newton as newton_module
from tests.ranking.makers import battles, simulated


def says(warnings, text):
    return any(text in warning for warning in warnings)


def test_weights_that_differ_within_a_cell_widen_the_bootstrap_as_they_widen_the_sandwich():
    generator = np.random.default_rng(0)
    n = 4000
    i = generator.integers(0, 3, n)
    j = (i + 1 + generator.integers(0, 2, n)) % 3
    won = generator.random(n) < 0.6
    rows = [("abc"[p], "abc"[q], "a" if y else "b") for p, q, y in zip(i, j, won)]
    weight = np.exp(generator.normal(0, 1.5, n))
    data = battles(rows, weight=weight)
    closed = BradleyTerry(cluster=None).fit(data).covariance_.standard_errors()
    resampled = BradleyTerry(cluster=None, interval="bootstrap", n_bootstrap=400).fit(data)
    np.testing.assert_allclose(resampled.covariance_.standard_errors(), closed, rtol=0.15)
    plain = BradleyTerry(cluster=None).fit(battles(rows)).covariance_.standard_errors()
    assert (closed > 2 * plain).all()


def test_clusters_and_votes_without_one_are_resampled_together():
    data, _ = simulated(3000, annotators=100, spread=0.6)
    some = np.arange(3000) % 3 == 0
    people = [None if lone else u for lone, u in zip(some, data.comparisons["annotator_id"])]
    data = data.replace(comparisons=data.comparisons.with_columns(annotator_id=pl.Series(people)))
    closed = Davidson().fit(data)
    resampled = Davidson(interval="bootstrap", n_bootstrap=400, seed=1).fit(data)
    np.testing.assert_allclose(resampled.covariance_.standard_errors(), closed.covariance_.standard_errors(), rtol=0.15)
    assert resampled.covariance_.clusters == {"annotator_id": 1100}


def fragile(losses: int):
    rows = [("a", "b", "a")] * 50 + [("a", "b", "b")] * 45 + [("c", "a", "a")] * 40 + [("c", "b", "a")] * 40
    return battles(rows + [("a", "c", "a")] * losses)


def test_resamples_that_lose_the_only_loss_of_an_item_are_no_estimates():
    """In a third of them the item is undefeated; where the solver happened to stop is no strength."""
    model = BradleyTerry(cluster=None, interval="bootstrap", n_bootstrap=100).fit(fragile(1))
    assert model.covariance_ is None and says(model.warnings_, "leave some strength undetermined")
    board = model.leaderboard()
    sandwich = rank(fragile(1), cluster=None)
    assert board["c"].strength == pytest.approx(sandwich["c"].strength)
    assert board["c"].se is None and board["c"].low is None and board["c"].rank_low is None
    assert model.prob(battles([("a", "b", None)]))[0] > 0.5
    with pytest.raises(NotComputable):
        model.prob_draws(battles([("a", "b", None)]), 3, 0)


def test_a_few_undetermined_resamples_are_left_out_and_said():
    model = BradleyTerry(cluster=None, interval="bootstrap", n_bootstrap=300).fit(fragile(4))
    assert says(model.warnings_, "of 300 resamples do not determine every strength")
    assert np.ptp(model.replicates_[:, 2] - model.replicates_[:, 0]) < 5
    ghost = BradleyTerry(cluster=None, interval="bootstrap", n_bootstrap=100, ghost=0.5).fit(fragile(1))
    assert ghost.covariance_ is not None and not says(ghost.warnings_, "resamples")


def test_ties_lost_in_a_resample_leave_the_tie_parameter_undetermined():
    rows = [("a", "b", "a"), ("a", "b", "b")] * 100 + [("a", "b", "tie")] * 4
    model = Davidson(cluster=None, interval="bootstrap", n_bootstrap=300).fit(battles(rows))
    assert says(model.warnings_, "do not determine")
    assert model.replicates_[:, -1].min() > -7


def test_a_group_whose_resamples_fail_does_not_take_the_others_along():
    rows = [("a", "b", "a"), ("a", "b", "b")] * 50 + [("a", "b", "a"), ("a", "b", "b")]
    data = battles(rows, source=["many"] * 100 + ["few"] * 2)
    boards = rank_by(data, "source", interval="bootstrap", n_bootstrap=50)
    assert boards["many"]["a"].se > 0 and boards["few"]["a"].se is None


def test_replicates_of_many_items_hold_no_items_by_items_matrix(monkeypatch):
    data, _ = simulated(3000)
    small = BradleyTerry(cluster=None, interval="bootstrap", n_bootstrap=100).fit(data)
    monkeypatch.setattr(newton_module, "DENSE_LIMIT", 0)
    large = BradleyTerry(cluster=None, interval="bootstrap", n_bootstrap=100).fit(data)
    assert large.covariance_.matrix is None
    np.testing.assert_allclose(large.covariance_.standard_errors(), small.covariance_.standard_errors(), rtol=1e-3)


def test_resamples_too_few_for_a_level_are_said():
    model = BradleyTerry(cluster=None, interval="bootstrap", n_bootstrap=30).fit(simulated(500)[0])
    assert says(model.leaderboard(level=0.99).warnings, "30 resamples are too few for intervals of level 0.99")
    assert not says(model.leaderboard(level=0.9).warnings, "too few")
