"""How far people agree: pairwise agreement, Krippendorff's alpha, and the best accuracy anyone could reach against one.

Works on arrays: one row per person and unit, where a unit is what several people judged. Intervals take units as
independent. Figures of comparisons are symmetrised, so that the arbitrary choice of a first side cannot matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from preflearn.errors import NotComputable
from preflearn.evaluate.figures import Figure, Interval, attempt, estimate, missing
from preflearn.evaluate.intervals import Bootstrap, Floats, Settings, Sums, Units, cluster_sums, percentile, proportion

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FIRST, TIE, SECOND = 0, 1, 2
"""Categories of a comparison in canonical orientation."""
CODES = np.array([0.5, 0.0, -0.5])
"""Their places on a scale on which the squared distance of opposite answers is 1 and of a tie from either is 1/4."""


@dataclass(frozen=True)
class Coincidences:
    """What units with at least two people say, per unit; see `coincidences`.

    Attributes:
        people: number of people m, [U].
        agreeing: ordered pairs of different people that agree, [U].
        margin: people per category, [U, K].
        distance: squared distance summed over ordered pairs of different people, [U].
        first, second: sums over people of code and squared code, [U].
        predictable: judgments that the majority of the other people predicts, [U].
    """

    people: Floats
    agreeing: Floats
    margin: Floats
    distance: Floats
    first: Floats
    second: Floats
    predictable: Floats

    def take(self, keep: Bools) -> Coincidences:
        """Some of the units."""
        return Coincidences(**{name: column[keep] for name, column in vars(self).items()})

    @property
    def units(self) -> int:
        """Units judged by two or more people."""
        return len(self.people)


def coincidences(
    unit: Ints, votes: Floats, people: Floats, codes: Floats, squares: Floats | None = None, *, sides: bool = False
) -> tuple[Ints, Coincidences]:
    """Sums per unit, for units that at least two people judged.

    A person who judged a unit repeatedly has one voice: the shares of their answers.

    Args:
        unit: unit of each row, [r], any integers >= 0.
        votes: shares of the answers of one person, [r, K], rows summing to 1.
        people: identical people that the row stands for, [r].
        codes: places of the K categories on a scale, [K]; or the mean value of each row, [r], with `squares`.
        squares: mean squared value of each row, [r].
        sides: the categories are FIRST, TIE, SECOND: compute `predictable` too.

    Returns:
        The units kept, ascending, and their sums.
    """
    size = int(unit.max()) + 1 if len(unit) else 0

    def total(column: Floats) -> Floats:
        return np.bincount(unit, weights=column, minlength=size).astype(np.float64)

    if squares is None:
        value, square = votes @ codes, votes @ codes**2
    else:
        value, square = codes, squares
    m = total(people)
    margin = np.column_stack([total(people * column) for column in votes.T]) if size else np.zeros((0, votes.shape[1]))
    own = total(people * (votes**2).sum(axis=1))
    first, second = total(people * value), total(people * square)
    # Over all ordered pairs, then without each person paired with themselves.
    distance = 2 * m * second - 2 * first**2 - 2 * total(people * (square - value**2))
    predictable = total(people * _predicted(votes, margin[unit])) if sides else np.zeros(size)
    found = Coincidences(m, (margin**2).sum(axis=1) - own, margin, distance, first, second, predictable)
    keep = m > 1.5
    return np.flatnonzero(keep), found.take(keep)


def _predicted(votes: Floats, margin: Floats) -> Floats:
    """Accuracy of the majority of the others on each person's answer; a tie, and an even split, count half: [r]."""
    others = margin - votes
    edge = others[:, FIRST] - others[:, SECOND]
    edge[np.abs(edge) < 1e-9] = 0.0
    half = 0.5 * (1 + np.sign(edge))
    return np.asarray(votes[:, FIRST] * half + votes[:, SECOND] * (1 - half) + 0.5 * votes[:, TIE])


# -- figures -----------------------------------------------------------------------------------------------------------


def observed(found: Coincidences, settings: Settings) -> Figure:
    """Share of pairs of people who agree about a unit, every pair counted once. `n` = units."""
    if not found.units:
        return _alone()
    pairs = found.people * (found.people - 1)
    return proportion(Sums(found.agreeing, pairs), found.units, level=settings.level, unit="item")


def unanimous(found: Coincidences, settings: Settings) -> Figure:
    """Share of units about which everybody agrees. `n` = units."""
    if not found.units:
        return _alone()
    same = found.agreeing > found.people * (found.people - 1) - 1e-6
    return proportion(
        Sums(same.astype(np.float64), np.ones(found.units)), found.units, level=settings.level, unit="item"
    )


def unanimous_decided(found: Coincidences, settings: Settings) -> Figure:
    """Share of units with two or more decided answers where all of these go to one side. `n` = such units."""
    sides = found.margin[:, [FIRST, SECOND]]
    several = sides.sum(axis=1) > 1.5
    if not several.any():
        return missing("nothing has decided answers of two or more people")
    same = (sides[several].min(axis=1) < 1e-9).astype(np.float64)
    return proportion(Sums(same, np.ones(len(same))), len(same), level=settings.level, unit="item")


def ceiling(found: Coincidences, settings: Settings) -> Figure:
    """Accuracy against one random person of the majority of the others (leave-one-out), ties half. `n` = units.

    What the best possible prediction reaches, up to the noise of a finite majority; no model can be expected to do
    better, because one person's answer is all that accuracy is measured against.
    """
    if not found.units:
        return _alone()
    return proportion(Sums(found.predictable, found.people), found.units, level=settings.level, unit="item")


def alpha_nominal(found: Coincidences, settings: Settings, *, mirrored: bool = True) -> Figure:
    """Krippendorff's alpha with distance 1 between different categories, bootstrap over units. `n` = units.

    With `mirrored`, categories FIRST and SECOND are two sides whose order is arbitrary: their margins are averaged.
    Expected disagreement is 1 - sum_c n_c (n_c - 1) / (N (N - 1)) with unequal n_c; without ties and mirrored it tends
    to 1/2, and alpha to 2 * agreement - 1.

    Source: Krippendorff (2011), Computing Krippendorff's alpha-reliability (nominal data), with margins symmetrised.
    """
    kinds = found.margin.shape[1]
    margins = found.margin
    if mirrored:
        side = 0.5 * (margins[:, FIRST] + margins[:, SECOND])
        margins = np.column_stack([side, margins[:, TIE], side])
    columns = np.column_stack([found.people, found.agreeing / (found.people - 1), margins])

    def alpha(totals: Floats) -> Floats:
        n, agreeing, margin = totals[..., 0], totals[..., 1], totals[..., 2:]
        return _alpha(1 - agreeing / n, (n**2 - (margin**2).sum(axis=-1)) / (n * (n - 1)))

    reason = "only one answer was ever given" if kinds else "there are no answers"
    return _bootstrapped(found, columns, alpha, reason, settings)


def alpha_interval(found: Coincidences, settings: Settings, *, mirrored: bool = False) -> Figure:
    """Krippendorff's alpha with squared distances, bootstrap over units. `n` = units.

    For comparisons (`mirrored`, codes 1/2, 0, -1/2) this is the ordinal form in which a tie lies halfway; for ratings
    it is the interval form.

    Source: Krippendorff (2011), Computing Krippendorff's alpha-reliability (interval data).
    """
    first = np.zeros_like(found.first) if mirrored else found.first
    columns = np.column_stack([found.people, found.distance / (found.people - 1), first, found.second])

    def alpha(totals: Floats) -> Floats:
        n, distance, first, second = (totals[..., k] for k in range(4))
        return _alpha(distance / n, 2 * (n * second - first**2) / (n * (n - 1)))

    return _bootstrapped(found, columns, alpha, "every answer is the same", settings)


def _alpha(observed_disagreement: Floats, expected: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 1e-12, 1 - observed_disagreement / expected, np.nan)


def _bootstrapped(
    found: Coincidences, columns: Floats, statistic: Callable[[Floats], Floats], reason: str, settings: Settings
) -> Figure:
    if not found.units:
        return _alone()
    value = float(statistic(columns.sum(axis=0)))
    if not np.isfinite(value):
        return missing(reason, found.units)

    def interval() -> Interval:
        if found.units < 2:
            raise NotComputable("all of it comes from one item")
        if not settings.n_bootstrap:
            raise NotComputable("no resamples were asked for")
        # Units that say the same are interchangeable: in this order the order of rows does not matter.
        ordered = columns[np.lexsort(columns.round(9).T)]
        units = Units(np.arange(found.units), found.units).dealt(settings.seed)
        sums = cluster_sums(units.code, units.size, ordered)
        resampled = statistic(Bootstrap(units, settings.n_bootstrap, settings.seed).totals(sums))
        found_interval = percentile(resampled, settings.level)
        if np.nanmax(resampled) - np.nanmin(resampled) < 1e-12:
            raise NotComputable("every item says the same, so resampling shows no spread")
        return found_interval

    return attempt(lambda: estimate(value, interval, found.units))


def _alone() -> Figure:
    return missing("nothing was judged by two or more people")


def self_agreement(person: Sequence[int] | Ints, votes: Floats, settings: Settings) -> Figure:
    """Share of pairs of repeated judgments of one unit by one person that agree. `n` = repeated units.

    Args:
        person: person of each row, [r]; one row per person and unit judged repeatedly.
        votes: number of answers per category, [r, K].
    """
    k = votes.sum(axis=1)
    if not len(k):
        return missing("nobody judged the same thing twice")
    code = np.unique(np.asarray(person), return_inverse=True)[1]
    agreeing = np.bincount(code, weights=(votes * (votes - 1)).sum(axis=1))
    pairs = np.bincount(code, weights=k * (k - 1))
    sums = Sums(agreeing.astype(np.float64), pairs.astype(np.float64))
    return proportion(sums, len(k), level=settings.level, unit="annotator")
