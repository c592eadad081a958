"""Bradley-Terry: one of two wins, with probability sigma(logit)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from preflearn.choice.arrays import Array, Inputs
from preflearn.choice.blocks import ClosedForm
from preflearn.choice.stable import logistic


@dataclass(frozen=True)
class Binary(ClosedForm):
    """Bradley-Terry: ``P(a) = pi_a / (pi_a + pi_b) = sigma(d)``, d the log-strength difference.

    A soft label ``P(a) = y`` is the target ``(1 - y, y)``: its log-likelihood is the (negative) cross-entropy.
    The log-likelihood is concave in d.

    Source: Bradley and Terry (1952), Rank analysis of incomplete block designs I, Biometrika 39, 324-345.
    """

    _shared_curvature = True

    @property
    def outcomes(self) -> tuple[str, ...]:
        return ("b", "a")

    @property
    def parameters(self) -> tuple[str, ...]:
        return ()

    def initial(self) -> tuple[float, ...]:
        return ()

    def _columns(self, inputs: Inputs) -> Sequence[Array]:
        at = logistic(inputs.logit)
        return at.log_lower, at.log_upper

    def _fill(self, inputs: Inputs, log_prob: Array, score: Array, curvature: Array) -> None:
        at = logistic(inputs.logit)
        log_prob[0], log_prob[1] = at.log_lower, at.log_upper
        score[0, 0], score[1, 0] = -at.upper, at.lower
        curvature[0, 0, 0] = -at.density

    def _weigh(self, inputs: Inputs, weights: Sequence[Array], log_prob: Array, score: Array, curvature: Array) -> None:
        at = logistic(inputs.logit)
        lost, won = weights
        log_prob[...] = lost * at.log_lower + won * at.log_upper
        score[0] = won * at.lower - lost * at.upper
        curvature[0, 0] = -(lost + won) * at.density
