"""What the readers of text files share: a frame whose rows know their line, and the rows that could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from preflearn.data.reading import ImportReport, Rejected

LINE = "_line"
"""Column of every frame read from a file: the 1-based line on which the row starts (Parquet: 1-based row)."""

SOURCE = "_source"
"""Column with the file's name, where several files are read as one."""

RAW_LIMIT = 10_000
"""Characters of an unreadable row that are kept."""


class Rows(NamedTuple):
    """A frame with the column `_line`, and what could not be read, in the order of the file."""

    frame: pl.DataFrame
    rejected: list[Rejected]


def numbered(frame: pl.DataFrame, lines: np.ndarray[Any, np.dtype[np.uint32]]) -> pl.DataFrame:
    """The frame with its line numbers first; a `_line` of the source becomes `source_line`, an object `{}` null."""
    empty = [name for name, dtype in frame.schema.items() if _holds_empty(dtype)]
    if empty:  # no file format but JSON holds objects without fields
        frame = frame.with_columns(_without_empty(pl.col(name), frame.schema[name]).alias(name) for name in empty)
    if LINE in frame.columns:
        frame = frame.rename({LINE: visible(frame.columns)[LINE]})
    return frame.insert_column(0, pl.Series(LINE, lines, dtype=pl.UInt32))


def _holds_empty(dtype: Any) -> bool:
    if isinstance(dtype, pl.Struct):
        return not dtype.fields or any(_holds_empty(field.dtype) for field in dtype.fields)
    return isinstance(dtype, pl.List) and _holds_empty(dtype.inner)


def _without_empty(value: pl.Expr, dtype: Any) -> pl.Expr:
    """A value in which objects without fields are null."""
    if isinstance(dtype, pl.Struct):
        nothing = pl.lit(None, dtype=pl.String)
        parts = [_without_empty(value.struct.field(one.name), one.dtype).alias(one.name) for one in dtype.fields]
        return pl.when(value.is_not_null()).then(pl.struct(parts) if parts else nothing)
    return value.list.eval(_without_empty(pl.element(), dtype.inner)) if isinstance(dtype, pl.List) else value


def visible(columns: Sequence[str]) -> dict[str, str]:
    """New names for columns of a source that begin with `_`, as only bookkeeping does here (`_id` -> `source_id`)."""
    names: dict[str, str] = {}
    for column in columns:
        if column.startswith("_"):
            stem, number = f"source{column}", 2
            name = stem
            while name in columns or name in names.values():
                name, number = f"{stem}_{number}", number + 1
            names[column] = name
    return names


def shown(frame: pl.DataFrame, report: ImportReport) -> pl.DataFrame:
    """The frame under names that are all kept; only `_line` keeps its mark."""
    names = visible([name for name in frame.columns if name != LINE])
    for old, new in names.items():
        report.map(f"column {old} -> {new} (a leading _ marks bookkeeping)", 1)
    return frame.rename(names)


def readable(raw: bytes) -> str:
    r"""Bytes as text; what is not UTF-8 shows as \xNN."""
    return raw.decode("utf-8", "backslashreplace")


def clip(text: str) -> str:
    """At most `RAW_LIMIT` characters, saying how many there were."""
    if len(text) <= RAW_LIMIT:
        return text
    return f"{text[:RAW_LIMIT]} … [cut: {len(text):,} characters]"
