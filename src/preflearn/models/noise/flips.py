"""One rate of wrong labels for everybody: in the likelihood, as smoothing, or corrected without bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from preflearn.choice import flipped, smoothed_target, unbiased_target
from preflearn.choice.reliability import FlipProfile, profile_flip_rate
from preflearn.errors import InputError
from preflearn.models.base import NoiseModule, Part, Shape
from preflearn.models.batch import Pairs
from preflearn.models.bounds import Minority, Positive
from preflearn.models.parts import part

if TYPE_CHECKING:
    from preflearn.data import PreferenceData
    from preflearn.models.composed import Composed


class FlipsModule(NoiseModule):
    """Labels flipped at one rate, which stays below 1/2 where it is learned."""

    mixes = True

    def __init__(self, rate: float, learned: bool) -> None:
        super().__init__()
        start = torch.tensor(rate)
        self.free: nn.Parameter | None = nn.Parameter(torch.logit(2 * start)) if learned else None
        self.fixed = rate

    @property
    def rate(self) -> Tensor | float:
        """The probability of a flip."""
        return self.fixed if self.free is None else 0.5 * torch.sigmoid(self.free)

    def observed(self, log_probs: Tensor, rows: Pairs) -> Tensor:
        result: Tensor = flipped(log_probs, self.rate)
        return result


@part("noise", "flips")
@dataclass(frozen=True)
class Flips(Part):
    """Every label is recorded the wrong way round with one probability, inside the likelihood.

    ``P(recorded a) = (1 - rate) P(a) + rate P(b)``: a confident label that contradicts the model loses its influence.
    `prob` answers what would be recorded, the denoised model what is preferred.

    Attributes:
        rate: known beforehand, or where learning starts.
        learned: by gradient. A single rate is weakly identified: with utilities of unit scale, noisy and flipped labels
            look alike, and a ridge that holds utilities smaller than they are leaves less to flips (the default expects
            logits of variance 2). `flip_profile` says how well the data determines it.
    """

    rate: float = 0.1
    learned: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 0.5 or (self.learned and self.rate == 0):
            raise InputError(
                "a flip rate lies in [0, 1/2), and above 0 where it is learned.",
                value=self.rate,
                cure="Annotators who are wrong more often than right need the part reliability.",
            )

    def build(self, shape: Shape) -> NoiseModule:
        return FlipsModule(self.rate, self.learned)


class _Relabelled(NoiseModule):
    def __init__(self, targets: Any, clip: float | None = None) -> None:
        super().__init__()
        self.targets, self.clip = targets, clip

    def relabelled(self, rows: Pairs) -> Pairs:
        return replace(rows, target=self.targets(rows.target))


class _Bounded(_Relabelled):
    def observed(self, log_probs: Tensor, rows: Pairs) -> Tensor:
        return log_probs.clamp(min=-self.clip) if self.training and self.clip is not None else log_probs


@part("noise", "smoothing")
@dataclass(frozen=True)
class Smoothing(Part):
    """Label smoothing: fits ``(1 - eps)`` of the recorded label and ``eps`` of its mirror; predictions are the model's.

    It bounds the logits (at ``log((1 - eps) / eps)`` where a label is certain) and changes their direction little.

    Attributes:
        eps: probability of a wrong label, in [0, 1/2).

    Source: Mitchell (2023), A note on DPO with noisy preferences (conservative DPO).
    """

    eps: Minority = 0.1

    def build(self, shape: Shape) -> NoiseModule:
        return _Relabelled(lambda target: smoothed_target(target, self.eps))


@part("noise", "unbiased")
@dataclass(frozen=True)
class Unbiased(Part):
    """The loss whose mean over flips is the loss of the clean labels: ``((1 - eps) l(s) - eps l(-s)) / (1 - 2 eps)``.

    Mirrored labels count negatively, so the loss falls without bound as the logit of a recorded label grows, and with
    few data or no ridge weights run far beyond the truth. `Flips` is the better use of a known rate.

    Attributes:
        eps: probability of a wrong label, in [0, 1/2).
        clip: the largest loss, in nats, that counts: labels of less probability than ``e^-clip`` no longer pull, and
            mirrored ones no longer push. Bounds the loss at ``-eps clip / (1 - 2 eps)``; None = as published.

    Source: Natarajan et al. (2013); for preferences rDPO, Ray Chowdhury, Kini and Natarajan (2024), arXiv 2403.00409.
    """

    eps: Minority = 0.1
    clip: Positive | None = None

    def build(self, shape: Shape) -> NoiseModule:
        if self.clip is None:
            return _Relabelled(lambda target: unbiased_target(target, self.eps))
        return _Bounded(lambda target: unbiased_target(target, self.eps), self.clip)


def flip_profile(
    model: Composed,
    data: PreferenceData,
    rates: Sequence[float] = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45),
) -> FlipProfile:
    """The flip rate of the data with an interval: the model is fitted anew at every rate.

    Args:
        model: unfitted, without label noise of its own; its ridge counts, see `Flips`.
        data: its judgments; they count as independent.
        rates: increasing, at least three.
    """
    likelihoods = []
    for rate in rates:
        fitted = model.clone().set_params(noise=(*model.noise, Flips(rate))).fit(data)
        likelihoods.append(-fitted.report_.value)
    return profile_flip_rate(rates, likelihoods)
