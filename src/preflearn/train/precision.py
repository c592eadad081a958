"""bfloat16 where the machine multiplies it natively (6-17 times float32 with AMX), else as the module is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, get_args

import torch

from preflearn.errors import InputError, NotSupported

Precision = Literal["auto", "fp32", "bf16"]


def native_bf16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are fast on this device: AMX or AVX-512 BF16, or a GPU from Ampere on."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return any(
            getattr(torch.cpu, name, lambda: False)()
            for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        )
    return False


def autocast(precision: Precision, device: torch.device | str) -> AbstractContextManager[object]:
    """The context of a forward pass, for many uses: bfloat16 autocast, or nothing.

    Raises:
        InputError: there is no such precision.
        NotSupported: "bf16" asked for on a GPU that only emulates it.
    """
    if precision not in get_args(Precision):
        raise InputError(f"there is no precision {precision!r}.", cure=f"Use one of {', '.join(get_args(Precision))}.")
    device = torch.device(device)
    if precision == "bf16" and device.type == "cuda" and not native_bf16(device):
        raise NotSupported("This GPU only emulates bfloat16: train with precision fp32 (or auto).")
    if precision == "bf16" or (precision == "auto" and native_bf16(device)):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Where wanted, operations without a deterministic implementation are refused (torch raises RuntimeError)."""
    before, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if wanted:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn)
