"""Choice likelihoods as parts: probabilities of outcomes from logits, written once for numpy and torch.

A link (:class:`Binary`, :class:`Davidson`, :class:`Ordinal`, :func:`RaoKupper`, :class:`Flip` around any of them)
gives log-probabilities with closed first and second derivatives; :mod:`plackett_luce` does so for rankings;
:mod:`nuisance` shifts logits. No torch is imported here; ``preflearn.choice.modules`` holds learned parameters.
"""

from preflearn.choice import nuisance, plackett_luce
from preflearn.choice.binary import Binary
from preflearn.choice.davidson import Davidson
from preflearn.choice.noise import Flip, smoothed_target, unbiased_target
from preflearn.choice.ordinal import Ordinal, RaoKupper
from preflearn.choice.types import Derivatives, Link, contract, one_hot

__all__ = [
    "Binary",
    "Davidson",
    "Derivatives",
    "Flip",
    "Link",
    "Ordinal",
    "RaoKupper",
    "contract",
    "nuisance",
    "one_hot",
    "plackett_luce",
    "smoothed_target",
    "unbiased_target",
]
