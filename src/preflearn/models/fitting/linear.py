"""A network whose logits are linear in the features, seen as the problem that `newton` solves, and back.

This is where it is decided whether exact Newton applies; every other file only asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from preflearn.choice.modules import LinkModule
from preflearn.models.base import NoiseModule
from preflearn.models.batch import Batch, Pairs
from preflearn.models.heads import Layered
from preflearn.models.kernels.difference import DifferenceModule
from preflearn.models.network import Network
from preflearn.models.outcomes import Choice
from preflearn.models.population.everyone import EveryoneModule
from preflearn.models.population.mixture import MixtureModule
from preflearn.models.solvers.design import Design, Floats
from preflearn.models.solvers.penalised import Parameters, Prior, Problem

_MANY = 64
"""Coefficients of noise that still count as a few columns."""


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear network on its training judgments.

    Attributes:
        problem: for `newton`.
        weights: the parameter behind its weights, [C, d].
        coefficients: parameters behind its coefficients, in order, p numbers together.
        free: the parameter behind the link's free shape parameters, [P].
    """

    problem: Problem
    weights: Tensor
    coefficients: tuple[nn.Parameter, ...]
    free: nn.Parameter

    def parameters(self) -> Parameters:
        """What the network holds."""
        flat = [p.detach().double().reshape(-1).numpy() for p in self.coefficients]
        return Parameters(
            self.weights.detach().double().numpy().copy(),
            np.concatenate([np.zeros(0), *flat]),
            self.free.detach().double().numpy().copy(),
        )

    @torch.no_grad()
    def write(self, found: Parameters) -> None:
        """Put parameters into the network."""
        self.weights.copy_(torch.from_numpy(found.weights))
        self.free.copy_(torch.from_numpy(found.free))
        pieces = np.split(found.coefficients, np.cumsum([p.numel() for p in self.coefficients]))
        for parameter, piece in zip(self.coefficients, pieces):
            parameter.copy_(torch.from_numpy(piece).reshape(parameter.shape))


def is_linear(network: Network, batch: Batch) -> bool:
    """Whether there are only comparisons, and their logits are linear in the features.

    One linear channel, differences, everyone alike, a shared link, noise that shifts logits by few coefficients.
    """
    return type(network.population) is EveryoneModule and _linear_channels(network, batch)


def _linear_channels(network: Network, batch: Batch) -> bool:
    """`is_linear`, but for any number of channels, whoever they belong to."""
    head, outcomes = network.head, list(network.outcomes)
    if not (type(head) is Layered and head.linear and head.channels == network.population.channels):
        return False
    if len(list(head.parameters())) > 1:  # a bias
        return False
    if not (head.width == 1 and type(network.kernel) is DifferenceModule):
        return False
    if not (len(outcomes) == 1 and type(outcomes[0]) is Choice and type(outcomes[0].shape) is LinkModule):
        return False
    return batch.pairs is not None and len(batch) == len(batch.pairs) and all(map(_shifts, network.noises))


def scales_itself(network: Network, batch: Batch) -> bool:
    """Whether everything that sees the training features of this network looks at differences of pairs only.

    Their standardisation can then be left to the fit: the mean cancels, and weights take the scale.
    """
    plain = all(getattr(type(noise), "relabelled") is NoiseModule.relabelled for noise in network.noises)  # noqa: B009
    return plain and is_linear(network, batch)


def linear_of(network: Network, batch: Batch) -> Linear | None:
    """The network as a linear problem, or None where `is_linear` says no."""
    return _linear(network, batch) if is_linear(network, batch) else None


def components_of(network: Network, batch: Batch) -> Linear | None:
    """The components of a mixture as channels of one linear problem; None where they are not linear.

    Its weights are those of the comparisons: who belongs where makes them weights of the channels.
    """
    mixed = type(network.population) is MixtureModule and _linear_channels(network, batch)
    return _linear(network, batch) if mixed else None


def _linear(network: Network, batch: Batch) -> Linear:
    head, choice, rows = network.head, network.choice, batch.pairs
    assert isinstance(head, Layered) and rows is not None
    columns, offset, coefficients = _columns(network, rows)
    scale = None if batch.scale is None else batch.scale.numpy()
    problem = Problem(
        Design(batch.x.numpy(), rows.a.numpy(), rows.b.numpy(), columns=columns, offset=offset, scale=scale),
        choice.link,
        rows.target.double().numpy(),
        rows.weight.double().numpy(),
        ridge=network.ridge,
        prior=_prior(network, coefficients, choice.shape.free),
    )
    return Linear(problem, head.last.weight, coefficients, choice.shape.free)


def _shifts(noise: nn.Module) -> bool:
    """Whether this noise does nothing but add to logits, and with few coefficients."""
    kind = type(noise)
    others = ("observed", "reweighed", "settle")
    if any(getattr(kind, name) is not getattr(NoiseModule, name) for name in others):
        return False
    return sum(p.numel() for p in noise.parameters()) <= _MANY


@torch.no_grad()
def _columns(network: Network, rows: Pairs) -> tuple[Floats, Floats | None, tuple[nn.Parameter, ...]]:
    """Columns [n, p] by which coefficients shift logits, what is added without them, and the coefficients.

    A shift that is linear in its coefficients is known from its values at the unit vectors.
    """
    parameters = tuple(p for noise in network.noises for p in noise.parameters())
    held = [p.clone() for p in parameters]

    def shift() -> Tensor:
        found = [noise.shift(rows) for noise in network.noises]  # type: ignore[operator]
        given = [each.double() for each in found if each is not None]
        return torch.stack(given).sum(0) if given else torch.zeros(len(rows), dtype=torch.float64)

    for p in parameters:
        p.zero_()
    base, columns = shift(), []
    for p in parameters:
        for place in range(p.numel()):
            p.view(-1)[place] = 1.0
            columns.append(shift() - base)
            p.view(-1)[place] = 0.0
    for p, value in zip(parameters, held):
        p.copy_(value)
    matrix = torch.stack(columns, dim=1) if columns else base.new_zeros(len(rows), 0)
    return matrix.numpy(), base.numpy() if bool(base.any()) else None, parameters


class _Penalty(nn.Module):
    """Minus the log-prior of noises and outcome as a function of their parameters."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.noises, self.outcomes = network.noises, network.outcomes

    def forward(self) -> Tensor:
        parts = [each.penalty() for each in (*self.noises, *self.outcomes)]
        return torch.stack([part.double().reshape(()) for part in parts]).sum()


def _prior(network: Network, coefficients: tuple[nn.Parameter, ...], free: nn.Parameter) -> Prior | None:
    """The prior of coefficients and free shape parameters together; None where there is none."""
    module = _Penalty(network)
    if not module().requires_grad:
        return None
    wanted = [*coefficients, free]
    names = {id(p): name for name, p in module.named_parameters()}
    sizes = [p.numel() for p in wanted]

    def value(flat: Tensor) -> Tensor:
        pieces = zip(wanted, torch.split(flat, sizes))
        given = {names[id(p)]: piece.reshape(p.shape) for p, piece in pieces if id(p) in names}
        result: Tensor = functional_call(module, given)
        return result

    def prior(shared: Floats) -> tuple[float, Floats, Floats]:
        place = torch.tensor(shared, requires_grad=True)
        total = value(place)
        (slope,) = torch.autograd.grad(total, place)
        bend: Tensor = hessian(value, place.detach())  # type: ignore[no-untyped-call]
        return float(total.detach()), slope.numpy(), bend.numpy()

    return prior
