"""Rankings: the likelihood of an order, and pairwise losses over lists. All learn utilities: pairs meet as sigma(d)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch
from torch import Tensor

from preflearn.choice import Binary, listwise, plackett_luce
from preflearn.data.arrays import exploded, floats, lengths
from preflearn.errors import InputError
from preflearn.models.base import OutcomeModule, OutcomePart, Shape
from preflearn.models.batch import Lists
from preflearn.models.bounds import Count, Positive
from preflearn.models.outcomes.comparisons import Choice
from preflearn.models.parts import part

Likelihood = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Ranks, utilities and mask, each ``[..., K]``, to a log-likelihood ``[...]``."""


class ListModule(OutcomeModule):
    """A function of ranks and utilities in the place of a log-likelihood."""

    table = "rankings"

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        self.likelihood = likelihood

    def log_prob(self, utility: Tensor, rows: Lists) -> Tensor:
        """Log-likelihood of each ranking, ``[n, K, Z] -> [n, Z]``."""
        ranks, mask = rows.ranks[:, None, :], rows.mask[:, None, :]
        return self.likelihood(ranks, utility.transpose(1, 2), mask)

    def paired(self) -> OutcomeModule | None:
        return Choice(Binary())


@dataclass(frozen=True)
class _ListPart(OutcomePart):
    table: ClassVar[str] = "rankings"
    reads_ties: ClassVar[bool] = False
    """Whether a list that ties all its items says something."""

    def build(self, shape: Shape) -> OutcomeModule:
        return ListModule(self._likelihood)

    def _likelihood(self, ranks: Tensor, utility: Tensor, mask: Tensor) -> Tensor:
        raise NotImplementedError

    def answers(self, frame: pl.DataFrame) -> tuple[Any, Mapping[str, float]]:
        """Lists from which something can be learned, and why the others cannot be used."""
        size, places = lengths(frame["responses"]), lengths(frame["ranks"])
        odd = np.flatnonzero(size != places)
        if len(odd):
            raise InputError(
                f"a ranking lists {size[odd[0]]} responses and {places[odd[0]]} ranks.",
                row=int(odd[0]),
                column="rankings.ranks",
                cure="Give every response a rank, or null where it was shown but not ranked.",
            )
        rank, owner = floats(exploded(frame["ranks"])), np.repeat(np.arange(len(size)), size)
        low, high = np.full(len(size), np.inf), np.full(len(size), -np.inf)
        np.minimum.at(low, owner, np.nan_to_num(rank, nan=np.inf))
        np.maximum.at(high, owner, np.nan_to_num(rank, nan=np.inf))
        if (low < 1).any():
            raise InputError(
                "ranks begin at 1, the best.",
                row=int(np.argmax(low < 1)),
                column="rankings.ranks",
                value=float(low.min()),
            )
        single, unranked = size < 2, ~np.isfinite(low)
        tied = ~single & ~unranked & (low == high) & (not self.reads_ties)
        left = {
            "lists of one response": float(single.sum()),
            "lists without a rank": float((unranked & ~single).sum()),
            "lists that tie everything": float(tied.sum()),
        }
        return ~(single | unranked | tied), {reason: n for reason, n in left.items() if n}


@part("outcome", "plackett_luce")
@dataclass(frozen=True)
class PlackettLuce(_ListPart):
    """Rankings as successive choices from what is left; responses that were shown but not ranked lie below all others.

    Full rankings (ListMLE), the first few places, or a single choice. Ties: the likelihood has none, so a list with
    ties counts as half of itself with ties resolved in the order listed and half in the reverse order: two tied
    responses win half each, as a tie of a comparison does in Bradley-Terry. (With three and more tied, orders that keep
    the middle one in the middle stand for all.)

    Sources: Luce (1959); Plackett (1975), Applied Statistics 24, 193-202; as a loss: Xia et al. (2008), Listwise
    approach to learning to rank (ListMLE), ICML.
    """

    reads_ties: ClassVar[bool] = True

    def _likelihood(self, ranks: Tensor, utility: Tensor, mask: Tensor) -> Tensor:
        ahead = resolved_ties(ranks, forward=True)
        result: Tensor = plackett_luce.log_prob(ahead, utility, mask)
        behind = resolved_ties(ranks, forward=False)
        if torch.equal(ahead, behind):
            return result
        other: Tensor = plackett_luce.log_prob(behind, utility, mask)
        return 0.5 * (result + other)


@part("outcome", "list_pairs")
@dataclass(frozen=True)
class ListPairs(_ListPart):
    """Every pair of a list by itself, ``sum log sigma(u_i - u_j)`` over i ranked above j (RankNet); ties make no pair.

    The pairs of a list of K count as K (K - 1) / 2 votes, although they are not independent: probabilities of a model
    of few long lists are overconfident.

    Source: Burges et al. (2005), Learning to rank using gradient descent, ICML.
    """

    def _likelihood(self, ranks: Tensor, utility: Tensor, mask: Tensor) -> Tensor:
        result: Tensor = listwise.pairwise(listwise.relevance_of_ranks(ranks), utility, mask)
        return result


class LambdaModule(ListModule):
    """Pairs weighed by the model's own order, or, while they are held, by weights of an earlier one.

    Attributes:
        held: weights for the lists of one batch, [n, Z, K, K].
    """

    fitting = "reweighted"
    unsettled = "a loss whose weights follow the model is no likelihood"

    def __init__(self, beta: float) -> None:
        super().__init__(self._weighed)
        self.beta = beta
        self.held: Tensor | None = None

    def _weighed(self, ranks: Tensor, utility: Tensor, mask: Tensor) -> Tensor:
        if self.held is not None:
            held: Tensor = listwise.pair_derivatives(self.held.to(utility.dtype), utility, self.beta).log_prob
            return held
        gain = win_share(listwise.relevance_of_ranks(ranks), mask)
        result: Tensor = listwise.lambda_weighted(gain, utility, mask, beta=self.beta)
        return result

    def weights(self, utility: Tensor, rows: Lists, *, alike: bool = False) -> Tensor:
        """Weights of pairs by the order of ``utility [n, K, Z]``, or 1 for all pairs, [n, Z, K, K]."""
        relevance = listwise.relevance_of_ranks(rows.ranks[:, None, :])
        mask, u = rows.mask[:, None, :], utility.transpose(1, 2)
        if alike:
            same: Tensor = listwise.pair_weights(relevance, u, mask)
            return same
        found: Tensor = listwise.lambda_weights(win_share(relevance, mask), u, mask)
        return found


@part("outcome", "lambda")
@dataclass(frozen=True)
class LambdaPairs(_ListPart):
    """LiPO's lambda loss: pairs weighed by what exchanging them would change in the DCG of the model's own order.

    Gains need relevances in [0, 1]: here the share of the others in the list that a response beats (ties half), the
    paper's mean win probability where wins are certain. The top of the list counts most. Weights follow the model, so
    this is no likelihood and has no value to descend: the fitting `reweighted` (the default) holds them for a while.

    Attributes:
        beta: inverse temperature of the utilities.

    Source: Liu et al. (2024), LiPO, arXiv 2402.01878, equation 8 (see `preflearn.choice.listwise.lambda_weighted`).
    """

    beta: Positive = 1.0

    def build(self, shape: Shape) -> OutcomeModule:
        return LambdaModule(self.beta)


@part("outcome", "skips")
@dataclass(frozen=True)
class SkipPairs(_ListPart):
    """Neighbours in the order, and pairs that skip over up to ``skips - 1`` levels between them.

    Attributes:
        skips: the largest distance of a pair; 1 = adjacent pairs only, None = all pairs.
        soft: the rivals of an item meet it together, as their log-sum-exp.

    Source: after RankList, Naini, Diaz and Busso (2025), arXiv 2508.09826; only its abstract could be read, the
    formulas are our reading (see `preflearn.choice.listwise.adjacent_and_skips`).
    """

    skips: Count | None = 2
    soft: bool = False

    def _likelihood(self, ranks: Tensor, utility: Tensor, mask: Tensor) -> Tensor:
        relevance = listwise.relevance_of_ranks(ranks)
        result: Tensor = listwise.adjacent_and_skips(relevance, utility, mask, skips=self.skips, soft=self.soft)
        return result


@part("outcome", "softmax")
@dataclass(frozen=True)
class TopOne(_ListPart):
    """Shares of coming first: cross-entropy of ``softmax(u)`` with the softmax of relevances (ListNet, top-one).

    Relevances are shares of the list that a response beats, so that lists of any length have one scale.

    Attributes:
        temperature: of the relevances; small ones put everything on the best.

    Source: Cao et al. (2007), Learning to rank: from pairwise approach to listwise approach, ICML.
    """

    temperature: Positive = 0.2

    def _likelihood(self, ranks: Tensor, utility: Tensor, mask: Tensor) -> Tensor:
        gain = win_share(listwise.relevance_of_ranks(ranks), mask)
        result: Tensor = listwise.softmax(listwise.top_one(gain, mask, self.temperature), utility, mask)
        return result


def win_share(relevance: Tensor, mask: Tensor) -> Tensor:
    """Share of the others in its list that each item lies above, ties counting half, ``[..., K]``; 0 for padding."""
    above: Tensor = listwise.pair_weights(relevance, relevance, mask)
    others = (mask.sum(-1, keepdim=True) - 1).clamp(min=1)
    share = (above.sum(-1) + others - above.sum(-2)) / (2 * others)
    return torch.where(mask, share, 0.0)


def resolved_ties(ranks: Tensor, *, forward: bool) -> Tensor:
    """Ranks ``[..., K]`` with ties resolved by the order listed or its reverse; 0 (not ranked) stays."""
    # Ranks lie at least 1/2 apart (the middle of the best and the worst may lie between two).
    place = torch.arange(ranks.shape[-1], dtype=ranks.dtype, device=ranks.device) / (4 * ranks.shape[-1])
    within = place if forward else place.flip(-1)
    strict = ranks + within
    # Only tied items may move: ranks without ties come back as they are, whichever way ties go.
    tied = ((ranks[..., :, None] == ranks[..., None, :]).sum(-1) > 1) & (ranks > 0)
    return torch.where(tied, strict, ranks)
