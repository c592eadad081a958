"""Expectation-maximisation for populations of components: soft or hard assignments, many starts, best one finished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from preflearn.choice.mixture import responsibilities
from preflearn.errors import InputError
from preflearn.models.base import Part
from preflearn.models.batch import Batch
from preflearn.models.descent import descend, restart
from preflearn.models.fitting import Report
from preflearn.models.network import Evidence, Network
from preflearn.models.parts import part


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

    Attributes:
        soft: units belong to components in shares; else each belongs to the likeliest one (hard EM).
        starts: random beginnings; the best log-likelihood wins.
        rounds: of E and M, at most, per start.
        inner: steps of L-BFGS in an M-step (a generalised EM: the objective only has to improve).
        warm: soft rounds before hard ones; hard assignments to random components would freeze there.
        tolerance: gain of the objective per judgment at which a start has converged.
    """

    soft: bool = True
    starts: int = 8
    rounds: int = 100
    inner: int = 10
    warm: int = 5
    tolerance: float = 1e-6

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        network.to(batch.x.dtype)
        runs: list[_Run] = []
        for start in range(self.starts):
            torch.manual_seed(seed + start)
            if start:
                restart(network)
            runs.append(self._run(network, batch))
        runs.sort(key=lambda run: run.value)
        best = runs[0]
        network.load_state_dict(best.state)
        total = float(sum(rows.weight.sum() for rows in batch.judgments()))
        values = tuple(total * run.value for run in runs)
        return Report(values[0], best.rounds, best.converged, values)

    def _run(self, network: Network, batch: Batch) -> _Run:
        parameters = [p for p in network.parameters() if p.requires_grad]
        before, converged, done = float("inf"), False, 0
        for done in range(1, self.rounds + 1):
            with torch.no_grad():
                evidence = network.evidence(batch)
                if evidence.log_weights is None:
                    raise InputError(
                        "EM needs a population of components.", cure="Use population=mixture, or another fitting."
                    )
                value = _value(network, evidence)
                share = responsibilities(
                    evidence.log_prob, evidence.log_weights, evidence.unit, len(evidence.log_weights)
                )
                if not self.soft and done > self.warm:
                    share = torch.nn.functional.one_hot(share.argmax(-1), share.shape[-1]).to(share.dtype)
            if before - value < self.tolerance and done > (1 if self.soft else self.warm + 2):
                converged = True
                break
            before = value
            descend(parameters, lambda: _expected(network, batch, share), iterations=self.inner)
        with torch.no_grad():
            value = _value(network, network.evidence(batch))
        return _Run(value, done, converged, {name: v.clone() for name, v in network.state_dict().items()})


def _value(network: Network, evidence: Evidence) -> float:
    """Objective per judgment."""
    cost = network.objective_of(evidence)
    return float((cost.per_unit.double().sum() + cost.extra + cost.penalty) / cost.weight)


def _expected(network: Network, batch: Batch, share: Tensor) -> Tensor:
    """Negative expected log-likelihood of judgments and assignments, per judgment, penalties included."""
    evidence = network.evidence(batch)
    assert evidence.log_weights is not None
    of_rows = share if evidence.unit is None else share[evidence.unit]
    likelihood = (of_rows * evidence.log_prob).double().sum() + (share * evidence.log_weights).double().sum()
    return (-likelihood + evidence.extra + network.penalty()) / evidence.weight
