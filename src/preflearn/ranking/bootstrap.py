"""Bootstrap of a rating model by reweighting counts: votes (multinomial) or whole clusters, with warm Newton refits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from preflearn.choice import Derivatives
from preflearn.errors import NotComputable
from preflearn.ranking.cells import Floats
from preflearn.ranking.design import Design
from preflearn.ranking.graph import connectivity
from preflearn.ranking.newton import Fit, newton, solver
from preflearn.ranking.scores import Clustering

MOST_UNDETERMINED = 0.05
"""With a larger share of replicates left out, all of them at the far ends, percentiles would be of something else."""
_FAR = 3.0
"""A refit that moved a parameter this far (logits) is asked whether the resample determines it."""
_CHORD_STEPS = 6
"""Steps with one factorised information matrix before a refit starts over with Newton's own."""


class Bootstrap(NamedTuple):
    """Refitted parameters."""

    parameters: Floats
    """[replicates, n + q], strengths centred."""
    failed: int
    """Replicates in which some parameter was not determined; they are left out."""


def bootstrap(
    design: Design,
    fit: Fit,
    *,
    n: int = 200,
    group: Clustering | None = None,
    seed: int = 0,
    tolerance: float = 1e-4,
) -> Bootstrap:
    """Refit on resampled votes, or on resampled clusters.

    Args:
        design, fit: the fitted problem.
        n: replicates.
        group: clusters to resample (a vote without one is a cluster of its own, and so are the votes on an item that
            only one cluster judged); None resamples single votes. Counts must be whole numbers.
        seed: of the resampling.
        tolerance: squared Newton decrement at which a refit stops; 1e-4 is a hundredth of a standard error.

    Raises:
        NotComputable: more than `MOST_UNDETERMINED` of the replicates do not determine every parameter.
    """
    generator = np.random.default_rng(seed)
    out = np.empty((n, design.size))
    done = 0
    draws = _weights(design, n, generator) if group is None else _cluster_weights(design, group, n, generator)
    at_fit = design.derivatives(fit.parameters)
    for drawn in draws:
        weights = design.row_weights(drawn)
        try:
            refitted = _refit(design, fit, at_fit, weights, tolerance)
        except NotComputable:
            continue
        if refitted is None or not _determined(design, fit, refitted, drawn, weights):
            continue
        out[done] = refitted
        done += 1
    if done < max((1 - MOST_UNDETERMINED) * n, 2):
        raise NotComputable(
            f"{n - done} of {n} resamples leave some strength undetermined "
            "(an item with few losses, wins or clusters): use a sandwich interval, or a ghost item"
        )
    result = out[:done]
    result[:, : design.n] -= result[:, : design.n].mean(1, keepdims=True)
    return Bootstrap(result, n - done)


def _determined(design: Design, fit: Fit, refitted: Floats, drawn: Floats, weights: Floats) -> bool:
    """Whether resampled votes determine every parameter; where they do not, the refit stopped somewhere on its way out.

    Looked at only where a refit went far, which is where an undetermined one goes.
    """
    n = design.n
    moved = np.abs(refitted - fit.parameters)
    if moved.max(initial=0.0) < _FAR:
        return True
    if np.abs(refitted[n:]).max(initial=0.0) > 15 or np.any((weights.sum(0) == 0) & (design.weights.sum(0) > 0)):
        return False
    if design.prior.on_strengths:
        return True
    return set(connectivity(replace(design.cells, weight=drawn)).status) == {"estimable"}


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


def _weights(design: Design, n: int, generator: np.random.Generator) -> Iterator[Floats]:
    """Resampled weight of every cell [C]."""
    value = _Value(design)
    for drawn in _vote_weights(design, n, generator):
        yield value.of(drawn, generator)


class _Value:
    """Weight of resampled votes: their number times the mean weight in the cell; where weights differ within a cell,
    a gamma variable with the mean and the variance that the sum of as many weights has.
    """

    def __init__(self, design: Design) -> None:
        cells = design.cells
        count = np.maximum(cells.count, 1e-300)
        self.mean = cells.weight / count
        variance = cells.weight_squared / count - self.mean**2
        self.varied = np.flatnonzero(variance > 1e-9 * self.mean**2)
        self.scale = variance[self.varied] / self.mean[self.varied]

    def of(self, drawn: Floats, generator: np.random.Generator) -> Floats:
        weight = drawn * self.mean
        if len(self.varied):
            weight[self.varied] = self.scale * generator.gamma(weight[self.varied] / self.scale)
        return weight


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


def _cluster_weights(design: Design, group: Clustering, n: int, generator: np.random.Generator) -> Iterator[Floats]:
    cells = design.cells
    single = group.per_item < 2
    alone = single[cells.left] | single[cells.right]
    matrix = group.matrix
    if alone.any():
        matrix = sp.csr_array(matrix @ sp.diags_array((~alone).astype(np.float64)))
    lone_votes = np.where(alone, cells.count, cells.count * group.lone / np.maximum(cells.weight_squared, 1e-300))
    value = _Value(design)
    size, votes = matrix.shape[0], np.rint(lone_votes).astype(np.int64)
    lone = int(votes.sum())
    up_to = np.cumsum(votes)
    for _ in range(n):
        from_clusters = generator.binomial(size + lone, size / (size + lone)) if lone else size
        times = generator.multinomial(from_clusters, np.full(size, 1 / size)) if size else np.zeros(0)
        weight = np.asarray(matrix.T @ times.astype(np.float64), dtype=np.float64)
        if lone:
            picks = generator.integers(0, lone, size + lone - from_clusters)
            drawn = np.bincount(np.searchsorted(up_to, picks, side="right"), minlength=len(votes))
            weight += value.of(drawn.astype(np.float64), generator)
        yield weight
