"""The benchmark of preference models runs, agrees with its peer, and its page shows what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def models(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import models

    return models


def test_one_measurement_of_each_and_the_same_optimum(models, tmp_path):
    found = {}
    for name in ("preflearn bradley_terry", "scikit-learn, newton-cholesky"):
        answer = tmp_path / f"{len(found)}.npy"
        done = subprocess.run(
            [sys.executable, str(FOLDER / "models.py"), "--measure", name, "tiny", str(answer)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["cpu_s"] > 0
        found[name] = models.np.load(answer)
    ours, exact = found.values()
    assert abs(ours - exact).max() < 1e-4 < abs(exact).max()


def test_promises_are_judged(models):
    cost = {"case": "100k", "note": None, "repeats": 3, "wall_s": 1.0, "peak_mb": 100.0, "resident_mb": 500.0}
    rows = [{**cost, "method": name, "cpu_s": 1.0 + i, "difference": 1e-5 * i} for i, name in enumerate(models.METHODS)]
    rows[-1]["cpu_s"] = 10.5
    case = {"100k": {"title": models.LIKE_TEXTS.title}}
    machine = {"processor": "x", "cores": 2, "python": "3", "versions": {}}
    lines = models.render({"machine": machine, "cases": case, "rows": rows}).splitlines()
    held = {
        line.split("|")[1].strip(): line.split("|")[-2].strip() for line in lines if line.endswith(("yes |", "NO |"))
    }
    assert (
        list(held.values()).count("NO") == 1 and held[f"{list(models.METHODS)[-1]} over bradley_terry, CPU-s"] == "NO"
    )


def test_the_documented_figures_are_the_stored_ones(models):
    stored = json.loads((FOLDER / "models.json").read_text("utf-8"))
    written = (FOLDER.parent / "docs" / "benchmarks_models.md").read_text("utf-8")
    assert written == models.render(stored), "write it with: benchmarks/models.py --from benchmarks/models.json --page"
    assert list(stored["cases"]) == [case.key for case, _ in models.FULL.plan]
