"""Ratings to pairs per annotator, and between values and labels; what cannot be converted stays and is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

import polars as pl

from preflearn.data.columns import attach
from preflearn.data.convert_lists import Weight, fresh_ids, sentence
from preflearn.data.schema import table
from preflearn.data.tables import PreferenceData, plain
from preflearn.errors import InputError

Means = Literal["out", "sign", "normal"]


def ratings_to_pairs(
    data: PreferenceData,
    *,
    margin: float = 0.0,
    ties: Literal["keep", "out"] = "keep",
    means: Means = "out",
    across_prompts: bool = False,
    weight: Weight = "pair",
    keep: bool = False,
) -> PreferenceData:
    """Comparisons between all responses that one annotator rated on one scale: the higher value wins.

    One scale: same criterion, context, protocol and prompt; criteria and protocols are never mixed. One annotator:
    annotator_id, or where it is not recorded the same presentation_id. Where the criterion says that higher is worse,
    the lower value wins; where it says nothing, higher is taken to be better. The pairs of K ratings depend on each
    other: cluster by annotator.

    Args:
        margin: values that differ by at most this much (on the criterion's scale) are a tie.
        ties: keep them, or leave such pairs out.
        means: rows that are the mean of several people (`count` > 1 or a spread) are left `out`; or become pairs among
            each other: `sign`: the higher mean wins, one judgment of nobody; `normal`: a soft label, the share of
            people who prefer a, taking people's values to be normal and independent with the recorded spreads:
            Phi((mean_a - mean_b) / sqrt(spread_a^2 + spread_b^2)); it ignores that the same people rated both.
        across_prompts: also pair responses of different or unrecorded prompts (ratings of named systems, say).
        weight: `pair`: the mean weight of the two ratings; `list`: in addition the pairs of one annotator, prompt and
            criterion share one unit evenly.
        keep: leave the ratings that made pairs in their table; otherwise they leave it, so that nothing counts twice.

    Raises:
        InputError: the margin is negative or not finite.
    """
    if not 0 <= margin < float("inf"):
        raise InputError(f"the margin {margin} is not a number of at least 0.", cure="Give it on the rating's scale.")
    counts: Counter[str] = Counter()
    frame = _prepared(data, across_prompts)
    counts["ratings without value left"] = frame["__value"].null_count()
    rated = frame.filter(pl.col("__value").is_not_null())
    people = rated.filter(~pl.col("__mean"))
    counts["ratings of unknown annotator left"] = people["__who"].null_count()
    people = people.drop_nulls("__who")
    if not across_prompts:
        counts["ratings without prompt left"] = people["__prompt"].null_count()
        people = people.drop_nulls("__prompt")
    pairs = _paired(people, ["__who", *_SCALE])
    counts["ratings that are means of several people"] = int(rated["__mean"].sum())
    if means != "out":
        grouped = rated.filter(pl.col("__mean") & (pl.lit(across_prompts) | pl.col("__prompt").is_not_null()))
        if means == "normal":
            grouped = grouped.drop_nulls("__spread")
        pairs = pl.concat([pairs, _paired(grouped, ["__who", *_SCALE])])
    made = _comparisons(data, pairs, margin, means)
    if ties == "out":
        tied = (made["outcome"] == "tie").fill_null(False)
        counts["ties left out"] = int(tied.sum())
        made = made.filter(~tied)
    if weight == "list":
        made = made.with_columns(weight=pl.col("weight").fill_null(1.0) / pl.len().over("__list"))
    counts["comparisons made"] = made.height
    counts["ties among them"] = int((made["outcome"] == "tie").sum())
    used = pl.concat([pairs["__row"], pairs["__row_b"]]).unique()
    counts["ratings used"] = used.len()
    ratings = data.ratings
    if not keep:
        ratings = ratings.filter(~pl.Series(range(ratings.height), dtype=pl.UInt32).is_in(used.implode()))
        for lost in ("rationale", "raw", "confidence"):
            if lost in data.columns("ratings"):
                gone = data.ratings[lost].drop_nulls().len() - ratings[lost].drop_nulls().len()
                counts[f"{lost} values that left with their ratings"] = gone
    how = f"ratings to pairs (margin {margin:g}, ties {ties}, means {means}, weight by {weight}"
    how += ", across prompts)" if across_prompts else ")"
    unknown = {"time": "time" in data.columns("ratings"), "weight": "weight" in data.columns("ratings")}
    unknown["weight"] |= weight == "list"
    made = made.drop("__list", *(column for column, known in unknown.items() if not known))
    comparisons = pl.concat([plain(data.comparisons), plain(made)], how="diagonal_relaxed")
    return data.replace(sentence(how, counts), comparisons=comparisons, ratings=ratings)


_SCALE = ("__criterion", "__context", "__protocol", "__prompt_key")


def _prepared(data: PreferenceData, across_prompts: bool) -> pl.DataFrame:
    """Ratings with `__` columns of what decides pairing; `__value` points upwards."""
    names = {
        "__prompt": "prompt_id",
        "__up": "criteria.higher_is_better",
        "__value": "ratings.value",
        "__annotator": "ratings.annotator_id",
        "__showing": "ratings.presentation_id",
        "__criterion": "ratings.criterion_id",
        "__context": "ratings.context",
        "__protocol": "ratings.protocol",
        "__count": "ratings.count",
        "__spread": "ratings.spread",
        "__weight": "ratings.weight",
        "__time": "ratings.time",
    }
    frame = plain(attach(data, "ratings", names).with_row_index("__row").collect())
    up = pl.col("__up").fill_null(True)
    value = pl.col("__value").fill_nan(None)
    return frame.with_columns(
        __value=pl.when(up).then(value).otherwise(-value),
        __mean=(pl.col("__count").fill_null(1) > 1) | pl.col("__spread").is_not_null(),
        __who=pl.coalesce(pl.lit("a") + pl.col("__annotator"), pl.lit("p") + pl.col("__showing")),
        __prompt_key=pl.lit(None, dtype=pl.String) if across_prompts else pl.col("__prompt"),
    )


def _paired(rated: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """All pairs of different responses within a key, the earlier row first, with the key's number as `__list`."""
    numbered = rated.with_columns(__list=pl.struct(keys).rank("dense"))
    both = numbered.join(numbered, on="__list", suffix="_b", maintain_order="left_right")
    return both.filter((pl.col("__row") < pl.col("__row_b")) & (pl.col("response_id") != pl.col("response_id_b")))


def _comparisons(data: PreferenceData, pairs: pl.DataFrame, margin: float, means: Means) -> pl.DataFrame:
    """Rows of comparisons; a column that is equal in both ratings goes with the pair."""
    value, other = pl.col("__value"), pl.col("__value_b")
    outcome = (
        pl.when((value - other).abs() <= margin)
        .then(pl.lit("tie"))
        .when(value > other)
        .then(pl.lit("a"))
        .otherwise(pl.lit("b"))
    )
    soft = pl.col("__mean") & pl.lit(means == "normal")
    own = {"rating_id", "response_id", "value", "label", "spread", "count", "weight", "propensity"}
    own |= {"confidence", "rationale", "raw", "duration_s", "time"}
    carried = [column for column in data.columns("ratings") if column not in own]
    share = _normal_share(pairs)
    made = pairs.with_columns(share).select(
        pl.concat_str("rating_id", pl.lit(">"), "rating_id_b").alias("comparison_id"),
        pl.col("response_id").alias("response_a"),
        pl.col("response_id_b").alias("response_b"),
        pl.when(~soft).then(outcome).alias("outcome"),
        *([pl.when(soft).then("__share").alias("probability")] if means == "normal" else []),
        *(pl.when(pl.col(c).eq_missing(pl.col(f"{c}_b"))).then(pl.col(c)).alias(c) for c in carried),
        ((pl.col("__weight").fill_null(1.0) + pl.col("__weight_b").fill_null(1.0)) / 2).alias("weight"),
        pl.max_horizontal("__time", "__time_b").alias("time"),
        "__list",
    )
    taken = data.comparisons["comparison_id"]
    return made.with_columns(fresh_ids(made["comparison_id"], taken))


def _normal_share(pairs: pl.DataFrame) -> pl.Series:
    """[pairs] share of people whose value for a exceeds that for b; one half where neither spread nor mean differs."""
    import numpy as np
    from scipy.special import ndtr

    gap = (pairs["__value"] - pairs["__value_b"]).to_numpy()
    spread = (pairs["__spread"].fill_null(0.0) ** 2 + pairs["__spread_b"].fill_null(0.0) ** 2).sqrt().to_numpy()
    sure = np.where(gap > 0, np.inf, np.where(gap < 0, -np.inf, 0.0))
    z = np.divide(gap, spread, out=sure, where=spread > 0)
    return pl.Series("__share", ndtr(z))


# -- values and labels -------------------------------------------------------------------------------------------------


def labels_to_values(
    data: PreferenceData, values: Mapping[str, float], *, criterion: str | None = None
) -> PreferenceData:
    """Give ratings that have only a label the value stated for it, e.g. `{"up": 1, "down": 0}`; labels stay.

    Args:
        values: label -> value; other labels are left without value and counted.
        criterion: only ratings of this criterion.
    """
    counts: Counter[str] = Counter()
    open_ = pl.col("value").is_null() & pl.col("label").is_not_null() & _of(data, criterion)
    frame = _complete(data, ("value", "label"))
    known = pl.col("label").is_in(list(values))
    counts["ratings given a value"] = frame.select((open_ & known).sum()).item()
    counts["labels without stated value left"] = frame.select((open_ & ~known).sum()).item()
    stated = pl.col("label").replace_strict(dict(values), default=None, return_dtype=pl.Float64)
    done = frame.with_columns(pl.when(open_).then(stated).otherwise("value").alias("value"))
    told = ", ".join(f"{label} = {value:g}" for label, value in values.items())
    return data.replace(sentence(f"labels to values ({told}{_named(criterion)})", counts), ratings=done)


def values_to_labels(
    data: PreferenceData, at_least: Mapping[str, float], *, criterion: str | None = None
) -> PreferenceData:
    """Give ratings that have no label the label of the highest threshold their value reaches; values stay.

    Args:
        at_least: label -> lowest value that earns it, e.g. `{"up": 4, "down": 1}`.
        criterion: only ratings of this criterion.
    """
    counts: Counter[str] = Counter()
    frame = _complete(data, ("value", "label"))
    open_ = pl.col("label").is_null() & pl.col("value").is_not_null() & _of(data, criterion)
    label = pl.lit(None, dtype=pl.String)
    for name, low in sorted(at_least.items(), key=lambda item: item[1]):
        label = pl.when(pl.col("value") >= low).then(pl.lit(name)).otherwise(label)
    done = frame.with_columns(pl.when(open_).then(label).otherwise("label").alias("label"))
    counts["ratings given a label"] = done["label"].drop_nulls().len() - frame["label"].drop_nulls().len()
    below = (frame.select(open_.alias("open"))["open"] & done["label"].is_null()).sum()
    counts["values below every threshold left"] = int(below)
    told = ", ".join(f"{label} from {value:g}" for label, value in at_least.items())
    return data.replace(sentence(f"values to labels ({told}{_named(criterion)})", counts), ratings=done)


def _complete(data: PreferenceData, columns: tuple[str, ...]) -> pl.DataFrame:
    """The ratings with these planned columns, null where they were not recorded."""
    absent = [table("ratings").column(name) for name in columns if name not in data.columns("ratings")]
    return data.ratings.with_columns(pl.lit(None, dtype=c.dtype).alias(c.name) for c in absent if c is not None)


def _of(data: PreferenceData, criterion: str | None) -> pl.Expr:
    if criterion is None:
        return pl.lit(True)
    if "criterion_id" not in data.columns("ratings"):
        raise InputError(f"no rating is of criterion {criterion!r}: none is recorded.", column="ratings.criterion_id")
    return (pl.col("criterion_id").cast(pl.String) == criterion).fill_null(False)


def _named(criterion: str | None) -> str:
    return f"; criterion {criterion}" if criterion else ""
