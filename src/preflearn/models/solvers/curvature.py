"""Second derivatives of a penalised likelihood as a matrix that always gives a step downhill."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from preflearn.errors import NotComputable
from preflearn.models.solvers.design import Floats
from preflearn.models.solvers.penalised import Evaluation, Information, Parameters, Problem

_REMEMBERED = 8
"""Steps from which curvature is learned."""


class Factor:
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


class Learned:
    """The inverse of the second derivatives by a factor from elsewhere, corrected by what the last steps showed.

    The two-loop recursion of L-BFGS around the factor (Nocedal, Wright: Numerical optimization, 2006, algorithm 7.4).
    Where the likelihood bends the other way along a step, nothing is learned from it: every step descends.
    """

    def __init__(self, factor: Factor) -> None:
        self.factor = factor
        self._seen: deque[tuple[Parameters, Parameters, float]] = deque(maxlen=_REMEMBERED)

    def learn(self, before: Evaluation, after: Evaluation) -> None:
        """Remember a step and how the gradient changed along it."""
        step = after.parameters.moved(before.parameters, -1.0)
        change = after.gradient.moved(before.gradient, -1.0)
        bend = step.dot(change)
        if bend > 1e-8 * math.sqrt(step.dot(step) * change.dot(change)):
            self._seen.append((step, change, bend))

    def solve(self, gradient: Parameters) -> Parameters:
        """The step for the gradient."""
        shares = []
        for step, change, bend in reversed(self._seen):
            shares.append(step.dot(gradient) / bend)
            gradient = gradient.moved(change, -shares[-1])
        result = self.factor.solve(gradient)
        for (step, change, bend), share in zip(self._seen, reversed(shares)):
            result = result.moved(step, share - change.dot(result) / bend)
        return result


class Matrix(NamedTuple):
    """Second derivatives, their factors, and the shift that made them positive definite."""

    information: Information
    factor: Factor
    shift: float


def factorised(problem: Problem, at: Evaluation) -> Matrix:
    """Second derivatives at a place and their factors; in float64 where float32 is not enough."""
    information = problem.information(at)
    if problem.design.x.dtype != np.float64:
        try:
            return Matrix(information, Factor(information, 0.0), 0.0)
        except np.linalg.LinAlgError:
            information = problem.information(at, np.float64)
    return matrix_of(information)


def matrix_of(information: Information) -> Matrix:
    """Second derivatives with their factors, shifted as little as it takes.

    Raises:
        NotComputable: they are not finite.
    """
    for shift in (0.0, *(10.0**k for k in range(-8, 5))):
        try:
            return Matrix(information, Factor(information, shift), shift)
        except np.linalg.LinAlgError:
            continue
    raise NotComputable("the matrix of second derivatives is not finite: features or weights are too large.")
