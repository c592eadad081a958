"""Outcomes: how what was recorded becomes a target, and its probability. The likelihoods live in `preflearn.choice`."""

from preflearn.models.outcomes.comparisons import COLUMNS, Choice, Comparisons
from preflearn.models.outcomes.strength import Strength

__all__ = ["COLUMNS", "Choice", "Comparisons", "Strength"]
