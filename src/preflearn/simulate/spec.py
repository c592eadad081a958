"""Scenarios from YAML or JSON files, checked field by field: what `preflearn simulate SPEC` reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from preflearn.data import load
from preflearn.errors import InputError
from preflearn.simulate.sampling import Sampling
from preflearn.simulate.simulation import Scenario, Simulation, run
from preflearn.simulate.utility import Term

_TERMS: TypeAdapter[Any] = TypeAdapter(tuple[Annotated[Term, Field(discriminator="kind")], ...])
_SAMPLING: TypeAdapter[Any] = TypeAdapter(Annotated[Sampling, Field(discriminator="kind")])
_SCENARIO: TypeAdapter[Scenario] = TypeAdapter(Scenario)


def from_spec(path: str | Path, *, seed: int | None = None) -> Simulation:
    """Simulate what a YAML or JSON file describes.

    The keys are the fields of `Scenario`; `utility` is a list of terms, each with its `kind` (strengths, taste,
    offsets, position, cycle, drift), `sampling` has a `kind` (uniform, popular, adaptive). `responses` names a
    data-set directory (relative to the file) whose responses are judged. `examples/simulate/` has complete ones.

    Args:
        path: the file.
        seed: instead of the file's.

    Raises:
        InputError: unreadable file, unknown key, wrong type or value, with the place.
    """
    path = Path(path)
    spec = read_spec(path)
    if seed is not None:
        spec["seed"] = seed
    responses = spec.pop("responses", None)
    on = load(path.parent / str(responses)) if responses is not None else None
    try:
        return run(parse(spec), on)
    except InputError as error:
        raise InputError(str(error), path=path) from error


def parse(spec: Mapping[str, Any]) -> Scenario:
    """A scenario from plain data.

    Raises:
        InputError: unknown key, wrong type or value, with the place.
    """
    try:
        checked = dict(spec)
        for key, adapter in (("utility", _TERMS), ("sampling", _SAMPLING)):
            if key in checked:
                # With the kind as discriminator an error speaks of one part, not of all that it might have been.
                checked[key] = _within(adapter, checked[key], key)
        scenario: Scenario = _within(_SCENARIO, checked, "")
        return scenario
    except _Invalid as invalid:
        raise InputError(invalid.problem, cure=invalid.cure) from invalid.__cause__


def read_spec(path: Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file."""
    try:
        spec = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"the spec cannot be read: {error.strerror}.", path=path) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError("the spec is not YAML or JSON.", path=path, row=mark.line + 1 if mark else None) from error
    if not isinstance(spec, dict):
        raise InputError("the spec is not a mapping of keys to values.", path=path)
    return spec


class _Invalid(Exception):
    def __init__(self, problem: str, cure: str | None) -> None:
        self.problem, self.cure = problem, cure
        super().__init__(problem)


def _within(adapter: TypeAdapter[Any], value: Any, key: str) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            place = ".".join(str(part) for part in ((key, *item["loc"]) if key else item["loc"]))
            problems.append(f"{place or 'spec'}: {item['msg']}")
        cure = "See examples/simulate/ for complete specs." if len(problems) == 1 else None
        raise _Invalid("; ".join(dict.fromkeys(problems)) + ".", cure) from error
