"""Ratings first, then comparisons: a second stage held to what the first found, and steps beyond it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from preflearn.errors import InputError
from preflearn.models.base import HeadModule, Part
from preflearn.models.batch import Batch
from preflearn.models.bounds import NonNegative
from preflearn.models.fitting.automatic import Auto
from preflearn.models.fitting.full_batch import Report
from preflearn.models.network import Network
from preflearn.models.outcomes.ratings import NOISE, GaussianModule
from preflearn.models.parts import part
from preflearn.models.solvers.descent import descend


class _Held(HeadModule):
    """A head whose penalty is the distance of its weights from where they began."""

    def __init__(self, head: HeadModule, precision: float) -> None:
        super().__init__()
        self.head, self.precision = head, precision
        self.channels, self.width = head.channels, head.width
        self.begin = [p.detach().clone() for p in head.parameters()]

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(x)
        return result

    def penalty(self, ridge: float) -> Tensor:
        apart = [(p - q.to(p.dtype)).square().sum() for p, q in zip(self.head.parameters(), self.begin, strict=True)]
        return (ridge + self.precision) / 2 * torch.stack(apart).sum()


@part("fitting", "warm_start")
@dataclass(frozen=True)
class WarmStart(Part):
    """Fit the ratings; from there the comparisons; then go on in the direction of the second step.

    Fine-tuning is held near its start by being short. A fit to the end is held by its prior: in the second stage
    weights are normal around those of the first, with the precision that the ratings gave them (roughly: the same for
    all weights). At last ``w = w_1 + extrapolation (w_2 - w_1)``, and the scale of the ratings is fitted anew to these
    utilities, which stay as they are.

    Attributes:
        fitting: of both stages.
        memory: how much of what the ratings said the second stage keeps; 1 = all, as if both were learned together, 0 =
            next to nothing. Where ratings and comparisons mean different things, less.
        extrapolation: 1 = stop at the second stage; more = beyond (ExPO), which makes up for a second stage that was
            held too much. Tune it on comparisons held out: probabilities become bolder with it.

    Sources: HelpSteer2-Preference, Wang et al. (2024), arXiv 2410.01257 (authors' slides: ratings first, then scaled
    Bradley-Terry, then extrapolation; its factor could not be read); ExPO: Zheng et al. (2024), arXiv 2404.16792.
    """

    fitting: Part = Auto()  # noqa: RUF009 - a frozen part
    memory: NonNegative = 1.0
    extrapolation: NonNegative = 1.0

    unsettled: ClassVar[str | None] = "stages that follow each other are no one likelihood"

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        """Fit `network` in place."""
        if batch.ratings is None or batch.pairs is None:
            raise InputError("a warm start learns from ratings, then from comparisons: it needs both.")
        if self.memory < 0 or self.extrapolation <= 0:
            raise InputError("memory is >= 0 and extrapolation > 0.", value=(self.memory, self.extrapolation))
        ratings, pairs = replace(batch, pairs=None, lists=None), replace(batch, ratings=None, lists=None)
        first: Report = self.fitting.fit(network, ratings, seed)  # type: ignore[attr-defined]
        head, held = network.head, _Held(network.head, self.memory * _information(batch))
        network.head = held
        try:
            second: Report = self.fitting.fit(network, pairs, seed)  # type: ignore[attr-defined]
        finally:
            network.head = head
        with torch.no_grad():
            for p, begin in zip(head.parameters(), held.begin, strict=True):
                p.copy_(begin.to(p.dtype) + self.extrapolation * (p - begin.to(p.dtype)))
        self._rescale(network, ratings)
        return second._replace(iterations=first.iterations + second.iterations, notes=(*first.notes, *second.notes))

    def _rescale(self, network: Network, ratings: Batch) -> None:
        """Fit the shape of the ratings' outcome alone; its slope no longer follows from its noise."""
        module = next(each for each in network.outcomes if each.table == "ratings")
        if isinstance(module, GaussianModule):
            module.fixed.fill_(False)

        def loss() -> Tensor:
            cost = network.objective(ratings)
            return (cost.per_unit.sum() + cost.penalty) / cost.weight

        descend(list(module.parameters()), loss, iterations=200)


def _information(batch: Batch) -> float:
    """What the ratings say about each weight of a linear utility, averaged over weights: a precision."""
    rows = batch.ratings
    assert rows is not None
    return float((rows.weight[:, None] * batch.x[rows.item] ** 2).sum(0).mean()) / NOISE**2
