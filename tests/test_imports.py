"""What importing the package and starting the command load: by list of modules, in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "pandas", "matplotlib", "sklearn", "transformers"}
NOT_FOR_HELP = HEAVY | {"polars", "numpy", "scipy", "pyarrow", "rich", "jinja2", "yaml"}

HELP = """
import sys
from preflearn.cli.main import run
assert run({arguments}) == 0
"""
LAYERS = """
import preflearn as pf
from preflearn import data, evaluate, ranking, report, simulate
from preflearn.data import load, merge, read, save, scan
pf.ranking.BradleyTerry, pf.simulate.bradley_terry, pf.evaluate.describe, pf.report.write
"""


def loaded(code: str) -> set[str]:
    """Top-level modules after running `code`."""
    probe = code + "\nimport sys; print('@@', *sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("@@")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["rank", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert not loaded(HELP.format(arguments=arguments)) & NOT_FOR_HELP


def test_import_loads_nothing_heavy() -> None:
    assert not loaded("import preflearn") & NOT_FOR_HELP


def test_the_rooms_without_training_load_nothing_heavy() -> None:
    assert not loaded(LAYERS) & HEAVY
