"""Small simulated data sets on disk, and a way to run the program that returns what it printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from preflearn import simulate
from preflearn.cli.main import run as main
from preflearn.data import save


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def camps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups with opposite tastes: pooled, nothing stands out."""
    strengths = {
        "north": {"warm": 1.0, "terse": 0.0, "lists": -1.0},
        "south": {"warm": -1.0, "terse": 0.0, "lists": 1.0},
    }
    path = tmp_path_factory.mktemp("camps") / "data"
    save(simulate.groups(strengths, n_votes=3000, n_annotators=30, seed=1), path)
    return path


@pytest.fixture(scope="session")
def ties(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Davidson votes with known strengths and truth."""
    path = tmp_path_factory.mktemp("ties") / "data"
    simulate.davidson({"w": 0.9, "x": 0.3, "y": -0.3, "z": -0.9}, tie=0.6, n_votes=4000, n_annotators=40, seed=2).save(
        path
    )
    return path


@pytest.fixture(scope="session")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Votes on responses to prompts with a position effect."""
    path = tmp_path_factory.mktemp("prompts") / "data"
    save(simulate.biased(5, position=0.4, length=0.3, n_prompts=60, n_votes=2000, n_annotators=25, seed=3), path)
    return path
