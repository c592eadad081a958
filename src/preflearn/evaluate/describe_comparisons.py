"""What the comparisons say: answers, agreement, position, length and connectivity, for each question apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from preflearn.data.columns import attach
from preflearn.data.schema import OUTCOMES
from preflearn.data.tables import PreferenceData
from preflearn.evaluate import agreement as agree
from preflearn.evaluate.connectivity import Connectivity, connectivity
from preflearn.evaluate.figures import Figure, missing
from preflearn.evaluate.intervals import Settings, proportion
from preflearn.evaluate.plain import Spread, judgments_per
from preflearn.evaluate.questions import SHOWN, QuestionKey, cluster_of, further, judgments, part, per_key
from preflearn.evaluate.slopes import logistic_slope
from preflearn.evaluate.voices import cluster_totals, voices
from preflearn.evaluate.votes import DECIDED_A, DECIDED_B, SOFT, TIED, Votes, votes


@dataclass(frozen=True)
class Overlap:
    """Items (a pair under its prompt and context) and by how many people they were judged."""

    items: int
    """Items judged at all."""
    shared: int
    """Items judged by two or more people."""
    share: float | None


@dataclass(frozen=True)
class Agreement:
    """Agreement between people about the same items; both good and both bad are ties here."""

    observed: Figure
    """Share of pairs of people who agree about an item."""
    unanimous: Figure
    """Share of items about which everybody agrees."""
    unanimous_decided: Figure
    """Share of items with two or more decided answers where all of these go to one side, whatever the ties."""
    alpha_nominal: Figure
    """Krippendorff's alpha, a tie as different from a win as the opposite win."""
    alpha_ordinal: Figure
    """Krippendorff's alpha, a tie halfway."""
    ceiling: Figure
    """Best accuracy to be expected against one random person (leave-one-out majority, ties half)."""
    self_agreement: Figure
    """Share of pairs of repeated answers of one person about one item that agree."""
    people_known: bool
    """False: annotators are not recorded, and every judgment was taken as another person's."""


@dataclass(frozen=True)
class Position:
    """What being shown first is worth, among decided comparisons; fair if the order was drawn at random."""

    first_won: Figure
    logit: Figure
    """The same as a logit: 0 = no effect."""


@dataclass(frozen=True)
class Length:
    """What being longer is worth, among decided comparisons of texts: an association, not a cause."""

    longer_won: Figure
    slope: Figure
    """Logit per standard deviation of the length difference."""
    standard_deviation: float | None
    """Of the length difference, in characters."""


@dataclass(frozen=True)
class Question:
    """Figures of one criterion asked under one protocol of one kind of annotators; n counts judgments, or items.

    Soft labels are counted and make edges, but enter no share, slope or agreement: nobody chose.
    """

    criterion: str | None
    protocol: str | None
    answered_by: str | None
    rows: int
    judgments: int
    outcomes: dict[str, int]
    """Judgments by answer, with `soft` (a teacher's probability) and `unjudged`."""
    against_itself: int
    """Judgments between a response and itself; they are no item and no edge."""
    ties: Figure
    """Share of ties (of any kind) among answers other than skip."""
    clustered_by: str
    """What intervals of shares and slopes treat as one: annotator, prompt (with few annotators) or judgment."""
    overlap: Overlap
    agreement: Agreement
    position: Position
    length: Length
    connectivity: Connectivity | None


@dataclass(frozen=True)
class Comparisons:
    """The comparisons of a data set.

    Attributes:
        rows, judgments: rows, and judgments with their counts.
        outcomes: judgments by answer over all questions.
        per: judgments per annotator, pair of responses, item (pair under its prompt and context), prompt, criterion and
            protocol, where recorded.
        questions: one entry per criterion, protocol and kind of annotators; figures are never pooled over them.
        further_questions: (number of questions, judgments) without figures of their own.
    """

    rows: int
    judgments: int
    outcomes: dict[str, int]
    per: dict[str, Spread]
    questions: tuple[Question, ...]
    further_questions: tuple[int, int]


def describe_comparisons(data: PreferenceData, settings: Settings) -> Comparisons | None:
    """Everything about `data.comparisons`; None if there are none."""
    if not data.height("comparisons"):
        return None
    found = votes(data)
    frame, keys = found.frame, found.questions
    answers = _answers(data)
    lengths = _lengths(data, found)
    judged = frame.filter(pl.col("kind") <= SOFT)
    per = {
        "annotator": judgments_per(judged, ["annotator"]),
        "pair": judgments_per(judged, ["low", "high"]),
        "item": judgments_per(judged, ["low", "high", "prompt", "context"]),
        "prompt": judgments_per(judged, ["prompt"]),
        "criterion": judgments_per(per_key(judged, keys, "criterion"), ["name"]),
        "protocol": judgments_per(per_key(judged, keys, "protocol"), ["name"]),
    }
    del judged
    questions = [
        _question(key, part(frame, code, keys), answers.get(key, {}), lengths, found, settings)
        for code, key in enumerate(keys[:SHOWN])
    ]
    total: dict[str, int] = {}
    for counts in answers.values():
        for answer, n in counts.items():
            total[answer] = total.get(answer, 0) + n
    return Comparisons(
        rows=frame.height,
        judgments=judgments(frame),
        outcomes=_ordered(total),
        per=per,
        questions=tuple(questions),
        further_questions=further(frame, keys),
    )


def _question(
    key: QuestionKey,
    frame: pl.DataFrame,
    answers: Mapping[str, int],
    lengths: pl.DataFrame | None,
    found: Votes,
    settings: Settings,
) -> Question:
    cluster = cluster_of(frame)
    unit = cluster or "judgment"
    answered = frame.filter(pl.col("kind") <= DECIDED_B)
    decided = answered.filter(pl.col("kind") != TIED)
    overlap, agreement = _agreement(answered, settings)
    one = pl.lit(1.0)
    return Question(
        criterion=key.criterion,
        protocol=key.protocol,
        answered_by=key.answered_by,
        rows=frame.height,
        judgments=judgments(frame),
        outcomes=_ordered(answers),
        against_itself=judgments(frame.filter(pl.col("low") == pl.col("high"))),
        ties=proportion(
            cluster_totals(answered, cluster, pl.col("kind") == TIED, one),
            judgments(answered),
            level=settings.level,
            unit=unit,
        ),
        clustered_by=unit,
        overlap=overlap,
        agreement=agreement,
        position=_position(decided, cluster, settings),
        length=_length(decided, cluster, lengths, settings),
        connectivity=_graph(frame, found),
    )


def _agreement(answered: pl.DataFrame, settings: Settings) -> tuple[Overlap, Agreement]:
    first_is_low = (pl.col("kind") == DECIDED_A) != pl.col("flipped")
    oriented = answered.filter(pl.col("low") != pl.col("high")).select(
        "low",
        "high",
        "prompt",
        "context",
        "annotator",
        "count",
        pl.when(pl.col("kind") == TIED)
        .then(agree.TIE)
        .when(first_is_low)
        .then(agree.FIRST)
        .otherwise(agree.SECOND)
        .alias("answer"),
    )
    heard = voices(oriented, ["low", "high", "prompt", "context"], 3)
    _, found = agree.coincidences(heard.unit, heard.votes, heard.people, agree.CODES, sides=True)
    overlap = Overlap(heard.items, found.units, found.units / heard.items if heard.items else None)
    return overlap, Agreement(
        observed=agree.observed(found, settings),
        unanimous=agree.unanimous(found, settings),
        unanimous_decided=agree.unanimous_decided(found, settings),
        alpha_nominal=agree.alpha_nominal(found, settings),
        alpha_ordinal=agree.alpha_interval(found, settings, mirrored=True),
        ceiling=agree.ceiling(found, settings),
        self_agreement=agree.self_agreement(heard.person, heard.repeats, settings),
        people_known=bool(answered["annotator"].is_not_null().any()),
    )


def _position(decided: pl.DataFrame, cluster: str | None, settings: Settings) -> Position:
    known = decided.filter(pl.col("first").is_not_null())
    if not known.height:
        reason = "shown_first is not recorded" if decided.height else "there is no decided comparison"
        return Position(missing(reason), missing(reason))
    won = (pl.col("kind") == DECIDED_A) == (pl.col("first") == 0)
    sums = cluster_totals(known, cluster, won, pl.lit(1.0))
    share = proportion(sums, judgments(known), level=settings.level, unit=cluster or "judgment")
    return Position(share, as_logit(share))


def as_logit(share: Figure) -> Figure:
    """A share as log-odds, its interval transformed; not computable at 0 and 1."""
    if share.value is None:
        return share
    if share.value in (0.0, 1.0):
        return missing("the share is 0 or 1, so its logit is infinite", share.n)

    def logit(p: float | None) -> float | None:
        return float(np.log(p) - np.log1p(-p)) if p is not None and 0 < p < 1 else None

    low, high = logit(share.low), logit(share.high)
    reason = share.reason if low is not None and high is not None else share.reason or "it reaches 0 or 1"
    return Figure(logit(share.value), low, high, share.n, reason)


def _length(decided: pl.DataFrame, cluster: str | None, lengths: pl.DataFrame | None, settings: Settings) -> Length:
    def none(reason: str) -> Length:
        return Length(missing(reason), missing(reason), None)

    if not decided.height:
        return none("there is no decided comparison")
    if lengths is None:
        return none("the responses have no texts")
    known = (
        decided.join(lengths.rename({"length": "length_low"}), left_on="low", right_on="code", how="inner")
        .join(lengths.rename({"length": "length_high"}), left_on="high", right_on="code", how="inner")
        .select(
            "count",
            *([cluster] if cluster else []),
            (pl.col("length_low") - pl.col("length_high")).cast(pl.Float64).alias("longer"),
            ((pl.col("kind") == DECIDED_A) != pl.col("flipped")).cast(pl.Float64).alias("won"),
        )
    )
    differing = known.filter(pl.col("longer") != 0)
    if not differing.height:
        return none("the responses have no texts" if not known.height else "all texts compared are equally long")
    unit = cluster or "judgment"
    longer = cluster_totals(differing, cluster, (pl.col("longer") > 0) == (pl.col("won") > 0.5), pl.lit(1.0))
    count = known["count"].cast(pl.Float64).to_numpy()
    x = known["longer"].to_numpy()
    deviation = float(np.sqrt(count @ x**2 / count.sum()))
    code = np.full(len(x), -1, np.int64)
    if cluster:
        recorded = known[cluster].is_not_null().to_numpy()
        code[recorded] = np.unique(known[cluster].drop_nulls().to_numpy(), return_inverse=True)[1]
    return Length(
        proportion(longer, judgments(differing), level=settings.level, unit=unit),
        logistic_slope(x / deviation, known["won"].to_numpy(), count, code, level=settings.level, unit=unit),
        deviation,
    )


def _graph(frame: pl.DataFrame, found: Votes) -> Connectivity | None:
    by_system = frame.filter(pl.col("system_a").is_not_null() & pl.col("system_b").is_not_null())
    if by_system.height:
        edges = by_system.select(pl.col("system_a").alias("left"), pl.col("system_b").alias("right"), "edge").unique()
        return connectivity(edges, "systems", found.systems.names)
    # `edge` is seen from response_a: turn it where that is the higher code.
    turned = pl.when(pl.col("flipped")).then(DECIDED_B - pl.col("edge")).otherwise(pl.col("edge")).alias("edge")
    edges = frame.select(pl.col("low").alias("left"), pl.col("high").alias("right"), turned).unique()
    return connectivity(edges, "responses", found.responses.names)


# -- what is looked up once --------------------------------------------------------------------------------------------


def _answers(data: PreferenceData) -> dict[QuestionKey, dict[str, int]]:
    """Judgments by question and answer."""
    names = ("criterion_id", "protocol", "outcome", "probability", "count")
    wanted = {**{f"__{name}": f"comparisons.{name}" for name in names}, "__answered_by": "annotators.kind"}
    answer = (
        pl.col("__outcome")
        .cast(pl.String)
        .fill_null(pl.when(pl.col("__probability").is_not_null()).then(pl.lit("soft")).otherwise(pl.lit("unjudged")))
    )
    rows = (
        attach(data, "comparisons", wanted)
        .group_by("__criterion_id", "__protocol", "__answered_by", answer.alias("answer"))
        .agg(pl.col("__count").fill_null(1).cast(pl.UInt64).sum().alias("n"))
        .with_columns(pl.col("__criterion_id", "__protocol").cast(pl.String))
        .collect(engine="streaming")
    )
    out: dict[QuestionKey, dict[str, int]] = {}
    for criterion, protocol, answered_by, what, n in rows.iter_rows():
        out.setdefault(QuestionKey(criterion, protocol, answered_by), {})[what] = n
    return out


def _ordered(answers: Mapping[str, int]) -> dict[str, int]:
    return {name: answers[name] for name in (*OUTCOMES, "soft", "unjudged") if name in answers}


def _lengths(data: PreferenceData, found: Votes) -> pl.DataFrame | None:
    """Characters of each response that has text: `code`, `length`; None if none has."""
    if "messages" not in data.columns("responses"):
        return None
    characters = pl.col("messages").list.eval(pl.element().struct.field("content").str.len_chars()).list.sum()
    has_text = pl.col("messages").list.eval(pl.element().struct.field("content").is_not_null()).list.any()
    frame = (
        data.lazy("responses")
        .filter(has_text)
        .select(
            found.responses.of("response_id").alias("code"),
            characters.cast(pl.Int64).alias("length"),
        )
        .unique("code", keep="any")
        .collect(engine="streaming")
    )
    return frame if frame.height else None
