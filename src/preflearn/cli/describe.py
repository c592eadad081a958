"""`preflearn describe`: what a data set holds and how far its judgments can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from preflearn.cli.options import Data, Level, open_data
from preflearn.cli.say import Document, Field, Say
from preflearn.cli.verb import verb

if TYPE_CHECKING:
    from preflearn.data import PreferenceData


@verb()
def run(
    say: Say,
    data: Data,
    level: Level = 0.95,
    resamples: Annotated[int, typer.Option("--resamples", min=0, help="Resamples of bootstrap intervals.")] = 1000,
    columns: Annotated[
        bool, typer.Option("--columns", help="List the columns that --by and --cluster can name, and nothing else.")
    ] = False,
) -> Document:
    """Coverage, ties, annotators, agreement, position and length effects, connectivity."""
    opened = open_data(say, data, lazy=True)
    if columns:
        return _columns(say, opened)
    from preflearn.evaluate import describe

    with say.working("describing"):
        found = describe(opened, n_bootstrap=resamples, seed=say.seed, level=level)
    for line in found.lines():
        say.line(line)
    return {**found.as_dict(), "data_fingerprint": opened.known_fingerprint()}


def _columns(say: Say, data: PreferenceData) -> Document:
    from preflearn.data.columns import describe_columns
    from preflearn.data.schema import JUDGMENTS

    tables = {name: describe_columns(data, name) for name in JUDGMENTS if data.height(name)}
    for name, found in tables.items():
        say.table(
            ["name", "short", "type", Field("meaning", flexible=True)],
            [[column.name, column.short, str(column.dtype).split("(")[0], column.meaning] for column in found],
            title=f"Columns beside {name}",
        )
    return {
        name: [{"name": c.name, "short": c.short, "type": str(c.dtype), "meaning": c.meaning} for c in found]
        for name, found in tables.items()
    }
