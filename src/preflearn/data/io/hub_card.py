"""A Hugging Face data set directory: data/TABLE.parquet, each table a configuration, and README.md as its card.

Layout: the hub's documentation on data set cards and on manual configuration.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from preflearn._version import __version__
from preflearn.data.io.exported import ExportReport
from preflearn.data.schema import TABLES
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

CARD = "README.md"
_MARK = "preflearn"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


def write_hub_directory(
    data: PreferenceData, path: Path, report: ExportReport, *, force: bool, license: str | None
) -> None:
    """Write tables and card; rejected rows go beside them.

    Raises:
        InputError: the directory is not empty (without `force`) or is not an export of this kind (with it).
    """
    _prepare(path, force=force)
    folder = path / "data"
    folder.mkdir(parents=True)
    counts = data.counts()
    for name in counts:
        frame = data.lazy(name).with_columns(pl.col(pl.Categorical).cast(pl.String))
        frame.sink_parquet(folder / f"{name}.parquet", compression="zstd")
    (path / CARD).write_text(_card(data, path.resolve().name, counts, license), "utf-8")
    report.written.update(counts)
    if license is None:
        report.note("The card names no licence: fill in `license` before publishing.")
    if data.report is not None and data.report.rejected:
        report.leave(
            "rows that could not be imported (they are in rejected.jsonl of the data set)", len(data.report.rejected)
        )


def _prepare(path: Path, *, force: bool) -> None:
    if path.exists() and not path.is_dir():
        raise InputError("a file of this name exists.", path=path, cure="Name a directory.")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not force:
        raise InputError("the directory is not empty.", path=path, cure="Use --force (force=True) to replace it.")
    card = path / CARD
    if not card.is_file() or f"- {_MARK}\n" not in card.read_text("utf-8", "replace"):
        raise InputError("the directory holds something else.", path=path, cure="Name another directory.")
    shutil.rmtree(path)


def _card(data: PreferenceData, title: str, counts: dict[str, int], license: str | None) -> str:
    judged = sum(counts.get(name, 0) for name in ("comparisons", "ratings", "rankings"))
    main = next((name for name in ("comparisons", "ratings", "rankings", "signals") if name in counts), None)
    head: dict[str, Any] = {
        "license": license or "unknown",
        "pretty_name": title,
        "tags": ["preference", "human-feedback", _MARK],
        "size_categories": [next((size for limit, size in _SIZES if judged < limit), "n>10M")],
        "configs": [
            {
                "config_name": name,
                **({"default": True} if name == main else {}),
                "data_files": [{"split": "train", "path": f"data/{name}.parquet"}],
            }
            for name in counts
        ],
    }
    if languages := _languages(data):
        head["language"] = languages
    lines = ["---", yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip(), "---", "", f"# {title}", ""]
    lines += [
        "Preference data in tables that refer to each other by ids.",
        "",
        "| table | rows | columns |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {n:,} | {', '.join(data.columns(name))} |" for name, n in counts.items()]
    lines += ["", "## Columns", ""]
    lines += [f"- `{name}.{column}`: {meaning}" for name in counts for column, meaning in _meanings(data, name)]
    lines += ["", "## Provenance", "", f"Written by preflearn {__version__}.", ""]
    lines += _provenance(data)
    lines += ["", "## Use", "", "```python", "import preflearn as pf", f'data = pf.read("{title}")', "```", ""]
    return "\n".join(lines)


def _languages(data: PreferenceData) -> list[str]:
    """Two-letter language codes of the prompts, as the hub knows them."""
    if "language" not in data.columns("prompts"):
        return []
    found = data.lazy("prompts").select(pl.col("language").cast(pl.String).unique()).collect()["language"]
    return sorted(language for language in found.drop_nulls() if len(language) == 2 and language.islower())


def _meanings(data: PreferenceData, name: str) -> list[tuple[str, str]]:
    spec = TABLES[name]
    found = [(column, spec.column(column)) for column in data.columns(name)]
    return [(column, planned.meaning) for column, planned in found if planned is not None]


def _provenance(data: PreferenceData) -> list[str]:
    lines = list(data.report.lines()) if data.report is not None else []
    known = {key: value for key, value in data.provenance.items() if key != "steps"}
    if known:
        lines += ["```json", json.dumps(known, indent=2, ensure_ascii=False, default=str), "```"]
    lines += [f"- {step}" for step in data.provenance.get("steps", [])]
    return lines or ["Nothing is recorded."]
