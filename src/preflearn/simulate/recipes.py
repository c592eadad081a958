"""Named scenarios: each composes the parts for one phenomenon that a method must cope with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from preflearn.errors import InputError
from preflearn.simulate.answers import Answers
from preflearn.simulate.pool import Feature
from preflearn.simulate.population import Careless, Population
from preflearn.simulate.sampling import Adaptive, Sampling, Uniform
from preflearn.simulate.simulation import Scenario, Simulation, run
from preflearn.simulate.utility import Cycle, Drift, Offsets, Position, Strengths, Taste, Term

Values: TypeAlias = Mapping[str, float] | Sequence[float] | int
"""Log-strengths by system, in order (systems are then named system-0, system-1, ...), or a number of systems whose
strengths are drawn from N(0, 1)."""


def bradley_terry(
    strengths: Values = 8,
    *,
    n_votes: int = 10_000,
    n_annotators: int = 100,
    sampling: Sampling | None = None,
    seed: int = 0,
) -> Simulation:
    """Binary votes between systems, everyone of one mind.

    >>> votes = bradley_terry(strengths={"x": 0.5, "y": 0.0}, n_votes=100, seed=1)
    >>> votes.comparisons.height, votes.truth.strengths()
    (100, {'x': 0.5, 'y': 0.0})
    """
    return _run([_strengths(strengths)], strengths, Population(n_annotators), n_votes, seed, sampling=sampling)


def davidson(
    strengths: Values = 8,
    *,
    tie: float = 0.5,
    n_votes: int = 10_000,
    n_annotators: int = 100,
    sampling: Sampling | None = None,
    seed: int = 0,
) -> Simulation:
    """Votes with ties after Davidson; `tie` is his nu: equal systems tie with probability ``nu / (2 + nu)``."""
    if tie <= 0:
        raise InputError("the tie parameter nu must be positive.", value=tie, cure="Use bradley_terry for no ties.")
    answers = Answers("davidson", {"log_tie": math.log(tie)})
    population = Population(n_annotators)
    return _run([_strengths(strengths)], strengths, population, n_votes, seed, answers=answers, sampling=sampling)


def rao_kupper(
    strengths: Values = 8, *, threshold: float = 0.3, n_votes: int = 10_000, n_annotators: int = 100, seed: int = 0
) -> Simulation:
    """Votes with ties after Rao and Kupper: differences within `threshold` (in logits) go unnoticed."""
    answers = Answers("rao_kupper", {"tie": threshold})
    return _run([_strengths(strengths)], strengths, Population(n_annotators), n_votes, seed, answers=answers)


def graded(
    strengths: Values = 8,
    *,
    thresholds: Sequence[float] = (0.3, 1.2, 2.4),
    ties: bool = True,
    n_votes: int = 10_000,
    n_annotators: int = 100,
    seed: int = 0,
) -> Simulation:
    """Graded votes (strength 1, 2, ...) by a cumulative logit; `thresholds` are (tie,) step_1, step_2, ..."""
    names = (["tie"] if ties else []) + [f"step_{i}" for i in range(1, len(thresholds) + 1)]
    levels = len(thresholds) + (0 if ties else 1)
    answers = Answers("graded", dict(zip(names, thresholds, strict=False)), levels=levels, ties=ties)
    return _run([_strengths(strengths)], strengths, Population(n_annotators), n_votes, seed, answers=answers)


def groups(
    strengths: Mapping[str, Mapping[str, float]],
    *,
    shares: Mapping[str, float] | None = None,
    declared: bool = True,
    n_votes: int = 10_000,
    n_annotators: int = 100,
    seed: int = 0,
) -> Simulation:
    """Declared groups with their own strengths: ``{"short": {"x": 1, "y": 0}, "long": {"x": 0, "y": 1}}``."""
    population = Population(n_annotators, shares or dict.fromkeys(strengths, 1.0), declared=declared)
    return _run([Strengths(by_level=strengths)], None, population, n_votes, seed)


def mixture(
    strengths: Mapping[str, Mapping[str, float]],
    *,
    shares: Mapping[str, float] | None = None,
    n_votes: int = 10_000,
    n_annotators: int = 100,
    seed: int = 0,
) -> Simulation:
    """Latent groups: as `groups`, but the data does not say who belongs where."""
    return groups(strengths, shares=shares, declared=False, n_votes=n_votes, n_annotators=n_annotators, seed=seed)


def heterogeneous(
    strengths: Values = 8, *, sd: float = 0.8, n_votes: int = 10_000, n_annotators: int = 60, seed: int = 0
) -> Simulation:
    """Personal strengths around the common ones, N(0, sd^2): votes of one annotator are not independent."""
    return _run([_strengths(strengths), Offsets(sd)], strengths, Population(n_annotators), n_votes, seed)


def spammers(
    strengths: Values = 8,
    *,
    share: float = 0.2,
    behaviour: Careless = "random",
    flips: float = 0.0,
    n_votes: int = 10_000,
    n_annotators: int = 100,
    seed: int = 0,
) -> Simulation:
    """A share of annotators who do not look; `flips` turns that share of all answers round as well."""
    population = Population(n_annotators, careless={behaviour: share} if share else {})
    return _run([_strengths(strengths)], strengths, population, n_votes, seed, answers=Answers(flips=flips))


def biased(
    strengths: Values = 8,
    *,
    position: float = 0.0,
    length: float = 0.0,
    lengths: Mapping[str, float] | None = None,
    length_sd: float = 1.0,
    n_prompts: int = 200,
    n_votes: int = 10_000,
    n_annotators: int = 100,
    seed: int = 0,
) -> Simulation:
    """Position and length bias: `position` logits for the side shown first, `length` logits per unit of length.

    With a length bias, systems answer `n_prompts` prompts; responses have a column `length`, whose mean by system is
    `lengths` (default 0) and whose standard deviation within a system is `length_sd`.
    """
    terms: list[Term] = [_strengths(strengths)]
    features: dict[str, Feature] = {}
    if position:
        terms.append(Position(position))
    if length or lengths:
        terms.append(Taste({"length": length}))
        features = {"length": Feature(length_sd, lengths or {})}
    return _run(
        terms,
        strengths,
        Population(n_annotators),
        n_votes,
        seed,
        prompts=n_prompts if features else 0,
        features=features,
    )


def cyclic(
    strengths: Values = 8,
    *,
    amplitude: float = 1.0,
    beats: Sequence[tuple[str, str, float]] = (),
    sampling: Sampling | None = None,
    n_votes: int = 10_000,
    n_annotators: int = 100,
    seed: int = 0,
) -> Simulation:
    """Strengths plus a planted cycle: see `Cycle`."""
    cycle = Cycle(beats=tuple(beats)) if beats else Cycle(amplitude)
    population = Population(n_annotators)
    return _run([_strengths(strengths), cycle], strengths, population, n_votes, seed, sampling=sampling)


def drift(
    strengths: Values = 8,
    *,
    changes: Mapping[str, float],
    shape: Literal["linear", "step"] = "linear",
    at: float = 0.5,
    n_votes: int = 10_000,
    n_annotators: int = 100,
    seed: int = 0,
) -> Simulation:
    """Strengths that change over the study by `changes`: see `Drift`."""
    terms: list[Term] = [_strengths(strengths), Drift(changes, shape, at)]
    return _run(terms, strengths, Population(n_annotators), n_votes, seed)


def adaptive(
    strengths: Values = 8,
    *,
    prefer: Literal["close", "uncertain"] = "close",
    batches: int = 10,
    explore: float = 0.1,
    n_votes: int = 10_000,
    n_annotators: int = 100,
    seed: int = 0,
) -> Simulation:
    """Pairs chosen by earlier answers, with the probability of each question in `propensity`: see `Adaptive`."""
    sampling = Adaptive(prefer, batches, explore=explore)
    return _run([_strengths(strengths)], strengths, Population(n_annotators), n_votes, seed, sampling=sampling)


def _strengths(values: Values) -> Strengths:
    if isinstance(values, int):
        return Strengths(spread=1.0)
    if isinstance(values, Mapping):
        return Strengths(values)
    return Strengths(dict(zip(_names(len(values)), map(float, np.asarray(values)), strict=True)))


def _names(n: int) -> tuple[str, ...]:
    width = len(str(max(n - 1, 0)))
    return tuple(f"system-{i:0{width}d}" for i in range(n))


def _run(
    utility: Sequence[Term],
    strengths: Values | None,
    population: Population,
    n_votes: int,
    seed: int,
    *,
    answers: Answers | None = None,
    sampling: Sampling | None = None,
    prompts: int = 0,
    features: Mapping[str, Feature] | None = None,
) -> Simulation:
    systems = _names(strengths) if isinstance(strengths, int) else None
    scenario = Scenario(
        votes=n_votes,
        utility=tuple(utility),
        systems=systems,
        prompts=prompts,
        features=features or {},
        population=population,
        answers=answers or Answers(),
        sampling=sampling or Uniform(),
        seed=seed,
    )
    return run(scenario)
