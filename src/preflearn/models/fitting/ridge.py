"""The ridge that predicts held-out judgments best: folds by what was judged together, a path of warm starts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from preflearn.errors import NotComputable
from preflearn.models.batch import Batch
from preflearn.models.fitting.automatic import Auto
from preflearn.models.fitting.em import EM
from preflearn.models.fitting.full_batch import FullBatch
from preflearn.models.fitting.holdout import folds, where
from preflearn.models.fitting.linear import Linear, linear_of
from preflearn.models.network import Network
from preflearn.models.solvers.curvature import matrix_of
from preflearn.models.solvers.newton import descend, maximise
from preflearn.models.solvers.penalised import Information, Parameters, Problem

FOLDS = 5
_ENOUGH = 20_000
"""Held-out judgments that tell two ridges apart without doubt; linear networks predict so many, if there are."""
_SOME, _ROUNDS = 5_000, 3
"""Held-out judgments, and folds, that other networks are content with: each fit of theirs takes its time."""
Folds = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]
Curve = tuple[tuple[float, float], ...]
"""Ridges and mean held-out log losses, weakest first."""


class RidgeChoice(NamedTuple):
    """The ridge chosen.

    Attributes:
        ridge: the one with the lowest held-out log loss.
        curve: ridges tried, weakest first, and the mean log loss of held-out judgments in nats.
        folds: how many of the five folds were held out in turn.
    """

    ridge: float
    curve: Curve
    folds: int

    @property
    def note(self) -> str:
        """One sentence for the report."""
        losses = ", ".join(f"{ridge:g}: {loss:.4f}" for ridge, loss in self.curve)
        how = f"{self.folds} of {FOLDS} folds held out" if self.folds > 1 else "a fifth held out"
        return f"A ridge of {self.ridge:g} predicted held-out judgments best ({how}; log loss by ridge: {losses})."


def choose_ridge(network: Network, batch: Batch, fitting: Any, seed: int) -> RidgeChoice:
    """Choose by held-out log loss.

    Linear networks by cross-validation in five folds, of which as many are held out in turn as it takes to predict
    20,000 judgments; second derivatives are computed by fold, for all of them at once. Others hold out up to three
    folds (until 5,000 judgments are predicted), from the weakest ridge on, each fit starting where the last one ended.
    Responses that were ever compared stay together (see `holdout.folds`): with comparisons within prompts, folds are
    made of whole prompts.

    Args:
        network: with fresh parameters; not changed.
        batch: the training judgments.
        fitting: the part that will fit the network.
        seed: of the folds and fits.

    Raises:
        NotComputable: too few judgments to hold any out.
    """
    fold = folds(batch, FOLDS, seed)
    if len(np.unique(torch.cat(list(fold.values())).numpy())) < 2:
        raise NotComputable("there are too few judgments to choose a ridge by holding some out. Give a number.")
    linear = linear_of(copy.deepcopy(network), batch)
    if linear is not None:
        linear_folds = _Folds(linear, fold["pairs"].numpy())
        score, count = linear_folds.loss, linear_folds.rounds
    else:
        splits = _Splits(network, batch, fold, fitting, seed)
        score, count = splits.loss, len(splits.splits)
    curve = _searched(score) if linear is not None else _path(score)
    return RidgeChoice(min(curve, key=lambda point: point[1])[0], curve, count)


def _searched(loss: Callable[[float], float]) -> Curve:
    """Ridges a hundredfold apart, then around the best ever nearer: the loss falls and rises once."""
    found = {ridge: loss(ridge) for ridge in (1.0, 100.0, 10_000.0)}
    for step in (10.0, math.sqrt(10)):
        best = min(found, key=lambda ridge: found[ridge])
        for ridge in (best * step, best / step):
            found[ridge] = loss(ridge)
    return tuple(sorted(found.items()))


def _path(loss: Callable[[float], float]) -> Curve:
    """Ridges in steps of ten from the weakest on, until they only get worse."""
    found: list[tuple[float, float]] = []
    for power in range(6):
        found.append((10.0**power, loss(10.0**power)))
        if power > 1 and found[-1][1] > found[-2][1] > found[-3][1]:
            break
    return tuple(found)


class _Folds:
    """Cross-validation of a linear problem: second derivatives by fold, starts from the nearest ridge before."""

    def __init__(self, linear: Linear, fold: Folds) -> None:
        self.whole, self.fold = linear.problem, fold
        self.count = int(fold.max()) + 1
        # Folds are held out in turn until enough judgments have been predicted.
        enough = np.cumsum(np.bincount(fold)) >= _ENOUGH
        self.rounds = int(enough.argmax()) + 1 if enough.any() else self.count
        self.goal = 1e-7 * float(self.whole.weight.sum())  # its root is what held-out losses are wrong by
        self.references: dict[float, _Reference] = {}

    def loss(self, ridge: float) -> float:
        """Mean log loss of judgments, each predicted by the fit to the other folds."""
        reference = self._reference(ridge)
        total = weight = 0.0
        for fold in range(self.rounds):
            held = self.fold == fold
            matrix = matrix_of(self._information(reference, fold, ridge))
            end = descend(self._problem(~held, ridge), reference.starts[fold], matrix, self.goal, 50)
            reference.starts[fold] = end.at.parameters
            at = self._problem(held, 0.0).evaluate(end.at.parameters)
            total += math.inf if at is None else -at.log_likelihood
            weight += float(self.whole.weight[held].sum())
        return total / weight

    def _reference(self, ridge: float) -> _Reference:
        """Second derivatives near the fit with this ridge: those of a ridge within a factor of ten serve."""
        near = [known for known in self.references if abs(math.log(known / ridge)) < math.log(11)]
        if near:
            return self.references[min(near, key=lambda known: abs(math.log(known / ridge)))]
        every = self._problem(self.fold >= 0, ridge)
        if self.references:
            last = self.references[min(self.references, key=lambda known: abs(math.log(known / ridge)))]
            fit = descend(every, last.fit, matrix_of(self._information(last, -1, ridge)), self.goal, 50).at.parameters
        else:
            fit = maximise(every, tolerance=self.goal).parameters
        pieces = [self._piece(fold, fit) for fold in range(self.count)]
        self.references[ridge] = _Reference(fit, pieces, [fit] * self.count)
        return self.references[ridge]

    def _problem(self, kept: Mask, ridge: float) -> Problem:
        whole = self.whole
        weight = whole.weight * kept[:, None]
        return Problem(whole.design, whole.link, whole.target, weight, ridge=ridge, prior=whole.prior)

    def _piece(self, fold: int, at: Parameters) -> Information:
        """Second derivatives of the likelihood of one fold alone."""
        problem = self._problem(self.fold == fold, 0.0)
        problem.prior = None
        evaluation = problem.evaluate(at)
        if evaluation is None:
            raise NotComputable("the judgments are impossible under the model, whatever the ridge.")
        return problem.information(evaluation)

    def _information(self, reference: _Reference, fold: int, ridge: float) -> Information:
        """Second derivatives of the problem without a fold (-1: of all of it)."""
        others = [piece for f, piece in enumerate(reference.pieces) if f != fold]
        blocks = np.sum([piece.blocks for piece in others], axis=0) + ridge * np.eye(self.whole.design.features)
        corner = np.sum([piece.corner for piece in others], axis=0)
        if self.whole.prior is not None:
            corner = corner + self.whole.prior(reference.fit.shared)[2]
        return Information(blocks, np.sum([piece.borders for piece in others], axis=0), corner)


class _Reference(NamedTuple):
    """The fit to everything with some ridge, second derivatives there by fold, and where fits without a fold ended."""

    fit: Parameters
    pieces: list[Information]
    starts: list[Parameters]


class _Split(NamedTuple):
    """A network that is fitted to one part of the judgments and scored on the other."""

    network: Network
    kept: Batch
    held: Batch


class _Splits:
    """Some of the folds held out in turn, for any network: each fit starts where that with the ridge before ended."""

    def __init__(self, network: Network, batch: Batch, fold: Mapping[str, Tensor], fitting: Any, seed: int) -> None:
        self.seed = seed
        self.splits: list[_Split] = []
        suited = fitting.chosen(network, batch) if isinstance(fitting, Auto) else fitting
        # To see which ridge is better, one start and a rough end suffice.
        known = {field.name for field in fields(suited)}
        rough = {"starts": 1, "tolerance": 1e-4, "iterations": 100}
        wanted: dict[str, Any] = {name: value for name, value in rough.items() if name in known}
        self.fitting = replace(suited, **wanted) if isinstance(suited, FullBatch | EM) else suited
        predicted = 0
        for number in range(_ROUNDS):
            chosen = {kind: codes == number for kind, codes in fold.items()}
            if predicted >= _SOME or not any(bool(mask.any()) for mask in chosen.values()):
                break
            kept = where(batch, {kind: ~mask for kind, mask in chosen.items()})
            self.splits.append(_Split(copy.deepcopy(network), kept, where(batch, chosen)))
            predicted += sum(int(mask.sum()) for mask in chosen.values())

    def loss(self, ridge: float) -> float:
        """Mean log loss of the held-out judgments, their annotators as well known as the others make them."""
        total = weight = 0.0
        for network, kept, held in self.splits:
            network.ridge = ridge
            self.fitting.fit(network, kept, self.seed)
            network.to(kept.x.dtype)
            network.settle(kept)
            with torch.no_grad():
                for rows in held.judgments():
                    taste = network.population.known(rows, held)
                    log_prob = network.log_prob(rows, held, taste)
                    if taste.log_weights is not None:
                        log_prob = torch.logsumexp(log_prob + taste.log_weights, dim=-1, keepdim=True)
                    total -= float((log_prob[:, 0] * rows.weight).double().sum())
                    weight += float(rows.weight.sum())
        return total / weight
