"""The same judgments in another shape: a column per criterion, counted rows, one pooled criterion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import polars as pl

from preflearn.data.convert_lists import fresh_ids, sentence
from preflearn.data.schema import JUDGMENTS, TABLES
from preflearn.data.schema import table as table_of
from preflearn.data.tables import PreferenceData, plain
from preflearn.errors import InputError

_ANSWERS = {
    "comparisons": ("outcome", "strength", "probability", "probability_tie"),
    "ratings": ("value", "label", "spread"),
}
_PER_ANSWER = ("confidence", "rationale", "raw", "duration_s", "time")
FORGOTTEN = (
    "annotator_id",
    "presentation_id",
    "confidence",
    "rationale",
    "raw",
    "duration_s",
    "time",
    "exposure_a_s",
    "exposure_b_s",
)
"""What a counted row no longer knows: who, when, in which showing, and in which words."""


# -- criteria: long <-> wide -------------------------------------------------------------------------------------------


def criteria_to_columns(
    data: PreferenceData, *, table: Literal["ratings", "comparisons"] = "ratings"
) -> PreferenceData:
    """One row per judged thing and annotator, with columns `CRITERION.value`, `CRITERION.label`, ... (wide).

    Rows meet if everything but answer, id, confidence, words and time is equal; repeats of one question stay rows of
    their own. Rows without criterion_id stay as they are. `columns_to_criteria` undoes it exactly (up to row order).

    Raises:
        InputError: a table without criteria, or one that cannot be widened.
    """
    frame, key = _widenable(data, table)
    counts: Counter[str] = Counter()
    answers = [c for c in (key, *_ANSWERS[table], *_PER_ANSWER) if c in frame.columns]
    shared = [c for c in frame.columns if c not in {*answers, "criterion_id"}]
    named = frame.filter(pl.col("criterion_id").is_not_null()).with_columns(
        __repeat=pl.int_range(pl.len()).over([*shared, "criterion_id"])
    )
    groups = named.select(*shared, "__repeat").unique(maintain_order=True).with_row_index("__wide")
    numbered = named.join(groups, on=[*shared, "__repeat"], how="left", nulls_equal=True, maintain_order="left")
    wide = groups.drop("__repeat")
    for (criterion,), rows in numbered.partition_by("criterion_id", maintain_order=True, as_dict=True).items():
        part = rows.select("__wide", *(pl.col(c).alias(f"{criterion}.{c}") for c in answers))
        used = [c for c in part.columns if c == "__wide" or part[c].null_count() < part.height]
        wide = wide.join(part.select(used), on="__wide", how="left", maintain_order="left")
        counts[f"{table} of criterion {criterion}"] = rows.height
    ids = pl.coalesce(c for c in wide.columns if c.endswith(f".{key}"))
    wide = wide.with_columns(ids.alias(key)).drop("__wide")
    counts["wide rows"] = wide.height
    rest = frame.filter(pl.col("criterion_id").is_null())
    counts["rows without criterion left"] = rest.height
    joined = pl.concat([rest, wide], how="diagonal_relaxed")
    return data.replace(sentence("criteria to columns", counts), **{table: joined})


def columns_to_criteria(
    data: PreferenceData, *, table: Literal["ratings", "comparisons"] = "ratings", criteria: Sequence[str] | None = None
) -> PreferenceData:
    """One row per criterion (long) from columns `CRITERION.value`, `CRITERION.outcome`, ...

    Args:
        criteria: ids whose columns are meant; all that have such columns, where not given. New ones enter `criteria`.

    Raises:
        InputError: there are no such columns.
    """
    spec, frame = table_of(table), plain(data.table(table))
    counts: Counter[str] = Counter()
    answers = [spec.key, *_ANSWERS.get(table, ()), *_PER_ANSWER]
    found: dict[str, dict[str, str]] = {}
    for column in frame.columns:
        criterion, dot, answer = column.rpartition(".")
        if dot and answer in answers and (criteria is None or criterion in criteria):
            found.setdefault(criterion, {})[column] = answer
    if not found:
        raise InputError(
            f"no column of {table!r} is named CRITERION.value, CRITERION.outcome or alike.",
            cure=f"It has: {', '.join(frame.columns)}.",
        )
    wide = [column for columns in found.values() for column in columns]
    shared = frame.drop(wide)
    answered = pl.any_horizontal(pl.col(column).is_not_null() for column in wide)
    parts = [shared.filter(~frame.select(answered).to_series())]
    for criterion, columns in found.items():
        there = pl.any_horizontal(pl.col(column).is_not_null() for column in columns)
        rows = frame.filter(there)
        own = [c for c in shared.columns if c not in {*columns.values(), "criterion_id"}]
        part = rows.select(*own, *(pl.col(c).alias(a) for c, a in columns.items()), criterion_id=pl.lit(criterion))
        if spec.key not in columns.values():
            part = part.with_columns(pl.col(spec.key) + f".{criterion}")
        parts.append(part)
        counts[f"{table} of criterion {criterion}"] = part.height
    counts["rows without criterion left"] = parts[0].height
    long = data.replace(sentence("columns to criteria", counts), **{table: pl.concat(parts, how="diagonal_relaxed")})
    return long.completed() if set(found) - set(plain(data.criteria)["criterion_id"]) else long


def _widenable(data: PreferenceData, table: str) -> tuple[pl.DataFrame, str]:
    if table not in _ANSWERS:
        raise InputError(f"criteria of {table!r} cannot become columns.", cure="Choose ratings or comparisons.")
    frame = plain(data.table(table))
    if "criterion_id" not in frame.columns or not frame["criterion_id"].count():
        raise InputError(f"no criterion is recorded in {table!r}.", column=f"{table}.criterion_id")
    return frame, TABLES[table].key


# -- votes <-> counted rows --------------------------------------------------------------------------------------------


def votes_to_counts(
    data: PreferenceData, *, table: str = "comparisons", forget: Sequence[str] = FORGOTTEN
) -> PreferenceData:
    """Add up judgments that are equal in everything but their id and what is to be forgotten.

    Criterion, context, protocol, weight, propensity, order of showing, teachers' probabilities and columns that ride
    along are never added over, unless named in `forget`. Means of several people (a spread) stay as they are.

    Raises:
        InputError: not a table of judgments, or a column to forget that it needs.
    """
    if table not in JUDGMENTS:
        raise InputError(f"{table!r} holds no judgments.", cure=f"Choose one of: {', '.join(JUDGMENTS)}.")
    spec, frame = table_of(table), plain(data.table(table))
    if needed := [column for column in forget if column in spec.required]:
        raise InputError(f"a judgment is nothing without {', '.join(needed)}.", column=f"{table}.{needed[0]}")
    counts: Counter[str] = Counter()
    means = pl.col("spread").is_not_null() if "spread" in frame.columns else pl.lit(False)
    left, votes = frame.filter(means), frame.filter(~means)
    number = pl.col("count").fill_null(1).sum() if "count" in frame.columns else pl.len()
    equal = [column for column in frame.columns if column not in {spec.key, "count", *forget}]
    rows = votes.group_by(equal, maintain_order=True).agg(pl.col(spec.key).first(), number.alias("count"))
    counts[f"{table} added up"] = votes.height
    counts["counted rows"] = rows.height
    counts["means left as they are"] = left.height
    for column in forget:
        if column in frame.columns:
            counts[f"values of {column} forgotten"] = votes.height - votes[column].null_count()
    joined = pl.concat([left, rows], how="diagonal_relaxed") if left.height else rows
    return data.replace(sentence("votes to counted rows", counts), **{table: joined})


def counts_to_votes(data: PreferenceData, *, table: str = "comparisons") -> PreferenceData:
    """Repeat every row `count` times, each repeat with an id of its own (`ID#2`, ...) and count 1.

    Means of several people (a spread) are not so many equal judgments; they stay as they are.

    Raises:
        InputError: not a table of judgments.
    """
    if table not in JUDGMENTS:
        raise InputError(f"{table!r} holds no judgments.", cure=f"Choose one of: {', '.join(JUDGMENTS)}.")
    key, frame = TABLES[table].key, plain(data.table(table))
    counts: Counter[str] = Counter()
    if "count" not in frame.columns:
        return data.replace(sentence("counted rows to votes", counts))
    mean = pl.col("spread").is_not_null() if "spread" in frame.columns else pl.lit(False)
    times = pl.when(mean).then(1).otherwise(pl.col("count").fill_null(1))
    repeats = frame.with_columns(__n=pl.int_ranges(1, times.cast(pl.Int64) + 1)).filter(pl.col("__n").list.len() > 0)
    votes = repeats.explode("__n")
    numbered = votes.select((pl.col(key) + "#" + pl.col("__n").cast(pl.String)).alias("__id")).to_series()
    votes = votes.with_columns(
        pl.when(pl.col("__n") > 1).then(fresh_ids(numbered, frame[key])).otherwise(key).alias(key),
        pl.when(mean).then("count").otherwise(pl.lit(None, dtype=frame.schema["count"])).alias("count"),
    ).drop("__n")
    counts["counted rows"] = int((frame["count"].fill_null(1) > 1).sum())
    counts[f"{table} made"] = votes.height
    counts["rows of count 0 left out"] = int((frame["count"] == 0).sum())
    return data.replace(sentence("counted rows to votes", counts), **{table: votes})


# -- pooling -----------------------------------------------------------------------------------------------------------


def pool(
    data: PreferenceData,
    column: Literal["criterion_id", "protocol", "context"],
    into: str | None,
    *,
    values: Sequence[str] | None = None,
) -> PreferenceData:
    """Treat several criteria (protocols, contexts) as one, in every table of judgments; never done unasked.

    What each judgment said before stays in a column `COLUMN_before_pooling`.

    Args:
        into: the common value; null forgets the distinction.
        values: only these; all recorded values where not given.

    Raises:
        InputError: another column, or a value that no judgment has.
    """
    if column not in ("criterion_id", "protocol", "context"):
        raise InputError(f"{column!r} is not pooled.", cure="Choose criterion_id, protocol or context.")
    counts: Counter[str] = Counter()
    tables: dict[str, pl.DataFrame] = {}
    seen: set[str] = set()
    for name in JUDGMENTS:
        if column not in data.columns(name) or not data.height(name):
            continue
        frame = plain(data.table(name))
        meant = pl.col(column).is_not_null() if values is None else pl.col(column).is_in(list(values)).fill_null(False)
        for value, n in frame.filter(meant)[column].value_counts(sort=True).iter_rows():
            counts[f"{name} of {value}"] = n
            seen.add(value)
        before = f"{column}_before_pooling"
        told = pl.coalesce(before, column) if before in frame.columns else pl.col(column)
        now = pl.when(meant).then(pl.lit(into)).otherwise(column)
        tables[name] = frame.with_columns(now.alias(column), told.alias(before))
    if values is not None and (unknown := [value for value in values if value not in seen]):
        raise InputError(f"no judgment has {column} {', '.join(map(repr, unknown))}.", column=column)
    pooled = data.replace(sentence(f"pooled {column} into {into}", counts), **tables)
    return pooled.completed() if column == "criterion_id" and into is not None else pooled
