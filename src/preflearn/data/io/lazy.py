"""A plain Parquet table of votes between named systems, lazily: votes stay on disk, systems and annotators are read.

Equal to importing the file, row by row, but nothing is held: checks are small queries that stream over the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from preflearn.data.io import plain
from preflearn.data.io.files import scan_frame
from preflearn.data.reading import ImportReport, Rejected
from preflearn.data.schema import OUTCOMES, TABLES
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

_INDEX = "_row"
_ROLES = {column.name for column in TABLES["comparisons"].columns} | {"system_a", "system_b"}


def scan_battles(path: Path, report: ImportReport) -> PreferenceData:
    """Comparisons as a lazy frame over the file; responses (one per system) and annotators in memory.

    Args:
        path: a Parquet file with two systems, an outcome and any further columns of comparisons, under the names that
            a plain table may use.
        report: counts are added.

    Raises:
        InputError: it is no such table; texts, nested columns and attributes of other tables need an import.
    """
    rows = scan_frame(path)
    schema = rows.collect_schema()
    found = plain.layout(schema.names())
    roles = {} if found is None else dict(found.roles)
    named = {roles.get(name, name): name for name in schema.names()}
    if found is None or found.kind != "comparisons" or not {"system_a", "system_b"} <= named.keys():
        raise _not_lazy(path, "it is no table of two systems and an outcome")
    others = [role for role in named if role in ("prompt", "text_a", "text_b") or "." in role]
    if others:
        raise _not_lazy(path, f"it holds {', '.join(named[role] for role in others)}")
    rows = pl.scan_parquet(path, glob=False, row_index_name=_INDEX).rename({old: new for new, old in named.items()})
    for old, new in roles.items():
        if old != new:
            report.map(f"column {old} -> {new}", 1)
    rows = _times(rows, path)
    rows = rows.with_columns(pl.col("system_a", "system_b").cast(pl.String))
    rows = _without_systems(rows, path, report)
    systems = _distinct(rows, ("system_a", "system_b"))
    if "outcome" in named:
        rows = _outcomes(rows, found, systems, path, report)
    report.read = int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    return _data(rows, systems, report)


def _not_lazy(path: Path, why: str) -> InputError:
    return InputError(
        f"the file cannot be read lazily: {why}.", path=path, cure="Import it (preflearn import) instead."
    )


def _data(rows: pl.LazyFrame, systems: pl.Series, report: ImportReport) -> PreferenceData:
    columns = rows.collect_schema().names()
    made = pl.format("c{}", pl.col(_INDEX).cast(pl.UInt64) + 1)
    identity = pl.coalesce(pl.col("comparison_id").cast(pl.String), made) if "comparison_id" in columns else made
    comparisons = rows.with_columns(identity.alias("comparison_id")).drop(_INDEX)
    comparisons = comparisons.rename({"system_a": "response_a", "system_b": "response_b"})
    responses = pl.DataFrame({"response_id": systems, "system": systems})
    small: dict[str, Any] = {"responses": responses}
    for key, table in (("annotator_id", "annotators"), ("criterion_id", "criteria")):
        if key in columns:
            small[table] = pl.DataFrame({key: _distinct(rows, (key,))})
    return PreferenceData(report=report, comparisons=comparisons, **small)


def _distinct(rows: pl.LazyFrame, columns: tuple[str, ...]) -> pl.Series:
    parts = [rows.select(pl.col(name).cast(pl.String).alias("key")).unique() for name in columns]
    found = pl.concat(parts).unique().collect(engine="streaming")["key"]
    return found.drop_nulls().sort()


def _times(rows: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    schema = rows.collect_schema()
    if "time" in schema and schema["time"].is_numeric():
        raise _not_lazy(path, "its times are numbers")
    return rows


def _outcomes(
    rows: pl.LazyFrame, found: plain.Layout, systems: pl.Series, path: Path, report: ImportReport
) -> pl.LazyFrame:
    """The outcome in the plan's words; the name of one of the two systems is its side."""
    dtype = rows.collect_schema()["outcome"]
    coded = dtype.is_integer() and found.numbers is not None
    if not isinstance(dtype, pl.String | pl.Categorical | pl.Enum) and not coded:
        raise _not_lazy(path, "its outcomes are no words")
    word = pl.col("outcome").cast(pl.String)
    counted = rows.group_by(word.alias("word")).agg(pl.len().alias("rows")).collect(engine="streaming").sort("word")
    found_words = counted["word"].drop_nulls().to_list()
    words, names = plain.outcome_words(found), set(systems)
    known = {one: words[one.strip().lower()] for one in found_words if one.strip().lower() in words}
    for one, n in counted.rows():
        if one is None or not one.strip():
            report.map("no outcome -> not yet judged", n)
        elif known.get(one, one) != one:
            report.map(f"outcome {one} -> {known[one]}", n)
    if set(found_words) <= {*OUTCOMES} - names:  # nothing to translate: the column is used as it is
        return rows.with_columns(word.alias("outcome"))
    outcome = word.replace_strict(known, default=None, return_dtype=pl.String)
    if any(one.strip() in names for one in found_words):
        sides = [word.str.strip_chars() == pl.col(f"system_{side}") for side in "ab"]
        named = pl.when(sides[0]).then(pl.lit("a")).when(sides[1]).then(pl.lit("b"))
        outcome = pl.coalesce(pl.when(pl.col("system_a") != pl.col("system_b")).then(named), outcome)
    strange = [one for one in found_words if one not in known and one.strip()]
    if strange:
        unknown = rows.filter(word.is_in(strange) & outcome.is_null())
        lost = unknown.select("outcome").head(1).collect(engine="streaming")
        if lost.height:
            raise InputError(
                "the outcome is no known word.",
                path=path,
                column="outcome",
                value=lost["outcome"][0],
                cure="Import the file: rows like this are then set aside.",
            )
    return rows.with_columns(outcome.alias("outcome"))


def _without_systems(rows: pl.LazyFrame, path: Path, report: ImportReport) -> pl.LazyFrame:
    """Rows that do not name both systems are rejected, as an import does."""
    absent = pl.col("system_a").is_null() | pl.col("system_b").is_null()
    bad = rows.filter(absent).collect(engine="streaming")
    if not bad.height:
        return rows
    for row in bad.to_dicts():
        raw = json.dumps({key: value for key, value in row.items() if key != _INDEX}, ensure_ascii=False, default=str)
        report.reject([Rejected(path.name, row[_INDEX] + 1, "a system is missing", raw)])
    return rows.filter(~absent)
