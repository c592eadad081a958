from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from preflearn.backbones import HiddenState, LoRA, SentenceTransformer, Tunable
from preflearn.backbones.export import export_sentence_transformers, export_sequence_classification
from preflearn.errors import InputError, NotSupported
from tests.backbones import makers
from tests.backbones.test_tunable import step

WEIGHT = np.random.default_rng(0).normal(size=32)


def conversations(texts: list[str] = makers.TEXTS) -> list[list[dict[str, str]]]:
    asked = {"role": "user", "content": "say something"}
    return [[asked, {"role": "assistant", "content": text}] for text in texts]


def scores(path: Path, texts: list[str]) -> np.ndarray:
    """As any user of transformers would compute them, in one padded batch."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    assert model.config.num_labels == 1
    batch = tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0].numpy()


def test_transformers_gives_the_same_scores(llama: str, tmp_path: Path) -> None:
    """The tokenizer pads with end of text and every text ends with it: the export has to tell them apart."""
    from transformers import AutoTokenizer

    data = makers.texts()
    expected = HiddenState(llama).encode(data).responses @ WEIGHT
    export_sequence_classification(HiddenState(llama), WEIGHT, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    rendered = [tokenizer.apply_chat_template(one, tokenize=False) for one in conversations()]
    assert all(text.endswith("</s>") for text in rendered) and tokenizer.pad_token != "</s>"
    np.testing.assert_allclose(scores(tmp_path / "out", rendered), expected, atol=1e-5, rtol=1e-5)
    about = json.loads((tmp_path / "out" / "preflearn.json").read_text())
    assert about["encoder"]["hidden_state"]["pooling"] == "last"


def test_after_fine_tuning_too(plain_llama: str, tmp_path: Path) -> None:
    data = makers.texts()
    module = Tunable(HiddenState(plain_llama), LoRA(rank=2)).build()
    step(module, data, rate=1.0)
    tokens = module.tokenise(data)
    tuned = module(tokens, torch.arange(5)).detach().numpy()
    before = module.state_dict()
    export_sequence_classification(module, WEIGHT, tmp_path / "out")
    texts = [f"<s>say something\n\n{text}</s>" for text in makers.TEXTS]
    found = scores(tmp_path / "out", texts)
    np.testing.assert_allclose(found, tuned @ WEIGHT, atol=1e-5, rtol=1e-5)
    assert np.abs(found - HiddenState(plain_llama).encode(data).responses @ WEIGHT).max() > 1e-2
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items()), "untouched"
    torch.testing.assert_close(module(tokens, torch.arange(5)).detach().numpy(), tuned)


def test_what_transformers_cannot_hold(llama: str, tmp_path: Path) -> None:
    for encoder in (HiddenState(llama, pooling="mean"), HiddenState(llama, layer=1)):
        with pytest.raises(NotSupported, match="last token of the last layer"):
            export_sequence_classification(encoder, WEIGHT, tmp_path / "out")
    with pytest.raises(NotSupported, match=r"no bias, so 0\.5 cannot be written"):
        export_sequence_classification(HiddenState(llama), WEIGHT, tmp_path / "out", bias=0.5)
    with pytest.raises(InputError, match=r"31 numbers, and the hidden state 32"):
        export_sequence_classification(HiddenState(llama), WEIGHT[1:], tmp_path / "out")
    bert = makers.tiny_bert(tmp_path / "bert")
    with pytest.raises(NotSupported, match=r"bert is no linear score of the last token"):
        export_sequence_classification(HiddenState(bert), WEIGHT, tmp_path / "out")
    with pytest.raises(NotSupported, match="no language model"):
        export_sequence_classification(SentenceTransformer(), WEIGHT, tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(InputError, match="something already"):
        export_sequence_classification(HiddenState(llama), WEIGHT, tmp_path / "out")
    export_sequence_classification(HiddenState(llama), WEIGHT, tmp_path / "out", force=True)
    assert not (tmp_path / "out" / "mine").exists()


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_sentence_transformers_gives_the_same_vectors(llama: str, tmp_path: Path, pooling: str) -> None:
    from sentence_transformers import SentenceTransformer as Model

    encoder = HiddenState(llama, pooling=pooling)
    expected = encoder.encode(makers.texts()).responses
    heads = {"prototypes": WEIGHT.reshape(2, 16), "scale": np.float32(2)}
    export_sentence_transformers(encoder, heads, tmp_path / "out", about={"recipe": "ideal points"})
    found = Model(str(tmp_path / "out"), device="cpu").encode(conversations())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    stored = load_file(tmp_path / "out" / "head.safetensors")
    assert (stored["prototypes"] == heads["prototypes"]).all() and stored["scale"] == 2
    about = json.loads((tmp_path / "out" / "preflearn.json").read_text())
    assert about["heads"]["prototypes"] == [2, 16] and about["recipe"] == "ideal points"


def test_a_sentence_transformer_is_written_as_it_is(llama: str, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer as Model

    export_sentence_transformers(HiddenState(llama, pooling="mean", template=False), {"w": WEIGHT}, tmp_path / "first")
    encoder = SentenceTransformer(str(tmp_path / "first"))
    expected = encoder.encode(makers.texts()).responses
    export_sentence_transformers(encoder, {"w": WEIGHT}, tmp_path / "second")
    found = Model(str(tmp_path / "second"), device="cpu").encode(makers.TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)
