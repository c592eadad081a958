"""Frozen tolerances: JSON files that `freeze` computes from the figures of several seeds, never written by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.stats import t as student

from preflearn.errors import InputError, NotComputable

FOLDER = Path(__file__).parent / "tolerances"
MIN_SEEDS = 5
LEVEL = 0.9999
"""A correct method fails one fresh seed in so many: 1 / (1 - LEVEL), if its figures are normal."""


class Run(Protocol):
    """What freezing needs of one run of a proof."""

    @property
    def seed(self) -> int: ...
    @property
    def expected(self) -> float: ...
    @property
    def measured(self) -> float: ...
    @property
    def baseline(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def error(self) -> float: ...
    @property
    def effect(self) -> float: ...


@dataclass(frozen=True)
class Tolerance:
    """What a fresh seed must meet.

    Attributes:
        tolerance: largest distance of the figure from its true value.
        least_effect: smallest lead over the baseline.
        figures: the runs it was computed from.
    """

    tolerance: float
    least_effect: float
    figures: list[dict[str, float]]


def prediction_bounds(values: Sequence[float]) -> tuple[float, float]:
    """Interval that holds the next value with probability `LEVEL` if all are normal: ``mean -/+ t s sqrt(1 + 1/n)``.

    Raises:
        ValueError: fewer than `MIN_SEEDS` values.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < MIN_SEEDS:
        raise ValueError(f"{len(x)} values are too few; give at least {MIN_SEEDS}")
    reach = float(student.ppf((1 + LEVEL) / 2, len(x) - 1)) * float(x.std(ddof=1)) * math.sqrt(1 + 1 / len(x))
    mean = float(x.mean())
    return mean - reach, mean + reach


def from_runs(runs: Iterable[Run], resolution: float = 0.0) -> Tolerance:
    """The tolerance that these runs set.

    The method's signed error and its effect are each predicted for the next seed; the tolerance is the farther end of
    the former (at least `resolution`), the least effect the lower end of the latter.
    """
    kept = list(runs)
    low, high = prediction_bounds([run.measured - run.expected for run in kept])
    floor, _ = prediction_bounds([run.effect for run in kept])
    figures = [
        {
            "seed": run.seed,
            "expected": run.expected,
            "measured": run.measured,
            "baseline": run.baseline,
            "effect": run.effect,
            "seconds": run.seconds,
        }
        for run in kept
    ]
    return Tolerance(_rounded(max(abs(low), abs(high), resolution), math.ceil), _rounded(floor, math.floor), figures)


def freeze(key: str, runs: Iterable[Run], *, limit: float, least_effect: float, resolution: float = 0.0) -> Tolerance:
    """Store the tolerance that these runs set.

    Raises:
        NotComputable: the tolerance would exceed `limit`, or the effect might fall below `least_effect`; the claim is
            then not shown, and nothing is stored.
    """
    tolerance = from_runs(runs, resolution)
    if not tolerance.tolerance <= limit:
        raise NotComputable(
            f"{key}: the figure strays from its true value by up to {tolerance.tolerance}, more than {limit}"
        )
    if not tolerance.least_effect >= least_effect:
        raise NotComputable(
            f"{key}: the lead over the baseline may be as small as {tolerance.least_effect}, less than {least_effect}"
        )
    document: dict[str, Any] = {
        "method": key,
        "tolerance": tolerance.tolerance,
        "least_effect": tolerance.least_effect,
        "level": LEVEL,
        "figures": tolerance.figures,
    }
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{key}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return tolerance


def read_tolerance(key: str) -> Tolerance:
    """The frozen tolerance of a method.

    Raises:
        InputError: it was never frozen.
    """
    path = FOLDER / f"{key}.json"
    if not path.is_file():
        raise InputError(
            f"the proof of {key!r} has no frozen tolerance.",
            cure=f"Run `python -m preflearn.experiments freeze {key}`.",
        )
    document = json.loads(path.read_text("utf-8"))
    return Tolerance(document["tolerance"], document["least_effect"], document["figures"])


def _rounded(value: float, direction: Any) -> float:
    """To three significant digits, away from what would be stricter than the figures."""
    if value == 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    return float(f"{direction(value / unit) * unit:.6g}")
