"""Deterministic ids: equal content has an equal id on every machine and in every version.

Knows nothing about files or roles; `data.io` decides what makes two rows the same thing.
"""

from __future__ import annotations

from hashlib import blake2b

import polars as pl

from preflearn.data.schema import MESSAGES

DIGEST_BYTES = 10
"""80 bits: among 100 million contents two collide with a probability below 1 in 200 million."""

_FIELD, _MESSAGE, _NULL = "\x1f", "\x1e", "\x00"
_SLICE = 200_000


def digest(values: pl.Series, *, before: str = "", after: str = "") -> pl.Series:
    """blake2b digests (hex) of `before + value + after`; null stays null. Each distinct value is hashed once.

    Args:
        values: texts, [n].

    Returns:
        Digests, [n], String, under the name of `values`.
    """
    distinct = values.drop_nulls().unique()
    hashes: list[str] = []
    for start in range(0, distinct.len(), _SLICE):
        hashes += [
            blake2b(f"{before}{text}{after}".encode(), digest_size=DIGEST_BYTES).hexdigest()
            for text in distinct.slice(start, _SLICE)
        ]
    table = pl.DataFrame({"value": distinct, "digest": pl.Series(hashes, dtype=pl.String)})
    joined = values.alias("value").to_frame().join(table, on="value", how="left", maintain_order="left")
    return joined["digest"].alias(values.name)


def content_id(content: pl.Series, *, role: str = "assistant") -> pl.Series:
    """Digest of texts or message lists: a text has the digest of the one message of `role` that it stands for.

    Args:
        content: String, or lists of {role, content[, name, media]}, [n].
        role: whose message a plain text is.

    Returns:
        Digests, [n]; null where the content is null. This is `responses.content_hash`.
    """
    if content.dtype in (pl.String, pl.Null):
        text = content.cast(pl.String)
        return digest(text, before=f"{role}{_FIELD}{_FIELD}", after=_FIELD)
    return digest(_canonical(content))


def prompt_id(content: pl.Series) -> pl.Series:
    """Id of a prompt from its text or messages (`p` + digest); null where the content is null."""
    return _prefixed("p", content_id(content, role="user"))


def joint_id(prefix: str, parts: pl.DataFrame) -> pl.Series:
    """Ids of rows: prefix + digest of all columns of `parts` (text; null differs from empty).

    Used for a response: (prompt_id, system, author_id, content_hash, ...).
    """
    key = parts.select(
        pl.concat_str([pl.col(name).cast(pl.String).fill_null(_NULL) for name in parts.columns], separator=_FIELD)
    ).to_series()
    return _prefixed(prefix, digest(key))


def _prefixed(prefix: str, digests: pl.Series) -> pl.Series:
    return digests.to_frame("id").select(pl.lit(prefix) + pl.col("id")).to_series()


def _canonical(content: pl.Series) -> pl.Series:
    """One text per message list; the fields of `MESSAGES` in order, absent ones empty."""
    inner = content.dtype.inner if isinstance(content.dtype, pl.List) else None
    assert isinstance(inner, pl.Struct), f"content of type {content.dtype} cannot be hashed"
    present = {field.name for field in inner.fields}
    element = pl.element()
    assert isinstance(MESSAGES.inner, pl.Struct)
    parts = []
    for field in MESSAGES.inner.fields:
        if field.name not in present:
            parts.append(pl.lit(""))
        elif field.name == "media":
            parts.append(element.struct.field("media").cast(pl.List(pl.String)).list.join("\x1d").fill_null(""))
        else:
            absent = _NULL if field.name == "content" else ""
            parts.append(element.struct.field(field.name).cast(pl.String).fill_null(absent))
    one = pl.concat_str(parts, separator=_FIELD)
    return content.to_frame("c").select(pl.col("c").list.eval(one).list.join(_MESSAGE)).to_series()
