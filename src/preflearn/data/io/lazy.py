"""A plain Parquet table of votes between named systems, lazily: votes stay on disk, systems and annotators are read.

Equal to importing the file, row by row, but nothing is held: checks are small queries that stream over the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from preflearn.data.io import flat_roles, flat_rows, plain
from preflearn.data.io.files import scan_frame
from preflearn.data.io.rows import LINE, visible
from preflearn.data.reading import ImportReport
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

_INDEX = "_row of the file"
_HELD = 100_000
"""Unreadable rows that are held; a file with more of them is refused."""


def scan_battles(path: Path, report: ImportReport) -> PreferenceData:
    """Comparisons as a lazy frame over the file; responses (one per system) and annotators in memory.

    Args:
        path: a Parquet file with two systems, an outcome and any further columns of comparisons, under the names that
            a plain table may use.
        report: counts are added.

    Raises:
        InputError: it is no such table; texts, nested columns and attributes of other tables need an import.
    """
    names = scan_frame(path).collect_schema().names()
    hidden = visible(names)
    found = plain.layout([hidden.get(name, name) for name in names])
    roles = {} if found is None else dict(found.roles)
    named = {(new := hidden.get(name, name)): roles.get(new, new) for name in names}
    meant = {role: column for column, role in named.items()}
    if found is None or found.kind != "comparisons" or not {"system_a", "system_b"} <= meant.keys():
        raise _not_lazy(path, "it is no table of two systems and an outcome")
    others = [role for role in meant if role in ("prompt", "text_a", "text_b") or "." in role]
    if others:
        raise _not_lazy(path, f"it holds {', '.join(meant[role] for role in others)}")
    source = pl.scan_parquet(path, glob=False, row_index_name=_INDEX, row_index_offset=1).rename(hidden)
    rows = source.rename(named).rename({_INDEX: LINE})
    for old, new in [*hidden.items(), *roles.items()]:
        if old != new:
            report.map(f"column {old} -> {new}", 1)
    schema = rows.collect_schema()
    if "time" in schema and schema["time"].is_numeric():
        raise _not_lazy(path, "its times are numbers")
    report.read = int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    rows = plain.outcomes(rows, found, report)
    rows = _usable(rows, source, report, path)
    return _data(rows, _distinct(rows, ("system_a", "system_b")), report)


def _usable(rows: pl.LazyFrame, source: pl.LazyFrame, report: ImportReport, path: Path) -> pl.LazyFrame:
    """Rows in the plan's types; those that cannot be are rejected, and those of count 0 dropped, as an import does.

    Raises:
        InputError: none or too few of them can be used.
    """
    roles = flat_roles.parse(rows.collect_schema().names(), "comparisons")
    judged = flat_rows.judged(rows, roles, report)
    wrong, some = pl.col(flat_rows.REASON).is_not_null(), flat_rows.stands_for_some(judged.collect_schema(), roles)
    counts = judged.select(wrong.sum().alias("wrong"), (~wrong & ~some).sum().alias("none"))
    n_wrong, n_none = counts.collect(engine="streaming").row(0)
    if n_wrong > _HELD or n_wrong == report.read > 0:
        first = judged.filter(wrong).select(LINE, flat_rows.REASON).head(1).collect(engine="streaming").row(0)
        raise InputError(
            f"{n_wrong:,} of {report.read:,} rows cannot be read. The first is row {first[0]}: {first[1]}.",
            path=path,
            cure="Import the file with a mapping that says what its values mean (docs/mapping.md).",
        )
    if n_wrong:
        bad = judged.filter(wrong).collect(engine="streaming")
        lines = pl.col(_INDEX).is_in(bad[LINE].implode())
        original = source.filter(lines).collect(engine="streaming").rename({_INDEX: LINE})
        report.reject(flat_rows.rejected(bad, report.source, original))
        judged = judged.filter(~wrong)
    report.drop(flat_rows.NO_JUDGMENT, n_none)
    return (judged.filter(some) if n_none else judged).drop(flat_rows.REASON)


def _not_lazy(path: Path, why: str) -> InputError:
    return InputError(
        f"the file cannot be read lazily: {why}.", path=path, cure="Import it (preflearn import) instead."
    )


def _data(rows: pl.LazyFrame, systems: pl.Series, report: ImportReport) -> PreferenceData:
    columns = rows.collect_schema().names()
    made = pl.format("c{}", pl.col(LINE))
    if "comparison_id" in columns:
        report.note("comparison_id stands as it was given: whether one occurs twice is not checked in a scan.")
    identity = pl.coalesce(pl.col("comparison_id").cast(pl.String), made) if "comparison_id" in columns else made
    comparisons = rows.with_columns(identity.alias("comparison_id")).drop(LINE)
    comparisons = comparisons.rename({"system_a": "response_a", "system_b": "response_b"})
    responses = pl.DataFrame({"response_id": systems, "system": systems})
    small: dict[str, Any] = {"responses": responses}
    for key, table in (("annotator_id", "annotators"), ("criterion_id", "criteria")):
        if key in columns:
            small[table] = pl.DataFrame({key: _distinct(rows, (key,))})
    return PreferenceData(report=report, comparisons=comparisons, **small)


def _distinct(rows: pl.LazyFrame, columns: tuple[str, ...]) -> pl.Series:
    queries = [rows.select(pl.col(name).cast(pl.String).alias("key")).unique() for name in columns]
    # One query at a time: what several share would be held for the slower of them.
    parts = [query.collect(engine="streaming")["key"] for query in queries]
    return pl.concat(parts).drop_nulls().unique().sort()
