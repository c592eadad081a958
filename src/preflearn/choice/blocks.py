"""Links with closed-form derivatives, evaluated in blocks of rows that stay in the processor's cache.

A closed form makes dozens of temporaries. With hundreds of thousands of rows the time goes into moving them through
memory, not into arithmetic; so numpy works through blocks, and a caller that only wants the outcomes weighed gets
them weighed inside the block. torch keeps its graph whole.
"""

from __future__ import annotations

import functools
import operator
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from types import EllipsisType
from typing import TypeAlias

import numpy as np
from array_api_compat import device, is_numpy_namespace

from preflearn.choice.arrays import Array, Inputs, Namespace, prepare
from preflearn.choice.types import Derivatives, Link, Parameters, check_target

_ROWS = 8192

Rows: TypeAlias = tuple[EllipsisType, slice] | tuple[EllipsisType]


class ClosedForm(Link):
    """A :class:`Link` that writes its derivatives, components first, into given arrays.

    Subclasses define :meth:`_columns` and :meth:`_fill`; blocks, layout and weighing of outcomes are here.
    """

    _shared_curvature = False
    """Whether every outcome has the same curvature (exponential families): it is then computed once."""

    @abstractmethod
    def _fill(self, inputs: Inputs, log_prob: Array, score: Array, curvature: Array) -> None:
        """Write into zeros of shape ``[K, *batch]``, ``[K, 1+P, *batch]``, ``[K or 1, 1+P, 1+P, *batch]``."""

    @abstractmethod
    def _columns(self, inputs: Inputs) -> Sequence[Array]:
        """Log-probabilities of the K outcomes, each broadcastable to the batch; free of writes, for autograd."""

    def log_probs(self, logit: Array, parameters: Parameters = ()) -> Array:
        inputs = prepare(logit, parameters, self.parameters)
        xp = inputs.xp
        if not is_numpy_namespace(xp):
            return xp.stack([xp.broadcast_to(column, inputs.shape) for column in self._columns(inputs)], axis=-1)
        result = _zeros(inputs, len(self.outcomes))
        for part, rows in _blocks(inputs):
            for k, column in enumerate(self._columns(part)):
                result[(k, *rows)] = column
        return _last(xp, result, 1)

    def _zeros(self, inputs: Inputs) -> tuple[Array, Array, Array]:
        outcomes, size = len(self.outcomes), 1 + len(inputs.parameters)
        curvatures = 1 if self._shared_curvature else outcomes
        return (
            _zeros(inputs, outcomes),
            _zeros(inputs, outcomes, size),
            _zeros(inputs, curvatures, size, size),
        )

    def derivatives(self, logit: Array, parameters: Parameters = ()) -> Derivatives:
        inputs = prepare(logit, parameters, self.parameters)
        xp = inputs.xp
        log_prob, score, curvature = self._zeros(inputs)
        for part, rows in _blocks(inputs):
            self._fill(part, log_prob[rows], score[rows], curvature[rows])
        if self._shared_curvature:
            curvature = xp.broadcast_to(curvature, (len(self.outcomes), *curvature.shape[1:]))
        return Derivatives(_last(xp, log_prob, 1), _last(xp, score, 2), _last(xp, curvature, 3))

    def weighted(self, target: Array, logit: Array, parameters: Parameters = ()) -> Derivatives:
        inputs = prepare(logit, parameters, self.parameters)
        xp = inputs.xp
        weights = check_target(target, len(self.outcomes), like=inputs.logit)
        inputs = inputs._replace(shape=np.broadcast_shapes(inputs.shape, tuple(weights.shape[:-1])))
        weights = xp.moveaxis(xp.broadcast_to(weights, (*inputs.shape, weights.shape[-1])), -1, 0)
        size = 1 + len(inputs.parameters)
        log_prob, score, curvature = _zeros(inputs), _zeros(inputs, size), _zeros(inputs, size, size)
        for part, rows in _blocks(inputs):
            columns = [column * 1 for column in weights[rows]]
            self._weigh(part, columns, log_prob[rows], score[rows], curvature[rows])
        return Derivatives(log_prob, _last(xp, score, 1), _last(xp, curvature, 2))

    def _weigh(self, inputs: Inputs, weights: Sequence[Array], log_prob: Array, score: Array, curvature: Array) -> None:
        """Write the sums over the outcomes, weighed by K ``weights``, into ``[*batch]``, ``[1+P, *batch]``, ...

        Where single outcomes need not be told apart to have their sums, a link does less work here.
        """
        xp = inputs.xp
        log_probs, scores, curvatures = self._zeros(inputs)
        self._fill(inputs, log_probs, scores, curvatures)
        if not bool(xp.all(xp.isfinite(log_probs))):  # 0 * -inf = 0
            unused = xp.stack([weight == 0 for weight in weights])
            log_probs = xp.where(unused, xp.zeros_like(log_probs), log_probs)
        log_prob[...] = _dot(weights, log_probs)
        # A shared curvature meets the sum of the weights.
        bends = [functools.reduce(operator.add, weights)] if self._shared_curvature else weights
        size = scores.shape[1]
        for i in range(size):
            score[i] = _dot(weights, scores[:, i])
            for j in range(i, size):
                curvature[i, j] = _dot(bends, curvatures[:, i, j])
                if i != j:
                    curvature[j, i] = curvature[i, j]


def _blocks(inputs: Inputs) -> Iterator[tuple[Inputs, Rows]]:
    """``inputs`` as consecutive blocks of rows, and the index of each into arrays ``[components, *batch]``."""
    rows = inputs.shape[0] if len(inputs.shape) == 1 else 0
    if rows < 2 * _ROWS or not is_numpy_namespace(inputs.xp):
        yield inputs, (...,)
        return

    def cut(array: Array, where: slice) -> Array:
        return array[where] if array.ndim == 1 and array.shape[0] == rows else array

    for start in range(0, rows, _ROWS):
        where = slice(start, min(start + _ROWS, rows))
        columns = tuple(cut(column, where) for column in inputs.parameters)
        yield Inputs(inputs.xp, cut(inputs.logit, where), columns, (where.stop - start,)), (..., where)


def _zeros(inputs: Inputs, *leading: int) -> Array:
    """Zeros ``[*leading, *batch]``: components first, so that each is written contiguously."""
    d = inputs.logit
    return inputs.xp.zeros((*leading, *inputs.shape), dtype=d.dtype, device=device(d))


def _last(xp: Namespace, array: Array, count: int) -> Array:
    """A view of ``array`` with its first ``count`` axes moved to the end, in order."""
    return xp.moveaxis(array, tuple(range(count)), tuple(range(-count, 0)))


def _dot(weights: Sequence[Array], values: Array) -> Array:
    """``sum_k weights[k] * values[k]``."""
    total = weights[0] * values[0]
    for k in range(1, len(weights)):
        total = total + weights[k] * values[k]
    return total
