"""Proofs of what is said about uncertainty, design and priors: coverage, rank sets, resampling, propensities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

import preflearn.ranking as ranking
import preflearn.simulate as simulate
from preflearn.choice import Binary
from preflearn.experiments.measures import Floats, centred, root_mean_square
from preflearn.experiments.proof import Figures, proof
from preflearn.ranking import votes_of_codes

Ints = npt.NDArray[np.int64]


@proof(
    "clustered_intervals",
    claim="coverage of 95 % intervals, clustered by annotator: 60 annotators of own taste, 500 votes each",
    baseline="the same intervals without clusters",
    expected=0.95,
    limit=0.06,
    least_effect=0.2,
)
def clustered_intervals(seed: int) -> Figures:
    """Votes of one annotator are not independent; an interval that takes them so is too narrow."""
    theta = np.linspace(-1, 1, 12)
    generator = np.random.default_rng(seed)
    return _coverage(generator, theta, _Design(annotators=60, votes_each=500, taste=0.8), replicates=150)


@proof(
    "two_way_clusters",
    claim="coverage of 95 % intervals, clustered by annotator and prompt: 50 annotators, 40 prompts, 12,000 votes",
    baseline="the same intervals clustered by annotator alone",
    expected=0.95,
    limit=0.08,
    least_effect=0.1,
)
def two_way_clusters(seed: int) -> Figures:
    """Systems differ in which prompts suit them, and everyone is asked about the same prompts."""
    theta = np.linspace(-1, 1, 8)
    generator = np.random.default_rng(seed)
    design = _Design(annotators=50, votes_each=240, taste=0.4, prompts=40, suits=0.8)
    return _coverage(generator, theta, design, replicates=150)


@proof(
    "cluster_bootstrap",
    claim="standard error by resampling annotators, relative to the spread of estimates over repeated studies",
    baseline="resampling votes",
    expected=1.0,
    limit=0.3,
    least_effect=0.3,
)
def cluster_bootstrap(seed: int) -> Figures:
    """The bootstrap must resample what varied: people."""
    theta = np.linspace(-1, 1, 8)
    generator = np.random.default_rng(seed)
    estimates, errors = [], []
    for replicate in range(120):
        study = _study(generator, theta, _Design(annotators=60, votes_each=200, taste=0.8))
        estimates.append(ranking.BradleyTerry(interval="model").fit_votes(study).strengths_)
        if replicate < 6:
            plain = _without_clusters(study)
            for clustered in (study, plain):
                model = ranking.BradleyTerry(interval="bootstrap", n_bootstrap=200, seed=seed).fit_votes(clustered)
                assert model.covariance_ is not None
                errors.append(root_mean_square(model.covariance_.standard_errors()))
    spread = root_mean_square(np.std(estimates, axis=0, ddof=1))
    by_annotator, by_vote = np.mean(np.reshape(errors, (-1, 2)), axis=0)
    return Figures(by_annotator / spread, by_vote / spread)


@proof(
    "rank_sets",
    claim="share of studies of ten equal systems in which 95 % rank sets separate none of them",
    baseline="separating two systems when their own 95 % test of the difference does",
    expected=0.95,
    limit=0.1,
    least_effect=0.3,
)
def rank_sets(seed: int) -> Figures:
    """Forty-five tests at 5 % each find differences that are not there."""
    generator = np.random.default_rng(seed)
    n, replicates = 10, 400
    held = np.zeros(2)
    for _ in range(replicates):
        study = _independent(generator, np.zeros(n), 2_000)
        model = ranking.BradleyTerry(interval="sandwich").fit_votes(study)
        sets = model.rank_sets(0.95)
        held[0] += bool((np.asarray(sets.low) == 1).all() and (np.asarray(sets.high) == n).all())
        assert model.covariance_ is not None
        assert model.covariance_.matrix is not None
        variance = np.diagonal(model.covariance_.matrix)
        spread = np.sqrt(variance[:, None] + variance[None, :] - 2 * model.covariance_.matrix)
        gap = np.abs(model.strengths_[:, None] - model.strengths_[None, :])
        held[1] += bool((gap <= 1.96 * spread).all())
    return Figures(held[0] / replicates, held[1] / replicates)


@proof(
    "inverse_propensity",
    claim="distance from the strengths that uniform sampling would give, when preferences are cyclic, in logits",
    baseline="the same adaptively sampled votes, unweighted",
    expected=0.0,
    limit=0.2,
    least_effect=0.1,
)
def inverse_propensity(seed: int) -> Figures:
    """Where the model is wrong its answer depends on which pairs were asked; weighing gives back the uniform design."""
    theta = np.linspace(-1, 1, 8)
    names = [f"s{i}" for i in range(8)]
    beats = [(names[i], names[(i + 2) % 8], 1.5) for i in range(8)]
    votes = simulate.run(
        simulate.Scenario(
            votes=300_000,
            utility=(
                simulate.Strengths(dict(zip(names, theta.tolist(), strict=True))),
                simulate.Cycle(beats=tuple(beats)),
            ),
            sampling=simulate.Adaptive("close", batches=20, scale=0.3, explore=0.2),
            seed=seed,
        )
    )
    logit = theta[:, None] - theta[None, :]
    for winner, loser, extra in beats:
        i, j = names.index(winner), names.index(loser)
        logit[i, j] += extra
        logit[j, i] -= extra
    goal = _projection(expit(logit))
    distances = []
    for weighted in (True, False):
        model = ranking.BradleyTerry(cluster=None, propensity=weighted).fit(votes)
        at = [model.items_.index(name) for name in names]
        distances.append(root_mean_square(centred(model.strengths_[at]) - goal))
    return Figures(distances[0], distances[1])


@proof(
    "ghost_prior",
    claim="error of predicted win probabilities from 12 votes per system, root mean square",
    baseline="a negligible prior: strengths of undefeated systems run away",
    expected=0.0,
    limit=0.25,
    least_effect=0.01,
)
def ghost_prior(seed: int) -> Figures:
    """Half a win and half a loss against an average system keep every strength finite and predictions sober."""
    generator = np.random.default_rng(seed)
    squares = np.zeros(2)
    replicates, n = 100, 12
    for _ in range(replicates):
        theta = 1.2 * centred(generator.standard_normal(n))
        study = _independent(generator, theta, 6 * n)
        for k, prior in enumerate(({"ghost": 0.5}, {"ridge": 1e-4})):
            squares[k] += np.mean((_win_matrix(_fitted(study, prior)) - _win_matrix(theta)) ** 2)
    return Figures(*np.sqrt(squares / replicates))


@proof(
    "ridge_prior",
    claim="slope of true on estimated strengths from 40 votes per system: 1 = an estimate can be taken at face value",
    baseline="maximum likelihood",
    expected=1.0,
    limit=0.1,
    least_effect=0.05,
)
def ridge_prior(seed: int) -> Figures:
    """A ridge of 1/variance on the summed log-likelihood is the posterior mode under strengths from N(0, variance)."""
    generator = np.random.default_rng(seed)
    n, sd = 20, 0.6
    cross, own = np.zeros(2), np.zeros(2)
    for _ in range(400):
        theta = sd * generator.standard_normal(n)
        study = _independent(generator, theta, 20 * n)
        for k, prior in enumerate(({"ridge": 1 / sd**2}, {"ridge": 1e-6})):
            estimate = centred(_fitted(study, prior))
            cross[k] += estimate @ centred(theta)
            own[k] += estimate @ estimate
    return Figures(*(cross / own))


def _fitted(study: ranking.Votes, prior: dict[str, Any]) -> Floats:
    return ranking.BradleyTerry(interval="model", **prior).fit_votes(study).strengths_


def _independent(generator: np.random.Generator, theta: Floats, n_votes: int) -> ranking.Votes:
    """Votes on uniform pairs by people of one mind."""
    n = len(theta)
    left = generator.integers(0, n, n_votes)
    right = (left + generator.integers(1, n, n_votes)) % n
    outcome = Binary().sample(theta[left] - theta[right], (), generator)
    return votes_of_codes([str(i) for i in range(n)], left, right, outcome, Binary())


class _Design(NamedTuple):
    """A study: its people, and how much persons and prompts change the strengths (standard deviations in logits)."""

    annotators: int
    votes_each: int
    taste: float
    prompts: int = 0
    suits: float = 0.0


def _study(generator: np.random.Generator, theta: Floats, design: _Design) -> ranking.Votes:
    """Votes with personal strengths, and strengths of each prompt where the design has prompts."""
    n, n_votes = len(theta), design.annotators * design.votes_each
    annotator = np.repeat(np.arange(design.annotators), design.votes_each)
    left = generator.integers(0, n, n_votes)
    right = (left + generator.integers(1, n, n_votes)) % n
    personal = theta + design.taste * generator.standard_normal((design.annotators, n))
    logit = personal[annotator, left] - personal[annotator, right]
    clusters = {"annotator_id": annotator}
    if design.prompts:
        prompt = generator.integers(0, design.prompts, n_votes)
        suits = design.suits * generator.standard_normal((design.prompts, n))
        logit = logit + suits[prompt, left] - suits[prompt, right]
        clusters |= {"prompt_id": prompt, "annotator_id*prompt_id": annotator * design.prompts + prompt}
    outcome = Binary().sample(logit, (), generator)
    return votes_of_codes([str(i) for i in range(n)], left, right, outcome, Binary(), clusters=clusters)


def _coverage(generator: np.random.Generator, theta: Floats, design: _Design, replicates: int) -> Figures:
    """How often intervals hold what infinitely many such people (and prompts) would give; then with fewer clusters."""
    goal = _projection(_mean_win_matrix(theta, np.sqrt(2 * (design.taste**2 + design.suits**2))))
    held = np.zeros(2)
    for _ in range(replicates):
        study = _study(generator, theta, design)
        for k, votes in enumerate((study, _one_way(study) if design.prompts else _without_clusters(study))):
            board = ranking.BradleyTerry(interval="sandwich").fit_votes(votes).leaderboard()
            for standing in board.items:
                assert standing.low is not None
                assert standing.high is not None
                held[k] += standing.low <= goal[int(standing.item)] <= standing.high
    return Figures(*(held / (replicates * len(theta))))


def _without_clusters(votes: ranking.Votes) -> ranking.Votes:
    return replace(votes, clusters=())


def _one_way(votes: ranking.Votes) -> ranking.Votes:
    return replace(votes, clusters=("annotator_id",))


def _win_matrix(theta: Floats) -> Floats:
    return np.asarray(expit(theta[:, None] - theta[None, :]))


def _mean_win_matrix(theta: Floats, sd: float) -> Floats:
    """Probability that i beats j, averaged over differences N(theta_i - theta_j, sd^2), by Gauss-Hermite quadrature."""
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    difference = theta[:, None] - theta[None, :]
    return np.asarray(expit(difference[..., None] + sd * node) @ weight / weight.sum())


def _projection(win: Floats) -> Floats:
    """Centred Bradley-Terry strengths closest to a win matrix when all pairs are asked equally often: `[n]`.

    By a general optimiser, independent of the models under test.
    """
    n = len(win)
    i, j = np.nonzero(~np.eye(n, dtype=bool))
    target = np.stack([1 - win[i, j], win[i, j]], axis=-1)
    link = Binary()

    def loss(theta: Floats) -> tuple[float, Floats]:
        score = np.asarray(link.score(target, theta[i] - theta[j]))[:, 0]
        value = -float(np.sum(np.asarray(link.log_prob(target, theta[i] - theta[j]))))
        return value, np.asarray(np.bincount(j, score, n) - np.bincount(i, score, n), dtype=np.float64)

    found = minimize(loss, np.zeros(n), jac=True, method="BFGS", options={"gtol": 1e-9})
    return centred(np.asarray(found.x))
