"""Plackett-Luce: rankings, partial rankings and choices as successive choices from what is left.

Rankings may stop early: an item shown but not ranked lies below every ranked one and stays in the denominators.
Ties between ranked items are another model and are refused.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from array_api_compat import array_namespace, device

from preflearn.choice.arrays import Array, Namespace, as_float, uniform
from preflearn.choice.stable import logsumexp, sigmoid, softplus
from preflearn.choice.types import Derivatives


class _Stages(NamedTuple):
    """Stage s is the choice of item s among itself and ``rivals[..., s, :]``."""

    xp: Namespace
    ranked: Array
    rivals: Array
    ahead: Array
    log_odds_lost: Array


def log_prob(ranks: Array, utility: Array, mask: Array | None = None) -> Array:
    """Log-probability ``[...]`` (nats) of rankings under utilities (log-strengths).

    ``P(ranking) = prod_k pi_(k) / sum over items not placed before k``, over the ranked positions k, pi = e^utility.
    K = 2 is :class:`preflearn.choice.Binary` with the difference of the utilities; one ranked item is a choice.

    Args:
        ranks: ``[..., K]``, 1 = best, larger = worse (only their order counts); 0 or NaN = shown but not ranked.
        utility: ``[..., K]``.
        mask: ``[..., K]`` of bool, False for padding; by default all items are there.

    Raises:
        ValueError: where two ranked items share a rank, a rank is negative, or padding is ranked.

    Sources: Luce (1959), Individual choice behavior; Plackett (1975), The analysis of permutations, Applied
    Statistics 24, 193-202.
    """
    xp, ranked, _, _, log_odds_lost = _stages(ranks, utility, mask)
    return -xp.sum(xp.where(ranked, softplus(log_odds_lost), xp.zeros_like(log_odds_lost)), axis=-1)


def score(ranks: Array, utility: Array, mask: Array | None = None) -> Array:
    """First derivatives ``[..., K]`` of :func:`log_prob` with respect to the utilities; padding gets 0."""
    return derivatives(ranks, utility, mask).score


def curvature(ranks: Array, utility: Array, mask: Array | None = None) -> Array:
    """Second derivatives ``[..., K, K]`` of :func:`log_prob`; rows sum to 0, negative semi-definite."""
    return derivatives(ranks, utility, mask).curvature


def derivatives(ranks: Array, utility: Array, mask: Array | None = None) -> Derivatives:
    """``log_prob [...]``, ``score [..., K]`` and ``curvature [..., K, K]`` in one evaluation."""
    xp, ranked, rivals, ahead, log_odds_lost = _stages(ranks, utility, mask)
    lost = softplus(log_odds_lost)
    zero = xp.zeros_like(lost)
    value = -xp.sum(xp.where(ranked, lost, zero), axis=-1)

    at_stage = ranked[..., :, None]
    none = xp.zeros_like(ahead)
    rival = xp.where(at_stage & rivals, xp.exp(xp.where(rivals, ahead, none) - lost[..., :, None]), none)
    chosen = xp.where(ranked, xp.exp(-lost), zero)
    first = xp.where(ranked, sigmoid(log_odds_lost), zero) - xp.sum(rival, axis=-2)

    # Off the diagonal sum_s P(s chooses i) P(s chooses j); a row sums to 0, which gives the diagonal uncancelled.
    own = chosen[..., :, None] * rival
    off = xp.matmul(xp.moveaxis(rival, -1, -2), rival) + own + xp.moveaxis(own, -1, -2)
    diagonal = _identity(xp, lost)
    off = xp.where(diagonal, xp.zeros_like(off), off)
    second = off - xp.where(diagonal, xp.sum(off, axis=-1)[..., None], xp.zeros_like(off))
    return Derivatives(value, first, second)


def sample(utility: Array, generator: Any, mask: Array | None = None) -> Array:
    """Draw full rankings ``[..., K]`` of int64 (1 = best, padding 0): the order of Gumbel-perturbed utilities.

    Args:
        utility: ``[..., K]``.
        generator: a ``numpy.random.Generator``, or a ``torch.Generator`` for tensors.
        mask: ``[..., K]`` of bool, False for padding.

    Source: Yellott (1977), The relationship between Luce's choice axiom, Thurstone's theory of comparative
    judgment, and the double exponential distribution, J. Math. Psychology 15, 109-144.
    """
    xp, u = as_float(utility)
    waiting = -xp.log1p(-uniform(generator, tuple(u.shape), u))
    # A draw of exactly 0 is an infinite perturbation; the smallest number keeps it first without log(0).
    smallest = xp.full_like(waiting, xp.finfo(u.dtype).smallest_normal)
    key = xp.log(xp.where(waiting > 0, waiting, smallest)) - u
    if mask is not None:
        key = xp.where(mask, key, xp.full_like(key, xp.inf))
    ranks = xp.argsort(xp.argsort(key, axis=-1), axis=-1) + 1
    ranks = xp.astype(ranks, xp.int64)
    return ranks if mask is None else xp.where(mask, ranks, xp.zeros_like(ranks))


def _identity(xp: Namespace, items: Array) -> Array:
    """``[K, K]`` of bool, True on the diagonal, for ``items [..., K]``."""
    index = xp.arange(items.shape[-1], device=device(items))
    return index[:, None] == index[None, :]


def _stages(ranks: Array, utility: Array, mask: Array | None) -> _Stages:
    xp, u = as_float(utility)
    _, r = as_float(ranks, like=u)
    if r.shape[-1:] != u.shape[-1:]:
        raise ValueError(f"ranks have shape {tuple(r.shape)} and utility {tuple(u.shape)}; expected [..., K] twice")
    r, u = xp.broadcast_arrays(r, u)
    present = xp.ones_like(u, dtype=xp.bool) if mask is None else xp.broadcast_to(mask, u.shape)
    # The value of padding must not matter, not even NaN.
    u = xp.where(present, u, xp.zeros_like(u))
    placed = r > 0
    _check(r, placed, present)
    ranked = placed & present
    place = xp.where(ranked, r, xp.full_like(r, xp.inf))
    behind = place[..., None, :] >= place[..., :, None]
    rivals = behind & present[..., None, :] & ~_identity(xp, u)
    ahead = u[..., None, :] - u[..., :, None]
    return _Stages(xp, ranked, rivals, ahead, logsumexp(ahead, rivals))


def _check(ranks: Array, placed: Array, present: Array) -> None:
    xp = array_namespace(ranks)
    if bool(xp.any(ranks < 0)):
        raise ValueError("ranks must be 1 for the best and larger for worse, 0 or NaN for not ranked; found a negative")
    if bool(xp.any(placed & ~present)):
        raise ValueError("an item outside the mask (padding) has a rank; set its rank to 0")
    same = (ranks[..., None, :] == ranks[..., :, None]) & placed[..., None, :] & ~_identity(xp, ranks)
    if bool(xp.any(same)):
        raise ValueError(
            f"{int(xp.sum(xp.any(same, axis=(-2, -1))))} ranking(s) tie ranked items: this is Plackett-Luce without "
            "ties. Break the ties, or compare pairs with Davidson or RaoKupper"
        )
