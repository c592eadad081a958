"""Preference models over content, composed from parts: head, kernel, population, noise, outcome, fitting.

`Composed` is the estimator; `recipes` names the published compositions. Importing this package imports torch.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError:
    from preflearn.errors import MissingDependency

    raise MissingDependency("torch", "torch") from None

from preflearn.models import control, fitting, heads, kernels, noise, outcomes, population
from preflearn.models.composed import Composed
from preflearn.models.fitting import automatic, minibatch, profile, reweighted, warm_start
from preflearn.models.saved import load

__all__ = [
    "Composed",
    "automatic",
    "control",
    "fitting",
    "heads",
    "kernels",
    "load",
    "minibatch",
    "noise",
    "outcomes",
    "population",
    "profile",
    "reweighted",
    "warm_start",
]
