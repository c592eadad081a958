"""MiCRo's two stages: a mixture routed by prompts, then the router taught by a few judgments with contexts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from preflearn.choice.mixture import hedge
from preflearn.errors import InputError
from preflearn.models.base import Part
from preflearn.models.batch import Batch
from preflearn.models.bounds import Count, Positive
from preflearn.models.fitting.full_batch import FullBatch, Report
from preflearn.models.network import Network
from preflearn.models.parts import part
from preflearn.models.population.router import RouterModule
from preflearn.models.solvers.descent import descend


@part("fitting", "micro")
@dataclass(frozen=True)
class RoutedStages(Part):
    """Stage 1: heads and router by maximum likelihood on all comparisons, contexts not looked at. Stage 2: the router
    alone, on the comparisons that have a context, toward shares that one step of Hedge gives each head.

    ``omega_ik proportional to f(x_i, c_i)_k exp(-L_ik / temperature)``, ``L_ik = -log sigma_k(winner - loser)``.

    Attributes:
        starts: random starts of stage 1; the best likelihood wins.
        temperature: tau; small ones trust single comparisons more.
        rounds: how often the targets are computed anew from the router reached (1 in the paper).
        context_limit: use at most so many comparisons with a context (50 per attribute in the paper); None = all.

    Source: Shen et al. (2025), MiCRo, arXiv 2505.24846v2, section 3 (paper text; tau and K are not stated there).
    """

    starts: Count = 4
    temperature: Positive = 1.0
    rounds: Count = 5
    iterations: Count = 300
    context_limit: Count | None = None

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        router = network.population
        if not isinstance(router, RouterModule) or batch.pairs is None:
            raise InputError("these stages need comparisons and a population that is a router.")
        contexts = batch.contexts
        place = batch.pairs.who.columns.get("context_row")
        blind = batch
        if contexts is not None and place is not None:
            hidden = {**batch.pairs.who.columns, "context_row": torch.full_like(place, -1)}
            blind = replace(batch, pairs=replace(batch.pairs, who=replace(batch.pairs.who, columns=hidden)))
        first = FullBatch(starts=self.starts, iterations=self.iterations).fit(network, blind, seed)
        if place is None or not bool((place >= 0).any()):
            note = "no judgment has a context, so the router knows prompts only"
            return first._replace(notes=(*first.notes, *((note,) if contexts is not None else ())))
        told = torch.nonzero(place >= 0)[:, 0]
        if self.context_limit is not None and len(told) > self.context_limit:
            generator = torch.Generator().manual_seed(seed)
            told = told[torch.randperm(len(told), generator=generator)[: self.context_limit]]
        self._teach(network, router, batch.only(pairs=told))
        return first

    def _teach(self, network: Network, router: RouterModule, batch: Batch) -> None:
        rows = batch.pairs
        assert rows is not None
        with torch.no_grad():
            losses = -network.log_prob(rows, batch, router(rows, batch))
        parameters = list(router.layers.parameters())
        for _ in range(self.rounds):
            with torch.no_grad():
                share = hedge(torch.exp(router.log_weights(rows, batch)), losses, 1 / self.temperature)

            def loss(share: Tensor = share) -> Tensor:
                cross = -(rows.weight[:, None] * share * router.log_weights(rows, batch)).sum()
                return (cross + router.penalty(1.0)) / rows.weight.sum()

            descend(parameters, loss, iterations=self.iterations)
