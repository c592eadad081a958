"""Global generators that neither interruptions nor the number of processes change.

torch's is set anew for every micro-batch, from where training stands; numpy's and Python's run on and are saved.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_GPUS = torch.version.cuda is not None or torch.version.hip is not None
_WORD = (1 << 64) - 1


def mix(*parts: int) -> int:
    """A 64-bit number that depends on every part and their order (rounds of splitmix64)."""
    state = 0
    for part in parts:
        state = ((state ^ (part & _WORD)) + 0x9E3779B97F4A7C15) & _WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _WORD
        state ^= state >> 31
    return state


def seed_torch(seed: int) -> None:
    """Set torch's global generators, of the processor and of GPUs in use."""
    torch.default_generator.manual_seed(seed)
    if _GPUS and _on_gpu():
        torch.cuda.manual_seed_all(seed)


def seed_others(seed: int) -> None:
    """Set numpy's and Python's global generators."""
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002 (losses may draw from it)
    random.seed(seed)


def others() -> tuple[Any, Any]:
    """The state of numpy's and Python's global generators."""
    return np.random.get_state(), random.getstate()  # noqa: NPY002


def set_others(state: tuple[Any, Any]) -> None:
    """Give back what :func:`others` returned."""
    np.random.set_state(state[0])  # noqa: NPY002
    random.setstate(state[1])


@contextmanager
def own_randomness() -> Iterator[None]:
    """The caller's global generators are afterwards as they were before."""
    before = others()
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count())) if _on_gpu() else []):
        try:
            yield
        finally:
            set_others(before)


def _on_gpu() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
