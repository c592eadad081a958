"""Fitted models as directories that other libraries load: a scalar classifier, else encoder and head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from preflearn.backbones import HiddenState, SentenceTransformer
from preflearn.backbones.export import export_sentence_transformers, export_sequence_classification
from preflearn.errors import NotSupported
from preflearn.models.composed import Composed
from preflearn.models.fitting.finetune import Tuned
from preflearn.models.heads import Layered
from preflearn.models.kernels.difference import DifferenceModule
from preflearn.models.parts import to_spec
from preflearn.models.population.everyone import EveryoneModule


def export_transformers(model: Composed, path: str | Path, *, force: bool = False) -> None:
    """Write a scalar model as a directory for `AutoModelForSequenceClassification.from_pretrained` (one label).

    Its score of prompt and response is the model's utility but for a constant, which moves no comparison: the mean of
    the features that standardising took away.

    Raises:
        NotSupported: the model has more than one linear utility for everyone, or its encoder is no causal language
            model read at its last token. The message says what to export instead.
        InputError: not fitted, or something is there already.
    """
    weight = linear_weight(model)
    source = _language_model(model)
    export_sequence_classification(source, weight, path, force=force)


def export_encoder(model: Composed, path: str | Path, *, force: bool = False) -> None:
    """Write the encoder as a sentence-transformers directory and the parts above it as `head.safetensors`.

    `preflearn.json` beside them says what the arrays are: centre and scale of the features, then the network's
    parameters by name, and the parts with their options.

    Raises:
        NotSupported: the encoder is no model of texts.
        InputError: not fitted, or something is there already.
    """
    model._fitted()
    encoder = model.encoder_
    source: Any = encoder.module if isinstance(encoder, Tuned) else encoder
    if not isinstance(encoder, Tuned | HiddenState | SentenceTransformer):
        raise NotSupported(f"the encoder {type(encoder).__name__} is no model of texts that could be written.")
    heads = {f"network.{name}": value.numpy() for name, value in model.network_.state_dict().items()}
    vocabulary = model.vocabulary_
    if vocabulary.centre is not None and vocabulary.scale is not None:
        heads |= {"centre": vocabulary.centre, "scale": vocabulary.scale}
    about = {"model": model.name, "head": to_spec(model.plan_.head), "kernel": to_spec(model.plan_.kernel)}
    export_sentence_transformers(source, heads, path, about=about, force=force)


def linear_weight(model: Composed) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Weight [d] of the one linear utility on the features as the encoder gives them, standardising folded in.

    Raises:
        NotSupported: the utility is not one linear function for everyone.
    """
    model._fitted()
    head = model.network_.head
    scalar = isinstance(head, Layered) and head.linear and head.channels * head.width == 1 and not head.constant
    alike = type(model.network_.population) is EveryoneModule and type(model.network_.kernel) is DifferenceModule
    if not scalar or not alike:
        raise NotSupported(
            "only one linear utility for everyone is a score that transformers can hold; this model has more to say. "
            "Export it to sentence-transformers."
        )
    weight: np.ndarray[Any, np.dtype[np.float64]] = next(head.parameters()).detach().numpy().reshape(-1).astype(float)
    scale = model.vocabulary_.scale
    return weight if scale is None else weight / scale


def _language_model(model: Composed) -> Any:
    encoder = model.encoder_
    if isinstance(encoder, Tuned):
        return encoder.module
    if isinstance(encoder, HiddenState):
        return encoder
    raise NotSupported(
        f"the encoder {type(encoder).__name__} is no language model: export the model to sentence-transformers."
    )
