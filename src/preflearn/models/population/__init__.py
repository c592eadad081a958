"""Populations: who is asked, and what a model knows about them. One file per population."""

from preflearn.models.population.everyone import Everyone
from preflearn.models.population.mixture import Mixture

__all__ = ["Everyone", "Mixture"]
