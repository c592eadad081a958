"""Comparisons out of whatever was judged: rankings and ratings are converted openly, and the assumption is said."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.convert import counts_to_votes, rankings_to_pairs, ratings_to_pairs
from preflearn.errors import InputError

_REPEATED = 1_000_000
"""Up to so many rankings counted rows are repeated; beyond, one counted row is one cluster."""


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
        nobody = "annotator_id" not in data.columns("rankings")
        if nobody and _judged(data) <= _REPEATED:
            data = counts_to_votes(data, table="rankings")  # so that each ranking is a cluster of its own
        pairs = rankings_to_pairs(data)
        _check(pairs, "rankings")
        note = "There are no comparisons; rankings are taken as all the pairs that they imply, unranked below ranked."
        return Compared(pairs, (note, _step(pairs)), "ranking_id" if nobody else "auto")
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
        # Every pair of one prompt shares its ratings with others of that prompt.
        nobody = "annotator_id" not in data.columns("ratings")
        prompts = "prompt_id" if nobody and not alone else "auto"
        return Compared(pairs, (note, _step(pairs)), prompts)
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


def _judged(data: PreferenceData) -> int:
    """How many rankings the counted rows stand for."""
    if "count" not in data.columns("rankings"):
        return data.height("rankings")
    return int(data.lazy("rankings").select(pl.col("count").fill_null(1).sum()).collect(engine="streaming").item())
