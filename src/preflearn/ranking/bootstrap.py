"""Bootstrap of a rating model by reweighting counts: votes (multinomial) or whole clusters, with warm Newton refits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from preflearn.choice import Derivatives
from preflearn.errors import NotComputable
from preflearn.ranking.cells import Floats
from preflearn.ranking.design import Design
from preflearn.ranking.newton import Fit, newton, solver

_CHORD_STEPS = 6
"""Steps with one factorised information matrix before a refit starts over with Newton's own."""


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
    at_fit = design.derivatives(fit.parameters)
    for drawn in draws:
        cell_weight = drawn if cluster else drawn * per_vote
        try:
            refitted = _refit(design, fit, at_fit, design.row_weights(cell_weight), tolerance)
        except NotComputable:
            continue
        if refitted is None or np.abs(refitted).max(initial=0.0) > 50:
            continue
        out[done] = refitted
        done += 1
    if done < n / 2:
        raise NotComputable(
            f"only {done} of {n} bootstrap replicates could be fitted: too few votes per item; use a sandwich interval"
        )
    result = out[:done]
    result[:, : design.n] -= result[:, : design.n].mean(1, keepdims=True)
    return Bootstrap(result, n - done)


def _refit(design: Design, fit: Fit, at_fit: Derivatives, weights: Floats, tolerance: float) -> Floats | None:
    """Parameters for other weights [R, K] of the same design; None if they do not converge.

    A resample moves the optimum by a few standard errors only: one Newton step from the fit, whose link values are
    known, then steps with the same matrix, for which gradients are enough. They stop as `newton` does; if they do not
    contract quickly (an item lost its only win), Newton's own iteration decides.
    """
    start = design.evaluate(fit.parameters, weights, at_fit)
    solve = solver(start.information, design).solve
    parameters, gradient, previous = fit.parameters, start.gradient, np.inf
    for _ in range(_CHORD_STEPS):
        step = solve(gradient)
        decrement = float(gradient @ step)
        if not 0 <= decrement < 0.25 * previous:
            break
        parameters = parameters + step
        if decrement < tolerance:
            return parameters
        gradient, previous = design.gradient(parameters, weights), decrement
    refit = newton(design, fit.parameters, weights=weights, tolerance=tolerance)
    return refit.parameters if refit.converged else None


def _vote_weights(design: Design, n: int, generator: np.random.Generator) -> Iterator[Floats]:
    """Multinomial counts of the cells [C].

    Poisson counts with nearly the same total are multinomial given their total; the votes still missing are drawn one
    by one. The sum is exactly multinomial, and costs half as much as drawing a binomial per cell.
    """
    count = np.rint(design.cells.count).astype(np.int64)
    total = int(count.sum())
    kept = max(1 - 4 / np.sqrt(max(total, 1)), 0.0)
    up_to = np.cumsum(count)
    for _ in range(n):
        drawn = generator.poisson(count * kept)
        while (missing := total - int(drawn.sum())) < 0:
            drawn = generator.poisson(count * kept)
        cells = np.searchsorted(up_to, generator.integers(0, total, missing), side="right")
        yield drawn + np.bincount(cells, minlength=len(count)).astype(np.float64)


def _cluster_weights(design: Design, name: str, n: int, generator: np.random.Generator) -> Iterator[Floats]:
    matrix = design.cells.clusters[name]
    occupied = np.flatnonzero(np.diff(matrix.indptr))
    matrix = matrix[occupied]
    size = len(occupied)
    for _ in range(n):
        times = generator.multinomial(size, np.full(size, 1 / size)).astype(np.float64)
        yield matrix.T @ times
