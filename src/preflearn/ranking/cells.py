"""Votes as counted cells: the sufficient statistic every rating model is fitted to.

A cell is one distinct (left, right, shown first, target), where a target is an outcome distribution (one-hot for a hard
vote). Knows integer codes only; `votes.py` makes them from tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from preflearn.ranking.sums import SortedSums, TableSums, run_starts, sums

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer]

_CHUNK = 1 << 19
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
        self._size = n_items * n_items * (3 if oriented else 1) * len(targets)
        if self._size > 2**62:
            raise ValueError(f"{n_items:,} items with {len(targets):,} targets are too many to be keyed")
        self._cells = sums(self._size, dense=_DENSE_TABLE)
        self._clustered = {name: SortedSums() for name in clusters}
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
        """Count a chunk of votes: codes [m]; `outcome` indexes `targets`; no weight means 1.

        Raises:
            ValueError: a cluster code is too large to be keyed.
        """
        # A table is folded once at the end, which is cheaper than turning every vote round.
        turn = not self.oriented and (bool(self._clustered) or not isinstance(self._cells, TableSums))
        width = np.dtype(np.int32 if self._size < 2**31 else np.int64)
        buffer: Codes = np.empty(min(_CHUNK, len(left)), width)
        for low in range(0, len(left), _CHUNK):
            part = slice(low, low + _CHUNK)
            sides = left[part], right[part], outcome[part]
            shown = first[part] if self.oriented and first is not None else None
            key = self._key(*(self._canonical(*sides) if turn else sides), shown, buffer[: len(sides[0])])
            values = None if count is None else count[None, part]
            if weight is not None:
                counts = np.ones(len(key)) if count is None else count[part]
                values = np.stack([counts, counts * weight[part], counts * weight[part] ** 2])
            self._cells.add(key, values)
            for name, by_cluster in self._clustered.items():
                assert clusters is not None
                code = clusters[name][part].astype(np.int64)
                largest = 2**62 // self._size
                if len(code) and not -largest <= code.min() <= code.max() <= largest:
                    raise ValueError(f"the codes of {name} are too large: {largest:,} is the limit here")
                code *= self._size
                code += key
                by_cluster.add(code, values if values is None or len(values) == 1 else values[1:2])

    def _key(self, left: Codes, right: Codes, target: Codes, first: Codes | None, key: Codes) -> Codes:
        """Write the keys of votes [m] into `key`."""
        np.multiply(left, self.n_items, out=key, casting="same_kind")
        key += right
        if self.oriented:
            key *= 3
            key += 1 if first is None else first + 1
        key *= len(self.targets)
        key += target
        return key

    def _codes(self, key: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Left, right, target and first of a key."""
        pair, target = np.divmod(key, len(self.targets))
        pair, first = np.divmod(pair, 3) if self.oriented else (pair, np.ones_like(pair))
        left, right = np.divmod(pair, self.n_items)
        return left, right, target, first - 1

    def _canonical(self, left: Codes, right: Codes, target: Codes) -> tuple[Codes, Codes, Codes]:
        """Write (j, i, t) as (i, j, mirror of t) where i < j."""
        turned = np.where(left > right, self._mirror[target], target).astype(np.int64, copy=False)
        return np.minimum(left, right), np.maximum(left, right), turned

    def cells(self) -> Cells:
        """The counted cells; counting starts anew."""
        if not self.oriented and isinstance(self._cells, TableSums):
            for key, found in self._cells.pop():
                left, right, target, _ = self._codes(key)
                self._cells.add(self._key(*self._canonical(left, right, target), None, key), found)
        popped = list(self._cells.pop())
        key = np.concatenate([part for part, _ in popped])
        columns = max(len(found) for _, found in popped)
        found = np.concatenate([np.broadcast_to(part, (columns, part.shape[1])) for _, part in popped], axis=1)
        count, weight, squared = np.broadcast_to(found, (3, len(key)))
        left, right, target, first = self._codes(key)
        place = _places(key, self._size)
        clusters, codes = {}, {}
        for name, by_cluster in self._clustered.items():
            codes[name], clusters[name] = _cluster_matrix(by_cluster, self._size, place, len(key))
        return Cells(
            self.n_items,
            left,
            right,
            first.astype(np.int8),
            target,
            self.targets,
            count,
            weight,
            squared,
            clusters=clusters,
            cluster_codes=codes,
        )


def _places(key: Ints, size: int) -> Callable[[Ints], npt.NDArray[np.int32]]:
    """The position in `key` of each of some of its values, by a table where one is affordable."""
    if size > 4 * _DENSE_TABLE:
        return lambda some: np.searchsorted(key, some).astype(np.int32)
    table = np.zeros(size, np.int32)
    table[key] = np.arange(len(key), dtype=np.int32)
    return lambda some: table[some]


def _cluster_matrix(
    by_cluster: SortedSums, size: int, place: Callable[[Ints], npt.NDArray[np.int32]], n_cells: int
) -> tuple[Ints, sp.csr_array]:
    """Codes of the clusters [U] and their weights in every cell [U, n_cells]."""
    total = by_cluster.merged()
    columns, values = np.empty(total, np.int32), np.empty(total)
    codes, lengths, end = [], [], 0
    for key, found in by_cluster.pop():
        code, cell = np.divmod(key, size)
        starts = run_starts(code)
        codes.append(code[starts])
        lengths.append(np.diff(starts, append=len(code)))
        part = slice(end, end := end + len(key))
        columns[part], values[part] = place(cell), found[0]
    # A cluster may begin in one part and end in the next.
    code, length = np.concatenate(codes), np.concatenate(lengths)
    starts = run_starts(code)
    rows = np.add.reduceat(length, starts) if len(starts) else length
    ends = np.concatenate([[0], np.cumsum(rows)])
    return code[starts], sp.csr_array((values, columns, ends), shape=(len(starts), n_cells))


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
        # Read as unsigned, a negative code is a very large one: one pass finds both.
        if len(codes) and codes.view(f"u{codes.dtype.itemsize}").max() >= limit:
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
