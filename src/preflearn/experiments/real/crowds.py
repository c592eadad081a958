"""LLMFAO and PandaLM in the experiment: people (and judges) on answers of language models, held out by prompt."""

from __future__ import annotations

import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.columns import attach
from preflearn.experiments.real.sets import UNIT, Loaded, RealSet, decided


def llmfao() -> RealSet:
    """Crowd workers only; the verdicts of the two judges are left out."""
    return RealSet(
        key="llmfao",
        title="LLMFAO: answers of 59 models to 13 prompts",
        about="Crowd votes on pairs of answers (Ustalov, LLMFAO, CC-BY 4.0): 124 workers, 13 prompts.",
        mapping="llmfao",
        load=_people,
        units="prompts",
        by=("prompts.category",),
        caution=("Thirteen prompts are few to generalise from: intervals over prompts are rough.",),
    )


def pandalm() -> RealSet:
    """The three named annotators."""
    return RealSet(
        key="pandalm",
        title="PandaLM test set: three annotators",
        about="Answers of pairs of 7B models to 170 instructions, each pair judged by the same three people (PandaLM, "
        "Apache-2.0).",
        mapping="pandalm",
        load=_people,
        units="prompts",
        annotator_folds=3,
        by=("annotator_id",),
        options={"groups": {"column": "annotator_id"}},
        caution=(
            "Three annotators: intervals are about just these three where annotators are known, and the curve over new "
            "annotators rests on three people.",
        ),
    )


def pandalm_judges() -> RealSet:
    """The three annotators and two language-model judges."""
    return RealSet(
        key="pandalm_judges",
        title="PandaLM test set: three annotators and two judges",
        about="The same pairs, with the verdicts of gpt-3.5-turbo and PandaLM-7B as two more annotators.",
        mapping="pandalm",
        load=_everybody,
        units="prompts",
        annotator_folds=5,
        by=("annotator_id", "annotators.kind"),
        options={"groups": {"column": "annotator_id"}},
        caution=("Judges are annotators like people here; PandaLM-7B was trained for such pairs.",),
    )


def _people(data: PreferenceData) -> Loaded:
    people = attach(data, "comparisons", {"kind": "annotators.kind"}).select("kind").collect()["kind"] == "person"
    kept = data.where("comparisons", pl.lit(people))
    verdicts = data.height("comparisons") - kept.height("comparisons")
    found = _everybody(kept)
    return Loaded(found.data, (f"{verdicts:,} verdicts of language-model judges are left out.", *found.told))


def _everybody(data: PreferenceData) -> Loaded:
    data, told = decided(data)
    prompt = attach(data, "comparisons", {UNIT: "prompt_id"}).select(UNIT).collect().to_series()
    return Loaded(data.replace(comparisons=data.comparisons.with_columns(prompt.cast(pl.String))).pruned(), (told,))
