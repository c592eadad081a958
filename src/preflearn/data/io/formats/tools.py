"""What readers of public formats share: outcomes by words, rejected rows, nested columns, joined tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from preflearn.data.io.flat_rows import rejected
from preflearn.data.io.flat_sides import concat, one_row_each
from preflearn.data.io.messages import Messages, conversations, split
from preflearn.data.io.rows import LINE, SOURCE
from preflearn.data.reading import ImportReport
from preflearn.data.schema import JUDGMENTS, TABLES
from preflearn.data.tables import PreferenceData


def outcomes(frame: pl.DataFrame, column: str, words: Mapping[str, str], report: ImportReport) -> pl.DataFrame:
    """The column of winners as `outcome`, counted word by word; null or empty is not yet judged, other words stay."""
    text = pl.col(column).cast(pl.String).str.strip_chars()
    word = pl.when(text != "").then(text)
    frame = frame.with_columns(word.alias("_word"))
    mapped = pl.col("_word").str.to_lowercase().replace_strict(words, default=pl.col("_word")).alias("outcome")
    frame = frame.with_columns(mapped)
    for found, outcome, n in frame.group_by("_word", "outcome").len().drop_nulls("_word").sort("_word").rows():
        if found != outcome and outcome in words.values():
            report.map(f"{column}={found} -> outcome {outcome}", n)
    report.map(f"no {column} -> not yet judged", frame["_word"].null_count())
    return frame.drop("_word", *([column] if column != "outcome" else []))


def reject_where(frame: pl.DataFrame, reason: pl.Expr, report: ImportReport, original: pl.DataFrame) -> pl.DataFrame:
    """Rows whose reason is null; the others become rejected rows, quoted as they were read."""
    marked = frame.with_columns(reason.cast(pl.String).alias("_reason"))
    bad = marked.filter(pl.col("_reason").is_not_null())
    if bad.height:
        report.reject(rejected(bad, report.source, original))
    return marked.filter(pl.col("_reason").is_null()).drop("_reason")


def messages(frame: pl.DataFrame, column: str, role: str, report: ImportReport) -> Messages:
    """A column as conversations; fields of its messages that are not kept are named in the report."""
    parsed = conversations(frame[column], role)
    if parsed.left_out:
        report.note(f"Messages in column {column!r} have fields that are not kept: {', '.join(parsed.left_out)}.")
    return parsed


def split_sides(frame: pl.DataFrame, a: pl.Series, b: pl.Series, report: ImportReport) -> pl.DataFrame:
    """Add prompt, text_a, text_b (and prompt_a, prompt_b where they differ) from two conversations."""
    cut = split(a, b)
    report.map("no answer of an assistant on a side: the whole text is the answer", int(cut.whole.sum()))
    own = cut.prompt_a.is_not_null() | cut.prompt_b.is_not_null()
    apart = int(own.sum())
    report.map("the sides do not begin alike: each has its own prompt", apart)
    both = cut.prompt.is_not_null()
    longer = (both & ((cut.text_a.list.len() > 1) | (cut.text_b.list.len() > 1))).sum()
    report.map("the sides part before their last answer: later turns belong to the answer", int(longer))
    columns = {"prompt": cut.prompt, "text_a": cut.text_a, "text_b": cut.text_b}
    if apart:
        columns |= {"prompt_a": cut.prompt_a, "prompt_b": cut.prompt_b}
    return frame.with_columns(**columns)


def unnest(frame: pl.DataFrame, column: str, prefix: str) -> pl.DataFrame:
    """A struct column as one column per leaf (`prefix` + names joined by `_`); other columns stay. Lists stay lists."""
    if column not in frame.columns:
        return frame
    dtype = frame.schema[column]
    if not isinstance(dtype, pl.Struct):
        return frame
    parts = frame.select(_leaves(pl.col(column), dtype, prefix.rstrip("_") if not dtype.fields else prefix))
    return frame.drop(column).with_columns(parts)


def _leaves(expression: pl.Expr, dtype: pl.Struct, prefix: str) -> list[pl.Expr]:
    leaves: list[pl.Expr] = []
    for field in dtype.fields:
        name, value = prefix + field.name, expression.struct.field(field.name)
        if isinstance(field.dtype, pl.Struct):
            leaves += _leaves(value, field.dtype, f"{name}_")
        else:
            leaves.append(value.alias(name))
    return leaves


def as_json(frame: pl.DataFrame, columns: Sequence[str], to: str = "") -> pl.DataFrame:
    """Struct columns as JSON text, under `to` + their name."""
    found = [name for name in columns if name in frame.columns and isinstance(frame.schema[name], pl.Struct)]
    texts = [
        pl.when(pl.col(name).is_not_null()).then(pl.col(name).struct.json_encode()).alias(to + name) for name in found
    ]
    return frame.with_columns(texts).drop(found if to else [])


def rename(frame: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """Rename the columns that are there."""
    return frame.rename({old: new for old, new in names.items() if old in frame.columns})


def unix_seconds(column: str) -> pl.Expr:
    """Seconds since 1970 as a time, to the microsecond."""
    micro = (pl.col(column).cast(pl.Float64) * 1e6).round(0).cast(pl.Int64)
    return micro.cast(pl.Datetime("us", "UTC")).alias(column)


def joined(parts: Sequence[Mapping[str, pl.DataFrame]], report: ImportReport) -> PreferenceData:
    """One data set from the tables of several kinds of judgment; what they share is one row."""
    tables: dict[str, Any] = {}
    for name, spec in TABLES.items():
        found = [part[name] for part in parts if name in part and part[name].height]
        if not found:
            continue
        whole = concat(found)
        judged = name in JUDGMENTS or name == "signals"
        tables[name] = whole if judged else one_row_each(name, whole.select(spec.key, pl.exclude(spec.key)), report)
    return PreferenceData(report=report, **tables).completed()


def with_media(data: PreferenceData, media: Sequence[pl.DataFrame | None]) -> PreferenceData:
    """The data with the media rows that messages named."""
    rows = [frame for frame in media if frame is not None]
    if not rows:
        return data
    return data.replace(media=pl.concat(rows).unique(subset=["media_id"], keep="first", maintain_order=True))


def keys(frame: pl.DataFrame) -> list[str]:
    """The bookkeeping columns that say where a row came from: `_line`, and `_source` where several files were read."""
    return [name for name in (LINE, SOURCE) if name in frame.columns]
