"""Links with learned shape parameters as torch modules: the only file of this package that imports torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from preflearn.choice.types import Link


class LinkModule(nn.Module):
    """A link whose shape parameters are learned, unconstrained underneath (thresholds: cumulative softplus).

    Args:
        link: any link.
        initial: shape parameters to start from, strictly inside the domain; by default ``link.initial()``.
        dtype: of the learned parameters.

    Raises:
        ValueError: for an initial value outside the domain or on its edge.
    """

    def __init__(self, link: Link, initial: Sequence[float] | None = None, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.link = link
        start = torch.tensor(link.initial() if initial is None else tuple(initial), dtype=torch.float64)
        link.check(start)
        free = link.unconstrain(start)
        if not bool(torch.isfinite(free).all()):
            raise ValueError(
                f"{link} cannot learn from {tuple(start.tolist())}: {', '.join(link.parameters)} must start strictly "
                "inside the domain"
            )
        self.free = nn.Parameter(free.to(dtype))

    @property
    def shape_parameters(self) -> Tensor:
        """The link's parameters ``[P]``, in the order of ``link.parameters``."""
        constrained: Tensor = self.link.constrain(self.free)
        return constrained

    def log_probs(self, logit: Tensor) -> Tensor:
        """Log-probability of each outcome: ``[...] -> [..., K]``, nats."""
        result: Tensor = self.link.log_probs(logit, self.shape_parameters)
        return result

    def forward(self, target: Tensor, logit: Tensor) -> Tensor:
        """Negative log-likelihood ``[...]`` (nats) of outcome distributions ``target [..., K]``."""
        result: Tensor = -self.link.log_prob(target, logit, self.shape_parameters)
        return result
