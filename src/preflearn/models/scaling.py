"""Features on the scale of the training responses: mean 0 and standard deviation 1, computed and applied in pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from preflearn.models.assemble import Features
from preflearn.models.vocabulary import Vocabulary

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.floating[Any]]

_ROWS = 2_048


def moments(x: Matrix, rows: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of columns over some rows, in float64 by pieces; 1 where a column does not vary.

    Args:
        x: [m, d]; never copied whole.
        rows: which of them, [m].
    """
    places = np.flatnonzero(rows)
    count, width = len(places), x.shape[1]
    every = count == len(x)
    # Squares are taken about the first row: about 0 they would cancel where columns lie far from it.
    about = x[places[0]].copy() if count else np.zeros(width, x.dtype)
    total, squares = np.zeros(width), np.zeros(width)
    shifted = np.empty((min(_ROWS, count), width), x.dtype)
    for start in range(0, count, _ROWS):
        part = x[start : start + _ROWS] if every else x[places[start : start + _ROWS]]
        np.subtract(part, about, out=shifted[: len(part)])
        ones = np.ones(len(part), x.dtype)
        total += ones @ shifted[: len(part)]
        np.square(shifted[: len(part)], out=shifted[: len(part)])
        squares += ones @ shifted[: len(part)]
    mean = total / max(count, 1)
    scale = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0.0))
    return about + mean, np.where(scale > 1e-9 * np.maximum(np.abs(mean), 1e-3), scale, 1.0)


def standardised(features: Features, vocabulary: Vocabulary) -> Features:
    """Features on the scale of the training responses."""
    x = features.responses
    if vocabulary.centre is not None and vocabulary.scale is not None:
        x = divided(x, vocabulary.centre, vocabulary.scale)
    return features._replace(responses=x, prompts=prompts_standardised(features.prompts, vocabulary))


def prompts_standardised(prompts: Matrix | None, vocabulary: Vocabulary) -> Matrix | None:
    """Features of prompts on the scale of the training prompts."""
    if prompts is None or vocabulary.prompt_centre is None or vocabulary.prompt_scale is None:
        return prompts
    return divided(prompts, vocabulary.prompt_centre, vocabulary.prompt_scale)


def divided(x: Matrix, centre: Floats, scale: Floats) -> Matrix:
    """``(x - centre) / scale`` in the precision of x, with one copy."""
    result = x - centre.astype(x.dtype)
    result /= scale.astype(x.dtype)
    return result
