"""Figures that were known before, measured again: length and MiniLM on UKPConvArg, across debates, against pair labels.

One label per pair instead of votes: the gold label of MACE, or the majority of the votes; pairs that either calls equal
are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.split import assign
from preflearn.evaluate import compare
from preflearn.evaluate.plain import plain
from preflearn.experiments.real.fits import ENCODERS
from preflearn.experiments.real.folds import coded
from preflearn.experiments.real.sets import UNIT, Loaded
from preflearn.models.spec import build

KEY = "ukpconvarg"
FOLDS = 5
KNOWN = {"characters": 0.745, "minilm": 0.735, "minilm + characters": 0.771}
"""Accuracies against gold labels that were known: length alone, differences of MiniLM vectors, both."""
_ENCODERS: dict[str, Any] = {
    **ENCODERS,
    "minilm": "minilm",
    "minilm + characters": ["minilm", ENCODERS["characters"]],
    "minilm + features": "minilm+features",
}
_RIDGES = (100.0, 1_000.0, 3_000.0)


def figures(loaded: Loaded, seed: int) -> dict[str, Any]:
    """Accuracy of Bradley-Terry on pairs of held-out debates, by label and encoder, as plain data."""
    votes = loaded.data
    out: dict[str, Any] = {}
    for name, pairs in (("gold", _pairs(votes, _gold())), ("majority", _pairs(votes, _majority()))):
        unit = coded(pairs.comparisons[UNIT])
        weight = np.bincount(unit).astype(np.float64)
        fold = assign(weight, np.full(FOLDS, 1 / FOLDS), np.random.default_rng(seed))[unit]
        p = {encoder: _predicted(pairs, fold, spec) for encoder, spec in _ENCODERS.items()}
        p["minilm + features, from votes"] = _from_votes(votes, pairs, fold)
        found = compare(p, pairs, cluster=UNIT, by=[], n_bootstrap=1000, seed=seed)
        out[name] = {
            "pairs": pairs.height("comparisons"),
            "models": {key: plain(one.figures["accuracy"]) for key, one in found.models.items()},
        }
    return out


def _gold() -> pl.Expr:
    return pl.col("mace_gold").first()


def _majority() -> pl.Expr:
    lead = (pl.col("outcome") == "a").sum().cast(pl.Int64) - (pl.col("outcome") == "b").sum().cast(pl.Int64)
    return pl.when(lead > 0).then(pl.lit("a")).when(lead < 0).then(pl.lit("b"))


def _pairs(votes: PreferenceData, label: pl.Expr) -> PreferenceData:
    """One decided comparison per pair, of nobody."""
    frame = votes.comparisons.group_by("response_a", "response_b", maintain_order=True).agg(
        pl.col("comparison_id").first(), label.alias("outcome"), pl.col(UNIT).first()
    )
    return votes.replace(comparisons=frame.filter(pl.col("outcome").is_in(["a", "b"])))


def _predicted(pairs: PreferenceData, fold: Any, encoder: Any) -> Any:
    """P(a beats b) of each pair by the fit that does not know its debate; the ridge is chosen on the next fold."""
    p = np.zeros(len(fold))
    won = (pairs.comparisons["outcome"] == "a").to_numpy()
    for k in range(FOLDS):
        aside = fold == (k + 1) % FOLDS
        inner = _rows(pairs, (fold != k) & ~aside)
        losses = []
        for ridge in _RIDGES:
            q = build("bradley_terry", encoder=encoder, ridge=ridge).fit(inner).prob(_rows(pairs, aside))
            losses.append(-np.log(np.where(won[aside], q, 1 - q)).mean())
        best = _RIDGES[int(np.argmin(losses))]
        model = build("bradley_terry", encoder=encoder, ridge=best).fit(_rows(pairs, fold != k))
        p[fold == k] = model.prob(_rows(pairs, fold == k))
    return p


def _from_votes(votes: PreferenceData, pairs: PreferenceData, fold: Any) -> Any:
    """Likewise, fitted to single votes instead of one label per pair."""
    place = pairs.comparisons.select(UNIT, pl.Series("fold", fold)).unique()
    joined = votes.comparisons.join(place, on=UNIT, how="left", maintain_order="left")["fold"].fill_null(-1).to_numpy()
    p = np.zeros(len(fold))
    for k in range(FOLDS):
        train = votes.replace(comparisons=votes.comparisons.filter(pl.Series(joined != k)))
        model = build("bradley_terry", encoder=_ENCODERS["minilm + features"], ridge=10_000.0).fit(train)
        p[fold == k] = model.prob(_rows(pairs, fold == k))
    return p


def _rows(data: PreferenceData, rows: Any) -> PreferenceData:
    return data.replace(comparisons=data.comparisons.filter(pl.Series(rows)))
