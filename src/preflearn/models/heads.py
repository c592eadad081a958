"""Heads: what a model sees of a response, as C channels of r numbers each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preflearn.models.base import HeadModule, Part, Shape
from preflearn.models.parts import part


def perceptron(inputs: int, hidden: Sequence[int], outputs: int, *, bias: bool, dropout: float = 0.0) -> nn.Module:
    """A linear map, or layers of ReLU (the field's "MLP head") when `hidden` names their widths."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        inputs = width
    layers.append(nn.Linear(inputs, outputs, bias=bias))
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


class Layered(HeadModule):
    """A perceptron whose outputs are arranged as ``[m, C, r]``; `constant` appends a coordinate of 1 to the input."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        width: int,
        hidden: Sequence[int],
        *,
        bias: bool,
        constant: bool,
        spread: float,
    ) -> None:
        super().__init__()
        self.channels, self.width, self.constant = channels, width, constant
        self.layers = perceptron(inputs + constant, hidden, channels * width, bias=bias)
        last = self.layers[-1] if isinstance(self.layers, nn.Sequential) else self.layers
        assert isinstance(last, nn.Linear)
        # One channel starts at zero: the problem is convex for linear heads. Several must start apart.
        nn.init.normal_(last.weight, std=spread / math.sqrt(last.in_features)) if spread else nn.init.zeros_(
            last.weight
        )
        self.linear = last is self.layers

    def forward(self, x: Tensor) -> Tensor:
        if self.constant:
            x = torch.cat([x, x.new_ones(x.shape[0], 1)], dim=1)
        flat: Tensor = self.layers(x)
        return flat.reshape(x.shape[0], self.channels, self.width)


@part("head", "utility")
@dataclass(frozen=True)
class Utility(Part):
    """One number per channel: linear in the features, or a perceptron.

    Attributes:
        hidden: widths of hidden layers; none = linear.
        spread: standard deviation of the initial utilities of standardised features; used with several channels or
            hidden layers (one linear channel starts at zero, the problem is convex).
    """

    hidden: tuple[int, ...] = ()
    spread: float = 0.5

    def build(self, shape: Shape, inputs: int, channels: int) -> HeadModule:
        start = self.spread if channels > 1 or self.hidden else 0.0
        return Layered(inputs, channels, 1, self.hidden, bias=False, constant=False, spread=start)


@part("head", "skew")
@dataclass(frozen=True)
class SkewRepresentation(Part):
    """A vector of 2k numbers per channel for the skew-symmetric kernel.

    Attributes:
        pairs: k, the number of planes; the score matrix of any K items needs 2k >= K.
        hidden: widths of hidden layers.
        constant: append a coordinate of 1 to the features. Without it a linear representation of centred features
            cannot express a transitive utility (which is the plane spanned by the constant and r).
        spread: standard deviation of the initial coordinates.

    Source: Zhang et al. (2024), Beyond Bradley-Terry models: a general preference model for language model alignment,
    arXiv 2410.02197, section 4 (their released head is ``nn.Linear(hidden, 2k, bias=False)``: no constant).
    """

    pairs: int = 4
    hidden: tuple[int, ...] = ()
    constant: bool = True
    spread: float = 0.3

    def build(self, shape: Shape, inputs: int, channels: int) -> HeadModule:
        return Layered(
            inputs, channels, 2 * self.pairs, self.hidden, bias=False, constant=self.constant, spread=self.spread
        )


class Joined(HeadModule):
    """Representations side by side along r."""

    def __init__(self, heads: Sequence[HeadModule]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.channels = heads[0].channels
        self.widths = tuple(head.width for head in heads)
        self.width = sum(self.widths)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([head(x) for head in self.heads], dim=-1)


@part("head", "join")
@dataclass(frozen=True)
class Join(Part):
    """Several heads on the same features; the `sum` kernel gives each its own kernel."""

    heads: tuple[Part, ...]

    def build(self, shape: Shape, inputs: int, channels: int) -> HeadModule:
        return Joined([head.build(shape, inputs, channels) for head in self.heads])  # type: ignore[attr-defined]
