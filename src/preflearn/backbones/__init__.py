"""Everything that turns responses into vectors: stored embeddings, columns, features, encoders, language models.

An encoder is plain data (see `Encoder`); `encoder_of` builds one from a name or a mapping and `as_spec` undoes it.
Importing this package loads no torch: each encoder imports what it needs when it encodes. Nothing here knows of
preference models.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from preflearn.backbones.registry import ENCODERS, Auto, as_spec, embed, encoder_of
from preflearn.backbones.types import Encoded, Encoder

if TYPE_CHECKING:
    from preflearn.backbones.features import Features
    from preflearn.backbones.hidden import HiddenState
    from preflearn.backbones.segments import Segments, SegmentSteps
    from preflearn.backbones.sentences import SentenceTransformer
    from preflearn.backbones.tables import Columns, Concat, Embedding
    from preflearn.backbones.tunable import LoRA, Tunable

_LAZY = {
    "Columns": "tables",
    "Concat": "tables",
    "Embedding": "tables",
    "Features": "features",
    "HiddenState": "hidden",
    "LoRA": "tunable",
    "SegmentSteps": "segments",
    "Segments": "segments",
    "SentenceTransformer": "sentences",
    "Tunable": "tunable",
}

__all__ = [
    "ENCODERS",
    "Auto",
    "Columns",
    "Concat",
    "Embedding",
    "Encoded",
    "Encoder",
    "Features",
    "HiddenState",
    "LoRA",
    "SegmentSteps",
    "Segments",
    "SentenceTransformer",
    "Tunable",
    "as_spec",
    "embed",
    "encoder_of",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"preflearn.backbones.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'preflearn.backbones' has no attribute {name!r}")
