from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from preflearn.backbones import HiddenState
from preflearn.backbones.hidden import pool
from preflearn.backbones.rows import response_inputs
from preflearn.backbones.tokens import tokenise
from preflearn.data import PreferenceData
from preflearn.errors import InputError, NotSupported
from tests.backbones import makers


@cache
def loaded(path: str):
    return AutoModel.from_pretrained(path), AutoTokenizer.from_pretrained(path)


def alone(path: str, text: str, layer: int = -1, pooling: str = "last", special: bool = False) -> np.ndarray:
    """The state of one text without padding, straight from transformers."""
    model, tokenizer = loaded(path)
    ids = tokenizer(text, add_special_tokens=special, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        out = model(input_ids=ids, output_hidden_states=True)
    state = out.last_hidden_state[0] if layer == -1 else out.hidden_states[layer][0]
    return (state[-1] if pooling == "last" else state.mean(0)).numpy()


def ids_of(path: str, data: PreferenceData, **options: object) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(path)
    inputs = response_inputs(data, np.ones(data.height("responses"), bool), "prompt+response")
    settings = {"template": True, "max_length": 512, **options}
    tokens = tokenise(tokenizer, inputs, np.arange(inputs.rows.size), **settings)
    return [tokens.ids[a:b].tolist() for a, b in zip(tokens.offsets, tokens.offsets[1:])]


@pytest.mark.parametrize(("layer", "pooling"), [(-1, "last"), (-1, "mean"), (0, "mean"), (1, "last"), (3, "last")])
def test_equals_the_model_on_each_text_alone(llama: str, layer: int, pooling: str) -> None:
    found = HiddenState(llama, layer=layer, pooling=pooling).encode(makers.texts(), prompts=True)
    rendered = [f"<s><|user|>say something</s><|assistant|>{text}</s>" for text in makers.TEXTS]
    expected = [alone(llama, text, layer, pooling) for text in rendered]
    np.testing.assert_allclose(found.responses, expected, atol=1e-5)
    assert found.prompts is not None
    np.testing.assert_allclose(
        found.prompts, [alone(llama, "<s><|user|>say something</s><|assistant|>", layer, pooling)], atol=1e-5
    )
    assert found.responses.dtype == np.float32 and found.notes == ()


def test_without_a_template_contents_are_joined(plain_llama: str, llama: str) -> None:
    found = HiddenState(plain_llama).encode(makers.texts()).responses
    expected = [alone(plain_llama, f"<s>say something\n\n{text}</s>") for text in makers.TEXTS]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(HiddenState(llama, template=False).encode(makers.texts()).responses, expected, atol=1e-5)


def test_an_encoder_keeps_its_own_special_tokens(tmp_path: Path) -> None:
    bert = makers.tiny_bert(tmp_path / "bert")
    data = makers.texts(prompt=None)
    assert all(one[0] == 2 and one[-1] == 3 and 3 not in one[:-1] for one in ids_of(bert, data))
    for pooling in ("last", "mean"):
        expected = [alone(bert, text, pooling=pooling, special=True) for text in makers.TEXTS]
        np.testing.assert_allclose(HiddenState(bert, pooling=pooling).encode(data).responses, expected, atol=1e-5)


def test_beginning_of_text_stands_once(llama: str, plain_llama: str) -> None:
    for path in (llama, plain_llama):
        for ids in ids_of(path, makers.texts()):
            assert ids[0] == 1 and ids.count(1) == 1 and ids[-1] == 2


def test_padding_on_either_side_gives_the_same(llama: str, tmp_path: Path) -> None:
    state = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    right = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]]).bool()
    for pooling in ("last", "mean"):
        shifted = torch.stack([state[0].roll(2, 0), state[1]])
        left = torch.stack([right[0].roll(2, 0), right[1]])
        torch.testing.assert_close(pool(state, right, pooling), pool(shifted, left, pooling))
    torch.testing.assert_close(pool(state, right, "last")[0], state[0, 1])
    other = makers.tiny_llama(tmp_path / "left", padding_side="left")
    data = makers.texts()
    np.testing.assert_allclose(
        HiddenState(other).encode(data).responses, HiddenState(llama).encode(data).responses, atol=1e-6
    )


def test_what_is_too_long_loses_its_beginning_and_is_counted(llama: str) -> None:
    data = makers.texts(["short", "x" * 90 + " the end"])
    encoder = HiddenState(llama, max_length=60)
    found = encoder.encode(data)
    whole, cut = ids_of(llama, data)[1], ids_of(llama, data, max_length=60)[1]
    assert len(cut) == 60 and cut == [1, *whole[-59:]]
    assert found.notes == (
        f"1 of 2 responses are longer than what {llama} reads: up to {len(whole) - 60} tokens are cut off at the "
        "beginning.",
    )
    assert encoder.encode(data).notes == found.notes, "also when nothing is computed"


def test_the_model_s_own_limit_counts(tmp_path: Path) -> None:
    short = makers.tiny_llama(tmp_path / "short", positions=40)
    assert "1 of 1" in HiddenState(short).encode(makers.texts(["y" * 100])).notes[0]


def test_a_response_that_continues_the_prompt(llama: str, plain_llama: str) -> None:
    def conversation(*messages: tuple[str, str]) -> list[dict[str, object]]:
        return [{"role": role, "name": None, "content": content, "media": None} for role, content in messages]

    data = PreferenceData(
        prompts=pl.DataFrame(
            {
                "prompt_id": ["p"],
                "messages": [conversation(("user", "2+2"), ("assistant", "It is "))],
                "continues": [True],
            }
        ),
        responses=pl.DataFrame(
            {"response_id": ["r"], "prompt_id": ["p"], "messages": [conversation(("assistant", "4"))]}
        ),
    )
    found = HiddenState(llama).encode(data, prompts=True)
    np.testing.assert_allclose(
        found.responses[0], alone(llama, "<s><|user|>2+2</s><|assistant|>It is 4</s>"), atol=1e-5
    )
    np.testing.assert_allclose(found.prompts[0], alone(llama, "<s><|user|>2+2</s><|assistant|>It is "), atol=1e-5)
    np.testing.assert_allclose(
        HiddenState(plain_llama).encode(data).responses[0], alone(plain_llama, "<s>2+2\nIt is 4</s>"), atol=1e-5
    )


def test_only_needed_rows_are_read(llama: str) -> None:
    data = makers.texts(["one", None, "three"])
    found = HiddenState(llama).encode(data, needed=np.array([True, False, True])).responses
    assert found.shape == (3, 32) and not found[1].any() and found[0].any() and found[2].any()
    with pytest.raises(InputError, match=r"row 1, .*1 of 3 needed responses have no text; the first is 'r1'"):
        HiddenState("/nowhere/at/all").encode(data)


def test_equal_texts_are_encoded_once_and_kept(llama: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = makers.texts(["same", "same", "other"])
    first = HiddenState(llama).encode(data).responses
    assert (first[0] == first[1]).all()
    monkeypatch.setattr(HiddenState, "load", lambda self: pytest.fail("loaded for what is kept"))
    assert (HiddenState(llama).encode(data).responses == first).all()


def test_the_signature_knows_the_weights_and_the_settings(llama: str, tmp_path: Path) -> None:
    other = makers.tiny_llama(tmp_path / "copy")
    assert HiddenState(other).signature() == HiddenState(llama).signature(), "equal content, another place"
    config = Path(other) / "model.safetensors"
    content = bytearray(config.read_bytes())
    content[-1] ^= 1
    config.write_bytes(bytes(content))
    signatures = {HiddenState(other).signature()} | {
        HiddenState(llama, **setting).signature()
        for setting in (
            {},
            {"layer": 1},
            {"pooling": "mean"},
            {"template": False},
            {"max_length": 8},
            {"of": "response"},
        )
    }
    assert len(signatures) == 7


def test_errors_name_the_place_and_the_cure(llama: str, tmp_path: Path) -> None:
    bad = PreferenceData(
        responses=pl.DataFrame(
            {"response_id": ["t"], "messages": [[{"role": "tool", "name": None, "content": "x", "media": None}]]}
        )
    )
    with pytest.raises(InputError, match=r"refuses the conversation of response 't': .*tools are not spoken"):
        HiddenState(llama).encode(bad)
    with pytest.raises(InputError, match=r"3 layers"):
        HiddenState(llama, layer=4).encode(makers.texts())
    with pytest.raises(InputError, match=r"owner/name on the hub"):
        HiddenState("no-such").encode(makers.texts())
    with pytest.raises(InputError, match=r"no model"):
        HiddenState(str(tmp_path)).encode(makers.texts())
    with pytest.raises(InputError, match=r"pooling.*last, mean"):
        HiddenState(llama, pooling="max")  # type: ignore[arg-type]
    lost = makers.texts().replace(prompts=pl.DataFrame({"prompt_id": ["q"], "messages": ["?"]}))
    with pytest.raises(InputError, match=r"not in the table of prompts"):
        HiddenState(llama).encode(lost)
    assert HiddenState(llama, of="response").encode(lost).responses.any()


def test_two_sided_models_are_refused(tmp_path: Path) -> None:
    from transformers import T5Config

    T5Config(num_layers=1, d_model=8, d_ff=8, num_heads=1, d_kv=8).save_pretrained(tmp_path / "t5")
    with pytest.raises(NotSupported, match=r"an encoder and a decoder"):
        HiddenState(str(tmp_path / "t5")).encode(makers.texts())
