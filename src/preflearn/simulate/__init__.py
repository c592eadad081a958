"""Seeded populations with known truth: people with tastes, what they are asked, and how they answer.

A `Scenario` composes a population, terms of utility, answers and a sampling of pairs; `run` makes the data set, which
is `PreferenceData` and knows its `truth`. The named functions are scenarios for one phenomenon each.
"""

from preflearn.simulate.answers import Answers
from preflearn.simulate.pool import Feature
from preflearn.simulate.population import Population
from preflearn.simulate.recipes import (
    adaptive,
    biased,
    bradley_terry,
    cyclic,
    davidson,
    drift,
    graded,
    groups,
    heterogeneous,
    mixture,
    rao_kupper,
    spammers,
)
from preflearn.simulate.sampling import Adaptive, Popular, Uniform
from preflearn.simulate.simulation import Scenario, Simulation, run
from preflearn.simulate.truth import Truth, read_truth
from preflearn.simulate.utility import Cycle, Drift, Offsets, Position, Strengths, Taste

__all__ = [
    "Adaptive",
    "Answers",
    "Cycle",
    "Drift",
    "Feature",
    "Offsets",
    "Popular",
    "Population",
    "Position",
    "Scenario",
    "Simulation",
    "Strengths",
    "Taste",
    "Truth",
    "Uniform",
    "adaptive",
    "biased",
    "bradley_terry",
    "cyclic",
    "davidson",
    "drift",
    "from_spec",
    "graded",
    "groups",
    "heterogeneous",
    "mixture",
    "rao_kupper",
    "read_truth",
    "run",
    "spammers",
]


def __getattr__(name: str) -> object:
    if name == "from_spec":  # pydantic is needed for files only
        from preflearn.simulate.spec import from_spec

        return from_spec
    raise AttributeError(f"module 'preflearn.simulate' has no attribute {name!r}")
