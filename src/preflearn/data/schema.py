"""The nine tables: their columns, types and rules, once, as plain data.

Null means "not recorded"; times are UTC microseconds; ids are strings. This file knows nothing about files or models.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from preflearn.errors import InputError

SCHEMA_VERSION = 1

ID = pl.String
CATEGORY = pl.Categorical
TIME = pl.Datetime("us", "UTC")
MESSAGES = pl.List(pl.Struct({"role": pl.String, "name": pl.String, "content": pl.String, "media": pl.List(pl.String)}))


class Column(NamedTuple):
    """One column of the plan."""

    name: str
    dtype: pl.DataType
    meaning: str
    required: bool = False
    values: tuple[str, ...] | None = None
    """The only values allowed (besides null), where the plan closes the set."""
    refers_to: str | None = None
    """The table whose key this id (or list of ids) must be found in."""


@dataclass(frozen=True)
class Table:
    """One table of the plan: `key` is unique; `columns` are in canonical order."""

    name: str
    key: str
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column | None:
        """The plan's column of this name, or None for a column that merely rides along."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the obligatory columns."""
        return tuple(column.name for column in self.columns if column.required)


def _column(
    name: str,
    dtype: pl.DataType | type[pl.DataType],
    meaning: str,
    *,
    required: bool = False,
    values: tuple[str, ...] | None = None,
    refers_to: str | None = None,
) -> Column:
    instance = dtype if isinstance(dtype, pl.DataType) else dtype()
    return Column(name, instance, meaning, required, values, refers_to)


OUTCOMES = ("a", "b", "tie", "both_good", "both_bad", "skip")
TIES = ("tie", "both_good", "both_bad")

_SHARED: tuple[Column, ...] = (
    _column("annotator_id", CATEGORY, "who judged", refers_to="annotators"),
    _column("criterion_id", CATEGORY, "the question asked", refers_to="criteria"),
    _column("context", pl.String, "persona, perspective, principle or scenario under which it was made"),
    _column("prompt_id", ID, "only where responses carry no prompt", refers_to="prompts"),
    _column("presentation_id", ID, "one showing: all criteria, protocols and repeats of it"),
    _column("protocol", CATEGORY, "how the question was put"),
    _column("count", pl.UInt32, "this row stands for so many identical judgments (null = 1)"),
    _column("weight", pl.Float64, "importance (null = 1)"),
    _column("propensity", pl.Float64, "probability with which this question was asked, in (0, 1]"),
    _column("confidence", pl.Float64, "stated confidence"),
    _column("rationale", pl.String, "why, in the annotator's words"),
    _column("raw", pl.String, "a judge's unparsed answer"),
    _column("duration_s", pl.Float64, "seconds spent"),
    _column("time", TIME, "when it was made"),
    _column("source", CATEGORY, "where the row came from"),
)

PROMPTS = Table(
    "prompts",
    "prompt_id",
    (
        _column("prompt_id", ID, "key", required=True),
        _column("messages", MESSAGES, "the conversation up to the response"),
        _column("conversation_id", ID, "turns of one conversation share it"),
        _column("turn", pl.Int32, "0-based turn in the conversation"),
        _column("continues", pl.Boolean, "the last message is an assistant prefix to be continued"),
        _column("language", pl.String, "language code"),
        _column("category", pl.String, "topic or task"),
        _column("source", CATEGORY, "where the row came from"),
    ),
)

RESPONSES = Table(
    "responses",
    "response_id",
    (
        _column("response_id", ID, "key", required=True),
        _column("prompt_id", ID, "the prompt this answers", refers_to="prompts"),
        _column("system", CATEGORY, "who produced it: model, person, configuration"),
        _column("author_id", CATEGORY, "annotator who wrote it", refers_to="annotators"),
        _column("messages", MESSAGES, "the response; several messages for agents, debates, tool traces"),
        _column("media", pl.List(pl.String), "media ids", refers_to="media"),
        _column("content_hash", pl.String, "equal content has equal hash, also under different prompts"),
        _column("set_id", ID, "candidates drawn together"),
        _column("generation", pl.String, "JSON: temperature, seed, joint or iid, behaviour log-probability"),
        _column(
            "finish",
            pl.String,
            "how generation ended; partial = no end token is scored",
            values=("stop", "length", "refusal", "error", "partial"),
        ),
        _column("part_of", ID, "this row is a segment of that response", refers_to="responses"),
        _column("start", pl.Float64, "segment start, in units"),
        _column("end", pl.Float64, "segment end (exclusive), in units"),
        _column("unit", pl.String, "unit of start and end", values=("character", "step", "frame", "action", "second")),
        _column("members", pl.List(pl.String), "this row is a set of these responses", refers_to="responses"),
        _column("derived_from", ID, "edit, correction or perturbation of that response", refers_to="responses"),
        _column("embedding", pl.List(pl.Float32), "stored embedding"),
    ),
)

MEDIA = Table(
    "media",
    "media_id",
    (
        _column("media_id", ID, "key", required=True),
        _column(
            "kind",
            pl.String,
            "what it is",
            values=("image", "audio", "video", "trajectory", "mesh", "document"),
        ),
        _column("uri", pl.String, "where it lies"),
        _column("hash", pl.String, "content hash"),
        _column("mime", pl.String, "MIME type"),
        _column("duration", pl.Float64, "seconds, or steps for a trajectory"),
    ),
)

ANNOTATORS = Table(
    "annotators",
    "annotator_id",
    (
        _column("annotator_id", CATEGORY, "key", required=True),
        _column("kind", pl.String, "who this is", values=("person", "judge", "rule", "simulated")),
        _column("panel", pl.String, "public, expert, ..."),
        _column("group", pl.String, "declared group"),
        _column("language", pl.String, "language code"),
        _column("country", pl.String, "country code"),
        _column("weight", pl.Float64, "post-stratification weight"),
        _column("model", pl.String, "a judge's model"),
        _column("instructions_hash", pl.String, "a judge's instructions"),
    ),
)

CRITERIA = Table(
    "criteria",
    "criterion_id",
    (
        _column("criterion_id", CATEGORY, "key", required=True),
        _column("name", pl.String, "short name"),
        _column("text", pl.String, "the question or principle as shown"),
        _column("scale", pl.String, "kind of answer", values=("binary", "ordinal", "interval", "class")),
        _column("low", pl.Float64, "lowest value"),
        _column("high", pl.Float64, "highest value"),
        _column("step", pl.Float64, "distance of neighbouring values"),
        _column("higher_is_better", pl.Boolean, "direction"),
        _column("priority", pl.Int32, "1 = first"),
        _column("role", pl.String, "whose norm it is"),
        _column("version", pl.String, "version of the text"),
    ),
)

COMPARISONS = Table(
    "comparisons",
    "comparison_id",
    (
        _column("comparison_id", ID, "key", required=True),
        _column("response_a", ID, "one side", required=True, refers_to="responses"),
        _column("response_b", ID, "the other side", required=True, refers_to="responses"),
        _column("outcome", pl.String, "the answer; null = not yet judged", values=OUTCOMES),
        _column("strength", pl.Int32, "by how many steps the winner is better, >= 1"),
        _column("probability", pl.Float64, "a teacher's P(a beats b); then outcome is null"),
        _column("probability_tie", pl.Float64, "a teacher's P(tie)"),
        _column("shown_first", pl.String, "which side was shown first", values=("a", "b")),
        _column("exposure_a_s", pl.Float64, "seconds side a was seen or heard"),
        _column("exposure_b_s", pl.Float64, "seconds side b was seen or heard"),
        *_SHARED,
    ),
)

RATINGS = Table(
    "ratings",
    "rating_id",
    (
        _column("rating_id", ID, "key", required=True),
        _column("response_id", ID, "the thing rated", required=True, refers_to="responses"),
        _column("value", pl.Float64, "on the criterion's scale"),
        _column("label", pl.String, "class, thumb, agree|disagree|pass"),
        _column("spread", pl.Float64, "standard deviation when the row is a mean of `count` people"),
        *_SHARED,
    ),
)

RANKINGS = Table(
    "rankings",
    "ranking_id",
    (
        _column("ranking_id", ID, "key", required=True),
        _column("responses", pl.List(pl.String), "what was shown", required=True, refers_to="responses"),
        _column("ranks", pl.List(pl.Int32), "1 = best, equal = tied, null = shown but not ranked", required=True),
        _column("kind", pl.String, "what was asked", values=("full", "partial", "choice", "best_worst")),
        _column("shown_order", pl.List(pl.Int32), "0-based positions in which the responses were shown"),
        *_SHARED,
    ),
)

SIGNALS = Table(
    "signals",
    "signal_id",
    (
        _column("signal_id", ID, "key", required=True),
        _column("response_id", ID, "what it is about", required=True, refers_to="responses"),
        _column("annotator_id", CATEGORY, "whose behaviour", refers_to="annotators"),
        _column(
            "kind",
            pl.String,
            "what was observed",
            values=(
                "exposure",
                "click",
                "copy",
                "edit",
                "regenerate",
                "abandon",
                "follow_up",
                "reaction",
                "critique",
                "error_mark",
                "intervention",
                "stop",
                "play",
            ),
        ),
        _column("value", pl.Float64, "amount"),
        _column("text", pl.String, "free text"),
        _column("category", pl.String, "class of the signal"),
        _column("severity", pl.String, "severity class"),
        _column("position", pl.Int32, "0-based position at which it was shown"),
        _column("presentation_id", ID, "one showing"),
        _column("follow_up_prompt_id", ID, "the turn that followed", refers_to="prompts"),
        _column("detector", pl.String, "name@version that found it; null = raw"),
        _column("confidence", pl.Float64, "the detector's confidence"),
        _column("propensity", pl.Float64, "probability of the exposure, in (0, 1]"),
        _column("time", TIME, "when"),
        _column("source", CATEGORY, "where the row came from"),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (PROMPTS, RESPONSES, MEDIA, ANNOTATORS, CRITERIA, COMPARISONS, RATINGS, RANKINGS, SIGNALS)
}
JUDGMENTS = ("comparisons", "ratings", "rankings")


def table(name: str) -> Table:
    """The table of this name.

    Raises:
        InputError: there is no such table.
    """
    if name not in TABLES:
        raise InputError(f"there is no table {name!r}.", cure=f"The tables are: {', '.join(TABLES)}.")
    return TABLES[name]


def empty(name: str) -> pl.DataFrame:
    """A table of no rows with its obligatory columns."""
    spec = table(name)
    return pl.DataFrame(schema={column.name: column.dtype for column in spec.columns if column.required})


def conform(name: str, frame: pl.LazyFrame, *, path: str | None = None) -> pl.LazyFrame:
    """Cast the plan's columns to their types and put them in canonical order; other columns follow as they are.

    Raises:
        InputError: an obligatory column is missing, or a column's type cannot become the plan's.
    """
    spec = table(name)
    schema = frame.collect_schema()
    missing = [column for column in spec.required if column not in schema]
    if missing:
        raise InputError(
            f"table {name!r} lacks the obligatory column(s) {', '.join(missing)}.",
            path=path,
            cure=f"It has: {', '.join(schema.names()) or 'no columns'}.",
        )
    planned = [column for column in spec.columns if column.name in schema]
    casts = [_cast(column, schema[column.name], name, path) for column in planned]
    others = [pl.col(other) for other in schema.names() if spec.column(other) is None]
    return frame.select(*casts, *others)


def conformed(name: str, frame: pl.DataFrame, *, path: str | None = None) -> pl.DataFrame:
    """`conform` of a frame in memory.

    Raises:
        InputError: as `conform`, or a value cannot be cast; row, column and value are named.
    """
    try:
        return conform(name, frame.lazy(), path=path).collect()
    except pl.exceptions.PolarsError as error:
        for column in table(name).columns:
            if column.name not in frame.columns:
                continue
            given = frame[column.name]
            cast = _cast(column, given.dtype, name, path)
            if _fits(frame, cast):
                continue
            row = bisect_left(range(1, frame.height + 1), True, key=lambda n: not _fits(frame[:n], cast))
            raise InputError(
                f"the value cannot become {column.dtype}.",
                path=path,
                row=row,
                column=f"{name}.{column.name}",
                value=given[row],
                cure=f"The column means: {column.meaning}.",
            ) from error
        raise InputError(f"table {name!r} cannot be cast: {error}", path=path) from error


def _fits(frame: pl.DataFrame, cast: pl.Expr) -> bool:
    try:
        frame.select(cast)
    except pl.exceptions.PolarsError:
        return False
    return True


def _cast(column: Column, found: pl.DataType, table_name: str, path: str | None) -> pl.Expr:
    expression = pl.col(column.name)
    if found == column.dtype or found == pl.Null:
        return expression.cast(column.dtype)
    if column.dtype == MESSAGES:
        return _cast_messages(expression, found, column, table_name, path)
    if column.dtype == TIME:
        if found == pl.String:
            return expression.str.to_datetime(time_unit="us", time_zone="UTC", strict=True)
        if isinstance(found, pl.Datetime) and found.time_zone is None:
            return expression.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        if isinstance(found, pl.Datetime):
            return expression.dt.convert_time_zone("UTC").cast(TIME)
        if found.is_numeric():
            raise InputError(
                "a time is a number, whose unit is unknown.",
                path=path,
                column=f"{table_name}.{column.name}",
                cure="Give ISO 8601 text or a timestamp type, or map it with its unit.",
            )
    if column.dtype == pl.Categorical and found != pl.String:
        return expression.cast(pl.String).cast(pl.Categorical)
    if isinstance(column.dtype, pl.List) != isinstance(found, pl.List | pl.Array):
        raise InputError(
            f"the column has type {found}, but {column.dtype} is needed.",
            path=path,
            column=f"{table_name}.{column.name}",
        )
    return expression.cast(column.dtype, strict=True)


def _cast_messages(
    expression: pl.Expr, found: pl.DataType, column: Column, table_name: str, path: str | None
) -> pl.Expr:
    if found == pl.String:
        role = "user" if table_name == "prompts" else "assistant"
        message = pl.struct(
            pl.lit(role).alias("role"),
            pl.lit(None, dtype=pl.String).alias("name"),
            expression.alias("content"),
            pl.lit(None, dtype=pl.List(pl.String)).alias("media"),
        )
        return (
            pl.when(expression.is_not_null())
            .then(pl.concat_list(message))
            .otherwise(pl.lit(None, dtype=MESSAGES))
            .cast(MESSAGES)
            .alias(column.name)
        )
    if isinstance(found, pl.List) and isinstance(found.inner, pl.Struct):
        fields = {field.name for field in found.inner.fields}
        if not {"role", "content"} <= fields:
            raise InputError(
                f"messages have the fields {sorted(fields)}.",
                path=path,
                column=f"{table_name}.{column.name}",
                cure="Each message needs role and content.",
            )
        element = pl.element()
        parts = [
            element.struct.field(field).cast(dtype).alias(field)
            if field in fields
            else pl.lit(None, dtype=dtype).alias(field)
            for field, dtype in (
                ("role", pl.String),
                ("name", pl.String),
                ("content", pl.String),
                ("media", pl.List(pl.String)),
            )
        ]
        return expression.list.eval(pl.struct(parts)).cast(MESSAGES).alias(column.name)
    raise InputError(
        f"messages have type {found}.",
        path=path,
        column=f"{table_name}.{column.name}",
        cure="Give text, or a list of {role, content}.",
    )
