"""Which systems the comparisons connect: components of the graph of comparisons and of the graph of wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from preflearn.evaluate.intervals import Ints
from preflearn.evaluate.votes import DECIDED_A, DECIDED_B

NAMED = 50
"""So many names are listed; beyond, there is the number."""


@dataclass(frozen=True)
class Connectivity:
    """The graph of comparisons. Strengths exist for all items together only if it is strongly connected (Ford 1957).

    Attributes:
        among: what the items are: "systems", or "responses" where no system is recorded.
        items: how many were compared.
        pairs: different pairs compared.
        possible_pairs: pairs there are.
        components: parts between which nobody compared anything.
        largest_component: items in the largest.
        strong_components: parts within which wins lead from every item to every other (a tie leads both ways).
        strongly_connected: whether there is only one.
        undefeated, winless: items that never lost or tied, never won or tied; at most `NAMED` names, sorted.
        n_undefeated, n_winless: how many.
    """

    among: str
    items: int
    pairs: int
    possible_pairs: int
    components: int
    largest_component: int
    strong_components: int
    strongly_connected: bool
    undefeated: tuple[str, ...]
    winless: tuple[str, ...]
    n_undefeated: int
    n_winless: int


def connectivity(edges: pl.DataFrame, among: str, names: Callable[[pl.Series], pl.Series]) -> Connectivity | None:
    """Components of a graph; None where nothing was judged between two different items.

    Args:
        edges: distinct rows of codes `left`, `right`, and `edge` (DECIDED_A: left won, DECIDED_B, TIED: both ways).
        among: what the items are.
        names: names of codes.
    """
    edges = edges.filter((pl.col("left") != pl.col("right")) & pl.col("edge").is_not_null())
    if not edges.height:
        return None
    ends = np.column_stack([edges["left"].to_numpy(), edges["right"].to_numpy()]).astype(np.int64)
    codes, dense = np.unique(ends, return_inverse=True)
    left, right = dense.reshape(ends.shape).T
    kind = edges["edge"].to_numpy()
    down, up = kind != DECIDED_B, kind != DECIDED_A
    winner, loser = np.concatenate([left[down], right[up]]), np.concatenate([right[down], left[up]])
    n = len(codes)
    wins = sp.csr_array((np.ones(len(winner), np.int32), (winner, loser)), shape=(n, n))
    strong, _ = connected_components(wins, directed=True, connection="strong")
    weak, part = connected_components(wins, directed=False)
    undefeated = np.flatnonzero(np.bincount(loser, minlength=n) == 0)
    winless = np.flatnonzero(np.bincount(winner, minlength=n) == 0)
    pairs = len(np.unique(np.minimum(left, right) * np.int64(n) + np.maximum(left, right)))
    return Connectivity(
        among=among,
        items=n,
        pairs=pairs,
        possible_pairs=n * (n - 1) // 2,
        components=int(weak),
        largest_component=int(np.bincount(part).max()),
        strong_components=int(strong),
        strongly_connected=int(strong) == 1,
        undefeated=_named(codes[undefeated], names),
        winless=_named(codes[winless], names),
        n_undefeated=len(undefeated),
        n_winless=len(winless),
    )


def _named(codes: Ints, names: Callable[[pl.Series], pl.Series]) -> tuple[str, ...]:
    return tuple(names(pl.Series("code", codes, dtype=pl.UInt32)).bottom_k(NAMED).sort().to_list())
