"""Sums of values by integer key, added to chunk by chunk: a dense table for few keys, sorted ranges for many.

Knows nothing about votes. Memory grows with the number of distinct keys, not with the number of values added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer]

_BACKLOG = 1 << 20
"""A range with this many entries waiting is merged, or with as many as it holds, whichever is more."""
_RANGE = 1 << 22
"""Distinct keys of a range; one with twice as many is split, so that merging needs little memory beside the sums."""


class Sums(Protocol):
    """Column sums by key."""

    def add(self, key: Codes, values: Floats | None = None) -> None:
        """Add `values` [columns, m] to keys [m]; [1, m] goes to every column, and no values are ones."""
        ...

    def pop(self) -> Iterator[tuple[Ints, Floats]]:
        """Distinct keys [k], ascending, and their sums [columns, k] ([1, k] if all columns are alike); forgets them."""
        ...


def sums(limit: int, dense: int) -> Sums:
    """Sums for keys in 0..limit-1: a table if that has at most `dense` places."""
    return TableSums(limit) if limit <= dense else SortedSums()


class TableSums:
    """A place for every possible key; a key whose first column sums to 0 counts as absent."""

    def __init__(self, limit: int) -> None:
        self._ones = np.zeros(limit, np.int64)
        self._sums: Floats | None = None

    def add(self, key: Codes, values: Floats | None = None) -> None:
        limit = len(self._ones)
        if values is None:
            self._ones += np.bincount(key, minlength=limit)
            return
        if self._sums is None:
            self._sums = np.zeros((1, limit))
        if len(values) > len(self._sums):
            self._sums = np.repeat(self._sums, len(values), axis=0)
        rows = [np.bincount(key, column, limit) for column in values]
        for row, total in enumerate(self._sums):
            total += rows[row if len(rows) > 1 else 0]

    def pop(self) -> Iterator[tuple[Ints, Floats]]:
        found = self._ones[None].astype(np.float64) if self._sums is None else self._sums + self._ones
        self._ones, self._sums = np.zeros_like(self._ones), None
        key = np.flatnonzero(found[0])
        yield key, found[:, key]


class SortedSums:
    """Ascending ranges of keys, each merged and split by itself."""

    def __init__(self) -> None:
        self._bounds = np.zeros(0, np.int64)
        self._ranges = [_Range()]

    def add(self, key: Codes, values: Floats | None = None) -> None:
        key, found = _reduce(key, values)
        edges = [0, *np.searchsorted(key, self._bounds).tolist(), len(key)]
        for index in range(len(self._ranges) - 1, -1, -1):
            part = slice(edges[index], edges[index + 1])
            if part.start < part.stop and self._ranges[index].add(key[part], found[:, part]):
                self._split(index)

    def _split(self, index: int) -> None:
        (key, found), *_ = self._ranges[index].runs
        if len(key) < 2 * _RANGE:
            return
        middle = len(key) // 2
        self._bounds = np.insert(self._bounds, index, key[middle])
        halves = [_Range(key[half].copy(), found[:, half].copy()) for half in (slice(middle), slice(middle, None))]
        self._ranges[index : index + 1] = halves

    def merged(self) -> int:
        """Merge all that waits; how many distinct keys there are."""
        return sum(len(part.merged()[0]) for part in self._ranges)

    def pop(self) -> Iterator[tuple[Ints, Floats]]:
        ranges, self._ranges, self._bounds = self._ranges, [_Range()], np.zeros(0, np.int64)
        while ranges:
            yield ranges.pop(0).merged()


class _Range:
    """Merged keys and sums, followed by runs that wait to be merged; every run is sorted and without repeats."""

    def __init__(self, key: Ints | None = None, found: Floats | None = None) -> None:
        empty = np.zeros(0, np.int64), np.zeros((1, 0))
        self.runs: list[tuple[Ints, Floats]] = [empty if key is None or found is None else (key, found)]
        self._pending = 0

    def add(self, key: Ints, found: Floats) -> bool:
        """Take in a run; whether that led to merging."""
        self.runs.append((key, found))
        self._pending += len(key)
        if self._pending <= max(_BACKLOG, len(self.runs[0][0])):
            return False
        self.merged()
        return True

    def merged(self) -> tuple[Ints, Floats]:
        if len(self.runs) > 1:
            columns = max(len(found) for _, found in self.runs)
            key = np.concatenate([key for key, _ in self.runs])
            found = np.concatenate([np.broadcast_to(f, (columns, f.shape[1])) for _, f in self.runs], axis=1)
            self.runs, self._pending = [], 0
            self.runs = [_reduce(key, found)]
        return self.runs[0]


def _reduce(key: Codes, values: Floats | None) -> tuple[Ints, Floats]:
    """Distinct keys, ascending, and the sums of their values (without values, how often each occurs)."""
    if values is None:
        key = np.sort(key)
        starts = run_starts(key)
        return key[starts].astype(np.int64), np.diff(starts, append=len(key))[None].astype(np.float64)
    order = np.argsort(key, kind="stable")  # fast on the concatenated sorted runs
    key = key[order]
    starts = run_starts(key)
    if not len(key):
        return key.astype(np.int64), values
    return key[starts].astype(np.int64), np.stack([np.add.reduceat(column[order], starts) for column in values])


def run_starts(key: Codes) -> Ints:
    """Where each run of equal keys begins."""
    return np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.zeros(0, np.int64)
