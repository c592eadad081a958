"""Weights of tasks (data sources, criteria, facets) whose gradients share parameters."""

from __future__ import annotations

import numpy as np
from array_api_compat import device, to_device

from preflearn.choice.arrays import Array, as_float


def min_norm(gram: Array) -> Array:
    """Weights ``[T]`` on the simplex that make the weighted sum of T gradients as short as possible.

    The direction ``g = sum_t w_t g_t`` is common descent: every task has ``<g_t, g> >= |g|^2``, so none gets worse to
    first order; ``g = 0`` where the tasks cannot all improve (Pareto stationary). Exact, by non-negative least squares:
    minimising ``x' G x + (sum x - 1)^2`` over ``x >= 0`` gives a multiple of the weights. They are constants for the
    gradient. Gradients of very different size should be normalised before: the shortest one leads.

    Args:
        gram: ``[T, T]``, inner products of the tasks' gradients. A few tasks; the work grows with T^3.

    Raises:
        ValueError: unless ``gram`` is square, finite and symmetric.

    Source: Desideri (2012), Multiple-gradient descent algorithm, C. R. Math. 350, 313-318; Sener and Koltun (2018),
    arXiv 1810.04650, who solve it by Frank-Wolfe; for reward models MORE (its official code, on gradients of the head).
    """
    xp, table = as_float(gram)
    detached = table.detach() if hasattr(table, "detach") else table
    g = np.asarray(to_device(detached, "cpu"), dtype=np.float64)
    if g.ndim != 2 or g.shape[0] != g.shape[1] or not np.isfinite(g).all():
        raise ValueError(f"gram must be a square table of finite inner products, got shape {g.shape}")
    if not np.allclose(g, g.T, rtol=1e-5, atol=1e-8 * np.abs(g).max(initial=0.0)):
        raise ValueError("gram must be symmetric: gram[s, t] is the inner product of the gradients of tasks s and t")
    return xp.asarray(_min_norm(g), dtype=table.dtype, device=device(table))


def _min_norm(gram: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls  # not needed by most of those who import the parts

    tasks = gram.shape[0]
    size = np.trace(gram) / tasks
    if size == 0:
        return np.full(tasks, 1 / tasks)
    values, vectors = np.linalg.eigh(0.5 * (gram + gram.T) / size)
    root = np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T
    weights, _ = nnls(np.vstack((root, np.ones(tasks))), np.append(np.zeros(tasks), 1.0))
    return np.asarray(weights / weights.sum())
