"""How much a model learns about a new person from few answers: accuracy and log loss by number of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.columns import attach
from preflearn.data.fingerprints import pair_contents
from preflearn.data.schema import JUDGMENTS
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError, NotSupported
from preflearn.evaluate import metrics
from preflearn.evaluate.comparison_lines import aligned, interval_text, reasons
from preflearn.evaluate.figures import Figure, missing
from preflearn.evaluate.intervals import Floats, Ints, Sums, mean
from preflearn.evaluate.labels import Labels, labels
from preflearn.evaluate.plain import plain
from preflearn.evaluate.predictions import predictions
from preflearn.evaluate.scoring import check_overlap
from preflearn.protocols import HasAdapt, PreferenceModel

Bools = npt.NDArray[np.bool_]

SIZES = (0, 1, 2, 5, 10, 20)
HELD_OUT = 5
"""Judgments that must remain to be predicted, per annotator."""


@dataclass(frozen=True)
class AnnotatorPoint:
    """What is predicted after `labels` judgments of each annotator.

    Attributes:
        labels: judgments of each annotator that the model adapted to.
        accuracy, log_loss: mean over annotators of their own; a tie is a half label. `n` = judgments predicted.
        accuracy_gain, log_loss_gain: less that without labels, paired by annotator; a negative log-loss gain is good.
        accuracy_lead, log_loss_lead: less those of the model it was compared with, likewise; None without one.
    """

    labels: int
    accuracy: Figure
    log_loss: Figure
    accuracy_gain: Figure
    log_loss_gain: Figure
    accuracy_lead: Figure | None = None
    log_loss_lead: Figure | None = None


@dataclass(frozen=True)
class AnnotatorCurve:
    """A curve over new annotators; the same judgments are predicted at every size.

    Attributes:
        points: by number of labels, ascending, from 0.
        annotators: people it is about.
        left_out: people with too few judgments.
        held_out: judgments predicted, per repeat.
        unanswered: judgments that the model did not answer at some size, per repeat; left out everywhere.
        repeats: draws of which judgments are labels; each annotator's figures are averaged over them.
        adapts: whether the model learns about people at all; if not the line is flat.
        interval: how intervals were made.
        notes: what a reader should know.
    """

    points: tuple[AnnotatorPoint, ...]
    annotators: int
    left_out: int
    held_out: int
    unanswered: int
    repeats: int
    adapts: bool
    interval: str
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        out = plain(self)
        assert isinstance(out, dict)
        return out

    def table(self) -> pl.DataFrame:
        """One row per number of labels: figures, ends, gains, and leads where there are any."""
        names = ("accuracy", "log_loss", "accuracy_gain", "log_loss_gain", "accuracy_lead", "log_loss_lead")
        rows = []
        for point in self.points:
            row: dict[str, float | None] = {"labels": float(point.labels)}
            for name in names:
                figure: Figure | None = getattr(point, name)
                if figure is not None:
                    row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
            rows.append(row)
        return pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.Float64)).with_columns(
            pl.col("labels").cast(pl.Int64)
        )

    def lines(self) -> list[str]:
        """Short lines for people."""
        repeated = f", mean of {self.repeats} draws of labels" if self.repeats > 1 else ""
        out = [
            f"new annotators: {self.annotators:,} people, {self.held_out:,} held-out judgments, the same at every size"
            f"{repeated}"
        ]
        if self.left_out:
            out.append(f"  left out {self.left_out:,} people with too few judgments")
        if self.unanswered:
            out.append(f"  left out {self.unanswered:,} judgments: not answered by the model")
        rows = [["labels", "accuracy", "gain", "log loss", "gain"]]
        for point in self.points:
            cells = [interval_text(point.accuracy), interval_text(point.accuracy_gain, signed=True)]
            cells += [interval_text(point.log_loss), interval_text(point.log_loss_gain, signed=True)]
            rows.append([str(point.labels), *cells])
        out += aligned(rows)
        out += reasons((f"log loss at {point.labels} labels", point.log_loss) for point in self.points)
        out += [f"intervals: {self.interval}", *(f"note: {note}" for note in self.notes)]
        return out


def new_annotator_curve(
    model: PreferenceModel,
    data: PreferenceData,
    sizes: Sequence[int] = SIZES,
    *,
    against: PreferenceModel | None = None,
    seed: int = 0,
    repeats: int = 1,
    held_out: int = HELD_OUT,
    level: float = 0.95,
    allow_overlap: bool = False,
) -> AnnotatorCurve:
    """Predict people the model never saw, after 0, 1, 2, ... of their own judgments.

    The judgments of each annotator are put in random order; the first ones become labels, all of them together in one
    call of `model.adapt` per size, and what lies beyond the largest size is predicted at every size. Judgments of one
    pair under one prompt stay together, so that no answer is repeated on the other side. A model that does not adapt
    gives a flat line.

    Args:
        model: fitted.
        data: comparisons of annotators who were not in the training data.
        sizes: numbers of labels; 0 is always there.
        against: another fitted model, asked as it is, on the same judgments: every point then says by how much this
            model is ahead of it.
        seed: of the order of judgments.
        repeats: orders drawn.
        held_out: judgments that must remain to be predicted of an annotator to take part.
        level: nominal coverage.
        allow_overlap: also take annotators and rows of the training data.

    Raises:
        InputError: sizes or repeats that make no sense, nobody with enough judgments, or annotators or rows that the
            model was trained on.
    """
    wanted = sorted({0, *sizes})
    if wanted[0] < 0 or repeats < 1 or held_out < 1:
        raise InputError("numbers of labels are >= 0, repeats and held-out judgments >= 1.", value=list(sizes))
    data = data.replace(**{name: data.table(name).head(0) for name in (*JUDGMENTS[1:], "signals")}).completed()
    label = labels(data)
    seen = check_overlap(model, data, label.usable, allow_overlap)
    known = _known(model, data, allow_overlap)
    if against is not None:
        check_overlap(against, data, label.usable, allow_overlap)
        _known(against, data, allow_overlap)
    rows, people = _rows(data, label, wanted[-1] + held_out)
    if not people.eligible.any():
        raise InputError(
            f"no annotator has {wanted[-1]:,} judgments for labels and {held_out:,} more to be predicted.",
            cure="Ask for fewer labels, or for fewer held-out judgments.",
        )
    adapts = True
    sums = _Sums(len(wanted) + (against is not None), len(people.eligible))
    for repeat in range(repeats):
        part = _deal(rows, people, wanted[-1], held_out, [seed, repeat])
        answers = []
        for size in wanted:
            asked, told = _adapted(model, data, part, size, people.names)
            adapts &= told
            answers.append(predictions(asked, part.held(data), np.ones(len(part.test), np.bool_)))
        if against is not None:
            answers.append(predictions(against, part.held(data), np.ones(len(part.test), np.bool_)))
        sums.add(part, label, [answer.p for answer in answers])
    return AnnotatorCurve(
        points=sums.points(wanted, adapts, level, repeats),
        annotators=sums.annotators,
        left_out=len(people.eligible) - sums.annotators,
        held_out=round(sums.judgments / repeats),
        unanswered=round(sums.unanswered / repeats),
        repeats=repeats,
        adapts=adapts,
        interval=f"{level:.0%} t intervals over annotators, each with equal weight, seed {seed}",
        notes=_notes(adapts, known, seen),
    )


def _known(model: PreferenceModel, data: PreferenceData, allow: bool) -> bool | None:
    """Whether annotators of the data were trained on; None when the model does not say."""
    told = getattr(model, "annotators_", None)
    if told is None:
        return None
    here = data.comparisons.get_column("annotator_id", default=pl.Series([], dtype=pl.String)).cast(pl.String)
    both = sorted(set(here.drop_nulls().unique()) & {str(name) for name in told})
    if both and not allow:
        raise InputError(
            f"{len(both):,} annotators of the data were in the training data of the model, so they are not new to it.",
            column="comparisons.annotator_id",
            value=both[0],
            cure="Split by annotator (preflearn split --by annotator), or say allow_overlap=True.",
        )
    return bool(both)


# -- which judgments are labels, which are predicted -------------------------------------------------------------------


class _People(NamedTuple):
    names: pl.Series
    """Annotators, ascending."""
    eligible: Bools
    """Who has enough judgments."""


class _Rows(NamedTuple):
    """Usable judgments of named annotators, sorted by annotator, pair and id.

    Attributes:
        row: of `data.comparisons`, [m].
        person: [m].
        pair: numbers of pairs (with their prompt) per annotator, in their order, [m].
    """

    row: Ints
    person: Ints
    pair: Ints


class _Part(NamedTuple):
    """One deal: rows of `data.comparisons`.

    Attributes:
        pool: possible labels, by annotator and place.
        place: 0, 1, ... of each of them within its annotator.
        test: rows to be predicted.
        person: of each of them.
    """

    pool: Ints
    place: Ints
    test: Ints
    person: Ints

    def held(self, data: PreferenceData) -> PreferenceData:
        return data.replace(comparisons=data.comparisons[self.test])


def _rows(data: PreferenceData, label: Labels, least: int) -> tuple[_Rows, _People]:
    frame = (
        attach(data, "comparisons", {"__prompt": "prompt_id", "__who": "comparisons.annotator_id"})
        .select(
            pl.col("__who").cast(pl.String).alias("who"),
            pl.col("__prompt").cast(pl.String).alias("prompt"),
            pl.col("comparison_id"),
        )
        .with_row_index("row")
        .collect()
        .hstack(pair_contents(data))
        .filter(pl.Series(label.usable) & pl.col("who").is_not_null())
        .sort("who", "prompt", "low", "high", "comparison_id")
    )
    coded = frame.select(
        pl.col("row").cast(pl.Int64),
        pl.col("who").rle_id().cast(pl.Int64).alias("person"),
        pl.struct("who", "prompt", "low", "high").rle_id().cast(pl.Int64).alias("pair"),
    )
    person = coded["person"].to_numpy()
    names = frame["who"].unique().sort()
    found = _Rows(coded["row"].to_numpy(), person, coded["pair"].to_numpy())
    return found, _People(names, np.bincount(person, minlength=names.len()) >= least)


def _deal(rows: _Rows, people: _People, most: int, held_out: int, seed: Sequence[int]) -> _Part:
    draw = np.random.default_rng(seed).random(int(rows.pair.max(initial=-1)) + 1)
    order = np.lexsort((rows.pair, draw[rows.pair], rows.person))
    person, pair = rows.person[order], rows.pair[order]
    place = np.arange(len(order)) - _firsts(person)
    # A pair that begins among the labels belongs to them with all its judgments.
    begins = place - (np.arange(len(order)) - _firsts(pair))
    pooled = begins < most
    remaining = np.bincount(person, weights=~pooled, minlength=len(people.eligible))
    takes_part = (people.eligible & (remaining >= held_out))[person]
    label, test = pooled & takes_part, ~pooled & takes_part
    return _Part(rows.row[order][label], place[label], rows.row[order][test], person[test])


def _firsts(code: Ints) -> Ints:
    """Position of the first row of each run, for every row of it: [n]."""
    fresh = np.ones(len(code), np.bool_)
    fresh[1:] = code[1:] != code[:-1]
    return np.asarray(np.flatnonzero(fresh)[np.cumsum(fresh) - 1], np.int64)


def _adapted(
    model: PreferenceModel, data: PreferenceData, part: _Part, size: int, names: pl.Series
) -> tuple[PreferenceModel, bool]:
    """The model that knows the labels of this size (as it is, where it does not adapt), and whether it adapts."""
    if not isinstance(model, HasAdapt):
        return model, False
    chosen = names.gather(np.unique(part.person))
    labelled = data.replace(
        comparisons=data.comparisons[part.pool[part.place < size]],
        annotators=data.annotators.filter(pl.col("annotator_id").cast(pl.String).is_in(chosen.implode())),
    )
    try:
        return model.adapt(labelled), True
    except NotSupported:
        return model, False


# -- figures -----------------------------------------------------------------------------------------------------------


class _Sums:
    """Sums per size and annotator over the repeats; what there is beyond the sizes is the model compared with."""

    def __init__(self, sizes: int, people: int) -> None:
        self.weight = np.zeros(people)
        self.credit, self.loss = np.zeros((sizes, people)), np.zeros((sizes, people))
        self.judgments = 0.0
        self.unanswered = 0

    def add(self, part: _Part, label: Labels, answers: list[Floats]) -> None:
        answered = np.logical_and.reduce([~np.isnan(p) for p in answers])
        self.unanswered += int((~answered).sum())
        kept, person = label.take(part.test[answered]), part.person[answered]
        size = len(self.weight)
        self.judgments += float(kept.judgments.sum())
        self.weight += np.bincount(person, weights=kept.weight, minlength=size)
        for k, p in enumerate(answers):
            credit, loss = metrics.credit(kept.target, p[answered]), metrics.log_loss(kept.target, p[answered])
            self.credit[k] += np.bincount(person, weights=kept.weight * credit, minlength=size)
            self.loss[k] += np.bincount(person, weights=kept.weight * loss, minlength=size)

    @property
    def annotators(self) -> int:
        return int((self.weight > 0).sum())

    def points(self, sizes: list[int], adapts: bool, level: float, repeats: int) -> tuple[AnnotatorPoint, ...]:
        some = self.weight > 0
        n = round(self.judgments / repeats)
        credit, loss = self.credit[:, some] / self.weight[some], self.loss[:, some] / self.weight[some]

        def over_people(values: Floats) -> Figure:
            if not np.isfinite(values).all():
                return missing("the model gave probability 0 to what happened: the loss is infinite", n)
            return mean(Sums(values, np.ones(len(values))), n, level=level, unit="annotator")

        def gain(values: Floats, k: int) -> Figure:
            if not sizes[k]:
                return Figure(0.0, 0.0, 0.0, n)
            if not adapts:
                return Figure(0.0, n=n, reason="the model does not learn about single people")
            with np.errstate(invalid="ignore"):
                return over_people(values[k] - values[0])

        def lead(values: Floats, k: int) -> Figure | None:
            if len(values) == len(sizes):
                return None
            with np.errstate(invalid="ignore"):
                return over_people(values[k] - values[-1])

        return tuple(
            AnnotatorPoint(
                size,
                over_people(credit[k]),
                over_people(loss[k]),
                gain(credit, k),
                gain(loss, k),
                lead(credit, k),
                lead(loss, k),
            )
            for k, size in enumerate(sizes)
        )


def _notes(adapts: bool, known: bool | None, seen: int | None) -> list[str]:
    notes = []
    if not adapts:
        notes.append("the model does not learn about single people (no adapt): the line is flat by design.")
    if known:
        notes.append("some annotators were in the training data: they are not new to the model.")
    if known is None:
        notes.append("whether these annotators are new could not be checked: the model does not name its annotators.")
    if seen:
        notes.append(f"{seen:,} rows were in the training data: these are partly training figures.")
    return notes
