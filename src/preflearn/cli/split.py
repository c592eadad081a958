"""`preflearn split`: parts that share nothing they should not share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, cast

import typer

from preflearn.cli.options import Data, OutDirectory, check_directory, open_data
from preflearn.cli.say import Document, Field, Say
from preflearn.cli.verb import verb
from preflearn.errors import InputError

_NAMES = {2: ("train", "test"), 3: ("train", "validation", "test")}


class Unit(StrEnum):
    """What must not stand in two parts."""

    prompt = "prompt"
    annotator = "annotator"
    conversation = "conversation"
    component = "component"
    time = "time"


@verb(writes=True)
def run(
    say: Say,
    data: Data,
    out: OutDirectory,
    by: Annotated[Unit, typer.Option("--by", help="What must not stand in two parts.")] = Unit.prompt,
    fractions: Annotated[
        str, typer.Option("--fractions", metavar="F,F...", help="Shares of judgments, in the order of the parts.")
    ] = ".8,.2",
    names: Annotated[
        str | None, typer.Option("--names", metavar="N,N...", help="Names of the parts (train, validation, test).")
    ] = None,
) -> Document:
    """Divide a data set into DIR/train, DIR/test ... such that no unit stands in two parts."""
    from preflearn.data import save
    from preflearn.data.split import SplitBy, split

    shares = _shares(fractions, names)
    for name in shares:
        check_directory(out / name, force=say.force)
    opened = open_data(say, data)
    unit = cast(SplitBy, "response" if by is Unit.component else by.value)
    with say.working("splitting"):
        parts = split(opened, shares, by=unit, seed=say.seed)
        for name, part in parts.items():
            save(part, out / name, force=say.force)
    tables = [name for name in opened.counts() if any(part.height(name) for part in parts.values())]
    say.table(
        ["part", *(Field(table, right=True) for table in tables)],
        [[name, *(part.height(table) for table in tables)] for name, part in parts.items()],
    )
    steps = [str(part.provenance["steps"][-1]) for part in parts.values() if part.provenance.get("steps")]
    say.notes(list(dict.fromkeys(steps)))
    return {
        "out": str(out),
        "by": by.value,
        "seed": say.seed,
        "parts": {name: {"path": str(out / name), "counts": part.counts()} for name, part in parts.items()},
        "steps": list(dict.fromkeys(steps)),
    }


def _shares(fractions: str, names: str | None) -> dict[str, float]:
    """Part -> share.

    Raises:
        InputError: not numbers, or not as many names as numbers.
    """
    try:
        values = [float(text) for text in fractions.split(",")]
    except ValueError as error:
        raise InputError("fractions are numbers.", value=fractions, cure="For example --fractions .8,.1,.1") from error
    if names is not None:
        parts = tuple(name.strip() for name in names.split(","))
    else:
        parts = _NAMES.get(len(values), tuple(f"part{index}" for index in range(1, len(values) + 1)))
    if len(parts) != len(values) or len(set(parts)) < len(parts) or not all(parts):
        raise InputError(f"{len(values)} fractions need as many different names.", value=names)
    return dict(zip(parts, values, strict=True))
