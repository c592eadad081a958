"""Expectation-maximisation for populations of components: soft or hard assignments, many starts, the best finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from preflearn.choice.mixture import responsibilities
from preflearn.errors import InputError
from preflearn.models.base import Part
from preflearn.models.batch import Batch
from preflearn.models.bounds import Count, NonNegative, Whole
from preflearn.models.fitting.full_batch import PRECISE, Report, weight_of
from preflearn.models.fitting.linear import Linear, components_of
from preflearn.models.network import Evidence, Network
from preflearn.models.parts import part
from preflearn.models.population.mixture import MixtureModule
from preflearn.models.solvers import newton
from preflearn.models.solvers.curvature import Matrix
from preflearn.models.solvers.descent import decorrelated, descend, restart
from preflearn.models.solvers.penalised import Problem

_DENSE = 4e9
"""Multiplications for the second derivatives of all components up to which Newton's method is the faster M-step."""
_NEAR = 0.5
"""Squared Newton decrement, nats, that an M-step leaves: the next E-step changes more."""


class _Run(NamedTuple):
    """Where one start ended: objective per judgment, rounds, whether it had converged, parameters."""

    value: float
    rounds: int
    converged: bool
    state: dict[str, Tensor]


@part("fitting", "em")
@dataclass(frozen=True)
class EM(Part):
    """Alternate between asking who belongs where (E) and learning every component from its members (M).

    Components that are linear over differences learn by Newton's method where that is cheap, others by a few steps of
    L-BFGS: the objective only has to improve (generalised EM). The best start is finished by L-BFGS on the likelihood
    itself, because EM creeps where components overlap.

    Attributes:
        soft: units belong to components in shares; else each belongs to the likeliest one (hard EM, not finished).
        starts: random beginnings; the best log-likelihood wins.
        rounds: of E and M, at most, per start.
        inner: steps of an M-step.
        warm: soft rounds before hard ones; hard assignments to random components would freeze there.
        tolerance: gain of the objective per judgment at which a start has converged.

    Sources: Dempster, Laird and Rubin (1977), JRSS B 39, 1-38; several starts, the best one finished: Biernacki, Celeux
    and Govaert (2003), Computational Statistics and Data Analysis 41, 561-575.
    """

    soft: bool = True
    starts: Count = 8
    rounds: Count = 100
    inner: Count = 8
    warm: Whole = 5
    tolerance: NonNegative = 1e-4

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        """Fit `network` in place.

        Raises:
            InputError: the population has no components.
        """
        data = batch.to(torch.float64) if batch.x.numel() <= PRECISE else batch
        network.to(data.x.dtype)
        metric = decorrelated(network.head, data.x, network.ridge / weight_of(data))
        parameters = [p for p in network.parameters() if p.requires_grad]
        learn = self._learner(network, data, parameters, metric)
        runs: list[_Run] = []
        for start in range(self.starts):
            torch.manual_seed(seed + start)
            if start:
                restart(network)
            runs.append(self._run(network, data, learn))
        runs.sort(key=lambda run: run.value)
        best = runs[0]
        network.load_state_dict(best.state)
        value, converged = best.value, best.converged
        if self.soft:
            end = descend(
                parameters,
                lambda: _value(network, network.evidence(data)),
                iterations=500,
                least=self.tolerance / 10,
                metric=metric,
            )
            value, converged = end.value, end.converged
        network.to(batch.x.dtype)
        total = weight_of(batch)
        values = (total * value, *(total * run.value for run in runs[1:]))
        notes = () if converged else (f"EM had not converged after {best.rounds} rounds.",)
        return Report(values[0], best.rounds, converged, values, notes)

    def _run(self, network: Network, batch: Batch, learn: Callable[[Evidence, Tensor], None]) -> _Run:
        before, converged, done = float("inf"), False, 0
        for done in range(1, self.rounds + 1):
            with torch.no_grad():
                evidence = network.evidence(batch)
                share, value = self._share(evidence, done), float(_value(network, evidence))
            if before - value < self.tolerance and done > (1 if self.soft else self.warm + 2):
                converged = True
                break
            before = value
            learn(evidence, share)
        with torch.no_grad():
            value = float(_value(network, network.evidence(batch)))
        return _Run(value, done, converged, {name: v.clone() for name, v in network.state_dict().items()})

    def _share(self, evidence: Evidence, done: int) -> Tensor:
        """Who belongs where, [U, Z]."""
        if evidence.log_weights is None:
            raise InputError(
                "EM needs a population of components.", cure="Use the population mixture, or fitting=auto."
            )
        prior, unit = evidence.log_weights, evidence.unit
        share: Tensor = responsibilities(evidence.log_prob, prior, unit, len(prior))
        if self.soft or done <= self.warm:
            return share
        return torch.nn.functional.one_hot(share.argmax(-1), share.shape[-1]).to(share.dtype)

    def _learner(
        self, network: Network, batch: Batch, parameters: Sequence[Tensor], metric: dict[Tensor, Tensor]
    ) -> Callable[[Evidence, Tensor], None]:
        """The M-step that suits the network."""
        linear = components_of(network, batch)
        if linear is not None and len(batch) * batch.x.shape[1] ** 2 * network.population.channels <= _DENSE:
            return _Newton(network, linear, self.inner)

        def learn(evidence: Evidence, share: Tensor) -> None:
            descend(parameters, lambda: _expected(network, batch, share), iterations=self.inner, metric=metric)

        return learn


class _Newton:
    """The M-step of linear components: each is a weighted choice model; second derivatives serve several rounds."""

    def __init__(self, network: Network, linear: Linear, steps: int) -> None:
        self._network, self._linear, self._steps = network, linear, steps
        self._matrix: Matrix | None = None

    def __call__(self, evidence: Evidence, share: Tensor) -> None:
        of_rows = share if evidence.unit is None else share[evidence.unit]
        given = self._linear.problem
        problem = Problem(
            given.design,
            given.link,
            given.target,
            of_rows.double().numpy() * given.weight,
            ridge=given.ridge,
            prior=given.prior,
        )
        end = newton.descend(problem, self._linear.parameters(), self._matrix, _NEAR, self._steps)
        self._matrix = end.matrix
        self._linear.write(end.at.parameters)
        assert isinstance(self._network.population, MixtureModule)
        self._network.population.count(share)


def _value(network: Network, evidence: Evidence) -> Tensor:
    """Objective per judgment."""
    cost = network.objective_of(evidence)
    return (cost.per_unit.double().sum() + cost.extra + cost.penalty) / cost.weight


def _expected(network: Network, batch: Batch, share: Tensor) -> Tensor:
    """Negative expected log-likelihood of judgments and assignments, per judgment, penalties included."""
    evidence = network.evidence(batch)
    assert evidence.log_weights is not None
    of_rows = share if evidence.unit is None else share[evidence.unit]
    likelihood = (of_rows * evidence.log_prob).double().sum() + (share * evidence.log_weights).double().sum()
    return (-likelihood + evidence.extra + network.penalty()) / evidence.weight
