"""HH-RLHF: two transcripts of a conversation between a human and an assistant, one chosen.

Layout read in anthropics/hh-rlhf (README.md, harmless-base/test.jsonl): chosen and rejected are whole transcripts whose
turns open with a blank line and `Human:` or `Assistant:`; they usually part at the last answer, some earlier.
"""

from __future__ import annotations

import polars as pl

from preflearn.data.io import flat
from preflearn.data.io.base import Format, Sample
from preflearn.data.io.formats import tools
from preflearn.data.io.messages import transcript
from preflearn.data.reading import ImportReport
from preflearn.data.tables import PreferenceData

_TURN = r"\n\n(Human|Assistant): ?"
_OPENING = r"\s*(Human|Assistant): ?"


def read_transcripts(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """The chosen transcript is side a; what the two share is the prompt, what follows are the responses.

    Texts are kept to the letter, except one space behind each mark. Other columns (as in derived sets) ride along.

    Raises:
        InputError: a column has an unusable type.
    """
    original = frame
    frame = frame.with_columns(pl.col("chosen", "rejected").cast(pl.String))
    taken = ("prompt", "prompt_id", "outcome", "text", "count", "weight")
    frame = tools.rename(frame, {name: f"source_{name}" for name in taken})
    sides = [transcript(frame[name], _TURN, opening=_OPENING) for name in ("chosen", "rejected")]
    frame = frame.with_columns(chosen=sides[0], rejected=sides[1])
    reason = pl.coalesce(
        [
            pl.when(~_has_answer(name)).then(pl.lit(f"{name} holds no turn that opens with 'Assistant:'"))
            for name in ("chosen", "rejected")
        ]
    )
    frame = tools.reject_where(frame, reason, report, original)
    frame = tools.split_sides(frame, frame["chosen"], frame["rejected"], report)
    frame = frame.drop("chosen", "rejected")
    report.map("chosen -> side a, outcome a", frame.height)
    report.note("Which side was shown first is not recorded; the chosen one is always side a.")
    frame = frame.with_columns(pl.lit("a").alias("outcome"))
    return flat.build(frame, report, kind="comparisons", original=original)


def _has_answer(name: str) -> pl.Expr:
    speakers = pl.col(name).list.eval(pl.element().struct.field("role"))
    return speakers.list.contains("assistant").fill_null(False)


def _detect(sample: Sample) -> bool:
    if not sample.has("chosen", "rejected"):
        return False
    if any(sample.columns[name] != pl.String for name in ("chosen", "rejected")):
        return False
    marks = sample.head.select(pl.col("chosen", "rejected").str.contains(r"(?:^|\n\n)\s*Human:.*(?s:.*)\n\nAssistant:"))
    return bool(marks.select(pl.any_horizontal(pl.all().fill_null(False).any())).item()) if marks.height else False


HH = Format(
    name="hh-rlhf",
    about="Anthropic HH-RLHF transcripts: anthropics/hh-rlhf README.md and *.jsonl.gz.",
    needs=("chosen, rejected (whole transcripts with 'Human:' and 'Assistant:' turns)",),
    detect=_detect,
    read=read_transcripts,
)
