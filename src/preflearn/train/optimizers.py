"""Optimisers with groups of parameters by name, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from preflearn.errors import InputError
from preflearn.train.settings import Group, TrainSettings


def build_optimizer(parameters: Mapping[str, nn.Parameter], settings: TrainSettings) -> Optimizer:
    """The optimiser of ``settings`` over named parameters; ``base_lr`` of a group is its rate at the schedule's top.

    Raises:
        InputError: a pattern of ``settings.groups`` that no parameter matches.
    """
    general = Group(settings.lr, settings.weight_decay)
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    unused = set(settings.groups)
    for name, parameter in parameters.items():
        pattern = next((pattern for pattern in settings.groups if fnmatchcase(name, pattern)), None)
        own = general if pattern is None else settings.groups[pattern]
        unused.discard(pattern or "")
        lr = settings.lr if own.lr is None else own.lr
        decay = settings.weight_decay if own.weight_decay is None else own.weight_decay
        members.setdefault((lr, decay), []).append(parameter)
    if unused:
        raise InputError(
            "groups: no parameter of its own for a pattern.",
            value=sorted(unused)[0],
            cure=f"The first matching pattern counts; names are {_some(parameters)}.",
        )
    groups = [
        {"params": chosen, "lr": lr, "base_lr": lr, "weight_decay": decay} for (lr, decay), chosen in members.items()
    ]
    if settings.optimizer == "sgd":
        return SGD(groups, lr=settings.lr, momentum=settings.betas[0])
    kind = AdamW if settings.optimizer == "adamw" else Adam
    # One kernel over all parameters: several times fewer passes over memory than the loop over them.
    fused = all(p.device.type in ("cpu", "cuda") and torch.is_floating_point(p) for p in parameters.values())
    return kind(groups, lr=settings.lr, betas=settings.betas, fused=fused)


def set_rate(optimizer: Optimizer, factor: float) -> None:
    """Every group's learning rate: ``factor`` times its own."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def rate_factor(settings: TrainSettings, step: int, total: int | None) -> float:
    """The share of ``lr`` at optimiser step ``step`` (from 0) of ``total``.

    The warm-up of W steps rises as 1/W, 2/W, ..., 1. What follows would reach ``final`` at step ``total``.

    Raises:
        InputError: a schedule (or a warm-up by share) that needs ``total`` without one.
    """
    warmup = settings.warmup
    relative = isinstance(warmup, float) and 0 < warmup < 1
    if total is None and (relative or settings.schedule != "constant"):
        raise InputError(
            "the source does not know how long an epoch is, so a schedule cannot tell where it ends.",
            cure="Set steps, or train with schedule constant and warmup in steps.",
        )
    rising = math.ceil(warmup * total) if relative and total is not None else int(warmup)
    if step < rising:
        return (step + 1) / rising
    if settings.schedule == "constant" or total is None:
        return 1.0
    falling = total - rising if settings.schedule != "wsd" else min(round(settings.decay * total), total - rising)
    done = min(max((step - (total - falling)) / falling, 0.0), 1.0) if falling > 0 else 0.0
    share = (1 + math.cos(math.pi * done)) / 2 if settings.schedule == "cosine" else 1 - done
    return settings.final + (1 - settings.final) * share


def _some(names: Mapping[str, object]) -> str:
    shown = list(names)[:8]
    return ", ".join(shown) + (f", ... ({len(names)} in all)" if len(names) > len(shown) else "")
