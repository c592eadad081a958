"""Vectors that are already in the tables: the stored embedding, numeric columns; and encoders side by side.

No model runs here; everything is checked before it is used.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.backbones.registry import encoder_of
from preflearn.backbones.rows import all_rows, prompts_of
from preflearn.backbones.types import Encoded, Encoder, Mask, Vectors
from preflearn.data.columns import attach
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError


@dataclass(frozen=True)
class Embedding:
    """Vectors stored in the data, used as they stand.

    Args:
        column: a column of responses that holds lists of numbers, all of one length (and of prompts, when those are
            asked for).
    """

    column: str = "embedding"

    @property
    def dimension(self) -> int | None:
        """Not known before the data is."""
        return None

    def encode(
        self, data: PreferenceData, *, prompts: bool = False, needed: Mask | None = None, progress: bool | None = None
    ) -> Encoded:
        """The column as an array [R, d].

        Raises:
            InputError: there is no such column, a needed row is null or has another length, or a number is not finite.
        """
        wanted = all_rows(data, needed)
        responses = _stored(data, "responses", self.column, wanted)
        return Encoded(responses, _stored(data, "prompts", self.column, prompts_of(data, wanted)) if prompts else None)

    def signature(self) -> str:
        """The name of the column: what wrote it is not known here."""
        return json.dumps({"embedding": self.column})


@dataclass(frozen=True)
class Columns:
    """Numeric columns as they are recorded: of responses, or of any table that a response leads to.

    Args:
        names: as `data.columns.attach` reads them: `length`, `prompts.turn`, `annotators.age` (of the author), ...
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        given: Any = self.names
        names = (given,) if isinstance(given, str) else tuple(given)
        if not names:
            raise InputError("no columns are named.", cure="Give at least one: {columns: [length]}.")
        object.__setattr__(self, "names", names)

    @property
    def dimension(self) -> int | None:
        """One number per column."""
        return len(self.names)

    def encode(
        self, data: PreferenceData, *, prompts: bool = False, needed: Mask | None = None, progress: bool | None = None
    ) -> Encoded:
        """The columns as an array [R, number of columns]; for prompts the columns of that name in prompts.

        Raises:
            InputError: there is no such column, it holds no numbers, or a needed row is null or not finite.
        """
        wanted = all_rows(data, needed)
        aliases = {f"__column_{place}": name for place, name in enumerate(self.names)}
        responses = attach(data, "responses", aliases).select(*aliases).collect()
        found = _numbers(responses, data.responses["response_id"], self.names, "responses", wanted)
        if not prompts:
            return Encoded(found)
        missing = [name for name in self.names if name not in data.columns("prompts")]
        if missing:
            raise InputError(
                "the table of prompts has no such column, and prompts are to be encoded too.", column=missing[0]
            )
        asked = data.prompts.select(pl.col(name).alias(alias) for alias, name in aliases.items())
        keys = data.prompts["prompt_id"]
        return Encoded(found, _numbers(asked, keys, self.names, "prompts", prompts_of(data, wanted)))

    def signature(self) -> str:
        """The names of the columns."""
        return json.dumps({"columns": self.names})


@dataclass(frozen=True)
class Concat:
    """Encoders side by side: their vectors one after the other.

    Args:
        encoders: encoders, or what `encoder_of` accepts.
    """

    encoders: tuple[Encoder, ...]

    def __post_init__(self) -> None:
        parts: Sequence[Any] = tuple(self.encoders)
        if len(parts) < 2:
            raise InputError("fewer than two encoders are to be concatenated.", value=parts)
        object.__setattr__(self, "encoders", tuple(encoder_of(part) for part in parts))

    @property
    def dimension(self) -> int | None:
        """The sum, when all are known."""
        sizes = [encoder.dimension for encoder in self.encoders]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def encode(
        self, data: PreferenceData, *, prompts: bool = False, needed: Mask | None = None, progress: bool | None = None
    ) -> Encoded:
        """Each encoder's vectors, concatenated: [R, sum of d].

        Raises:
            InputError: as any of the encoders.
        """
        found = [part.encode(data, prompts=prompts, needed=needed, progress=progress) for part in self.encoders]
        asked = [one.prompts for one in found if one.prompts is not None]
        return Encoded(
            np.concatenate([one.responses for one in found], axis=1),
            np.concatenate(asked, axis=1) if prompts else None,
            tuple(note for one in found for note in one.notes),
        )

    def signature(self) -> str:
        """The parts' signatures, in order."""
        return json.dumps({"concat": [json.loads(encoder.signature()) for encoder in self.encoders]})

    def resolve(self, data: PreferenceData) -> Concat:
        """The same with every `auto` replaced by the encoder it stands for."""
        return Concat(tuple(encoder_of(encoder, data) for encoder in self.encoders))


def _stored(data: PreferenceData, table: str, column: str, wanted: Mask) -> Vectors:
    schema = data.lazy(table).collect_schema()
    place = f"{table}.{column}"
    if column not in schema:
        raise InputError(
            "no embeddings are recorded.",
            column=place,
            cure="Write them with `preflearn embed`, or choose an encoder of texts (minilm).",
        )
    dtype = schema[column]
    if not isinstance(dtype, pl.List | pl.Array) or not dtype.inner.is_numeric():
        raise InputError(
            f"the column holds {dtype}, and vectors are needed.", column=place, cure="Give lists of numbers."
        )
    values = data.lazy(table).select(column).collect().to_series().cast(pl.List(pl.Float32))
    rows = np.flatnonzero(wanted)
    chosen = values if rows.size == wanted.size else values.filter(pl.Series(wanted))
    absent = chosen.is_null().to_numpy()
    if absent.any():
        raise InputError(
            f"{absent.sum():,} of {rows.size:,} needed rows have no embedding; the first is given.",
            row=int(rows[absent.argmax()]),
            column=place,
            cure="Write all of them with `preflearn embed`, or leave these rows out.",
        )
    sizes = chosen.list.len().to_numpy()
    size = int(sizes[0]) if rows.size else 0
    if (sizes != size).any():
        odd = int((sizes != size).argmax())
        raise InputError(
            f"an embedding has {sizes[odd]} numbers, and the first has {size}.", row=int(rows[odd]), column=place
        )
    if rows.size and not size:
        raise InputError("the embeddings are empty lists.", row=int(rows[0]), column=place)
    if not rows.size:
        return np.zeros((values.len(), size), dtype=np.float32)
    numbers = chosen.explode()
    if numbers.null_count() or not numbers.is_finite().all():
        bad = int(numbers.is_finite().fill_null(False).not_().arg_max() or 0)
        raise InputError(
            "an embedding holds a number that is null or not finite.",
            row=int(rows[bad // size]),
            column=place,
            value=numbers[bad],
        )
    found: Vectors = numbers.to_numpy().reshape(-1, size)  # the table's own memory: read-only, and not copied
    if rows.size == wanted.size:
        return found
    out: Vectors = np.zeros((values.len(), size), dtype=np.float32)
    out[rows] = found
    return out


def _numbers(frame: pl.DataFrame, ids: pl.Series, names: tuple[str, ...], table: str, wanted: Mask) -> Vectors:
    rows = np.flatnonzero(wanted)
    out: npt.NDArray[np.float32] = np.zeros((frame.height, len(names)), dtype=np.float32)
    for place, (series, name) in enumerate(zip(frame.iter_columns(), names, strict=True)):
        if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
            raise InputError(f"the column holds {series.dtype}, and numbers are needed.", column=name)
        numbers = series.cast(pl.Float64).fill_null(float("nan")).to_numpy()[rows]
        bad = ~np.isfinite(numbers)
        if bad.any():
            row = int(rows[bad.argmax()])
            raise InputError(
                f"{bad.sum():,} of {rows.size:,} needed rows have no finite number; the first is that of {ids[row]!r}.",
                row=row,
                column=name,
                value=series[row],
                cure=f"Record the number for every row of {table}, or leave the column out.",
            )
        out[rows, place] = numbers
    return out
