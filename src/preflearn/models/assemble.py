"""From a data set and the features of its responses to a `Batch`: rows to codes, answers to targets, nothing dropped unsaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from preflearn.data import PreferenceData
from preflearn.data.arrays import codes, floats
from preflearn.data.columns import attach
from preflearn.errors import InputError
from preflearn.models.base import OutcomePart
from preflearn.models.batch import Batch, Pairs, Who
from preflearn.models.outcomes import COLUMNS
from preflearn.models.vocabulary import Vocabulary, attribute_matrix

Matrix = npt.NDArray[np.floating]


class Features(NamedTuple):
    """What an encoder and the controls said about a data set.

    Attributes:
        responses: [R, d], standardised.
        prompts: [P, d'], standardised, where a part needs them.
        controls: of responses, [R, p], not yet scaled.
    """

    responses: Matrix
    prompts: Matrix | None = None
    controls: Matrix | None = None


class Assembled(NamedTuple):
    """A batch, which rows of each table it holds, and why others are not in it."""

    batch: Batch
    rows: Mapping[str, npt.NDArray[np.int64]]
    left_out: Mapping[str, float]


def assemble(
    data: PreferenceData,
    features: Features,
    vocabulary: Vocabulary,
    outcomes: Sequence[OutcomePart],
    *,
    answers: bool,
    need_prompts: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Assembled:
    """The judgments of the outcomes' tables as one batch.

    Args:
        data: the judgments.
        features: of `data.responses` and `data.prompts`, row by row.
        vocabulary: names behind codes; names that are not in it become -1.
        outcomes: which tables, and how their answers become targets.
        answers: read the answers and keep only judgments that have one; else keep all comparisons and look at none.
        need_prompts: every judgment must have exactly one prompt.
        dtype: of features and targets.

    Raises:
        InputError: a judgment names an unknown response, or has no prompt where one is needed.
    """
    kinds: dict[str, Pairs] = {}
    kept: dict[str, npt.NDArray[np.int64]] = {}
    left: dict[str, float] = {}
    for outcome in outcomes:
        if outcome.table == "comparisons" and (answers or data.height("comparisons")):
            found, rows, reasons = _pairs(data, features, vocabulary, outcome, answers, need_prompts, dtype)
            kinds["pairs"], kept["comparisons"] = found, rows
            left |= reasons
    attributes = None
    if vocabulary.attributes:
        attributes = torch.as_tensor(attribute_matrix(data, vocabulary, vocabulary.annotators), dtype=dtype)
    batch = Batch(
        x=torch.as_tensor(features.responses, dtype=dtype),
        prompts=None if features.prompts is None else torch.as_tensor(features.prompts, dtype=dtype),
        attributes=attributes,
        **kinds,
    )
    return Assembled(batch, kept, left)


def _pairs(
    data: PreferenceData,
    features: Features,
    vocabulary: Vocabulary,
    outcome: OutcomePart,
    answers: bool,
    need_prompts: bool,
    dtype: torch.dtype,
) -> tuple[Pairs, npt.NDArray[np.int64], dict[str, float]]:
    names = ["response_a", "response_b", "shown_first", "count", "weight", *(COLUMNS if answers else ())]
    frame = _frame(data, "comparisons", vocabulary, names)
    if answers:
        target, left = outcome.answers(frame)
        keep = np.flatnonzero(target.sum(1) > 0)
        target, frame = target[keep], frame[keep.tolist()] if len(keep) < frame.height else frame
    else:
        size = len(getattr(outcome, "link").outcomes)  # noqa: B009 - every comparison outcome has a link
        target, left, keep = np.zeros((frame.height, size)), {}, np.arange(frame.height)
    a, b = (_items(data, frame[f"response_{side}"], f"comparisons.response_{side}") for side in ("a", "b"))
    first = frame["shown_first"].cast(pl.String)
    position = (first == "a").fill_null(False).to_numpy().astype(float)
    position -= (first == "b").fill_null(False).to_numpy()
    strength = floats(frame["strength"]) if answers else np.ones(frame.height)
    controls = np.zeros((frame.height, 0))
    if features.controls is not None:
        controls = features.controls[a] - features.controls[b]
        if vocabulary.control_scale is not None:
            controls = controls / vocabulary.control_scale
    return (
        Pairs(
            who=_who(data, frame, vocabulary, need_prompts, "comparisons"),
            a=_long(a),
            b=_long(b),
            target=torch.as_tensor(target, dtype=dtype),
            strength=torch.as_tensor(np.nan_to_num(strength, nan=1.0), dtype=dtype),
            weight=torch.as_tensor(weights(frame), dtype=dtype),
            position=torch.as_tensor(position, dtype=dtype),
            controls=torch.as_tensor(controls, dtype=dtype),
        ),
        keep,
        dict(left),
    )


def _frame(data: PreferenceData, table: str, vocabulary: Vocabulary, names: Sequence[str]) -> pl.DataFrame:
    """The named columns of a table (null where not recorded) with annotator, prompt and code columns beside them."""
    wanted = {"__annotator": f"{table}.annotator_id", "__prompt": "prompt_id"}
    wanted |= {f"__{alias}": name for alias, name in vocabulary.names.items()}
    attached = attach(data, table, wanted).select(list(wanted)).collect()
    return pl.concat([data.select(table, list(names)).collect(), attached], how="horizontal")


def _who(data: PreferenceData, frame: pl.DataFrame, vocabulary: Vocabulary, need_prompts: bool, table: str) -> Who:
    prompt = np.full(frame.height, -1)
    if need_prompts:
        prompt = codes(frame["__prompt"], data.prompts["prompt_id"].to_list())
        if (prompt < 0).any():
            raise InputError(
                f"{int((prompt < 0).sum()):,} judgments have no prompt, or responses of different prompts.",
                row=int(np.argmax(prompt < 0)),
                column=f"{table}.prompt_id",
                cure="This model looks at the prompt: every judgment needs one.",
            )
    columns = {alias: _long(codes(frame[f"__{alias}"], known)) for alias, known in vocabulary.columns.items()}
    return Who(_long(codes(frame["__annotator"], vocabulary.annotators)), _long(prompt), columns)


def weights(frame: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Count times importance of judgments, [n].

    Raises:
        InputError: a negative or undefined one.
    """
    weight = frame["weight"].cast(pl.Float64).fill_null(1.0).to_numpy()
    wrong = ~np.isfinite(weight) | (weight < 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError("a weight is a finite number >= 0.", row=row, column="weight", value=float(weight[row]))
    counts: npt.NDArray[np.float64] = frame["count"].cast(pl.Float64).fill_null(1.0).to_numpy()
    return counts * weight


def _items(data: PreferenceData, ids: pl.Series, column: str) -> npt.NDArray[np.int64]:
    found = codes(ids, data.responses["response_id"].to_list())
    if (found < 0).any():
        row = int(np.argmax(found < 0))
        raise InputError(
            "a judgment names a response that the data does not have.",
            row=row,
            column=column,
            value=ids[row],
            cure="Add its row to responses (with a text or an embedding).",
        )
    return found


def _long(values: npt.NDArray[np.integer]) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.int64)
