"""Proofs of the rating models: planted strengths come back on the right scale, where simpler counts do not."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from scipy.special import logit

import preflearn.ranking as ranking
import preflearn.simulate as simulate
from preflearn.choice import Binary, Ordinal
from preflearn.experiments.measures import Floats, model_slope, root_mean_square, slope, truth_of
from preflearn.experiments.proof import Figures, proof
from preflearn.ranking import votes_of_codes
from preflearn.simulate import Simulation

_SPREAD = tuple(np.linspace(-2, 2, 20))
"""True log-strengths where a slope is measured: fixed, so that every seed has the same range."""


@proof(
    "bradley_terry",
    claim="slope of estimated on true strengths when close pairs are asked more often",
    baseline="log-odds of the overall win rate",
    expected=1.0,
    limit=0.15,
    least_effect=0.2,
)
def bradley_terry(seed: int) -> Figures:
    """The win rate depends on the opponents; the model does not."""
    votes = simulate.adaptive(_SPREAD, n_votes=20_000, explore=0.1, seed=seed)
    model = ranking.BradleyTerry(cluster=None).fit(votes)
    won, total = _wins(votes.comparisons, model.items_)
    truth = votes.truth.strengths()
    return Figures(model_slope(model, truth), slope(logit(won / total), truth_of(model, truth)))


@proof(
    "davidson",
    claim="slope of estimated on true strengths when equal systems tie in 20 % of votes",
    baseline="Bradley-Terry with ties as half wins",
    expected=1.0,
    limit=0.1,
    least_effect=0.05,
)
def davidson(seed: int) -> Figures:
    """Half wins draw strengths together."""
    votes = simulate.davidson(_SPREAD, tie=0.5, n_votes=40_000, seed=seed)
    return _against_half_wins(ranking.Davidson(cluster=None), votes)


@proof(
    "rao_kupper",
    claim="slope of estimated on true strengths when differences below 1.2 logits go unnoticed",
    baseline="Bradley-Terry with ties as half wins",
    expected=1.0,
    limit=0.1,
    least_effect=0.05,
)
def rao_kupper(seed: int) -> Figures:
    """Half wins draw strengths together."""
    votes = simulate.rao_kupper(_SPREAD, threshold=1.2, n_votes=40_000, seed=seed)
    return _against_half_wins(ranking.RaoKupper(cluster=None), votes)


@proof(
    "graded",
    claim="mean squared error relative to the same votes without grades; truth: the ratio of their stated variances",
    baseline="Bradley-Terry, which uses who won and not by how much (ratio 1)",
    limit=0.15,
    least_effect=0.05,
)
def graded(seed: int) -> Figures:
    """Grades carry information, and the model's standard errors say exactly how much."""
    generator = np.random.default_rng(seed)
    n, n_votes, replicates = 10, 1_500, 480
    link, cuts = Ordinal(levels=3, ties=False), (0.8, 1.6)
    names = [str(i) for i in range(n)]
    errors, variances = np.zeros(2), np.zeros(2)
    for _ in range(replicates):
        theta = generator.standard_normal(n)
        left = generator.integers(0, n, n_votes, dtype=np.int32)
        right = (left + generator.integers(1, n, n_votes, dtype=np.int32)) % n
        answer = link.sample(theta[left] - theta[right], cuts, generator)
        truth = theta - theta.mean()
        for k, (model, part, outcome) in enumerate(
            (
                (ranking.Graded(interval="model"), link, answer),
                (ranking.BradleyTerry(interval="model"), Binary(), (answer >= 3).astype(np.int64)),
            )
        ):
            model.fit_votes(votes_of_codes(names, left, right, outcome, part))
            assert model.covariance_ is not None
            errors[k] += np.sum((model.strengths_ - truth) ** 2)
            variances[k] += np.sum(model.covariance_.standard_errors()[:n] ** 2)
    return Figures(errors[0] / errors[1], 1.0, variances[0] / variances[1])


@proof(
    "position_effect",
    claim="error of the strength of a system that is shown first in 90 % of its votes, in logits",
    baseline="Bradley-Terry without a position effect",
    expected=0.0,
    limit=0.2,
    least_effect=0.1,
)
def position_effect(seed: int) -> Figures:
    """A place on the left is not a merit."""
    votes = simulate.biased(12, position=0.5, n_votes=200_000, seed=seed)
    newcomer = "system-00"
    there = (pl.col("response_a") == newcomer) | (pl.col("response_b") == newcomer)
    is_first = (pl.col("response_a") == newcomer) == (pl.col("shown_first") == "a")
    chance = pl.Series("keep", np.random.default_rng(seed).random(votes.height("comparisons")))
    # Dropping votes by the order alone leaves the answers' distribution given the order as it was.
    kept = votes.where("comparisons", ~there | is_first | (pl.lit(chance) < 1 / 9))
    truth = votes.truth.strengths()
    at = [_error_of(newcomer, ranking.BradleyTerry(cluster=None, position=p).fit(kept), truth) for p in (True, False)]
    return Figures(at[0], at[1])


@proof(
    "style_control",
    claim="advantage in logits of a careful system over one that writes twice as much, under a length bias",
    baseline="Bradley-Terry without style control",
    expected=0.3,
    limit=0.25,
    least_effect=0.3,
)
def style_control(seed: int) -> Figures:
    """Without control the verbose system leads."""
    votes = _length_biased(seed, n_votes=30_000)
    found = []
    for style in ("length", None):
        model = ranking.BradleyTerry(cluster=None, style=style).fit(votes)
        strength = dict(zip(model.items_, model.strengths_, strict=True))
        found.append(float(strength["careful"] - strength["chatty"]))
    return Figures(found[0], found[1])


@proof(
    "nuisance_covariates",
    claim="planted weight of relative length, in logits per standard unit",
    baseline="a penalty of 1/2 on the mean log-likelihood instead of the sum",
    limit=0.15,
    least_effect=0.5,
)
def nuisance_covariates(seed: int) -> Figures:
    """A penalty that does not fade with more votes takes the effect away."""
    votes = _length_biased(seed, n_votes=120_000)
    length = votes.responses.select("response_id", "length")
    at = votes.comparisons
    sides = [
        at.select(pl.col(side).alias("response_id")).join(length, on="response_id", how="left", maintain_order="left")
        for side in ("response_a", "response_b")
    ]
    a, b = (side["length"].to_numpy() for side in sides)
    unit = root_mean_square((a - b) / (a + b + 1))
    found = []
    for penalty in (0.0, float(len(a))):
        model = ranking.BradleyTerry(cluster=None, style="length", covariate_ridge=penalty).fit(votes)
        effect = next(effect for effect in model.leaderboard().effects if effect.name == "length")
        found.append(math.nan if effect.estimate is None else effect.estimate)
    return Figures(found[0], found[1], _WEIGHT * unit)


_WEIGHT = 3.0


def _length_biased(seed: int, n_votes: int) -> Simulation:
    strengths = {"careful": 0.3, "chatty": 0.0, "plain": -0.2, "curt": 0.1}
    length = simulate.Feature(0.5, {"careful": 4.0, "chatty": 4.7, "plain": 4.2, "curt": 3.0}, log=True)
    scenario = simulate.Scenario(
        votes=n_votes,
        utility=(simulate.Strengths(strengths), simulate.Taste({"length": _WEIGHT}, relative=True)),
        prompts=400,
        features={"length": length},
        seed=seed,
    )
    return simulate.run(scenario)


def _against_half_wins(model: ranking.RatingModel, votes: Simulation) -> Figures:
    truth = votes.truth.strengths()
    plain = ranking.BradleyTerry(cluster=None).fit(votes)
    return Figures(model_slope(model.fit(votes), truth), model_slope(plain, truth))


def _error_of(name: str, model: ranking.RatingModel, truth: dict[str, float]) -> float:
    index = model.items_.index(name)
    return float(model.strengths_[index] - truth_of(model, truth)[index])


def _wins(comparisons: pl.DataFrame, items: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Wins and votes of each item, from decided votes: `[n]` twice."""
    decided = comparisons.select(
        pl.when(pl.col("outcome") == "a").then("response_a").otherwise("response_b").alias("winner"),
        pl.when(pl.col("outcome") == "a").then("response_b").otherwise("response_a").alias("loser"),
    )
    counts = [dict(decided[side].value_counts().iter_rows()) for side in ("winner", "loser")]
    won, lost = (np.array([count.get(name, 0) for name in items], dtype=np.float64) for count in counts)
    return won, won + lost
