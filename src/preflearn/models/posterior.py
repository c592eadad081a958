"""How sure a fitted network is of its parameters: a normal distribution around them, as a factor of its covariance.

For linear networks the covariance is Laplace's: the inverse of the exact second derivatives (or a sandwich of them and
the scores of clusters). For any other network it is that of refits to randomly weighted judgments, which needs nothing
but the objective.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import cho_solve, cholesky, solve_triangular
from torch import Tensor, nn
from torch.func import functional_call

from preflearn.choice.arrays import segment_sum
from preflearn.errors import NotComputable
from preflearn.models.batch import Batch
from preflearn.models.fitting import PRECISE
from preflearn.models.fitting.linear import Linear, linear_of
from preflearn.models.network import Network
from preflearn.models.solvers.penalised import Information
from preflearn.train import minimise

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.integer]

REFITS = 20
"""Refits of networks that are not linear."""
_ITERATIONS = 40
_RIDGE = 2.0
"""Nats by which the objective half way between two fits must lie above both for them to be two optima."""
_AT_ONCE = 2**24
"""Numbers of cluster scores held at once."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """Parameters are normal: ``fitted + sum_k z_k factor_k`` with independent standard normal z.

    What it is about are the parameters; tables that a population keeps about annotators beside them are taken as known.

    Attributes:
        factors: name of a parameter -> [k, *shape].
        notes: sentences a user should read before believing it.
    """

    factors: Mapping[str, npt.NDArray[np.floating]]
    notes: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """Directions in which parameters vary."""
        return len(next(iter(self.factors.values()))) if self.factors else 0

    def draws(self, network: Network, n: int, seed: int, *, mirrored: bool = False) -> Iterator[Network]:
        """Networks drawn from the posterior; each is valid until the next (one copy is changed in place).

        Args:
            network: the fitted one, or the same without its noise; rows that its tables gained since the fit do not
                vary.
            n: number of draws.
            seed: of the draws.
            mirrored: follow every draw by its mirror image, so that means have no error of first order.
        """
        random = np.random.default_rng([seed, 15_485_863])
        drawn = copy.deepcopy(network)
        places = dict(drawn.named_parameters())
        fitted = {name: places[name].detach().clone() for name in self.factors if name in places}
        z = np.zeros(self.rank)
        for number in range(n):
            z = -z if mirrored and number % 2 else random.standard_normal(self.rank)
            with torch.no_grad():
                for name, start in fitted.items():
                    factor, target = self.factors[name], places[name]
                    moved = torch.from_numpy(np.tensordot(z.astype(factor.dtype), factor, axes=1))
                    target.copy_(start)
                    target[tuple(slice(size) for size in moved.shape)] += moved.to(target.dtype)
            yield drawn


def posterior_of(
    network: Network, batch: Batch, seed: int, *, clusters: Codes | None = None, refits: int = REFITS
) -> Posterior:
    """The posterior of a fitted network.

    Args:
        network: at the optimum of its objective on `batch`.
        batch: the training judgments.
        seed: of the weights of refits.
        clusters: of judgments, by kind one after the other, [n]: judgments of one cluster vary together, whatever the
            model says (a sandwich). By default the model is believed.
        refits: their number, for networks that are not linear.
    """
    if not network.learns:
        return Posterior({})  # nothing was learned, so nothing is uncertain
    linear = linear_of(network, batch)
    if linear is None:
        return by_refits(network, batch, seed, clusters=clusters, refits=refits)
    at = linear.problem.evaluate(linear.parameters())
    if at is None:
        raise NotComputable("the judgments are impossible at the fitted parameters, so there is no posterior.")
    information = linear.problem.information(at)
    return by_laplace(network, information) if clusters is None else by_sandwich(network, linear, information, clusters)


def by_laplace(network: Network, information: Information) -> Posterior:
    """Covariance = inverse of the second derivatives at the optimum: Laplace's approximation.

    Raises:
        NotComputable: the data and the priors leave something undetermined.
    """
    lower = _cholesky(information)
    # information = L L', so L^-T z has its inverse as covariance.
    return _split(network, solve_triangular(lower, np.eye(len(lower)), lower=True))


def by_sandwich(network: Network, linear: Linear, information: Information, clusters: Codes) -> Posterior:
    """Covariance = ``H^-1 (sum_c g_c g_c') H^-1`` with the score g_c of each cluster, times C / (C - 1).

    Source: Liang and Zeger (1986), Longitudinal data analysis using generalized linear models, Biometrika 73, 13-22.

    Raises:
        NotComputable: fewer than two clusters, or something undetermined.
    """
    names, place = np.unique(clusters, return_inverse=True)
    if len(names) < 2:
        raise NotComputable("a sandwich needs at least two clusters (annotators).")
    lower = _cholesky(information)
    at = linear.problem.evaluate(linear.parameters())
    assert at is not None
    design, size = linear.problem.design, len(information.dense())
    triangle = np.zeros((0, size))
    step = max(1, _AT_ONCE // size)
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(0, len(names) + step, step))
    for start, (first, last) in zip(range(0, len(names), step), pairwise(bounds)):
        rows = order[first:last]
        code, count = place[rows] - start, min(step, len(names) - start)
        pulled = design.pull_by(rows, at.residuals[rows, 0], code, count)
        scores = np.column_stack([pulled, segment_sum(at.scores[rows, 0], code, count)])
        # Only the product with its own transpose counts: the triangle of the QR decomposition holds all of it.
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, scores]), mode="r"))
    correction = np.sqrt(len(names) / (len(names) - 1))
    return _split(network, correction * cho_solve((lower, True), triangle.T).T)


def by_refits(
    network: Network, batch: Batch, seed: int, *, clusters: Codes | None = None, refits: int = REFITS
) -> Posterior:
    """Covariance of the optima under random weights: each starts at the fitted parameters, most of the way is short.

    Every unit of the likelihood (judgment, or annotator whose judgments share a component) gets a weight of mean 1,
    exponential for a single judgment, and every prior is shifted by a draw of its own width. With a normal likelihood
    and prior the refits are draws from the posterior; in large samples they are in general.

    Where the likelihood has several optima (mirror images of two camps) a refit may end in another one. What lies
    between them is no draw of anything: such refits are left out and counted in the notes.

    Args:
        network, batch, seed: see `posterior_of`.
        clusters: judgments of one cluster share a weight.
        refits: their number.

    Sources (from memory): weights: Newton and Raftery (1994), Approximate Bayesian inference with the weighted
    likelihood bootstrap, JRSS B 56, 3-48; shifted priors: Chen and Oliver (2012), Ensemble randomized maximum
    likelihood method as an iterative ensemble smoother, Mathematical Geosciences 44, 1-26.
    """
    data = batch.to(torch.float64) if batch.x.numel() <= PRECISE else batch
    again = copy.deepcopy(network).to(data.x.dtype).train(network.training)
    learned = {name: p for name, p in again.named_parameters() if p.requires_grad}
    fitted = {name: p.detach().clone() for name, p in learned.items()}
    widths, prior = _prior_widths(again, learned), _Prior(again)
    random = np.random.default_rng([seed, 32_452_843])
    place, shape = _units(again, data, clusters)
    total = sum(float(rows.weight.sum()) for rows in data.judgments())
    goal = 0.02 / math.sqrt(total)  # deviations make gradients of the order of 1 / sqrt(total)
    ends: dict[str, list[Tensor]] = {name: [] for name in learned}
    at_fit = _total(again, data, seed)
    strayed: list[bool] = []
    for _ in range(refits):
        factor = torch.from_numpy((random.gamma(shape) / shape)[place])
        shifts = {name: torch.from_numpy(random.standard_normal(width.shape)) * width for name, width in widths.items()}

        def value(factor: Tensor = factor, shifts: Mapping[str, Tensor] = shifts) -> Tensor:
            torch.default_generator.manual_seed(seed)  # latent tastes, where they are drawn, are the same each time
            cost = again.objective(data)
            # A pull by a constant force instead would win against priors whose own force is bounded.
            moved = {f"network.{name}": learned[name] + shift for name, shift in shifts.items()}
            penalty: Tensor = functional_call(prior, moved, ())
            return ((factor * cost.per_unit.double()).sum() + cost.extra + penalty) / cost.weight

        with torch.no_grad():
            for name, p in learned.items():
                p.copy_(fitted[name])
        with torch.random.fork_rng(devices=[]):
            minimise(learned.values(), value, tolerance=goal, max_iterations=_ITERATIONS)
        for name, p in learned.items():
            ends[name].append(p.detach().clone())
        strayed.append(_behind_a_ridge(again, data, seed, learned, fitted, at_fit))
    kept = ~torch.tensor(strayed)
    notes: tuple[str, ...] = ()
    if bool((~kept).any()):
        notes = (
            f"{int((~kept).sum())} of {refits} refits ended in another optimum than the fit: the judgments do not say "
            "which is right, and draws and uncertainty are those around the fit alone.",
        )
    if int(kept.sum()) < 2:
        raise NotComputable(
            f"of {refits} refits to reweighted judgments {int((~kept).sum())} ended in another optimum than the fit, "
            "so there is no spread around it. The judgments do not determine this model."
        )
    factors = {}
    for name, values in ends.items():
        found = torch.stack(values)[kept]
        factors[name] = ((found - found.mean(0)) / math.sqrt(len(found) - 1)).numpy()
    return Posterior(factors, notes)


@torch.no_grad()
def _total(network: Network, batch: Batch, seed: int) -> float:
    """The objective on the judgments as they are, in nats."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        cost = network.objective(batch)
    return float(cost.per_unit.double().sum() + cost.extra + cost.penalty)


@torch.no_grad()
def _behind_a_ridge(
    network: Network,
    batch: Batch,
    seed: int,
    learned: Mapping[str, Tensor],
    fitted: Mapping[str, Tensor],
    at_fit: float,
) -> bool:
    """Whether the way from the fit to where the network is now leads over a ridge; the network comes back as it is.

    Inside one optimum the objective half way is a quarter of the way up. Above both ends it is a ridge between two.
    """
    there = {name: p.detach().clone() for name, p in learned.items()}
    at_end = _total(network, batch, seed)
    for name, p in learned.items():
        p.copy_((there[name] + fitted[name]) / 2)
    half_way = _total(network, batch, seed)
    for name, p in learned.items():
        p.copy_(there[name])
    return half_way > max(at_fit, at_end) + _RIDGE


def _units(network: Network, batch: Batch, clusters: Codes | None) -> tuple[Codes, Floats]:
    """Which weight each unit of the objective takes, and the shape parameters of the weights' gamma distributions."""
    with torch.no_grad():
        evidence = network.evidence(batch)
    if evidence.unit is not None:
        assert evidence.log_weights is not None
        size = len(evidence.log_weights)
        return np.arange(size), np.ones(size)
    if clusters is not None:
        place = np.unique(clusters, return_inverse=True)[1]
        return place, np.ones(place.max() + 1)
    # A row that stands for c judgments has the mean of c exponential weights.
    counts = torch.cat([rows.weight for rows in batch.judgments()]).double().numpy()
    return np.arange(len(counts)), np.maximum(counts, 1.0)


def _prior_widths(network: Network, learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Standard deviations of the (diagonal) priors, by which draws shift them: from second derivatives at the fit.

    0 where a prior is flat: it has no place that could be shifted.
    """
    if not network.penalty().requires_grad:
        return {}
    step, values = 0.01, list(learned.values())
    slopes = []
    for side in (1.0, -1.0):
        with torch.no_grad():
            for p in values:
                p.add_(side * step)
        slopes.append(torch.autograd.grad(network.penalty(), values, allow_unused=True))
        with torch.no_grad():
            for p in values:
                p.sub_(side * step)
    widths = {}
    for name, up, down in zip(learned, *slopes):
        if up is not None and down is not None:
            precision = ((up - down) / (2 * step)).clamp(min=0)
            widths[name] = torch.where(precision > 0, precision.clamp(min=1e-12).rsqrt(), 0.0)
    return widths


class _Prior(nn.Module):
    """The negative log-prior of a network as a function of its parameters, for `functional_call`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self) -> Tensor:
        return self.network.penalty()


def _cholesky(information: Information) -> Floats:
    """Lower Cholesky factor of the second derivatives.

    Raises:
        NotComputable: they are not positive definite.
    """
    try:
        lower: Floats = cholesky(information.dense(), lower=True)
    except np.linalg.LinAlgError:
        raise NotComputable(
            "the data and the priors leave some parameters undetermined, so there is no posterior. Use a ridge above 0."
        ) from None
    return lower


def _split(network: Network, factor: Floats) -> Posterior:
    """A factor [k, parameters] as pieces of the parameters of a linear network: weights, coefficients, shape."""
    learned = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert factor.shape[1] == sum(p.numel() for p in learned.values())
    ends = np.cumsum([p.numel() for p in learned.values()])
    pieces = np.split(factor, ends[:-1], axis=1)
    return Posterior({name: piece.reshape(len(factor), *p.shape) for (name, p), piece in zip(learned.items(), pieces)})
