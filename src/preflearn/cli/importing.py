"""`preflearn import`: any source becomes a data-set directory, and everything that happened to its rows is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preflearn.cli.options import OutDirectory, check_directory
from preflearn.cli.say import Document, Say
from preflearn.cli.verb import verb
from preflearn.errors import InputError

DATA_VARIABLE = "PREFLEARN_DATA"

if TYPE_CHECKING:
    from preflearn.data import PreferenceData


@verb(writes=True)
def run(
    say: Say,
    out: OutDirectory,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SRC...",
            help="Files or folders (CSV, TSV, JSON, JSONL, Parquet, also .gz and .zst) or hf:NAME[:CONFIG][@REVISION]. "
            "May be left out with a mapping file: its sources are then looked for in $PREFLEARN_DATA.",
        ),
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", metavar="F", help="Force a format instead of detecting it.")
    ] = None,
    map: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FILE|ROLE=COLUMN", help="A mapping file, or a column's role (repeatable)."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Rows that cannot be read are an error.")] = False,
) -> Document:
    """Read any public format or plain table into a data-set directory; unreadable rows go to rejected.jsonl."""
    from preflearn.data import save
    from preflearn.data.io.reader import read

    check_directory(out, force=say.force)
    mapping = _mapping(map)
    parts: list[PreferenceData] = []
    for source in sources or [_data_directory(mapping)]:
        with say.working(f"importing {source}"):
            parts.append(read(source, format=format, mapping=mapping, strict=strict))
    reports = [part.report for part in parts if part.report is not None]
    for report in reports:
        for line in report.lines():
            say.line(line)
    data = parts[0]
    if len(parts) > 1:
        from preflearn.data.merge import merge

        data = merge(*parts)
        for step in data.provenance["steps"]:
            say.line(step)
    save(data, out, force=say.force)
    say.line(f"written to {out}: {', '.join(f'{n:,} {name}' for name, n in data.counts().items())}")
    return {
        "out": str(out),
        "counts": data.counts(),
        "imports": [report.as_dict() for report in reports],
        "data_fingerprint": data.fingerprint(),
    }


def _data_directory(mapping: str | list[str] | None) -> str:
    """Where a mapping file's sources are looked for when none are named.

    Raises:
        InputError: there is no mapping file, or the variable is not set.
    """
    if not isinstance(mapping, str):
        raise InputError("there is nothing to import.", cure="Name a file, a folder or hf:NAME.")
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        raise InputError(
            "no source is named.", cure=f"Name files or a folder, or set {DATA_VARIABLE} to the mapping's folder."
        )
    return folder


def _mapping(given: list[str] | None) -> str | list[str] | None:
    """A mapping file, or pairs ROLE=COLUMN.

    Raises:
        InputError: several files, or files and pairs together.
    """
    if not given:
        return None
    pairs = [entry for entry in given if "=" in entry and not Path(entry).exists()]
    if not pairs and len(given) == 1:
        return given[0]
    if len(pairs) == len(given):
        return pairs
    raise InputError("--map takes one file, or pairs ROLE=COLUMN.", value=given)
