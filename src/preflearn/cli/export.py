"""`preflearn export`: a data set in a format that others read; what the format cannot hold is counted."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from preflearn.cli.options import Criterion, Data, open_data
from preflearn.cli.say import Document, Say
from preflearn.cli.verb import verb
from preflearn.errors import InputError


class Target(StrEnum):
    """What can be written."""

    parquet = "parquet"
    csv = "csv"
    jsonl = "jsonl"
    trl = "trl"
    trl_conversational = "trl-conversational"
    trl_unpaired = "trl-unpaired"
    hf = "hf"
    transformers = "transformers"
    sentence_transformers = "sentence-transformers"


_MODELS = (Target.transformers, Target.sentence_transformers)
_FORMATS = {"parquet": "preflearn", "hf": "huggingface"}


def _model(say: Say, model: str, out: Path, to: Target) -> Document:
    from preflearn.models import load
    from preflearn.models.exporting import export_encoder, export_transformers

    with say.working("exporting"):
        write = export_transformers if to is Target.transformers else export_encoder
        write(load(model), out, force=say.force)
    say.line(f"written to {out} for {to.value}")
    return {"out": str(out), "to": to.value}


@verb(writes=True)
def run(
    say: Say,
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PATH", help="A directory for parquet and hf, else a file.")
    ],
    to: Annotated[
        Target | None,
        typer.Option(
            "--to",
            help="Data: parquet (all tables), csv or jsonl (flat rows), TRL columns, hf (with a card). A model that "
            "`fit` wrote: transformers (a scalar classifier), sentence-transformers (encoder and head).",
        ),
    ] = None,
    criterion: Criterion = None,
    license: Annotated[str | None, typer.Option("--license", help="License named on the card of an hf export.")] = None,
) -> Document:
    """Write a data set as Parquet, CSV, JSON Lines, TRL columns or a Hugging Face data set; or a fitted model."""
    if to in _MODELS:
        given = {"--criterion": criterion, "--license": license}
        if unused := [name for name, value in given.items() if value is not None]:
            raise InputError(
                f"{' and '.join(unused)} say something about a data set, and {to.value} is a format of models.",
                cure="Leave it out. `preflearn fit` takes --criterion; a license is stated beside the model.",
            )
        return _model(say, data, out, to)
    from preflearn.data.io.write import export

    opened = open_data(say, data)
    with say.working("exporting"):
        report = export(
            opened,
            out,
            format=None if to is None else _FORMATS.get(to.value, to.value),
            force=say.force,
            criterion=criterion,
            license=license,
        )
    for line in report.lines():
        say.line(line)
    return report.as_dict()
