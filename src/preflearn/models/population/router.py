"""A router: the prompt (and context) says how likely each of K tastes is to judge; probabilities are mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from preflearn.models.base import Judgments, Part, PopulationModule, Shape, Taste
from preflearn.models.batch import Batch
from preflearn.models.bounds import Count, NonNegative, Widths
from preflearn.models.heads import perceptron
from preflearn.models.parts import part
from preflearn.models.population.gate import distinct_views, view_width


class RouterModule(PopulationModule):
    """Log-probabilities of K components for each judgment."""

    def __init__(self, part: Router, shape: Shape) -> None:
        super().__init__()
        self.channels, self.part = part.components, part
        self.layers = perceptron(view_width(shape, part.on), part.hidden, part.components, bias=True)

    def log_weights(self, rows: Judgments, batch: Batch) -> Tensor:
        """``log f_k(x, c)``, [n, K]."""
        views, place = distinct_views(rows, batch, self.part.on)
        return torch.log_softmax(self.layers(views), dim=-1)[place]

    def forward(self, rows: Judgments, batch: Batch) -> Taste:
        log_weights = self.log_weights(rows, batch)
        spread = (torch.exp(log_weights) * log_weights).sum(-1)
        return Taste(log_weights=log_weights, loss=self.part.entropy * (rows.weight * spread).sum())

    def known(self, rows: Judgments, batch: Batch) -> Taste:
        return Taste(log_weights=self.log_weights(rows, batch))

    def penalty(self, ridge: float) -> Tensor:
        squares = [p.square().sum() for p in self.layers.parameters() if p.ndim > 1]
        return self.part.ridge / 2 * torch.stack(squares).sum()


@part("population", "router")
@dataclass(frozen=True)
class Router(Part):
    """``P(a beats b | x) = sum_k f_k(x) sigma(r_k(a) - r_k(b))`` with a router f; each judgment is a unit of its own.

    Attributes:
        components: K.
        on: what the router sees.
        hidden: widths of hidden layers (128 in the paper).
        entropy: alpha, nats per judgment: how much the entropy of f is favoured. The paper has .5, which flattens the
            router on little data (measured on planted tastes: accuracy .757 against .835 with .05).
        ridge: penalty on the router's weights.

    Source: Shen et al. (2025), MiCRo, arXiv 2505.24846, section 3.
    """

    components: Count = 3
    on: Literal["prompt", "context", "both"] = "prompt"
    hidden: Widths = (128,)
    entropy: NonNegative = 0.05
    ridge: NonNegative = 1.0

    @property
    def needs_prompts(self) -> bool:  # type: ignore[override]
        return self.on != "context"

    @property
    def needs_contexts(self) -> bool:  # type: ignore[override]
        return self.on != "prompt"

    def build(self, shape: Shape) -> PopulationModule:
        return RouterModule(self, shape)
