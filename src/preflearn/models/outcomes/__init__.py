"""Outcomes: how what was recorded becomes a target, and its probability. The likelihoods live in `preflearn.choice`."""

from preflearn.models.outcomes.comparisons import COLUMNS, Choice, Comparisons
from preflearn.models.outcomes.grades import Classes, Grades
from preflearn.models.outcomes.lists import LambdaPairs, ListPairs, PlackettLuce, SkipPairs, TopOne
from preflearn.models.outcomes.ratings import GaussianRating
from preflearn.models.outcomes.strength import Strength

__all__ = [
    "COLUMNS",
    "Choice",
    "Classes",
    "Comparisons",
    "GaussianRating",
    "Grades",
    "LambdaPairs",
    "ListPairs",
    "PlackettLuce",
    "SkipPairs",
    "Strength",
    "TopOne",
]
