"""Exact Newton for choices whose logits are linear: any link of `preflearn.choice`, one or several weighted channels.

Knows arrays only. `exact` finds out whether a network is of this kind and carries the result into it; an EM algorithm
calls `maximise` (or `newton_step`) with its responsibilities as weights.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from preflearn.errors import NotComputable
from preflearn.models.design import Codes, Floats
from preflearn.models.penalised import Evaluation, Information, Parameters, Problem

_NOISE = 1e-4
"""Squared decrement below which a step that rounding prevents counts as none: a hundredth of a standard error."""
_FAR = 2.0
"""How far a step may take a shape parameter, in its unconstrained units."""
_FLAT = 0.1
"""Logits that a last step still moves although the likelihood has nothing to gain: it has no maximum."""


class Optimum(NamedTuple):
    """What `maximise` found.

    Attributes:
        parameters: where.
        value: penalised negative log-likelihood there, nats.
        log_likelihood: without the penalty, nats.
        decrement: squared Newton decrement at the last evaluation: twice what is still to be gained, nats.
        iterations: passes over all comparisons.
        converged: whether the decrement fell below the tolerance, or to what rounding allows.
        information: of the last factorisation, near the optimum (at it when asked for).
    """

    parameters: Parameters
    value: float
    log_likelihood: float
    decrement: float
    iterations: int
    converged: bool
    information: Information


def maximise(
    problem: Problem,
    *,
    start: Parameters | None = None,
    exact_information: bool = False,
    tolerance: float = 1e-8,
    max_iterations: int = 200,
) -> Optimum:
    """Minimise the problem's value.

    The matrix of second derivatives is kept as long as steps with it gain fast enough; with many comparisons a sample
    of them gives the start. Where a link is not concave (flips) the matrix is changed until every step descends.

    Args:
        problem: the comparisons and their likelihood.
        start: by default zeros and the link's initial shape parameters.
        exact_information: compute the second derivatives once more at the end.
        tolerance: on the squared Newton decrement.
        max_iterations: passes over all comparisons.

    Raises:
        NotComputable: without a ridge, the data does not determine the weights: comparisons that the features predict
            without error, or features that follow each other.
    """
    here, matrix = problem.start if start is None else start, None
    if start is None:
        size = problem.size
        for rows in _samples(len(problem.design), size):
            # A sample may lack an outcome or be separable: it gives a start, no more.
            goal = 1e-3 * size * len(problem.design) / len(rows)
            end = _descend(problem.sample(rows), here, matrix, goal, 10)
            here, matrix = end.at.parameters, end.matrix
    end = _descend(problem, here, matrix, tolerance, max_iterations)
    _check_determined(problem, end)
    if exact_information or not end.renewed:
        return end.optimum(problem.information(end.at))
    return end.optimum(end.matrix.information)


def newton_step(problem: Problem, start: Parameters) -> Optimum:
    """One step of `maximise` from `start`, never uphill: the M-step of a generalised EM algorithm."""
    end = _descend(problem, start, None, 0.0, 1)
    return end.optimum(end.matrix.information)


def _samples(n: int, size: int) -> list[Codes]:
    """Comparisons, few and then more, whose optimum is near enough to be a start; the same ones in every run."""
    order = np.random.default_rng(0).permutation(n) if n > 32 * size and n > 4_096 else np.zeros(0, np.int64)
    if not len(order):
        return []
    return [np.sort(order[: n // share]) for share in (64, 8) if n // share > 4 * size]


class _Factor:
    """Factors of an `Information` that is made positive definite where it is not, so that every step descends.

    Blocks are shifted; of the little matrix that is left for what is shared, eigenvalues change their sign.
    """

    def __init__(self, information: Information, shift: float) -> None:
        blocks, borders, corner = information
        self.channels = [cho_factor(_shifted(block, shift), lower=True, check_finite=False) for block in blocks]
        self.borders = borders
        self.solved = [cho_solve(factor, border) for factor, border in zip(self.channels, borders)]
        rest = corner - sum(border.T @ solved for border, solved in zip(borders, self.solved))
        self.values, self.axes = np.linalg.eigh(rest)
        self.values = np.maximum(np.abs(self.values), 1e-12 * max(np.abs(np.diagonal(corner)).max(initial=0), 1e-300))

    def solve(self, gradient: Parameters) -> Parameters:
        """The step that the matrix takes for the gradient."""
        p = len(gradient.coefficients)
        inner = np.stack([cho_solve(factor, row) for factor, row in zip(self.channels, gradient.weights)])
        shared = gradient.shared
        if len(shared):
            shared = self.axes @ (self.axes.T @ (shared - np.einsum("cds,cd->s", self.borders, inner)) / self.values)
            inner = inner - np.stack([solved @ shared for solved in self.solved])
        return Parameters(inner, shared[:p], shared[p:])


def _shifted(matrix: Floats, shift: float) -> Floats:
    return matrix + shift * np.diag(np.maximum(np.abs(np.diagonal(matrix)), 1e-300)) if shift else matrix


class _Matrix(NamedTuple):
    """Second derivatives, their factors, and the shift that made them positive definite."""

    information: Information
    factor: _Factor
    shift: float


def _factorised(problem: Problem, at: Evaluation) -> _Matrix:
    information = problem.information(at)
    if problem.design.x.dtype != np.float64:
        try:
            return _Matrix(information, _Factor(information, 0.0), 0.0)
        except np.linalg.LinAlgError:
            information = problem.information(at, np.float64)
    for shift in (0.0, *(10.0**k for k in range(-8, 5))):
        try:
            return _Matrix(information, _Factor(information, shift), shift)
        except np.linalg.LinAlgError:
            continue
    raise NotComputable("the matrix of second derivatives is not finite: features or weights are too large.")


class _End(NamedTuple):
    """Where `_descend` stopped."""

    at: Evaluation
    step: Parameters
    decrement: float
    iterations: int
    converged: bool
    matrix: _Matrix
    renewed: bool

    def optimum(self, information: Information) -> Optimum:
        """What callers see."""
        at = self.at
        return Optimum(
            at.parameters, at.value, at.log_likelihood, self.decrement, self.iterations, self.converged, information
        )


def _descend(
    problem: Problem, start: Parameters, matrix: _Matrix | None, tolerance: float, max_iterations: int
) -> _End:
    """Steps with a matrix that is renewed when that saves work; the first may come from a sample."""
    at = problem.evaluate(start)
    if at is None:
        raise NotComputable("the likelihood is zero at the starting point.")
    size = start.weights.size + len(start.shared)
    renewed = fresh = matrix is None
    if matrix is None:
        matrix = _factorised(problem, at)
    before, iteration, converged = math.inf, 0, False
    while True:
        step = matrix.factor.solve(at.gradient)
        decrement = at.gradient.dot(step)
        there = None
        if fresh or not _worn(decrement, before, tolerance, size, renewed):
            iteration += 1
            there = _searched(problem, at, step, decrement)
        if there is not None:
            converged = decrement < tolerance
            at, before, fresh = there, decrement, False
        elif fresh:
            converged = 0 <= decrement < _NOISE
        else:
            matrix, before, renewed, fresh = _factorised(problem, at), math.inf, True, True
            continue
        if converged or there is None or iteration == max_iterations:
            return _End(at, step, decrement, iteration, converged, matrix, renewed)


def _worn(decrement: float, before: float, tolerance: float, size: int, renewed: bool) -> bool:
    """Whether to renew the matrix: at this pace more passes are left than it costs.

    The matrix of a sample serves until about a standard error from the optimum: there a new one also stays true.
    """
    if not decrement < before or decrement <= tolerance:
        return decrement > tolerance
    pace = math.log(before / decrement)
    if not renewed and decrement > size / 4 and pace > 0.7:
        return False
    return math.log(decrement / max(tolerance, 1e-300)) / pace > 3 + size / 64


def _rounding(problem: Problem, value: float) -> float:
    """Differences of the objective that rounding alone may make."""
    return 10 * float(np.finfo(problem.design.x.dtype).eps) * (1 + abs(value))


def _searched(problem: Problem, at: Evaluation, step: Parameters, decrement: float) -> Evaluation | None:
    """The first of ever shorter steps that descends enough; None if there is none."""
    # Far out, unconstrained shape parameters have nothing to say: a step is not to throw them there.
    scale = min(1.0, _FAR / max(np.abs(step.free).max(initial=0.0), 1e-300))
    slack = _rounding(problem, at.value)
    for _ in range(40):
        there = problem.evaluate(at.parameters.moved(step, -scale))
        if there is not None and there.value <= at.value - 1e-4 * scale * decrement + slack:
            return there
        scale /= 2
    return None


def _check_determined(problem: Problem, end: _End) -> None:
    """Refuse weights that the data does not determine.

    Raises:
        NotComputable: a last step moves logits although nothing is to be gained, or the matrix is singular.
    """
    if problem.ridge.min() > 0 and not problem.design.columns.shape[1]:
        return
    moved = problem.design.logits(end.step.weights, end.step.coefficients)
    if problem.design.offset is not None:
        moved -= problem.design.offset[:, None]
    used = problem.weight > 0
    if (np.abs(moved) * used).max(initial=0.0) > _FLAT:
        raise NotComputable(
            "the likelihood has no maximum: the features predict some comparisons without any error, so their weights "
            "grow for ever. Use a ridge above 0."
        )
    if problem.ridge.min() == 0 and _singular(problem.information(end.at, np.float64)):
        raise NotComputable("features that follow each other leave their weights undetermined. Use a ridge above 0.")


def _singular(information: Information) -> bool:
    """Whether some weights of a channel follow from others, to rounding."""
    for block in information.blocks:
        scale = 1 / np.sqrt(np.maximum(np.diagonal(block), 1e-300))
        values = np.linalg.eigvalsh(block * scale[:, None] * scale)
        if values[0] < 64 * len(block) * np.finfo(np.float64).eps:
            return True
    return False
