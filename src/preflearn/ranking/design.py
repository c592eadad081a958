"""From parameters to log-likelihood, gradient and Hessian: the design of a rating model over counted cells.

Parameters are one vector: strengths [n], covariate coefficients [p], link shape parameters [P], in this order.
Rows are distinct designs (left, right, covariates); cells with the same design share one evaluation of the link.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from preflearn.choice import Binary, Derivatives, Link, contract
from preflearn.ranking.cells import Cells, Floats, Ints


class Evaluation(NamedTuple):
    """Log-likelihood (with the log-prior) and its derivatives at one parameter vector."""

    value: float
    log_likelihood: float
    gradient: Floats
    information: Information


@dataclass(frozen=True)
class Information:
    """A symmetric matrix over the parameters: Laplacian-like among strengths, dense elsewhere.

    Attributes:
        edge: weight of each design row between its two items [R].
        diagonal: extra diagonal of the strengths (priors) [n].
        border: strengths x other parameters [n, q].
        corner: other parameters [q, q].
    """

    design: Design
    edge: Floats
    diagonal: Floats
    border: Floats
    corner: Floats

    def dense(self) -> Floats:
        """The matrix [n + q, n + q]."""
        n, q = self.border.shape
        left, right = self.design.left, self.design.right
        matrix = np.zeros((n + q, n + q))
        block = np.bincount(left * n + right, self.edge, n * n).reshape(n, n)
        block += block.T
        degree = block.sum(1)
        np.negative(block, out=block)
        block[np.arange(n), np.arange(n)] += degree + self.diagonal
        matrix[:n, :n] = block
        matrix[:n, n:] = self.border
        matrix[n:, :n] = self.border.T
        matrix[n:, n:] = self.corner
        return matrix

    def sparse(self) -> Laplacian:
        """The strengths' block [n, n] as an operator."""
        return self.design.laplacian(self.edge, self.diagonal)


@dataclass(frozen=True)
class Prior:
    """Log-prior on the *summed* likelihood.

    `-ridge/2 * sum(theta**2) - covariate_ridge/2 * sum(beta**2)`, and `ghost` pseudo-wins and pseudo-losses of every
    item against a ghost of strength 0.
    """

    ridge: float = 0.0
    ghost: float = 0.0
    covariate_ridge: float = 0.0

    @property
    def on_strengths(self) -> bool:
        """Whether strengths are pulled towards 0, so that the likelihood's free shift disappears."""
        return self.ridge > 0 or self.ghost > 0


class Design:
    """Cells of one connected set of items, arranged for evaluation.

    Args:
        cells: counted votes over items 0..n-1, without self-pairs.
        link: from logit to outcome probabilities.
        position: add a coefficient for being shown first (logit of the side shown first).
        prior: log-prior on the parameters.
    """

    def __init__(self, cells: Cells, link: Link, *, position: bool = False, prior: Prior | None = None) -> None:
        self.cells, self.link, self.prior = cells, link, prior or Prior()
        self.n = cells.n_items
        columns = [] if cells.features is None else [cells.features]
        if position:
            columns.insert(0, cells.first.astype(np.float64)[:, None])
        features = np.hstack(columns) if columns else np.zeros((len(cells.left), 0))
        self.p, self.shape = features.shape[1], len(link.parameters)
        self.size = self.n + self.p + self.shape
        first, self.row = self._rows(features, position)
        self.left, self.right, self.features = cells.left[first], cells.right[first], features[first]
        self._pattern: _Pattern | None = None
        self.slow_gradients = False
        """Whether conjugate gradients have proved slow on this graph of items."""
        # Where every part of a cell's outcome distribution goes among the rows' outcomes, outcome after outcome.
        self._source: slice | Ints = slice(None)
        self._share: Floats | None = None
        if np.all(cells.targets.max(1) == 1):
            outcome = cells.targets.argmax(1)[cells.target]
        else:
            parts = cells.targets[cells.target]
            outcome, self._source = np.nonzero(parts.T)
            self._share = parts[self._source, outcome]
        self._slot = outcome * len(first) + self.row[self._source]
        self.weights = self.row_weights(cells.weight)

    def _rows(self, features: Floats, position: bool) -> tuple[Ints, Ints]:
        """Index of the first cell of each row, and the row of each cell."""
        cells = self.cells
        if cells.features is not None:
            identity = np.arange(len(cells.left))
            return identity, identity
        key = (cells.left * self.n + cells.right) * 3
        if position:
            key = key + cells.first + 1
        _, first, row = np.unique(key, return_index=True, return_inverse=True)
        return first, row

    def row_weights(self, cell_weight: Floats) -> Floats:
        """Weighted outcome counts of each row [R, K] from weights of cells [C]; a view, outcome after outcome."""
        values = cell_weight[self._source] if self._share is None else cell_weight[self._source] * self._share
        rows, outcomes = len(self.left), self.cells.targets.shape[1]
        counts = np.bincount(self._slot, values, rows * outcomes).astype(np.float64, copy=False)
        return counts.reshape(outcomes, rows).T

    # -- evaluation ------------------------------------------------------------------------------------------------

    def logit(self, parameters: Floats) -> Floats:
        """Log-strength difference of each row, covariates included [R]."""
        theta = parameters[: self.n]
        logit = theta[self.left] - theta[self.right]
        if self.p:
            logit += self.features @ parameters[self.n : self.n + self.p]
        return logit

    def shape_parameters(self, parameters: Floats) -> Floats:
        """The link's part of the parameter vector [P]."""
        return parameters[self.n + self.p :]

    def value(self, parameters: Floats, weights: Floats | None = None) -> float:
        """Log-likelihood plus log-prior; -inf outside the link's domain."""
        weights = self.weights if weights is None else weights
        log_probs = self.link.log_probs(self.logit(parameters), self.shape_parameters(parameters))
        with np.errstate(invalid="ignore"):
            total = np.where(weights == 0, 0.0, weights * log_probs).sum()
        return float(total) + self._log_prior(parameters)

    def derivatives(self, parameters: Floats) -> Derivatives:
        """The link's derivatives of every outcome of every row; what resampled weights are weighed with again."""
        return self.link.derivatives(self.logit(parameters), self.shape_parameters(parameters))

    def gradient(self, parameters: Floats, weights: Floats) -> Floats:
        """Gradient [n + q] of the log-likelihood plus log-prior at `parameters`, for weights [R, K]."""
        derivatives = self.link.weighted(weights, self.logit(parameters), self.shape_parameters(parameters))
        return self._gradient(np.asarray(derivatives.score), parameters)

    def evaluate(
        self, parameters: Floats, weights: Floats | None = None, derivatives: Derivatives | None = None
    ) -> Evaluation:
        """Value, gradient [n + q] and observed information at `parameters`.

        Args:
            parameters: [n + q].
            weights: outcome counts [R, K] in place of the data's.
            derivatives: those of `parameters`, if known.
        """
        weights = self.weights if weights is None else weights
        if derivatives is None:
            weighed = self.link.weighted(weights, self.logit(parameters), self.shape_parameters(parameters))
        else:
            weighed = contract(weights, derivatives)
        likelihood = float(np.sum(weighed.log_prob))
        gradient = self._gradient(np.asarray(weighed.score), parameters)
        information = self.information(-np.asarray(weighed.curvature))
        diagonal = np.full(self.n, self.prior.ridge)
        if self.prior.ghost:
            diagonal -= np.asarray(self._ghost(parameters).curvature)[:, 0, 0]
        if self.prior.covariate_ridge:
            corner = np.arange(self.p)
            information.corner[corner, corner] += self.prior.covariate_ridge
        information = Information(self, information.edge, diagonal, information.border, information.corner)
        return Evaluation(likelihood + self._log_prior(parameters), likelihood, gradient, information)

    def _gradient(self, score: Floats, parameters: Floats) -> Floats:
        n, p = self.n, self.p
        logit_score = np.ascontiguousarray(score[:, 0])
        strengths = self.to_items(logit_score) - self.prior.ridge * parameters[:n]
        if self.prior.ghost:
            strengths += np.asarray(self._ghost(parameters).score)[:, 0]
        covariates = self.features.T @ logit_score - self.prior.covariate_ridge * parameters[n : n + p]
        return np.concatenate([strengths, covariates, score[:, 1:].sum(0)])

    def _ghost(self, parameters: Floats) -> Derivatives:
        return Binary().weighted(np.full((self.n, 2), self.prior.ghost), parameters[: self.n])

    def _log_prior(self, parameters: Floats) -> float:
        theta, beta = parameters[: self.n], parameters[self.n : self.n + self.p]
        value = -0.5 * (self.prior.ridge * theta @ theta + self.prior.covariate_ridge * beta @ beta)
        if self.prior.ghost:
            value += float(np.sum(self._ghost(parameters).log_prob))
        return float(value)

    # -- assembling ------------------------------------------------------------------------------------------------

    def to_items(self, per_row: Floats) -> Floats:
        """Sum of a row quantity over its left items minus over its right items [n]."""
        sums = np.bincount(self.left, per_row, self.n) - np.bincount(self.right, per_row, self.n)
        return np.asarray(sums, dtype=np.float64)

    def information(self, quadratic: Floats) -> Information:
        """Assemble sum_r x_r M_r x_r^T from M [R, 1 + P, 1 + P] in (logit, shape parameters)."""
        n, p, shape = self.n, self.p, self.shape
        edge = np.ascontiguousarray(quadratic[:, 0, 0])
        border = np.empty((n, p + shape))
        corner = np.zeros((p + shape, p + shape))
        for j in range(p):
            border[:, j] = self.to_items(edge * self.features[:, j])
        for j in range(shape):
            border[:, p + j] = self.to_items(np.ascontiguousarray(quadratic[:, 0, 1 + j]))
        corner[:p, :p] = self.features.T @ (edge[:, None] * self.features)
        corner[:p, p:] = self.features.T @ quadratic[:, 0, 1:]
        corner[p:, :p] = corner[:p, p:].T
        corner[p:, p:] = quadratic[:, 1:, 1:].sum(0)
        return Information(self, edge, np.zeros(n), border, corner)

    def scores(self, parameters: Floats) -> Floats:
        """Score of one unit-weight judgment of each cell in (logit, shape parameters) [C, 1 + P]."""
        by_outcome = np.asarray(self.derivatives(parameters).score)
        target = self.cells.targets[self.cells.target]
        out = np.zeros((len(self.row), 1 + self.shape))
        for k in range(target.shape[1]):
            out += target[:, k, None] * by_outcome[self.row, k, :]
        return out

    def laplacian(self, edge: Floats, diagonal: Floats) -> Laplacian:
        """-edge off the diagonal, row sums plus `diagonal` on it."""
        if self._pattern is None:
            self._pattern = _Pattern(self.left, self.right, self.n)
        return self._pattern.fill(edge, diagonal)


class Laplacian:
    """Symmetric sparse matrix of the strengths: -edge between a row's items, row sums plus `extra` on the diagonal.

    Only the half above the rows' own order is stored; the other half is its transpose.
    """

    def __init__(self, half: sp.csr_array, diagonal: Floats) -> None:
        self.half, self.mirror, self.diagonal = half, half.T, diagonal

    def matrix(self) -> sp.csr_array:
        """The whole matrix."""
        return sp.csr_array(self.half + self.mirror + sp.diags_array(self.diagonal))

    def __matmul__(self, x: Floats) -> Floats:
        diagonal = self.diagonal if x.ndim == 1 else self.diagonal[:, None]
        return self.half @ x + self.mirror @ x + diagonal * x  # type: ignore[no-any-return]


class _Pattern:
    """Sparsity pattern of the strengths' block, found once per design."""

    def __init__(self, left: Ints, right: Ints, n: int) -> None:
        self.n, self.left, self.right = n, left, right
        ordered = bool(np.all(left[1:] >= left[:-1]))
        self.order = None if ordered else np.argsort(left, kind="stable")
        rows = left if self.order is None else left[self.order]
        columns = right if self.order is None else right[self.order]
        self.indptr = np.searchsorted(rows, np.arange(n + 1)).astype(np.int32)
        self.indices = columns.astype(np.int32)

    def fill(self, edge: Floats, extra: Floats) -> Laplacian:
        degree = np.bincount(self.left, edge, self.n) + np.bincount(self.right, edge, self.n)
        values = -(edge if self.order is None else edge[self.order])
        return Laplacian(sp.csr_array((values, self.indices, self.indptr), shape=(self.n, self.n)), degree + extra)
