"""Ratings that are grades (an ordered scale, learned cut-points) or classes (labels, learned places between them)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from preflearn.choice import Binary, ClassLabel, OrdinalRating
from preflearn.choice.modules import AnnotatorLink, LinkModule
from preflearn.choice.rating import which_grade_is_higher
from preflearn.data import PreferenceData
from preflearn.data.arrays import codes
from preflearn.errors import InputError
from preflearn.models.base import OutcomeModule, OutcomePart, Shape
from preflearn.models.batch import Batch, Pairs, Ratings
from preflearn.models.bounds import Finite, Positive
from preflearn.models.outcomes.comparisons import Choice, acquainted
from preflearn.models.outcomes.ratings import check_direction
from preflearn.models.parts import part

if TYPE_CHECKING:
    from preflearn.models.network import Network

_MANY = 20
ORDERS = (
    ("disagree", "pass", "agree"),
    ("down", "up"),
    ("undesirable", "desirable"),
    ("negative", "neutral", "positive"),
    ("bad", "good"),
    ("no", "yes"),
    ("false", "true"),
)
"""Labels whose order is known, worst first."""


class GradedChoice(Choice):
    """Which of two graded responses is the better one before grades are given."""

    def __init__(self) -> None:
        super().__init__(Binary())

    def log_probs(self, logit: Tensor, rows: Pairs) -> Tensor:
        result: Tensor = which_grade_is_higher(logit)
        return result

    def predicted(self, logit: Tensor, rows: Pairs) -> Tensor:
        return self.log_probs(logit, rows)


class OrdinalModule(OutcomeModule):
    """Grades between learned cut-points, of all or of each annotator.

    Attributes:
        points: what each grade stands for on the scale, [K].
    """

    table = "ratings"
    points: Tensor

    def __init__(self, points: tuple[float, ...], annotators: int, shrinkage: float | None) -> None:
        super().__init__()
        link = OrdinalRating(len(points))
        self.personal = shrinkage is not None
        self.shape = LinkModule(link) if shrinkage is None else AnnotatorLink(link, annotators, shrinkage)
        self.register_buffer("points", torch.tensor(points, dtype=torch.float64))

    def log_probs(self, utility: Tensor, rows: Ratings) -> Tensor:
        """Log-probabilities of grades, ``[n, Z] -> [n, Z, K]``."""
        shape = self.shape.shape_parameters
        if isinstance(self.shape, AnnotatorLink):
            who = rows.who.annotator
            shape = self.shape.parameters_of(torch.where(who < len(self.shape.deviation), who, -1))[:, None, :]
        result: Tensor = self.shape.link.log_probs(utility, shape.to(utility.dtype))
        return result

    def log_prob(self, utility: Tensor, rows: Ratings) -> Tensor:
        """Log-likelihood of each grade, ``[n, Z]``."""
        log_probs = self.log_probs(utility, rows)
        return log_probs.gather(-1, rows.label[:, None, None].expand(-1, log_probs.shape[1], 1))[..., 0]

    def predict(self, utility: Tensor, rows: Ratings) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the grade on its scale, each ``[n, Z]``."""
        return _moments(torch.exp(self.log_probs(utility, rows)), self.points)

    def paired(self) -> OutcomeModule | None:
        return GradedChoice()

    def penalty(self) -> Tensor:
        return self.shape.penalty()

    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        """Cut-points of newcomers by penalised likelihood, everything else frozen."""
        assert isinstance(self.shape, AnnotatorLink)
        acquainted(self.shape, network, batch, batch.ratings, newcomers)


class ClassModule(OutcomeModule):
    """``P(class k) = softmax(level_k + place_k u)`` with the worst class at place 0 and the best at place 1.

    Attributes:
        level: of the classes after the first, relative to it, [K - 1].
        place: of the classes between, [K - 2].
    """

    table = "ratings"

    def __init__(self, labels: tuple[str, ...]) -> None:
        super().__init__()
        self.link = ClassLabel(labels)
        self.level = nn.Parameter(torch.zeros(len(labels) - 1))
        self.place = nn.Parameter(torch.linspace(0, 1, len(labels))[1:-1].clone())

    @property
    def places(self) -> Tensor:
        """Places of all classes, [K]."""
        return torch.cat([self.place.new_zeros(1), self.place, self.place.new_ones(1)])

    def log_probs(self, utility: Tensor) -> Tensor:
        """Log-probabilities of classes, ``[n, Z] -> [n, Z, K]``."""
        level = torch.cat([self.level.new_zeros(1), self.level])
        result: Tensor = self.link.log_probs((level + self.places * utility[..., None]).to(utility.dtype))
        return result

    def log_prob(self, utility: Tensor, rows: Ratings) -> Tensor:
        """Log-likelihood of each label, ``[n, Z]``."""
        log_probs = self.log_probs(utility)
        return log_probs.gather(-1, rows.label[:, None, None].expand(-1, log_probs.shape[1], 1))[..., 0]

    def predict(self, utility: Tensor, rows: Ratings) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the place of the label (0 the worst class, 1 the best), each ``[n, Z]``."""
        return _moments(torch.exp(self.log_probs(utility)), self.places)

    def paired(self) -> OutcomeModule | None:
        return Choice(Binary())


def _moments(probability: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the last axis."""
    points = points.to(probability.dtype)
    mean = (probability * points).sum(-1)
    return mean, (probability * (points - mean[..., None]) ** 2).sum(-1).sqrt()


@part("outcome", "rating_ordinal")
@dataclass(frozen=True)
class Grades(OutcomePart):
    """Grades of an ordered scale: ``P(grade > k) = sigma(u - cut_k)``, cut-points learned (proportional odds).

    A model of grades alone answers comparisons by the utilities with the noise of one grading each
    (`preflearn.choice.rating.which_grade_is_higher`).

    Attributes:
        values: the numbers that ratings take, ascending; "auto" = those that were recorded. Ignored with `labels`.
        labels: of the grades, worst first, where ratings carry labels instead of numbers; they stand for 1, 2, ...
        personal: annotators have cut-points of their own, shrunk towards the pooled ones with this precision (in the
            link's unconstrained units); strangers get the pooled ones. None = one set for all.
    """

    values: tuple[Finite, ...] | Literal["auto"] = "auto"
    labels: tuple[str, ...] = ()
    personal: Positive | None = None

    table: ClassVar[str] = "ratings"

    @property
    def needs_annotators(self) -> bool:  # type: ignore[override]
        return self.personal is not None

    def check(self, data: PreferenceData) -> None:
        check_direction(data)

    def resolved(self, data: PreferenceData) -> OutcomePart:
        """The part with the recorded values.

        Raises:
            InputError: fewer than two values (or labels), or too many for a scale of grades.
        """
        found = data.select("ratings", ["value", "label"]).collect()
        if self.labels or self.values != "auto":
            return self
        values = sorted(float(value) for value in found["value"].drop_nulls().unique())
        if len(values) < 2:
            named = found["label"].drop_nulls().len()
            raise InputError(
                f"grades need at least two values, and {len(values) or 'none'} is recorded.",
                column="ratings.value",
                cure="Name the labels from the worst to the best with labels=." if named else "Record ratings.",
            )
        if len(values) > _MANY:
            raise InputError(
                f"{len(values):,} different values are recorded: this is no scale of grades.",
                column="ratings.value",
                cure='Use the outcome "rating", or name the grades with values=.',
            )
        return replace(self, values=tuple(values))

    def build(self, shape: Shape) -> OutcomeModule:
        points = tuple(float(k + 1) for k in range(len(self.labels))) if self.labels else self.values
        assert points != "auto"
        try:
            return OrdinalModule(points, shape.annotators, self.personal)
        except ValueError as error:
            raise InputError(f"grades cannot be made: {error}.") from None

    def grades(self, frame: pl.DataFrame) -> Any:
        if self.labels:
            return codes(frame["label"], list(self.labels))
        points = np.asarray(self.values, np.float64)
        value = frame["value"].fill_null(float("nan")).to_numpy()
        place = np.searchsorted(points, value).clip(max=len(points) - 1)
        return np.where(points[place] == value, place, -1)

    def answers(self, frame: pl.DataFrame) -> tuple[Any, Mapping[str, float]]:
        """Rows with a known grade, and how many have none or another."""
        return _known(frame, self.grades(frame), "label" if self.labels else "value")


@part("outcome", "rating_class")
@dataclass(frozen=True)
class Classes(OutcomePart):
    """Labels as classes of one utility: ``P(k) = softmax(level_k + place_k u)``, the worst at place 0, the best at 1.

    Where the classes between them lie (an "unsure", a "pass") is learned: near 0 or 1, between, or outside. With two
    classes (a thumb) this is logistic regression. Given that one of two responses was called the best and the other the
    worst class, ``sigma(u_a - u_b)`` is the probability that it was this way round: the answer about comparisons of a
    model of labels alone.

    Attributes:
        labels: the first is the worst and the last the best; "auto" = a known set (agree/pass/disagree, up/down, ...).

    Source: Anderson (1984), Regression and ordered categorical variables, JRSS B 46, 1-30 (the stereotype model).
    """

    labels: tuple[str, ...] | Literal["auto"] = "auto"

    table: ClassVar[str] = "ratings"

    def resolved(self, data: PreferenceData) -> OutcomePart:
        """The part with the recorded labels.

        Raises:
            InputError: no label is recorded, a single one, or their order is not known.
        """
        found = data.select("ratings", ["label"]).collect()["label"].drop_nulls().cast(pl.String).unique().to_list()
        if not found:
            raise InputError("no rating has a label.", column="ratings.label", cure='Values are the outcome "rating".')
        if self.labels != "auto":
            return self
        known = [order for order in ORDERS if set(found) <= set(order)]
        if not known or len(found) < 2:
            raise InputError(
                f"the order of the labels is not known: {', '.join(sorted(found)[:8])}.",
                column="ratings.label",
                cure="Name at least two from the worst to the best with labels=.",
            )
        return replace(self, labels=tuple(label for label in known[0] if label in found))

    def build(self, shape: Shape) -> OutcomeModule:
        try:
            return ClassModule(tuple(self.labels))
        except ValueError as error:
            raise InputError(f"classes cannot be made: {error}.") from None

    def grades(self, frame: pl.DataFrame) -> Any:
        return codes(frame["label"], list(self.labels))

    def answers(self, frame: pl.DataFrame) -> tuple[Any, Mapping[str, float]]:
        """Rows with a known label, and how many have none or another."""
        return _known(frame, self.grades(frame), "label")


def _known(frame: pl.DataFrame, place: Any, column: str) -> tuple[Any, Mapping[str, float]]:
    there = frame[column].is_not_null().to_numpy()
    left = {f"without a {column}": float((~there).sum()), f"of another {column}": float((there & (place < 0)).sum())}
    return place >= 0, {reason: n for reason, n in left.items() if n}
