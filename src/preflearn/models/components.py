"""What the parts of a plural model can say about people: how many components there are, and where people stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from preflearn.data import PreferenceData
from preflearn.errors import InputError, NotSupported
from preflearn.models.assemble import Assembled
from preflearn.models.composed import Composed
from preflearn.models.fitting import weight_of
from preflearn.models.fitting.holdout import folds
from preflearn.models.kernels.points import IdealPointModule
from preflearn.models.population.mixture import Mixture
from preflearn.models.population.simplex import SimplexModule

Floats = npt.NDArray[np.float64]


class Chosen(NamedTuple):
    """How many components, and why.

    Attributes:
        model: fitted to all the data with the best number.
        components: that number.
        table: one row per number tried: components, parameters, log_likelihood (nats), bic, and held_out (log loss per
            judgment, nats; null unless asked for).
    """

    model: Composed
    components: int
    table: pl.DataFrame


def choose_components(
    model: Composed,
    data: PreferenceData,
    candidates: Sequence[int] = (1, 2, 3, 4),
    *,
    by: Literal["bic", "held_out"] = "bic",
) -> Chosen:
    """Fit a mixture with several numbers of components and keep the best.

    BIC is ``parameters * log(judgments) - 2 log-likelihood``, at the penalised estimate. Held-out log loss is that of a
    fifth of the prompts for people known from the others (see `models.fitting.holdout.folds`): slower, but free of the
    count of parameters.

    Args:
        model: its population is a `Mixture`; it stays as it is.
        data: to fit.
        candidates: numbers of components, each at least 1.
        by: the criterion; smaller is better.

    Raises:
        InputError: the population is no mixture, or there is no candidate.
    """
    population, tables = model.resolved().population, model.resolved().tables
    if not isinstance(population, Mixture) or not candidates or by not in ("bic", "held_out"):
        raise InputError("numbers of components are compared for a mixture, by bic or held_out.", value=population)
    if tables != ("comparisons",):
        raise NotSupported("numbers of components are compared by what they say of comparisons alone.")
    rows = []
    fits: dict[int, Composed] = {}
    for k in candidates:
        fits[k] = model.clone().set_params(population=replace(population, components=k)).fit(data)
        network = fits[k].network_
        assembled = fits[k]._assembled(data, answers=True)
        with torch.no_grad():
            fit = -float(network.objective(assembled.batch).per_unit.sum())
        size = sum(p.numel() for p in network.parameters()) - 1  # shares sum to 1
        bic = size * math.log(weight_of(assembled.batch)) - 2 * fit
        loss = _held_out(fits[k], data, assembled) if by == "held_out" else None
        rows.append({"components": k, "parameters": size, "log_likelihood": fit, "bic": bic, "held_out": loss})
    table = pl.DataFrame(rows, schema_overrides={"held_out": pl.Float64})
    best = int(table.sort(by)["components"][0])
    return Chosen(fits[best], best, table)


def _held_out(model: Composed, data: PreferenceData, assembled: Assembled) -> float:
    """Log loss per judgment of a fifth of the prompts, by the model fitted to the others, nats."""
    pairs = assembled.batch.pairs
    assert pairs is not None
    held = (folds(assembled.batch, 5, model.seed)["pairs"] == 0).numpy()
    known, asked = (data.comparisons[assembled.rows["comparisons"][mask].tolist()] for mask in (~held, held))
    again = model.clone().fit(data.replace(comparisons=known))
    probabilities = again.outcome_probs(data.replace(comparisons=asked)).probabilities
    target, weight = pairs.target.numpy()[held], pairs.weight.numpy()[held]
    loss = -np.sum(target * np.log(np.maximum(probabilities, 1e-300)), axis=1)
    return float(weight @ loss / weight.sum())


def user_points(model: Composed) -> Floats:
    """Where each annotator of `model.annotators_` stands, [U, q]: ``sum_k w_uk P_k``, in the order they are named.

    Report these, not the prototypes: every simplex that encloses the points describes the same people. Points are
    those of the model's own space, known up to what leaves all distances to responses alike.

    Raises:
        NotSupported: the model has no ideal points, or they move with the prompt.
    """
    kernel, population = model.network_.kernel, model.network_.population
    if not isinstance(kernel, IdealPointModule) or not isinstance(population, SimplexModule):
        raise NotSupported("only people between prototypes of an ideal-point kernel have points.")
    if kernel.moved is not None:
        raise NotSupported("the ideal points of this model move with the prompt.")
    with torch.no_grad():
        points: Floats = (population.weights @ kernel.prototypes).double().numpy()
    return points
