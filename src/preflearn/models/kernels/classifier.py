"""A classifier of pairs that keeps no preference for a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preflearn.choice import kernels
from preflearn.errors import InputError, NotSupported
from preflearn.models.base import HeadModule, KernelModule, Part, Shape, Taste
from preflearn.models.bounds import Widths
from preflearn.models.heads import layer_penalty, perceptron
from preflearn.models.parts import part


class _Classifier(KernelModule):
    def __init__(self, channels: int, width: int, hidden: Sequence[int], features: int) -> None:
        super().__init__()
        self.features = features
        self.layers = nn.ModuleList([perceptron(2 * width, hidden, 1, bias=False) for _ in range(channels)])

    def forward(self, a: Tensor, b: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        both = torch.cat([torch.cat([a, b], dim=-1), torch.cat([b, a], dim=-1)])
        forward, backward = torch.cat([f(both[:, c]) for c, f in enumerate(self.layers)], dim=-1).chunk(2)
        logit: Tensor = kernels.antisymmetrised(forward, backward)
        return logit

    def utility(self, rep: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        raise NotSupported("a classifier of pairs only compares: it has no utility of a single response.")

    def penalty(self, ridge: float) -> Tensor:
        return layer_penalty(self.layers, ridge / self.features)


@part("kernel", "classifier")
@dataclass(frozen=True)
class Classifier(Part):
    """A perceptron over both vectors, ``(f([a; b]) - f([b; a])) / 2``: any preference, transitive or not.

    Attributes:
        hidden: widths of hidden layers; at least one (without, this is a difference of utilities).

    Source: the pair-wise preference models of the field read both responses at once (e.g. Jiang et al. 2023,
    LLM-Blender, arXiv 2306.02561); that they keep no preference for a place is enforced here, not learned.
    """

    hidden: Widths = (32,)

    def build(self, shape: Shape, head: HeadModule) -> KernelModule:
        if not self.hidden:
            raise InputError("a classifier of pairs needs a hidden layer.", cure="Use the difference kernel.")
        return _Classifier(head.channels, head.width, self.hidden, shape.features)
