"""Attention of a model in training: float32 on a CPU, whatever the rest computes in."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from preflearn.backbones import HiddenState, LoRA, Tunable
from preflearn.train import autocast
from tests.backbones import makers


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attention_is_in_float32_and_gradients_are_those_of_float32(
    llama: str, monkeypatch: pytest.MonkeyPatch, dtype: str, checkpointing: bool
) -> None:
    seen = []
    fused = functional.scaled_dot_product_attention

    def watched(query, key, value, **options):
        seen.append({part.dtype for part in (query, key, value)} | {torch.is_autocast_enabled("cpu")})
        return fused(query, key, value, **options)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    data = makers.texts()
    gradients = []
    for kind, precision in (("float32", "fp32"), (dtype, "bf16")):
        encoder = HiddenState(llama, dtype=kind, pooling="mean")
        module = Tunable(encoder, LoRA(rank=2), gradient_checkpointing=checkpointing).build(seed=3).train()
        with autocast(precision, "cpu"):
            found = module(module.tokenise(data), torch.arange(data.height("responses")))
        found.float().square().sum().backward()
        gradients.append(torch.cat([one.grad.flatten().float() for one in module.trainable().values()]))
    assert len(seen) == 2 * 3 * (1 + checkpointing) and all(one == {torch.float32, False} for one in seen)
    assert functional.cosine_similarity(*gradients, dim=0) > 0.999
    assert gradients[1].norm() / gradients[0].norm() == pytest.approx(1, abs=0.03)


def test_weights_are_saved_without_the_name_of_the_attention(llama: str, tmp_path) -> None:
    module = Tunable(HiddenState(llama), None).build()
    module.save(tmp_path)
    assert "float32_on_cpu" not in (tmp_path / "config.json").read_text()
    assert HiddenState(str(tmp_path)).encode(makers.texts()).responses.shape[1] == 32
