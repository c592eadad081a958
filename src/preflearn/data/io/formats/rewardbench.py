"""RewardBench 1 and 2: answers of which some are known to be better.

Layouts read on the data cards allenai/reward-bench (prompt, chosen, chosen_model, rejected, rejected_model, subset, id)
and allenai/reward-bench-2 (id, prompt, chosen and rejected as lists, num_correct, num_incorrect, models, subset; in the
subset Ties all chosen answers are equally right).
"""

from __future__ import annotations

import polars as pl

from preflearn.data.io import flat
from preflearn.data.io.base import Format, Sample
from preflearn.data.io.formats import tools
from preflearn.data.reading import ImportReport
from preflearn.data.tables import PreferenceData

_SUBSET = {"subset": "prompts.category"}


def read_first(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """RewardBench 1: the chosen answer is side a; the subset is the prompt's category and a column of the comparison.

    Raises:
        InputError: a column has an unusable type.
    """
    original = frame
    frame = frame.with_columns(pl.col("subset").alias("prompts.category"), pl.lit("a").alias("outcome"))
    named = {
        "chosen": "text_a",
        "rejected": "text_b",
        "chosen_model": "system_a",
        "rejected_model": "system_b",
        "id": "comparison_id",
    }
    frame = tools.rename(frame, named).with_columns(pl.lit("benchmark").alias("protocol"))
    report.map("chosen -> side a, outcome a", frame.height)
    report.note("The labels come from how the benchmark was built, not from one annotator; the chosen one is side a.")
    return flat.build(frame, report, kind="comparisons", original=original)


def read_second(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """RewardBench 2: one ranking a prompt; right answers share rank 1, wrong ones were shown and are not ranked.

    `models` names the completions without saying which is whose unless all are the same one: then it is their system,
    else it stays a column of the ranking.

    Raises:
        InputError: a column has an unusable type.
    """
    original = frame
    frame = frame.with_columns([_as_list(frame, name) for name in ("chosen", "rejected")])
    empty = [
        pl.when(pl.col(name).list.len().fill_null(0) == 0).then(pl.lit(f"{name} is empty"))
        for name in ("chosen", "rejected")
    ]
    frame = tools.reject_where(frame, pl.coalesce(empty), report, original)
    right, wrong = pl.col("chosen").list.len(), pl.col("rejected").list.len()
    ones, below = (pl.lit(rank, dtype=pl.Int32).repeat_by(n) for rank, n in ((1, right), (None, wrong)))
    frame = frame.with_columns(
        pl.concat_list("chosen", "rejected").alias("texts"),
        pl.concat_list(ones, below).alias("ranks"),
        pl.col("subset").alias("prompts.category"),
        pl.lit("partial").alias("kind"),
        pl.lit("benchmark").alias("protocol"),
    )
    for name, found in (("num_correct", right), ("num_incorrect", wrong)):
        if name in frame.columns:
            off = frame.filter(pl.col(name) != found).height
            report.map(f"{name} differs from the number of answers given (the answers count)", off)
    report.map("chosen -> rank 1, rejected -> no rank, below", frame.height)
    report.map("several right answers (tied at rank 1)", frame.filter(right > 1).height)
    frame = _systems(frame).drop(
        "chosen", "rejected", "num_correct", "num_incorrect", "total_completions", strict=False
    )
    frame = tools.as_json(frame, ["additional_metadata"]).rename({"id": "ranking_id"})
    report.note("The labels come from how the benchmark was built; wrong answers were not compared with each other.")
    return flat.build(frame, report, kind="rankings", original=original)


def _as_list(frame: pl.DataFrame, name: str) -> pl.Expr:
    if isinstance(frame.schema[name], pl.List):
        return pl.col(name).cast(pl.List(pl.String))
    return pl.when(pl.col(name).is_not_null()).then(pl.concat_list(pl.col(name).cast(pl.String)))


def _systems(frame: pl.DataFrame) -> pl.DataFrame:
    if "models" not in frame.columns or not isinstance(frame.schema["models"], pl.List):
        return frame
    one = pl.col("models").list.drop_nulls().list.unique()
    count = pl.col("ranks").list.len()
    same = one.list.len() == 1
    return frame.with_columns(
        pl.when(same).then(one.list.first()).otherwise(None).repeat_by(count).alias("systems"),
        pl.when(~same).then("models").alias("models"),
    )


def _lists(sample: Sample) -> bool:
    return all(
        isinstance(sample.columns[name], pl.List) and sample.columns[name] == pl.List(pl.String)
        for name in ("chosen", "rejected")
    )


REWARDBENCH = Format(
    name="rewardbench",
    about="RewardBench 1: data card allenai/reward-bench.",
    needs=("prompt, chosen, rejected, subset, id, chosen_model, rejected_model",),
    detect=lambda sample: (
        sample.has("prompt", "chosen", "rejected", "chosen_model", "rejected_model", "subset", "id")
        and sample.columns["chosen"] == pl.String
    ),
    read=read_first,
)
REWARDBENCH_2 = Format(
    name="rewardbench-2",
    about="RewardBench 2: data card allenai/reward-bench-2.",
    needs=("id, prompt, chosen (list of texts), rejected (list of texts), subset",),
    detect=lambda sample: sample.has("id", "prompt", "chosen", "rejected", "subset") and _lists(sample),
    read=read_second,
)
