"""Calibration of P(a beats b): equal-mass bins that do not depend on which side is called a, and their mean gap."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from preflearn.errors import NotComputable
from preflearn.evaluate.figures import Interval
from preflearn.evaluate.metrics import Floats

Ints = npt.NDArray[np.int64]

BINS = 10
"""Bins of confidence in [1/2, 1]; mirrored they are twice as many bins of P(a beats b)."""
DIGITS = 9
"""Predictions that agree to so many decimals are equal: 1 - 0.2 and 0.8 differ in the last bit."""
_PER_BIN = 10
"""Fewer comparisons than this per bin on average give fewer bins."""


class Bin(NamedTuple):
    """Comparisons predicted with similar confidence."""

    low: float
    """Smallest confidence in the bin."""
    high: float
    """Largest."""
    confidence: float
    """Mean predicted P(the side predicted higher wins)."""
    won: float
    """Share that this side won."""
    n: int
    """Judgments."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return self._asdict()


class Folded(NamedTuple):
    """Predictions seen from the side predicted higher: q = max(p, 1 - p) and the label of that side.

    Folding is the same as entering every comparison in both orders into bins that mirror each other at 1/2.
    """

    q: Floats
    won: Floats


def fold(p: Floats, y: Floats) -> Folded:
    """Fold P(a beats b) [n] and half labels of a [n] at 1/2."""
    higher = p > 0.5
    won = np.where(higher, y, np.where(p < 0.5, 1 - y, 0.5))
    return Folded(np.where(higher, p, 1 - p), won)


def equal_mass(q: Floats, weight: Floats, bins: int = BINS, per_bin: int = _PER_BIN) -> Ints:
    """Bin of each confidence, [n], 0 .. bins - 1: about equal weight in each; equal confidences share a bin.

    Args:
        q: confidences, [n].
        weight: [n].
        bins: at most so many, and at most one for every `per_bin` rows.
    """
    wanted = min(bins, max(1, len(q) // per_bin))
    values, inverse = np.unique(q.round(DIGITS), return_inverse=True)
    mass = np.bincount(inverse, weights=weight, minlength=len(values))
    if not mass.sum() > 0:
        return np.zeros(len(q), np.int64)
    centre = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
    _, compact = np.unique(np.minimum((centre * wanted).astype(np.int64), wanted - 1), return_inverse=True)
    return np.asarray(compact.astype(np.int64)[inverse])


def bin_table(folded: Folded, weight: Floats, count: Floats, code: Ints) -> tuple[Bin, ...]:
    """One row per bin; every array is [n]."""
    size = int(code.max()) + 1 if len(code) else 0
    mass = np.bincount(code, weights=weight, minlength=size)
    confidence = np.bincount(code, weights=weight * folded.q, minlength=size) / mass
    won = np.bincount(code, weights=weight * folded.won, minlength=size) / mass
    n = np.bincount(code, weights=count, minlength=size)
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, code, folded.q)
    np.maximum.at(high, code, folded.q)
    rows = zip(low.tolist(), high.tolist(), confidence.tolist(), won.tolist(), n.tolist(), strict=True)
    return tuple(Bin(lo, hi, c, w, round(k)) for lo, hi, c, w, k in rows)


def gap_columns(folded: Folded, weight: Floats, code: Ints) -> Floats:
    """Weighted residuals of each row in the column of its bin, [n, bins]: their sums are what the error is made of."""
    size = int(code.max()) + 1 if len(code) else 0
    columns = np.zeros((len(code), size))
    columns[np.arange(len(code)), code] = weight * (folded.won - folded.q)
    return columns


def calibration_error(gaps: Floats, total: Floats) -> Floats:
    """Expected calibration error: sum over bins of |summed residuals| / total weight: [..., bins], [...] -> [...].

    Source: Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning, AAAI;
    equal-mass bins: Nixon et al. (2019), arXiv:1904.01685.
    """
    return np.asarray(np.abs(gaps).sum(axis=-1) / total)


def interval(value: float, gaps: Floats, total: Floats, level: float = 0.95) -> Interval:
    """Interval of the calibration error, which is biased upwards: noise in a bin adds to its gap, whatever its sign.

    The low end is 0 where a perfectly calibrated model could show as much (`value` within the quantile of recentred
    resamples), else the reflected one; the high end is the larger of the reflected and the twice bias-corrected
    percentile. Simulated coverage of nominal 95 % is 88 to 95 %, where plain percentiles cover a true 0 never.

    Args:
        value: the error observed.
        gaps: resampled residual sums, [replicates, bins].
        total: resampled total weight, [replicates].

    Raises:
        NotComputable: more than one resample in ten has no weight.
    """
    shares = _shares(gaps, total)
    if len(shares) < 0.9 * len(total):
        raise NotComputable("too few clusters hold such judgments to resample them")
    errors = np.abs(shares).sum(axis=1)
    low, high = np.quantile(errors, [0.5 - level / 2, 0.5 + level / 2])
    by_chance = np.quantile(np.abs(shares - shares.mean(axis=0)).sum(axis=1), level)
    bias = errors.mean() - value
    least = 0.0 if value <= by_chance else max(0.0, 2 * value - high)
    return Interval(float(least), float(max(2 * value - low, high - 2 * bias, value)))


def noise_floor(gaps: Floats, total: Floats) -> float:
    """The error that a perfectly calibrated model would be expected to show on so much data.

    Each bin's gap would be normal around 0 with its resampled standard deviation s, and E|N(0, s)| = s sqrt(2 / pi).

    Args:
        gaps: resampled residual sums, [replicates, bins].
        total: resampled total weight, [replicates].

    Raises:
        NotComputable: more than one resample in ten has no weight.
    """
    shares = _shares(gaps, total)
    return float(shares.std(axis=0).sum() * math.sqrt(2 / math.pi)) if len(shares) else 0.0


def largest_bias(observed: Floats, gaps: Floats, total: Floats) -> float:
    """How much of the error can be bias: the noise floor of the bins whose gap chance alone could explain.

    A gap g seen with noise e is too large by E|g + e| - |g|: s sqrt(2 / pi) where g = 0, less than 2 % of s where |g|
    exceeds two standard deviations s. Two models do not share it, so it does not cancel in a difference.

    Args:
        observed: gaps, as residuals per unit of weight, [bins].
        gaps: resampled residual sums, [replicates, bins].
        total: resampled total weight, [replicates].
    """
    shares = _shares(gaps, total)
    if not len(shares):
        return 0.0
    spread = shares.std(axis=0)
    return float(spread[np.abs(observed) < 2 * spread].sum() * math.sqrt(2 / math.pi))


def _shares(gaps: Floats, total: Floats) -> Floats:
    """Residuals per unit of weight, of the resamples that drew any weight."""
    drawn = total > 0
    return np.asarray(gaps[drawn] / total[drawn, None])
