"""Which table's rows refer to which: completing what is referred to but absent, pruning what nothing needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import polars as pl

from preflearn.data.schema import TABLES
from preflearn.data.tables import PreferenceData, plain


class Reference(NamedTuple):
    """A recorded column that holds keys of another table."""

    table: str
    column: str
    target: str
    is_list: bool


def references(data: PreferenceData) -> Iterator[Reference]:
    """Every recorded reference, in the order of the plan (for media inside messages: `media_in_messages`)."""
    for name, spec in TABLES.items():
        recorded = set(data.columns(name))
        for column in spec.columns:
            if column.refers_to and column.name in recorded:
                yield Reference(name, column.name, column.refers_to, isinstance(column.dtype, pl.List))


def referred(data: PreferenceData, target: str, *, of: tuple[str, ...] | None = None) -> pl.LazyFrame:
    """Distinct keys of `target` that rows of other tables (or only of the tables `of`) refer to, as column `key`."""
    parts = []
    for reference in references(data):
        if reference.target != target or (of is not None and reference.table not in of):
            continue
        keys = data.lazy(reference.table).select(pl.col(reference.column).alias("key"))
        if reference.is_list:
            keys = keys.explode("key")
        parts.append(keys.select(pl.col("key").cast(pl.String)).drop_nulls().unique())
    if target == "media":
        tables = [name for name in ("prompts", "responses") if of is None or name in of]
        parts += [media_in_messages(data, name).select(pl.col("media").alias("key")).unique() for name in tables]
    if not parts:
        return pl.LazyFrame(schema={"key": pl.String})
    return pl.concat(parts).unique(maintain_order=True)


def media_in_messages(data: PreferenceData, name: str) -> pl.LazyFrame:
    """Media ids inside the messages of prompts or responses, as columns `key` (the row's) and `media`."""
    if "messages" not in data.columns(name):
        return pl.LazyFrame(schema={"key": pl.String, "media": pl.String})
    return (
        data.lazy(name)
        .select(pl.col(TABLES[name].key).alias("key"), pl.col("messages"))
        .filter(pl.col("messages").list.len() > 0)
        .explode("messages")
        .select("key", pl.col("messages").struct.field("media"))
        .filter(pl.col("media").list.len() > 0)
        .explode("media")
        .drop_nulls("media")
    )


def missing(data: PreferenceData, target: str) -> pl.DataFrame:
    """Keys that are referred to but absent from `target`, as column `key`, sorted."""
    key = TABLES[target].key
    present = data.lazy(target).select(pl.col(key).cast(pl.String).alias("key"))
    return referred(data, target).join(present, on="key", how="anti").sort("key").collect(engine="streaming")


def complete(data: PreferenceData) -> PreferenceData:
    """See `PreferenceData.completed`."""
    for target in ("responses", "prompts", "annotators", "criteria", "media"):
        absent = missing(data, target)
        if not absent.height:
            continue
        key = TABLES[target].key
        rows = absent.rename({"key": key})
        if target == "responses":
            rows = rows.with_columns(pl.col(key).alias("system"))
        frame = data.table(target)
        data = data.replace(**{target: pl.concat([plain(frame), rows], how="diagonal_relaxed")})
    return data


def prune(data: PreferenceData, *, also: Mapping[str, pl.DataFrame] | None = None) -> PreferenceData:
    """See `PreferenceData.pruned`; `also`: keys by table (column `key`) that stay though no judgment needs them."""
    extra = also or {}
    nothing = pl.DataFrame(schema={"key": pl.String})
    needed_responses = data.replace(responses=data.responses.clear())
    keep = referred(needed_responses, "responses").collect()
    keep = pl.concat([keep, extra.get("responses", nothing)]).unique(maintain_order=True)
    responses = plain(data.responses)
    while True:  # segments, sets and derivations need their sources too
        kept = responses.join(keep, left_on="response_id", right_on="key", how="semi")
        sources = referred(data.replace(responses=kept), "responses", of=("responses",)).collect()
        grown = pl.concat([keep, sources]).unique(maintain_order=True)
        if grown.height == keep.height:
            break
        keep = grown
    data = data.replace(responses=kept)
    for target in ("prompts", "annotators", "criteria", "media"):
        key = TABLES[target].key
        rows = plain(data.table(target))
        needed = pl.concat([referred(data, target).collect(), extra.get(target, nothing)])
        data = data.replace(
            **{target: rows.join(needed, left_on=key, right_on="key", how="semi", maintain_order="left")}
        )
    return data
