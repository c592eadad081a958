"""What the loop does between steps: rates, evaluations, the best weights, logs, failures, state of losses."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from torch import Tensor, nn  # noqa: E402

from preflearn.errors import InputError  # noqa: E402
from preflearn.train import Diverged, Group, Loss, TrainSettings, restarts, train  # noqa: E402
from preflearn.train.log import Progress, read_log  # noqa: E402
from preflearn.train.optimizers import rate_factor  # noqa: E402
from preflearn.train.types import Step  # noqa: E402
from tests.train.makers import linear, log_loss, log_losses, logistic, same, source, weighted, weights  # noqa: E402

DATA = logistic()


def held_out(module: nn.Module) -> dict[str, float]:
    return {"log_loss": float(log_losses(module, logistic(seed=3)).mean())}


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_the_loop_is_the_loop_one_would_write(optimizer: str) -> None:
    """Two epochs by hand with torch's own (not fused) optimisers, clipping, and a cosine with warm-up."""
    settings = TrainSettings(
        epochs=2, optimizer=optimizer, lr=0.1, weight_decay=0.01, schedule="cosine", warmup=3, clip=0.4
    )
    ours, by_hand = linear(), linear()
    result = train(ours, log_loss, source(DATA), settings)

    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
    options = {"momentum": 0.9} if optimizer == "sgd" else {}
    descent = kind(by_hand.parameters(), lr=0.1, weight_decay=0.01, **options)
    losses = []
    for epoch in range(2):
        for batch in source(DATA).epoch(epoch):
            step = len(losses)
            share = (step + 1) / 3 if step < 3 else (1 + math.cos(math.pi * (step - 3) / 21)) / 2
            descent.param_groups[0]["lr"] = 0.1 * share
            descent.zero_grad()
            loss = log_losses(by_hand, batch).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(by_hand.parameters(), 0.4)
            descent.step()
            losses.append(loss.item())
    assert result.steps == 24
    assert result.losses == pytest.approx(losses, abs=1e-6)
    for mine, other in zip(ours.parameters(), by_hand.parameters()):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)


def test_accumulation_is_a_larger_batch_all_the_way() -> None:
    settings = {"epochs": 3, "lr": 0.05, "schedule": "linear"}
    whole, split = linear(), linear()
    one = train(whole, weighted, source(DATA, 24, shuffle=False), TrainSettings(**settings))
    four = train(split, weighted, source(DATA, 6, shuffle=False), TrainSettings(**settings, accumulate=4))
    assert one.losses == pytest.approx(four.losses, abs=1e-12)
    for mine, other in zip(whole.parameters(), split.parameters()):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_a_step_does_not_reach_into_the_next_epoch() -> None:
    result = train(linear(), log_loss, source(DATA, 20), TrainSettings(epochs=2, accumulate=2))
    assert result.steps == 2 * 3  # 96 rows: 5 micro-batches, so 2 + 2 + 1


def test_steps_count_over_as_many_epochs_as_needed() -> None:
    assert train(linear(), log_loss, source(DATA, 24), TrainSettings(steps=11)).steps == 11


def test_schedules() -> None:
    def factors(total: int = 10, **options: Any) -> list[float]:
        return [rate_factor(TrainSettings(**options), step, total) for step in range(total)]

    assert factors(4, warmup=2) == [0.5, 1.0, 1.0, 1.0]
    assert factors(4, warmup=0.5) == [0.5, 1.0, 1.0, 1.0]
    assert factors(5, schedule="linear", warmup=1, final=0.2) == pytest.approx([1, 1, 0.8, 0.6, 0.4])
    assert factors(4, schedule="cosine") == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2])
    assert factors(10, schedule="wsd", decay=0.4, warmup=2) == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    assert rate_factor(TrainSettings(schedule="linear", final=0.1), 99, 10) == pytest.approx(0.1)
    with pytest.raises(InputError, match="Set steps"):
        rate_factor(TrainSettings(schedule="cosine"), 0, None)


def test_groups_by_name_first_match_counts() -> None:
    """A rate of 0 keeps a parameter where it is; decay alone shrinks by (1 - lr * decay) per step."""
    module = linear()
    before = weights(module)
    groups = {"bias": Group(lr=0.0), "*": Group(lr=0.1, weight_decay=0.5)}

    def flat(module: nn.Module, batch: Any) -> Loss:
        return Loss(module(batch["x"]).squeeze(-1) * 0)

    train(module, flat, source(DATA, 96), TrainSettings(epochs=3, groups=groups))
    assert torch.equal(module.bias, before["bias"])
    torch.testing.assert_close(module.weight, before["weight"] * (1 - 0.1 * 0.5) ** 3)
    with pytest.raises(InputError, match=r"value 'head.\*'.*names are weight, bias"):
        train(linear(), log_loss, source(DATA), TrainSettings(groups={"head.*": Group(lr=0.1)}))


class Falling:
    """Held-out figures that are planned: an evaluation per call."""

    def __init__(self, *values: float) -> None:
        self.values, self.seen = list(values), []

    def __call__(self, module: nn.Module) -> dict[str, float]:
        assert not module.training
        assert not torch.is_grad_enabled()
        self.seen.append(weights(module))
        return {"log_loss": self.values[len(self.seen) - 1], "other": 1.0}


def test_early_stopping_restores_the_best_weights() -> None:
    evaluate = Falling(0.7, 0.5, 0.4, 0.41, 0.4, 0.39)
    module = linear()
    result = train(module, log_loss, source(DATA, 32), TrainSettings(epochs=9, patience=2, lr=0.1), evaluate=evaluate)
    assert result.stopped == "patience"
    assert (result.steps, len(evaluate.seen)) == (12, 5)
    assert result.best.step == 6
    assert result.best.value == result.criterion == 0.4
    assert result.best.metrics == {"log_loss": 0.4, "other": 1.0}
    assert same(weights(module), evaluate.seen[2])
    assert not same(evaluate.seen[4], evaluate.seen[2])
    assert not module.training


def test_higher_is_better_and_min_delta() -> None:
    evaluate = Falling(0.1, 0.5, 0.505, 0.52)
    settings = TrainSettings(epochs=3, higher_is_better=True, min_delta=0.01, monitor="log_loss")
    result = train(linear(), log_loss, source(DATA, 48), settings, evaluate=evaluate)
    assert [record["improved"] for record in result.evaluations] == [True, True, False, True]
    assert result.best.value == 0.52


def test_without_a_monitored_figure_the_last_weights_stay() -> None:
    evaluate = Falling(0.1, 0.5, 0.6)
    module = linear()
    settings = TrainSettings(epochs=2, monitor=None, evaluate_every=3, evaluate_first=False)
    result = train(module, log_loss, source(DATA, 24), settings, evaluate=evaluate)
    assert result.best is None
    assert [record["step"] for record in result.evaluations] == [3, 6, 8]
    assert same(weights(module), evaluate.seen[-1])
    assert result.criterion == result.losses[-1]


def test_a_figure_that_is_not_there_is_met_before_training() -> None:
    with pytest.raises(InputError, match="no 'accuracy' to monitor; it returned log_loss"):
        train(linear(), log_loss, source(DATA), TrainSettings(monitor="accuracy"), evaluate=held_out)
    with pytest.raises(InputError, match="patience needs evaluate"):
        train(linear(), log_loss, source(DATA), TrainSettings(patience=1))


def test_the_log_holds_every_step_and_evaluation(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    settings = TrainSettings(epochs=2, accumulate=2, lr=0.1, warmup=2)
    result = train(linear(), weighted, source(DATA, 24), settings, evaluate=held_out, out=tmp_path, on_step=said.append)
    lines = read_log(tmp_path / "log.jsonl")
    assert [line["event"] for line in lines] == ["start", *["evaluation", "step", "step"] * 2, "evaluation", "end"]
    steps = [line for line in lines if line["event"] == "step"]
    assert steps == json.loads(json.dumps(said))
    assert [line["loss"] for line in steps] == result.losses
    assert [line["lr"] for line in steps] == pytest.approx([0.05, 0.1, 0.1, 0.1])
    first = steps[0]
    assert (first["step"], first["epoch"], first["records"], first["tokens"]) == (1, 0, 48, 96)
    assert first["time"]["tokens_per_second"] == pytest.approx(2 * first["time"]["records_per_second"], rel=1e-3)
    assert first["gradient_norm"] > 0
    assert set(first["metrics"]) == {"each", "mean_y"}
    assert lines[0]["settings"] == json.loads(json.dumps(settings.plain()))
    assert lines[-1]["best"]["value"] == result.best.value


def test_a_metric_that_is_not_finite_is_null_in_the_log(tmp_path: Path) -> None:
    def odd(module: nn.Module, batch: Any) -> Loss:
        return Loss(log_losses(module, batch), metrics={"rate": float("nan")})

    train(linear(), odd, source(DATA, 96), out=tmp_path)
    assert read_log(tmp_path / "log.jsonl")[1]["metrics"] == {"rate": None}


def test_divergence_is_logged_and_leaves_the_weights_of_the_step_before(tmp_path: Path) -> None:
    states: list[dict[str, Tensor]] = []
    module = linear()

    def breaks(module: nn.Module, batch: Any) -> Loss:
        return Loss(log_losses(module, batch) * (float("nan") if len(states) == 3 else 1.0))

    with pytest.raises(Diverged, match=r"Step 4 \(epoch 0\): the loss is nan"):
        train(module, breaks, source(DATA, 8), out=tmp_path, on_step=lambda record: states.append(weights(module)))
    assert same(weights(module), states[-1])
    last = read_log(tmp_path / "log.jsonl")[-1]
    assert (last["event"], last["step"]) == ("diverged", 4)
    assert "loss is nan" in last["problem"]


def test_the_callers_generators_are_left_alone_and_draws_repeat() -> None:
    """Dropout and draws of numpy and Python in the loss: equal runs whatever the global state was before."""

    def noisy(module: nn.Module, batch: Any) -> Loss:
        noise = torch.rand(len(batch["y"])) + np.random.rand() + random.random()  # noqa: NPY002
        return Loss(log_losses(module, batch), noise)

    def state() -> list[Any]:
        return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]  # noqa: NPY002

    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        module = linear()
        before = state()
        results.append(train(module, noisy, source(DATA)).losses)
        assert state() == before
    assert results[0] == results[1]
    assert train(linear(), noisy, source(DATA), TrainSettings(seed=1)).losses != results[0]


class Thresholds(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, module: nn.Module, batch: Any) -> Loss:
        logit = module(batch["x"]).squeeze(-1) + self.shift
        return Loss(nn.functional.softplus(torch.where(batch["y"] > 0, -logit, logit)))


def test_parameters_of_the_loss_and_extra_ones_are_learned() -> None:
    loss, extra = Thresholds(), nn.Parameter(torch.zeros((), dtype=torch.float64))

    def with_extra(module: nn.Module, batch: Any) -> Loss:
        return loss(module, batch)._replace(penalty=(extra - 2).square())

    train(linear(), loss, source(DATA), TrainSettings(groups={"loss.*": Group(lr=0.1)}))
    assert loss.shift.abs() > 0.1
    method = Thresholds()
    train(linear(), method.forward, source(DATA), TrainSettings(lr=0.1))
    assert method.shift.abs() > 0.1
    train(linear(), with_extra, source(DATA), TrainSettings(epochs=20, lr=0.1), extra_parameters={"mean": extra})
    assert extra.item() == pytest.approx(2, abs=0.05)


class Dual:
    """Holds the mean prediction at a bound with a multiplier that the trainer steps."""

    def __init__(self, bound: float) -> None:
        self.bound, self.multiplier = bound, 0.0

    def __call__(self, module: nn.Module, batch: Any) -> Loss:
        probability = torch.sigmoid(module(batch["x"]).squeeze(-1))
        excess = probability - self.bound
        return Loss(log_losses(module, batch) + self.multiplier * excess, metrics={"excess": excess})

    def after_step(self, means: dict[str, float]) -> None:
        self.multiplier = max(0.0, self.multiplier + 0.2 * means["excess"])


def test_dual_variables_are_stepped_from_a_statistic_of_the_step() -> None:
    module, dual = linear(), Dual(0.3)
    train(module, dual, source(DATA, 48), TrainSettings(epochs=300, accumulate=2, lr=0.03))
    with torch.no_grad():
        mean = torch.sigmoid(module(DATA["x"])).mean()
    assert DATA["y"].mean() > 0.4
    assert float(mean) == pytest.approx(0.3, abs=0.01)
    assert dual.multiplier > 0.1


class Centred:
    """Losses relative to the mean score of the whole accumulated batch."""

    def before_step(self, module: nn.Module, batches: list[Any]) -> None:
        assert not torch.is_grad_enabled()
        self.mean = torch.cat([module(batch["x"]).squeeze(-1) for batch in batches]).mean()

    def __call__(self, module: nn.Module, batch: Any) -> Loss:
        return Loss((module(batch["x"]).squeeze(-1) - self.mean - batch["y"]).square())


def test_statistics_of_the_whole_batch_do_not_depend_on_accumulation() -> None:
    whole, split = linear(), linear()
    train(whole, Centred(), source(DATA, 24, shuffle=False), TrainSettings(lr=0.1))
    train(split, Centred(), source(DATA, 6, shuffle=False), TrainSettings(lr=0.1, accumulate=4))
    torch.testing.assert_close(whole.weight, split.weight, rtol=0, atol=1e-12)


def test_an_update_of_two_phases_solves_a_game_that_one_phase_does_not() -> None:
    """min_x max_y xy from (1, 1): gradient play circles outwards, extragradient goes to (0, 0)."""

    class Game(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.point = nn.Parameter(torch.ones(2, dtype=torch.float64))

    def play(module: Game, batch: Any) -> Loss:
        # The gradient of x y with its second component turned: y climbs.
        x, y = module.point
        return Loss((x * y.detach() - x.detach() * y)[None])

    def extragradient(optimizer: torch.optim.Optimizer, gradient: Any) -> Step:
        points = [p for group in optimizer.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in points]
        gradient()
        optimizer.step()
        step = gradient()
        with torch.no_grad():
            for point, held in zip(points, before):
                point.copy_(held)
        optimizer.step()
        return step

    settings = TrainSettings(epochs=200, optimizer="sgd", betas=(0, 0), lr=0.3)
    data = {"y": torch.zeros(1)}
    one, two = Game(), Game()
    train(one, play, source(data, 1), settings)
    train(two, play, source(data, 1), settings, update=extragradient)
    assert one.point.norm() > 100
    assert two.point.norm() < 0.01


def test_bfloat16_autocast_reaches_the_forward_pass_only() -> None:
    seen = []

    def spy(module: nn.Module, batch: Any) -> Loss:
        score = module(batch["x"]).squeeze(-1)
        seen.append(score.dtype)
        return Loss((score.float() - batch["y"]).square())

    data = logistic(dtype=torch.float32)
    module = linear(dtype=torch.float32)
    train(module, spy, source(data, 96), TrainSettings(precision="bf16"))
    train(module, spy, source(data, 96), TrainSettings(precision="fp32"))
    assert seen == [torch.bfloat16, torch.float32]
    assert module.weight.dtype == module.weight.grad.dtype == torch.float32


def test_nothing_to_train_and_nothing_to_train_on() -> None:
    frozen = linear().requires_grad_(False)
    with pytest.raises(InputError, match="nothing to train"):
        train(frozen, log_loss, source(DATA))

    class Empty:
        def steps(self) -> int | None:
            return None

        def epoch(self, index: int, *, start: int = 0, stride: int = 1) -> Any:
            return iter(())

    with pytest.raises(InputError, match="no micro-batch in epoch 0"):
        train(linear(), log_loss, Empty())


def test_restarts_keep_the_best_and_all() -> None:
    def run(seed: int) -> Any:
        if seed == 2:
            raise Diverged("Step 1: the loss is nan.")
        return train(linear(seed=seed), log_loss, source(DATA), evaluate=Falling(*[0.5 + 0.1 * (seed - 3) ** 2] * 2))

    found = restarts(run, range(1, 6))
    assert (found.seed, found.best.criterion) == (3, 0.5)
    assert found.criteria == pytest.approx([0.9, math.inf, 0.5, 0.6, 0.9])
    assert found.results[1] is None
    assert restarts(lambda seed: seed, [4, 3, 5], criterion=lambda value: -value).best == 5
    with pytest.raises(Diverged, match="All 1 restarts diverged"):
        restarts(run, [2])
    with pytest.raises(InputError, match="at least one seed"):
        restarts(run, [])


def test_progress_is_silent_unless_someone_watches(capsys: pytest.CaptureFixture[str]) -> None:
    train(linear(), log_loss, source(DATA), TrainSettings(epochs=2))
    assert capsys.readouterr() == ("", "")
    bar = Progress(True, 10, 0)
    bar.evaluated("log_loss", 0.25)
    bar.step(3, 0.5)
    shown = bar._bar.tasks[0]
    bar.close()
    assert (shown.completed, shown.total) == (3, 10)
    assert shown.fields["said"] == "loss 0.5000, log_loss 0.2500"
    assert capsys.readouterr().out == ""
