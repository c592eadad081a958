"""One file into a frame of rows: CSV, TSV, JSON, JSON Lines, Parquet, also packed. Knows nothing of preferences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from preflearn.data.io.csvtext import read_table
from preflearn.data.io.jsontext import read_document, read_lines
from preflearn.data.io.packed import PACKED_SUFFIXES, Unpacked, unpacked
from preflearn.data.io.rows import LINE, Rows, numbered
from preflearn.data.reading import Rejected
from preflearn.errors import InputError

KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""File endings (before .gz, .zst) and what they hold."""

_BOM, _PARQUET = b"\xef\xbb\xbf", b"PAR1"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_frame(path: str | Path) -> tuple[pl.DataFrame, list[Rejected]]:
    """The rows of one file, with the column `_line` first, and the rows that could not be read.

    Nothing is lost in silence: every line that is not blank is a row of the frame or a `Rejected` with its 1-based line
    number and its text (cut after 10,000 characters). Columns that mix kinds (text here, a list there) are text, and
    what is not text stands as its JSON. Numbers in CSV are numbers only where that loses nothing.

    Raises:
        InputError: no such file, an unknown kind of file, a broken Parquet file or header, or a decompression bomb.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError("this is a directory.", path=path, cure="Name a file in it.")
    kind = kind_of(path)
    if kind == "parquet" and path.suffix not in PACKED_SUFFIXES:
        return _parquet(path, path)
    content = unpacked(path)
    data = content.data
    if kind is None:
        kind = _sniff(data, path)
    if kind == "parquet":
        return _parquet(data, path)
    if data.startswith(_UTF16):
        try:
            data = data.decode("utf-16").encode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError("the file starts as UTF-16 but is not.", path=path, cure="Save it as UTF-8.") from error
    data = data.removeprefix(_BOM)
    if kind == "csv":
        rows = read_table(data, path.name)
    elif kind == "tsv":
        rows = read_table(data, path.name, "\t")
    elif kind == "json":
        rows = read_document(data, path.name) if data.strip() else Rows(pl.DataFrame(schema={LINE: pl.UInt32}), [])
    elif data.lstrip()[:1] == b"[":
        rows = read_document(data, path.name)
    else:
        rows = read_lines(data, path.name)
    return rows.frame, [*rows.rejected, *_broken(content, data, path)]


def scan_frame(path: str | Path) -> pl.LazyFrame:
    """A Parquet file, lazily: nothing but its schema is read. There is no `_line`, which would hold back pushdown.

    Raises:
        InputError: not a Parquet file, or a broken one.
    """
    path = Path(path)
    if kind_of(path) != "parquet" or path.suffix in PACKED_SUFFIXES:
        raise InputError("only Parquet files can be scanned.", path=path, cure="Import the file first.")
    if not path.is_file():
        raise InputError("there is no such file.", path=path)
    try:
        frame = pl.scan_parquet(path, glob=False)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"the Parquet file cannot be read: {error}", path=path) from error
    return frame


def kind_of(path: Path) -> str | None:
    """csv, tsv, json, jsonl or parquet by the file's ending; None = unknown."""
    name = path.name.lower()
    for suffix in PACKED_SUFFIXES:
        name = name.removesuffix(suffix)
    return KINDS.get(Path(name).suffix)


def stem_of(path: Path) -> str:
    """The file's name without its endings (`votes.jsonl.zst` -> `votes`)."""
    name = path.name
    for suffix in (*PACKED_SUFFIXES, *KINDS):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name


def _sniff(data: bytes, path: Path) -> str:
    if data.startswith(_PARQUET):
        return "parquet"
    start = data.removeprefix(_BOM).lstrip()[:1]
    if start == b"[":
        return "json"
    if start == b"{":
        return "jsonl"
    raise InputError(
        f"the ending {path.suffix or 'of the name'!r} is unknown.",
        path=path,
        cure=f"Known: {', '.join(KINDS)}, each also with .gz or .zst.",
    )


def _parquet(source: Path | bytes, path: Path) -> tuple[pl.DataFrame, list[Rejected]]:
    try:
        frame = pl.read_parquet(source, glob=False) if isinstance(source, Path) else pl.read_parquet(source)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"the Parquet file cannot be read: {error}", path=path) from error
    return numbered(frame, np.arange(1, frame.height + 1, dtype=np.uint32)), []


def _broken(content: Unpacked, data: bytes, path: Path) -> list[Rejected]:
    if content.broken is None:
        return []
    line = data.count(b"\n") + 1
    return [Rejected(path.name, line, content.broken, "")]
