"""Bradley-Terry: one of two wins, with probability sigma(logit)."""

from __future__ import annotations

from dataclasses import dataclass

from preflearn.choice.arrays import Array, buffer, components_last, prepare
from preflearn.choice.stable import logistic
from preflearn.choice.types import Derivatives, Link, Parameters


@dataclass(frozen=True)
class Binary(Link):
    """Bradley-Terry: ``P(a) = pi_a / (pi_a + pi_b) = sigma(d)``, d the log-strength difference.

    A soft label ``P(a) = y`` is the target ``(1 - y, y)``: its log-likelihood is the (negative) cross-entropy.
    The log-likelihood is concave in d.

    Source: Bradley and Terry (1952), Rank analysis of incomplete block designs I, Biometrika 39, 324-345.
    """

    @property
    def outcomes(self) -> tuple[str, ...]:
        return ("b", "a")

    @property
    def parameters(self) -> tuple[str, ...]:
        return ()

    def initial(self) -> tuple[float, ...]:
        return ()

    def log_probs(self, logit: Array, parameters: Parameters = ()) -> Array:
        xp, d, _, _ = prepare(logit, parameters, self.parameters)
        at = logistic(d)
        return xp.stack((at.log_lower, at.log_upper), axis=-1)

    def derivatives(self, logit: Array, parameters: Parameters = ()) -> Derivatives:
        inputs = prepare(logit, parameters, self.parameters)
        xp = inputs.xp
        at = logistic(inputs.logit)
        log_prob = buffer(inputs, 2)
        score = buffer(inputs, 2, 1)
        curvature = buffer(inputs, 1, 1)
        log_prob[0], log_prob[1] = at.log_lower, at.log_upper
        score[0, 0], score[1, 0] = -at.upper, at.lower
        curvature[0, 0] = -at.density
        return Derivatives(
            components_last(xp, log_prob, 1),
            components_last(xp, score, 2),
            # Both outcomes have the same curvature: one buffer seen twice.
            components_last(xp, xp.broadcast_to(curvature, (2, *curvature.shape)), 3),
        )
