from __future__ import annotations

from pathlib import Path

import pytest

from tests.backbones import makers


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test."""
    directory = tmp_path / "cache"
    monkeypatch.setenv("PREFLEARN_CACHE", str(directory))
    return directory


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return makers.tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def plain_llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same without a chat template."""
    return makers.tiny_llama(tmp_path_factory.mktemp("plain_llama"), template=None)
