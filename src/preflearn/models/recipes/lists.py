"""Models of rankings: the likelihood of the order, and the losses of learning to rank."""

from __future__ import annotations

from typing import Any

from preflearn.models.base import OutcomePart
from preflearn.models.composed import Composed
from preflearn.models.heads import Utility
from preflearn.models.outcomes import LambdaPairs, PlackettLuce, SkipPairs


def plackett_luce(hidden: tuple[int, ...] = (), **options: Any) -> Composed:
    """Rankings as successive choices, ``prod_k softmax over what is left``: full, partial, or the best one only.

    Args:
        hidden: widths of hidden layers of the utility.
        options: of `Composed`.

    Sources: Luce (1959); Plackett (1975). On full rankings it is ListMLE: Xia et al. (2008), ICML.
    """
    return _of("plackett_luce", PlackettLuce(), hidden, options)


def lipo(hidden: tuple[int, ...] = (), beta: float = 1.0, **options: Any) -> Composed:
    """LiPO-lambda around a reward model: pairs of a list, weighed by the gain in DCG from exchanging them.

    It trades the order of the lower places for that of the top: where whole rankings count, `plackett_luce` is better.

    Args:
        hidden: widths of hidden layers of the utility.
        beta: inverse temperature of utilities in the loss.
        options: of `Composed`.

    Source: Liu et al. (2024), LiPO, arXiv 2402.01878, equation 8 (there for policies; read through a third party).
    """
    return _of("lipo", LambdaPairs(beta), hidden, options)


def ranklist(hidden: tuple[int, ...] = (), skips: int | None = 2, soft: bool = True, **options: Any) -> Composed:
    """Neighbours in a ranking, and pairs that skip over others, softly joined: after RankList.

    Args:
        hidden: widths of hidden layers of the utility.
        skips: largest distance of a pair; 1 = neighbours only, None = all.
        soft: an item meets its rivals as their log-sum-exp.
        options: of `Composed`.

    Source: after Naini, Diaz and Busso (2025), RankList, arXiv 2508.09826: only the abstract could be read.
    """
    return _of("ranklist", SkipPairs(skips, soft), hidden, options)


def _of(name: str, outcome: OutcomePart, hidden: tuple[int, ...], options: dict[str, Any]) -> Composed:
    return Composed(**{"head": Utility(tuple(hidden)), "outcomes": (outcome,), "name": name, **options})
