"""How well a model orders the choices of each person by themselves: area under the curve per annotator, and their mean.

A model may do well over everybody because it knows whose answers are easy; this figure does not pay for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from preflearn.evaluate import calibration, metrics
from preflearn.evaluate.battery import Answers
from preflearn.evaluate.clusters import Clusters
from preflearn.evaluate.figures import Figure, missing
from preflearn.evaluate.intervals import Floats, Settings, Sums, mean
from preflearn.evaluate.labels import Labels

ENOUGH_VOTES = 10
"""Decided judgments that an annotator needs for an area of their own. Every comparison enters in both orders, so both
kinds of answers are always there."""


@dataclass(frozen=True)
class AnnotatorAreas:
    """Mean over annotators of their own area under the curve; `n` = decided judgments of these annotators.

    Attributes:
        unweighted: every annotator counts the same.
        weighted: by decided judgments.
        difference, weighted_difference: paired, to the baseline; None for the baseline itself.
    """

    unweighted: Figure
    weighted: Figure
    difference: Figure | None = None
    weighted_difference: Figure | None = None


@dataclass(frozen=True)
class PerAnnotator:
    """Areas of each model.

    Attributes:
        annotators: how many have at least `least` decided judgments.
        left_out: how many have fewer.
        least: decided judgments needed.
        models: by name.
    """

    annotators: int
    left_out: int
    least: int
    models: dict[str, AnnotatorAreas]


def per_annotator(
    label: Labels,
    answers: Mapping[str, Answers],
    annotator: Clusters,
    baseline: str,
    settings: Settings,
    least: int = ENOUGH_VOTES,
) -> PerAnnotator:
    """Mean area per annotator of each model, with t intervals over annotators.

    Args:
        label: answered rows, [n].
        answers: of each model about these rows.
        annotator: who judged; rows without one are left out.
        baseline: model to which the others are compared.
        least: decided judgments that an annotator needs.
    """
    named = annotator.recorded
    decided = label.target[:, metrics.A] + label.target[:, metrics.B] > 0
    votes = np.bincount(annotator.code, weights=label.judgments * decided, minlength=annotator.size)[:named]
    chosen = votes >= least
    some = int((votes > 0).sum())
    rows = np.flatnonzero(annotator.code < named)
    rows = rows[chosen[annotator.code[rows]]]
    kept, code = label.take(rows), annotator.code[rows]
    areas = {}
    for name, answer in answers.items():
        p = answer.p[rows]
        edges = metrics.mirrored_edges(kept.target, p, kept.weight)
        q = np.maximum(p, 1 - p).round(calibration.DIGITS)
        areas[name] = metrics.mirrored_areas(edges, q, code, named)[chosen]
    weight = votes[chosen].astype(np.float64)
    n = round(float(weight.sum()))

    def over_people(values: Floats, weights: Floats) -> Figure:
        if not len(values):
            return missing(f"nobody has {least} decided judgments" if named else "it is not recorded who judged")
        return mean(Sums(values * weights, weights), n, level=settings.level, unit="annotator")

    def of(name: str) -> AnnotatorAreas:
        even = np.ones(len(weight))
        own = _cut(over_people(areas[name], even)), _cut(over_people(areas[name], weight))
        if name == baseline:
            return AnnotatorAreas(*own)
        gain = areas[name] - areas[baseline]
        return AnnotatorAreas(*own, over_people(gain, even), over_people(gain, weight))

    return PerAnnotator(int(chosen.sum()), some - int(chosen.sum()), least, {name: of(name) for name in answers})


def _cut(figure: Figure) -> Figure:
    """The interval of an area, within [0, 1]."""
    if figure.low is None or figure.high is None:
        return figure
    return Figure(figure.value, max(figure.low, 0.0), min(figure.high, 1.0), figure.n)
