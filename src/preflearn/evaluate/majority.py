"""What the other people (or the same person another time) said about the thing a row judges, row by row.

The same thing is: the same pair of responses under the same prompt, criterion, protocol and context.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.columns import attach
from preflearn.data.tables import PreferenceData
from preflearn.evaluate import metrics
from preflearn.evaluate.intervals import Floats, Ints
from preflearn.evaluate.labels import Labels

Bools = npt.NDArray[np.bool_]


class Others(NamedTuple):
    """Of each row, seen from its own sides.

    Attributes:
        voices: how many other voices judged the same thing, [n]; 0 where the row itself is no answered judgment.
        lean: their mean place between b (-1/2), tie (0) and a (+1/2), [n]; 0 without any.
        place: the row's own place on that scale, [n]; NaN where it is not answered.
    """

    voices: Floats
    lean: Floats
    place: Floats

    def take(self, keep: Bools | npt.NDArray[np.intp]) -> Others:
        """Some of the rows."""
        return Others(self.voices[keep], self.lean[keep], self.place[keep])

    @property
    def known(self) -> Bools:
        """Answered rows about which somebody else answered too, [n]."""
        return self.voices > 0.5

    @property
    def majority(self) -> Floats:
        """P(a) of the majority of the others: 1, 0, or 1/2 where they are divided evenly, [n]."""
        return np.asarray(0.5 * (1 + np.sign(np.where(np.abs(self.lean) < 1e-9, 0.0, self.lean))))

    @property
    def against(self) -> Bools:
        """Decided answers against a decided majority of two or more others (of two alone, neither is one), [n]."""
        return np.asarray((self.voices > 1.5) & (self.place * (self.majority - 0.5) < 0))

    @property
    def along(self) -> Bools:
        """Decided answers with a decided majority of two or more others, [n]."""
        return np.asarray((self.voices > 1.5) & (self.place * (self.majority - 0.5) > 0))


class Things(NamedTuple):
    """Who judged what.

    Attributes:
        thing: what each row judges, [n]; -1 where it is no answer of a person (soft, skipped, unjudged, no weight) or
            where a response is compared with itself.
        person: who judged, [n]; -1 where nobody is named (every judgment is then a voice of its own).
        turned: the sides are exchanged against the other rows about the thing, [n].
        place: the answer seen from side a: -1/2, 0, 1/2, [n].
        judgments: identical judgments, [n].
    """

    thing: Ints
    person: Ints
    turned: Bools
    place: Floats
    judgments: Floats

    def other_people(self) -> Others:
        """What everybody else said; a person who judged a thing repeatedly has one voice: the mean of the answers."""
        return self._others(self.thing, self.person)

    def other_times(self) -> Others:
        """What the same person said another time about the same thing, every judgment a voice of its own."""
        named = (self.thing >= 0) & (self.person >= 0)
        again = np.full(len(self.thing), -1, np.int64)
        again[named] = _numbered(self.thing[named] * (self.person.max(initial=0) + 1) + self.person[named])
        return self._others(again, np.full(len(self.thing), -1, np.int64))

    def _others(self, thing: Ints, person: Ints) -> Others:
        kept = np.flatnonzero(thing >= 0)
        unit, who, count = thing[kept], person[kept], self.judgments[kept]
        place = np.where(self.turned, -self.place, self.place)[kept]
        named = who >= 0
        voice = np.arange(len(kept))  # every unnamed row holds `count` voices that say the same
        voice[named] = len(kept) + _numbered(unit[named] * (who.max(initial=0) + 1) + who[named])
        size = int(voice.max(initial=-1)) + 1
        weight = np.bincount(voice, weights=count, minlength=size)
        with np.errstate(invalid="ignore"):
            mean = (np.bincount(voice, weights=count * place, minlength=size) / weight)[voice]
        first = np.zeros(len(kept), np.bool_)
        first[np.unique(voice, return_index=True)[1]] = True
        alike = np.where(named, 1.0, count) * first
        voices = np.bincount(unit, weights=alike, minlength=1)[unit] - 1
        total = np.bincount(unit, weights=alike * mean, minlength=1)[unit] - mean
        some = voices > 0.5
        out = Others(np.zeros(len(thing)), np.zeros(len(thing)), np.where(self.thing >= 0, self.place, np.nan))
        out.voices[kept[some]] = voices[some]
        lean = total[some] / voices[some]
        out.lean[kept[some]] = np.where(self.turned[kept[some]], -lean, lean)
        return out


def things(data: PreferenceData, label: Labels) -> Things:
    """Number what the rows of `data.comparisons` judge.

    Args:
        label: of all rows of `data.comparisons`.
    """
    wanted = {"__prompt": "prompt_id", **{f"__{name}": f"comparisons.{name}" for name in _QUESTION}}
    frame = attach(data, "comparisons", {**wanted, "__person": "comparisons.annotator_id"}).select(
        pl.min_horizontal("response_a", "response_b").alias("low"),
        pl.max_horizontal("response_a", "response_b").alias("high"),
        pl.col("response_a", "response_b"),
        pl.col(list(wanted)).cast(pl.String),
        pl.col("__person").cast(pl.String),
    )
    coded = frame.with_columns(
        pl.struct("low", "high", *wanted).rank("dense").alias("thing"),
        pl.col("__person").rank("dense").fill_null(0).alias("person"),
        (pl.col("response_a") > pl.col("response_b")).alias("turned"),
        (pl.col("response_a") != pl.col("response_b")).alias("differ"),
    ).collect()
    answered = label.usable & ~label.soft & coded["differ"].to_numpy()
    thing = coded["thing"].cast(pl.Int64).to_numpy() - 1
    return Things(
        thing=np.where(answered, thing, -1),
        person=coded["person"].cast(pl.Int64).to_numpy() - 1,
        turned=coded["turned"].to_numpy(),
        place=0.5 * (label.target[:, metrics.A] - label.target[:, metrics.B]),
        judgments=label.judgments,
    )


_QUESTION = ("criterion_id", "protocol", "context")


def _numbered(values: Ints) -> Ints:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
