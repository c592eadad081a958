"""Who judged: kinds, panels, groups, languages and countries of annotators, and how judgments spread over them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from preflearn.data.schema import JUDGMENTS
from preflearn.data.tables import PreferenceData
from preflearn.evaluate.plain import NOT_RECORDED, Spread, spread

TRAITS = ("kind", "panel", "group", "language", "country", "model")
SHOWN_VALUES = 30


@dataclass(frozen=True)
class Share:
    """People of one kind."""

    annotators: int
    judgments: int


@dataclass(frozen=True)
class People:
    """The annotators of a data set.

    Attributes:
        recorded: rows of the annotators table.
        active: different annotators of comparisons, ratings and rankings.
        judgments: judgments by annotators; `anonymous`: judgments without one.
        per_annotator: judgments of each active annotator.
        busiest_tenth: share of the judgments made by the busiest tenth of annotators; None without annotators.
        traits: recorded trait -> value -> annotators and judgments, most judgments first, at most `SHOWN_VALUES`.
        further_values: trait -> values not listed.
    """

    recorded: int
    active: int
    judgments: int
    anonymous: int
    per_annotator: Spread
    busiest_tenth: float | None
    traits: dict[str, dict[str, Share]]
    further_values: dict[str, int]


def describe_people(data: PreferenceData) -> People | None:
    """Everything about who judged; None if nobody did and nobody is recorded."""
    recorded = data.height("annotators")
    tables = [name for name in JUDGMENTS if data.height(name)]
    if not recorded and not tables:
        return None
    parts = [
        data.select(name, ["annotator_id", "count"])
        .select(pl.col("annotator_id").cast(pl.String).alias("annotator"), pl.col("count").fill_null(1).cast(pl.UInt64))
        .group_by("annotator")
        .agg(pl.col("count").sum().alias("judgments"))
        for name in tables
    ]
    empty = pl.LazyFrame(schema={"annotator": pl.String, "judgments": pl.UInt64})
    made = pl.concat([empty, *parts]).group_by("annotator").agg(pl.col("judgments").sum())
    counted = made.collect(engine="streaming").sort("judgments", "annotator", descending=[True, False])
    named = counted.filter(pl.col("annotator").is_not_null())
    total = int(named["judgments"].sum())
    tenth = named["judgments"].head(max(1, round(named.height / 10))).sum()
    traits: dict[str, dict[str, Share]] = {}
    further: dict[str, int] = {}
    known = [trait for trait in TRAITS if trait in data.columns("annotators")]
    who = (
        data.select("annotators", ["annotator_id", *known])
        .with_columns(pl.all().cast(pl.String))
        .collect()
        .unique("annotator_id", keep="first")
    )
    everyone = who.join(named, left_on="annotator_id", right_on="annotator", how="full", coalesce=True)
    for trait in known:
        if who[trait].null_count() == who.height:
            continue
        values = (
            everyone.group_by(pl.col(trait).fill_null(NOT_RECORDED))
            .agg(pl.len().alias("annotators"), pl.col("judgments").sum())
            .sort("judgments", "annotators", trait, descending=[True, True, False])
        )
        traits[trait] = {value: Share(n, int(votes)) for value, n, votes in values.head(SHOWN_VALUES).iter_rows()}
        if values.height > SHOWN_VALUES:
            further[trait] = values.height - SHOWN_VALUES
    return People(
        recorded=recorded,
        active=named.height,
        judgments=total,
        anonymous=int(counted["judgments"].sum()) - total,
        per_annotator=spread(named, "judgments"),
        busiest_tenth=float(tenth) / total if total else None,
        traits=traits,
        further_values=further,
    )
