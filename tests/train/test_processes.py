"""Two processes over gloo compute what one computes; and without torch the room says how to get it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from preflearn.errors import InputError, NotSupported  # noqa: E402
from preflearn.train import train  # noqa: E402
from preflearn.train.log import read_log  # noqa: E402
from preflearn.train.processes import Processes  # noqa: E402
from tests.train.makers import linear, log_loss, logistic, source  # noqa: E402

ROOT = Path(__file__).parents[2]

WORK = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from preflearn.train import Loss, TrainSettings, train
from tests.train.makers import log_losses, logistic, source

torch.set_num_threads(1)
out = Path(sys.argv[1])
accelerator = None
if sys.argv[2] == "accelerate":
    from accelerate import Accelerator
    accelerator = Accelerator(cpu=True)

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, module, batch):
        losses = log_losses(module, batch) * self.scale.exp() - self.scale
        return Loss(losses, batch["w"], module[0].weight.square().sum() * 0.01, {"scale": self.scale})

def fit(out, stop=None):
    torch.manual_seed(torch.distributed.get_rank() if torch.distributed.is_initialized() else 0)
    module = nn.Sequential(nn.Linear(5, 1), nn.Dropout(0.2)).double()
    data = logistic(90)
    def kill(record):
        if record["step"] == stop:
            raise KeyboardInterrupt
    return train(
        module, Scaled(), source(data, 7),
        TrainSettings(epochs=3, accumulate=4, lr=0.05, schedule="cosine", clip=0.5, patience=5),
        evaluate=lambda module: {"log_loss": float(log_losses(module, logistic(40, seed=2)).mean())},
        out=out, resume=True, accelerator=accelerator, on_step=kill,
    )

try:
    fit(out / "resumed", stop=5)
except KeyboardInterrupt:
    pass
results = [fit(out / "resumed"), fit(out / "whole")]
if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
    weights = [[p.flatten().tolist() for p in result.module.parameters()] for result in results]
    (out / "result.json").write_text(json.dumps({"weights": weights, "losses": results[1].losses}))
"""


def launch(out: Path, size: int, how: str = "plain") -> dict[str, Any]:
    """Run WORK in `size` processes with the variables that torchrun and `accelerate launch` set."""
    out.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    started = []
    for rank in range(size):
        own = {"WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_RANK": str(rank)} if size > 1 else {}
        environment = {**os.environ, **common, **own}
        command = [sys.executable, "-c", WORK, str(out), how]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * size, said
    return json.loads((out / "result.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["plain", "accelerate"])
def test_two_processes_give_the_run_of_one(how: str, tmp_path: Path) -> None:
    """13 micro-batches of 7 rows in steps of 4: processes have different rows, weights, even numbers of batches.

    With dropout, clipping, a prior, a parameter of the loss, different initial weights on the second process, and a
    run interrupted in the middle.
    """
    if how == "accelerate":
        pytest.importorskip("accelerate", reason="accelerate is not installed")
    one, two = launch(tmp_path / "one", 1), launch(tmp_path / "two", 2, how)
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-12)
    assert len(one["losses"]) == 12
    for run in (0, 1):
        for mine, other in zip(one["weights"][0], two["weights"][run], strict=True):
            assert mine == pytest.approx(other, abs=1e-12)
    for mine, other in zip(*(read_log(tmp_path / n / "whole" / "log.jsonl") for n in ("one", "two")), strict=True):
        assert (mine["event"], mine.get("records"), mine.get("step")) == (
            other["event"],
            other.get("records"),
            other.get("step"),
        )
        if mine["event"] == "step":
            assert mine["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-10)
            assert mine["metrics"] == pytest.approx(other["metrics"], abs=1e-12)


def test_more_processes_than_micro_batches_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(self: Processes, accelerator: Any = None) -> None:
        self.accelerator, self.rank, self.size = None, 0, 2

    monkeypatch.setattr(Processes, "__init__", two)
    with pytest.raises(InputError, match=r"2 processes share 1 micro-batches.*Set accumulate to 2"):
        train(linear(), log_loss, source(logistic()))


class Accelerator:
    """What the loop asks of accelerate's."""

    device = torch.device("cpu")

    def __init__(self, kind: str = "NO", precision: str = "no") -> None:
        self.distributed_type, self.mixed_precision = kind, precision


def test_accelerators_that_shard_weights_or_want_float16_are_refused() -> None:
    with pytest.raises(NotSupported, match="FSDP is not supported"):
        train(linear(), log_loss, source(logistic()), accelerator=Accelerator("FSDP"))
    with pytest.raises(NotSupported, match="Mixed precision fp16"):
        train(linear(), log_loss, source(logistic()), accelerator=Accelerator(precision="fp16"))
    assert Processes(Accelerator(precision="bf16")).precision("fp32") == "bf16"


def test_without_torch_the_room_names_the_cure() -> None:
    code = """
import sys, importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else found(name, *rest)
from preflearn.errors import MissingDependency
try:
    import preflearn.train
except MissingDependency as error:
    print(error)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "torch is needed for this: pip install 'preflearn[torch]'"
