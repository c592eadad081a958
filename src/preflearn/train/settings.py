"""How to train, as plain data: what a YAML file may say under ``train:``. Values are checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from preflearn.errors import InputError


@dataclass(frozen=True)
class Group:
    """What one group of parameters has of its own; None keeps the general value."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    lr: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        _at_least("groups: lr", self.lr, 0.0)
        _at_least("groups: weight_decay", self.weight_decay, 0.0)


@dataclass(frozen=True)
class TrainSettings:
    """Settings of one training run.

    Attributes:
        epochs: passes over the source; not used where ``steps`` is set.
        steps: optimiser steps, over as many epochs as they need.
        accumulate: micro-batches per optimiser step, of all processes together: results do not depend on how many
            processes share them. Steps end with the epoch; the last one of an epoch may have fewer.
        optimizer: "adamw", "adam" or "sgd".
        lr: learning rate at the top of the schedule.
        weight_decay: decoupled for "adamw", an L2 gradient for the others.
        betas: of Adam; ``betas[0]`` is the momentum of "sgd".
        groups: pattern of parameter names (``*`` and ``?``) to its own ``lr`` and ``weight_decay``; the first match
            counts. The loss's own parameters are named ``loss.NAME``, extra ones ``extra.NAME``.
        schedule: "constant", "linear" or "cosine" down to ``final``, or "wsd" (constant, then linear down over the
            last ``decay`` of the steps).
        warmup: first steps with linearly rising rate: a number of steps, or a share below 1 of all.
        decay: share of the steps in which "wsd" goes down.
        final: share of ``lr`` at which the schedule ends.
        clip: largest global norm of the gradient; None never clips.
        evaluate_first: evaluate before the first step too: a baseline, and mistakes are met early.
        evaluate_every: optimiser steps between evaluations; None: after every epoch.
        monitor: the held-out figure whose best weights are kept; None: the last weights are kept.
        higher_is_better: of the monitored figure.
        patience: evaluations without improvement after which training stops; None: never.
        min_delta: smallest change of the monitored figure that counts as an improvement.
        precision: "fp32" computes as the module is; "bf16" under bfloat16 autocast; "auto" is "bf16" where the
            processor (amx_bf16, avx512_bf16) or the GPU multiplies bfloat16 natively. Small heads want "fp32".
        seed: of everything random in the loss (dropout, draws).
        checkpoint_every: optimiser steps between checkpoints; None: only at the end and when interrupted.
        keep: checkpoints kept.
        deterministic: refuse operations without a deterministic implementation (matters on GPUs).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    epochs: int = 1
    steps: int | None = None
    accumulate: int = 1
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    groups: Mapping[str, Group] = field(default_factory=dict)
    schedule: Literal["constant", "linear", "cosine", "wsd"] = "constant"
    warmup: int | float = 0
    decay: float = 0.2
    final: float = 0.0
    clip: float | None = None
    evaluate_first: bool = True
    evaluate_every: int | None = None
    monitor: str | None = "log_loss"
    higher_is_better: bool = False
    patience: int | None = None
    min_delta: float = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    seed: int = 0
    checkpoint_every: int | None = None
    keep: int = 1
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "accumulate", "evaluate_every", "patience", "checkpoint_every", "keep"):
            _at_least(name, getattr(self, name), 1)
        for name in ("lr", "weight_decay", "warmup", "min_delta", "seed"):
            _at_least(name, getattr(self, name), 0)
        for name in ("decay", "final"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is a share and lies between 0 and 1.", value=getattr(self, name))
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"unknown {name}.", value=getattr(self, name), cure=f"Use one of {', '.join(allowed)}."
                )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError("betas are two numbers in [0, 1).", value=self.betas)
        if isinstance(self.warmup, float) and self.warmup >= 1 and not self.warmup.is_integer():
            raise InputError("warmup is a number of steps, or a share below 1.", value=self.warmup)
        if self.clip is not None and not self.clip > 0:
            raise InputError("clip is a positive norm.", value=self.clip, cure="Leave it out to never clip.")
        if self.patience is not None and self.monitor is None:
            raise InputError("patience needs a figure to monitor.", cure="Set monitor, or leave out patience.")

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Self:
        """Settings from plain data (a YAML mapping).

        Raises:
            InputError: unknown key, wrong type or value; names the key.
        """
        try:
            # Not strict: YAML reads 1e-3 as text.
            parsed: Self = TypeAdapter(cls).validate_python(dict(plain))
        except ValidationError as error:
            said = dict.fromkeys(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise InputError(f"training settings: {'; '.join(said)}.") from error
        return parsed

    def plain(self) -> dict[str, Any]:
        """The same as plain data, for YAML and JSON."""
        return asdict(self)

    def differences(self, saved: Mapping[str, Any]) -> str:
        """What keeps a run begun with the plain settings ``saved`` from going on with these; empty: nothing does.

        Steps and epochs may grow where nothing before the end depends on them.
        """
        free = {"checkpoint_every", "keep"}
        if self.schedule == "constant" and not 0 < self.warmup < 1:
            free |= {"epochs", "steps"}
        now = self.plain()
        differ = [name for name in now if name not in free and now[name] != saved.get(name)]
        return "; ".join(f"{name} was {saved.get(name)!r}, is {now[name]!r}" for name in differ)


_CHOICES = {
    "optimizer": ("adamw", "adam", "sgd"),
    "schedule": ("constant", "linear", "cosine", "wsd"),
    "precision": ("auto", "fp32", "bf16"),
}


def _at_least(name: str, value: float | None, least: float) -> None:
    if value is not None and not (value >= least and math.isfinite(value)):
        raise InputError(f"{name} must be a number of at least {least:g}.", value=value)
