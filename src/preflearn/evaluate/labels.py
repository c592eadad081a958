"""The judgments of a data set as labels to score against: who won, with what weight, and which rows hold no label."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.schema import TIES
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

COLUMNS = ("outcome", "probability", "probability_tie", "count", "weight")


class Labels(NamedTuple):
    """One row per comparison.

    Attributes:
        target: distribution over (a wins, tie, b wins), [n, 3]; zeros where nothing was judged.
        judgments: identical judgments the row stands for, [n].
        weight: judgments times importance, [n].
        tie: an answered tie, both good or both bad, [n].
        soft: a teacher's probability, [n].
        skip: answered with skip, [n].
        unjudged: no answer at all, [n].
    """

    target: Floats
    judgments: Floats
    weight: Floats
    tie: Bools
    soft: Bools
    skip: Bools
    unjudged: Bools

    @property
    def usable(self) -> Bools:
        """Rows with a label and some weight, [n]."""
        return ~(self.skip | self.unjudged) & (self.weight > 0)

    def take(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Labels:
        """Some of the rows."""
        return Labels(
            self.target[keep],
            self.judgments[keep],
            self.weight[keep],
            self.tie[keep],
            self.soft[keep],
            self.skip[keep],
            self.unjudged[keep],
        )


def labels(data: PreferenceData) -> Labels:
    """Labels of `data.comparisons`, in their order. An outcome counts before a probability.

    Raises:
        InputError: a probability outside [0, 1], or a negative or undefined weight.
    """
    frame = data.select("comparisons", COLUMNS).collect()
    p, t = pl.col("probability"), pl.col("probability_tie").fill_null(0.0)
    _refuse(frame, "probability", ~p.is_between(0, 1) | p.is_nan(), "A probability lies in [0, 1].")
    _refuse(frame, "probability_tie", p.is_not_null() & ~(p + t).is_between(0, 1 + 1e-9), "P(a) + P(tie) is at most 1.")
    w = pl.col("weight")
    _refuse(frame, "weight", (w < 0) | ~w.is_finite(), "A weight is a finite number >= 0.")

    answered = pl.col("outcome").is_not_null()
    soft = ~answered & p.is_not_null()
    tie = pl.col("outcome").is_in(TIES).fill_null(False)
    parts = frame.select(
        a=pl.when(soft).then(p).otherwise((pl.col("outcome") == "a").fill_null(False).cast(pl.Float64)),
        tie_mass=pl.when(soft).then(t).otherwise(tie.cast(pl.Float64)),
        b=pl.when(soft)
        .then((1 - p - t).clip(0, 1))
        .otherwise((pl.col("outcome") == "b").fill_null(False).cast(pl.Float64)),
        count=pl.col("count").fill_null(1).cast(pl.Float64),
        weight=pl.col("count").fill_null(1).cast(pl.Float64) * w.fill_null(1.0),
        tie=tie,
        soft=soft,
        skip=(pl.col("outcome") == "skip").fill_null(False),
        unjudged=~answered & ~soft,
    )
    array = {name: parts[name].to_numpy() for name in parts.columns}
    return Labels(
        target=np.column_stack([array["a"], array["tie_mass"], array["b"]]),
        judgments=array["count"],
        weight=array["weight"],
        tie=array["tie"],
        soft=array["soft"],
        skip=array["skip"],
        unjudged=array["unjudged"],
    )


def _refuse(frame: pl.DataFrame, column: str, wrong: pl.Expr, cure: str) -> None:
    rows = frame.select(wrong.fill_null(False).arg_true()).to_series()
    if rows.len():
        row = int(rows[0])
        raise InputError(
            f"{rows.len()} value(s) of the comparisons cannot be used.",
            row=row,
            column=f"comparisons.{column}",
            value=frame[column][row],
            cure=cure,
        )
