"""PRISM: 1,500 people of many countries rate and choose answers of 21 models in live conversations.

Layout read in HannahKirk/prism-alignment (`data/prism_datacard.md`, `notebooks/pre-release
processing/04_codebooks.ipynb`): utterances.jsonl (one scored answer a row), conversations.jsonl (conversation_history,
performance_attributes, choice_attributes, open_feedback), survey.jsonl (one participant a row). Scores run from 1
(Terrible) to 100 (Perfect); if_chosen marks the highest score, ties broken at random; an empty answer is stored as
`EMPTY STRING`.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from preflearn.data.io import flat
from preflearn.data.io.base import Format, Sample
from preflearn.data.io.formats import tools
from preflearn.data.io.messages import as_message
from preflearn.data.io.rows import LINE
from preflearn.data.reading import ImportReport
from preflearn.data.schema import MESSAGES
from preflearn.data.tables import PreferenceData

_EMPTY = "EMPTY STRING"
_KEY = ("conversation_id", "turn")
_SAID = (
    "utterance_id", "interaction_id", "conversation_id", "user_id", "turn", "within_turn_id", "conversation_type",
    "user_prompt", "prompt", "model_response", "model_name", "model_provider", "score", "if_chosen",
)  # fmt: skip
"""Columns of utterances that have a place; others ride along on the rating."""
_TOLD = (
    "conversation_id", "user_id", "conversation_type", "opening_prompt", "conversation_turns", "conversation_history",
    "performance_attributes", "choice_attributes", "open_feedback", "included_in_balanced_subset",
)  # fmt: skip
"""Columns of conversations that have a place or repeat the utterances; others describe the prompts."""


def read_files(frames: Mapping[str, pl.DataFrame], report: ImportReport) -> PreferenceData:
    """All files that are there: ratings and choices (utterances), attributes and feedback (conversations), people.

    Raises:
        InputError: neither utterances nor conversations are usable.
    """
    conversations, survey = frames.get("conversations"), frames.get("survey")
    said = frames.get("utterances")
    if said is None:
        assert conversations is not None
        said = _from_history(conversations)
        report.note("There is no utterances file: the scored answers are taken from conversation_history.")
    said = _prepared(said, report)
    people = _people(survey) if survey is not None else None
    parts = [_ratings(said, people, report), _choices(said, report)]
    if conversations is not None:
        parts += _about_conversations(said, conversations, report)
    else:
        report.note("There is no conversations file: attribute ratings and feedback are not in this import.")
    if people is None:
        report.note("There is no survey file: nothing is known of the participants but their ids.")
    data = tools.joined(parts, report)
    if conversations is not None:
        others = [name for name in conversations.columns if name not in _TOLD and not name.startswith("_")]
        about = conversations.select("conversation_id", *others).unique("conversation_id", keep="first")
        prompts = data.prompts.join(about, on="conversation_id", how="left", maintain_order="left")
        data = data.replace(prompts=prompts)
    if people is not None:
        known = data.annotators.select(pl.col("annotator_id").cast(pl.String))
        missing = people.join(known, on="annotator_id", how="anti")
        report.map("participants without a conversation", missing.height)
        everyone = data.annotators.with_columns(pl.col("annotator_id").cast(pl.String))
        data = data.replace(annotators=pl.concat([everyone, missing], how="diagonal_relaxed"))
    return data


def read_utterances(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """utterances.jsonl (or conversations.jsonl) alone."""
    name = "utterances" if "utterance_id" in frame.columns else "conversations"
    return read_files({name: frame}, report)


def _from_history(conversations: pl.DataFrame) -> pl.DataFrame:
    """The rows of utterances.jsonl from conversation_history."""
    long = conversations.select(
        LINE, "conversation_id", "user_id", "conversation_type", pl.col("conversation_history").alias("_said")
    ).explode("_said")
    long = long.unnest("_said")
    asked = long.filter(pl.col("role") == "user").select(*_KEY, pl.col("content").alias("user_prompt"))
    answers = long.filter(pl.col("role") == "model").rename({"content": "model_response"}).drop("role")
    answers = answers.join(asked.unique(_KEY, keep="first"), on=_KEY, how="left", maintain_order="left")
    key = pl.format("{}-{}-{}", *_KEY, "within_turn_id")
    return answers.with_columns(key.alias("utterance_id"), pl.format("{}-{}", *_KEY).alias("interaction_id"))


def _prepared(said: pl.DataFrame, report: ImportReport) -> pl.DataFrame:
    """Answers with their prompt (the turns before, as they went on) and whether they were chosen."""
    empty = pl.col("model_response") == _EMPTY
    report.map(f"answer {_EMPTY!r} -> empty answer", said.filter(empty).height)
    said = said.with_columns(pl.when(empty).then(pl.lit("")).otherwise("model_response").alias("model_response"))
    chosen = (
        said.filter(pl.col("if_chosen"))
        .group_by(_KEY, maintain_order=True)
        .agg(pl.col("model_response").first().alias("_went_on"), pl.len().alias("_chosen"))
    )
    turns = said.select(*_KEY, "user_prompt").unique(_KEY, keep="first", maintain_order=True)
    turns = turns.join(chosen, on=_KEY, how="left").sort(_KEY)
    asked = pl.concat_list(as_message(pl.lit("user"), pl.col("user_prompt")))
    answered = pl.concat_list(as_message(pl.lit("assistant"), pl.col("_went_on")))
    turns = turns.with_columns(asked.alias("_asked"), pl.concat_list(asked, answered).alias("_exchange"))
    before = (
        turns.select("conversation_id", pl.col("turn").alias("_earlier"), "_exchange")
        .join(turns.select(*_KEY), on="conversation_id")
        .filter(pl.col("_earlier") < pl.col("turn"))
        .sort("conversation_id", "turn", "_earlier")
        .explode("_exchange")
        .group_by(_KEY, maintain_order=True)
        .agg(pl.col("_exchange").drop_nulls().alias("_before"))
    )
    turns = turns.join(before, on=_KEY, how="left", maintain_order="left")
    history = pl.col("_before").fill_null(pl.lit([], dtype=MESSAGES))
    turns = turns.with_columns(pl.concat_list(history, "_asked").cast(MESSAGES).alias("prompt"))
    return said.join(turns.select(*_KEY, "prompt", "_chosen"), on=_KEY, how="left", maintain_order="left")


def _of_prompt() -> list[pl.Expr]:
    return [
        pl.col("prompt"),
        pl.format("{}-{}", *_KEY).alias("prompt_id"),
        pl.col("conversation_id").alias("prompts.conversation_id"),
        pl.col("turn").cast(pl.Int32).alias("prompts.turn"),
        pl.col("conversation_type").alias("prompts.category"),
    ]


def _ratings(said: pl.DataFrame, people: pl.DataFrame | None, report: ImportReport) -> dict[str, pl.DataFrame]:
    others = [name for name in said.columns if name not in _SAID and not name.startswith("_")]
    provider = [pl.col("model_provider").alias("responses.provider")] if "model_provider" in said.columns else []
    frame = said.select(
        LINE,
        *_of_prompt(),
        pl.col("model_response").alias("text"),
        pl.col("model_name").alias("system"),
        *provider,
        pl.col("utterance_id").alias("rating_id"),
        pl.col("score").alias("value"),
        pl.col("user_id").alias("annotator_id"),
        pl.col("interaction_id").alias("presentation_id"),
        pl.lit("absolute rating").alias("protocol"),
        pl.lit("overall").alias("criterion_id"),
        *[pl.lit(value).alias(f"criteria.{name}") for name, value in _SCALE.items()],
        pl.col("if_chosen").alias("if_chosen"),
        *others,
    )
    if people is None:
        frame = frame.with_columns(pl.lit("person").alias("annotators.kind"))
    else:
        renamed = people.rename({name: f"annotators.{name}" for name in people.columns if name != "annotator_id"})
        frame = frame.join(renamed, on="annotator_id", how="left", maintain_order="left")
        frame = frame.with_columns(pl.col("annotators.kind").fill_null("person"))
    report.map("score -> rating", frame.height)
    return flat.tables(frame, report, kind="ratings")


_SCALE: dict[str, str | float | bool] = {
    "scale": "interval",
    "low": 1.0,
    "high": 100.0,
    "higher_is_better": True,
}


def _choices(said: pl.DataFrame, report: ImportReport) -> dict[str, pl.DataFrame]:
    """One choice a turn: the chosen answer has rank 1, the others were shown and not ranked."""
    odd = said.filter(pl.col("_chosen").fill_null(0) != 1)
    report.map("turns without exactly one chosen answer -> no choice, ratings only", odd.select(_KEY).n_unique())
    rank = pl.when(pl.col("if_chosen")).then(pl.lit(1, dtype=pl.Int32)).otherwise(None)
    frame = (
        said.filter(pl.col("_chosen") == 1)
        .with_columns(rank.alias("_rank"))
        .group_by(_KEY, maintain_order=True)
        .agg(
            pl.col(LINE).first(),
            pl.col("prompt").first(),
            pl.col("conversation_type").first(),
            pl.col("user_id").first().alias("annotator_id"),
            pl.col("interaction_id").first().alias("presentation_id"),
            pl.col("model_response").alias("texts"),
            pl.col("model_name").alias("systems"),
            pl.col("_rank").alias("ranks"),
        )
    )
    frame = frame.select(
        LINE,
        *_of_prompt(),
        "texts",
        "systems",
        "ranks",
        "annotator_id",
        "presentation_id",
        pl.lit("choice").alias("kind"),
        pl.lit("choice").alias("protocol"),
        pl.lit("overall").alias("criterion_id"),
    )
    report.map("if_chosen -> choice", frame.height)
    report.note(
        "The choice is the answer with the highest score (ties broken at random): ratings and choices of one "
        "presentation are one act, so use one protocol or the other."
    )
    return flat.tables(frame, report, kind="rankings") if frame.height else {}


def _about_conversations(
    said: pl.DataFrame, conversations: pl.DataFrame, report: ImportReport
) -> list[dict[str, pl.DataFrame]]:
    """Attribute ratings of the chosen first answer; feedback on the conversation with its last chosen answer."""
    chosen = said.filter(pl.col("if_chosen")).sort(_KEY, maintain_order=True)
    about = [pl.col("conversation_id"), pl.col(LINE).alias("_about_line")]
    parts: list[dict[str, pl.DataFrame]] = []
    base = [*_of_prompt(), pl.col("model_response").alias("text"), pl.col("model_name").alias("system")]
    person = pl.col("user_id").alias("annotator_id")
    if isinstance(dtype := conversations.schema.get("performance_attributes"), pl.Struct):
        names = [field.name for field in dtype.fields if field.name != "other_text"]
        attributes = pl.col("performance_attributes").struct
        values = conversations.select(
            *about, *[attributes.field(name).cast(pl.Float64, strict=False) for name in names]
        )
        index = ["conversation_id", "_about_line"]
        long = values.unpivot(names, index=index, variable_name="_name", value_name="value")
        long = long.filter(pl.col("value").is_not_null()).sort("_about_line", maintain_order=True)
        first = chosen.filter(pl.col("turn") == 0).unique("conversation_id", keep="first", maintain_order=True)
        rated = long.join(first.drop(LINE), on="conversation_id", how="inner", maintain_order="left")
        report.map("attribute rating, no chosen first answer -> not kept", long.height - rated.height)
        report.map("performance_attributes -> ratings of the chosen first answer", rated.height)
        frame = rated.select(
            pl.col("_about_line").alias(LINE),
            *base,
            person,
            "value",
            pl.format("performance_{}", "_name").alias("criterion_id"),
            pl.lit("attribute rating").alias("protocol"),
        )
        parts.append(flat.tables(frame, report, kind="ratings", prefix="attributes-"))
    if "open_feedback" in conversations.columns:
        columns = ["conversation_id", "_about_line", "open_feedback", "choice_attributes"]
        given = conversations.with_columns(pl.col(LINE).alias("_about_line"))
        given = tools.as_json(given, ["choice_attributes"])
        given = given.select([name for name in columns if name in given.columns])
        given = given.filter(pl.col("open_feedback").is_not_null())
        last = chosen.unique("conversation_id", keep="last", maintain_order=True)
        told = given.join(last.drop(LINE), on="conversation_id", how="inner", maintain_order="left")
        report.map("open_feedback without a chosen answer -> not kept", given.height - told.height)
        report.map("open_feedback -> critique of the last chosen answer", told.height)
        frame = told.select(
            pl.col("_about_line").alias(LINE),
            *base,
            person,
            pl.lit("critique").alias("kind"),
            pl.col("open_feedback").alias("signals.text"),
            pl.lit("conversation").alias("category"),
            *(["choice_attributes"] if "choice_attributes" in told.columns else []),
        )
        parts.append(flat.tables(frame, report, kind="signals"))
    return parts


def _people(survey: pl.DataFrame) -> pl.DataFrame:
    """Annotators with all that the survey tells; nested answers become columns."""
    people = survey.drop(LINE).rename({"user_id": "annotator_id"})
    for name, dtype in survey.schema.items():
        if isinstance(dtype, pl.Struct):
            people = tools.unnest(people, name, f"{name}_")
    country = "location_reside_countryISO"
    people = people.with_columns(
        pl.col("annotator_id").cast(pl.String),
        pl.lit("person").alias("kind"),
        *([pl.col(country).alias("country")] if country in people.columns else []),
    )
    return people.unique("annotator_id", keep="first", maintain_order=True)


def _detect(sample: Sample) -> bool:
    return sample.has("utterance_id", "user_prompt", "model_response", "score", "if_chosen") or sample.has(
        "conversation_id", "user_id", "conversation_history"
    )


PRISM = Format(
    name="prism",
    about="PRISM: HannahKirk/prism-alignment data/ (utterances, conversations, survey), its data card and codebook.",
    needs=(
        "utterance_id, conversation_id, user_id, turn, user_prompt, model_response, model_name, score, if_chosen",
        "conversation_id, user_id, conversation_history",
    ),
    detect=_detect,
    read=read_utterances,
    files=("utterances", "conversations", "survey"),
    read_files=read_files,
)
