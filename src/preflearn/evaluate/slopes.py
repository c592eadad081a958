"""One logistic slope through the origin with a clustered interval: how strongly a difference moves the choice."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from preflearn.choice import Binary, contract
from preflearn.errors import NotComputable
from preflearn.evaluate.figures import Figure, Interval, attempt, estimate
from preflearn.evaluate.intervals import Floats, Ints, quantile_t

_CHUNK = 1_000_000
_ITERATIONS = 50


class _Pass(NamedTuple):
    score: Floats
    """Of each row, [n], for one judgment."""
    information: float


def logistic_slope(
    x: Floats, y: Floats, count: Floats, cluster: Ints, *, level: float = 0.95, unit: str = "cluster"
) -> Figure:
    """The slope beta of P(a wins) = sigma(beta * x), maximum likelihood, with a clustered sandwich interval.

    There is no intercept: x is a difference between the sides, and exchanging them must mirror the choice.

    Args:
        x: difference between side a and side b, [n].
        y: share that a won: 1, 0, or between for soft labels, [n].
        count: judgments that each row stands for, [n].
        cluster: cluster of each row, [n]; -1 = every judgment is its own.
        unit: what a cluster is, for the reason when there is only one.

    Source: Huber (1967) sandwich; clusters and the factor U / (U - 1) as in Cameron and Miller (2015), A practitioner's
    guide to cluster-robust inference, J. Human Resources 50, 317-372; t quantile with U - 1 degrees.
    """
    n = round(float(count.sum()))
    return attempt(lambda: _fit(x, y, count, cluster, n, level, unit), n)


def _fit(x: Floats, y: Floats, count: Floats, cluster: Ints, n: int, level: float, unit: str) -> Figure:
    along = float(count @ (np.maximum(x, 0) * y + np.maximum(-x, 0) * (1 - y)))
    against = float(count @ (np.maximum(x, 0) * (1 - y) + np.maximum(-x, 0) * y))
    if not along + against > 0:
        raise NotComputable("the sides never differ in it")
    if not along > 0 or not against > 0:
        raise NotComputable("the choice follows it without exception, so the slope has no finite estimate")
    beta = 0.0
    for _ in range(_ITERATIONS):
        at = _evaluate(beta, x, y, count)
        gradient = float(count @ at.score)
        step = gradient / at.information
        beta += math.copysign(min(abs(step), 2.0), step)
        if gradient * step < 1e-16 * n:
            break
    else:
        raise NotComputable("the slope did not converge")
    at = _evaluate(beta, x, y, count)

    def interval() -> Interval:
        own = cluster < 0
        summed = np.bincount(cluster[~own], weights=(count * at.score)[~own])
        present = np.bincount(cluster[~own], weights=count[~own]) > 0
        clusters = int(present.sum()) + round(float(count[own].sum()))
        if clusters < 2:
            raise NotComputable(f"all of it comes from one {unit}")
        meat = float(summed @ summed) + float(count[own] @ at.score[own] ** 2)
        se = math.sqrt(clusters / (clusters - 1) * meat) / at.information
        half = quantile_t(level, clusters - 1) * se
        return Interval(beta - half, beta + half)

    return estimate(beta, interval, n)


def _evaluate(beta: float, x: Floats, y: Floats, count: Floats) -> _Pass:
    score, information = np.empty_like(x), 0.0
    link = Binary()
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        found = contract(np.stack([1 - y[part], y[part]], axis=-1), link.derivatives(beta * x[part]))
        score[part] = found.score[:, 0] * x[part]
        information -= float((count[part] * x[part] ** 2) @ found.curvature[:, 0, 0])
    return _Pass(score, information)
