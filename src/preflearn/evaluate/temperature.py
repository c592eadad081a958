"""One temperature for a model's logits, fitted on judgments that are not scored.

It makes a model neither better nor worse at ordering, only more or less sure. Of a model that knows ties P(a beats b |
decided) is fitted to decided judgments and P(tie) left as it is; for any other a tie is a half label, as in scoring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.special as special

from preflearn.data.fingerprints import Fingerprints, row_fingerprints
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError, NotComputable, NotSupported
from preflearn.evaluate import metrics
from preflearn.evaluate.clusters import ROWS, clusters
from preflearn.evaluate.figures import Figure
from preflearn.evaluate.intervals import Floats, Ints
from preflearn.evaluate.labels import Labels, labels
from preflearn.evaluate.predictions import overlap, predictions, side_of
from preflearn.evaluate.slopes import logistic_slope
from preflearn.protocols import HasAdapt, HasDraws, HasUtility, OutcomeProbabilities, PreferenceModel

FOLDS = 5


@dataclass(frozen=True)
class Temperature:
    """Logits are divided by it.

    Attributes:
        slope: 1 / temperature: below 1 the model was too sure of itself, above 1 not sure enough; 0 where its
            predictions point the wrong way or nowhere, so that nothing better than 1/2 can be made of them.
        figure: the slope as fitted, with its clustered interval; `n` = decided judgments.
    """

    slope: float
    figure: Figure

    @property
    def value(self) -> float:
        """The temperature; infinite where the slope is 0."""
        return 1 / self.slope if self.slope > 0 else math.inf

    def apply(self, p: Floats) -> Floats:
        """P(a beats b) at this temperature: [...]; NaN stays NaN, and certainty stays certainty."""
        scaled = self.slope * special.logit(p) if self.slope else np.where(np.isnan(p), np.nan, 0.0)
        return np.asarray(special.expit(scaled))

    def apply_outcomes(self, table: Floats) -> Floats:
        """(a, tie, b) with the decided part at this temperature: [..., 3]."""
        decided = table[..., metrics.A] + table[..., metrics.B]
        with np.errstate(invalid="ignore", divide="ignore"):
            p = np.where(decided > 0, table[..., metrics.A] / decided, 0.5)
        p = self.apply(p)
        return np.stack([decided * p, table[..., metrics.TIE], decided * (1 - p)], axis=-1)

    def as_dict(self) -> dict[str, Any]:
        """Plain data; an infinite temperature is null."""
        return {
            "temperature": self.value if self.slope > 0 else None,
            "slope": self.slope,
            "fitted_slope": self.figure.as_dict(),
        }

    def lines(self) -> list[str]:
        """For people."""
        if not self.slope:
            return ["temperature infinite: the predictions do not point the right way, all become 1/2"]
        sure = "too sure" if self.slope < 1 else "not sure enough"
        return [f"temperature {self.value:.3f} (the model was {sure}); 1 / temperature {self.figure.text()}"]


def fit_temperature(
    p: Floats, label: Labels, cluster: Ints | None = None, *, ties: bool = False, unit: str = "cluster"
) -> Temperature:
    """The temperature of largest likelihood.

    Args:
        p: P(a beats b | decided), [n].
        label: the judgments, [n].
        cluster: for the interval, [n].
        ties: the model knows ties: only decided judgments count (soft labels by their decided shares); else a tie is a
            half label.
        unit: what a cluster is.

    Raises:
        NotComputable: there is nothing to fit to; every answer is as predicted (the best temperature is 0); or an
            answer had probability 0, which no temperature repairs.

    Source: Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks, arXiv:1706.04599, section
    4.2, for two classes (Platt scaling without an intercept, which exchanging a and b forbids).
    """
    decided = label.target[:, metrics.A] + label.target[:, metrics.B]
    weight, won = label.weight, metrics.half_label(label.target)
    if ties:
        weight = weight * decided
        won = np.divide(label.target[:, metrics.A], decided, out=np.full(len(p), 0.5), where=decided > 0)
    x = special.logit(p)
    kept = weight > 0
    if not kept.any():
        raise NotComputable("there is no decided comparison to fit a temperature to")
    certain = kept & ~np.isfinite(x)
    if (np.where(x > 0, 1 - won, won)[certain] > 0).any():
        raise NotComputable("the model gave probability 0 to what happened, which no temperature repairs")
    kept &= ~certain
    found = logistic_slope(
        x[kept],
        won[kept],
        weight[kept],
        np.full(int(kept.sum()), -1) if cluster is None else cluster[kept],
        unit=unit,
    )
    if found.value is None:
        if float(weight[kept] @ ((won[kept] - 0.5) * x[kept])) <= 0:  # nothing differs, or all points the wrong way
            return Temperature(0.0, found)
        raise NotComputable("every answer is as predicted, so no temperature is best: the smaller, the better")
    return Temperature(max(found.value, 0.0), found)


def cross_fitted(p: Floats, label: Labels, fold: Ints, *, ties: bool = False) -> tuple[Temperature, ...]:
    """For each fold the temperature of all other folds.

    Args:
        fold: [n], 0 .. folds - 1.
        ties: see `fit_temperature`.

    Raises:
        NotComputable: as `fit_temperature`, for any of them.
    """
    return tuple(
        fit_temperature(p[rest], label.take(rest), ties=ties)
        for rest in (fold != k for k in range(int(fold.max()) + 1))
    )


def folds(code: Ints, size: int, seed: int, wanted: int = FOLDS) -> Ints:
    """Fold of each row, [n], such that clusters stay whole and folds have equally many of them.

    Raises:
        NotComputable: there is one cluster only.
    """
    if size < 2:
        raise NotComputable("all of it comes from one cluster, so there is nothing to fit a temperature on")
    of_cluster = np.arange(size) % min(wanted, size)
    np.random.default_rng([seed, 2]).shuffle(of_cluster)
    return np.asarray(of_cluster[code])


class Tempered:
    """A preference model with one temperature on the logit of P(a beats b | decided)."""

    def __init__(self, model: PreferenceModel, temperature: Temperature, calibration: Fingerprints) -> None:
        self.model = model
        self.temperature = temperature
        self.calibration_fingerprints_ = calibration
        for name in ("training_fingerprints_", "annotators_"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))

    def fit(self, data: PreferenceData) -> Self:
        """Not offered: a refitted model needs a new temperature."""
        raise NotSupported("a model with a temperature is not refitted: fit the model, then the temperature.")

    def prob(self, data: PreferenceData, *, symmetrised: bool = False, **options: Any) -> Floats:
        """P(a beats b | decided) at the temperature: [n]."""
        return self.temperature.apply(np.asarray(self.model.prob(data, symmetrised=symmetrised, **options)))

    def outcome_probs(self, data: PreferenceData, **options: Any) -> OutcomeProbabilities:
        """All outcomes; wins of both sides at the temperature, ties as they were."""
        outcomes, table = self.model.outcome_probs(data, **options)
        first, second = (np.array([side_of(name) == side for name in outcomes]) for side in "ab")
        a, b = table[:, first].sum(axis=1), table[:, second].sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            before = np.where(a + b > 0, a / (a + b), 0.5)
            after = self.temperature.apply(before)
            up = np.where(before > 0, after / before, 1.0)
            down = np.where(before < 1, (1 - after) / (1 - before), 1.0)
        factor = np.where(first, up[:, None], np.where(second, down[:, None], 1.0))
        return OutcomeProbabilities(outcomes, table * factor)

    def utility(self, data: PreferenceData) -> Floats:
        """Utilities, in logits at the temperature."""
        if not isinstance(self.model, HasUtility):
            raise NotSupported("the model has no utilities.")
        return self.model.utility(data) * self.temperature.slope

    def prob_draws(self, data: PreferenceData, n: int, seed: int) -> Floats:
        """Posterior draws at the temperature."""
        if not isinstance(self.model, HasDraws):
            raise NotSupported("the model has no posterior.")
        return self.temperature.apply(self.model.prob_draws(data, n, seed))

    def adapt(self, labelled: PreferenceData) -> Tempered:
        """The adapted model at the same temperature."""
        if not isinstance(self.model, HasAdapt):
            raise NotSupported("the model treats everyone alike.")
        return Tempered(self.model.adapt(labelled), self.temperature, self.calibration_fingerprints_)

    def get_params(self) -> dict[str, Any]:
        """What it is made of."""
        return {
            "model": self.model,
            "temperature": self.temperature,
            "calibration": self.calibration_fingerprints_,
        }


def with_temperature(model: PreferenceModel, data: PreferenceData) -> Tempered:
    """The model with the temperature that fits the judgments of `data`, which must not be scored afterwards.

    `score` and `compare` refuse rows of `data` as they refuse training rows.

    Raises:
        InputError: nothing of `data` can be used, or it was in the training data of the model.
        NotComputable: see `fit_temperature`.
    """
    label = labels(data)
    usable = label.usable
    seen = overlap(model, data, usable)
    if seen is not None and seen.any():
        raise InputError(
            f"{int(seen.sum()):,} of {int(usable.sum()):,} judged comparisons were in the training data of the model.",
            row=int(np.argmax(seen)),
            cure="Fit the temperature on a part of its own (preflearn split).",
        )
    found = predictions(model, data, usable)
    scored = usable.copy()
    scored[usable] = found.answered
    if not scored.any():
        raise InputError("the model answers no judged comparison of the calibration data.")
    by = clusters(data, "comparisons", None, scored)
    code = np.full(len(by.code), -1) if by.name == ROWS else by.code
    temperature = fit_temperature(
        found.p[found.answered], label.take(scored), code, ties=found.outcomes is not None, unit=by.unit
    )
    return Tempered(model, temperature, row_fingerprints(data))
