"""Where text goes: results to standard output, everything else to standard error, and one JSON document if asked.

This file knows how things are shown, not what they mean. rich is imported when something is shown, not before.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console

Document = dict[str, Any]
"""What a verb returns: plain data, printed as one JSON document with --json."""

PIPE_WIDTH = 10_000
"""Columns of a console that is no terminal: lines are never wrapped or cut there."""


class Field(NamedTuple):
    """One column of a table for people."""

    title: str
    right: bool = False
    """Numbers stand to the right."""
    flexible: bool = False
    """Folded over several lines when the terminal is narrow; other columns are not."""


@dataclass
class Say:
    """The voice of one run of one verb.

    Args:
        json: text for people goes to standard error, the returned document to standard output.
        quiet: no notes and no progress; with `json` nothing but the document.
        chosen_seed: what --seed said, if anything.
        force: existing output may be replaced.
    """

    json: bool = False
    quiet: bool = False
    chosen_seed: int | None = None
    force: bool = False

    @property
    def seed(self) -> int:
        """The seed of everything random in this run: 0 unless chosen."""
        return self.chosen_seed or 0

    @property
    def _silent(self) -> bool:
        return self.json and self.quiet

    def _console(self, *, result: bool) -> Console:
        from rich.console import Console

        stream = sys.stdout if result and not self.json else sys.stderr
        width = None if stream.isatty() else PIPE_WIDTH
        return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, legacy_windows=False)

    def line(self, text: str = "") -> None:
        """One line of the result."""
        if not self._silent:
            self._console(result=True).print(text)

    def lines(self, texts: Sequence[str], *, bullet: str = "-") -> None:
        """A list, each entry wrapped under its own beginning on a terminal."""
        if self._silent or not texts:
            return
        console = self._console(result=True)
        if not console.is_terminal:  # no padding in files and pipes
            for text in texts:
                console.print(f"{bullet} {text}", soft_wrap=True)
            return
        from rich.table import Table

        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for text in texts:
            grid.add_row(bullet, text)
        console.print(grid)

    def heading(self, text: str) -> None:
        """A title above part of the result."""
        if self._silent:
            return
        from rich.text import Text

        console = self._console(result=True)
        console.print()
        console.print(Text(text, style="bold"))

    def table(
        self, fields: Sequence[Field | str], rows: Sequence[Sequence[object]], *, title: str | None = None
    ) -> None:
        """An aligned table; plain where the output is no terminal."""
        if self._silent:
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        if title:
            self.heading(title)
        console = self._console(result=True)
        columns = [field if isinstance(field, Field) else Field(field) for field in fields]
        cells = [[show(value) for value in row] for row in rows]
        if not console.is_terminal:
            self._plain_table(console, columns, cells)
            return
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for column in columns:
            table.add_column(
                column.title,
                justify="right" if column.right else "left",
                no_wrap=not column.flexible,
                overflow="fold",
            )
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)

    @staticmethod
    def _plain_table(console: Console, columns: Sequence[Field], cells: Sequence[Sequence[str]]) -> None:
        from rich.cells import cell_len

        widths = [
            max([cell_len(column.title), *(cell_len(row[i]) for row in cells)]) for i, column in enumerate(columns)
        ]
        for row in [[column.title for column in columns], ["-" * width for width in widths], *cells]:
            parts = []
            for text, width, column in zip(row, widths, columns, strict=True):
                blank = " " * (width - cell_len(text))
                parts.append(blank + text if column.right else text + blank)
            console.print("  ".join(parts).rstrip(), soft_wrap=True)

    def note(self, text: str) -> None:
        """A remark beside the result: imports, assumptions, where a file went."""
        if not self.quiet:
            self._console(result=False).print(text)

    def notes(self, texts: Sequence[str]) -> None:
        """Several remarks."""
        for text in texts:
            self.note(text)

    def warn(self, text: str) -> None:
        """A warning; shown even when quiet, except beside a JSON document that carries it."""
        if not self._silent:
            from rich.text import Text

            self._console(result=False).print(Text(f"warning: {text}", style="yellow"))

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show that something is under way, where a person is watching."""
        console = self._console(result=False)
        if self.quiet or not console.is_terminal:
            yield
            return
        with console.status(what):
            yield


def show(value: object) -> str:
    """A cell for people: numbers short, absent values blank."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if math.isnan(value):
            return "-"
        return (
            f"{value:,.0f}"
            if abs(value) >= 10_000
            else f"{value:.3g}"
            if abs(value) < 0.001 and value
            else f"{value:.3f}"
        )
    return str(value)


def plain(value: object) -> Any:
    """Data that JSON can hold: NaN and infinities become null, arrays lists, times ISO text.

    Raises:
        TypeError: the value has no JSON form.
    """
    if value is None or isinstance(value, str | bool | int):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "as_dict"):
        return plain(value.as_dict())
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def dump(document: object) -> str:
    """One JSON document, indented, in UTF-8."""
    return json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False)
