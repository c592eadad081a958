"""Models named on the command line: saved ones of either kind, files of predictions, recipes still to be fitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preflearn.errors import InputError

if TYPE_CHECKING:
    from preflearn.protocols import PreferenceModel


def load_model(path: Path) -> PreferenceModel:
    """A fitted model: the directory that `fit` wrote, or the file that `rank --save` wrote.

    Raises:
        InputError: neither is there.
    """
    if path.is_dir():
        from preflearn.models import load as load_composed

        return load_composed(path)
    from preflearn.ranking.saved import load

    return load(path)


def unfitted(name: str, options: Sequence[str] = (), **more: Any) -> Any:
    """A model to be fitted: a recipe, a YAML file, or a rating model of `rank`.

    Args:
        name: of the recipe or the file.
        options: "key=value" texts.
        more: further options that are not None.

    Raises:
        InputError: there is no such model or option.
    """
    settings = {**parse(options), **{key: value for key, value in more.items() if value is not None}}
    if Path(name).suffix in (".yaml", ".yml"):
        from preflearn.models.spec import read_spec

        return read_spec(name, **settings)
    from preflearn.models.spec import build

    return build(name, **settings)


def parse(options: Sequence[str]) -> dict[str, Any]:
    """``key=value`` texts, values read as YAML: numbers, true, null, [lists], {mappings}.

    Raises:
        InputError: a text without "=", or a value that cannot be read.
    """
    import yaml

    found: dict[str, Any] = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InputError("an option is key=value.", value=text, cure="For instance --set components=3.")
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError("the value of an option cannot be read.", value=text) from None
        found[key.strip()] = tuple(read) if isinstance(read, list) else read
    return found
