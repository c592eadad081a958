"""Every way in and out: files, public formats, plain tables, mappings, the hub, exports."""

from __future__ import annotations

from preflearn.data.io.reader import read, scan

__all__ = ["read", "scan"]
