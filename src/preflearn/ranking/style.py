"""Nuisance covariates of a comparison: how the two texts look, so that a leaderboard can hold looks constant.

Each covariate is the relative difference (x_a - x_b) / (x_a + x_b + 1) of a count, scaled to unit root mean square.
It is not centred: exchanging the sides must change its sign and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from preflearn.data import PreferenceData
from preflearn.errors import InputError

PRESETS: dict[str, tuple[str, ...]] = {
    "length": ("length",),
    "lmarena": ("length", "headers", "lists", "bold"),
}
"""Presets by name. `lmarena` are the four elements of the Chatbot Arena's style control (Li, Angelopoulos, Chiang
2024); length is counted in words because tokens depend on a tokenizer."""

_TEXT = "__text"
_COUNTS: dict[str, pl.Expr] = {
    "length": pl.col(_TEXT).str.count_matches(r"\S+"),
    "headers": pl.col(_TEXT).str.count_matches(r"(?m)^\s{0,3}#{1,6}\s"),
    "lists": pl.col(_TEXT).str.count_matches(r"(?m)^\s*(?:[-*+]|\d+[.)])\s+"),
    "bold": pl.col(_TEXT).str.count_matches(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
}


def covariates(style: str | Sequence[str]) -> tuple[str, ...]:
    """Names of the covariates that a preset, a column or a list of both stands for."""
    names = (style,) if isinstance(style, str) else tuple(style)
    return tuple(dict.fromkeys(name for entry in names for name in PRESETS.get(entry, (entry,))))


def with_covariates(data: PreferenceData, names: Sequence[str]) -> tuple[PreferenceData, list[str]]:
    """Add a numeric column per covariate to the responses; returns the data and the columns' names.

    A name is one of length, headers, lists, bold (counted in the response's text) or any numeric column of responses.

    Raises:
        InputError: no texts are recorded, or there is no such numeric column.
    """
    schema = data.lazy("responses").collect_schema()
    added: list[pl.Expr] = []
    columns: list[str] = []
    for name in names:
        column = f"__style_{name}"
        if name in schema and schema[name].is_numeric():
            added.append(pl.col(name).cast(pl.Float64).alias(column))
        elif name in _COUNTS:
            if "messages" not in schema:
                raise InputError(
                    f"the covariate {name!r} needs the responses' texts, and none are recorded.",
                    cure="Name numeric columns of responses instead.",
                )
            added.append(_COUNTS[name].cast(pl.Float64).alias(column))
        else:
            numeric = [column for column, dtype in schema.items() if dtype.is_numeric()]
            raise InputError(
                f"there is no covariate {name!r}.",
                cure=f"Presets: {', '.join(PRESETS)}; counts: {', '.join(_COUNTS)}; "
                f"numeric columns of responses: {', '.join(numeric) or 'none'}.",
            )
        columns.append(column)
    responses = data.lazy("responses")
    if "messages" in schema:
        content = pl.col("messages").list.eval(pl.element().struct.field("content")).list.join("\n", ignore_nulls=True)
        responses = responses.with_columns(content.alias(_TEXT))
    responses = responses.with_columns(added)
    if "messages" in schema:
        responses = responses.drop(_TEXT)
    return data.replace(responses=responses.collect()), columns


def difference(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    """The relative difference of two counts; null where either is not recorded."""
    return (a - b) / (a + b + 1)
