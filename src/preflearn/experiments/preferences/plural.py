"""Proofs of models of people who differ and do not say how: mixtures, ideal points, latent tastes."""

from __future__ import annotations

import math

import numpy as np

from preflearn.data import PreferenceData
from preflearn.experiments.measures import averaged
from preflearn.experiments.preferences.studies import grouped, linear, newcomers, orthogonal, right
from preflearn.experiments.proof import Figures, proof
from preflearn.models import Composed
from preflearn.models.fitting import FullBatch
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.latent import vpl
from preflearn.models.recipes.plural import mixture, pal_a, pal_b
from preflearn.simulate.embedded import Embedded, embedded

SHARES = (0.6, 0.3, 0.1)


@proof(
    "mixture",
    claim="accuracy for 120 people in three groups (.6, .3, .1) of tastes at right angles, 20 labels each",
    baseline="one utility for everyone",
    expected=1.0,
    limit=0.12,
    least_effect=0.15,
)
@averaged(2)
def three_groups(seed: int) -> Figures:
    """Who belongs where is recorded nowhere."""
    study = grouped(seed, SHARES).study
    halves = study.halves()
    return Figures(*(right(model, study, *halves) for model in (mixture(3, starts=4), bradley_terry())))


@proof(
    "mixture_minority",
    claim="accuracy for the smallest of three groups, a tenth of the people",
    baseline="one utility for everyone",
    expected=1.0,
    limit=0.25,
    least_effect=0.2,
)
@averaged(2)
def smallest_group(seed: int) -> Figures:
    """Those whom the mean forgets."""
    planted = grouped(seed, SHARES)
    train, test = planted.study.halves()
    few = planted.of(2, test)
    return Figures(*(right(model, planted.study, train, few) for model in (mixture(3, starts=4), bradley_terry())))


@proof(
    "mixture_shares",
    claim="learned share of the largest of three groups",
    baseline="equal shares",
    expected=0.6,
    limit=0.1,
    least_effect=0.1,
)
def largest_share(seed: int) -> Figures:
    """How many people each taste has."""
    planted = grouped(seed, SHARES)
    model = mixture(3, starts=4).fit(planted.study.data)
    shares = np.exp(model.network_.population.log_shares.detach().numpy())  # type: ignore[operator]
    return Figures(float(shares.max()), 1 / 3)


@proof(
    "mixture_components",
    claim="number of groups (three) that the Bayesian information criterion finds among one to five",
    baseline="the number of the best likelihood",
    expected=3.0,
    limit=0.0,
    least_effect=1.0,
)
def how_many(seed: int) -> Figures:
    """Likelihood alone never has enough components."""
    data = grouped(seed, SHARES).study.data
    likelihood = [_log_likelihood(data, k) for k in range(1, 6)]
    per_component = data.responses["embedding"].to_list()[0].__len__() + 1
    criterion = [
        -2 * value + (k * per_component - 1) * math.log(data.height("comparisons"))
        for k, value in zip(range(1, 6), likelihood, strict=True)
    ]
    return Figures(1.0 + int(np.argmin(criterion)), 1.0 + int(np.argmax(likelihood)))


@proof(
    "mixture_without_people",
    claim="accuracy of a mixture of two that is not told who judged, two groups of opposite taste",
    baseline="the same mixture told who judged",
    expected=0.5,
    limit=0.05,
    least_effect=0.3,
)
@averaged(6)
def nobody_known(seed: int) -> Figures:
    """A negative result: opposite tastes cannot be told from noise, judgment by judgment."""
    study = _opposite(seed)
    train, test = study.halves()
    told = right(mixture(2, starts=2), study, train, test)
    untold = Composed(population={"mixture": {"components": 2, "unit": "record"}}, fitting={"em": {"starts": 2}})
    return Figures(right(untold, study, train, test), told)


@proof(
    "pal_a",
    claim="accuracy for 100 people of whom each has one of two ideal points, 20 labels each",
    baseline="one ideal point for everyone",
    expected=1.0,
    limit=0.15,
    least_effect=0.05,
)
@averaged(3)
def ideal_points(seed: int) -> Figures:
    """What is closer to someone's ideal is preferred."""
    study = _points(seed)
    halves = study.halves()
    return Figures(*(right(pal_a(k), study, *halves) for k in (2, 1)))


@proof(
    "pal_a_prototypes",
    claim="accuracy lost by three prototypes where there are two ideal points",
    baseline="one prototype",
    expected=0.0,
    limit=0.05,
    least_effect=0.03,
)
@averaged(2)
def one_too_many(seed: int) -> Figures:
    """One prototype too many costs next to nothing, one too few costs much."""
    study = _points(seed)
    halves = study.halves()
    one, two, three = (right(pal_a(k), study, *halves) for k in (1, 2, 3))
    return Figures(two - three, two - one)


@proof(
    "pal_b",
    claim="accuracy where each of two kinds of people has an ideal point that the prompt moves, 40 labels each",
    baseline="the better of ideal points that do not move (pal_a) and one moving ideal point for everyone",
    expected=1.0,
    limit=0.2,
    least_effect=0.03,
)
@averaged(9)
def moving_points(seed: int) -> Figures:
    """What is ideal depends on what was asked. (More iterations fit better and predict no better.)"""
    study = _moving(seed)
    halves = study.halves()
    brief = FullBatch(starts=2, iterations=100)
    models = pal_b(2, fitting=brief), pal_a(2, fitting=brief), pal_b(1, fitting=brief)
    moving, *others = (right(model, study, *halves) for model in models)
    return Figures(moving, max(others))


@proof(
    "vpl",
    claim="accuracy for newcomers after eight answers of theirs, two camps of opposite taste, 100 people known",
    baseline="one utility for everyone",
    expected=1.0,
    limit=0.15,
    least_effect=0.2,
)
@averaged(2)
def read_off(seed: int) -> Figures:
    """An encoder that has seen many people knows a new one at first sight; nothing is optimised."""
    study = _opposite(seed, people=140)
    rows = newcomers(study, people=40, labels=8)
    known, asked = study.rows(rows.known).pruned(), study.rows(rows.asked)
    met = vpl(steps=200).fit(known).adapt(study.rows(rows.labelled).pruned())
    alike = bradley_terry().fit(known)
    return Figures(*(study.right(model.prob(asked), rows.asked) for model in (met, alike)))


@proof(
    "vpl_collapse",
    claim="nats that 20 comparisons say about a person where the divergence counts once per comparison",
    baseline="once per person, which is the evidence bound",
    expected=0.0,
    limit=0.05,
    least_effect=0.5,
    resolution=1e-3,
)
@averaged(3)
def collapse(seed: int) -> Figures:
    """A negative result: a divergence of full weight beside a mean over comparisons leaves nobody told apart."""
    study = _opposite(seed, people=100)
    train = study.rows(study.halves()[0])
    nats = [
        model.fit(train).network_.population.use().divergence  # type: ignore[operator]
        for model in (vpl(steps=200, beta=20.0), vpl(steps=200))
    ]
    return Figures(*nats)


def _opposite(seed: int, people: int = 60) -> Embedded:
    """Two halves of people with opposite tastes, 40 votes each."""
    side = np.where(np.arange(people) % 2 == 0, 1.0, -1.0)
    return embedded(linear(3 * side[:, None] * orthogonal(seed, 1)), annotators=people, votes=40, seed=seed)


def _log_likelihood(data: PreferenceData, components: int) -> float:
    """Log-likelihood of a mixture at its (all but unpenalised) maximum, people's components summed out, in nats."""
    model = mixture(components, starts=3, ridge=1e-3).fit(data)
    return -model.report_.value


def _points(seed: int) -> Embedded:
    """People with one of two ideal points, squared distances."""
    rng = np.random.default_rng([seed, 8])
    ideal = 2 * orthogonal(seed, 2, 8)[rng.integers(2, size=100)]

    def taste(a: np.ndarray, b: np.ndarray, who: np.ndarray, prompt: np.ndarray) -> np.ndarray:
        distance = [np.square(side - ideal[who]).sum(1) for side in (a, b)]
        return np.asarray(distance[1] - distance[0])

    return embedded(taste, annotators=100, votes=40, features=8, seed=seed)


def _moving(seed: int) -> Embedded:
    """Ideal points that prompts move along a direction of each kind's own, compared by cosine."""
    rng = np.random.default_rng([seed, 9])
    kind = rng.integers(2, size=50)
    way = rng.standard_normal((2, 4, 8))

    def taste(a: np.ndarray, b: np.ndarray, who: np.ndarray, prompt: np.ndarray) -> np.ndarray:
        point = np.einsum("np,npq->nq", prompt, way[kind[who]])
        near = [(side * point).sum(1) / np.linalg.norm(side, axis=1) / np.linalg.norm(point, axis=1) for side in (a, b)]
        return np.asarray(8 * (near[0] - near[1]))

    return embedded(taste, annotators=50, votes=80, features=8, prompts=400, seed=seed)
