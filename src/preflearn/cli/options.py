"""Arguments and options that several verbs take, and how they are turned into data."""

from __future__ import annotations

from datetime import UTC, datetime
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
    from preflearn.data import read

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


def parse_time(text: str, option: str) -> datetime:
    """A time in UTC; a time without a zone is taken as UTC.

    Raises:
        InputError: the text is no ISO 8601 date or time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{option} needs a date or time.", value=text, cure="For example 2024-05-01 or 2024-05-01T12:00:00Z."
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def between(say: Say, data: PreferenceData, since: str | None, until: str | None) -> PreferenceData:
    """Judgments made in [since, until); judgments without a time are left out, and counted aloud.

    Raises:
        InputError: a time cannot be read, or no judgment has a time.
    """
    if since is None and until is None:
        return data
    import polars as pl

    from preflearn.data.schema import JUDGMENTS

    low = parse_time(since, "--since") if since is not None else None
    high = parse_time(until, "--until") if until is not None else None
    timed = False
    for name in JUDGMENTS:
        total = data.height(name)
        if not total:
            continue
        if "time" in data.columns(name):
            unknown = int(data.lazy(name).select(pl.col("time").null_count()).collect().item())
        else:
            unknown = total
        timed = timed or unknown < total
        predicate = pl.lit(True)
        if low is not None:
            predicate &= pl.col("time") >= low
        if high is not None:
            predicate &= pl.col("time") < high
        if "time" not in data.columns(name):
            data = data.replace(**{name: data.table(name).clear()})
        else:
            data = data.where(name, predicate, f"kept {name} of [{since or 'begin'}, {until or 'end'})")
        if unknown:
            say.warn(f"{unknown:,} of {total:,} {name} have no time and are left out by --since/--until.")
    if not timed:
        raise InputError("no judgment has a time.", column="time", cure="Leave out --since and --until.")
    return data
