"""From the sides of flat rows to rows of `prompts`, `responses` and `media`: identity, given ids, one row each.

A response is the same row when prompt, system, author, content and place (segment, members) are the same. A name
without content is a reference: it gets no prompt of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from preflearn.data import ids
from preflearn.data.io.flat_roles import MEDIA_ROLES, Roles, Side
from preflearn.data.reading import ImportReport
from preflearn.data.schema import MESSAGES, conform
from preflearn.errors import InputError

_IDENTITY = ("prompt_id", "system", "author_id", "hash", "part_of", "start", "end", "unit", "members")
_PLACE = ("part_of", "members")


class Placed(NamedTuple):
    """The frame with its working id columns (`_prompt*`, `_response*`) and the tables made from it."""

    frame: pl.DataFrame
    tables: dict[str, pl.DataFrame]


def place_prompts(frame: pl.DataFrame, roles: Roles, report: ImportReport) -> Placed:
    """Give every row its prompt ids: `_prompt` (shared) and `_prompt_a`, `_prompt_b` (a side's own)."""
    sources: dict[str, dict[str, str]] = {}
    if roles.prompt:
        sources["_prompt"] = roles.prompt
    for side in roles.sides:
        own = {name: side.parts[part] for name, part in _OWN_PROMPT if part in side.parts}
        if own:
            sources[f"_prompt{side.suffix or '_'}"] = own
    given: list[pl.Series] = []
    keys: list[pl.Series] = []
    for parts in sources.values():
        content = (
            frame[parts["messages"]] if "messages" in parts else pl.Series([None] * 1).new_from_index(0, len(frame))
        )
        _check_content(content, report)
        keys.append(ids.prompt_id(content).alias("key"))
        given.append(_text(frame, parts.get("prompt_id")).alias("given"))
    if not sources:
        return Placed(frame, {})
    settled = _settle(pl.concat(given), pl.concat(keys), "prompt_id", report)
    found: list[pl.DataFrame] = []
    for index, (name, parts) in enumerate(sources.items()):
        column = settled.slice(index * frame.height, frame.height).alias(name)
        frame = frame.with_columns(column)
        attributes = {attribute: source for attribute, source in parts.items() if attribute != "prompt_id"}
        rows = frame.select(pl.col(name).alias("prompt_id"), *_renamed(attributes))
        found.append(one_row_each("prompts", rows.filter(pl.col("prompt_id").is_not_null()), report))
    return Placed(frame, {"prompts": one_row_each("prompts", concat(found), report)})


_OWN_PROMPT = (("messages", "prompt"), ("prompt_id", "prompt_id"))


def place_responses(frame: pl.DataFrame, roles: Roles, report: ImportReport) -> Placed:
    """Give every row its response ids `_response*`; `_prompt` stays on rows where a side owns none."""
    views = [_view(frame, roles, side, report) for side in roles.sides]
    key = pl.concat([view["_key"] for view in views])
    given = pl.concat([view["_given"] for view in views])
    settled = _settle(given, key, "response_id", report, named=pl.concat([view["_auto"] for view in views]))
    found: list[pl.DataFrame] = []
    for index, (side, view) in enumerate(zip(roles.sides, views, strict=True)):
        identity = settled.slice(index * frame.height, frame.height)
        frame = frame.with_columns(identity.alias(f"_response{side.suffix}"))
        rows = view.select(identity.alias("response_id"), pl.exclude("^_.*$"))
        found.append(one_row_each("responses", rows, report))
    responses = one_row_each("responses", concat(found), report)
    tables = {"responses": responses}
    if media := _media(frame, roles):
        tables["media"] = one_row_each("media", concat(media), report)
    if "_prompt" in frame.columns:
        without = [view["prompt_id"].is_null() for view in views]
        lacking = without[0]
        for other in without[1:]:
            lacking = lacking | other
        shared = pl.when(lacking).then(pl.col("_prompt")).alias("_prompt")
        frame = frame.with_columns(shared)
    return Placed(frame, tables)


def one_row_each(table: str, rows: pl.DataFrame, report: ImportReport) -> pl.DataFrame:
    """One row per key (the first column), in order of first appearance.

    The first recorded value of each column stands; disagreement is counted. Contents become messages afterwards.
    """
    key = rows.columns[0]
    flat = [name for name in rows.columns[1:] if not rows.schema[name].is_nested() and name != "messages"]
    deep = [name for name in rows.columns[1:] if name not in flat]
    distinct = rows.select(key, *flat).unique(maintain_order=True)
    if distinct[key].is_duplicated().any():
        for name in flat:
            values = distinct.select(key, name).drop_nulls().unique()
            clashing = values.filter(pl.col(key).is_duplicated())[key].n_unique() if values.height else 0
            report.map(f"{table}.{name} differs between rows of one {key} -> the first value stands", clashing)
        distinct = distinct.group_by(key, maintain_order=True).agg(pl.col(flat).first(ignore_nulls=True))
    for name in deep:
        first = rows.select(key, name).filter(pl.col(name).is_not_null()).unique(subset=[key], keep="first")
        distinct = distinct.join(first, on=key, how="left", maintain_order="left")
    return conform(table, distinct.lazy()).collect() if "messages" in distinct.columns else distinct


def concat(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Frames below each other, whatever columns each has; categories as text."""
    plain = [frame.with_columns(pl.col(pl.Categorical).cast(pl.String)) for frame in frames]
    try:
        return plain[0] if len(plain) == 1 else pl.concat(plain, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise InputError(f"columns of one name have types that do not go together: {error}") from error


def _view(frame: pl.DataFrame, roles: Roles, side: Side, report: ImportReport) -> pl.DataFrame:
    """One side in the names of `responses`, with `_key` (what given ids must agree on), `_given` and `_auto` ids."""
    parts = dict(side.parts)
    content, media = parts.pop("text", None), _media_list(frame, parts)
    given = _text(frame, parts.pop("response_id", None))
    for _, part in _OWN_PROMPT:
        parts.pop(part, None)
    for role in (*MEDIA_ROLES, "media"):
        parts.pop(role, None)
    view = frame.select(*_renamed(parts), given.alias("_given"))
    if "system" in parts:
        view = view.with_columns(pl.col("system").cast(pl.String))
    substance = pl.lit(False)
    if content is not None:
        _check_content(frame[content], report)
        view = view.with_columns(frame[content].alias("messages"), ids.content_id(frame[content]).alias("content_hash"))
        substance = substance | pl.col("messages").is_not_null()
    if media is not None:
        view = view.with_columns(media.alias("media"))
        substance = substance | pl.col("media").is_not_null()
        view = _hash_with_media(view)
    for place in _PLACE:
        if place in parts:
            substance = substance | pl.col(place).is_not_null()
    view = view.with_columns(substance.alias("_substance"))
    owner = view["_substance"] | given.is_not_null() if roles.kind == "responses" else view["_substance"]
    view = view.with_columns(_prompt_of(frame, side, owner))
    auto = pl.col("system") if "system" in view.columns else pl.lit(None, dtype=pl.String)
    key = pl.lit(None, dtype=pl.String)
    if view["_substance"].any():
        view = view.with_columns(_identity(view, _IDENTITY))
        auto = pl.when("_substance").then(pl.col("_identity")).otherwise(auto)
        if given.null_count() < len(given):  # who made it may be unrecorded on some rows: ids need not agree on that
            unnamed = [name for name in _IDENTITY if name not in ("system", "author_id")]
            view = view.with_columns(_identity(view, unnamed).alias("_agreed"))
            key = pl.col("_agreed")
    return view.with_columns(auto.alias("_auto"), key.alias("_key"))


def _identity(view: pl.DataFrame, names: Sequence[str]) -> pl.Series:
    """Joint ids of the rows that have content, from these columns (absent ones count as unrecorded); null elsewhere."""

    def part(name: str) -> pl.Expr:
        source = "content_hash" if name == "hash" else name
        if source not in view.columns:
            return pl.lit(None, dtype=pl.String).alias(name)
        if view.schema[source].is_nested():
            return pl.col(source).cast(pl.List(pl.String)).list.join("\x1d").alias(name)
        return pl.col(source).cast(pl.String).alias(name)

    substance = view["_substance"]
    made = ids.joint_id("r", view.filter(substance).select(part(name) for name in names)).alias("_identity")
    if len(made) == view.height:
        return made
    rows = pl.DataFrame({"_at": substance.arg_true(), "_identity": made})
    return pl.DataFrame({"_at": pl.int_range(view.height, dtype=pl.UInt32, eager=True)}).join(
        rows, on="_at", how="left", maintain_order="left"
    )["_identity"]


def _prompt_of(frame: pl.DataFrame, side: Side, owner: pl.Series) -> pl.Series:
    """The prompt a side owns: its own always, the shared one where it has content (or no judgment could hold it)."""
    own, shared = f"_prompt{side.suffix or '_'}", "_prompt"
    parts: list[pl.Expr] = []
    if own in frame.columns:
        parts.append(pl.col(own))
    if shared in frame.columns:
        parts.append(pl.when(owner).then(pl.col(shared)))
    value = pl.coalesce(parts) if parts else pl.lit(None, dtype=pl.String)
    picked = frame.select(value.alias("prompt_id"))["prompt_id"]
    return picked if len(picked) == len(frame) else picked.new_from_index(0, len(frame))


def _settle(
    given: pl.Series, key: pl.Series, what: str, report: ImportReport, *, named: pl.Series | None = None
) -> pl.Series:
    """Final ids: the given one; else the one made from the content (`named`, or `key` itself).

    A given id that stands for several contents keeps the first; each other content gets `ID~DIGEST`.
    """
    auto = key if named is None else named
    pairs = pl.DataFrame({"given": given, "key": key})
    distinct = pairs.drop_nulls().unique(maintain_order=True)
    clash = distinct.filter(pl.col("given").is_duplicated())
    final = given
    if clash.height:
        later = clash.filter(~pl.col("given").is_first_distinct())
        later = later.with_columns(
            (pl.col("given") + "~" + pl.col("key").str.slice(-8)).alias("renamed"),
        )
        joined = pairs.join(later, on=["given", "key"], how="left", maintain_order="left")
        report.map(
            f"{what} stands for several contents -> the first keeps it, others get ID~DIGEST",
            joined["renamed"].count(),
        )
        final = joined.select(pl.coalesce("renamed", "given")).to_series()
    return pl.DataFrame({"final": final, "auto": auto}).select(pl.coalesce("final", "auto")).to_series()


def _hash_with_media(view: pl.DataFrame) -> pl.DataFrame:
    """Content hash over text and media; the text's own hash where there is no medium."""
    text = pl.col("content_hash") if "content_hash" in view.columns else pl.lit(None, dtype=pl.String)
    joint = ids.joint_id("", view.select(text.alias("text"), pl.col("media").list.join("\x1d")))
    return view.with_columns(pl.when(pl.col("media").is_not_null()).then(joint).otherwise(text).alias("content_hash"))


def _media_list(frame: pl.DataFrame, parts: dict[str, str]) -> pl.Series | None:
    columns = [parts[role] for role in (*MEDIA_ROLES, "media") if role in parts]
    if not columns:
        return None
    lists = [
        pl.col(column).cast(pl.List(pl.String))
        if frame.schema[column].is_nested()
        else pl.when(pl.col(column).is_not_null()).then(pl.concat_list(pl.col(column).cast(pl.String)))
        for column in columns
    ]
    if len(lists) == 1:
        return frame.select(lists[0].alias("media")).to_series()
    empty = pl.lit([], dtype=pl.List(pl.String))
    joined = pl.concat_list([one.fill_null(empty) for one in lists])
    return frame.select(pl.when(joined.list.len() > 0).then(joined).alias("media")).to_series()


def _media(frame: pl.DataFrame, roles: Roles) -> list[pl.DataFrame]:
    """Rows of `media` for roles that say what kind of file a column names; the name is id and place."""
    found = []
    for side in roles.sides:
        for role in MEDIA_ROLES:
            if role in side.parts:
                name = pl.col(side.parts[role])
                names = frame.select(
                    (name.explode() if frame.schema[side.parts[role]].is_nested() else name)
                    .cast(pl.String)
                    .alias("uri")
                )
                rows = names.drop_nulls().unique(maintain_order=True)
                found.append(rows.select(pl.col("uri").alias("media_id"), pl.lit(role).alias("kind"), "uri"))
    return found


def _check_content(content: pl.Series, report: ImportReport) -> None:
    found = content.dtype
    if found in (pl.String, pl.Null):
        return
    if not (isinstance(found, pl.List) and isinstance(found.inner, pl.Struct)):
        raise InputError(
            f"content has type {found}.", column=content.name, cure="Give text, or a list of {role, content} messages."
        )
    assert isinstance(MESSAGES.inner, pl.Struct)
    known = {field.name for field in MESSAGES.inner.fields}
    fields = [field.name for field in found.inner.fields]
    if not {"role", "content"} <= set(fields):
        raise InputError(
            f"messages have the fields {fields}.", column=content.name, cure="Each needs role and content."
        )
    if others := [name for name in fields if name not in known]:
        report.note(f"Messages in column {content.name!r} have fields that are not kept: {', '.join(others)}.")


def _text(frame: pl.DataFrame, column: str | None) -> pl.Series:
    if column is None:
        return pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    return frame[column].cast(pl.String)


def _renamed(parts: dict[str, str]) -> list[pl.Expr]:
    return [pl.col(column).alias(name) for name, column in parts.items()]
