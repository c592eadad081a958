"""`preflearn predict`: P(a beats b) for every comparison of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from preflearn.cli.options import Data, check_output, open_data
from preflearn.cli.say import Document, Say
from preflearn.cli.verb import verb


@verb(writes=True)
def run(
    say: Say,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model that `fit` or `rank --save` wrote.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write: .csv, .jsonl or .parquet.")],
    symmetrised: Annotated[bool, typer.Option("--symmetrised", help="Average both orders of presentation.")] = False,
) -> Document:
    """Predict P(a beats b) for every comparison; the answers in the data are not looked at."""
    from preflearn.cli.models import load_model
    from preflearn.cli.predictions import check_suffix, write_predictions
    from preflearn.evaluate.predictions import lenient

    check_output(check_suffix(out), force=say.force)
    fitted = load_model(model)
    opened = open_data(say, data)
    with say.working("predicting"):
        probability = lenient(fitted.prob)(opened, symmetrised=symmetrised)
        outcomes = None if symmetrised else lenient(fitted.outcome_probs)(opened)
        table = write_predictions(out, opened, probability, outcomes)
    notes: list[str] = getattr(fitted, "reservations", lambda data: [])(opened)
    for note in notes:
        say.warn(note)
    unanswered = table["probability"].null_count()
    say.line(f"{table.height - unanswered:,} predictions written to {out}")
    if unanswered:
        say.warn(f"{unanswered:,} comparisons have no prediction: an item in them has no strength.")
    return {"out": str(out), "predictions": table.height - unanswered, "unanswered": unanswered, "notes": notes}
