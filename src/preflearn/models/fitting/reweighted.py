"""Fitting losses whose weights follow the model: weights are held while the model moves, then taken anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from preflearn.errors import InputError
from preflearn.models.base import Part
from preflearn.models.batch import Batch
from preflearn.models.bounds import Count
from preflearn.models.fitting.full_batch import FullBatch, Report
from preflearn.models.network import Network
from preflearn.models.outcomes.lists import LambdaModule
from preflearn.models.parts import part


@part("fitting", "reweighted")
@dataclass(frozen=True)
class Reweighted(Part):
    """For the outcome `lambda`: all pairs alike first, then rounds with the weights of the order reached.

    Attributes:
        fitting: of each round.
        rounds: with weights; the model changes little after a few.
    """

    fitting: Part = FullBatch(iterations=50)  # noqa: RUF009 - a frozen part
    rounds: Count = 5

    unsettled: ClassVar[str | None] = "a loss whose weights follow the model is no likelihood"

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        """Fit `network` in place."""
        module = next((each for each in network.outcomes if isinstance(each, LambdaModule)), None)
        rows = batch.lists
        if module is None or rows is None:
            raise InputError(
                "the fitting reweighted is for rankings with the outcome lambda.", cure="Leave it to auto."
            )
        report = Report(0.0, 0, False)
        iterations = 0
        try:
            for done in range(self.rounds + 1):
                with torch.no_grad():
                    taste = network.population(rows, batch)
                    module.held = module.weights(network.values(rows, batch, taste), rows, alike=not done)
                report = self.fitting.fit(network, batch, seed)  # type: ignore[attr-defined]
                iterations += report.iterations
        finally:
            module.held = None
        return report._replace(iterations=iterations, starts=())
