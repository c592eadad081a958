"""People by what is known about them: tastes are linear in attributes of annotators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from preflearn.errors import InputError
from preflearn.models.base import Judgments, Part, PopulationModule, Shape, Taste
from preflearn.models.batch import ATTRIBUTES, Batch
from preflearn.models.bounds import Positive
from preflearn.models.parts import part
from preflearn.models.population.groups import ONE_START, with_common

if TYPE_CHECKING:
    from preflearn.models.network import Network


class AttributesModule(PopulationModule):
    """Channel 0 is the taste of the average person, channel 1 + p what attribute p adds.

    Attributes:
        average: attributes of the average training annotator, [p].
        table: attributes of annotators known to the model, [U, p]; zeros = nothing recorded.
        spread: how far people may deviate, see `Attributes`.
    """

    personal = True
    average: Tensor
    table: Tensor

    def __init__(self, annotators: int, attributes: int, spread: float) -> None:
        super().__init__()
        self.spread = spread
        self.channels = 1 + attributes
        self.fitting = ONE_START
        self.register_buffer("average", torch.zeros(attributes))
        self.register_buffer("table", torch.zeros(annotators, attributes))

    def forward(self, rows: Judgments, batch: Batch) -> Taste:
        assert batch.attributes is not None
        return self._taste(rows.who.columns[ATTRIBUTES], _average(batch.attributes))

    def known(self, rows: Judgments, batch: Batch) -> Taste:
        """By the attributes in the data, else by those recorded before; without any a person is average."""
        table = torch.cat([self.table, torch.zeros_like(self.table[:1])]) if len(self.table) else self.average[None] * 0
        before = table[rows.who.annotator.clamp(min=-1)]
        now = rows.who.columns.get(ATTRIBUTES, torch.zeros_like(before)).to(before.dtype)
        return self._taste(torch.where(now.any(1, keepdim=True), now, before), self.average)

    def _taste(self, attributes: Tensor, average: Tensor) -> Taste:
        deviation = torch.where(attributes.any(1, keepdim=True), attributes - average, torch.zeros_like(attributes))
        return Taste(weights=with_common(deviation * self.spread))

    def settle(self, network: Network, batch: Batch) -> None:
        assert batch.attributes is not None
        self.table, self.average = batch.attributes.clone(), _average(batch.attributes)

    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        """Newcomers are known by their attributes; what they judged teaches nothing more."""
        assert batch.attributes is not None
        rest = batch.attributes[len(self.table) :].to(self.table.dtype)
        self.table = torch.cat([self.table, rest])


def _average(attributes: Tensor) -> Tensor:
    recorded = attributes[attributes.any(1)]
    return recorded.mean(0) if len(recorded) else attributes.new_zeros(attributes.shape[1])


@part("population", "attributes")
@dataclass(frozen=True)
class Attributes(Part):
    """Tastes linear in attributes of annotators: ``u_u = r_0 + spread * sum_p (a_up - mean a_p) r_p``.

    Numbers are used in standard units, classes as indicators. Someone without any recorded attribute is the average
    person; strangers are known by the attributes that the data records of them.

    Attributes:
        names: columns of annotators.
        spread: standard deviation of what a standardised attribute adds, by that of what is common; the fitting
            "held_out" chooses it.
    """

    names: tuple[str, ...]
    spread: Positive = 1.0

    def __post_init__(self) -> None:
        if not self.names:
            raise InputError(
                "people are told apart by columns of annotators, and none is named.", cure='For instance names=["age"].'
            )

    def attributes(self) -> tuple[str, ...]:
        return tuple(self.names)

    def build(self, shape: Shape) -> PopulationModule:
        return AttributesModule(shape.annotators, shape.attributes, self.spread)
