"""Every way in and out: files, public formats, plain tables, mappings, the hub, exports."""

from __future__ import annotations

from preflearn.data.io.exported import ExportReport
from preflearn.data.io.reader import read, scan
from preflearn.data.io.write import FORMATS_OUT, export

__all__ = ["FORMATS_OUT", "ExportReport", "export", "read", "scan"]
