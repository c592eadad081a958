"""What is scored: the answers of a model, or ready-made probabilities, checked and aligned with the comparisons."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.fingerprints import row_fingerprints
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError, NotSupported
from preflearn.protocols import Floats, OutcomeProbabilities, PreferenceModel

Bools = npt.NDArray[np.bool_]

ANSWERS = (
    "outcome",
    "strength",
    "probability",
    "probability_tie",
    "confidence",
    "rationale",
    "raw",
    "duration_s",
    "exposure_a_s",
    "exposure_b_s",
)
"""Columns of a comparison that are known only once it is answered: a model under evaluation does not see them."""

_SIDE = re.compile(r"([ab])\d*")
_TIES = {"tie", "both_good", "both_bad"}


class Predictions(NamedTuple):
    """Predictions for some rows of the comparisons.

    Attributes:
        p: P(a beats b | decided), [n]; NaN where there is no answer.
        outcomes: P(a wins), P(tie), P(b wins), [n, 3]; None when ties are not known.
        answered: [n].
    """

    p: Floats
    outcomes: Floats | None
    answered: Bools


def predictions(
    source: PreferenceModel | OutcomeProbabilities | npt.ArrayLike | pl.Series, data: PreferenceData, rows: Bools
) -> Predictions:
    """Predictions for the rows of `data.comparisons` where `rows` [n] is true.

    Args:
        source: a fitted model (asked only for these rows, with the answers taken out), or probabilities of all rows.

    Raises:
        InputError: wrong length, or a value that is not a probability.
    """
    if isinstance(source, PreferenceModel):
        return _ask(source, data, rows)
    height = len(rows)
    if isinstance(source, OutcomeProbabilities):
        table = _three(source, height)[rows]
        return _checked(_decided(table), table, rows)
    values = _array(source)
    if values.shape != (height,):
        raise InputError(
            f"there are {height:,} comparisons, but predictions of shape {values.shape}.",
            cure="Give one P(a beats b) per row of data.comparisons, in their order; NaN where there is none.",
        )
    return _checked(values[rows], None, rows)


def overlap(source: object, data: PreferenceData, rows: Bools) -> Bools | None:
    """Which rows of `data.comparisons` the model was trained (or calibrated) on: [n]; None when it does not say.

    A model says so by `training_fingerprints_`: the `row_fingerprints` of its training data; and by
    `calibration_fingerprints_` for what its temperature was fitted to.
    """
    told = [getattr(source, name, None) for name in ("training_fingerprints_", "calibration_fingerprints_")]
    known = [np.fromiter(one, np.uint64, len(one)) for one in told if one is not None]
    if not known:
        return None
    found = np.zeros(len(rows), np.bool_)
    asked = data.replace(comparisons=data.comparisons.filter(pl.Series(rows)))
    found[rows] = np.isin(row_fingerprints(asked), np.concatenate(known))
    return None if told[0] is None and not found.any() else found


def _ask(model: PreferenceModel, data: PreferenceData, rows: Bools) -> Predictions:
    blind = data.comparisons.filter(pl.Series(rows)).drop(ANSWERS, strict=False)
    asked = data.replace(comparisons=blind)
    p = np.asarray(lenient(model.prob)(asked), np.float64)
    n = int(rows.sum())
    if p.shape != (n,):
        raise InputError(f"the model gave probabilities of shape {p.shape} for {n:,} comparisons.")
    try:
        answer = lenient(model.outcome_probs)(asked)
        table = _three(answer, n) if _TIES.intersection(answer.outcomes) else None
    except (NotSupported, NotImplementedError):
        table = None
    return _checked(p, table, rows)


def lenient(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, asked to answer NaN where it cannot know, if it offers that."""
    if "missing" in inspect.signature(method).parameters:
        return partial(method, missing="nan")
    return method


def _array(values: object) -> Floats:
    try:
        array = values.to_numpy() if isinstance(values, pl.Series) else np.asarray(values)
        return np.asarray(array, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"what is to be scored is neither a preference model nor an array of probabilities ({error}).",
            cure="A model has fit, prob, outcome_probs and get_params; an array holds one P(a beats b) per comparison.",
        ) from error


def _three(answer: OutcomeProbabilities, n: int) -> Floats:
    """Probabilities of all outcomes collapsed to (a, tie, b) among answers other than skip: [n, 3]."""
    probabilities = np.asarray(answer.probabilities, np.float64)
    if probabilities.shape != (n, len(answer.outcomes)):
        raise InputError(
            f"outcome probabilities have shape {probabilities.shape}; expected ({n}, {len(answer.outcomes)}): one row "
            f"per comparison, one column for each of {', '.join(answer.outcomes)}."
        )
    known = np.isfinite(probabilities).all(axis=1)
    if known.any() and np.abs(probabilities[known].sum(axis=1) - 1).max() > 1e-6:
        row = int(np.argmax(np.where(known, np.abs(probabilities.sum(axis=1) - 1), 0.0)))
        raise InputError("outcome probabilities do not sum to 1.", row=row, value=probabilities[row].tolist())
    table = np.zeros((n, 3))
    for name, column in zip(answer.outcomes, probabilities.T, strict=True):
        if name == "skip":
            continue
        table[:, _column_of(name, answer.outcomes)] += column
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(table / table.sum(axis=1, keepdims=True))


def _column_of(outcome: str, outcomes: Sequence[str]) -> int:
    if outcome in _TIES:
        return 1
    side = side_of(outcome)
    if side is None:
        raise InputError(
            f"the model knows an outcome {outcome!r} that cannot be scored (all: {', '.join(outcomes)}).",
            cure="Outcomes are a, b (with grades: a1, b2), tie, both_good, both_bad, skip.",
        )
    return 0 if side == "a" else 2


def side_of(outcome: str) -> str | None:
    """The side that an outcome is a win of (a, b; graded: a1, b2), or None."""
    found = _SIDE.fullmatch(outcome)
    return found[1] if found else None


def _decided(table: Floats) -> Floats:
    """P(a | decided) from (a, tie, b): [n]; 1/2 where a tie is certain."""
    decided = table[:, 0] + table[:, 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(decided == 0, 0.5, table[:, 0] / decided)


def _checked(p: Floats, table: Floats | None, rows: Bools) -> Predictions:
    wrong = np.flatnonzero((p < 0) | (p > 1))
    if wrong.size:
        raise InputError(
            f"{wrong.size:,} prediction(s) lie outside [0, 1].",
            row=int(np.flatnonzero(rows)[wrong[0]]),
            value=float(p[wrong[0]]),
            cure="Give probabilities P(a beats b), not logits or scores.",
        )
    answered = ~np.isnan(p)
    if table is not None:
        answered = answered & ~np.isnan(table).any(axis=1)
    return Predictions(p, table, np.asarray(answered))
