"""Typed results as plain data for `--json`, and the small summaries that several of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import polars as pl

from preflearn.evaluate.figures import Figure

NOT_RECORDED = "(not recorded)"
"""The group of whatever has no value."""


def plain(value: Any) -> Any:
    """Dataclasses and named tuples as dictionaries, figures as `{value, low, high, n}`, all the way down."""
    if isinstance(value, Figure):
        return value.as_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(part) for part in value]
    return value


@dataclass(frozen=True)
class Spread:
    """How a quantity is distributed over `n` things."""

    n: int
    mean: float | None = None
    min: float | None = None
    q25: float | None = None
    median: float | None = None
    q75: float | None = None
    max: float | None = None

    def text(self) -> str:
        """For people."""
        if self.median is None:
            return "none"
        ends = f"{_short(self.min)} to {_short(self.max)}"
        return f"median {_short(self.median)}, half in {_short(self.q25)} to {_short(self.q75)}, {ends}"


def spread_of(column: str) -> list[pl.Expr]:
    """Expressions whose single row `spread` reads."""
    values = pl.col(column).drop_nulls()
    return [
        values.len().alias("n"),
        values.mean().alias("mean"),
        values.min().alias("min"),
        values.quantile(0.25, "linear").alias("q25"),
        values.median().alias("median"),
        values.quantile(0.75, "linear").alias("q75"),
        values.max().alias("max"),
    ]


def spread(frame: pl.DataFrame | pl.LazyFrame, column: str) -> Spread:
    """Distribution of a column, nulls left out."""
    row = frame.lazy().select(spread_of(column)).collect(engine="streaming").row(0, named=True)
    return Spread(int(row.pop("n")), **{k: None if v is None else float(v) for k, v in row.items()})


def judgments_per(frame: pl.DataFrame | pl.LazyFrame, keys: Sequence[str]) -> Spread:
    """Distribution of judgments (column `count`) over the distinct values of some columns; rows without excluded."""
    known = frame.lazy().filter(pl.any_horizontal(pl.col(key).is_not_null() for key in keys))
    return spread(known.group_by(keys).agg(pl.col("count").cast(pl.UInt64).sum().alias("judgments")), "judgments")


def _short(value: float | None) -> str:
    return "?" if value is None else f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
