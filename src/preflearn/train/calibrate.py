"""Temperature scaling: one number that makes held-out probabilities honest without changing any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from preflearn.errors import InputError, NotComputable

_LIMIT = np.log(1e3)


class Temperature(NamedTuple):
    """A fitted temperature: calibrated logits are ``logit / temperature``.

    Attributes:
        temperature: above 1 where the model was overconfident.
        before, after: weighted mean log loss (nats) at temperature 1 and at the fitted one.
        at_limit: the best temperature lies outside [1/1000, 1000]: logits that separate the outcomes perfectly
            (towards 0) or say nothing (towards infinity).
    """

    temperature: float
    before: float
    after: float
    at_limit: bool


def fit_temperature(
    log_prob: Callable[[Any, Any], Any],
    target: npt.ArrayLike,
    logit: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
) -> Temperature:
    """Fit one temperature on held-out rows: minimise the log loss of ``logit / temperature``.

    Brent's method over the log-temperature. The log loss of a link whose log-likelihood is concave in the logit has
    one minimum in 1/temperature, so it is the global one.

    Args:
        log_prob: ``(target, logit) -> [n]``, log-likelihoods in nats: ``log_prob`` of a link of ``preflearn.choice``
            (with ``functools.partial(link.log_prob, parameters=...)`` for shape parameters).
        target: ``[n, K]`` (soft) outcomes, in the link's order.
        logit: ``[n]``, the uncalibrated logits of held-out rows.
        weight: ``[n]``.

    Raises:
        InputError: no rows, shapes that do not fit, numbers that are not finite.
        NotComputable: the log loss is infinite at every temperature.

    Source: Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks, arXiv 1706.04599, sec. 4.2.
    """
    goal, logits = np.asarray(target, dtype=np.float64), np.asarray(logit, dtype=np.float64)
    if logits.ndim != 1 or not len(logits) or goal.shape[:1] != logits.shape:
        raise InputError(f"target has shape {goal.shape}, logit {logits.shape}; expected [n, K] and [n] with n > 0.")
    weights = np.ones_like(logits) if weight is None else np.asarray(weight, dtype=np.float64)
    if weights.shape != logits.shape or not (np.isfinite(weights).all() and weights.sum() > 0):
        raise InputError("weight must be one finite number per row, with a positive sum.")
    if not (np.isfinite(logits).all() and np.isfinite(goal).all()):
        raise InputError("logits and targets must be finite.", cure="Predict every held-out row first.")

    def loss(log_temperature: float) -> float:
        values = np.asarray(log_prob(goal, logits * np.exp(-log_temperature)))
        return float(-(weights @ values) / weights.sum())

    before = loss(0.0)
    found = minimize_scalar(loss, bounds=(-_LIMIT, _LIMIT), method="bounded", options={"xatol": 1e-9})
    if not np.isfinite(found.fun) and not np.isfinite(before):
        raise NotComputable("The log loss is infinite at every temperature.")
    at, after = (float(found.x), float(found.fun)) if found.fun < before else (0.0, before)
    return Temperature(float(np.exp(at)), before, after, abs(at) > 0.999 * _LIMIT)
