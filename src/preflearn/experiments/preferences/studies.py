"""Planted people and what they are asked, shared by the proofs of preference models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data import PreferenceData
from preflearn.experiments.measures import Floats
from preflearn.models import Composed
from preflearn.simulate.embedded import Codes, Embedded, Taste, embedded

Mask = npt.NDArray[np.bool_]
FEATURES = 16


def linear(weights: Floats) -> Taste:
    """Utilities linear in the features: one taste for all [d], or one for each annotator [U, d]."""

    def taste(a: Floats, b: Floats, who: Codes, prompt: Floats) -> Floats:
        return np.asarray(((a - b) * (weights if weights.ndim == 1 else weights[who])).sum(1))

    return taste


def scalar(seed: int, scale: float = 3.0, features: int = FEATURES, **options: Any) -> Embedded:
    """One linear taste for everyone; `scale` is the standard deviation of a response's utility."""
    w = np.random.default_rng(seed).standard_normal(features)
    return embedded(linear(scale * w / np.linalg.norm(w)), features=features, seed=seed, **options)


def orthogonal(seed: int, tastes: int, features: int = FEATURES) -> Floats:
    """Tastes at right angles to each other, each of length 1: `[tastes, features]`."""
    drawn = np.random.default_rng([seed, 1]).standard_normal((features, tastes))
    return np.ascontiguousarray(np.linalg.qr(drawn)[0].T)


class Groups(NamedTuple):
    """Votes of people who each belong to one group of linear tastes."""

    study: Embedded
    group: Codes
    """Of each annotator."""
    shares: Floats
    """Realised shares of the groups."""

    def of(self, group: int, rows: Mask) -> Mask:
        """Those of the comparisons that members of a group answered."""
        return np.asarray(rows & (self.group[self.study.annotator] == group))


def grouped(
    seed: int, shares: Sequence[float], *, people: int = 120, votes: int = 40, scale: float = 4.0, **options: Any
) -> Groups:
    """Groups whose tastes are at right angles, of these shares exactly; who belongs where is recorded as `group`."""
    rng = np.random.default_rng([seed, 2])
    counts = np.round(np.asarray(shares) * people).astype(int)
    group = rng.permutation(np.repeat(np.arange(len(shares)), counts))
    weights = scale * orthogonal(seed, len(shares))[group]
    columns: Mapping[str, Sequence[Any]] = {"group": [f"group-{g}" for g in group]}
    study = embedded(linear(weights), annotators=len(group), votes=votes, columns=columns, seed=seed, **options)
    return Groups(study, group, counts / counts.sum())


def right(model: Composed, study: Embedded, train: Mask, test: Mask) -> float:
    """Accuracy on the test comparisons of a model that is fitted to the training comparisons."""
    return study.right(model.fit(study.rows(train)).prob(study.rows(test)), test)


class Newcomers(NamedTuple):
    """Masks of comparisons: of people who are known, the first labels of newcomers, and what newcomers are asked."""

    known: Mask
    labelled: Mask
    asked: Mask


def newcomers(study: Embedded, people: int, labels: int) -> Newcomers:
    """The last `people` annotators are newcomers; what they are asked is about prompts that nobody has judged."""
    train, test = study.halves()
    new = study.annotator >= study.annotator.max() + 1 - people
    return Newcomers(~new & train, first_of_each(study.annotator, new & train, labels), new & test)


class Recovery(NamedTuple):
    """Accuracy gained over answering strangers, added up over two fits that swap who is known and who is new."""

    newcomers: Floats
    """Of newcomers after some labels, for each number of labels."""
    known: float
    """Of people of the training data."""


def recovery(model: Composed, study: Embedded, labels: Sequence[int]) -> Recovery:
    """Fit to every other annotator and let the model learn so many labels of each of the others; then swap them.

    Everyone is a stranger and a newcomer to one fit and known to the other: it does not matter who is easier to know.
    """
    train, test = study.halves()
    gained, known = np.zeros(len(labels)), 0.0
    for side in (0, 1):
        new = study.annotator % 2 == side
        fitted = model.clone().fit(study.rows(train & ~new).pruned())
        stranger = study.right(fitted.prob(study.rows(test & new)), test & new)
        for place, count in enumerate(labels):
            taught = fitted.adapt(study.rows(first_of_each(study.annotator, train & new, count)).pruned())
            gained[place] += study.right(taught.prob(study.rows(test & new)), test & new) - stranger
        known += study.right(fitted.prob(study.rows(test & ~new)), test & ~new) - stranger
    return Recovery(gained, known)


def first_of_each(annotator: Codes, rows: Mask, count: int) -> Mask:
    """The first `count` of the given comparisons of every annotator."""
    keep = np.zeros(len(rows), bool)
    for person in np.unique(annotator[rows]):
        keep[np.flatnonzero(rows & (annotator == person))[:count]] = True
    return keep


def with_rankings(study: Embedded, items: Codes, ranks: Codes) -> PreferenceData:
    """The responses of a study with rankings instead of comparisons: `ranks` (1 = best) of `items`, both [n, K]."""
    frame = pl.DataFrame(
        {
            "ranking_id": [f"ranking-{i}" for i in range(len(items))],
            "responses": [[f"r-{i}" for i in row] for row in items],
            "ranks": ranks.tolist(),
        },
        schema_overrides={"ranks": pl.List(pl.Int32)},
    )
    return study.data.replace(rankings=frame, comparisons=study.data.comparisons.clear())


def with_ratings(data: PreferenceData, value: Floats, item: Codes, **columns: Sequence[Any]) -> PreferenceData:
    """Data with ratings: `value` of the responses `item`, both [n]."""
    frame = {
        "rating_id": [f"rating-{i}" for i in range(len(item))],
        "response_id": [f"r-{i}" for i in item],
        "value": value.tolist(),
    }
    return data.replace(ratings=pl.DataFrame({**frame, **columns})).completed()
