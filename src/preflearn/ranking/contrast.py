"""The difference of two items, with the covariance of their estimates taken into account."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, stdtr

from preflearn.errors import InputError, NotComputable
from preflearn.ranking.leaderboard import critical_value
from preflearn.ranking.models import RatingModel


class Contrast(NamedTuple):
    """How much stronger one item is than another."""

    item: str
    other: str
    difference: float
    """Log-odds that `item` wins a decided comparison with `other`."""
    se: float
    low: float
    high: float
    p_value: float
    """Two-sided, of no difference; not corrected for looking at several pairs (rank sets are)."""
    win_probability: float
    """P(item beats other | decided), with ends `expit(low)` and `expit(high)`."""


def contrast(model: RatingModel, item: str, other: str, *, level: float = 0.95) -> Contrast:
    """The difference of two items of a fitted model; see `Contrast`.

    The interval is that of the difference, not the difference of two intervals. With `interval="bootstrap"` it is a
    percentile interval.

    Raises:
        InputError: no such item, or a level outside (0, 1).
        NotComputable: an item has no strength.
    """
    if not 0 < level < 1:
        raise InputError("the level must lie between 0 and 1.", value=level)
    one, two = (_place(model, name) for name in (item, other))
    assert model.covariance_ is not None
    strengths = model.strengths_[model.estimable_]
    gap = float(strengths[one] - strengths[two])
    if one == two:
        return Contrast(item, other, 0.0, 0.0, 0.0, 0.0, 1.0, 0.5)
    se = float(model.covariance_.of_differences(two)[one])
    if model.replicates_ is not None:
        drawn = model.replicates_[:, one] - model.replicates_[:, two]
        low, high = (float(end) for end in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
    else:
        reach = critical_value(model.covariance_, level) * se
        low, high = gap - reach, gap + reach
    degrees = min(max(model.covariance_.degrees_of_freedom, 1.0), 1e9)
    p_value = float(2 * stdtr(degrees, -abs(gap) / se)) if se > 0 else float(gap == 0)
    return Contrast(item, other, gap, se, low, high, p_value, float(expit(gap)))


def _place(model: RatingModel, item: str) -> int:
    """Position of an item among the estimable ones."""
    if not hasattr(model, "strengths_"):
        raise InputError("the model is not fitted.", cure="Call fit(data) first.")
    if item not in model.items_:
        raise InputError(f"{item!r} is not an item.", cure=f"Items: {', '.join(model.items_[:20])}.")
    code = model.items_.index(item)
    found = np.flatnonzero(model.estimable_ == code)
    if not len(found) or not np.isfinite(model.strengths_[code]):
        raise NotComputable(f"{item!r} has no strength (status: {model.status_[code]})")
    if model.covariance_ is None:
        raise NotComputable("the uncertainty of the strengths is not computable")
    return int(found[0])
