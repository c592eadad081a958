"""Tables -> flat rows under role names: one row a judgment, with prompt, texts, systems and who judged."""

from __future__ import annotations

import polars as pl

from preflearn.data.io.exported import ExportReport
from preflearn.data.schema import TABLES
from preflearn.data.tables import PreferenceData

_DERIVED = {"content_hash"}
"""Columns that an import makes again."""


def flat_comparisons(data: PreferenceData, report: ExportReport) -> pl.DataFrame:
    """One row a comparison: comparison_id, prompt, text_a, text_b, system_a, system_b, outcome, further columns.

    Columns of responses stand as `a.NAME` and `b.NAME`, those of prompts, annotators, criteria as `prompts.NAME` etc.
    """
    judged = data.comparisons
    sides = {side: _side(data, side) for side in "ab"}
    rows = judged.with_columns(pl.col(pl.Categorical).cast(pl.String))
    for side, frame in sides.items():
        rows = rows.join(frame, left_on=f"response_{side}", right_on="_id", how="left", maintain_order="left")
    rows = rows.drop("response_a", "response_b") if _named(rows) else _with_ids(rows, ("a", "b"))
    rows = _with_prompts(rows, data, [f"_prompt_{side}" for side in "ab"], report)
    return _ordered(_with_people(rows, data), "comparisons")


def flat_ratings(data: PreferenceData, report: ExportReport) -> pl.DataFrame:
    """One row a rating: rating_id, prompt, text, system, value, label, ... and further columns."""
    rows = data.ratings.with_columns(pl.col(pl.Categorical).cast(pl.String))
    rows = rows.join(_side(data, ""), left_on="response_id", right_on="_id", how="left", maintain_order="left")
    rows = _with_prompts(rows, data, ["_prompt_"], report)
    return _ordered(_with_people(rows, data), "ratings")


def flat_rankings(data: PreferenceData, report: ExportReport) -> pl.DataFrame:
    """One row a ranking: ranking_id, prompt, texts, systems, ranks, ... (lists of equal length) and further columns."""
    rows = data.rankings.with_columns(pl.col(pl.Categorical).cast(pl.String))
    side = _side(data, "")
    items = rows.select("ranking_id", "responses").explode("responses")
    items = items.join(side, left_on="responses", right_on="_id", how="left", maintain_order="left")
    named = {"responses": "response_ids", "text": "texts", "system": "systems"}
    lists = [pl.col(old).alias(new) for old, new in named.items() if old in items.columns]
    others = [name for name in items.columns if name not in (*named, "ranking_id", "_prompt_")]
    lists += [pl.col(name).alias(name if "." in name else f"responses.{name}") for name in others]
    prompt = pl.col("_prompt_").drop_nulls().first()
    folded = items.group_by("ranking_id", maintain_order=True).agg(*lists, prompt)
    several = items.group_by("ranking_id").agg(pl.col("_prompt_").drop_nulls().n_unique().alias("n"))
    report.leave("prompts of a ranking beyond the first", int((several["n"] - 1).clip(lower_bound=0).sum()))
    rows = rows.drop("responses").join(folded, on="ranking_id", how="left", maintain_order="left")
    rows = _with_prompts(rows, data, ["_prompt_"], report)
    return _ordered(_with_people(rows, data), "rankings")


def _side(data: PreferenceData, side: str) -> pl.DataFrame:
    """Responses under the role names of one side, with `_id` and `_prompt_SIDE`."""
    end = f"_{side}" if side else ""
    qualifier = side or "responses"
    columns = [pl.col("response_id").alias("_id")]
    responses = data.responses.with_columns(pl.col(pl.Categorical).cast(pl.String))
    if "prompt_id" not in responses.columns:
        responses = responses.with_columns(pl.lit(None, dtype=pl.String).alias("prompt_id"))
    for name in responses.columns:
        if name == "response_id" or name in _DERIVED:
            continue
        if name == "prompt_id":
            columns.append(pl.col(name).alias(f"_prompt_{side}"))
        elif name == "messages":
            columns.append(content(pl.col(name), "assistant", responses, name).alias(f"text{end}"))
        elif name == "system":
            columns.append(pl.col(name).alias(f"system{end}"))
        elif responses[name].null_count() < responses.height:
            columns.append(pl.col(name).alias(f"{qualifier}.{name}"))
    return responses.select(columns)


def content(messages: pl.Expr, role: str, frame: pl.DataFrame, name: str) -> pl.Expr:
    """Messages as plain text where every one of them is a single text of `role`, else as they are."""
    plain = frame.select(is_plain(pl.col(name), role).all()).item()
    if plain:
        return messages.list.first().struct.field("content")
    return messages


def is_plain(messages: pl.Expr, role: str) -> pl.Expr:
    """Whether messages (or null) are one text of `role`, without name and media."""
    first = messages.list.first().struct
    one = (messages.list.len() == 1) & (first.field("role") == role) & first.field("content").is_not_null()
    bare = first.field("name").is_null() & first.field("media").is_null()
    return messages.is_null() | (one & bare).fill_null(False)


def _named(rows: pl.DataFrame) -> bool:
    """Whether every response is a named system without content, whose id is its name."""
    if not {"system_a", "system_b"} <= set(rows.columns):
        return False
    same = [pl.col(f"response_{side}").eq_missing(pl.col(f"system_{side}")) for side in "ab"]
    bare = [pl.col(f"text_{side}").is_null() for side in "ab" if f"text_{side}" in rows.columns]
    return bool(rows.select(pl.all_horizontal(*same, *bare).all()).item())


def _with_ids(rows: pl.DataFrame, sides: tuple[str, ...]) -> pl.DataFrame:
    return rows.rename({f"response_{side}": f"response_id_{side}" for side in sides})


def _with_prompts(rows: pl.DataFrame, data: PreferenceData, owned: list[str], report: ExportReport) -> pl.DataFrame:
    """The prompt of the judgment or of its responses: one where they agree, one a side where they do not."""
    shared = [pl.col(name) for name in owned]
    own = "prompt_id" in rows.columns
    if own:
        shared = [pl.col("prompt_id"), *shared]
    agree = pl.lit(True)
    if len(owned) == 2:
        agree = pl.col(owned[0]).eq_missing(pl.col(owned[1])) | pl.any_horizontal(
            pl.col(name).is_null() for name in owned
        )
    rows = rows.with_columns(pl.when(agree).then(pl.coalesce(shared)).otherwise(None).alias("prompt_id"))
    prompts = data.prompts.with_columns(pl.col(pl.Categorical).cast(pl.String))
    named = {name: f"prompts.{name}" for name in prompts.columns if name not in ("prompt_id", "messages")}
    described = prompts.rename(named)
    if "messages" in described.columns:
        described = described.with_columns(content(pl.col("messages"), "user", described, "messages").alias("prompt"))
        described = described.drop("messages")
    apart = rows["prompt_id"].null_count() > 0 and len(owned) == 2
    different = rows.select((~agree).sum()).item() if apart else 0
    rows = rows.join(described, on="prompt_id", how="left", maintain_order="left")
    if different:
        texts = (
            described.select("prompt_id", "prompt") if "prompt" in described.columns else described.select("prompt_id")
        )
        for side in "ab":
            keyed = rows.select(pl.when(~agree).then(f"_prompt_{side}").alias("prompt_id"))
            found = keyed.join(texts, on="prompt_id", how="left", maintain_order="left")
            renamed = {"prompt_id": f"prompt_id_{side}", "prompt": f"prompt_{side}"}
            rows = rows.hstack(found.rename({old: new for old, new in renamed.items() if old in found.columns}))
        if any(prompts[name].count() for name in named):
            report.leave("attributes of prompts (language, ...) where the sides have different prompts", different)
    rows = rows.drop(owned)
    return rows.drop("prompt_id") if rows["prompt_id"].null_count() == rows.height else rows


def _with_people(rows: pl.DataFrame, data: PreferenceData) -> pl.DataFrame:
    for table in ("annotators", "criteria"):
        key = TABLES[table].key
        frame = data.table(table).with_columns(pl.col(pl.Categorical).cast(pl.String))
        kept = [name for name in frame.columns if name != key and frame[name].null_count() < frame.height]
        if key in rows.columns and kept:
            frame = frame.select(key, *[pl.col(name).alias(f"{table}.{name}") for name in kept])
            rows = rows.join(frame, on=key, how="left", maintain_order="left")
    return rows


_FIRST = (
    "comparison_id", "rating_id", "ranking_id", "prompt_id", "prompt", "prompt_a", "prompt_b", "system", "system_a",
    "system_b", "systems", "text", "text_a", "text_b", "texts", "ranks", "outcome", "strength", "value", "label",
    "annotator_id", "criterion_id",
)  # fmt: skip


def _ordered(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """What people look at first comes first; columns without a value are left out."""
    empty = [name for name in rows.columns if rows[name].null_count() == rows.height and rows.height]
    rows = rows.drop([name for name in empty if name not in TABLES[kind].required and name != "outcome"])
    first = [name for name in _FIRST if name in rows.columns]
    return rows.select(*first, *[name for name in rows.columns if name not in first])
