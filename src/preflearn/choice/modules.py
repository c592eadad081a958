"""Links with learned shape parameters as torch modules: the only file of this package that imports torch.

Penalties are in nats for the whole data set: add them to a summed loss, or divide by its number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from preflearn.choice.noise import Flip
from preflearn.choice.stable import log_sigmoid, sigmoid
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

    def parameters_of(self, annotator: Tensor | None = None) -> Tensor:
        """The link's parameters for each row, ``[n, P]`` or broadcastable; here the same for everybody, ``[P]``."""
        return self.shape_parameters

    def log_probs(self, logit: Tensor, annotator: Tensor | None = None) -> Tensor:
        """Log-probability of each outcome: ``[...] -> [..., K]``, nats."""
        result: Tensor = self.link.log_probs(logit, self.parameters_of(annotator))
        return result

    def forward(self, target: Tensor, logit: Tensor, annotator: Tensor | None = None) -> Tensor:
        """Negative log-likelihood ``[...]`` (nats) of outcome distributions ``target [..., K]``.

        Args:
            target: ``[..., K]``.
            logit: ``[...]``.
            annotator: ``[...]``, integer codes for the modules that know annotators; -1 = unknown.
        """
        result: Tensor = -self.link.log_prob(target, logit, self.parameters_of(annotator))
        return result

    def penalty(self) -> Tensor:
        """Minus the log-prior of the learned parameters, a scalar in nats; 0 without a prior."""
        return self.free.new_zeros(())


class AnnotatorLink(LinkModule):
    """A link whose shape parameters (cut-points, tie propensity) each annotator has, shrunk towards the pooled ones.

    Underneath, annotator u has ``free + deviation_u`` with a normal prior of mean 0 on each deviation; unknown
    annotators get the pooled parameters. Learned by gradient, ``shrinkage`` is a choice for validation.

    Args:
        link: a link with shape parameters.
        annotators: their number U.
        shrinkage: the precision of the prior, in the unconstrained units: 1 lets thresholds differ by factors, 100
            hardly at all.
        initial, dtype: as for :class:`LinkModule`.

    Raises:
        ValueError: for a link without shape parameters or a shrinkage that is not positive.
    """

    def __init__(
        self,
        link: Link,
        annotators: int,
        shrinkage: float = 4.0,
        initial: Sequence[float] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(link, initial, dtype)
        if not link.parameters:
            raise ValueError(f"{link} has no shape parameters that annotators could differ in")
        if shrinkage <= 0:
            raise ValueError(f"shrinkage must be positive, got {shrinkage}: without a prior few labels decide alone")
        self.shrinkage = shrinkage
        self.deviation = nn.Parameter(torch.zeros(annotators, len(link.parameters), dtype=dtype))

    def parameters_of(self, annotator: Tensor | None = None) -> Tensor:
        if annotator is None:
            return self.shape_parameters
        constrained: Tensor = self.link.constrain(self.free + _rows(self.deviation, annotator))
        return constrained

    def penalty(self) -> Tensor:
        """``shrinkage / 2`` times the sum of squared deviations, nats (up to a constant)."""
        return 0.5 * self.shrinkage * (self.deviation**2).sum()


class AnnotatorFlip(LinkModule):
    """A link behind labels that each annotator flips at a rate of their own, with a Beta prior on reliability.

    The marginal likelihood that the EM of :mod:`preflearn.choice.reliability` ascends, by gradient; the other shape
    parameters are shared. Unknown annotators get the prior's mean rate.

    Args:
        link: the link of clean labels.
        annotators: their number U.
        prior: correct and wrong labels that everybody is taken to have given before, as in
            :func:`preflearn.choice.reliability.update_reliability`; both positive.
        initial: shape parameters of ``link`` to start from.
        dtype: as for :class:`LinkModule`.

    Raises:
        ValueError: for a prior that is not positive, or one under which most labels are wrong.
    """

    def __init__(
        self,
        link: Link,
        annotators: int,
        prior: tuple[float, float] = (9.0, 1.0),
        initial: Sequence[float] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        right, wrong = prior
        if not 0 < wrong < right:
            raise ValueError(f"prior must be (correct, wrong) with 0 < wrong < correct, got {prior}")
        rate = wrong / (right + wrong)
        shared = tuple(link.initial() if initial is None else initial)
        super().__init__(Flip(link, rate), (*shared, rate), dtype)
        self.prior = prior
        self.free = nn.Parameter(self.free.detach()[:-1])
        self.register_buffer("prior_logit", torch.tensor(rate, dtype=torch.float64).logit().to(dtype))
        self.deviation = nn.Parameter(torch.zeros(annotators, 1, dtype=dtype))

    prior_logit: Tensor

    @property
    def rates(self) -> Tensor:
        """The flip rate of each annotator, ``[U]``."""
        result: Tensor = sigmoid(self.prior_logit + self.deviation[:, 0])
        return result

    @property
    def shape_parameters(self) -> Tensor:
        """The parameters ``[P + 1]`` of an unknown annotator: those of the clean link, then the prior's mean rate."""
        return self.parameters_of(torch.full((), -1, device=self.free.device))

    def parameters_of(self, annotator: Tensor | None = None) -> Tensor:
        if annotator is None:
            return self.shape_parameters
        rate = self.prior_logit + _rows(self.deviation, annotator)
        shared = self.free.expand(*rate.shape[:-1], self.free.shape[0])
        constrained: Tensor = self.link.constrain(torch.cat((shared, rate), dim=-1))
        return constrained

    def penalty(self) -> Tensor:
        """``-sum_u (correct log(1 - rate_u) + wrong log rate_u)``, nats."""
        logit = self.prior_logit + self.deviation
        result: Tensor = -(self.prior[0] * log_sigmoid(-logit) + self.prior[1] * log_sigmoid(logit)).sum()
        return result


def _rows(table: Tensor, code: Tensor) -> Tensor:
    """Rows ``[..., P]`` of ``table [U, P]``, zeros for a negative code (unknown)."""
    known = (code >= 0)[..., None]
    return torch.where(known, table[code.clamp(min=0)], table.new_zeros(()))
