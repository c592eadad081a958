"""Heads: what a model sees of a response, as C channels of r numbers each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preflearn.models.base import HeadModule, Part, Shape
from preflearn.models.bounds import Count, Positive, Widths
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


def layer_penalty(module: nn.Module, unit: float) -> Tensor:
    """Negative log-prior of the linear layers inside, nats: weights ``N(0, 1 / (unit * inputs of the layer))``.

    With `unit` 1 and inputs of variance 1, so are the outputs, whatever the widths; biases are free.
    """
    layers = [each for each in module.modules() if isinstance(each, nn.Linear)]
    squares = [unit * layer.in_features / 2 * layer.weight.square().sum() for layer in layers]
    return torch.stack(squares).sum() if squares else torch.zeros(())


class Layered(HeadModule):
    """A perceptron whose outputs are arranged as ``[m, C, r]``.

    Attributes:
        constant: outputs also weigh a constant coordinate of 1. It is a bias, but one drawn and penalised as much as
            all features together: products of coordinates would otherwise grow through it at no cost.
        linear: no hidden layers.
    """

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
        self.channels, self.width, self.constant, self.spread = channels, width, constant, spread
        self.layers = perceptron(inputs, hidden, channels * width, bias=bias or constant)
        self.linear = not hidden
        self.restart()

    @property
    def last(self) -> nn.Linear:
        """The last layer."""
        last = self.layers[-1] if isinstance(self.layers, nn.Sequential) else self.layers
        assert isinstance(last, nn.Linear)
        return last

    def inputs(self) -> list[Tensor]:
        first = self.layers[0] if isinstance(self.layers, nn.Sequential) else self.layers
        assert isinstance(first, nn.Linear)
        return [first.weight]

    def restart(self) -> None:
        """Draw the last layer anew. One channel starts at zero: the problem is convex for linear heads."""
        last = self.last
        nn.init.normal_(last.weight, std=self.spread / math.sqrt(last.in_features))
        if last.bias is not None:
            nn.init.normal_(last.bias, std=self.spread if self.constant else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        flat: Tensor = self.layers(x)
        return flat.reshape(x.shape[0], self.channels, self.width)

    def penalty(self, ridge: float) -> Tensor:
        unit = ridge / self.inputs()[0].shape[-1]
        total = layer_penalty(self.layers, unit)
        return total + unit / 2 * self.last.bias.square().sum() if self.constant else total


class Directions(Layered):
    """Vectors of length 1. Weights are known only up to their size, so a prior holds them to that of their start."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(super().forward(x), dim=-1)

    def penalty(self, ridge: float) -> Tensor:
        size = self.last.in_features * self.last.weight.square().sum(1).mean()
        return (size / self.spread**2 - 1).square() / 2


@part("head", "utility")
@dataclass(frozen=True)
class Utility(Part):
    """One number per channel: linear in the features, or a perceptron.

    Attributes:
        hidden: widths of hidden layers; none = linear.
        spread: standard deviation of the initial utilities of standardised features; used with several channels or
            hidden layers (one linear channel starts at zero, the problem is convex).
    """

    hidden: Widths = ()
    spread: Positive = 0.5

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
        unit: divide every vector by its length; the kernel then learns a scale (`Skew(scaled=True)`).
        spread: standard deviation of the initial coordinates.

    Source: Zhang et al. (2024), Beyond Bradley-Terry models: a general preference model for language model alignment,
    arXiv 2410.02197, section 4 (their released head is ``nn.Linear(hidden, 2k, bias=False)``: no constant).
    """

    pairs: Count = 4
    hidden: Widths = ()
    constant: bool = True
    unit: bool = False
    spread: Positive = 0.3

    def build(self, shape: Shape, inputs: int, channels: int) -> HeadModule:
        kind = Directions if self.unit else Layered
        return kind(
            inputs, channels, 2 * self.pairs, self.hidden, bias=False, constant=self.constant, spread=self.spread
        )


@part("head", "point")
@dataclass(frozen=True)
class Point(Part):
    """A point of `width` coordinates per channel: for ideal points, and as what a classifier of pairs reads.

    Attributes:
        width: q.
        hidden: widths of hidden layers; none = linear.
        spread: standard deviation of the initial coordinates.
    """

    width: Count = 8
    hidden: Widths = ()
    spread: Positive = 0.3

    def build(self, shape: Shape, inputs: int, channels: int) -> HeadModule:
        return Layered(inputs, channels, self.width, self.hidden, bias=False, constant=False, spread=self.spread)


class MeanAndVariance(HeadModule):
    """Mean and variance of a normal utility, side by side along r."""

    width = 2

    def __init__(self, mean: Layered, spread: Layered) -> None:
        super().__init__()
        self.mean, self.spread = mean, spread
        self.channels = mean.channels

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.mean(x), nn.functional.softplus(self.spread(x))], dim=-1)

    def inputs(self) -> list[Tensor]:
        return [*self.mean.inputs(), *self.spread.inputs()]

    def penalty(self, ridge: float) -> Tensor:
        return self.mean.penalty(ridge) + self.spread.penalty(ridge)


@part("head", "mean_variance")
@dataclass(frozen=True)
class MeanVariance(Part):
    """A normal utility per channel: its mean and (softplus of another output) its variance, for the gaussian kernel.

    Attributes:
        hidden: widths of hidden layers of both; none = linear.
        spread: standard deviation of the initial means, as for `utility`.
    """

    hidden: Widths = ()
    spread: Positive = 0.5

    def build(self, shape: Shape, inputs: int, channels: int) -> HeadModule:
        start = self.spread if channels > 1 or self.hidden else 0.0
        mean = Layered(inputs, channels, 1, self.hidden, bias=False, constant=False, spread=start)
        return MeanAndVariance(mean, Layered(inputs, channels, 1, self.hidden, bias=True, constant=False, spread=0.0))


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

    def inputs(self) -> list[Tensor]:
        return [weights for head in self.heads for weights in head.inputs()]  # type: ignore[operator]

    def penalty(self, ridge: float) -> Tensor:
        return torch.stack([head.penalty(ridge) for head in self.heads]).sum()  # type: ignore[operator]


@part("head", "join")
@dataclass(frozen=True)
class Join(Part):
    """Several heads on the same features; the `sum` kernel gives each its own kernel."""

    heads: tuple[Part, ...]

    def build(self, shape: Shape, inputs: int, channels: int) -> HeadModule:
        return Joined([head.build(shape, inputs, channels) for head in self.heads])  # type: ignore[attr-defined]
