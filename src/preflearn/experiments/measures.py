"""Figures that proofs measure: how estimates relate to planted truths."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from preflearn.experiments.proof import Figures
from preflearn.ranking import RatingModel

Floats = npt.NDArray[np.float64]


def centred(values: Floats) -> Floats:
    """Values minus their mean."""
    return np.asarray(values - values.mean())


def truth_of(model: RatingModel, truth: Mapping[str, float]) -> Floats:
    """True strengths in the order of a fitted model's items, centred over its estimable ones: `[n]`."""
    values = np.array([truth[name] for name in model.items_])
    return np.asarray(values - values[model.estimable_].mean())


def slope(estimate: Floats, truth: Floats) -> float:
    """Slope of estimates on truth, both centred: 1 for an estimator on the right scale, below 1 if it shrinks."""
    x, y = centred(truth), centred(estimate)
    return float(x @ y / (x @ x))


def model_slope(model: RatingModel, truth: Mapping[str, float]) -> float:
    """`slope` of a fitted model's strengths.

    Raises:
        ValueError: an item has no strength.
    """
    if len(model.estimable_) < len(model.items_):
        raise ValueError("some items have no strength; the experiment needs more votes")
    return slope(model.strengths_, truth_of(model, truth))


def root_mean_square(values: Floats) -> float:
    """Of all entries."""
    return float(np.sqrt(np.mean(np.square(values))))


def averaged(replicates: int) -> Callable[[Callable[[int], Figures]], Callable[[int], Figures]]:
    """Make a measurement the mean of several with seeds of their own: one study alone strays too far to be held to."""

    def wrap(figures: Callable[[int], Figures]) -> Callable[[int], Figures]:
        def mean(seed: int) -> Figures:
            found = [figures(seed + 100_003 * k) for k in range(replicates)]
            return Figures(float(np.mean([f.measured for f in found])), float(np.mean([f.baseline for f in found])))

        return mean

    return wrap
