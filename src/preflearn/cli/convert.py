"""`preflearn convert`: one kind of judgment into another; the assumptions are arguments, the losses are counted."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from preflearn.cli.options import Data, OutDirectory, check_directory, open_data
from preflearn.cli.say import Document, Say
from preflearn.cli.verb import verb
from preflearn.errors import InputError


@verb(writes=True)
def run(
    say: Say,
    data: Data,
    conversion: Annotated[
        str,
        typer.Argument(
            metavar="CONVERSION",
            help="rankings-to-pairs, pairs-to-rankings, ratings-to-pairs, labels-to-values, values-to-labels, "
            "criteria-to-columns, columns-to-criteria, votes-to-counts, counts-to-votes, pool.",
        ),
    ],
    out: OutDirectory,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An assumption of the conversion, as YAML (repeatable)."),
    ] = None,
) -> Document:
    """Turn rankings, ratings, labels, criteria or counts into each other; --set states the assumptions."""
    from preflearn.data import save
    from preflearn.data.convert import CONVERSIONS

    if conversion not in CONVERSIONS:
        raise InputError(
            "there is no such conversion.", value=conversion, cure=f"Conversions: {', '.join(CONVERSIONS)}."
        )
    function = CONVERSIONS[conversion]
    arguments = _arguments(function, conversion, settings or [])
    check_directory(out, force=say.force)
    opened = open_data(say, data)
    before = len(opened.provenance.get("steps", []))
    with say.working("converting"):
        converted = function(opened, **arguments)
        save(converted, out, force=say.force)
    steps = [str(step) for step in converted.provenance.get("steps", [])[before:]]
    for step in steps:
        say.line(step)
    say.line(f"written to {out}: {', '.join(f'{n:,} {name}' for name, n in converted.counts().items())}")
    return {
        "out": str(out),
        "conversion": conversion,
        "settings": arguments,
        "steps": steps,
        "counts": converted.counts(),
        "data_fingerprint": converted.fingerprint(),
    }


def _arguments(function: Callable[..., Any], conversion: str, settings: list[str]) -> dict[str, Any]:
    """The conversion's keyword arguments from NAME=VALUE, each checked against its type.

    Raises:
        InputError: no `=`, an unknown name, a value of the wrong type, or an obligatory argument that is missing.
    """
    import yaml
    from pydantic import TypeAdapter, ValidationError

    known = {name: parameter for name, parameter in inspect.signature(function).parameters.items() if name != "data"}
    hints = get_type_hints(function)
    out: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.replace("-", "_")
        if not equals or name not in known:
            raise InputError(
                f"{conversion} has no setting {name!r}." if equals else "a setting is written NAME=VALUE.",
                value=setting,
                cure=f"Settings: {', '.join(known)}.",
            )
        try:
            out[name] = TypeAdapter(hints[name]).validate_python(yaml.safe_load(text))
        except (ValidationError, yaml.YAMLError) as error:
            wanted = str(known[name].annotation).strip("'")
            raise InputError(f"{name} must be {wanted}.", value=text) from error
    missing = [name for name, parameter in known.items() if parameter.default is parameter.empty and name not in out]
    if missing:
        raise InputError(f"{conversion} needs --set {missing[0]}=VALUE.", cure=f"Settings: {', '.join(known)}.")
    return out
