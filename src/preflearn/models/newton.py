"""Exact Newton for choices whose logits are linear: any link of `preflearn.choice`, one or several weighted channels.

Knows arrays only. `fitting` finds out whether a network is of this kind and carries the result into it; an EM algorithm
calls `maximise` (or `newton_step`) with its responsibilities as weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from torch.autograd.functional import hessian, jacobian

from preflearn.choice import Link
from preflearn.choice.nuisance import through_design
from preflearn.errors import NotComputable
from preflearn.models.design import Codes, Design, Floats

Prior = Callable[[Floats], tuple[float, Floats, Floats]]
"""Minus a log-prior of the shared parameters [s]: value, gradient [s], Hessian [s, s]."""

_ROWS = 65_536
"""Comparisons whose derivatives are held at once."""
_NOISE = 1e-4
"""Squared decrement below which a step that rounding prevents counts as none: a hundredth of a standard error."""
_FAR = 2.0
"""How far a step may take a shape parameter, in its unconstrained units."""
_FLAT = 0.1
"""Logits that a last step still moves although the likelihood has nothing to gain: it has no maximum."""


class Parameters(NamedTuple):
    """Where a fit is.

    Attributes:
        weights: of the features, one row per channel, [C, d].
        coefficients: of the design's further columns, shared by the channels, [p].
        free: unconstrained shape parameters of the link, shared, [P].
    """

    weights: Floats
    coefficients: Floats
    free: Floats

    @property
    def shared(self) -> Floats:
        """Coefficients and shape parameters, [s]."""
        return np.concatenate([self.coefficients, self.free])

    def moved(self, step: Parameters, scale: float) -> Parameters:
        """``self + scale * step``."""
        return Parameters(*(here + scale * there for here, there in zip(self, step)))

    def dot(self, other: Parameters) -> float:
        """Inner product."""
        return float(sum((here * there).sum() for here, there in zip(self, other)))


class Information(NamedTuple):
    """Negative second derivatives of the penalised log-likelihood: one block per channel and what they share.

    Attributes:
        blocks: [C, d, d].
        borders: between the weights of a channel and what is shared, [C, d, s].
        corner: [s, s].
    """

    blocks: Floats
    borders: Floats
    corner: Floats

    def dense(self) -> Floats:
        """All of it, [C d + s, C d + s], in the order weights of channel 0, 1, ..., coefficients, shape parameters."""
        channels, d, s = self.borders.shape
        whole = np.zeros((channels * d + s, channels * d + s))
        for c in range(channels):
            rows = slice(c * d, (c + 1) * d)
            whole[rows, rows] = self.blocks[c]
            whole[rows, channels * d :] = self.borders[c]
            whole[channels * d :, rows] = self.borders[c].T
        whole[channels * d :, channels * d :] = self.corner
        return whole


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
    design: Design,
    link: Link,
    target: Floats,
    weight: Floats,
    *,
    ridge: float | Floats,
    start: Parameters | None = None,
    prior: Prior | None = None,
    fixed_shape: bool = False,
    exact_information: bool = False,
    tolerance: float = 1e-8,
    max_iterations: int = 200,
) -> Optimum:
    """Maximise ``sum_ic weight_ic log P(target_i | logit_ic) - ridge / 2 |weights|^2 - prior(shared)``.

    Channels have weights of their own and share coefficients and shape parameters. The matrix of second derivatives is
    kept as long as steps with it gain fast enough; with many comparisons a sample of them gives the start. Where a link
    is not concave (flips) the matrix is shifted until every step ascends.

    Args:
        design: of n comparisons.
        link: of C channels alike.
        target: distribution over outcomes (or counts), [n, K].
        weight: [n], or [n, C] for several channels (responsibilities times weights).
        ridge: one number, or one per feature [d].
        start: by default zeros and the link's initial shape parameters.
        prior: on coefficients and free shape parameters together.
        fixed_shape: keep the shape parameters of `start`.
        exact_information: factorise once more at the end, if the last factorisation lies elsewhere.
        tolerance: on the squared Newton decrement.
        max_iterations: passes over all comparisons.

    Raises:
        NotComputable: without a ridge, the data does not determine the weights: comparisons that the features predict
            without error, or features that follow each other.
    """
    weight = weight[:, None] if weight.ndim == 1 else weight
    here = _start(design, link, weight.shape[1]) if start is None else start
    problem = _Problem(design, link, target, weight, ridge, prior, fixed_shape)
    size = here.weights.size + len(here.shared)
    matrix = None
    if start is None:
        for rows in _samples(len(design), size):
            share = len(design) / len(rows)
            part = _Problem(design.sample(rows), link, target[rows], weight[rows] * share, ridge, prior, fixed_shape)
            # A sample may lack an outcome or be separable: it gives a start, no more.
            end = _ascend(part, here, matrix, 1e-3 * size * share, 10)
            here, matrix = end.at.parameters, end.matrix
    end = _ascend(problem, here, matrix, tolerance, max_iterations)
    _check_determined(problem, end)
    if exact_information or not end.renewed:
        return end.optimum(problem.information(end.at))
    return end.optimum(end.matrix.information)


def newton_step(
    design: Design,
    link: Link,
    target: Floats,
    weight: Floats,
    *,
    ridge: float | Floats,
    start: Parameters,
    prior: Prior | None = None,
    fixed_shape: bool = False,
) -> Optimum:
    """One step of `maximise` from `start`, never downhill: the M-step of a generalised EM algorithm."""
    weight = weight[:, None] if weight.ndim == 1 else weight
    end = _ascend(_Problem(design, link, target, weight, ridge, prior, fixed_shape), start, None, 0.0, 1)
    return end.optimum(end.matrix.information)


def information_at(
    design: Design,
    link: Link,
    target: Floats,
    weight: Floats,
    parameters: Parameters,
    *,
    ridge: float | Floats,
    prior: Prior | None = None,
) -> Information:
    """Negative second derivatives at any place. Arguments as for `maximise`."""
    weight = weight[:, None] if weight.ndim == 1 else weight
    problem = _Problem(design, link, target, weight, ridge, prior, False)
    return problem.information(problem.evaluate(parameters))


def _start(design: Design, link: Link, channels: int) -> Parameters:
    free = np.asarray(link.unconstrain(np.asarray(link.initial(), np.float64)), np.float64)
    return Parameters(np.zeros((channels, design.features)), np.zeros(design.columns.shape[1]), free)


def _samples(n: int, size: int) -> list[Codes]:
    """Comparisons, few and then more, whose optimum is near enough to be a start; the same ones in every run."""
    order = np.random.default_rng(0).permutation(n) if n > 32 * size and n > 4_096 else np.zeros(0, np.int64)
    if not len(order):
        return []
    return [np.sort(order[: n // share]) for share in (64, 8) if n // share > 4 * size]


class _Evaluation(NamedTuple):
    """The objective and what a step needs, at one place."""

    parameters: Parameters
    value: float
    log_likelihood: float
    gradient: Parameters
    bends: Floats
    """Minus the second derivatives by the logit, weighted, [n, C]."""
    crosses: Floats
    """Minus those by logit and what is shared, [n, C, s]."""
    corner: Floats


class _Problem:
    """The objective of `maximise` (to be minimised here)."""

    def __init__(
        self,
        design: Design,
        link: Link,
        target: Floats,
        weight: Floats,
        ridge: float | Floats,
        prior: Prior | None,
        fixed_shape: bool,
    ) -> None:
        self.design, self.link, self.target, self.weight = design, link, target, weight
        self.ridge = np.broadcast_to(np.asarray(ridge, np.float64), (design.features,))
        self.prior, self.fixed_shape = prior, fixed_shape

    def evaluate(self, here: Parameters) -> _Evaluation | None:
        """Value, gradient and second derivatives by the logits; None where the likelihood is zero."""
        shape, slope, bend = _constrained(self.link, here.free)
        try:
            self.link.check(shape)
        except ValueError:
            return None
        logit = self.design.logits(here.weights, here.coefficients)
        n, channels = logit.shape
        p, size = len(here.coefficients), len(here.coefficients) + len(here.free)
        to_free = np.zeros((size, size))
        to_free[:p, :p], to_free[p:, p:] = np.eye(p), slope
        residual, bends, crosses = np.zeros((n, channels)), np.zeros((n, channels)), np.zeros((n, channels, size))
        total, score, corner = 0.0, np.zeros(size), np.zeros((size, size))
        for first in range(0, n, _ROWS):
            rows = slice(first, min(first + _ROWS, n))
            # A column of ones stands for the logit itself.
            lifted = np.column_stack([np.ones(rows.stop - first), self.design.columns[rows]])
            for c in range(channels):
                weighed = self.target[rows] * self.weight[rows, c, None]
                each = self.link.weighted(weighed, logit[rows, c], shape)
                total += float(each.log_prob.sum())
                if size:
                    each = through_design(each, lifted)
                    score += each.score[:, 1:].sum(0)
                    corner -= each.curvature[:, 1:, 1:].sum(0)
                    crosses[rows, c] = -each.curvature[:, 0, 1:] @ to_free
                residual[rows, c] = each.score[:, 0]
                bends[rows, c] = -each.curvature[:, 0, 0]
        if not math.isfinite(total):
            return None
        by_weights = -self.design.pull(residual) + self.ridge * here.weights
        by_shared = -to_free.T @ score
        corner = to_free.T @ corner @ to_free
        corner[p:, p:] -= np.einsum("k,kij->ij", score[p:], bend)
        value = -total + 0.5 * float((self.ridge * here.weights**2).sum())
        if self.prior is not None:
            more, prior_slope, prior_bend = self.prior(here.shared)
            value, by_shared, corner = value + more, by_shared + prior_slope, corner + prior_bend
        if self.fixed_shape:
            by_shared[p:], corner[p:, :], corner[:, p:], crosses[..., p:] = 0, 0, 0, 0
            corner[p:, p:] = np.eye(size - p)
        gradient = Parameters(by_weights, by_shared[:p], by_shared[p:])
        return _Evaluation(here, value, total, gradient, bends, crosses, corner)

    def information(self, at: _Evaluation | None, dtype: type[np.floating] | None = None) -> Information:
        """All second derivatives."""
        assert at is not None
        channels, size = at.bends.shape[1], len(at.corner)
        blocks = np.stack([self.design.gram(at.bends[:, c], dtype) for c in range(channels)])
        blocks += np.diag(self.ridge)
        d = self.design.features
        flat = at.crosses.reshape(len(at.bends), channels * size)
        borders = self.design.pull(flat).reshape(channels, size, d).transpose(0, 2, 1)
        return Information(blocks, np.ascontiguousarray(borders), at.corner)


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


def _factorised(problem: _Problem, at: _Evaluation) -> _Matrix:
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
    """Where `_ascend` stopped."""

    at: _Evaluation
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


def _ascend(
    problem: _Problem, start: Parameters, matrix: _Matrix | None, tolerance: float, max_iterations: int
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


def _rounding(problem: _Problem, value: float) -> float:
    """Differences of the objective that rounding alone may make."""
    return 10 * float(np.finfo(problem.design.x.dtype).eps) * (1 + abs(value))


def _searched(problem: _Problem, at: _Evaluation, step: Parameters, decrement: float) -> _Evaluation | None:
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


def _check_determined(problem: _Problem, end: _End) -> None:
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


def _constrained(link: Link, free: Floats) -> tuple[Floats, Floats, Floats]:
    """Shape parameters [P] of free ones, with their first [P, P] and second [P, P, P] derivatives."""
    if not len(free):
        return free, np.zeros((0, 0)), np.zeros((0, 0, 0))
    place = torch.from_numpy(free.copy())
    slope = jacobian(link.constrain, place)  # type: ignore[no-untyped-call]
    each = [hessian(lambda at, k=k: link.constrain(at)[k], place) for k in range(len(free))]  # type: ignore[no-untyped-call]
    bend = torch.stack(each)
    return link.constrain(place).numpy(), slope.numpy(), bend.numpy()
