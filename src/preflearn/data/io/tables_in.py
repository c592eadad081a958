"""Files named like the nine tables, imported as they stand: types are the plan's, rows that cannot be are set aside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from preflearn.data.io.files import kind_of, read_frame, scan_frame, stem_of
from preflearn.data.io.flat_rows import rejected, soft_cast
from preflearn.data.io.jsontext import decode
from preflearn.data.io.messages import conversations
from preflearn.data.io.rows import LINE, shown
from preflearn.data.reading import ImportReport
from preflearn.data.schema import MESSAGES, TABLES, Column, table
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError


def table_files(folder: Path) -> dict[str, Path] | None:
    """Table name -> file, if this directory holds data files named like tables and no other data files; else None.

    Raises:
        InputError: two files claim one table.
    """
    if not folder.is_dir():
        return None
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and kind_of(path)]
    files = [path for path in files if path.name not in ("preferences.json", "rejected.jsonl")]
    if not files or any(stem_of(path) not in TABLES for path in files):
        return None
    found: dict[str, Path] = {}
    for path in files:
        if stem_of(path) in found:
            raise InputError(f"two files are the table {stem_of(path)!r}.", path=path, cure="Keep one of them.")
        found[stem_of(path)] = path
    return found


def read_tables(files: dict[str, Path], report: ImportReport) -> PreferenceData:
    """Tables from files. Other columns ride along; whoever is referred to but absent gets a row.

    Raises:
        InputError: a table lacks an obligatory column, or a column has an unusable type.
    """
    tables: dict[str, Any] = {}
    for name, path in files.items():
        table(name)
        frame, bad = read_frame(path)
        report.reject(bad)
        report.read += frame.height + len(bad)
        tables[name] = _table(name, shown(frame, report), path, report)
        report.map(f"rows of {path.name} -> {name}", tables[name].height)
        key = TABLES[name].key
        if again := tables[name].height - tables[name][key].n_unique():
            report.note(f"{again:,} rows of {path.name} repeat a {key}: `preflearn validate` names them.")
    return PreferenceData(report=report, **tables).completed()


def scan_tables(files: dict[str, Path], report: ImportReport) -> PreferenceData:
    """Tables from Parquet files, lazily.

    Raises:
        InputError: a file is not Parquet.
    """
    tables: dict[str, Any] = {name: scan_frame(path) for name, path in files.items()}
    return PreferenceData(report=report, **tables)


def _table(name: str, frame: pl.DataFrame, path: Path, report: ImportReport) -> pl.DataFrame:
    spec = TABLES[name]
    missing = [column for column in spec.required if column not in frame.columns]
    if missing:
        raise InputError(
            f"table {name!r} lacks the obligatory column(s) {', '.join(missing)}.",
            path=path,
            cure=f"It has: {', '.join(frame.drop(LINE).columns)}.",
        )
    original, reasons = frame, []
    for column in spec.columns:
        if column.name not in frame.columns:
            continue
        if column.dtype == MESSAGES:
            role = "user" if name == "prompts" else "assistant"
            frame = frame.with_columns(conversations(frame[column.name], role).column.alias(column.name))
        elif isinstance(column.dtype, pl.List):
            frame, problem = _list(frame, column)
            reasons.append(problem)
        else:
            cast = soft_cast(column.name, frame.schema[column.name], column, name)
            before = pl.col(f"_before:{column.name}")
            frame = frame.with_columns(pl.col(column.name).alias(f"_before:{column.name}"), cast.alias(column.name))
            reasons += _faults(column, before, frame.schema[f"_before:{column.name}"])
        if column.required:
            reasons.append(pl.when(pl.col(column.name).is_null()).then(pl.lit(f"{column.name} is missing")))
    frame = frame.with_columns(pl.coalesce([*reasons, pl.lit(None, dtype=pl.String)]).alias("_reason"))
    bad = frame.filter(pl.col("_reason").is_not_null())
    if bad.height:
        report.reject(rejected(bad, path.name, original))
    good = frame.filter(pl.col("_reason").is_null())
    return good.select(pl.exclude("^_.*$"))


def _faults(column: Column, before: pl.Expr, found: pl.DataType) -> Sequence[pl.Expr]:
    after = pl.col(column.name)
    lost = before.is_not_null() & after.is_null()
    if found == pl.String:
        lost = lost & ~before.cast(pl.String).str.strip_chars().str.to_lowercase().is_in(["", "nan"])
    elif found.is_float():
        lost = lost & before.is_not_nan()
    shown = pl.format("'{}'", before.cast(pl.String, strict=False).str.slice(0, 40)) if not found.is_nested() else None
    text = pl.format(f"{column.name} {{}} is no {column.dtype}", shown) if shown is not None else pl.lit("wrong type")
    faults = [pl.when(lost).then(text)]
    if column.values is not None:
        unknown = after.is_not_null() & ~after.cast(pl.String).is_in(list(column.values))
        words = ", ".join(column.values)
        faults.append(pl.when(unknown).then(pl.format(f"{column.name} '{{}}' is none of {words}", after)))
    return faults


def _list(frame: pl.DataFrame, column: Column) -> tuple[pl.DataFrame, pl.Expr]:
    """A column of lists, also from JSON text; values that are no such list reject their row."""
    reasons: dict[int, str] = {}
    values = frame[column.name]
    if values.dtype == pl.String:
        values, reasons = decode(values)
        if not isinstance(values.dtype, pl.List | pl.Null):
            reasons = {row: "not a JSON list" for row in range(frame.height) if frame[column.name][row] is not None}
            values = pl.Series(column.name, [None] * frame.height)
    try:
        frame = frame.with_columns(values.cast(column.dtype).alias(column.name))
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{column.name} cannot become {column.dtype}.", column=column.name) from error
    texts = [f"{column.name}: {reasons[row]}" if row in reasons else None for row in range(frame.height)]
    frame = frame.with_columns(pl.Series(f"_why:{column.name}", texts, dtype=pl.String))
    return frame, pl.col(f"_why:{column.name}")
