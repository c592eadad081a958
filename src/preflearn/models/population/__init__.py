"""Populations: who is asked, and what a model knows about them. One file per population."""

from preflearn.models.population.amortised import Amortised
from preflearn.models.population.attributes import Attributes
from preflearn.models.population.everyone import Everyone
from preflearn.models.population.gate import Gate
from preflearn.models.population.groups import Groups
from preflearn.models.population.mixture import Mixture
from preflearn.models.population.offsets import Offsets
from preflearn.models.population.router import Router
from preflearn.models.population.simplex import Simplex

__all__ = ["Amortised", "Attributes", "Everyone", "Gate", "Groups", "Mixture", "Offsets", "Router", "Simplex"]
