"""Nuisance covariates of responses: numbers that may sway a judgment without being what is judged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from preflearn.backbones import Columns, Encoder, Features
from preflearn.data import PreferenceData
from preflearn.data.arrays import codes
from preflearn.errors import InputError

Floats = npt.NDArray[np.float64]


def controls_of(data: PreferenceData, names: Sequence[str], needed: npt.NDArray[np.bool_]) -> Floats:
    """Covariates of the needed responses, [R, p]: recorded columns of these names, else counted features of the text.

    Raises:
        InputError: neither a column nor a feature has the name, or a needed response lacks the number or the text.
    """
    found = [_covariate(data, name).encode(data, needed=needed).responses for name in names]
    return np.concatenate(found, axis=1).astype(np.float64)


def _covariate(data: PreferenceData, name: str) -> Encoder:
    if name in data.columns("responses"):
        return Columns((name,))
    try:
        return Features((name,))
    except InputError as error:
        raise InputError(
            f"responses have no column {name!r} to control for, and no feature of texts has that name.",
            column=f"responses.{name}",
            cure=error.cure,
        ) from None


def control_scale(data: PreferenceData, controls: Floats) -> Floats:
    """Root mean square of the differences of each covariate over all comparisons, [p]; 1 where it never differs."""
    ids = data.responses["response_id"].to_list()
    a, b = (codes(data.comparisons[f"response_{side}"], ids) for side in ("a", "b"))
    known = (a >= 0) & (b >= 0)
    scale = np.sqrt(np.mean((controls[a[known]] - controls[b[known]]) ** 2, axis=0))
    return np.where(scale > 0, scale, 1.0)
