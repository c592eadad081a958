"""People of known groups: every group has a taste of its own, shrunk towards the common one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from preflearn.data import PreferenceData
from preflearn.errors import InputError
from preflearn.models.base import Judgments, Part, PopulationModule, Shape, Taste
from preflearn.models.batch import Batch
from preflearn.models.bounds import Positive
from preflearn.models.parts import part

ONE_START = {"full_batch": {"starts": 1}}
"""Weights of the channels are given: with a linear head the problem is convex."""


class GroupsModule(PopulationModule):
    """Channel 0 is common, channel 1 + g what group g adds.

    Attributes:
        column: code column with the group of a judgment.
        spread: how far groups may deviate, see `Groups`.
    """

    def __init__(self, groups: int, column: str, spread: float) -> None:
        super().__init__()
        self.groups, self.column, self.spread = groups, column, spread
        self.channels = 1 + groups
        self.fitting = ONE_START

    def forward(self, rows: Judgments, batch: Batch) -> Taste:
        """Shares of the channels; an unknown group has the common taste."""
        group = rows.who.columns[self.column]
        own = torch.arange(self.groups, device=group.device) == group[:, None]
        return Taste(weights=with_common(own.to(batch.x.dtype) * self.spread))


def with_common(deviations: Tensor) -> Tensor:
    """Weights of the channels ``[n, 1 + p]``: 1 for what is common, and how much of every deviation there is."""
    return torch.cat([deviations.new_ones(len(deviations), 1), deviations], dim=1)


@part("population", "groups")
@dataclass(frozen=True)
class Groups(Part):
    """Every group of a column has its own taste: ``u_g = r_0 + spread * r_g``, all r with the same prior.

    The prior shrinks groups towards what is common. A group without training judgments, and a judgment without one,
    have the common taste. With a linear head this is a linear model per group; with a perceptron the groups share all
    layers but the last.

    Attributes:
        column: of any table: "annotators.country", "prompts.language", "source" of the judgments, ...
        spread: standard deviation of what a group adds, by that of what is common; the fitting "held_out" chooses it.
    """

    column: str
    spread: Positive = 1.0

    def columns(self) -> Mapping[str, str]:
        return {self.column: self.column}

    def check(self, data: PreferenceData) -> None:
        table, _, name = self.column.rpartition(".")
        if table and name not in data.columns(table):
            raise InputError(
                f"{table} have no column {name!r} to group by.",
                column=self.column,
                cure=f"They have: {', '.join(data.columns(table))}.",
            )

    def build(self, shape: Shape) -> PopulationModule:
        if not shape.codes[self.column]:
            raise InputError("no judgment is of a known group: nothing is recorded.", column=self.column)
        return GroupsModule(shape.codes[self.column], self.column, self.spread)
