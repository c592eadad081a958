"""How two representations meet: each kernel gives the antisymmetric logit by which a beats b.

Exchanging a and b changes the sign and nothing else, to the last bit: every kernel evaluates the same expression for
both sides and subtracts. Sums of kernels are sums of logits. Utilities that only make sense along a trajectory or
against a reference policy (returns, regrets, log-ratios) stand here too; :func:`difference` compares them.
"""

from __future__ import annotations

import math
from typing import Literal

from array_api_compat import array_namespace, device

from preflearn.choice.arrays import Array, as_float


def difference(a: Array, b: Array) -> Array:
    """``a - b``, ``[...]``: two utilities (log-strengths) meet.

    Source: Bradley and Terry (1952), Biometrika 39, 324-345.
    """
    _, left, right = _pair(a, b)
    return left - right


def skew(a: Array, b: Array, gate: Array | None = None) -> Array:
    """``sum_l gate_l (a_{2l} b_{2l+1} - a_{2l+1} b_{2l})``, ``[...]``: what a scalar cannot say, cycles included.

    A linear head needs a constant coordinate in its input to express a transitive utility: with ``k = 1``,
    ``a = (r_a, 1)`` and ``b = (r_b, 1)`` this is ``r_a - r_b``. Any skew-symmetric K x K table of logits is of this
    form with ``2k >= K``.

    Args:
        a, b: ``[..., 2k]``.
        gate: ``[..., k]``, the weight of each plane (of the prompt); by default 1.

    Raises:
        ValueError: for an odd last axis, or a gate of another size than half of it.

    Source: Zhang et al. (2024), Beyond Bradley-Terry models: a general preference model for language model alignment,
    arXiv 2410.02197, definitions 4.1-4.3 and theorem 4.4 (paper text); the gate is D(x).
    """
    xp, left, right = _pair(a, b)
    planes = left.shape[-1] // 2 if left.ndim else 0
    if planes == 0 or left.shape[-1] % 2 or right.shape[-1] != left.shape[-1]:
        raise ValueError(
            f"a and b have shapes {tuple(left.shape)} and {tuple(right.shape)}; expected [..., 2k] twice: two "
            "coordinates for each plane"
        )
    area = left[..., 0::2] * right[..., 1::2] - left[..., 1::2] * right[..., 0::2]
    if gate is not None:
        _, weight = as_float(gate, like=area)
        if weight.ndim == 0 or weight.shape[-1] != planes:
            raise ValueError(f"gate has shape {tuple(weight.shape)}; expected [..., {planes}], one weight per plane")
        area = weight * area
    return xp.sum(area, axis=-1)


def ideal_point(a: Array, b: Array, point: Array, form: Literal["squared", "unsquared", "cosine"] = "squared") -> Array:
    """What is closer to the ideal point wins, ``[...]``.

    ``squared``: ``|b - point|^2 - |a - point|^2``; ``unsquared``: the same of the distances themselves (their gradient
    is 0 where an item sits on the point); ``cosine``: ``cos(a, point) - cos(b, point)``, where the cosine with a zero
    vector is 0.

    Args:
        a, b, point: ``[..., q]``, broadcastable against each other.
        form: how closeness is measured.

    Raises:
        ValueError: for another form.

    Sources: Coombs (1950), Psychological reasoning without units of measurement; PAL, Chen et al. (2024), arXiv
    2406.08469: squared in its theory, unsquared (model A) and cosine (model B) in its official code.
    """
    _, left, right = _pair(a, b)
    _, ideal = as_float(point, like=left)
    if form == "squared":
        return _squared(right - ideal) - _squared(left - ideal)
    if form == "unsquared":
        return _length(right - ideal) - _length(left - ideal)
    if form == "cosine":
        return _cosine(left, ideal) - _cosine(right, ideal)
    raise ValueError(f"form must be squared, unsquared or cosine, got {form!r}")


def gaussian(mean_a: Array, variance_a: Array, mean_b: Array, variance_b: Array) -> Array:
    """The logit ``[...]`` when both utilities are uncertain: ``(mean_a - mean_b) / sqrt(1 + pi/8 (var_a + var_b))``.

    ``sigma`` of it approximates ``E sigma(u_a - u_b)`` over independent normal utilities: the logistic function is
    taken for a normal distribution function of the same slope at 0 (error of the probability below .02).

    Args:
        mean_a, mean_b: ``[...]``.
        variance_a, variance_b: ``[...]``, not negative.

    Source: MacKay (1992), The evidence framework applied to classification networks, Neural Computation 4, 720-736.
    """
    xp, left, right = _pair(mean_a, mean_b)
    _, own = as_float(variance_a, like=left)
    _, other = as_float(variance_b, like=left)
    return (left - right) / xp.sqrt(1 + math.pi / 8 * (own + other))


def lexicographic(a: Array, b: Array, thresholds: Array) -> Array:
    """The difference at the first level where it exceeds its threshold, ``[...]``; later levels do not count.

    Where no level is decisive the last one decides, however small its difference; a threshold of 0 on the last level
    says the same. Its sign is the hierarchical label; the labels may be intransitive, because thresholds are.

    Args:
        a, b: ``[..., L]``, values of L criteria in the order of priority.
        thresholds: ``[L]`` or ``[..., L]``, not negative, in the units of the criteria.

    Raises:
        ValueError: when the last axes do not agree.

    Source: HERON, Bukharin et al. (2023), Deep reinforcement learning from hierarchical preference design, arXiv
    2309.02632 (official code, which discards a pair that no level decides).
    """
    xp, left, right = _pair(a, b)
    gap = left - right
    _, bound = as_float(thresholds, like=gap)
    if gap.ndim == 0 or bound.ndim == 0 or bound.shape[-1] != gap.shape[-1]:
        raise ValueError(
            f"values have shape {tuple(gap.shape)} and thresholds {tuple(bound.shape)}; expected [..., L] for both"
        )
    decisive = xp.abs(gap) > bound
    earlier = xp.cumulative_sum(xp.astype(decisive, xp.int64), axis=-1) - xp.astype(decisive, xp.int64)
    last = xp.arange(gap.shape[-1], device=device(gap)) == gap.shape[-1] - 1
    return xp.sum(xp.where((earlier == 0) & (decisive | last), gap, xp.zeros_like(gap)), axis=-1)


def antisymmetrised(forward: Array, backward: Array) -> Array:
    """``(f(a, b) - f(b, a)) / 2``, ``[...]``: a pair classifier that keeps no preference for a place.

    Args:
        forward: ``[...]``, the classifier's logit with a in the first place.
        backward: ``[...]``, with b in the first place.
    """
    _, first, second = _pair(forward, backward)
    return 0.5 * (first - second)


def log_ratio(policy: Array, reference: Array, beta: float) -> Array:
    """The implicit reward ``beta log(pi / pi_ref)`` of a response, ``[...]``: a policy read as a utility.

    Args:
        policy, reference: ``[...]``, log-probabilities of the response in nats.
        beta: strength of the pull towards the reference.

    Source: Rafailov et al. (2023), Direct preference optimization, arXiv 2305.18290, equation 5 up to its
    prompt-specific constant, which cancels in a difference.
    """
    _, ours, theirs = _pair(policy, reference)
    return beta * (ours - theirs)


def partial_return(rewards: Array, mask: Array | None = None, discount: float = 1.0) -> Array:
    """``sum_t discount^t r_t`` along a segment: ``[..., T] -> [...]``.

    Args:
        rewards: ``[..., T]``, from the first step of the segment on; padding at the end.
        mask: ``[..., T]`` of bool, False for padding, whose value does not matter (not even NaN).
        discount: per step, counted from the start of the segment.

    Source: Christiano et al. (2017), Deep reinforcement learning from human preferences, arXiv 1706.03741.
    """
    xp, reward = as_float(rewards)
    if mask is not None:
        reward = xp.where(mask, reward, xp.zeros_like(reward))
    if discount != 1.0:
        steps = xp.astype(xp.arange(reward.shape[-1], device=device(reward)), reward.dtype)
        reward = reward * discount**steps
    return xp.sum(reward, axis=-1)


def regret(partial: Array, start_value: Array, end_value: Array) -> Array:
    """Deterministic regret of a segment, ``V(s_0) - (sum of rewards + V(s_T))``, ``[...]``: at least 0 if V is optimal.

    The segment of *lower* regret is preferred: the logit of a over b is ``difference(regret_b, regret_a)``. Values must
    be those of the optimal policy under the rewards that are summed; a terminal end state has value 0. Undiscounted;
    with a discount, ``end_value`` carries the discount of its T steps.

    Args:
        partial: ``[...]``, :func:`partial_return` of the segment.
        start_value, end_value: ``[...]``, optimal values of the first and the last state.

    Source: Knox et al. (2022), Models of human preference for learning reward functions, arXiv 2206.02231; checked
    against the official code (logit = difference of ``sum r + V(s_T) - V(s_0)``), abstract only of the paper.
    """
    _, total, start = _pair(partial, start_value)
    _, end = as_float(end_value, like=total)
    return start - (total + end)


def _pair(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Namespace, a and b in one dtype."""
    xp, left = as_float(a)
    _, right = as_float(b, like=left)
    return xp, left, right


def _squared(x: Array) -> Array:
    return array_namespace(x).sum(x * x, axis=-1)


def _length(x: Array) -> Array:
    """Euclidean norm over the last axis with gradient 0 at the origin, where ``sqrt`` has none."""
    xp = array_namespace(x)
    total = _squared(x)
    away = total > 0
    return xp.where(away, xp.sqrt(xp.where(away, total, xp.ones_like(total))), xp.zeros_like(total))


def _cosine(x: Array, y: Array) -> Array:
    xp = array_namespace(x)
    size = _length(x) * _length(y)
    away = size > 0
    return xp.where(away, xp.sum(x * y, axis=-1) / xp.where(away, size, xp.ones_like(size)), xp.zeros_like(size))
