"""TRL data sets: preference pairs with an explicit or implicit prompt, as text or messages, and unpaired thumbs.

Layouts read in huggingface/trl `docs/source/dataset_formats.md` (preference: prompt, chosen, rejected; implicit prompt:
chosen and rejected begin alike; unpaired preference: prompt, completion, label) and on the data card
HuggingFaceH4/ultrafeedback_binarized (chosen and rejected repeat the prompt; score_chosen, score_rejected).
"""

from __future__ import annotations

import polars as pl

from preflearn.data.io import flat
from preflearn.data.io.base import Format, Sample
from preflearn.data.io.formats import tools
from preflearn.data.io.messages import holds_json, is_conversation
from preflearn.data.reading import ImportReport
from preflearn.data.schema import MESSAGES
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

_TAKEN = ("outcome", "text", "count", "weight", "value", "strength", "probability", "raw", "context")
_TRUE, _FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no")


def read_preference(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """Pairs in which one answer was chosen; it becomes side a.

    Messages: what chosen and rejected share is the prompt, whether `prompt` repeats it or not; `prompt` precedes it
    where they do not begin with it. Plain text without `prompt`: the common beginning up to a space is the prompt (TRL
    cuts inside a word).

    Raises:
        InputError: a column is neither text nor messages.
    """
    original = frame
    frame = _free(frame)
    frame = _repeated_messages(frame, report)
    talk = any(_conversational(frame[name]) for name in ("chosen", "rejected"))
    frame = _absent(frame, ("chosen", "rejected"), report, original)
    media: list[pl.DataFrame | None] = []
    if talk:
        frame, media = _from_messages(frame, report)
    elif "prompt" in frame.columns:
        prompt = tools.messages(frame, "prompt", "user", report)
        media = [prompt.media]
        frame = frame.with_columns(prompt.column).rename({"chosen": "text_a", "rejected": "text_b"})
        frame = _as_text(frame, ("text_a", "text_b"))
    else:
        frame = _common_beginning(frame, report)
    frame = _systems(frame).with_columns(pl.lit("a").alias("outcome"))
    report.map("chosen -> side a, outcome a", frame.height)
    report.note("Which side was shown first is not recorded; the chosen one is always side a.")
    return tools.with_media(flat.build(frame, report, kind="comparisons", original=original), media)


def read_unpaired(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """One completion a row with a thumb: label true = up, false = down, kept as ratings with labels `up` and `down`.

    Raises:
        InputError: a column is neither text nor messages.
    """
    original = frame
    frame = _free(frame.rename({"label": "_label"}))
    prompt = tools.messages(frame, "prompt", "user", report) if "prompt" in frame.columns else None
    answer = tools.messages(frame, "completion", "assistant", report)
    frame = frame.drop("completion").with_columns(answer.column.alias("text"))
    if prompt is not None:
        frame = frame.with_columns(prompt.column)
    word = pl.col("_label").cast(pl.String).str.to_lowercase()
    thumb = pl.when(word.is_in(_TRUE)).then(pl.lit("up")).when(word.is_in(_FALSE)).then(pl.lit("down"))
    frame = frame.with_columns(thumb.alias("label"), word.alias("_word"))
    unknown = pl.when(pl.col("label").is_null()).then(pl.format("label {} is neither true nor false", "_word"))
    reason = pl.when(pl.col("_word").is_null()).then(pl.lit("no label")).otherwise(unknown)
    frame = tools.reject_where(frame, reason, report, original)
    for label, n in frame.group_by("label").len().sort("label").rows():
        report.map(f"label {str(label == 'up').lower()} -> thumb {label}", n)
    frame = frame.with_columns(
        pl.when(pl.col("label") == "up").then(1.0).otherwise(0.0).alias("value"),
        pl.lit("thumb").alias("protocol"),
    )
    media = [answer.media, prompt.media if prompt else None]
    return tools.with_media(flat.build(frame, report, kind="ratings", original=original), media)


def _free(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns of the source whose names mean something else in the plan ride along as `source_NAME`."""
    return tools.rename(frame, {name: f"source_{name}" for name in _TAKEN})


def _conversational(column: pl.Series) -> bool:
    return is_conversation(column.dtype) or holds_json(column)


def _repeated_messages(frame: pl.DataFrame, report: ImportReport) -> pl.DataFrame:
    """Some conversational sets carry `messages`, a copy of chosen."""
    if "messages" in frame.columns and frame.schema["messages"] == frame.schema["chosen"]:
        same = frame["messages"].eq_missing(frame["chosen"])
        if same.all():
            report.note("Column 'messages' repeats chosen and is not kept.")
            return frame.drop("messages")
    return tools.rename(frame, {"messages": "source_messages"})


def _absent(frame: pl.DataFrame, names: tuple[str, str], report: ImportReport, original: pl.DataFrame) -> pl.DataFrame:
    """Rows without one of the two answers say nothing about a pair; an empty answer is an answer."""
    reason = pl.coalesce([pl.when(pl.col(name).is_null()).then(pl.lit(f"{name} is missing")) for name in names])
    return tools.reject_where(frame, reason, report, original)


def _from_messages(frame: pl.DataFrame, report: ImportReport) -> tuple[pl.DataFrame, list[pl.DataFrame | None]]:
    sides = [tools.messages(frame, name, "assistant", report) for name in ("chosen", "rejected")]
    media = [side.media for side in sides]
    columns = [side.column for side in sides]
    frame = frame.drop("chosen", "rejected")
    if "prompt" in frame.columns:
        prompt = tools.messages(frame, "prompt", "user", report)
        media.append(prompt.media)
        whole = pl.DataFrame({"prompt": prompt.column, "a": columns[0].alias("a"), "b": columns[1].alias("b")})
        whole = whole.with_columns(pl.col("prompt").fill_null(pl.lit([], dtype=MESSAGES)))
        repeats = _begins(whole["a"], whole["prompt"]) & _begins(whole["b"], whole["prompt"])
        if frame.schema["prompt"] == pl.String:
            complete = whole.select(_opens(pl.col("a")) & _opens(pl.col("b"))).to_series()
            report.map(
                "a text prompt beside whole conversations that put it otherwise", int((complete & ~repeats).sum())
            )
            repeats = repeats | complete
        report.map("chosen and rejected repeat the prompt", int(repeats.sum()))
        whole = whole.with_columns(repeats.alias("repeats"))
        columns = [
            whole.select(
                pl.when("repeats").then(pl.col(side)).otherwise(pl.concat_list("prompt", side)).alias(side)
            ).to_series()
            for side in ("a", "b")
        ]
        frame = frame.drop("prompt")
    return tools.split_sides(frame, columns[0], columns[1], report), media


def _opens(conversation: pl.Expr) -> pl.Expr:
    """Whether a conversation opens with a message that is not the assistant's."""
    role = conversation.list.get(0, null_on_oob=True).struct.field("role")
    return (role != "assistant").fill_null(False)


def _begins(conversation: pl.Series, prompt: pl.Series) -> pl.Series:
    """Whether a conversation begins with these messages (and goes on)."""
    pair = pl.DataFrame({"whole": conversation, "prompt": prompt})
    length = pl.col("prompt").list.len()
    key = pl.element().struct.field("role") + "\x1f" + pl.element().struct.field("content").fill_null("\x00")

    def text(column: pl.Expr) -> pl.Expr:
        return column.list.eval(key).list.join("\x1e")

    begins = (
        (length > 0)
        & (pl.col("whole").list.len() > length)
        & (text(pl.col("whole").list.slice(0, length)) == text(pl.col("prompt")))
    )
    return pair.select(begins.fill_null(False).alias("begins")).to_series()


def _as_text(frame: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """Answers as text; a list of one text is that text."""
    for name in names:
        dtype = frame.schema[name]
        if isinstance(dtype, pl.List) and dtype.inner == pl.String:
            if (frame[name].list.len() > 1).any():
                raise InputError(
                    f"{name} is a list of several texts.",
                    column=name,
                    cure="One answer is text or a list of messages; several answers a row are a ranking.",
                )
            frame = frame.with_columns(pl.col(name).list.first())
        elif dtype.is_nested():
            raise InputError(f"{name} has type {dtype}.", column=name, cure="Give text or a list of messages.")
        else:
            frame = frame.with_columns(pl.col(name).cast(pl.String))
    return frame


def _common_beginning(frame: pl.DataFrame, report: ImportReport) -> pl.DataFrame:
    """Plain texts without a prompt column: the words with which both begin are the prompt."""
    frame = _as_text(frame, ("chosen", "rejected"))
    cuts = [_cut(a, b) for a, b in frame.select("chosen", "rejected").iter_rows()]
    frame = frame.with_columns(pl.Series("_cut", cuts, dtype=pl.Int64))
    frame = frame.with_columns(
        pl.when(pl.col("_cut") > 0).then(pl.col("chosen").str.slice(0, pl.col("_cut"))).alias("prompt"),
        pl.col("chosen").str.slice(pl.col("_cut")).alias("text_a"),
        pl.col("rejected").str.slice(pl.col("_cut")).alias("text_b"),
    ).drop("_cut", "chosen", "rejected")
    report.map("common beginning of chosen and rejected -> prompt", frame["prompt"].count())
    report.map("chosen and rejected do not begin alike -> no prompt", frame["prompt"].null_count())
    values = pl.concat([frame["text_a"], frame["text_b"].alias("text_a")])
    short = bool((values.str.len_chars() < 80).all())
    if frame.height > 10 and values.n_unique() * 5 < values.len() and short:
        report.note(
            "chosen and rejected are read as answers, but few short values recur: if they name systems, rename the "
            "columns to system_a and system_b and add outcome = a."
        )
    return frame


def _cut(a: str, b: str) -> int:
    """Length of the common beginning, back to a space (found by halving: texts are long)."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    if low == len(a) == len(b):
        low -= 1
    next_letters = [text[low] for text in (a, b) if low < len(text)]
    if all(letter.isspace() for letter in next_letters):
        return max(low, 0)
    return max(a.rfind(" ", 0, low), a.rfind("\n", 0, low), 0)


def _systems(frame: pl.DataFrame) -> pl.DataFrame:
    return tools.rename(
        frame,
        {
            "chosen_model": "system_a",
            "rejected_model": "system_b",
            "chosen_score": "a.score",
            "rejected_score": "b.score",
            "score_chosen": "a.score",
            "score_rejected": "b.score",
        },
    )


def _is_preference(sample: Sample) -> bool:
    return sample.has("chosen", "rejected") and all(
        sample.columns[name] == pl.String or is_conversation(sample.columns[name]) for name in ("chosen", "rejected")
    )


def _is_unpaired(sample: Sample) -> bool:
    if not sample.has("completion", "label") or sample.columns["label"].is_nested():
        return False
    words = sample.head["label"].cast(pl.String).drop_nulls().str.to_lowercase()
    return bool(words.is_in([*_TRUE, *_FALSE]).all())


TRL_PREFERENCE = Format(
    name="trl-preference",
    about="TRL preference pairs, with or without prompt, text or messages: huggingface/trl docs dataset_formats.md.",
    needs=("chosen, rejected[, prompt] (each text or a list of {role, content})",),
    detect=_is_preference,
    read=read_preference,
)
TRL_UNPAIRED = Format(
    name="trl-unpaired",
    about="TRL unpaired preference: huggingface/trl docs/source/dataset_formats.md.",
    needs=("completion, label (true or false)[, prompt]",),
    detect=_is_unpaired,
    read=read_unpaired,
)
