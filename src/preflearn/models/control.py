"""Heads for what is known beforehand: recorded criteria, policies read as utilities, trajectories judged by regret.

Their features are numbers with a meaning, so models with these heads do not standardise them (see the recipes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from preflearn.choice import kernels
from preflearn.errors import InputError
from preflearn.models.base import HeadModule, Part, Shape
from preflearn.models.bounds import Count, Discount, Positive, Widths
from preflearn.models.heads import perceptron
from preflearn.models.parts import part

Floats = npt.NDArray[np.float64]


class _Recorded(HeadModule):
    channels = 1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x[:, None, :]


@part("head", "recorded")
@dataclass(frozen=True)
class Recorded(Part):
    """The features themselves: nothing is learned here. For kernels that read recorded criteria (`lexicographic`)."""

    def build(self, shape: Shape, inputs: int, channels: int) -> HeadModule:
        _single(channels, "recorded")
        return _Recorded(inputs)


class _LogRatio(HeadModule):
    channels = width = 1

    def __init__(self, beta: float, learned: bool) -> None:
        super().__init__()
        start = torch.tensor(beta).log()
        self.log_beta: nn.Parameter | None = nn.Parameter(start) if learned else None
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        reward: Tensor = kernels.log_ratio(x[:, 0], x[:, 1], 1.0)
        beta = self.beta if self.log_beta is None else torch.exp(self.log_beta)
        return (beta * reward)[:, None, None]


@part("head", "log_ratio")
@dataclass(frozen=True)
class LogRatio(Part):
    """A policy's implicit reward ``beta log(pi / pi_ref)`` of two features: log-probabilities by policy and reference.

    Attributes:
        beta: known, or where learning starts.
        learned: fit beta, the one number that makes the implicit reward's probabilities honest.

    Source: Rafailov et al. (2023), Direct preference optimization, arXiv 2305.18290, equation 5.
    """

    beta: Positive = 0.1
    learned: bool = False

    def build(self, shape: Shape, inputs: int, channels: int) -> HeadModule:
        _single(channels, "log_ratio")
        if inputs != 2 or not self.beta > 0:
            raise InputError(
                "log-ratios need beta > 0 and two features: log-probabilities by the policy and by the reference.",
                value=(self.beta, inputs),
                cure="Give the encoder {columns: [policy_logp, reference_logp]}.",
            )
        return _LogRatio(self.beta, self.learned)


class _StepReward(HeadModule):
    width = 1

    def __init__(self, steps: int, size: int, channels: int, hidden: Sequence[int], discount: float) -> None:
        super().__init__()
        self.steps, self.channels, self.discount = steps, channels, discount
        self.reward = perceptron(size - 1, hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        step = x.reshape(len(x), self.steps, -1)
        rewards = self.reward(step[..., :-1]).movedim(-1, 1)
        total: Tensor = kernels.partial_return(rewards, (step[..., -1] > 0)[:, None, :], self.discount)
        return total[..., None]


@part("head", "step_reward")
@dataclass(frozen=True)
class StepReward(Part):
    """The partial return of a reward that a perceptron gives to every step, ``sum_t discount^t r(x_t)``.

    Features are the steps one after the other, each followed by 1 where there is a step and 0 where there is none (the
    encoder `segment_steps`). A linear reward needs only sums over steps: `utility` over the encoder `segments`.

    Attributes:
        steps: of the longest segment.
        hidden: widths of hidden layers.
        discount: in (0, 1].

    Source: Christiano et al. (2017), arXiv 1706.03741, equation 1.
    """

    steps: Count
    hidden: Widths = (64, 64)
    discount: Discount = 1.0

    def build(self, shape: Shape, inputs: int, channels: int) -> HeadModule:
        if self.steps < 1 or inputs % self.steps or inputs // self.steps < 2:
            raise InputError(
                f"{inputs} features are not {self.steps} steps, each followed by 1 or 0.",
                value=self.steps,
            )
        return _StepReward(self.steps, inputs // self.steps, channels, self.hidden, self.discount)


class RegretModule(HeadModule):
    """Minus the regret of segments under a linear reward, values by successor features of given policies.

    Attributes:
        weight: of the reward's features, [C, p].
    """

    width = 1

    def __init__(self, size: int, policies: int, channels: int, temperature: float, spread: float) -> None:
        super().__init__()
        self.size, self.policies, self.channels = size, policies, channels
        self.temperature, self.spread = temperature, spread
        self.weight = nn.Parameter(torch.empty(channels, size))
        self.restart()

    def restart(self) -> None:
        """Draw the weights anew: at zero all policies are alike."""
        nn.init.normal_(self.weight, std=self.spread)

    def value(self, successors: Tensor) -> Tensor:
        """Values ``[m, C]`` of states with successor features ``[m, J, p]``: a soft maximum over the policies."""
        each = torch.einsum("mjp,cp->mcj", successors, self.weight)
        return (torch.softmax(each / self.temperature, dim=-1) * each).sum(-1)

    def forward(self, x: Tensor) -> Tensor:
        total, start, end = torch.split(x, [self.size, *(2 * [self.policies * self.size])], dim=1)
        shape = (len(x), self.policies, self.size)
        partial, first, last = total @ self.weight.T, self.value(start.reshape(shape)), self.value(end.reshape(shape))
        regret: Tensor = kernels.regret(partial, first, last)
        return -regret[..., None]


@part("head", "regret")
@dataclass(frozen=True)
class Regret(Part):
    """Minus the regret of a segment, ``w . (sum of features) + V(s_T) - V(s_0)``, V optimal under the same w.

    Values are those of the best of given policies, ``V(s) = sum_j softmax_j(w . psi_j(s) / T) w . psi_j(s)``: features
    of a response are the sum over its steps and the successor features psi_j of its first and last state (see
    `regret_features`). The policies have to cover the optimal ones of the rewards that may be learned: V is otherwise
    too low, and the regret wrong.

    Attributes:
        policies: their number J.
        temperature: T, small against differences of values.
        spread: standard deviation of the initial weights. The problem is not convex.

    Source: Knox et al. (2022), Models of human preference for learning reward functions, arXiv 2206.02231 (official
    code for deterministic transitions: logit, successor features, T = .001; of the paper the abstract).
    """

    policies: Count
    temperature: Positive = 1e-3
    spread: Positive = 0.1

    def build(self, shape: Shape, inputs: int, channels: int) -> HeadModule:
        parts = 1 + 2 * self.policies
        if self.policies < 1 or inputs % parts or not self.temperature > 0:
            raise InputError(
                f"{inputs} features are no sum with successor features of two states under {self.policies} policies.",
                value=inputs,
                cure="preflearn.models.control.regret_features lays them out; do not standardise them.",
            )
        return RegretModule(inputs // parts, self.policies, channels, self.temperature, self.spread)


def regret_features(total: Floats, start: Floats, end: Floats) -> Floats:
    """Features of segments for the head `regret`, ``[R, p (1 + 2 J)]``.

    Args:
        total: sums of the reward's features over the steps of each segment, [R, p].
        start, end: successor features of the state before the first step and after the last, [R, J, p]; 0 for an end
            that is terminal; with a discount, `end` carries that of the segment's steps.
    """
    if start.shape != end.shape or start.shape[::2] != total.shape:
        raise InputError(
            "the sums are [R, p] and the successor features [R, J, p].", value=(total.shape, start.shape, end.shape)
        )
    return np.concatenate([total, start.reshape(len(start), -1), end.reshape(len(end), -1)], axis=1)


def _single(channels: int, name: str) -> None:
    if channels != 1:
        raise InputError(
            f"the head {name} learns nothing, so there is nothing that tastes could differ in.", value=channels
        )
