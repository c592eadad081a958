"""The rules that need more than one row: unique keys, references, segments in their wholes, values on their scales."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from preflearn.data.columns import attach
from preflearn.data.references import media_in_messages, references
from preflearn.data.schema import JUDGMENTS, TABLES
from preflearn.data.tables import PreferenceData
from preflearn.data.validate_rules import Severity


class LinkRule(NamedTuple):
    """A rule with the query that finds what breaks it."""

    table: str
    column: str
    rule: str
    severity: Severity
    cure: str
    broken: pl.LazyFrame
    """The breaking rows as column `key`."""


def link_rules(data: PreferenceData) -> Iterator[LinkRule]:
    """Every such rule that speaks of recorded columns only."""
    filled = [name for name in TABLES if data.height(name)]
    for name in filled:
        yield _unique(data, name)
    yield from _references(data)
    yield from _media_in_messages(data, filled)
    for build in (_segments, _segment_prompts, _own_prompts, _scales, _repeats):
        yield from build(data, filled)


def _text(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String)


def _unique(data: PreferenceData, name: str) -> LinkRule:
    key = TABLES[name].key
    groups = data.lazy(name).select(_text(key).alias("key")).drop_nulls().group_by("key").len()
    broken = groups.filter(pl.col("len") > 1).sort("key")
    return LinkRule(name, key, "is unique", "error", "Rename or merge the rows that share it.", broken.select("key"))


def _references(data: PreferenceData) -> Iterator[LinkRule]:
    for reference in references(data):
        key = TABLES[reference.table].key
        rows = data.lazy(reference.table).select(_text(key).alias("key"), pl.col(reference.column).alias("target"))
        if reference.is_list:
            rows = rows.filter(pl.col("target").list.len() > 0).explode("target")
        rows = rows.select("key", _text("target")).drop_nulls("target")
        there = data.lazy(reference.target).select(_text(TABLES[reference.target].key).alias("target"))
        broken = rows.join(there, on="target", how="anti", maintain_order="left")
        # names alone are usable (a battle between systems, an annotator of whom nothing else is known)
        told = reference.target in {"responses", "prompts"} and data.height(reference.target) > 0
        yield LinkRule(
            reference.table,
            reference.column,
            f"is found in {reference.target}",
            "error" if told else "warning",
            f"Add the rows, or let `completed()` add bare ones to {reference.target}.",
            broken.select("key").unique(maintain_order=True),
        )


def _media_in_messages(data: PreferenceData, filled: list[str]) -> Iterator[LinkRule]:
    for name in ("prompts", "responses"):
        if name not in filled:
            continue
        there = data.lazy("media").select("media_id")
        rows = media_in_messages(data, name)
        broken = rows.join(there, left_on="media", right_on="media_id", how="anti", maintain_order="left").select("key")
        cure = "Add rows to media."
        yield LinkRule(name, "messages", "has its media in media", "warning", cure, broken.unique(maintain_order=True))


def _segments(data: PreferenceData, filled: list[str]) -> Iterator[LinkRule]:
    """Segments inside their wholes, where the whole's extent is known: its text, its own segment, its one medium."""
    recorded = set(data.columns("responses"))
    if "responses" not in filled or not {"part_of", "start", "end"} <= recorded:
        return
    content = pl.col("messages").list.eval(pl.element().struct.field("content").str.len_chars()).list.sum()
    length = pl.when(pl.col("messages").list.len() == 1).then(content).cast(pl.Float64)
    wholes = data.select("responses", ["response_id", "messages", "media", "unit", "start", "end"])
    whole = (
        wholes.with_columns(pl.when(pl.col("media").list.len() == 1).then(pl.col("media").list.first()).alias("medium"))
        .join(
            data.select("media", ["media_id", "kind", "duration"]),
            left_on="medium",
            right_on="media_id",
            how="left",
        )
        .select(
            pl.col("response_id").alias("part_of"),
            length.alias("characters"),
            pl.col("unit").alias("whole_unit"),
            pl.col("end").alias("whole_end"),
            pl.col("start").alias("whole_start"),
            pl.when(pl.col("kind") != "trajectory").then(pl.col("duration")).alias("seconds"),
            pl.when(pl.col("kind") == "trajectory").then(pl.col("duration")).alias("steps"),
        )
        .unique("part_of", keep="first")
    )
    parts = data.select("responses", ["response_id", "part_of", "start", "end", "unit"]).filter(
        pl.col("part_of").is_not_null()
    )
    unit = pl.col("unit")
    nested = unit == pl.col("whole_unit")
    limit = (
        pl.when(nested)
        .then(pl.col("whole_end"))
        .when(unit == "character")
        .then(pl.col("characters"))
        .when(unit == "second")
        .then(pl.col("seconds"))
        .when(unit.is_in(["step", "action"]))
        .then(pl.col("steps"))
    )
    outside = (pl.col("end") > limit).fill_null(False) | (nested & (pl.col("start") < pl.col("whole_start")))
    broken = parts.join(whole, on="part_of", how="left", maintain_order="left").filter(outside)
    yield LinkRule(
        "responses",
        "end",
        "lies inside the whole that part_of names",
        "error",
        "Check unit and origin: positions count from the whole's beginning.",
        broken.select(pl.col("response_id").alias("key")),
    )


def _segment_prompts(data: PreferenceData, filled: list[str]) -> Iterator[LinkRule]:
    if "responses" not in filled or not {"part_of", "prompt_id"} <= set(data.columns("responses")):
        return
    wholes = data.lazy("responses").select(
        pl.col("response_id").alias("part_of"), pl.col("prompt_id").alias("whole_prompt")
    )
    rows = data.lazy("responses").select("response_id", "part_of", "prompt_id").drop_nulls("part_of")
    joined = rows.join(wholes.unique("part_of", keep="first"), on="part_of", how="inner", maintain_order="left")
    broken = joined.filter(pl.col("prompt_id").ne_missing(pl.col("whole_prompt")))
    yield LinkRule(
        "responses",
        "prompt_id",
        "of a segment is that of its whole",
        "warning",
        "A segment answers the prompt that its whole answers.",
        broken.select(pl.col("response_id").alias("key")),
    )


def _own_prompts(data: PreferenceData, filled: list[str]) -> Iterator[LinkRule]:
    if "prompt_id" not in data.columns("responses"):
        return
    for name in JUDGMENTS:
        if name not in filled or "prompt_id" not in data.columns(name):
            continue
        sides = ["a.prompt_id", "b.prompt_id"] if name == "comparisons" else ["responses.prompt_id"]
        rows = attach(data, name, {f"__{i}": side for i, side in enumerate(sides)})
        differs = pl.any_horizontal(pl.col(f"__{i}") != pl.col("prompt_id") for i in range(len(sides)))
        yield LinkRule(
            name,
            "prompt_id",
            "agrees with the prompt of the responses",
            "warning",
            "A response owns its prompt; leave the judgment's own null where responses carry one.",
            rows.filter(differs).select(_text(TABLES[name].key).alias("key")),
        )


def _scales(data: PreferenceData, filled: list[str]) -> Iterator[LinkRule]:
    bounds = {"low", "high", "step"} & set(data.columns("criteria"))
    if "ratings" not in filled or not bounds or not {"value", "criterion_id"} <= set(data.columns("ratings")):
        return
    rows = attach(data, "ratings", {"__low": "criteria.low", "__high": "criteria.high", "__step": "criteria.step"})
    value = pl.col("value")
    slack = 1e-9 * (pl.col("__high") - pl.col("__low")).fill_null(0)  # means of decimals carry rounding
    outside = (value < pl.col("__low") - slack) | (value > pl.col("__high") + slack)
    key = pl.col("rating_id").alias("key")
    yield LinkRule(
        "ratings",
        "value",
        "lies within the criterion's low and high",
        "error",
        "Correct the value or the criterion's scale.",
        rows.filter(outside).select(key),
    )
    if "step" not in bounds:
        return
    single = pl.lit(True) if "count" not in data.columns("ratings") else pl.col("count").fill_null(1) == 1
    steps = (value - pl.col("__low").fill_null(0)) / pl.col("__step")
    yield LinkRule(
        "ratings",
        "value",
        "lies on a step of the criterion",
        "warning",
        "Means of several people may lie between steps; then record count.",
        rows.filter(single & ((steps - steps.round()).abs() > 1e-6)).select(key),
    )


def _repeats(data: PreferenceData, filled: list[str]) -> Iterator[LinkRule]:
    """Rows equal in all but their key, where annotator and moment, showing or prompt make that no coincidence."""
    for name in JUDGMENTS:
        recorded = data.columns(name)
        if name not in filled or "annotator_id" not in recorded:
            continue
        key = TABLES[name].key
        told = [column for column in ("time", "presentation_id") if column in recorded]
        rows = attach(data, name, {"__prompt": "prompt_id"})
        sure = pl.any_horizontal(pl.col(column).is_not_null() for column in [*told, "__prompt"])
        rows = rows.filter(pl.col("annotator_id").is_not_null() & sure)
        others = [column for column in recorded if column != key]
        nested = [pl.col(c).hash() if data.lazy(name).collect_schema()[c].is_nested() else pl.col(c) for c in others]
        first = rows.select(pl.col(key).alias("key"), *nested).with_columns(
            pl.int_range(pl.len()).over(others).alias("__n")
        )
        yield LinkRule(
            name,
            "",
            "repeats no other row in everything but its key",
            "warning",
            "Drop the copies, or give time or presentation_id if they are judgments of their own.",
            first.filter(pl.col("__n") > 0).select(_text("key")),
        )
