"""The order of showing: an advantage of the response that was shown first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preflearn.choice import nuisance
from preflearn.models.base import NoiseModule, Part, Shape
from preflearn.models.batch import Pairs
from preflearn.models.parts import part


class _Position(NoiseModule):
    def __init__(self) -> None:
        super().__init__()
        self.effect = nn.Parameter(torch.zeros(()))

    def shift(self, rows: Pairs) -> Tensor:
        shift: Tensor = nuisance.position(rows.position, self.effect)
        return shift


@part("noise", "position")
@dataclass(frozen=True)
class Position(Part):
    """The advantage, in logits, of being shown first; 0 where the order was not recorded."""

    def build(self, shape: Shape) -> NoiseModule:
        return _Position()
