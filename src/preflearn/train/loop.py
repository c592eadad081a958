"""The loop: any module, any loss over micro-batches, any source of them. It knows nothing of what is learned.

Everything random in a step is a function of (seed, epoch, micro-batch), and the state is saved between steps, so a run
that was stopped anywhere continues bit for bit, and several processes compute what one would.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from preflearn.errors import InputError
from preflearn.train.checkpoint import Checkpoints
from preflearn.train.gradient import StepGradient
from preflearn.train.interrupts import Interrupts
from preflearn.train.log import Progress, RunLog
from preflearn.train.optimizers import build_optimizer, rate_factor, set_rate
from preflearn.train.precision import autocast, deterministic
from preflearn.train.processes import Processes
from preflearn.train.seeding import mix, others, own_randomness, seed_others, seed_torch, set_others
from preflearn.train.settings import TrainSettings
from preflearn.train.trained import Trained, own_state, set_own_state
from preflearn.train.types import (
    Diverged,
    Evaluate,
    LossFunction,
    Record,
    Source,
    Step,
    TrainResult,
    Update,
)
from preflearn.train.watch import Watch

LOG = "log.jsonl"
CHECKPOINTS = "checkpoints"


def once(optimizer: Optimizer, gradient: Callable[[], Step]) -> Step:
    """The usual update: one gradient, one step of the optimiser."""
    step = gradient()
    optimizer.step()
    return step


def train(
    module: nn.Module,
    loss: LossFunction,
    source: Source,
    settings: TrainSettings | None = None,
    *,
    evaluate: Evaluate | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool | None = None,
    accelerator: Any = None,
    extra_parameters: Mapping[str, nn.Parameter] | None = None,
    on_step: Callable[[Record], None] | None = None,
    update: Update = once,
) -> TrainResult:
    """Train ``module`` in place.

    Under torchrun or ``accelerate launch`` the micro-batches of each step are dealt to the processes, and result and
    log are those of one process up to rounding.

    Args:
        module: any module, on its device.
        loss: ``loss(module, micro_batch) -> Loss``; may own parameters and state (:data:`LossFunction`).
        source: micro-batches; may own state (``state_dict``, ``load_state_dict``).
        settings: how to train.
        evaluate: figures on held-out data; ``settings.monitor`` must be among them (or None).
        out: folder of the log (``log.jsonl``) and the checkpoints; None writes nothing.
        resume: continue the run in ``out``, if there is one.
        progress: show a bar; None: where standard error is a terminal.
        accelerator: an ``accelerate.Accelerator``: module and batches move to its device.
        extra_parameters: by name, trained with the module's.
        on_step: called with the log record of every step.
        update: how a step uses the gradient; the default descends once.

    Raises:
        InputError: settings, source, loss or checkpoint cannot be used; says why and what to do.
        Diverged: a loss or gradient that is not finite; logged.
        KeyboardInterrupt: after saving a checkpoint in ``out``.
        NotSupported: an accelerator that shards weights.
    """
    settings = settings or TrainSettings()
    processes = Processes(accelerator)
    if accelerator is not None:
        module.to(accelerator.device)
    if processes.size > settings.accumulate:
        raise InputError(
            f"{processes.size} processes share {settings.accumulate} micro-batches per step.",
            cure=f"Set accumulate to {processes.size} or a multiple; it counts the micro-batches of all processes.",
        )
    if settings.patience is not None and evaluate is None:
        raise InputError("patience needs evaluate: figures on held-out data.")
    with ExitStack() as stack:
        stack.enter_context(own_randomness())
        stack.enter_context(deterministic(settings.deterministic))
        run = _Run(module, loss, source, settings, processes, extra_parameters or {}, Path(out) if out else None)
        run.evaluate, run.on_step, run.update = evaluate, on_step, update
        stack.callback(run.close)
        run.begin(resume, progress)
        return run.go()


class _Run:
    """One run: what it works with, and where it stands."""

    def __init__(
        self,
        module: nn.Module,
        loss: LossFunction,
        source: Source,
        settings: TrainSettings,
        processes: Processes,
        extra: Mapping[str, nn.Parameter],
        out: Path | None,
    ) -> None:
        self.module, self.source, self.settings, self.processes = module, source, settings, processes
        self.trained = Trained(module, loss, extra)
        self.before_step = getattr(self.trained.loss, "before_step", None)
        self.after_step = getattr(self.trained.loss, "after_step", None)
        processes.copy_from_main(self.trained.tensors())
        self.optimizer = build_optimizer(self.trained.parameters, settings)
        device = next(iter(self.trained.parameters.values())).device
        precision = processes.precision(settings.precision)
        self.gradient = StepGradient(
            module,
            loss,
            self.trained.parameters,
            processes=processes,
            forward=autocast(precision, device),
            clip=settings.clip,
        )
        self.evaluate: Evaluate | None = None
        self.on_step: Callable[[Record], None] | None = None
        self.update: Update = once
        self.checkpoints = Checkpoints(out / CHECKPOINTS, settings.keep) if out else None
        self.log = RunLog(out / LOG if out and processes.main else None)
        self.watch = Watch(settings)
        self.interrupts = Interrupts()
        self.progress = Progress(False, None, 0)
        self.micro_batches = source.steps()
        per_epoch = None if self.micro_batches is None else -(-self.micro_batches // settings.accumulate)
        self.total = settings.steps or (None if per_epoch is None else per_epoch * settings.epochs)
        rate_factor(settings, 0, self.total)
        self.step = self.epoch = self.position = 0
        self.evaluated_at = -1
        self.stopped = ""
        self.losses: list[float] = []
        self.evaluations: list[Record] = []
        self.last: Record = {}
        self.whole = True

    # ---- beginning and end

    def begin(self, resume: bool, progress: bool | None) -> None:
        """Take up the run in ``out``, or begin one."""
        found = self.checkpoints.latest() if self.checkpoints and resume else None
        if self.checkpoints and not resume:
            log = self.checkpoints.folder.parent / LOG
            if self.processes.agree(bool(self.checkpoints.paths() or log.exists())):
                raise InputError(
                    "there is a run here already.", path=log.parent, cure="Pass resume=True, or another folder."
                )
        if found is not None:
            self.load(*found)
        else:
            seed_others(mix(self.settings.seed, self.processes.rank))
            self.log.open()
            count = sum(parameter.numel() for parameter in self.trained.parameters.values())
            self.log.write({"event": "start", "settings": self.settings.plain(), "parameters": count})
        self.progress = Progress(progress if self.processes.main else False, self.total, self.step)
        if self.checkpoints:
            self.interrupts.__enter__()

    def close(self) -> None:
        """Release the log, the bar and the signals."""
        self.interrupts.__exit__(None, None, None)
        self.progress.close()
        self.log.close()

    def go(self) -> TrainResult:
        """Train to the end."""
        try:
            self.module.train()
            if self.evaluate is not None and self.settings.evaluate_first and self.evaluated_at < 0:
                self.look()
            while not self.stopped:
                self.one_epoch()
            if self.evaluate is not None and self.evaluated_at != self.step:
                self.look()
        except Exception as error:
            event = "diverged" if isinstance(error, Diverged) else "failed"
            self.log.write({"event": event, "step": self.step + 1, "epoch": self.epoch, "problem": str(error)})
            raise
        except KeyboardInterrupt:
            # Raised by a callback or the source, between steps: what Interrupts defers never comes here half-way.
            if self.whole:
                self.leave()
            raise
        self.save()
        best = self.watch.best
        if best is not None:
            self.trained.restore(self.watch.snapshot)
        kept = None if best is None else best._asdict()
        self.log.write({"event": "end", "step": self.step, "stopped": self.stopped, "best": kept})
        self.module.eval()
        return TrainResult(self.module, self.step, self.stopped, best, self.losses, self.evaluations)

    # ---- the loop

    def one_epoch(self) -> None:
        """The rest of the present epoch."""
        processes, begin = self.processes, self.position
        start = begin + (processes.rank - begin) % processes.size
        batches = iter(self.source.epoch(self.epoch, start=start, stride=processes.size))
        while self.one_step(batches):
            self.boundary()
            if self.settings.steps is not None and self.step >= self.settings.steps:
                self.stopped = self.stopped or "finished"
            if self.stopped:
                return
        if self.position == 0:
            raise InputError(f"the source gave no micro-batch in epoch {self.epoch}.")
        self.epoch, self.position = self.epoch + 1, 0
        if self.evaluate is not None and self.settings.evaluate_every is None and self.evaluated_at != self.step:
            self.look()
        if self.settings.steps is None and self.epoch >= self.settings.epochs:
            self.stopped = self.stopped or "finished"
        self.obey()

    def one_step(self, batches: Iterator[Any]) -> bool:
        """One optimiser step; False where the epoch is over."""
        began, settings, seed = time.perf_counter(), self.settings, self.settings.seed
        rank, size = self.processes.rank, self.processes.size
        window = range(self.position, self.position + settings.accumulate)
        numbers = [number for number in window if number % size == rank]
        mine = []
        for number in numbers:
            seed_torch(mix(seed, self.epoch, number, 0))
            batch = next(batches, _END)
            if batch is _END:
                break
            mine.append(self.processes.place(batch))
        given = sum(self.processes.gather(len(mine)))
        if not given:
            return False
        self.whole = False
        set_rate(self.optimizer, rate_factor(settings, self.step, self.total))
        if self.before_step is not None:
            seed_torch(mix(seed, self.epoch, self.position, 1))
            with torch.no_grad():
                self.before_step(self.module, mine)

        def gradient() -> Step:
            return self.gradient(
                mine,
                lambda number: seed_torch(mix(seed, self.epoch, numbers[number], 2)),
                f"Step {self.step + 1} (epoch {self.epoch})",
            )

        made = self.update(self.optimizer, gradient)
        if self.after_step is not None:
            self.after_step(made.metrics)
        self.step += 1
        self.position += given
        self.losses.append(made.loss)
        self.whole = True
        self.record(made, time.perf_counter() - began)
        return True

    def record(self, made: Step, seconds: float) -> None:
        """Say what a step did."""
        self.progress.step(self.step, made.loss)
        if not (self.log.writes or self.on_step):
            return
        record: Record = {
            "event": "step",
            "step": self.step,
            "epoch": self.epoch,
            "loss": made.loss,
            "penalty": made.penalty,
            "lr": self.settings.lr * rate_factor(self.settings, self.step - 1, self.total),
            "gradient_norm": made.gradient_norm,
            "records": made.records,
            "weight": made.weight,
            "metrics": made.metrics,
            "time": {"seconds": round(seconds, 6), "records_per_second": round(made.records / seconds, 1)},
        }
        if made.tokens:
            record["tokens"] = made.tokens
            record["time"]["tokens_per_second"] = round(made.tokens / seconds, 1)
        self.log.write(record)
        self.last = record

    def boundary(self) -> None:
        """What may happen between two steps: an evaluation, a checkpoint, the end."""
        every, saves = self.settings.evaluate_every, self.settings.checkpoint_every
        if self.evaluate is not None and every is not None and self.step % every == 0:
            self.look()
        if saves is not None and self.step % saves == 0:
            self.save()
        if self.on_step is not None:
            self.on_step(self.last)
        self.obey()

    def obey(self) -> None:
        """Save and stop if a signal waits, in whichever process."""
        if any(self.processes.gather(self.interrupts.pending is not None)):
            self.leave()
            self.whole = False
            self.interrupts.deliver()
            raise KeyboardInterrupt

    def leave(self) -> None:
        """Save what is needed to continue."""
        self.save()
        self.log.write({"event": "interrupted", "step": self.step, "epoch": self.epoch})

    def look(self) -> None:
        """Evaluate, keep the best weights, lose patience."""
        assert self.evaluate is not None
        settings, self.whole, began = self.settings, False, time.perf_counter()
        self.module.eval()
        seed_torch(mix(settings.seed, self.step, 3))
        with torch.no_grad():
            figures = self.processes.agree({name: float(value) for name, value in self.evaluate(self.module).items()})
        self.module.train()
        record: Record = {"event": "evaluation", "step": self.step, "epoch": self.epoch, "metrics": figures}
        if settings.monitor is not None:
            record["improved"] = self.watch.see(self.step, figures, self.trained.snapshot)
            self.progress.evaluated(settings.monitor, figures[settings.monitor])
            if self.watch.out_of_patience:
                self.stopped = self.stopped or "patience"
        record["time"] = {"seconds": round(time.perf_counter() - began, 6)}
        self.evaluated_at = self.step
        self.evaluations.append(record)
        self.log.write(record)
        self.whole = True

    # ---- the state on disk

    def save(self) -> None:
        """Write a checkpoint, if there is a place for it."""
        if self.checkpoints is None or not self.processes.main:
            return
        self.checkpoints.save(
            self.step,
            {
                "settings": self.settings.plain(),
                "micro_batches": self.micro_batches,
                "frozen": self.trained.frozen(),
                "trained": self.trained.snapshot(),
                "optimizer": self.optimizer.state_dict(),
                "source": own_state(self.source),
                "generators": others(),
                "step": self.step,
                "epoch": self.epoch,
                "position": self.position,
                "watch": self.watch.state(),
                "evaluated_at": self.evaluated_at,
                "stopped": self.stopped,
                "losses": torch.tensor(self.losses, dtype=torch.float64),
                "evaluations": self.evaluations,
                "log": self.log.size(),
            },
        )

    def load(self, path: Path, state: Any) -> None:
        """Stand where a checkpoint stood."""
        if said := self.settings.differences(state["settings"]):
            raise InputError(
                f"the run was begun with other settings: {said}.", path=path, cure="Use those, or another folder."
            )
        if state["micro_batches"] != self.micro_batches:
            raise InputError(
                f"the source had {state['micro_batches']} micro-batches per epoch and now has {self.micro_batches}.",
                path=path,
                cure="Resume with the same data and batch size, or begin anew in another folder.",
            )
        if state["frozen"] != self.trained.frozen():
            raise InputError("the parameters that are not trained differ from those of the saved run.", path=path)
        self.trained.restore(state["trained"])
        self.optimizer.load_state_dict(state["optimizer"])
        set_own_state(self.source, state["source"])
        if self.processes.main:
            set_others(state["generators"])
        else:
            seed_others(mix(self.settings.seed, self.processes.rank, state["step"]))
        self.step, self.epoch, self.position = state["step"], state["epoch"], state["position"]
        self.evaluated_at, self.evaluations = state["evaluated_at"], state["evaluations"]
        self.watch.restore(state["watch"])
        self.losses = state["losses"].tolist()
        goal, reached = (self.settings.steps, self.step) if self.settings.steps else (self.settings.epochs, self.epoch)
        self.stopped = state["stopped"] if state["stopped"] == "patience" or reached >= goal else ""
        self.log.open(state["log"])


_END = object()
