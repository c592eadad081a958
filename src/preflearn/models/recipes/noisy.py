"""Reward models that do not believe every label."""

from __future__ import annotations

from typing import Any, Literal

from preflearn.models.composed import Composed
from preflearn.models.heads import Utility
from preflearn.models.noise import Flips, Reliability, ReliabilityEM


def reliability(
    hidden: tuple[int, ...] = (),
    method: Literal["em", "marginal"] = "em",
    prior: tuple[float, float] = (9.0, 1.0),
    **options: Any,
) -> Composed:
    """A reward model that learns how often each annotator is right, and believes labels accordingly (RE-PO, LCPO).

    Strangers have the mean reliability. `prob` is of what would be recorded; `denoised()` of what is preferred.

    Args:
        hidden: widths of hidden layers of the utility.
        method: "em" alternates as the paper does; "marginal" climbs the same objective by gradient, faster, and serves
            populations of several tastes too.
        prior: correct and wrong labels that everybody is taken to have given before (ours; the paper has none).
        options: of `Composed`. With another `fitting` the method is that one's.

    Source: Cao et al. (2026), RE-PO, arXiv 2509.24159 (paper text), with the logistic loss, for which its equations are
    those of Crowd-BT: Chen et al. (2013), WSDM. Its gains are of policies; here the same EM is around a reward model.
    """
    if method not in ("em", "marginal"):
        raise ValueError(f"the method is em or marginal, not {method!r}")
    return Composed(
        **{
            "head": Utility(tuple(hidden)),
            "noise": (Reliability((prior[0], prior[1])),),
            "fitting": ReliabilityEM() if method == "em" else "auto",
            "name": "reliability",
            **options,
        }
    )


def flips(hidden: tuple[int, ...] = (), rate: float = 0.1, learned: bool = False, **options: Any) -> Composed:
    """A reward model whose labels are wrong at one rate: ``P(a recorded) = (1 - rate) sigma(d) + rate sigma(-d)``.

    Args:
        hidden: widths of hidden layers of the utility.
        rate: of wrong labels, or where learning it starts.
        learned: learn the rate (weakly identified; `preflearn.models.noise.flip_profile` gives an interval).
        options: of `Composed`.

    Source: the mixture likelihood of noisy labels, e.g. Chen et al. (2013), WSDM, with one annotator. Smoothed and
    unbiased losses (cDPO, rDPO) are ``bradley_terry(noise=["smoothing"])`` and ``["unbiased"]``.
    """
    noise = (Flips(rate, learned),)
    return Composed(**{"head": Utility(tuple(hidden)), "noise": noise, "name": "flips", **options})
