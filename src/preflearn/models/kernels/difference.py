"""Kernels that compare two utilities: certain ones, and uncertain ones."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from preflearn.choice import kernels
from preflearn.errors import InputError
from preflearn.models.base import HeadModule, KernelModule, Part, Shape, Taste
from preflearn.models.parts import part


class DifferenceModule(KernelModule):
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
        return DifferenceModule()


class _Gaussian(KernelModule):
    def forward(self, a: Tensor, b: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        logit: Tensor = kernels.gaussian(a[..., 0], a[..., 1], b[..., 0], b[..., 1])
        return logit

    def utility(self, rep: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        return rep[..., 0]


@part("kernel", "gaussian")
@dataclass(frozen=True)
class Gaussian(Part):
    """Difference of two normal utilities, for a `mean_variance` head: ``(m_a - m_b) / sqrt(1 + pi/8 (v_a + v_b))``.

    Its utility is the mean: it orders responses as the model does, and its differences are the logits of responses
    without variance. (The logits themselves are not differences of any number: variance shrinks them pair by pair.)

    Source: MacKay (1992), Neural Computation 4, 720-736, for the approximation of the mean probability.
    """

    def build(self, shape: Shape, head: HeadModule) -> KernelModule:
        if head.width != 2:
            raise InputError("the gaussian kernel needs a mean_variance head: two numbers.", value=head.width)
        return _Gaussian()
