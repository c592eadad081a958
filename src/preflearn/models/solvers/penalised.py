"""The penalised likelihood of choices whose logits are linear, with its derivatives: one or several weighted channels.

The formulas of the links live in `preflearn.choice`; here they meet the design and the priors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.autograd.functional import hessian, jacobian

from preflearn.choice import Link
from preflearn.choice.nuisance import through_design
from preflearn.models.solvers.design import Codes, Design, Floats

Prior = Callable[[Floats], tuple[float, Floats, Floats]]
"""Minus a log-prior of the shared parameters [s]: value, gradient [s], Hessian [s, s]."""

_ROWS = 65_536
"""Comparisons whose derivatives are held at once."""


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


class Evaluation(NamedTuple):
    """The objective and what a step needs, at one place.

    Attributes:
        parameters: the place.
        value: penalised negative log-likelihood, nats.
        log_likelihood: without the penalty, nats.
        gradient: of the value.
        residuals: derivatives of the log-likelihood by the logits, weighted, [n, C].
        scores: those by what is shared, [n, C, s].
        bends: minus the second ones, [n, C].
        crosses: minus those by logit and what is shared, [n, C, s].
        corner: of the value by what is shared, [s, s].
    """

    parameters: Parameters
    value: float
    log_likelihood: float
    gradient: Parameters
    residuals: Floats
    scores: Floats
    bends: Floats
    crosses: Floats
    corner: Floats


class Problem:
    """``-sum_ic weight_ic log P(target_i | logit_ic) + ridge / 2 |weights|^2 + prior(shared)``, to be minimised.

    Channels have weights of their own and share coefficients and shape parameters.

    Args:
        design: of n comparisons.
        link: of all channels alike.
        target: distribution over outcomes (or counts), [n, K].
        weight: [n], or [n, C] for several channels (responsibilities times weights).
        ridge: one number, or one per feature [d].
        prior: on coefficients and free shape parameters together.
    """

    def __init__(
        self,
        design: Design,
        link: Link,
        target: Floats,
        weight: Floats,
        *,
        ridge: float | Floats,
        prior: Prior | None = None,
    ) -> None:
        self.design, self.link, self.target, self.prior = design, link, target, prior
        self.weight = weight[:, None] if weight.ndim == 1 else weight
        self.ridge = np.broadcast_to(np.asarray(ridge, np.float64), (design.features,))

    @property
    def start(self) -> Parameters:
        """Zeros, and the link's own shape parameters."""
        free = np.asarray(self.link.unconstrain(np.asarray(self.link.initial(), np.float64)), np.float64)
        channels, p = self.weight.shape[1], self.design.columns.shape[1]
        return Parameters(np.zeros((channels, self.design.features)), np.zeros(p), free)

    @property
    def size(self) -> int:
        """Number of parameters."""
        start = self.start
        return start.weights.size + len(start.shared)

    def sample(self, rows: Codes) -> Problem:
        """Some of the comparisons, weighed as if they were all."""
        share = len(self.design) / len(rows)
        weight = self.weight[rows] * share
        return Problem(
            self.design.sample(rows), self.link, self.target[rows], weight, ridge=self.ridge, prior=self.prior
        )

    def evaluate(self, here: Parameters) -> Evaluation | None:
        """Value, gradient and second derivatives by the logits; None where the likelihood is zero."""
        shape, slope, bend = _shape_at(self.link, here.free)
        try:
            self.link.check(shape)
        except ValueError:
            return None
        logit = self.design.logits(here.weights, here.coefficients)
        n, channels = logit.shape
        p, size = len(here.coefficients), len(here.coefficients) + len(here.free)
        to_free = np.zeros((size, size))
        to_free[:p, :p], to_free[p:, p:] = np.eye(p), slope
        residual, bends = np.zeros((n, channels)), np.zeros((n, channels))
        scores, crosses = np.zeros((n, channels, size)), np.zeros((n, channels, size))
        total, corner = 0.0, np.zeros((size, size))
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
                    scores[rows, c] = each.score[:, 1:]
                    corner -= each.curvature[:, 1:, 1:].sum(0)
                    crosses[rows, c] = -each.curvature[:, 0, 1:] @ to_free
                residual[rows, c] = each.score[:, 0]
                bends[rows, c] = -each.curvature[:, 0, 0]
        if not math.isfinite(total):
            return None
        by_weights = -self.design.pull(residual) + self.ridge * here.weights
        by_shape = scores[..., p:].sum((0, 1))
        scores = scores @ to_free
        by_shared = -scores.sum((0, 1))
        corner = to_free.T @ corner @ to_free
        corner[p:, p:] -= np.einsum("k,kij->ij", by_shape, bend)
        value = -total + 0.5 * float((self.ridge * here.weights**2).sum())
        if self.prior is not None:
            more, prior_slope, prior_bend = self.prior(here.shared)
            value, by_shared, corner = value + more, by_shared + prior_slope, corner + prior_bend
        gradient = Parameters(by_weights, by_shared[:p], by_shared[p:])
        return Evaluation(here, value, total, gradient, residual, scores, bends, crosses, corner)

    def information(self, at: Evaluation, dtype: npt.DTypeLike | None = None) -> Information:
        """All second derivatives; products in the precision of the features unless `dtype` is given."""
        channels, size = at.bends.shape[1], len(at.corner)
        blocks = np.stack([self.design.gram(at.bends[:, c], dtype) for c in range(channels)])
        blocks += np.diag(self.ridge)
        d = self.design.features
        flat = at.crosses.reshape(len(at.bends), channels * size)
        borders = self.design.pull(flat).reshape(channels, size, d).transpose(0, 2, 1)
        return Information(blocks, np.ascontiguousarray(borders), at.corner)


def _shape_at(link: Link, free: Floats) -> tuple[Floats, Floats, Floats]:
    """Shape parameters [P] of free ones, with their first [P, P] and second [P, P, P] derivatives."""
    if not len(free):
        return free, np.zeros((0, 0)), np.zeros((0, 0, 0))
    place = torch.from_numpy(free.copy())
    slope = jacobian(link.constrain, place)  # type: ignore[no-untyped-call]
    each = [hessian(lambda at, k=k: link.constrain(at)[k], place) for k in range(len(free))]  # type: ignore[no-untyped-call]
    bend = torch.stack(each)
    return link.constrain(place).numpy(), slope.numpy(), bend.numpy()
