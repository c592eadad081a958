"""Recorded strength of preference: as graded outcomes, as a margin, as a weight."""

from __future__ import annotations

from typing import Any, Literal

from preflearn.models.composed import Composed
from preflearn.models.heads import Utility
from preflearn.models.outcomes import Strength


def ordinal(
    hidden: tuple[int, ...] = (),
    levels: int | Literal["auto"] = "auto",
    ties: bool | Literal["auto"] = "auto",
    personal: float | None = None,
    **options: Any,
) -> Composed:
    """Graded answers ("much better", "better", "about equal") as a cumulative-logit model of the utility difference.

    Strong preferences say more than weak ones: with few comparisons, far more than votes do. Cut-points are learned;
    strength is a matter of taste, so with several annotators give them their own (`personal`).

    Args:
        hidden: widths of hidden layers of the utility.
        levels, ties: grades on each side, and whether there is a middle; by default as recorded.
        personal: precision with which annotators' cut-points are held to the pooled ones (4 is a good start).
        options: of `Composed` (encoder, ridge, noise, ...).

    Source: Agresti (1992), Analysis of ordinal paired comparison data, Applied Statistics 41, 287-297.
    """
    outcome = Strength("ordinal", levels, ties, personal=personal)
    return Composed(**{"head": Utility(tuple(hidden)), "outcomes": (outcome,), "name": "ordinal", **options})


def margin_bt(hidden: tuple[int, ...] = (), steps: tuple[float, ...] = (), **options: Any) -> Composed:
    """Bradley-Terry in which a winner must win by its recorded strength: ``-log sigma(d - m)``.

    Args:
        hidden: widths of hidden layers of the utility.
        steps: what each grade stands for in logits, weakest first; by default 1, 2, ...
        options: of `Composed`.

    Source: Touvron et al. (2023), Llama 2, arXiv 2307.09288, section 3.2.2. Probabilities are too bold: the margin is
    no part of the prediction.
    """
    outcome = Strength("margin", steps=tuple(steps))
    return Composed(**{"head": Utility(tuple(hidden)), "outcomes": (outcome,), "name": "margin_bt", **options})


def scaled_bt(hidden: tuple[int, ...] = (), steps: tuple[float, ...] = (), **options: Any) -> Composed:
    """Bradley-Terry in which a comparison of strength m counts m times: ``-m log sigma(d)``.

    Args:
        hidden: widths of hidden layers of the utility.
        steps: how often each grade counts, weakest first; by default 1, 2, ...
        options: of `Composed`.

    Source: HelpSteer2-Preference, Wang et al. (2024), arXiv 2410.01257 (authors' slides).
    """
    outcome = Strength("scaled", steps=tuple(steps))
    return Composed(**{"head": Utility(tuple(hidden)), "outcomes": (outcome,), "name": "scaled_bt", **options})
