"""Judgments of one response: a value on a scale, a grade, a class, a thumb, given its utility.

They share the utility with comparisons, so that ratings and votes fit one model. What a scale means to a person
(where it starts, how wide it is) are the shape parameters, one set for all or one per row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from preflearn.choice.arrays import Array, as_float, prepare
from preflearn.choice.listwise import softmax, softmax_derivatives
from preflearn.choice.ordinal import Cumulative, Cut
from preflearn.choice.stable import inverse_softplus, log_softmax, softplus
from preflearn.choice.types import Derivatives, Parameters, check_target, draw

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Gaussian:
    """A rating on an interval scale: normal, mean ``intercept + slope * utility``, standard deviation ``e^log_sd``.

    Shape parameters are given as ``[3]`` or ``[..., 3]`` (a scale for each annotator). With several free slopes or
    intercepts the scale of the utility has to be fixed elsewhere (by comparisons or a prior).
    """

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("intercept", "slope", "log_sd")

    def initial(self) -> tuple[float, ...]:
        return (0.0, 1.0, 0.0)

    def mean(self, utility: Array, parameters: Parameters) -> Array:
        """The expected rating ``[...]``."""
        _, u, (intercept, slope, _), _ = prepare(utility, parameters, self.parameters)
        return intercept + slope * u

    def log_prob(
        self,
        value: Array,
        utility: Array,
        parameters: Parameters,
        *,
        count: Array | None = None,
        spread: Array | None = None,
    ) -> Array:
        """Log-density ``[...]`` (nats) of ratings.

        Args:
            value: ``[...]``, on the scale's own units.
            utility: ``[...]``.
            parameters: ``[3]`` or ``[..., 3]``: intercept, slope, log_sd.
            count: ``[...]``, people that a row stands for; by default 1.
            spread: ``[...]``, the standard deviation among them (over ``count``, not ``count - 1``), the row being
                their mean: the density is then the joint one of all their ratings. By default 0: they all gave the
                value. NaN: the row is the mean of people whose spread was not recorded, with variance ``sd^2 / count``.
        """
        return self.derivatives(value, utility, parameters, count=count, spread=spread).log_prob

    def derivatives(
        self,
        value: Array,
        utility: Array,
        parameters: Parameters,
        *,
        count: Array | None = None,
        spread: Array | None = None,
    ) -> Derivatives:
        """:meth:`log_prob` with ``score [..., 4]`` and ``curvature [..., 4, 4]`` by (utility, parameters)."""
        xp, u, (intercept, slope, log_sd), _ = prepare(utility, parameters, self.parameters)
        _, x = as_float(value, like=u)
        people = xp.ones_like(x) if count is None else as_float(count, like=u)[1]
        sd = xp.zeros_like(x) if spread is None else as_float(spread, like=u)[1]
        unknown = xp.isnan(sd)
        sd = xp.where(unknown, xp.zeros_like(sd), sd)
        # A mean of unknown spread is one normal observation; else each of the people is one.
        terms = xp.where(unknown, xp.ones_like(people * sd), people + xp.zeros_like(sd))
        constant = xp.where(unknown, 0.5 * xp.log(people), xp.zeros_like(people * sd))

        error = x - (intercept + slope * u)
        precision = people * xp.exp(-2 * log_sd)
        squares = precision * (error * error + sd * sd)
        value_of = constant - terms * (_HALF_LOG_2PI + log_sd) - 0.5 * squares
        push = precision * error
        shape = value_of.shape
        first = [push * slope, push, push * u, squares - terms]
        second = {
            (0, 0): -precision * slope * slope,
            (0, 1): -precision * slope,
            (0, 2): precision * (error - slope * u),
            (0, 3): -2 * push * slope,
            (1, 1): -precision,
            (1, 2): -precision * u,
            (1, 3): -2 * push,
            (2, 2): -precision * u * u,
            (2, 3): -2 * push * u,
            (3, 3): -2 * squares,
        }
        rows = [
            xp.stack([xp.broadcast_to(second[min(i, j), max(i, j)], shape) for j in range(4)], axis=-1)
            for i in range(4)
        ]
        score = xp.stack([xp.broadcast_to(column, shape) for column in first], axis=-1)
        return Derivatives(value_of, score, xp.stack(rows, axis=-2))

    def score(self, value: Array, utility: Array, parameters: Parameters, **rows: Array | None) -> Array:
        """First derivatives ``[..., 4]`` of :meth:`log_prob` by (utility, intercept, slope, log_sd)."""
        return self.derivatives(value, utility, parameters, **rows).score

    def curvature(self, value: Array, utility: Array, parameters: Parameters, **rows: Array | None) -> Array:
        """Second derivatives ``[..., 4, 4]`` of :meth:`log_prob`."""
        return self.derivatives(value, utility, parameters, **rows).curvature

    def sample(self, utility: Array, parameters: Parameters, generator: np.random.Generator) -> Array:
        """Draw one rating per utility, ``[...]``."""
        xp, u, (_, _, log_sd), shape = prepare(utility, parameters, self.parameters)
        noise = xp.asarray(generator.standard_normal(shape), dtype=u.dtype, device=device(u))
        return self.mean(u, parameters) + xp.exp(log_sd) * noise


@dataclass(frozen=True)
class OrdinalRating(Cumulative):
    """A grade on a scale of ordered levels as a cumulative-logit model: ``P(grade > k) = sigma(utility - cut_k)``.

    Unlike those of :class:`preflearn.choice.Ordinal`, the cut-points are free: ``cut_1 < ... < cut_{levels-1}``. They
    are the parameters, ``[P]`` for all or ``[..., P]`` for each annotator; their common shift is that of the utility. A
    :class:`preflearn.choice.Flip` around it is a scale read upside down.

    Source: McCullagh (1980), Regression models for ordinal data, JRSS B 42, 109-142 (proportional odds).

    Attributes:
        levels: the number of grades, at least 2.
        names: of the grades, worst first; by default "1", "2", ...
    """

    levels: int
    names: tuple[str, ...] = field(default=())

    _lowest = -math.inf

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise ValueError(f"levels must be at least 2 (grades of the scale), got {self.levels}")
        if self.names and len(self.names) != self.levels:
            raise ValueError(f"names must name all {self.levels} grades, worst first; got {self.names}")

    @property
    def outcomes(self) -> tuple[str, ...]:
        return self.names or tuple(str(k) for k in range(1, self.levels + 1))

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(f"cut_{k}" for k in range(1, self.levels))

    def initial(self) -> tuple[float, ...]:
        """Cut-points at which all grades are equally likely at utility 0."""
        return tuple(math.log(k / (self.levels - k)) for k in range(1, self.levels))

    def constrain(self, free: Array) -> Array:
        """Increasing cut-points from any numbers: the first as it is, then steps of their softplus."""
        xp = array_namespace(free)
        return xp.cumulative_sum(xp.concat((free[..., :1], softplus(free[..., 1:])), axis=-1), axis=-1)

    def unconstrain(self, parameters: Array) -> Array:
        """The inverse of :meth:`constrain`."""
        xp = array_namespace(parameters)
        return xp.concat((parameters[..., :1], inverse_softplus(parameters[..., 1:] - parameters[..., :-1])), axis=-1)

    def _cuts(self) -> tuple[Cut, ...]:
        return tuple(Cut(1, j) for j in range(self.levels - 1))


def Desirable() -> OrdinalRating:
    """A thumb: up with probability ``sigma(utility - z)``; the parameter ``cut_1`` is the reference point z.

    The binary signal of KTO (Ethayarajh et al. 2024, arXiv 2402.01306) as a likelihood: KTO's value functions are
    another loss on the same ``utility - z``.
    """
    return OrdinalRating(2, ("undesirable", "desirable"))


def which_grade_is_higher(logit: Array) -> Array:
    """Log-probabilities ``[..., 2]`` (nats) of (b, a): whose noisy utility is higher, before either is cut into grades.

    In the cumulative-logit model a grade says between which cut-points ``utility + e`` lies, e standard logistic. For
    ``d = u_a - u_b``: ``P(b) = e^-d (d - 1 + e^-d) / (1 - e^-d)^2`` (d > 0), of slope 1/6 at 0: two independent noises
    blur more than the one of a vote, whose slope is 1/4.

    Args:
        logit: ``[...]``, difference of two utilities.
    """
    xp, d = as_float(logit)
    size = xp.abs(d)
    near = size < 0.25
    far = xp.where(near, xp.ones_like(size), size)
    e = xp.exp(-far)
    tail = -far + xp.log(far - 1 + e) - 2 * xp.log1p(-e)
    # Around 0 the closed form is 0/0; its series up to d^9 is exact to 2e-15 here.
    s = size * size
    odd = size * (1 / 6 - s * (1 / 180 - s * (1 / 5040 - s * (1 / 151200 - s / 4790016))))
    odd = xp.where(near, odd, xp.zeros_like(odd))
    worse = xp.where(near, xp.log(0.5 - odd), tail)
    better = xp.where(near, xp.log(0.5 + odd), xp.log1p(-xp.exp(tail)))
    ahead = d > 0
    return xp.stack([xp.where(ahead, worse, better), xp.where(ahead, better, worse)], axis=-1)


@dataclass(frozen=True)
class ClassLabel:
    """One of K classes, from K utilities (channels of a head): ``P(k) = softmax(utility)_k``.

    Utilities are determined up to a common shift. The formula is that of a choice from a list,
    :func:`preflearn.choice.listwise.softmax`, over channels.

    Attributes:
        classes: their names, at least 2.
    """

    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ValueError(f"classes must name at least two classes, got {self.classes}")

    @property
    def outcomes(self) -> tuple[str, ...]:
        return self.classes

    def log_probs(self, utility: Array) -> Array:
        """Log-probabilities ``[..., K]`` (nats) from utilities ``[..., K]``."""
        return log_softmax(self._checked(utility))

    def log_prob(self, target: Array, utility: Array) -> Array:
        """Log-likelihood ``[...]`` of class distributions ``target [..., K]``; one-hot for a hard label."""
        u = self._checked(utility)
        return softmax(check_target(target, len(self.classes), like=u), u)

    def derivatives(self, target: Array, utility: Array) -> Derivatives:
        """:meth:`log_prob` with ``score [..., K]`` and ``curvature [..., K, K]`` by the utilities."""
        u = self._checked(utility)
        return softmax_derivatives(check_target(target, len(self.classes), like=u), u)

    def sample(self, utility: Array, generator: Any) -> Array:
        """Draw one class per row, ``[...]`` of int64."""
        return draw(self.log_probs(utility), generator)

    def _checked(self, utility: Array) -> Array:
        _, u = as_float(utility)
        if u.ndim == 0 or u.shape[-1] != len(self.classes):
            raise ValueError(f"utility has shape {tuple(u.shape)}; expected [..., {len(self.classes)}], one per class")
        return u
