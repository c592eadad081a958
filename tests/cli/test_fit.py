"""`fit`, `embed`, `predict`, `export` and `evaluate` of models over content: documents, exit codes, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from preflearn.data.store import load
from preflearn.simulate.embedded import embedded
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = np.random.default_rng(0).standard_normal(4)
    study = embedded(lambda a, b, who, prompt: (a - b) @ weights, features=4, annotators=12, votes=20, prompts=20)
    path = tmp_path_factory.mktemp("content") / "data"
    study.data.save(path)
    return path


def test_fitted_predicted_and_evaluated(run: Run, content: Path, tmp_path: Path) -> None:
    model, file = tmp_path / "m", tmp_path / "p.csv"
    fitted = run("fit", "bradley_terry", content, "--out", model, "--json")
    assert fitted.code == 0 and fitted.document["features"] == 4 and fitted.document["judgments"] == 240
    assert run("fit", "bradley_terry", content, "--out", model).code == 2, "not replaced without --force"
    assert run("fit", "bradley_terry", content, "--out", model, "--force", "--quiet").code == 0
    assert run("predict", model, content, "--out", file, "--json").document["predictions"] == 240
    assert pl.read_csv(file)["probability"].is_between(0, 1).all()
    overlap = run("evaluate", model, content, "--json")
    assert overlap.code == 2 and "overlap" in overlap.err, "training rows are not scored unasked"


def test_fallbacks_are_said(run: Run, content: Path, tmp_path: Path) -> None:
    """Strangers are predicted by the stated fallback, and both verbs that predict say of how many."""
    data = load(content)
    strangers = data.comparisons.with_columns(pl.col("annotator_id").cast(pl.String) + "-other")
    data.replace("other people", comparisons=strangers, annotators=data.annotators.clear()).save(tmp_path / "data")
    assert run("fit", "offsets", content, "--out", tmp_path / "m", "--quiet").code == 0
    for verb, *more in (("predict", "--out", tmp_path / "p.csv"), ("evaluate",)):
        said = run(verb, tmp_path / "m", tmp_path / "data", *more)
        assert said.code == 0 and "240 of 240 comparisons are of annotators that the model does not know" in said.err


def test_yaml_of_parts(run: Run, content: Path, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("kernel: difference\noutcomes: [{choice: {link: davidson}}]\nridge: 30\n")
    one = run("fit", tmp_path / "m.yaml", content, "--out", tmp_path / "one", "--json").document
    two = run("fit", tmp_path / "m.yaml", content, "--out", tmp_path / "two", "--set", "ridge=3", "--json").document
    assert one["converged"] and two["objective"] < one["objective"], "--set goes before the file"
    (tmp_path / "m.yaml").write_text("kernal: difference\n")
    wrong = run("fit", tmp_path / "m.yaml", content, "--out", tmp_path / "three")
    assert wrong.code == 2 and "'kernal'" in wrong.err


def test_yaml_of_a_recipe_takes_its_options(run: Run, content: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "m.yaml", tmp_path / "m"
    file.write_text("recipe: gpm\npairs: 2\nridge: 30\n")
    assert run("fit", file, content, "--out", out, "--set", "pairs=1", "--json").code == 0
    saved = json.loads((out / "model.json").read_text())["parameters"]
    assert saved["head"]["head/skew"]["pairs"] == 1 and saved["ridge"] == 30
    wrong = run("fit", file, content, "--out", tmp_path / "two", "--set", "pears=1")
    assert wrong.code == 2 and "Did you mean pairs" in wrong.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bradley_tery",), "Did you mean bradley_terry"),
        (("bradley_terry", "--set", "rigde=1"), "Did you mean ridge"),
        (("bradley_terry", "--set", "ridge"), "key=value"),
        (("bradley_terry", "--set", "noise=position"), "noise=[position]"),
        (("mixture", "--set", "components=two"), "components"),
        (("bradley_terry", "--encoder", "nothing-of-this-name"), "nothing-of-this-name"),
    ],
)
def test_bad_options_exit_with_two_and_write_nothing(
    run: Run, content: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    recipe, *options = arguments
    ran = run("fit", recipe, content, "--out", tmp_path / "m", *options, "--json")
    assert ran.code == 2 and says in json.loads(ran.out)["error"]["message"] and not (tmp_path / "m").exists()


def test_options_of_what_is_not_fitted_are_refused(run: Run, content: Path) -> None:
    ran = run("evaluate", "rank:bradley_terry", content, "--set", "ridge=3")
    assert ran.code == 2 and "no options" in ran.err


def test_what_cannot_be_exported_says_why(run: Run, content: Path, tmp_path: Path) -> None:
    assert run("fit", "bradley_terry", content, "--out", tmp_path / "m").code == 0
    for target in ("transformers", "sentence-transformers"):
        ran = run("export", tmp_path / "m", "--to", target, "--out", tmp_path / target)
        assert ran.code == 1 and "encoder Embedding" in ran.err
    for option in (("--criterion", "tone"), ("--license", "mit")):
        ran = run("export", tmp_path / "m", "--to", "transformers", "--out", tmp_path / "y", *option)
        assert ran.code == 2 and option[0] in ran.err and not (tmp_path / "y").exists()
    ran = run("export", content, "--to", "transformers", "--out", tmp_path / "x")
    assert ran.code == 2 and "not a saved preference model" in ran.err
