"""`score`: how well a preference model predicts judgments, each figure with an interval that respects clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sp

from preflearn.data.columns import attach
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError, NotComputable
from preflearn.evaluate import calibration, metrics
from preflearn.evaluate.clusters import Clusters, clusters, qualified
from preflearn.evaluate.figures import Figure, Interval, estimate, missing
from preflearn.evaluate.intervals import Bootstrap, Floats, Units, cluster_sums, percentile, wilson
from preflearn.evaluate.labels import Labels, labels
from preflearn.evaluate.predictions import Predictions, overlap, predictions
from preflearn.evaluate.scores import FIGURES, Counts, Scores
from preflearn.protocols import OutcomeProbabilities, PreferenceModel

Bools = npt.NDArray[np.bool_]

MAX_GROUPS = 5_000
NOT_RECORDED = "(not recorded)"
FEW_CLUSTERS = 20
_AREA_BLOCKS = 256
"""Distinct confidences on which the area under the curve is resampled; more are merged into blocks of equal mass, which
shifts the area by a constant (corrected) and its spread by far less than the noise of resampling."""


class _Rows(NamedTuple):
    """Everything the figures need, aligned row by row."""

    label: Labels
    p: Floats
    outcomes: Floats | None
    cluster: Clusters

    def take(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> _Rows:
        outcomes = None if self.outcomes is None else self.outcomes[keep]
        return _Rows(self.label.take(keep), self.p[keep], outcomes, self.cluster.take(keep))


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
    seen = _check_overlap(model_or_probabilities, data, usable, allow_overlap)
    found = predictions(model_or_probabilities, data, usable)
    scored = usable.copy()
    scored[usable] = found.answered
    rows = _rows(data, label, found, scored, cluster)
    notes = _notes(rows.cluster, seen, int(usable.sum() - scored.sum()), data)
    settings = _Settings(n_bootstrap, seed, level)
    figures, bins, floor = _figures(rows, settings)
    columns = [by] if isinstance(by, str) else list(by or ())
    return Scores(
        **figures,
        counts=_counts(label, usable, scored, seen),
        ties=_ties(rows),
        clustered_by=rows.cluster.name,
        n_clusters=rows.cluster.size,
        interval=_interval_text(rows.cluster, settings),
        level=level,
        calibration=bins,
        ece_floor=floor,
        by={column: _by(data, column, rows, scored, settings) for column in columns},
        notes=notes,
    )


def _rows(data: PreferenceData, label: Labels, found: Predictions, scored: Bools, cluster: str | None) -> _Rows:
    outcomes = None if found.outcomes is None else found.outcomes[found.answered]
    return _Rows(label.take(scored), found.p[found.answered], outcomes, clusters(data, "comparisons", cluster, scored))


# -- figures -----------------------------------------------------------------------------------------------------------


class _Settings(NamedTuple):
    n_bootstrap: int
    seed: int
    level: float


def _figures(rows: _Rows, settings: _Settings) -> tuple[dict[str, Figure], tuple[calibration.Bin, ...], float | None]:
    """All figures of some rows, the calibration bins and the noise floor."""
    label, p = rows.label, rows.p
    n = round(float(label.judgments.sum()))
    if not n:
        return {name: missing("no judgment could be scored") for name in FIGURES}, (), None
    mass = label.target[:, metrics.A] + label.target[:, metrics.B]
    decided = label.weight * mass
    n_decided = round(float((label.judgments * (mass > 0)).sum()))
    # Without ties in sight a tie is a half label; P(a | decided) of a model that knows ties is about decided rows only.
    calibrated = label.weight if rows.outcomes is None else decided
    half = metrics.half_label(label.target)
    if rows.outcomes is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            half = np.where(mass > 0, label.target[:, metrics.A] / mass, 0.5)
    folded = calibration.fold(p, half)
    code = calibration.equal_mass(folded.q, calibrated)
    gaps = calibration.gap_columns(folded, calibrated, code)

    if rows.outcomes is None:
        loss, square = metrics.log_loss(label.target, p), metrics.brier(label.target, p)
    else:
        loss, square = (
            metrics.log_loss_outcomes(label.target, rows.outcomes),
            metrics.brier_outcomes(label.target, rows.outcomes),
        )
    only = label.target.copy()
    only[:, metrics.TIE] = 0
    loss_decided, square_decided = metrics.log_loss(_normalised(only), p), metrics.brier(_normalised(only), p)
    columns = {
        "weight": label.weight,
        "decided": decided,
        "calibrated": calibrated,
        "accuracy": label.weight * metrics.credit(label.target, p),
        "log_loss": _weighted(label.weight, loss),
        "brier": label.weight * square,
        "log_loss_decided": _weighted(decided, loss_decided),
        "brier_decided": decided * square_decided,
    }
    resampling = _Resampling(rows, columns, gaps, settings)
    edges = metrics.mirrored_edges(label.target, p, label.weight)
    figures = {
        "accuracy": resampling.ratio("accuracy", "weight", n, bounds=(0.0, 1.0)),
        "log_loss": resampling.ratio("log_loss", "weight", n, bounds=(0.0, None)),
        "brier": resampling.ratio("brier", "weight", n, bounds=(0.0, None)),
        "ece": resampling.ece(n if rows.outcomes is None else n_decided),
        "auc": resampling.area(edges, np.maximum(p, 1 - p), n_decided),
        "log_loss_decided": resampling.ratio("log_loss_decided", "decided", n_decided, bounds=(0.0, None)),
        "brier_decided": resampling.ratio("brier_decided", "decided", n_decided, bounds=(0.0, None)),
    }
    has_bins = bool(calibrated.sum() > 0)
    bins = calibration.bin_table(folded, calibrated, label.judgments * (calibrated > 0), code) if has_bins else ()
    return figures, bins, resampling.floor()


class _Resampling:
    """Figures from sums per unit and their resampled totals."""

    def __init__(self, rows: _Rows, columns: dict[str, Floats], gaps: Floats, settings: _Settings) -> None:
        self.names = list(columns)
        self.cluster = rows.cluster
        self.settings = settings
        units = rows.cluster.units(rows.label.judgments)
        self.effective = units.size if units.frequency is None else int(units.frequency.sum())
        self.units: Units = units.dealt(settings.seed)
        sums = cluster_sums(self.units.code, self.units.size, np.column_stack([*columns.values(), gaps]))
        self.totals = sums.sum(axis=0)
        self.bootstrap = Bootstrap(self.units, settings.n_bootstrap, settings.seed)
        self.possible = self.effective > 1 and settings.n_bootstrap > 0
        sums[:, ~np.isfinite(self.totals)] = 0.0  # an infinite loss is said, not resampled
        self.resampled = self.bootstrap.totals(sums) if self.possible else np.zeros((0, sums.shape[1]))

    def _require(self) -> None:
        if not self.settings.n_bootstrap:
            raise NotComputable("no resamples were asked for")
        if not self.possible:
            raise NotComputable(f"all of it comes from one {self.cluster.unit}, so its spread cannot be known")

    def ratio(self, name: str, over: str, n: int, bounds: tuple[float, float | None]) -> Figure:
        top, bottom = self.names.index(name), self.names.index(over)
        if not self.totals[bottom] > 0:
            return missing("there is no decided comparison")
        value = float(self.totals[top] / self.totals[bottom])
        if not np.isfinite(value):
            return missing("the model gave probability 0 to what happened: the loss is infinite", n)

        def interval() -> Interval:
            self._require()
            at_bound = any(bound is not None and abs(value - bound) < 1e-12 for bound in bounds)
            if at_bound and name == "accuracy":
                return wilson(round(value), self.effective, self.settings.level)
            if at_bound:
                raise NotComputable("every prediction is perfect, so resampling shows no spread")
            with np.errstate(invalid="ignore", divide="ignore"):
                return percentile(self.resampled[:, top] / self.resampled[:, bottom], self.settings.level)

        return estimate(value, interval, n)

    def ece(self, n: int) -> Figure:
        total, first = self.names.index("calibrated"), len(self.names)
        if not self.totals[total] > 0:
            return missing("there is no decided comparison")
        value = float(calibration.calibration_error(self.totals[first:], self.totals[total]))

        def interval() -> Interval:
            self._require()
            return calibration.interval(value, self.resampled[:, first:], self.resampled[:, total], self.settings.level)

        return estimate(value, interval, n)

    def floor(self) -> float | None:
        """Expected calibration error of a perfectly calibrated model."""
        total, first = self.names.index("calibrated"), len(self.names)
        if not self.possible or not self.totals[total] > 0:
            return None
        return calibration.noise_floor(self.resampled[:, first:], self.resampled[:, total])

    def area(self, edges: metrics.Edges, q: Floats, n: int) -> Figure:
        """Area under the curve, by confidence q [n]; resampled on at most `_AREA_BLOCKS` values of it."""
        values, block = np.unique(q.round(calibration.DIGITS), return_inverse=True)
        if not edges.mass.sum() > 0:
            return missing("there is no decided comparison")
        value = float(metrics.mirrored_area(*_per_block(edges, block, len(values))))

        def interval() -> Interval:
            self._require()
            if value in (0.0, 1.0):
                raise NotComputable("both classes are separated perfectly, so resampling shows no spread")
            few = block
            if len(values) > _AREA_BLOCKS:
                few = calibration.equal_mass(q, edges.mass, _AREA_BLOCKS, per_bin=1)
            m = int(few.max()) + 1
            cells = [sp.csr_array((column, (self.units.code, few)), shape=(self.units.size, m)) for column in edges]
            totals = self.bootstrap.totals(sp.hstack(cells, format="csr"))
            areas = metrics.mirrored_area(totals[:, :m], totals[:, m:])
            shift = value - metrics.mirrored_area(*_per_block(edges, few, m))
            return percentile(areas + shift, self.settings.level)

        return estimate(value, interval, n)


def _per_block(edges: metrics.Edges, block: npt.NDArray[np.integer], size: int) -> tuple[Floats, Floats]:
    mass = np.bincount(block, weights=edges.mass, minlength=size).astype(np.float64)
    return mass, np.bincount(block, weights=edges.edge, minlength=size).astype(np.float64)


def _normalised(label: Floats) -> Floats:
    total = label.sum(axis=1, keepdims=True)
    return label / np.where(total > 0, total, 1.0)


def _weighted(weight: Floats, loss: Floats) -> Floats:
    """`weight * loss` with 0 * inf = 0."""
    return np.where(weight > 0, weight * np.where(weight > 0, loss, 0.0), 0.0)


# -- breakdown and words -----------------------------------------------------------------------------------------------


def _by(
    data: PreferenceData, column: str, rows: _Rows, scored: Bools, settings: _Settings
) -> dict[str, dict[str, Figure]]:
    frame = (
        attach(data, "comparisons", {"__by": qualified("comparisons", column)})
        .select("__by")
        .collect()
        .filter(pl.Series(scored))
    )
    if frame["__by"].dtype.is_nested():
        raise InputError("figures cannot be split by a column of lists or structs.", column=column)
    values = frame["__by"].cast(pl.String).fill_null(NOT_RECORDED)
    distinct = values.unique().sort()
    if distinct.len() > MAX_GROUPS:
        raise InputError(
            f"the column has {distinct.len():,} different values; at most {MAX_GROUPS:,} groups are shown.",
            column=column,
            cure="Add a column of classes (for instance ranges of it) and name that.",
        )
    groups = values.to_frame("value").with_row_index("row").group_by("value").agg("row")
    members: dict[str, Any] = dict(groups.iter_rows())
    return {value: _figures(rows.take(np.sort(np.asarray(members[value]))), settings)[0] for value in distinct}


def _check_overlap(source: object, data: PreferenceData, usable: Bools, allow: bool) -> int | None:
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


def _ties(rows: _Rows) -> str:
    if rows.outcomes is not None:
        return (
            "the model knows ties: log loss and Brier over (a, tie, b); calibration over decided comparisons; "
            "in accuracy a tie counts half"
        )
    if bool((rows.label.target[:, metrics.TIE] > 0).any()):
        return "the model does not know ties: a tie is a half label"
    return "there are none"


def _interval_text(cluster: Clusters, settings: _Settings) -> str:
    what = "judgments" if cluster.name == "rows" else f"{cluster.size:,} values of {cluster.name}"
    return (
        f"{settings.level:.0%} percentile bootstrap over {what}, {settings.n_bootstrap:,} resamples, "
        f"seed {settings.seed} (ece: reflected, because its estimate is biased upwards)"
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
