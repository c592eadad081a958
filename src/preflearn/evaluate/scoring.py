"""`score`: how well a preference model predicts judgments, each figure with an interval that respects clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.columns import attach, qualified
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError
from preflearn.evaluate import metrics
from preflearn.evaluate.battery import Answers, Asked, Battery
from preflearn.evaluate.clusters import ROWS, Clusters, clusters
from preflearn.evaluate.figures import Figure
from preflearn.evaluate.intervals import Ints, Settings
from preflearn.evaluate.labels import Labels, labels
from preflearn.evaluate.plain import NOT_RECORDED
from preflearn.evaluate.predictions import overlap, predictions
from preflearn.evaluate.scores import Counts, Scores
from preflearn.protocols import OutcomeProbabilities, PreferenceModel

Bools = npt.NDArray[np.bool_]

MAX_GROUPS = 5_000
FEW_CLUSTERS = 20


def score(
    model_or_probabilities: PreferenceModel | OutcomeProbabilities | npt.ArrayLike | pl.Series,
    data: PreferenceData,
    *,
    by: str | Sequence[str] | None = None,
    cluster: str | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    allow_overlap: bool = False,
) -> Scores:
    """Score predictions against the judgments of `data.comparisons`.

    No value depends on which response is called a, on the order of rows, or on whether equal judgments are rows or
    counts.

    Args:
        model_or_probabilities: a fitted model, or P(a beats b) per row of `data.comparisons`: [n], NaN = no answer; or
            `OutcomeProbabilities` of all rows. A model is asked without the answers in view.
        data: judgments; skipped and unjudged rows are counted and left out. Soft labels, counts and weights are used.
        by: column(s) of any table: the figures for each of its values too.
        cluster: column whose values are resampled as wholes: "annotator", "prompt", any other, or "rows". Default:
            prompt if at least two are recorded, else annotator, else rows.
        n_bootstrap: resamples of the cluster bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.
        level: nominal coverage of intervals.
        allow_overlap: score rows that the model was trained on.

    Raises:
        InputError: predictions that are not probabilities or not aligned, an unknown column, no comparisons at all, or
            rows that the model was trained on.
    """
    if not 0 < level < 1:
        raise InputError("the level of an interval lies between 0 and 1.", value=level)
    if not data.height("comparisons"):
        raise InputError("there are no comparisons to score.", cure="Ratings and rankings can be converted to pairs.")
    label = labels(data)
    usable = label.usable
    seen = check_overlap(model_or_probabilities, data, usable, allow_overlap)
    found = predictions(model_or_probabilities, data, usable)
    scored = usable.copy()
    scored[usable] = found.answered
    way = clusters(data, "comparisons", cluster, scored)
    asked = Asked(label.take(scored), (way,))
    answers = Answers(found.p, found.outcomes).take(found.answered)
    notes = _notes(way, seen, int(usable.sum() - scored.sum()), data)
    settings = Settings(n_bootstrap, seed, level)
    battery = Battery(asked, answers, asked.resamples(settings))
    columns = [by] if isinstance(by, str) else list(by or ())
    return Scores(
        **_figures(battery),
        counts=_counts(label, usable, scored, seen),
        ties=ties_sentence(asked.label, answers.outcomes is not None),
        clustered_by=way.name,
        n_clusters=way.size,
        interval=interval_sentence((way,), settings),
        level=level,
        calibration=battery.bins(),
        ece_floor=battery.floor(),
        by={
            column: {
                value: _figures(Battery(part := asked.take(rows), answers.take(rows), part.resamples(settings)))
                for value, rows in groups(data, column, scored, MAX_GROUPS).items()
            }
            for column in columns
        },
        notes=notes,
    )


def _figures(battery: Battery) -> dict[str, Figure]:
    return {name: statistic.figure() for name, statistic in battery.statistics.items()}


# -- breakdown and words -----------------------------------------------------------------------------------------------


def groups(data: PreferenceData, column: str, rows: Bools, most: int) -> dict[str, Ints]:
    """Value of a column (of any table) -> which of the chosen rows have it, ascending; values in their order.

    Args:
        rows: which rows of `data.comparisons`, [n].
        most: more values than this are refused.

    Raises:
        InputError: no such column, or one of lists, or too many values.
    """
    frame = (
        attach(data, "comparisons", {"__by": qualified("comparisons", column)})
        .select("__by")
        .collect()
        .filter(pl.Series(rows))
    )
    if frame["__by"].dtype.is_nested():
        raise InputError("figures cannot be split by a column of lists or structs.", column=column)
    values = frame["__by"].cast(pl.String).fill_null(NOT_RECORDED)
    distinct = values.unique().sort()
    if distinct.len() > most:
        raise InputError(
            f"the column has {distinct.len():,} different values; at most {most:,} groups are shown.",
            column=column,
            cure="Add a column of classes (for instance ranges of it) and name that.",
        )
    members = dict(values.to_frame("value").with_row_index("row").group_by("value").agg("row").iter_rows())
    return {value: np.sort(np.asarray(members[value], np.int64)) for value in distinct}


def check_overlap(source: object, data: PreferenceData, usable: Bools, allow: bool) -> int | None:
    """How many of the judged rows the model was trained on; None when it does not say.

    Raises:
        InputError: it was, and that is not allowed.
    """
    found = overlap(source, data, usable)
    if found is None:
        return None
    n = int(found.sum())
    if n and not allow:
        raise InputError(
            f"{n:,} of {int(usable.sum()):,} judged comparisons were in the training data of the model.",
            row=int(np.argmax(found)),
            cure="Score held-out data (preflearn split), or say allow_overlap=True and call it a training figure.",
        )
    return n


def _counts(label: Labels, usable: Bools, scored: Bools, seen: int | None) -> Counts:
    judged = ~(label.skip | label.unjudged)
    return Counts(
        rows=len(scored),
        judgments=round(float(label.judgments[scored].sum())),
        scored=int(scored.sum()),
        ties=int((label.tie & scored).sum()),
        soft=int((label.soft & scored).sum()),
        skipped=int(label.skip.sum()),
        unjudged=int(label.unjudged.sum()),
        weightless=int((judged & ~usable).sum()),
        unanswered=int((usable & ~scored).sum()),
        overlap=seen,
    )


def ties_sentence(label: Labels, known: bool) -> str:
    """How ties among these labels are treated, by models that know them or by others."""
    if known:
        return (
            "the model knows ties: log loss and Brier over (a, tie, b); calibration over decided comparisons; "
            "in accuracy a tie counts half"
        )
    if bool((label.target[:, metrics.TIE] > 0).any()):
        return "the model does not know ties: a tie is a half label"
    return "there are none"


def interval_sentence(ways: Sequence[Clusters], settings: Settings) -> str:
    """How intervals are made."""
    what = ["judgments" if way.name == ROWS else f"{way.size:,} values of {way.name}" for way in ways]
    made = "percentile bootstrap (widened for few clusters)"
    if len(what) > 1:
        made = "t intervals with two-way bootstrap variances (both ways, less that of their cells)"
    return (
        f"{settings.level:.0%} {made} over {' and '.join(what)}, {settings.n_bootstrap:,} resamples, "
        f"seed {settings.seed} (ece allows for its upward bias)"
    )


def _notes(cluster: Clusters, seen: int | None, unanswered: int, data: PreferenceData) -> list[str]:
    notes = []
    if cluster.name != "rows" and cluster.loose:
        notes.append(f"{cluster.loose:,} rows have no {cluster.name}; each is a cluster of its own.")
    if 1 < cluster.size < FEW_CLUSTERS:
        notes.append(f"only {cluster.size} clusters ({cluster.name}): the intervals are rough.")
    if seen:
        notes.append(f"{seen:,} rows were in the training data: these are partly training figures.")
    if seen is None:
        notes.append("overlap with training data could not be checked: the predictions carry no training fingerprints.")
    if unanswered:
        notes.append(f"{unanswered:,} judged rows have no prediction; the figures are about the others only.")
    if data.select("comparisons", ["propensity"]).collect()["propensity"].drop_nulls().len():
        notes.append("propensities are recorded but not used: the figures are about the pairs that were asked.")
    return notes
