"""The comparisons of a data set as one compact frame of codes: where every figure of `describe` about them starts."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from preflearn.data.columns import attach
from preflearn.data.schema import TIES
from preflearn.data.tables import PreferenceData
from preflearn.evaluate.codes import Codes
from preflearn.evaluate.questions import QuestionKey, number_questions

DECIDED_A, TIED, DECIDED_B, SOFT, SKIPPED, UNJUDGED = range(6)
"""Values of the column `kind`."""


class Votes(NamedTuple):
    """Comparisons as codes.

    Attributes:
        frame: one row per comparison: `question`, `low`, `high` (codes of the two responses, the smaller first),
            `flipped` (response_a is `high`), `prompt`, `context`, `annotator` (null = not recorded), `kind`, `edge`
            (what the graph of wins gets: DECIDED_A, TIED = both ways, DECIDED_B, null), `first` (shown_first, 0 = a),
            `count`, and codes of the sides' systems `system_a`, `system_b`.
        questions: by code, those with most judgments first.
        responses: the numbering of `low` and `high`; `systems`: that of `system_a` and `system_b`.
    """

    frame: pl.DataFrame
    questions: list[QuestionKey]
    responses: Codes
    systems: Codes


def votes(data: PreferenceData) -> Votes:
    """Encode `data.comparisons`; nothing but codes is held in memory."""
    own = ["response_a", "response_b", "annotator_id", "criterion_id", "protocol", "context", "outcome", "count"]
    own += ["probability", "probability_tie", "shown_first"]
    wanted = {
        "__prompt": "prompt_id",
        "__system_a": "a.system",
        "__system_b": "b.system",
        "__answered_by": "annotators.kind",
        **{f"__{name}": f"comparisons.{name}" for name in own},
    }
    responses, systems, others = Codes(), Codes(), Codes()
    rows = attach(data, "comparisons", wanted).select(
        responses.of("__response_a").alias("a"),
        responses.of("__response_b").alias("b"),
        others.of("__prompt").alias("prompt"),
        others.of("__context").alias("context"),
        others.of("__annotator_id").alias("annotator"),
        systems.of("__system_a").alias("system_a"),
        systems.of("__system_b").alias("system_b"),
        pl.col("__criterion_id").alias("criterion"),
        pl.col("__protocol").alias("protocol"),
        pl.col("__answered_by").alias("answered_by"),
        _kind().alias("kind"),
        _edge().alias("edge"),
        pl.col("__shown_first").eq("b").cast(pl.UInt8).alias("first"),
        pl.col("__count").fill_null(1).alias("count"),
    )
    frame = rows.with_columns(
        pl.min_horizontal("a", "b").alias("low"),
        pl.max_horizontal("a", "b").alias("high"),
        (pl.col("a") > pl.col("b")).alias("flipped"),
    ).collect(engine="streaming")
    numbered, keys = number_questions(frame)
    return Votes(numbered.drop("a", "b"), keys, responses, systems)


def _kind() -> pl.Expr:
    outcome = pl.col("__outcome")
    return (
        pl.when(outcome == "a")
        .then(DECIDED_A)
        .when(outcome == "b")
        .then(DECIDED_B)
        .when(outcome.is_in(TIES))
        .then(TIED)
        .when(outcome == "skip")
        .then(SKIPPED)
        .when(pl.col("__probability").is_not_null())
        .then(SOFT)
        .otherwise(UNJUDGED)
        .cast(pl.UInt8)
    )


def _edge() -> pl.Expr:
    p, kind = pl.col("__probability"), _kind()
    return (
        pl.when(kind <= DECIDED_B)
        .then(kind)
        .when((kind == SOFT) & (p >= 1))
        .then(DECIDED_A)
        .when((kind == SOFT) & (p <= 0) & (pl.col("__probability_tie").fill_null(0) == 0))
        .then(DECIDED_B)
        .when(kind == SOFT)
        .then(TIED)
        .cast(pl.UInt8)
    )
