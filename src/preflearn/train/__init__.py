"""The one minibatch loop, for every path: heads on embeddings, language models, policies, diffusion, control.

It trains any torch module with any loss over micro-batches and knows nothing of preferences. :func:`train` is the
loop, :class:`TrainSettings` how to train, :class:`InMemorySource` where micro-batches come from;
:func:`fit_full_batch` is L-BFGS for what fits into memory, :func:`fit_temperature` calibrates, :func:`restarts`
keeps the best of several runs.
"""

import importlib.util

from preflearn.errors import MissingDependency

if importlib.util.find_spec("torch") is None:
    raise MissingDependency("torch", "torch")

from preflearn.train.calibrate import Temperature, fit_temperature
from preflearn.train.full_batch import Converged, fit_full_batch, minimise
from preflearn.train.loop import train
from preflearn.train.precision import autocast
from preflearn.train.restart import Restarts, restarts
from preflearn.train.settings import Group, TrainSettings
from preflearn.train.sources import InMemorySource, tensor_rows
from preflearn.train.types import (
    Best,
    Diverged,
    Evaluate,
    Loss,
    LossFunction,
    Source,
    Step,
    TrainResult,
    Update,
)

__all__ = [
    "Best",
    "Converged",
    "Diverged",
    "Evaluate",
    "Group",
    "InMemorySource",
    "Loss",
    "LossFunction",
    "Restarts",
    "Source",
    "Step",
    "Temperature",
    "TrainResult",
    "TrainSettings",
    "Update",
    "autocast",
    "fit_full_batch",
    "fit_temperature",
    "minimise",
    "restarts",
    "tensor_rows",
    "train",
]
