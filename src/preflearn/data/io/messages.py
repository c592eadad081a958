"""Conversations as sources write them -> lists of {role, name, content, media}; two of them -> prompt and answers.

Understood: text; lists of {role, content} or {from, value}; content as text or as parts ({type, text, image}); any of
these as JSON text; transcripts in which marks open the turns. Knows nothing of formats.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from preflearn.data.io.jsontext import without_surrogates
from preflearn.data.schema import MESSAGES
from preflearn.errors import InputError

ROLES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "customer": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatbot": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "system": "system",
}
"""Names of speakers, in lower case; others are kept as they are."""

_TURN, _SPEAKER = "\x1d\x1e\x1d", "\x1d\x1f\x1d"


class Messages(NamedTuple):
    """A column of conversations, the media rows that its parts named, and what was left out."""

    column: pl.Series
    """[n], `MESSAGES`; null where there was nothing."""
    media: pl.DataFrame | None
    """Rows of `media` (media_id, kind, uri, mime)."""
    left_out: tuple[str, ...]
    """Fields of the source's messages that the plan does not hold and that were not empty."""


def is_conversation(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds lists of messages."""
    if not (isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)):
        return False
    fields = {field.name for field in dtype.inner.fields}
    return {"role", "content"} <= fields or {"from", "value"} <= fields


def holds_json(column: pl.Series) -> bool:
    """Whether a text column holds lists of messages as JSON (at least one does)."""
    if column.dtype != pl.String:
        return False
    return bool(column.str.contains(r'^\s*\[\s*\{.*"(?:role|from)"').any())


def conversations(column: pl.Series, role: str) -> Messages:
    """Lists of messages from lists of objects, from their JSON, or from text (one message of `role`).

    Args:
        column: [n], text (also JSON of a list of messages, row by row) or list of objects.
        role: whose message a plain text is.
    """
    if column.dtype in (pl.String, pl.Null):
        text = column.cast(pl.String)
        single = _single(text, role)
        if not holds_json(text):
            return Messages(single, None, ())
        decoded, found = _from_json(text)
        parsed = _normal(decoded) if found.any() else Messages(single, None, ())
        chosen = pl.DataFrame({"found": found, "parsed": parsed.column, "single": single}).select(
            pl.when("found").then("parsed").otherwise("single").alias(column.name)
        )
        return Messages(chosen.to_series(), parsed.media, parsed.left_out)
    if isinstance(column.dtype, pl.List) and column.dtype.inner == pl.Null:
        return Messages(column.cast(MESSAGES), None, ())
    return _normal(column)


def _single(text: pl.Series, role: str) -> pl.Series:
    return text.to_frame("text").select(
        pl.when(pl.col("text").is_not_null())
        .then(pl.concat_list(as_message(pl.lit(role), pl.col("text"))))
        .otherwise(None)
        .cast(MESSAGES)
        .alias(text.name)
    )[text.name]


def as_message(role: pl.Expr, content: pl.Expr) -> pl.Expr:
    """One message in the plan's four fields."""
    return pl.struct(
        role.alias("role"),
        pl.lit(None, dtype=pl.String).alias("name"),
        content.alias("content"),
        pl.lit(None, dtype=pl.List(pl.String)).alias("media"),
    )


def _from_json(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Lists of messages from JSON text; the second column says where one was found."""
    values: list[list[dict[str, Any]] | None] = []
    for value in text:
        parsed = None
        if value is not None and value.lstrip().startswith("["):
            try:
                parsed = json.loads(value)
            except ValueError:
                parsed = None
        good = isinstance(parsed, list) and parsed and all(isinstance(message, dict) for message in parsed)
        values.append([_plain(message) for message in parsed] if good and parsed else None)
    found = pl.Series("found", [value is not None for value in values], dtype=pl.Boolean)
    return pl.Series(text.name, values, dtype=MESSAGES), found


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content", message.get("value"))
    if content is not None and not isinstance(content, str):
        content = json.dumps(content, ensure_ascii=False)
    media = message.get("media")
    return {
        "role": _text(message.get("role", message.get("from"))),
        "name": _text(message.get("name")),
        "content": _text(content),
        "media": [str(one) for one in media] if isinstance(media, list) else None,
    }


def _text(value: Any) -> str | None:
    return None if value is None else without_surrogates(str(value))


def _normal(column: pl.Series) -> Messages:
    """A list of objects with the plan's four fields; contents in parts are joined, their images become media."""
    if not (isinstance(column.dtype, pl.List) and isinstance(column.dtype.inner, pl.Struct)):
        raise InputError(
            f"content has type {column.dtype}.",
            column=column.name,
            cure="Give text, or a list of {role, content} messages.",
        )
    fields = {field.name: field.dtype for field in column.dtype.inner.fields}
    speaker, said = ("role", "content") if "content" in fields else ("from", "value")
    flat = pl.DataFrame({"row": pl.int_range(len(column), eager=True), "message": column.rename("message")})
    long = flat.filter(pl.col("message").list.len() > 0).explode("message").unnest("message")
    known = {speaker, said, "name", "media"}
    left_out = tuple(name for name in fields if name not in known and long[name].null_count() < long.height)
    role = pl.col(speaker).cast(pl.String)
    media: pl.DataFrame | None = None
    if isinstance(fields[said], pl.List | pl.Struct) or _parts_as_json(long[said]):
        long, media = _join_parts(long, said)
    said_text = pl.col(said).cast(pl.String)
    attached = pl.col("media").cast(pl.List(pl.String)) if "media" in long.columns else pl.lit(None, pl.List(pl.String))
    name = pl.col("name").cast(pl.String) if "name" in fields else pl.lit(None, dtype=pl.String)
    messages = long.select(
        "row",
        pl.struct(
            role.str.to_lowercase().replace_strict(ROLES, default=role).alias("role"),
            name.alias("name"),
            said_text.alias("content"),
            attached.alias("media"),
        ).alias("message"),
    )
    lists = messages.group_by("row", maintain_order=True).agg("message")
    whole = flat.select("row", (pl.col("message").list.len() == 0).alias("empty")).join(
        lists, on="row", how="left", maintain_order="left"
    )
    empty = pl.lit([], dtype=MESSAGES)
    result = whole.select(pl.when("empty").then(empty).otherwise(pl.col("message").cast(MESSAGES)).alias(column.name))
    return Messages(result.to_series(), media, left_out)


def _parts_as_json(content: pl.Series) -> bool:
    return content.dtype == pl.String and bool(content.str.contains(r'^\[\{.*"type"').any())


def _join_parts(long: pl.DataFrame, said: str) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Contents given as parts ({type, text, image, mimeType}) -> text and media ids.

    Texts are joined by a blank line. Images are kept as media whose id is their URI.
    """
    texts: list[str | None] = []
    ids: list[list[str] | None] = []
    rows: dict[str, dict[str, str | None]] = {}
    for content in long[said].to_list():
        parts = content
        if isinstance(content, str) and content.startswith("[{"):
            try:
                parts = json.loads(content)
            except ValueError:
                parts = content
        if parts is None or isinstance(parts, str):
            texts.append(parts)
            ids.append(None)
            continue
        parts = [parts] if isinstance(parts, dict) else parts
        objects = [part if isinstance(part, dict) else {"text": part} for part in parts if part is not None]
        said_here = [part["text"] for part in objects if part.get("text") is not None]
        texts.append("\n\n".join(map(str, said_here)) if said_here else None)
        attached = []
        for part in objects:
            uri = _image_of(part)
            if uri:
                attached.append(uri)
                mime = part.get("mimeType") or part.get("mime")
                rows.setdefault(uri, {"media_id": uri, "kind": "image", "uri": uri, "mime": mime})
        ids.append(attached or None)
    long = long.with_columns(
        pl.Series(said, texts, dtype=pl.String), pl.Series("media", ids, dtype=pl.List(pl.String), strict=False)
    )
    schema = dict.fromkeys(["media_id", "kind", "uri", "mime"], pl.String)
    return long, pl.DataFrame(list(rows.values()), schema=schema) if rows else None


def _image_of(part: Mapping[str, Any]) -> str | None:
    image = part.get("image") or part.get("image_url")
    if isinstance(image, Mapping):
        image = image.get("url") or image.get("path")
    return str(image) if image else None


# -- transcripts -------------------------------------------------------------------------------------------------------


def transcript(column: pl.Series, turn: str, *, opening: str | None = None, text_first: bool = False) -> pl.Series:
    r"""Lists of messages from texts in which marks open the turns.

    Args:
        column: [n], text.
        turn: regular expression of a mark, with the speaker as its only group (`\n\n(Human|Assistant): ?`).
        opening: the mark at the start of the text, if it differs.
        text_first: text before the first mark is the user's (else the system's).
    """
    marked = column.to_frame("text").with_columns(
        pl.col("text").str.replace(f"^(?:{opening or turn})", f"{_TURN}${{1}}{_SPEAKER}").alias("text")
    )
    marked = marked.with_columns(
        pl.col("text").str.replace_all(turn, f"{_TURN}${{1}}{_SPEAKER}").str.split(_TURN).alias("turns")
    )
    piece = pl.element().str.splitn(_SPEAKER, 2)
    speaker, content = piece.struct.field("field_0"), piece.struct.field("field_1")
    before = pl.lit("user" if text_first else "system")
    role = pl.when(content.is_null()).then(before).otherwise(speaker.str.to_lowercase().replace(ROLES))
    message = as_message(role, pl.coalesce(content, speaker))
    found = marked["turns"].list.eval(message).cast(MESSAGES)
    silent = pl.element().struct.field("role").is_in(["system", "user"]) & (pl.element().struct.field("content") == "")
    # a mark at the very start leaves an empty piece before it
    first = found.list.eval(silent).list.get(0, null_on_oob=True) & marked["text"].str.starts_with(_TURN)
    return (
        pl.DataFrame({"turns": found, "drop": first})
        .select(pl.when("drop").then(pl.col("turns").list.slice(1)).otherwise("turns").alias(column.name))
        .to_series()
    )


# -- two conversations -> prompt and answers ---------------------------------------------------------------------------


class Split(NamedTuple):
    """Two conversations as what they share (`prompt`) and what differs, all [n] `MESSAGES`."""

    prompt: pl.Series
    """Null where the two do not begin alike; then each has its own."""
    prompt_a: pl.Series
    prompt_b: pl.Series
    text_a: pl.Series
    text_b: pl.Series
    whole: pl.Series
    """[n], true where a side has no assistant message: it has no prompt, and all of it is the answer."""


def split(a: pl.Series, b: pl.Series) -> Split:
    """Cut two conversations where their answers begin.

    The answers begin at the last assistant message before which the two are equal and which both still have: with one
    turn each that is the last message; where first answers differ, everything from them on (later user turns too) is
    the answer. Where the two differ before any such message, each side's answer is its last assistant message and each
    has its own prompt.
    """
    frame = pl.DataFrame({"a": a.rename("a"), "b": b.rename("b")}).with_row_index("row")
    long = [_long(frame, side) for side in "ab"]
    both = long[0].join(long[1], on=["row", "at"], how="inner", suffix="_b")
    both = both.with_columns((pl.col("key") == pl.col("key_b")).alias("equal"))
    mismatch = both.filter(~pl.col("equal")).group_by("row").agg(pl.col("at").min().alias("mismatch"))
    starts = (
        both.filter(pl.col("assistant") & pl.col("assistant_b"))
        .join(mismatch, on="row", how="left")
        .filter(pl.col("mismatch").is_null() | (pl.col("at") <= pl.col("mismatch")))
        .group_by("row")
        .agg(pl.col("at").max().alias("start"))
    )
    frame = frame.join(starts, on="row", how="left", maintain_order="left")
    for side, messages in zip("ab", long, strict=True):
        ends = messages.filter("assistant").group_by("row").agg(pl.col("at").max().alias(f"last_{side}"))
        frame = frame.join(ends, on="row", how="left", maintain_order="left")
    none = pl.lit(None, dtype=MESSAGES)
    shared = pl.col("start").is_not_null()
    columns = {"prompt": pl.when(shared).then(_nonempty(pl.col("a").list.slice(0, pl.col("start")))).otherwise(none)}
    for side in "ab":
        conversation, last = pl.col(side), pl.col(f"last_{side}").fill_null(0)
        own = pl.when(shared).then(none).otherwise(_nonempty(conversation.list.slice(0, last)))
        columns[f"prompt_{side}"] = own
        columns[f"text_{side}"] = conversation.list.slice(pl.when(shared).then(pl.col("start")).otherwise(last))
    whole = (~shared) & (pl.col("last_a").is_null() | pl.col("last_b").is_null())
    cut = frame.select(**columns, whole=whole)
    return Split(*(cut[name] for name in Split._fields))


def _long(frame: pl.DataFrame, side: str) -> pl.DataFrame:
    """Messages of one side: row, at (0-based), key (role and content), assistant."""
    long = frame.select("row", pl.col(side).alias("message")).filter(pl.col("message").list.len() > 0)
    long = long.with_columns(pl.int_ranges(0, pl.col("message").list.len()).alias("at")).explode("message", "at")
    message = pl.col("message").struct
    media = message.field("media").list.join("\x1d").fill_null("")
    return long.select(
        "row",
        "at",
        pl.concat_str(message.field("role"), message.field("content").fill_null("\x00"), media, separator="\x1f")
        .fill_null("\x00")
        .alias("key"),
        (message.field("role") == "assistant").fill_null(False).alias("assistant"),
    )


def _nonempty(messages: pl.Expr) -> pl.Expr:
    return pl.when(messages.list.len() > 0).then(messages).otherwise(pl.lit(None, dtype=MESSAGES))
