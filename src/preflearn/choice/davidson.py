"""Davidson's model of ties: the tie is a third alternative of strength nu times the geometric mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from array_api_compat import array_namespace

from preflearn.choice.arrays import Array, Inputs, split
from preflearn.choice.blocks import ClosedForm
from preflearn.choice.stable import magnitude
from preflearn.choice.types import Parameters


class _Normaliser(NamedTuple):
    """``log(e^{d/2} + e^{-d/2} + e^{eta})`` as ``top + tail``, and the two exponentials that make it.

    The largest of the three terms is taken out as ``top``; ``weaker`` and ``other`` are the two remaining ones
    relative to it: the weaker item, and whichever of (stronger item, tie) is not the top.
    """

    top: Array
    tail: Array
    weaker: Array
    other: Array


@dataclass(frozen=True)
class Davidson(ClosedForm):
    """Ties after Davidson: with ``D = pi_a + pi_b + nu sqrt(pi_a pi_b)``, ``P(a) = pi_a / D``,
    ``P(tie) = nu sqrt(pi_a pi_b) / D``.

    In the logit d and the shape parameter ``log_tie = eta = log nu``: the three log-probabilities are
    ``-d/2, eta, d/2`` minus the logarithm of the sum of their exponentials; jointly concave in (d, eta).
    Items of equal strength tie with probability ``nu / (2 + nu)``; ``eta = -inf`` is :class:`Binary`.

    Source: Davidson (1970), On extending the Bradley-Terry model to accommodate ties in paired comparison
    experiments, JASA 65, 317-328, section 2.
    """

    _shared_curvature = True

    @property
    def outcomes(self) -> tuple[str, ...]:
        return ("b", "tie", "a")

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("log_tie",)

    def initial(self) -> tuple[float, ...]:
        return (0.0,)

    def check(self, parameters: Parameters) -> None:
        """Raise ``ValueError`` where ``log_tie`` is NaN or ``+inf``; ``-inf`` (no ties) is allowed."""
        (log_tie,), _ = split(parameters, self.parameters)
        xp = array_namespace(log_tie)
        if not bool(xp.all(log_tie < math.inf)):
            raise ValueError(f"log_tie must be a number or -inf (no ties), got {log_tie}")

    @staticmethod
    def _normaliser(inputs: Inputs) -> _Normaliser:
        xp, d, (eta,), _ = inputs
        half = 0.5 * magnitude(d)
        gap = half - eta
        top = xp.where(gap >= 0, half, eta)
        weaker = xp.exp(-half - top)
        other = xp.exp(-magnitude(gap))
        return _Normaliser(top, xp.log1p(weaker + other), weaker, other)

    def _columns(self, inputs: Inputs) -> Sequence[Array]:
        top, tail, *_ = self._normaliser(inputs)
        return [exponent - tail for exponent in self._exponents(inputs, top)]

    @staticmethod
    def _exponents(inputs: Inputs, top: Array) -> tuple[Array, Array, Array]:
        half, (eta,) = 0.5 * inputs.logit, inputs.parameters
        return -half - top, eta - top, half - top

    def _fill(self, inputs: Inputs, log_prob: Array, score: Array, curvature: Array) -> None:
        top, tail, weaker, other = self._normaliser(inputs)
        exponents = self._exponents(inputs, top)
        scale = 1 / (1 + weaker + other)
        b, tie, a = (inputs.xp.exp(exponent) * scale for exponent in exponents)
        for k, exponent in enumerate(exponents):
            log_prob[k] = exponent - tail

        decisive = a + b
        half_edge = 0.5 * (a - b)
        half_tie = 0.5 * tie
        score[0, 0], score[0, 1] = -(a + half_tie), -tie
        score[1, 0], score[1, 1] = -half_edge, decisive
        score[2, 0], score[2, 1] = b + half_tie, -tie

        # (a + b)/4 - (a - b)^2/4 written without its cancellation.
        curvature[0, 0, 0] = -(a * b + 0.25 * tie * decisive)
        curvature[0, 0, 1] = curvature[0, 1, 0] = tie * half_edge
        curvature[0, 1, 1] = -tie * decisive
