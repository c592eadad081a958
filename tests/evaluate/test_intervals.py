"""Intervals, the bootstrap, the slope and the metrics: closed forms and published values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflearn.errors import NotComputable
from preflearn.evaluate import calibration, metrics
from preflearn.evaluate.figures import Figure, missing
from preflearn.evaluate.intervals import (
    MAX_UNITS,
    Bootstrap,
    Sums,
    Units,
    mean,
    percentile,
    proportion,
    quantile_normal,
    quantile_t,
    ratio_variance,
    wilson,
)
from preflearn.evaluate.slopes import logistic_slope

ONES = np.ones(1)


def test_wilson_known_values() -> None:
    # 8 of 10, and 0 of 10, whose upper end is z^2 / (n + z^2)
    assert wilson(0.8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    z2 = 1.959963985**2
    assert wilson(0.0, 10) == pytest.approx((0.0, z2 / (10 + z2)), abs=1e-8)


def test_independent_judgments_give_the_textbook_variance() -> None:
    p, n = 0.3, 50
    sums = Sums(np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.array([15.0, 35.0]))
    assert ratio_variance(sums) == pytest.approx(p * (1 - p) / (n - 1))
    figure = proportion(sums, n)
    effective = (n - 1) * (quantile_normal(0.95) / quantile_t(0.95, n - 1)) ** 2
    assert (figure.value, figure.low, figure.high) == pytest.approx((p, *wilson(p, effective)))
    assert mean(sums, n).high == pytest.approx(p + quantile_t(0.95, n - 1) * math.sqrt(p * (1 - p) / (n - 1)))


def test_identical_answers_within_clusters_count_once() -> None:
    rows = Sums(np.array([1.0, 0.0]), np.ones(2), np.array([6.0, 4.0]))
    clusters = Sums(np.array([25.0, 0.0]), np.full(2, 25.0), np.array([6.0, 4.0]))
    assert proportion(clusters, 250).low == pytest.approx(proportion(rows, 10).low or 0)


def test_degenerate_shares() -> None:
    everyone = proportion(Sums(np.full(8, 3.0), np.full(8, 3.0)), 24)
    assert (everyone.value, everyone.high) == (1.0, 1.0)
    assert everyone.low == pytest.approx(wilson(1.0, 8).low)
    lonely = proportion(Sums(np.array([2.0]), np.array([3.0])), 3, unit="annotator")
    assert lonely.value == pytest.approx(2 / 3)
    assert lonely.reason == "all of it comes from one annotator"
    assert proportion(Sums(np.zeros(0), np.zeros(0)), 0).value is None
    with pytest.raises(NotComputable):
        ratio_variance(Sums(ONES, ONES))
    assert mean(Sums(np.zeros(0), np.zeros(0)), 0).value is None


def test_bootstrap_weights() -> None:
    blocks = list(Bootstrap(Units(np.arange(7), 7), 40, 1).weights())
    weights = np.concatenate(blocks)
    assert weights.shape == (40, 7)
    assert (weights.sum(axis=1) == 7).all()
    counted = Bootstrap(Units(np.arange(3), 3, np.array([5.0, 1.0, 4.0])), 4000, 1)
    drawn = np.concatenate(list(counted.weights())) * [5, 1, 4]
    np.testing.assert_allclose(drawn.sum(axis=1), 10)
    np.testing.assert_allclose(drawn.mean(axis=0), [5, 1, 4], atol=0.15)
    sums = np.arange(14.0).reshape(7, 2)
    np.testing.assert_allclose(Bootstrap(Units(np.arange(7), 7), 40, 1).totals(sums), weights @ sums)


def test_many_units_are_dealt_into_groups_of_the_same_spread() -> None:
    rng = np.random.default_rng(0)
    n = 5 * MAX_UNITS
    x = rng.random(n)
    units = Units(np.arange(n), n).dealt(3)
    assert units.size == MAX_UNITS
    assert np.bincount(units.code).tolist() == [5] * MAX_UNITS
    sums = np.column_stack([np.bincount(units.code, weights=x), np.full(MAX_UNITS, 5.0)])
    totals = Bootstrap(units, 400, 0).totals(sums)
    spread = (totals[:, 0] / totals[:, 1]).std()
    # the standard deviation of 400 replicates is itself known to 3.5 %: 4 sigma
    assert spread == pytest.approx(x.std() / math.sqrt(n), rel=0.15)


def test_percentiles_need_values() -> None:
    assert percentile(np.arange(101.0), 0.9) == pytest.approx((5, 95))
    with pytest.raises(NotComputable, match="too few"):
        percentile(np.r_[np.full(20, np.nan), np.arange(80.0)])


def test_slope_closed_form() -> None:
    # x is 1 towards the side that wins 30 of 40 times: beta = log 3, sandwich variance 1 / ((n - 1) p q)
    x, y = np.array([1.0, 1.0, -1.0]), np.array([1.0, 0.0, 0.0])
    count = np.array([12.0, 10.0, 18.0])
    found = logistic_slope(x, y, count, np.full(3, -1))
    assert found.value == pytest.approx(math.log(3), abs=1e-9)
    half = quantile_t(0.95, 39) / math.sqrt(39 * 0.75 * 0.25)
    assert (found.low, found.high) == pytest.approx((math.log(3) - half, math.log(3) + half))
    assert found.n == 40


def test_slope_is_the_maximum_likelihood_estimate() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=2000)
    y = (rng.random(2000) < 1 / (1 + np.exp(-1.5 * x))).astype(float)
    found = logistic_slope(x, y, np.ones(2000), np.arange(2000) // 10)
    assert found.value is not None and found.low is not None and found.high is not None
    gradient = x @ (y - 1 / (1 + np.exp(-found.value * x)))
    assert abs(gradient) < 1e-6
    se = 1 / math.sqrt((x**2 / (2 + 2 * np.cosh(found.value * x))).sum())
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(se, rel=0.2)
    assert abs(found.value - 1.5) < 4 * se
    turned = logistic_slope(-x, 1 - y, np.ones(2000), np.arange(2000) // 10)
    assert (turned.value, turned.low) == pytest.approx((found.value, found.low))


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [([1.0, 2.0], [1.0, 1.0], "without exception"), ([0.0, 0.0], [1.0, 0.0], "never differ")],
)
def test_slope_reasons(x: list[float], y: list[float], reason: str) -> None:
    found = logistic_slope(np.array(x), np.array(y), np.ones(2), np.full(2, -1))
    assert found.value is None and reason in (found.reason or "")


def test_slope_of_one_cluster_has_no_interval() -> None:
    found = logistic_slope(np.array([1.0, 1.0]), np.array([1.0, 0.0]), np.ones(2), np.zeros(2, int), unit="annotator")
    assert found.value == pytest.approx(0.0)
    assert found.low is None and "one annotator" in (found.reason or "")


# -- metrics and calibration -------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0]), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 3)
        ),
        min_size=1,
        max_size=12,
    )
)
def test_mirrored_area_is_the_area_over_both_orders(rows: list[tuple[float, float, int]]) -> None:
    p, y, w = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    # the definition, by brute force over all pairs of (won side, lost side) scores
    score = np.concatenate([p, 1 - p])
    won, lost = np.concatenate([w * y, w * (1 - y)]), np.concatenate([w * (1 - y), w * y])
    difference = (score[:, None] - score[None, :]).round(9)
    above = (difference > 0) + 0.5 * (difference == 0)
    expected = won @ above @ lost / (won.sum() * lost.sum())
    edges = metrics.mirrored_edges(np.column_stack([y, np.zeros_like(y), 1 - y]), p, w)
    values, block = np.unique(np.maximum(p, 1 - p).round(9), return_inverse=True)
    mass, edge = (np.bincount(block, weights=c, minlength=len(values)) for c in edges)
    assert metrics.mirrored_area(mass, edge) == pytest.approx(expected)


def test_bins_hold_equal_mass_and_equal_predictions_stay_together() -> None:
    q = np.r_[np.linspace(0.5, 0.9, 60), np.full(40, 0.95)]
    code = calibration.equal_mass(q, np.ones(100))
    assert len(set(code[60:])) == 1
    sizes = np.bincount(code)
    assert sizes.max() == 40 and (np.abs(sizes[:-1] - 10) <= 1).all()
    assert (np.diff(code) >= 0).all()
    assert calibration.equal_mass(np.full(5, 0.7), np.zeros(5)).tolist() == [0] * 5


def test_calibration_error_by_hand() -> None:
    # 20 at .6 of which 10 came true, 20 at .9 (as .1) of which 19 came true
    p = np.r_[np.full(20, 0.6), np.full(20, 0.1)]
    y = np.r_[np.ones(10), np.zeros(10), np.zeros(19), np.ones(1)]
    folded = calibration.fold(p, y)
    code = calibration.equal_mass(folded.q, np.ones(40))
    gaps = calibration.gap_columns(folded, np.ones(40), code).sum(axis=0)
    assert calibration.calibration_error(gaps, np.array(40.0)) == pytest.approx((20 * 0.1 + 20 * 0.05) / 40)
    rows = calibration.bin_table(folded, np.ones(40), np.ones(40), code)
    assert [row.n for row in rows] == [20, 20]
    np.testing.assert_allclose([(row.confidence, row.won) for row in rows], [(0.6, 0.5), (0.9, 0.95)])


def test_calibration_interval_reaches_zero_only_when_noise_explains_it() -> None:
    rng = np.random.default_rng(2)

    def replicates(gap: float) -> tuple[float, np.ndarray, np.ndarray]:
        gaps = rng.normal([gap, -gap, gap], 0.01, size=(4000, 3))
        return float(3 * gap), gaps, np.ones(4000)

    value, gaps, total = replicates(0.004)
    assert calibration.interval(value, gaps, total).low == 0.0
    value, gaps, total = replicates(0.1)
    low, high = calibration.interval(value, gaps, total)
    assert 0.25 < low < value < high < 0.35
    assert calibration.noise_floor(gaps, total) == pytest.approx(3 * 0.01 * math.sqrt(2 / math.pi), rel=0.05)


def test_figures_speak() -> None:
    assert missing("it rains").text() == "not computable because it rains"
    assert Figure(0.6124, 0.58, 0.64, 1204).text() == "0.612 [0.580, 0.640] (n = 1,204)"
    assert Figure(0.6124, 0.58, 0.64, 1204).text(percent=True) == "61.2% [58.0, 64.0] (n = 1,204)"
    assert "interval not computable because" in Figure(0.5, n=1, reason="it rains").text()
    assert Figure(0.5, 0.4, 0.6, 9).as_dict() == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
