"""How strong a preference is by an ensemble of models, and what that says about its label.

Votes of models trained on the same labels: a pair on which they disagree with its label is likely recorded the wrong
way round, one on which they hardly see a difference is ambiguous. The operators turn targets into targets.
"""

from __future__ import annotations

from typing import NamedTuple

from array_api_compat import array_namespace

from preflearn.choice.arrays import Array, as_float
from preflearn.choice.noise import smoothed_target


class Strength(NamedTuple):
    """Mean and standard deviation over the models, each ``[n]``, of the utility of a minus that of b."""

    mean: Array
    sd: Array


def ensemble_strength(differences: Array) -> Strength:
    """Strength of each preference by M models.

    Args:
        differences: ``[M, n]``, utility of a minus utility of b by each model, best of models that did not see the row.

    Returns:
        Mean and standard deviation (over M, not M - 1).

    Source: Wang et al. (2024), Secrets of RLHF in large language models part II, arXiv 2401.06080, equation 4 (paper
    text; M = 10 models on the same data in different order).
    """
    xp, d = as_float(differences)
    mean = xp.mean(d, axis=0)
    return Strength(mean, xp.sqrt(xp.mean((d - mean) ** 2, axis=0)))


def agreement(target: Array, mean: Array) -> Array:
    """Strength in the direction of the recorded label, ``[n]``: negative where the ensemble contradicts it.

    It is also the adaptive margin of :func:`preflearn.choice.margin.with_margin`. (The paper's equation 6 prints the
    margin outside the logarithm, where it would have no effect; its reference, Llama 2, has it inside.)

    Args:
        target: ``[n, K]``, outcomes from the best for b to the best for a; a tie has no direction and agreement 0.
        mean: ``[n]``, of a over b.
    """
    xp, t = as_float(target)
    _, d = as_float(mean, like=t)
    half = t.shape[-1] // 2
    side = xp.sum(t[..., t.shape[-1] - half :], axis=-1) - xp.sum(t[..., :half], axis=-1)
    return side * d


def flip_below(target: Array, mean: Array, threshold: float = 0.0) -> Array:
    """Targets ``[n, K]`` with the labels reversed whose agreement lies below ``threshold``.

    Arguments as :func:`agreement`. Source: as :func:`ensemble_strength`, section 2.4.1 (there the lowest fifth).
    """
    xp, t = as_float(target)
    wrong = agreement(t, mean) < threshold
    return xp.where(wrong[..., None], xp.flip(t, axis=-1), t)


def soften_near_zero(target: Array, mean: Array, width: float, eps: float) -> Array:
    """Targets ``[n, K]`` smoothed by ``eps`` where the ensemble sees no difference: ``|mean| <= width``.

    The paper smooths contradicted labels (agreement below 0) and the strongest ones; that is
    ``smoothed_target(target, xp.where(agreement(target, mean) < 0, eps, 0))``.

    Args:
        target, mean: as :func:`agreement`.
        width: half width of the ambiguous zone, in utility.
        eps: probability of the reversed label there.
    """
    _, t = as_float(target)
    _, d = as_float(mean, like=t)
    xp = array_namespace(d)
    return smoothed_target(t, xp.where(xp.abs(d) <= width, xp.full_like(d, eps), xp.zeros_like(d)))
