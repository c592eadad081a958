"""One number per comparison that says which judgment it is, so that training rows are recognised in a test set.

Stable across machines, versions and storage. A fitted model keeps those of its training rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.columns import attach
from preflearn.data.ids import content_id, digest
from preflearn.data.tables import PreferenceData

Fingerprints = npt.NDArray[np.uint64]

_FIELD, _MEDIUM, _NULL = "\x1f", "\x1d", "\x00"


def row_fingerprints(data: PreferenceData) -> Fingerprints:
    """Fingerprint of every row of `data.comparisons`: [n], equal for the same judgment, whatever its answer.

    The same judgment is: the same two contents (whichever is called a) under the same prompt contents, put to the same
    annotator under the same criterion and context at the same time. Content is text or media where recorded, else
    content_hash, else the response ids. Imports number showings and rows anew, so their ids take part only where
    nothing else tells rows apart: presentation_id where neither content nor time is known, comparison_id where there is
    no prompt or presentation either (votes between named systems). The answer never takes part.

    Equal by accident with probability about `rows**2 / 2**65`.
    """
    wanted = {
        "annotator": "comparisons.annotator_id",
        "criterion": "comparisons.criterion_id",
        "context": "comparisons.context",
        "time": "comparisons.time",
        "showing": "comparisons.presentation_id",
        "prompt_a": "a.prompts.prompt_id",
        "prompt_b": "b.prompts.prompt_id",
    }
    attached = attach(data, "comparisons", {f"__{alias}": name for alias, name in wanted.items()})
    frame = attached.select(
        pl.col("comparison_id").alias("row"),
        pl.col("response_a").alias("a"),
        pl.col("response_b").alias("b"),
        *(pl.col(f"__{alias}").alias(alias) for alias in wanted),
    ).collect()
    responses, prompts = response_contents(data), prompt_contents(data)
    for side in ("a", "b"):
        frame = frame.join(
            responses.rename({"content": f"content_{side}"}),
            left_on=side,
            right_on="id",
            how="left",
            maintain_order="left",
        ).join(
            prompts.rename({"asked": f"asked_{side}"}),
            left_on=f"prompt_{side}",
            right_on="id",
            how="left",
            maintain_order="left",
        )
    sides = {
        side: pl.concat_str(
            pl.coalesce(f"content_{side}", side),
            pl.coalesce(f"asked_{side}", f"prompt_{side}").fill_null(_NULL),
            separator=_FIELD,
        )
        for side in ("a", "b")
    }
    by_content = pl.any_horizontal(pl.col("content_a", "content_b", "time").is_not_null())
    by_showing = by_content | pl.any_horizontal(pl.col("prompt_a", "prompt_b", "showing").is_not_null())
    key = frame.select(
        pl.concat_str(
            pl.min_horizontal(sides["a"], sides["b"]),
            pl.max_horizontal(sides["a"], sides["b"]),
            *(pl.col(c).cast(pl.String).fill_null(_NULL) for c in ("annotator", "criterion", "context")),
            pl.col("time").dt.timestamp("us").cast(pl.String).fill_null(_NULL),
            pl.when(by_content).then(pl.lit("")).otherwise(pl.col("showing").fill_null(_NULL)),
            pl.when(by_showing).then(pl.lit("")).otherwise(pl.col("row")),
            separator=_FIELD,
        ).alias("key")
    ).to_series()
    hexadecimal = digest(key).to_frame("key").select(pl.col("key").str.slice(0, 16))
    return hexadecimal.select(pl.col("key").str.to_integer(base=16, dtype=pl.UInt64)).to_series().to_numpy()


def pair_contents(data: PreferenceData) -> pl.DataFrame:
    """What each row of `data.comparisons` compares, whichever side it is on: columns `low`, `high`, in row order.

    Contents where they are known, else response ids: equal texts of two systems are the same thing to whoever reads.
    """
    known = response_contents(data).drop_nulls("content")
    frame = data.select("comparisons", ["response_a", "response_b"]).collect()
    for side in ("a", "b"):
        frame = frame.join(
            known.rename({"content": f"content_{side}"}),
            left_on=f"response_{side}",
            right_on="id",
            how="left",
            maintain_order="left",
        )
    sides = [pl.coalesce(f"content_{side}", f"response_{side}") for side in ("a", "b")]
    return frame.select(low=pl.min_horizontal(sides), high=pl.max_horizontal(sides))


def response_contents(data: PreferenceData) -> pl.DataFrame:
    """Content of each response that has one: `id`, `content` (null where only ids are known)."""
    frame = data.select("responses", ["response_id", "messages", "media", "content_hash"]).collect()
    text = content_id(frame["messages"])
    own = pl.DataFrame({"id": frame["response_id"], "text": text}).with_columns(
        frame["media"].list.join(_MEDIUM).alias("media"), frame["content_hash"].alias("hash")
    )
    shown = pl.concat_str("text", "media", separator=_MEDIUM, ignore_nulls=True)
    has_content = pl.col("text").is_not_null() | pl.col("media").is_not_null()
    content = pl.when(has_content).then(shown).otherwise(pl.col("hash")).alias("content")
    return own.select("id", content).unique("id", keep="first").drop_nulls()


def prompt_contents(data: PreferenceData) -> pl.DataFrame:
    """Content of each prompt that has one: `id`, `asked`."""
    frame = data.select("prompts", ["prompt_id", "messages"]).collect()
    asked = pl.DataFrame({"id": frame["prompt_id"], "asked": content_id(frame["messages"])})
    return asked.unique("id", keep="first").drop_nulls()
