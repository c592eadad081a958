"""The skew-symmetric kernel: preferences that may run in circles, with planes weighed by the prompt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preflearn.choice import kernels
from preflearn.errors import InputError
from preflearn.models.base import HeadModule, KernelModule, Part, Shape, Taste
from preflearn.models.bounds import Positive
from preflearn.models.heads import layer_penalty
from preflearn.models.parts import part


class SkewModule(KernelModule):
    """``scale * sum_l g_l(x) (a_2l b_2l+1 - a_2l+1 b_2l)``.

    Attributes:
        planes: k.
        gate: from features of prompts to logits of the weights of planes, or None.
        log_scale: learned or fixed.
    """

    log_scale: Tensor

    def __init__(self, planes: int, temperature: float, prompts: int, scaled: bool, features: int) -> None:
        super().__init__()
        self.planes, self.scaled, self.features = planes, scaled, features
        # Equal weights to begin with: a gate has to be learned.
        self.gate = nn.Linear(prompts, planes, bias=False) if prompts else None
        start = torch.tensor(-math.log(temperature))
        if scaled:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start)
        self.restart()

    def restart(self) -> None:
        """Begin again with equal weights of planes."""
        if self.gate is not None:
            nn.init.zeros_(self.gate.weight)

    def seen(self, prompts: Tensor) -> Tensor:
        """Weights of planes, [P, k]; they sum to k."""
        return prompts[:, :0] if self.gate is None else self.planes * torch.softmax(self.gate(prompts), dim=-1)

    def forward(self, a: Tensor, b: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        gate = None if self.gate is None or prompts is None else prompts[:, None, :]
        area: Tensor = kernels.skew(a, b, gate)
        return torch.exp(self.log_scale) * area

    def penalty(self, ridge: float) -> Tensor:
        unit = ridge / self.features
        total = torch.zeros(()) if self.gate is None else layer_penalty(self.gate, unit)
        if self.scaled:  # of vectors of unit length: logits of variance 1 before anything is learned
            total = total + unit / 2 * torch.exp(2 * self.log_scale) / (2 * self.planes)
        return total


@part("kernel", "skew")
@dataclass(frozen=True)
class Skew(Part):
    """Skew-symmetric form of two vectors, ``<R D(x) v_a, v_b> / temperature``: cycles are possible.

    Attributes:
        temperature: tau of the paper. The size of v sets the scale as well, so 1 loses nothing.
        gated: weigh the k planes by the prompt, ``D(x) = k softmax(W x)``.
        scaled: ``1 / tau`` is learned, for vectors of unit length.

    Source: Zhang et al. (2024), arXiv 2410.02197, section 4. In the paper vectors have unit length, tau = .1 and D
    stands on both sides (weights squared). Of their two released models, that of training leaves lengths free and takes
    ``k softmax(W x / sqrt(hidden))``, that used to align policies has unit length and ``softmax(W x)``; both let D in
    once, as this does.
    """

    temperature: Positive = 1.0
    gated: bool = False
    scaled: bool = False

    @property
    def needs_prompts(self) -> bool:  # type: ignore[override]
        return self.gated

    def build(self, shape: Shape, head: HeadModule) -> KernelModule:
        if head.width % 2:
            raise InputError("the skew kernel needs representations of even width.", value=head.width)
        if not self.temperature > 0:
            raise InputError("the temperature of the skew kernel is a number > 0.", value=self.temperature)
        prompts = shape.prompts if self.gated else 0
        return SkewModule(head.width // 2, self.temperature, prompts, self.scaled, shape.features)
