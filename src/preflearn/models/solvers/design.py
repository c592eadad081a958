"""Logits of comparisons that are linear in the features of both sides, without ever holding all differences.

Knows nothing of likelihoods: it multiplies by the design and by its transpose, and gives weighted Gram matrices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array

from preflearn.choice.arrays import segment_sum

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.floating[Any]]
Codes = npt.NDArray[np.integer[Any]]

_ROWS = 2_048
"""Differences formed at once: with a few hundred features they stay in the processor's cache."""
_STORED = 2**28
"""Bytes of differences that are kept between passes where that is less work than passing over all responses."""


class Design:
    """``logit = offset + (x[a] - x[b]) @ weights + columns @ coefficients`` for n comparisons.

    Products are computed in the precision of `x`, sums over comparisons in float64.

    Args:
        x: features of responses, [R, d], float32 or float64; never copied.
        a, b: rows of `x`, [n].
        columns: further columns with coefficients of their own (position, nuisance covariates), [n, p].
        offset: added to every logit, [n].
        scale: weights are those of ``x / scale``, [d]; by default of `x` itself.
    """

    def __init__(
        self,
        x: Matrix,
        a: Codes,
        b: Codes,
        *,
        columns: npt.ArrayLike | None = None,
        offset: npt.ArrayLike | None = None,
        scale: npt.ArrayLike | None = None,
    ) -> None:
        self.x, self.a, self.b = x, a, b
        self.columns = np.zeros((len(a), 0)) if columns is None else np.asarray(columns, np.float64)
        self.offset = None if offset is None else np.asarray(offset, np.float64)
        self.scale = None if scale is None else np.asarray(scale, np.float64)
        # Every pair once, however often and in whichever order it was judged.
        low, high = np.minimum(a, b).astype(np.int64), np.maximum(a, b).astype(np.int64)
        codes, place = np.unique(low * np.int64(len(x)) + high, return_inverse=True)
        if len(codes) == len(a):
            self._pair, self._sign, self._first, self._second = None, None, a, b
        else:
            self._pair, self._sign = place, np.where(a == low, 1.0, -1.0)
            self._first, self._second = codes // len(x), codes % len(x)
        self._differences: Matrix | None = None
        if len(codes) < len(x) and len(codes) * x.shape[1] * x.itemsize <= _STORED:
            stored = np.empty((len(codes), x.shape[1]), x.dtype)
            for rows, chunk in self._chunks(np.arange(len(codes))):
                stored[rows] = chunk
            self._differences = stored

    def __len__(self) -> int:
        return len(self.a)

    @property
    def features(self) -> int:
        """Columns of `x`."""
        return int(self.x.shape[1])

    @property
    def gram_passes(self) -> float:
        """About how many products by the design and its transpose one Gram matrix costs."""
        pairs = len(self._first)
        return self.features / 64 * pairs / min(pairs, len(self.x))

    def sample(self, rows: Codes) -> Design:
        """Some of the comparisons."""
        offset = None if self.offset is None else self.offset[rows]
        return Design(self.x, self.a[rows], self.b[rows], columns=self.columns[rows], offset=offset, scale=self.scale)

    def logits(self, weights: Floats, coefficients: Floats) -> Floats:
        """Logits [n, C] from weights [C, d] of C channels and the coefficients [p] they share."""
        if self.scale is not None:
            weights = weights / self.scale
        inner = np.ascontiguousarray(weights.T, dtype=self.x.dtype)
        if self._differences is not None:
            logit = self._spread((self._differences @ inner).astype(np.float64))
        else:
            utility = (self.x @ inner).astype(np.float64)
            logit = utility[self.a] - utility[self.b]
        if self.columns.shape[1]:
            logit += (self.columns @ coefficients)[:, None]
        if self.offset is not None:
            logit += self.offset[:, None]
        return logit

    def pull(self, residual: Floats) -> Floats:
        """``sum_i residual_ic (x[a_i] - x[b_i])``: residuals [n, C] to [C, d]."""
        if self._differences is not None:
            over, source = self._fold(residual), self._differences
        else:
            over, source = np.empty((len(self.x), residual.shape[1])), self.x
            for c, column in enumerate(residual.T):
                over[:, c] = np.bincount(self.a, column, len(source)) - np.bincount(self.b, column, len(source))
        over = over.astype(source.dtype)
        total = np.zeros((residual.shape[1], self.features))
        for start in range(0, len(source), _ROWS):
            total += over[start : start + _ROWS].T @ source[start : start + _ROWS]
        return total if self.scale is None else total / self.scale

    def pull_by(self, rows: Codes, residual: Floats, code: Codes, size: int) -> Floats:
        """`pull` for clusters of some comparisons: residuals [m] and clusters 0 .. size - 1 [m] to [size, d]."""
        places = np.concatenate([self.a[rows], self.b[rows]])
        values = np.concatenate([residual, -residual]).astype(self.x.dtype)
        member = coo_array((values, (np.tile(code, 2), places)), shape=(size, len(self.x)))
        total: Floats = (member.tocsr() @ self.x).astype(np.float64)
        return total if self.scale is None else total / self.scale

    def gram(self, weight: Floats, dtype: npt.DTypeLike | None = None) -> Floats:
        """``sum_i weight_i (x[a_i] - x[b_i]) (x[a_i] - x[b_i])'``, [d, d], from weights [n] of any sign.

        Args:
            weight: [n].
            dtype: of the products; by default that of `x`.
        """
        weight = weight if self._pair is None else segment_sum(weight, self._pair, len(self._first))
        total = np.zeros((self.features, self.features))
        some_negative = bool((weight < 0).any())
        root = np.sqrt(np.abs(weight)).astype(dtype or self.x.dtype)[:, None]
        for rows, chunk in self._chunks(np.flatnonzero(weight)):
            scaled = chunk * root[rows]
            if some_negative:
                total += (np.sign(weight[rows])[:, None].astype(scaled.dtype) * scaled).T @ scaled
            else:
                total += scaled.T @ scaled  # one array with its own transpose: half the work
        return total if self.scale is None else total / (self.scale[:, None] * self.scale)

    def _chunks(self, pairs: Codes) -> Iterator[tuple[Codes | slice, Matrix]]:
        """Differences of some of the distinct pairs (ascending), a few at a time; valid until the next."""
        every = len(pairs) == len(self._first)
        first = np.empty((_ROWS, self.features), self.x.dtype)
        second = np.empty_like(first)
        for start in range(0, len(pairs), _ROWS):
            rows = slice(start, start + _ROWS) if every else pairs[start : start + _ROWS]
            if self._differences is not None:
                yield rows, self._differences[rows]
                continue
            size = min(_ROWS, len(pairs) - start)
            left, right = first[:size], second[:size]
            # "clip" does not check the places again and so needs no buffer.
            np.take(self.x, self._first[rows], axis=0, out=left, mode="clip")
            np.take(self.x, self._second[rows], axis=0, out=right, mode="clip")
            left -= right
            yield rows, left

    def _spread(self, values: Floats) -> Floats:
        """From distinct pairs [m, C] to comparisons [n, C]."""
        if self._pair is None or self._sign is None:
            return values
        spread: Floats = values[self._pair] * self._sign[:, None]
        return spread

    def _fold(self, values: Floats) -> Floats:
        """The transpose of `_spread`."""
        if self._pair is None or self._sign is None:
            return values
        folded: Floats = segment_sum(values * self._sign[:, None], self._pair, len(self._first))
        return folded
