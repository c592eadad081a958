"""L-BFGS over all data at once, for losses that are a sum over rows in memory: one closure, few calls.

scipy's L-BFGS-B (Moré-Thuente line search) drives; torch computes value and gradient in the precision of the
parameters. Sum losses in float64 (:func:`fit_full_batch` does): the value then falls visibly for longer.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from preflearn.errors import InputError
from preflearn.train.gradient import StepGradient
from preflearn.train.processes import Processes
from preflearn.train.trained import Trained
from preflearn.train.types import Diverged, LossFunction

Vector = npt.NDArray[np.float64]
_PATIENCE = 10
_STOPPED = 99
"""scipy's status of a fit that its callback ended."""


class Converged(NamedTuple):
    """How a full-batch fit ended.

    Attributes:
        iterations, evaluations: of the optimiser, of value and gradient.
        value: of the objective at the end.
        gradient: largest absolute component of its gradient at the end.
        reason: "gradient" (below ``tolerance``), "progress" (the value no longer falls in this precision),
            "iterations" (the limit came first) or "line_search" (no step along the last direction lowers the value:
            the gradient is wrong, or the value is not smooth).
    """

    iterations: int
    evaluations: int
    value: float
    gradient: float
    reason: str

    @property
    def converged(self) -> bool:
        """Whether a convergence criterion was met."""
        return self.reason in ("gradient", "progress")


def fit_full_batch(
    module: nn.Module,
    loss: LossFunction,
    batches: Iterable[Any],
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    history: int = 20,
    extra_parameters: Mapping[str, nn.Parameter] | None = None,
) -> Converged:
    """Minimise ``sum w l / sum w + penalty`` over all ``batches`` together; the module is changed in place.

    The same loss functions as in :func:`preflearn.train.train`, without randomness of their own.

    Args:
        module, loss: as in training; the loss's own parameters are learned too.
        batches: all data: one batch in a list, or several where one would not fit into memory.
        tolerance, max_iterations, history: of :func:`minimise`.
        extra_parameters: learned as well.

    Raises:
        Diverged, InputError: as in training.
    """
    held = list(batches)
    if not held:
        raise InputError("there are no batches to fit.")
    trained = Trained(module, loss, extra_parameters or {})
    gradient = StepGradient(module, loss, trained.parameters, processes=Processes.alone(), forward=nullcontext())

    def evaluate() -> float:
        step = gradient(held, lambda number: None, "full batch")
        return step.loss + step.penalty

    return _minimise(list(trained.parameters.values()), evaluate, tolerance, max_iterations, history)


def minimise(
    parameters: Iterable[Tensor],
    value: Callable[[], Tensor],
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    history: int = 20,
    least: float = 0.0,
    metric: Mapping[Tensor, Tensor] | None = None,
) -> Converged:
    """Minimise ``value()`` over ``parameters`` with L-BFGS, in place.

    Args:
        parameters: leaf tensors that require gradients.
        value: the scalar objective, e.g. a mean log loss plus a penalty; deterministic.
        tolerance: largest absolute component of the gradient at which the fit has converged.
        max_iterations: limit.
        history: curvature pairs remembered.
        least: ten iterations that lower the value by less than this together are the last ("progress").
        metric: parameter ``[..., d]`` -> symmetric, invertible ``[d, d]``: it is sought as ``V @ metric``. The inverse
            square root of its curvature makes every direction alike: far fewer iterations on correlated features.

    Raises:
        Diverged: the value or gradient is not finite at the start.
        InputError: nothing to fit, or a value that depends on none of the parameters.
    """
    held = [parameter for parameter in parameters if parameter.requires_grad]

    def evaluate() -> float:
        for parameter in held:
            parameter.grad = None
        objective = value()
        if not objective.requires_grad:
            raise InputError("the value depends on none of the parameters.")
        objective.backward()  # type: ignore[no-untyped-call]
        return float(objective.detach())

    return _minimise(held, evaluate, tolerance, max_iterations, history, least, metric)


def _minimise(
    parameters: Sequence[Tensor],
    evaluate: Callable[[], float],
    tolerance: float,
    max_iterations: int,
    history: int,
    least: float = 0.0,
    metric: Mapping[Tensor, Tensor] | None = None,
) -> Converged:
    if not parameters:
        raise InputError("there is nothing to fit: no parameter requires a gradient.")
    problem = _Flat(parameters, evaluate, metric or {})
    falls = collections.deque([math.inf], maxlen=_PATIENCE + 1)

    def watch(_: Vector) -> None:
        falls.append(problem.best_value)
        if len(falls) > _PATIENCE and falls[0] - falls[-1] < least:
            raise StopIteration

    start = problem.vector()
    first, slope = problem(start)
    if problem.failed is not None:
        raise Diverged("The objective or its gradient is not finite at the starting point.") from problem.failed
    if np.abs(slope).max() <= tolerance:
        return Converged(0, 1, first, float(np.abs(slope).max()), "gradient")
    # Rounding errors of single rows average out in the value: it is known better than one row's loss.
    resolution = max(torch.finfo(p.dtype).eps for p in parameters) / 64
    found = minimize(
        problem,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=watch if least else None,
        options={
            "maxcor": history,
            "gtol": tolerance,
            "ftol": resolution,
            "maxiter": max_iterations,
            "maxfun": 20 * max_iterations,
        },
    )
    best, gradient = problem.best_value, problem.best_gradient
    problem.set(problem.best)
    for parameter in parameters:
        parameter.grad = None
    if gradient <= tolerance:
        reason = "gradient"
    elif found.status == 1:
        reason = "iterations"
    elif found.success or found.status == _STOPPED or problem.last_fall <= 64 * resolution * max(abs(best), 1.0):
        reason = "progress"
    else:
        reason = "line_search"
    return Converged(int(found.nit), problem.evaluations, best, gradient, reason)


class _Flat:
    """Value and gradient of a flat float64 vector; remembers the best point."""

    def __init__(
        self, parameters: Sequence[Tensor], evaluate: Callable[[], float], metric: Mapping[Tensor, Tensor]
    ) -> None:
        self._parameters, self._evaluate = parameters, evaluate
        self._metric = {p: m.to("cpu", torch.float64) for p, m in metric.items()}
        self.evaluations = 0
        self.failed: Exception | None = None
        self.best: Vector = self.vector()
        self.best_value, self.best_gradient = math.inf, math.inf
        self.last_fall = math.inf

    def vector(self) -> Vector:
        """The parameters."""
        inner = [p.detach().to("cpu", torch.float64) for p in self._parameters]
        for k, p in enumerate(self._parameters):
            if p in self._metric:
                inner[k] = torch.linalg.solve(self._metric[p], inner[k], left=False)
        return np.concatenate([value.reshape(-1).numpy() for value in inner])

    def set(self, vector: Vector) -> None:
        """The parameters, from a vector."""
        flat, at = torch.from_numpy(vector), 0
        with torch.no_grad():
            for parameter in self._parameters:
                value = flat[at : at + parameter.numel()].view_as(parameter)
                parameter.copy_(value @ self._metric[parameter] if parameter in self._metric else value)
                at += parameter.numel()

    def _gradient(self) -> Vector:
        pieces = []
        for p in self._parameters:
            slope = (torch.zeros_like(p) if p.grad is None else p.grad).to("cpu", torch.float64)
            pieces.append((slope @ self._metric[p] if p in self._metric else slope).reshape(-1).numpy())
        return np.concatenate(pieces)

    def __call__(self, vector: Vector) -> tuple[float, Vector]:
        self.set(vector)
        self.evaluations += 1
        value = math.nan
        try:
            value = self._evaluate()
        except Diverged as error:
            self.failed = error
        gradient = self._gradient()
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            self.failed = self.failed or Diverged("not finite")
            # A step too far: a flat wall moderately above the best point makes the line search come back.
            return self.best_value + abs(self.best_value) + 1.0, np.zeros_like(vector)
        if value < self.best_value:
            self.last_fall = self.best_value - value
            self.best, self.best_value, self.best_gradient = vector.copy(), value, float(np.abs(gradient).max())
        return value, gradient
