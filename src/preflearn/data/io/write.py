"""`export`: a data set -> its directory, flat CSV or JSON Lines, TRL columns, a Hugging Face data set directory.

Each export returns a counted report of what its format cannot hold. Flat rows use the role names that `read` knows, so
that they import again as they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from preflearn.data import store
from preflearn.data.io.exported import ExportReport, free_file, write_rows
from preflearn.data.io.flatten import flat_comparisons, flat_rankings, flat_ratings
from preflearn.data.io.hub_card import write_hub_directory
from preflearn.data.io.trl_rows import preference_rows, unpaired_rows
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

FORMATS_OUT = ("preflearn", "csv", "jsonl", "trl", "trl-conversational", "trl-unpaired", "huggingface")
"""What `export` writes."""

_JUDGED = ("comparisons", "ratings", "rankings", "signals")
_BY_SUFFIX = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def export(
    data: PreferenceData,
    path: str | Path,
    *,
    format: str | None = None,
    force: bool = False,
    criterion: str | None = None,
    license: str | None = None,
) -> ExportReport:
    """Write a data set in a format that others read.

    Args:
        data: the data set.
        path: a file (csv, jsonl, trl: .jsonl or .parquet; each but Parquet also .gz or .zst) or a directory (preflearn,
            huggingface).
        format: one of `FORMATS_OUT`; None = by the path: .csv and .jsonl are flat rows, anything else a data set.
        force: replace what is there.
        criterion: for TRL columns, the one criterion to export, where there are several.
        license: for the Hugging Face card.

    Raises:
        InputError: unknown format, something lies there already, nothing to export, or several criteria and none
            named.
    """
    path = Path(path)
    suffix = Path(path.name.removesuffix(".gz").removesuffix(".zst")).suffix
    format = format or _BY_SUFFIX.get(suffix, "preflearn")
    if format not in FORMATS_OUT:
        raise InputError(f"there is no export format {format!r}.", cure=f"The formats are: {', '.join(FORMATS_OUT)}.")
    report = ExportReport(str(path), format)
    if format == "preflearn":
        store.save(data, path, force=force)
        report.written.update(data.counts())
        return report
    if format == "huggingface":
        write_hub_directory(data, path, report, force=force, license=license)
        return report
    free_file(path, force=force)
    if format in ("csv", "jsonl"):
        rows = _flat_rows(data, report, nested=format == "jsonl")
        for name, dtype in rows.schema.items() if format == "csv" else ():
            if dtype.is_nested():
                report.note(f"Column {name} is nested: CSV holds its JSON.")
        write_rows(rows, path, "tsv" if suffix == ".tsv" else format)
    else:
        made: dict[str, Callable[[], pl.DataFrame]] = {
            "trl": lambda: preference_rows(data, report, criterion=criterion, conversational=False),
            "trl-conversational": lambda: preference_rows(data, report, criterion=criterion, conversational=True),
            "trl-unpaired": lambda: unpaired_rows(data, report, criterion=criterion),
        }
        rows = made[format]()
        if not rows.height:
            reasons = "; ".join(f"{count:,} x {why}" for why, count in report.left_out.items())
            raise InputError(f"nothing can be exported as {format}: {reasons}.", path=path)
        write_rows(rows, path, "parquet" if suffix == ".parquet" else "jsonl")
    return report


def _flat_rows(data: PreferenceData, report: ExportReport, *, nested: bool) -> pl.DataFrame:
    """One row a comparison; without comparisons one a rating; without either one a ranking (JSON Lines only)."""
    makers = {"comparisons": flat_comparisons, "ratings": flat_ratings}
    if nested:
        makers["rankings"] = flat_rankings
    chosen = next((name for name in makers if data.height(name)), None)
    if chosen is None:
        kinds = "comparisons, ratings or rankings" if nested else "comparisons or ratings"
        raise InputError(
            f"there are no {kinds} to export.", cure="Export to the data-set directory, which holds all tables."
        )
    for name, n in data.counts().items():
        if name in _JUDGED and name != chosen:
            report.leave(f"{name}: a flat file holds one kind of judgment, here {chosen}", n)
    rows = makers[chosen](data, report)
    report.written[chosen] = rows.height
    _unreferred(data, chosen, report)
    return rows


def _unreferred(data: PreferenceData, judged: str, report: ExportReport) -> None:
    """Rows of other tables that no written row brings along."""
    alone = data.replace(**{name: data.table(name).clear() for name in _JUDGED if name != judged})
    kept = alone.pruned()
    for name in ("prompts", "responses", "annotators", "criteria"):
        report.leave(f"{name} to which no written row refers", data.height(name) - kept.height(name))
    report.leave("media: flat rows hold their ids, not where they lie", data.height("media"))
