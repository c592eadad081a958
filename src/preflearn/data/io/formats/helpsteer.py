"""HelpSteer 1, 2 and 3: ratings on five attributes, and graded preferences between two responses.

Layouts read on the data cards nvidia/HelpSteer (prompt, response, five attributes 0-4), nvidia/HelpSteer2 (turns of a
prompt divided by `<extra_id_1>User` and `<extra_id_1>Assistant`; disagreements/: attributes as lists, one value an
annotator; preference/: response_1, response_2, preference_strength, all_preferences_unprocessed) and nvidia/HelpSteer3
(context, response1, response2, overall_preference, individual_preference). Strengths run from -3 (response 1 much
better) over 0 (about the same) to 3 (response 2 much better).
"""

from __future__ import annotations

import polars as pl

from preflearn.data.io import flat
from preflearn.data.io.base import Format, Sample
from preflearn.data.io.formats import tools
from preflearn.data.io.messages import transcript
from preflearn.data.reading import ImportReport
from preflearn.data.tables import PreferenceData

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
_TURN = r"\n?<extra_id_1>(User|Assistant)\n"


def read_ratings(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """HelpSteer 1 and 2: one rating (0-4) a response and attribute; lists (disagreements/) give one an annotator.

    Raises:
        InputError: a column has an unusable type.
    """
    original = frame
    frame = _prompts(frame)
    kept = [name for name in ATTRIBUTES if name in frame.columns]
    others = [name for name in frame.columns if name not in (*kept, *tools.keys(frame), "prompt", "response")]
    parts = []
    for name in kept:
        part = frame.select(
            *tools.keys(frame), "prompt", pl.col("response").alias("text"), *others, pl.col(name).alias("value")
        )
        part = part.with_row_index("_row").with_columns(pl.lit(name).alias("criterion_id"))
        if isinstance(part.schema["value"], pl.List):
            part = part.filter(pl.col("value").list.len() > 0).explode("value")
        report.map(f"no {name} -> no rating", part["value"].null_count())
        parts.append(part.filter(pl.col("value").is_not_null()))
    rated = pl.concat(parts, how="vertical_relaxed").sort("_row", maintain_order=True)
    report.map("attribute -> rating", rated.height)
    if any(isinstance(frame.schema[name], pl.List) for name in kept):
        report.note("Which annotator gave which value of a list is not recorded.")
    rated = rated.with_columns(
        pl.lit("ordinal").alias("criteria.scale"),
        pl.lit(0.0).alias("criteria.low"),
        pl.lit(4.0).alias("criteria.high"),
        pl.lit(1.0).alias("criteria.step"),
        (~pl.col("criterion_id").is_in(["complexity", "verbosity"])).alias("_better"),
        pl.lit("absolute rating").alias("protocol"),
    ).with_columns(pl.when("_better").then(True).alias("criteria.higher_is_better"))
    return flat.build(rated, report, kind="ratings", original=original)


def read_preferences(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """HelpSteer 2 (preference/) and 3: one comparison an annotator; -3..-1 = a wins, 0 = tie, 1..3 = b wins.

    The strength is the number of steps. Where single votes are recorded, the aggregate (preference_strength,
    overall_preference) is a column beside them and no vote of its own; where they are not, it is the one comparison,
    with protocol `aggregate`.

    Raises:
        InputError: a column has an unusable type.
    """
    original = frame
    third = "overall_preference" in frame.columns
    aggregate = "overall_preference" if third else "preference_strength"
    single = "individual_preference" if third else "all_preferences_unprocessed"
    frame = tools.rename(
        frame,
        {
            "response1": "text_a",
            "response2": "text_b",
            "response_1": "text_a",
            "response_2": "text_b",
            "domain": "prompts.category",
            "language": "prompts.language",
        },
    )
    if third:
        frame = frame.with_columns(tools.messages(frame, "context", "user", report).column.alias("prompt")).drop(
            "context"
        )
    else:
        frame = _prompts(frame)
    if "three_most_similar_preferences" in frame.columns:
        report.note("Column 'three_most_similar_preferences' repeats three of the single votes and is not kept.")
        frame = frame.drop("three_most_similar_preferences")
    summary = [name for name in ("preference_statement", "preference_elaboration") if name in frame.columns]
    votes = _single_votes(frame.drop(summary), single, report) if single in frame.columns else None
    if votes is None:
        without, votes = frame, frame.clear()
    else:
        without = frame.join(votes, on=tools.keys(frame), how="anti", maintain_order="left").drop(single)
    texts = [pl.col(name) for name in summary]
    without = without.with_columns(
        pl.col(aggregate).cast(pl.Float64).alias("_strength"),
        pl.lit("aggregate").alias("protocol"),
        *([pl.concat_str(texts, separator="\n", ignore_nulls=True).alias("rationale")] if texts else []),
    ).drop(summary)
    report.map(f"{aggregate} without single votes -> one comparison with protocol aggregate", without.height)
    whole = pl.concat([votes, without], how="diagonal_relaxed").sort(tools.keys(frame), maintain_order=True)
    return flat.build(_graded(whole, report), report, kind="comparisons", original=original)


def _prompts(frame: pl.DataFrame) -> pl.DataFrame:
    if frame.schema["prompt"] != pl.String:
        return frame
    return frame.with_columns(transcript(frame["prompt"], _TURN, text_first=True))


def _single_votes(frame: pl.DataFrame, column: str, report: ImportReport) -> pl.DataFrame | None:
    """One row a recorded vote: `_strength`, rationale, feedback on either side."""
    dtype = frame.schema[column]
    if not (isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)):
        return None
    fields = {field.name for field in dtype.inner.fields}
    strength = "score" if "score" in fields else "strength"
    if strength not in fields:
        return None
    long = frame.filter(pl.col(column).list.len() > 0).explode(column)
    vote = pl.col(column).struct
    reasons = [vote.field(name) for name in ("reasoning", "statement", "elaboration") if name in fields]
    feedback = {"feedback1": "feedback_a", "feedback2": "feedback_b"}
    kept = [vote.field(old).alias(new) for old, new in feedback.items() if old in fields]
    long = long.with_columns(
        vote.field(strength).cast(pl.Float64, strict=False).alias("_strength"),
        pl.lit("graded comparison").alias("protocol"),
        *([pl.concat_str(reasons, separator="\n", ignore_nulls=True).alias("rationale")] if reasons else []),
        *kept,
    ).drop(column)
    report.map(f"{column} -> one comparison a vote", long.height)
    return long


def _graded(frame: pl.DataFrame, report: ImportReport) -> pl.DataFrame:
    strength = pl.col("_strength")
    outcome = pl.when(strength < 0).then(pl.lit("a")).when(strength > 0).then(pl.lit("b")).when(strength == 0)
    frame = frame.with_columns(
        outcome.then(pl.lit("tie")).alias("outcome"),
        pl.when(strength != 0).then(strength.abs().round(0).cast(pl.Int32)).alias("strength"),
    )
    whole = frame["_strength"].drop_nulls()
    rounded = int((whole != whole.round(0)).sum())
    report.map("strength between two steps -> rounded to the nearer step", rounded)
    frame = frame.with_columns(pl.when(pl.col("strength") > 0).then("strength").alias("strength"))
    for value, n in frame.group_by("outcome").len().sort("outcome").rows():
        report.map(f"preference {_sign(value)} -> outcome {value}" if value else "no preference -> not yet judged", n)
    return frame


def _sign(outcome: str) -> str:
    return {"a": "below 0", "b": "above 0", "tie": "0"}[outcome]


def _is_rating(sample: Sample) -> bool:
    return sample.has("prompt", "response", "helpfulness") and sum(name in sample.columns for name in ATTRIBUTES) >= 3


HELPSTEER = Format(
    name="helpsteer",
    about="HelpSteer 1 and 2 ratings (also HelpSteer2 disagreements/): data cards nvidia/HelpSteer, nvidia/HelpSteer2.",
    needs=("prompt, response, helpfulness, correctness, coherence, complexity, verbosity",),
    detect=_is_rating,
    read=read_ratings,
)
HELPSTEER_PREFERENCE = Format(
    name="helpsteer-preference",
    about="HelpSteer2 preference/ and HelpSteer3 preference: data cards nvidia/HelpSteer2, nvidia/HelpSteer3.",
    needs=(
        "prompt, response_1, response_2, preference_strength",
        "context, response1, response2, overall_preference",
    ),
    detect=lambda sample: (
        sample.has("prompt", "response_1", "response_2", "preference_strength")
        or sample.has("context", "response1", "response2", "overall_preference")
    ),
    read=read_preferences,
)
