"""Folds over prompts and people at once: every judgment is predicted with its prompt, and with its annotator, unseen.

In fold k the judgments about units of fold k and those by annotators of fold k are kept from training. A judgment is
then predicted in the fold of its unit (its annotator being known, or new as well), in the fold of its annotator, and a
few in a fold that knows both, from which just they were taken out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.split import assign
from preflearn.experiments.real.sets import UNIT

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

KEPT_BACK = 0.2
"""Share of judgments that one fold, to which both their unit and their annotator are known, does without."""

QUADRANTS = ("new_prompt", "new_both", "new_annotator", "known")


class Folds(NamedTuple):
    """Which fold holds which judgment out; -1 = none.

    Attributes:
        unit: fold of the unit of each judgment, [n].
        annotator: fold of its annotator, [n].
        back: fold that does without just this judgment (and those of the same annotator about the same pair), [n].
        number: how many folds there are.
    """

    unit: Ints
    annotator: Ints
    back: Ints
    number: int

    def train(self, k: int) -> Bools:
        """Judgments that fold k is fitted to, [n]."""
        return np.asarray((self.unit != k) & (self.annotator != k) & (self.back != k))

    def quadrants(self, people: Ints) -> dict[str, Bools]:
        """Which judgments are predicted in each situation, as training really was, [n] each.

        `new_prompt`: unit unseen, annotator seen, in the fold `unit`; `new_both`: both unseen, in the fold `unit`;
        `new_annotator`: unit seen, annotator unseen, in the fold `annotator`; `known`: both seen, in the fold `back`.

        Args:
            people: code of the annotator of each judgment, [n].
        """
        seen = np.zeros((self.number, int(people.max(initial=0)) + 1), np.bool_)
        for k in range(self.number):
            seen[k, people[self.train(k)]] = True
        held = self.unit >= 0
        known = np.zeros(len(people), np.bool_)
        known[held] = seen[self.unit[held], people[held]]
        return {
            "new_prompt": held & known,
            "new_both": held & ~known,
            "new_annotator": (self.annotator >= 0) & (self.annotator != self.unit),
            "known": self.back >= 0,
        }


def make(data: PreferenceData, prompt_folds: int, annotator_folds: int, seed: int) -> Folds:
    """Folds of about equal numbers of judgments; the same data and seed give the same ones.

    Args:
        data: comparisons with the column `UNIT`.
        prompt_folds: folds over units.
        annotator_folds: folds over annotators: the same number (held out together), another (folds of their own), or 0.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    frame = data.comparisons.select(pl.col(UNIT).cast(pl.String), pl.col("annotator_id").cast(pl.String))
    unit = _dealt(coded(frame[UNIT]), prompt_folds, rng)
    people = coded(frame["annotator_id"])
    annotator = np.full(len(unit), -1)
    number = prompt_folds
    if annotator_folds:
        annotator = _dealt(people, annotator_folds, rng)
        if annotator_folds != prompt_folds:
            annotator += prompt_folds
            number += annotator_folds
    pair = coded(
        data.comparisons.select(pl.struct("annotator_id", "response_a", "response_b").rank("dense")).to_series()
    )
    chosen = rng.random(int(pair.max(initial=-1)) + 1) < KEPT_BACK
    drawn = rng.integers(0, prompt_folds, len(chosen))[pair]
    back = np.where(chosen[pair] & (drawn != unit) & (drawn != annotator), drawn, -1)
    return Folds(unit, annotator, back, number)


def coded(values: pl.Series) -> Ints:
    """Numbers of the distinct values in their order, [n]."""
    return values.rank("dense").cast(pl.Int64).to_numpy() - 1


def _dealt(code: Ints, folds: int, rng: np.random.Generator) -> Ints:
    weight = np.bincount(code).astype(np.float64)
    return np.asarray(assign(weight, np.full(folds, 1 / folds), rng)[code])
