"""The figures of one model on some rows: what they are made of row by row, and how they follow from its sums.

`score` and `compare` measure with these; knows labels and probabilities, nothing about data sets or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from preflearn.errors import NotComputable
from preflearn.evaluate import calibration, metrics
from preflearn.evaluate.clusters import Clusters
from preflearn.evaluate.figures import Interval
from preflearn.evaluate.intervals import Floats, Settings, wilson
from preflearn.evaluate.labels import Labels
from preflearn.evaluate.resampling import Cells, Resamples, Statistic, Total
from preflearn.evaluate.scores import FIGURES

Rows = npt.NDArray[np.bool_] | npt.NDArray[np.intp]

RATIOS = {
    "accuracy": "weight",
    "log_loss": "weight",
    "brier": "weight",
    "log_loss_decided": "decided",
    "brier_decided": "decided",
}
"""Figures that are a ratio of sums, and the column below the line."""
BOUNDS: dict[str, tuple[float, float | None]] = {"accuracy": (0.0, 1.0)}
_AREA_BLOCKS = 256
"""Distinct confidences on which the area under the curve is resampled; more are merged into blocks of equal mass, which
shifts the area by a constant (corrected) and its spread by far less than the noise of resampling."""


class Asked(NamedTuple):
    """Judged rows with their clusters.

    Attributes:
        label: what was answered.
        ways: one or two clusterings of the rows.
    """

    label: Labels
    ways: tuple[Clusters, ...]

    def take(self, keep: Rows) -> Asked:
        """Some of the rows."""
        return Asked(self.label.take(keep), tuple(way.take(keep) for way in self.ways))

    def resamples(self, settings: Settings) -> Resamples:
        """Resamples of these rows."""
        return Resamples(self.ways, self.label.judgments, settings)

    @property
    def judgments(self) -> int:
        """Judgments behind the rows."""
        return round(float(self.label.judgments.sum()))


class Answers(NamedTuple):
    """What one model says about these rows.

    Attributes:
        p: P(a beats b | decided), [n].
        outcomes: P(a wins), P(tie), P(b wins), [n, 3]; None: ties are not known.
        three_way: score `outcomes`; else ties are half labels, also of a model that knows them.
    """

    p: Floats
    outcomes: Floats | None = None
    three_way: bool = True

    @property
    def of_three(self) -> Floats | None:
        """The outcomes, where they are scored."""
        return self.outcomes if self.three_way else None

    @property
    def half(self) -> Floats:
        """The expected half label: P(a) + P(tie) / 2, or `p` where ties are not known, [n]."""
        return self.p if self.outcomes is None else metrics.half_label(self.outcomes)

    def take(self, keep: Rows) -> Answers:
        """The answers about some of the rows."""
        return Answers(self.p[keep], None if self.outcomes is None else self.outcomes[keep], self.three_way)


class Battery:
    """Figures of one model on some rows.

    Args:
        asked: the judged rows.
        answers: of the model, about the same rows.
        resamples: of the same rows; shared by all models that are compared.
        names: figures wanted; others are not computed.
    """

    def __init__(self, asked: Asked, answers: Answers, resamples: Resamples, names: Sequence[str] = FIGURES) -> None:
        label, p = asked.label, answers.p
        self.label, self.p, self.resamples = label, p, resamples
        mass = label.target[:, metrics.A] + label.target[:, metrics.B]
        decided = label.weight * mass
        self.n = asked.judgments
        self.n_decided = round(float((label.judgments * (mass > 0)).sum()))
        # Where ties are scored by themselves, calibration is about decided rows: that is what P(a | decided) is about.
        three = answers.of_three is not None
        self.calibrated = decided if three else label.weight
        self.n_calibrated = self.n_decided if three else self.n
        columns: dict[str, Floats | Cells] = {"weight": label.weight, "decided": decided}
        losses = {"accuracy": label.weight * metrics.credit(label.target, p), **_losses(label, answers, decided)}
        columns |= {name: losses[name] for name in RATIOS if name in names}
        if "ece" in names:
            q, half = answers.half, metrics.half_label(label.target)
            if three:
                with np.errstate(invalid="ignore", divide="ignore"):
                    q, half = p, np.where(mass > 0, label.target[:, metrics.A] / mass, 0.5)
            self.folded = calibration.fold(q, half)
            self.bin = calibration.equal_mass(self.folded.q, self.calibrated)
            columns |= {
                "calibrated": self.calibrated,
                "gaps": calibration.gap_columns(self.folded, self.calibrated, self.bin),
            }
        if "auc" in names:
            columns |= self._edges()
        self.totals = resamples.totals(columns)
        self.statistics = {name: self._statistic(name) for name in FIGURES if name in names}

    def _statistic(self, name: str) -> Statistic:
        if not self.n:
            return Statistic(None, 0, "no judgment could be scored")
        return {"ece": self._ece, "auc": self._area}[name]() if name in {"ece", "auc"} else self._ratio(name)

    def _ratio(self, name: str) -> Statistic:
        top, bottom = self.totals[name], self.totals[RATIOS[name]]
        n = self.n if RATIOS[name] == "weight" else self.n_decided
        if not bottom.value[0] > 0:
            return Statistic(None, 0, "there is no decided comparison")
        value = float(top.value[0] / bottom.value[0])
        if not np.isfinite(value):
            return Statistic(None, n, "the model gave probability 0 to what happened: the loss is infinite")
        low, high = BOUNDS.get(name, (0.0, None))
        at_bound = any(bound is not None and abs(value - bound) < 1e-12 for bound in (low, high))
        replicates = tuple(_ratios(a, b)[:, 0] for a, b in zip(top.resampled, bottom.resampled, strict=True))

        def extreme(way: int, level: float) -> Interval:
            if name != "accuracy":
                raise NotComputable("every prediction is perfect, so resampling shows no spread")
            return wilson(round(value), min(self.resamples.effective), self.resamples.settings.level)

        return _within(self.resamples.statistic(value, n, replicates, extreme if at_bound else None), low, high)

    def _ece(self) -> Statistic:
        gaps, total = self.totals["gaps"], self.totals["calibrated"]
        if not total.value[0] > 0:
            return Statistic(None, 0, "there is no decided comparison")
        value = float(calibration.calibration_error(gaps.value, total.value[0]))
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates = tuple(
                calibration.calibration_error(g, t[:, 0]) for g, t in zip(gaps.resampled, total.resampled, strict=True)
            )

        def ends(way: int, level: float) -> Interval:
            return calibration.interval(value, gaps.resampled[way], total.resampled[way][:, 0], level)

        share = gaps.value / total.value[0]
        bias = tuple(
            calibration.largest_bias(share, g, t[:, 0]) for g, t in zip(gaps.resampled, total.resampled, strict=True)
        )
        found = _within(self.resamples.statistic(value, self.n_calibrated, replicates, ends), 0.0, 1.0)
        return replace(found, bias=bias)

    def _edges(self) -> dict[str, Floats | Cells]:
        """What the area is made of; resampled on at most `_AREA_BLOCKS` confidences."""
        edges = metrics.mirrored_edges(self.label.target, self.p, self.label.weight)
        q = np.maximum(self.p, 1 - self.p)
        values, exact = np.unique(q.round(calibration.DIGITS), return_inverse=True)
        block = exact.astype(np.int64)
        if len(values) > _AREA_BLOCKS:
            block = calibration.equal_mass(q, edges.mass, _AREA_BLOCKS, per_bin=1)
        blocks = int(block.max()) + 1 if len(block) else 0
        self.area = float(metrics.mirrored_area(*metrics.edge_sums(edges, exact.astype(np.int64), len(values))))
        return {"mass": Cells(edges.mass, block, blocks), "edge": Cells(edges.edge, block, blocks)}

    def _area(self) -> Statistic:
        mass, edge = self.totals["mass"], self.totals["edge"]
        if not mass.value.sum() > 0:
            return Statistic(None, 0, "there is no decided comparison")
        shift = self.area - float(metrics.mirrored_area(mass.value, edge.value))
        replicates = tuple(
            metrics.mirrored_area(m, e) + shift for m, e in zip(mass.resampled, edge.resampled, strict=True)
        )

        def extreme(way: int, level: float) -> Interval:
            raise NotComputable("both classes are separated perfectly, so resampling shows no spread")

        ends = extreme if self.area in (0.0, 1.0) else None
        return _within(self.resamples.statistic(self.area, self.n_decided, replicates, ends), 0.0, 1.0)

    def bins(self) -> tuple[calibration.Bin, ...]:
        """The bins behind the calibration error."""
        if not self.calibrated.sum() > 0:
            return ()
        return calibration.bin_table(
            self.folded, self.calibrated, self.label.judgments * (self.calibrated > 0), self.bin
        )

    def floor(self) -> float | None:
        """Calibration error that a perfectly calibrated model would be expected to show."""
        if not self.resamples.possible or not self.calibrated.sum() > 0:
            return None
        floors = [
            calibration.noise_floor(gaps, total[:, 0])
            for gaps, total in zip(*(self.totals[name].resampled for name in ("gaps", "calibrated")), strict=True)
        ]
        return max(floors)


def _losses(label: Labels, answers: Answers, decided: Floats) -> dict[str, Floats]:
    p, target, weight = answers.p, label.target, label.weight
    if (three := answers.of_three) is None:
        loss, square = metrics.log_loss(target, answers.half), metrics.brier(target, answers.half)
    else:
        loss, square = metrics.log_loss_outcomes(target, three), metrics.brier_outcomes(target, three)
    only = target.copy()
    only[:, metrics.TIE] = 0
    total = only.sum(axis=1, keepdims=True)
    only /= np.where(total > 0, total, 1.0)
    return {
        "log_loss": _weighted(weight, loss),
        "brier": weight * square,
        "log_loss_decided": _weighted(decided, metrics.log_loss(only, p)),
        "brier_decided": decided * metrics.brier(only, p),
    }


def ratio_of(top: Total, bottom: Total) -> tuple[Floats, tuple[Floats, ...]]:
    """Ratio of two totals, and in every resample: [m], [replicates, m] for each way."""
    return _ratios(top.value, bottom.value), tuple(
        _ratios(a, b) for a, b in zip(top.resampled, bottom.resampled, strict=True)
    )


def _ratios(top: Floats, bottom: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(top / bottom)


def _weighted(weight: Floats, loss: Floats) -> Floats:
    """`weight * loss` with 0 * inf = 0."""
    return np.where(weight > 0, weight * np.where(weight > 0, loss, 0.0), 0.0)


def _within(statistic: Statistic, low: float, high: float | None) -> Statistic:
    """The statistic with its interval cut to what is possible."""
    make = statistic.interval
    assert make is not None

    def interval() -> Interval:
        ends = make()
        return Interval(max(low, ends.low), ends.high if high is None else min(high, ends.high))

    return replace(statistic, interval=interval)
