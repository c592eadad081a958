"""Criteria in order of priority: the first on which responses differ enough decides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preflearn.choice import kernels
from preflearn.errors import InputError, NotSupported
from preflearn.models.base import HeadModule, KernelModule, Part, Shape, Taste
from preflearn.models.bounds import NonNegative
from preflearn.models.parts import part


class LexicographicModule(KernelModule):
    """The decisive difference, in logits: each criterion has a learned slope.

    Attributes:
        thresholds: by criterion, [L].
        log_slope: [L].
    """

    thresholds: Tensor

    def __init__(self, thresholds: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.tensor(thresholds, dtype=torch.float64))
        self.log_slope = nn.Parameter(torch.zeros(len(thresholds)))

    def forward(self, a: Tensor, b: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        # A slope multiplies the difference and its threshold alike: what decides does not depend on it.
        slope = torch.exp(self.log_slope)
        logit: Tensor = kernels.lexicographic(slope * a, slope * b, slope * self.thresholds.to(a.dtype))
        return logit

    def utility(self, rep: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        raise NotSupported("thresholds make preferences intransitive: there is no one utility per response.")

    def penalty(self, ridge: float) -> Tensor:
        return ridge / 2 * self.log_slope.square().sum()


@part("kernel", "lexicographic")
@dataclass(frozen=True)
class Lexicographic(Part):
    """The difference on the first criterion where it exceeds its threshold, times a slope that is learned.

    The head gives the criteria in order of priority (`recorded` for numbers in columns). The labels of this model are
    those of HERON: fit a reward model to them to learn a utility, which cannot agree with all, as they may run in
    circles.

    Attributes:
        thresholds: smallest difference that decides, by criterion, in standard deviations where features are
            standardised.

    Source: HERON, Bukharin et al. (2023), arXiv 2309.02632 (official code; slopes are ours: without comparisons to
    learn from, they stay 1).
    """

    thresholds: tuple[NonNegative, ...]

    def build(self, shape: Shape, head: HeadModule) -> KernelModule:
        if head.width != len(self.thresholds) or min(self.thresholds, default=-1.0) < 0:
            raise InputError(
                f"the lexicographic kernel needs one threshold >= 0 for each of {head.width} criteria.",
                value=self.thresholds,
            )
        return LexicographicModule(tuple(float(each) for each in self.thresholds))
