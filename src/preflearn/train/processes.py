"""The processes of one training run: alone, or several under torchrun or ``accelerate launch``.

Gradients are summed once per optimiser step, by hand: losses may call the module as they like, processes may have
different micro-batches and weights, and a loss's own parameters take part.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, distributed

from preflearn.errors import NotSupported
from preflearn.train.precision import Precision

_BUCKET = 1 << 23
"""Numbers summed in one message: 32 MB of float32."""


class Processes:
    """One process among those that train together.

    Attributes:
        rank, size: its number, how many there are.
        accelerator: of the ``accelerate`` library, where one was given.
    """

    def __init__(self, accelerator: Any = None) -> None:
        if accelerator is not None:
            kind = str(getattr(accelerator.distributed_type, "value", accelerator.distributed_type))
            if kind not in ("NO", "MULTI_CPU", "MULTI_GPU"):
                raise NotSupported(f"Training shares out examples, not weights: accelerate's {kind} is not supported.")
            if accelerator.mixed_precision not in ("no", "bf16"):
                raise NotSupported(f"Mixed precision {accelerator.mixed_precision} is not supported: use bf16 or no.")
        elif int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        self.accelerator = accelerator
        several = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if several else 0
        self.size = distributed.get_world_size() if several else 1

    @classmethod
    def alone(cls) -> Processes:
        """One process by itself, whoever else there is."""
        processes = cls.__new__(cls)
        processes.accelerator, processes.rank, processes.size = None, 0, 1
        return processes

    @property
    def main(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def precision(self, asked: Precision) -> Precision:
        """``asked``, or "bf16" where the accelerator was launched so."""
        launched: Literal["bf16"] | None = (
            "bf16" if self.accelerator is not None and self.accelerator.mixed_precision == "bf16" else None
        )
        return launched or asked

    def place(self, batch: Any) -> Any:
        """The micro-batch on the accelerator's device; as it is without one."""
        if self.accelerator is None:
            return batch
        from accelerate.utils import send_to_device  # type: ignore[import-untyped,import-not-found,unused-ignore]

        return send_to_device(batch, self.accelerator.device)

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over processes, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def total_of(self, tensors: Sequence[Tensor]) -> None:
        """Sums over processes, in place, in few large messages."""
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = self.total(torch.cat([tensor.reshape(-1) for tensor in bucket]))
            for tensor, summed in zip(bucket, torch.split(flat, [tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(summed.view_as(tensor))

    def gather(self, item: Any) -> list[Any]:
        """Everyone's small plain object, in the order of ranks."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        distributed.all_gather_object(items, item)
        return items

    def agree(self, item: Any) -> Any:
        """The main process's small plain object."""
        if self.size == 1:
            return item
        items = [item]
        distributed.broadcast_object_list(items)
        return items[0]

    def copy_from_main(self, tensors: Sequence[Tensor]) -> None:
        """The main process's numbers, in place."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor.data, 0)


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for alike in kinds.values():
        bucket: list[Tensor] = []
        filled = 0
        for tensor in alike:
            if bucket and filled + tensor.numel() > _BUCKET:
                yield bucket
                bucket, filled = [], 0
            bucket.append(tensor)
            filled += tensor.numel()
        yield bucket
