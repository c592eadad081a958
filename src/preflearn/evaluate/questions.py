"""What figures are never pooled over: criterion, protocol, and whether people, judges or rules answered."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

KEYS = ("criterion", "protocol", "answered_by")
SHOWN = 100
"""Questions with figures of their own, those with most judgments first; the rest is counted."""
ENOUGH = 10
FEW = 3
"""With fewer annotators than `ENOUGH` intervals are over prompts, and about these annotators, if prompts are enough;
with fewer than `FEW` an interval over annotators would say nothing."""


class QuestionKey(NamedTuple):
    """One question: figures of different questions are not pooled."""

    criterion: str | None
    protocol: str | None
    answered_by: str | None
    """Kind of the annotators: person, judge, rule, simulated; None = not recorded."""


def judgments(frame: pl.DataFrame) -> int:
    """Sum of the column `count`."""
    return int(frame["count"].cast(pl.UInt64).sum())


def number_questions(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[QuestionKey]]:
    """Replace the columns `KEYS` by `question`: codes of the keys returned, those with most judgments first."""
    names = [f"{key}_name" for key in KEYS]
    found = (
        frame.group_by(KEYS)
        .agg(pl.col("count").cast(pl.UInt64).sum().alias("n"))
        .with_columns(pl.col(KEYS).cast(pl.String).name.suffix("_name"))
        .sort("n", *names, descending=[True, False, False, False], nulls_last=True)
        .with_row_index("question")
    )
    keys = [QuestionKey(*row) for row in found.select(names).iter_rows()]
    if len(keys) == 1:
        numbered = frame.with_columns(pl.lit(0, dtype=pl.UInt32).alias("question"))
    else:
        numbered = frame.join(found.select("question", *KEYS), on=KEYS, how="left", nulls_equal=True)
    return numbered.drop(KEYS), keys


def part(frame: pl.DataFrame, code: int, keys: list[QuestionKey]) -> pl.DataFrame:
    """The rows of one question."""
    return frame.filter(pl.col("question") == code) if len(keys) > 1 else frame


def further(frame: pl.DataFrame, keys: list[QuestionKey]) -> tuple[int, int]:
    """Questions beyond the shown ones, and their judgments."""
    if len(keys) <= SHOWN:
        return 0, 0
    return len(keys) - SHOWN, judgments(frame.filter(pl.col("question") >= SHOWN))


def cluster_of(frame: pl.DataFrame) -> str | None:
    """What intervals treat as one: `ENOUGH` annotators, else `ENOUGH` prompts, else `FEW` annotators.

    None otherwise: every judgment stands for itself, and intervals are about just these people and prompts.
    """
    distinct = {name: frame[name].drop_nulls().n_unique() for name in ("annotator", "prompt")}
    for name, least in (("annotator", ENOUGH), ("prompt", ENOUGH), ("annotator", FEW)):
        if distinct[name] >= least:
            return name
    return None


def per_key(frame: pl.DataFrame, keys: list[QuestionKey], which: str) -> pl.LazyFrame:
    """Judgments of each criterion or protocol: columns `name`, `count`."""
    names = pl.DataFrame(
        {"question": range(len(keys)), "name": [getattr(key, which) for key in keys]},
        schema={"question": pl.UInt32, "name": pl.String},
    )
    counted = frame.lazy().group_by("question").agg(pl.col("count").cast(pl.UInt64).sum())
    return counted.join(names.lazy(), on="question").select("name", "count")
