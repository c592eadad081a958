"""What a fitted model knows by name: annotators, values of code columns, attributes of people, scales of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.columns import attach, qualified
from preflearn.errors import InputError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Attribute:
    """One column of annotators as numbers: itself, or one indicator per class.

    Attributes:
        name: of the column.
        classes: its values in order; empty for a number.
        centre, scale: of a number over the training annotators.
    """

    name: str
    classes: tuple[str, ...] = ()
    centre: float = 0.0
    scale: float = 1.0

    @property
    def width(self) -> int:
        """Columns it takes."""
        return len(self.classes) or 1

    def values(self, column: pl.Series) -> Floats:
        """Numbers [n, width]; 0 (the average, or no class) where not recorded or not known."""
        if self.classes:
            text = column.cast(pl.String)
            return np.column_stack([(text == name).fill_null(False).to_numpy() for name in self.classes]).astype(float)
        try:
            numbers = column.cast(pl.Float64).to_numpy()
        except pl.exceptions.InvalidOperationError:
            raise InputError(
                "the model knows this attribute as a number.", column=f"annotators.{self.name}", cure="Record numbers."
            ) from None
        return np.nan_to_num((numbers - self.centre) / self.scale)[:, None]


@dataclass(frozen=True)
class Vocabulary:
    """Names behind the codes of a model.

    Attributes:
        annotators: of the training judgments, in order of first appearance.
        columns: alias -> known values.
        names: alias -> column they come from.
        attributes: of annotators.
        centre, scale: of the features of responses, [d]; None = used as they are.
        prompt_centre, prompt_scale: of the features of prompts.
        control_scale: root mean square by which each control was divided.
    """

    annotators: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    attributes: tuple[Attribute, ...] = ()
    centre: Floats | None = None
    scale: Floats | None = None
    prompt_centre: Floats | None = None
    prompt_scale: Floats | None = None
    control_scale: Floats | None = None


def learn(
    data: PreferenceData, tables: Sequence[str], names: Mapping[str, str], attributes: Sequence[str]
) -> Vocabulary:
    """The names in the judgments of these tables.

    Raises:
        InputError: an attribute is not a column of annotators.
    """
    people: list[str] = []
    columns: dict[str, list[str]] = {alias: [] for alias in names}
    for table in tables:
        wanted = {
            "__annotator": f"{table}.annotator_id",
            **{f"__{alias}": qualified(table, name) for alias, name in names.items()},
        }
        frame = attach(data, table, wanted).select([f"{alias}" for alias in wanted]).collect()
        people += _distinct(frame["__annotator"])
        for alias in names:
            columns[alias] += _distinct(frame[f"__{alias}"])
    annotators = tuple(dict.fromkeys(people))
    return Vocabulary(
        annotators=annotators,
        columns={alias: tuple(dict.fromkeys(values)) for alias, values in columns.items()},
        names=dict(names),
        attributes=tuple(_attribute(data, name, annotators) for name in attributes),
    )


def _distinct(series: pl.Series) -> list[str]:
    return [str(value) for value in series.drop_nulls().cast(pl.String).unique(maintain_order=True)]


def _attribute(data: PreferenceData, name: str, annotators: Sequence[str]) -> Attribute:
    if name not in data.columns("annotators"):
        raise InputError(
            f"annotators have no column {name!r}.",
            column="annotators." + name,
            cure=f"They have: {', '.join(data.columns('annotators'))}.",
        )
    known = data.annotators.filter(pl.col("annotator_id").cast(pl.String).is_in(list(annotators)))[name]
    numbers = known.drop_nulls().cast(pl.Float64).drop_nans().to_numpy() if known.dtype.is_numeric() else None
    if not known.drop_nulls().len() or (numbers is not None and not len(numbers)):
        raise InputError(f"the attribute {name!r} is recorded of nobody who judged.", column="annotators." + name)
    if numbers is not None:
        return Attribute(name, (), float(numbers.mean()), float(numbers.std()) or 1.0)
    return Attribute(name, tuple(sorted(_distinct(known))))


def attribute_matrix(data: PreferenceData, vocabulary: Vocabulary, annotators: Sequence[str]) -> Floats:
    """Attributes of these annotators, [U, p]; zeros for who has no row."""
    frame = pl.DataFrame({"annotator_id": list(annotators)}, schema={"annotator_id": pl.String})
    table = data.annotators.with_columns(pl.col("annotator_id").cast(pl.String)).unique("annotator_id", keep="first")
    joined = frame.join(table, on="annotator_id", how="left", maintain_order="left")
    blocks = [
        each.values(
            joined[each.name] if each.name in joined.columns else pl.Series(each.name, [None] * len(annotators))
        )
        for each in vocabulary.attributes
    ]
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((len(annotators), 0))


def to_plain(vocabulary: Vocabulary) -> tuple[dict[str, Any], dict[str, Floats]]:
    """JSON and arrays, for saving."""
    plain = {
        "annotators": list(vocabulary.annotators),
        "columns": {alias: list(values) for alias, values in vocabulary.columns.items()},
        "names": dict(vocabulary.names),
        "attributes": [[a.name, list(a.classes), a.centre, a.scale] for a in vocabulary.attributes],
    }
    arrays = {
        name: value
        for name in ("centre", "scale", "prompt_centre", "prompt_scale", "control_scale")
        if (value := getattr(vocabulary, name)) is not None
    }
    return plain, arrays


def from_plain(plain: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Vocabulary:
    """The inverse of `to_plain`."""
    return Vocabulary(
        annotators=tuple(plain["annotators"]),
        columns={alias: tuple(values) for alias, values in plain["columns"].items()},
        names=dict(plain["names"]),
        attributes=tuple(Attribute(n, tuple(c), m, s) for n, c, m, s in plain["attributes"]),
        **arrays,
    )
