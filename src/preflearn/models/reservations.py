"""What a fitted model does not know about the judgments it is asked to predict, as sentences: fallbacks are said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.columns import attach, qualified
from preflearn.models.assemble import recorded
from preflearn.models.plan import OVERALL

if TYPE_CHECKING:
    from preflearn.models.composed import Composed


def reservations(model: Composed, data: PreferenceData, table: str = "comparisons") -> list[str]:
    """Sentences about the judgments of a table that the model answers by a fallback; see `Composed.reservations`."""
    n = data.height(table)
    if not n:
        return []
    return [*_strangers(model, data, table, n), *_columns(model, data, table, n), *_criteria(model, data, table, n)]


def _strangers(model: Composed, data: PreferenceData, table: str, n: int) -> list[str]:
    if not model.network_.personal:
        return []
    annotator = data.select(table, ["annotator_id"]).collect()["annotator_id"].cast(pl.String)
    unknown = n - int(annotator.is_in(list(model.annotators_)).fill_null(False).sum())
    if not unknown:
        return []
    return [
        f"{unknown:,} of {n:,} {table} are of annotators that the model does not know, or of nobody: they get the "
        "answer for strangers (adapt teaches it newcomers)."
    ]


def _columns(model: Composed, data: PreferenceData, table: str, n: int) -> list[str]:
    vocabulary, said = model.vocabulary_, []
    for alias, name in vocabulary.names.items():
        if not recorded(data, table, name):
            said.append(
                f"The data has no column {name!r}, which the model looks at: it answers as where none is known."
            )
            continue
        values = attach(data, table, {"__value": qualified(table, name)}).select("__value").collect()["__value"]
        known = values.cast(pl.String).is_in(list(vocabulary.columns[alias])).fill_null(False)
        if unknown := n - int(known.sum()):
            said.append(
                f"{unknown:,} of {n:,} {table} have no {name!r} that the model knows: it answers as where none is."
            )
    for attribute in vocabulary.attributes:
        if attribute.name not in data.columns("annotators"):
            said.append(
                f"The data has no column 'annotators.{attribute.name}': people count as average in it, unless the "
                "model knew them before."
            )
    return said


def _criteria(model: Composed, data: PreferenceData, table: str, n: int) -> list[str]:
    learned = model.criteria_.get(table, ())
    if not learned:
        return []
    asked = data.select(table, ["criterion_id"]).collect()["criterion_id"].cast(pl.String).fill_null(OVERALL)
    others = sorted(set(asked.unique()) - set(learned))
    if not others:
        return []
    rows = int(asked.is_in(others).sum())
    return [
        f"{rows:,} of {n:,} {table} are on {', '.join(map(repr, others[:4]))}, and the model learned "
        f"{', '.join(map(repr, learned[:4]))}: it answers as if asked about that."
    ]
