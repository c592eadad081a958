"""Two models that review each other's labels: each learns from what the other finds plausible."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from preflearn.choice.reliability import keep_share, peer_keep
from preflearn.errors import InputError
from preflearn.models.base import Part
from preflearn.models.batch import Batch, taken
from preflearn.models.bounds import Count, Minority
from preflearn.models.fitting import FullBatch, Report
from preflearn.models.network import Network
from preflearn.models.parts import part
from preflearn.models.solvers.descent import restart


@part("fitting", "peer_review")
@dataclass(frozen=True)
class PeerReview(Part):
    """Co-teaching: in every round each of two models learns from the comparisons on which the *other* errs least.

    The share that is kept falls from 1 to ``1 - flip_rate`` over `ramp` rounds. The two begin on different halves of
    the comparisons, so that their errors differ even where the problem is convex. The first of the two is the result.

    It helps models that can learn wrong labels by heart (perceptrons, short of convergence), little or nothing where
    noise only shrinks a linear model; a flip rate that is too high throws good labels away, so estimate it first
    (`Flips`, `flip_profile`, `Reliability`).

    Attributes:
        fitting: of each round; few iterations, for a model that is trained to the end has learned the wrong labels too.
        flip_rate: share of wrong labels.
        rounds: of reviewing.
        ramp: rounds until the full share is left out.

    Sources: Han et al. (2018), Co-teaching, arXiv 1804.06872; for reward models CRM, Zhang et al. (2025), arXiv
    2505.10597 (abstract and reviews: it also sorts from easy to hard, which a full batch cannot).
    """

    fitting: Part = FullBatch(iterations=5)  # noqa: RUF009 - a frozen part
    flip_rate: Minority = 0.2
    rounds: Count = 15
    ramp: Count = 5

    unsettled: ClassVar[str | None] = "peers chose what it learned from"

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        rows = batch.pairs
        if rows is None:
            raise InputError("peer review is about comparisons, and there are none.")
        generator = torch.Generator().manual_seed(seed)
        peers = [network, copy.deepcopy(network)]
        torch.manual_seed(seed + 1)
        restart(peers[1])
        first = torch.randperm(len(rows), generator=generator) % 2 == 0
        keeps = [first, ~first]
        iterations, report = 0, Report(0.0, 0, False)
        for done in range(self.rounds + 1):
            for place in (1, 0):
                kept = replace(batch, pairs=taken(rows, keeps[place].nonzero()[:, 0]))
                report = self.fitting.fit(peers[place], kept, seed)  # type: ignore[attr-defined]
                iterations += report.iterations
            share = keep_share(done + 1, self.flip_rate, self.ramp)
            losses = [_losses(peer, batch) for peer in peers]
            keeps = [peer_keep(losses[1], share), peer_keep(losses[0], share)]
        both = float((keeps[0] & keeps[1]).sum() / keeps[0].sum())
        note = f"Peer review left {1 - share:.0%} of the comparisons out; the models agree on {both:.0%} of the others."
        # Every round stops early on purpose; having done all of them is being done.
        return Report(report.value, iterations, True, notes=(note,))


@torch.no_grad()
def _losses(network: Network, batch: Batch) -> Tensor:
    """Negative log-likelihood of each comparison by itself, [n]."""
    rows = batch.pairs
    assert rows is not None
    taste = network.population(rows, batch)
    log_prob = network.log_prob(rows, batch, taste)
    if taste.log_weights is not None:
        return -torch.logsumexp(log_prob + taste.log_weights, dim=1)
    return -log_prob[:, 0]
