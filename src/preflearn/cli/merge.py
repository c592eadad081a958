"""`preflearn merge`: several data sets become one; what differs under one id is renamed, and every step is said."""

from __future__ import annotations

from typing import Annotated

import typer

from preflearn.cli.options import OutDirectory, check_directory, open_data
from preflearn.cli.say import Document, Say
from preflearn.cli.verb import verb
from preflearn.errors import InputError


@verb(writes=True)
def run(
    say: Say,
    sources: Annotated[list[str], typer.Argument(metavar="DATA DATA...", help="Two or more data sets.")],
    out: OutDirectory,
    names: Annotated[
        str | None, typer.Option("--names", metavar="N,N...", help="A name for each, used where ids collide.")
    ] = None,
    apart: Annotated[
        list[str] | None,
        typer.Option(
            "--apart", metavar="TABLE", help="Equal ids of this table are chance, e.g. annotators (repeatable)."
        ),
    ] = None,
) -> Document:
    """Merge data sets: equal things once, different things under one id renamed, every judgment kept."""
    from preflearn.data import save
    from preflearn.data.merge import merge

    if len(sources) < 2:
        raise InputError("there is only one data set.", cure="Give two or more.")
    check_directory(out, force=say.force)
    parts = [open_data(say, source) for source in sources]
    labels = [name.strip() for name in names.split(",")] if names else None
    with say.working("merging"):
        data = merge(*parts, names=labels, apart=apart or ())
        save(data, out, force=say.force)
    steps = [str(step) for step in data.provenance.get("steps", [])]
    for step in steps:
        say.line(step)
    say.line(f"written to {out}: {', '.join(f'{n:,} {name}' for name, n in data.counts().items())}")
    return {"out": str(out), "counts": data.counts(), "steps": steps, "data_fingerprint": data.fingerprint()}
