"""Micro-batches from rows in memory: shuffled, by count, by length or by whole units.

What a row is only ``take`` knows: the source deals out row numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from preflearn.errors import InputError

Rows: TypeAlias = npt.NDArray[np.int64]
Take: TypeAlias = Callable[[Rows], Any]


class InMemorySource:
    """Row numbers ``0 .. rows - 1``, in a new order every epoch, in micro-batches.

    Args:
        rows: how many rows there are.
        take: makes the micro-batch of the rows ``[m]`` it is given; :func:`tensor_rows` makes one from tensors.
        batch_size: rows per micro-batch. The last of an epoch may be smaller.
        seed: of the orders.
        shuffle: False keeps the rows' order in every epoch.
        lengths: ``[rows]``, e.g. tokens: rows of similar length share a micro-batch (less padding). Rows are shuffled,
            sorted within stretches of ``bucket`` micro-batches, and the micro-batches are shuffled again.
        bucket: micro-batches in such a stretch.
        unit: ``[rows]``, whose row it is (annotator codes): all rows of one unit come in the same micro-batch, which
            holds whole units up to ``batch_size`` rows; a unit with more rows is a micro-batch of its own.

    Raises:
        InputError: no rows, a batch size below 1, arrays of another length, ``lengths`` together with ``unit``.
    """

    def __init__(
        self,
        rows: int,
        take: Take,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        lengths: Sequence[int] | npt.NDArray[Any] | None = None,
        bucket: int = 50,
        unit: Sequence[int] | npt.NDArray[Any] | None = None,
    ) -> None:
        if rows < 1:
            raise InputError("there are no rows to train on.")
        if batch_size < 1 or bucket < 1:
            raise InputError("batch_size and bucket must be at least 1.", value=min(batch_size, bucket))
        if lengths is not None and unit is not None:
            raise InputError("rows are bucketed by length or kept together by unit, not both.")
        self.rows, self.take, self.batch_size, self.seed, self.shuffle, self.bucket = (
            rows,
            take,
            batch_size,
            seed,
            shuffle,
            bucket,
        )
        self._lengths = None if lengths is None else _column("lengths", lengths, rows)
        self._unit = None if unit is None else _Units.of(_column("unit", unit, rows))
        self._planned: tuple[int, list[Rows]] | None = None

    def steps(self) -> int:
        """Micro-batches of an epoch. With units those of the first: packing differs a little from epoch to epoch."""
        return len(self.plan(0))

    def epoch(self, index: int, *, start: int = 0, stride: int = 1) -> Iterator[Any]:
        """Micro-batches ``start, start + stride, ...`` of epoch ``index``."""
        for rows in self.plan(index)[start::stride]:
            yield self.take(rows)

    def plan(self, index: int) -> list[Rows]:
        """The row numbers of every micro-batch of epoch ``index``, in order."""
        if self._planned is None or self._planned[0] != index:
            self._planned = (index, self._plan(np.random.default_rng([self.seed, index])))
        return self._planned[1]

    def _plan(self, random: np.random.Generator) -> list[Rows]:
        if self._unit is not None:
            return self._unit.pack(self.batch_size, random if self.shuffle else None)
        order = random.permutation(self.rows) if self.shuffle else np.arange(self.rows)
        if self._lengths is not None:
            stretch = np.arange(self.rows) // (self.bucket * self.batch_size)
            order = order[np.lexsort((self._lengths[order], stretch))]
        batches = np.split(order, range(self.batch_size, self.rows, self.batch_size))
        if self._lengths is not None and self.shuffle:
            batches = [batches[i] for i in random.permutation(len(batches))]
        return batches


class _Units:
    """Rows sorted by unit: where each unit begins and ends."""

    def __init__(self, order: Rows, begins: Rows, sizes: Rows) -> None:
        self._order, self._begins, self._sizes = order, begins, sizes

    @classmethod
    def of(cls, unit: npt.NDArray[Any]) -> _Units:
        order = np.argsort(unit, kind="stable")
        _, begins, sizes = np.unique(unit[order], return_index=True, return_counts=True)
        return cls(order, begins, sizes)

    def pack(self, batch_size: int, random: np.random.Generator | None) -> list[Rows]:
        """Whole units, one after the other, into micro-batches of at most ``batch_size`` rows."""
        turn = np.arange(len(self._sizes)) if random is None else random.permutation(len(self._sizes))
        begins, sizes = self._begins[turn], self._sizes[turn]
        ends = np.cumsum(sizes)
        rows = self._order[np.repeat(begins - (ends - sizes), sizes) + np.arange(ends[-1])]
        cuts, filled = [], 0
        while filled < ends[-1]:
            # At least one unit, else all that end within the size.
            last = max(
                int(np.searchsorted(ends, filled + batch_size, side="right")) - 1,
                int(np.searchsorted(ends, filled, side="right")),
            )
            filled = int(ends[last])
            cuts.append(filled)
        return np.split(rows, cuts[:-1])


def tensor_rows(**tensors: Tensor) -> Callable[[Rows], dict[str, Tensor]]:
    """A ``take`` that gathers rows of tensors: ``tensor_rows(x=x, y=y)`` gives batches ``{"x": [m, ...], "y": [m]}``.

    Raises:
        InputError: tensors with different numbers of rows, or on different devices.
    """
    if len({len(tensor) for tensor in tensors.values()}) != 1:
        raise InputError(f"tensors differ in their rows: { ({name: len(t) for name, t in tensors.items()}) }.")

    (device, *others) = {tensor.device for tensor in tensors.values()}
    if others:
        raise InputError("tensors lie on different devices.")

    def take(rows: Rows) -> dict[str, Tensor]:
        index = torch.from_numpy(rows)
        if device.type != "cpu":
            index = index.to(device)
        return {name: tensor.index_select(0, index) for name, tensor in tensors.items()}

    return take


def _column(name: str, values: Any, rows: int) -> npt.NDArray[Any]:
    column = np.asarray(values)
    if column.shape != (rows,):
        raise InputError(f"{name} has shape {column.shape}; expected one value for each of the {rows} rows.")
    return column
