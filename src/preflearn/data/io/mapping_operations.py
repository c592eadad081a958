"""What expressions of the mapping language can do: sources (whole columns) and operations (column -> column).

Each works on all rows at once. Knows nothing of YAML; see `mapping_expressions` for how expressions are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Protocol

import polars as pl

from preflearn.data import ids
from preflearn.data.io.messages import transcript
from preflearn.data.reading import ImportReport
from preflearn.errors import InputError

EPOCH = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0.001}
"""Units of a unix time, in microseconds."""


class Valued(Protocol):
    """An expression: values for every row of a frame."""

    @property
    def argument(self) -> Any:
        """What its source was given (of a constant: the constant)."""

    def evaluate(self, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
        """The values, [rows]."""


Source = Callable[[Any, pl.DataFrame, ImportReport], pl.Series]
Operation = Callable[[pl.Series, Any, pl.DataFrame, ImportReport], pl.Series]


def nearest(word: object, known: Sequence[str]) -> str:
    """' Did you mean ...?' for a mistyped word; the list of what is known where nothing is near."""
    close = get_close_matches(str(word), known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known)}."


def as_text(series: pl.Series) -> pl.Series:
    """Values as a person would write them: 3.0 as 3, truth values as true and false."""
    text = series.cast(pl.String)
    return text.str.replace(r"^(-?\d+)\.0$", "${1}") if series.dtype.is_float() else text


def lookup_key(raw: Any) -> str | None:
    """How a value is looked up in `values` and `in`: as text."""
    if raw is None:
        return None
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    return str(raw)


# -- sources -----------------------------------------------------------------------------------------------------------


def _column(name: str, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    if name not in frame.columns:
        visible = [column for column in frame.columns if not column.startswith("_")]
        raise InputError("there is no such column.", column=name, cure=nearest(name, visible).strip())
    return frame[name]


def _constant(value: Any, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    return pl.Series("constant", [value]).new_from_index(0, frame.height)


def _from_template(pieces: Sequence[tuple[str, str | None]], frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    parts: list[pl.Expr] = []
    for literal, name in pieces:
        if literal:
            parts.append(pl.lit(literal))
        if name:
            parts.append(pl.lit(as_text(_column(name, frame, report))))
    made = pl.select(pl.concat_str(parts).alias("template")).to_series() if parts else pl.Series("template", [""])
    return made if len(made) == frame.height else made.new_from_index(0, frame.height)


def _of(inner: Valued, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    return inner.evaluate(frame, report)


def _cases(argument: Mapping[str, Any], frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    columns: dict[str, pl.Series] = {}
    chosen = None
    for index, (condition, value) in enumerate(argument["cases"]):
        columns[f"when{index}"] = _truth(condition, frame, report)
        columns[f"then{index}"] = value.evaluate(frame, report)
        start = pl if chosen is None else chosen
        chosen = start.when(pl.col(f"when{index}")).then(pl.col(f"then{index}"))
    assert chosen is not None
    rest = argument.get("else")
    columns["else"] = rest.evaluate(frame, report) if rest else _constant(None, frame, report)
    return pl.DataFrame(columns).select(chosen.otherwise(pl.col("else")).alias("case")).to_series()


def _truth(condition: Valued, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    found = condition.evaluate(frame, report)
    if found.dtype != pl.Boolean:
        tests = ", ".join(TESTS)
        raise InputError(f"{condition} is not a condition but {found.dtype}.", cure=f"Add a test: {tests}.")
    return found.fill_null(False)


def _first(parts: Sequence[Valued], frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    found = {f"{index}": part.evaluate(frame, report) for index, part in enumerate(parts)}
    return pl.DataFrame(found).select(pl.coalesce(pl.all()).alias("first")).to_series()


def _together(parts: Sequence[Valued], frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    found = {f"{index}": part.evaluate(frame, report) for index, part in enumerate(parts)}
    return pl.DataFrame(found).select(pl.concat_list(pl.all()).alias("list")).to_series()


def _glue(argument: Mapping[str, Any], frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    found = {f"{index}": as_text(part.evaluate(frame, report)) for index, part in enumerate(argument["parts"])}
    between = argument["by"].argument if "by" in argument else ""
    parts = [pl.when(pl.col(name) != "").then(pl.col(name)) for name in found]
    glued = pl.concat_str(parts, separator=str(between), ignore_nulls=True)
    nothing = pl.all_horizontal(pl.all().is_null())
    return pl.DataFrame(found).select(pl.when(~nothing).then(glued).alias("glue")).to_series()


def _all_of(parts: Sequence[Valued], frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    found = {f"{index}": _truth(part, frame, report) for index, part in enumerate(parts)}
    return pl.DataFrame(found).select(pl.all_horizontal(pl.all()).alias("all")).to_series()


def _any_of(parts: Sequence[Valued], frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    found = {f"{index}": _truth(part, frame, report) for index, part in enumerate(parts)}
    return pl.DataFrame(found).select(pl.any_horizontal(pl.all()).alias("any")).to_series()


def _not(part: Valued, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    return ~_truth(part, frame, report)


SOURCES: dict[str, Source] = {
    "column": _column,
    "constant": _constant,
    "template": _from_template,
    "of": _of,
    "case": _cases,
    "first": _first,
    "list": _together,
    "glue": _glue,
    "all": _all_of,
    "any": _any_of,
    "not": _not,
}


# -- operations --------------------------------------------------------------------------------------------------------


def _values(series: pl.Series, argument: Mapping[str, Any], frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    """Translate values (compared as text); others stay, or become `else`."""
    table = argument["table"]
    found = {key: wanted for key, wanted in table.items() if key is not None}
    text = as_text(series)
    numbers = all(
        isinstance(wanted, int | float) and not isinstance(wanted, bool)
        for wanted in table.values()
        if wanted is not None
    )
    wanted_type: pl.DataType = pl.Float64() if numbers and any(v is not None for v in table.values()) else pl.String()
    translated = text.replace_strict(
        pl.Series([*found], dtype=pl.String),
        pl.Series(
            [lookup_key(value) if wanted_type == pl.String else value for value in found.values()], dtype=wanted_type
        ),
        default=None,
    )
    listed = text.is_in([*found]) if found else pl.Series([False]).new_from_index(0, len(text))
    if "else" in argument:
        rest = argument["else"].evaluate(frame, report)
        rest = as_text(rest) if wanted_type == pl.String else rest.cast(wanted_type)
    elif wanted_type == pl.String:
        rest = text
    else:
        rest = _counted_cast(series, wanted_type, "values", report)
    columns = {"listed": listed.fill_null(False), "translated": translated, "rest": rest, "null": series.is_null()}
    of_null = pl.lit(table.get(None), dtype=wanted_type)
    return (
        pl.DataFrame(columns)
        .select(pl.when("null").then(of_null).when("listed").then("translated").otherwise("rest").alias("values"))
        .to_series()
    )


def _default(series: pl.Series, value: Valued, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    filler = value.evaluate(frame, report)
    return pl.DataFrame({"found": series, "filler": filler}).select(pl.coalesce("found", "filler")).to_series()


def _path(series: pl.Series, path: Any, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    """A field, an element or a path of them (`choices[0].text`), of JSON text, objects or lists."""
    steps = [path] if isinstance(path, int) else _path_steps(str(path))
    if series.dtype == pl.String:
        way = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
        return series.str.json_path_match(f"${way}")
    for step in steps:
        if isinstance(step, int):
            if not isinstance(series.dtype, pl.List | pl.Array):
                raise InputError(f"[{step}] is asked of {series.dtype}, which has no elements.", column=series.name)
            listed = series if isinstance(series.dtype, pl.List) else series.arr.to_list()
            series = listed.list.get(step, null_on_oob=True)
        else:
            if not isinstance(series.dtype, pl.Struct) or step not in series.struct.fields:
                known = series.struct.fields if isinstance(series.dtype, pl.Struct) else []
                raise InputError(f"there is no field {step!r}.", column=series.name, cure=nearest(step, known).strip())
            series = series.struct.field(step)
    return series


def _path_steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    for part in path.replace("[", ".[").split("."):
        if part.startswith("[") and part.endswith("]"):
            steps.append(int(part[1:-1]))
        elif part:
            steps.append(part)
    return steps


def _extract(series: pl.Series, pattern: str, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    """The first group of a regular expression (all of it where it has no group); no match = null, counted."""
    text = as_text(series)
    try:
        groups = pl.select(pl.lit("").str.extract_groups(pattern)).to_series().struct.fields
    except pl.exceptions.PolarsError as error:
        raise InputError(f"extract: {pattern!r} is no regular expression: {error}") from error
    found = text.str.extract(pattern, 1 if groups else 0)
    report.map(f"{series.name}: no match of {pattern!r} -> null", int((text.is_not_null() & found.is_null()).sum()))
    return found


def _replace(series: pl.Series, table: Mapping[str, str], frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    text = as_text(series)
    for pattern, wanted in table.items():
        text = text.str.replace_all(pattern, wanted)
    return text


def _number(series: pl.Series, _: Any, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    if isinstance(series.dtype, pl.List):
        return series.cast(pl.List(pl.Float64))
    return _counted_cast(series, pl.Float64(), "number", report)


def _counted_cast(series: pl.Series, wanted: pl.DataType, word: str, report: ImportReport) -> pl.Series:
    source = series.str.strip_chars() if series.dtype == pl.String else series
    cast = source.cast(wanted, strict=False)
    report.map(f"{series.name}: not a {word} -> null", int((series.is_not_null() & cast.is_null()).sum()))
    return cast


def _time(series: pl.Series, form: str, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    """Text in a strptime format; without an offset it is UTC."""
    found = series.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False)
    report.map(f"{series.name}: not a time as {form!r} -> null", int((series.is_not_null() & found.is_null()).sum()))
    return found


def _unix(series: pl.Series, unit: str, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    numbers = _counted_cast(series, pl.Float64(), "number", report).fill_nan(None)
    return (numbers * EPOCH[unit]).round(0).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))


def _arithmetic(act: Callable[[pl.Series, pl.Series], pl.Series], word: str) -> Operation:
    def apply(series: pl.Series, operand: Valued, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
        other = operand.evaluate(frame, report)
        for one in (series, other):
            if not one.dtype.is_numeric() and one.dtype != pl.Null:
                raise InputError(
                    f"{word} needs numbers, not {one.dtype}.", column=one.name, cure="Add number: true first."
                )
        return act(series.cast(pl.Float64), other.cast(pl.Float64))

    return apply


def _compare(act: Callable[[pl.Series, pl.Series], pl.Series], word: str) -> Operation:
    def apply(series: pl.Series, operand: Valued, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
        other = operand.evaluate(frame, report)
        numbers = [one.dtype.is_numeric() for one in (series, other)]
        if not all(numbers):
            if word not in ("is", "is_not") and any(numbers):
                raise InputError(
                    f"{word} compares {series.dtype} with {other.dtype}.", column=series.name, cure="Add number: true."
                )
            series, other = as_text(series), as_text(other)
        return act(series, other).fill_null(False)

    return apply


def _in(series: pl.Series, wanted: Sequence[str | None], frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    found = as_text(series).is_in([one for one in wanted if one is not None]).fill_null(False)
    return found | series.is_null() if None in wanted else found


def _matches(series: pl.Series, pattern: str, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    return as_text(series).str.contains(pattern).fill_null(False)


def _known(series: pl.Series, wanted: bool, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    return series.is_not_null() if wanted else series.is_null()


def _length(series: pl.Series, _: Any, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    if isinstance(series.dtype, pl.List):
        return series.list.len().cast(pl.Int64)
    return series.str.len_chars().cast(pl.Int64)


TESTS: dict[str, Operation] = {
    "is": _compare(lambda a, b: a == b, "is"),
    "is_not": _compare(lambda a, b: a != b, "is_not"),
    "above": _compare(lambda a, b: a > b, "above"),
    "below": _compare(lambda a, b: a < b, "below"),
    "at_least": _compare(lambda a, b: a >= b, "at_least"),
    "at_most": _compare(lambda a, b: a <= b, "at_most"),
    "in": _in,
    "matches": _matches,
    "known": _known,
}
OPERATIONS: dict[str, Operation] = {
    "values": _values,
    "default": _default,
    "path": _path,
    "extract": _extract,
    "replace": _replace,
    "split": lambda series, by, frame, report: as_text(series).str.split(by),
    "lower": lambda series, _, frame, report: as_text(series).str.to_lowercase(),
    "strip": lambda series, _, frame, report: as_text(series).str.strip_chars(),
    "length": _length,
    "number": _number,
    "plus": _arithmetic(lambda a, b: a + b, "plus"),
    "minus": _arithmetic(lambda a, b: a - b, "minus"),
    "times": _arithmetic(lambda a, b: a * b, "times"),
    "over": _arithmetic(lambda a, b: a / b, "over"),
    "time": _time,
    "unix": _unix,
    "hash": lambda series, _, frame, report: ids.digest(as_text(series)),
    "transcript": lambda series, turn, frame, report: transcript(as_text(series), turn),
    **TESTS,
}
