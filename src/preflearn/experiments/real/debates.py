"""UKPConvArg1 in the experiment: crowd workers on which of two arguments is more convincing, held out by debate."""

from __future__ import annotations

import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.columns import attach
from preflearn.experiments.real.sets import UNIT, Loaded, RealSet, decided


def ukpconvarg() -> RealSet:
    """Both sides of a debate are held out together."""
    return RealSet(
        key="ukpconvarg",
        title="UKPConvArg1: which argument convinces more",
        about="Crowd votes on pairs of arguments for the same side of a debate (Habernal and Gurevych, ACL 2016, "
        "CC-BY 4.0): 16 debates of two sides each, about five votes a pair.",
        mapping="ukpconvarg",
        load=_load,
        units="debates",
        cluster=("prompts.category", "annotator"),
        by=("comparisons.worker_stance",),
        encoders=("characters", "features", "minilm"),
        options={"groups": {"column": "comparisons.worker_stance"}},
        caution=(
            "Groups are what workers said of their own stance: that of both arguments, the opposite one, or none.",
            "Workers have few votes each (median 6), so little can be known about most of them.",
        ),
    )


def _load(data: PreferenceData) -> Loaded:
    data, told = decided(data)
    debate = attach(data, "comparisons", {UNIT: "prompts.category"}).select(UNIT).collect().to_series()
    return Loaded(data.replace(comparisons=data.comparisons.with_columns(debate.cast(pl.String))), (told,))
