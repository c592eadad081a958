"""A language model trained under the parts: better than its frozen features, saved, loaded, resumed, exported."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.backbones.makers import tiny_llama

from preflearn.backbones import HiddenState, LoRA, Tunable
from preflearn.data import PreferenceData
from preflearn.errors import NotSupported
from preflearn.models import Composed, load
from preflearn.models.fitting import finetune
from preflearn.models.fitting.em import EM
from preflearn.models.fitting.finetune import FineTune
from preflearn.models.population import Mixture
from preflearn.models.recipes.bradley_terry import bradley_terry

WORDS = ["alpha", "beta", "gamma", "delta", "red", "green", "blue", "one", "two", "three"]


def texts(n: int, seed: int, camps: bool = False) -> PreferenceData:
    """Responses of six words; the one in which `red` comes earlier wins (for the other camp, later)."""
    rng = np.random.default_rng(seed)
    words = [[str(w) for w in rng.permutation(WORDS)[:5]] for _ in range(n)]
    place = np.array([row.index("red") if "red" in row else 5 for row in words])
    a = rng.integers(n, size=4 * n)
    b = (a + rng.integers(1, n, size=4 * n)) % n
    who = rng.integers(20, size=4 * n)
    sign = np.where(who < 10, 1, -1) if camps else 1
    won = rng.random(4 * n) < 1 / (1 + np.exp(-1.5 * sign * (place[b] - place[a])))
    return PreferenceData(
        prompts=pl.DataFrame({"prompt_id": ["p"], "messages": [[{"role": "user", "content": "say"}]]}),
        responses=pl.DataFrame(
            {
                "response_id": [f"r{i}" for i in range(n)],
                "prompt_id": ["p"] * n,
                "messages": [[{"role": "assistant", "content": " ".join(row)}] for row in words],
            }
        ),
        comparisons=pl.DataFrame(
            {
                "comparison_id": [f"c{seed}-{i}" for i in range(4 * n)],
                "response_a": [f"r{i}" for i in a],
                "response_b": [f"r{i}" for i in b],
                "outcome": ["a" if w else "b" for w in won],
                "annotator_id": [f"u{i}" for i in who],
            }
        ),
    )


def accuracy(model, data):
    won = (data.comparisons["outcome"].cast(pl.String) == "a").to_numpy()
    return float(np.mean((model.prob(data) > 0.5) == won))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return HiddenState(tiny_llama(tmp_path_factory.mktemp("lm") / "tiny"), pooling="mean")


SETTINGS = {"epochs": 6, "lr": 1e-2, "groups": {"network.*": {"lr": 1e-2}}, "precision": "fp32"}


def test_tuning_beats_frozen_features_and_survives_disk(encoder, tmp_path):
    train, test = texts(100, 1), texts(100, 2)
    frozen = bradley_terry(encoder=encoder).fit(train)
    tuned = bradley_terry(encoder=Tunable(encoder, LoRA(rank=8)), fitting=FineTune(settings=SETTINGS)).fit(train)
    assert accuracy(tuned, test) > accuracy(frozen, test) + 0.03
    tuned.save(tmp_path / "m")
    np.testing.assert_allclose(load(tmp_path / "m").prob(test), tuned.prob(test), atol=1e-5)


def test_a_stopped_run_resumes_bit_by_bit(encoder, tmp_path, monkeypatch):
    train = texts(60, 3)

    def fit(out):
        tuning = FineTune(settings={**SETTINGS, "epochs": 2}, responses=10, out=str(tmp_path / out))
        return bradley_terry(encoder=Tunable(encoder, LoRA(rank=4, dropout=0.1)), fitting=tuning).fit(train)

    whole = fit("whole")
    original, calls = finetune._encoded, []

    def stops(module, batch, rows):
        calls.append(len(rows))
        if len(calls) == 9:
            raise KeyboardInterrupt
        return original(module, batch, rows)

    monkeypatch.setattr(finetune, "_encoded", stops)
    with pytest.raises(KeyboardInterrupt):
        fit("half")
    monkeypatch.setattr(finetune, "_encoded", original)
    np.testing.assert_array_equal(fit("half").prob(train), whole.prob(train))


@pytest.mark.slow
def test_a_mixture_keeps_its_camps_while_the_model_learns(encoder):
    train, test = texts(100, 4, camps=True), texts(60, 5, camps=True)
    settings = {**SETTINGS, "epochs": 6}
    start = Composed(encoder=encoder, population=Mixture(2), fitting="em").fit(train)
    tuned = Composed(
        encoder=Tunable(encoder, LoRA(rank=8)), population=Mixture(2), fitting=FineTune(EM(), settings)
    ).fit(train)
    assert accuracy(tuned, test) > accuracy(start, test)


def test_exported_scores_are_the_models(encoder, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from preflearn.models.exporting import export_encoder, export_transformers

    train = texts(60, 6)
    last = HiddenState(encoder.model)
    tuned = bradley_terry(encoder=Tunable(last, LoRA(rank=4)), fitting=FineTune(settings={**SETTINGS, "epochs": 1}))
    model = tuned.fit(train)
    export_transformers(model, tmp_path / "hf")
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path / "hf").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    conversations = [
        [{"role": "user", "content": "say"}, {"role": m[0]["role"], "content": m[0]["content"]}]
        for m in train.responses["messages"].to_list()
    ]
    inputs = tokenizer.apply_chat_template(conversations, return_tensors="pt", padding=True, return_dict=True)
    with torch.inference_mode():
        scores = classifier(**inputs).logits[:, 0].numpy()
    utility = model.utility(train)
    np.testing.assert_allclose(scores - scores.mean(), utility - utility.mean(), atol=1e-5 * np.abs(utility).max())
    export_encoder(model, tmp_path / "st")
    assert (tmp_path / "st" / "head.safetensors").exists()
    camps = Composed(encoder=last, population=Mixture(2)).fit(train)
    with pytest.raises(NotSupported, match="sentence-transformers"):
        export_transformers(camps, tmp_path / "no")
