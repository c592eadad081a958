"""Loss and gradient of one optimiser step over its micro-batches: un-normalised sums, divided once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from preflearn.errors import InputError
from preflearn.train.processes import Processes
from preflearn.train.types import Diverged, Loss, LossFunction, Step

_UP = {torch.float16: torch.float32, torch.bfloat16: torch.float32}


class Sums(NamedTuple):
    """Of one micro-batch, still un-normalised and without gradients: ``sum w l``, ``sum w``, ``sum w m``."""

    loss: Tensor
    weight: Tensor | float
    metrics: Mapping[str, Tensor | float]


def checked(loss: Loss) -> tuple[Tensor, Tensor | None]:
    """The values ``[n]`` in float32 or float64, and the weights ``[n]`` in the same or None.

    Raises:
        InputError: shapes other than ``[n]``, or no :class:`Loss`.
    """
    if not isinstance(loss, Loss):
        raise InputError(f"the loss function returned {type(loss).__name__}.", cure="Return a preflearn.train.Loss.")
    values, weight = loss.per_example, loss.weight
    if values.ndim != 1:
        raise InputError(f"per_example has shape {list(values.shape)}.", cure="Return one unreduced loss per example.")
    if isinstance(loss.penalty, Tensor) and loss.penalty.ndim:
        raise InputError(f"penalty has shape {list(loss.penalty.shape)}.", cure="Return a scalar.")
    if values.dtype in _UP:
        values = values.to(_UP[values.dtype])
    if weight is None:
        return values, None
    if weight.shape != values.shape:
        raise InputError(f"weight has shape {list(weight.shape)}, per_example {list(values.shape)}.")
    return values, weight.detach().to(values.dtype)


def weighted_sums(values: Tensor, weight: Tensor | None, metrics: Mapping[str, Tensor | float]) -> Sums:
    """Sums in float64."""
    values, wide = values.detach(), _wide(values)
    total: Tensor | float
    if weight is None:
        loss, total = values.sum(dtype=wide), float(len(values))
    else:
        loss, total = (weight * values).sum(dtype=wide), weight.sum(dtype=wide)
    return Sums(loss, total, {name: _sum(name, metric, weight, total) for name, metric in metrics.items()})


def _sum(name: str, metric: Tensor | float, weight: Tensor | None, total: Tensor | float) -> Tensor | float:
    if not isinstance(metric, Tensor) or metric.ndim == 0:
        return total * (metric.detach() if isinstance(metric, Tensor) else metric)
    metric = metric.detach()
    if weight is None:
        return metric.sum(dtype=_wide(metric))
    if metric.shape != weight.shape:
        raise InputError(f"metric {name!r} has shape {list(metric.shape)}, weight {list(weight.shape)}.")
    return (metric * weight).sum(dtype=_wide(metric))


class StepGradient:
    """The normalised, clipped gradient of the step objective, into ``.grad`` of every parameter.

    The objective is ``sum w l / sum w + penalty`` over all micro-batches of all processes (:class:`Loss`).

    Args:
        module, loss: what is trained, and its loss function.
        parameters: by name; what ``.grad`` is filled of.
        processes: who shares the step.
        forward: the context of each forward pass (autocast), entered again and again.
        clip: largest global norm, or None.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: LossFunction,
        parameters: Mapping[str, nn.Parameter],
        *,
        processes: Processes,
        forward: AbstractContextManager[object],
        clip: float | None = None,
    ) -> None:
        self._module, self._loss, self._clip, self._forward = module, loss, clip, forward
        self._parameters, self._processes = dict(parameters), processes
        self._all = list(self._parameters.values())

    def __call__(self, batches: Sequence[Any], begin: Callable[[int], None], where: str) -> Step:
        """Fill ``.grad`` for the micro-batches this process has of the step.

        Args:
            batches: this process's micro-batches.
            begin: called with the number of each micro-batch before its forward pass (seeds).
            where: names the step in errors.

        Raises:
            Diverged: a loss, penalty or gradient that is not finite.
            InputError: weights that sum to 0, a loss that depends on no trained parameter, wrong shapes.
        """
        for parameter in self._all:
            parameter.grad = None
        parts: list[Sums] = []
        weight: Tensor | float = 0.0
        total: float | None = None
        penalty: Any = 0.0
        records = tokens = 0
        differentiable = False
        # A step of one micro-batch is normalised on the way back, which saves a pass over all gradients.
        alone = len(batches) == 1 and self._processes.size == 1
        for number, batch in enumerate(batches):
            begin(number)
            with self._forward:
                out = self._loss(self._module, batch)
            values, own = checked(out)
            sums = weighted_sums(values, own, out.metrics)
            parts.append(sums)
            weight, records, tokens = weight + sums.weight, records + len(values), tokens + out.tokens
            roots: list[Tensor] = []
            seeds: list[Tensor] = []
            if number == len(batches) - 1:
                total, share = self._total_weight(weight, where)
                penalty = out.penalty.detach() if isinstance(out.penalty, Tensor) else out.penalty
                if isinstance(out.penalty, Tensor) and out.penalty.requires_grad:
                    roots.append(out.penalty)
                    seeds.append(torch.full_like(penalty, 1.0 if alone else share))
            if values.requires_grad:
                factor = 1 / total if alone and total else 1.0
                roots.append(values)
                seeds.append(torch.full_like(values, factor) if own is None else own * factor)
            if roots:
                differentiable = True
                torch.autograd.backward(roots, seeds)
        if batches and not differentiable:
            raise InputError(f"{where}: the loss depends on no trained parameter.")
        if total is None:
            total, _ = self._total_weight(None, where)
        return self._finish(parts, total, 1.0 if alone else 1 / total, float(penalty), records, tokens, where)

    def _total_weight(self, own: Tensor | float | None, where: str) -> tuple[float, float]:
        """The step's total weight, and what this process multiplies the penalty with so that it counts once."""
        if self._processes.size == 1:
            total = share = float(own or 0.0)
        else:
            pair = torch.zeros(2, dtype=torch.float64, device=self._all[0].device)
            if own is not None:
                pair[0], pair[1] = own, 1.0
            total, holders = self._processes.total(pair).tolist()
            share = total / max(holders, 1.0)
        if not (math.isfinite(total) and total > 0):
            raise InputError(f"{where}: the weights of the examples sum to {total:g}; they must be positive.")
        return total, share

    def _finish(
        self,
        parts: Sequence[Sums],
        total: float,
        factor: float,
        penalty: float,
        records: int,
        tokens: int,
        where: str,
    ) -> Step:
        """Sum up over processes, check, multiply gradients by ``factor`` and clip."""
        metrics: dict[str, float] = {}
        for part in parts:
            for name, value in part.metrics.items():
                metrics[name] = metrics.get(name, 0.0) + float(value)
        losses = [float(part.loss) for part in parts]
        if self._processes.size > 1:
            losses, metrics, penalty, records, tokens = self._share(losses, metrics, penalty, records, tokens)
        self._check(losses, penalty, where)
        gradients = [parameter.grad for parameter in self._all if parameter.grad is not None]
        norm = _norm(gradients) * factor
        if not math.isfinite(norm):
            raise Diverged(f"{where}: {self._first_bad()} The loss was {sum(losses) / total:g}. {_CURE}")
        if self._clip is not None and norm > self._clip:
            factor *= self._clip / norm
        if factor != 1.0:
            torch._foreach_mul_(gradients, factor)
        means = {name: value / total for name, value in metrics.items()}
        return Step(sum(losses) / total, penalty, total, records, tokens, norm, means)

    def _share(
        self, losses: list[float], metrics: dict[str, float], penalty: float, records: int, tokens: int
    ) -> tuple[list[float], dict[str, float], float, int, int]:
        """Sums over processes; and gradients of all wherever one process has one."""
        present = [parameter.grad is not None for parameter in self._all]
        everyone = self._processes.gather((losses, metrics, penalty, records, tokens, present))
        for parameter, *held in zip(self._all, *(item[5] for item in everyone), strict=True):
            if any(held) and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._processes.total_of([parameter.grad for parameter in self._all if parameter.grad is not None])
        active = [item for item in everyone if item[0]]
        merged: dict[str, float] = {}
        for item in active:
            for name, value in item[1].items():
                merged[name] = merged.get(name, 0.0) + value
        return (
            [loss for item in active for loss in item[0]],
            merged,
            sum(item[2] for item in active) / max(len(active), 1),
            sum(item[3] for item in active),
            sum(item[4] for item in active),
        )

    def _check(self, losses: Sequence[float], penalty: float, where: str) -> None:
        for number, loss in enumerate(losses):
            if not math.isfinite(loss):
                part = f" of micro-batch {number + 1} of {len(losses)}" if len(losses) > 1 else ""
                raise Diverged(f"{where}: the loss{part} is {loss}. {_CURE}")
        if not math.isfinite(penalty):
            raise Diverged(f"{where}: the penalty is {penalty}. {_CURE}")

    def _first_bad(self) -> str:
        for name, parameter in self._parameters.items():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                return f"the gradient of {name} is not finite."
        return "the norm of the gradient is not finite."


def _wide(values: Tensor) -> torch.dtype:
    """In which sums over many float32 numbers keep their last digits; Apple's GPUs have no float64."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def _norm(gradients: list[Tensor]) -> float:
    """The global Euclidean norm."""
    norms = torch._foreach_norm(gradients)
    if norms[0].is_cuda:
        # One transfer instead of one per parameter.
        return float(torch.linalg.vector_norm(torch.stack(norms)))
    return math.sqrt(sum(float(norm) ** 2 for norm in norms))


_CURE = "Look for extreme inputs, lower lr, warm up, or set clip. The weights are those before this step."
