"""The same resamples of clusters for everything that is measured on some rows, clustered one way or two crossed ways.

Knows sums per cluster and statistics of them; nothing about comparisons or models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from preflearn.errors import NotComputable
from preflearn.evaluate.clusters import Clusters, crossing
from preflearn.evaluate.figures import Figure, Interval, estimate, missing
from preflearn.evaluate.intervals import (
    Bootstrap,
    Floats,
    Ints,
    Settings,
    Units,
    cell_sums,
    cluster_sums,
    existing,
    expanded,
    percentile,
    quantile_t,
    stretched,
    two_way_variance,
)

Ends = Callable[[int, float], Interval]
"""Ends of an interval from the resamples of one way of clustering (its number) at some level."""


class Cells(NamedTuple):
    """Row values that are summed per block: `value` and `block` [n], blocks 0 .. `blocks` - 1."""

    value: Floats
    block: Ints
    blocks: int


class Total(NamedTuple):
    """Sums over rows, and over the rows of each resample.

    Attributes:
        value: [m].
        resampled: for each way of clustering [replicates, m].
    """

    value: Floats
    resampled: tuple[Floats, ...]


@dataclass(frozen=True)
class Statistic:
    """A value, its value in every resample, and how its interval is made.

    Attributes:
        value: None where it does not exist.
        n: judgments behind it.
        reason: why it does not exist.
        replicates: for each way of clustering [replicates].
        interval: computed when asked for.
        bias: for each way, how much of the value can be upward bias; empty = none.
    """

    value: float | None
    n: int
    reason: str | None = None
    replicates: tuple[Floats, ...] = ()
    interval: Callable[[], Interval] | None = None
    bias: tuple[float, ...] = ()

    def figure(self) -> Figure:
        """The figure, or why there is none."""
        if self.value is None or self.interval is None:
            return missing(self.reason or "", self.n)
        return estimate(self.value, self.interval, self.n)


class Resamples:
    """Resamples of rows that are clustered in one way, or in two ways that cross.

    Args:
        ways: one or two clusterings of the same rows. With two, figures vary with both (the prompts that were drawn and
            the people who were asked): each is resampled, and so are the cells of their crossing.
        judgments: identical judgments that each row stands for, [n].
        settings: resamples, seed, level.
    """

    def __init__(self, ways: Sequence[Clusters], judgments: Floats, settings: Settings) -> None:
        self.settings = settings
        self.ways = distinct(ways)
        cells = (crossing(*self.ways),) if len(self.ways) == 2 else ()
        units = [way.units(judgments) for way in (*self.ways, *cells)]
        self.effective = [u.size if u.frequency is None else int(u.frequency.sum()) for u in units]
        """Independent units of each way (the cells of the crossing last)."""
        seeds = [settings.seed, *(_derived(settings.seed, k) for k in range(1, len(units)))]
        self._bootstraps = [
            Bootstrap(unit.dealt(seed), settings.n_bootstrap, seed) for unit, seed in zip(units, seeds, strict=True)
        ]

    @property
    def possible(self) -> bool:
        """Whether there is anything to resample."""
        return self.settings.n_bootstrap > 0 and min(self.effective) > 1

    def require(self) -> None:
        """Raise `NotComputable` with the reason where nothing can be resampled."""
        if not self.settings.n_bootstrap:
            raise NotComputable("no resamples were asked for")
        for way, effective in zip(self.ways, self.effective, strict=False):
            if effective < 2:
                raise NotComputable(f"all of it comes from one {way.unit}, so its spread cannot be known")

    def totals(self, columns: Mapping[str, Floats | Cells]) -> dict[str, Total]:
        """Sums of row columns: [n] -> [1], [n, m] -> [m], `Cells` -> [blocks], by name.

        A column whose sum is infinite has no resampled sums (zeros).
        """
        values = [_whole(column) for column in columns.values()]
        ends = np.cumsum([0, *(len(value) for value in values)])
        resampled = []
        for bootstrap in self._bootstraps if self.possible else ():
            sums = np.concatenate([_per_unit(column, bootstrap.units) for column in columns.values()], axis=1)
            sums[:, ~np.isfinite(np.concatenate(values))] = 0.0
            resampled.append(bootstrap.totals(sums))
        return {
            name: Total(value, tuple(r[:, first:last] for r in resampled))
            for name, value, first, last in zip(columns, values, ends, ends[1:], strict=False)
        }

    @cached_property
    def levels(self) -> list[float]:
        """Level of the percentiles of each way that have the nominal coverage, for its number of clusters."""
        return [expanded(self.settings.level, effective) for effective in self.effective[: len(self.ways)]]

    def interval(self, value: float, replicates: Sequence[Floats], ends: Ends | None = None) -> Interval:
        """Interval of a statistic from its resampled values.

        One way: percentiles, at a level that allows for few clusters. Two ways: a t interval with the two-way variance
        and the degrees of freedom of the way with fewer clusters.

        Args:
            value: the estimate.
            replicates: for each way [replicates], with the cells of the crossing last.
            ends: how ends follow from the resamples of one way, where percentiles or a t interval would be wrong; with
                two ways the wider ones are stretched by the ratio of the standard errors.

        Raises:
            NotComputable: see `require`; or the statistic does not exist in too many resamples.
        """
        self.require()
        if len(self.ways) == 1:
            return ends(0, self.levels[0]) if ends else percentile(replicates[0], self.levels[0])
        first, second, both = (
            float(existing(one).var()) * size / (size - 1) for one, size in zip(replicates, self.effective, strict=True)
        )
        variance = two_way_variance(first, second, both)
        if ends is None:
            half = quantile_t(self.settings.level, min(self.effective[:2]) - 1) * math.sqrt(variance)
            return Interval(value - half, value + half)
        one_way = max(first, second)
        wider = ends(int(second > first), max(self.levels))
        return stretched(value, wider, math.sqrt(variance / one_way) if one_way > 0 else 1.0)

    def statistic(self, value: float, n: int, replicates: tuple[Floats, ...], ends: Ends | None = None) -> Statistic:
        """A statistic whose interval comes from its resampled values."""
        return Statistic(value, n, None, replicates, lambda: self.interval(value, replicates, ends))

    def difference(self, one: Statistic, other: Statistic) -> Statistic:
        """`one - other` with a paired interval: both were measured on the same resamples.

        Where they may be biased, resamples (biased once more) are centred, and the ends allow for the bias of either.
        """
        if one.value is None or other.value is None:
            return Statistic(None, one.n, one.reason if one.value is None else other.reason)
        value = one.value - other.value
        replicates = tuple(a - b for a, b in zip(one.replicates, other.replicates, strict=True))

        def interval() -> Interval:
            self.require()
            if all(np.ptp(existing(each)) < 1e-12 for each in replicates):
                raise NotComputable("it is the same in every resample")
            if not one.bias or not other.bias:
                return self.interval(value, replicates)
            low, high = self.interval(value, [each - existing(each).mean() + value for each in replicates])
            return Interval(low - max(one.bias), high + max(other.bias))

        return Statistic(value, one.n, None, replicates, interval)


def distinct(ways: Sequence[Clusters]) -> tuple[Clusters, ...]:
    """The clusterings that matter: where one divides the other further, the coarser one holds both dependences."""
    if len(ways) < 2:
        return tuple(ways)
    cells = crossing(*ways).size
    coarser = [other for one, other in zip(ways, reversed(ways), strict=True) if one.size == cells]
    return (coarser[0],) if coarser else tuple(ways)


def _derived(seed: int, k: int) -> int:
    return int(np.random.SeedSequence([seed, k]).generate_state(1)[0])


def _whole(column: Floats | Cells) -> Floats:
    if isinstance(column, Cells):
        return np.bincount(column.block, weights=column.value, minlength=column.blocks).astype(np.float64)
    return np.atleast_1d(column.sum(axis=0))


def _per_unit(column: Floats | Cells, units: Units) -> Floats:
    if isinstance(column, Cells):
        return cell_sums(units.code, units.size, *column)
    return cluster_sums(units.code, units.size, column if column.ndim == 2 else column[:, None])
