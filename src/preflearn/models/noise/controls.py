"""Nuisance covariates: differences of length or style that sway judgments without being what is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from preflearn.choice import nuisance
from preflearn.errors import InputError
from preflearn.models.base import NoiseModule, Part, Shape
from preflearn.models.batch import Pairs
from preflearn.models.bounds import NonNegative
from preflearn.models.parts import part


class ControlsModule(NoiseModule):
    """Coefficients of covariates, in logits per root mean square of their differences."""

    def __init__(self, size: int, ridge: float) -> None:
        super().__init__()
        self.ridge = ridge
        self.effects = nn.Parameter(torch.zeros(size))

    def shift(self, rows: Pairs) -> Tensor:
        shift: Tensor = nuisance.linear(rows.controls, self.effects)
        return shift

    def penalty(self) -> Tensor:
        return self.ridge / 2 * self.effects.square().sum()


@part("noise", "controls")
@dataclass(frozen=True)
class Controls(Part):
    """Logits shifted by differences of nuisance covariates, ``gamma . (c_a - c_b)``.

    Predictions of comparisons contain them, utilities and the denoised model do not: that is the preference between
    responses of equal covariates. What the covariates say *and* the features say is divided by the penalties: the
    weak one here lets the covariates have it.

    Attributes:
        names: numeric columns of responses, or counted features of texts ("words", "lists", ...) where no such column
            is recorded.
        ridge: precision of the normal prior on each coefficient.

    Source: as the style control of leaderboards; for models of preferences, WIMHF (2025), arXiv 2510.26202, the term
    gamma x (paper text).
    """

    names: tuple[str, ...] = ("words",)
    ridge: NonNegative = 0.01

    def __post_init__(self) -> None:
        given: Any = self.names
        names = (given,) if isinstance(given, str) else tuple(given)
        object.__setattr__(self, "names", names)

    def controls(self) -> tuple[str, ...]:
        return self.names

    def build(self, shape: Shape) -> NoiseModule:
        if shape.controls != len(self.names):
            raise InputError(
                "covariates shift comparisons, and there are none."
                if not shape.controls
                else "give one part all names.",
                value=self.names,
                cure="Leave the part controls out of models of ratings and rankings, and give it once.",
            )
        return ControlsModule(shape.controls, self.ridge)
