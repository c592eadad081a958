"""What moves a choice besides the strengths: the order of showing, and covariates such as length or style.

Both are added to the logit, so the derivative of a log-likelihood with respect to a coefficient is the derivative
with respect to the logit times that coefficient's column of the design: :func:`through_design` says just that, and
no link has to know about it.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from preflearn.choice.arrays import Array, as_float
from preflearn.choice.types import Derivatives


def position_column(shown_first_a: Array) -> Array:
    """The design column of the position effect: ``+1`` a shown first, ``-1`` b shown first, ``0`` unknown.

    Args:
        shown_first_a: ``[...]`` of +1, -1, and 0 or NaN where the order was not recorded.

    Raises:
        TypeError: for booleans, in which "b first" and "unknown" could not be told apart.
        ValueError: for other values.
    """
    raw = array_namespace(shown_first_a) if hasattr(shown_first_a, "dtype") else None
    if raw is not None and shown_first_a.dtype == raw.bool:
        raise TypeError("shown_first_a is boolean; pass +1 (a first), -1 (b first), 0 or NaN (not recorded)")
    xp, column = as_float(shown_first_a)
    column = xp.where(xp.isnan(column), xp.zeros_like(column), column)
    if not bool(xp.all((column == 0) | (column * column == 1))):
        raise ValueError("shown_first_a must be +1 (a first), -1 (b first), 0 or NaN (not recorded)")
    return column


def position(shown_first_a: Array, effect: Array | float) -> Array:
    """Shift of the logit ``[...]`` by the advantage ``effect`` (in logits) of being shown first.

    With the order unknown the shift is 0, its mean over the two orders; annotator-specific effects are ``[...]``.
    The multiplicative order effect of Davidson and Beaver (1977), Biometrics 33, 693-702, on the logit scale.
    """
    return position_column(shown_first_a) * effect


def relative_difference(a: Array, b: Array) -> Array:
    """``(a - b) / (a + b + 1)`` of two counts: between -1 and 1, changes its sign when a and b are exchanged.

    Operators only, so that expressions of a data frame work as well as arrays.
    """
    return (a - b) / (a + b + 1)


def linear(features: Array, coefficients: Array) -> Array:
    """Shift of the logit ``[...]`` by nuisance covariates.

    Args:
        features: ``[..., p]``, differences a minus b, so that exchanging a and b changes their sign.
        coefficients: ``[p]``, logits per unit of each feature.

    Raises:
        ValueError: when the last axes do not agree.
    """
    _, x = as_float(features)
    _, beta = as_float(coefficients, like=x)
    if x.ndim == 0 or beta.ndim != 1 or x.shape[-1] != beta.shape[0]:
        raise ValueError(
            f"features have shape {tuple(x.shape)} and coefficients {tuple(beta.shape)}; expected [..., p] and [p]"
        )
    return x @ beta


def through_design(derivatives: Derivatives, design: Array) -> Derivatives:
    """Derivatives with respect to (coefficients, parameters) where ``logit = offset + design @ coefficients``.

    Args:
        derivatives: with the outcomes weighed (``Link.weighted`` or ``contract``): ``score [..., 1 + P]``.
        design: ``[..., q]``: signs of items, position column, features.

    Returns:
        ``log_prob [...]``, ``score [..., q + P]``, ``curvature [..., q + P, q + P]``.
    """
    log_prob, score, curvature = derivatives
    xp, x = as_float(design, like=log_prob)
    cross = x[..., :, None] * curvature[..., 0, None, 1:]
    upper = xp.concat((x[..., :, None] * x[..., None, :] * curvature[..., 0, 0, None, None], cross), axis=-1)
    lower = xp.concat((xp.moveaxis(cross, -1, -2), curvature[..., 1:, 1:]), axis=-1)
    return Derivatives(
        log_prob,
        xp.concat((x * score[..., 0, None], score[..., 1:]), axis=-1),
        xp.concat((upper, lower), axis=-2),
    )
