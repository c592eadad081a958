"""Exact Newton for choices whose logits are linear: any link of `preflearn.choice`, one or several weighted channels.

Knows arrays only. `exact` finds out whether a network is of this kind and carries the result into it; an EM algorithm
calls `maximise` (or `newton_step`) with its responsibilities as weights.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from preflearn.errors import NotComputable
from preflearn.models.solvers.curvature import Learned, Matrix, factorised
from preflearn.models.solvers.design import Codes
from preflearn.models.solvers.penalised import Evaluation, Information, Parameters, Problem

_NOISE = 1e-4
"""Squared decrement below which a step that rounding prevents counts as none: a hundredth of a standard error."""
_FAR = 2.0
"""How far a step may take a shape parameter, in its unconstrained units."""
_ENOUGH, _TRUSTED = 16, 100
"""Comparisons per weight in a sample that gives a start, and in one that also gives the matrix."""
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
            end = descend(problem.sample(rows), here, matrix, goal, 10)
            here = end.at.parameters
            # Where few comparisons stand for many weights they fit too well, and the curvature is too small.
            matrix = end.matrix if len(rows) > _TRUSTED * size else None
    end = descend(problem, here, matrix, tolerance, max_iterations)
    _check_determined(problem, end)
    if exact_information or not end.renewed:
        return end.optimum(problem.information(end.at))
    return end.optimum(end.matrix.information)


def newton_step(problem: Problem, start: Parameters) -> Optimum:
    """One step of `maximise` from `start`, never uphill: the M-step of a generalised EM algorithm."""
    end = descend(problem, start, None, 0.0, 1)
    return end.optimum(end.matrix.information)


def _samples(n: int, size: int) -> list[Codes]:
    """Comparisons, few and then more, whose optimum is near enough to be a start; the same ones in every run."""
    order = np.random.default_rng(0).permutation(n) if n > 32 * size and n > 4_096 else np.zeros(0, np.int64)
    if not len(order):
        return []
    return [np.sort(order[: n // share]) for share in (64, 8) if n // share > _ENOUGH * size]


class End(NamedTuple):
    """Where `descend` stopped.

    Attributes:
        at: the place.
        step: the last one.
        decrement, iterations, converged: see `Optimum`.
        matrix: the last one.
        renewed: whether it is one of this problem.
    """

    at: Evaluation
    step: Parameters
    decrement: float
    iterations: int
    converged: bool
    matrix: Matrix
    renewed: bool

    def optimum(self, information: Information) -> Optimum:
        """The place with the second derivatives there."""
        at = self.at
        return Optimum(
            at.parameters, at.value, at.log_likelihood, self.decrement, self.iterations, self.converged, information
        )


def descend(problem: Problem, start: Parameters, matrix: Matrix | None, tolerance: float, max_iterations: int) -> End:
    """Newton steps with a matrix that is renewed when that saves work.

    Args:
        problem, tolerance, max_iterations: see `maximise`.
        start: where to begin.
        matrix: to begin with: of a sample, or of a problem much like this one; None = that of the starting point.

    Raises:
        NotComputable: the likelihood is zero at the start.
    """
    at = problem.evaluate(start)
    if at is None:
        raise NotComputable("the likelihood is zero at the starting point.")
    size = start.weights.size + len(start.shared)
    renewed = fresh = matrix is None
    if matrix is None:
        matrix = factorised(problem, at)
    before, iteration, converged = math.inf, 0, False
    inverse = Learned(matrix.factor)
    while True:
        step = inverse.solve(at.gradient)
        decrement = at.gradient.dot(step)
        there = None
        if fresh or not _worn(decrement, before, tolerance, size, renewed, problem.design.gram_passes):
            iteration += 1
            there = _searched(problem, at, step, decrement)
        if there is not None:
            converged = decrement < tolerance
            inverse.learn(at, there)
            at, before, fresh = there, decrement, False
        elif fresh:
            converged = 0 <= decrement < _NOISE
        else:
            matrix, before, renewed, fresh = factorised(problem, at), math.inf, True, True
            inverse = Learned(matrix.factor)
            continue
        if converged or there is None or iteration == max_iterations:
            return End(at, step, decrement, iteration, converged, matrix, renewed)


def _worn(decrement: float, before: float, tolerance: float, size: int, renewed: bool, cost: float) -> bool:
    """Whether to renew the matrix: at this pace more passes are left than the `cost` of a new one.

    The matrix of a sample serves until about a standard error from the optimum: there a new one also stays true.
    """
    if not decrement < before or decrement <= tolerance:
        return decrement > tolerance
    pace = math.log(before / decrement)
    if not renewed and decrement > size / 4 and pace > 0.7:
        return False
    return math.log(decrement / max(tolerance, 1e-300)) / pace > 3 + cost


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


def _check_determined(problem: Problem, end: End) -> None:
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
