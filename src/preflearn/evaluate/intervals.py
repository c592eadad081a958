"""Intervals for judgments that are not independent: Wilson, clustered ratios, and the cluster bootstrap by reweighting.

Works on sums per cluster; knows nothing about comparisons or models.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.special as special

from preflearn.errors import NotComputable
from preflearn.evaluate.figures import Figure, Interval, estimate, missing

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_UNITS = 5_000
"""More clusters than this are dealt at random into so many groups, which are resampled instead."""
_BLOCK = 5_000_000
"""Resampling weights held in memory at once."""


@dataclass(frozen=True)
class Settings:
    """How intervals are made."""

    n_bootstrap: int = 1000
    seed: int = 0
    level: float = 0.95


def quantile_normal(level: float) -> float:
    """Two-sided standard normal quantile."""
    return float(special.ndtri(0.5 + level / 2))


def quantile_t(level: float, degrees: float) -> float:
    """Two-sided Student quantile."""
    return float(special.stdtrit(degrees, 0.5 + level / 2))


def wilson(share: float, n: float, level: float = 0.95) -> Interval:
    """Score interval of a proportion.

    Args:
        share: observed proportion in [0, 1].
        n: number of independent trials behind it (an effective number need not be whole).
        level: nominal coverage.

    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22, 209-212.
    """
    z2 = quantile_normal(level) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Interval(max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


def expanded(level: float, clusters: int) -> float:
    """The level whose percentiles, over resamples of so many clusters, are as wide as a t interval of that level.

    Plain percentiles are short with few clusters: a resample's variance lacks the factor U / (U - 1), and a normal
    quantile stands where a t quantile belongs. With 10 clusters 0.95 becomes 0.984, with 1,000 it stays 0.950.

    Raises:
        NotComputable: fewer than two clusters.

    Source: Hesterberg (2015), What teachers should know about the bootstrap, The American Statistician 69, 371-386,
    "expanded percentile" (formula as others implement it; the text was not read).
    """
    if clusters < 2:
        raise NotComputable("all of it comes from one cluster")
    return float(2 * special.ndtr(math.sqrt(clusters / (clusters - 1)) * quantile_t(level, clusters - 1)) - 1)


def stretched(value: float, ends: Interval, by: float) -> Interval:
    """An interval drawn out about the estimate; it never gets shorter."""
    low, high = ends
    return Interval(min(low, value - by * (value - low)), max(high, value + by * (high - value)))


def two_way_variance(first: float, second: float, both: float) -> float:
    """Variance of a figure whose rows share two crossed clusterings: V1 + V2 - V12.

    It is at least the larger of the one-way variances, which also settles cases where the difference is not positive.

    Args:
        first, second, both: variances of one figure, clustered by the first, by the second, by the cells.

    Source: Cameron, Gelbach and Miller (2011), Robust inference with multiway clustering, J. Business & Economic
    Statistics 29, 238-249; the lower bound as in MacKinnon, Nielsen and Webb (2024), arXiv:2406.08880 (abstracts read).
    """
    return max(first + second - both, first, second)


def cell_sums(code: Ints, size: int, values: Floats, block: Ints, blocks: int) -> Floats:
    """Sums of row values per cluster and block: codes, values and blocks [n] -> [size, blocks]."""
    flat = np.bincount(code * blocks + block, weights=values, minlength=size * blocks)
    return flat.astype(np.float64).reshape(size, blocks)


def cluster_sums(code: Ints, size: int, columns: Floats) -> Floats:
    """Sums of row values per cluster: codes [n], columns [n, m] -> [size, m]."""
    out = np.empty((size, columns.shape[1]))
    for j in range(columns.shape[1]):
        out[:, j] = np.bincount(code, weights=columns[:, j], minlength=size)
    return out


class Sums(NamedTuple):
    """What a ratio is made of, per cluster.

    Attributes:
        numerator, denominator: sums of one cluster, [U].
        alike: identical clusters that each entry stands for, [U]; None = 1.
    """

    numerator: Floats
    denominator: Floats
    alike: Floats | None = None

    @property
    def times(self) -> Floats:
        """Identical clusters per entry, 0 where there is no denominator: [U]."""
        held = (self.denominator != 0).astype(np.float64)
        return held if self.alike is None else np.asarray(held * self.alike)

    @property
    def clusters(self) -> int:
        """How many clusters have a denominator."""
        return round(float(self.times.sum()))

    @property
    def total(self) -> float:
        """Sum of the denominators."""
        return float(self.times @ self.denominator)

    @property
    def ratio(self) -> float:
        """The ratio of the totals."""
        return float(self.times @ self.numerator) / self.total


def ratio_variance(sums: Sums) -> float:
    """Variance of a ratio of totals over independent clusters, by linearisation.

    Raises:
        NotComputable: fewer than two clusters have a denominator.

    Source: Cochran (1977), Sampling techniques, section 6.3, with the factor U / (U - 1).
    """
    clusters = sums.clusters
    if clusters < 2:
        raise NotComputable("all of it comes from one cluster" if clusters else "there is nothing to average")
    residual = sums.numerator - sums.ratio * sums.denominator
    return clusters / (clusters - 1) * float(sums.times @ residual**2) / sums.total**2


def proportion(sums: Sums, n: int, *, level: float = 0.95, unit: str = "cluster") -> Figure:
    """A share (0 <= numerator <= denominator) with a Wilson interval on its effective sample size.

    The effective size is share * (1 - share) / clustered variance, reduced by (z / t)^2 for the number of clusters;
    where every cluster says the same (share 0 or 1) it is the number of clusters.

    Args:
        sums: per cluster.
        n: judgments behind the figure.
        unit: what a cluster is, for the reason when there is only one.

    Source: Korn and Graubard (1998), Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data, Survey Methodology 24, 193-201; Dean and Pagano (2015), Evaluating confidence interval
    methods for binomial proportions in clustered surveys, J. Survey Statistics and Methodology 3, 484-503.
    """
    clusters = sums.clusters
    if not clusters:
        return missing("there is nothing to count", n)
    share = min(max(sums.ratio, 0.0), 1.0)

    def interval() -> Interval:
        if clusters < 2:
            raise NotComputable(f"all of it comes from one {unit}")
        variance = ratio_variance(sums)
        if share in (0.0, 1.0) or variance <= 0:
            return wilson(share, clusters, level)
        adjust = (quantile_normal(level) / quantile_t(level, clusters - 1)) ** 2
        return wilson(share, share * (1 - share) / variance * adjust, level)

    return estimate(share, interval, n)


def mean(sums: Sums, n: int, *, level: float = 0.95, unit: str = "cluster") -> Figure:
    """A mean with a clustered t interval; arguments as in `proportion`."""
    clusters = sums.clusters
    if not clusters:
        return missing("there is nothing to average", n)
    value = sums.ratio

    def interval() -> Interval:
        if clusters < 2:
            raise NotComputable(f"all of it comes from one {unit}")
        half = quantile_t(level, clusters - 1) * math.sqrt(ratio_variance(sums))
        return Interval(value - half, value + half)

    return estimate(value, interval, n)


# -- the cluster bootstrap -------------------------------------------------------------------------------------------


class Units(NamedTuple):
    """What is resampled.

    Attributes:
        code: unit of each row, [n], 0 .. size - 1.
        size: number of units.
        frequency: identical members that each unit stands for, [size] (rows with a count); None when units are single.
    """

    code: Ints
    size: int
    frequency: Floats | None = None

    def dealt(self, seed: int) -> Units:
        """At most `MAX_UNITS` units: beyond that, equal random groups of them.

        Groups of independent clusters are independent, so their bootstrap is valid; the standard error is then itself
        known to about `1 / sqrt(2 * MAX_UNITS)` = 1 %, below the noise of 1,000 replicates (2.2 %).
        """
        if self.size <= MAX_UNITS or self.frequency is not None:
            return self
        group = np.arange(self.size) % MAX_UNITS
        np.random.default_rng([seed, 1]).shuffle(group)
        return Units(group[self.code], MAX_UNITS)


@dataclass(frozen=True)
class Bootstrap:
    """Resampling of units with replacement, as integer weights; the same weights on every pass.

    Attributes:
        units: what is resampled.
        replicates: number of resamples.
        seed: of the random numbers.
    """

    units: Units
    replicates: int
    seed: int

    def weights(self) -> Iterator[Floats]:
        """Blocks [b, units] of resampling weights, `replicates` rows in all."""
        return iter(self._few) if self._few is not None else self._draw()

    @cached_property
    def _few(self) -> list[Floats] | None:
        """All weights, kept for the next pass where they are one block."""
        return list(self._draw()) if self.replicates * self.units.size <= _BLOCK else None

    def _draw(self) -> Iterator[Floats]:
        size, frequency = self.units.size, self.units.frequency
        generator = np.random.default_rng(self.seed)
        step = max(1, _BLOCK // max(size, 1))
        for start in range(0, self.replicates, step):
            rows = min(step, self.replicates - start)
            if frequency is None:
                drawn = generator.integers(0, size, size=(rows, size)) + size * np.arange(rows)[:, None]
                yield np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)
            else:
                total = round(float(frequency.sum()))
                yield generator.multinomial(total, frequency / frequency.sum(), size=rows) / frequency

    def totals(self, sums: Floats) -> Floats:
        """Resampled totals of sums per unit: [units, m] -> [replicates, m]."""
        return np.concatenate([np.asarray(block @ sums) for block in self.weights()])


def existing(replicates: Floats) -> Floats:
    """Values of the resamples in which the statistic exists (is not NaN).

    Raises:
        NotComputable: fewer than nine in ten have a value.
    """
    finite = replicates[np.isfinite(replicates)]
    if finite.size < 0.9 * replicates.size or not finite.size:
        raise NotComputable("too few clusters hold such judgments to resample them")
    return finite


def percentile(replicates: Floats, level: float = 0.95) -> Interval:
    """Percentile interval of resampled values; resamples in which the statistic does not exist (NaN) are left out.

    Raises:
        NotComputable: see `existing`.

    Source: Efron (1979), Bootstrap methods: another look at the jackknife, Annals of Statistics 7, 1-26.
    """
    low, high = np.quantile(existing(replicates), [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(low), float(high))
