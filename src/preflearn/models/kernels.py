"""Kernels: how two representations meet. The formulas live in `preflearn.choice.kernels`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preflearn.choice import kernels
from preflearn.errors import InputError
from preflearn.models.base import HeadModule, KernelModule, Part, Shape, Taste
from preflearn.models.parts import part


class _Difference(KernelModule):
    def forward(self, a: Tensor, b: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        logit: Tensor = kernels.difference(a[..., 0], b[..., 0])
        return logit

    def utility(self, rep: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        return rep[..., 0]


@part("kernel", "difference")
@dataclass(frozen=True)
class Difference(Part):
    """Difference of two utilities: Bradley and Terry (1952)."""

    def build(self, shape: Shape, head: HeadModule) -> KernelModule:
        if head.width != 1:
            raise InputError("the difference kernel needs a head with one number per channel.", value=head.width)
        return _Difference()


class _Skew(KernelModule):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, a: Tensor, b: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        logit: Tensor = kernels.skew(a, b)
        return logit / self.scale


@part("kernel", "skew")
@dataclass(frozen=True)
class Skew(Part):
    """Skew-symmetric form of two vectors, ``<R v_a, v_b> / temperature``: cycles are possible (Zhang et al. 2024).

    Attributes:
        temperature: tau of the paper.
    """

    temperature: float = 1.0

    def build(self, shape: Shape, head: HeadModule) -> KernelModule:
        if head.width % 2:
            raise InputError("the skew kernel needs representations of even width.", value=head.width)
        return _Skew(self.temperature)


class _Sum(KernelModule):
    def __init__(self, parts: Sequence[KernelModule], widths: Sequence[int]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.widths = tuple(widths)

    def forward(self, a: Tensor, b: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        sides = zip(
            self.parts, torch.split(a, list(self.widths), -1), torch.split(b, list(self.widths), -1), strict=True
        )
        return torch.stack([kernel(left, right, taste, prompts) for kernel, left, right in sides]).sum(0)

    def utility(self, rep: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        each = zip(self.parts, torch.split(rep, list(self.widths), -1), strict=True)
        return torch.stack([kernel.utility(piece, taste, prompts) for kernel, piece in each]).sum(0)  # type: ignore[operator]


@part("kernel", "sum")
@dataclass(frozen=True)
class Sum(Part):
    """Sum of kernels, one for each head of a `join` head, in order."""

    kernels: tuple[Part, ...]

    def build(self, shape: Shape, head: HeadModule) -> KernelModule:
        heads = list(getattr(head, "heads", []))
        if len(heads) != len(self.kernels):
            raise InputError("the sum kernel needs a join head with one head for each kernel.", value=len(heads))
        built = [kernel.build(shape, each) for kernel, each in zip(self.kernels, heads, strict=True)]  # type: ignore[attr-defined]
        return _Sum(built, [each.width for each in heads])
