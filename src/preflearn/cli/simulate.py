"""`preflearn simulate`: people with known tastes, so that methods can be held against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from preflearn.cli.options import OutDirectory, check_directory
from preflearn.cli.say import Document, Say
from preflearn.cli.verb import verb


@verb(writes=True)
def run(
    say: Say,
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="YAML or JSON file: who, their tastes, what is asked.")],
    out: OutDirectory,
) -> Document:
    """Simulate a panel of people with known tastes; the truth lies in DIR/truth, where no fit looks."""
    from preflearn.simulate.spec import from_spec

    check_directory(out, force=say.force)
    with say.working("simulating"):
        data = from_spec(spec, seed=say.chosen_seed)
        data.save(out, force=say.force)
    counts = data.counts()
    say.line(f"{', '.join(f'{n:,} {name}' for name, n in counts.items())}: written to {out}")
    say.note(f"What is true of these people is in {out / 'truth'}; no fit opens it.")
    return {
        "out": str(out),
        "counts": counts,
        "seed": data.truth.scenario.get("seed"),
        "data_fingerprint": data.fingerprint(),
    }
