"""import, export, validate, merge, split, convert, simulate, methods: the documents, the files and the refusals."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from preflearn.data import load
from tests.cli.conftest import Run

VOTES = "system_a,system_b,outcome,annotator_id\nx,y,a,u1\ny,z,tie,u2\nx,z,b,u1\nz,y,a,u3\n"


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    path = tmp_path / "votes.csv"
    path.write_text(VOTES)
    return path


def test_import_and_export_come_round(run: Run, votes: Path, tmp_path: Path) -> None:
    made = run("import", votes, "--out", tmp_path / "data", "--json")
    assert made.code == 0 and made.document["counts"]["comparisons"] == 4
    assert made.document["imports"][0]["kept"] == 4
    assert run("import", votes, "--out", tmp_path / "data").code == 2, "no overwriting"
    assert run("import", votes, "--out", tmp_path / "data", "--force").code == 0
    assert run("export", tmp_path / "data", "--to", "csv", "--out", tmp_path / "again.csv").code == 0
    again = run("import", tmp_path / "again.csv", "--out", tmp_path / "again", "--json").document
    assert again["counts"]["comparisons"] == 4
    outcomes = [load(tmp_path / name).comparisons["outcome"].to_list() for name in ("data", "again")]
    assert outcomes[0] == outcomes[1] == ["a", "tie", "b", "a"]


def test_import_maps_columns_and_counts_unreadable_rows(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("left_one,right_one,who_won\nx,y,a\nx,y,banana\n")
    pairs = ["--map", "system_a=left_one", "--map", "system_b=right_one", "--map", "outcome=who_won"]
    document = run("import", path, *pairs, "--out", tmp_path / "odd", "--json").document
    assert document["counts"]["comparisons"] == 1 and sum(document["imports"][0]["rejected"].values()) == 1
    kept = [json.loads(line) for line in (tmp_path / "odd" / "rejected.jsonl").read_text().splitlines()]
    assert len(kept) == 1 and kept[0]["line"] == 3
    assert run("import", path, *pairs, "--strict", "--out", tmp_path / "strict").code == 2
    assert not (tmp_path / "strict").exists()


def test_several_sources_are_merged(run: Run, votes: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("system_a,system_b,outcome,annotator_id\nx,y,b,u9\n")
    document = run("import", votes, other, "--out", tmp_path / "both", "--json").document
    assert document["counts"]["comparisons"] == 5 and len(document["imports"]) == 2


def test_validate(run: Run, ties: Path, tmp_path: Path) -> None:
    good = run("validate", ties, "--json")
    assert good.code == 0 and good.document["ok"] and good.document["problems"] == []
    data = load(ties)
    broken = data.comparisons.with_columns(weight=pl.lit(-1.0))
    data.replace(comparisons=broken).save(tmp_path / "broken")
    bad = run("validate", tmp_path / "broken", "--json")
    assert bad.code == 1 and not bad.document["ok"]
    assert bad.document["problems"][0]["column"] == "weight" and bad.document["problems"][0]["count"] == 4000


def test_merge(run: Run, ties: Path, camps: Path, tmp_path: Path) -> None:
    command = ["merge", ties, camps, "--out", tmp_path / "both", "--apart", "annotators", "--json"]
    document = run(*command).document
    assert document["counts"]["comparisons"] == 7000 and document["counts"]["annotators"] == 70
    assert run("validate", tmp_path / "both").code == 0
    assert run("merge", ties, "--out", tmp_path / "one").code == 2


def test_split_by_every_unit(run: Run, prompts: Path, tmp_path: Path) -> None:
    for unit in ("prompt", "annotator", "component", "time"):
        out = tmp_path / unit
        ran = run("split", prompts, "--by", unit, "--fractions", ".8,.1,.1", "--out", out, "--json")
        assert ran.code == 0, ran.err
        parts = ran.document["parts"]
        assert list(parts) == ["train", "validation", "test"]
        assert sum(part["counts"]["comparisons"] for part in parts.values()) == 2000
        assert all(load(part["path"]).height("comparisons") for part in parts.values())
    people = [set(load(tmp_path / "annotator" / part).comparisons["annotator_id"]) for part in ("train", "test")]
    assert not people[0] & people[1]
    for options in (["--fractions", "a,b"], ["--fractions", ".5,.5", "--names", "x"], ["--fractions", "1"]):
        assert run("split", prompts, *options, "--out", tmp_path / "wrong").code == 2


def test_convert_states_its_assumptions(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    rows = [{"system": s, "prompt": "p", "value": v, "annotator_id": "u"} for s, v in (("x", 1), ("y", 2), ("z", 4))]
    path.write_text("\n".join(map(json.dumps, rows)))
    command = ["convert", path, "ratings-to-pairs", "--set", "margin=1", "--json"]
    document = run(*command, "--out", tmp_path / "pairs").document
    assert document["settings"] == {"margin": 1.0} and document["counts"]["comparisons"] == 3
    assert sorted(load(tmp_path / "pairs").comparisons["outcome"]) == ["b", "b", "tie"]
    assert any("margin 1" in step for step in document["steps"])
    for wrong in (["nope"], ["pool"], ["ratings-to-pairs", "--set", "margin=x"], ["ratings-to-pairs", "--set", "x"]):
        assert run("convert", path, *wrong, "--out", tmp_path / "wrong").code == 2
    assert not (tmp_path / "wrong").exists()


def test_simulate_writes_data_and_truth(run: Run, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("votes: 200\nutility:\n  - kind: strengths\n    values: {x: 1.0, y: 0.0}\n")
    ran = run("simulate", spec, "--out", tmp_path / "data", "--seed", "5", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["counts"]["comparisons"] == 200 and ran.document["seed"] == 5
    assert (tmp_path / "data" / "truth" / "scenario.json").is_file()
    spec.write_text("votes: many\n")
    assert run("simulate", spec, "--out", tmp_path / "wrong").code == 2


def test_methods(run: Run) -> None:
    listed = run("methods", "--json").document["methods"]
    keys = [entry["key"] for entry in listed]
    assert "bradley_terry" in keys and len(keys) == len(set(keys))
    one = run("methods", "davidson", "--json").document
    assert one["year"] == 1970 and one["proof"]
    unknown = run("methods", "davidsn", "--json")
    assert unknown.code == 2 and "davidson" in unknown.document["error"]["message"]
    assert run("methods", "--verify").code == 2


def test_a_mapping_file_finds_its_sources_by_the_variable(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.csv").write_text("left_one,right_one,won\nx,y,1\ny,x,2\n")
    mapping = tmp_path / "tiny.yaml"
    mapping.write_text(
        "name: tiny\nabout: two battles\nsources:\n  votes: tiny.csv\noutputs:\n  - table: comparisons\n"
        "    from: votes\n    roles:\n      system_a: left_one\n      system_b: right_one\n"
        "      outcome: {column: won, values: {1: a, 2: b}}\n"
    )
    monkeypatch.delenv("PREFLEARN_DATA", raising=False)
    refused = run("import", "--map", mapping, "--out", tmp_path / "data")
    assert refused.code == 2 and "PREFLEARN_DATA" in refused.err
    assert run("import", "--out", tmp_path / "data").code == 2
    monkeypatch.setenv("PREFLEARN_DATA", str(tmp_path))
    made = run("import", "--map", mapping, "--out", tmp_path / "data", "--json")
    assert made.code == 0 and made.document["counts"]["comparisons"] == 2
