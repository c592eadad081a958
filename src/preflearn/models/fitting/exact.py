"""Exact Newton as a way of fitting: for linear heads over differences, whatever the link."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from preflearn.errors import NotSupported
from preflearn.models.base import Part
from preflearn.models.batch import Batch
from preflearn.models.bounds import Count, NonNegative
from preflearn.models.fitting.full_batch import Report
from preflearn.models.fitting.linear import linear_of
from preflearn.models.network import Network
from preflearn.models.parts import part
from preflearn.models.solvers.newton import maximise


@part("fitting", "newton")
@dataclass(frozen=True)
class Newton(Part):
    """Newton's method on all comparisons at once; see `preflearn.models.solvers.newton.maximise`.

    For one linear channel over differences with everyone alike, any link with a shared shape, and noise that shifts
    logits. It ends at the optimum to the precision of the features, whatever their scales.

    Attributes:
        iterations: limit of passes over the comparisons.
        tolerance: on the squared Newton decrement, nats: a thousandth of a standard error is 1e-6.
    """

    iterations: Count = 200
    tolerance: NonNegative = 1e-8

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        """Fit `network` in place (it becomes float64).

        Raises:
            NotSupported: the model is not linear, or learns from more than comparisons.
            NotComputable: without a ridge the comparisons do not determine the weights.
        """
        linear = linear_of(network, batch)
        if linear is None:
            raise NotSupported(
                "Newton's method fits one linear head over differences of comparisons, with everyone alike; "
                "use fitting='auto' or 'full_batch' for this model."
            )
        found = maximise(linear.problem, tolerance=self.tolerance, max_iterations=self.iterations)
        network.to(torch.float64)
        linear.write(found.parameters)
        network.information = found.information
        notes = () if found.converged else (f"Newton's method had not converged after {found.iterations} passes.",)
        return Report(found.value, found.iterations, found.converged, (found.value,), notes)
