"""`predict` and `evaluate`: held-out figures, files of predictions, and overlap refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import Run

FIGURES = ("accuracy", "log_loss", "brier", "ece", "auc")


@pytest.fixture
def parts(run: Run, prompts: Path, tmp_path: Path) -> Path:
    assert run("split", prompts, "--out", tmp_path / "parts", "--by", "prompt", "--fractions", ".7,.3").code == 0
    return tmp_path / "parts"


def test_a_saved_model_its_predictions_and_a_named_model_agree(run: Run, parts: Path, tmp_path: Path) -> None:
    model, predictions = tmp_path / "m.safetensors", tmp_path / "p.parquet"
    assert run("rank", parts / "train", "--model", "bradley_terry", "--save", model).code == 0
    made = run("predict", model, parts / "test", "--out", predictions, "--json").document
    assert made["unanswered"] == 0 and made["predictions"] == pl.read_parquet(predictions).height
    command = ["evaluate", model, predictions, "bradley_terry", parts / "test", "--train", parts / "train"]
    documents = run(*command, "--json").document["models"]
    assert list(documents) == [str(model), str(predictions), "bradley_terry"]
    for figure in FIGURES:
        values = [document["figures"][figure]["value"] for document in documents.values()]
        assert values == pytest.approx([values[0]] * 3)
        assert documents[str(model)]["figures"][figure].keys() >= {"value", "low", "high", "n"}
        assert documents[str(predictions)]["differences"][figure]["value"] == pytest.approx(0)
    assert documents[str(model)]["figures"]["accuracy"]["low"] > 0.5, "better than chance on held-out votes"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_predictions_of_ties_survive_every_file(run: Run, ties: Path, tmp_path: Path, suffix: str) -> None:
    model, predictions = tmp_path / "m.safetensors", tmp_path / f"p{suffix}"
    run("rank", ties, "--save", model)
    assert run("predict", model, ties, "--out", predictions).code == 0
    options = ["--allow-overlap", "--resamples", 0, "--json"]
    direct = run("evaluate", model, ties, *options).document
    read = run("evaluate", predictions, ties, *options).document
    assert read["log_loss"]["value"] == pytest.approx(direct["log_loss"]["value"], rel=1e-12)
    assert "knows ties" in read["ties"]


def test_by_and_training_rows(run: Run, parts: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    run("rank", parts / "train", "--save", model)
    document = run("evaluate", model, parts / "test", "--by", "outcome", "--resamples", 50, "--json").document
    assert set(document["by"]["outcome"]) == {"a", "b"}
    refused = run("evaluate", model, parts / "train", "--json")
    assert refused.code == 2 and "training data" in refused.document["error"]["message"]


def test_what_cannot_be_evaluated_is_refused(run: Run, ties: Path, tmp_path: Path) -> None:
    assert run("evaluate", ties).code == 2
    assert run("evaluate", "davidsen", ties).code == 2
    assert run("evaluate", "davidson", "davidson", ties).code == 2
    assert run("evaluate", tmp_path / "none.safetensors", ties).code == 2
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("comparison_id,probability\nnope,0.5\n")
    assert run("evaluate", wrong, ties).code == 2
    wrong.write_text("id,p\nnope,0.5\n")
    assert run("evaluate", wrong, ties).code == 2
    first = pl.read_parquet(ties / "comparisons.parquet")["comparison_id"][0]
    wrong.write_text(f"comparison_id,probability\n{first},1.5\n")
    assert run("evaluate", wrong, ties).code == 2
    wrong.write_text(f"comparison_id,probability\n{first},0.5\n{first},0.6\n")
    assert "twice" in run("evaluate", wrong, ties).err


def test_predict_writes_only_known_files(run: Run, ties: Path, tmp_path: Path) -> None:
    run("rank", ties, "--save", tmp_path / "m")
    assert run("predict", tmp_path / "m", ties, "--out", tmp_path / "p.txt").code == 2
