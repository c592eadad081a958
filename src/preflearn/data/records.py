"""The listwise view: a prompt, its K responses, and every judgment of them as indices into the K.

Built once as flat arrays (`Records`); a `Record` is a window into them. Objectives and list models read this alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.arrays import Floats, Ints, codes, exploded, floats, lengths
from preflearn.data.records_build import Build
from preflearn.data.schema import OUTCOMES
from preflearn.data.tables import By, PreferenceData
from preflearn.errors import InputError

KeyedBy = Literal["prompt", "set", "presentation", "conversation", "responses"]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Judgments:
    """What all judgments share; arrays of one length n. Codes and rows are -1, floats NaN, where not recorded."""

    row: Ints
    """Row in the judgment's table (`records.data.comparisons` and so on)."""
    prompt: Ints
    """Row in `records.prompts` of the prompt judged; -1 also where the responses have different prompts."""
    annotator: Ints
    """Row in `records.annotators`."""
    criterion: Ints
    """Row in `records.criteria`."""
    context: Ints
    """Place in `records.contexts`."""
    presentation: Ints
    """Place in `records.presentations`."""
    protocol: Ints
    """Place in `records.protocols`."""
    count: Ints
    """So many identical judgments (1 where not recorded)."""
    weight: Floats
    """Importance (1 where not recorded)."""
    propensity: Floats
    confidence: Floats

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Pairs(Judgments):
    """Comparisons of two of the K responses."""

    a: Ints
    """Index of side a among the K."""
    b: Ints
    outcome: Ints
    """Place in `preflearn.data.schema.OUTCOMES`; -1 = not judged (or a teacher's probability instead)."""
    strength: Ints
    """Steps by which the winner is better; -1 = not recorded."""
    probability: Floats
    """A teacher's P(a beats b)."""
    probability_tie: Floats
    shown_first: Ints
    """0 = a, 1 = b, -1 = not recorded."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Values(Judgments):
    """Ratings of one of the K responses."""

    response: Ints
    """Index among the K."""
    value: Floats
    label: Ints
    """Place in `records.labels`."""
    spread: Floats
    """Standard deviation where the row is a mean of `count` people."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Ranks(Judgments):
    """Rankings of several of the K responses, of different lengths: ranking i is `offsets[i]:offsets[i + 1]`."""

    offsets: Ints
    """[n + 1]"""
    response: Ints
    """[sum of lengths] index among the K."""
    rank: Ints
    """[sum of lengths] 1 = best, equal = tied, -1 = shown but not ranked."""

    def lists(self) -> Iterator[tuple[Ints, Ints]]:
        """(indices among the K, ranks) of each ranking."""
        for start, end in zip(self.offsets[:-1], self.offsets[1:]):
            yield self.response[start:end], self.rank[start:end]


@dataclass(frozen=True, eq=False, slots=True)
class Record:
    """One prompt (set, presentation, conversation): K responses and the judgments of them."""

    key: str
    """The id of what the record is keyed by; for `responses` the sorted response ids."""
    keyed_by: KeyedBy
    """What was asked for, or what took its place where that was not recorded."""
    rows: Ints
    """[K] rows in `records.responses`, ascending."""
    prompts: Ints
    """[K] row in `records.prompts` of each response's own prompt; -1 = not recorded."""
    pairs: Pairs
    values: Values
    ranks: Ranks
    source: Records = field(repr=False)

    @property
    def prompt(self) -> int:
        """Row in `records.prompts` of the one prompt of all K responses; -1 if they differ or it is not recorded."""
        if self.keyed_by == "prompt" and not len(self.prompts):
            return self.source.prompt_row(self.key)
        return int(self.prompts[0]) if len(self.prompts) and (self.prompts == self.prompts[0]).all() else -1

    @property
    def responses(self) -> pl.DataFrame:
        """The K rows of the responses table, in the order that the indices mean."""
        return self.source.responses[self.rows]

    @property
    def response_ids(self) -> list[str]:
        """The K response ids."""
        ids: list[str] = self.source.responses["response_id"].gather(self.rows).to_list()
        return ids

    @property
    def judged(self) -> npt.NDArray[np.bool_]:
        """[K] whether any judgment, an unanswered one included, names the response."""
        named = np.zeros(len(self.rows), dtype=np.bool_)
        for indices in (self.pairs.a, self.pairs.b, self.values.response, self.ranks.response):
            named[indices] = True
        return named


class Records:
    """All records of a data set, in a fixed order; iterate it, take its length, index it.

    The flat arrays are public: judgments of record i are `pairs` at `pair_offsets[i]:pair_offsets[i + 1]`, and so on;
    indices into the K responses are counted from the record's first response, `rows[response_offsets[i]]`.
    """

    def __init__(self, data: PreferenceData, by: By) -> None:
        self.by, self.data = by, data
        self.prompts, self.responses = data.prompts, data.responses
        self.annotators, self.criteria = data.annotators, data.criteria
        build = Build(data, by)
        self.contexts, self.presentations, self.protocols, self.labels = (
            build.names[column] for column in ("context", "presentation_id", "protocol", "label")
        )
        self.keys: list[str] = build.keys["key"].to_list()
        self.keyed_by: list[KeyedBy] = build.keys["kind"].to_list()
        self.rows, self.prompt_rows, self.response_offsets = build.members()
        self.pairs, self.pair_offsets = _pairs(build), build.offsets("comparisons")
        self.values, self.value_offsets = _values(build), build.offsets("ratings")
        self.ranks, self.rank_offsets = _ranks(build), build.offsets("rankings")
        self.unplaced: int = data.responses.height - len(np.unique(self.rows))
        """Responses in no record: nobody judged them, and they have no prompt (or set, as asked for)."""
        self._nothing = (_cut(self.pairs, 0, 0), _cut(self.values, 0, 0), _cut_ranks(self.ranks, 0, 0))
        self._prompt_index: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Record:
        """The record at a place (negative counts from the end).

        Raises:
            IndexError: there is no such place.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        i = index % len(self)
        k0, k1 = self.response_offsets[i], self.response_offsets[i + 1]
        p0, p1 = self.pair_offsets[i], self.pair_offsets[i + 1]
        v0, v1 = self.value_offsets[i], self.value_offsets[i + 1]
        r0, r1 = self.rank_offsets[i], self.rank_offsets[i + 1]
        no_pairs, no_values, no_ranks = self._nothing
        return Record(
            self.keys[i],
            self.keyed_by[i],
            self.rows[k0:k1],
            self.prompt_rows[k0:k1],
            _cut(self.pairs, p0, p1) if p1 > p0 else no_pairs,
            _cut(self.values, v0, v1) if v1 > v0 else no_values,
            _cut_ranks(self.ranks, r0, r1) if r1 > r0 else no_ranks,
            self,
        )

    def prompt_row(self, prompt_id: str) -> int:
        """Row of a prompt id in `prompts`; -1 if it is not there."""
        if self._prompt_index is None:
            self._prompt_index = {key: row for row, key in enumerate(self.prompts["prompt_id"].to_list())}
        return self._prompt_index.get(prompt_id, -1)

    def __repr__(self) -> str:
        return (
            f"Records(by={self.by!r}: {len(self):,} records, {len(self.rows):,} responses, {len(self.pairs):,} pairs, "
            f"{len(self.values):,} values, {len(self.ranks):,} rankings)"
        )


def records(data: PreferenceData, by: By = "prompt") -> Records:
    """Group responses and judgments into records.

    - `prompt`: one record per prompt, with all its responses, judged or not.
    - `conversation`: one per conversation: all turns; a prompt without conversation_id stands alone.
    - `set`: one per set of candidates drawn together (set_id).
    - `presentation`: one per showing (presentation_id): exactly what was put before the annotator.

    A judgment that has no such key, or whose responses have different ones, is not lost: its record is keyed by its
    presentation, else by the set its responses share, else by its responses themselves (by `presentation` straight by
    its responses); `Record.keyed_by` says which. In such a record every response carries its own prompt. Order: prompts
    (or sets) as in their tables, then others at first sight in comparisons, ratings, rankings; within a record as in
    the tables. Responses that are named but absent from their table are added (`PreferenceData.completed`).

    Raises:
        InputError: unknown `by`; a ranking whose `ranks` are not as many as its `responses`.
    """
    if by not in get_args(By):
        raise InputError(f"records cannot be made by {by!r}.", cure=f"Choose one of: {', '.join(get_args(By))}.")
    return Records(data.completed(), by)


def _pairs(build: Build) -> Pairs:
    a, b = build.indices("comparisons")
    group = build.group("comparisons")
    frame = group.frame
    return Pairs(
        **group.shared,
        a=a,
        b=b,
        outcome=codes(frame["outcome"], OUTCOMES),
        strength=frame["strength"].cast(pl.Int64).fill_null(-1).to_numpy(),
        probability=floats(frame["probability"]),
        probability_tie=floats(frame["probability_tie"]),
        shown_first=codes(frame["shown_first"], ("a", "b")),
    )


def _values(build: Build) -> Values:
    group = build.group("ratings")
    (response,) = build.indices("ratings")
    value, spread = floats(group.frame["value"]), floats(group.frame["spread"])
    return Values(**group.shared, response=response, value=value, label=build.labels(), spread=spread)


def _ranks(build: Build) -> Ranks:
    group = build.group("rankings")
    (response,) = build.indices("rankings")
    sizes = lengths(group.frame["responses"])
    wrong = np.flatnonzero(lengths(group.frame["ranks"]) != sizes)
    if len(wrong):
        raise InputError(
            f"ranking {group.frame['ranking_id'][int(wrong[0])]!r} has not as many ranks as responses "
            f"({len(wrong):,} such rankings).",
            column="rankings.ranks",
            cure="Give one rank per response, null for shown but not ranked.",
        )
    rank = exploded(group.frame["ranks"]).cast(pl.Int64).fill_null(-1).to_numpy()
    return Ranks(**group.shared, offsets=np.concatenate([[0], np.cumsum(sizes)]), response=response, rank=rank)


J = TypeVar("J", Pairs, Values)


_SHARED_FIELDS = tuple(f.name for f in fields(Judgments))
_FIELDS = {kind: tuple(f.name for f in fields(kind)) for kind in (Pairs, Values)}


def _cut(judgments: J, start: int, end: int) -> J:
    kind = type(judgments)
    return kind(**{name: getattr(judgments, name)[start:end] for name in _FIELDS[kind]})


def _cut_ranks(ranks: Ranks, start: int, end: int) -> Ranks:
    first, last = ranks.offsets[start], ranks.offsets[end]
    return Ranks(
        **{name: getattr(ranks, name)[start:end] for name in _SHARED_FIELDS},
        offsets=ranks.offsets[start : end + 1] - first,
        response=ranks.response[first:last],
        rank=ranks.rank[first:last],
    )
