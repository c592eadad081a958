"""How well leaderboards predict votes about prompts (or by people) that they never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.columns import attach
from preflearn.data.split import SplitBy, split
from preflearn.errors import InputError
from preflearn.evaluate import Figure, Scores, score
from preflearn.ranking.board import build as rating_model
from preflearn.report.blocks import Grid, Prose, Section, headings, percent
from preflearn.report.estimates import Estimates
from preflearn.report.votes import compared

USUAL, HONEST, GROUPED = "usual leaderboard", "with ties and position", "one leaderboard per group"
FEW_UNITS = 10


@dataclass(frozen=True)
class HeldOut:
    """Figures of each kind of model on the part that was kept back.

    Attributes:
        scores: by kind of model.
        unit: what was kept back: prompts or annotators.
        judgments: votes in the part that was kept back.
    """

    scores: Mapping[str, Scores]
    unit: str
    judgments: int


def held_out(data: PreferenceData, estimates: Estimates, *, item: str = "system", seed: int = 0) -> HeldOut:
    """Keep a fifth of the prompts back (of the annotators, without prompts) and predict the votes about it.

    Raises:
        InputError: there is nothing to split by, or too little.
    """
    votes = compared(data).data
    by: SplitBy = "prompt" if votes.height("prompts") >= FEW_UNITS else "annotator"
    if by == "annotator" and votes.height("annotators") < FEW_UNITS:
        raise InputError("there are fewer than ten prompts and fewer than ten annotators to keep some back.")
    parts = split(votes, {"train": 0.8, "test": 0.2}, by=by, seed=seed)
    train, test = parts["train"], parts["test"]
    if estimates.criterion is not None:
        test = test.where("comparisons", pl.col("criterion_id").cast(pl.String) == estimates.criterion)
    plain: dict[str, Any] = {"criterion": estimates.criterion, "item": item, "cluster": None}
    full = {**plain, "position": not isinstance(estimates.position, str)}
    settings: dict[str, Any] = {"seed": seed, "n_bootstrap": 500, "cluster": by}
    scores = {
        USUAL: score(rating_model("bradley_terry", **plain).fit(train), test, **settings),
        HONEST: score(rating_model(estimates.model, **full).fit(train), test, **settings),
    }
    if estimates.by is not None:
        scores[GROUPED] = score(_by_group(train, test, estimates, full), test, **settings)
    return HeldOut(scores, f"{by}s", scores[USUAL].counts.judgments)


def _by_group(
    train: PreferenceData, test: PreferenceData, estimates: Estimates, options: Mapping[str, Any]
) -> npt.NDArray[np.float64]:
    """P(a beats b | decided) of each test row from the leaderboard of its own group [n]; NaN where it has none."""
    assert estimates.by is not None
    group_of = [
        attach(part, "comparisons", {"__group": estimates.by}).select(pl.col("__group").cast(pl.String)).collect()
        for part in (train, test)
    ]
    out = np.full(test.height("comparisons"), np.nan)
    for group in estimates.boards:
        of_train, of_test = ((column["__group"] == group).fill_null(False) for column in group_of)
        if of_test.any():
            fitted = rating_model(estimates.model, **options).fit(train.where("comparisons", pl.lit(of_train)))
            out[of_test.to_numpy()] = fitted.prob(test.where("comparisons", pl.lit(of_test)), missing="nan")
    return out


def sentence(found: HeldOut) -> str:
    """What predicts best, with its figures."""
    known = {name: scores for name, scores in found.scores.items() if scores.log_loss_decided.value is not None}
    if not known:
        return f"Nothing can be said about {found.unit} that were kept back."
    best = min(known, key=lambda name: known[name].log_loss_decided.value or 0.0)
    accuracy, loss = known[best].accuracy.value, known[best].log_loss_decided.value
    assert accuracy is not None and loss is not None
    told = f"Votes about {found.unit} that were kept back are predicted best by {best}: {percent(accuracy, 1)} right"
    told += " (a tie counts as half right)" if known[best].counts.ties else ""
    if USUAL not in known or best == USUAL:
        return f"{told}."
    other = known[USUAL].accuracy.value
    return f"{told}, against {percent(other or 0.0, 1)} for the usual leaderboard."


def section(found: HeldOut) -> Section:
    """The table of held-out figures."""
    keys = ("accuracy", "log_loss_decided", "ece")
    rows = [
        (name, *(_cell(scores.figures()[key]) for key in keys), f"{scores.counts.judgments:,}")
        for name, scores in found.scores.items()
    ]
    grid = Grid(
        f"Predicting votes about {found.unit} that were kept back",
        headings("Model", "#Accuracy", "#Log loss", "#Calibration error", "#Votes"),
        tuple(rows),
        note="A fifth was kept back. In accuracy a tie counts half. Log loss is of decided votes, in nats: "
        "0.693 is a coin, smaller is better.",
    )
    return Section("held-out", "How well it predicts", (Prose(sentence(found)), grid))


def _cell(figure: Figure) -> str:
    if figure.value is None:
        return "not computable"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
