"""From the predictions of all recipes on one data set to figures: the battery of `compare` in every situation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data import PreferenceData
from preflearn.evaluate import Comparison, compare
from preflearn.evaluate.plain import plain
from preflearn.experiments.real.fits import Result
from preflearn.experiments.real.folds import QUADRANTS, Folds, coded
from preflearn.experiments.real.sets import RealSet

Floats = npt.NDArray[np.float64]

WHERE = {"new_prompt": "by_unit", "new_both": "by_unit", "new_annotator": "by_annotator", "known": "known"}
"""Situation -> the predictions it is about."""
KEPT = ("accuracy", "log_loss", "ece", "auc")
LEAST = 200
"""Judgments that a situation needs to be shown."""


def figures(
    described: RealSet,
    data: PreferenceData,
    folds: Folds,
    results: Mapping[str, Result],
    n_bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Figures of all models in every situation that has enough judgments, as plain data.

    Args:
        results: model -> result; the first is the one that others are compared to.
    """
    people = coded(data.comparisons["annotator_id"].cast(pl.String))
    situations = {}
    for name, rows in folds.quadrants(people).items():
        p = {model: getattr(result, WHERE[name])[rows] for model, result in results.items()}
        p = {model: values for model, values in p.items() if not np.isnan(values).any()}
        if rows.sum() < LEAST or next(iter(results)) not in p:
            continue
        part = data.replace(comparisons=data.comparisons.filter(pl.Series(rows))).pruned()
        found = compare(
            p, part, cluster=list(described.cluster), by=list(described.by), n_bootstrap=n_bootstrap, seed=seed
        )
        situations[name] = _kept(found)
    return {name: situations[name] for name in QUADRANTS if name in situations}


def _kept(found: Comparison) -> dict[str, Any]:
    """What the page shows of a comparison."""
    ceiling = found.ceiling
    return {
        "judgments": found.judgments,
        "interval": found.interval,
        "clusters": dict(zip(found.clustered_by, found.n_clusters, strict=True)),
        "notes": found.notes,
        "models": {
            name: {
                "figures": plain({key: scores.figures[key] for key in KEPT}),
                "differences": plain({key: scores.differences[key] for key in KEPT if scores.differences}),
                "ece_floor": scores.ece_floor,
                "temperature": found.calibrated[name].temperature,
                "calibrated": plain(found.calibrated[name].figures),
            }
            for name, scores in found.models.items()
        },
        "calibrated_on": found.calibrated_on,
        "by": {
            column: {
                "worst": plain(groups.worst),
                "eligible": groups.eligible,
                "least": groups.least,
                "values": plain(groups.values) if len(groups.values) <= 8 else {},
            }
            for column, groups in found.by.items()
        },
        "minority": [plain(one) for one in found.minority],
        "ceiling": {
            "lower": plain(ceiling.lower),
            "upper": plain(ceiling.upper),
            "models": plain(ceiling.models),
        },
    }
