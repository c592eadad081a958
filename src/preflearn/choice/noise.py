"""Labels recorded the wrong way round: as part of the likelihood, as smoothing, or corrected without bias.

A flip exchanges a and b with probability eps: a win becomes a loss, "a much better" becomes "b much better", and a
tie stays a tie. :class:`Flip` models it, :func:`smoothed_target` and :func:`unbiased_target` only change targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from array_api_compat import array_namespace

from preflearn.choice.arrays import Array, Inputs, as_float, split
from preflearn.choice.blocks import ClosedForm
from preflearn.choice.stable import logit as log_odds
from preflearn.choice.stable import sigmoid
from preflearn.choice.types import Link, Parameters


@dataclass(frozen=True)
class Flip(ClosedForm):
    """A link whose labels are flipped with probability eps: ``(1 - eps) P(o) + eps P(swapped o)``.

    The shape parameters are those of the link, then ``flip_rate`` = eps in [0, 1]. One rate per annotator is
    Crowd-BT (Chen et al. 2013, Pairwise ranking aggregation in a crowdsourced setting, WSDM, with
    eta = 1 - eps); rates above 1/2 are contrarians. Exchanging eps with 1 - eps and the sign of every logit leaves
    the likelihood as it is: start below 1/2. Not concave: a Newton solver needs a step that only accepts ascent.

    Attributes:
        link: the link of clean labels.
        rate: the flip rate a fit starts from.
    """

    link: Link
    rate: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate must be a probability, got {self.rate}")

    @property
    def outcomes(self) -> tuple[str, ...]:
        return self.link.outcomes

    @property
    def parameters(self) -> tuple[str, ...]:
        return (*self.link.parameters, "flip_rate")

    @property
    def swap(self) -> tuple[int, ...]:
        return self.link.swap

    def initial(self) -> tuple[float, ...]:
        return (*self.link.initial(), self.rate)

    def check(self, parameters: Parameters) -> None:
        """Raise ``ValueError`` where the flip rate is no probability or the link refuses its parameters."""
        *inner, rate = split(parameters, self.parameters)[0]
        xp = array_namespace(rate)
        if not bool(xp.all((rate >= 0) & (rate <= 1))):
            raise ValueError(f"flip_rate must be a probability, got {rate}")
        if inner:
            self.link.check(xp.stack(inner, axis=-1))

    def constrain(self, free: Array) -> Array:
        xp = array_namespace(free)
        return xp.concat((self.link.constrain(free[..., :-1]), sigmoid(free[..., -1:])), axis=-1)

    def unconstrain(self, parameters: Array) -> Array:
        xp = array_namespace(parameters)
        return xp.concat((self.link.unconstrain(parameters[..., :-1]), log_odds(parameters[..., -1:])), axis=-1)

    @staticmethod
    def _inner(inputs: Inputs) -> Parameters:
        """Shape parameters of the clean link, ``[..., P]``."""
        columns = inputs.parameters[:-1]
        return inputs.xp.stack(columns, axis=-1) if columns else ()

    def _mix(self, inputs: Inputs, clean: Array) -> list[Array]:
        """Noisy log-probabilities from clean ones ``[..., K]``."""
        return _flipped(clean, inputs.parameters[-1], self.swap)

    def _columns(self, inputs: Inputs) -> Sequence[Array]:
        return self._mix(inputs, self.link.log_probs(inputs.logit, self._inner(inputs)))

    def _fill(self, inputs: Inputs, log_prob: Array, score: Array, curvature: Array) -> None:
        r"""Chain rule through ``p = (1 - e) p1 + e p2``, written without subtracting second moments.

        With ``a = p1/p``, ``b = p2/p``, ``w = e b``, ``s`` the clean scores:
        d/dx log p = (1-w) s1 + w s2,  d/de = b - a,  d2/dxdx = (1-w) c1 + w c2 + w (1-w) (s1-s2)(s1-s2)',
        d2/dxde = a b (s2 - s1),  d2/dede = -(b - a)^2. At a rate of exactly 0 or 1 the derivatives by e grow like
        e^|logit|, squared for the second; that is the function, not the formula.
        """
        xp = inputs.xp
        rate = inputs.parameters[-1]
        clean = self.link.derivatives(inputs.logit, self._inner(inputs))
        last = len(inputs.parameters)
        for k, (other, mixed) in enumerate(zip(self.swap, self._mix(inputs, clean.log_prob))):
            log_prob[k] = mixed
            if k == other:
                for i in range(last):
                    score[k, i] = clean.score[..., k, i]
                    for j in range(last):
                        curvature[k, i, j] = clean.curvature[..., k, i, j]
                continue
            finite = xp.where(xp.isfinite(mixed), mixed, xp.zeros_like(mixed))
            a = xp.exp(clean.log_prob[..., k] - finite)
            b = xp.exp(clean.log_prob[..., other] - finite)
            stay, flip = (1 - rate) * a, rate * b
            s1, s2 = clean.score[..., k, :], clean.score[..., other, :]
            c1, c2 = clean.curvature[..., k, :, :], clean.curvature[..., other, :, :]
            gap = [s2[..., i] - s1[..., i] for i in range(last)]
            score[k, last] = b - a
            curvature[k, last, last] = -((b - a) ** 2)
            for i in range(last):
                score[k, i] = stay * s1[..., i] + flip * s2[..., i]
                curvature[k, i, last] = a * b * gap[i]
                curvature[k, last, i] = curvature[k, i, last]
                for j in range(i, last):
                    bend = stay * c1[..., i, j] + flip * c2[..., i, j] + stay * flip * gap[i] * gap[j]
                    curvature[k, i, j] = bend
                    curvature[k, j, i] = bend


def flipped(log_probs: Array, rate: Array | float) -> Array:
    """Log-probabilities ``[..., K]`` of recorded outcomes from those of clean ones: what :class:`Flip` does to a link.

    Args:
        log_probs: ``[..., K]``, nats, outcomes from the best for b to the best for a.
        rate: the probability of a flip, or one for each row ``[...]``.
    """
    xp, clean = as_float(log_probs)
    _, eps = as_float(rate, like=clean)
    return xp.stack(_flipped(clean, eps, tuple(reversed(range(clean.shape[-1])))), axis=-1)


def _flipped(clean: Array, rate: Array, swap: Sequence[int]) -> list[Array]:
    xp = array_namespace(clean)
    mixed = []
    for k, other in enumerate(swap):
        here, there = clean[..., k], clean[..., other]
        if k == other:
            mixed.append(here)
            continue
        top = xp.where(here >= there, here, there)
        top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
        total = (1 - rate) * xp.exp(here - top) + rate * xp.exp(there - top)
        impossible = total == 0
        value = top + xp.log(xp.where(impossible, xp.ones_like(total), total))
        mixed.append(xp.where(impossible, xp.full_like(value, -xp.inf), value))
    return mixed


def smoothed_target(target: Array, eps: Array | float) -> Array:
    """Label smoothing: ``(1 - eps) target + eps swapped(target)``, ``[..., K]``.

    With a binary link the loss is that of conservative DPO (Mitchell 2023, A note on DPO with noisy preferences).

    Args:
        target: ``[..., K]``.
        eps: a probability, or one for each row ``[...]``.

    Raises:
        ValueError: unless ``0 <= eps <= 1``.
    """
    xp, clean = as_float(target)
    _, rate = as_float(eps, like=clean)
    if not bool(xp.all((rate >= 0) & (rate <= 1))):
        raise ValueError(f"eps must be a probability, got {eps}")
    rate = rate[..., None]
    return (1 - rate) * clean + rate * xp.flip(clean, axis=-1)


def unbiased_target(target: Array, eps: float) -> Array:
    """Signed targets whose loss, averaged over flips with probability eps, is the loss of the clean labels.

    ``((1 - eps) target - eps swapped(target)) / (1 - 2 eps)``, ``[..., K]``, rows summing to 1: the inverse of the
    flip applied to the labels. As a weight of the loss: ``(1 - eps) / (1 - 2 eps)`` on the recorded outcome and
    ``-eps / (1 - 2 eps)`` on its mirror; a tie keeps weight 1. The loss may be negative and falls without bound as the
    logit of a recorded outcome grows; with a binary link its curvature is that of the clean loss, so it stays convex.

    Sources: Natarajan et al. (2013), Learning with noisy labels, NeurIPS, lemma 1, with equal rates; for
    preferences rDPO, Ray Chowdhury, Kini and Natarajan (2024), arXiv 2403.00409.

    Raises:
        ValueError: unless ``0 <= eps < 1/2``: at 1/2 labels carry no information.
    """
    if not 0 <= eps < 0.5:
        raise ValueError(f"eps must lie in [0, 1/2), got {eps}: labels flipped half of the time carry no information")
    xp, noisy = as_float(target)
    return ((1 - eps) * noisy - eps * xp.flip(noisy, axis=-1)) / (1 - 2 * eps)
