"""Turning what callers pass (floats, numpy arrays, torch tensors) into arrays of one namespace and dtype.

Knows nothing about likelihoods. The rest of this package is written on the array-API standard and gets its
namespace here, so that it never has to know which array library it serves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj, is_numpy_namespace, is_torch_namespace

Array: TypeAlias = Any
"""An array of any array-API library (numpy and torch are tested)."""

Namespace: TypeAlias = Any
"""The module of array functions that belongs to an array."""


_LARGEST_LOGIT = 1e30
"""Infinite logits are read as this: every formula then stays free of inf - inf, in float32 too."""


class Inputs(NamedTuple):
    """A logit and its shape parameters in one namespace, dtype and device.

    Attributes:
        xp: array-API namespace of the arrays.
        logit: ``[...]``, float32 or float64.
        parameters: one array per shape parameter, each broadcastable against ``logit``.
        shape: the common batch shape of logit and parameters.
    """

    xp: Namespace
    logit: Array
    parameters: tuple[Array, ...]
    shape: tuple[int, ...]


def as_float(values: Array, like: Array | None = None) -> tuple[Namespace, Array]:
    """``values`` as an array of float32 or float64, and its namespace.

    Half precision becomes float32 and integers become float64, because log-probabilities are subtracted later.
    Floats and sequences become numpy arrays, or arrays like ``like`` (namespace, dtype, device) where it is given.
    """
    if like is not None:
        xp = array_namespace(like) if not is_array_api_obj(values) else array_namespace(values, like)
        if not is_array_api_obj(values):
            return xp, xp.asarray(values, dtype=like.dtype, device=device(like))
        return xp, values if values.dtype == like.dtype else xp.astype(values, like.dtype)
    array = values if is_array_api_obj(values) else np.asarray(values)
    xp = array_namespace(array)
    if array.dtype == xp.float64 or array.dtype == xp.float32:
        return xp, array
    if xp.isdtype(array.dtype, "real floating"):
        return xp, xp.astype(array, xp.float32)
    return xp, xp.astype(array, xp.float64)


def prepare(logit: Array, parameters: Array | Sequence[float], names: tuple[str, ...]) -> Inputs:
    """Check and align a logit ``[...]`` and its shape parameters ``[..., P]``.

    Args:
        logit: log-strength differences, ``[...]``; a float is taken as an array of no dimensions.
        parameters: ``[P]`` or broadcastable ``[..., P]`` in the order of ``names``; its dtype follows the logit.
        names: the names of the ``P`` parameters.

    Raises:
        ValueError: when the last axis of ``parameters`` is not ``len(names)``.
    """
    xp, d = as_float(logit)
    d = xp.clip(d, -_LARGEST_LOGIT, _LARGEST_LOGIT)
    columns, batch = split(parameters, names, like=d)
    return Inputs(xp, d, columns, np.broadcast_shapes(tuple(d.shape), batch))


def split(
    parameters: Array | Sequence[float], names: tuple[str, ...], like: Array | None = None
) -> tuple[tuple[Array, ...], tuple[int, ...]]:
    """The ``P`` columns of shape parameters ``[..., P]`` and their batch shape ``[...]``.

    Raises:
        ValueError: when the last axis is not ``len(names)``.
    """
    if not names and not is_array_api_obj(parameters) and len(parameters) == 0:
        return (), ()
    _, p = as_float(parameters, like)
    if p.ndim == 0 or p.shape[-1] != len(names):
        expected = ", ".join(names) if names else "none: this link has no shape parameters, pass ()"
        raise ValueError(
            f"parameters have shape {tuple(p.shape)}; expected [..., {len(names)}], one value on the last axis for "
            f"each of: {expected}"
        )
    return tuple(p[..., j] for j in range(len(names))), tuple(p.shape[:-1]) if names else ()


def uniform(generator: Any, shape: tuple[int, ...], like: Array) -> Array:
    """Uniform numbers in [0, 1) like ``like`` from a ``numpy.random.Generator`` or a ``torch.Generator``.

    A numpy generator serves every namespace (same numbers everywhere); a torch generator only torch.
    """
    xp = array_namespace(like)
    if isinstance(generator, np.random.Generator):
        return xp.asarray(generator.random(shape), dtype=like.dtype, device=device(like))
    if not hasattr(xp, "rand"):
        raise TypeError(
            f"cannot draw {xp.__name__} arrays from a {type(generator).__name__}; pass numpy.random.default_rng(seed)"
        )
    return xp.rand(shape, generator=generator, dtype=like.dtype, device=device(like))


def segment_sum(values: Array, code: Array, size: int) -> Array:
    """Sums of the rows that share a code: ``[n, ...] -> [size, ...]``; a code nobody has sums to 0.

    Args:
        values: ``[n, ...]``, float.
        code: ``[n]``, integers in ``0 .. size - 1``, in any order.
        size: the number of segments.

    Raises:
        ValueError: for a code outside that range, or when ``code`` is not one integer per row.
        TypeError: for an array library that is neither numpy nor torch (the array standard has no scatter).
    """
    xp, rows = as_float(values)
    labels = xp.asarray(code, device=device(rows))
    if rows.ndim == 0 or tuple(labels.shape) != (rows.shape[0],) or not xp.isdtype(labels.dtype, "integral"):
        raise ValueError(
            f"code has shape {tuple(labels.shape)} and dtype {labels.dtype}; expected one integer for each of the rows "
            f"of values {tuple(rows.shape)}"
        )
    if rows.shape[0] and bool(xp.any((labels < 0) | (labels >= size))):
        raise ValueError(f"codes must lie in 0..{size - 1}; found {int(xp.min(labels))} to {int(xp.max(labels))}")
    if is_torch_namespace(xp):
        zeros = xp.zeros((size, *rows.shape[1:]), dtype=rows.dtype, device=device(rows))
        return zeros.index_add(0, labels, rows)
    if not is_numpy_namespace(xp):
        raise TypeError(f"segment_sum serves numpy and torch, not {xp.__name__}")
    if rows.ndim == 1:
        return np.bincount(labels, weights=rows, minlength=size).astype(rows.dtype, copy=False)
    from scipy.sparse import csc_array  # costs a tenth of a second, and only wide sums need it

    n = rows.shape[0]
    membership = csc_array((np.ones(n, dtype=rows.dtype), labels, np.arange(n + 1)), shape=(size, n))
    return np.asarray(membership @ rows.reshape(n, math.prod(rows.shape[1:]))).reshape(size, *rows.shape[1:])
