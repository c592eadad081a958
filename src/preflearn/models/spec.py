"""Models from names and files: a recipe with options, or parts spelt out in YAML."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from preflearn.errors import InputError
from preflearn.models.composed import Composed
from preflearn.models.recipes import RECIPES
from preflearn.registry import resolve


def build(name: str, **options: Any) -> Composed:
    """The unfitted model of a recipe.

    Args:
        name: key of `RECIPES`.
        options: of the recipe, or of `Composed`.

    Raises:
        InputError: an unknown recipe or option; near names are given.
    """
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=3)
        cure = f"Did you mean {', '.join(near)}?" if near else "`preflearn fit --list` names them."
        raise InputError(f"there is no recipe {name!r}.", cure=cure)
    function = resolve(RECIPES[name])
    known = options_of(name)
    if unknown := [option for option in options if option not in known]:
        near = get_close_matches(unknown[0], known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise InputError(
            f"the recipe {name!r} has no option {unknown[0]!r}.", cure=f"{hint}It has: {', '.join(known)}."
        )
    try:
        model = function(**options)
    except (TypeError, ValueError) as error:
        raise InputError(f"the recipe {name!r} cannot be made: {error}.") from error
    assert isinstance(model, Composed)
    model.resolved()
    return model


def options_of(name: str) -> dict[str, Any]:
    """Options of a recipe and their defaults: its own, then those of `Composed` that it passes on."""
    own = inspect.signature(resolve(RECIPES[name])).parameters
    found = {p.name: p.default for p in own.values() if p.kind is not p.VAR_KEYWORD}
    if any(p.kind is p.VAR_KEYWORD for p in own.values()):
        passed = inspect.signature(Composed).parameters
        found |= {p.name: p.default for p in passed.values() if p.name not in found}
    return found


def read_spec(path: str | Path, **settings: Any) -> Composed:
    """The model that a YAML file describes: ``recipe: gpm`` with its options, or the parameters of `Composed`.

    Args:
        path: of the file.
        settings: options in place of those of the file: of its recipe, or of `Composed`.

    Raises:
        InputError: no such file, no YAML, or an unknown recipe, part or option.
    """
    import yaml

    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file cannot be read: {error}.", path=path) from None
    except yaml.YAMLError as error:
        raise InputError(f"this is no YAML: {' '.join(str(error).split())}.", path=path) from None
    if not isinstance(document, Mapping):
        raise InputError("a model is a mapping of parts.", path=path, cure="For instance `kernel: skew`.")
    options = {str(key): _tuples(value) for key, value in document.items()} | settings
    recipe = options.pop("recipe", None)
    if recipe is not None:
        return build(str(recipe), **options)
    known = list(inspect.signature(Composed).parameters)
    if unknown := [option for option in options if option not in known]:
        raise InputError(
            f"a composed model has no {unknown[0]!r}.", path=path, cure=f"It has: recipe, {', '.join(known)}."
        )
    model = Composed(**{"name": Path(path).stem, **options})
    model.resolved()
    return model


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
