"""Ratings and rankings beside a simulated study, by people whose utilities are known."""

from __future__ import annotations

import numpy as np
import polars as pl

from preflearn.simulate.embedded import Embedded


def with_ratings(study: Embedded, value: np.ndarray, item: np.ndarray, who: np.ndarray | None = None, **columns):
    """The data of the study with ratings: `value` (numbers or labels) of the responses `item`."""
    name = "label" if value.dtype.kind in "UO" else "value"
    frame = {"rating_id": [f"rating-{i}" for i in range(len(item))], "response_id": [f"r-{i}" for i in item]}
    frame[name] = value.tolist()
    if who is not None:
        frame["annotator_id"] = [f"person-{u}" for u in who]
    return study.data.replace(ratings=pl.DataFrame({**frame, **columns}))


def with_rankings(study: Embedded, items: np.ndarray, ranks: np.ndarray, who: np.ndarray | None = None, **columns):
    """The data of the study with rankings: `ranks` (0 = not ranked) of the responses `items`, both [n, K]."""
    frame = pl.DataFrame(
        {
            "ranking_id": [f"ranking-{i}" for i in range(len(items))],
            "responses": [[f"r-{i}" for i in row] for row in items],
            "ranks": [[int(rank) if rank else None for rank in row] for row in ranks],
            **({} if who is None else {"annotator_id": [f"person-{u}" for u in who]}),
            **columns,
        },
        schema_overrides={"ranks": pl.List(pl.Int32)},
    )
    return study.data.replace(rankings=frame)


def gumbel_rankings(utility: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Plackett-Luce draws: ranks [n, K] (1 = best) of lists of responses with these utilities."""
    key = utility[items] + rng.gumbel(size=items.shape)
    return np.argsort(np.argsort(-key, axis=1), axis=1) + 1
