"""What a fitted rating model says of its items: strengths with intervals, rank sets, tiers, and every reservation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from scipy.special import expit, stdtrit

from preflearn.errors import InputError
from preflearn.ranking.cells import Floats
from preflearn.ranking.covariance import Covariance

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


def parse_anchor(anchor: str | tuple[str, float] | None, scale: Scale) -> tuple[str, float] | None:
    """An anchor as (item, value): "ITEM", "ITEM=VALUE" or a tuple; the value defaults to 0 (logit) or 1000 (elo)."""
    default = ELO_CENTRE if scale == "elo" else 0.0
    if anchor is None:
        return None
    if isinstance(anchor, tuple):
        return anchor[0], float(anchor[1])
    name, equals, value = anchor.rpartition("=")
    if not equals:
        return anchor, default
    try:
        return name, float(value)
    except ValueError:
        return anchor, default


def transform(
    items: tuple[str, ...],
    strengths: Floats,
    covariance: Covariance,
    *,
    scale: Scale,
    anchor: str | tuple[str, float] | None,
    level: float,
    replicates: Floats | None = None,
) -> Transformed:
    """Put centred strengths [n] on a scale.

    logit: differences are log-odds, the mean (or the anchor) is 0. elo: 400 / ln 10 points per logit, mean 1000.
    probability: mean chance of a decided win against the other items, interval by the delta method on its logit.

    Args:
        replicates: bootstrap strengths [B, n]; then intervals are percentiles and se their standard deviation.

    Raises:
        InputError: unknown scale, or the anchor is not an item with a strength.
    """
    fixed = parse_anchor(anchor, scale)
    if fixed is not None and fixed[0] not in items:
        raise InputError(
            f"the anchor {fixed[0]!r} is not an item with a strength.", cure=f"Items: {', '.join(items[:20])}."
        )
    if scale == "probability":
        if fixed is not None:
            raise InputError("the probability scale has no anchor.", cure="Use logit or elo.")
        return _probability(strengths, covariance, level, replicates)
    if scale not in ("logit", "elo"):
        raise InputError(f"there is no scale {scale!r}.", cure="Scales: logit, elo, probability.")
    factor = ELO_PER_LOGIT if scale == "elo" else 1.0
    if fixed is None:
        centre, described = (ELO_CENTRE, "mean = 1000") if scale == "elo" else (0.0, "mean = 0")
        value, errors = strengths, covariance.standard_errors()[: len(items)]
        moved = replicates
    else:
        index = items.index(fixed[0])
        centre, described = fixed[1], f"{fixed[0]} = {fixed[1]:g}"
        value = strengths - strengths[index]
        errors = covariance.of_differences(index)[: len(items)]
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


def _probability(strengths: Floats, covariance: Covariance, level: float, replicates: Floats | None) -> Transformed:
    value = mean_win_probability(strengths)
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
