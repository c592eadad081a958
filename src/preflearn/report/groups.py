"""Who ranks what differently: the leaderboards of several groups held against each other, item by item."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np


class _Item(Protocol):
    @property
    def item(self) -> str: ...
    @property
    def strength(self) -> float | None: ...
    @property
    def se(self) -> float | None: ...


class Board(Protocol):
    """What is needed of a leaderboard."""

    @property
    def items(self) -> Sequence[_Item]:
        """Items, strongest first."""
        ...


class Difference(NamedTuple):
    """One item in all groups that can rank it."""

    item: str
    strengths: dict[str, float]
    """Strength by group, on the scale of the leaderboards."""
    high: str
    """The group that ranks it highest."""
    low: str
    """The group that ranks it lowest."""
    gap: float
    """Strength in `high` minus strength in `low`."""
    p: float
    """Of the hypothesis that all groups share one strength, corrected for the number of items (Holm)."""


class Comparison(NamedTuple):
    """What the groups make of the items."""

    differences: tuple[Difference, ...]
    """Largest gap first."""
    left_out: tuple[str, ...]
    """Items that fewer than two groups can rank."""
    same_items: bool
    """Whether all groups rank the same items; otherwise their zero points differ a little."""


def compare(boards: Mapping[str, Board]) -> Comparison:
    """Differences between groups, each with a test of one common strength.

    The test is Cochran's Q over the groups' estimates with their standard errors (chi-squared with groups - 1 degrees
    of freedom), which takes the groups' estimates as independent: true where every annotator is in one group.

    Source: Cochran 1954, Biometrics 10:101; Holm 1979, Scand. J. Statist. 6:65.
    """
    found: dict[str, dict[str, tuple[float, float]]] = {}
    order: list[str] = []
    ranked: list[frozenset[str]] = []
    for group, board in boards.items():
        here = set()
        for entry in board.items:
            if entry.item not in found:
                found[entry.item] = {}
                order.append(entry.item)
            if _known(entry.strength) and _known(entry.se):
                found[entry.item][group] = (float(entry.strength or 0.0), float(entry.se or 0.0))
                here.add(entry.item)
        ranked.append(frozenset(here))
    usable = [item for item in order if len(found[item]) > 1]
    raw = [_homogeneity(list(found[item].values())) for item in usable]
    differences = []
    for item, p in zip(usable, _holm(raw), strict=True):
        strengths = {group: value for group, (value, _) in found[item].items()}
        high, low = max(strengths, key=strengths.__getitem__), min(strengths, key=strengths.__getitem__)
        differences.append(Difference(item, strengths, high, low, strengths[high] - strengths[low], p))
    differences.sort(key=lambda difference: -difference.gap)
    left_out = tuple(item for item in order if len(found[item]) < 2)
    return Comparison(tuple(differences), left_out, len(set(ranked)) <= 1)


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _homogeneity(estimates: list[tuple[float, float]]) -> float:
    """P-value of Cochran's Q."""
    from scipy.stats import chi2

    value, error = np.array(estimates).T
    if not np.all(error > 0):
        return math.nan
    weight = 1.0 / error**2
    q = float(np.sum(weight * (value - np.average(value, weights=weight)) ** 2))
    return float(chi2.sf(q, len(estimates) - 1))


def _holm(raw: list[float]) -> list[float]:
    """Holm's step-down correction; an unknown p-value stays unknown and counts as a test."""
    p = np.array(raw, dtype=float)
    order = np.argsort(np.where(np.isnan(p), np.inf, p), kind="stable")
    adjusted = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    out = np.empty_like(p)
    out[order] = np.minimum(adjusted, 1.0)
    return out.tolist()  # type: ignore[no-any-return]
