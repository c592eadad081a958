"""Attribute scores learned from ratings, then a gate over them learned from comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr
from torch import Tensor

from preflearn.data import PreferenceData
from preflearn.errors import InputError
from preflearn.models.base import Part
from preflearn.models.batch import Batch, Pairs
from preflearn.models.bounds import Count, Positive
from preflearn.models.fitting.full_batch import Report
from preflearn.models.heads import Layered
from preflearn.models.network import Network
from preflearn.models.parts import part
from preflearn.models.population.gate import GateModule, seen
from preflearn.models.solvers.descent import Descent, descend

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
RIDGES = tuple(10.0**power for power in range(-4, 5))


class Attributes(NamedTuple):
    """Linear scores of criteria.

    Attributes:
        weights: [C, d], for values in standard units.
        ridges: chosen penalty of each criterion, [C].
        mean, sd: of the recorded values, [C].
        residual: standard deviation of what the scores leave unexplained on held-out ratings, in standard units, [C].
        active: criteria with ratings, [C].
    """

    weights: Floats
    ridges: Floats
    mean: Floats
    sd: Floats
    residual: Floats
    active: Flags


def attribute_scores(batch: Batch, criteria: int, seed: int) -> Attributes:
    """Ridge regression of each criterion's ratings on the features, without intercept: [C, d].

    The penalty of each is chosen on a fifth of the rated responses (among 1e-4 ... 1e4) and the weights fitted again on
    all of them.

    Raises:
        InputError: no ratings on two or more criteria.
    """
    rows = batch.ratings
    if rows is None or not len(rows):
        raise InputError("there are no ratings to learn attributes from.")
    x = batch.x.double().numpy()
    code, item = rows.who.columns["criterion"].numpy(), rows.item.numpy()
    value, weight = rows.value.double().numpy(), rows.weight.double().numpy()
    held_out: Flags = np.asarray(np.random.default_rng([seed, 11]).random(x.shape[0]) < 0.2)
    ridges, means, sds, residuals = (np.zeros(criteria) for _ in range(4))
    found = Attributes(np.zeros((criteria, x.shape[1])), ridges, means, sds, residuals, np.zeros(criteria, np.bool_))
    for k in range(criteria):
        mine = np.flatnonzero((code == k) & np.isfinite(value))
        if len(mine) < 2 or value[mine].std() == 0:
            continue
        mean, sd = float(np.average(value[mine], weights=weight[mine])), float(value[mine].std())
        standard = (value[mine] - mean) / sd
        test: Flags = held_out[item[mine]]
        errors = [np.inf] * len(RIDGES)
        if test.any() and not test.all():
            paths = _ridge_path(x[item[mine][~test]], standard[~test], weight[mine][~test], RIDGES)
            errors = [float(np.mean((standard[test] - x[item[mine][test]] @ w) ** 2)) for w in paths]
        best = int(np.argmin(errors)) if np.isfinite(errors).all() else RIDGES.index(1.0)
        found.weights[k] = _ridge_path(x[item[mine]], standard, weight[mine], [RIDGES[best]])[0]
        found.ridges[k], found.mean[k], found.sd[k], found.active[k] = RIDGES[best], mean, sd, True
        found.residual[k] = np.sqrt(errors[best]) if np.isfinite(errors[best]) else 1.0
    if found.active.sum() < 2:
        raise InputError(
            f"{int(found.active.sum())} criteria have ratings that vary; a gate over attributes needs two.",
            column="ratings.criterion_id",
        )
    return found


def _ridge_path(x: Floats, y: Floats, weight: Floats, ridges: Sequence[float]) -> list[Floats]:
    weighted = x * weight[:, None]
    values, vectors = np.linalg.eigh(weighted.T @ x)
    along = vectors.T @ (weighted.T @ y)
    return [vectors @ (along / (np.clip(values, 0, None) + ridge)) for ridge in ridges]


def debiased(weights: Floats, x: Floats, against: int) -> tuple[Floats, Floats]:
    """Scores without what they share with one of them (verbosity): ``r_k - lambda_k r_v``, ``Spearman(., r_v) = 0``.

    Args:
        weights: of the scores, [C, d].
        x: features of the responses on which the correlation is measured, [R, d].
        against: place of the score to be removed.

    Returns:
        The new weights, in which the score itself is 0, and lambda [C]. A score that is not positively correlated keeps
        lambda = 0.

    Source: Wang et al. (2024), ArmoRM, arXiv 2406.12845, section 3 (zero correlation; found here by bisection, in the
    authors' code by a grid up to a threshold of .03).
    """
    scores = x @ weights.T
    verbose = scores[:, against]
    amount = np.zeros(len(weights))
    for k in range(len(weights)):
        if k == against or not np.any(weights[k]) or _rank_correlation(scores[:, k], verbose) <= 0:
            continue
        low, high = 0.0, 1.0
        while _rank_correlation(scores[:, k] - high * verbose, verbose) > 0 and high < 1e6:
            high *= 2
        for _ in range(40):
            middle = (low + high) / 2
            if _rank_correlation(scores[:, k] - middle * verbose, verbose) > 0:
                low = middle
            else:
                high = middle
        amount[k] = high
    amount[against] = 1.0
    return weights - amount[:, None] * weights[against], amount


def _rank_correlation(a: Floats, b: Floats) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a, b).statistic)


@part("fitting", "attributes")
@dataclass(frozen=True)
class AttributeStages(Part):
    """Stage 1: one score per criterion from its ratings. Stage 2: a gate over the scores, which stay as they are.

    Attributes:
        target: what the gate learns from: "comparisons" (Bradley-Terry on the gated utility), "chosen" (shares
            proportional to ``exp(r_k(winner) / temperature)``) or "winner_minus_loser" (the same of the difference).
        temperature: of those shares.
        verbosity: criterion whose influence is taken out of the others first.
        iterations: limit of L-BFGS.
    """

    target: Literal["comparisons", "chosen", "winner_minus_loser"] = "comparisons"
    temperature: Positive = 0.1
    verbosity: str | None = None
    iterations: Count = 300

    def check(self, data: PreferenceData) -> None:
        known = data.criteria["criterion_id"].to_list() if data.height("criteria") else []
        if self.verbosity is not None and known and self.verbosity not in [str(name) for name in known]:
            raise InputError(
                f"there is no criterion {self.verbosity!r} to take out.",
                column="criteria.criterion_id",
                cure=f"There are: {', '.join(str(name) for name in known)}.",
            )

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        names = list(network.names.get("criterion", ()))
        gate, head = network.population, network.head
        if not isinstance(gate, GateModule) or not isinstance(head, Layered) or not head.linear:
            raise InputError("attribute stages need a linear utility head and a gate over criteria.")
        found = attribute_scores(batch, gate.channels, seed)
        weights, notes = found.weights, []
        active = found.active.copy()
        if self.verbosity is not None:
            place = names.index(self.verbosity) if self.verbosity in names else -1
            if place < 0 or not found.active[place]:
                raise InputError(f"the criterion {self.verbosity!r} has no ratings to learn it from.")
            rated = np.unique(batch.ratings.item.numpy()) if batch.ratings is not None else np.arange(len(batch.x))
            weights, amount = debiased(weights, batch.x[rated].double().numpy(), place)
            active[place] = False
            taken = ", ".join(f"{name} {a:.2f}" for name, a in zip(names, amount) if a and name != self.verbosity)
            notes.append(f"{self.verbosity} was taken out of the other scores ({taken or 'none shared any'})")
        network.to(batch.x.dtype)
        scores = next(head.layers.parameters())
        with torch.no_grad():
            scores.copy_(torch.as_tensor(weights, dtype=batch.x.dtype))
            gate.active = torch.as_tensor(active)
        scores.requires_grad_(False)
        for outcome in network.outcomes:
            set_scale = getattr(outcome, "set_scale", None)
            if callable(set_scale):
                set_scale(found.mean, found.sd, found.residual)
        if batch.pairs is None or not len(batch.pairs):
            raise InputError("there are no comparisons to learn the gate from.")
        end = self._gate(network, gate, batch, batch.pairs)
        return Report(end.value, end.iterations, end.converged, (end.value,), tuple(notes))

    def _gate(self, network: Network, gate: GateModule, batch: Batch, pairs: Pairs) -> Descent:
        only = batch.only(pairs=torch.arange(len(pairs)))
        parameters = [p for p in gate.parameters() if p.requires_grad]
        total = pairs.weight.sum()
        if self.target == "comparisons":

            def loss() -> Tensor:
                cost = network.objective(only)
                return (cost.per_unit.double().sum() + cost.penalty) / total
        else:
            share, weight = self._shares(network, batch, pairs)
            view = seen(pairs, batch, gate.part.on)

            def loss() -> Tensor:
                given = torch.log(gate.weights(view).clamp(min=1e-12))
                return -(weight[:, None] * share * given).sum() / total + gate.penalty(1.0) / total

        return descend(parameters, loss, iterations=self.iterations)

    def _shares(self, network: Network, batch: Batch, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Target shares of the channels [n, C] and the weight of each comparison [n] (ties teach nothing)."""
        with torch.no_grad():
            scores = network.head(batch.x)[..., 0]
        won = pairs.target[:, -1] - pairs.target[:, 0]
        winner = torch.where(won > 0, pairs.a, pairs.b)
        loser = torch.where(won > 0, pairs.b, pairs.a)
        value = scores[winner] - (scores[loser] if self.target == "winner_minus_loser" else 0.0)
        gate = network.population
        assert isinstance(gate, GateModule)
        value = value.masked_fill(~gate.active, -torch.inf)
        return torch.softmax(value / self.temperature, dim=-1), pairs.weight * won.abs()
