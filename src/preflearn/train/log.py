"""What a run says: one line of JSON per step and evaluation in a file, and a progress bar for people who watch."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from io import FileIO
from pathlib import Path
from typing import Any

from preflearn.train.types import Record


class RunLog:
    """A file of JSON lines, each in the file at once. Without a path nothing is written.

    Lines are a function of settings, data and seed, except what stands under ``time``.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        # Unbuffered: a line is in the file when write returns.
        self._file: FileIO | None = None

    def open(self, at: int | None = None) -> None:
        """Begin writing: after byte ``at`` of the file (what follows is cut off), or anew."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if at is not None and self._path.exists():
            self._file = self._path.open("r+b", buffering=0)
            self._file.truncate(min(at, os.fstat(self._file.fileno()).st_size))
            self._file.seek(0, os.SEEK_END)
        else:
            self._file = self._path.open("wb", buffering=0)

    @property
    def writes(self) -> bool:
        """Whether there is a file."""
        return self._file is not None

    def write(self, record: Record) -> None:
        """One line. Numbers that are not finite are null."""
        if self._file is None:
            return
        try:
            line = json.dumps(record, allow_nan=False)
        except ValueError:
            line = json.dumps(_finite(record))
        self._file.write(line.encode() + b"\n")

    def size(self) -> int:
        """Bytes written, all on the disk."""
        if self._file is None:
            return 0
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """No more lines."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_log(path: Path) -> list[Record]:
    """The lines of a run's log."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Progress:
    """A bar with the time that is left, on standard error.

    Args:
        shown: True, False, or None: where standard error is a terminal.
        total: steps, where known.
        done: steps made before.
    """

    _EVERY = 0.1
    """Seconds between updates: the bar must not cost what small steps cost."""

    def __init__(self, shown: bool | None, total: int | None, done: int) -> None:
        self._bar: Any = None
        self._next = 0.0
        self._held_out = ""
        if not (sys.stderr.isatty() if shown is None else shown):
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=total, completed=done, said="")
        self._bar.start()

    def step(self, done: int, loss: float) -> None:
        """A step was made."""
        if self._bar is not None and (now := time.monotonic()) >= self._next:
            self._next = now + self._EVERY
            self._bar.update(self._task, completed=done, said=f"loss {loss:.4f}{self._held_out}")

    def evaluated(self, monitor: str, value: float) -> None:
        """The monitored figure is known anew."""
        self._held_out = f", {monitor} {value:.4f}"

    def close(self) -> None:
        """The bar goes away."""
        if self._bar is not None:
            self._bar.stop()
