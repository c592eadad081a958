"""Attention in float32 on a CPU that trains in bfloat16: torch's fused kernel is 50 times slower backwards there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NAME = "sdpa_float32_on_cpu"


def attend_in_float32(model: Any) -> None:
    """Let a transformers model whose attention is torch's fused one use float32 for it where it runs on a CPU.

    Products of the layers stay in bfloat16; memory stays linear in the number of tokens. Other models are left alone.

    Args:
        model: a `PreTrainedModel`; changed in place.
    """
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    if getattr(model.config, "_attn_implementation", None) != "sdpa":
        return

    def attend(
        module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, None]:
        if query.device.type != "cpu":
            return sdpa_attention_forward(module, query, key, value, mask, **options)
        with torch.autocast("cpu", enabled=False):
            if mask is not None and mask.is_floating_point():
                mask = mask.float()
            out, none = sdpa_attention_forward(module, query.float(), key.float(), value.float(), mask, **options)
        return out.to(query.dtype), none

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
