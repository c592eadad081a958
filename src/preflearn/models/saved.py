"""A fitted model as a directory: `model.json` (parts, names, counts), `tensors.safetensors`; nothing is unpickled."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from preflearn._version import __version__
from preflearn.backbones import Encoder, HiddenState, as_spec, encoder_of
from preflearn.errors import InputError, NotComputable
from preflearn.models.base import Shape
from preflearn.models.composed import Composed
from preflearn.models.fitting import Report
from preflearn.models.parts import from_spec, to_spec
from preflearn.models.posterior import Posterior
from preflearn.models.vocabulary import from_plain, to_plain

FORMAT = 1
NAME, TENSORS, BACKBONE = "model.json", "tensors.safetensors", "backbone"
_PARTS = ("head", "kernel", "population", "noise", "outcomes", "fitting")


def save(model: Composed, path: Path, *, force: bool = False, draws: bool = False) -> None:
    """Write a fitted model; see `Composed.save`."""
    if not hasattr(model, "network_"):
        raise InputError("the model is not fitted.", cure="Call fit(data) first.")
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not force):
        raise InputError("something is there already.", path=path, cure="Use force (--force) to replace it.")
    names, arrays = to_plain(model.vocabulary_)
    parameters = model.get_params()
    path.mkdir(parents=True, exist_ok=True)
    encoder, own = _with_backbone(model.encoder_, path)
    parameters["encoder"] = as_spec(encoder)
    for name in _PARTS:
        parameters[name] = to_spec(parameters[name])
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "kind": "composed",
        "parameters": parameters,
        "encoder_signature": encoder.signature(),
        "backbone": own,
        "vocabulary": names,
        "outcomes": to_spec(model.plan_.outcomes),
        "shape": asdict(model.shape_),
        "report": model.report_._asdict(),
        "ridge": model.ridge_,
        "ridge_curve": model.ridge_curve_,
        "left_out": model.left_out_,
        "criteria": {table: list(names) for table, names in model.criteria_.items()},
        "notes": model.notes_,
    }
    tensors = {f"network.{key}": value.numpy() for key, value in model.network_.state_dict().items()}
    tensors |= {f"vocabulary.{key}": value for key, value in arrays.items()}
    try:
        if draws or not model.posterior_is_work:
            tensors |= {f"posterior.{key}": value for key, value in model.posterior_.factors.items()}
        document["notes"] = model.notes_
    except NotComputable as reason:
        document["notes"] = [*model.notes_, f"No posterior: {reason}"]
    if model.training_fingerprints_ is not None:
        tensors["training_fingerprints"] = model.training_fingerprints_
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path / TENSORS)
    (path / NAME).write_text(json.dumps(document, indent=1), encoding="utf-8")


def load(path: str | Path) -> Composed:
    """Read a model that `save` wrote.

    Raises:
        InputError: no such model, a damaged one, or one of a newer version.
    """
    place = Path(path)
    try:
        document = json.loads((place / NAME).read_text(encoding="utf-8"))
        tensors = load_file(place / TENSORS)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(
            f"this is not a saved preference model ({error}).", path=place, cure="`preflearn fit` writes one."
        ) from None
    if not isinstance(document, dict) or document.get("kind") != "composed":
        raise InputError("this is not a saved preference model.", path=place, cure="`preflearn fit` writes one.")
    if document.get("format", FORMAT + 1) > FORMAT:
        raise InputError(f"the model was written by preflearn {document.get('version')}.", path=place, cure="Upgrade.")
    try:
        return _restored(place, document, tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"the saved model is damaged ({' '.join(str(error).split()):.200}).", path=place, cure="Fit it again."
        ) from error


def _restored(place: Path, document: dict[str, Any], tensors: dict[str, Any]) -> Composed:
    parameters = document["parameters"]
    for name in _PARTS:
        parameters[name] = from_spec(parameters[name])
    if own := document.get("backbone"):
        parameters["encoder"]["hidden_state"][own] = str(place / BACKBONE)
    parameters["encoder"] = encoder_of(parameters["encoder"])
    model = Composed(**parameters)
    model.encoder_ = parameters["encoder"]
    arrays = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith("vocabulary.")}
    model.vocabulary_ = from_plain(document["vocabulary"], arrays)
    model.shape_ = Shape(**document["shape"])
    model.plan_ = model.resolved()
    model.plan_.outcomes = from_spec(document["outcomes"])
    network = model.plan_.build(model.shape_, document["ridge"]).double()
    state = {key.partition(".")[2]: torch.tensor(value) for key, value in tensors.items() if key.startswith("network.")}
    _resize(network, state)
    network.load_state_dict(state)
    model.network_ = network.eval()
    model.report_ = Report(**document["report"])
    model.ridge_, model.ridge_curve_ = document["ridge"], tuple(map(tuple, document["ridge_curve"]))
    model.left_out_, model.notes_ = document["left_out"], document["notes"]
    model.criteria_ = document.get("criteria", {})
    model.version_ = document["version"]
    model._fingerprints = tensors.get("training_fingerprints")
    factors = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith("posterior.")}
    model.restored(Posterior(factors) if factors or not network.learns else None)
    return model


def _with_backbone(encoder: Encoder, path: Path) -> tuple[Encoder, str | None]:
    """The encoder with a fine-tuned language model inside the directory, and which of its fields names that."""
    tuned = getattr(encoder, "save", None)
    if callable(tuned):
        saved: HiddenState = tuned(path / BACKBONE)
        return saved, "model" if saved.adapter is None else "adapter"
    adapter = getattr(encoder, "adapter", None)
    if isinstance(encoder, HiddenState) and adapter is not None:
        if Path(adapter).resolve() != (path / BACKBONE).resolve():
            shutil.copytree(adapter, path / BACKBONE, dirs_exist_ok=True)
        return replace(encoder, adapter=str(path / BACKBONE)), "adapter"
    own = Path(str(encoder.model)) if isinstance(encoder, HiddenState) else None
    if (
        isinstance(encoder, HiddenState) and own is not None and own.name == BACKBONE and (own.parent / NAME).is_file()
    ):  # of the model that was loaded
        if own.resolve() != (path / BACKBONE).resolve():
            shutil.copytree(own, path / BACKBONE, dirs_exist_ok=True)
        return replace(encoder, model=str(path / BACKBONE)), "model"
    return encoder, None


def _resize(network: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Tables about people grow when newcomers become known; give the fresh network tables of the saved sizes."""
    for name, value in state.items():
        owner, _, leaf = name.rpartition(".")
        module = network.get_submodule(owner)
        current = getattr(module, leaf, None)
        if isinstance(current, torch.nn.Parameter) and current.shape != value.shape:
            setattr(module, leaf, torch.nn.Parameter(torch.empty_like(value)))
        elif isinstance(current, torch.Tensor) and current.shape != value.shape:
            module.register_buffer(leaf, torch.empty_like(value))
