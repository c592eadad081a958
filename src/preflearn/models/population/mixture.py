"""A mixture of tastes: every annotator has one of K, and does not say which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from preflearn.choice.mixture import responsibilities
from preflearn.models.base import Judgments, Part, PopulationModule, Shape, Taste
from preflearn.models.batch import Batch
from preflearn.models.bounds import Count
from preflearn.models.parts import part

if TYPE_CHECKING:
    from preflearn.models.network import Network


class MixtureModule(PopulationModule):
    """Global shares of K components and, after the fit, what each unit's judgments say about its component."""

    fitting = "em"
    posterior: Tensor

    def __init__(self, components: int, units: int, unit: str) -> None:
        super().__init__()
        self.channels = components
        self.unit = unit
        self.whole_units = unit != "record"
        self.personal = unit == "annotator"
        self.free_shares = nn.Parameter(torch.zeros(components))
        self.register_buffer("posterior", torch.full((units, components), 1 / components))

    def restart(self) -> None:
        """Begin again with equal shares."""
        nn.init.zeros_(self.free_shares)

    @property
    def log_shares(self) -> Tensor:
        """Log-probabilities of the components, [K]."""
        return torch.log_softmax(self.free_shares, dim=0)

    @torch.no_grad()
    def count(self, share: Tensor) -> None:
        """Shares of the components from who belongs where, [U, K]: their mode under `penalty`."""
        self.free_shares.copy_(torch.log(share.sum(0) + 1))

    def units(self, rows: Judgments) -> Tensor | None:
        """Unit codes of judgments, [n]; None where each judgment is a unit of its own."""
        if self.unit == "record":
            return None
        return rows.who.annotator if self.unit == "annotator" else rows.who.columns[self.unit]

    def forward(self, rows: Judgments, batch: Batch) -> Taste:
        unit = self.units(rows)
        weights = self.log_shares.expand(len(rows), -1)
        return Taste(log_weights=weights, unit=unit, units=self.posterior.shape[0] if unit is not None else 0)

    def known(self, rows: Judgments, batch: Batch) -> Taste:
        unit = self.units(rows)
        shares = self.log_shares.to(self.posterior.dtype).expand(len(rows), -1)
        if unit is None or not self.posterior.shape[0]:
            return Taste(log_weights=shares)
        learned = torch.log(self.posterior.clamp(min=1e-12))[unit.clamp(min=0)]
        return Taste(log_weights=torch.where(unit[:, None] >= 0, learned, shares))

    def settle(self, network: Network, batch: Batch) -> None:
        self.posterior = self._posterior(network, batch, self.posterior.shape[0])

    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        size = max(int(newcomers.max()) + 1, self.posterior.shape[0])
        table = torch.exp(self.log_shares.detach()).to(self.posterior.dtype).repeat(size, 1)
        table[: self.posterior.shape[0]] = self.posterior
        if batch.judgments():
            table[newcomers] = self._posterior(network, batch, size)[newcomers].to(table.dtype)
        self.posterior = table

    def penalty(self, ridge: float) -> Tensor:
        """One more unit in every component, so that none is ever empty."""
        return -self.log_shares.sum()

    @torch.no_grad()
    def _posterior(self, network: Network, batch: Batch, size: int) -> Tensor:
        total: Tensor | None = None
        for rows in batch.judgments():
            unit = self.units(rows)
            if unit is None:
                return self.posterior
            log_prob = network.log_prob(rows, batch, self(rows, batch)) * rows.weight[:, None]
            zero = torch.zeros(size, self.channels, dtype=log_prob.dtype)
            known = unit >= 0
            zero.index_add_(0, unit[known], log_prob[known])
            total = zero if total is None else total + zero
        assert total is not None
        # One record per unit that carries everything the unit said.
        found: Tensor = responsibilities(total, self.log_shares.to(total.dtype), torch.arange(size), size)
        return found


@part("population", "mixture")
@dataclass(frozen=True)
class Mixture(Part):
    """K tastes; each unit has one of them with the same prior probabilities, and probabilities are mixed.

    ``P(records of u) = sum_k pi_k prod_{r of u} P_k(r)``. Known units answer by their posterior, strangers by the prior
    shares. Judgments without a unit (no annotator recorded) count as units of their own.

    Attributes:
        components: K.
        unit: "annotator", a column, or "record": each judgment by itself, from which nothing can be told apart.
    """

    components: Count = 2
    unit: Literal["annotator", "record"] | str = "annotator"

    @property
    def needs_annotators(self) -> bool:  # type: ignore[override]
        return self.unit == "annotator"

    def columns(self) -> Mapping[str, str]:
        return {} if self.unit in ("annotator", "record") else {self.unit: self.unit}

    def build(self, shape: Shape) -> PopulationModule:
        units = shape.annotators if self.unit == "annotator" else shape.codes.get(self.unit, 0)
        return MixtureModule(self.components, units, self.unit)
