"""The benchmark runs, agrees with itself, and its page shows what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    file = tmp_path_factory.mktemp("bench") / "found.json"
    parts = ["--only", "fits", "--only", "starts", "--methods", "preflearn"]
    done = subprocess.run(
        [sys.executable, str(FOLDER / "ranking.py"), "--quick", *parts, "--json", str(file)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "x preflearn" in done.stdout and "preflearn --help" in done.stdout
    return json.loads(file.read_text())


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import page

    return page


def test_quick_run_measures_every_method_of_ours(document):
    found = {row["method"]: row for row in document["fits"]}
    assert set(found) == {"preflearn", "preflearn, with intervals", "preflearn, 100 bootstraps"}
    for row in found.values():
        assert row["repeats"] == 1 and 0 < row["cpu_s"] < 10 and row["codes_mb"] == pytest.approx(9 * 20_000 / 2**20)
    assert found["preflearn, with intervals"]["difference"] < 1e-12
    assert [row["what"] for row in document["starts"]] == ["python -c pass", "import preflearn", "preflearn --help"]


def test_page_shows_the_figures_and_judges_the_promises(document, page):
    ours = {"case": "10M x 300", "method": "preflearn", "replicates": 0, "note": None, "repeats": 3}
    costs = {"cpu_s": 0.123, "wall_s": 0.2, "peak_mb": 42.0, "codes_mb": 84.0, "difference": 0.0}
    slower = {**ours, **costs, "method": "evalica.bradley_terry", "cpu_s": 1.23}
    absent = {**ours, "method": "arena-rank", "repeats": 0, "note": "not installed"}
    case = {"10M x 300": {"title": "10,000,000 votes, 300 items"}}
    text = page.render({**document, "cases": case, "fits": [{**ours, **costs}, slower, absent]})
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert ["preflearn", "0.123", "1", "0.2", "42", "0.50", "0e+00", ""] in lines
    assert ["arena-rank", "-", "-", "-", "-", "-", "", "not installed"] in lines
    promises = {line[0]: line[1:] for line in lines if line[-1] in ("yes", "NO")}
    assert promises["fit, 10M x 300"] == ["at most 0.5 CPU-s", "0.123", "yes"]
    assert promises["evalica over preflearn, 10M x 300"] == ["at least 12 x", "10", "NO"]
    assert promises["peak above the holding process, 10M x 300"][1:] == ["0.5", "yes"]
    assert "fit, 2M x 200" not in promises  # not measured is not held


def test_simulated_votes_come_in_pieces_and_the_first_item_is_met_most(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import numpy as np
    from votes import Case, pieces

    case = Case("x", 5_000, 7)
    whole = next(pieces(case))
    assert np.all(whole.left != whole.right) and whole.left.max() == 6
    assert sum(len(part.left) for part in pieces(case, piece=999)) == 5_000
    assert np.bincount(whole.left)[0] > np.bincount(whole.left)[6]  # the first is the most popular


def test_the_documented_figures_are_the_stored_ones(page):
    stored = json.loads((FOLDER / "results.json").read_text("utf-8"))
    written = (FOLDER.parent / "docs" / "benchmarks.md").read_text("utf-8")
    assert written == page.render(stored), "write it with: benchmarks/ranking.py --from benchmarks/results.json --page"
    assert {bar.what for bar in page.BARS if bar.measure(stored) is None} == set()
