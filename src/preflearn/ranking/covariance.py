"""Covariance of a fitted rating model: model-based, sandwich, and sandwich clustered by one or two units.

Up to the dense limit matrices are exact; above it the covariance is carried by seeded draws of the estimator's error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from preflearn.ranking.cells import Floats
from preflearn.ranking.design import Design
from preflearn.ranking.newton import Fit, solver
from preflearn.ranking.scores import Clustering, clustering, expected_scores, score_rows, vote_scores

N_DRAWS = 400
"""Draws that carry a covariance too large to be stored; the relative error of a standard error is 1/sqrt(2 N_DRAWS)."""

_BLOCK = 50
"""Draws that are solved for at once."""
_MANY = 10_000
"""From so many independent scores on, random signs are as good as normal multipliers, and ten times as cheap."""
_STRIP = 10
"""Draws whose noise is held at once, one number per vote cell each."""

_CHUNK = 4_096
_BLAS_GAIN = 20
"""How much faster a multiplication is in a dense product than in a sparse one."""

Mask = npt.NDArray[np.bool_]


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


def covariance(
    design: Design,
    fit: Fit,
    *,
    kind: str,
    clusters: Sequence[str] = (),
    by_model: Mask | None = None,
    groups: dict[str, Clustering] | None = None,
    seed: int = 0,
) -> Covariance:
    """Covariance of the parameters of `fit`.

    Args:
        design, fit: the fitted problem.
        kind: "model" (inverse information), "sandwich" (Huber-White; votes independent) or "clustered".
        clusters: for "clustered": one name of `design.cells.clusters`, or two names and their intersection "x*y".
        by_model: items [n] whose votes say nothing of their own noise because all ended alike (never lost, never won,
            held in place by the prior): what the model expects stands in for their residuals.
        groups: the `clustering` of every name, if known.
        seed: of the draws used above the dense limit.

    One-way clustered meat is multiplied by U/(U - 1), U being the number of clusters with a vote. An item judged within
    a single cluster has no variation between clusters (its scores add up to zero): its votes are taken as independent
    of each other in that direction. A prior enters the meat with its own information, so that the sandwich of a model
    that holds is the inverse of information and prior: intervals then allow for the bias that the prior brings.

    Source: White 1980; Liang and Zeger 1986; for two ways Cameron, Gelbach and Miller 2011; for the prior's part
    Marra and Wood 2012 (coverage of Bayesian intervals of penalised models).
    """
    # Draws are known to a few percent only; solving them to 1e-4 changes nothing.
    solve = solver(fit.information, design, precision=1e-4)
    used: dict[str, int] = {}
    if kind == "model":
        if solve.inverse is not None:
            return Covariance(centred(solve.inverse(), design.n), None, kind, {}, np.inf, [])
        pieces = [information_pieces(design, fit)]
    else:
        groups = (groups or {name: clustering(design.cells, name) for name in clusters}) if kind == "clustered" else {}
        pieces, used = meat_pieces(design, fit, groups, by_model)
        kind = "clustered" if used else "sandwich"
    degrees = float(min(used.values()) - 1) if used else np.inf
    notes: list[str] = []
    if solve.inverse is None:
        draws = _draws(design, solve.solve, pieces, np.random.default_rng(seed))
        notes.append(f"standard errors are estimated from {N_DRAWS} draws because there are {design.n:,} items")
        return Covariance(None, draws, kind, used, degrees, notes)
    bread = centred(solve.inverse(), design.n)
    meat = _dense(pieces[0]) if len(pieces) == 1 else _dense(pieces[0]) - _dense(pieces[1])
    matrix = bread @ meat @ bread
    if len(pieces) > 1:
        matrix = _positive(matrix, notes)
    return Covariance(centred(matrix, design.n), None, kind, used, degrees, notes)


def centred(matrix: Floats, n: int) -> Floats:
    """The covariance of centred strengths: rows and columns of the strengths have mean zero."""
    out = matrix.copy()
    out[:n] -= out[:n].mean(0) if n else 0.0
    out[:, :n] -= out[:, :n].mean(1, keepdims=True) if n else 0.0
    return out


class Piece(NamedTuple):
    """Independent contributions to the score [m, n + q] and their variances [m]."""

    rows: sp.csr_array
    variance: Floats


def meat_pieces(
    design: Design, fit: Fit, groups: dict[str, Clustering], by_model: Mask | None
) -> tuple[list[list[Piece]], dict[str, int]]:
    """What the meat is made of: pieces to add up and, for two ways, pieces to subtract; and the clusters that count.

    Returns:
        One or two lists of pieces, and by name the number of clusters (empty: votes are independent).
    """
    cells, scores = design.cells, vote_scores(design, fit)
    expected = _touching(design, by_model) if by_model is not None else np.zeros(len(cells.left), np.bool_)
    ways = list(groups)[:2]
    alone = {name: expected | _touching(design, groups[name].per_item < 2) for name in ways}
    ways = [name for name in ways if not alone[name].all()]
    plus: list[Piece] = [Piece(sp.csr_array(sp.eye_array(design.size, format="csr")), prior_information(design, fit))]
    minus: list[Piece] = []
    for name in ways:
        plus += _clustered(scores, groups[name], ~alone[name])
    nowhere = np.logical_and.reduce([alone[name] for name in ways]) if ways else np.ones(len(cells.left), np.bool_)
    plain = nowhere & ~expected
    plus.append(Piece(_kept(scores, plain), cells.weight_squared[plain]))
    if expected.any():
        rows, cell = expected_scores(design, fit, np.flatnonzero(expected))
        plus.append(Piece(rows, cells.weight_squared[cell]))
    used = {name: round(groups[name].n) for name in ways}
    if len(ways) == 2:
        both = list(groups)[2]
        minus = _clustered(scores, groups[both], ~(alone[ways[0]] | alone[ways[1]]))
        used[both] = round(groups[both].n)
    return [plus, minus] if minus else [plus], used


def _touching(design: Design, items: Mask) -> Mask:
    """Cells in which one of these items takes part."""
    return np.asarray(items[design.cells.left] | items[design.cells.right], dtype=np.bool_)


def _kept(rows: sp.csr_array, keep: Mask) -> sp.csr_array:
    return rows if keep.all() else sp.csr_array(rows[np.flatnonzero(keep)])


def _clustered(scores: sp.csr_array, group: Clustering, keep: Mask) -> list[Piece]:
    """Clusters, and votes without one, restricted to some cells."""
    factor = group.n / max(group.n - 1, 1)
    matrix = group.matrix if keep.all() else sp.csr_array(group.matrix.tocsc()[:, np.flatnonzero(keep)])
    rows = sp.csr_array(matrix @ _kept(scores, keep))
    pieces = [Piece(rows, np.full(rows.shape[0], factor))]
    lone = keep & (group.lone > 0)
    if lone.any():
        pieces.append(Piece(_kept(scores, lone), factor * group.lone[lone]))
    return pieces


def prior_information(design: Design, fit: Fit) -> Floats:
    """Diagonal of the log-prior's information [n + q]."""
    covariates = np.full(design.p, design.prior.covariate_ridge)
    return np.concatenate([fit.information.diagonal, covariates, np.zeros(design.shape)])


def information_pieces(design: Design, fit: Fit) -> list[Piece]:
    """Pieces whose variances add up to the information matrix, prior included."""
    logit, shape = design.logit(fit.parameters), design.shape_parameters(fit.parameters)
    blocks = -np.asarray(design.link.weighted(design.weights, logit, shape).curvature)
    values, vectors = np.linalg.eigh(blocks)
    width = blocks.shape[1]
    row = np.repeat(np.arange(len(blocks)), width)
    rows = score_rows(design, row, vectors.transpose(0, 2, 1).reshape(len(row), width))
    identity = sp.csr_array(sp.eye_array(design.size, format="csr"))
    return [Piece(rows, np.maximum(values, 0.0).ravel()), Piece(identity, prior_information(design, fit))]


def _dense(pieces: list[Piece]) -> Floats:
    """Sum of the pieces' variances times outer products [n + q, n + q]."""
    size = pieces[0].rows.shape[1]
    total = np.zeros((size, size))
    for rows, variance in pieces:
        filled = np.diff(rows.indptr).astype(np.float64)
        if filled @ filled < rows.shape[0] * size**2 / _BLAS_GAIN:
            total += (rows.T @ sp.csr_array(sp.diags_array(variance) @ rows)).toarray()
            continue
        for low in range(0, rows.shape[0], _CHUNK):
            part = slice(low, low + _CHUNK)
            block = rows[part].toarray()
            total += block.T @ (variance[part, None] * block)
    return total


def _positive(matrix: Floats, notes: list[str]) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    if values.min() >= -1e-9 * max(values.max(), 1e-300):
        return matrix
    notes.append("the two-way clustered covariance was not positive definite; negative eigenvalues were set to zero")
    return (vectors * np.maximum(values, 0.0)) @ vectors.T  # type: ignore[no-any-return]


def _draws(
    design: Design, solve: Callable[[Floats], Floats], pieces: list[list[Piece]], generator: np.random.Generator
) -> Floats:
    """Errors bread @ (random score): multiplier bootstrap of the score (van der Vaart and Wellner 1996, ch. 2.9).

    What two ways of clustering have in common is to be subtracted, which no draw can do: the draws of their sum are
    scaled to the variance of the difference, and never to less than half of their own, which is what votes that are
    independent have.
    """
    drawn = [np.empty((N_DRAWS, design.size)) for _ in pieces]
    for out, part in zip(drawn, pieces):
        for low in range(0, N_DRAWS, _BLOCK):
            width = min(_BLOCK, N_DRAWS - low)
            out[low : low + width] = solve(_noise(part, width, generator)).T
        out[:, : design.n] -= out[:, : design.n].mean(1, keepdims=True)
    if len(drawn) == 1:
        return drawn[0]
    plus, minus = ((out**2).mean(0) for out in drawn)
    share = np.divide(plus - minus, plus, out=np.ones_like(plus), where=plus > 0)
    return np.asarray(drawn[0] * np.sqrt(np.clip(share, 0.5, 1.0)))


def _noise(pieces: list[Piece], width: int, generator: np.random.Generator) -> Floats:
    """Random scores with the pieces' covariance [n + q, width]."""
    total = np.zeros((pieces[0].rows.shape[1], width))
    for rows, variance in pieces:
        root = np.sqrt(variance)[:, None]
        for low in range(0, width, _STRIP):
            shape = len(root), min(_STRIP, width - low)
            if len(root) < _MANY:
                noise = root * generator.standard_normal(shape)
            else:
                noise = np.where(generator.integers(0, 2, shape, np.int8), root, -root)
            total[:, low : low + shape[1]] += rows.T @ noise
    return total
