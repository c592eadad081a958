"""Choice likelihoods as parts: probabilities of outcomes from logits, written once for numpy and torch.

A link (:class:`Binary`, :class:`Davidson`, :class:`Ordinal`, :func:`RaoKupper`, :class:`Flip` around any of them;
:class:`Margin` and :class:`Scaled` for fitting only) gives log-probabilities with closed first and second derivatives.
:mod:`kernels` makes logits of representations, :mod:`nuisance` shifts them; :mod:`plackett_luce`, :mod:`listwise` and
:mod:`rating` are the outcomes that are no comparisons; :mod:`mixture` mixes over unseen types of units,
:mod:`reliability` and :mod:`strength` judge the labels, :mod:`multitask` weighs tasks, :mod:`aggregate` answers for a
population. No torch is imported here; ``preflearn.choice.modules`` holds learned parameters.
"""

from preflearn.choice import (
    aggregate,
    kernels,
    listwise,
    mixture,
    multitask,
    nuisance,
    plackett_luce,
    rating,
    reliability,
    strength,
)
from preflearn.choice.arrays import segment_sum
from preflearn.choice.binary import Binary
from preflearn.choice.davidson import Davidson
from preflearn.choice.margin import Margin, Scaled
from preflearn.choice.noise import Flip, flipped, smoothed_target, unbiased_target
from preflearn.choice.ordinal import Ordinal, RaoKupper
from preflearn.choice.rating import ClassLabel, Desirable, OrdinalRating
from preflearn.choice.types import Derivatives, Link, contract, one_hot

__all__ = [
    "Binary",
    "ClassLabel",
    "Davidson",
    "Derivatives",
    "Desirable",
    "Flip",
    "Link",
    "Margin",
    "Ordinal",
    "OrdinalRating",
    "RaoKupper",
    "Scaled",
    "aggregate",
    "contract",
    "flipped",
    "kernels",
    "listwise",
    "mixture",
    "multitask",
    "nuisance",
    "one_hot",
    "plackett_luce",
    "rating",
    "reliability",
    "segment_sum",
    "smoothed_target",
    "strength",
    "unbiased_target",
]
