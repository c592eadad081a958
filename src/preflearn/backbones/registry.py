"""Encoders by name: from plain data to an encoder and back, and the verb that writes what one computes into the data.

Knows the names only; a class is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from preflearn.backbones.types import Encoded, Encoder, Mask
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError, NotSupported

ENCODERS: dict[str, str] = {
    "auto": "preflearn.backbones.registry:Auto",
    "embedding": "preflearn.backbones.tables:Embedding",
    "columns": "preflearn.backbones.tables:Columns",
    "features": "preflearn.backbones.features:Features",
    "sentence_transformer": "preflearn.backbones.sentences:SentenceTransformer",
    "hidden_state": "preflearn.backbones.hidden:HiddenState",
    "segments": "preflearn.backbones.segments:Segments",
    "segment_steps": "preflearn.backbones.segments:SegmentSteps",
    "concat": "preflearn.backbones.tables:Concat",
    "tunable": "preflearn.backbones.tunable:Tunable",
}
"""Key in a specification -> "module:Class"."""

_SHORT: dict[str, dict[str, Any]] = {
    "minilm": {"sentence_transformer": {"model": "minilm"}},
    "smollm2": {"hidden_state": {"model": "smollm2"}},
}
"""Names of packaged models, and the encoder each stands for."""


@dataclass(frozen=True)
class Auto:
    """The stored embeddings where they are recorded, else MiniLM sentence embeddings of the responses' texts.

    What is meant depends on the data: `resolve` (or `encoder_of("auto", data)`) says which, and a fitted model keeps
    that encoder, not this one.
    """

    @property
    def dimension(self) -> int | None:
        """Not known before the data is."""
        return None

    def resolve(self, data: PreferenceData) -> Encoder:
        """The encoder for this data."""
        return encoder_of("embedding" if "embedding" in data.columns("responses") else "minilm")

    def encode(
        self, data: PreferenceData, *, prompts: bool = False, needed: Mask | None = None, progress: bool | None = None
    ) -> Encoded:
        """As the encoder that `resolve` chooses."""
        return self.resolve(data).encode(data, prompts=prompts, needed=needed, progress=progress)

    def signature(self) -> str:
        """There is none.

        Raises:
            NotSupported: always.
        """
        raise NotSupported("the encoder 'auto' has no identity before it has seen the data: encoder_of('auto', data).")


def encoder_of(spec: str | Mapping[str, Any] | Sequence[Any] | Encoder, data: PreferenceData | None = None) -> Encoder:
    """The encoder that `spec` describes.

    Args:
        spec: an encoder; or a mapping of one key of `ENCODERS` to its parameters (`{"hidden_state": {"model": ...}}`;
            a single value is the first parameter); or one of the names auto, embedding, minilm, features, smollm2; or a
            directory (sentence-transformers when it holds modules.json, else a language model), a .gguf file, or the
            name of a sentence-transformers model on the Hugging Face hub. Several, in a list or joined by `+`, are
            concatenated (`"minilm+features"`).
        data: what will be encoded; then `auto` becomes the encoder it stands for.

    Raises:
        InputError: no such encoder or parameter.
    """
    encoder = _built(spec)
    resolve = getattr(encoder, "resolve", None)
    return encoder if resolve is None or data is None else resolve(data)


def as_spec(encoder: Encoder) -> dict[str, Any]:
    """Plain data (for YAML or JSON) from which `encoder_of` builds an equal encoder.

    Raises:
        InputError: part of it exists only in memory (a function of yours); the message names it.
    """
    name = f"{type(encoder).__module__}:{type(encoder).__qualname__}"
    key = next((key for key, found in ENCODERS.items() if found == name), None)
    if key is None:
        raise InputError(
            f"the encoder {type(encoder).__name__!r} exists only in memory.",
            cure=f"Encoders that can be saved: {', '.join(ENCODERS)}.",
        )
    return {key: {field.name: _plain(getattr(encoder, field.name)) for field in fields(encoder)}}  # type: ignore[arg-type]


def embed(
    data: PreferenceData, encoder: Any = "minilm", *, prompts: bool = False, progress: bool | None = None
) -> PreferenceData:
    """The data with the vectors of an encoder as the column `embedding` of its responses (and prompts).

    Args:
        encoder: an encoder or what `encoder_of` accepts.
        prompts: also write a column `embedding` of the prompts that have responses.

    Raises:
        InputError: a response cannot be encoded; it is named.
    """
    chosen = encoder_of(encoder, data)
    encoded = chosen.encode(data, prompts=prompts, progress=progress)
    tables = {"responses": data.responses.with_columns(_column(encoded.responses))}
    if encoded.prompts is not None:
        tables["prompts"] = data.prompts.with_columns(_column(encoded.prompts))
    what = " and ".join(tables)
    step = f"embedding of {what} written by {as_spec(chosen)}: {encoded.responses.shape[1]} numbers each"
    return data.replace(" ".join((step, *encoded.notes)), **tables)


def _column(vectors: Any) -> pl.Series:
    return pl.Series("embedding", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).cast(pl.List(pl.Float32))


def _built(spec: Any) -> Encoder:
    if isinstance(spec, str):
        return _named(spec)
    if isinstance(spec, Mapping):
        if len(spec) != 1:
            raise InputError(
                f"an encoder is one key with its parameters, and there are {len(spec)}.",
                value=dict(spec),
                cure="For several encoders side by side give a list.",
            )
        key, parameters = next(iter(spec.items()))
        return _made(key, parameters)
    if isinstance(spec, Sequence):
        return _made("concat", {"encoders": spec})
    if isinstance(spec, Encoder):
        return spec
    raise InputError("this is no encoder.", value=spec, cure="Give a name, a mapping or an encoder.")


def _named(name: str) -> Encoder:
    if name in _SHORT:
        return _built(_SHORT[name])
    if name in ENCODERS:
        return _made(name, {})
    path = Path(name).expanduser()
    if path.is_dir():
        return _made("sentence_transformer" if (path / "modules.json").exists() else "hidden_state", str(path))
    if path.suffix == ".gguf" and path.is_file():
        return _made("hidden_state", str(path))
    if "+" in name:
        return _made("concat", {"encoders": [part.strip() for part in name.split("+")]})
    if name.count("/") == 1 and not name.startswith((".", "~", "/")):
        return _made("sentence_transformer", name)
    known = [*_SHORT, *ENCODERS]
    near = get_close_matches(name, known, n=2)
    raise InputError(
        f"there is no encoder {name!r}, and no directory of that name.",
        cure=(f"Did you mean {' or '.join(near)}? " if near else "")
        + f"Names: {', '.join(known)}; or a directory, or owner/model on the hub.",
    )


def _made(key: str, parameters: Any) -> Encoder:
    if key in _SHORT:
        inner = next(iter(_SHORT[key].items()))
        return _made(inner[0], {**inner[1], **(parameters or {})})
    if key not in ENCODERS:
        near = get_close_matches(key, ENCODERS, n=2)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"there is no encoder {key!r}.", cure=f"{hint}There are: {', '.join(ENCODERS)}.")
    module, _, name = ENCODERS[key].partition(":")
    kind = getattr(import_module(module), name)
    names = [field.name for field in fields(kind)]
    if parameters is None:
        parameters = {}
    elif not isinstance(parameters, Mapping):
        parameters = {names[0]: parameters}
    unknown = sorted(set(parameters) - set(names))
    if unknown:
        near = get_close_matches(unknown[0], names, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise InputError(
            f"the encoder {key!r} has no parameter {unknown[0]!r}.", cure=f"{hint}It has: {', '.join(names)}."
        )
    try:
        made = kind(**parameters)
    except TypeError as error:
        raise InputError(
            f"the encoder {key!r} cannot be made: {error}.", cure=f"It has: {', '.join(names)}."
        ) from error
    assert isinstance(made, Encoder)
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, Encoder):
        return as_spec(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if callable(value):
        raise InputError(
            f"the function {getattr(value, '__name__', repr(value))!r} exists only in memory and cannot be saved.",
            cure="Register it in a module with @feature(name) and give its name.",
        )
    return value
