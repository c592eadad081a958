"""`preflearn embed`: write the vectors of an encoder into a data set, so that later fits need no encoder."""

from __future__ import annotations

from typing import Annotated

import typer

from preflearn.cli.options import Data, OutDirectory, check_directory, open_data
from preflearn.cli.say import Document, Say
from preflearn.cli.verb import verb


@verb(writes=True)
def run(
    say: Say,
    data: Data,
    out: OutDirectory,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder", metavar="NAME", help="minilm, features, smollm2, a directory or hub name; a+b joins."
        ),
    ] = "minilm",
    prompts: Annotated[bool, typer.Option("--prompts", help="Embed the prompts too.")] = False,
) -> Document:
    """Compute the embedding of every response once and store it as the column `embedding`."""
    check_directory(out, force=say.force)
    opened = open_data(say, data)
    from preflearn.backbones import embed

    embedded = embed(opened, encoder, prompts=prompts)
    embedded.save(out, force=say.force)
    width = len(embedded.responses["embedding"][0]) if embedded.height("responses") else 0
    say.line(f"{embedded.height('responses'):,} responses embedded in {width:,} dimensions, written to {out}")
    return {"out": str(out), "responses": embedded.height("responses"), "dimensions": width}
