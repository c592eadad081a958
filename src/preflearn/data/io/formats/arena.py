"""LMArena and FastChat battles: two systems answer one conversation and a visitor votes.

Layouts read in lm-sys/FastChat `fastchat/serve/monitor/clean_battle_data.py` (model_a, model_b, winner, judge,
conversation_a/b, turn, anony, language, tstamp; winner model_a | model_b | tie | tie (bothbad); the left side is
model_a) and on the data cards lmsys/chatbot_arena_conversations (33k), lmarena-ai/arena-human-preference-55k (prompt
and responses as JSON lists, winner_model_a/winner_model_b/winner_tie), -100k (question_id, judge_hash, tstamp, anony,
is_refusal, dedup_tag, conv_metadata, category_tag; also FastChat's public battle logs without conversations)
and -140k (id, evaluation_session_id, evaluation_order, contents in parts, winner both_bad).
"""

from __future__ import annotations

import polars as pl

from preflearn.data.io import flat
from preflearn.data.io.base import Format, Sample
from preflearn.data.io.formats import tools
from preflearn.data.io.jsontext import decode
from preflearn.data.io.messages import as_message
from preflearn.data.reading import ImportReport
from preflearn.data.schema import MESSAGES
from preflearn.data.tables import PreferenceData

WINNERS = {
    "model_a": "a",
    "model_b": "b",
    "tie": "tie",
    "tie (bothbad)": "both_bad",
    "tie (both bad)": "both_bad",
    "both_bad": "both_bad",
    "bothbad": "both_bad",
    "both_good": "both_good",
}
"""Words for the winner; a tie and two bad answers are different outcomes."""

_MARKS = ("judge", "judge_hash", "conversation_a", "anony", "tstamp", "evaluation_session_id")
_KIND = "annotators.kind"
_RENAMED = {
    "model_a": "system_a",
    "model_b": "system_b",
    "judge": "annotator_id",
    "judge_hash": "annotator_id",
    "tstamp": "time",
    "timestamp": "time",
    "language": "prompts.language",
    "is_code": "prompts.is_code",
    "id": "comparison_id",
}


def read_battles(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """The 33k, 100k and 140k layouts and FastChat's battle logs, with or without conversations.

    Token and markdown counts of `conv_metadata` become columns of responses (tokens, headers, lists, bold).

    Raises:
        InputError: a column has an unusable type.
    """
    original = frame
    for name in {"judge", "judge_hash"} & set(frame.columns):
        report.map(f"{name} -> annotator", frame[name].count())
        machine = pl.col(name).cast(pl.String).str.starts_with("gpt")
        frame = frame.with_columns(pl.when(machine).then(pl.lit("judge")).otherwise(pl.lit("person")).alias(_KIND))
    if "tstamp" in frame.columns:
        frame = frame.with_columns(tools.unix_seconds("tstamp"))
        report.map("tstamp seconds -> time", frame["tstamp"].count())
        frame = frame.with_columns(pl.lit("a").alias("shown_first"))
        report.note("model_a was shown on the left (FastChat: leftvote is model_a), so shown_first is a.")
    frame = tools.outcomes(frame, "winner", WINNERS, report)
    frame = _question_id(frame)
    media: list[pl.DataFrame | None] = []
    if {"conversation_a", "conversation_b"} <= set(frame.columns):
        sides = [tools.messages(frame, f"conversation_{side}", "user", report) for side in "ab"]
        media = [side.media for side in sides]
        frame = tools.split_sides(frame, sides[0].column, sides[1].column, report)
        frame = frame.drop("conversation_a", "conversation_b")
    frame = _session(frame, report)
    frame = _style(frame)
    frame = tools.unnest(frame, "category_tag", "prompts.category_")
    frame = tools.unnest(frame, "occupational_tags", "prompts.occupational_")
    frame = tools.unnest(frame, "dedup_tag", "dedup_")
    frame = tools.as_json(frame, ["openai_moderation", "toxic_chat_tag"], to="prompts.")
    frame = tools.rename(frame, _RENAMED)
    if "prompt" not in frame.columns:  # attributes of a prompt need one
        frame = frame.rename({name: name.removeprefix("prompts.") for name in frame.columns if name[:8] == "prompts."})
    return tools.with_media(flat.build(frame, report, kind="comparisons", original=original), media)


def read_55k(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """The 55k layout: JSON lists of user turns and of both sides' answers, and three columns that name the winner.

    Raises:
        InputError: a column has an unusable type.
    """
    original = frame
    flags = [pl.col(f"winner_{name}").cast(pl.Int8) == 1 for name in ("model_a", "model_b", "tie")]
    voted = pl.sum_horizontal(flags)
    outcome = pl.when(flags[0]).then(pl.lit("a")).when(flags[1]).then(pl.lit("b")).when(flags[2]).then(pl.lit("tie"))
    frame = frame.with_columns(pl.when(voted == 1).then(outcome).alias("outcome"))
    frame = tools.reject_where(
        frame, pl.when(voted > 1).then(pl.lit("more than one winner column is 1")), report, original
    )
    report.note("The 55k release does not tell a tie from two bad answers: both are tie.")
    frame = frame.drop("winner_model_a", "winner_model_b", "winner_tie")
    for name in ("prompt", "response_a", "response_b"):
        frame = _decoded(frame, name, report, original)
    lengths = [pl.col(name).list.len() for name in ("prompt", "response_a", "response_b")]
    uneven = (lengths[0] != lengths[1]) | (lengths[0] != lengths[2])
    frame = tools.reject_where(
        frame,
        pl.when(uneven).then(pl.format("{} user turns with {} and {} answers", *lengths)),
        report,
        original,
    )
    for value, n in frame.group_by("outcome").len().sort("outcome").rows():
        report.map(f"winner columns -> outcome {value}" if value else "no winner column is 1 -> not yet judged", n)
    a, b = (_interleaved(frame["prompt"], frame[f"response_{side}"]) for side in "ab")
    frame = tools.split_sides(frame.drop("prompt", "response_a", "response_b"), a, b, report)
    return flat.build(tools.rename(frame, _RENAMED), report, kind="comparisons", original=original)


def _question_id(frame: pl.DataFrame) -> pl.DataFrame:
    """FastChat's question_id is that of one conversation, hence of the vote; a number is that of a shared question."""
    if "question_id" in frame.columns and frame.schema["question_id"] == pl.String and "id" not in frame.columns:
        return frame.rename({"question_id": "comparison_id"})
    return frame


def _session(frame: pl.DataFrame, report: ImportReport) -> pl.DataFrame:
    """Later votes of a session keep what was said before; in a first vote it would say everything twice."""
    if "evaluation_session_id" in frame.columns:
        report.note(
            "Who voted is not recorded; votes of one evaluation_session_id are thought to come from one person: "
            "cluster by that column."
        )
    if "full_conversation" not in frame.columns:
        return frame
    whole = pl.col("full_conversation")
    later = pl.col("evaluation_order") > 1 if "evaluation_order" in frame.columns else pl.lit(True)
    kept = frame.with_columns(pl.when(later).then(whole).alias("full_conversation"))
    dropped = frame["full_conversation"].count() - kept["full_conversation"].count()
    report.map("full_conversation of a session's first vote, which repeats the conversations -> not kept", dropped)
    return kept


def _style(frame: pl.DataFrame) -> pl.DataFrame:
    """`conv_metadata`: counts of tokens and markdown of either side -> columns of its response."""
    if "conv_metadata" not in frame.columns or not isinstance(frame.schema["conv_metadata"], pl.Struct):
        return frame
    dtype = frame.schema["conv_metadata"]
    assert isinstance(dtype, pl.Struct)
    fields = {field.name: field.dtype for field in dtype.fields}
    columns: list[pl.Expr] = []
    used: set[str] = set()
    for side in "ab":
        parts = {"tokens": f"sum_assistant_{side}_tokens"}
        parts |= {
            name: f"{stem}_count_{side}" for name, stem in (("headers", "header"), ("lists", "list"), ("bold", "bold"))
        }
        for name, source in parts.items():
            if source not in fields:
                continue
            value, kind = pl.col("conv_metadata").struct.field(source), fields[source]
            if isinstance(kind, pl.Struct):
                counts = [value.struct.field(field.name) for field in kind.fields]
                counted = pl.any_horizontal(count.is_not_null() for count in counts)
                value = pl.when(counted).then(pl.sum_horizontal(counts))
            columns.append(value.cast(pl.Int64).alias(f"{side}.{name}"))
            used.add(source)
    rest = [name for name in fields if name not in used]
    columns += [pl.col("conv_metadata").struct.field(name).alias(name) for name in rest]
    return frame.with_columns(columns).drop("conv_metadata")


def _decoded(frame: pl.DataFrame, name: str, report: ImportReport, original: pl.DataFrame) -> pl.DataFrame:
    """A column of JSON lists of texts as lists; a text that is no JSON list rejects its row."""
    if isinstance(frame.schema[name], pl.List):
        return frame.with_columns(pl.col(name).cast(pl.List(pl.String)))
    values, reasons = decode(frame[name].cast(pl.String))
    if not isinstance(values.dtype, pl.List):
        reasons = dict.fromkeys(range(frame.height), "not a JSON list") | reasons
        values = pl.Series(name, [None] * frame.height, dtype=pl.List(pl.String))
    reason = pl.Series(
        [f"{name}: {reasons[row]}" if row in reasons else None for row in range(frame.height)], dtype=pl.String
    )
    frame = frame.with_columns(values.cast(pl.List(pl.String)).alias(name), reason.alias("_why"))
    return tools.reject_where(frame, pl.col("_why"), report, original).drop("_why")


def _interleaved(prompts: pl.Series, answers: pl.Series) -> pl.Series:
    """Lists of user turns and of answers, of equal lengths, as conversations."""
    rows = pl.DataFrame({"user": prompts, "assistant": answers}).with_row_index("row")
    long = rows.filter(pl.col("user").list.len() > 0).explode("user", "assistant")
    both = [as_message(pl.lit(role), pl.col(role)) for role in ("user", "assistant")]
    pairs = long.select("row", pl.concat_list(both).alias("pair"))
    lists = pairs.explode("pair").group_by("row", maintain_order=True).agg("pair")
    whole = rows.select("row").join(lists, on="row", how="left", maintain_order="left")
    return whole["pair"].cast(MESSAGES)


def _is_battle(sample: Sample) -> bool:
    return sample.has("model_a", "model_b", "winner") and any(mark in sample.columns for mark in _MARKS)


ARENA = Format(
    name="arena",
    about="LMArena and FastChat battles (33k, 100k, 140k, logs): lm-sys/FastChat clean_battle_data.py; data cards.",
    needs=(
        "model_a, model_b, winner (and one of judge, judge_hash, conversation_a, anony, tstamp, evaluation_session_id)",
    ),
    detect=_is_battle,
    read=read_battles,
)
ARENA_55K = Format(
    name="arena-55k",
    about="LMArena 55k (also the Kaggle competition's train.csv): data card lmarena-ai/arena-human-preference-55k.",
    needs=("model_a, model_b, prompt, response_a, response_b, winner_model_a, winner_model_b, winner_tie",),
    detect=lambda sample: sample.has("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b"),
    read=read_55k,
)
