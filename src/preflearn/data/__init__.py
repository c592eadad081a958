"""Preference data: nine tables, their rules, and every way in and out."""

from preflearn.data.reading import ImportReport, Rejected
from preflearn.data.schema import TABLES
from preflearn.data.store import load, save
from preflearn.data.tables import PreferenceData

__all__ = ["TABLES", "ImportReport", "PreferenceData", "Rejected", "load", "read", "save", "scan"]


def __getattr__(name: str) -> object:
    if name in {"read", "scan"}:
        from preflearn.data import io

        return getattr(io, name)
    raise AttributeError(f"module 'preflearn.data' has no attribute {name!r}")
