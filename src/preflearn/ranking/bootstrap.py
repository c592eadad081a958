"""Bootstrap of a rating model by reweighting counts: votes (multinomial) or whole clusters, with warm Newton refits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from preflearn.errors import NotComputable
from preflearn.ranking.cells import Floats
from preflearn.ranking.design import Design
from preflearn.ranking.newton import Fit, newton


class Bootstrap(NamedTuple):
    """Refitted parameters."""

    parameters: Floats
    """[replicates, n + q], strengths centred."""
    failed: int
    """Replicates in which some parameter was not determined; they are left out."""


def bootstrap(
    design: Design, fit: Fit, *, n: int = 200, cluster: str | None = None, seed: int = 0, tolerance: float = 1e-4
) -> Bootstrap:
    """Refit on resampled votes, or on resampled clusters.

    Args:
        design, fit: the fitted problem.
        n: replicates.
        cluster: name of a cluster matrix of the cells; None resamples single votes (counts must be whole numbers).
        seed: of the resampling.
        tolerance: squared Newton decrement at which a refit stops; 1e-4 is a hundredth of a standard error.

    Raises:
        NotComputable: more than half of the replicates could not be fitted.
    """
    generator = np.random.default_rng(seed)
    cells = design.cells
    out = np.empty((n, design.size))
    done = 0
    draws = _cluster_weights(design, cluster, n, generator) if cluster else _vote_weights(design, n, generator)
    per_vote = cells.weight / np.maximum(cells.count, 1e-300)
    for drawn in draws:
        cell_weight = drawn if cluster else drawn * per_vote
        try:
            refit = newton(design, fit.parameters, weights=design.row_weights(cell_weight), tolerance=tolerance)
        except NotComputable:
            continue
        if not refit.converged or np.abs(refit.parameters).max(initial=0.0) > 50:
            continue
        out[done] = refit.parameters
        done += 1
    if done < n / 2:
        raise NotComputable(
            f"only {done} of {n} bootstrap replicates could be fitted: too few votes per item; use a sandwich interval"
        )
    result = out[:done]
    result[:, : design.n] -= result[:, : design.n].mean(1, keepdims=True)
    return Bootstrap(result, n - done)


def _vote_weights(design: Design, n: int, generator: np.random.Generator) -> Iterator[Floats]:
    count = np.rint(design.cells.count).astype(np.int64)
    total = int(count.sum())
    share = count / total
    for _ in range(n):
        yield generator.multinomial(total, share).astype(np.float64)


def _cluster_weights(design: Design, name: str, n: int, generator: np.random.Generator) -> Iterator[Floats]:
    matrix = design.cells.clusters[name]
    occupied = np.flatnonzero(np.diff(matrix.indptr))
    matrix = matrix[occupied]
    size = len(occupied)
    for _ in range(n):
        times = generator.multinomial(size, np.full(size, 1 / size)).astype(np.float64)
        yield matrix.T @ times
