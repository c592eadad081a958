"""Preference data: nine tables, their rules, and every way in and out."""

from preflearn.data.reading import ImportReport, Rejected
from preflearn.data.schema import TABLES
from preflearn.data.store import load, save
from preflearn.data.tables import PreferenceData

__all__ = [
    "TABLES",
    "ImportReport",
    "PreferenceData",
    "Rejected",
    "load",
    "read",
    "sample",
    "sample_path",
    "save",
    "scan",
]


def __getattr__(name: str) -> object:
    if name in {"read", "scan"}:
        from preflearn.data import io

        return getattr(io, name)
    if name in {"sample", "sample_path"}:
        from preflearn.data import bundled

        return getattr(bundled, name)
    raise AttributeError(f"module 'preflearn.data' has no attribute {name!r}")
