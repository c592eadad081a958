"""Everything that training changes: parameters, buffers and the loss's own state, saved and restored together."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from preflearn.errors import InputError, NotSupported
from preflearn.train.types import LossFunction


class Trained:
    """The module, the loss and extra parameters as one thing with a state.

    Frozen parameters of the module are not part of the state: the caller loads them as before (a language model
    under LoRA), and :meth:`frozen` tells whether they are the same.

    Attributes:
        parameters: by name, each once: the module's, the loss's as ``loss.NAME``, extra ones as ``extra.NAME``.

    Raises:
        InputError: nothing to train.
        NotSupported: module state outside parameters and buffers.
    """

    def __init__(self, module: nn.Module, loss: LossFunction, extra: Mapping[str, nn.Parameter]) -> None:
        self.module, self.loss = module, owner(loss)
        seen: set[int] = set()
        self.parameters: dict[str, nn.Parameter] = {}
        self._frozen: dict[str, nn.Parameter] = {}
        own = _named_parameters(self.loss)
        offered = [*module.named_parameters(), *own.items(), *((f"extra.{name}", p) for name, p in extra.items())]
        for name, parameter in offered:
            if id(parameter) not in seen:
                seen.add(id(parameter))
                (self.parameters if parameter.requires_grad else self._frozen)[name] = parameter
        if not self.parameters:
            raise InputError(
                "there is nothing to train: no parameter of the module or the loss requires a gradient.",
                cure="Unfreeze some, or pass extra_parameters.",
            )
        self._buffers = _buffers(module, "")
        if isinstance(self.loss, nn.Module):
            known = {id(buffer) for buffer in self._buffers.values()}
            self._buffers |= {name: b for name, b in _buffers(self.loss, "loss.").items() if id(b) not in known}
        self._frozen_digest: int | None = None

    def tensors(self) -> list[Tensor]:
        """Parameters and buffers."""
        return [*self.parameters.values(), *self._buffers.values()]

    def frozen(self) -> int:
        """A checksum of the parameters that are not trained."""
        if self._frozen_digest is None:
            digest = 0
            for name, parameter in self._frozen.items():
                digest = zlib.crc32(name.encode(), digest)
                data = parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
                digest = zlib.crc32(data.numpy().data, digest)
            self._frozen_digest = digest
        return self._frozen_digest

    def snapshot(self) -> dict[str, Any]:
        """A copy of the state: plain data and tensors."""
        return {
            "parameters": {name: parameter.detach().clone() for name, parameter in self.parameters.items()},
            "buffers": {name: buffer.detach().clone() for name, buffer in self._buffers.items()},
            "loss": own_state(self.loss),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Set the state.

        Raises:
            InputError: a snapshot of another module or loss.
        """
        for kind, held in (("parameters", self.parameters), ("buffers", self._buffers)):
            _match(kind, held, snapshot[kind])
        with torch.no_grad():
            for kind, held in (("parameters", self.parameters), ("buffers", self._buffers)):
                for name, tensor in held.items():
                    tensor.copy_(snapshot[kind][name])
        set_own_state(self.loss, snapshot["loss"])


def owner(loss: LossFunction) -> object:
    """What holds the state of a loss: the object itself, or the module whose method it is."""
    holder = getattr(loss, "__self__", None)
    return holder if isinstance(holder, nn.Module) else loss


def own_state(thing: object) -> Any:
    """A copy of ``state_dict()`` of a loss or source that has one and is no module; else None."""
    if isinstance(thing, nn.Module) or not hasattr(thing, "state_dict"):
        return None
    return copy.deepcopy(thing.state_dict())


def set_own_state(thing: object, state: Any) -> None:
    """Give back what :func:`own_state` returned."""
    if state is None:
        return
    if not hasattr(thing, "load_state_dict"):
        raise InputError(f"a saved state belongs to {type(thing).__name__}, which has no load_state_dict.")
    thing.load_state_dict(copy.deepcopy(state))


def _named_parameters(loss: object) -> dict[str, nn.Parameter]:
    named, numbered = getattr(loss, "named_parameters", None), getattr(loss, "parameters", None)
    if callable(named):
        return {f"loss.{name}": parameter for name, parameter in named()}
    if callable(numbered):
        return {f"loss.{number}": parameter for number, parameter in enumerate(numbered())}
    return {}


def _buffers(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    kept = module.state_dict(keep_vars=True)
    odd = [name for name, value in kept.items() if not isinstance(value, Tensor)]
    if odd:
        raise NotSupported(f"The module keeps state that is no tensor ({odd[0]}), which checkpoints do not hold.")
    return {prefix + name: buffer for name, buffer in module.named_buffers() if name in kept}


def _match(kind: str, held: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    if missing := held.keys() ^ saved.keys():
        name = sorted(missing)[0]
        side = "only in the checkpoint" if name in saved else "not in the checkpoint"
        raise InputError(f"the checkpoint is of another module: {len(missing)} {kind} differ; {name!r} is {side}.")
    for name, tensor in held.items():
        if tensor.shape != saved[name].shape or tensor.dtype != saved[name].dtype:
            raise InputError(
                f"the checkpoint is of another module: {name!r} was {list(saved[name].shape)} {saved[name].dtype}, "
                f"is {list(tensor.shape)} {tensor.dtype}."
            )
