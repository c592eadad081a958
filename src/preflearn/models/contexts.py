"""Features of the contexts of judgments: their texts through the encoder, or their names where it reads no text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from preflearn.backbones import Columns, Concat, Embedding, Encoder, Segments, SegmentSteps
from preflearn.data import PreferenceData
from preflearn.models.assemble import Contexts


def contexts_of(data: PreferenceData, tables: Sequence[str], encoder: Encoder, known: Sequence[str]) -> Contexts:
    """Every context of these judgments and its features.

    Stored embeddings, columns and segments say nothing about a text: then each context of the training judgments is
    an indicator, and contexts that were not among them show zeros. A model that was fitted without contexts knows
    none, whatever the encoder.

    Args:
        data: the judgments.
        tables: which of them.
        encoder: of the responses.
        known: contexts of the training judgments.
    """
    found: list[str] = []
    for table in tables:
        column = data.select(table, ["context"]).collect()["context"].drop_nulls()
        found += column.unique(maintain_order=True).cast(pl.String).to_list()
    names = list(dict.fromkeys(found))
    if not known or not _reads_texts(encoder):
        place = {name: k for k, name in enumerate(known)}
        values = np.zeros((len(names), len(known)), np.float32)
        for row, name in enumerate(names):
            if name in place:
                values[row, place[name]] = 1.0
        return Contexts(names, values)
    texts = PreferenceData(
        responses=pl.DataFrame(
            {"response_id": names, "messages": [[{"role": "user", "content": name}] for name in names]}
        )
    )
    return Contexts(names, encoder.encode(texts).responses)


def _reads_texts(encoder: Encoder) -> bool:
    if isinstance(encoder, Concat):
        return all(_reads_texts(part) for part in encoder.encoders)
    return not isinstance(encoder, Embedding | Columns | Segments | SegmentSteps)
