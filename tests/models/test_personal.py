"""Newton's method for many units: against general optimisers, dense algebra and honest refits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from preflearn.choice import Binary, Davidson, Flip
from preflearn.models.solvers.personal import Blocks, derivatives

COUNTS = (0, 1, 2, 3, 5, 9, 14, 4)
SIZE = 4  # units with fewer rows are solved through their rows


@pytest.fixture(params=["binary", "davidson"])
def problem(request):
    rng = np.random.default_rng(5)
    unit = np.concatenate([np.repeat(np.arange(len(COUNTS)), COUNTS), [-1, -1]])
    rng.shuffle(unit)
    n = len(unit)
    design, base = torch.tensor(rng.standard_normal((n, SIZE))), torch.tensor(rng.standard_normal(n))
    link = Binary() if request.param == "binary" else Davidson()
    shape = () if request.param == "binary" else (0.7,)
    target = torch.tensor(np.eye(len(link.outcomes))[rng.integers(len(link.outcomes), size=n)])
    weight = torch.tensor(rng.uniform(0.5, 3, n))

    def log_prob(values):
        return weight * link.log_prob(target, values, shape)

    blocks = Blocks(torch.tensor(unit), len(COUNTS), SIZE)
    return blocks, design, base, log_prob


def objective(problem, e):
    blocks, design, base, log_prob = problem
    own = torch.where(blocks.unit >= 0, (design * e[blocks.unit.clamp(min=0)]).sum(-1), 0.0)
    return log_prob(base + own).sum() - e.square().sum() / 2


def test_solution_is_that_of_a_general_optimiser(problem):
    blocks, design, base, log_prob = problem
    solved = blocks.see(design).solve(base, log_prob)
    e = blocks.coefficients(design, solved)

    def loss(flat):
        at = torch.tensor(flat.reshape(e.shape), requires_grad=True)
        value = -objective(problem, at)
        value.backward()
        return value.item(), at.grad.numpy().ravel()

    found = minimize(loss, np.zeros(e.numel()), jac=True, method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(e.numpy().ravel(), found.x, atol=1e-5)
    assert (e[0] == 0).all()  # no rows, nothing known
    own = torch.where(blocks.unit >= 0, (design * e[blocks.unit.clamp(min=0)]).sum(-1), 0.0)
    np.testing.assert_allclose(solved.personal, own, atol=1e-10)
    np.testing.assert_allclose(solved.squares, e.square().sum(1), atol=1e-10)
    scaled = blocks.see(design).scaled(0.3).solve(base, log_prob)
    np.testing.assert_allclose(scaled.personal, blocks.see(0.3 * design).solve(base, log_prob).personal, atol=1e-8)


def test_covariance_is_the_inverse_of_second_derivatives(problem):
    blocks, design, base, log_prob = problem
    solved = blocks.see(design).solve(base, log_prob)
    e = blocks.coefficients(design, solved)
    hessian = torch.autograd.functional.hessian(lambda flat: -objective(problem, flat.reshape(e.shape)), e.reshape(-1))
    whole = torch.linalg.inv(hessian)
    cells = [slice(u * SIZE, (u + 1) * SIZE) for u in range(1, len(COUNTS))]  # unit 0 has no rows
    expected = sum(whole[cell, cell] for cell in cells)
    curvature = solved.bends.curvature
    np.testing.assert_allclose(blocks.covariance(design, curvature, "full"), expected, atol=1e-8)
    np.testing.assert_allclose(blocks.covariance(design, curvature, "diagonal"), expected.diagonal(), atol=1e-8)
    np.testing.assert_allclose(blocks.covariance(design, curvature, "isotropic"), expected.trace(), atol=1e-8)


def test_leaving_out_a_row_is_close_to_solving_without_it(problem):
    blocks, design, base, log_prob = problem
    view = blocks.see(design)
    solved = view.solve(base, log_prob)
    quick = view.without_itself(solved)
    rows, honest = torch.cat([torch.nonzero(blocks.unit == u)[:2, 0] for u in (1, 3, 5, 6)]), []
    for row in rows.tolist():
        kept = torch.ones(len(base), dtype=base.dtype)
        kept[row] = 0
        honest.append(view.solve(base, lambda values, kept=kept: kept * log_prob(values)).personal[row])
    honest = torch.stack(honest)
    error, moved = (quick[rows] - honest).square().mean(), (solved.personal[rows] - honest).square().mean()
    assert error < 0.02 * moved
    assert (quick[blocks.unit < 0] == 0).all()


def test_likelihood_that_is_not_concave_still_rises():
    rng = np.random.default_rng(0)
    unit, n = torch.tensor(np.repeat(np.arange(20), 15)), 300
    design = torch.tensor(3 * rng.standard_normal((n, 3)))
    link = Flip(Binary(), 0.2)
    target = torch.tensor(np.eye(2)[rng.integers(2, size=n)])
    blocks = Blocks(unit, 20, 3)

    def log_prob(values):
        return link.log_prob(target, values, (0.2,))

    solved = blocks.see(design).solve(torch.zeros(n, dtype=torch.float64), log_prob)
    e = blocks.coefficients(design, solved).requires_grad_()
    value = (log_prob((design * e[unit]).sum(-1))).sum() - e.square().sum() / 2
    assert value > log_prob(torch.zeros(n, dtype=torch.float64)).sum()
    value.backward()
    assert e.grad.abs().max() < 1e-2


def test_derivatives():
    values = torch.linspace(-3, 3, 7, dtype=torch.float64)
    bends = derivatives(lambda at: 2 * torch.nn.functional.logsigmoid(at), values)
    p = torch.sigmoid(values)
    np.testing.assert_allclose(bends.slope, 2 * (1 - p), atol=1e-14)
    np.testing.assert_allclose(bends.curvature, 2 * p * (1 - p), atol=1e-14)
