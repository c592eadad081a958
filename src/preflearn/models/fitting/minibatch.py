"""Adam on minibatches of judgments, through the one training loop: for what has no full-batch method."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from preflearn.errors import InputError
from preflearn.models.base import Part
from preflearn.models.batch import Batch
from preflearn.models.bounds import Count, Positive
from preflearn.models.fitting.full_batch import Report
from preflearn.models.fitting.holdout import KINDS, folds, unit_folds, where
from preflearn.models.network import Network
from preflearn.models.parts import part
from preflearn.models.solvers.descent import restart
from preflearn.train import InMemorySource, Loss, TrainResult, TrainSettings, restarts, train

Encode = Callable[[Tensor], Tensor]
"""Features ``[m, d]`` of rows ``[m]`` of `Batch.x`, computed with parameters that are trained too."""


@part("fitting", "minibatch")
@dataclass(frozen=True)
class Minibatch(Part):
    """Adam, step by step, for every network; populations that need it see all judgments of a person together.

    With `held_out` the weights of the step that predicts the held-out judgments best are kept. Whole annotators are
    held out where the population sees them whole (it must then do well with strangers), else whole prompts.

    Attributes:
        steps: of the optimiser.
        batch: judgments per step, about; None = all of them at every step.
        lr: learning rate.
        held_out: share of annotators or prompts by which training is stopped; 0 = the last weights are kept.
        patience: evaluations without improvement after which training ends.
        evaluate_every: steps between evaluations.
        starts: random beginnings; the best held-out log loss wins, without held-out judgments the best last losses.
        settings: of `preflearn.train.TrainSettings` besides (schedule, warmup, clip, ...).
        out: folder for the log and checkpoints, from which a stopped run resumes bit by bit; for one start only.
    """

    steps: Count = 300
    batch: Count | None = None
    lr: Positive = 1e-2
    held_out: float = 0.0
    patience: Count | None = None
    evaluate_every: Count = 20
    starts: Count = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    out: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise InputError("held_out is a share of the annotators or prompts, below 1.", value=self.held_out)
        if self.out is not None and self.starts > 1:
            raise InputError("several starts cannot share one folder.", cure="Leave out `out`, or set starts=1.")
        self._settings(0, stopping=self.held_out > 0)

    def _settings(self, seed: int, *, stopping: bool) -> TrainSettings:
        return TrainSettings.parse(
            {
                "optimizer": "adam",
                "lr": self.lr,
                "steps": self.steps,
                "evaluate_every": self.evaluate_every,
                "monitor": "log_loss" if stopping else None,
                "patience": self.patience if stopping else None,
                **self.settings,
                "seed": seed,
            }
        )

    def fit(self, network: Network, batch: Batch, seed: int, encode: Encode | None = None) -> Report:
        """Fit `network` in place.

        Args:
            network: to be fitted.
            batch: all training judgments.
            seed: of the order of judgments, of everything random in the network, and of restarts.
            encode: computes features instead of `batch.x`; a module of its own parameters, trained along.
        """
        network.to(batch.x.dtype)
        kept, held = self._split(network, batch, seed)
        settings = self._settings(seed, stopping=held is not None)
        fresh = copy.deepcopy(network)

        def run(start: int) -> _Run:
            # The first start trains the network that was given: an encoder is trained with it, and only once.
            trained = network if start == 0 else copy.deepcopy(fresh)
            if start:
                torch.manual_seed(seed + start)
                restart(trained)
            loss = _StepLoss(kept, self.steps, encode)
            extra = dict(encode.named_parameters()) if isinstance(encode, nn.Module) else {}
            result = train(
                trained,
                loss,
                _source(trained, kept, self.batch, seed + start),
                settings,
                evaluate=None if held is None else _Evaluation(held, encode),
                out=self.out,
                resume=self.out is not None,
                extra_parameters=extra,
            )
            return _Run(trained, result)

        if self.starts > 1 and encode is not None:
            raise InputError("an encoder is trained once.", cure="Set starts=1.")
        runs = restarts(run, range(self.starts), criterion=lambda each: each.result.criterion)
        network.load_state_dict(runs.best.network.state_dict())
        network.population.progress = 1.0
        return self._report(network, kept, runs.best.result, sorted(runs.criteria))

    def _split(self, network: Network, batch: Batch, seed: int) -> tuple[Batch, Batch | None]:
        """Judgments to train on and judgments to stop by."""
        if not self.held_out:
            return batch, None
        count = max(2, round(1 / self.held_out))
        if network.population.whole_units:
            fold = unit_folds(batch, _units(network, batch), count, seed)
        else:
            fold = folds(batch, count, seed)
        held = where(batch, {kind: code == 0 for kind, code in fold.items()})
        kept = where(batch, {kind: code != 0 for kind, code in fold.items()})
        if not len(held) or not len(kept):
            raise InputError(
                f"a share of {self.held_out:g} holds out {len(held)} of {len(batch)} judgments.",
                cure="Set held_out=0, or bring more annotators or prompts.",
            )
        return kept, held

    def _report(self, network: Network, kept: Batch, result: TrainResult, criteria: list[float]) -> Report:
        total = _total(kept)
        notes = []
        if result.best is not None:
            notes.append(
                f"The weights are those of step {result.best.step} of {result.steps}, "
                f"with a held-out log loss of {result.best.value:.4f}."
            )
        return Report(total * result.criterion, result.steps, True, tuple(total * c for c in criteria), tuple(notes))


class _Run:
    """A start: its network and how it went."""

    def __init__(self, network: Network, result: TrainResult) -> None:
        self.network, self.result = network, result


class _StepLoss:
    """Negative log-likelihood per judgment of a minibatch, and its share of the priors."""

    def __init__(self, batch: Batch, steps: int, encode: Encode | None) -> None:
        self.total, self.steps, self.encode = _total(batch), steps, encode
        self.done = 0

    def __call__(self, module: nn.Module, part: Batch) -> Loss:
        assert isinstance(module, Network)
        cost = module.objective(_encoded(part, self.encode))
        # What belongs to the minibatch as a whole (a divergence of each of its people) is spread over its units.
        each = cost.per_unit + cost.extra / len(cost.per_unit)
        share = cost.weight / len(each)
        metrics = {"extra": (cost.extra / cost.weight).detach()}
        return Loss(each / share, share.expand(len(each)), penalty=cost.penalty / self.total, metrics=metrics)

    def before_step(self, module: nn.Module, batches: Any) -> None:
        """Tell the population how far training is."""
        assert isinstance(module, Network)
        module.population.progress = min(1.0, self.done / self.steps)

    def after_step(self, means: Mapping[str, float]) -> None:
        """Count the step."""
        self.done += 1

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"done": self.done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.done = int(state["done"])


class _Evaluation:
    """Log loss of held-out judgments; of held-out annotators the joint one, or after a look at some of theirs."""

    def __init__(self, held: Batch, encode: Encode | None) -> None:
        self.held, self.encode = held, encode

    def __call__(self, module: nn.Module) -> Mapping[str, float]:
        assert isinstance(module, Network)
        cost = module.objective(_encoded(self.held, self.encode))
        return {"log_loss": float(cost.per_unit.double().sum() / cost.weight)}


def _encoded(part: Batch, encode: Encode | None) -> Batch:
    return part if encode is None else replace(part.compact(), x=encode(part.used()))


def _total(batch: Batch) -> float:
    return float(sum(rows.weight.sum() for rows in batch.judgments()))


def _units(network: Network, batch: Batch) -> dict[str, Tensor]:
    """Whose judgments must stay together, by kind."""
    found = {}
    for kind in KINDS:
        rows = getattr(batch, kind)
        if rows is not None:
            unit = network.population.units(rows)
            found[kind] = torch.full((len(rows),), -1) if unit is None else unit
    return found


def _source(network: Network, batch: Batch, size: int | None, seed: int) -> Any:
    if size is None or size >= len(batch):
        return InMemorySource(1, lambda rows: batch, batch_size=1, seed=seed)
    kinds = [kind for kind in KINDS if getattr(batch, kind) is not None]
    ends = np.cumsum([len(getattr(batch, kind)) for kind in kinds])

    def take(rows: npt.NDArray[np.int64]) -> Batch:
        place = np.searchsorted(ends, rows, side="right")
        starts = np.concatenate([[0], ends[:-1]])
        pieces = {kind: rows[place == k] - starts[k] for k, kind in enumerate(kinds)}
        return batch.only(**{kind: torch.from_numpy(index) for kind, index in pieces.items() if len(index)})

    unit = None
    if network.population.whole_units:
        code = torch.cat(list(_units(network, batch).values())).numpy()
        # Judgments of nobody are units of their own.
        unit = np.where(code < 0, code.max() + 1 + np.arange(len(code)), code)
    return InMemorySource(len(batch), take, batch_size=size, seed=seed, unit=unit)
