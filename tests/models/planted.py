"""Planted tastes of many kinds over embedded responses, each with what the tests ask about it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from preflearn.data import PreferenceData
from preflearn.simulate.embedded import Embedded, embedded

FEATURES = 12


class Grouped(NamedTuple):
    """A study of people in groups: the study, the group of each annotator [U]."""

    study: Embedded
    group: np.ndarray

    def members(self, mask: np.ndarray, group: int) -> np.ndarray:
        """Comparisons of the mask by members of a group, [n] of bool."""
        return mask & (self.group[self.study.annotator] == group)


def skew_form(rank: int, rng: np.random.Generator, features: int = FEATURES, size: float = 8.0) -> np.ndarray:
    """A skew-symmetric matrix of a rank, [d, d]."""
    left, right = rng.standard_normal((2, rank // 2, features))
    return size / features * (left.T @ right - right.T @ left)


def circling(a: np.ndarray, form: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a' M b`` row by row, [n]."""
    return np.einsum("ni,ij,nj->n", a, form, b)


def tournament(size: int, repeats: int = 6) -> PreferenceData:
    """A regular tournament: every item beats the (size - 1) / 2 after it, every pair asked equally often."""
    i, j = np.triu_indices(size, 1)
    wins = np.where((j - i) % size <= (size - 1) // 2, "a", "b")
    names = np.array([f"item-{k}" for k in range(size)])
    frame = pl.DataFrame({"response_a": names[i], "response_b": names[j], "outcome": wins})
    return PreferenceData(
        responses=pl.DataFrame({"response_id": names, "embedding": np.eye(size).tolist()}),
        comparisons=pl.concat([frame] * repeats).with_columns(
            comparison_id=pl.int_range(pl.len()).cast(pl.String),
        ),
    )


def three_groups(seed: int, users: int = 120, votes: int = 60, prompts: int = 400, features: int = 16) -> Grouped:
    """Orthogonal tastes of groups of .6, .3 and .1 of the people."""
    rng = np.random.default_rng(seed)
    tastes = 4 / np.sqrt(2) * np.linalg.qr(rng.standard_normal((features, 3)))[0].T
    group = rng.permutation(np.repeat(np.arange(3), np.round(users * np.array([0.6, 0.3, 0.1])).astype(int)))
    study = embedded(
        lambda a, b, who, prompt: ((a - b) * tastes[group[who]]).sum(1),
        features=features,
        annotators=users,
        votes=votes,
        prompts=prompts,
        seed=seed,
    )
    return Grouped(study, group)


def two_points(seed: int, users: int = 160, votes: int = 60) -> Grouped:
    """People at two ideal points of a hidden space of four dimensions."""
    rng = np.random.default_rng(seed)
    space = rng.standard_normal((16, 4)) / 4
    points, group = rng.standard_normal((2, 4)), rng.integers(2, size=users)

    def taste(a: np.ndarray, b: np.ndarray, who: np.ndarray, prompt: np.ndarray) -> np.ndarray:
        own = points[group[who]]
        return ((b @ space - own) ** 2).sum(1) - ((a @ space - own) ** 2).sum(1)

    return Grouped(embedded(taste, features=16, annotators=users, votes=votes, prompts=400, seed=seed), group)


def labels_of(study: Embedded, chosen: np.ndarray, per_person: int) -> PreferenceData:
    """The first few of the chosen comparisons of every annotator."""
    order = np.flatnonzero(chosen)
    who = study.annotator[order]
    seen = np.argsort(np.argsort(who, kind="stable"), kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(who))])[who]
    keep = np.zeros(len(chosen), bool)
    keep[order[seen - first < per_person]] = True
    return study.rows(keep)
