"""The data-set directory: one Parquet file per table, preferences.json, rejected.jsonl."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from preflearn._version import __version__
from preflearn.data.schema import SCHEMA_VERSION, TABLES
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

MANIFEST = "preferences.json"
REJECTED = "rejected.jsonl"
TRUTH = "truth"
"""Directory of what a simulation knows; it belongs to the data beside it and to no other."""

UPGRADES: dict[int, Callable[[dict[str, pl.LazyFrame]], dict[str, pl.LazyFrame]]] = {}
"""Schema version -> function that turns its tables into those of the next version."""


def save(data: PreferenceData, path: str | Path, *, force: bool = False) -> None:
    """Write `data` to a directory that `load` reads back unchanged.

    All is written beside the directory first, so that a failure leaves what was there, and scanned data can replace
    its own source. With `force` only the files of a data set are exchanged; others in the directory stay.

    Raises:
        InputError: the directory exists and is not empty (without `force`), or is not a data set (with `force`).
    """
    folder = _writable(Path(path), force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(data, draft)
        folder.mkdir(exist_ok=True)
        for name in (MANIFEST, REJECTED, *(f"{table}.parquet" for table in TABLES)):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / TRUTH, ignore_errors=True)
        for written in draft.iterdir():
            written.replace(folder / written.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(data: PreferenceData, folder: Path) -> None:
    counts = data.counts()
    for name in counts:
        if data.is_lazy:
            data.lazy(name).sink_parquet(folder / f"{name}.parquet", compression="zstd")
        else:
            data.table(name).write_parquet(folder / f"{name}.parquet", compression="zstd")
    fingerprint = _files_digest(folder) if data.is_lazy else data.fingerprint()
    manifest = _manifest(data, counts, fingerprint)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False, default=str) + "\n", "utf-8")
    rejected = data.report.rejected if data.report else []
    if rejected:
        with (folder / REJECTED).open("w", encoding="utf-8") as lines:
            for row in rejected:
                lines.write(json.dumps(row._asdict(), ensure_ascii=False) + "\n")


def _writable(folder: Path, force: bool) -> Path:
    """The output directory, if it is absent, empty, or with `force` a data set; anything else is refused."""
    if folder.exists() and not folder.is_dir():
        raise InputError("a file of this name exists.", path=folder, cure="Name a directory.")
    if folder.is_dir() and any(folder.iterdir()):
        if not force:
            raise InputError("the directory is not empty.", path=folder, cure="Use --force (force=True) to replace it.")
        if not is_dataset(folder):
            raise InputError(
                "the directory holds something that is not a data set.", path=folder, cure="Name another directory."
            )
    return folder


def is_dataset(path: str | Path) -> bool:
    """Whether this directory is one that `save` wrote."""
    return (Path(path) / MANIFEST).is_file()


def load(path: str | Path, *, lazy: bool = False) -> PreferenceData:
    """Read a data-set directory; with `lazy` the tables stay on disk until they are needed.

    Raises:
        InputError: no manifest, a newer schema, or a broken table file.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    frames = {
        name: pl.scan_parquet(folder / f"{name}.parquet") for name in TABLES if (folder / f"{name}.parquet").is_file()
    }
    expected = {name for name, n in manifest.get("counts", {}).items() if n}
    if absent := sorted(expected - set(frames)):
        raise InputError(f"the table file(s) of {', '.join(absent)} are missing.", path=folder)
    for version in range(int(manifest["schema_version"]), SCHEMA_VERSION):
        frames = UPGRADES[version](frames)
    try:
        tables: dict[str, Any] = dict(frames) if lazy else {name: frame.collect() for name, frame in frames.items()}
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"a table cannot be read: {error}", path=folder) from error
    data = PreferenceData(provenance=manifest.get("provenance"), **tables)
    data._fingerprint = manifest.get("fingerprint")
    return data


def read_manifest(folder: Path) -> dict[str, Any]:
    """preferences.json, checked."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"there is no {MANIFEST} here.", path=folder, cure="Use `preflearn import` on other sources.")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
        version = int(manifest["schema_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{MANIFEST} is damaged: {error}", path=path) from error
    if version > SCHEMA_VERSION:
        raise InputError(
            f"the data set has schema version {version}; this preflearn knows up to {SCHEMA_VERSION}.",
            path=path,
            cure="Upgrade preflearn.",
        )
    return manifest


def _files_digest(folder: Path) -> str:
    """Digest of the written Parquet files, for tables too large to be held in memory."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.glob("*.parquet")):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _manifest(data: PreferenceData, counts: dict[str, int], fingerprint: str | None) -> dict[str, Any]:
    provenance = dict(data.provenance)
    if data.report is not None and "import" not in provenance:
        provenance["import"] = data.report.as_dict()
    return {
        "schema_version": SCHEMA_VERSION,
        "preflearn_version": __version__,
        "counts": counts,
        "fingerprint": fingerprint,
        "provenance": provenance,
    }
