"""Which labels to believe: posterior that a label is right, reliability of annotators, flip rates, peer review.

The expectation-maximisation of Crowd-BT and RE-PO, in pieces. The same likelihood without a latent variable is
:class:`preflearn.choice.Flip` with one rate per annotator, parameters ``[n, 1]``, rate = 1 - reliability.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from preflearn.choice.arrays import Array, as_float, segment_sum
from preflearn.choice.stable import log_sigmoid


def induced_log_prob(loss: Array, loss_swapped: Array, temperature: float = 1.0) -> Array:
    """The log-probability ``[...]`` (nats) that any preference loss gives to its own label.

    ``p = e^-l(s) / (e^-l(s) + e^-l(-s)) = sigma(l(-s) - l(s))``: the logistic loss gives Bradley-Terry back; a squared
    loss gives probabilities near 0 and 1 unless a temperature divides it.

    Args:
        loss: ``[...]``, of the recorded label.
        loss_swapped: ``[...]``, of the label with a and b exchanged.
        temperature: divides the losses.

    Source: RE-PO, Cao et al. (2026), arXiv 2509.24159 (a summary with its equations was read).
    """
    _, own = as_float(loss)
    _, other = as_float(loss_swapped, like=own)
    return log_sigmoid((other - own) / temperature)


def posterior_correct(log_p_recorded: Array, log_p_swapped: Array, reliability: Array) -> Array:
    """Posterior ``[n]`` that a label is recorded as it was meant: ``eta p / (eta p + (1 - eta) p')``, the E-step.

    It is the weight of the recorded label in the M-step and 1 minus it that of the swapped one; hold it constant
    there. Where both are equal (a tie), it is the reliability.

    Args:
        log_p_recorded: ``[n]``, log-probability of the recorded outcome, nats.
        log_p_swapped: ``[n]``, of the outcome with a and b exchanged.
        reliability: ``[n]`` or a number in [0, 1]: eta of the annotator of each row.

    Source: Chen et al. (2013), Pairwise ranking aggregation in a crowdsourced setting (Crowd-BT); RE-PO, Cao et al.
    (2026), arXiv 2509.24159 (a summary with its equations was read).
    """
    xp, recorded = as_float(log_p_recorded)
    _, swapped = as_float(log_p_swapped, like=recorded)
    _, eta = as_float(reliability, like=recorded)
    top = xp.where(recorded >= swapped, recorded, swapped)
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    right, wrong = eta * xp.exp(recorded - top), (1 - eta) * xp.exp(swapped - top)
    total = right + wrong
    settled = total > 0
    return xp.where(settled, right / xp.where(settled, total, xp.ones_like(total)), xp.broadcast_to(eta, total.shape))


def update_reliability(
    posterior: Array,
    annotator: Array,
    count: Array | None,
    size: int,
    prior: tuple[float, float] = (9.0, 1.0),
    clip: tuple[float, float] = (0.01, 0.99),
) -> Array:
    """Reliability ``[size]`` of each annotator: the mean posterior of their labels, the M-step.

    Args:
        posterior: ``[n]``, from :func:`posterior_correct`.
        annotator: ``[n]``, integers in ``0 .. size - 1``.
        count: ``[n]``, identical labels a row stands for, or None for one each.
        size: the number of annotators; one without labels gets the prior's share of correct ones.
        prior: correct and wrong labels that everybody is taken to have given before; ``(0, 0)`` is RE-PO's plain mean.
            EM then ascends ``log-likelihood + sum_u (prior_0 log eta_u + prior_1 log(1 - eta_u))``.
        clip: the range of a reliability; a lower end of .5 excludes contrarians.

    Raises:
        ValueError: where an annotator has neither labels nor a prior.
    """
    xp, w = as_float(posterior)
    n = xp.ones_like(w) if count is None else as_float(count, like=w)[1]
    total = segment_sum(n, annotator, size) + (prior[0] + prior[1])
    if not bool(xp.all(total > 0)):
        raise ValueError(
            f"{int(xp.sum(xp.astype(total <= 0, xp.int64)))} annotator(s) have no labels, so that without a prior "
            "nothing is known of them; pass a prior such as (9, 1)"
        )
    return xp.clip((segment_sum(n * w, annotator, size) + prior[0]) / total, clip[0], clip[1])


def moving_reliability(
    previous: Array,
    posterior: Array,
    annotator: Array,
    count: Array | None = None,
    rate: float = 0.1,
    clip: tuple[float, float] = (0.01, 0.99),
) -> Array:
    """Reliability ``[U]`` after one minibatch: ``(1 - rate) previous + rate`` times the batch mean of its posteriors.

    Annotators without labels in the batch keep theirs.

    Args:
        previous: ``[U]``.
        posterior, annotator, count: rows of the batch, as for :func:`update_reliability`.
        rate: weight of the batch.
        clip: the range of a reliability.

    Source: RE-PO, Cao et al. (2026), arXiv 2509.24159: rate .1, started at .9 (a summary with its equations was read).
    """
    xp, w = as_float(posterior)
    _, before = as_float(previous, like=w)
    n = xp.ones_like(w) if count is None else as_float(count, like=w)[1]
    size = before.shape[0]
    total = segment_sum(n, annotator, size)
    seen = total > 0
    mean = segment_sum(n * w, annotator, size) / xp.where(seen, total, xp.ones_like(total))
    return xp.where(seen, xp.clip((1 - rate) * before + rate * mean, clip[0], clip[1]), before)


class FlipProfile(NamedTuple):
    """A flip rate from its profile likelihood.

    Attributes:
        rate: where the likelihood is highest.
        low, high: the rates whose likelihood is not significantly lower; an end of the grid where none is.
        drop: ``[G]``, log-likelihood below its maximum, nats, at the rates of the grid.
    """

    rate: float
    low: float
    high: float
    drop: npt.NDArray[np.float64]


def profile_flip_rate(
    rates: Sequence[float] | npt.NDArray[np.float64],
    log_likelihood: Sequence[float] | npt.NDArray[np.float64],
    level: float = 0.95,
) -> FlipProfile:
    """A global flip rate with an honest interval, from fits at fixed rates.

    A single rate is weakly identified: with utilities of unit scale a label that is noisy and one that is flipped look
    alike, and EM from a good start hardly moves. The profile shows it: refit everything else at each rate, and pass
    the log-likelihoods (:class:`preflearn.choice.Flip`) reached.

    Args:
        rates: ``[G]``, increasing, at least 3.
        log_likelihood: ``[G]``, nats, maximised over everything else, summed over independent labels.
        level: of the interval ``2 (max - l) <= chi2_1``; conservative at a rate of 0.

    Returns:
        The maximum of the parabola through the best point and its neighbours (the best point itself at an end), and
        the interval, interpolated between grid points; an end of the grid says that the data does not bound the rate.

    Raises:
        ValueError: unless rates increase within [0, 1], and the log-likelihoods are finite numbers, one for each.
    """
    x, y = np.asarray(rates, dtype=np.float64), np.asarray(log_likelihood, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.size < 3 or not (np.diff(x) > 0).all() or x[0] < 0 or x[-1] > 1:
        raise ValueError("rates must be at least 3 numbers that increase within [0, 1], with one log-likelihood each")
    if not np.isfinite(y).all():
        raise ValueError(f"log_likelihood must be finite; at rate {x[~np.isfinite(y)][0]} it is not")
    best = int(y.argmax())
    rate, top = float(x[best]), float(y[best])
    if 0 < best < x.size - 1:
        left, right = x[best] - x[best - 1], x[best + 1] - x[best]
        fall, rise = (y[best] - y[best - 1]) / left, (y[best + 1] - y[best]) / right
        bend = (rise - fall) / (left + right)
        if bend < 0:
            slope = fall + bend * left
            step = -slope / (2 * bend)
            rate, top = rate + float(step), top + float(slope * step + bend * step * step)
    drop = top - y
    # The root of the deviance is linear where the likelihood is a parabola, so a coarse grid does not narrow it.
    root, bound = np.sqrt(2 * np.clip(drop, 0, None)), NormalDist().inv_cdf(0.5 * (1 + level))
    low = _crossing(rate, x[x < rate][::-1], root[x < rate][::-1], bound)
    high = _crossing(rate, x[x > rate], root[x > rate], bound)
    return FlipProfile(rate, low, high, drop)


def _crossing(rate: float, x: npt.NDArray[np.float64], root: npt.NDArray[np.float64], bound: float) -> float:
    """Where the root, 0 at ``rate``, first exceeds ``bound`` on the way outward through ``x``, or the last of ``x``."""
    above = np.flatnonzero(root > bound)
    if not above.size:
        return float(x[-1]) if x.size else rate
    j = int(above[0])
    inner, inner_root = (float(x[j - 1]), float(root[j - 1])) if j else (rate, 0.0)
    return inner + (bound - inner_root) / (float(root[j]) - inner_root) * (float(x[j]) - inner)


def keep_share(step: float, flip_rate: float, ramp: float) -> float:
    """Share of labels to keep at a step: ``1 - flip_rate min(step / ramp, 1)``, the schedule of co-teaching.

    Args:
        step: steps (or epochs) done, from 0.
        flip_rate: the share of wrong labels, estimated beforehand; too large a value discards good ones.
        ramp: steps until the share is reached, more than 0.

    Source: Han et al. (2018), Co-teaching, arXiv 1804.06872; for reward models CRM, Zhang et al. (2025), arXiv
    2505.10597 (abstract and reviews).
    """
    return 1 - flip_rate * min(step / ramp, 1.0)


def peer_keep(loss: Array, share: float) -> Array:
    """Mask ``[n]`` of the labels a peer would train on: the ``share`` with the smallest loss, at least one.

    Each of two models trains on the mask made from the other's loss. ``ceil(share n)`` labels are kept; among equal
    losses the earlier ones; NaN losses last.

    Args:
        loss: ``[n]``, of the peer.
        share: in (0, 1].

    Raises:
        ValueError: for another share.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    xp, own = as_float(loss)
    # Rounding must not turn 70 % of 10 into 8.
    kept = max(1, int(np.ceil(share * own.shape[0] - 1e-9)))
    return xp.argsort(xp.argsort(own, stable=True), stable=True) < kept
