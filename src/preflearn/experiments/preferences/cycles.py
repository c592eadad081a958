"""Proofs of models whose preferences may run in circles: skew-symmetric forms, alone and beside a utility."""

from __future__ import annotations

import numpy as np
import polars as pl

from preflearn.data import PreferenceData
from preflearn.experiments.measures import Floats, averaged
from preflearn.experiments.preferences.studies import FEATURES, right, scalar
from preflearn.experiments.proof import Figures, proof
from preflearn.models import Composed
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.plural import gpm, hybrid
from preflearn.simulate.embedded import Codes, Embedded, embedded


@proof(
    "gpm",
    claim="accuracy where preferences are skew in four planes, from 4,000 comparisons",
    baseline="Bradley-Terry",
    expected=1.0,
    limit=0.12,
    least_effect=0.3,
)
@averaged(3)
def general_preferences(seed: int) -> Figures:
    """A utility sees nothing where everything runs in circles."""
    study = _skewed(seed, planes=2, votes=80)
    halves = study.halves()
    return Figures(*(right(model, study, *halves) for model in (gpm(), bradley_terry())))


@proof(
    "gpm_cycles",
    claim="probability given to the winners of tournaments of 3, 5 and 9 in which all win equally often",
    baseline="Bradley-Terry",
    expected=1.0,
    limit=0.1,
    least_effect=0.3,
)
def tournaments(seed: int) -> Figures:
    """One plane is enough for a cycle of any length."""
    skew, utility = np.mean([_tournament(n, seed) for n in (3, 5, 9)], axis=0)
    return Figures(float(skew), float(utility))


@proof(
    "bradley_terry_on_cycles",
    claim="log loss of Bradley-Terry on a tournament of 5 in which all win equally often, in nats",
    baseline="general preferences (gpm)",
    expected=float(np.log(2)),
    limit=1e-3,
    least_effect=0.4,
    resolution=1e-4,
)
def nothing_to_learn(seed: int) -> Figures:
    """A negative result: the best utility is none. (Accuracy would not say so: any order gets most pairs right.)"""
    data = _regular(5, seed)
    losses = [
        -float(np.mean(np.log(model.fit(data).prob(data)))) for model in (bradley_terry(ridge=0.01), _small_gpm(1))
    ]
    return Figures(*losses)


@proof(
    "gpm_rank",
    claim="accuracy of one plane where preferences are skew in one",
    baseline="one plane where preferences are skew in two",
    expected=1.0,
    limit=0.1,
    least_effect=0.05,
)
@averaged(3)
def planes(seed: int) -> Figures:
    """Too few planes cannot hold what there is."""
    studies = [_skewed(seed, planes=true) for true in (1, 2)]
    return Figures(*(right(gpm(1), study, *study.halves()) for study in studies))


@proof(
    "gpm_constant",
    claim="accuracy of a skew form of features and a constant where preferences follow one utility",
    baseline="a skew form of the features alone, as in the released models",
    expected=1.0,
    limit=0.12,
    least_effect=0.3,
)
@averaged(3)
def constant(seed: int) -> Figures:
    """A utility is the plane spanned by it and a constant; centred features have no constant among them."""
    study = scalar(seed)
    halves = study.halves()
    return Figures(*(right(model, study, *halves) for model in (gpm(), gpm(constant=False))))


@proof(
    "hybrid",
    claim="accuracy where half of a preference is a utility and half is skew in two planes",
    baseline="the better of general preferences with as many planes, and Bradley-Terry",
    expected=1.0,
    limit=0.12,
    least_effect=0.01,
)
@averaged(5)
def utility_and_skew(seed: int) -> Figures:
    """What a utility can say need not be learned as a plane."""
    study = _skewed(seed, planes=2, utility=2.0)
    halves = study.halves()
    mixed, *others = (right(model, study, *halves) for model in (hybrid(2), gpm(2), bradley_terry()))
    return Figures(mixed, max(others))


@proof(
    "gated_planes",
    claim="accuracy where the prompt decides which of two cycles counts",
    baseline="general preferences without a gate",
    expected=1.0,
    limit=0.15,
    least_effect=0.05,
)
@averaged(3)
def gates(seed: int) -> Figures:
    """Planes weighed by the prompt."""
    form = _forms(seed, planes=2)

    def taste(a: Floats, b: Floats, who: Codes, prompt: Floats) -> Floats:
        share = 1 / (1 + np.exp(-4 * prompt[:, 0]))
        areas = [np.einsum("ni,ij,nj->n", a, each, b) for each in form]
        return np.asarray(share * areas[0] + (1 - share) * areas[1])

    study = embedded(taste, features=FEATURES, votes=60, prompts=400, seed=seed)
    halves = study.halves()
    return Figures(*(right(model, study, *halves) for model in (gpm(2, gated=True), gpm(2))))


def _forms(seed: int, planes: int) -> Floats:
    """Skew-symmetric forms of one plane each, planes at right angles, [planes, d, d]."""
    drawn = np.random.default_rng([seed, 6]).standard_normal((FEATURES, 2 * planes))
    q = np.linalg.qr(drawn)[0].T.reshape(planes, 2, FEATURES)
    first, second = q[:, 0], q[:, 1]
    return np.asarray(4.0 * (first[:, :, None] * second[:, None, :] - second[:, :, None] * first[:, None, :]))


def _skewed(seed: int, planes: int, utility: float = 0.0, votes: int = 50) -> Embedded:
    """Skew preferences, plus a utility whose weights have this length."""
    form = _forms(seed, planes).sum(0)
    w = np.random.default_rng([seed, 7]).standard_normal(FEATURES)
    w *= utility / np.linalg.norm(w)

    def taste(a: Floats, b: Floats, who: Codes, prompt: Floats) -> Floats:
        return np.asarray(np.einsum("ni,ij,nj->n", a, form, b) + (a - b) @ w)

    return embedded(taste, features=FEATURES, votes=votes, prompts=400, seed=seed)


def _small_gpm(seed: int) -> Composed:
    return gpm(1, ridge=0.01, seed=seed)


def _tournament(n: int, seed: int) -> tuple[float, float]:
    """Mean probability of the winners, by general preferences and by Bradley-Terry."""
    data = _regular(n, seed)
    skew, utility = (model.fit(data).prob(data) for model in (_small_gpm(seed % 1_000), bradley_terry(ridge=0.01)))
    return float(skew.mean()), float(utility.mean())


def _regular(n: int, seed: int) -> PreferenceData:
    """Every item beats the (n - 1) / 2 that follow it in a circle, 20 times each; features tell items apart."""
    x = np.linalg.qr(np.random.default_rng([seed, n]).standard_normal((n, n)))[0]
    winner, step = (each.ravel() for each in np.meshgrid(np.arange(n), np.arange(1, (n - 1) // 2 + 1)))
    loser = (winner + step) % n
    return PreferenceData(
        responses=pl.DataFrame(
            {
                "response_id": [f"r-{i}" for i in range(n)],
                "embedding": pl.Series(x.astype(np.float32)).arr.to_list(),
            }
        ),
        comparisons=pl.DataFrame(
            {
                "comparison_id": [f"c-{i}" for i in range(len(winner))],
                "response_a": [f"r-{i}" for i in winner],
                "response_b": [f"r-{i}" for i in loser],
                "outcome": ["a"] * len(winner),
                "count": pl.Series([20] * len(winner), dtype=pl.UInt32),
            }
        ),
    )
