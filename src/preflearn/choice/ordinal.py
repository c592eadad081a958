"""Graded preferences: the cumulative-logit model with symmetric thresholds, of which Rao-Kupper is the smallest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from array_api_compat import array_namespace

from preflearn.choice.arrays import Array, Inputs, Namespace, split
from preflearn.choice.blocks import ClosedForm
from preflearn.choice.stable import inverse_softplus, log1mexp, logistic, softplus
from preflearn.choice.types import Parameters


class Cut(NamedTuple):
    """One boundary between neighbouring outcomes: ``sign * parameters[step]``, or 0 where step is None."""

    sign: int
    step: int | None


class Cumulative(ClosedForm):
    """A cumulative-logit model: the outcome lies above boundary c with probability ``sigma(d - c)``.

    Between boundaries l < u, with no subtraction of probabilities (the last factor does not depend on d):
    ``sigma(d - l) - sigma(d - u) = sigma(d - l) sigma(u - d) (1 - e^-(u - l))``. Jointly concave in (d, boundaries).
    Subclasses say where the boundaries are, as multiples of the shape parameters.

    Source of the concavity: Pratt (1981), Concavity of the log likelihood, JASA 76, 103-106.
    """

    _lowest = 0.0
    """What the first shape parameter has to exceed."""

    @abstractmethod
    def _cuts(self) -> tuple[Cut, ...]:
        """The K - 1 boundaries from lowest to highest."""

    def check(self, parameters: Parameters) -> None:
        """Raise ``ValueError`` unless the boundaries are finite and strictly increasing (positive, where symmetric)."""
        columns, _ = split(parameters, self.parameters)
        lower: Array | float = self._lowest
        for name, upper in zip(self.parameters, columns):
            xp = array_namespace(upper)
            if not bool(xp.all((upper > lower) & xp.isfinite(upper))):
                positive = "positive and " if self._lowest == 0 else ""
                raise ValueError(
                    f"thresholds must be finite, {positive}strictly increasing in the order "
                    f"{', '.join(self.parameters)}; {name} is not: {upper}"
                )
            lower = upper

    @staticmethod
    def _place(cut: Cut, columns: tuple[Array, ...], like: Array) -> Array:
        if cut.step is None:
            return array_namespace(like).zeros_like(like)
        return columns[cut.step] if cut.sign > 0 else -columns[cut.step]

    def _inside(self, xp: Namespace, columns: tuple[Array, ...], like: Array) -> Array:
        """Whether the thresholds are ordered; equal ones are the limit in which an outcome never happens."""
        inside = xp.ones_like(like, dtype=xp.bool)
        lower = self._lowest
        for upper in columns:
            inside = inside & (upper >= lower)
            lower = upper
        return inside

    def _columns(self, inputs: Inputs) -> Sequence[Array]:
        xp, d, columns, _ = inputs
        places = [self._place(cut, columns, d) for cut in self._cuts()]
        sides = [logistic(d - place) for place in places]
        inside = self._inside(xp, columns, d)
        rows = [sides[0].log_lower]
        for k in range(1, len(places)):
            rows.append(sides[k - 1].log_upper + sides[k].log_lower + log1mexp(places[k] - places[k - 1]))
        rows.append(sides[-1].log_upper)
        return [xp.where(inside, row, xp.full_like(row, -xp.inf)) for row in rows]

    def _fill(self, inputs: Inputs, log_prob: Array, score: Array, curvature: Array) -> None:
        xp, d, columns, _ = inputs
        cuts = self._cuts()
        outcomes, size = len(cuts) + 1, len(columns) + 1
        places = [self._place(cut, columns, d) for cut in cuts]
        for c, cut in enumerate(cuts):
            at = logistic(d - places[c])
            # The boundary bounds outcome c from above and outcome c + 1 from below.
            for k, log_side, slope in ((c, at.log_lower, -at.upper), (c + 1, at.log_upper, at.lower)):
                log_prob[k] += log_side
                score[k, 0] += slope
                curvature[k, 0, 0] -= at.density
                if cut.step is not None:
                    p = 1 + cut.step
                    score[k, p] -= cut.sign * slope
                    curvature[k, 0, p] += cut.sign * at.density
                    curvature[k, p, p] -= at.density

        for k in range(1, outcomes - 1):
            gap = places[k] - places[k - 1]
            open_gap = gap > 0
            safe = xp.where(open_gap, gap, xp.ones_like(gap))
            zero = xp.zeros_like(gap)
            rate = xp.where(open_gap, xp.exp(-safe) / -xp.expm1(-safe), zero)
            bend = -rate * (1 + rate)
            log_prob[k] += log1mexp(gap)
            ends: dict[int, int] = {}
            for cut, side in ((cuts[k], 1), (cuts[k - 1], -1)):
                if cut.step is not None:
                    ends[1 + cut.step] = ends.get(1 + cut.step, 0) + side * cut.sign
            for p, weight in ends.items():
                score[k, p] += weight * rate
                for q, other in ends.items():
                    if q >= p:
                        curvature[k, p, q] += weight * other * bend

        for p in range(size):
            for q in range(p + 1, size):
                curvature[:, q, p] = curvature[:, p, q]
        inside = self._inside(xp, columns, d)
        log_prob[...] = xp.where(inside, log_prob, xp.full_like(log_prob, -xp.inf))


@dataclass(frozen=True)
class Ordinal(Cumulative):
    """Graded answers ("a much better" ... "tie" ... "b much better") as a cumulative-logit model.

    The outcome lies above boundary c with probability ``sigma(d - c)``. The boundaries are symmetric, because
    exchanging a and b must mirror the answer: with ties ``-/+ tie, -/+ step_1, ...``; without ties the innermost
    boundary is 0 and only the steps are free. Parameters are the boundaries themselves, on the scale of the logit:
    ``0 < tie < step_1 < ... < step_{levels-1}``.

    Sources: Agresti (1992), Analysis of ordinal paired comparison data, Applied Statistics 41, 287-297 (symmetric
    cumulative logit); Rao and Kupper (1967), see :func:`RaoKupper`.

    Attributes:
        levels: grades of preference on each side, at least 1.
        ties: whether there is a middle outcome.
    """

    levels: int
    ties: bool = True

    def __post_init__(self) -> None:
        if self.levels < 1:
            raise ValueError(f"levels must be at least 1 (grades of preference on each side), got {self.levels}")

    @property
    def outcomes(self) -> tuple[str, ...]:
        return graded_outcomes(self.levels, self.ties)

    @property
    def parameters(self) -> tuple[str, ...]:
        return (("tie",) if self.ties else ()) + tuple(f"step_{j}" for j in range(1, self.levels))

    def initial(self) -> tuple[float, ...]:
        first = 0.5 if self.ties else 1.0
        return tuple(first + j for j in range(len(self.parameters)))

    def constrain(self, free: Array) -> Array:
        """Increasing positive thresholds from any numbers: the cumulative sum of their softplus."""
        if not self.parameters:
            return free
        return array_namespace(free).cumulative_sum(softplus(free), axis=-1)

    def unconstrain(self, parameters: Array) -> Array:
        """The inverse of :meth:`constrain`."""
        columns, _ = split(parameters, self.parameters)
        if not columns:
            return parameters
        gaps = [columns[0], *(columns[j] - columns[j - 1] for j in range(1, len(columns)))]
        return array_namespace(parameters).stack([inverse_softplus(gap) for gap in gaps], axis=-1)

    def _cuts(self) -> tuple[Cut, ...]:
        indices = range(len(self.parameters))
        middle = () if self.ties else (Cut(0, None),)
        return (*(Cut(-1, j) for j in reversed(indices)), *middle, *(Cut(1, j) for j in indices))


def graded_outcomes(levels: int, ties: bool) -> tuple[str, ...]:
    """Outcome names from the best for b to the best for a: ``b2, b1, tie, a1, a2``, or ``b, a`` with one level."""
    middle = ("tie",) if ties else ()
    if levels == 1:
        return ("b", *middle, "a")
    grades = range(1, levels + 1)
    return (*(f"b{g}" for g in reversed(grades)), *middle, *(f"a{g}" for g in grades))


def RaoKupper() -> Ordinal:
    """Ties after Rao and Kupper: the difference must exceed a threshold ``tie = delta = log kappa`` to be noticed.

    ``P(a) = pi_a / (pi_a + kappa pi_b) = sigma(d - delta)`` and
    ``P(tie) = (kappa^2 - 1) pi_a pi_b / ((pi_a + kappa pi_b)(kappa pi_a + pi_b))``, kappa > 1.

    Source: Rao and Kupper (1967), Ties in paired-comparison experiments: a generalization of the Bradley-Terry
    model, JASA 62, 194-204 (their theta is kappa).
    """
    return Ordinal(levels=1, ties=True)
