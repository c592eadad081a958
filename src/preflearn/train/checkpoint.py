"""Checkpoints as single safetensors files: tensors, and all plain state as JSON in the header. No code is unpickled.

A file is written beside its place, flushed to the disk and renamed: it is whole or absent.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from preflearn.errors import InputError

_NAME = re.compile(r"step-(\d{9})\.safetensors")
_FORMAT = 1


class Checkpoints:
    """The checkpoints in a folder, newest last.

    Args:
        folder: made when first needed.
        keep: how many stay.
    """

    def __init__(self, folder: Path, keep: int = 1) -> None:
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """Whole checkpoints by step."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write ``state`` (nested plain data, tensors and arrays) and drop what is more than ``keep``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        plain = json.dumps({"format": _FORMAT, "state": pack(state, tensors)})
        path = self.folder / f"step-{step:09d}.safetensors"
        beside = path.with_suffix(".partial")
        save_file(_apart(tensors), beside, metadata={"preflearn": plain})
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
        _flush_folder(self.folder)
        for old in self.paths()[: -self.keep]:
            old.unlink()
        for broken in self.folder.glob("*.partial"):
            broken.unlink()
        return path

    def latest(self) -> tuple[Path, Any] | None:
        """The newest readable checkpoint and its state; None without one.

        Raises:
            InputError: there are checkpoints, and none can be read.
        """
        problem: Exception | None = None
        for path in reversed(self.paths()):
            try:
                return path, read(path)
            except (SafetensorError, OSError, ValueError, KeyError) as error:
                problem = problem or error
        if problem is not None:
            raise InputError(f"no checkpoint can be read: {problem}", path=self.folder) from problem
        return None


def read(path: Path) -> Any:
    """The state in one checkpoint, tensors on the processor."""
    with safe_open(path, framework="pt") as opened:
        document = json.loads((opened.metadata() or {})["preflearn"])
        if document["format"] != _FORMAT:
            raise InputError("the checkpoint was written by another version of preflearn.", path=path)
        return unpack(document["state"], opened.get_tensor)


def pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Nested state as JSON data; tensors and arrays go to ``tensors`` and leave a reference.

    Raises:
        InputError: something that is neither plain data nor numbers.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case np.generic():
            return value.item()
        case Tensor() | np.ndarray():
            name = str(len(tensors))
            tensors[name] = torch.from_numpy(value) if isinstance(value, np.ndarray) else value.detach()
            return {"array" if isinstance(value, np.ndarray) else "tensor": name}
        case Mapping():
            return {"mapping": [[pack(key, tensors), pack(item, tensors)] for key, item in value.items()]}
        case tuple():
            return {"tuple": [pack(item, tensors) for item in value]}
        case list():
            return [pack(item, tensors) for item in value]
    raise InputError(
        f"a checkpoint cannot hold {type(value).__name__}.", cure="State is made of plain data, tensors and arrays."
    )


def unpack(value: Any, tensor: Any) -> Any:
    """The inverse of :func:`pack`; ``tensor(name)`` looks tensors up."""
    if isinstance(value, list):
        return [unpack(item, tensor) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "tensor":
        return tensor(held)
    if kind == "array":
        return tensor(held).numpy()
    if kind == "tuple":
        return tuple(unpack(item, tensor) for item in held)
    return {unpack(key, tensor): unpack(item, tensor) for key, item in held}


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the processor, contiguous, none sharing memory with another."""
    apart: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        tensor = value.cpu().contiguous()
        address = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    return apart


def _flush_folder(folder: Path) -> None:
    # Windows cannot open folders; there the rename alone has to do.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
