"""`preflearn validate`: every rule of the data contract, and what breaks it."""

from __future__ import annotations

from typing import Annotated

import typer

from preflearn.cli.options import Data, open_data
from preflearn.cli.say import Document, Field, Say
from preflearn.cli.verb import verb


@verb()
def run(
    say: Say,
    data: Data,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings end with exit code 1 too.")] = False,
) -> Document:
    """Check a data set against every rule of the data contract; exit code 1 if it breaks one."""
    from preflearn.data.validate import validate

    opened = open_data(say, data)
    with say.working("checking"):
        found = validate(opened)
    say.line(found.lines()[0])
    say.table(
        ["severity", "column", Field("rule", flexible=True), Field("rows", right=True), Field("cure", flexible=True)],
        [
            [problem.severity, f"{problem.table}.{problem.column}", problem.rule, problem.count, problem.cure]
            for problem in found.problems
        ],
    ) if found.problems else say.line("Nothing is wrong.")
    passed = found.ok and not (strict and found.warnings)
    return {**found.as_dict(), "ok": passed, "data_fingerprint": opened.fingerprint()}
