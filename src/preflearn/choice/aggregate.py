"""One answer for a population: scores of items, or a lottery over them, from utilities of people or tables of wins.

A mixture of Bradley-Terry models is no Bradley-Terry model: which single answer a population gets is a decision, and
these are the usual ones. Utilities are compared between people by the first three; put them on one scale before
(or use each person's probabilities of winning). numpy only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from preflearn.choice.stable import sigmoid
from preflearn.errors import NotComputable

Floats = npt.NDArray[np.float64]


def mean(utility: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> Floats:
    """The utilitarian score: the weighted mean over people, ``[G, ...] -> [...]``.

    Args:
        utility: ``[G, ...]``, of G people, groups or components.
        weight: ``[G]``, not negative, not all 0; by default equal.
    """
    table, share = _population(utility, weight)
    return np.asarray(np.tensordot(share, table, axes=1))


def maximin(utility: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> Floats:
    """The egalitarian score: the utility of whoever is worst off, ``[G, ...] -> [...]``; weight 0 does not count."""
    table, share = _population(utility, weight)
    return np.asarray(table[share > 0].min(axis=0))


def quantile(utility: npt.ArrayLike, q: float, weight: npt.ArrayLike | None = None) -> Floats:
    """The utility that all but a share ``q`` of the people reach or exceed, ``[G, ...] -> [...]``.

    The smallest utility with people of weight at least q at or below it: :func:`maximin` at 0, the best-off at 1, a
    (lower) median at 1/2. No interpolation: the answer is somebody's utility.

    Raises:
        ValueError: unless ``0 <= q <= 1``.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"q must lie in [0, 1], got {q}")
    table, share = _population(utility, weight)
    table, share = table[share > 0], share[share > 0]
    order = table.argsort(axis=0, kind="stable")
    below = np.cumsum(share[order], axis=0)
    # Sums of shares are rounded: .1 ten times is not 1.
    place = (below < q - 1e-12).sum(axis=0)
    return np.asarray(np.take_along_axis(np.take_along_axis(table, order, axis=0), place[None], axis=0)[0])


def win_matrix(utility: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> Floats:
    """The share of answers in which i beats j, ``[G, K] -> [K, K]``: Bradley-Terry of each person, then averaged.

    Raises:
        ValueError: unless ``utility`` is ``[G, K]``.
    """
    table, share = _population(utility, weight)
    if table.ndim != 2:
        raise ValueError(f"utility has shape {table.shape}; expected [G, K], people by items")
    wins = np.zeros((table.shape[1], table.shape[1]))
    for part, row in zip(share, table):
        wins += part * sigmoid(row[:, None] - row[None, :])
    return wins


def maximin_lottery(utility: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> Floats:
    """The lottery ``[K]`` over items whose expected utility is largest for whoever is worst off, from ``[G, K]``.

    Where nobody can be helped more by one item, mixing can: two people who each want another item get half of both.
    """
    table, share = _population(utility, weight)
    if table.ndim != 2:
        raise ValueError(f"utility has shape {table.shape}; expected [G, K], people by items")
    return _solve(table[share > 0])


def maximal_lottery(wins: npt.ArrayLike) -> Floats:
    """The lottery ``[K]`` that no other lottery beats: the maximal lottery (von Neumann winner) of a table of wins.

    It puts everything on an item that beats every other (Condorcet winner), and mixes over cycles. Not unique where
    several lotteries are unbeaten: one of them is returned, and which one may depend on the solver.

    Args:
        wins: ``[K, K]``, how often (or with what probability) i beats j; only ``wins - wins.T`` counts, so pairs
            need equal numbers of votes, or probabilities.

    Raises:
        ValueError: unless the table is square and finite.

    Sources: Fishburn (1984), Probabilistic social choice based on simple voting comparisons; Brandl, Brandt and Seedig
    (2016), Consistent probabilistic social choice.
    """
    table = np.asarray(wins, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.size:
        raise ValueError(f"wins has shape {table.shape}; expected [K, K]")
    if not np.isfinite(table).all():
        i, j = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(f"wins[{i}, {j}] is {table[i, j]}: every pair of items needs an estimate (the diagonal too)")
    return _solve((table - table.T).T)


def _population(utility: npt.ArrayLike, weight: npt.ArrayLike | None) -> tuple[Floats, Floats]:
    """Utilities ``[G, ...]`` and the shares ``[G]`` of people, which sum to 1."""
    table = np.asarray(utility, dtype=np.float64)
    if table.ndim == 0 or not table.shape[0] or np.isnan(table).any():
        raise ValueError(f"utility must be numbers [G, ...] without NaN, one row per person; got shape {table.shape}")
    share = np.ones(table.shape[0]) if weight is None else np.asarray(weight, dtype=np.float64)
    if share.shape != table.shape[:1] or not (share >= 0).all() or not 0 < share.sum() < np.inf:
        raise ValueError(f"weight must be {table.shape[0]} numbers, none negative, not all 0; got {share}")
    return table, share / share.sum()


def _solve(payoff: Floats) -> Floats:
    """The mixture p ``[K]`` of columns that maximises ``min_g (payoff p)_g``, by linear programming."""
    from scipy.optimize import linprog  # not needed by most of those who import the parts

    rows, items = payoff.shape
    scale = np.abs(payoff).max() or 1.0
    solution = linprog(
        np.append(np.zeros(items), -1.0),
        A_ub=np.hstack((-payoff / scale, np.ones((rows, 1)))),
        b_ub=np.zeros(rows),
        A_eq=np.append(np.ones(items), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * items + [(None, None)],
        method="highs",
    )
    if not solution.success:
        raise NotComputable(f"the linear program of a lottery over {items} items failed: {solution.message}")
    lottery = np.where(solution.x[:-1] > 1e-12, solution.x[:-1], 0.0)
    return np.asarray(lottery / lottery.sum())
