"""A fitted rating model in one safetensors file: arrays as tensors, everything else as JSON in the header."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from preflearn._version import __version__
from preflearn.choice import Binary, Davidson, Link, Ordinal
from preflearn.errors import InputError
from preflearn.ranking.covariance import Covariance

if TYPE_CHECKING:
    from preflearn.ranking.models import RatingModel

FORMAT = 1
_LINKS: dict[str, type[Link]] = {"Binary": Binary, "Davidson": Davidson, "Ordinal": Ordinal}
_PLAIN = (
    "items_",
    "status_",
    "components_",
    "has_position_",
    "covariates_",
    "covariate_scale_",
    "covariate_forms_",
    "n_votes_",
    "n_annotators_",
    "excluded_",
    "clusters_",
    "warnings_",
    "converged_",
    "n_iterations_",
    "log_likelihood_",
    "data_fingerprint_",
)
_ARRAYS = ("strengths_", "estimable_", "other_", "votes_per_item_", "replicates_")


def save(model: RatingModel, path: str | Path) -> None:
    """Write a fitted model; `load` gives one that answers alike and knows its training rows.

    Raises:
        InputError: the model is not fitted, or the file cannot be written.
    """
    if not hasattr(model, "strengths_"):
        raise InputError("the model is not fitted.", cure="Call fit(data) first.")
    tensors = {name: np.ascontiguousarray(value) for name in _ARRAYS if (value := getattr(model, name)) is not None}
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "model": model.name,
        "parameters": model.get_params(),
        "link": [type(model.link_).__name__, asdict(model.link_)],  # type: ignore[call-overload]
        "state": {name: getattr(model, name) for name in _PLAIN},
    }
    found = model.covariance_
    if found is not None:
        for name in ("matrix", "draws"):
            if getattr(found, name) is not None:
                tensors[f"covariance.{name}"] = np.ascontiguousarray(getattr(found, name))
        header["covariance"] = {
            "kind": found.kind,
            "clusters": found.clusters,
            "degrees_of_freedom": None if np.isinf(found.degrees_of_freedom) else found.degrees_of_freedom,
            "notes": found.notes,
        }
    known = model.training_fingerprints_
    if known is not None:
        tensors["training_fingerprints"] = np.unique(known)
    try:
        save_file(tensors, Path(path), metadata={"preflearn": json.dumps(header, default=_as_json)})
    except (OSError, SafetensorError) as error:
        raise InputError(f"the model cannot be written: {error}.", path=path) from None


def _as_json(value: object) -> Any:
    """Options that JSON has no word for: numbers of numpy, times."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be saved")


def load(path: str | Path) -> RatingModel:
    """Read a model that `save` wrote.

    Raises:
        InputError: no such file, not a rating model (or a part of one), or written by a newer version.
    """
    from preflearn.ranking.models import MODELS

    header = _header(Path(path))
    if header.get("format", FORMAT + 1) > FORMAT or header["model"] not in MODELS:
        raise InputError(f"the model was written by preflearn {header.get('version')}.", path=path, cure="Upgrade.")
    try:
        tensors = load_file(Path(path))
    except SafetensorError as error:
        raise InputError(f"the file is damaged: {error}.", path=path, cure="Save the model again.") from None
    parameters = header["parameters"]
    if isinstance(parameters["cluster"], list):
        parameters["cluster"] = tuple(parameters["cluster"])
    model = MODELS[header["model"]](**parameters)
    link, options = header["link"]
    model.link_ = _LINKS[link](**options)
    for name in _PLAIN:
        value = header["state"][name]
        setattr(model, name, tuple(value) if name in _TUPLES else value)
    for name in _ARRAYS:
        setattr(model, name, tensors.get(name))
    model.covariance_ = None
    if "covariance" in header:
        held = header["covariance"]
        model.covariance_ = Covariance(
            tensors.get("covariance.matrix"),
            tensors.get("covariance.draws"),
            held["kind"],
            held["clusters"],
            np.inf if held["degrees_of_freedom"] is None else held["degrees_of_freedom"],
            held["notes"],
        )
    model.fit_, model.design_ = None, None
    model._fingerprints = tensors.get("training_fingerprints")
    return model


_TUPLES = {"items_", "covariates_", "covariate_scale_", "covariate_forms_", "clusters_"}


def _header(path: Path) -> dict[str, Any]:
    """The JSON that `save` put into the file's header."""
    if not path.is_file():
        raise InputError("there is no such model file.", path=path)
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > 100_000_000:
                raise ValueError("header too long")
            header: dict[str, Any] = json.loads(json.loads(file.read(size))["__metadata__"]["preflearn"])
    except (struct.error, ValueError, KeyError, TypeError):
        raise InputError(
            "this is not a saved rating model.", path=path, cure="`preflearn rank DATA --save FILE` writes one."
        ) from None
    return header
