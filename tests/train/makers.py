"""Small problems to train on, shared by the tests of the loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from preflearn.train import InMemorySource, Loss, tensor_rows


def logistic(rows: int = 96, dim: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Rows ``x``, noisy labels ``y`` and uneven weights ``w`` of a logistic model."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, dim, generator=random, dtype=dtype)
    truth = torch.randn(dim, generator=random, dtype=dtype)
    y = torch.bernoulli(torch.sigmoid(x @ truth), generator=random)
    return {"x": x, "y": y, "w": torch.rand(rows, generator=random, dtype=dtype) + 0.1}


def linear(dim: int = 5, seed: int = 1, dtype: torch.dtype = torch.float64) -> nn.Linear:
    module = nn.Linear(dim, 1, dtype=dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed), dtype=dtype))
    return module


def log_losses(module: nn.Module, batch: Any) -> Tensor:
    return binary_cross_entropy_with_logits(module(batch["x"]).squeeze(-1), batch["y"], reduction="none")


def log_loss(module: nn.Module, batch: Any) -> Loss:
    return Loss(log_losses(module, batch))


def weighted(module: nn.Module, batch: Any) -> Loss:
    """Weights, a prior on the parameters, and metrics of both kinds."""
    losses = log_losses(module, batch)
    prior = sum(0.3 * parameter.square().sum() for parameter in module.parameters())
    return Loss(losses, batch["w"], prior, {"each": batch["x"][:, 0], "mean_y": batch["y"][0]}, tokens=2 * len(losses))


def source(data: dict[str, Tensor], batch_size: int = 8, **options: Any) -> InMemorySource:
    return InMemorySource(len(data["y"]), tensor_rows(**data), batch_size=batch_size, **options)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
