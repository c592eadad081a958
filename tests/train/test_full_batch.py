"""L-BFGS over all data: closed forms, another library's answer, how it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from torch import nn  # noqa: E402

from preflearn.errors import InputError  # noqa: E402
from preflearn.train import Diverged, Loss, fit_full_batch, minimise  # noqa: E402
from tests.train.makers import linear, log_loss, log_losses, logistic, weighted  # noqa: E402


def test_ridge_regression_in_closed_form() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(200, 6, generator=random, dtype=torch.float64)
    y = torch.randn(200, generator=random, dtype=torch.float64)
    coefficient = nn.Parameter(torch.zeros(6, dtype=torch.float64))
    found = minimise([coefficient], lambda: (x @ coefficient - y).square().mean() + coefficient.square().sum())
    exact = torch.linalg.solve(x.T @ x / 200 + torch.eye(6, dtype=torch.float64), x.T @ y / 200)
    torch.testing.assert_close(coefficient.detach(), exact, rtol=0, atol=1e-6)
    assert found.reason == "gradient"
    assert found.converged
    assert found.gradient <= 1e-6
    assert coefficient.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_logistic_regression_equals_scikit_learn(dtype: torch.dtype) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    data = logistic(3000, 40, dtype=dtype)
    module = linear(40, dtype=dtype)
    ridge = 0.5 / 3000

    def loss(module: nn.Module, batch: Any) -> Loss:
        return Loss(log_losses(module, batch), penalty=ridge * module.weight.square().sum())

    found = fit_full_batch(module, loss, [data])
    theirs = linear_model.LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(data["x"], data["y"])
    assert found.converged
    np.testing.assert_allclose(module.weight.detach().numpy(), theirs.coef_, atol=2e-4)


def test_chunks_are_one_batch() -> None:
    data = logistic(100)
    whole, split = linear(), linear()
    one = fit_full_batch(whole, weighted, [data])
    many = fit_full_batch(split, weighted, [{k: v[a : a + 30] for k, v in data.items()} for a in range(0, 100, 30)])
    assert one.value == pytest.approx(many.value, abs=1e-12)
    torch.testing.assert_close(whole.weight, split.weight, rtol=0, atol=1e-6)


def test_rosenbrock_from_a_far_start() -> None:
    point = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    found = minimise([point], lambda: (1 - point[0]) ** 2 + 100 * (point[1] - point[0] ** 2) ** 2)
    assert found.converged
    torch.testing.assert_close(point.detach(), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-5)


def test_a_step_out_of_the_domain_comes_back() -> None:
    """log x is not a number below 0, where the first long step leads."""
    point = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    minimise([point], lambda: (50 * point - torch.log(point)).sum())
    assert float(point.detach()) == pytest.approx(1 / 50, rel=1e-4)


def test_how_it_ended_is_said() -> None:
    data = logistic(500, 30)
    module = linear(30)
    cut = fit_full_batch(module, log_loss, [data], max_iterations=2)
    assert (cut.reason, cut.iterations, cut.converged) == ("iterations", 2, False)
    full = fit_full_batch(module, log_loss, [data], tolerance=1e-8)
    again = fit_full_batch(module, log_loss, [data], tolerance=1e-7)
    assert full.value < cut.value
    assert (again.reason, again.iterations) == ("gradient", 0)
    assert again.value == pytest.approx(log_losses(module, data).mean().item(), abs=1e-14)


def test_the_limit_of_float32_is_progress_and_a_wrong_gradient_is_not() -> None:
    data = logistic(2000, 30, dtype=torch.float32)
    module = linear(30, dtype=torch.float32)
    found = minimise(module.parameters(), lambda: log_losses(module, data).mean(), tolerance=1e-12)
    assert found.reason == "progress"
    assert found.gradient < 1e-3

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.square().sum()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return -gradient * torch.ones(2, dtype=torch.float64)

    point = nn.Parameter(torch.ones(2, dtype=torch.float64))
    assert minimise([point], lambda: Wrong.apply(point)).reason == "line_search"


def test_parameters_of_the_loss_take_part_and_frozen_ones_do_not() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros((), dtype=torch.float64))

        def forward(self, module: nn.Module, batch: Any) -> Loss:
            return Loss((module(batch["x"]).squeeze(-1) - self.shift - batch["y"]).square())

    module, loss = linear().requires_grad_(False), Shifted()
    data = logistic(50)
    fit_full_batch(module, loss, [data])
    exact = (module(data["x"]).squeeze(-1) - data["y"]).mean()
    assert loss.shift.item() == pytest.approx(exact.item(), abs=1e-6)


def test_what_cannot_be_fitted_is_said() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    with pytest.raises(Diverged, match="not finite at the starting point"):
        minimise([parameter], lambda: (parameter / 0).sum())
    with pytest.raises(InputError, match="depends on none"):
        minimise([parameter], lambda: torch.zeros(()))
    with pytest.raises(InputError, match="nothing to fit"):
        minimise([torch.zeros(1)], lambda: torch.zeros(()))
    with pytest.raises(InputError, match="no batches"):
        fit_full_batch(linear(), log_loss, [])
    with pytest.raises(Diverged, match="starting point"):
        fit_full_batch(linear(), lambda m, b: Loss(log_losses(m, b) / 0), [logistic(5)])
