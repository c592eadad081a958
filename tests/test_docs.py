"""The pages' Python runs, the generated pages are current, and links between pages lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import preflearn as pf

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]


def code_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.S)


@pytest.mark.parametrize(
    "name", ["docs/tutorial.md", "docs/ranking.md", "docs/train.md", "docs/models.md", "README.md"]
)
def test_python_on_the_page_runs(name, tmp_path, monkeypatch, capsys):
    blocks = code_blocks(ROOT / name)
    assert blocks
    pf.data.sample().save(tmp_path / "sample")
    monkeypatch.chdir(tmp_path)
    scope = {"PATH": tmp_path / "sample"}
    for block in blocks:
        exec(compile(block, name, "exec"), scope)
    assert capsys.readouterr().out


def test_the_tables_page_is_current():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "scripts" / "docs" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "tables.md").read_text("utf-8") == module.render()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
