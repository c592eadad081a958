"""What an export says of itself, and rows into files."""

from __future__ import annotations

import gzip
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import zstandard

from preflearn.errors import InputError


@dataclass
class ExportReport:
    """Counts of one export: what was written and what the format cannot hold."""

    path: str
    format: str
    written: Counter[str] = field(default_factory=Counter)
    """Rows written, by kind."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows or values the format cannot hold, by reason."""
    notes: list[str] = field(default_factory=list)

    def leave(self, reason: str, count: int = 1) -> None:
        """Count what is not written; nothing leaves no line."""
        if count:
            self.left_out[reason] += count

    def note(self, sentence: str) -> None:
        """Say something once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "path": self.path,
            "format": self.format,
            "written": dict(self.written),
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """The report as short lines for people."""
        rows = ", ".join(f"{count:,} {kind}" for kind, count in self.written.items()) or "nothing"
        out = [f"{self.path}: format {self.format}, {rows} written"]
        out += [f"  not exported {count:,}: {why}" for why, count in self.left_out.most_common()]
        return out + [f"  note: {note}" for note in self.notes]


def free_file(path: Path, *, force: bool) -> None:
    """Check that a file may be written here.

    Raises:
        InputError: it exists (without `force`), or is a directory.
    """
    if path.is_dir():
        raise InputError("a directory of this name exists.", path=path, cure="Name a file.")
    if path.exists() and not force:
        raise InputError("the file exists.", path=path, cure="Use --force (force=True) to replace it.")
    path.parent.mkdir(parents=True, exist_ok=True)


def write_rows(rows: pl.DataFrame, path: Path, kind: str) -> None:
    """Write rows as csv, tsv, jsonl or parquet; .gz and .zst pack. The file appears when it is whole.

    Times are ISO 8601 in UTC; nested columns are JSON text in CSV.
    """
    rows = rows.with_columns(pl.col(pl.Categorical).cast(pl.String))
    part = path.with_name(path.name + ".part")
    if kind == "parquet":
        rows.write_parquet(part, compression="zstd")
    else:
        rows = rows.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
        text = io.BytesIO()
        if kind == "jsonl":
            rows.write_ndjson(text)
        else:
            rows.select(json_cell(name, dtype) for name, dtype in rows.schema.items()).write_csv(
                text, separator="\t" if kind == "tsv" else ","
            )
        content = text.getvalue()
        if path.suffix == ".gz":
            content = gzip.compress(content, mtime=0)
        elif path.suffix == ".zst":
            content = zstandard.compress(content)
        part.write_bytes(content)
    part.replace(path)


def json_cell(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as CSV holds it: lists and structs as their JSON."""
    if not dtype.is_nested():
        return pl.col(name)
    wrapped = pl.struct(pl.col(name).alias("v")).struct.json_encode()
    bare = wrapped.str.slice(len('{"v":'), wrapped.str.len_chars() - len('{"v":}'))
    return pl.when(pl.col(name).is_not_null()).then(bare).alias(name)
