"""All proofs with one fresh seed: skips what did not change, resumes, and writes the table that the docs show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from preflearn import registry
from preflearn.errors import InputError
from preflearn.experiments.proof import verify
from preflearn.experiments.tolerance import FOLDER
from preflearn.registry import Method

RECORD = "proofs.json"
TABLE = "proofs.md"
Say = Callable[[str], None]


def run_all(seed: int, folder: str | Path, *, everything: bool = False, say: Say = print) -> list[dict[str, Any]]:
    """Verify every method that has a proof.

    A method is skipped when the record holds a passed run of exactly the same sources. The record is written after
    every proof, so that an interrupted run goes on where it stopped.

    Args:
        seed: a fresh one, the same for all.
        folder: where `proofs.json` (the record) and `proofs.md` (the table) lie.
        everything: run also what did not change.
        say: receives a line per proof.

    Returns:
        One entry per method: the fields of `ProofResult`, and `sources` (digest).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = _read(folder / RECORD)
    entries = [entry for entry in registry.methods() if entry.proof is not None]
    for entry in entries:
        digest = sources_digest(entry)
        known = record.get(entry.key)
        if known is not None and known["sources"] == digest and known["passed"] and not everything:
            say(f"{entry.key}: unchanged since seed {known['seed']}")
            continue
        result = verify(entry.key, seed)
        record[entry.key] = {**result.as_dict(), "sources": digest}
        say(
            f"{entry.key}: {'passed' if result.passed else 'FAILED'}, measured {result.measured:.4g}, expected "
            f"{result.expected:.4g} within {result.tolerance:.3g}, baseline {result.baseline_measured:.4g}, "
            f"{result.seconds:.1f} s"
        )
        _write(folder, record, entries)
    _write(folder, record, entries)
    return [record[entry.key] for entry in entries]


def sources_digest(entry: Method) -> str:
    """Digest of the sources a proof rests on: its parts, its own module, the way of judging, its tolerance.

    Raises:
        InputError: a part is not a module.
    """
    digest = hashlib.blake2b(digest_size=12)
    own = (entry.proof or "").partition(":")[0]
    for module in sorted({*entry.parts, own, "preflearn.experiments.proof"}):
        for path in _files(module):
            digest.update(path.name.encode() + path.read_bytes())
    tolerance = FOLDER / f"{entry.key}.json"
    if tolerance.is_file():
        digest.update(tolerance.read_bytes())
    return digest.hexdigest()


def _files(module: str) -> Iterator[Path]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise InputError(f"the catalogue names a part {module!r} that is not a module.")
    path = Path(spec.origin)
    if path.name == "__init__.py":
        yield from sorted(path.parent.rglob("*.py"))
    else:
        yield path


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return {row["key"]: row for row in json.loads(path.read_text("utf-8"))["proofs"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the record of proofs is damaged: {error}", path=path, cure="Delete it and run again."
        ) from error


def _write(folder: Path, record: dict[str, Any], entries: list[Method]) -> None:
    rows = [record[entry.key] for entry in entries if entry.key in record]
    document = json.dumps({"proofs": rows}, indent=1, ensure_ascii=False)
    (folder / RECORD).write_text(document + "\n", "utf-8")
    (folder / TABLE).write_text(table(rows, entries), "utf-8")


def table(rows: list[dict[str, Any]], entries: list[Method]) -> str:
    """The page of the docs."""
    title = {entry.key: entry for entry in entries}
    lines = [
        "# Proofs",
        "",
        "<!-- Written by `make experiments`; edits are overwritten. -->",
        "",
        "Each method is held against a planted truth and a baseline, with a seed that its tolerance has not seen.",
        "The tolerance comes from at least five other seeds (`src/preflearn/experiments/tolerances/`); the effect is",
        "by how much the method is closer to the truth than the baseline.",
        "",
        "| method | what is measured | truth | measured | tolerance | baseline | its figure | effect | | seed | s |",
        "|---|---|---:|---:|---:|---|---:|---:|---|---:|---:|",
    ]
    for row in rows:
        entry = title[row["key"]]
        mark = "passed" if row["passed"] else "**failed**"
        lines.append(
            f"| `{entry.key}` {entry.authors}, {entry.year} | {row['claim']} | {row['expected']:.4g} "
            f"| {row['measured']:.4g} | {row['tolerance']:.3g} | {row['baseline']} | {row['baseline_measured']:.4g} "
            f"| {row['effect']:.3g} | {mark} | {row['seed']} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines) + "\n"
