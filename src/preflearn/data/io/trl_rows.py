"""TRL columns: strict pairs (prompt, chosen, rejected) and thumbs (prompt, completion, label).

Layout: huggingface/trl `docs/source/dataset_formats.md`.
"""

from __future__ import annotations

import polars as pl

from preflearn.data.io.exported import ExportReport
from preflearn.data.io.flatten import is_plain
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

_MESSAGE = ("role", "content")


def preference_rows(
    data: PreferenceData, report: ExportReport, *, criterion: str | None, conversational: bool
) -> pl.DataFrame:
    """Decided comparisons as prompt, chosen, rejected (and chosen_model, rejected_model where systems are named).

    Args:
        conversational: lists of {role, content}; else text, which holds one user message and one answer.

    Raises:
        InputError: no comparisons, or several criteria and none named.
    """
    rows = _of_criterion(data, "comparisons", criterion, report)
    for outcome in ("tie", "both_good", "both_bad", "skip"):
        report.leave(f"outcome {outcome}: a pair needs a winner", rows.filter(pl.col("outcome") == outcome).height)
    report.leave("no outcome (not judged, or a teacher's probability)", rows["outcome"].null_count())
    rows = rows.filter(pl.col("outcome").is_in(["a", "b"]))
    a_wins = pl.col("outcome") == "a"
    rows = rows.with_columns(
        pl.when(a_wins).then("response_a").otherwise("response_b").alias("_chosen"),
        pl.when(a_wins).then("response_b").otherwise("response_a").alias("_rejected"),
    )
    responses = _responses(data)
    for name in ("chosen", "rejected"):
        renamed = responses.rename({column: f"_{name}_{column}" for column in responses.columns})
        rows = rows.join(
            renamed, left_on=f"_{name}", right_on=f"_{name}_response_id", how="left", maintain_order="left"
        )
    rows = _keep(
        rows, ~_no_content("_chosen_messages") & ~_no_content("_rejected_messages"), "an answer without text", report
    )
    same = pl.col("_chosen_prompt_id").eq_missing(pl.col("_rejected_prompt_id"))
    rows = _keep(rows, same, "the sides have different prompts", report)
    rows = rows.with_columns(pl.coalesce("_chosen_prompt_id", "prompt_id").alias("_prompt"))
    rows = _with_prompt(rows, data)
    rows = _keep(rows, ~_no_content("messages"), "no prompt", report)
    parts = ("messages", "_chosen_messages", "_rejected_messages")
    if not conversational:
        fits = (
            is_plain(pl.col(parts[0]), "user")
            & is_plain(pl.col(parts[1]), "assistant")
            & is_plain(pl.col(parts[2]), "assistant")
        )
        rows = _keep(
            rows, fits, "several messages, a system message or media: only trl-conversational holds them", report
        )
    _lost(rows, report)
    shape = _as_messages if conversational else _as_text
    columns = [shape(name).alias(new) for name, new in zip(parts, ("prompt", "chosen", "rejected"), strict=True)]
    for name in ("chosen", "rejected"):
        if rows[f"_{name}_system"].null_count() < rows.height:
            columns.append(pl.col(f"_{name}_system").alias(f"{name}_model"))
    report.written["comparisons"] = rows.height
    return rows.select(columns)


def unpaired_rows(data: PreferenceData, report: ExportReport, *, criterion: str | None) -> pl.DataFrame:
    """Ratings with the labels up and down as prompt, completion, label (true or false).

    Raises:
        InputError: no ratings, or several criteria and none named.
    """
    rows = _of_criterion(data, "ratings", criterion, report)
    if "label" not in rows.columns:
        rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias("label"))
    rows = _keep(rows, pl.col("label").is_in(["up", "down"]).fill_null(False), "no thumb (label up or down)", report)
    rows = rows.join(_responses(data), on="response_id", how="left", maintain_order="left", suffix="_of")
    owner = "prompt_id_of" if "prompt_id_of" in rows.columns else "prompt_id"
    rows = rows.rename({"messages": "_messages"}).with_columns(pl.col(owner).alias("_prompt"))
    rows = _keep(rows, ~_no_content("_messages"), "an answer without text", report)
    rows = _with_prompt(rows, data)
    rows = _keep(rows, ~_no_content("messages"), "no prompt", report)
    plain = rows.select(
        (is_plain(pl.col("messages"), "user") & is_plain(pl.col("_messages"), "assistant")).all()
    ).item()
    shape = _as_text if plain else _as_messages
    _lost(rows, report)
    report.written["ratings"] = rows.height
    return rows.select(
        shape("messages").alias("prompt"),
        shape("_messages").alias("completion"),
        (pl.col("label") == "up").alias("label"),
    )


def _of_criterion(data: PreferenceData, table: str, criterion: str | None, report: ExportReport) -> pl.DataFrame:
    if not data.height(table):
        raise InputError(f"there are no {table} to export.", cure="Convert the judgments that are there first.")
    for name, n in data.counts().items():
        if name in ("comparisons", "ratings", "rankings", "signals") and name != table:
            report.leave(f"{name}: this format holds {table}", n)
    shared = ["prompt_id", "criterion_id", "count", "weight", "strength"] if table == "comparisons" else []
    needed = data.select(
        table, [*_recorded(data, table), *[name for name in shared if name not in data.columns(table)]]
    )
    rows = needed.collect().with_columns(pl.col(pl.Categorical).cast(pl.String))
    if "criterion_id" not in rows.columns:
        return rows
    found = sorted(rows["criterion_id"].drop_nulls().unique())
    if criterion is None and len(found) + (rows["criterion_id"].null_count() > 0 and bool(found)) > 1:
        raise InputError(
            f"the {table} have several criteria: {', '.join(found)}.",
            cure="Name the one to export (--criterion); they are never pooled.",
        )
    if criterion is None:
        return rows
    if criterion not in found:
        raise InputError(f"there is no criterion {criterion!r}.", cure=f"There are: {', '.join(found) or 'none'}.")
    return _keep(
        rows, (pl.col("criterion_id") == criterion).fill_null(False), f"not about criterion {criterion}", report
    )


def _recorded(data: PreferenceData, table: str) -> list[str]:
    return data.columns(table)


def _responses(data: PreferenceData) -> pl.DataFrame:
    columns = ["response_id", "prompt_id", "system", "messages"]
    return data.select("responses", columns).collect().with_columns(pl.col("system").cast(pl.String))


def _with_prompt(rows: pl.DataFrame, data: PreferenceData) -> pl.DataFrame:
    prompts = data.select("prompts", ["prompt_id", "messages"]).collect()
    return rows.join(prompts.rename({"prompt_id": "_prompt"}), on="_prompt", how="left", maintain_order="left")


def _keep(rows: pl.DataFrame, condition: pl.Expr, otherwise: str, report: ExportReport) -> pl.DataFrame:
    kept = rows.filter(condition)
    report.leave(otherwise, rows.height - kept.height)
    return kept


def _no_content(name: str) -> pl.Expr:
    return (pl.col(name).list.len() == 0).fill_null(True)


def _lost(rows: pl.DataFrame, report: ExportReport) -> None:
    """Values of written rows that the columns of TRL do not hold."""
    for name, what in (
        ("annotator_id", "who judged"),
        ("strength", "strength of the preference"),
        ("count", "count above 1: one row stands for several judgments"),
        ("weight", "weight"),
        ("rationale", "rationale"),
        ("time", "time"),
        ("shown_first", "which side was shown first"),
    ):
        if name in rows.columns:
            present = (rows[name] > 1).sum() if name == "count" else rows[name].count()
            report.leave(what, int(present))


def _as_text(name: str) -> pl.Expr:
    return pl.col(name).list.first().struct.field("content")


def _as_messages(name: str) -> pl.Expr:
    element = pl.element().struct
    return pl.col(name).list.eval(pl.struct([element.field(part).alias(part) for part in _MESSAGE]))
