"""Which strengths the votes determine: strong components of the win graph and the status of every item.

A maximum-likelihood estimate exists, and is unique up to a shift, exactly within a strongly connected component of the
graph in which every win is an edge to the loser and every tie an edge both ways (Ford 1957; for ties Davidson 1970).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from preflearn.ranking.cells import Cells, Ints

Status = Literal["estimable", "undefeated", "winless", "other_component", "no_votes"]


class Component(NamedTuple):
    """A set of items that are comparable with each other."""

    items: Ints
    """Item codes, ascending."""
    votes: float
    """Judgments among its items."""
    relation: Literal["main", "above", "below", "apart"]
    """Where it stands to the main component: wins lead only down from it, only up to it, or no path either way."""


class Connectivity(NamedTuple):
    """The answer of `connectivity`."""

    status: list[Status]
    """One per item."""
    component: Ints
    """Index into `components` per item."""
    components: list[Component]
    """Largest number of votes first; the first is the main one."""


def connectivity(cells: Cells) -> Connectivity:
    """Components of the win graph and the status of every item (zero-weight votes are no votes)."""
    n, k = cells.n_items, cells.targets.shape[1]
    live = (cells.weight > 0) & (cells.left != cells.right)
    left, right, target, count = cells.left, cells.right, cells.target, cells.count
    if not live.all():
        left, right, target, count = left[live], right[live], target[live], count[live]
    half = k // 2
    tied = cells.targets[:, half : k - half].sum(1) > 0
    down = (tied | (cells.targets[:, k - half :].sum(1) > 0))[target]
    up = (tied | (cells.targets[:, :half].sum(1) > 0))[target]
    rows = np.concatenate([left[down], right[up]])
    columns = np.concatenate([right[down], left[up]])
    graph = sp.csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(n, n))
    graph.data[:] = 1
    _, label = connected_components(graph, directed=True, connection="strong")

    within = label[left]
    inside = within == label[right]
    votes = np.bincount(within[inside], count[inside], minlength=label.max(initial=-1) + 1)
    size = np.bincount(label, minlength=len(votes))
    seen = np.zeros(n, bool)
    seen[left] = seen[right] = True
    first = np.full(len(votes), n)
    np.minimum.at(first, label, np.arange(n))
    order = np.lexsort((first, -size, -votes))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    component = rank[label]

    main = order[0] if len(order) else -1
    above, below = _reach(graph, label, main, len(votes))
    components = []
    status: list[Status] = ["no_votes"] * n
    wins, losses = np.zeros(n, bool), np.zeros(n, bool)
    wins[rows] = True
    losses[columns] = True
    members = _members(label, len(votes))
    for index in order:
        relation = "main" if index == main else "above" if above[index] else "below" if below[index] else "apart"
        items = members[index]
        components.append(Component(items, float(votes[index]), relation))  # type: ignore[arg-type]
        for item in items:
            if not seen[item]:
                continue
            if index == main and size[main] > 1:
                status[item] = "estimable"
            elif size[index] == 1 and not losses[item] and wins[item]:
                status[item] = "undefeated"
            elif size[index] == 1 and not wins[item] and losses[item]:
                status[item] = "winless"
            else:
                status[item] = "other_component"
    return Connectivity(status, component, components)


def _members(label: npt.NDArray[np.integer], n: int) -> list[Ints]:
    order = np.argsort(label, kind="stable")
    bounds = np.searchsorted(label[order], np.arange(n + 1))
    return [order[bounds[i] : bounds[i + 1]] for i in range(n)]


def _reach(
    graph: sp.csr_array, label: npt.NDArray[np.integer], main: int, n: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Components with a path of wins down to the main one, and those the main one has such a path to."""
    coo = graph.tocoo()
    condensed = sp.csr_array((np.ones(coo.nnz, np.int8), (label[coo.row], label[coo.col])), shape=(n, n))
    return _reachable(sp.csr_array(condensed.T), main), _reachable(condensed, main)


def _reachable(graph: sp.csr_array, start: int) -> npt.NDArray[np.bool_]:
    found = np.zeros(graph.shape[0], bool)
    if start < 0:
        return found
    from scipy.sparse.csgraph import breadth_first_order

    found[breadth_first_order(graph, start, directed=True, return_predecessors=False)] = True
    found[start] = False
    return found
