"""Arguments and options that several verbs take, and how they are turned into data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preflearn.cli.say import Say
from preflearn.errors import InputError

if TYPE_CHECKING:
    from preflearn.data import PreferenceData

Data = Annotated[str, typer.Argument(metavar="DATA", help="A data-set directory, or anything `import` reads.")]
OutDirectory = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Directory to write.")]
Criterion = Annotated[str | None, typer.Option("--criterion", metavar="NAME", help="Only judgments on this criterion.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Only judgments from this time on (ISO 8601).")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Only judgments before this time (ISO 8601).")
]
Level = Annotated[float, typer.Option("--level", metavar="L", help="Confidence level of intervals.")]

LARGE = 256 * 1024 * 1024
"""Bytes above which a Parquet file of votes is scanned instead of read."""


def open_data(say: Say, path: str, *, lazy: bool = False) -> PreferenceData:
    """Read a data set, or import whatever lies there and say what the import did.

    Args:
        lazy: tables may stay on disk (data-set directories, and Parquet files too large to be read at ease).
    """
    from preflearn.data.io.reader import read, scan
    from preflearn.data.store import is_dataset

    with say.working(f"reading {path}"):
        place = Path(path)
        large = place.suffix == ".parquet" and place.is_file() and place.stat().st_size > LARGE
        data = scan(place) if lazy and (large or is_dataset(place)) else read(path)
    if data.report is not None and data.report.format == "preflearn":
        data.report = None  # nothing was imported now; what the import once said is in the provenance
    if data.report is not None:
        say.notes(data.report.lines())
    return data


def check_output(path: Path, *, force: bool) -> Path:
    """An output file that may be written; its folder is made.

    Raises:
        InputError: something of this name exists and --force was not given, or it is a directory.
    """
    if path.is_dir():
        raise InputError("the output is a directory.", path=path, cure="Name a file.")
    if path.exists() and not force:
        raise InputError("the file exists.", path=path, cure="Use --force to replace it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def check_directory(path: Path, *, force: bool) -> Path:
    """An output directory that may be written: said before the work, not after it.

    Raises:
        InputError: a file of this name exists, or a directory that is not empty without --force.
    """
    if path.is_file():
        raise InputError("a file of this name exists.", path=path, cure="Name a directory.")
    if not force and path.is_dir() and any(path.iterdir()):
        raise InputError("the directory is not empty.", path=path, cure="Use --force to replace it.")
    return path
