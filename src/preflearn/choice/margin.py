"""Strength of preference inside Bradley-Terry: a margin to be reached, or a weight on the loss.

Neither is a likelihood of the recorded strength (that is :class:`preflearn.choice.Ordinal`): strength only changes
how a decided comparison is fitted, and what is predicted stays ``sigma(d)``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from preflearn.choice.arrays import Array, Inputs, as_float
from preflearn.choice.binary import Binary
from preflearn.choice.blocks import ClosedForm
from preflearn.choice.ordinal import graded_outcomes
from preflearn.choice.stable import logistic
from preflearn.choice.types import Derivatives, Link, Parameters, check_target
from preflearn.errors import NotSupported


@dataclass(frozen=True)
class _Graded(ClosedForm):
    """A link over grades of preference whose columns are ``weight * log sigma(+-d - shift)``.

    Attributes:
        levels: grades of preference on each side, at least 1.
        ties: whether there is a middle outcome: a tie is half a win for either, with no margin and weight 1.
        steps: the strength m of each grade, weakest first; by default 1, 2, ..., levels.
    """

    levels: int
    ties: bool = False
    steps: tuple[float, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.levels < 1:
            raise ValueError(f"levels must be at least 1 (grades of preference on each side), got {self.levels}")
        steps = tuple(float(step) for step in self.steps) or tuple(float(m) for m in range(1, self.levels + 1))
        if len(steps) != self.levels or not all(0 <= step < float("inf") for step in steps):
            raise ValueError(
                f"steps must be {self.levels} finite strengths, none negative, weakest first; got {self.steps}"
            )
        object.__setattr__(self, "steps", steps)

    @property
    def outcomes(self) -> tuple[str, ...]:
        return graded_outcomes(self.levels, self.ties)

    @property
    def parameters(self) -> tuple[str, ...]:
        return ()

    @property
    def prediction(self) -> Link:
        return Binary()

    def initial(self) -> tuple[float, ...]:
        return ()

    @abstractmethod
    def _part(self, strength: float) -> tuple[float, float]:
        """Shift and weight of a grade of this strength."""

    def _parts(self) -> list[tuple[int, float, float]]:
        """Column, shift and weight for each column above the middle, from weakest to strongest."""
        first = self.levels + (1 if self.ties else 0)
        return [(first + j, *self._part(step)) for j, step in enumerate(self.steps)]

    def _columns(self, inputs: Inputs) -> Sequence[Array]:
        d = inputs.logit
        above, below = [], []
        for _, shift, weight in self._parts():
            above.append(weight * logistic(d - shift).log_upper)
            below.append(weight * logistic(d + shift).log_lower)
        at = logistic(d)
        middle = [0.5 * (at.log_upper + at.log_lower)] if self.ties else []
        return [*reversed(below), *middle, *above]

    def _fill(self, inputs: Inputs, log_prob: Array, score: Array, curvature: Array) -> None:
        d = inputs.logit
        last = len(self.outcomes) - 1
        for k, shift, weight in self._parts():
            up, down = logistic(d - shift), logistic(d + shift)
            log_prob[k], log_prob[last - k] = weight * up.log_upper, weight * down.log_lower
            score[k, 0], score[last - k, 0] = weight * up.lower, -weight * down.upper
            curvature[k, 0, 0], curvature[last - k, 0, 0] = -weight * up.density, -weight * down.density
        if self.ties:
            at = logistic(d)
            log_prob[self.levels] = 0.5 * (at.log_upper + at.log_lower)
            score[self.levels, 0] = 0.5 * (at.lower - at.upper)
            curvature[self.levels, 0, 0] = -at.density

    def sample(self, logit: Array, parameters: Parameters = (), generator: Any = None) -> Array:
        """Refused: strengths have no distribution here."""
        raise NotSupported(
            f"{type(self).__name__} fits strengths but gives them no probabilities; sample from Ordinal, or wins and "
            "losses from Binary"
        )


@dataclass(frozen=True)
class Margin(_Graded):
    """Bradley-Terry with a margin: strength m contributes ``log sigma(d - m)``, or ``log sigma(-d - m)`` for b.

    A link for fitting: its columns are no probabilities (they sum to less than 1), :attr:`prediction` is
    :class:`Binary`. Concave in d.

    Source: Touvron et al. (2023), Llama 2, arXiv 2307.09288, section 3.2.2; as in HelpSteer2-Preference, Wang et al.
    (2024), arXiv 2410.01257, with m = 1, 2, 3 (checked in the authors' slides).
    """

    def _part(self, strength: float) -> tuple[float, float]:
        return strength, 1.0


@dataclass(frozen=True)
class Scaled(_Graded):
    """Bradley-Terry scaled by strength: a grade of strength m contributes ``m log sigma(d)``, as if recorded m times.

    A link for fitting: its columns are no probabilities, :attr:`prediction` is :class:`Binary`. Concave in d.

    Source: HelpSteer2-Preference, Wang et al. (2024), arXiv 2410.01257 (checked in the authors' slides).
    """

    def _part(self, strength: float) -> tuple[float, float]:
        return 0.0, strength


def with_margin(target: Array, logit: Array, margin: Array) -> Derivatives:
    """Log-likelihood of wins and losses that have to be reached by a margin of their own, with its derivatives in d.

    ``target_a log sigma(d - margin) + target_b log sigma(-d - margin)``: :class:`Margin` where the strength is a
    number, such as the agreement of an ensemble (:mod:`preflearn.choice.strength`).

    Args:
        target: ``[..., 2]``, outcomes (b, a).
        logit: ``[...]``.
        margin: ``[...]``, in logits, any sign.

    Returns:
        ``log_prob [...]``, ``score [..., 1]``, ``curvature [..., 1, 1]``.
    """
    _, d = as_float(logit)
    _, m = as_float(margin, like=d)
    weights = check_target(target, 2, like=d)
    lost, won = weights[..., 0], weights[..., 1]
    up, down = logistic(d - m), logistic(d + m)
    return Derivatives(
        won * up.log_upper + lost * down.log_lower,
        (won * up.lower - lost * down.upper)[..., None],
        -(won * up.density + lost * down.density)[..., None, None],
    )


def scaled(target: Array, logit: Array, strength: Array) -> Derivatives:
    """``strength`` times the Bradley-Terry log-likelihood of each comparison, with its derivatives in d.

    Args:
        target: ``[..., 2]``, outcomes (b, a).
        logit: ``[...]``.
        strength: ``[...]``, not negative, in steps.
    """
    _, d = as_float(logit)
    _, m = as_float(strength, like=d)
    return Binary().weighted(check_target(target, 2, like=d) * m[..., None], d)
