"""`preflearn rank`: the document of the contract, every option, and honest refusals."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from tests.cli.conftest import Run

ITEM = {"item", "strength", "se", "low", "high", "rank_low", "rank_high", "votes", "status"}
KEYS = {
    "items", "model", "scale", "anchor", "converged", "iterations", "log_likelihood", "n_votes", "n_annotators",
    "clustered_by", "warnings", "data_fingerprint", "version",
}  # fmt: skip
TRUTH = {"w": 0.9, "x": 0.3, "y": -0.3, "z": -0.9}


def test_the_document_and_the_truth(run: Run, ties: Path) -> None:
    ran = run("rank", ties, "--json")
    assert ran.code == 0
    document = ran.document
    assert document.keys() >= KEYS and all(item.keys() >= ITEM for item in document["items"])
    assert [item["item"] for item in document["items"]] == ["w", "x", "y", "z"]
    assert document["model"] == "davidson" and document["clustered_by"] == ["annotator_id"]
    assert document["n_votes"] == 4000 and document["n_annotators"] == 40 and document["converged"]
    for item in document["items"]:
        assert abs(item["strength"] - TRUTH[item["item"]]) < 4 * item["se"]
        assert item["low"] < item["strength"] < item["high"] and item["status"] == "estimable"
    assert "davidson" in ran.err and "place" in ran.err


def test_every_group_has_its_own_board(run: Run, camps: Path) -> None:
    document = run("rank", camps, "--by", "group", "--json").document
    assert set(document["by"]) == {"north", "south"}
    assert document["by"]["north"]["items"][0]["item"] == "warm"
    assert document["by"]["south"]["items"][0]["item"] == "lists"
    assert document["by"]["north"].keys() >= KEYS
    pooled = document["items"]
    assert all(abs(item["strength"]) < 0.3 for item in pooled)


def test_scales_and_anchor(run: Run, ties: Path) -> None:
    logit = {i["item"]: i for i in run("rank", ties, "--json").document["items"]}
    elo = {i["item"]: i for i in run("rank", ties, "--json", "--scale", "elo", "--anchor", "z=900").document["items"]}
    assert elo["z"]["strength"] == pytest.approx(900)
    gap = (logit["w"]["strength"] - logit["z"]["strength"]) * 400 / math.log(10)
    assert elo["w"]["strength"] - elo["z"]["strength"] == pytest.approx(gap)
    chance = run("rank", ties, "--json", "--scale", "probability").document["items"]
    assert sum(item["strength"] for item in chance) / 4 == pytest.approx(0.5)


def test_clusters_position_style_and_level_reach_the_model(run: Run, prompts: Path) -> None:
    options = [
        "--position",
        "--style",
        "length",
        "--cluster",
        "annotator_id",
        "--cluster",
        "prompt_id",
        "--level",
        ".9",
    ]
    document = run("rank", prompts, "--json", *options).document
    assert document["clustered_by"] == ["annotator_id", "prompt_id"] and document["level"] == 0.9
    effects = {effect["name"]: effect for effect in document["effects"]}
    assert abs(effects["position"]["estimate"] - 0.4) < 4 * effects["position"]["se"]
    assert "length" in effects
    assert run("rank", prompts, "--cluster", "none", "--json").document["clustered_by"] == []


def test_bootstrap_intervals_follow_the_seed(run: Run, camps: Path) -> None:
    first, again, other = (
        run("rank", camps, "--interval", "bootstrap", "--seed", seed, "--json").document["items"] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_files(run: Run, camps: Path, tmp_path: Path) -> None:
    table, page, model = tmp_path / "a.csv", tmp_path / "a.html", tmp_path / "a.safetensors"
    command = ["rank", camps, "--by", "group", "--csv", table, "--html", page, "--save", model]
    assert run(*command).code == 0
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 9 and {row["group"] for row in rows} == {"(everyone)", "north", "south"}
    assert "<svg" in page.read_text() and model.stat().st_size > 0
    assert run(*command).code == 2, "existing files are not replaced"
    assert run(*command, "--force").code == 0


def test_what_cannot_be_pooled_is_ranked_by_value(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "criteria.csv"
    votes = ["x,y,a,help", "y,x,a,help", "x,y,a,help", "x,y,b,harm", "y,x,b,harm", "x,y,b,harm"]
    path.write_text("\n".join(["system_a,system_b,outcome,criterion_id", *votes]))
    assert run("rank", path).code == 2, "criteria are never pooled"
    page, table = tmp_path / "p.html", tmp_path / "t.csv"
    document = run("rank", path, "--by", "criterion_id", "--html", page, "--csv", table, "--json").document
    assert document["items"] == [] and "criteria" in document["reason"]
    assert {value: part["items"][0]["item"] for value, part in document["by"].items()} == {"help": "x", "harm": "y"}
    assert "criterion_id = harm" in page.read_text() and len(table.read_text().splitlines()) == 5
    assert run("rank", path, "--by", "criterion_id", "--save", tmp_path / "m").code == 2


def test_terminal_text_fits_80_columns(run: Run, ties: Path) -> None:
    table = run("rank", ties).out.split("\n\n")[0]
    assert "[" in table and max(map(len, table.splitlines())) <= 80


def test_rankings_and_ratings_are_converted_aloud(run: Run, tmp_path: Path) -> None:
    lines = [
        f'{{"system": "{system}", "prompt": "p{p}", "value": {value}, "annotator_id": "u{u}"}}'
        for p in range(4)
        for u in range(3)
        for system, value in (("x", 3 + (p + u) % 2), ("y", 3), ("z", 2 + (p * u) % 3))
    ]
    path = tmp_path / "ratings.jsonl"
    path.write_text("\n".join(lines))
    ran = run("rank", path, "--json")
    assert ran.code == 0 and ran.document["n_votes"] == 36
    assert "no comparisons" in ran.err and any("no comparisons" in note for note in ran.document["notes"])


@pytest.mark.parametrize(
    "options",
    [
        ["--item", "nope"], ["--by", "nope"], ["--cluster", "nope"], ["--style", "nope"], ["--criterion", "nope"],
        ["--anchor", "nope"], ["--level", "1.5"], ["--since", "soon"], ["--ridge", "-1"], ["--scale", "nope"],
    ],
)  # fmt: skip
def test_bad_options_are_refused_in_one_line(run: Run, ties: Path, options: list[str]) -> None:
    ran = run("rank", ties, *options, "--json", "--quiet")
    assert ran.code == 2
    assert ran.document["exit_code"] == 2 and ran.document["error"]["message"]
    assert "Traceback" not in ran.err


def test_no_input(run: Run, tmp_path: Path) -> None:
    assert run("rank", tmp_path / "nothing").code == 2
    (tmp_path / "empty.csv").write_text("")
    assert run("rank", tmp_path / "empty.csv").code == 2
    (tmp_path / "text.csv").write_text("hello\nworld\n")
    assert run("rank", tmp_path / "text.csv").code == 2
