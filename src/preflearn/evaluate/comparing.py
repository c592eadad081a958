"""`compare`: several preference models on the same judgments, on the same resamples, with paired differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.columns import qualified, resolve
from preflearn.data.fingerprints import row_fingerprints
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError, NotComputable, NotSupported
from preflearn.evaluate import subsets
from preflearn.evaluate.battery import Answers, Asked, Battery
from preflearn.evaluate.clusters import Clusters, clusters, ways
from preflearn.evaluate.comparison import Calibrated, Comparison, Left, ModelScores
from preflearn.evaluate.figures import Figure
from preflearn.evaluate.intervals import Ints, Settings
from preflearn.evaluate.labels import Labels, labels
from preflearn.evaluate.majority import things
from preflearn.evaluate.people import per_annotator
from preflearn.evaluate.predictions import Predictions, predictions
from preflearn.evaluate.resampling import Resamples, distinct
from preflearn.evaluate.scores import FIGURES
from preflearn.evaluate.scoring import (
    FEW_CLUSTERS,
    check_overlap,
    groups,
    interval_sentence,
    ties_sentence,
)
from preflearn.evaluate.temperature import Temperature, cross_fitted, fit_temperature, folds
from preflearn.protocols import OutcomeProbabilities, PreferenceModel

Bools = npt.NDArray[np.bool_]
Source = PreferenceModel | OutcomeProbabilities | npt.ArrayLike | pl.Series

MAX_GROUPS = 500
AFTER = ("log_loss", "ece", "log_loss_decided")
"""Figures that one temperature can change."""


def compare(
    models: Mapping[str, Source],
    data: PreferenceData,
    *,
    baseline: str | None = None,
    cluster: str | Sequence[str] | None = None,
    by: str | Sequence[str] | None = None,
    calibration: PreferenceData | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    allow_overlap: bool = False,
) -> Comparison:
    """Compare predictions of several models against the judgments of `data.comparisons`.

    Every figure is about the rows that all models answered, so that no model gains by leaving out hard ones. No value
    depends on which response is called a, on the order of rows, or on the order of the models (but for the baseline).

    Args:
        models: by name: a fitted model, or P(a beats b) per row of `data.comparisons` as for `score`.
        data: judgments; skipped and unjudged rows are counted and left out.
        baseline: the model to which the others are compared; default: the first.
        cluster: one column whose values are resampled as wholes ("annotator", "prompt", any other, or "rows"), or two
            for two-way intervals. Default: prompts and annotators where there are ten of both, else what there is.
        by: column(s) of any table: figures for each value, and the worst of them. Default: the group of annotators,
            where it is recorded.
        calibration: judgments to fit each model's temperature on. Default: five-fold, each fold with the temperature
            of the others. Needs models, not probabilities.
        n_bootstrap: resamples; 0 leaves the intervals out.
        seed: of resamples and folds.
        level: nominal coverage of each interval by itself.
        allow_overlap: score rows that a model was trained on.

    Raises:
        InputError: no models, an unknown baseline or column, no comparisons, predictions that are not probabilities or
            not aligned, or rows that a model was trained on; the message names the model.
    """
    names = list(models)
    base = _checked(names, baseline, data, level)
    label = labels(data)
    usable = label.usable
    seen, found = _ask(models, data, usable, allow_overlap)
    answered = np.logical_and.reduce([one.answered for one in found.values()])
    scored = usable.copy()
    scored[usable] = answered
    know_ties = all(one.outcomes is not None for one in found.values())
    answers = {name: Answers(one.p, one.outcomes, know_ties).take(answered) for name, one in found.items()}
    asked = Asked(label.take(scored), ways(data, "comparisons", cluster, scored))
    settings = Settings(n_bootstrap, seed, level)
    resamples = asked.resamples(settings)
    batteries = {name: Battery(asked, answers[name], resamples) for name in names}
    fitted = _temperatures(models, answers, asked, data, calibration, settings, allow_overlap)
    prompt, annotator = (clusters(data, "comparisons", name, scored) for name in ("prompt", "annotator"))
    columns = _columns(data, by, asked, scored)
    grouped = {column: groups(data, column, scored, MAX_GROUPS) for column in columns}
    judged = things(data, label)
    others = judged.other_people().take(scored)
    return Comparison(
        baseline=base,
        models={name: _scores(batteries[name], batteries[base], None if name == base else resamples) for name in names},
        calibrated={
            name: _calibrated(batteries[name], answers[name], asked, resamples, fitted[name]) for name in names
        },
        calibrated_on=_calibrated_on(calibration),
        left=_left(label, usable, scored, found),
        overlap=seen,
        judgments=asked.judgments,
        by={column: subsets.by_group(asked, answers, rows, base, settings) for column, rows in grouped.items()},
        minority=subsets.minorities(
            asked,
            answers,
            others,
            {column: rows for column, rows in grouped.items() if _of_people(data, column)},
            annotator,
            base,
            settings,
        ),
        per_annotator=per_annotator(asked.label, answers, annotator, base, settings),
        ceiling=subsets.ceiling(asked, answers, others, settings),
        self_ceiling=subsets.ceiling(asked, {}, judged.other_times().take(scored), settings, people=False),
        ties=_ties(asked.label, know_ties, found),
        clustered_by=tuple(way.name for way in resamples.ways),
        n_clusters=tuple(way.size for way in resamples.ways),
        interval=interval_sentence(resamples.ways, settings),
        level=level,
        notes=_notes(data, asked, seen, found, distinct(asked.ways), prompt, annotator, names),
    )


def _checked(names: list[str], baseline: str | None, data: PreferenceData, level: float) -> str:
    if not names:
        raise InputError("there are no models to compare.")
    if baseline is not None and baseline not in names:
        raise InputError(f"the baseline {baseline!r} is none of the models.", cure=f"Name one of: {', '.join(names)}.")
    if not 0 < level < 1:
        raise InputError("the level of an interval lies between 0 and 1.", value=level)
    if not data.height("comparisons"):
        raise InputError("there are no comparisons to score.", cure="Ratings and rankings can be converted to pairs.")
    return baseline or names[0]


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Errors say which model they are about."""
    try:
        yield
    except InputError as error:
        raise InputError(
            f"{name}: {error.problem}",
            path=error.path,
            row=error.row,
            column=error.column,
            value=error.value,
            cure=error.cure,
        ) from error
    except (NotComputable, NotSupported) as error:
        raise type(error)(f"{name}: {error}") from error


def _ask(
    models: Mapping[str, Source], data: PreferenceData, usable: Bools, allow_overlap: bool
) -> tuple[dict[str, int | None], dict[str, Predictions]]:
    seen, found = {}, {}
    for name, source in models.items():
        with _about(name):
            seen[name] = check_overlap(source, data, usable, allow_overlap)
            found[name] = predictions(source, data, usable)
    return seen, found


def _columns(data: PreferenceData, by: str | Sequence[str] | None, asked: Asked, scored: Bools) -> list[str]:
    if isinstance(by, str):
        return [by]
    if by is not None:
        return list(by)
    if "group" not in data.columns("annotators"):
        return []
    found = clusters(data, "comparisons", "annotators.group", scored)
    return ["annotators.group"] if found.recorded > 1 else []


def _of_people(data: PreferenceData, column: str) -> bool:
    return resolve(data, "comparisons", qualified("comparisons", column)).via == "annotators"


# -- one model ---------------------------------------------------------------------------------------------------------


def _scores(own: Battery, base: Battery, resamples: Resamples | None) -> ModelScores:
    """Figures of a model, and its differences to the baseline unless it is the baseline (`resamples` None)."""
    differences: dict[str, Figure] = {}
    if resamples is not None:
        differences = {
            name: resamples.difference(own.statistics[name], base.statistics[name]).figure() for name in FIGURES
        }
    figures = {name: statistic.figure() for name, statistic in own.statistics.items()}
    return ModelScores(figures, differences, own.bins(), own.floor())


Fitted = tuple[tuple[Temperature, ...], Ints] | NotComputable
"""Temperatures and which of them belongs to each row, or why there is none."""


def _temperatures(
    models: Mapping[str, Source],
    answers: Mapping[str, Answers],
    asked: Asked,
    data: PreferenceData,
    calibration: PreferenceData | None,
    settings: Settings,
    allow_overlap: bool,
) -> dict[str, Fitted]:
    out: dict[str, Fitted] = {}
    way = asked.ways[0]
    label = labels(calibration) if calibration is not None else None
    if calibration is not None and not allow_overlap:
        _refuse_shared(data, calibration)
    for name, source in models.items():
        with _about(name):
            try:
                if calibration is None or label is None:
                    fold = folds(way.code, way.size, settings.seed)
                    own = answers[name]
                    out[name] = cross_fitted(own.p, asked.label, fold, ties=own.outcomes is not None), fold
                else:
                    fitted = _elsewhere(source, calibration, label)
                    out[name] = (fitted,), np.zeros(len(answers[name].p), np.int64)
            except NotComputable as why:
                out[name] = why
    return out


def _elsewhere(source: Source, calibration: PreferenceData, label: Labels) -> Temperature:
    if not isinstance(source, PreferenceModel):
        raise InputError(
            "probabilities of the scored rows do not say what the model thinks of the calibration data.",
            cure="Give the model, or leave the calibration data out: temperatures then come from the other folds.",
        )
    usable = label.usable
    found = predictions(source, calibration, usable)
    usable[usable] = found.answered
    return fit_temperature(found.p[found.answered], label.take(usable), ties=found.outcomes is not None)


def _refuse_shared(data: PreferenceData, calibration: PreferenceData) -> None:
    shared = int(np.isin(row_fingerprints(data), row_fingerprints(calibration)).sum())
    if shared:
        raise InputError(
            f"{shared:,} comparisons are in the calibration data too.",
            cure="Fit temperatures on a part that is not scored (preflearn split), or leave the calibration data out.",
        )


def _calibrated(own: Battery, answers: Answers, asked: Asked, resamples: Resamples, fitted: Fitted) -> Calibrated:
    if isinstance(fitted, NotComputable):
        return Calibrated(None, {}, {}, str(fitted))
    temperatures, which = fitted
    p, outcomes = answers.p.copy(), None if answers.outcomes is None else answers.outcomes.copy()
    for k, temperature in enumerate(temperatures):
        rows = which == k
        p[rows] = temperature.apply(p[rows])
        if outcomes is not None:
            outcomes[rows] = temperature.apply_outcomes(outcomes[rows])
    after = Battery(asked, Answers(p, outcomes, answers.three_way), resamples, AFTER)
    change = {name: resamples.difference(after.statistics[name], own.statistics[name]).figure() for name in AFTER}
    figures = {name: statistic.figure() for name, statistic in after.statistics.items()}
    slope = float(np.mean([temperature.slope for temperature in temperatures]))
    return Calibrated(1 / slope if slope > 0 else None, figures, change)


def _calibrated_on(calibration: PreferenceData | None) -> str:
    if calibration is None:
        return "each fifth of the clusters with the temperature of the other four"
    return f"the {calibration.height('comparisons'):,} comparisons of the calibration data"


# -- rows and words ----------------------------------------------------------------------------------------------------


def _left(label: Labels, usable: Bools, scored: Bools, found: Mapping[str, Predictions]) -> Left:
    judged = ~(label.skip | label.unjudged)
    return Left(
        rows=len(scored),
        scored=int(scored.sum()),
        skipped=int(label.skip.sum()),
        unjudged=int(label.unjudged.sum()),
        weightless=int((judged & ~usable).sum()),
        unanswered={name: int((~one.answered).sum()) for name, one in found.items()},
        unanswered_by_any=int(usable.sum() - scored.sum()),
    )


def _ties(label: Labels, know_ties: bool, found: Mapping[str, Predictions]) -> str:
    told = ties_sentence(label, know_ties)
    knowing = [name for name, one in found.items() if one.outcomes is not None]
    if know_ties or not knowing or told == "there are none":
        return told.replace("the model knows", "every model knows")
    return (
        f"{', '.join(knowing)} know(s) ties and the others do not, so all are scored alike: a tie is a half label, "
        "which a model that knows ties predicts by P(a) + P(tie) / 2; the figures of decided comparisons leave ties out"
    )


def _notes(
    data: PreferenceData,
    asked: Asked,
    seen: Mapping[str, int | None],
    found: Mapping[str, Predictions],
    used: tuple[Clusters, ...],
    prompt: Clusters,
    annotator: Clusters,
    names: list[str],
) -> list[str]:
    notes = []
    if len(used) < len(asked.ways):
        finer = next(way for way in asked.ways if way.name != used[0].name)
        notes.append(
            f"every {finer.unit} belongs to one {used[0].unit} only: clusters are the values of {used[0].name}."
        )
    notes += [
        f"intervals are about these {way.recorded:,} {way.unit}s: others are not allowed for."
        for way in (prompt, annotator)
        if way.recorded and all(way.name != one.name for one in asked.ways)
    ]
    for way in used:
        if way.name != "rows" and way.loose:
            notes.append(f"{way.loose:,} rows have no {way.name}; each is a cluster of its own.")
        if 1 < way.size < FEW_CLUSTERS:
            notes.append(f"only {way.size} clusters ({way.name}): the intervals are rough.")
    notes += [
        f"{n:,} rows were in the training data of {name}: its figures are partly training figures."
        for name, n in seen.items()
        if n
    ]
    if unknown := [name for name, n in seen.items() if n is None]:
        notes.append(f"overlap with training data could not be checked for {', '.join(sorted(unknown))}.")
    if len(names) > 3:
        notes.append("each interval holds for itself: the more models, the likelier one of them differs by chance.")
    if data.select("comparisons", ["propensity"]).collect()["propensity"].drop_nulls().len():
        notes.append("propensities are recorded but not used: the figures are about the pairs that were asked.")
    return notes
