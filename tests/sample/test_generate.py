"""The generator of the sample without its model: reading, staleness, errors, and how a token is drawn."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "scripts" / "sample"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sample_generate", SAMPLE / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sample_generate"] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


generate = _load()
DECODING = {
    "temperature": 1.0,
    "top_p": 0.7,
    "top_k": 3,
    "presence_penalty": 0.0,
    "no_repeat_ngram": 3,
    "max_new_tokens": 400,
    "seed": 5,
}


def _rows() -> list[dict[str, object]]:
    return [json.loads(line) for line in (SAMPLE / "responses.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_prompt_has_one_current_answer_of_every_system() -> None:
    prompts = generate.read_prompts(SAMPLE / "prompts.jsonl")
    systems = generate.read_systems(SAMPLE / "systems.json")
    assert len(systems) == 6 and len(prompts) >= 55
    assert [(row["response_id"], row["recipe"]) for row in _rows()] == [
        (f"{prompt.prompt_id}/{system.name}", system.recipe(prompt)) for prompt in prompts for system in systems
    ]


def test_answers_are_never_empty_and_say_how_they_ended() -> None:
    for row in _rows():
        limit = row["generation"]["max_new_tokens"]  # type: ignore[index]
        assert str(row["text"]).strip() == row["text"] != ""
        assert row["finish"] == "length" if row["n_tokens"] == limit else row["finish"] == "stop", row["response_id"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"prompt_id": "a", "category": "c", "language": "en"}', r"prompts\.jsonl:1: the keys must be exactly"),
        (
            '{"prompt_id": "a", "category": "c", "language": "en", "text": " "}',
            r":1: 'text' must be a non-empty string",
        ),
        ('{"prompt_id": "a", "category": "c", "language": "en", "text": "x"}\n{', r":2: not JSON"),
        ('{"prompt_id": "a", "category": "c", "language": "en", "text": "x"}\n' * 2, r":2: prompt_id 'a' occurs twice"),
        ("", "no prompts"),
    ],
)
def test_bad_prompts_name_file_and_line(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(lines, encoding="utf-8")
    with pytest.raises(generate.SampleError, match=message):
        generate.read_prompts(path)


def test_missing_package_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "PACKAGE", "no_such_package_at_all")
    assert generate.main(["--cache", str(tmp_path), "--out", str(tmp_path / "out.jsonl")]) == 2
    assert capsys.readouterr().err.startswith(
        "error: package 'no_such_package_at_all' is missing; install it with: pip"
    )


def test_current_answers_need_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "responses.jsonl"
    out.write_bytes((SAMPLE / "responses.jsonl").read_bytes())
    monkeypatch.setattr(generate, "PACKAGE", "no_such_package_at_all")
    assert generate.main(["--cache", str(tmp_path), "--out", str(out)]) == 0
    assert out.read_bytes() == (SAMPLE / "responses.jsonl").read_bytes()


def test_draws_follow_the_nucleus_and_not_the_batch() -> None:
    torch = pytest.importorskip("torch")
    decoding = generate.Decoding(**DECODING)
    # Masses 0.4, 0.3, 0.2, 0.1: the nucleus of 0.7 is exactly the first two tokens, with odds 4 : 3.
    scores = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.1]]))
    prompt_only = torch.zeros((1, 2), dtype=torch.long)

    def draws(prompt_ids: list[str], row: int) -> list[int]:
        sampler = generate.RowSampler(decoding, prompt_ids, prompt_length=2, end_token=3)
        rows = len(prompt_ids)
        return [
            int(sampler(prompt_only.expand(rows, -1), scores.expand(rows, -1))[row].argmax())
            for _ in range(decoding.max_new_tokens)
        ]

    alone = draws(["x"], 0)
    assert draws(["y", "x"], 1) == alone
    assert draws(["y", "x"], 0) != alone
    assert set(alone) == {0, 1}
    # 4 standard deviations of a binomial share with n = 400 and p = 4/7.
    assert np.mean(np.asarray(alone) == 0) == pytest.approx(4 / 7, abs=4 * np.sqrt(4 / 7 * 3 / 7 / 400))


def test_penalties_spare_prompt_and_end_token() -> None:
    torch = pytest.importorskip("torch")
    decoding = generate.Decoding(**{**DECODING, "temperature": 0.0, "presence_penalty": 0.5})
    sampler = generate.RowSampler(decoding, ["x"], prompt_length=2, end_token=3)
    # Prompt: 4, 5. Answer: 1, 2, 0, 3, 1, 2; after "1, 2" a 0 would repeat a run of three.
    sequence = torch.tensor([[4, 5, 1, 2, 0, 3, 1, 2]])
    assert sampler(sequence, torch.ones((1, 6))).tolist() == [[-torch.inf, 0.5, 0.5, 1.0, 1.0, 1.0]]
