"""Choice likelihoods as parts: probabilities of outcomes from logits, written once for numpy and torch.

A link (:class:`Binary`, :class:`Davidson`, :class:`Ordinal`) gives log-probabilities with closed first and second
derivatives. No torch is imported here; ``preflearn.choice.modules`` holds parts with learned parameters.
"""

from preflearn.choice.binary import Binary
from preflearn.choice.davidson import Davidson
from preflearn.choice.ordinal import Ordinal, RaoKupper
from preflearn.choice.types import Derivatives, Link, contract, one_hot

__all__ = ["Binary", "Davidson", "Derivatives", "Link", "Ordinal", "RaoKupper", "contract", "one_hot"]
