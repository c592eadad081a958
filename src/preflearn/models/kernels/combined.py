"""Sums of kernels: each has its own piece of the representation."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preflearn.errors import InputError
from preflearn.models.base import HeadModule, KernelModule, Part, Shape, Taste
from preflearn.models.parts import part


class _Sum(KernelModule):
    def __init__(self, parts: Sequence[KernelModule], widths: Sequence[int], prompts: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.widths = list(widths)
        self.mixes_points = any(each.mixes_points for each in parts)
        self.views = [each.seen(torch.zeros(0, prompts)).shape[1] for each in parts]

    def seen(self, prompts: Tensor) -> Tensor:
        return torch.cat([each.seen(prompts) for each in self.parts], dim=-1)  # type: ignore[operator]

    def _prompts(self, prompts: Tensor | None) -> Sequence[Tensor | None]:
        return [None] * len(self.parts) if prompts is None else torch.split(prompts, self.views, -1)

    def forward(self, a: Tensor, b: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        sides = torch.split(a, self.widths, -1), torch.split(b, self.widths, -1), self._prompts(prompts)
        logits = [kernel(x, y, taste, view) for kernel, x, y, view in zip(self.parts, *sides, strict=True)]
        total: Tensor = functools.reduce(operator.add, logits)
        return total

    def utility(self, rep: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        each = zip(self.parts, torch.split(rep, self.widths, -1), self._prompts(prompts), strict=True)
        utilities = [kernel.utility(piece, taste, view) for kernel, piece, view in each]  # type: ignore[operator]
        total: Tensor = functools.reduce(operator.add, utilities)
        return total

    def penalty(self, ridge: float) -> Tensor:
        return torch.stack([each.penalty(ridge) for each in self.parts]).sum()  # type: ignore[operator]


@part("kernel", "sum")
@dataclass(frozen=True)
class Sum(Part):
    """Sum of kernels, one for each head of a `join` head, in order."""

    kernels: tuple[Part, ...]

    @property
    def needs_prompts(self) -> bool:  # type: ignore[override]
        return any(kernel.needs_prompts for kernel in self.kernels)

    @property
    def mixes_points(self) -> bool:  # type: ignore[override]
        return any(kernel.mixes_points for kernel in self.kernels)

    def build(self, shape: Shape, head: HeadModule) -> KernelModule:
        heads = list(getattr(head, "heads", []))
        if len(heads) != len(self.kernels):
            raise InputError("the sum kernel needs a join head with one head for each kernel.", value=len(heads))
        built = [kernel.build(shape, each) for kernel, each in zip(self.kernels, heads, strict=True)]  # type: ignore[attr-defined]
        return _Sum(built, [each.width for each in heads], shape.prompts)
