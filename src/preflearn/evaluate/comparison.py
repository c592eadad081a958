"""What `compare` returns: figures of every model, paired differences, groups, minorities, ceilings; and their words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from preflearn.evaluate.calibration import Bin
from preflearn.evaluate.figures import Figure
from preflearn.evaluate.people import PerAnnotator
from preflearn.evaluate.plain import plain

HEADLINE = ("accuracy", "log_loss", "brier", "ece", "auc")
HIGHER_IS_BETTER = {"accuracy": True, "auc": True, "log_loss": False, "brier": False, "ece": False}


@dataclass(frozen=True)
class ModelScores:
    """One model on the rows that all models answered.

    Attributes:
        figures: accuracy, log_loss, brier, ece, auc, log_loss_decided, brier_decided (see `Scores`).
        differences: of each to the baseline, paired; empty for the baseline.
        calibration: the bins behind `ece`.
        ece_floor: the `ece` a perfectly calibrated model would be expected to show on so much data.
    """

    figures: dict[str, Figure]
    differences: dict[str, Figure]
    calibration: tuple[Bin, ...]
    ece_floor: float | None


@dataclass(frozen=True)
class Calibrated:
    """One model with one temperature on its logits.

    Attributes:
        temperature: above 1: the model was too sure; the harmonic mean where there are several; None: none is finite.
        figures: log_loss, ece and log_loss_decided after; empty where no temperature could be fitted.
        changes: after less before, paired.
        reason: why there is none.
    """

    temperature: float | None
    figures: dict[str, Figure]
    changes: dict[str, Figure]
    reason: str | None = None


@dataclass(frozen=True)
class Left:
    """Rows of the comparisons, and why some are not scored.

    Attributes:
        rows: all.
        scored: judged, with weight, and answered by every model.
        skipped: answered with skip.
        unjudged: not yet answered.
        weightless: count or weight 0.
        unanswered: judged rows to which a model gave no probability, by model.
        unanswered_by_any: judged rows to which at least one model gave none.
    """

    rows: int
    scored: int
    skipped: int
    unjudged: int
    weightless: int
    unanswered: dict[str, int]
    unanswered_by_any: int


@dataclass(frozen=True)
class GroupScores:
    """Accuracy and log loss of one model on some rows, and their paired differences to the baseline."""

    figures: dict[str, Figure]
    differences: dict[str, Figure]


@dataclass(frozen=True)
class Worst:
    """The group a model does worst for.

    Attributes:
        group: None where there are not two.
        figure: its figure. The interval is of the worst group's true figure, whichever group that is: it is made of
            intervals of all groups that hold together, because the worst was chosen after looking.
    """

    group: str | None
    figure: Figure


@dataclass(frozen=True)
class Groups:
    """Figures by the values of one column.

    Attributes:
        values: group -> model -> figures.
        worst: model -> accuracy, log_loss -> the worst group.
        eligible: groups with at least `least` judgments, of which one can be the worst.
        least: judgments needed.
    """

    values: dict[str, dict[str, GroupScores]]
    worst: dict[str, dict[str, Worst]]
    eligible: int
    least: int


@dataclass(frozen=True)
class Minority:
    """Judgments of a minority and of the majority, apart.

    Attributes:
        definition: who the minority is.
        share: its share of the judgments of both.
        minority, majority: by model.
    """

    definition: str
    share: Figure
    minority: dict[str, GroupScores]
    majority: dict[str, GroupScores]


@dataclass(frozen=True)
class Ceiling:
    """What the best prediction could reach, on rows whose pair was judged more than once.

    Attributes:
        lower: reached by whoever knows the other answers: accuracy of their majority, the row's own answer left out.
        upper: beyond this nothing gets that does not know the answer itself. The best accuracy lies between the two.
        models: accuracy of the models on the same rows.
        differences: accuracy of the models less `lower`, paired.
    """

    lower: Figure
    upper: Figure
    models: dict[str, Figure]
    differences: dict[str, Figure]


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; `as_dict()` is the document for `--json`.

    Attributes:
        baseline: the model that differences are taken to.
        models: figures by name.
        calibrated: the same models with one temperature each, by name.
        calibrated_on: what temperatures were fitted to, as a phrase.
        left: what became of the rows.
        overlap: training rows among the judged ones, by model; None where a model does not tell.
        judgments: judgments behind the scored rows.
        by: column -> figures by group.
        minority: by votes and by groups of annotators.
        per_annotator: area under the curve within annotators.
        ceiling: what a model can reach that does not know who asks.
        self_ceiling: what a model can reach that knows everybody perfectly, from repeated judgments of one person.
        ties: how ties were treated.
        clustered_by, n_clusters: one clustering, or two for two-way intervals.
        interval: how intervals were made.
        level: nominal coverage.
        notes: what a reader should know.
    """

    baseline: str
    models: dict[str, ModelScores]
    calibrated: dict[str, Calibrated]
    calibrated_on: str
    left: Left
    overlap: dict[str, int | None]
    judgments: int
    by: dict[str, Groups]
    minority: tuple[Minority, ...]
    per_annotator: PerAnnotator
    ceiling: Ceiling
    self_ceiling: Ceiling
    ties: str
    clustered_by: tuple[str, ...]
    n_clusters: tuple[int, ...]
    interval: str
    level: float
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        out = plain(self)
        assert isinstance(out, dict)
        return out

    def table(self) -> pl.DataFrame:
        """One row per model: each headline figure, its ends, its paired difference to the baseline and those ends;
        temperature, and log loss and ece after it. Null where something is not computable.
        """
        rows = []
        for name, scores in self.models.items():
            row: dict[str, Any] = {"model": name}
            for key in HEADLINE:
                row |= _columns(key, scores.figures[key])
                row |= _columns(f"{key}_difference", scores.differences.get(key))
            after = self.calibrated[name]
            row["temperature"] = after.temperature
            for key in ("log_loss", "ece"):
                row |= _columns(f"{key}_after", after.figures.get(key))
            rows.append(row)
        return _frame(rows, ("model",))

    def group_table(self) -> pl.DataFrame:
        """One row per column, group and model: accuracy and log loss with ends and paired differences."""
        rows = []
        for column, groups in self.by.items():
            for value, models in groups.values.items():
                for name, scores in models.items():
                    row: dict[str, Any] = {"column": column, "group": value, "model": name}
                    for key in ("accuracy", "log_loss"):
                        row |= _columns(key, scores.figures[key])
                        row |= _columns(f"{key}_difference", scores.differences.get(key))
                    rows.append({**row, "judgments": float(scores.figures["accuracy"].n)})
        return _frame(rows, ("column", "group", "model"))

    def lines(self) -> list[str]:
        """Short lines for people."""
        from preflearn.evaluate.comparison_lines import lines

        return lines(self)


def _columns(key: str, figure: Figure | None) -> Mapping[str, float | None]:
    if figure is None:
        return {key: None, f"{key}_low": None, f"{key}_high": None}
    return {key: figure.value, f"{key}_low": figure.low, f"{key}_high": figure.high}


def _frame(rows: list[dict[str, Any]], texts: tuple[str, ...]) -> pl.DataFrame:
    names = list(rows[0]) if rows else list(texts)
    return pl.DataFrame(rows, schema={name: pl.String if name in texts else pl.Float64 for name in names})
