"""Real data from its files to a page: every set imports, describes, and ranks or says why not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run

MAPPINGS = Path(__file__).resolve().parents[2] / "examples" / "mappings"
QUICK = {"pandalm": "llama-7b", "preflib": None, "agiqa3k": None}
"""Sets of the quick suite, with the system that is first where it is beyond doubt."""
NAMES = sorted(path.stem for path in MAPPINGS.glob("*.yaml"))
NOTHING_RECURS = {"autoj", "dices", "hh_harmless", "llmbar", "obd", "pbrl", "polis", "rmbench", "shepherd", "vpl_hh"}
"""Sets without named systems, or with labels or signals only: a page about them says why there is no leaderboard."""


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_from_files_to_a_page(run: Run, tmp_path: Path, name: str) -> None:
    folder = os.environ.get("PREFLEARN_DATA")
    if not folder:
        pytest.skip("PREFLEARN_DATA names no folder with the public data sets")
    made = run("import", folder, "--map", MAPPINGS / f"{name}.yaml", "--out", tmp_path / "data", "--json", "--quiet")
    assert made.code == 0, made.err
    item = ["--item", "response_id"] if name.startswith("ukpconvarg") else []
    page = tmp_path / "page.html"
    ran = run("report", tmp_path / "data", *item, "--out", page, "--json", "--quiet")
    assert ran.code == 0, ran.err
    summary = ran.document["summary"]
    assert summary[0].startswith("No leaderboard could be made") == (name in NOTHING_RECURS), summary
    html = page.read_text()
    assert "nan" not in html.replace("dominan", "").split("</style>")[1].split() and len(html) < 2_000_000
    if QUICK.get(name):
        assert summary[0].startswith(f"{QUICK[name]} is first")
    if "comparisons" in made.document["counts"]:
        assert run("describe", tmp_path / "data", "--resamples", 20, "--json").document["comparisons"]["judgments"] > 0
