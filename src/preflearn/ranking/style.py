"""Nuisance covariates of a comparison: how the two texts look, so that a leaderboard can hold looks constant.

Each covariate is the relative difference (x_a - x_b) / (x_a + x_b + 1) of a count, or of any other number that is never
negative; of a number that may be negative it is the plain difference. It is scaled to unit root mean square.
It is not centred: exchanging the sides must change its sign and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import polars as pl

from preflearn.backbones.features import expression
from preflearn.backbones.rows import text_of
from preflearn.data import PreferenceData
from preflearn.errors import InputError

PRESETS: dict[str, tuple[str, ...]] = {
    "length": ("length",),
    "lmarena": ("length", "headers", "lists", "bold"),
}
"""Presets by name. `lmarena` are the four elements of the Chatbot Arena's style control (Li, Angelopoulos, Chiang
2024); length is counted in words because tokens depend on a tokenizer."""

Form = Literal["relative", "plain"]


class Covariates(NamedTuple):
    """Responses with a numeric column per covariate."""

    data: PreferenceData
    columns: list[str]
    """Names of the columns."""
    forms: tuple[Form, ...]
    """Which difference is taken of each."""


_TEXT = "__text"
_COUNTS: dict[str, pl.Expr] = {name: expression(name, pl.col(_TEXT)) for name in ("length", "headers", "lists", "bold")}


def covariates(style: str | Sequence[str]) -> tuple[str, ...]:
    """Names of the covariates that a preset, a column or a list of both stands for."""
    names = (style,) if isinstance(style, str) else tuple(style)
    return tuple(dict.fromkeys(name for entry in names for name in PRESETS.get(entry, (entry,))))


def with_covariates(data: PreferenceData, names: Sequence[str], forms: Sequence[Form] = ()) -> Covariates:
    """Add a numeric column per covariate to the responses.

    A name is one of length, headers, lists, bold (counted in the response's text) or any numeric column of responses.
    Texts and embeddings are left behind. A number that is not finite counts as not recorded.

    Args:
        forms: those a model was fitted with; none: the relative difference unless the column has negative numbers.

    Raises:
        InputError: no texts are recorded, there is no such numeric column, or the model took a column that has negative
            numbers here for one that has none.
    """
    schema = data.lazy("responses").collect_schema()
    added: list[pl.Expr] = []
    columns: list[str] = []
    for name in names:
        column = f"__style_{name}"
        if name in schema and schema[name].is_numeric():
            number = pl.col(name).cast(pl.Float64)
            added.append(pl.when(number.is_finite()).then(number).alias(column))
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
        responses = responses.with_columns(text_of(pl.col("messages")).alias(_TEXT))
    found = responses.with_columns(added).drop(_TEXT, "messages", "embedding", strict=False).collect(engine="streaming")
    negative = [least is not None and least < 0 for least in found.select(pl.col(columns).min()).row(0)]
    for name, form, below in zip(names, forms, negative):
        if form == "relative" and below:
            raise InputError(
                f"the covariate {name!r} has negative numbers, and had none in the training data.", column=name
            )
    chosen: list[Form] = ["plain" if below else "relative" for below in negative]
    return Covariates(data.replace(responses=found), columns, tuple(forms) or tuple(chosen))


def difference(a: pl.Expr, b: pl.Expr, form: Form) -> pl.Expr:
    """The difference of two numbers; null where either is not recorded."""
    return a - b if form == "plain" else (a - b) / (a + b + 1)
