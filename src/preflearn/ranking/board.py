"""Leaderboards in one call: from a data set, by the values of a column, or from integer codes in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from preflearn.choice import Link
from preflearn.data import PreferenceData
from preflearn.data.columns import attach
from preflearn.errors import InputError
from preflearn.ranking.cells import Codes, Floats, count_codes
from preflearn.ranking.encode import with_pairs
from preflearn.ranking.leaderboard import Leaderboard, Scale
from preflearn.ranking.models import MODELS, RatingModel
from preflearn.ranking.votes import Votes

_HELD = 2_000_000
"""Up to this many judgments are taken into memory to be divided by a column."""


def build(model: str, **options: Any) -> RatingModel:
    """The unfitted rating model of this name.

    Raises:
        InputError: no such model or option.
    """
    if model not in MODELS:
        raise InputError(f"there is no rating model {model!r}.", cure=f"Models: {', '.join(MODELS)}.")
    try:
        return MODELS[model](**options)
    except TypeError as error:
        raise InputError(f"{model}: {error}.") from None


def rank(
    data: PreferenceData,
    model: str = "bradley_terry",
    *,
    scale: Scale = "logit",
    anchor: str | tuple[str, float] | None = None,
    level: float = 0.95,
    **options: Any,
) -> Leaderboard:
    """Fit a rating model and return its leaderboard; `options` are those of `RatingModel`."""
    return build(model, **options).fit(data).leaderboard(scale=scale, anchor=anchor, level=level)


def rank_by(
    data: PreferenceData, by: str, model: str = "bradley_terry", **options: Any
) -> dict[str, Leaderboard | InputError]:
    """One leaderboard per value of a column of any table, in order of votes.

    Judgments without a value form the entry "(not recorded)". A value whose votes cannot be ranked maps to the reason.
    """
    tagged = attach(data, "comparisons", {"__by": by})
    dtype = tagged.collect_schema()["__by"]
    if dtype.is_nested():
        raise InputError(f"the column {by!r} cannot divide votes: it holds {dtype}.", cure="Name one of single values.")
    tagged = tagged.with_columns(pl.col("__by").cast(pl.String).fill_null("(not recorded)"))
    votes = pl.col("count").fill_null(1).sum() if "count" in data.columns("comparisons") else pl.len()
    values = tagged.group_by("__by").agg(votes.alias("n")).sort("n", "__by", descending=[True, False]).collect()["__by"]
    parts: dict[str, pl.DataFrame] = {}
    if not data.is_lazy or data.height("comparisons") <= _HELD:  # one pass over the rows, not one for each value
        divided = tagged.collect().partition_by("__by", include_key=False, as_dict=True)
        parts = {str(key[0]): frame for key, frame in divided.items()}
    out: dict[str, Leaderboard | InputError] = {}
    for value in values:
        rows = parts[value] if value in parts else tagged.filter(pl.col("__by") == value).drop("__by")
        part = data.replace(comparisons=rows)
        part._fingerprint = data.known_fingerprint()
        try:
            out[value] = rank(part, model, **options)
        except InputError as error:
            out[value] = error
    return out


def votes_of_codes(
    items: Sequence[str],
    left: Codes,
    right: Codes,
    outcome: Codes,
    link: Link,
    *,
    count: Floats | None = None,
    weight: Floats | None = None,
    first: Codes | None = None,
    clusters: Mapping[str, Codes] | None = None,
) -> Votes:
    """Counted votes from integer codes in memory, for `RatingModel.fit_votes`.

    Args:
        items: names; `left` and `right` [N] are positions in it.
        outcome: positions [N] in `link.outcomes`.
        link: e.g. `choice.Binary()`.
        count, weight, first: as in `ranking.cells.count_codes`.
        clusters: by name, cluster codes [N], negative where none is recorded; of up to two names.

    Raises:
        ValueError: a code is out of range.
        InputError: more than two clusterings.
    """
    groups = with_pairs(clusters or {})
    cells = count_codes(
        left,
        right,
        outcome,
        len(items),
        np.eye(len(link.outcomes)),
        count=count,
        weight=weight,
        first=first,
        clusters=groups,
    )
    return Votes(tuple(items), link, cells, cells.n_votes, {}, None, clusters=tuple(groups))
