"""One damped Newton solver for every rating model: dense Cholesky for few items, preconditioned CG for many.

Where conjugate gradients are slow (items joined in chains or grids), a sparse factorisation solves: it is cheap there.

It stops on the Newton decrement, which measures the distance to the optimum in standard errors, never on the size of a
mean gradient, which is small by itself when votes are spread over many items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import splu

from preflearn.errors import NotComputable
from preflearn.ranking.cells import Floats
from preflearn.ranking.design import Design, Evaluation, Information, Laplacian

DENSE_LIMIT = 2_000
"""Up to this many items the information matrix is factorised; above, systems are solved by conjugate gradients."""


CG_STEPS = 400
"""Conjugate gradients that need more steps are given up for a sparse factorisation; ten times as many are allowed on a
graph with more than `_MANY_EDGES` pairs per item, whose factors may be dense."""
_MANY_EDGES = 16

_SINGULAR = "the information matrix is singular: the data does not determine every parameter"


class Fit(NamedTuple):
    """Where the solver ended."""

    parameters: Floats
    log_likelihood: float
    decrement: float
    """Squared Newton decrement at the last evaluation: twice the log-likelihood still to be gained."""
    iterations: int
    converged: bool
    information: Information


class Solver(NamedTuple):
    """Solves information @ x = b for b [m] or [m, r]; the free shift of the strengths is removed."""

    solve: Callable[[Floats], Floats]
    inverse: Callable[[], Floats] | None
    """The dense inverse, where it can be afforded."""


def newton(
    design: Design,
    start: Floats,
    *,
    weights: Floats | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
) -> Fit:
    """Maximise the (penalised) log-likelihood of `design` from `start` [n + q].

    The step is halved until the value rises; convergence is declared when the squared decrement falls below
    `tolerance`, and one last full step, whose error is of the order of the tolerance squared, is taken.

    Raises:
        NotComputable: the information matrix is not positive definite (parameters not determined by the data).
    """
    parameters = start.copy()
    here = design.evaluate(parameters, weights)
    if not np.isfinite(here.value):
        raise NotComputable("the likelihood is zero at the starting point; a category may never have been observed")
    decrement = np.inf
    for iteration in range(1, max_iterations + 1):
        # A step need not be more exact than the quadratic model it minimises.
        precision = min(0.1, max(1e-8, 0.1 * np.sqrt(decrement)))
        step = solver(here.information, design, precision=precision).solve(here.gradient)
        decrement = float(here.gradient @ step)
        if decrement < 0 or not np.isfinite(decrement):
            raise NotComputable(_SINGULAR)
        before = parameters
        parameters, here = _line_search(design, parameters, step, here, decrement, weights)
        if decrement < tolerance:
            _check_determined(here.information, design)
            return Fit(parameters, here.log_likelihood, decrement, iteration, True, here.information)
        if parameters is before:  # no step rises: the same one would be tried again
            return Fit(parameters, here.log_likelihood, decrement, iteration, False, here.information)
    return Fit(parameters, here.log_likelihood, decrement, max_iterations, False, here.information)


def _line_search(
    design: Design, parameters: Floats, step: Floats, here: Evaluation, decrement: float, weights: Floats | None
) -> tuple[Floats, Evaluation]:
    scale = 1.0
    noise = 1e-12 * (1.0 + abs(here.value))
    for _ in range(40):
        candidate = parameters + scale * step
        there = design.evaluate(candidate, weights)
        if np.isfinite(there.value) and there.value >= here.value + 1e-4 * scale * decrement - noise:
            return candidate, there
        scale /= 2
    return parameters, here


def solver(information: Information, design: Design, *, precision: float = 1e-10) -> Solver:
    """A way to solve with the information matrix, chosen by the number of items."""
    free_shift = not design.prior.on_strengths
    if design.n <= DENSE_LIMIT:
        return _dense(information, free_shift)
    return _iterative(information, design, free_shift, precision)


def _dense(information: Information, free_shift: bool) -> Solver:
    matrix = information.dense()
    n = information.border.shape[0]
    if free_shift and n:
        # The likelihood does not change along (1, ..., 1, 0, ..., 0): any positive curvature there leaves the
        # solution orthogonal to it, because the gradient is.
        matrix[:n, :n] += max(np.trace(matrix[:n, :n]) / n, 1e-300) / n
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(matrix), 1e-300))
    try:
        factor = cho_factor(matrix * scale[:, None] * scale, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        raise NotComputable(_SINGULAR) from None
    # Rounding may leave a tiny pivot where an exact factorisation has none.
    if len(matrix) and np.diagonal(factor[0]).min() ** 2 < 64 * len(matrix) * np.finfo(np.float64).eps:
        raise NotComputable(_SINGULAR)

    def solve(rhs: Floats) -> Floats:
        scaled = (rhs.T * scale).T
        solution = (cho_solve(factor, scaled, check_finite=False).T * scale).T
        if free_shift and n:
            solution[:n] -= solution[:n].mean(0)
        return solution  # type: ignore[no-any-return]

    return Solver(solve, lambda: solve(np.eye(len(matrix))))


def _iterative(information: Information, design: Design, free_shift: bool, precision: float) -> Solver:
    n, q = information.border.shape
    block = information.sparse()
    border, corner = information.border, information.corner
    inverse_diagonal = 1.0 / np.maximum(np.concatenate([block.diagonal, np.diagonal(corner)]), 1e-300)

    def multiply(x: Floats) -> Floats:
        top = block @ x[:n]
        if not q:
            return top
        return np.concatenate([top + border @ x[n:], border.T @ x[:n] + corner @ x[n:]])

    factorised: list[Callable[[Floats], Floats]] = []

    def solve(rhs: Floats) -> Floats:
        columns = rhs if rhs.ndim == 2 else rhs[:, None]
        solution = None
        if not design.slow_gradients:
            steps = CG_STEPS * (10 if len(design.left) > _MANY_EDGES * n else 1)
            solution = conjugate_gradient(
                multiply, columns, inverse_diagonal, precision=precision, max_iterations=steps
            )
            design.slow_gradients = solution is None
        if solution is None:
            if not factorised:
                factorised.append(_factorise(block, border, corner, free_shift))
            solution = factorised[0](columns)
        if free_shift:
            solution[:n] -= solution[:n].mean(0)
        return solution if rhs.ndim == 2 else solution[:, 0]

    return Solver(solve, None)


def _check_determined(information: Information, design: Design) -> None:
    """Refuse parameters beside the strengths that follow them or each other; a factorisation finds that by itself.

    Raises:
        NotComputable: their information, given the strengths, is singular.
    """
    n, q = information.border.shape
    if n <= DENSE_LIMIT or not q:
        return
    strengths = Information(design, information.edge, information.diagonal, np.zeros((n, 0)), np.zeros((0, 0)))
    explained = information.border.T @ solver(strengths, design, precision=1e-8).solve(information.border)
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(information.corner), 1e-300))
    if np.linalg.eigvalsh((information.corner - explained) * scale[:, None] * scale).min() < 1e-6:
        raise NotComputable(_SINGULAR)


def _factorise(block: Laplacian, border: Floats, corner: Floats, free_shift: bool) -> Callable[[Floats], Floats]:
    """Solve by a sparse factorisation; with a free shift the first strength is held at 0."""
    held = int(free_shift)
    top = block.matrix()[held:, held:]
    parts = [[top, sp.csr_array(border[held:])], [sp.csr_array(border[held:].T), sp.csr_array(corner)]]
    matrix = sp.csc_array(sp.block_array(parts) if border.shape[1] else top)
    scale = 1.0 / np.sqrt(np.maximum(matrix.diagonal(), 1e-300))
    scaled = sp.csc_array(sp.diags_array(scale) @ matrix @ sp.diags_array(scale))
    try:
        factor = splu(scaled, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError:
        raise NotComputable(_SINGULAR) from None
    if np.abs(factor.U.diagonal()).min() < 64 * matrix.shape[0] * np.finfo(np.float64).eps:
        raise NotComputable(_SINGULAR)

    def solve(rhs: Floats) -> Floats:
        out = np.zeros_like(rhs)
        out[held:] = factor.solve(rhs[held:] * scale[:, None]) * scale[:, None]
        return out

    return solve


def conjugate_gradient(
    multiply: Callable[[Floats], Floats],
    rhs: Floats,
    inverse_diagonal: Floats,
    *,
    precision: float,
    max_iterations: int,
) -> Floats | None:
    """Solve a positive (semi-)definite system for several right-hand sides [m, r] at once; None if that takes too long.

    Each column is preconditioned by the diagonal and iterated until its relative residual is below `precision`; a
    consistent semi-definite system is solved in its range.

    Source: Hestenes and Stiefel 1952.
    """
    scale = inverse_diagonal[:, None]
    x = np.zeros_like(rhs)
    residual = rhs.copy()
    direction = scale * residual
    energy = np.einsum("ij,ij->j", residual, direction)
    goal = precision**2 * energy
    for _ in range(max_iterations):
        active = energy > goal
        if not active.any():
            return x
        product = multiply(direction)
        curvature = np.einsum("ij,ij->j", direction, product)
        alpha = np.where(active, energy / np.where(curvature > 0, curvature, 1.0), 0.0)
        x += alpha * direction
        residual -= alpha * product
        z = scale * residual
        previous, energy = energy, np.where(active, np.einsum("ij,ij->j", residual, z), energy)
        direction *= np.where(active, energy / np.where(previous > 0, previous, 1.0), 0.0)
        direction += z
    return None if (energy > goal).any() else x
