"""Who said what about the same thing: judgments grouped into units and people, for the figures of agreement.

Comes from frames of codes; knows nothing about comparisons or ratings as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from preflearn.evaluate.agreement import Ints
from preflearn.evaluate.intervals import Floats, Sums


class Voices(NamedTuple):
    """One row per person and unit that was judged at least twice; people without a name are people of their own.

    Attributes:
        unit: unit of each row, [r].
        votes: shares of the person's answers by category, [r, K].
        people: identical people that the row stands for, [r].
        square: mean squared value of the person's answers, [r]; `votes` is then their mean value, [r, 1].
        items: number of units judged at all.
        person: person of each row of `repeats`.
        repeats: number of answers per category of one person about one unit, where there are several, [q, K].
    """

    unit: Ints
    votes: Floats
    people: Floats
    square: Floats
    items: int
    person: Ints
    repeats: Floats


def voices(frame: pl.DataFrame, keys: Sequence[str], categories: int) -> Voices:
    """Group judgments.

    Args:
        frame: columns of codes `keys` (null = not recorded), `annotator` (null = unknown), `count`, and `answer`
            (0 .. categories - 1), or `value` where `categories` is 0.
        keys: what makes a unit.
        categories: number of categories.
    """
    coded = frame.lazy().with_columns(pl.col(key).fill_null(pl.col(key).max() + 1).fill_null(0) for key in keys)
    judged = coded.group_by(keys).agg(pl.col("count").sum().alias("judged")).collect(engine="streaming")
    several = judged.filter(pl.col("judged") > 1).drop("judged").with_row_index("unit")
    rows = coded.join(several.lazy(), on=list(keys), how="inner")
    if categories:
        spread = [(pl.col("count") * (pl.col("answer") == k)).sum().alias(f"k{k}") for k in range(categories)]
        anonymous = ["unit", "answer"]
    else:
        value = pl.col("value")
        spread = [(pl.col("count") * value).sum().alias("k0"), (pl.col("count") * value**2).sum().alias("square")]
        anonymous = ["unit", "value"]
    total = pl.col("count").sum().alias("total")
    named = rows.filter(pl.col("annotator").is_not_null()).group_by("unit", "annotator").agg(*spread, total)
    nameless = rows.filter(pl.col("annotator").is_null()).group_by(anonymous).agg(*spread, total)
    people, crowd = pl.collect_all([named, nameless], engine="streaming")

    names = [f"k{k}" for k in range(max(categories, 1))]
    weight = np.concatenate([people["total"].to_numpy(), crowd["total"].to_numpy()]).astype(np.float64)

    def column(name: str) -> Floats:
        return np.concatenate([people[name].to_numpy(), crowd[name].to_numpy()]).astype(np.float64)

    repeated = people.filter(pl.col("total") > 1) if categories else people.clear()
    return Voices(
        unit=np.concatenate([people["unit"].to_numpy(), crowd["unit"].to_numpy()]).astype(np.int64),
        votes=np.column_stack([column(name) / weight for name in names]),
        people=np.concatenate([np.ones(people.height), crowd["total"].to_numpy()]).astype(np.float64),
        square=column("square") / weight if not categories else np.zeros(len(weight)),
        items=judged.height,
        person=repeated["annotator"].to_numpy().astype(np.int64),
        repeats=np.column_stack([repeated[name].to_numpy() for name in names]).astype(np.float64),
    )


def cluster_totals(frame: pl.DataFrame, cluster: str | None, numerator: pl.Expr, denominator: pl.Expr) -> Sums:
    """Sums per cluster of two quantities of each judgment; a judgment without a cluster is one of its own.

    Args:
        frame: with `count` and the cluster's column (null = its own).
        cluster: name of that column; None = none.
    """
    parts = frame.lazy().select(
        numerator.cast(pl.Float64).alias("top"),
        denominator.cast(pl.Float64).alias("bottom"),
        pl.col("count").cast(pl.Float64),
        (pl.col(cluster) if cluster else pl.lit(None, dtype=pl.UInt32)).alias("cluster"),
    )
    known = parts.filter(pl.col("cluster").is_not_null()).group_by("cluster")
    own = parts.filter(pl.col("cluster").is_null()).group_by("top", "bottom").agg(pl.col("count").sum().alias("alike"))
    summed = known.agg((pl.col("top") * pl.col("count")).sum(), (pl.col("bottom") * pl.col("count")).sum())
    shared, single = pl.collect_all([summed, own], engine="streaming")

    def column(name: str) -> Floats:
        return np.concatenate([shared[name].to_numpy(), single[name].to_numpy()]).astype(np.float64)

    alike = np.concatenate([np.ones(shared.height), single["alike"].to_numpy()])
    return Sums(column("top"), column("bottom"), alike)
