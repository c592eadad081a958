"""`preflearn methods`: the catalogue, one method, or the proof of one method run now."""

from __future__ import annotations

from typing import Annotated

import typer

from preflearn.cli.say import Document, Field, Say
from preflearn.cli.verb import verb
from preflearn.errors import InputError


@verb()
def run(
    say: Say,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Key of one method.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Run the method's proof now.")] = False,
) -> Document:
    """The catalogue of methods: paper, formula, parts and proof; --verify runs a proof."""
    from dataclasses import asdict

    from preflearn import registry

    if name is None:
        if verify:
            raise InputError("--verify needs the name of a method.", cure="`preflearn methods` lists them.")
        entries = list(registry.methods())
        say.table(
            ["method", "family", "year", Field("what", flexible=True)],
            [[entry.key, entry.family, str(entry.year), entry.title] for entry in entries],
        )
        return {"methods": [asdict(entry) for entry in entries]}
    entry = registry.method(name)
    if not verify:
        rows: list[list[str | None]] = [
            ["title", entry.title],
            ["source", f"{entry.authors} ({entry.year}), {entry.reference}"],
        ]
        rows += [["formula", entry.formula], ["recipe", entry.recipe], ["proof", entry.proof]]
        rows += [["parts", ", ".join(entry.parts)], ["kind", entry.kind], ["reason", entry.reason]]
        say.table([entry.key, Field("", flexible=True)], [row for row in rows if row[1]])
        return asdict(entry)
    if entry.proof is None:
        raise InputError(f"{name!r} has no proof to run: {entry.reason or entry.kind}.")
    with say.working(f"proof of {name}"):
        proof = registry.resolve(entry.proof)(seed=say.seed)
    document: Document = proof if isinstance(proof, dict) else proof.as_dict()
    say.table(
        ["", Field("value", flexible=True)],
        [[key, value if isinstance(value, float | int) else str(value)] for key, value in document.items()],
    )
    return {"key": name, "seed": say.seed, **document, "ok": bool(document.get("passed"))}
