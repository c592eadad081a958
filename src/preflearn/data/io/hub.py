"""Data sets of the Hugging Face hub: `hf:NAME[:CONFIG][@REVISION]` -> files on this machine, fetched once and cached.

Which files belong to a configuration is read from the card's `configs` (layout: the hub's documentation on manual
configuration of data sets); without one, a configuration is a directory or a file of its name. huggingface_hub takes a
token from the environment.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from preflearn.data.io.files import kind_of, stem_of
from preflearn.data.io.formats import FORMATS
from preflearn.data.schema import TABLES
from preflearn.errors import InputError, MissingDependency

PREFIX = "hf:"


class HubName(NamedTuple):
    """What `hf:NAME[:CONFIG][@REVISION]` names."""

    name: str
    config: str | None
    revision: str | None


class Fetched(NamedTuple):
    """Files of a data set on this machine."""

    folder: Path
    files: list[Path]
    revision: str | None
    """The commit that was fetched, where it is known."""


def parse(source: str, revision: str | None = None) -> HubName:
    """Take `hf:NAME[:CONFIG][@REVISION]` apart; `revision` stands in where the name has none.

    Raises:
        InputError: it is not of that form.
    """
    found = re.fullmatch(r"hf:([\w.-]+(?:/[\w.-]+)?)(?::([^@:]+))?(?:@([^@]+))?", source)
    if not found:
        raise InputError("this is no hub data set.", value=source, cure="Write hf:OWNER/NAME[:CONFIG][@REVISION].")
    return HubName(found[1], found[2], found[3] or revision)


def fetch(source: str, revision: str | None = None) -> Fetched:
    """Download the data files that a name means (or find them in the cache).

    Raises:
        InputError: no such data set or configuration, no data file in it, no network, or no right to it.
        MissingDependency: huggingface_hub is not installed.
    """
    named = parse(source, revision)
    listed = _listed(named)
    wanted = _wanted(named, listed)
    if not wanted:
        raise InputError(
            "the data set has no file that can be read.",
            value=source,
            cure=f"It holds: {', '.join(sorted(listed)[:20]) or 'nothing'}.",
        )
    folder = _download(named, wanted)
    commit = folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else named.revision
    return Fetched(folder, [folder / name for name in wanted], commit)


def split_of(path: Path) -> str:
    """The name of a split from a file's (`train-00000-of-00003.parquet` -> `train`)."""
    return re.sub(r"-\d{5}-of-\d{5}$", "", stem_of(path))


def _wanted(named: HubName, listed: Sequence[str]) -> list[str]:
    data = [name for name in sorted(listed) if is_data(name)]
    if named.config is None and (whole := _of_one_format(data)):
        return whole
    if named.config is None and data and all(stem_of(Path(name)) in TABLES for name in data):
        return data
    configs = _configs(named) if "README.md" in listed else {}
    if named.config is not None:
        if named.config in configs:
            return _matching(configs[named.config], data)
        inside = [name for name in data if named.config in (*Path(name).parts[:-1], split_of(Path(name)))]
        if inside:
            return inside
        folders = sorted({part for name in data for part in Path(name).parts[:-1]})
        raise InputError(
            f"there is no configuration {named.config!r}.",
            value=f"{PREFIX}{named.name}",
            cure=f"There are: {', '.join([*configs, *folders]) or 'none'}.",
        )
    if not configs:
        return data
    if len(configs) > 1 and "default" not in configs:
        raise InputError(
            f"the data set has the configurations {', '.join(configs)}.",
            value=f"{PREFIX}{named.name}",
            cure=f"Name one: {PREFIX}{named.name}:{next(iter(configs))}.",
        )
    return _matching(configs["default"] if "default" in configs else next(iter(configs.values())), data)


def is_data(name: str) -> bool:
    """Whether a file of this name and place holds data: a known ending, not hidden, no description of a set."""
    path = Path(name)
    hidden = any(part.startswith(".") for part in path.parts)
    return kind_of(path) is not None and not hidden and path.name not in ("dataset_infos.json", "dataset_info.json")


def _of_one_format(data: list[str]) -> list[str]:
    """Files that make up one source of a format of several files (`utterances`, `survey`)."""
    for one in FORMATS:
        found = [name for name in data if stem_of(Path(name)) in one.files]
        if len(found) > 1:
            return found
    return []


def _configs(named: HubName) -> dict[str, list[str]]:
    """Patterns of files by configuration, from the head of the card."""
    card = (_download(named, ["README.md"]) / "README.md").read_text("utf-8", "replace")
    found = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    if not found:
        return {}
    try:
        head = yaml.safe_load(found[1])
    except yaml.YAMLError:
        return {}
    configs = head.get("configs") if isinstance(head, dict) else None
    result = {}
    for config in configs or []:
        if isinstance(config, dict) and "data_files" in config:
            name = "default" if config.get("default") else str(config.get("config_name", "default"))
            result[name] = [*_patterns(config["data_files"])]
    return result


def _patterns(files: Any) -> Iterator[str]:
    if isinstance(files, str):
        yield files
    elif isinstance(files, dict):
        yield from _patterns(files.get("path", []))
    elif isinstance(files, list):
        for one in files:
            yield from _patterns(one)


def _matching(patterns: Sequence[str], data: Sequence[str]) -> list[str]:
    return [name for name in data if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def _listed(named: HubName) -> list[str]:
    hub = _hub()
    try:
        files: list[str] = hub.HfApi().list_repo_files(named.name, repo_type="dataset", revision=named.revision)
    except Exception as error:
        try:  # offline: what an earlier import left in the cache
            folder = hub.snapshot_download(
                named.name, repo_type="dataset", revision=named.revision, local_files_only=True
            )
        except Exception:
            raise _failed(named, error) from error
        root = Path(folder)
        return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    return files


def _download(named: HubName, files: Sequence[str]) -> Path:
    hub = _hub()
    options = {"repo_type": "dataset", "revision": named.revision, "allow_patterns": [*files]}
    try:
        return Path(hub.snapshot_download(named.name, **options))
    except Exception as error:
        raise _failed(named, error) from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingDependency("huggingface_hub", "hub") from error
    return huggingface_hub


def _failed(named: HubName, error: Exception) -> InputError:
    kind, text = type(error).__name__, str(error).strip().split("\n")[0]
    if "Gated" in kind or "401" in text or "403" in text:
        cure = "Ask for access on its page and set HF_TOKEN to your token."
    elif "RepositoryNotFound" in kind:
        cure = "Check the name; a private data set needs HF_TOKEN."
    elif "RevisionNotFound" in kind:
        cure = "Check the revision."
    else:
        cure = (
            "Check the network, or fetch it on a machine that has one (hf download --repo-type dataset "
            f"{named.name} --local-dir DIR) and import DIR."
        )
    return InputError(f"the hub data set cannot be fetched ({kind}: {text}).", value=f"{PREFIX}{named.name}", cure=cure)
