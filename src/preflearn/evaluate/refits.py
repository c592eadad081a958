"""What training data are worth: a model fitted again on fewer labels, or on labels of which a known share is flipped.

The model is a callable from data to a fitted model; the test set is the same everywhere, and so are its resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.schema import JUDGMENTS
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError, PreflearnError
from preflearn.evaluate.clusters import clusters
from preflearn.evaluate.comparing import compare
from preflearn.evaluate.comparison import HEADLINE
from preflearn.evaluate.comparison_lines import NAMES, aligned, interval_text, reasons
from preflearn.evaluate.figures import Figure
from preflearn.evaluate.labels import labels
from preflearn.evaluate.plain import plain
from preflearn.protocols import PreferenceModel

Bools = npt.NDArray[np.bool_]
Fit = Callable[[PreferenceData], PreferenceModel]
BudgetBy = Literal["annotator", "prompt", "rows"]

RATES = (0.0, 0.1, 0.2, 0.3, 0.4)


@dataclass(frozen=True)
class Refit:
    """One fit.

    Attributes:
        setting: the budget in judgments, or the rate of flips.
        labels: judgments it was fitted on, or labels that were flipped.
        units: annotators, prompts or rows that they come from; None for flips.
        figures: on the test set: accuracy, log_loss, brier, ece, auc, log_loss_decided, brier_decided.
        differences: to the reference, paired; empty for it.
        reason: why there is no fit.
    """

    setting: float
    labels: int
    units: int | None
    figures: dict[str, Figure]
    differences: dict[str, Figure]
    reason: str | None = None


@dataclass(frozen=True)
class RefitCurve:
    """Fits on changed training data, one test set.

    Attributes:
        what: "budget" or "flips".
        points: ascending.
        reference: setting that differences are taken to.
        by: what a budget is spent on; None for flips.
        judgments: judgments of the test set behind the figures.
        interval: how intervals were made.
        notes: what a reader should know.
    """

    what: Literal["budget", "flips"]
    points: tuple[Refit, ...]
    reference: float | None
    by: str | None
    judgments: int
    interval: str
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        out = plain(self)
        assert isinstance(out, dict)
        return out

    def table(self) -> pl.DataFrame:
        """One row per fit: setting, labels, headline figures with ends and paired differences."""
        rows = []
        for point in self.points:
            row: dict[str, float | None] = {"setting": point.setting, "labels": float(point.labels)}
            for key in HEADLINE:
                for name, figure in ((key, point.figures.get(key)), (f"{key}_difference", point.differences.get(key))):
                    ends = (None,) * 3 if figure is None else (figure.value, figure.low, figure.high)
                    row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
            rows.append(row)
        return pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.Float64))

    def lines(self) -> list[str]:
        """Short lines for people."""
        budget = self.what == "budget"
        told = "flipped training labels"
        if budget:
            told = "label budget, spent on " + ("single rows" if self.by == "rows" else f"whole {self.by}s")
        out = [f"{told}: {self.judgments:,} test judgments, the same for every fit"]
        keys = ("accuracy", "log_loss", "ece")
        rows = [["labels" if budget else "flipped", *(cell for key in keys for cell in (NAMES[key], "difference"))]]
        for point in self.points:
            name = f"{point.labels:,}" if budget else f"{point.setting:.0%} ({point.labels:,})"
            cells = []
            for key in keys:
                figure, difference = point.figures.get(key), point.differences.get(key)
                cells.append("not fitted" if figure is None else interval_text(figure))
                cells.append("" if difference is None else interval_text(difference, signed=True))
            rows.append([name, *cells])
        out += aligned(rows)
        out += [
            f"  ? {_said(self.what, point.setting)}: not fitted because {point.reason}"
            for point in self.points
            if point.reason
        ]
        out += reasons(
            (f"{NAMES[key]} at {_said(self.what, point.setting)}", point.figures[key])
            for point in self.points
            if point.figures
            for key in keys
        )
        if self.reference is not None:
            out.append(f"differences to {_said(self.what, self.reference)}, paired")
        return [*out, f"intervals: {self.interval}", *(f"note: {note}" for note in self.notes)]


# -- label budgets -----------------------------------------------------------------------------------------------------


def budget_curve(
    fit: Fit,
    train: PreferenceData,
    test: PreferenceData,
    budgets: Sequence[int],
    *,
    seed: int = 0,
    by: BudgetBy = "annotator",
    cluster: str | Sequence[str] | None = None,
    n_bootstrap: int = 1000,
    level: float = 0.95,
) -> RefitCurve:
    """Fit on about so many judgments, in nested parts of the training data; differences are to the largest budget.

    A budget is spent on whole annotators or prompts in random order, because that is how labels are bought, until the
    number of judgments is as near to it as whole units allow.

    Args:
        fit: from comparisons to a fitted model.
        train: only its comparisons are used.
        test: scored.
        budgets: numbers of judgments; more than there are is all of them.
        seed: of the order of units, and of resamples.
        by: what is bought whole.
        cluster, n_bootstrap, level: as in `compare`.

    Raises:
        InputError: a budget that is not positive, or no judgments at all; a fit that fails is a point with a reason.
    """
    if by not in get_args(BudgetBy):
        raise InputError(f"no budget is spent by {by!r}.", cure=f"Choose one of: {', '.join(get_args(BudgetBy))}.")
    label = labels(train)
    have = float(label.judgments[label.usable].sum())
    if not budgets or min(budgets) < 1 or not have:
        raise InputError(
            f"a budget is a number of judgments, from 1 to the {have:,.0f} of the training data.", value=list(budgets)
        )
    wanted = sorted({min(budget, round(have)) for budget in budgets})
    train = train.replace(**{name: train.table(name).head(0) for name in (*JUDGMENTS[1:], "signals")})
    units = clusters(train, "comparisons", by, np.ones(len(label.judgments), np.bool_))
    order = np.random.default_rng(seed).permutation(units.size)
    spent = np.bincount(units.code, weights=np.where(label.usable, label.judgments, 0.0), minlength=units.size)[order]
    total = np.cumsum(spent)
    place = np.empty(units.size, np.int64)
    place[order] = np.arange(units.size)
    datasets: dict[float, PreferenceData] = {}
    sizes: dict[float, tuple[int, int | None]] = {}
    for budget in wanted:
        taken = int(np.argmin(np.abs(total - budget))) + 1
        part = train.where("comparisons", pl.lit(pl.Series(place[units.code] < taken)))
        datasets[budget] = part.pruned()
        sizes[budget] = round(float(total[taken - 1])), int((spent[:taken] > 0).sum())
    settings: dict[str, Any] = {"cluster": cluster, "n_bootstrap": n_bootstrap, "level": level, "seed": seed}
    notes = []
    if max(budgets) > have:
        notes.append(f"the training data hold {have:,.0f} judgments: larger budgets take all of them.")
    if units.loose and by != "rows":
        notes.append(f"{units.loose:,} training rows have no {units.name}; each is bought by itself.")
    return _curve("budget", fit, datasets, sizes, test, max(wanted), by, settings, notes)


# -- flips -------------------------------------------------------------------------------------------------------------


class Flipped(NamedTuple):
    """Data with some labels reversed.

    Attributes:
        data: the data.
        rows: which comparisons were reversed, [n].
    """

    data: PreferenceData
    rows: Bools


def flipped(data: PreferenceData, rate: float, seed: int) -> Flipped:
    """Reverse the outcome of exactly `round(rate * decided rows)` comparisons: a becomes b, b becomes a.

    Ties, skips, soft labels and unjudged rows stay as they are. With one seed the rows of a smaller rate are among
    those of a larger one, whatever the order of rows.

    Raises:
        InputError: the rate is no share.
    """
    if not 0 <= rate <= 1:
        raise InputError("the share of flipped labels lies between 0 and 1.", value=rate)
    frame = data.select("comparisons", ["comparison_id", "outcome"]).collect()
    decided = np.flatnonzero(frame["outcome"].is_in(["a", "b"]).fill_null(False).to_numpy())
    order = decided[frame["comparison_id"].gather(decided).arg_sort().to_numpy()]
    chosen = np.random.default_rng(seed).permutation(order)[: round(rate * len(order))]
    rows = np.zeros(frame.height, np.bool_)
    rows[chosen] = True
    other = pl.col("outcome").replace({"a": "b", "b": "a"})
    changed = data.lazy("comparisons")
    if len(chosen):
        changed = changed.with_columns(pl.when(pl.lit(pl.Series(rows))).then(other).otherwise(pl.col("outcome")))
    step = f"reversed {len(chosen):,} of {len(order):,} decided comparisons (seed {seed})"
    return Flipped(data.replace(step, comparisons=changed), rows)


def flip_curve(
    fit: Fit,
    train: PreferenceData,
    test: PreferenceData,
    rates: Sequence[float] = RATES,
    *,
    seed: int = 0,
    cluster: str | Sequence[str] | None = None,
    n_bootstrap: int = 1000,
    level: float = 0.95,
) -> RefitCurve:
    """Fit on training labels of which a known share is reversed; differences are to the smallest rate.

    Args:
        fit: from comparisons to a fitted model.
        train: see `flipped`.
        test: scored as it is.
        rates: shares of the decided comparisons.
        seed: of the choice of rows, and of resamples.
        cluster, n_bootstrap, level: as in `compare`.

    Raises:
        InputError: a rate that is no share; a fit that fails is a point with a reason.
    """
    wanted = sorted({float(rate) for rate in rates})
    if not wanted:
        raise InputError("there are no rates of flips.")
    found = {rate: flipped(train, rate, seed) for rate in wanted}
    settings: dict[str, Any] = {"cluster": cluster, "n_bootstrap": n_bootstrap, "level": level, "seed": seed}
    sizes: dict[float, tuple[int, int | None]] = {rate: (int(one.rows.sum()), None) for rate, one in found.items()}
    datasets = {rate: one.data for rate, one in found.items()}
    return _curve("flips", fit, datasets, sizes, test, wanted[0], None, settings, [])


# -- both --------------------------------------------------------------------------------------------------------------


def _said(what: str, setting: float) -> str:
    return f"{setting:,.0f} labels" if what == "budget" else f"{setting:.4g} flipped"


def _curve(
    what: Literal["budget", "flips"],
    fit: Fit,
    datasets: Mapping[float, PreferenceData],
    sizes: Mapping[float, tuple[int, int | None]],
    test: PreferenceData,
    reference: float,
    by: str | None,
    settings: Mapping[str, Any],
    notes: list[str],
) -> RefitCurve:
    models: dict[str, PreferenceModel] = {}
    failed: dict[float, str] = {}
    for setting, data in datasets.items():
        try:
            models[_said(what, setting)] = fit(data)
        except PreflearnError as why:
            failed[setting] = str(why)
    fitted = [setting for setting in datasets if setting not in failed]
    if not fitted:
        raise InputError(f"no fit succeeded: {next(iter(failed.values()))}")
    base = reference if reference in fitted else (fitted[-1] if what == "budget" else fitted[0])
    found = compare(models, test, baseline=_said(what, base), by=(), **settings)
    points = []
    for setting in datasets:
        labels_, units = sizes[setting]
        if setting in failed:
            points.append(Refit(setting, labels_, units, {}, {}, failed[setting]))
            continue
        scores = found.models[_said(what, setting)]
        points.append(Refit(setting, labels_, units, scores.figures, scores.differences))
    return RefitCurve(what, tuple(points), base, by, found.judgments, found.interval, [*notes, *found.notes])
