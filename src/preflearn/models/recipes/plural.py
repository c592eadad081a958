"""Models in which preferences may be cyclic, and in which people differ: GPM, hybrid, PAL, mixtures."""

from __future__ import annotations

from typing import Any, Literal

from preflearn.models.composed import Composed
from preflearn.models.fitting.em import EM
from preflearn.models.heads import Join, Point, SkewRepresentation, Utility
from preflearn.models.kernels import Difference, IdealPoint, Skew, Sum
from preflearn.models.population import Mixture, Simplex


def gpm(
    pairs: int = 4,
    temperature: float = 1.0,
    gated: bool = False,
    unit: bool = False,
    constant: bool = True,
    hidden: tuple[int, ...] = (),
    **options: Any,
) -> Composed:
    """``P(a beats b | x) = sigma(<R D(x) v_a, v_b> / temperature)``: preferences may be cyclic.

    Everyone is treated alike.

    Args:
        pairs: k, half the length of v; the paper uses 1 to 4 (dimensions 2 to 8).
        temperature: tau; .1 in the paper, with vectors of length 1. With `unit` it is where the learned scale starts.
        gated: weights D(x) of the planes from the prompt.
        unit: vectors of length 1 with a learned scale.
        constant: append 1 to the features, without which centred features cannot express a transitive utility.
        hidden: widths of hidden layers.
        options: of `Composed`.

    Source: Zhang et al. (2024), arXiv 2410.02197, definitions 4.1-4.3 (paper text) and both copies of the official
    code, which differ in normalisation and gate; the constant is ours.
    """
    head = SkewRepresentation(pairs, tuple(hidden), constant, unit)
    kernel = Skew(temperature, gated, scaled=unit)
    return Composed(**{"name": "gpm", "head": head, "kernel": kernel, **options})


def hybrid(pairs: int = 4, gated: bool = False, hidden: tuple[int, ...] = (), **options: Any) -> Composed:
    """Transitive utility plus a skew-symmetric part: ``sigma(r(a) - r(b) + <R v_a, v_b>)``.

    Args:
        pairs, gated, hidden: as for `gpm`.
        options: of `Composed`.

    Source: Hybrid reward-cyclic model, arXiv 2605.17342 (a reading of the paper with its tables; no official code).
    """
    head = Join((Utility(tuple(hidden)), SkewRepresentation(pairs, tuple(hidden), constant=False)))
    kernel = Sum((Difference(), Skew(gated=gated)))
    return Composed(**{"name": "hybrid", "head": head, "kernel": kernel, **options})


def pal_a(
    prototypes: int = 2,
    width: int = 8,
    form: Literal["squared", "unsquared", "cosine"] = "squared",
    hidden: tuple[int, ...] = (),
    **options: Any,
) -> Composed:
    """People as points between K prototypes: what lies closer to ``p_u = sum_k w_uk P_k`` is preferred.

    Strangers have the mean weights of the known; newcomers learn theirs from their answers.

    Args:
        prototypes: K.
        width: dimensions of the space of points (512 in the paper, on a language model).
        form: of the distance; theory squares it, the official code does not.
        hidden: widths of hidden layers of the map into the space.
        options: of `Composed`.

    Source: Chen et al. (2024), PAL, arXiv 2406.08469, model A (official code read; paper text not).
    """
    parts = {"head": Point(width, tuple(hidden)), "kernel": IdealPoint(form), "population": Simplex(prototypes)}
    return Composed(**{"name": "pal_a", **parts, **options})


def pal_b(
    prototypes: int = 2,
    width: int = 8,
    form: Literal["squared", "unsquared", "cosine"] = "cosine",
    hidden: tuple[int, ...] = (),
    **options: Any,
) -> Composed:
    """PAL whose prototypes depend on the prompt: ``p_u(x) = sum_k w_uk g_k(x)``, by default compared by cosine.

    Args:
        prototypes, width, form, hidden: as for `pal_a`.
        options: of `Composed`.

    Source: Chen et al. (2024), PAL, arXiv 2406.08469, model B (official code, variant "angle"; it scores responses
    without the prompt, here the encoder decides what is read).
    """
    kernel = IdealPoint(form, of_prompt=True)
    parts = {"head": Point(width, tuple(hidden)), "kernel": kernel, "population": Simplex(prototypes)}
    return Composed(**{"name": "pal_b", **parts, **options})


def mixture(components: int = 2, soft: bool = True, starts: int = 8, **options: Any) -> Composed:
    """K Bradley-Terry utilities; every annotator has one of them: ``sum_k pi_k prod_r sigma(r_k(a) - r_k(b))``.

    Known annotators answer by their posterior, strangers by the shares.

    Args:
        components: K.
        soft: soft assignments; hard ones as in the paper get stuck more often (5 of 8 starts against 7, measured).
        starts: random starts; the best likelihood wins.
        options: of `Composed`.

    Source: Chakraborty et al. (2024), MaxMin-RLHF, arXiv 2402.08925, algorithm 2 (from three notes that agree).
    """
    parts = {"population": Mixture(components), "fitting": EM(soft=soft, starts=starts)}
    return Composed(**{"name": "mixture", **parts, **options})
