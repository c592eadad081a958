"""Full-batch descent on any differentiable loss, and starting a network anew: what fittings are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from preflearn.train import minimise


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
    held = [p for p in parameters if p.requires_grad]
    if not held:
        return Descent(float(loss().detach()), 0, True)
    found = minimise(held, loss, tolerance=tolerance, max_iterations=iterations)
    return Descent(found.value, found.iterations, found.converged)


def restart(network: nn.Module) -> None:
    """Draw anew the parameters of every module that says how (`restart`), from torch's generator; others stay."""
    # A module knows better than those inside it how they begin, so it comes after them.
    for module in reversed(list(network.modules())):
        again = getattr(module, "restart", None) or getattr(module, "reset_parameters", None)
        if callable(again):
            again()
