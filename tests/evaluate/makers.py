"""Small data sets and a stub model for the tests of `preflearn.evaluate`."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from preflearn.data import PreferenceData
from preflearn.errors import NotSupported
from preflearn.protocols import OutcomeProbabilities


def votes(
    outcomes: list[str | None], tables: dict[str, pl.DataFrame] | None = None, **columns: list[Any]
) -> PreferenceData:
    """Comparisons of x against y with these outcomes; further columns as keywords."""
    n = len(outcomes)
    frame = {
        "comparison_id": columns.pop("comparison_id", [f"c{i:05d}" for i in range(n)]),
        "response_a": columns.pop("response_a", ["x"] * n),
        "response_b": columns.pop("response_b", ["y"] * n),
        "outcome": pl.Series(outcomes, dtype=pl.String),
        **columns,
    }
    return PreferenceData(comparisons=pl.DataFrame(frame), **(tables or {}))


def swapped(data: PreferenceData, rows: np.ndarray | None = None) -> PreferenceData:
    """The same judgments with sides a and b exchanged in some rows."""
    frame = data.comparisons
    chosen = pl.Series(np.ones(frame.height, bool) if rows is None else rows)
    other = {"a": "b", "b": "a"}

    def exchange(first: str, second: str) -> list[pl.Expr]:
        return [
            pl.when(chosen).then(pl.col(second)).otherwise(pl.col(first)).alias(first),
            pl.when(chosen).then(pl.col(first)).otherwise(pl.col(second)).alias(second),
        ]

    changes = exchange("response_a", "response_b")
    changes += [
        pl.when(chosen).then(pl.col(c).replace(other)).otherwise(pl.col(c)).alias(c)
        for c in ("outcome", "shown_first")
        if c in frame.columns
    ]
    if "probability" in frame.columns:
        tie = pl.col("probability_tie").fill_null(0.0) if "probability_tie" in frame.columns else 0.0
        changes.append(
            pl.when(chosen).then(1 - pl.col("probability") - tie).otherwise(pl.col("probability")).alias("probability")
        )
    return data.replace(comparisons=frame.with_columns(changes))


class Stub:
    """A model that answers the column `p` (and `p_tie`) of the comparisons, and remembers what it was shown."""

    def __init__(self, training: Any = None) -> None:
        if training is not None:
            self.training_fingerprints_ = training
        self.seen: list[str] = []

    def fit(self, data: PreferenceData) -> Stub:
        return self

    def prob(self, data: PreferenceData, *, symmetrised: bool = False) -> np.ndarray:
        self.seen = data.comparisons.columns
        return data.comparisons["p"].to_numpy()

    def outcome_probs(self, data: PreferenceData) -> OutcomeProbabilities:
        if "p_tie" not in data.comparisons.columns:
            raise NotSupported("no ties")
        p, tie = data.comparisons["p"].to_numpy(), data.comparisons["p_tie"].to_numpy()
        return OutcomeProbabilities(("b", "tie", "a"), np.column_stack([(1 - tie) * (1 - p), tie, (1 - tie) * p]))

    def get_params(self) -> dict[str, Any]:
        return {}
