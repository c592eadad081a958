"""Everyone's own deviation from the common taste, shrunk towards it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from preflearn.errors import InputError
from preflearn.models.base import Judgments, Part, PopulationModule, Shape, Taste
from preflearn.models.batch import Batch, Lists, Pairs
from preflearn.models.bounds import Positive, Whole
from preflearn.models.parts import part
from preflearn.models.solvers.personal import Structure
from preflearn.train import minimise

if TYPE_CHECKING:
    from preflearn.models.network import Network


class OffsetsModule(PopulationModule):
    """Offsets ``delta_u = root e_u`` with ``e_u ~ N(0, I)``, one row of `coefficients` per unit.

    Attributes:
        coefficients: e, [U, k].
        root: with ``root root'`` the prior covariance of an offset: [], [k] (its diagonal) or [k, k].
        decided: whether it is known how much units differ; if not, only the fitting "profile" can learn it.
    """

    fitting = "profile"
    root: Tensor
    decided: Tensor

    def __init__(
        self, units: int, size: int, *, unit: str, structure: Structure, ridge: float | None, channels: int
    ) -> None:
        super().__init__()
        self.unit, self.structure, self.channels = unit, structure, channels
        self.personal = unit == "annotator"
        self.register_buffer("decided", torch.tensor(ridge is not None))
        self.coefficients = nn.Parameter(torch.zeros(units, size))
        # Before anything is learned personal logits of standardised features have a variance of 2.
        spread = size**-0.5 if ridge is None else ridge**-0.5
        shape = {"isotropic": (), "diagonal": (size,), "full": (size, size)}[structure]
        self.register_buffer("root", torch.eye(size) * spread if structure == "full" else torch.full(shape, spread))

    def units(self, rows: Judgments) -> Tensor:
        """Whose judgments they are, [n]; -1 = of nobody known."""
        return rows.who.annotator if self.unit == "annotator" else rows.who.columns[self.unit]

    def offsets(self, coefficients: Tensor) -> Tensor:
        """Offsets from coefficients, ``[m, k] -> [m, k]``."""
        root = self.root.to(coefficients.dtype)
        return coefficients @ root.mT if self.structure == "full" else coefficients * root

    def forward(self, rows: Judgments, batch: Batch) -> Taste:
        if not self.decided:
            raise InputError(
                "how much people differ is to be learned (ridge 'auto'), which this fitting cannot do.",
                cure="Use the fitting 'profile', or give offsets a number as ridge.",
            )
        return self._taste(self.units(rows), self.offsets(self.coefficients))

    def known(self, rows: Judgments, batch: Batch) -> Taste:
        """Strangers have no offset."""
        return self._taste(self.units(rows), self.offsets(self.coefficients))

    def common(self, rows: Judgments) -> Taste:
        """The taste of someone without an offset."""
        none = self.coefficients.new_zeros(1, self.coefficients.shape[1])
        return self._taste(torch.full_like(rows.who.annotator, -1), none)

    def _taste(self, unit: Tensor, table: Tensor) -> Taste:
        if not len(table):
            table = self.coefficients.new_zeros(1, self.coefficients.shape[1])
        delta = torch.where(unit[:, None] >= 0, table[unit.clamp(min=0)], torch.zeros_like(table[:1]))
        if self.channels == 1:
            return Taste(offset=delta)
        return Taste(weights=torch.cat([torch.ones_like(delta[:, :1]), delta], dim=1))

    def seen(self, network: Network, rows: Judgments, batch: Batch) -> Tensor:
        """What the offset of its unit is multiplied with in the value of each row, [n, k].

        Raises:
            InputError: rankings, whose likelihood depends on several values.
        """
        if isinstance(rows, Lists):
            raise InputError(
                "offsets are solved from comparisons and ratings, not from rankings.",
                cure="Convert the rankings to comparisons, or use the fitting 'full_batch' and a number as ridge.",
            )
        if self.channels > 1:
            return network.values(rows, batch, Taste())[:, 1:]
        return batch.x[rows.a] - batch.x[rows.b] if isinstance(rows, Pairs) else batch.x[rows.item]

    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        known = self.coefficients.detach()
        size = max(int(newcomers.max()) + 1, len(known))
        table = torch.zeros(size, known.shape[1], dtype=known.dtype)
        table[: len(known)] = known
        self.coefficients = nn.Parameter(table)
        if not len(batch):
            return
        fresh = torch.zeros(len(newcomers), known.shape[1], dtype=known.dtype, requires_grad=True)

        def value() -> Tensor:
            taste = table.index_copy(0, newcomers, fresh)
            log_probs = [
                (network.log_prob(rows, batch, self._taste(self.units(rows), self.offsets(taste)))[:, 0] * rows.weight)
                for rows in batch.judgments()
            ]
            return fresh.square().sum() / 2 - torch.cat(log_probs).sum()

        minimise([fresh], value, tolerance=1e-5)
        self.coefficients = nn.Parameter(table.index_copy(0, newcomers, fresh.detach()))

    def penalty(self, ridge: float) -> Tensor:
        return self.coefficients.square().sum() / 2


@part("population", "offsets")
@dataclass(frozen=True)
class Offsets(Part):
    """Everyone's taste is the common one plus an offset: ``w_u = w + delta_u``, ``delta_u ~ N(0, T)``.

    The offset acts on the features, or on `channels` further numbers that the head learns to see (then
    ``u_u(x) = r_0(x) + sum_k delta_uk r_k(x)``: offsets in a low-dimensional space, for any head). Strangers have
    the common taste. A judgment without annotator is one of the common taste.

    Attributes:
        ridge: precision of every coefficient, T = I / ridge; or "auto": T is learned from the data (empirical Bayes),
            which only the fitting "profile" does. With `channels` a number: their scale is learned by the head.
        prior: what is learned: one variance ("isotropic"), one for every feature ("diagonal"), or any covariance
            ("full"): then the few directions in which people differ are found, newcomers are known from few judgments,
            and where there are no such directions it comes out isotropic.
        channels: 0 = offsets on the features.
        unit: who has an offset: "annotator", or a column.

    Source: the personal model of Movva et al. (2025), What's in my human feedback?, arXiv 2510.26202 (paper text):
    offsets there are on chosen features, with a variance for each feature by moments, the common part frozen. Here all
    is fitted together.
    """

    ridge: Positive | Literal["auto"] = "auto"
    prior: Structure = "full"
    channels: Whole = 0
    unit: Literal["annotator"] | str = "annotator"

    def __post_init__(self) -> None:
        if self.channels and self.ridge == "auto":
            raise InputError(
                "offsets on channels have a number as ridge.",
                cure="The scale of the channels is learned by the head: ridge=1 loses nothing.",
            )

    @property
    def needs_annotators(self) -> bool:  # type: ignore[override]
        return self.unit == "annotator"

    def columns(self) -> Mapping[str, str]:
        return {} if self.unit == "annotator" else {self.unit: self.unit}

    def build(self, shape: Shape) -> PopulationModule:
        return OffsetsModule(
            shape.annotators if self.unit == "annotator" else shape.codes.get(self.unit, 0),
            self.channels or shape.features,
            unit=self.unit,
            structure=self.prior,
            ridge=None if self.ridge == "auto" else self.ridge,
            channels=1 + self.channels,
        )
