"""What training exchanges: losses of micro-batches, sources of them, records of steps, results.

Nothing here knows what is learned: a batch is anything the loss function understands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from preflearn.errors import PreflearnError

_NONE: Mapping[str, Tensor | float] = MappingProxyType({})

Record: TypeAlias = dict[str, Any]
"""One line of the log: ``event`` ("step", "evaluation", ...), ``step``, ``epoch`` and figures."""

Evaluate: TypeAlias = Callable[[nn.Module], Mapping[str, float]]
"""Figures of the module on held-out data; called in evaluation mode without gradients."""


class Loss(NamedTuple):
    """What a loss function returns for one micro-batch.

    One optimiser step descends ``sum_i weight_i * per_example_i / sum_i weight_i + penalty``, both sums over all
    examples of all micro-batches of the step on all processes: splitting a batch changes nothing.

    Attributes:
        per_example: ``[n]``, unreduced (nats, or whatever the objective minimises). What has no gradient is logged.
        weight: ``[n]``, non-negative; None counts every example once.
        penalty: scalar added once per step and never divided: a function of the parameters alone (a prior). It is
            taken from the last micro-batch of the step. The posterior mode of N records has prior energy / N here.
        metrics: figures to log; ``[n]`` tensors are averaged with the weights, scalars with the total weight of
            their micro-batch.
        tokens: how many tokens (frames, actions) the micro-batch held, for the logged speed; 0 says nothing.
    """

    per_example: Tensor
    weight: Tensor | None = None
    penalty: Tensor | float = 0.0
    metrics: Mapping[str, Tensor | float] = _NONE
    tokens: int = 0


LossFunction: TypeAlias = Callable[[nn.Module, Any], Loss]
"""``loss(module, batch)``. The object (or the torch module whose method it is) may also have, each optional:

- ``named_parameters()`` or ``parameters()``: learned with the module's, in the groups as ``loss.NAME``;
- ``state_dict()`` and ``load_state_dict()``: saved with every checkpoint (running means, dual variables);
- ``before_step(module, batches)``: sees all micro-batches of the step (of this process) without gradients, before any
  of them is differentiated: statistics of the whole batch;
- ``after_step(means)``: the weighted means over the step of all processes, after the weights changed: dual variables.
"""


@runtime_checkable
class Source(Protocol):
    """Micro-batches, the same for the same seed and epoch."""

    def steps(self) -> int | None:
        """Micro-batches of an epoch where known (the schedule needs it unless ``steps`` is set)."""
        ...

    def epoch(self, index: int, *, start: int = 0, stride: int = 1) -> Iterator[Any]:
        """Micro-batches ``start, start + stride, ...`` of epoch ``index``.

        ``start`` resumes in the middle, ``stride`` deals micro-batches to processes; a source that cannot skip
        cheaply wraps what it yields in ``itertools.islice(batches, start, None, stride)``.
        """
        ...


class Step(NamedTuple):
    """Weighted means over one optimiser step, all processes together.

    Attributes:
        loss: ``sum w l / sum w``, without the penalty.
        penalty: as returned by the loss.
        weight: ``sum w``.
        records, tokens: how many.
        gradient_norm: of loss + penalty, before clipping.
        metrics: by name.
    """

    loss: float
    penalty: float
    weight: float
    records: int
    tokens: int
    gradient_norm: float
    metrics: Mapping[str, float]


Update: TypeAlias = Callable[[Optimizer, Callable[[], Step]], Step]
"""How a step uses the gradient: ``update(optimizer, gradient)``.

``gradient()`` fills every ``.grad`` with the normalised, clipped gradient of the step's micro-batches at the present
weights, and may be called again after moving them: two phases (extragradient) are an ``Update`` of their own.
"""


class Best(NamedTuple):
    """The best evaluation: optimiser step, the monitored figure, all figures."""

    step: int
    value: float
    metrics: Mapping[str, float]


class TrainResult(NamedTuple):
    """What :func:`preflearn.train.train` returns.

    Attributes:
        module: the trained module, in evaluation mode; with the best weights where a figure was monitored.
        steps: optimiser steps made, earlier ones of a resumed run included.
        stopped: "finished", or "patience" for early stopping.
        best: the evaluation the weights are from; None where nothing was monitored.
        losses: the training loss of every step (the penalty not included).
        evaluations: every evaluation's record.
    """

    module: nn.Module
    steps: int
    stopped: str
    best: Best | None
    losses: Sequence[float]
    evaluations: Sequence[Mapping[str, Any]]

    @property
    def criterion(self) -> float:
        """What restarts compare, lower is better: the monitored held-out figure, else the last training losses.

        Without a monitored figure it is the mean of the last tenth of the training losses.
        """
        if self.best is not None:
            return self.best.value
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(tail) / len(tail)


class Diverged(PreflearnError):
    """Training met a loss or gradient that is not finite; the message names the step. Weights are those before it."""
