"""The gradient of one step equals that of the one big batch, however it was split and shared out."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from preflearn.errors import InputError  # noqa: E402
from preflearn.train import Diverged, Loss  # noqa: E402
from preflearn.train.gradient import StepGradient  # noqa: E402
from preflearn.train.processes import Processes  # noqa: E402
from preflearn.train.types import Step  # noqa: E402
from tests.train.makers import linear, log_losses, logistic, weighted  # noqa: E402

ROWS = 24
DATA = logistic(ROWS)


def pieces(cuts: list[int]) -> list[dict[str, torch.Tensor]]:
    edges = [0, *sorted(cuts), ROWS]
    return [{k: v[a:b] for k, v in DATA.items()} for a, b in pairwise(edges)]


def gradient(
    batches: list[Any], loss: Any = weighted, clip: float | None = None, processes: Processes | None = None
) -> tuple[Step, list[torch.Tensor]]:
    module = linear()
    compute = StepGradient(
        module,
        loss,
        dict(module.named_parameters()),
        processes=processes or Processes.alone(),
        forward=nullcontext(),
        clip=clip,
    )
    step = compute(batches, lambda number: None, "Step 7 (epoch 2)")
    return step, [parameter.grad for parameter in module.parameters()]


def by_hand() -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Loss, penalty and gradient of the whole batch from their definition."""
    module = linear()
    parameters = list(module.parameters())
    loss = (DATA["w"] * log_losses(module, DATA)).sum() / DATA["w"].sum()
    penalty = sum(0.3 * parameter.square().sum() for parameter in parameters)
    return loss, penalty, list(torch.autograd.grad(loss + penalty, parameters))


@given(st.lists(st.integers(1, ROWS - 1), max_size=6, unique=True))
@settings(max_examples=40, deadline=None)
def test_any_split_gives_loss_gradient_and_metrics_of_the_big_batch(cuts: list[int]) -> None:
    """Uneven micro-batches, uneven weights, a penalty: 1 x 4 = 4 x 1 = any other split, to rounding."""
    step, grads = gradient(pieces(cuts))
    loss, penalty, expected = by_hand()
    assert step.loss == pytest.approx(loss.item(), abs=1e-13)
    assert step.penalty == pytest.approx(penalty.item(), abs=1e-13)
    assert step.weight == pytest.approx(DATA["w"].sum().item(), abs=1e-12)
    for ours, theirs in zip(grads, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    norm = torch.cat([g.reshape(-1) for g in expected]).norm().item()
    assert step.gradient_norm == pytest.approx(norm, abs=1e-12)
    assert step.metrics["each"] == pytest.approx(float((DATA["w"] * DATA["x"][:, 0]).sum() / DATA["w"].sum()))
    assert (step.records, step.tokens) == (ROWS, 2 * ROWS)


def test_scalar_metrics_count_with_the_weight_of_their_micro_batch() -> None:
    parts = pieces([5])
    step, _ = gradient(parts)
    shares = [float(part["w"].sum()) for part in parts]
    expected = sum(share * float(part["y"][0]) for share, part in zip(shares, parts)) / sum(shares)
    assert step.metrics["mean_y"] == pytest.approx(expected)


def test_without_weights_every_example_counts_once() -> None:
    step, grads = gradient(pieces([3, 4]), lambda m, b: Loss(log_losses(m, b)))
    module = linear()
    loss = log_losses(module, DATA).mean()
    assert step.loss == pytest.approx(loss.item(), abs=1e-14)
    for ours, theirs in zip(grads, torch.autograd.grad(loss, list(module.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cuts", [[], [7]])
def test_a_penalty_alone_and_micro_batches_without_gradient_are_fine(cuts: list[int]) -> None:
    step, grads = gradient(pieces(cuts), lambda m, b: Loss(b["y"], b["w"], (m.weight * 3).sum()))
    assert step.loss == pytest.approx(float((DATA["w"] * DATA["y"]).sum() / DATA["w"].sum()))
    torch.testing.assert_close(grads[0], torch.full((1, 5), 3.0, dtype=torch.float64))
    assert grads[1] is None


@pytest.mark.parametrize("cuts", [[], [5, 11]])
def test_clipping_bounds_the_norm_and_keeps_the_direction(cuts: list[int]) -> None:
    free, whole = gradient(pieces(cuts))
    limit = free.gradient_norm / 3
    step, grads = gradient(pieces(cuts), clip=limit)
    assert step.gradient_norm == pytest.approx(free.gradient_norm)
    for clipped, full in zip(grads, whole, strict=True):
        torch.testing.assert_close(clipped, full / 3)
    _, untouched = gradient(pieces(cuts), clip=2 * free.gradient_norm)
    assert all(torch.equal(a, b) for a, b in zip(untouched, whole))


def test_half_precision_losses_are_summed_in_float32() -> None:
    """2049 ones sum to 2048 in bfloat16 and to less in float16's neighbourhood; means must still be 1."""
    module = linear()
    batch = {"x": torch.ones(2049, 5, dtype=torch.float64)}

    def ones(module: nn.Module, batch: Any) -> Loss:
        return Loss((module(batch["x"]).squeeze(-1) * 0 + 1).to(torch.bfloat16))

    compute = StepGradient(
        module, ones, dict(module.named_parameters()), processes=Processes.alone(), forward=nullcontext()
    )
    assert compute([batch], lambda n: None, "").loss == 1.0


class Threads(Processes):
    """Processes that are threads: sums and objects meet at a barrier."""

    def __init__(self, rank: int, size: int, barrier: threading.Barrier, table: dict[int, Any]) -> None:
        self.accelerator, self.rank, self.size = None, rank, size
        self._barrier, self._table = barrier, table

    def gather(self, item: Any) -> list[Any]:
        self._table[self.rank] = item
        self._barrier.wait(20)
        items = [self._table[rank] for rank in range(self.size)]
        self._barrier.wait(20)
        return items

    def total(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.copy_(sum(self.gather(tensor.clone())))


def shared(share: list[list[Any]], loss: Any = weighted) -> list[Any]:
    barrier, table = threading.Barrier(len(share)), {}
    results: list[Any] = [None] * len(share)

    def work(rank: int) -> None:
        try:
            results[rank] = gradient(share[rank], loss, processes=Threads(rank, len(share), barrier, table))
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(share))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


@pytest.mark.parametrize("split", [(1, 3), (2, 2), (4, 0), (0, 4)], ids=str)
def test_processes_with_different_weights_give_the_one_process_gradient(split: tuple[int, int]) -> None:
    """Also when one of them has no micro-batch left."""
    parts = pieces([2, 9, 10])
    loss, penalty, expected = by_hand()
    for step, grads in shared([parts[: split[0]], parts[split[0] :]]):
        assert step.loss == pytest.approx(loss.item(), abs=1e-13)
        assert step.penalty == pytest.approx(penalty.item(), abs=1e-13)
        assert step.records == ROWS
        for ours, theirs in zip(grads, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


def test_processes_fail_together() -> None:
    bad = {**DATA, "x": DATA["x"].clone()}
    bad["x"][3] = float("inf")
    results = shared([[DATA], [bad]])
    assert all(isinstance(result, Diverged) for result in results)


def test_a_loss_that_is_not_finite_names_step_and_micro_batch() -> None:
    parts = pieces([6, 12])
    parts[1] = {**parts[1], "w": parts[1]["w"].clone(), "x": parts[1]["x"] * float("nan")}
    with pytest.raises(Diverged, match=r"Step 7 \(epoch 2\): the loss of micro-batch 2 of 3 is nan"):
        gradient(parts)


def test_a_gradient_that_is_not_finite_names_the_parameter() -> None:
    def root(module: nn.Linear, batch: Any) -> Loss:
        return Loss(log_losses(module, batch) + (module.bias * 0).sqrt())

    with pytest.raises(Diverged, match="the gradient of bias is not finite"):
        gradient([DATA], root)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda m, b: log_losses(m, b), "returned Tensor"),
        (lambda m, b: Loss(log_losses(m, b).mean()), r"per_example has shape \[\]"),
        (lambda m, b: Loss(log_losses(m, b), b["w"][:, None]), r"weight has shape \[24, 1\]"),
        (lambda m, b: Loss(log_losses(m, b), b["w"] * 0), "sum to 0"),
        (lambda m, b: Loss(log_losses(m, b), penalty=m.bias), r"penalty has shape \[1\]"),
        (lambda m, b: Loss(log_losses(m, b).detach()), "depends on no trained parameter"),
        (lambda m, b: Loss(log_losses(m, b), b["w"], metrics={"m": b["x"]}), "metric 'm' has shape"),
    ],
)
def test_losses_that_cannot_be_used_say_why(loss: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        gradient([DATA], loss)


def test_an_infinite_penalty_is_an_error_of_its_own() -> None:
    with pytest.raises(Diverged, match="penalty is inf"):
        gradient([DATA], lambda m, b: Loss(log_losses(m, b), penalty=m.bias.sum() * 0 + float("inf")))
