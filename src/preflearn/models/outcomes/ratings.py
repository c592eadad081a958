"""Ratings on an interval scale: normal around the utility, in the units of each criterion, shifted by who rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl
import torch
from torch import Tensor, nn

from preflearn.choice import Binary
from preflearn.choice.rating import Gaussian
from preflearn.data import PreferenceData
from preflearn.errors import InputError
from preflearn.models.base import OutcomeModule, OutcomePart, Shape
from preflearn.models.batch import Batch, Pairs, Ratings
from preflearn.models.bounds import Positive
from preflearn.models.outcomes.comparisons import Choice
from preflearn.models.parts import part

if TYPE_CHECKING:
    from preflearn.models.network import Network

NOISE = math.sqrt(4 / math.pi)
"""Standard deviation of a rating in units of utility: two ratings then differ in sign as votes would, near equality."""


class RatedChoice(Choice):
    """Which of two noisy ratings is higher: ``P(a) = Phi(d / (sqrt(2) NOISE))``, about ``sigma(d)``."""

    def __init__(self) -> None:
        super().__init__(Binary())

    def log_probs(self, logit: Tensor, rows: Pairs) -> Tensor:
        z = logit / (math.sqrt(2) * NOISE)
        return torch.stack([torch.special.log_ndtr(-z), torch.special.log_ndtr(z)], dim=-1)

    def predicted(self, logit: Tensor, rows: Pairs) -> Tensor:
        return self.log_probs(logit, rows)


class GaussianModule(OutcomeModule):
    """Shape parameters of every criterion and shifts of annotators, on the standardised scale of the training ratings.

    Attributes:
        centre, scale: mean and standard deviation of the training ratings, by criterion, [C].
        fixed: criteria whose slope follows from their noise, [C] of bool.
        shift, ratio, log_sd: intercept and noise in units of `scale`; slope relative to that of the fixed ones, [C].
        deviation: shift of each annotator, in noise standard deviations, [U]; empty where there is none.
    """

    table = "ratings"
    centre: Tensor
    scale: Tensor
    fixed: Tensor

    def __init__(self, criteria: int, annotators: int, free: bool, shrinkage: float | None, many: bool) -> None:
        super().__init__()
        self.free, self.many, self.shrinkage = free, many, shrinkage
        self.personal = shrinkage is not None
        self.register_buffer("centre", torch.zeros(criteria, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(criteria, dtype=torch.float64))
        self.register_buffer("fixed", torch.zeros(criteria, dtype=torch.bool))
        self.shift = nn.Parameter(torch.zeros(criteria))
        self.ratio = nn.Parameter(torch.ones(criteria))
        self.log_sd = nn.Parameter(torch.zeros(criteria))
        self.deviation = nn.Parameter(torch.zeros(annotators if self.personal else 0))

    def prepare(self, batch: Batch) -> None:
        rows = batch.ratings
        assert rows is not None
        if self.free and batch.pairs is None and batch.lists is None:
            raise InputError(
                "a free slope needs comparisons or rankings beside the ratings, which fix the scale of utilities.",
                cure='Use slope="noise".',
            )
        place, spread = self._criterion(rows), rows.spread.nan_to_num(nan=0.0)
        size = len(self.centre)
        total = self.centre.new_zeros(size).index_add_(0, place, rows.weight.double())
        mean = self.centre.new_zeros(size).index_add_(0, place, (rows.weight * rows.value).double()) / total
        square = (rows.value.double() - mean[place]) ** 2 + spread.double() ** 2
        sd = (self.centre.new_zeros(size).index_add_(0, place, rows.weight.double() * square) / total).sqrt()
        self.centre.copy_(mean)
        self.scale.copy_(torch.where(sd > 0, sd, 1.0))
        if not self.free:
            self.fixed[int(total.argmax())] = True

    @torch.no_grad()
    def set_scale(self, mean: Any, sd: Any, residual: Any) -> None:
        """Fix the scale for utilities in standard units of each criterion: value = mean + sd * u, by criterion [C].

        Args:
            mean, sd: of the recorded values.
            residual: standard deviation of what utilities leave unexplained, in units of `sd`.
        """
        self.centre.copy_(torch.as_tensor(mean))
        self.scale.copy_(torch.as_tensor(sd).clamp(min=1e-12))
        self.fixed.fill_(False)
        spread = torch.as_tensor(residual).clamp(min=1e-3).to(self.log_sd.dtype)
        for parameter, value in ((self.shift, 0 * spread), (self.ratio, NOISE / spread), (self.log_sd, spread.log())):
            parameter.copy_(value)
            parameter.requires_grad_(False)

    def _criterion(self, rows: Ratings) -> Tensor:
        if not self.many:
            return torch.zeros_like(rows.item)
        place = rows.who.columns["criterion"]
        if bool((place < 0).any()):
            raise InputError(
                "a rating is on a criterion that the model has not learned, or on none.",
                row=int((place < 0).nonzero()[0]),
                column="ratings.criterion_id",
            )
        return place

    def parameters_of(self, rows: Ratings) -> Tensor:
        """Intercept, slope and log_sd of each rating, [n, 1, 3], as `preflearn.choice.rating.Gaussian` takes them."""
        place, dtype = self._criterion(rows), self.log_sd.dtype
        scale, sd = self.scale.to(dtype), torch.exp(self.log_sd)
        slope = torch.where(self.fixed, torch.ones_like(self.ratio), self.ratio) * scale * sd / NOISE
        intercept = (self.centre.to(dtype) + scale * self.shift)[place]
        if self.personal:
            intercept = intercept + (scale * sd)[place] * self._deviations(rows)
        log_sd = self.log_sd + torch.log(scale)
        return torch.stack([intercept, slope[place], log_sd[place]], dim=-1)[:, None, :]

    def _deviations(self, rows: Ratings) -> Tensor:
        who = rows.who.annotator
        known = (who >= 0) & (who < len(self.deviation))
        table = torch.cat([self.deviation, self.deviation.new_zeros(1)])
        return table[torch.where(known, who, -1)]

    def log_prob(self, utility: Tensor, rows: Ratings) -> Tensor:
        """Log-density of one of the people behind each rating, ``[n, Z]``: the row's weight counts them."""
        spread = rows.spread.nan_to_num(nan=0.0)[:, None]
        result: Tensor = Gaussian().log_prob(rows.value[:, None], utility, self.parameters_of(rows), spread=spread)
        return result

    def predict(self, utility: Tensor, rows: Ratings) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the rating one person would give, each ``[n, Z]``."""
        parameters = self.parameters_of(rows)
        mean: Tensor = Gaussian().mean(utility, parameters)
        return mean, torch.exp(parameters[..., 2]).expand_as(mean)

    def paired(self) -> OutcomeModule | None:
        return None if self.free else RatedChoice()

    def penalty(self) -> Tensor:
        total = 0.5 * torch.where(self.fixed, 0.0, (self.ratio - 1) ** 2).sum()
        if self.shrinkage is not None:
            total = total + 0.5 * self.shrinkage * (self.deviation**2).sum()
        return total

    @torch.no_grad()
    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        """Shifts of newcomers: the mean of their posterior, in closed form."""
        assert self.shrinkage is not None
        size = max(int(newcomers.max()) + 1, len(self.deviation))
        table = torch.cat([self.deviation, self.deviation.new_zeros(size - len(self.deviation))])
        rows = batch.ratings
        if rows is not None:
            taste = network.population.known(rows, batch)
            mean, sd = self.predict(network.values(rows, batch, taste), rows)
            share = torch.ones_like(mean) if taste.log_weights is None else torch.exp(taste.log_weights)
            error = (share * (rows.value[:, None] - mean) / sd).sum(-1)
            who = rows.who.annotator
            total = table.new_zeros(size).index_add_(0, who, (rows.weight * error).to(table.dtype))
            count = table.new_zeros(size).index_add_(0, who, rows.weight.to(table.dtype))
            table[newcomers] = (total / (self.shrinkage + count))[newcomers]
        self.deviation = nn.Parameter(table)


@part("outcome", "rating")
@dataclass(frozen=True)
class GaussianRating(OutcomePart):
    """Ratings on an interval scale: ``value ~ N(intercept_c + slope_c u + shift_u, sd_c^2)`` with the utility u.

    Utilities are in logits: the scale of ratings (0 to 4, 1 to 100) plays no role. A row that is the mean of `count`
    people with a recorded spread counts as the ratings of all of them; a count without a spread as so many equal ones.

    A model of ratings alone answers comparisons by which of two ratings, each with its noise, would be higher:
    ``P(a beats b) = Phi(sqrt(pi/8) (u_a - u_b))``, the normal twin of ``sigma(u_a - u_b)``.

    Attributes:
        slope: "noise": a unit of utility is so many points that its effect on the ratings equals that on votes
            (``sd_c = NOISE slope_c``), the only choice for ratings alone; "free": learned, where comparisons or
            rankings fix the scale of the utilities.
        per_criterion: every criterion has its own intercept, slope and noise; that of most ratings follows `slope`,
            the slopes of the others are free and may be negative or 0. Else the model answers one criterion.
        personal: annotators have a shift of their own, shrunk with this precision (in units of the noise: 1 = people
            differ as much as one person's ratings of the same thing). Strangers have none. None = everyone alike.
    """

    slope: Literal["noise", "free"] = "noise"
    per_criterion: bool = False
    personal: Positive | None = None

    table: ClassVar[str] = "ratings"

    @property
    def needs_annotators(self) -> bool:  # type: ignore[override]
        return self.personal is not None

    def columns(self) -> Mapping[str, str]:
        return {"criterion": "criterion_id"} if self.per_criterion else {}

    def tells_criteria(self) -> tuple[str, ...]:
        return ("ratings",) if self.per_criterion else ()

    def check(self, data: PreferenceData) -> None:
        check_direction(data)
        if not data.select("ratings", ["value"]).collect()["value"].drop_nulls().len():
            raise InputError(
                "this model learns from ratings with a value, and none has one.",
                column="ratings.value",
                cure='Ratings with labels only are the outcomes "rating_class" and "rating_ordinal".',
            )

    def build(self, shape: Shape) -> OutcomeModule:
        if self.slope not in ("noise", "free"):
            raise InputError("the slope of ratings is noise or free.", value=self.slope)
        if self.personal is not None and not self.personal > 0:
            raise InputError("the precision of annotators' shifts is a number > 0.", value=self.personal)
        criteria = shape.codes["criterion"] if self.per_criterion else 1
        return GaussianModule(criteria, shape.annotators, self.slope == "free", self.personal, self.per_criterion)

    def answers(self, frame: pl.DataFrame) -> tuple[Any, Mapping[str, float]]:
        """Rows with a value (and a criterion, where they are told apart), and how many have none."""
        there = frame["value"].is_finite().fill_null(False).to_numpy()
        left = {"without a value": float((~there).sum())}
        if self.per_criterion:
            named = frame["__criterion"].is_not_null().to_numpy()
            left["without a criterion"] = float((there & ~named).sum())
            there = there & named
        return there, {reason: n for reason, n in left.items() if n}


def check_direction(data: PreferenceData) -> None:
    """Raise `InputError` where lower values are better on the criterion of most ratings: utilities rise with them."""
    if "higher_is_better" not in data.columns("criteria"):
        return
    used = data.select("ratings", ["criterion_id"]).collect()["criterion_id"].drop_nulls().cast(pl.String)
    if not used.len():
        return
    most = used.value_counts(sort=True)["criterion_id"][0]
    row = data.criteria.filter(pl.col("criterion_id").cast(pl.String) == most)["higher_is_better"]
    if row.len() and row[0] is False:
        raise InputError(
            "on this criterion a lower value is better, and utilities rise with values.",
            column="criteria.higher_is_better",
            value=most,
            cure="Turn its values round, or leave its ratings out.",
        )
