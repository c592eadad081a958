"""`preflearn demo` and `preflearn report`: the whole line ends in a page, on simulated, real and hopeless data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preflearn import simulate
from preflearn.data import load, sample_path
from preflearn.errors import InputError
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two camps with personal tastes, ties and a position effect, on prompts: what the bundled sample is like."""
    camps = {
        "brief": {"warm": -0.8, "terse": 0.8, "lists": 0.0},
        "friendly": {"warm": 0.9, "terse": -0.7, "lists": -0.2},
    }
    scenario = simulate.Scenario(
        votes=3000,
        utility=(simulate.Strengths(by_level=camps), simulate.Offsets(0.3), simulate.Position(0.3)),
        population=simulate.Population(40, {"brief": 0.5, "friendly": 0.5}),
        answers=simulate.Answers("davidson", {"log_tie": -0.7}),
        prompts=40,
        overlap=2,
        seed=9,
    )
    path = tmp_path_factory.mktemp("panel") / "data"
    simulate.run(scenario).save(path)
    return path


def test_the_whole_line_recovers_the_camps(run: Run, panel: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    ran = run("demo", "--data", panel, "--out", out, "--json", "--quiet")
    assert ran.code == 0, ran.err
    document = ran.document
    rank = document["rank"]
    assert rank["brief"]["items"][0]["item"] == "terse" and rank["friendly"]["items"][0]["item"] == "warm"
    widths = [[item["se"] for item in rank[name]["items"]] for name in ("honest", "usual")]
    assert min(widths[0]) > 1.5 * max(widths[1]), "people who differ make the usual intervals far too short"
    losses = {name: found["log_loss_decided"]["value"] for name, found in document["evaluate"].items()}
    assert losses["one leaderboard per group"] < losses["usual leaderboard"] - 0.02
    said = " ".join(document["summary"])
    assert ("true strengths lie within" in said and "rank 3 of 3 items differently" in said) or "rank 2 of 3" in said
    html = (out / "report.html").read_text()
    assert "Where the usual leaderboard misleads, and the truth" in html
    assert load(out / "data").height("comparisons") == 3000
    assert json.loads((out / "leaderboard.json").read_text()).keys() == rank.keys()
    assert run("demo", "--data", panel, "--out", out).code == 2
    assert run("demo", "--data", panel, "--out", out, "--force").code == 0


def test_it_runs_on_plain_votes_of_few_people(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("system_a,system_b,outcome\nx,y,a\ny,z,tie\nx,z,b\nz,y,a\ny,x,a\n")
    ran = run("demo", "--data", path, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "nothing was held out" in ran.out and (tmp_path / "out" / "report.html").is_file()


def test_it_says_why_there_is_no_leaderboard(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"system": "x", "prompt": "p", "label": "up"}\n{"system": "y", "prompt": "p", "label": "down"}\n')
    ran = run("demo", "--data", path, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    assert "labels" in ran.document["rank"]["reason"]


def test_the_bundled_sample(run: Run, tmp_path: Path) -> None:
    try:
        sample_path()
    except InputError as error:
        pytest.skip(str(error))
    ran = run("demo", "--out", tmp_path / "demo", "--json")
    assert ran.code == 0, ran.err
    document = ran.document
    assert document["seconds"] < 60
    assert "SIMULATED" in ran.err and document["validate"]["ok"]
    groups = [name for name in document["rank"] if name not in {"usual", "honest"}]
    assert len(groups) == 2
    tops = {document["rank"][group]["items"][0]["item"] for group in groups}
    assert len(tops) == 2, "the camps do not share a favourite"
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "simulated" in page and len(page) < 2_000_000


def test_report(run: Run, panel: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    ran = run("report", panel, "--out", out, "--title", "A <title>", "--json")
    assert ran.code == 0 and ran.document["bytes"] == out.stat().st_size
    assert "A &lt;title&gt;" in out.read_text()
    assert run("report", panel, "--out", out).code == 2
    assert run("report", panel, "--out", out, "--force", "--by", "shown_first").code == 0
    assert run("report", panel, "--out", out, "--force", "--by", "nope").code == 2
    assert run("report", panel, "--out", tmp_path).code == 2


def test_describe(run: Run, panel: Path) -> None:
    document = run("describe", panel, "--resamples", 50, "--json").document
    assert document["comparisons"]["judgments"] == 3000 and document["people"]["active"] == 40
    columns = run("describe", panel, "--columns", "--json").document["comparisons"]
    assert {"annotators.group", "prompts.category"} & {column["name"] for column in columns}
