"""What single votes and whole clusters pull on every parameter: the scores that sandwiches, draws and influence share.

Scores are sparse rows over the parameters (strengths, covariates, shape parameters).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from preflearn.ranking.cells import Cells, Floats, Ints
from preflearn.ranking.design import Design
from preflearn.ranking.newton import Fit


def score_rows(design: Design, row: Ints, scores: Floats) -> sp.csr_array:
    """Derivatives [m, n + q] with respect to all parameters.

    Args:
        row: design row of each [m].
        scores: derivatives with respect to (logit, shape parameters) [m, 1 + P].
    """
    size, logit = len(row), np.ascontiguousarray(scores[:, 0])
    here = np.arange(size)
    parts = [
        sp.csr_array(
            (
                np.concatenate([logit, -logit]),
                (np.concatenate([here, here]), np.concatenate([design.left[row], design.right[row]])),
            ),
            shape=(size, design.n),
        )
    ]
    if design.p:
        parts.append(sp.csr_array(logit[:, None] * design.features[row]))
    if design.shape:
        parts.append(sp.csr_array(scores[:, 1:]))
    return sp.csr_array(sp.hstack(parts, format="csr"))


def vote_scores(design: Design, fit: Fit) -> sp.csr_array:
    """Score of one vote of weight 1 of every cell [C, n + q]."""
    return score_rows(design, design.row, design.scores(fit.parameters))


def cluster_scores(design: Design, fit: Fit, name: str) -> sp.csr_array:
    """Summed score of every cluster [U, n + q]: what each annotator (prompt, ...) pulls on every parameter."""
    return sp.csr_array(design.cells.clusters[name] @ vote_scores(design, fit))


def expected_scores(design: Design, fit: Fit, cells: Ints) -> tuple[sp.csr_array, Ints]:
    """Rows whose outer products add up to what the model expects of one vote of each of these cells.

    Returns:
        Rows [len(cells) * K, n + q], and the cell of each: its K outcomes, each weighed by its probability.
    """
    row = design.row[cells]
    logit, shape = design.logit(fit.parameters)[row], design.shape_parameters(fit.parameters)
    derivatives = design.link.derivatives(logit, shape)
    root = np.exp(0.5 * np.asarray(derivatives.log_prob))
    scores = root[:, :, None] * np.asarray(derivatives.score)
    outcomes = root.shape[1]
    flat = scores.reshape(len(cells) * outcomes, scores.shape[2])
    return score_rows(design, np.repeat(row, outcomes), flat), np.repeat(cells, outcomes)


class Clustering(NamedTuple):
    """Votes by cluster. A vote without a cluster (a negative code) is a cluster of its own, as often as it counts."""

    matrix: sp.csr_array
    """Summed weights of every cluster in every cell [U, C]; clusters without a vote are left out."""
    lone: Floats
    """Sum of weight**2 of the votes without a cluster [C]; where weights differ within a cell, at their mean share."""
    n: float
    """Number of clusters, lone votes included."""
    effective: float
    """Number of equal clusters with the same sum of squared sizes (Kish 1965)."""
    per_item: Floats
    """Number of clusters that judged each item, lone votes included [n_items]."""


def clustering(cells: Cells, name: str) -> Clustering:
    """The clusters `name` of some cells, which may be fewer than those that the clusters were counted with."""
    matrix = cells.clusters[name]
    occupied = np.diff(matrix.indptr) > 0
    named = cells.cluster_codes[name] >= 0
    anonymous = np.asarray(matrix[np.flatnonzero(occupied & ~named)].sum(0), dtype=np.float64)
    share = np.divide(anonymous, cells.weight, out=np.zeros_like(cells.weight), where=cells.weight > 0)
    lone, lone_votes = share * cells.weight_squared, share * cells.count
    if not (occupied & named).all():
        matrix = matrix[np.flatnonzero(occupied & named)]
    sizes = matrix.sum(1)
    squares = float(sizes @ sizes + lone.sum())
    return Clustering(
        matrix,
        lone,
        matrix.shape[0] + float(np.rint(lone_votes.sum())),
        float(sizes.sum() + anonymous.sum()) ** 2 / squares if squares > 0 else 0.0,
        _clusters_per_item(cells, matrix) + _per_item(cells, lone_votes),
    )


def _per_item(cells: Cells, values: Floats) -> Floats:
    totals = np.bincount(cells.left, values, cells.n_items) + np.bincount(cells.right, values, cells.n_items)
    return np.asarray(totals, dtype=np.float64)


def _clusters_per_item(cells: Cells, matrix: sp.csr_array) -> Floats:
    size = len(cells.left)
    sides = np.concatenate([cells.left, cells.right]), np.tile(np.arange(size), 2)
    items = sp.csr_array((np.ones(2 * size, np.int32), (sides[1], sides[0])), shape=(size, cells.n_items))
    seen = sp.csr_array((np.ones(len(matrix.indices), np.int32), matrix.indices, matrix.indptr), shape=matrix.shape)
    return np.bincount((seen @ items).indices, minlength=cells.n_items).astype(np.float64)
