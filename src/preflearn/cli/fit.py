"""`preflearn fit`: a preference model over content from the judgments of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from preflearn.cli.options import check_directory, open_data
from preflearn.cli.say import Document, Field, Say
from preflearn.cli.verb import verb
from preflearn.errors import InputError

if TYPE_CHECKING:
    from preflearn.models import Composed


@verb(writes=True)
def run(
    say: Say,
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="A recipe (see --list), or a YAML file of parts.")
    ] = None,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="A data-set directory, or anything `import` reads.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="MODEL", help="Directory to write.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the recipe (repeatable).")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", metavar="NAME", help="embedding, minilm, features, a directory or hub name; a+b."),
    ] = None,
    criterion: Annotated[str | None, typer.Option("--criterion", metavar="NAME", help="Only this criterion.")] = None,
    draws: Annotated[
        bool, typer.Option("--draws", help="Keep posterior draws too: for models that are not linear, 20 refits.")
    ] = False,
    listing: Annotated[bool, typer.Option("--list", help="List the recipes; with a RECIPE its options.")] = False,
) -> Document:
    """Fit a preference model: what people prefer in the content itself, and how they differ."""
    if listing:
        return _list(say) if recipe is None else _options(say, recipe)
    if recipe is None or data is None or out is None:
        raise InputError("a recipe, data and an output are needed.", cure="preflearn fit RECIPE DATA --out MODEL")
    check_directory(out, force=say.force)
    from preflearn.cli.models import unfitted

    model = unfitted(recipe, options or (), encoder=encoder, criterion=criterion, seed=say.chosen_seed)
    opened = open_data(say, data)
    with say.working(f"fitting {recipe}"):
        model.fit(opened)
    model.save(out, force=say.force, draws=draws)
    document = _document(model, recipe, out)
    _show(say, document)
    return document


def _document(model: Composed, recipe: str, out: Path) -> Document:
    return {
        "recipe": recipe,
        "out": str(out),
        "judgments": model.shape_.total,
        "left_out": model.left_out_,
        "annotators": len(model.annotators_),
        "features": model.shape_.features,
        "encoder": type(model.encoder_).__name__,
        "iterations": model.report_.iterations,
        "converged": model.report_.converged,
        "objective": model.report_.value,
        "starts": list(model.report_.starts),
        "notes": model.notes_,
    }


def _show(say: Say, document: Document) -> None:
    people = f" of {document['annotators']:,} annotators" if document["annotators"] else ""
    say.line(
        f"{document['recipe']}: learned from {document['judgments']:,.0f} judgments{people}, "
        f"{document['features']:,} features ({document['encoder']})"
    )
    for reason, n in document["left_out"].items():
        say.note(f"left out: {n:,.0f} {reason}")
    for note in document["notes"]:
        say.warn(note)
    if not document["converged"]:
        say.warn(f"the fit stopped after {document['iterations']:,} iterations before it had converged.")
    say.line(f"written to {document['out']}; see how good it is with: preflearn evaluate {document['out']} TEST-DATA")


def _list(say: Say) -> Document:
    from preflearn.registry import recipes

    found = recipes()
    say.table(
        ["recipe", "year", Field("what", flexible=True), Field("source", flexible=True)],
        [[key, str(entry.year), entry.title, entry.reference] for key, entry in found.items()],
    )
    return {"recipes": [{"recipe": key, "title": e.title, "reference": e.reference} for key, e in found.items()]}


def _options(say: Say, recipe: str) -> Document:
    from preflearn.models.recipes import RECIPES
    from preflearn.models.spec import options_of
    from preflearn.registry import resolve

    if recipe not in RECIPES:
        from preflearn.models.spec import build

        build(recipe)
    found: dict[str, Any] = options_of(recipe)
    say.line(" ".join((resolve(RECIPES[recipe]).__doc__ or "").split("\n\n")[0].split()))
    say.table(["option", Field("default", flexible=True)], [[name, str(value)] for name, value in found.items()])
    return {"recipe": recipe, "options": {name: str(value) for name, value in found.items()}}
