"""`hf:NAME[:CONFIG][@REVISION]` with a hub of directories in place of the network."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from preflearn.data.io import export, hub, read
from preflearn.errors import InputError, MissingDependency

FIXTURES = Path(__file__).parents[2] / "fixtures" / "formats"
PAIR = '{"prompt": "p", "chosen": "good", "rejected": "%s"}\n'


class FakeHub:
    """A hub whose data sets are directories; a name that is absent fails as the real one does without a network."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.HfApi = lambda: SimpleNamespace(list_repo_files=self.list_repo_files)
        self.fetched: list[tuple[str, str | None, tuple[str, ...]]] = []

    def list_repo_files(self, name: str, *, repo_type: str, revision: str | None) -> list[str]:
        assert repo_type == "dataset"
        folder = self.root / name
        if not folder.is_dir():
            raise ConnectionError("Name or service not known")
        return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]

    def snapshot_download(self, name: str, **options: Any) -> str:
        if options.get("local_files_only") or not (self.root / name).is_dir():
            raise FileNotFoundError("nothing in the cache")
        self.fetched.append((name, options["revision"], tuple(options["allow_patterns"])))
        return str(self.root / name)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    made = FakeHub(tmp_path)
    monkeypatch.setattr(hub, "_hub", lambda: made)
    return made


def _put(fake: FakeHub, name: str, content: str) -> None:
    path = fake.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")


def test_names_are_taken_apart() -> None:
    assert hub.parse("hf:a/b") == ("a/b", None, None)
    assert hub.parse("hf:a/b:preference@v1.0") == ("a/b", "preference", "v1.0")
    assert hub.parse("hf:squad@refs/pr/1", "main") == ("squad", None, "refs/pr/1")
    assert hub.parse("hf:a/b", "main").revision == "main"
    with pytest.raises(InputError, match="hf:OWNER/NAME"):
        hub.parse("hf:a/b/c d")


def test_all_data_files_without_a_card(fake: FakeHub) -> None:
    _put(fake, "me/pairs/data/train-00000-of-00001.jsonl", PAIR % "bad" + PAIR % "worse")
    _put(fake, "me/pairs/data/test-00000-of-00001.jsonl", PAIR % "worst")
    _put(fake, "me/pairs/.hidden/x.jsonl", "no")
    data = read("hf:me/pairs@abc")
    assert data.counts()["comparisons"] == 3
    assert data.report is not None and data.report.source == "hf:me/pairs@abc"
    assert data.provenance["hub"] == {"name": "hf:me/pairs@abc", "revision": "abc"}
    assert fake.fetched == [("me/pairs", "abc", ("data/test-00000-of-00001.jsonl", "data/train-00000-of-00001.jsonl"))]


def test_configurations_of_the_card(fake: FakeHub) -> None:
    card = (
        "---\nconfigs:\n- config_name: first\n  data_files: one/*.jsonl\n- config_name: second\n  data_files:\n"
        "  - split: train\n    path: [two/a.jsonl]\n---\n# card\n"
    )
    _put(fake, "me/both/README.md", card)
    _put(fake, "me/both/one/x.jsonl", PAIR % "bad")
    _put(fake, "me/both/two/a.jsonl", PAIR % "bad" + PAIR % "worse")
    _put(fake, "me/both/two/b.jsonl", "not wanted\n")
    assert read("hf:me/both:first").counts()["comparisons"] == 1
    assert read("hf:me/both:second").counts()["comparisons"] == 2
    with pytest.raises(InputError, match=r"configurations first, second.*hf:me/both:first"):
        read("hf:me/both")
    with pytest.raises(InputError, match=r"no configuration 'third'.*There are: first, second"):
        read("hf:me/both:third")


def test_a_directory_is_a_configuration_where_the_card_names_none(fake: FakeHub) -> None:
    _put(
        fake,
        "nv/steer/train.jsonl",
        '{"prompt": "p", "response": "r", "helpfulness": 1, "coherence": 2, "verbosity": 0}\n',
    )
    shutil.copytree(
        FIXTURES, fake.root / "nv/steer/preference", ignore=lambda _, names: [n for n in names if "preference" not in n]
    )
    assert read("hf:nv/steer:preference").counts()["comparisons"] == 5


def test_formats_of_several_files_and_own_exports(fake: FakeHub, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "prism", fake.root / "kirk/prism")
    data = read("hf:kirk/prism")
    assert data.report is not None and data.report.format == "prism" and data.height("rankings") == 2
    export(data, tmp_path / "me/mine", format="huggingface")
    again = read("hf:me/mine")
    assert again.counts() == data.counts() and again.equals(data)


def test_what_goes_wrong_says_what_to_do(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"ConnectionError.*Check the network, or fetch it on a machine"):
        read("hf:absent/set")
    _put(fake, "me/none/README.md", "# only words")
    with pytest.raises(InputError, match=r"no file that can be read.*README.md"):
        read("hf:me/none")

    class GatedRepoError(Exception):
        pass

    def gated(*_: object, **__: object) -> list[str]:
        raise GatedRepoError("403 Client Error")

    monkeypatch.setattr(fake, "HfApi", lambda: SimpleNamespace(list_repo_files=gated))
    with pytest.raises(InputError, match="HF_TOKEN"):
        read("hf:lmsys/gated")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingDependency, match=r"preflearn\[hub\]"):
        read("hf:me/pairs")
