"""The default way of fitting: the one that suits the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from preflearn.models.base import Part
from preflearn.models.batch import Batch
from preflearn.models.bounds import Count
from preflearn.models.fitting import em  # noqa: F401 - a population may name it
from preflearn.models.fitting.exact import Newton
from preflearn.models.fitting.full_batch import FullBatch, Report
from preflearn.models.fitting.linear import is_linear
from preflearn.models.network import Network
from preflearn.models.parts import from_spec, part


@part("fitting", "auto")
@dataclass(frozen=True)
class Auto(Part):
    """Newton's method where it applies (`Newton`); else the fitting that the population names, else L-BFGS.

    Attributes:
        starts: random beginnings of L-BFGS; None = three where a population weighs several tastes, else one (a single
            linear channel is convex; representations for the skew kernel ended at one value from every start).
    """

    starts: Count | None = None

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        """Fit `network` in place; one without parameters stays as it is."""
        if not network.learns:
            with torch.no_grad():
                cost = network.objective(batch)
                value = float(cost.per_unit.sum() + cost.extra + cost.penalty)
            return Report(value, 0, True, (value,))
        report: Report = self.chosen(network, batch).fit(network, batch, seed)
        return report

    def chosen(self, network: Network, batch: Batch) -> Newton | FullBatch:
        """The way of fitting that suits this network and these judgments."""
        if is_linear(network, batch):
            return Newton()
        if network.population.fitting != "full_batch":
            suited: FullBatch = from_spec(network.population.fitting, "fitting")
            return suited
        for outcome in network.outcomes:
            if isinstance(outcome.fitting, str):
                needed: FullBatch = from_spec(outcome.fitting, "fitting")
                return needed
        return FullBatch(starts=self.starts or (3 if network.population.channels > 1 else 1))
