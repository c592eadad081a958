"""From a data set and the features of its responses to a `Batch`: rows to codes, answers to targets.

Nothing is dropped unsaid: what cannot be learned from is counted under a reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from preflearn.data import PreferenceData
from preflearn.data.arrays import codes, exploded, floats, lengths
from preflearn.data.columns import attach, qualified
from preflearn.errors import InputError
from preflearn.models.base import OutcomePart
from preflearn.models.batch import ATTRIBUTES, Batch, Lists, Pairs, Ratings, Who
from preflearn.models.outcomes import COLUMNS
from preflearn.models.vocabulary import Vocabulary, attribute_matrix

Matrix = npt.NDArray[np.floating]
Rows = npt.NDArray[np.int64]
Reasons = Mapping[str, float]


class Contexts(NamedTuple):
    """Contexts by their text, and their features [G, d'']."""

    names: Sequence[str]
    values: Matrix


class Features(NamedTuple):
    """What an encoder and the controls said about a data set.

    Attributes:
        responses: [R, d], standardised.
        prompts: [P, d'], standardised, where a part needs them.
        controls: of responses, [R, p], not yet scaled.
        contexts: of judgments, where a part needs them.
    """

    responses: Matrix
    prompts: Matrix | None = None
    controls: Matrix | None = None
    contexts: Contexts | None = None


class Assembled(NamedTuple):
    """A batch, which rows of each table it holds, and why others are not in it."""

    batch: Batch
    rows: Mapping[str, Rows]
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
    kinds: dict[str, Any] = {}
    kept: dict[str, Rows] = {}
    left: dict[str, float] = {}
    source = _Source(data, features, vocabulary, answers, need_prompts, dtype)
    make = {"comparisons": ("pairs", _pairs), "ratings": ("ratings", _ratings), "rankings": ("lists", _lists)}
    for outcome in outcomes:
        kind, build = make[outcome.table]
        kinds[kind], kept[outcome.table], reasons = build(source, outcome)
        left |= {reason: left.get(reason, 0.0) + n for reason, n in reasons.items()}
    attributes = None
    if vocabulary.attributes:
        attributes = torch.as_tensor(attribute_matrix(data, vocabulary, vocabulary.annotators), dtype=dtype)
    batch = Batch(
        x=_shared(features.responses, dtype),
        prompts=None if features.prompts is None else torch.as_tensor(features.prompts, dtype=dtype),
        contexts=None if features.contexts is None else torch.as_tensor(features.contexts.values, dtype=dtype),
        attributes=attributes,
        **kinds,
    )
    return Assembled(batch, kept, left)


def _shared(x: Matrix, dtype: torch.dtype) -> Tensor:
    """A tensor in the memory of an array where the precision allows it; features are read and never written."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.as_tensor(x, dtype=dtype)


class _Source(NamedTuple):
    """What every kind of judgments is built from."""

    data: PreferenceData
    features: Features
    vocabulary: Vocabulary
    answers: bool
    need_prompts: bool
    dtype: torch.dtype

    def floats(self, values: npt.ArrayLike) -> Tensor:
        return torch.tensor(np.asarray(values), dtype=self.dtype)


def _pairs(source: _Source, outcome: OutcomePart) -> tuple[Pairs, Rows, Reasons]:
    names = ["response_a", "response_b", "shown_first", "count", "weight", *(COLUMNS if source.answers else ())]
    frame = _frame(source.data, "comparisons", source.vocabulary, names)
    left: dict[str, float] = {}
    if source.answers:
        target, reasons = outcome.answers(frame)
        wrong = ~(target >= 0).all(1)
        if wrong.any():
            raise InputError(
                "a probability lies between 0 and 1, together with that of a tie.",
                row=int(np.argmax(wrong)),
                column="comparisons.probability",
            )
        keep = np.flatnonzero(target.sum(1) > 0)
        left = dict(reasons)
        if (unsaid := frame.height - len(keep) - sum(left.values())) > 0:
            left["of an unknown outcome"] = unsaid
        target, frame = target[keep], _kept(frame, keep)
    else:
        size = len(getattr(outcome, "link").outcomes)  # noqa: B009 - every comparison outcome has a link
        target, keep = np.zeros((frame.height, size)), np.arange(frame.height)
    a, b = (_items(source.data, frame[f"response_{side}"], f"comparisons.response_{side}") for side in ("a", "b"))
    first = frame["shown_first"].cast(pl.String)
    position = (first == "a").fill_null(False).to_numpy().astype(float)
    position -= (first == "b").fill_null(False).to_numpy()
    strength = floats(frame["strength"]) if source.answers else np.ones(frame.height)
    controls = np.zeros((frame.height, 0))
    if source.features.controls is not None:
        controls = source.features.controls[a] - source.features.controls[b]
        if source.vocabulary.control_scale is not None:
            controls = controls / source.vocabulary.control_scale
    pairs = Pairs(
        who=_who(source, frame, "comparisons"),
        a=_long(a),
        b=_long(b),
        target=source.floats(target),
        strength=source.floats(np.nan_to_num(strength, nan=1.0)),
        weight=source.floats(weights(frame)),
        position=source.floats(position),
        controls=source.floats(controls),
    )
    return pairs, keep, left


def _ratings(source: _Source, outcome: OutcomePart) -> tuple[Ratings, Rows, Reasons]:
    names = ["response_id", "count", "weight", *(("value", "label", "spread") if source.answers else ())]
    frame = _frame(source.data, "ratings", source.vocabulary, names)
    left: Reasons = {}
    keep = np.arange(frame.height)
    if source.answers:
        used, left = outcome.answers(frame)
        keep = np.flatnonzero(used)
        frame = _kept(frame, keep)
    nothing = np.full(frame.height, np.nan)
    ratings = Ratings(
        who=_who(source, frame, "ratings"),
        item=_long(_items(source.data, frame["response_id"], "ratings.response_id")),
        value=source.floats(floats(frame["value"]) if source.answers else nothing),
        label=_long(outcome.grades(frame) if source.answers else np.full(frame.height, -1)),
        spread=source.floats(floats(frame["spread"]) if source.answers else nothing),
        weight=source.floats(weights(frame)),
    )
    return ratings, keep, left


def _lists(source: _Source, outcome: OutcomePart) -> tuple[Lists, Rows, Reasons]:
    frame = _frame(source.data, "rankings", source.vocabulary, ["responses", "ranks", "kind", "count", "weight"])
    left: Reasons = {}
    keep = np.arange(frame.height)
    if source.answers:
        used, left = outcome.answers(frame)
        keep = np.flatnonzero(used)
        frame = _kept(frame, keep)
    size = lengths(frame["responses"])
    widest = int(size.max()) if len(size) else 0
    mask = np.arange(widest)[None, :] < size[:, None]
    items, ranks = np.zeros(mask.shape, np.int64), np.zeros(mask.shape)
    items[mask] = _items(source.data, exploded(frame["responses"]), "rankings.responses")
    if source.answers:
        ranks[mask] = np.nan_to_num(floats(exploded(frame["ranks"])))
        _fill_between(ranks, mask & (frame["kind"] == "best_worst").fill_null(False).to_numpy()[:, None])
    lists = Lists(
        who=_who(source, frame, "rankings"),
        items=_long(items),
        mask=torch.as_tensor(mask),
        ranks=source.floats(ranks),
        weight=source.floats(weights(frame)),
    )
    return lists, keep, left


def _fill_between(ranks: npt.NDArray[np.float64], best_worst: npt.NDArray[np.bool_]) -> None:
    """Where the best and the worst were asked for, everything else lies between them, in place."""
    named = np.where(ranks > 0, ranks, np.nan)
    rows = best_worst.any(1)
    low, high = np.zeros(len(ranks)), np.zeros(len(ranks))
    if rows.any():
        low[rows], high[rows] = np.nanmin(named[rows], axis=1), np.nanmax(named[rows], axis=1)
    between = best_worst & (ranks == 0) & (low < high)[:, None]
    ranks[between] = np.broadcast_to(((low + high) / 2)[:, None], ranks.shape)[between]


def _kept(frame: pl.DataFrame, keep: Rows) -> pl.DataFrame:
    return frame[keep.tolist()] if len(keep) < frame.height else frame


def _frame(data: PreferenceData, table: str, vocabulary: Vocabulary, names: Sequence[str]) -> pl.DataFrame:
    """The named columns of a table (null where not recorded) with annotator, prompt and code columns beside them."""
    wanted = {"__annotator": f"{table}.annotator_id", "__prompt": "prompt_id", "__context": f"{table}.context"}
    absent = {f"__{alias}" for alias, name in vocabulary.names.items() if not recorded(data, table, name)}
    wanted |= {f"__{alias}": qualified(table, name) for alias, name in vocabulary.names.items()}
    found = {alias: name for alias, name in wanted.items() if alias not in absent}
    nothing = [pl.lit(None, pl.String).alias(alias) for alias in absent]
    attached = attach(data, table, found).with_columns(nothing).select(list(wanted)).collect()
    return pl.concat([data.select(table, list(names)).collect(), attached], how="horizontal")


def recorded(data: PreferenceData, table: str, name: str) -> bool:
    """Whether a column that a model looks at is anywhere in the data: a fitted model answers without it too."""
    name = qualified(table, name)
    holder, dot, column = name.rpartition(".")
    everywhere = (table, "annotators", "prompts", "criteria", "responses")
    tables = (holder.rpartition(".")[2],) if dot else everywhere
    return holder in ("a", "b") or any(column in data.columns(each) for each in tables)


def _who(source: _Source, frame: pl.DataFrame, table: str) -> Who:
    vocabulary = source.vocabulary
    prompt = np.full(frame.height, -1)
    if source.need_prompts:
        prompt = codes(frame["__prompt"], source.data.prompts["prompt_id"].to_list())
        if (prompt < 0).any():
            raise InputError(
                f"{int((prompt < 0).sum()):,} judgments have no prompt, or responses of different prompts.",
                row=int(np.argmax(prompt < 0)),
                column=f"{table}.prompt_id",
                cure="This model looks at the prompt: every judgment needs one.",
            )
    columns = {alias: _long(codes(frame[f"__{alias}"], known)) for alias, known in vocabulary.columns.items()}
    if vocabulary.attributes:
        columns[ATTRIBUTES] = source.floats(_attributes(source, frame["__annotator"]))
    if source.features.contexts is not None:
        columns["context_row"] = _long(codes(frame["__context"], source.features.contexts.names))
    return Who(_long(codes(frame["__annotator"], vocabulary.annotators)), _long(prompt), columns)


def _attributes(source: _Source, annotator: pl.Series) -> npt.NDArray[np.float64]:
    """Attributes of the annotator of each judgment, known to the model or not, [n, p]; zeros where there are none."""
    people = [str(name) for name in annotator.drop_nulls().unique(maintain_order=True)]
    table = attribute_matrix(source.data, source.vocabulary, people)
    nobody = np.zeros((1, table.shape[1]))
    return np.concatenate([table, nobody])[codes(annotator, people)]


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
    counts = frame["count"].cast(pl.Float64).fill_null(1.0).to_numpy()
    total: npt.NDArray[np.float64] = counts * weight
    return total


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
    return torch.tensor(values, dtype=torch.int64)
