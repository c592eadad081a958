"""Comparisons out of whatever was judged: rankings and ratings are converted openly, and the assumption is said."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.convert import rankings_to_pairs, ratings_to_pairs
from preflearn.errors import InputError


class Compared(NamedTuple):
    """Data with comparisons, and how it came by them."""

    data: PreferenceData
    notes: tuple[str, ...]
    """What was assumed; empty where comparisons were recorded."""
    cluster: str
    """What to cluster by unless told otherwise: `auto`, or the list that pairs come from."""


def compared(data: PreferenceData) -> Compared:
    """The data itself where it has comparisons, else its rankings or ratings as pairs.

    Raises:
        InputError: nothing was judged, or what was judged gives no pair.
    """
    if data.height("comparisons"):
        return Compared(data, (), "auto")
    if data.height("rankings"):
        pairs = rankings_to_pairs(data)
        _check(pairs, "rankings")
        single = "annotator_id" not in data.columns("rankings") and not _counted(data)
        note = "There are no comparisons; rankings are taken as all the pairs that they imply, unranked below ranked."
        return Compared(pairs, (note, _step(pairs)), "ranking_id" if single else "auto")
    if data.height("ratings"):
        if not _any(data, "ratings", "value"):
            raise InputError(
                "the ratings have labels but no values, so none is higher than another.",
                cure="Say what they mean: preflearn convert DATA labels-to-values --set values='{up: 1, down: 0}'.",
            )
        means = _any(data, "ratings", "spread")
        alone = not (_any(data, "responses", "prompt_id") or _any(data, "ratings", "prompt_id"))
        pairs = ratings_to_pairs(data, means="normal" if means else "out", across_prompts=alone)
        _check(pairs, "ratings")
        note = (
            "There are no comparisons; mean ratings of one prompt are compared as if people's values were normal and "
            "independent."
            if means
            else "There are no comparisons; of two responses that one annotator rated on one scale the higher one wins."
        )
        return Compared(pairs, (note, _step(pairs)), "auto")
    raise InputError(
        "nothing was judged: there are no comparisons, rankings or ratings.",
        cure=f"The data has: {', '.join(data.counts()) or 'nothing'}.",
    )


def _check(pairs: PreferenceData, table: str) -> None:
    if not pairs.height("comparisons"):
        raise InputError(
            f"the {table} give no pair to compare ({_step(pairs)}).", cure="See `preflearn convert --help`."
        )


def _step(data: PreferenceData) -> str:
    steps = data.provenance.get("steps") or [""]
    return str(steps[-1])


def _any(data: PreferenceData, table: str, column: str) -> bool:
    if column not in data.columns(table):
        return False
    return bool(data.lazy(table).select(pl.col(column).is_not_null().any()).collect(engine="streaming").item())


def _counted(data: PreferenceData) -> bool:
    if "count" not in data.columns("rankings"):
        return False
    return bool(data.lazy("rankings").select((pl.col("count") > 1).any()).collect(engine="streaming").item())
