"""Ways to find the parameters of a network, plain data with one method: ``fit(network, batch, seed) -> Report``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from preflearn.models.base import Part
from preflearn.models.batch import Batch
from preflearn.models.network import Network
from preflearn.models.parts import part


class Report(NamedTuple):
    """How a fit went.

    Attributes:
        value: objective reached: negative log-likelihood plus penalties, nats.
        iterations: of the best start.
        converged: whether it stopped because it was done.
        starts: objective of each start, best first.
        notes: sentences a user should read.
    """

    value: float
    iterations: int
    converged: bool
    starts: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@part("fitting", "full_batch")
@dataclass(frozen=True)
class FullBatch(Part):
    """L-BFGS on all judgments at once, from several starts where the problem is not convex.

    Attributes:
        starts: number of random starts; the best objective wins.
        iterations: limit per start.
        tolerance: on the largest component of the gradient per judgment.
    """

    starts: int = 1
    iterations: int = 500
    tolerance: float = 1e-6

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        from scipy.optimize import minimize

        parameters = [p for p in network.parameters() if p.requires_grad]
        dtype = batch.x.dtype
        network.to(dtype)

        def put(flat: np.ndarray[Any, Any]) -> None:
            at = 0
            with torch.no_grad():
                for p in parameters:
                    p.copy_(torch.as_tensor(flat[at : at + p.numel()], dtype=dtype).reshape(p.shape))
                    at += p.numel()

        def value(flat: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
            put(flat)
            for p in parameters:
                p.grad = None
            cost = network.objective(batch)
            loss = (cost.per_unit.sum() + cost.extra + cost.penalty) / cost.weight
            loss.backward()  # type: ignore[no-untyped-call]
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            return float(loss.detach()), torch.cat([g.reshape(-1) for g in grads]).double().numpy()

        start = torch.cat([p.detach().reshape(-1) for p in parameters]).double().numpy()
        found = minimize(
            value, start, jac=True, method="L-BFGS-B", options={"maxiter": self.iterations, "gtol": self.tolerance}
        )
        put(found.x)
        return Report(float(found.fun), int(found.nit), bool(found.success))
