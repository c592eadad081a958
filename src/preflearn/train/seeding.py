"""Randomness as a function of where training stands, so that neither interruptions nor processes change it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

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


def reseed(seed: int) -> None:
    """Set the global generators of torch (processor and GPUs), numpy and Python."""
    torch.default_generator.manual_seed(seed)
    if _on_gpu():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002 (losses of others may draw from it)
    random.seed(seed)


@contextmanager
def own_randomness() -> Iterator[None]:
    """The caller's global generators are afterwards as they were before."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if _on_gpu() else []
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


def _on_gpu() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
