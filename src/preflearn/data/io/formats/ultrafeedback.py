"""UltraFeedback: four completions an instruction, rated by GPT-4 on four aspects and overall.

Layout read in OpenBMB/UltraFeedback `src/data_annotation/annotate_preference.py` (Rating as text, `N/A` possible;
Rationale; Type and `Rationale For Rating` where an aspect has both) and `annotate_critique.py`; the fault of overall
scores of 10 in `fix_overall_score_issue.py`; data card openbmb/UltraFeedback.
"""

from __future__ import annotations

import polars as pl

from preflearn.data.io import flat
from preflearn.data.io.base import Format, Sample
from preflearn.data.io.formats import tools
from preflearn.data.reading import ImportReport
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

JUDGE = "gpt-4"
_ABOUT_PROMPT = ("source", "correct_answers", "incorrect_answers")
_READ = ("response", "model", "annotations", "critique", "overall_score", "fine-grained_score")
"""Fields of a completion that become something else than a column of its response."""


def read_ultrafeedback(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """Ratings 1-5 on each aspect and 1-10 overall (criterion `overall`, its critique as rationale), by judge gpt-4.

    The judge saw the instruction, not the system prompt under which a completion was written: that is a column of its
    response. `fine-grained_score`, the mean of the aspects, is not a judgment of its own and is not kept.

    Raises:
        InputError: `completions` is not a list of objects.
    """
    original = frame
    dtype = frame.schema["completions"]
    if not (isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)):
        raise InputError(
            "completions is no list of objects.", column="completions", cure="Read the file as JSON Lines."
        )
    frame = tools.reject_where(
        frame,
        pl.when(pl.col("instruction").is_null())
        .then(pl.lit("no instruction"))
        .when(pl.col("completions").list.len().fill_null(0) == 0)
        .then(pl.lit("no completions")),
        report,
        original,
    )
    if "models" in frame.columns:
        report.note("Column 'models' lists the models of the completions again and is not kept.")
    about = {name: f"prompts.{name}" if name in _ABOUT_PROMPT else f"ratings.{name}" for name in frame.columns}
    for name in ("instruction", "completions", "models", *tools.keys(frame)):
        about.pop(name, None)
    kept = [pl.col(old).alias(new) for old, new in about.items()]
    long = frame.select(*tools.keys(frame), "instruction", *kept, "completions").explode("completions")
    long = long.unnest("completions")
    report.map("completion -> response", long.height)
    described = {field.name: f"responses.{field.name}" for field in dtype.inner.fields if field.name not in _READ}
    base = _base(long, [*about.values()], described)
    parts = [_aspects(long, base, report), _overall(long, base, report)]
    tables = [
        flat.tables(part, report, kind="ratings", prefix=prefix, original=original)
        for part, prefix in zip(parts, ("aspect-", "overall-"), strict=True)
        if part is not None
    ]
    return tools.joined(tables, report)


def _base(long: pl.DataFrame, about: list[str], described: dict[str, str]) -> pl.DataFrame:
    named = {"instruction": "prompt", "response": "text", "model": "system", **described}
    columns = [pl.col(old).alias(new) for old, new in named.items() if old in long.columns]
    return long.select(
        *tools.keys(long),
        *columns,
        *about,
        pl.lit(JUDGE).alias("annotator_id"),
        pl.lit("judge").alias("annotators.kind"),
        pl.lit(JUDGE).alias("annotators.model"),
        pl.lit("absolute rating").alias("protocol"),
    ).with_row_index("_completion")


def _aspects(long: pl.DataFrame, base: pl.DataFrame, report: ImportReport) -> pl.DataFrame | None:
    if "annotations" not in long.columns or not isinstance(long.schema["annotations"], pl.Struct):
        return None
    dtype = long.schema["annotations"]
    assert isinstance(dtype, pl.Struct)
    parts = []
    for aspect in dtype.fields:
        given = long.select(pl.col("annotations").struct.field(aspect.name).alias("given"))
        given = given.with_row_index("_completion")
        if isinstance(given.schema["given"], pl.List):  # earlier files: several annotations of one completion
            given = given.explode("given")
        if not isinstance(given.schema["given"], pl.Struct):
            continue
        given = given.unnest("given")
        texts = [pl.col(name) for name in ("Rationale For Rating", "Rationale") if name in given.columns]
        columns = [pl.coalesce(texts).alias("rationale")] if texts else []
        if "Rationale For Rating" in given.columns and "Rationale" in given.columns:
            columns.append(pl.col("Rationale").alias("type_rationale"))
        if "Type" in given.columns:
            kind = pl.col("Type")
            if isinstance(given.schema["Type"], pl.List):
                kind = kind.cast(pl.List(pl.String)).list.join(", ")
            columns.append(kind.cast(pl.String).alias("type"))
        parts.append(
            given.select(
                "_completion",
                pl.col("Rating").cast(pl.String).str.strip_chars().alias("_rating"),
                pl.lit(aspect.name).alias("criterion_id"),
                *columns,
            )
        )
    if not parts:
        return None
    rated = pl.concat(parts, how="diagonal").with_columns(
        pl.col("_rating").cast(pl.Float64, strict=False).alias("value")
    )
    for word, n in rated.filter(pl.col("value").is_null()).group_by("_rating").len().sort("_rating").rows():
        report.map(f"Rating {word} -> no rating" if word is not None else "aspect without annotation -> no rating", n)
    rated = rated.filter(pl.col("value").is_not_null())
    report.map("aspect rating -> rating", rated.height)
    rated = rated.join(base, on="_completion", how="left", maintain_order="left")
    return _criteria(rated, 5).sort("_completion", maintain_order=True)


def _overall(long: pl.DataFrame, base: pl.DataFrame, report: ImportReport) -> pl.DataFrame | None:
    if "overall_score" not in long.columns:
        return None
    critique = pl.col("critique") if "critique" in long.columns else pl.lit(None, dtype=pl.String)
    rated = base.with_columns(
        long["overall_score"].cast(pl.Float64, strict=False).alias("value"),
        long.select(critique.alias("rationale")).to_series(),
        pl.lit("overall").alias("criterion_id"),
    )
    report.map("no overall_score -> no rating", rated["value"].null_count())
    if "fine-grained_score" in long.columns:
        fine = long["fine-grained_score"].cast(pl.Float64, strict=False)
        faulty = int(((rated["value"] == 10) & (fine <= 2)).sum())
        report.map("overall_score 10 beside aspects of at most 2 (a known fault of the source, kept as it is)", faulty)
    rated = rated.filter(pl.col("value").is_not_null())
    report.map("overall_score -> rating", rated.height)
    return _criteria(rated, 10)


def _criteria(rated: pl.DataFrame, high: int) -> pl.DataFrame:
    return rated.with_columns(
        pl.lit("ordinal").alias("criteria.scale"),
        pl.lit(1.0).alias("criteria.low"),
        pl.lit(float(high)).alias("criteria.high"),
        pl.lit(1.0).alias("criteria.step"),
        pl.lit(True).alias("criteria.higher_is_better"),
    )


def _detect(sample: Sample) -> bool:
    dtype = sample.columns.get("completions")
    if not (sample.has("instruction") and isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)):
        return False
    fields = {field.name for field in dtype.inner.fields}
    return "response" in fields and bool(fields & {"annotations", "overall_score"})


ULTRAFEEDBACK = Format(
    name="ultrafeedback",
    about="UltraFeedback before binarization: OpenBMB/UltraFeedback src/data_annotation; card openbmb/UltraFeedback.",
    needs=("instruction, completions (list of {model, response, annotations, critique, overall_score, ...})",),
    detect=_detect,
    read=read_ultrafeedback,
)
