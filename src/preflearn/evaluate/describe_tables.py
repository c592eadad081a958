"""What ratings, rankings and signals hold, for each question or kind apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from preflearn.data.columns import attach
from preflearn.data.tables import PreferenceData
from preflearn.evaluate import agreement as agree
from preflearn.evaluate.codes import Codes
from preflearn.evaluate.figures import Figure, missing
from preflearn.evaluate.intervals import Settings, mean, proportion
from preflearn.evaluate.plain import Spread, judgments_per, spread
from preflearn.evaluate.questions import (
    SHOWN,
    QuestionKey,
    cluster_of,
    further,
    judgments,
    number_questions,
    part,
    per_key,
)
from preflearn.evaluate.voices import cluster_totals, voices

SHOWN_VALUES = 20
"""Different values or labels that are listed one by one."""
_LABELS = 12
"""More different labels than this get no agreement figure: an open-ended label is not a scale."""


@dataclass(frozen=True)
class RatingQuestion:
    """Ratings of one criterion under one protocol; n counts judgments, for alpha rated things."""

    criterion: str | None
    protocol: str | None
    answered_by: str | None
    rows: int
    judgments: int
    unjudged: int
    """Judgments with neither value nor label."""
    items: int
    """Different responses (under their context) rated."""
    shared: int
    """Of these rated by two or more people."""
    value: Figure
    """Mean value, interval clustered by annotator where known."""
    values: Spread
    """Distribution of the values over rows."""
    histogram: dict[str, int] | None
    """Judgments by value, where there are few different ones."""
    labels: dict[str, int]
    """Judgments by label, the most frequent first."""
    further_labels: int
    """Different labels not listed."""
    means_of_several: int
    """Rows that are means over several people (`spread` recorded)."""
    alpha_interval: Figure
    """Krippendorff's alpha of values, squared distances."""
    alpha_nominal: Figure
    """Krippendorff's alpha of labels."""


@dataclass(frozen=True)
class Ratings:
    """The ratings of a data set; figures are never pooled over criteria or protocols."""

    rows: int
    judgments: int
    per: dict[str, Spread]
    questions: tuple[RatingQuestion, ...]
    further_questions: tuple[int, int]
    """Questions without figures of their own, and their judgments."""


@dataclass(frozen=True)
class RankingQuestion:
    """Rankings of one criterion under one protocol; n counts judgments."""

    criterion: str | None
    protocol: str | None
    answered_by: str | None
    rows: int
    judgments: int
    kinds: dict[str, int]
    """Judgments by kind."""
    sizes: Spread
    """Responses shown, over rows."""
    tied: Figure
    """Share of rankings in which two responses share a rank."""
    incomplete: Figure
    """Share of rankings that leave a response unranked."""
    unranked: int
    """Responses shown but not ranked, over judgments."""


@dataclass(frozen=True)
class Rankings:
    """The rankings of a data set."""

    rows: int
    judgments: int
    per: dict[str, Spread]
    questions: tuple[RankingQuestion, ...]
    further_questions: tuple[int, int]


@dataclass(frozen=True)
class SignalKind:
    """Signals of one kind."""

    kind: str
    rows: int
    responses: int
    annotators: int
    detected: int
    """Found by a detector (the others are raw)."""
    with_propensity: int
    values: Spread


@dataclass(frozen=True)
class Signals:
    """The signals of a data set: observed, never pooled with judgments."""

    rows: int
    kinds: tuple[SignalKind, ...]


def describe_ratings(data: PreferenceData, settings: Settings) -> Ratings | None:
    """Everything about `data.ratings`; None if there are none."""
    if not data.height("ratings"):
        return None
    codes = Codes()
    names = ("response_id", "annotator_id", "criterion_id", "protocol", "context", "value", "label", "spread", "count")
    wanted = {
        "__prompt": "prompt_id",
        "__answered_by": "annotators.kind",
        **{f"__{name}": f"ratings.{name}" for name in names},
    }
    frame = (
        attach(data, "ratings", wanted)
        .select(
            codes.of("__response_id").alias("item"),
            codes.of("__context").alias("context"),
            codes.of("__prompt").alias("prompt"),
            codes.of("__annotator_id").alias("annotator"),
            pl.col("__criterion_id").alias("criterion"),
            pl.col("__protocol").alias("protocol"),
            pl.col("__answered_by").alias("answered_by"),
            pl.col("__value").alias("value"),
            pl.col("__label").cast(pl.Categorical).alias("label"),
            pl.col("__spread").is_not_null().alias("of_several"),
            pl.col("__count").fill_null(1).alias("count"),
        )
        .collect(engine="streaming")
    )
    frame, keys = number_questions(frame)
    judged = frame.filter(pl.col("value").is_not_null() | pl.col("label").is_not_null())
    return Ratings(
        rows=frame.height,
        judgments=judgments(frame),
        per={
            **{name: judgments_per(judged, [name]) for name in ("annotator", "item", "prompt")},
            **{name: judgments_per(per_key(judged, keys, name), ["name"]) for name in ("criterion", "protocol")},
        },
        questions=tuple(
            _rating_question(key, part(frame, code, keys), settings) for code, key in enumerate(keys[:SHOWN])
        ),
        further_questions=further(frame, keys),
    )


def _rating_question(key: QuestionKey, frame: pl.DataFrame, settings: Settings) -> RatingQuestion:
    cluster = cluster_of(frame)
    valued, labelled = frame.filter(pl.col("value").is_not_null()), frame.filter(pl.col("label").is_not_null())
    average = (
        mean(
            cluster_totals(valued, cluster, pl.col("value"), pl.lit(1.0)),
            judgments(valued),
            level=settings.level,
            unit=cluster or "judgment",
        )
        if valued.height
        else missing("no values are recorded")
    )
    tally = _tally(labelled, "label")
    few = valued["value"].n_unique() <= SHOWN_VALUES
    interval, nominal, shared, items = _rating_agreement(valued, labelled, list(tally), settings)
    return RatingQuestion(
        criterion=key.criterion,
        protocol=key.protocol,
        answered_by=key.answered_by,
        rows=frame.height,
        judgments=judgments(frame),
        unjudged=judgments(frame.filter(pl.col("value").is_null() & pl.col("label").is_null())),
        items=items,
        shared=shared,
        value=average,
        values=spread(valued, "value"),
        histogram=_tally(valued.sort("value"), "value", keep_order=True) if few and valued.height else None,
        labels=dict(list(tally.items())[:SHOWN_VALUES]),
        further_labels=max(0, len(tally) - SHOWN_VALUES),
        means_of_several=int(frame["of_several"].sum()),
        alpha_interval=interval,
        alpha_nominal=nominal,
    )


def _rating_agreement(
    valued: pl.DataFrame, labelled: pl.DataFrame, labels: list[str], settings: Settings
) -> tuple[Figure, Figure, int, int]:
    """Alpha of values and of labels, things rated by two or more people, things rated."""
    keys = ["item", "context", "prompt"]
    single = valued.filter(~pl.col("of_several"))
    interval = missing("no values are recorded" if not valued.height else "the values are means of several people")
    shared = items = 0
    if single.height:
        heard = voices(single, keys, 0)
        ones = np.ones((len(heard.unit), 1))
        _, found = agree.coincidences(heard.unit, ones, heard.people, heard.votes[:, 0], heard.square)
        interval, shared, items = agree.alpha_interval(found, settings), found.units, heard.items
    elif valued.height:
        items = valued.select(pl.struct(keys).n_unique()).item()
    nominal = missing("no labels are recorded")
    if len(labels) > _LABELS:
        nominal = missing(f"there are {len(labels)} different labels")
    elif labels:
        coded = labelled.with_columns(
            pl.col("label")
            .cast(pl.String)
            .replace_strict(labels, range(len(labels)), return_dtype=pl.UInt8)
            .alias("answer")
        )
        heard = voices(coded, keys, len(labels))
        _, found = agree.coincidences(heard.unit, heard.votes, heard.people, np.zeros(len(labels)))
        nominal = agree.alpha_nominal(found, settings, mirrored=False)
        shared, items = max(shared, found.units), max(items, heard.items)
    return interval, nominal, shared, items


def describe_rankings(data: PreferenceData, settings: Settings) -> Rankings | None:
    """Everything about `data.rankings`; None if there are none."""
    if not data.height("rankings"):
        return None
    codes = Codes()
    names = ("annotator_id", "criterion_id", "protocol", "kind", "count", "ranks")
    wanted = {"__prompt": "prompt_id", "__answered_by": "annotators.kind"}
    ranked = pl.col("__ranks").list.drop_nulls()
    frame = (
        attach(data, "rankings", {**wanted, **{f"__{name}": f"rankings.{name}" for name in names}})
        .select(
            codes.of("__annotator_id").alias("annotator"),
            codes.of("__prompt").alias("prompt"),
            pl.col("__criterion_id").alias("criterion"),
            pl.col("__protocol").alias("protocol"),
            pl.col("__answered_by").alias("answered_by"),
            pl.col("__kind").fill_null("not recorded").alias("kind"),
            pl.col("__count").fill_null(1).alias("count"),
            pl.col("__ranks").list.len().alias("size"),
            (pl.col("__ranks").list.len() - ranked.list.len()).alias("unranked"),
            (ranked.list.n_unique() < ranked.list.len()).alias("tied"),
        )
        .collect(engine="streaming")
    )
    frame, keys = number_questions(frame)
    return Rankings(
        rows=frame.height,
        judgments=judgments(frame),
        per={
            **{name: judgments_per(frame, [name]) for name in ("annotator", "prompt")},
            **{name: judgments_per(per_key(frame, keys, name), ["name"]) for name in ("criterion", "protocol")},
        },
        questions=tuple(
            _ranking_question(key, part(frame, code, keys), settings) for code, key in enumerate(keys[:SHOWN])
        ),
        further_questions=further(frame, keys),
    )


def _ranking_question(key: QuestionKey, frame: pl.DataFrame, settings: Settings) -> RankingQuestion:
    cluster = cluster_of(frame)
    n = judgments(frame)

    def share(what: pl.Expr) -> Figure:
        sums = cluster_totals(frame, cluster, what, pl.lit(1.0))
        return proportion(sums, n, level=settings.level, unit=cluster or "judgment")

    return RankingQuestion(
        criterion=key.criterion,
        protocol=key.protocol,
        answered_by=key.answered_by,
        rows=frame.height,
        judgments=n,
        kinds=_tally(frame, "kind"),
        sizes=spread(frame, "size"),
        tied=share(pl.col("tied")),
        incomplete=share(pl.col("unranked") > 0),
        unranked=int((frame["unranked"].cast(pl.UInt64) * frame["count"]).sum()),
    )


def describe_signals(data: PreferenceData) -> Signals | None:
    """Everything about `data.signals`; None if there are none."""
    if not data.height("signals"):
        return None
    columns = ["kind", "response_id", "annotator_id", "detector", "propensity", "value"]
    rows = data.select("signals", columns).with_columns(pl.col("kind").fill_null("not recorded"))
    counted = (
        rows.group_by("kind")
        .agg(
            pl.len().alias("rows"),
            pl.col("response_id").n_unique().alias("responses"),
            pl.col("annotator_id").drop_nulls().n_unique().alias("annotators"),
            pl.col("detector").count().alias("detected"),
            pl.col("propensity").count().alias("with_propensity"),
        )
        .sort("rows", "kind", descending=[True, False])
        .collect(engine="streaming")
    )
    kinds = [
        SignalKind(**row, values=spread(rows.filter(pl.col("kind") == row["kind"]), "value"))
        for row in counted.iter_rows(named=True)
    ]
    return Signals(rows=data.height("signals"), kinds=tuple(kinds))


def _tally(frame: pl.DataFrame, column: str, *, keep_order: bool = False) -> dict[str, int]:
    """Judgments by value: the most frequent first, or in the order of the frame."""
    counted = frame.group_by(column, maintain_order=True).agg(pl.col("count").cast(pl.UInt64).sum().alias("n"))
    if counted.schema[column] == pl.Float64:
        text = counted[column].map_elements(lambda value: f"{value:g}", return_dtype=pl.String)
        counted = counted.with_columns(text.alias(column))
    counted = counted.with_columns(pl.col(column).cast(pl.String))
    if not keep_order:
        counted = counted.sort("n", column, descending=[True, False])
    return dict(counted.iter_rows())
