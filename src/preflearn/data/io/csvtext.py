"""CSV and TSV into a frame of rows with their line numbers; records that do not fit the header are set aside as found.

An unquoted empty field is null, a quoted one is the empty text. A column becomes integer, float or boolean only where
writing it back gives the same text (`007`, `1.10` and `1_000` stay text), and never where it holds contents (prompt,
response, ...); quoted fields may hold newlines.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from preflearn.data.io.rows import LINE, Rows, clip, numbered, readable
from preflearn.data.reading import Rejected
from preflearn.errors import InputError

_NEWLINE, _RETURN, _QUOTE = 10, 13, 34
_CONTENT = re.compile(
    r"(?:.*[._ ])?(?:prompt|instruction|question|query|chosen|rejected|text|response|output|answer|completion"
    r"|generation|summary|content)(?:[_ ]?(?:[0-9abxy]|left|right))?",
    re.IGNORECASE,
)
"""Columns that hold what people or systems wrote: `True` and `3.0` are words there."""
_BLOCK = 2**25
"""Bytes scanned at a time: a few masks of this size are held."""


def read_table(data: bytes, source: str, separator: str | None = None) -> Rows:
    """A table with a header line.

    Args:
        data: UTF-8 text.
        source: name used in rejected rows.
        separator: field separator; None = comma, unless the header has none and has tabs, semicolons or bars.

    Raises:
        InputError: the header cannot be read.
    """
    if b"\r" in data and b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    if not data.strip():
        return Rows(pl.DataFrame(schema={LINE: pl.UInt32}), [])
    separator = separator or _separator(data)
    layout = None if b"\0" in data else _layout(data, ord(separator))
    if layout is not None:
        frame = _polars(data, separator, layout)
        if frame is not None:
            rejected = [_misfit(data, source, place, layout.width) for place in layout.misfits]
            return Rows(numbered(_typed(frame), layout.lines), rejected)
    return _one_by_one(data, source, separator)


def _separator(data: bytes) -> str:
    header = data.lstrip().split(b"\n", 1)[0]
    if b"," in header:
        return ","
    counts = {mark: header.count(mark.encode()) for mark in ("\t", ";", "|")}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else ","


# -- the fast path: structure by numpy, values by polars ---------------------------------------------------------------


class _Place(NamedTuple):
    """A record that does not fit the header."""

    start: int
    end: int
    line: int
    fields: int


class _Layout(NamedTuple):
    """Where the records of a well-quoted file lie."""

    header_end: int
    """Offset behind the header's newline."""
    width: int
    """Fields of the header."""
    blank: np.ndarray[Any, np.dtype[np.bool_]]
    """For each record after the header that is no misfit, whether its line is blank."""
    lines: np.ndarray[Any, np.dtype[np.uint32]]
    """1-based line on which each record starts that is neither blank nor a misfit."""
    misfits: list[_Place]


def _layout(data: bytes, separator: int) -> _Layout | None:
    """Records and their numbers of fields, by the parity of quotes.

    None where that is not certain: the file ends inside quotes, or a record of the wrong width holds a quote (which may
    be a stray one that hides where records end).
    """
    ends, fields, newlines = _scan(data, separator)
    if ends is None:
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    suspects = np.flatnonzero((fields == 1) & (ends - starts < 1000))
    blank = np.zeros(ends.size, dtype=bool)
    blank[[i for i in suspects if not data[starts[i] : ends[i]].strip()]] = True
    if blank[0]:
        return None
    misfit = ~blank & (fields != fields[0])
    odd = np.flatnonzero(misfit)
    lines = np.searchsorted(newlines, starts, side="left") + 1
    places = [_Place(int(starts[i]), int(ends[i]), int(lines[i]), int(fields[i])) for i in odd]
    if any(b'"' in data[place.start : place.end] for place in places):
        return None
    good = lines[1:][~blank[1:] & ~misfit[1:]].astype(np.uint32)
    return _Layout(int(ends[0]) + 1, int(fields[0]), blank[1:][~misfit[1:]], good, places)


def _misfit(data: bytes, source: str, place: _Place, width: int) -> Rejected:
    raw = data[place.start : place.end].rstrip(b"\r")
    reason = _wrong_width(place.fields, width) if _is_utf8(raw) else "not UTF-8"
    return Rejected(source, place.line, reason, clip(readable(raw)))


def _wrong_width(found: int, expected: int) -> str:
    return f"{found} field{'s' * (found != 1)} where the header has {expected}"


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _scan(data: bytes, separator: int) -> tuple[Any, Any, Any]:
    """Offsets at which records end, their numbers of fields, offsets of newlines; None where quoting is not regular."""
    quoted = b'"' in data
    ends_parts, newline_parts, count_parts = [], [], []
    parity, pending = 0, 0
    for offset in range(0, len(data), _BLOCK):
        block = np.frombuffer(data, dtype=np.uint8, count=min(_BLOCK, len(data) - offset), offset=offset)
        newline, mark = block == _NEWLINE, block == separator
        newline_parts.append(np.flatnonzero(newline) + offset)
        if quoted:
            # uint8 sums wrap at 256, which keeps their parity
            inside = (np.cumsum(block == _QUOTE, dtype=np.uint8) + np.uint8(parity)) & 1
            parity = int(inside[-1])
            if not _quotes_at_edges(data, np.flatnonzero(block == _QUOTE) + offset, inside, offset, separator):
                return None, None, None
            outside = inside == 0
            newline, mark = newline & outside, mark & outside
        ends, marks = np.flatnonzero(newline), np.flatnonzero(mark)
        before = np.searchsorted(marks, ends)
        counts = np.diff(before, prepend=0)
        if ends.size:
            counts[0] += pending
            pending = int(marks.size - before[-1])
        else:
            pending += int(marks.size)
        ends_parts.append(ends + offset)
        count_parts.append(counts)
    if parity:
        return None, None, None
    ends, counts, newlines = (np.concatenate(parts) for parts in (ends_parts, count_parts, newline_parts))
    if not data.endswith(b"\n"):
        ends, counts = np.append(ends, len(data)), np.append(counts, pending)
    return ends, counts + 1, newlines


def _quotes_at_edges(data: bytes, quotes: Any, inside: Any, offset: int, separator: int) -> bool:
    """Whether every quote opens a field, closes one, or is doubled; of others each reader makes something else."""
    letters = np.frombuffer(data, dtype=np.uint8)
    opening = inside[quotes - offset] == 1
    before = letters[np.maximum(quotes[opening] - 1, 0)]
    after = letters[np.minimum(quotes[~opening] + 1, letters.size - 1)]
    edges = [separator, _NEWLINE, _QUOTE]
    opens = np.isin(before, edges) | (quotes[opening] == 0)
    closes = np.isin(after, [*edges, _RETURN]) | (quotes[~opening] == letters.size - 1)
    return bool(opens.all() and closes.all())


def _polars(data: bytes, separator: str, layout: _Layout) -> pl.DataFrame | None:
    """All fields as text; None where polars reads another number of records than the layout has."""
    names = _names(next(csv.reader([data[: layout.header_end].decode("utf-8", "replace")], delimiter=separator)))
    try:
        frame = pl.read_csv(
            _without(data, layout),
            has_header=False,
            new_columns=names,
            schema=dict.fromkeys(names, pl.String),
            separator=separator,
            raise_if_empty=False,
        )
    except (KeyboardInterrupt, MemoryError, SystemExit):
        raise
    except BaseException:  # polars panics are BaseExceptions; whatever it is, the records are now read one by one
        return None
    if frame.height != layout.blank.size:
        return None
    return frame.filter(~pl.Series(layout.blank)) if layout.blank.any() else frame


def _without(data: bytes, layout: _Layout) -> bytes:
    """What follows the header, without the misfits."""
    if not layout.misfits:
        return data[layout.header_end :]
    cuts = [layout.header_end, *(edge for place in layout.misfits for edge in (place.start, place.end + 1)), len(data)]
    view = memoryview(data)
    return b"".join(view[start:end] for start, end in zip(cuts[::2], cuts[1::2], strict=True))


def _names(header: list[str]) -> list[str]:
    """Column names without surrounding space; an empty one is numbered, a repeated one gets `_2`, `_3`, ..."""
    names: list[str] = []
    for position, name in enumerate(header, 1):
        stem = name.strip() or f"column_{position}"
        candidate, number = stem, 2
        while candidate in names:
            candidate, number = f"{stem}_{number}", number + 1
        names.append(candidate)
    return names


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns of text as numbers or booleans where that loses nothing."""
    return frame.with_columns([_typed_column(frame[name]) for name in frame.columns if not _CONTENT.fullmatch(name)])


def _typed_column(column: pl.Series) -> pl.Series:
    filled = column.drop_nulls()
    if filled.is_empty():
        return column
    for true, false in (("True", "False"), ("true", "false")):
        if filled.is_in([true, false]).all():
            return column == true
    sample = filled.head(100)
    if not sample.str.contains(r"^-?[0-9]").all():
        return column
    integers = column.cast(pl.Int64, strict=False)
    if integers.cast(pl.String).eq_missing(column).all():
        return integers
    floats = column.cast(pl.Float64, strict=False)
    if floats.is_null().equals(column.is_null()) and _same_floats(floats, column):
        return floats
    return column


def _same_floats(floats: pl.Series, column: pl.Series) -> bool:
    """Whether each text is the shortest writing of its number (`3` counts as 3.0, `1e-05` as 1e-5)."""
    values = pl.DataFrame({"text": column, "float": floats}).drop_nulls()
    plain = pl.col("float").cast(pl.String)
    odd = values.filter((plain != pl.col("text")) & (plain != pl.col("text") + ".0"))
    return all(repr(value) == text for text, value in odd.iter_rows())


# -- the slow path: record by record -----------------------------------------------------------------------------------


class _Lines(Iterator[str]):
    """The physical lines of the file, with a place to which the reader can be set back."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        if not self.lines[-1]:
            self.lines.pop()
        self.next = 0

    def __next__(self) -> str:
        if self.next >= len(self.lines):
            raise StopIteration
        self.next += 1
        return self.lines[self.next - 1] + "\n"


def _one_by_one(data: bytes, source: str, separator: str) -> Rows:
    """Every record by itself. Where quoting is broken the first line is rejected and reading goes on behind it."""
    text = data.decode("utf-8", "surrogateescape")
    lines = _Lines(text)
    limit = csv.field_size_limit(sys.maxsize)
    try:
        return _records(lines, csv.reader(lines, delimiter=separator, strict=True), source)
    finally:
        csv.field_size_limit(limit)


def _records(lines: _Lines, reader: Any, source: str) -> Rows:
    names: list[str] = []
    rows: list[list[str | None]] = []
    numbers: list[int] = []
    rejected: list[Rejected] = []
    mark = re.escape(reader.dialect.delimiter)
    field = re.compile(rf'(?:^|{mark})("(?:[^"]|"")*"|[^{mark}]*)')
    while lines.next < len(lines.lines):
        start = lines.next
        reason = None
        record: list[str] = []
        try:
            record = next(reader)
        except csv.Error as error:
            lines.next = start + 1
            reason = f"not readable as CSV: {error}"
        raw = "\n".join(lines.lines[start : lines.next]).rstrip("\r")
        if not raw.strip():
            continue
        if not names:
            names = _header(record, raw, reason, source, start + 1)
            continue
        reason = reason or _fault(record, raw, len(names))
        if reason is None:
            rows.append(_missing(record, raw, field))
            numbers.append(start + 1)
        else:
            visible = readable(raw.encode("utf-8", "surrogateescape"))
            rejected.append(Rejected(source, start + 1, reason, clip(visible)))
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    frame = pl.DataFrame(
        {name: pl.Series(values, dtype=pl.String) for name, values in zip(names, columns, strict=True)}
    )
    return Rows(numbered(_typed(frame), np.asarray(numbers, dtype=np.uint32)), rejected)


def _header(record: list[str], raw: str, reason: str | None, source: str, line: int) -> list[str]:
    problem = reason or _fault(record, raw, len(record))
    if problem:
        raise InputError(f"the header cannot be read: {problem}.", path=source, row=line)
    return _names(record)


def _fault(record: list[str], raw: str, expected: int) -> str | None:
    if "\0" in raw:
        return "NUL byte"
    if not raw.isascii() and any("\ud800" <= mark <= "\udfff" for mark in raw):
        return "not UTF-8"
    if len(record) != expected:
        return _wrong_width(len(record), expected)
    return None


def _missing(record: list[str], raw: str, field: re.Pattern[str]) -> list[str | None]:
    """Unquoted empty fields as null; the csv module does not tell them from quoted ones, the raw text does."""
    if "" not in record:
        return list(record)
    quoted = [match[1] == '""' for match in field.finditer(raw)] if '""' in raw else []
    if len(quoted) != len(record):
        return [value or None for value in record]
    return [value if value or as_text else None for value, as_text in zip(record, quoted, strict=True)]
