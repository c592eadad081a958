"""Everyone alike: the population of a plain reward model."""

from __future__ import annotations

from dataclasses import dataclass

from preflearn.models.base import Judgments, Part, PopulationModule, Shape, Taste
from preflearn.models.batch import Batch
from preflearn.models.parts import part


class EveryoneModule(PopulationModule):
    def forward(self, rows: Judgments, batch: Batch) -> Taste:
        return Taste()


@part("population", "everyone")
@dataclass(frozen=True)
class Everyone(Part):
    """One taste for all: nothing is known or learned about who is asked."""

    def build(self, shape: Shape) -> PopulationModule:
        return EveryoneModule()
