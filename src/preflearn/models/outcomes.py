"""Outcomes: how a recorded comparison becomes a target, and its probability. The links live in `preflearn.choice`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from torch import Tensor

from preflearn.choice import Binary, Link
from preflearn.choice.modules import LinkModule
from preflearn.data.schema import TIES
from preflearn.errors import InputError
from preflearn.models.base import OutcomeModule, OutcomePart, Shape
from preflearn.models.batch import Pairs
from preflearn.models.parts import part

COLUMNS = ("outcome", "strength", "probability", "probability_tie")


class Choice(OutcomeModule):
    """A link of `preflearn.choice` with learned shape parameters."""

    def __init__(self, link: Link, strength: str) -> None:
        super().__init__()
        self.link = link
        self.strength = strength
        self.shape = LinkModule(link)

    def log_probs(self, logit: Tensor, rows: Pairs) -> Tensor:
        """Log-probabilities of clean outcomes, ``[n, Z] -> [n, Z, K]``."""
        result: Tensor = self.link.log_probs(logit, self.shape.shape_parameters.to(logit.dtype))
        return result

    def log_prob(self, log_probs: Tensor, rows: Pairs) -> Tensor:
        """Log-likelihood of the recorded targets, ``[n, Z, K] -> [n, Z]``."""
        target = rows.target[:, None, :]
        return (target * log_probs.masked_fill(target == 0, 0.0)).sum(-1)


@part("outcome", "choice")
@dataclass(frozen=True)
class Comparisons(OutcomePart):
    """Comparisons through a link.

    A link without ties takes a tie as half a win of each side ("half") or leaves ties out ("drop"). A teacher's
    probability is a soft label. Both-good and both-bad count as ties.

    Attributes:
        link: `Binary`, `Davidson`, `Ordinal`, ...
        ties: "half" or "drop", for links without a tie.
    """

    link: Link = Binary()  # noqa: RUF009 - a frozen part
    ties: Literal["half", "drop"] = "half"

    def build(self, shape: Shape) -> OutcomeModule:
        return Choice(self.link, "")

    def answers(self, frame: pl.DataFrame) -> tuple[Any, Mapping[str, float]]:
        """Targets [n, K] (zeros where a row cannot be used), and reasons -> rows for what is left out."""
        names = self.link.outcomes
        target = np.zeros((frame.height, len(names)))
        outcome = frame["outcome"].cast(pl.String)
        tied = outcome.is_in(list(TIES)).fill_null(False).to_numpy()
        soft = (outcome.is_null() & frame["probability"].is_not_null()).to_numpy()
        strength = frame["strength"].fill_null(1).to_numpy()
        levels = sum(name.startswith("a") for name in names)
        for side in ("a", "b"):
            rows = (outcome == side).fill_null(False).to_numpy()
            if levels == 1:
                target[rows, names.index(side)] = 1
                continue
            if len(rows) and rows.any() and strength[rows].max() > levels:
                raise InputError(
                    f"a comparison has strength {int(strength[rows].max())}, the model has {levels} grades.",
                    column="comparisons.strength",
                    cure=f"Use Ordinal(levels={int(strength[rows].max())}).",
                )
            for level in range(1, levels + 1):
                target[rows & (strength == level), names.index(f"{side}{level}")] = 1
        if "tie" in names:
            target[tied, names.index("tie")] = 1
        elif self.ties == "half":
            target[tied, names.index("a" if levels == 1 else "a1")] = 0.5
            target[tied, names.index("b" if levels == 1 else "b1")] = 0.5
        if soft.any():
            if levels > 1:
                raise InputError("a teacher's probability has no grade.", cure="Use a link of two or three outcomes.")
            p = frame["probability"].fill_null(0).to_numpy()
            t = frame["probability_tie"].fill_null(0).to_numpy()
            share = 0.5 * t if "tie" not in names else 0 * t
            target[soft, names.index("a")] = (p + share)[soft]
            target[soft, names.index("b")] = (1 - p - t + share)[soft]
            if "tie" in names:
                target[soft, names.index("tie")] = t[soft]
        skipped = (outcome == "skip").fill_null(False).to_numpy()
        unjudged = outcome.is_null().to_numpy() & ~soft
        left = {"skipped": float(skipped.sum()), "not judged": float(unjudged.sum())}
        if "tie" not in names and self.ties == "drop":
            left["tied"] = float(tied.sum())
        return target, {reason: n for reason, n in left.items() if n}
