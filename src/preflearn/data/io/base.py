"""What a public format is to the importer: a name, a test on a file's columns, and a reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from preflearn.data.io.rows import LINE
from preflearn.data.reading import ImportReport
from preflearn.data.tables import PreferenceData


@dataclass(frozen=True)
class Sample:
    """What detection sees of a file: its columns with types, and its first rows."""

    path: Path
    columns: Mapping[str, pl.DataType]
    head: pl.DataFrame

    @staticmethod
    def of(path: Path, frame: pl.DataFrame, rows: int = 100) -> Sample:
        """The sample of a frame that was read from `path`."""
        head = frame.head(rows).drop(LINE, strict=False)
        return Sample(path, dict(head.schema), head)

    def has(self, *names: str) -> bool:
        """Whether all these columns are there."""
        return all(name in self.columns for name in names)


@dataclass(frozen=True)
class Format:
    """A public format."""

    name: str
    about: str
    """What it is, and where its layout was read (repository path or data card)."""
    needs: tuple[str, ...]
    """Columns by which it is known, for messages."""
    detect: Callable[[Sample], bool]
    read: Callable[[pl.DataFrame, ImportReport], PreferenceData]
    """Rows of one file (with `_line`) into tables; counts what it maps and drops in the report."""
    files: tuple[str, ...] = ()
    """Stems of the files of which a source consists (`survey`, `utterances`), the first being the one detected."""
    read_files: Callable[[Mapping[str, pl.DataFrame], ImportReport], PreferenceData] | None = field(default=None)
    """For a source of several files: frames by stem; `read` then reads the first one alone."""
