"""From polars columns to the integer and float arrays that records and splits compute with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def places(values: pl.Series, among: pl.Series) -> Ints:
    """[n] index of each value's first occurrence in `among`; -1 for null or absent. Compared as text."""
    left = pl.DataFrame({"key": values.cast(pl.String)})
    right = pl.DataFrame({"key": among.cast(pl.String)}).with_row_index("place").unique("key", keep="first")
    found = left.join(right.drop_nulls("key"), on="key", how="left", maintain_order="left")["place"]
    return found.cast(pl.Int64).fill_null(-1).to_numpy()


def codes(series: pl.Series, values: Sequence[str]) -> Ints:
    """[n] place of each text among `values`; -1 for null or absent."""
    return places(series, pl.Series(values, dtype=pl.String))


def floats(series: pl.Series) -> Floats:
    """[n] float64 with NaN for null."""
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def lengths(series: pl.Series) -> Ints:
    """[n] lengths of lists; a null list has none."""
    return series.list.len().fill_null(0).cast(pl.Int64).to_numpy()


def exploded(series: pl.Series) -> pl.Series:
    """The elements of all lists one after another, nothing for an empty or null list."""
    return series.filter(series.list.len() > 0).explode()
