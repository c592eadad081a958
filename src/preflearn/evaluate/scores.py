"""What scoring returns: the figures, what became of the rows, and how everything was done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from preflearn.evaluate.calibration import Bin
from preflearn.evaluate.figures import Figure

FIGURES = ("accuracy", "log_loss", "brier", "ece", "auc", "log_loss_decided", "brier_decided")


@dataclass(frozen=True)
class Counts:
    """Rows of the comparisons, and what became of them.

    Attributes:
        rows: all.
        judgments: judgments behind the rows that are scored (a row with a count stands for several).
        scored: rows scored.
        ties: ties (also both good, both bad) among them.
        soft: soft labels among them.
        skipped: excluded, answered with skip.
        unjudged: excluded, not yet answered.
        weightless: excluded, count or weight 0.
        unanswered: excluded, the model gave no probability.
        overlap: training rows of the model among the rows with a label; None when the model does not tell.
    """

    rows: int
    judgments: int
    scored: int
    ties: int
    soft: int
    skipped: int
    unjudged: int
    weightless: int
    unanswered: int
    overlap: int | None


@dataclass(frozen=True)
class Scores:
    """What `score` found; `as_dict()` is the document of `preflearn evaluate --json`.

    Attributes:
        accuracy: share predicted right; a tie, and a prediction of exactly 1/2, count half.
        log_loss: nats; over three outcomes if the model knows ties, else ties are half labels (see `ties`).
        brier: squared error, treated like `log_loss`; in [0, 2] over three outcomes, else in [0, 1].
        ece: expected calibration error of P(a beats b), equal-mass bins, both orders (see `calibration`).
        auc: area under the ROC curve over decided comparisons, both orders.
        log_loss_decided, brier_decided: two-way, decided comparisons only: comparable between all models.
        counts: what became of the rows.
        ties: how ties were treated, as a sentence.
        clustered_by: column whose values were resampled as wholes, or "rows".
        n_clusters: how many there are.
        interval: how intervals were made, as a sentence.
        level: nominal coverage.
        calibration: the bins behind `ece`, by confidence of the side predicted higher.
        ece_floor: the `ece` a perfectly calibrated model would be expected to show on so much data.
        by: column -> value -> figures.
        notes: what a reader should know.
    """

    accuracy: Figure
    log_loss: Figure
    brier: Figure
    ece: Figure
    auc: Figure
    log_loss_decided: Figure
    brier_decided: Figure
    counts: Counts
    ties: str
    clustered_by: str
    n_clusters: int
    interval: str
    level: float
    calibration: tuple[Bin, ...]
    ece_floor: float | None
    by: dict[str, dict[str, dict[str, Figure]]]
    notes: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Figure]:
        """The figures by name."""
        return {name: getattr(self, name) for name in FIGURES}

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            **{name: figure.as_dict() for name, figure in self.figures().items()},
            "by": {
                column: {
                    value: {name: figure.as_dict() for name, figure in figures.items()}
                    for value, figures in groups.items()
                }
                for column, groups in self.by.items()
            },
            "counts": vars(self.counts).copy(),
            "ties": self.ties,
            "clustered_by": self.clustered_by,
            "n_clusters": self.n_clusters,
            "interval": self.interval,
            "level": self.level,
            "calibration": [row.as_dict() for row in self.calibration],
            "ece_floor": self.ece_floor,
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Short lines for people."""
        counts = self.counts
        out = [f"{counts.judgments:,} judgments in {counts.scored:,} of {counts.rows:,} rows scored"]
        excluded = {
            "skipped": counts.skipped,
            "not judged": counts.unjudged,
            "of no weight": counts.weightless,
            "not answered by the model": counts.unanswered,
        }
        out += [f"  left out {n:,}: {why}" for why, n in excluded.items() if n]
        out += [f"  {name:<17}{figure.text()}" for name, figure in self.figures().items()]
        out.append(f"  ties: {self.ties}")
        out.append(f"  intervals: {self.interval}")
        for column, groups in self.by.items():
            out.append(f"by {column}")
            for value, figures in groups.items():
                out.append(f"  {value}: accuracy {figures['accuracy'].text()}; log loss {figures['log_loss'].text()}")
        out += [f"note: {note}" for note in self.notes]
        return out
