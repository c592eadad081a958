"""People between prototypes: each annotator is a point of a simplex, learned from few judgments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from preflearn.errors import InputError
from preflearn.models.base import Judgments, Part, PopulationModule, Shape, Taste
from preflearn.models.batch import Batch
from preflearn.models.bounds import Count, Positive
from preflearn.models.parts import part
from preflearn.models.solvers.descent import descend

if TYPE_CHECKING:
    from preflearn.models.network import Network

_ITERATIONS = 200


class SimplexModule(PopulationModule):
    """Weights ``w_u = softmax(W_u)`` over K prototypes; strangers have the mean weights of those who are known.

    Attributes:
        free: ``W / scale``, [U, K]. All judgments tell of the prototypes but only a few of each person, so the
            likelihood bends less by W by about the number of people: its root as a scale makes both alike, without
            which a descent creeps for hundreds of steps.
        mean: of w over people, [K].
    """

    personal = True
    mean: Tensor
    scale: Tensor

    def __init__(self, prototypes: int, annotators: int, spread: float) -> None:
        super().__init__()
        self.channels = prototypes
        self.spread = spread
        self.register_buffer("scale", torch.tensor(math.sqrt(max(annotators, 1))))
        self.free = nn.Parameter(torch.empty(annotators, prototypes))
        self.register_buffer("mean", torch.full((prototypes,), 1 / prototypes))
        self.restart()

    def restart(self) -> None:
        """Draw everyone's weights anew."""
        nn.init.normal_(self.free, std=1 / float(self.scale))

    @property
    def weights(self) -> Tensor:
        """Of each known annotator, [U, K]; rows sum to 1."""
        return torch.softmax(self.scale * self.free, dim=-1)

    def forward(self, rows: Judgments, batch: Batch) -> Taste:
        weights = self.weights
        return self._of(rows, weights, weights.mean(0))

    def known(self, rows: Judgments, batch: Batch) -> Taste:
        return self._of(rows, self.weights, self.mean.to(self.free.dtype))

    @staticmethod
    def _of(rows: Judgments, weights: Tensor, stranger: Tensor) -> Taste:
        table = torch.cat([weights, stranger[None]])
        unknown = rows.who.annotator < 0
        return Taste(weights=table.index_select(0, rows.who.annotator.masked_fill(unknown, len(weights))))

    @torch.no_grad()
    def settle(self, network: Network, batch: Batch) -> None:
        self.mean = self.weights.mean(0)

    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        """Learn the weights of newcomers and nothing else; without judgments they are the mean of those known."""
        dtype = self.free.dtype
        prior = torch.log(self.mean.to(dtype).clamp(min=1e-6))
        own = prior.repeat(len(newcomers), 1).requires_grad_()
        place = torch.full((int(newcomers.max()) + 1,), -1)
        place[newcomers] = torch.arange(len(newcomers))

        def loss() -> Tensor:
            weights = torch.softmax(own, dim=-1)
            total = self._distance(own, prior)
            for rows in batch.judgments():
                taste = Taste(weights=weights[place[rows.who.annotator]])
                total = total - (rows.weight * network.log_prob(rows, batch, taste)[:, 0]).sum()
            return total

        if batch.judgments():
            descend([own], loss, iterations=_ITERATIONS)
        size = max(len(place), len(self.free))
        table = torch.cat([self.free.detach(), prior.expand(size - len(self.free), -1) / self.scale])
        table[newcomers] = own.detach() / self.scale
        self.free = nn.Parameter(table)

    def _distance(self, free: Tensor, centre: Tensor) -> Tensor:
        return (free - centre).square().sum() / (2 * self.spread**2)

    def penalty(self, ridge: float) -> Tensor:
        """Everyone is normally distributed about the mean of all, with standard deviation `spread`."""
        return self._distance(self.scale * self.free, self.scale * self.free.mean(0))


@part("population", "simplex")
@dataclass(frozen=True)
class Simplex(Part):
    """Every annotator mixes K prototypes in their own proportions ``w_u = softmax(W_u)``: points of an ideal-point
    kernel, or utilities of the channels of a head.

    Known annotators answer by their own weights, strangers by the mean of the known. For a newcomer only W_u is
    learned, with the prior ``W_u ~ N(log mean w, spread^2)``.

    Attributes:
        prototypes: K.
        spread: standard deviation of W_u about its centre.

    Source: PAL, Chen et al. (2024), arXiv 2406.08469 (official code: W_u ~ N(0, 1) at the start, no prior, newcomers
    start at random; the prior and the mean for strangers are ours).
    """

    prototypes: Count = 2
    spread: Positive = 1.0
    needs_annotators = True

    def build(self, shape: Shape) -> PopulationModule:
        if self.prototypes < 1 or not self.spread > 0:
            raise InputError("a simplex has at least one prototype and a spread > 0.", value=self)
        return SimplexModule(self.prototypes, shape.annotators, self.spread)
