"""What a fitted rating model says of its items: strengths with intervals, rank sets, tiers, and every reservation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from scipy.special import expit, stdtrit

from preflearn.errors import InputError
from preflearn.ranking.cells import Floats, Ints
from preflearn.ranking.covariance import Covariance
from preflearn.ranking.graph import Status
from preflearn.ranking.ranksets import RankSets

Scale = Literal["logit", "elo", "probability"]
ELO_PER_LOGIT = 400 / np.log(10)
ELO_CENTRE = 1000.0


class Standing(NamedTuple):
    """One line of a leaderboard; numbers are None where the votes do not determine them."""

    item: str
    strength: float | None
    se: float | None
    low: float | None
    high: float | None
    rank_low: int | None
    """Best place not ruled out, at the leaderboard's level for all items at once."""
    rank_high: int | None
    tier: int | None
    votes: int
    status: str


class Effect(NamedTuple):
    """A parameter that is not an item: position, style, ties, thresholds."""

    name: str
    estimate: float | None
    se: float | None
    low: float | None
    high: float | None
    meaning: str


@dataclass(frozen=True)
class Leaderboard:
    """Items best first (those without a strength last), and how the figures came about."""

    model: str
    scale: Scale
    anchor: str
    level: float
    items: list[Standing]
    effects: list[Effect]
    converged: bool
    iterations: int
    log_likelihood: float | None
    n_votes: int
    n_annotators: int | None
    clustered_by: list[str]
    interval: str
    components: list[dict[str, Any]]
    excluded: Mapping[str, float]
    warnings: list[str]
    data_fingerprint: str | None
    version: str

    def as_dict(self) -> dict[str, Any]:
        """The `--json` document."""
        return {
            "items": [standing._asdict() for standing in self.items],
            "effects": [effect._asdict() for effect in self.effects],
            "model": self.model,
            "scale": self.scale,
            "anchor": self.anchor,
            "level": self.level,
            "interval": self.interval,
            "converged": self.converged,
            "iterations": self.iterations,
            "log_likelihood": self.log_likelihood,
            "n_votes": self.n_votes,
            "n_annotators": self.n_annotators,
            "clustered_by": self.clustered_by,
            "components": self.components,
            "excluded": dict(self.excluded),
            "warnings": self.warnings,
            "data_fingerprint": self.data_fingerprint,
            "version": self.version,
        }

    def table(self) -> pl.DataFrame:
        """The items as a frame, one row each."""
        schema = {
            "item": pl.String,
            "strength": pl.Float64,
            "se": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "rank_low": pl.Int64,
            "rank_high": pl.Int64,
            "tier": pl.Int64,
            "votes": pl.Int64,
            "status": pl.String,
        }
        return pl.DataFrame(self.items, schema=schema, orient="row")

    def write_csv(self, path: str | Path) -> None:
        """The table as CSV."""
        self.table().write_csv(path)

    def __getitem__(self, item: str) -> Standing:
        for standing in self.items:
            if standing.item == item:
                return standing
        raise KeyError(item)


class Transformed(NamedTuple):
    """Strengths on a scale, with standard errors and interval ends [n]."""

    value: Floats
    se: Floats
    low: Floats
    high: Floats
    anchor: str


SCALES = ("logit", "elo", "probability")


def check_scale(scale: str, anchor: str | tuple[str, float] | None) -> None:
    """Refuse scales that do not exist, and anchors where none is possible.

    Raises:
        InputError: for these.
    """
    if scale not in SCALES:
        raise InputError(f"there is no scale {scale!r}.", cure=f"Scales: {', '.join(SCALES)}.")
    if scale == "probability" and anchor is not None:
        raise InputError("the probability scale has no anchor.", cure="Use logit or elo.")


def parse_anchor(
    anchor: str | tuple[str, float] | None, scale: Scale, items: Sequence[str]
) -> tuple[str, float] | None:
    """An anchor as (item, value): "ITEM", "ITEM=VALUE" or a tuple; the value defaults to 0 (logit) or 1000 (elo).

    Raises:
        InputError: it is not one of the items, or the value is not a finite number.
    """
    if anchor is None:
        return None
    name, value = _split_anchor(anchor, ELO_CENTRE if scale == "elo" else 0.0, items)
    if name not in items:
        raise InputError(
            f"the anchor {name!r} is not an item with a strength.", cure=f"Items: {', '.join(items[:20])}."
        )
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise InputError(f"the value of the anchor {name!r} is not a finite number.", value=value)
    return name, number


def _split_anchor(anchor: str | tuple[str, float], default: float, items: Sequence[str]) -> tuple[str, float | str]:
    if not isinstance(anchor, str):
        name, value = anchor
        return name, value
    name, equals, text = anchor.rpartition("=")
    if anchor in items or not equals or name not in items:  # an item's own name may hold an equals sign
        return anchor, default
    return name, text


def transform(
    items: tuple[str, ...],
    strengths: Floats,
    covariance: Covariance | None,
    *,
    scale: Scale,
    anchor: tuple[str, float] | None,
    level: float,
    replicates: Floats | None = None,
) -> Transformed:
    """Put centred strengths [n] on a scale.

    logit: differences are log-odds, the mean (or the anchor) is 0. elo: 400 / ln 10 points per logit, mean 1000.
    probability: mean chance of a decided win against the other items, interval by the delta method on its logit.

    Args:
        covariance: of the strengths and further parameters; None leaves standard errors and intervals NaN.
        anchor: from `parse_anchor`.
        replicates: bootstrap strengths [B, n]; then intervals are percentiles and se their standard deviation.
    """
    if scale == "probability":
        return _probability(strengths, covariance, level, replicates)
    factor = ELO_PER_LOGIT if scale == "elo" else 1.0
    if anchor is None:
        centre, described = (ELO_CENTRE, "mean = 1000") if scale == "elo" else (0.0, "mean = 0")
        value, moved = strengths, replicates
        errors = None if covariance is None else covariance.standard_errors()[: len(items)]
    else:
        index = items.index(anchor[0])
        centre, described = anchor[1], f"{anchor[0]} = {anchor[1]:g}"
        value = strengths - strengths[index]
        errors = None if covariance is None else covariance.of_differences(index)[: len(items)]
        moved = None if replicates is None else replicates - replicates[:, index : index + 1]
    if moved is not None:
        tails = np.quantile(moved, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return Transformed(
            centre + factor * value,
            factor * moved.std(0, ddof=1),
            centre + factor * tails[0],
            centre + factor * tails[1],
            described,
        )
    if covariance is None or errors is None:
        unknown = np.full(len(items), np.nan)
        return Transformed(centre + factor * value, unknown, unknown, unknown, described)
    reach = critical_value(covariance, level) * errors
    return Transformed(
        centre + factor * value,
        factor * errors,
        centre + factor * (value - reach),
        centre + factor * (value + reach),
        described,
    )


def critical_value(covariance: Covariance, level: float) -> float:
    """Two-sided quantile: t with clusters - 1 degrees of freedom, normal without clusters."""
    return float(stdtrit(min(max(covariance.degrees_of_freedom, 1.0), 1e9), (1 + level) / 2))


def mean_win_probability(strengths: Floats) -> Floats:
    """Mean chance of a decided win against the other items [n], from strengths [n] (or [B, n])."""
    n = strengths.shape[-1]
    if n == 1:
        return np.full_like(strengths, 0.5)
    out = np.empty_like(strengths)
    for i in range(n):  # one row of the win matrix at a time keeps memory linear
        chance = expit(strengths[..., i : i + 1] - strengths)
        out[..., i] = (chance.sum(-1) - 0.5) / (n - 1)
    return out


def _probability(
    strengths: Floats, covariance: Covariance | None, level: float, replicates: Floats | None
) -> Transformed:
    value = mean_win_probability(strengths)
    if covariance is None:
        unknown = np.full_like(value, np.nan)
        return Transformed(value, unknown, unknown, unknown, "mean win probability")
    if replicates is not None:
        moved = mean_win_probability(replicates)
        tails = np.quantile(moved, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return Transformed(value, moved.std(0, ddof=1), tails[0], tails[1], "mean win probability")
    errors = _probability_errors(strengths, covariance)
    spread = np.maximum(value * (1 - value), 1e-12)
    logit = np.log(value) - np.log1p(-value)
    reach = critical_value(covariance, level) * errors / spread
    return Transformed(value, errors, expit(logit - reach), expit(logit + reach), "mean win probability")


def _probability_errors(strengths: Floats, covariance: Covariance) -> Floats:
    """Delta-method standard errors of the mean win probabilities [n]."""
    n = len(strengths)
    if covariance.draws is not None:
        return _probability_errors_of_draws(strengths, covariance.draws[:, :n])
    chance = expit(strengths[:, None] - strengths)
    density = chance * (1 - chance)
    np.fill_diagonal(density, 0.0)
    slopes = np.zeros((n, covariance.size))
    slopes[:, :n] = -density / (n - 1)
    slopes[np.arange(n), np.arange(n)] = density.sum(1) / (n - 1)
    return covariance.of(slopes)


def _probability_errors_of_draws(strengths: Floats, draws: Floats, n_grid: int = 1024) -> Floats:
    """The same from draws [B, n]: the sums over opponents are smooth in the strength and read off a grid."""
    n = len(strengths)
    grid = np.linspace(strengths.min(), strengths.max(), n_grid)
    chance = expit(grid[:, None] - strengths)
    density = chance * (1 - chance)
    total = np.interp(strengths, grid, density.sum(1))
    pulled = density @ draws.T
    variance = np.zeros(n)
    for draw, against in zip(draws, pulled.T):
        variance += (draw * total - np.interp(strengths, grid, against)) ** 2
    return np.asarray(np.sqrt(variance / len(draws)) / (n - 1))


_ORDER: tuple[Status, ...] = ("undefeated", "estimable", "other_component", "winless", "no_votes")


def standings(
    items: Sequence[str],
    votes: Ints,
    status: Sequence[Status],
    kept: Ints,
    shown: Transformed | None,
    sets: RankSets | None,
) -> list[Standing]:
    """The lines of a leaderboard, best first, those without a strength last.

    Args:
        items, votes, status: of all items [n].
        kept: positions of the items that have a strength [k]; `shown` and `sets` are theirs.
    """
    out: list[Standing] = []
    order = [] if shown is None else np.argsort(-shown.value, kind="stable").tolist()
    for k in order:
        assert shown is not None
        best, worst, tier = (None, None, None) if sets is None else (int(part[k]) for part in sets[:3])
        se, low, high = (_number(part[k]) for part in (shown.se, shown.low, shown.high))
        code = int(kept[k])
        figures = float(shown.value[k]), se, low, high
        out.append(Standing(items[code], *figures, best, worst, tier, int(votes[code]), status[code]))
    rest = sorted(set(range(len(items))) - set(kept.tolist()), key=lambda i: (_ORDER.index(status[i]), i))
    none = (None, None, None, None, None, None, None)
    return out + [Standing(items[i], *none, int(votes[i]), status[i]) for i in rest]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
