"""`read` and `scan`: any source -> a data set with the report of its import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from preflearn.data import store
from preflearn.data.io import detect, hub, lazy, tables_in
from preflearn.data.io.base import Format, Sample
from preflearn.data.io.exported import json_cell
from preflearn.data.io.files import read_frame, stem_of
from preflearn.data.io.formats import FORMATS
from preflearn.data.io.jsontext import decode
from preflearn.data.io.messages import conversations, holds_json
from preflearn.data.io.plain import PLAIN
from preflearn.data.io.rows import SOURCE, shown
from preflearn.data.reading import ImportReport
from preflearn.data.schema import TABLES
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

if TYPE_CHECKING:
    from preflearn.data.io.mapping import Mapping as MappingFile

_SHOWN = 5
"""Rejected rows that a strict import names."""


def read(
    source: str | Path,
    *,
    format: str | None = None,
    mapping: MappingFile | Mapping[str, Any] | Sequence[str] | str | Path | None = None,
    strict: bool = False,
    revision: str | None = None,
) -> PreferenceData:
    r"""Read preference data from wherever it lies; `.report` says what was kept, mapped, dropped and set aside.

    Args:
        source: a data-set directory; a directory of files named like the tables; a file (CSV, TSV, JSON, JSON Lines,
            Parquet, each also .gz or .zst) or directory of files in a public format; `hf:NAME[:CONFIG][@REVISION]`.
        format: name of a format, to force it (see `FORMATS`); None = seen from the columns.
        mapping: what the columns mean: a mapping, its file or name, or `["ROLE=COLUMN", ...]`.
        strict: rows that cannot be read are an error.
        revision: revision of a hub data set.

    Raises:
        InputError: nothing there, nothing readable, an unknown format, or rejected rows with `strict`.

    >>> from pathlib import Path
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "votes.csv"
    >>> _ = path.write_text("system_a,system_b,outcome\nx,y,a\ny,z,tie\n")
    >>> read(path)
    PreferenceData(3 responses, 2 comparisons)
    """
    name = str(source)
    provenance: dict[str, Any] = {}
    files: list[Path] | None = None
    if name.startswith(hub.PREFIX):
        fetched = hub.fetch(name, revision)
        path, files = fetched.folder, fetched.files
        provenance = {"hub": {"name": name, "revision": fetched.revision}}
    else:
        path = Path(source)
        if not path.exists():
            raise InputError("there is no such file or directory.", path=path, cure="hf:NAME names a hub data set.")
    report = ImportReport(name, format or "")
    if mapping is not None:
        if format is not None:
            raise InputError("a format and a mapping exclude each other.", value=format, cure="Give one of them.")
        data = _mapped(mapping, files or [path], report)
    elif files is not None and format is None and all(stem_of(one) in TABLES for one in files):
        report.format = "tables"
        data = tables_in.read_tables({stem_of(one): one for one in files}, report)
    elif files is not None:
        data = _files(files, format, report, path)
    elif path.is_dir():
        data = _directory(path, format, report)
    elif format == "tables":
        report.format = "tables"
        data = tables_in.read_tables({stem_of(path): path}, report)
    else:
        data = _files([path], format, report, path)
    return _checked(data, report, strict, provenance)


def scan(source: str | Path) -> PreferenceData:
    """Read lazily what is larger than memory: tables stay on disk until they are needed.

    Args:
        source: a data-set directory, a directory of Parquet files named like the tables, or one Parquet file of votes
            between named systems (system_a, system_b, outcome, further columns of comparisons).

    Raises:
        InputError: the source is none of these.
    """
    path = Path(source)
    report = ImportReport(str(source), "")
    if not path.exists():
        raise InputError("there is no such file or directory.", path=path)
    if path.is_file():
        report.format = "plain (lazy)"
        return lazy.scan_battles(path, report)
    if store.is_dataset(path):
        data = store.load(path, lazy=True)
        report.format = "preflearn"
        data.report = report
        return data
    tables = tables_in.table_files(path) or tables_in.table_files(path / "data")
    if tables is None:
        raise InputError(
            "this directory cannot be read lazily: it is no data set and its files are not named like the tables.",
            path=path,
            cure="Import it (preflearn import) instead.",
        )
    report.format = "tables (lazy)"
    return tables_in.scan_tables(tables, report)


def _checked(data: PreferenceData, report: ImportReport, strict: bool, provenance: dict[str, Any]) -> PreferenceData:
    rejected = report.rejected
    if strict and rejected:
        shown = "; ".join(f"{row.source} line {row.line}: {row.reason}" for row in rejected[:_SHOWN])
        more = f"; and {len(rejected) - _SHOWN:,} more" if len(rejected) > _SHOWN else ""
        raise InputError(
            f"{len(rejected):,} row(s) cannot be read: {shown}{more}.",
            path=report.source,
            cure="Repair them, or import without --strict: they are then kept in rejected.jsonl.",
        )
    if not data.counts():
        first = f" The first is line {rejected[0].line}: {rejected[0].reason}." if rejected else ""
        raise InputError(f"nothing could be read: 0 of {report.read:,} rows.{first}", path=report.source)
    data.provenance.update(provenance)
    data.report = report
    return data


def _mapped(mapping: Any, paths: list[Path], report: ImportReport) -> PreferenceData:
    from preflearn.data.io import (
        mapping as mappings,
    )  # pydantic takes a while to load, and most imports need no mapping

    if isinstance(mapping, Sequence) and not isinstance(mapping, str):
        mapping = mappings.mapping_from_pairs(mapping)
    elif not isinstance(mapping, mappings.Mapping):
        mapping = mappings.load_mapping(mapping)
    report.format = f"mapping {mapping.name}"
    return mappings.read_mapped(mapping, *paths, report=report)


def _directory(path: Path, format: str | None, report: ImportReport) -> PreferenceData:
    if store.is_dataset(path):
        if format not in (None, "preflearn"):
            raise InputError(f"this is a data-set directory, not {format}.", path=path, cure="Leave the format out.")
        data = store.load(path)
        report.format = "preflearn"
        report.read = sum(data.height(name) for name in ("comparisons", "ratings", "rankings", "signals"))
        return data
    if format in (None, "tables"):
        tables = tables_in.table_files(path) or tables_in.table_files(path / "data")
        if tables is not None:
            report.format = "tables"
            return tables_in.read_tables(tables, report)
        if format == "tables":
            raise InputError("the files are not named like the tables.", path=path)
    files = _data_files(path)
    if not files:
        raise InputError(
            "no data file lies here.", path=path, cure="CSV, TSV, JSON, JSON Lines and Parquet are read, also packed."
        )
    return _files(files, format, report, path)


def _data_files(folder: Path) -> list[Path]:
    """Data files of a directory, else of its `data` directory (the hub's layout), else of all directories in it."""
    for place, pattern in ((folder, "*"), (folder / "data", "*"), (folder, "**/*")):
        found = [path for path in sorted(place.glob(pattern)) if path.is_file()]
        found = [path for path in found if hub.is_data(str(path.relative_to(folder)))]
        if found:
            return found
    return []


def _files(files: list[Path], format: str | None, report: ImportReport, place: Path) -> PreferenceData:
    """Files of one format, read as one."""
    chosen = detect.named(format) if format else None
    frames = {path: _read(path, report) for path in files}
    filled = {path: frame for path, frame in frames.items() if frame.height}
    if not filled:
        return PreferenceData(report=report)
    if (whole := _of_several(filled, chosen, report, place)) is not None:
        return whole
    found = {path: chosen or detect.detected(path, frame) for path, frame in filled.items()}
    if len({one.name for one in found.values()}) > 1:
        listed = ", ".join(f"{path.name} is {one.name}" for path, one in found.items())
        raise InputError(f"the files are in several formats: {listed}.", path=place, cure="Name one file at a time.")
    one = next(iter(found.values()))
    report.format = one.name
    frame = _as_one(filled, place, report)
    if one is PLAIN:
        frame = _json_cells(frame, report)
    return _run(one, partial(one.read, frame, report), place)


_CONTENTS = ("prompt", "prompt_a", "prompt_b", "text", "text_a", "text_b", "response", "response_a", "response_b")


def _json_cells(frame: pl.DataFrame, report: ImportReport) -> pl.DataFrame:
    """What a CSV file holds as JSON: contents become messages (texts beside them, too), lists of responses lists."""
    for name in _CONTENTS:
        if name in frame.columns and holds_json(frame[name]):
            parsed = conversations(frame[name], "user" if name.startswith("prompt") else "assistant")
            frame = frame.with_columns(parsed.column.alias(name))
            report.map(f"{name} as JSON -> messages", parsed.column.count())
    for name in frame.columns:
        qualifier, dot, attribute = name.partition(".")
        if dot and qualifier in ("a", "b", "responses") and frame.schema[name] == pl.String:
            planned = TABLES["responses"].column(attribute)
            if planned is not None and isinstance(planned.dtype, pl.List) and frame[name].str.starts_with("[").any():
                values, bad = decode(frame[name])
                if not bad and isinstance(values.dtype, pl.List):
                    frame = frame.with_columns(values.cast(planned.dtype))
                    report.map(f"{name} as JSON -> list", values.count())
    return frame


def _of_several(
    frames: dict[Path, pl.DataFrame], chosen: Format | None, report: ImportReport, place: Path
) -> PreferenceData | None:
    """Files named like the parts of a format, if there are several and one of them is known by its columns."""
    for one in FORMATS if chosen is None else (chosen,):
        parts = {stem_of(path): frame for path, frame in frames.items() if stem_of(path) in one.files}
        known = any(one.detect(Sample.of(path, frame)) for path, frame in frames.items() if stem_of(path) in parts)
        if one.read_files is None or len(parts) < 2 or not known:
            continue
        report.format = one.name
        for path, frame in frames.items():
            if stem_of(path) not in parts:
                report.note(f"{path.name} is no part of the format {one.name} and was not imported.")
                report.read -= frame.height
        return _run(one, partial(one.read_files, parts, report), place)
    return None


def _read(path: Path, report: ImportReport) -> pl.DataFrame:
    frame, rejected = read_frame(path)
    report.reject(rejected)
    report.read += frame.height + len(rejected)
    return shown(frame, report)


def _as_one(frames: dict[Path, pl.DataFrame], place: Path, report: ImportReport) -> pl.DataFrame:
    """The rows of several files below each other, each knowing its file; `source` names it where nothing else does."""
    if len(frames) == 1:
        return next(iter(frames.values()))
    parts = []
    for path, frame in frames.items():
        frame = frame.with_columns(pl.lit(path.name).alias(SOURCE))
        if "source" not in frame.columns:
            frame = frame.with_columns(pl.lit(hub.split_of(path)).alias("source"))
        parts.append(frame)
    nested = {name for part in parts for name, dtype in part.schema.items() if dtype.is_nested()}
    for name in nested:
        kinds = {part.schema[name].base_type() for part in parts if name in part.columns} - {pl.Null}
        if len(kinds) > 1:
            report.note(f"Column {name!r} differs in kind between the files: what is no text stands as its JSON.")
            parts = [
                part.with_columns(json_cell(name, part.schema[name]).cast(pl.String)) if name in part.columns else part
                for part in parts
            ]
    try:
        return pl.concat(parts, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"columns of one name differ in type between the files: {error}",
            path=place,
            cure="Name one file at a time.",
        ) from error


def _run(one: Format, reading: Callable[[], PreferenceData], place: Path) -> PreferenceData:
    """A reader's work; a column that is not there or of an odd type is the input's fault when a format was forced."""
    try:
        return reading()
    except InputError as error:
        if error.path is not None:
            raise
        where: dict[str, Any] = {"row": error.row, "column": error.column, "value": error.value, "cure": error.cure}
        raise InputError(error.problem, path=place, **where) from error
    except (pl.exceptions.PolarsError, KeyError) as error:
        missing = f"there is no column {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"this is not what {one.name} looks like: {missing}".split("\n")[0] + ".",
            path=place,
            cure=f"It needs {' or '.join(one.needs)}.",
        ) from error
