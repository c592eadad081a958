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


def open_data(say: Say, path: str) -> PreferenceData:
    """Read a data set, or import whatever lies there and say what the import did."""
    from preflearn.data.io import read

    with say.working(f"reading {path}"):
        data = read(path)
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


def check_level(level: float) -> float:
    """A confidence level between 0 and 1.

    Raises:
        InputError: it is not.
    """
    if not 0.0 < level < 1.0:
        raise InputError("a confidence level lies between 0 and 1.", value=level, cure="For example --level 0.95.")
    return level
