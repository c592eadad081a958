"""New ids for old ones, in the table that owns them and wherever they are referred to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from preflearn.data.references import references
from preflearn.data.schema import JUDGMENTS, TABLES
from preflearn.data.tables import PreferenceData

GROUPS = {
    "conversation": (("prompts", "conversation_id"),),
    "set": (("responses", "set_id"),),
    "presentation": tuple((name, "presentation_id") for name in (*JUDGMENTS, "signals")),
}
"""Ids without a table of their own, and where they stand."""


class Names(NamedTuple):
    """Old ids and the new ones, [n] each."""

    old: pl.Series
    new: pl.Series


def rename(data: PreferenceData, names: Mapping[str, Names]) -> PreferenceData:
    """Exchange ids; `names` is keyed by table (`prompts`, ...) or group (`conversation`, `set`, `presentation`).

    Keys, references, lists of references and media inside messages all follow.
    """
    changes: dict[str, dict[str, pl.Expr]] = {}

    def change(table: str, column: str, expression: pl.Expr) -> None:
        if column in data.columns(table):
            changes.setdefault(table, {})[column] = expression.alias(column)

    names = {target: pair for target, pair in names.items() if pair.old.len()}
    for target, pair in names.items():
        for table, column in GROUPS.get(target, ()):
            change(table, column, _exchanged(column, pair))
        if target in TABLES:
            change(target, TABLES[target].key, _exchanged(TABLES[target].key, pair))
    for reference in references(data):
        if reference.target not in names:
            continue
        pair, column = names[reference.target], reference.column
        element = pl.element().replace(pair.old, pair.new)
        expression = pl.col(column).list.eval(element) if reference.is_list else _exchanged(column, pair)
        change(reference.table, column, expression)
    if "media" in names:
        for table in ("prompts", "responses"):
            change(table, "messages", _media_exchanged(names["media"]))
    return data.replace(**{name: data.table(name).with_columns(*parts.values()) for name, parts in changes.items()})


def _exchanged(column: str, pair: Names) -> pl.Expr:
    return pl.col(column).cast(pl.String).replace(pair.old, pair.new)


def _media_exchanged(pair: Names) -> pl.Expr:
    media = pl.element().struct.field("media").list.eval(pl.element().replace(pair.old, pair.new))
    fields = [pl.element().struct.field(name) for name in ("role", "name", "content")]
    return pl.col("messages").list.eval(pl.struct(*fields, media.alias("media")))
