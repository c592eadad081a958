from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.backbones.cache import Batch, Found, Job, through_cache
from preflearn.data.ids import digest
from preflearn.errors import InputError

DIMENSION = 5


def vector(text: str) -> list[float]:
    return [float(int(text) + place) for place in range(DIMENSION)]


def encode(
    texts: list[str], asked: list[str] | None = None, after: int | None = None, size: int = 3, signature: str = "s"
) -> Found:
    """Texts are numbers; `asked` collects what is computed; after so many batches the run dies."""
    asked = [] if asked is None else asked

    def compute(chosen: np.ndarray) -> Job:
        def run():
            for number, start in enumerate(range(0, len(chosen), size)):
                if number == after:
                    raise KeyboardInterrupt
                places = np.arange(start, min(start + size, len(chosen)))[::-1]
                mine = [texts[chosen[place]] for place in places]
                asked.extend(mine)
                vectors = np.array([vector(text) for text in mine], dtype=np.float32)
                yield Batch(places, vectors, np.array([int(text) % 3 for text in mine]), len(places))

        return Job(len(chosen), run())

    return through_cache(digest(pl.Series(texts, dtype=pl.String)), signature, compute, label="numbers")


def right(found: Found, texts: list[str]) -> bool:
    return found.vectors.tolist() == [vector(t) for t in texts] and found.cut.tolist() == [int(t) % 3 for t in texts]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=20), min_size=1, max_size=4))
def test_each_text_is_computed_once_whatever_is_asked(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFLEARN_CACHE", str(tmp_path_factory.mktemp("cache")))
        asked: list[str] = []
        for run in runs:
            texts = [str(number) for number in run]
            assert right(encode(texts, asked), texts)
        assert sorted(asked) == sorted({str(number) for run in runs for number in run})


def test_encoders_do_not_share(cache: Path) -> None:
    asked: list[str] = []
    encode(["1"], asked)
    encode(["1"], asked, signature="other")
    assert asked == ["1", "1"] and len(list((cache / "vectors").iterdir())) == 2


def test_a_killed_run_keeps_its_finished_batches() -> None:
    texts = [str(number) for number in range(10)]
    with pytest.raises(KeyboardInterrupt):
        encode(texts, after=2)
    asked: list[str] = []
    assert right(encode(texts, asked), texts) and len(asked) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-7],
        lambda content: content + b"\0" * 30,
        lambda content: content + b"\0" * 44 * 2,
        lambda content: content[:60] + bytes([content[60] ^ 8]) + content[61:],
        lambda content: b"",
    ],
    ids=["cut off", "torn", "zeros", "flipped bit", "empty"],
)
def test_damaged_files_cost_only_what_is_damaged(cache: Path, damage: Callable[[bytes], bytes]) -> None:
    texts = [str(number) for number in range(8)]
    encode(texts)
    (path,) = cache.rglob("*.vectors")
    whole = path.read_bytes()
    assert len(whole) == 8 * 44
    path.write_bytes(damage(whole))
    asked: list[str] = []
    assert right(encode(texts, asked), texts)
    assert len(asked) in ({8} if not damage(whole) else {0, 1})
    more = [str(number) for number in range(12)]
    assert right(encode(more, asked), more)
    done: list[str] = []
    assert right(encode(more, done), more) and not done, "records written after the damage are read"


def test_two_processes_write_at_once(cache: Path) -> None:
    code = """
import sys
from tests.backbones.test_cache import encode, right
texts = [str(number) for number in range(int(sys.argv[1]), int(sys.argv[2]))]
assert right(encode(texts, size=7), texts)
"""
    ranges = [(0, 900), (500, 1500), (0, 1500)]
    runs = [subprocess.Popen([sys.executable, "-c", code, *map(str, pair)]) for pair in ranges]
    assert [run.wait() for run in runs] == [0, 0, 0]
    asked: list[str] = []
    texts = [str(number) for number in range(1500)]
    assert right(encode(texts, asked), texts) and not asked
    assert 1 <= len(list(cache.rglob("*.vectors"))) <= 3


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("PREFLEARN_CACHE", str(blocked))
    with pytest.raises(InputError, match="Set PREFLEARN_CACHE"):
        encode(["1"])


def test_nothing_is_asked() -> None:
    found = encode([])
    assert found.vectors.shape == (0, 0)


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    keys = digest(pl.Series(["1"]))
    job = Job(1, iter([Batch(np.array([0]), np.ones((1, 2), np.float32), np.array([0]), 1)]))
    through_cache(keys, "s", lambda chosen: job, label="responses through a model", progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "responses through a model" in shown.err and "100 %" in shown.err
