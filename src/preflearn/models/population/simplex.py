"""People between prototypes: each annotator is a point of a simplex, learned from few judgments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from preflearn.errors import InputError
from preflearn.models.base import Judgments, Part, PopulationModule, Shape, Taste
from preflearn.models.batch import Batch, taken
from preflearn.models.bounds import Count, Positive
from preflearn.models.parts import part

if TYPE_CHECKING:
    from preflearn.models.network import Network

_DRAWS = 1_000
"""At least so many draws stand for the people a newcomer may be like."""
_BLOCK = 2_000
"""Judgments of newcomers that are asked about all draws at once."""


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

    @torch.no_grad()
    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        """Newcomers are taken for people like those known: their weights are the posterior mean under that prior.

        Without judgments they are the mean of those known.
        """
        dtype = self.free.dtype
        place = torch.full((int(newcomers.max()) + 1,), -1)
        place[newcomers] = torch.arange(len(newcomers))
        weights = torch.softmax(self._people_like_those_known().to(dtype), dim=-1)
        log_prob = torch.zeros(len(newcomers), len(weights), dtype=dtype)
        count = torch.zeros(len(newcomers), dtype=torch.int64)
        for rows in batch.judgments():
            for some in torch.split(torch.arange(len(rows)), _BLOCK):
                block = taken(rows, some)
                who = place[block.who.annotator]
                found = network.log_prob(block, batch, Taste(weights=weights.expand(len(block), -1, -1)))
                log_prob.index_add_(0, who, block.weight[:, None] * found)
                count.index_add_(0, who, torch.ones_like(who))
        stranger = torch.log(self.mean.to(dtype).clamp(min=1e-12))
        own = torch.log((torch.softmax(log_prob, dim=-1) @ weights).clamp(min=1e-12))
        own = torch.where(count[:, None] > 0, own, stranger)
        size = max(len(place), len(self.free))
        table = torch.cat([self.free.detach(), stranger.expand(size - len(self.free), -1) / self.scale])
        table[newcomers] = own / self.scale
        self.free = nn.Parameter(table)

    def _people_like_those_known(self) -> Tensor:
        """Draws of W from the density of the training annotators: a normal kernel about each, with Scott's width.

        The prior counts as one more person's deviation, so that few annotators do not look alike by chance.
        """
        known = round(float(self.scale) ** 2)
        centre = (self.scale * self.free.detach())[:known].double()
        centre = centre - centre.mean(-1, keepdim=True)  # a softmax does not see it
        variance = ((centre - centre.mean(0)).square().sum(0) + self.spread**2) / known
        width = variance.sqrt() * known ** (-1 / (self.channels + 3))
        repeated = centre.repeat(-(-_DRAWS // known), 1)
        generator = torch.Generator().manual_seed(0)
        drawn: Tensor = repeated + width * torch.randn(repeated.shape, generator=generator, dtype=repeated.dtype)
        return drawn

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

    Known annotators answer by their own weights, strangers by the mean of the known. For a newcomer only w_u is
    learned: it is the posterior mean where the prior is how the known are distributed (empirical Bayes), so that of
    people in camps a few answers tell the camp.

    Attributes:
        prototypes: K.
        spread: standard deviation of the W_u of known annotators about their centre.

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
