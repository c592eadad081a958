"""Judgments as integer codes: outcomes as distributions over a link's outcomes, items and clusters as numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from preflearn.choice import Link
from preflearn.data.schema import TIES
from preflearn.errors import InputError
from preflearn.ranking.cells import Accumulator, Cells, Codes, Floats, cells_of_votes
from preflearn.ranking.wording import some

SOFT_LIMIT = 512
"""Up to this many distinct soft labels votes are counted together; above, each vote is a cell of its own."""
_BATCH = 1 << 21


def cluster_names(cluster: Sequence[str]) -> tuple[str, ...]:
    """Names of the cluster matrices: the columns, and with two of them their intersection."""
    if len(cluster) > 2:
        raise InputError(f"{len(cluster)} cluster columns are given.", cure="Up to two are possible.")
    return (*cluster, "*".join(cluster)) if len(cluster) == 2 else tuple(cluster)


def hard_targets(link: Link) -> dict[str, list[float]]:
    """Outcome name of the comparisons table (graded ones as a1, b2, ...) -> distribution over the link's outcomes."""
    k = len(link.outcomes)
    rows = {name: [float(i == j) for j in range(k)] for i, name in enumerate(link.outcomes)}
    if "tie" not in rows:
        rows["tie"] = [0.5 if name in {"a", "b", "a1", "b1"} else 0.0 for name in link.outcomes]
    return rows


def outcome_targets(live: pl.LazyFrame, link: Link) -> tuple[Floats, pl.DataFrame]:
    """Distinct outcome distributions [T, K], closed under reversal, and the soft labels among them."""
    rows = list(hard_targets(link).values())
    soft = (
        live.filter(pl.col("probability").is_not_null())
        .select(pl.col("probability"), pl.col("probability_tie").fill_null(0.0))
        .unique()
        .sort("probability", "probability_tie")
        .collect(engine="streaming")
    )
    index = {tuple(row): i for i, row in enumerate(rows)}

    def add(row: list[float]) -> int:
        key = tuple(row)
        if key not in index:
            index[key] = len(rows)
            rows.append(row)
        return index[key]

    codes = []
    for probability, tie in soft.rows():
        row = _soft_row(link, probability, tie)
        codes.append(add(row))
        add(row[::-1])
    soft = soft.with_columns(pl.Series("__target", codes, dtype=pl.Int64))
    return np.array(rows, dtype=np.float64), soft


def _soft_row(link: Link, probability: float, tie: float) -> list[float]:
    lose = max(1.0 - probability - tie, 0.0)
    if "tie" not in link.outcomes:
        probability, lose, tie = probability + tie / 2, lose + tie / 2, 0.0
    values = {"a": probability, "b": lose, "tie": tie, "a1": probability, "b1": lose}
    return [values.get(name, 0.0) for name in link.outcomes]


def codes(
    items: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    link: Link,
    grades: tuple[int, ...],
    soft: pl.DataFrame,
    style_columns: Sequence[str],
) -> list[pl.Expr]:
    """Expressions that turn a row into integer codes."""
    outcome = pl.col("outcome")
    outcome = pl.when(outcome.is_in(TIES)).then(pl.lit("tie")).otherwise(outcome)
    if len(grades) > 1:
        grade = _code(pl.col("strength"), {value: place for place, value in enumerate(grades, 1)}, 1, pl.Int64)
        outcome = pl.when(outcome == "tie").then(outcome).otherwise(outcome + grade.cast(pl.String))
    code = _code(outcome, {name: place for place, name in enumerate(hard_targets(link))}, -1, pl.Int64)
    if soft.height:
        pair = pl.struct(pl.col("probability"), pl.col("probability_tie").fill_null(0.0))
        known = soft.select(pl.struct("probability", "probability_tie")).to_series()
        soft_code = pair.replace_strict(known, soft["__target"], default=-1, return_dtype=pl.Int64)
        code = (
            pl.when(pl.col("probability").is_not_null() & pl.col("outcome").is_null()).then(soft_code).otherwise(code)
        )
    item = pl.Enum(list(items))
    first = _code(pl.col("shown_first"), {"a": 1, "b": -1}, 0, pl.Int8)
    clusters = [
        pl.col(f"__cluster_{name}").cast(pl.Enum(list(values))).to_physical().cast(pl.Int64).alias(f"__cluster_{name}")
        for name, values in labels.items()
    ]
    return [
        pl.col("__a").cast(item).to_physical().cast(pl.Int32).alias("left"),
        pl.col("__b").cast(item).to_physical().cast(pl.Int32).alias("right"),
        code.alias("target"),
        first.alias("first"),
        pl.col("count").cast(pl.Float64).alias("count"),
        pl.col("__weight").alias("weight"),
        *clusters,
        *(pl.col(f"__x{column}") for column in style_columns),
    ]


def _code(column: pl.Expr, codes: Mapping[Any, int], default: int, dtype: type[pl.DataType]) -> pl.Expr:
    """The code of each value. (`replace_strict` holds the whole column in memory, whatever the engine.)"""
    out = pl.lit(default, dtype=dtype)
    for value, code in codes.items():
        out = pl.when(column == value).then(pl.lit(code, dtype=dtype)).otherwise(out)
    return out


def _batches(compact: pl.LazyFrame, cluster: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    if len(cluster) == 2:  # pairs of clusters are numbered over all votes at once
        yield compact.collect(engine="streaming")
    else:
        yield from compact.collect_batches(chunk_size=_BATCH, maintain_order=False, engine="streaming")


def _cluster_codes(batch: pl.DataFrame, cluster: tuple[str, ...]) -> dict[str, Codes]:
    """By name, cluster codes [m], with two columns also those of their pairs; -1 where a cluster is not recorded."""
    out = {name: batch[f"__cluster_{name}"].fill_null(-1).to_numpy() for name in cluster}
    return with_pairs(out)


def with_pairs(codes: Mapping[str, Codes]) -> dict[str, Codes]:
    """Cluster codes by name; of two clusterings also the codes of their pairs, as the third entry (`"x*y"`).

    Raises:
        InputError: more than two clusterings are given.
    """
    names = cluster_names(tuple(codes)[:2])
    if len(codes) < 2 or tuple(codes) == names:
        return dict(codes)
    cluster_names(tuple(codes))
    one, two = codes.values()
    pairs = one.astype(np.int64) * (int(two.max(initial=0)) + 1) + two
    pairs = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
    return {**codes, names[-1]: np.where((one < 0) | (two < 0), -1, pairs)}


def counted(
    compact: pl.LazyFrame,
    n_items: int,
    targets: Floats,
    cluster: tuple[str, ...],
    position: bool,
) -> Cells:
    accumulator = Accumulator(n_items, targets, clusters=cluster_names(cluster), oriented=position)
    for batch in _batches(compact, cluster):
        accumulator.add(
            batch["left"].to_numpy(),
            batch["right"].to_numpy(),
            batch["target"].to_numpy(),
            first=batch["first"].to_numpy() if position else None,
            count=_or_none(batch["count"], 1.0),
            weight=_or_none(batch["weight"], 1.0),
            clusters=_cluster_codes(batch, cluster),
        )
    return accumulator.cells()


def each_vote(
    compact: pl.LazyFrame,
    n_items: int,
    targets: Floats,
    cluster: tuple[str, ...],
    position: bool,
    names: tuple[str, ...],
    warnings: list[str],
) -> tuple[Cells, tuple[str, ...], tuple[float, ...]]:
    """One cell per vote, the covariates that differ between the sides of any vote, and their scale."""
    frame = compact.collect(engine="streaming")
    columns = [f"__x__style_{name}" for name in names]
    features, scale = None, np.ones(0)
    if columns:
        missing = int(frame.select(pl.any_horizontal(pl.col(columns).is_null()).sum()).item())
        if missing:
            warnings.append(f"{some(missing, 'vote')} without a covariate, taken as no difference")
        features = frame.select(pl.col(columns).fill_null(0.0)).to_numpy().astype(np.float64)
        spread = np.sqrt(np.mean(features**2, axis=0))
        constant = [name for name, value in zip(names, spread) if value == 0]
        warnings.extend(
            f"the covariate {name} never differs between the sides; its effect is not estimable" for name in constant
        )
        names = tuple(name for name in names if name not in constant)
        scale = spread[spread > 0]
        features = features[:, spread > 0] / scale
    cells = cells_of_votes(
        frame["left"].to_numpy(),
        frame["right"].to_numpy(),
        frame["target"].to_numpy(),
        n_items,
        targets,
        first=frame["first"].to_numpy() if position else None,
        count=_or_none(frame["count"], 1.0),
        weight=_or_none(frame["weight"], 1.0),
        features=features,
        clusters=_cluster_codes(frame, cluster),
    )
    return cells, names, tuple(scale.tolist())


def _or_none(column: pl.Series, default: float) -> Floats | None:
    """None when every value is the default, which the counting kernel is fastest at."""
    filled = column.fill_null(default)
    if bool((filled == default).all()):
        return None
    return filled.to_numpy().astype(np.float64)
