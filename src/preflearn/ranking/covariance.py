"""Covariance of a fitted rating model: model-based, sandwich, and sandwich clustered by one or two units.

Up to the dense limit matrices are exact; above it the covariance is carried by seeded draws of the estimator's error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from preflearn.ranking.cells import Floats
from preflearn.ranking.design import Design
from preflearn.ranking.newton import Fit, solver

N_DRAWS = 400
"""Draws that carry a covariance too large to be stored; the relative error of a standard error is 1/sqrt(2 N_DRAWS)."""

_BLOCK = 50
"""Draws that are solved for at once."""


class Covariance(NamedTuple):
    """Of all parameters (strengths centred, covariates, shape parameters)."""

    matrix: Floats | None
    """[n + q, n + q], or None above the dense limit."""
    draws: Floats | None
    """[draws, n + q] of the estimator's error, above the dense limit."""
    kind: str
    clusters: dict[str, int]
    """Number of clusters that contributed, by name."""
    degrees_of_freedom: float
    """Of the t quantile; infinite without clusters."""
    notes: list[str]

    def standard_errors(self) -> Floats:
        """Square roots of the diagonal [n + q]."""
        if self.matrix is not None:
            return _root(np.diagonal(self.matrix))
        assert self.draws is not None
        return _root(np.mean(self.draws**2, axis=0))

    def of(self, contrasts: Floats) -> Floats:
        """Standard errors of linear contrasts [m, n + q] of the parameters: [m]."""
        if self.matrix is not None:
            return _root(np.einsum("ij,ij->i", contrasts @ self.matrix, contrasts))
        assert self.draws is not None
        return _root(np.mean((self.draws @ contrasts.T) ** 2, axis=0))

    @property
    def size(self) -> int:
        """Number of parameters n + q."""
        held = self.matrix if self.matrix is not None else self.draws
        assert held is not None
        return int(held.shape[1])

    def of_differences(self, index: int) -> Floats:
        """Standard errors of every parameter minus the one at `index`: [n + q]."""
        if self.matrix is not None:
            variance = np.diagonal(self.matrix)
            return _root(variance + variance[index] - 2 * self.matrix[index])
        assert self.draws is not None
        return _root(np.mean((self.draws - self.draws[:, index : index + 1]) ** 2, axis=0))

    def sample(self, n: int, generator: np.random.Generator) -> Floats:
        """Draws of the estimator's error [n, n + q]."""
        if self.matrix is None:
            assert self.draws is not None
            return self.draws[generator.integers(0, len(self.draws), n)]
        values, vectors = np.linalg.eigh(self.matrix)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        return np.asarray(generator.standard_normal((n, len(values))) @ root.T)


def _root(variance: Floats) -> Floats:
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)), dtype=np.float64)


def covariance(design: Design, fit: Fit, *, kind: str, clusters: tuple[str, ...] = (), seed: int = 0) -> Covariance:
    """Covariance of the parameters of `fit`.

    Args:
        design, fit: the fitted problem.
        kind: "model" (inverse information), "sandwich" (Huber-White; votes independent) or "clustered".
        clusters: for "clustered": one name of `design.cells.clusters`, or two names and their intersection "x*y".
        seed: of the draws used above the dense limit.

    Source: White 1980; Liang and Zeger 1986; for two ways Cameron, Gelbach and Miller 2011. One-way clustered meat is
    multiplied by U/(U - 1), U being the number of clusters with a vote.
    """
    used: dict[str, int] = {}
    notes: list[str] = []
    if kind == "clustered":
        used = {name: _occupied(design.cells.clusters[name]) for name in clusters}
    smallest = min(used.values(), default=0)
    degrees = float(smallest - 1) if used else np.inf
    # Draws are known to a few percent only; solving them to 1e-4 changes nothing.
    solve = solver(fit.information, design, precision=1e-4)
    if solve.inverse is None:
        draws = _draws(design, fit, solve.solve, kind, clusters, np.random.default_rng(seed))
        notes.append(f"standard errors are estimated from {N_DRAWS} draws because there are {design.n:,} items")
        return Covariance(None, draws, kind, used, degrees, notes)
    bread = centred(solve.inverse(), design.n)
    if kind == "model":
        matrix = bread
    else:
        meat = sandwich_meat(design, fit) if kind == "sandwich" else _clustered_meat(design, fit, clusters, notes)
        matrix = bread @ meat @ bread
        matrix = _positive(matrix, notes) if len(clusters) > 1 else matrix
    return Covariance(centred(matrix, design.n), None, kind, used, degrees, notes)


def centred(matrix: Floats, n: int) -> Floats:
    """The covariance of centred strengths: rows and columns of the strengths have mean zero."""
    out = matrix.copy()
    out[:n] -= out[:n].mean(0) if n else 0.0
    out[:, :n] -= out[:, :n].mean(1, keepdims=True) if n else 0.0
    return out


def sandwich_meat(design: Design, fit: Fit) -> Floats:
    """Sum over votes of weight**2 times the outer product of scores [n + q, n + q]."""
    scores = design.scores(fit.parameters)
    squared = design.cells.weight_squared
    width = scores.shape[1]
    quadratic = np.empty((len(design.left), width, width))
    for i in range(width):
        for j in range(i, width):
            quadratic[:, i, j] = np.bincount(design.row, squared * scores[:, i] * scores[:, j], len(design.left))
            quadratic[:, j, i] = quadratic[:, i, j]
    return design.information(quadratic).dense()


def cluster_scores(design: Design, fit: Fit, name: str) -> sp.csr_array:
    """Summed score of every cluster [U, n + q]: what each annotator (prompt, ...) pulls on every parameter."""
    scores = design.scores(fit.parameters)
    matrix = design.cells.clusters[name]
    left, right = design.cells.left, design.cells.right
    cells = np.arange(len(left))
    logit_score = scores[:, 0]
    parts = [
        sp.csr_array(
            (
                np.concatenate([logit_score, -logit_score]),
                (np.concatenate([cells, cells]), np.concatenate([left, right])),
            ),
            shape=(len(left), design.n),
        )
    ]
    if design.p:
        parts.append(sp.csr_array(logit_score[:, None] * design.features[design.row]))
    if design.shape:
        parts.append(sp.csr_array(scores[:, 1:]))
    return sp.csr_array(matrix @ sp.hstack(parts, format="csr"))


def _clustered_meat(design: Design, fit: Fit, clusters: tuple[str, ...], notes: list[str]) -> Floats:
    total = np.zeros((design.size, design.size))
    for name, sign in zip(clusters, (1.0, 1.0, -1.0)):
        scores = cluster_scores(design, fit, name)
        occupied = _occupied(design.cells.clusters[name])
        if occupied < 2:
            notes.append(f"only one cluster of {name} has votes: its share of the variance is not estimable")
            continue
        total += sign * occupied / (occupied - 1) * (scores.T @ scores).toarray()
    return total


def _positive(matrix: Floats, notes: list[str]) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    if values.min() >= -1e-9 * max(values.max(), 1e-300):
        return matrix
    notes.append("the two-way clustered covariance was not positive definite; negative eigenvalues were set to zero")
    return (vectors * np.maximum(values, 0.0)) @ vectors.T  # type: ignore[no-any-return]


def _occupied(matrix: sp.csr_array) -> int:
    """Clusters with a vote in these cells; cells may have been left out since the matrix was made."""
    return int(np.count_nonzero(np.diff(matrix.indptr)))


def _draws(
    design: Design,
    fit: Fit,
    solve: Callable[[Floats], Floats],
    kind: str,
    clusters: tuple[str, ...],
    generator: np.random.Generator,
) -> Floats:
    """Errors bread @ (random score): multiplier bootstrap of the score (van der Vaart and Wellner 1996, ch. 2.9)."""
    scores = design.scores(fit.parameters)
    by_cluster = cluster_scores(design, fit, clusters[0]) if kind == "clustered" else None
    out = np.empty((N_DRAWS, design.size))
    for low in range(0, N_DRAWS, _BLOCK):
        block = range(low, min(low + _BLOCK, N_DRAWS))
        if by_cluster is not None:
            pulls = by_cluster.T @ generator.standard_normal((by_cluster.shape[0], len(block)))
        elif kind == "sandwich":
            root = np.sqrt(design.cells.weight_squared)
            noises = (root * generator.standard_normal(len(root)) for _ in block)
            pulls = np.stack([_pull(design, scores * noise[:, None]) for noise in noises], axis=1)
        else:
            pulls = np.stack([_information_noise(design, fit, generator) for _ in block], axis=1)
        out[low : low + _BLOCK] = solve(pulls).T
    out[:, : design.n] -= out[:, : design.n].mean(1, keepdims=True)
    return out


def _pull(design: Design, cell_scores: Floats) -> Floats:
    rows = len(design.left)
    columns = [np.bincount(design.row, column, rows).astype(np.float64) for column in cell_scores.T]
    by_row = np.stack(columns, axis=1)
    return np.concatenate([design.to_items(by_row[:, 0]), design.features.T @ by_row[:, 0], by_row[:, 1:].sum(0)])


def _information_noise(design: Design, fit: Fit, generator: np.random.Generator) -> Floats:
    """A draw with the information matrix (prior included) as its covariance."""
    information = fit.information
    noise = np.sqrt(np.maximum(information.edge, 0.0)) * generator.standard_normal(len(information.edge))
    top = design.to_items(noise) + np.sqrt(information.diagonal) * generator.standard_normal(design.n)
    rest = design.features.T @ noise
    shape = np.zeros(design.shape)
    return np.concatenate([top, rest, shape])
