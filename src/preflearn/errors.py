"""The errors people meet: what is wrong, where it is, and what to do about it."""

from __future__ import annotations

from pathlib import Path


class PreflearnError(Exception):
    """Base of every error raised on purpose. `exit_code` is what the command line returns for it."""

    exit_code = 1


class InputError(PreflearnError):
    """The input (a file, a table, an argument) cannot be used as it is.

    Args:
        problem: what is wrong, in one sentence.
        path, row, column, value: where; `row` is a 1-based line for text files and a 0-based row for tables.
        cure: what would be accepted, or what to do.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        path: str | Path | None = None,
        row: int | None = None,
        column: str | None = None,
        value: object = None,
        cure: str | None = None,
    ) -> None:
        self.problem, self.path, self.row, self.column, self.value, self.cure = problem, path, row, column, value, cure
        place = [
            str(path) if path is not None else "",
            f"row {row}" if row is not None else "",
            f"column {column!r}" if column is not None else "",
            f"value {value!r:.200}" if value is not None else "",
        ]
        where = ", ".join(part for part in place if part)
        message = f"{where}: {problem}" if where else problem
        super().__init__(f"{message} {cure}" if cure else message)


class NotSupported(PreflearnError):
    """A model or policy does not answer this question by design; the message says why."""


class NotComputable(PreflearnError):
    """A figure cannot be computed from this data; the message is the reason, shown instead of a number."""


class MissingDependency(PreflearnError):
    """An optional library is needed; the message names the extra to install."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is needed for this: pip install 'preflearn[{extra}]'")
