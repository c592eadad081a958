"""Votes as counted cells: the sufficient statistic every rating model is fitted to.

A cell is one distinct (left, right, shown first, target), where a target is an outcome distribution (one-hot for a hard
vote). Knows integer codes only; `votes.py` makes them from tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer]

_CHUNK = 1 << 20
_DENSE_TABLE = 1 << 22
"""Up to this many possible cells a dense table is counted into; above, keys are sorted."""


@dataclass(frozen=True)
class Cells:
    """Counted votes.

    Attributes:
        n_items: number of items that codes refer to.
        left, right: item codes [C].
        first: +1 left was shown first, -1 right was, 0 unknown [C].
        target: row of `targets` [C].
        targets: distinct outcome distributions [T, K] in the order of the link's outcomes.
        count: number of judgments [C].
        weight: sum of count * weight [C]; enters the likelihood.
        weight_squared: sum of count * weight**2 [C]; enters the sandwich.
        features: covariates of each cell as a difference left minus right [C, p], or None.
        clusters: by name, a sparse [occupied clusters, C] matrix of summed weights.
        cluster_codes: by name, the code of each row of that matrix.
    """

    n_items: int
    left: Ints
    right: Ints
    first: npt.NDArray[np.int8]
    target: Ints
    targets: Floats
    count: Floats
    weight: Floats
    weight_squared: Floats
    features: Floats | None = None
    clusters: Mapping[str, sp.csr_array] = field(default_factory=dict)
    cluster_codes: Mapping[str, Ints] = field(default_factory=dict)

    @property
    def n_votes(self) -> float:
        """Number of judgments."""
        return float(self.count.sum())

    def votes_per_item(self) -> Floats:
        """Judgments in which each item took part [n_items]."""
        totals = np.bincount(self.left, self.count, self.n_items) + np.bincount(self.right, self.count, self.n_items)
        return totals.astype(np.float64)

    def take(self, keep: npt.NDArray[np.bool_], codes: Ints, n_items: int) -> Cells:
        """The cells under a mask [C], with item codes translated by `codes` [n_items]."""
        return Cells(
            n_items,
            codes[self.left[keep]],
            codes[self.right[keep]],
            self.first[keep],
            self.target[keep],
            self.targets,
            self.count[keep],
            self.weight[keep],
            self.weight_squared[keep],
            None if self.features is None else self.features[keep],
            {name: _columns(matrix, keep) for name, matrix in self.clusters.items()},
            self.cluster_codes,
        )


def _columns(matrix: sp.csr_array, keep: npt.NDArray[np.bool_]) -> sp.csr_array:
    if keep.all():
        return matrix
    return sp.csr_array(matrix.tocsc()[:, np.flatnonzero(keep)])


class Accumulator:
    """Counts votes chunk by chunk; memory grows with the number of distinct cells, not of votes.

    Args:
        n_items: number of items.
        targets: the hard outcome distributions [K, K] or any fixed list [T, K]; `outcome` codes are its rows.
        clusters: names of the clusterings that every chunk brings codes for.
        oriented: keep (left, right) apart from (right, left); needed when the position of the sides matters.
    """

    def __init__(
        self,
        n_items: int,
        targets: Floats,
        *,
        clusters: tuple[str, ...] = (),
        oriented: bool = False,
    ) -> None:
        self.n_items, self.targets, self.oriented = n_items, targets, oriented
        self._size = n_items * n_items * 3 * len(targets)
        if self._size > 2**62:
            raise ValueError(f"{n_items:,} items with {len(targets):,} targets are too many to be keyed")
        dense = n_items * n_items * len(targets)
        self._table = np.zeros(dense, np.int64) if dense <= _DENSE_TABLE else None
        self._cells = _Sums()
        self._clustered = {name: _Sums() for name in clusters}
        self._mirror = _mirror(targets)

    def add(
        self,
        left: Codes,
        right: Codes,
        outcome: Codes,
        *,
        first: Codes | None = None,
        count: Floats | None = None,
        weight: Floats | None = None,
        clusters: Mapping[str, Codes] | None = None,
    ) -> None:
        """Count a chunk of votes: codes [m]; `outcome` indexes `targets`; no weight means 1."""
        n, t = self.n_items, len(self.targets)
        for low in range(0, len(left), _CHUNK):
            part = slice(low, low + _CHUNK)
            key = np.multiply(left[part], n, dtype=np.int64)
            key += right[part]
            if first is None and count is None and weight is None and not self._clustered and self._table is not None:
                key *= t
                key += outcome[part]
                self._table += np.bincount(key, minlength=len(self._table))
                continue
            key *= 3
            key += 1 if first is None else first[part] + 1
            key *= t
            key += outcome[part]
            if not self.oriented:
                key = self._canonical(key)
            counts = np.ones(len(key)) if count is None else count[part]
            weights = counts if weight is None else counts * weight[part]
            squares = weights if weight is None else weights * weight[part]
            self._cells.add(key, counts, weights, squares)
            for name, sums in self._clustered.items():
                assert clusters is not None
                sums.add(clusters[name][part].astype(np.int64) * self._size + key, weights)

    def _canonical(self, key: Ints) -> Ints:
        """Write (j, i, t) as (i, j, mirror of t) where i < j; the side shown first is forgotten."""
        t = len(self.targets)
        pair, target = np.divmod(key, t)
        pair //= 3
        left, right = np.divmod(pair, self.n_items)
        swap = left > right
        low, high = np.where(swap, right, left), np.where(swap, left, right)
        target = np.where(swap, self._mirror[target], target)
        return ((low * self.n_items + high) * 3 + 1) * t + target

    def cells(self) -> Cells:
        """The counted cells."""
        if self._table is not None and self._table.any():
            self._drain()
        key, (count, weight, squared) = self._cells.result(3)
        pair, target = np.divmod(key, len(self.targets))
        pair, first = np.divmod(pair, 3)
        left, right = np.divmod(pair, self.n_items)
        clusters, codes = {}, {}
        for name, sums in self._clustered.items():
            cluster_key, (weights,) = sums.result(1)
            cluster, cell_key = np.divmod(cluster_key, self._size)
            codes[name], row = np.unique(cluster, return_inverse=True)
            clusters[name] = sp.csr_array(
                (weights, (row, np.searchsorted(key, cell_key))), shape=(len(codes[name]), len(key))
            )
        return Cells(
            self.n_items,
            left,
            right,
            (first - 1).astype(np.int8),
            target,
            self.targets,
            count,
            weight,
            squared,
            clusters=clusters,
            cluster_codes=codes,
        )

    def _drain(self) -> None:
        """Move the dense table into the sums."""
        assert self._table is not None
        n, t = self.n_items, len(self.targets)
        table = self._table.reshape(n, n, t)
        if not self.oriented:
            mirrored = table.transpose(1, 0, 2)[:, :, self._mirror]
            table = table + mirrored
            lower = np.tril_indices(n, -1)
            table[lower] = 0
            table[np.arange(n), np.arange(n)] //= 2
        flat = table.reshape(-1)
        used = np.flatnonzero(flat)
        pair, target = np.divmod(used, t)
        counts = flat[used].astype(np.float64)
        self._cells.add((pair * 3 + 1) * t + target, counts, counts, counts)
        self._table = np.zeros_like(self._table)


class _Sums:
    """Sums of values by key, merged whenever the backlog grows."""

    def __init__(self) -> None:
        self._keys: list[Ints] = []
        self._values: list[tuple[Floats, ...]] = []
        self._merged = 0
        self._pending = 0

    def add(self, key: Ints, *values: Floats) -> None:
        self._append(*_reduce(key, values))
        if self._pending > max(4 * _CHUNK, self._merged):
            self._merge()

    def result(self, columns: int) -> tuple[Ints, tuple[Floats, ...]]:
        self._merge()
        if not self._keys:
            return np.zeros(0, np.int64), tuple(np.zeros(0) for _ in range(columns))
        return self._keys[0], self._values[0]

    def _append(self, key: Ints, values: tuple[Floats, ...]) -> None:
        self._keys.append(key)
        self._values.append(values)
        self._pending += len(key)

    def _merge(self) -> None:
        if len(self._keys) <= 1:
            return
        key = np.concatenate(self._keys)
        values = tuple(np.concatenate(column) for column in zip(*self._values))
        self._keys, self._values = [], []
        key, values = _reduce(key, values)
        self._keys, self._values = [key], [values]
        self._merged, self._pending = len(key), 0


def _reduce(key: Ints, values: tuple[Floats, ...]) -> tuple[Ints, tuple[Floats, ...]]:
    order = np.argsort(key)
    key = key[order]
    starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1]))) if len(key) else np.zeros(0, np.int64)
    shared: dict[int, Floats] = {}
    for column in values:
        if id(column) not in shared:
            shared[id(column)] = np.add.reduceat(column[order], starts) if len(key) else column[:0]
    return key[starts], tuple(shared[id(column)] for column in values)


def _mirror(targets: Floats) -> Ints:
    """For each target the row that holds its reverse; appended rows are the caller's duty.

    Raises:
        ValueError: the list of targets is not closed under exchanging the sides.
    """
    lookup = {row.tobytes(): index for index, row in enumerate(np.ascontiguousarray(targets))}
    try:
        return np.array([lookup[np.ascontiguousarray(row[::-1]).tobytes()] for row in targets], np.int64)
    except KeyError:
        raise ValueError("the list of targets lacks the mirror image of one of its rows") from None


def count_codes(
    left: Codes,
    right: Codes,
    outcome: Codes,
    n_items: int,
    targets: Floats,
    *,
    count: Floats | None = None,
    weight: Floats | None = None,
    first: Codes | None = None,
    clusters: Mapping[str, Codes] | None = None,
) -> Cells:
    """Count votes given as integer codes in memory.

    Args:
        left, right: item codes [N] in 0..n_items-1.
        outcome: rows of `targets` [N].
        n_items: number of items.
        targets: outcome distributions [T, K], closed under reversal (`numpy.eye(K)` for hard outcomes).
        count, weight: frequency and importance [N]; None = 1.
        first: +1/-1/0 [N] which side was shown first; giving it keeps the orientation of every vote.
        clusters: by name, cluster codes [N], any integers.

    Raises:
        ValueError: a code is out of range.
    """
    for name, codes, limit in (("left", left, n_items), ("right", right, n_items), ("outcome", outcome, len(targets))):
        if len(codes) and (codes.min() < 0 or codes.max() >= limit):
            raise ValueError(f"{name} codes must lie in 0..{limit - 1}")
    accumulator = Accumulator(n_items, targets, clusters=tuple(clusters or ()), oriented=first is not None)
    accumulator.add(
        left,
        right,
        outcome,
        first=first,
        count=count,
        weight=weight,
        clusters=clusters,
    )
    return accumulator.cells()


def cells_of_votes(
    left: Codes,
    right: Codes,
    target: Codes,
    n_items: int,
    targets: Floats,
    *,
    first: Codes | None = None,
    count: Floats | None = None,
    weight: Floats | None = None,
    features: Floats | None = None,
    clusters: Mapping[str, Codes] | None = None,
) -> Cells:
    """One cell per vote, for votes that differ in covariates or soft labels and cannot be counted together."""
    size = len(left)
    counts = np.ones(size) if count is None else count
    weights = counts if weight is None else counts * weight
    squares = weights if weight is None else weights * weight
    matrices, codes = {}, {}
    for name, values in (clusters or {}).items():
        codes[name], row = np.unique(values.astype(np.int64), return_inverse=True)
        matrices[name] = sp.csr_array((weights, (row, np.arange(size))), shape=(len(codes[name]), size))
    return Cells(
        n_items,
        left.astype(np.int64),
        right.astype(np.int64),
        np.zeros(size, np.int8) if first is None else first.astype(np.int8),
        target.astype(np.int64),
        targets,
        counts,
        weights,
        squares,
        features,
        matrices,
        codes,
    )
