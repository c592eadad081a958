"""Full-batch descent on any differentiable loss, and starting a network anew: what fittings are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


class Descent(NamedTuple):
    """Where a descent ended: value of the loss, iterations, and whether it stopped because it was done."""

    value: float
    iterations: int
    converged: bool


def descend(
    parameters: Sequence[Tensor], loss: Callable[[], Tensor], *, iterations: int, tolerance: float = 1e-6
) -> Descent:
    """Minimise by L-BFGS, in place.

    Args:
        parameters: leaves that require a gradient, of any one floating dtype.
        loss: a scalar, evaluated at the present values of the parameters.
        iterations: at most so many.
        tolerance: on the largest component of the gradient.
    """
    from scipy.optimize import minimize

    if not parameters:
        return Descent(float(loss().detach()), 0, True)

    def put(flat: np.ndarray[Any, Any]) -> None:
        at = 0
        with torch.no_grad():
            for p in parameters:
                p.copy_(torch.from_numpy(flat[at : at + p.numel()]).reshape(p.shape))
                at += p.numel()

    def value(flat: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        put(flat)
        total = loss()
        gradients = torch.autograd.grad(total, list(parameters), allow_unused=True)
        filled = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
        return float(total.detach()), torch.cat([g.reshape(-1) for g in filled]).double().numpy()

    start = torch.cat([p.detach().reshape(-1) for p in parameters]).double().numpy()
    options = {"maxiter": iterations, "gtol": tolerance, "maxcor": 20}
    found = minimize(value, start, jac=True, method="L-BFGS-B", options=options)
    put(found.x)
    return Descent(float(found.fun), int(found.nit), bool(found.success))


def restart(network: nn.Module) -> None:
    """Draw anew the parameters of every module that says how (`restart`), from torch's generator; others stay."""
    # A module knows better than those inside it how they begin, so it comes after them.
    for module in reversed(list(network.modules())):
        again = getattr(module, "restart", None) or getattr(module, "reset_parameters", None)
        if callable(again):
            again()
