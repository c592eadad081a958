"""Simultaneous confidence sets for ranks, and tiers: what may be said about all places at once.

Source: Mogstad, Romano, Shaikh and Wilhelm 2024 (rank confidence sets from simultaneous differences); the maximum of
the studentised differences is drawn from the estimated normal distribution of the strengths.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from preflearn.ranking.cells import Floats, Ints
from preflearn.ranking.covariance import Covariance

PAIRWISE_LIMIT = 1_000
"""Up to this many items all pairs are compared; above, simultaneous intervals of single strengths, which are wider."""


class RankSets(NamedTuple):
    """Places that the data does not rule out."""

    low: Ints
    """Best possible place of each item [n], 1 = top."""
    high: Ints
    """Worst possible place [n]."""
    tier: Ints
    """Tier of each item [n], 1 = top."""
    critical: float
    """Critical value of the studentised differences."""


def rank_sets(
    strengths: Floats, covariance: Covariance, *, level: float = 0.95, n_draws: int = 2_000, seed: int = 0
) -> RankSets:
    """Rank sets that contain all true ranks at once with probability `level`, and tiers.

    An item is surely below another when the simultaneous interval for their difference excludes 0. A tier starts at
    its strongest item and holds the items that are not surely below that one.

    Args:
        strengths: [n]; the first n parameters of `covariance`.
    """
    n = len(strengths)
    if n == 1:
        one = np.ones(1, np.int64)
        return RankSets(one, one, one, 0.0)
    generator = np.random.default_rng(seed)
    draws = covariance.sample(n_draws, generator)[:, :n]
    if np.isfinite(covariance.degrees_of_freedom):
        degrees = covariance.degrees_of_freedom
        draws = draws * np.sqrt(degrees / generator.chisquare(degrees, (n_draws, 1)))
    if n <= PAIRWISE_LIMIT:
        below, critical = _pairwise(strengths, covariance, draws, level)
        low, high = 1 + below.sum(1), n - below.sum(0)
        return RankSets(low, high, _tiers(strengths, below), critical)
    return _by_intervals(strengths, covariance, draws, level)


def _pairwise(
    strengths: Floats, covariance: Covariance, draws: Floats, level: float
) -> tuple[npt.NDArray[np.bool_], float]:
    """Whether item i is surely below item j [n, n], and the critical value."""
    n = len(strengths)
    spread = difference_errors(covariance, n)
    # Errors that are nothing but rounding would make ratios of rounding errors.
    exact = spread <= 1e-7 * spread.max(initial=0.0)
    safe = np.where(exact, np.inf, spread)
    largest = np.zeros(len(draws))
    for i in range(n - 1):
        ratio = np.abs(draws[:, i + 1 :] - draws[:, i, None])
        ratio /= safe[i, i + 1 :]
        np.maximum(largest, ratio.max(1), out=largest)
    critical = _quantile(largest, level, n * (n - 1) // 2, covariance)
    gap = strengths[None, :] - strengths[:, None]
    return gap > critical * spread + 1e-9, critical


def _quantile(largest: Floats, level: float, tests: int, covariance: Covariance) -> float:
    """Quantile of drawn maxima; the union bound where draws are too few to reach it."""
    if (1 - level) * len(largest) >= 10:
        return float(np.quantile(largest, level))
    return union_bound(level, tests, covariance)


def union_bound(level: float, tests: int, covariance: Covariance) -> float:
    """Critical value at which so many two-sided tests hold at once (Bonferroni)."""
    degrees = min(max(covariance.degrees_of_freedom, 1.0), 1e9)
    return float(-stdtrit(degrees, (1 - level) / (2 * tests)))


def difference_errors(covariance: Covariance, n: int) -> Floats:
    """Standard errors of all differences of strengths [n, n]."""
    if covariance.matrix is not None:
        block = covariance.matrix[:n, :n]
        diagonal = np.diagonal(block)
        return np.sqrt(np.maximum(diagonal[:, None] + diagonal[None, :] - 2 * block, 0.0))
    assert covariance.draws is not None
    draws = covariance.draws[:, :n]
    moments = draws.T @ draws / len(draws)
    diagonal = np.diagonal(moments)
    return np.sqrt(np.maximum(diagonal[:, None] + diagonal[None, :] - 2 * moments, 0.0))


def _by_intervals(strengths: Floats, covariance: Covariance, draws: Floats, level: float) -> RankSets:
    errors = covariance.standard_errors()[: len(strengths)]
    if covariance.matrix is None:  # resampled draws understate the far tail: use the union bound
        critical = union_bound(level, len(strengths), covariance)
    else:
        largest = np.max(np.abs(draws) / np.where(errors > 0, errors, np.inf), axis=1)
        critical = _quantile(largest, level, len(strengths), covariance)
    lower, upper = strengths - critical * errors, strengths + critical * errors
    n = len(strengths)
    low = 1 + n - np.searchsorted(np.sort(lower), upper, side="right")
    high = n - np.searchsorted(np.sort(upper), lower, side="left")
    order = np.argsort(-strengths, kind="stable")
    tier = np.empty(n, np.int64)
    current, floor = 0, np.inf
    for item in order:
        if upper[item] < floor:
            current, floor = current + 1, lower[item]
        tier[item] = current
    return RankSets(low, high, tier, critical)


def _tiers(strengths: Floats, below: npt.NDArray[np.bool_]) -> Ints:
    tier = np.empty(len(strengths), np.int64)
    current, head = 0, -1
    for item in np.argsort(-strengths, kind="stable"):
        if head < 0 or below[item, head]:
            current, head = current + 1, int(item)
        tier[item] = current
    return tier
