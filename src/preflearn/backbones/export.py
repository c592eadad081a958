"""Encoders with heads as directories that other libraries load: sequence classification, sentence-transformers.

Knows a head only as arrays; whoever has the head folds its standardisation into the weights first.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from preflearn.backbones.hidden import HiddenState
from preflearn.backbones.load import quiet_loading
from preflearn.backbones.registry import as_spec
from preflearn.backbones.sentences import SentenceTransformer, loaded_model
from preflearn.backbones.types import Encoder
from preflearn.errors import InputError, MissingDependency, NotSupported

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from preflearn.backbones.tuning import TunableEncoder

ABOUT = "preflearn.json"
PAD = "<|pad|>"


def export_sequence_classification(
    source: HiddenState | TunableEncoder,
    weight: npt.ArrayLike,
    path: str | Path,
    *,
    bias: float = 0.0,
    force: bool = False,
) -> None:
    """Write a scalar model as a directory for `AutoModelForSequenceClassification.from_pretrained` (one label).

    Its score of `tokenizer.apply_chat_template(prompt + response)` is `weight @ hidden state + bias`, in float32.
    Adapters are merged. The tokenizer gets a padding token of its own: transformers takes the last token that is not
    padding, and where end of text serves as padding it would look one token too early.

    Args:
        source: the encoder the weights belong to: last token, last layer.
        weight: [d] of the utility, standardisation folded in.
        path: a directory that does not exist, or is empty.
        bias: of the utility. Heads of language models have none: a constant moves no comparison, so leave it out and
            add it where ratings are read.
        force: replace what is there.

    Raises:
        NotSupported: another pooling or layer, a model without such a class or whose score has no bias to take one.
        InputError: the weight has another length, or the directory is in use.
        MissingDependency: torch or transformers is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingDependency(error.name or "transformers", "text") from error
    encoder, model, tokenizer, limit = _parts(source)
    if encoder.pooling != "last" or encoder.layer != -1:
        raise NotSupported(
            "transformers classifies by the last token of the last layer: this encoder has "
            f"pooling {encoder.pooling!r}, layer {encoder.layer}. Export it for sentence-transformers instead."
        )
    weights = np.asarray(weight, dtype=np.float32).reshape(-1)
    size = int(model.config.get_text_config().hidden_size)
    if weights.size != size:
        raise InputError(f"the weight has {weights.size} numbers, and the hidden state {size}.")
    model = model.to(device="cpu", dtype=torch.float32)
    config = model.config
    config.num_labels = 1
    _own_padding(tokenizer, model)
    try:
        with quiet_loading():
            kind: Any = transformers.AutoModelForSequenceClassification
            classifier = kind.from_config(config)
    except ValueError as error:
        raise NotSupported(f"transformers has no sequence classification for {config.model_type}.") from error
    score = getattr(classifier, "score", None)
    if not isinstance(score, torch.nn.Linear) or score.in_features != size:
        raise NotSupported(
            f"sequence classification of {config.model_type} is no linear score of the last token. "
            "Export it for sentence-transformers instead."
        )
    if bias != 0 and score.bias is None:
        raise NotSupported(
            f"the score of {type(classifier).__name__} has no bias, so {bias:g} cannot be written: export without it "
            "(no comparison changes) and add it to the scores where ratings are read."
        )
    getattr(classifier, classifier.base_model_prefix).load_state_dict(model.state_dict())
    with torch.no_grad():
        score.weight.copy_(torch.from_numpy(weights)[None])
        if score.bias is not None:
            score.bias.fill_(bias)
    target = _directory(path, force)
    classifier.save_pretrained(target)
    _save_tokenizer(tokenizer, target, encoder, limit)
    _write_about(target, encoder, {"kind": "sequence_classification", "score": "utility of a response, in logits"})


def export_sentence_transformers(
    source: SentenceTransformer | HiddenState | TunableEncoder,
    heads: Mapping[str, npt.ArrayLike],
    path: str | Path,
    *,
    about: Mapping[str, Any] | None = None,
    force: bool = False,
) -> None:
    """Write an encoder as a sentence-transformers directory, and beside it what comes after as `head.safetensors`.

    For a hidden state with a chat template, encode lists of messages (`[{"role": ..., "content": ...}, ...]`).

    Args:
        heads: arrays by name.
        about: plain data for preflearn.json that says what the arrays mean.
        path, force: as in `export_sequence_classification`.

    Raises:
        NotSupported: an encoder that is no model, or a layer that is not the last.
        InputError: the directory is in use.
        MissingDependency: sentence-transformers is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer as Model
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    except ImportError as error:
        raise MissingDependency("sentence-transformers", "text") from error
    if isinstance(source, SentenceTransformer):
        target = _directory(path, force)
        loaded_model(source).save(str(target))
        encoder: Encoder = source
    else:
        encoder, model, tokenizer, limit = _parts(source)
        if encoder.layer != -1:
            raise NotSupported("sentence-transformers reads the last layer only.")
        target = _directory(path, force)
        inner = target / "hf"
        _own_padding(tokenizer, model)
        model.save_pretrained(inner)
        _save_tokenizer(tokenizer, inner, encoder, limit)
        with quiet_loading():
            transformer = Transformer(str(inner), max_seq_length=limit)
            pooling = Pooling(
                model.config.get_text_config().hidden_size, {"last": "lasttoken"}.get(encoder.pooling, "mean")
            )
            Model(modules=[transformer, pooling], device="cpu").save(str(target))
        shutil.rmtree(inner)
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(np.asarray(array)) for name, array in heads.items()}
    save_file(arrays, target / "head.safetensors")
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    _write_about(target, encoder, {"kind": "sentence_transformers", "heads": shapes, **(about or {})})


def _parts(source: Any) -> tuple[HiddenState, Any, PreTrainedTokenizerBase, int]:
    """Encoder, a copy of its model with everything merged, its tokenizer, tokens read."""
    if isinstance(source, HiddenState):
        loaded = source.load()
        return source, loaded.model, loaded.tokenizer, source.limit(loaded)
    if not hasattr(source, "merged"):
        raise NotSupported(f"{type(source).__name__} is no language model: there is nothing to export it as.")
    from copy import deepcopy

    return source.spec.encoder, source.merged(), deepcopy(source.tokenizer), source.limit


def _own_padding(tokenizer: PreTrainedTokenizerBase, model: Any) -> None:
    """Give the tokenizer a padding token that no text ends with, and the model a row for it."""
    others = {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id, tokenizer.sep_token_id}
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in others:
        tokenizer.add_special_tokens({"pad_token": PAD})
        if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    tokenizer.padding_side = "right"
    model.config.get_text_config().pad_token_id = model.config.pad_token_id = tokenizer.pad_token_id


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, path: Path, encoder: HiddenState, limit: int) -> None:
    tokenizer.model_max_length = limit
    tokenizer.truncation_side = "left"
    if not encoder.template:
        tokenizer.chat_template = None
    tokenizer.save_pretrained(path)


def _directory(path: str | Path, force: bool) -> Path:
    target = Path(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        if not force:
            raise InputError("there is something already.", path=target, cure="Choose another place, or force it.")
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    target.mkdir(parents=True, exist_ok=True)
    return target


def _write_about(target: Path, encoder: Encoder, more: Mapping[str, Any]) -> None:
    about = {"encoder": as_spec(encoder), "signature": json.loads(encoder.signature()), **more}
    (target / ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")
