"""A run that was stopped anywhere continues bit for bit: weights, losses, log."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from hypothesis import given  # noqa: E402
from hypothesis import settings as examples  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import array_shapes, arrays  # noqa: E402
from torch import nn  # noqa: E402

from preflearn.errors import InputError, NotSupported  # noqa: E402
from preflearn.train import Diverged, Loss, TrainResult, TrainSettings, train  # noqa: E402
from preflearn.train import checkpoint as checkpoints  # noqa: E402
from preflearn.train.checkpoint import Checkpoints, pack, unpack  # noqa: E402
from preflearn.train.log import read_log  # noqa: E402
from tests.train.makers import linear, log_loss, log_losses, logistic, same, source, weights  # noqa: E402

DATA = logistic(60, dtype=torch.float32)
SETTINGS = TrainSettings(
    epochs=4,
    accumulate=2,
    lr=0.05,
    schedule="cosine",
    warmup=2,
    clip=1.0,
    patience=3,
    evaluate_every=4,
    checkpoint_every=5,
    keep=2,
)
"""60 rows in batches of 13: 5 micro-batches, 3 steps per epoch, 12 steps; neither divides the other."""


class Everything(nn.Module):
    """Dropout, batch statistics, draws of numpy and Python, a parameter and a running mean of the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, module: nn.Module, batch: Any) -> Loss:
        noise = float(np.random.rand() + random.random())  # noqa: NPY002
        losses = log_losses(module, batch) * torch.exp(self.temperature) - self.temperature
        with torch.no_grad():
            self.mean.mul_(0.9).add_(0.1 * losses.mean())
        return Loss(losses, batch["w"] + noise, metrics={"mean": self.mean})


class Plain:
    """A loss that is no module and keeps plain state."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __call__(self, module: nn.Module, batch: Any) -> Loss:
        return Loss(log_losses(module, batch) * (1 + 0.01 * len(self.seen)))

    def after_step(self, means: dict[str, float]) -> None:
        self.seen.append(float(len(self.seen)))

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "pair": (1, None)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert state["pair"] == (1, None)
        self.seen = state["seen"]


def network() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))


def held_out(module: nn.Module) -> dict[str, float]:
    batch = logistic(40, seed=9, dtype=torch.float32)
    return {"log_loss": float(log_losses(module, batch).mean() + 0.01 * torch.rand(()))}


class Stop(Exception):
    """The machine went down."""


def run(out: Path, *, stop: int | None = None, kind: type[BaseException] = Stop, **changes: Any) -> Any:
    """A run from fresh objects, as a new process would make them; killed after step `stop`."""

    def kill(record: dict[str, Any]) -> None:
        if record["step"] == stop:
            raise kind

    options = {"loss": Everything(), "settings": SETTINGS, "batch_size": 13, "module": network(), **changes}
    return train(
        options["module"],
        options["loss"],
        source(DATA, options["batch_size"]),
        options["settings"],
        evaluate=held_out,
        out=out,
        resume=True,
        on_step=kill,
    )


def log(out: Path) -> list[dict[str, Any]]:
    """All lines, without what the clock says."""
    return [{k: v for k, v in line.items() if k != "time"} for line in read_log(out / "log.jsonl")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainResult, Path]:
    out = tmp_path_factory.mktemp("whole")
    return run(out), out


def equal(result: TrainResult, out: Path, expected: tuple[TrainResult, Path]) -> None:
    wanted, place = expected
    assert same(weights(result.module), weights(wanted.module))
    assert result.losses == wanted.losses
    assert result.best == wanted.best
    assert log(out) == log(place)


@pytest.mark.parametrize("step", range(1, 13))
def test_killed_after_any_step(step: int, tmp_path: Path, whole: tuple[TrainResult, Path]) -> None:
    """Nothing is saved at the end of a killed process: it goes on from the last checkpoint, or from the beginning."""
    with pytest.raises(Stop):
        run(tmp_path, stop=step)
    equal(run(tmp_path), tmp_path, whole)


@pytest.mark.parametrize("step", [1, 3, 4, 7, 12])
def test_interrupted_after_any_step(step: int, tmp_path: Path, whole: tuple[TrainResult, Path]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=step, kind=KeyboardInterrupt)
    assert [path.name for path in Checkpoints(tmp_path / "checkpoints").paths()][-1] == f"step-{step:09d}.safetensors"
    assert log(tmp_path)[-1] == {"event": "interrupted", "step": step, "epoch": (step - 1) // 3}
    equal(run(tmp_path), tmp_path, whole)


def test_killed_again_and_again(tmp_path: Path, whole: tuple[TrainResult, Path]) -> None:
    for step in (2, 6, 6, 9, 11):
        with pytest.raises((Stop, KeyboardInterrupt)):
            run(tmp_path, stop=step, kind=KeyboardInterrupt if step % 2 else Stop)
    equal(run(tmp_path), tmp_path, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_wait_for_the_end_of_the_step(
    number: signal.Signals, tmp_path: Path, whole: tuple[TrainResult, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """They come in the middle of a forward pass; the step is finished and saved, then the usual handler runs."""
    loss, told = Everything(), []
    before = signal.signal(number, lambda kind, frame: told.append(kind))

    def interrupted(module: nn.Module, batch: Any) -> Loss:
        if not told and log(tmp_path)[-1].get("step") == 2:
            os.kill(os.getpid(), number)
        return loss(module, batch)

    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, loss=Wrapped(interrupted, loss))
        assert told == [number]
    finally:
        signal.signal(number, before)
    assert log(tmp_path)[-1] == {"event": "interrupted", "step": 3, "epoch": 0}
    assert "Stopping after this step" in capsys.readouterr().err
    equal(run(tmp_path), tmp_path, whole)


class Wrapped(nn.Module):
    """The same parameters and state as `loss`, another call."""

    def __init__(self, call: Any, loss: Everything) -> None:
        super().__init__()
        self._call, self.temperature = call, loss.temperature
        self.register_buffer("mean", loss.mean)

    def forward(self, module: nn.Module, batch: Any) -> Loss:
        return self._call(module, batch)


def test_a_finished_run_is_given_back(tmp_path: Path, whole: tuple[TrainResult, Path]) -> None:
    run(tmp_path)
    equal(run(tmp_path), tmp_path, whole)


def test_patience_survives(tmp_path: Path) -> None:
    settings = TrainSettings(epochs=50, lr=0.3, patience=2, checkpoint_every=1)
    first = run(tmp_path / "a", settings=settings)
    assert first.stopped == "patience"
    assert first.best.step < first.steps < 250
    with pytest.raises(Stop):
        run(tmp_path / "b", settings=settings, stop=first.steps - 1)
    equal(run(tmp_path / "b", settings=settings), tmp_path / "b", (first, tmp_path / "a"))


def test_plain_state_of_a_loss_survives(tmp_path: Path) -> None:
    first, again = Plain(), Plain()
    whole = run(tmp_path / "a", loss=first), tmp_path / "a"
    with pytest.raises(Stop):
        run(tmp_path / "b", loss=Plain(), stop=8)
    equal(run(tmp_path / "b", loss=again), tmp_path / "b", whole)
    assert again.seen == first.seen


def test_a_longer_run_is_the_same_run(tmp_path: Path) -> None:
    short, longer = (TrainSettings(epochs=n, lr=0.05, evaluate_first=False, monitor=None) for n in (2, 4))
    run(tmp_path / "a", settings=short)
    grown = run(tmp_path / "a", settings=longer)
    assert same(weights(grown.module), weights(run(tmp_path / "b", settings=longer).module))
    assert grown.steps == 20


@pytest.mark.parametrize("when", ["writing", "renaming"])
def test_a_crash_while_a_checkpoint_is_written_leaves_the_one_before(
    when: str, tmp_path: Path, whole: tuple[TrainResult, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = checkpoints.save_file, []

    def half(tensors: Any, path: Path, metadata: Any) -> None:
        real(tensors, path, metadata=metadata)
        calls.append(path)
        if len(calls) == 2:
            if when == "writing":
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            raise Stop

    monkeypatch.setattr(checkpoints, "save_file", half)
    with pytest.raises(Stop):
        run(tmp_path)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.suffix == ".safetensors"] == [
        "step-000000005.safetensors"
    ]
    equal(run(tmp_path), tmp_path, whole)
    assert not list((tmp_path / "checkpoints").glob("*.partial"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, whole: tuple[TrainResult, Path]) -> None:
    with pytest.raises(Stop):
        run(tmp_path, stop=11)
    *_, newest = Checkpoints(tmp_path / "checkpoints").paths()
    newest.write_bytes(newest.read_bytes()[:-100])
    equal(run(tmp_path), tmp_path, whole)
    for path in Checkpoints(tmp_path / "checkpoints").paths():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no checkpoint can be read"):
        run(tmp_path)


def test_only_so_many_checkpoints_stay(tmp_path: Path) -> None:
    run(tmp_path)
    steps = [int(path.stem[5:]) for path in Checkpoints(tmp_path / "checkpoints").paths()]
    assert steps == [10, 12]


def test_what_would_be_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(tmp_path, stop=6)
    with pytest.raises(InputError, match=r"other settings: lr was 0\.05, is 0\.1\."):
        run(tmp_path, settings=TrainSettings(**{**SETTINGS.__dict__, "lr": 0.1}))
    with pytest.raises(InputError, match="had 5 micro-batches per epoch and now has 6"):
        run(tmp_path, batch_size=10)
    with pytest.raises(InputError, match=r"another module: 1 parameters differ; 'loss.temperature' is only in"):
        run(tmp_path, loss=log_loss)
    wide = nn.Sequential(nn.Linear(5, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.3), nn.Linear(9, 1))
    with pytest.raises(InputError, match=r"'0\.weight' was \[8, 5\] torch\.float32, is \[9, 5\]"):
        run(tmp_path, module=wide)
    with pytest.raises(InputError, match="there is a run here already"):
        train(network(), Everything(), source(DATA), SETTINGS, evaluate=held_out, out=tmp_path)


def test_frozen_parameters_stay_out_of_the_checkpoint_and_must_be_the_same(tmp_path: Path) -> None:
    def partly(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 400).requires_grad_(False), nn.Linear(400, 1))

    settings = TrainSettings(checkpoint_every=1)
    with pytest.raises(Stop):
        run(tmp_path, module=partly(0), settings=settings, stop=3)
    (path,) = Checkpoints(tmp_path / "checkpoints").paths()
    assert "0.weight" not in checkpoints.read(path)["trained"]["parameters"]
    with pytest.raises(InputError, match="not trained differ"):
        run(tmp_path, module=partly(1), settings=settings)
    run(tmp_path, module=partly(0), settings=settings)


def test_checkpoints_are_read_without_running_code(tmp_path: Path) -> None:
    """A safetensors file: JSON and numbers."""
    run(tmp_path)
    for path in (tmp_path / "checkpoints").iterdir():
        assert path.suffix == ".safetensors"
    with pytest.raises(InputError, match="cannot hold function"):
        Checkpoints(tmp_path / "x").save(1, {"call": log_loss})


nested = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | arrays(st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_]), array_shapes(max_side=3)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(nested)
@examples(max_examples=150, deadline=None)
def test_nested_state_comes_back(value: Any) -> None:
    tensors: dict[str, torch.Tensor] = {}
    back = unpack(pack(value, tensors), tensors.__getitem__)
    assert repr(back) == repr(value)


def test_shared_and_strided_tensors_and_odd_dtypes_come_back(tmp_path: Path) -> None:
    base = torch.arange(12, dtype=torch.bfloat16).reshape(3, 4)
    state = {"base": base, "turned": base.T, "again": base, "scalar": torch.tensor(3), "empty": torch.zeros(0)}
    store = Checkpoints(tmp_path)
    back = checkpoints.read(store.save(1, state))
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor)
        assert back[name].dtype == tensor.dtype


def test_a_run_that_diverges_can_be_resumed_from_before(tmp_path: Path) -> None:
    loss = Everything()

    def broken(module: nn.Module, batch: Any) -> Loss:
        out = loss(module, batch)
        late = log(tmp_path)[-1].get("step", 0) >= 7
        return out._replace(per_example=out.per_example * float("nan")) if late else out

    with pytest.raises(Diverged):
        run(tmp_path, loss=Wrapped(broken, loss))
    assert log(tmp_path)[-1]["event"] == "diverged"
    assert run(tmp_path).steps == 12


def test_a_source_with_state_is_saved(tmp_path: Path) -> None:
    class Counting:
        """Yields what it has yielded so far; a stand-in for a replay buffer."""

        def __init__(self) -> None:
            self.given = 0

        def steps(self) -> int | None:
            return 4

        def epoch(self, index: int, *, start: int = 0, stride: int = 1) -> Any:
            for _ in range(start, 4, stride):
                self.given += 1
                yield {k: v[self.given :: 7] for k, v in DATA.items()}

        def state_dict(self) -> dict[str, int]:
            return {"given": self.given}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.given = state["given"]

    def go(out: Path, stop: int | None = None) -> TrainResult:
        def kill(record: dict[str, Any]) -> None:
            if record["step"] == stop:
                raise KeyboardInterrupt

        module = linear(dtype=torch.float32)
        return train(module, log_loss, Counting(), TrainSettings(epochs=2), out=out, resume=True, on_step=kill)

    whole = go(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "b", stop=3)
    assert go(tmp_path / "b").losses == whole.losses


def test_tied_weights_are_one_parameter(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(5, 5), nn.Linear(5, 5)
            self.two.weight = self.one.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(self.one(x)).sum(-1, keepdim=True)

    def tied() -> nn.Module:
        torch.manual_seed(0)
        return Tied()

    settings = TrainSettings(epochs=2, checkpoint_every=2)
    whole = run(tmp_path / "a", module=tied(), settings=settings)
    with pytest.raises(Stop):
        run(tmp_path / "b", module=tied(), settings=settings, stop=5)
    again = run(tmp_path / "b", module=tied(), settings=settings)
    assert again.module.one.weight is again.module.two.weight
    assert same(weights(again.module), weights(whole.module))


def test_state_that_no_checkpoint_holds_is_refused() -> None:
    class Odd(nn.Linear):
        def get_extra_state(self) -> Any:
            return "words"

        def set_extra_state(self, state: Any) -> None:
            pass

    with pytest.raises(NotSupported, match="_extra_state"):
        train(Odd(5, 1), log_loss, source(DATA))
