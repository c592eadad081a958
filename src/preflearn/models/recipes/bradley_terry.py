"""Bradley-Terry reward models: one utility for everyone."""

from __future__ import annotations

from typing import Any

from preflearn.models.composed import Composed
from preflearn.models.heads import Utility


def bradley_terry(hidden: tuple[int, ...] = (), **options: Any) -> Composed:
    """``P(a beats b) = sigma(r(a) - r(b))``, r linear in the features or a perceptron.

    Everyone is treated alike: who judged is not looked at.

    Args:
        hidden: widths of hidden layers.
        options: of `Composed` (encoder, ridge, noise, ...).

    Source: Bradley and Terry (1952), Biometrika 39, 324-345; as a reward model: Christiano et al. (2017),
    arXiv 1706.03741, equation 1.
    """
    return Composed(**{"head": Utility(tuple(hidden)), "name": "bradley_terry", **options})
