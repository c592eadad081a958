"""Min-norm weights of tasks: reward models that improve on every data source at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from preflearn.choice.multitask import min_norm
from preflearn.data import PreferenceData
from preflearn.data.columns import attach
from preflearn.errors import InputError
from preflearn.models.base import Part
from preflearn.models.batch import Batch
from preflearn.models.bounds import Count, Positive
from preflearn.models.fitting.full_batch import Report
from preflearn.models.network import Network
from preflearn.models.parts import part


@part("fitting", "min_norm")
@dataclass(frozen=True)
class MinNorm(Part):
    """Gradient descent along the shortest convex combination of the tasks' gradients.

    Each step weighs the mean losses of the tasks by the weights that make the combined gradient of the head shortest;
    with normalised gradients no task gets worse to first order along the combined direction. With ``normalise`` the
    weights come from gradients of length 1 and are applied to them, so that the direction is one of common descent;
    the official code applies such weights to the losses as they are, which is not.

    Attributes:
        tasks: column that names the task of a judgment (`source`, `criterion_id`, `prompts.category`, ...).
        steps: gradient steps.
        rate: length of a step of Adam.
        normalise: gradients of length 1.

    Source: Zeng et al. (2023), On diversified preferences of large language model alignment (MORE), arXiv 2312.07401,
    and its official code; Desideri (2012), C. R. Math. 350, 313-318.
    """

    tasks: str = "source"
    steps: Count = 300
    rate: Positive = 0.01
    normalise: bool = True

    def columns(self) -> Mapping[str, str]:
        return {"task": self.tasks}

    def check(self, data: PreferenceData) -> None:
        attach(data, "comparisons", {"__task": self.tasks})

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        if batch.pairs is None:
            raise InputError("tasks are learned from comparisons.")
        network.to(batch.x.dtype)
        task = batch.pairs.who.columns["task"]
        present = torch.unique(task[task >= 0]).tolist()
        if len(present) < 2:
            raise InputError(
                f"{len(present)} tasks are recorded; weights need two or more.",
                column=self.tasks,
                cure="Use bradley_terry.",
            )
        parts = [batch.only(pairs=torch.nonzero(task == k)[:, 0]) for k in present]
        head = [p for p in network.head.parameters() if p.requires_grad]
        everything = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(everything, lr=self.rate)
        total = sum(float(part.pairs.weight.sum()) for part in parts if part.pairs is not None)
        losses: list[Tensor] = []
        weights = torch.full((len(parts),), 1 / len(parts))
        for _ in range(self.steps):
            losses = [self._mean(network, part) for part in parts]
            prior = network.penalty() / total
            gradients = torch.stack([_flat(torch.autograd.grad(loss, head, retain_graph=True)) for loss in losses])
            if self.normalise:
                gradients = gradients / gradients.norm(dim=1, keepdim=True).clamp(min=1e-12)
            weights = min_norm(gradients @ gradients.T)
            optimiser.zero_grad()
            (prior + (weights.detach() * torch.stack(losses)).sum()).backward()
            _put(head, weights @ gradients, torch.autograd.grad(network.penalty() / total, head, allow_unused=True))
            optimiser.step()
        shares = ", ".join(f"{self._name(network, k)} {w:.2f}" for k, w in zip(present, weights.tolist()))
        value = float(sum(loss.detach() for loss in losses)) * total / len(losses)
        return Report(value, self.steps, True, (value,), (f"last weights of the tasks: {shares}",))

    @staticmethod
    def _mean(network: Network, part: Batch) -> Tensor:
        cost = network.objective(part)
        return cost.per_unit.sum() / cost.weight

    def _name(self, network: Network, place: int) -> str:
        names = network.names.get("task", ())
        return names[place] if place < len(names) else str(place)


def _flat(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([g.reshape(-1) for g in gradients])


def _put(parameters: Sequence[Tensor], flat: Tensor, prior: tuple[Tensor | None, ...]) -> None:
    """Give the parameters these gradients, plus those of the prior."""
    at = 0
    for p, extra in zip(parameters, prior, strict=True):
        p.grad = flat[at : at + p.numel()].reshape(p.shape).clone()
        if extra is not None:
            p.grad += extra
        at += p.numel()
