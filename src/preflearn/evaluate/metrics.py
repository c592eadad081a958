"""Loss of each prediction against a (soft) label, and the area under the curve: functions of arrays.

A label is a distribution over (a wins, tie, b wins); nothing here knows where labels or predictions come from.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

A, TIE, B = 0, 1, 2
"""Columns of a label."""


def credit(label: Floats, p: Floats) -> Floats:
    """Accuracy of each prediction: [n, 3], [n] -> [n].

    The side of p above 1/2 gets the label's mass for that side; a tie counts 1/2 whatever is predicted, and so does a
    prediction of exactly 1/2. A soft label of 0.7 predicted on its side counts 0.7, as seven of ten votes would.
    """
    right = np.where(p > 0.5, label[:, A], np.where(p < 0.5, label[:, B], 0.5 * (label[:, A] + label[:, B])))
    return np.asarray(right + 0.5 * label[:, TIE])


def half_label(label: Floats) -> Floats:
    """P(a) with a tie as half a win for each side: [n, 3] -> [n]."""
    return label[:, A] + 0.5 * label[:, TIE]


def log_loss(label: Floats, p: Floats) -> Floats:
    """Cross-entropy in nats of P(a beats b), ties as half labels: [n, 3], [n] -> [n]; inf where p = 0 came true."""
    y = half_label(label)
    with np.errstate(divide="ignore"):
        return _expected(y, -np.log(p)) + _expected(1 - y, -np.log1p(-p))


def log_loss_outcomes(label: Floats, probabilities: Floats) -> Floats:
    """Cross-entropy in nats over (a, tie, b): [n, 3], [n, 3] -> [n]."""
    with np.errstate(divide="ignore"):
        return np.asarray(_expected(label, -np.log(probabilities)).sum(axis=1))


def brier(label: Floats, p: Floats) -> Floats:
    """Expected squared error of P(a beats b) against 1, 1/2 (tie), 0, in [0, 1]: [n, 3], [n] -> [n].

    Source: Brier (1950), Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1-3
    (half of his sum over both outcomes).
    """
    return label[:, A] * (1 - p) ** 2 + label[:, TIE] * (0.5 - p) ** 2 + label[:, B] * p**2


def brier_outcomes(label: Floats, probabilities: Floats) -> Floats:
    """Expected sum over (a, tie, b) of squared errors, in [0, 2]: [n, 3], [n, 3] -> [n]. Source: as `brier`."""
    return np.asarray((probabilities**2).sum(axis=1) - 2 * (label * probabilities).sum(axis=1) + label.sum(axis=1))


class Edges(NamedTuple):
    """What the mirrored area under the curve is made of, per comparison; see `mirrored_edges`."""

    mass: Floats
    """Weight that is decided, [n]."""
    edge: Floats
    """Weight predicted on the winner's side minus weight predicted on the loser's, [n]."""


def mirrored_edges(label: Floats, p: Floats, weight: Floats) -> Edges:
    """Contributions to `mirrored_area`: [n, 3], [n], [n]; ties weigh nothing."""
    centred = np.where(np.abs(p - 0.5) < 1e-12, 0.0, p - 0.5)
    edge = weight * (label[:, A] - label[:, B]) * np.sign(centred)
    return Edges(weight * (label[:, A] + label[:, B]), edge)


def edge_sums(edges: Edges, block: npt.NDArray[np.int64], blocks: int) -> Edges:
    """Sums of the contributions per block: [n] -> [blocks]."""
    mass, edge = (np.bincount(block, weights=column, minlength=blocks).astype(np.float64) for column in edges)
    return Edges(mass, edge)


def mirrored_area(mass: Floats, edge: Floats) -> Floats:
    """Area under the ROC curve of "the side predicted higher won", whichever side is called a; NaN if nothing decided.

    Every comparison enters in both orders, (p, won by a) and (1 - p, won by b), so that the figure cannot depend on how
    rows happen to be oriented (data stored as chosen/rejected would have one class). With z = p - 1/2 towards the
    winner it is P(z_i + z_j > 0) + P(z_i + z_j = 0) / 2 over all pairs of comparisons: of two, the one with the larger
    |z| decides the sign, and within one value of |z| the signs meet each other.

    Args:
        mass, edge: sums of `mirrored_edges` per distinct |p - 1/2|, ascending, [..., m].
    """
    upto = np.cumsum(mass, axis=-1)
    total = upto[..., -1] if mass.shape[-1] else np.zeros(mass.shape[:-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(0.5 + 0.5 * (edge * (2 * upto - mass)).sum(axis=-1) / total**2)


def mirrored_areas(edges: Edges, q: Floats, group: npt.NDArray[np.int64], groups: int) -> Floats:
    """`mirrored_area` of each group by itself: [groups], NaN where nothing is decided.

    Args:
        edges: contributions, [n].
        q: confidence max(p, 1 - p), equal where it is to count as equal, [n].
        group: [n], 0 .. groups - 1.
    """
    order = np.lexsort((q, group))
    owner, value = group[order], q[order]
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (owner[1:] != owner[:-1]) | (value[1:] != value[:-1])
    block = np.cumsum(fresh) - 1
    mass, edge = edge_sums(Edges(edges.mass[order], edges.edge[order]), block, int(fresh.sum()))
    owner = owner[fresh]
    total = np.bincount(owner, weights=mass, minlength=groups)
    upto = np.cumsum(mass) - (np.cumsum(total) - total)[owner]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(0.5 + 0.5 * np.bincount(owner, weights=edge * (2 * upto - mass), minlength=groups) / total**2)


def _expected(mass: Floats, loss: Floats) -> Floats:
    """`mass * loss` with 0 * inf = 0."""
    return np.where(mass > 0, mass * np.where(mass > 0, loss, 0.0), 0.0)
