"""JSON and JSON Lines into a frame of rows with their line numbers; what cannot be read is set aside, word for word.

Types: polars infers them over all rows. A column that mixes kinds (text here, a list there) becomes text: strings as
they are, everything else as its JSON. `{}` inside a row and `NaN` read as null; a lone surrogate becomes U+FFFD.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from preflearn.data.io.rows import LINE, Rows, clip, numbered, readable
from preflearn.data.reading import Rejected
from preflearn.errors import InputError

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]..")
_CHUNK = 1000
"""Lines that are tried together before each is looked at."""

_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _not_a_number(name: str) -> None:
    """`NaN` is how pandas writes a missing value; an infinity would be lost without a word."""
    if name != "NaN":
        raise ValueError(f"{name} is not a JSON number")


_DECODER, _NAN_DECODER = json.JSONDecoder(), json.JSONDecoder(parse_constant=_not_a_number)


class _Line(NamedTuple):
    number: int
    text: bytes


def read_lines(data: bytes, source: str) -> Rows:
    """JSON Lines: one object a line; blank lines are skipped and counted in the line numbers."""
    if not data.strip():
        return Rows(pl.DataFrame(schema={LINE: pl.UInt32}), [])
    if not _has_lone_surrogate(data):
        frame = _polars(data)
        lines = _line_numbers(data, frame.height) if frame is not None else None
        if frame is not None and lines is not None:
            return Rows(numbered(frame, lines), [])
    good, rejected = _checked(_split(data), source)
    return _assemble(good, rejected, source)


def read_document(data: bytes, source: str) -> Rows:
    """A JSON file: a list of objects, `{"data": [objects]}`, or columns (`{"a": [...]}`, `{"a": {"0": ...}}`).

    A `.json` file that holds one object a line is read as JSON Lines; a single other object is one row. Rows of a list
    have the line on which they start, or their 1-based position where two start on one line (a number is one row's);
    rows of a columnar file have their 1-based position.

    Raises:
        InputError: the document is none of these.
    """
    text = data.decode("utf-8", "surrogateescape")
    start = _skip(text, 0)
    opening = text[start : start + 1]
    if opening == "[":
        return _from_list(text, start, source)
    if opening != "{":
        raise InputError("this is not JSON: it starts with neither [ nor {.", path=source)
    try:
        whole = json.loads(text)
    except RecursionError as error:
        raise InputError("the JSON is nested too deeply.", path=source) from error
    except ValueError as error:
        if (place := _wrapped_list(text, start)) is not None:
            return _from_list(text, place, source)
        if "\n" in data.decode("utf-8", "replace").strip():
            return read_lines(data, source)
        raise InputError(f"this is not valid JSON: {error}.", path=source) from error
    if (place := _wrapped_list(text, start)) is not None:
        return _from_list(text, place, source)
    return _from_object(whole, source)


# -- JSON Lines --------------------------------------------------------------------------------------------------------


def _polars(data: bytes) -> pl.DataFrame | None:
    """What polars makes of JSON Lines with types inferred over all of them; None where it finds no exact reading."""
    try:
        return pl.read_ndjson(data, infer_schema_length=None)
    except (KeyboardInterrupt, MemoryError, SystemExit):
        raise
    except BaseException:  # polars panics are BaseExceptions; whatever it is, the rows are now read one by one
        return None


def _has_lone_surrogate(data: bytes) -> bool:
    return bool(_SURROGATE_ESCAPE.search(data) and _LONE_SURROGATE.search(data))


def _split(data: bytes) -> Iterator[_Line]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            yield _Line(number, line.strip())


def _line_numbers(data: bytes, height: int) -> np.ndarray[Any, np.dtype[np.uint32]] | None:
    """1-based numbers of the lines that hold something; None when they are not as many as the rows."""
    n_lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if n_lines == height:
        return np.arange(1, height + 1, dtype=np.uint32)
    numbers = np.fromiter((number for number, line in enumerate(data.split(b"\n"), 1) if line.strip()), dtype=np.uint32)
    return numbers if numbers.size == height else None


def _checked(lines: Iterator[_Line], source: str) -> tuple[list[_Line], list[Rejected]]:
    """Lines that hold one JSON object (rewritten where polars would not read them), and the others with the reason.

    Whole chunks that polars reads are not looked at line by line.
    """
    good: list[_Line] = []
    rejected: list[Rejected] = []
    while chunk := list(islice(lines, _CHUNK)):
        text = b"\n".join(line.text for line in chunk)
        frame = None if _has_lone_surrogate(text) else _polars(text)
        if frame is not None and frame.height == len(chunk):
            good += chunk
            continue
        for number, raw in chunk:
            reason, rewritten = _verdict(raw)
            if reason is None:
                good.append(_Line(number, rewritten))
            else:
                rejected.append(Rejected(source, number, reason, clip(readable(raw))))
    return good, rejected


def _verdict(raw: bytes) -> tuple[str | None, bytes]:
    constants = b"NaN" in raw or b"Infinity" in raw
    try:
        value = (_NAN_DECODER if constants else _DECODER).decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line)", raw
    except json.JSONDecodeError as error:
        return f"not valid JSON: {error.msg} at character {error.pos + 1} of the line", raw
    except (ValueError, RecursionError) as error:
        return f"not valid JSON: {error}", raw
    if not isinstance(value, dict):
        return f"not a JSON object but {_kind(value)}", raw
    return None, _dump(value).encode() if constants or _has_lone_surrogate(raw) else raw


def _dump(value: Any) -> str:
    return without_surrogates(json.dumps(value, ensure_ascii=False))


def without_surrogates(text: str) -> str:
    """Lone surrogates, which no UTF-8 text can hold, as U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def decode(column: pl.Series) -> tuple[pl.Series, dict[int, str]]:
    """JSON texts as values of one type; and row -> reason where a text is not JSON (its value is null).

    Args:
        column: [n], text; null stays null.
    """
    texts = ["null" if text is None else text.replace("\n", " ").replace("\r", " ") for text in column]
    lines = [_Line(row, b'{"value": %b}' % text.encode()) for row, text in enumerate(texts)]
    frame = _polars(b"\n".join(line.text for line in lines)) if lines else None
    if frame is not None and frame.height == len(lines) and not _has_lone_surrogate(b"".join(x.text for x in lines)):
        return frame["value"].alias(column.name), {}
    good, bad = _checked(iter(lines), column.name)
    rows = _assemble(good, bad, column.name)
    values = rows.frame if rows.frame.width > 1 else rows.frame.with_columns(pl.lit(None).alias("value"))
    index = pl.DataFrame({LINE: pl.int_range(len(column), dtype=pl.UInt32, eager=True)})
    aligned = index.join(values, on=LINE, how="left", maintain_order="left")["value"].alias(column.name)
    return aligned, {row.line or 0: row.reason.split(" at character")[0] for row in rows.rejected}


def _kind(value: Any) -> str:
    names = {"NoneType": "null", "bool": "true/false", "int": "a number", "float": "a number", "str": "a string"}
    return names.get(type(value).__name__, "a list" if isinstance(value, list) else "an object")


# -- assembling --------------------------------------------------------------------------------------------------------


def _assemble(good: list[_Line], rejected: list[Rejected], source: str) -> Rows:
    if not good:
        return Rows(pl.DataFrame(schema={LINE: pl.UInt32}), rejected)
    frame = _polars(b"\n".join(line.text for line in good))
    if frame is None or frame.height != len(good):
        kept, late = _finite(good, source)
        rejected = sorted([*rejected, *late], key=lambda row: row.line or 0)
        good = [line for line, _ in kept]
        frame = _by_column([row for _, row in kept])
    return Rows(numbered(frame, np.fromiter((line.number for line in good), dtype=np.uint32)), rejected)


def _finite(good: list[_Line], source: str) -> tuple[list[tuple[_Line, dict[str, Any]]], list[Rejected]]:
    """Parsed rows; a number beyond float64 makes its row unreadable."""
    kept: list[tuple[_Line, dict[str, Any]]] = []
    rejected: list[Rejected] = []
    for line in good:
        row = json.loads(line.text)
        try:
            json.dumps(row, allow_nan=False)
        except ValueError:
            rejected.append(Rejected(source, line.number, "a number is out of range", clip(readable(line.text))))
        else:
            kept.append((line, row))
    return kept, rejected


def _by_column(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Each column by itself: as polars types it, or as text where it mixes kinds."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values} - {type(None)}
        frame = None
        if kinds <= {int, float} or len(kinds) == 1:
            frame = _polars("\n".join(_dump({name: value}) for value in values).encode())
        if frame is None:
            texts = [value if value is None or isinstance(value, str) else _dump(value) for value in values]
            frame = pl.DataFrame({name: pl.Series(texts, dtype=pl.String)})
        columns.append(frame)
    return pl.concat(columns, how="horizontal")


# -- documents ---------------------------------------------------------------------------------------------------------


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _from_list(text: str, start: int, source: str) -> Rows:
    """Elements of the list that opens at `start`. Where the list breaks off, the rest is one rejected row."""
    lines: list[_Line] = []
    rejected: list[Rejected] = []
    position, number, counted = _skip(text, start + 1), 1, 0
    while text[position : position + 1] != "]":
        number += text.count("\n", counted, position)
        counted = position
        try:
            _, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            message = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            reason = f"the list cannot be read from here on: {message}"
            rejected.append(Rejected(source, number, reason, clip(_visible(text[position:]))))
            break
        element = text[position:end].replace("\n", " ").replace("\r", " ")  # both only between tokens
        lines.append(_Line(number, element.encode("utf-8", "surrogateescape")))
        position = _skip(text, end)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
        elif text[position : position + 1] != "]":
            number += text.count("\n", counted, position)
            reason = "the list cannot be read from here on: ',' or ']' expected"
            rejected.append(Rejected(source, number, reason, clip(_visible(text[position:]))))
            break
    if len({line.number for line in lines}) < len(lines):
        lines = [_Line(place, line.text) for place, line in enumerate(lines, 1)]
        rejected = [row._replace(line=len(lines) + 1) for row in rejected]
    good, bad = _checked(iter(lines), source)
    return _assemble(good, [*bad, *rejected], source)


def _visible(text: str) -> str:
    return readable(text.encode("utf-8", "surrogateescape"))


def _wrapped_list(text: str, start: int) -> int | None:
    """Where the list of `{"data": [...]}` opens; other keys of the object may come before it."""
    position = _skip(text, start + 1)
    try:
        while text[position : position + 1] == '"':
            key, end = _DECODER.raw_decode(text, position)
            position = _skip(text, end)
            if text[position : position + 1] != ":":
                return None
            position = _skip(text, position + 1)
            if key == "data" and text[position : position + 1] == "[":
                first = _skip(text, position + 1)
                return position if text[first : first + 1] in {"{", "]"} else None
            _, end = _DECODER.raw_decode(text, position)
            position = _skip(text, end)
            if text[position : position + 1] == ",":
                position = _skip(text, position + 1)
    except (ValueError, RecursionError):
        return None
    return None


def _from_object(whole: dict[str, Any], source: str) -> Rows:
    values = list(whole.values())
    if values and all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        rows = [dict(zip(whole, row, strict=True)) for row in zip(*values, strict=True)]
    elif values and all(isinstance(value, dict) for value in values) and len({tuple(value) for value in values}) == 1:
        rows = [dict(zip(whole, row, strict=True)) for row in zip(*(value.values() for value in values), strict=True)]
    elif values and all(isinstance(value, list) for value in values):
        lengths = ", ".join(f"{name}: {len(value)}" for name, value in whole.items())
        raise InputError(
            f"the columns have different lengths ({lengths}).",
            path=source,
            cure='Give a list of objects, {"data": [objects]}, or columns of equal length.',
        )
    else:
        rows = [whole]
    lines = [_Line(number, _dump_constants(row)) for number, row in enumerate(rows, 1)]
    good, rejected = _checked(iter(lines), source)
    return _assemble(good, rejected, source)


def _dump_constants(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogateescape")
