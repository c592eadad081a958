"""Checks of a flat frame row by row, vectorised: casts to the plan's types, values that cannot be, rejected rows.

A row that cannot be used keeps its line, its reason and its text; it never disappears.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from preflearn.data.io.flat_roles import MEDIA_ROLES, Roles
from preflearn.data.reading import ImportReport, Rejected
from preflearn.data.schema import MESSAGES, TABLES, TIME, Column
from preflearn.errors import InputError

_TIME_FORMATS = ("%+", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
REASON = "_reason"
NO_JUDGMENT = "count is 0: the row stands for no judgment"
_SUBSTANCE = ("text", *MEDIA_ROLES, "media", "part_of", "members", "system", "response_id")


class Checked(NamedTuple):
    """A column of the frame that becomes a column of the plan."""

    column: str
    planned: Column
    table: str


def number_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Add `_line` (1-based) where the reader gave none."""
    if "_line" in frame.columns:
        return frame
    return frame.with_row_index("_line", offset=1).with_columns(pl.col("_line").cast(pl.Int64))


def check(
    frame: pl.DataFrame, roles: Roles, report: ImportReport, *, original: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Cast the plan's columns and take out the rows that cannot be.

    Args:
        original: the rows as read, with `_line`: quoted in rejected.jsonl instead of the flat row.

    Raises:
        InputError: a whole column has a type from which the plan's type cannot be made.
    """
    typed, reasons = inspect(frame, roles, report)
    reject(frame, reasons, report, original)
    frame = typed.filter(reasons.is_null())
    kept = frame.filter(stands_for_some(frame.schema, roles))
    report.drop(NO_JUDGMENT, frame.height - kept.height)
    return kept


def inspect(frame: pl.DataFrame, roles: Roles, report: ImportReport) -> tuple[pl.DataFrame, pl.Series]:
    """The frame in the plan's types, and for each row the reason why it cannot be used (null = it can)."""
    frame = judged(frame.lazy(), roles, report).collect()
    return frame.drop(REASON), frame[REASON].alias("reason")


def judged(rows: pl.LazyFrame, roles: Roles, report: ImportReport) -> pl.LazyFrame:
    """Rows in the plan's types with the column `REASON`: why a row cannot be used (null = it can)."""
    schema = rows.collect_schema()
    planned = {checked.column: checked for checked in _planned(roles)}  # one column may serve both sides
    columns = [checked for checked in planned.values() if _is_cast(checked, schema[checked.column])]
    wrong: list[pl.Expr] = []
    casts: list[pl.Expr] = []
    for checked in columns:
        found = schema[checked.column]
        expression = soft_cast(checked.column, found, checked.planned, checked.table)
        casts.append(expression.alias(f"_cast:{checked.column}"))
        wrong += _cast_failures(checked, found)
    _count_nan(rows, [checked for checked in columns if checked.planned.dtype.is_float()], report)
    wrong += _impossible(roles, {checked.planned.name: checked for checked in columns if checked.table == roles.kind})
    wrong += _absent_sides(roles)
    reason = pl.coalesce([*wrong, pl.lit(None, dtype=pl.String)]).alias(REASON)
    names = [f"_cast:{one.column}" for one in columns]
    rows = rows.with_columns(casts).with_columns(reason)
    return rows.with_columns(pl.col(name).alias(name.removeprefix("_cast:")) for name in names).drop(names)


def reject(
    frame: pl.DataFrame, reasons: pl.Series, report: ImportReport, original: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The rows without a reason; the others become rejected rows."""
    if reasons.null_count() == frame.height:
        return frame
    bad = frame.with_columns(reasons.alias(REASON)).filter(pl.col(REASON).is_not_null())
    report.reject(rejected(bad, report.source, original))
    return frame.filter(reasons.is_null())


def rejected(bad: pl.DataFrame, source: str, original: pl.DataFrame | None = None) -> Iterator[Rejected]:
    """Rows of a frame with `_line` and `_reason` (and `_source`, where several files were read) as `Rejected`."""
    quoted = bad
    if original is not None and "_line" in original.columns:
        keys = [key for key in ("_line", "_source") if key in original.columns and key in bad.columns]
        first = original.unique(subset=keys, keep="first")
        quoted = bad.select(*keys).join(first, on=keys, how="left", maintain_order="left")
    plain = quoted.select(pl.exclude("^_.*$")).to_dicts()
    places = bad.select("_line", "_reason", *(["_source"] if "_source" in bad.columns else [])).to_dicts()
    for place, row in zip(places, plain, strict=True):
        raw = json.dumps(
            {key: value for key, value in row.items() if value is not None}, ensure_ascii=False, default=str
        )
        yield Rejected(place.get("_source") or source, place["_line"], place["_reason"], raw)


def soft_cast(column: str, found: pl.DataType, planned: Column, table: str) -> pl.Expr:
    """The column in the plan's type; values that cannot become it turn null (the caller compares).

    Raises:
        InputError: a time given as a number, or nested where a scalar is needed.
    """
    expression, wanted = pl.col(column), planned.dtype
    if wanted == TIME:
        return _time(expression, found, column, table)
    if isinstance(wanted, pl.List):
        if not isinstance(found, pl.List | pl.Array):
            expression = (
                pl.when(expression.is_not_null()).then(pl.concat_list(expression)).otherwise(pl.lit(None, dtype=None))
            )
        return expression.cast(wanted, strict=False)
    if isinstance(found, pl.Struct):
        return expression.struct.json_encode()
    if isinstance(found, pl.List | pl.Array):
        raise InputError(
            f"the column is a list, but {table}.{planned.name} is one value.",
            column=column,
            cure="Explode it into rows, or take one element.",
        )
    if isinstance(found, pl.String):
        if wanted.is_numeric() or isinstance(wanted, pl.Boolean):
            text = expression.str.strip_chars()
            expression = pl.when(text == "").then(None).otherwise(text)
        if isinstance(wanted, pl.Boolean):
            low = expression.str.to_lowercase()
            return pl.when(low.is_in(["true", "yes", "1"])).then(True).when(low.is_in(["false", "no", "0"])).then(False)
        if wanted.is_integer():
            expression, found = expression.cast(pl.Float64, strict=False), pl.Float64()
    if wanted.is_integer() and found.is_float():
        expression = pl.when(expression == expression.round(0)).then(expression)
    if wanted.is_float():
        return expression.cast(pl.Float64, strict=False).fill_nan(None)
    if isinstance(wanted, pl.String | pl.Categorical):  # an id 3 that was read as 3.0 stays "3"
        text = expression.cast(pl.String)
        return text.str.replace(r"^(-?\d+)\.0$", "${1}") if found.is_float() else text
    return expression.cast(wanted, strict=False)


def _time(expression: pl.Expr, found: pl.DataType, column: str, table: str) -> pl.Expr:
    if isinstance(found, pl.String):
        return pl.coalesce(
            expression.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False) for form in _TIME_FORMATS
        )
    if found.is_numeric():
        raise InputError(
            "a time is a number, whose unit is unknown.",
            column=column,
            cure="Map it with its unit, e.g. time: {column: NAME, unix: s} (s, ms, us or ns).",
        )
    if isinstance(found, pl.Datetime) and found.time_zone is not None:
        return expression.dt.convert_time_zone("UTC").cast(TIME)
    if isinstance(found, pl.Datetime | pl.Date):
        return expression.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if isinstance(found, pl.Null):
        return expression.cast(TIME)
    raise InputError(f"a time has type {found}.", column=column, cure=f"{table}.time takes ISO 8601 text.")


def _planned(roles: Roles) -> Iterator[Checked]:
    groups: list[tuple[str, dict[str, str]]] = [
        ("prompts", roles.prompt),
        ("annotators", roles.annotators),
        ("criteria", roles.criteria),
        *(("responses", side.parts) for side in roles.sides if roles.kind != "rankings"),
    ]
    if roles.kind != "responses":
        groups.append((roles.kind, roles.judgment))
    for table, parts in groups:
        for name, column in parts.items():
            planned = TABLES[table].column(name)
            by_item = table == "rankings" and planned is not None and isinstance(planned.dtype, pl.List)
            if planned is not None and not by_item:  # lists of a ranking are checked item by item
                yield Checked(column, planned, table)


def _is_cast(checked: Checked, found: pl.DataType) -> bool:
    """Messages are cast where they are deduplicated; a column that fits already needs nothing."""
    if checked.planned.dtype == MESSAGES:
        return False
    return found != checked.planned.dtype or found.is_float() or checked.planned.values is not None


def _cast_failures(checked: Checked, found: pl.DataType) -> Iterator[pl.Expr]:
    """Reasons why a value of this column cannot be of the plan's type, or is not one of its values."""
    raw, cast, planned = pl.col(checked.column), pl.col(f"_cast:{checked.column}"), checked.planned
    if not isinstance(planned.dtype, pl.List) and not isinstance(found, pl.Struct):
        bad = raw.is_not_null() & cast.is_null()
        if isinstance(found, pl.String) and (planned.dtype.is_numeric() or planned.dtype == pl.Boolean):
            nothing = ["", "nan"] if planned.dtype.is_float() else [""]
            bad = bad & ~raw.str.strip_chars().str.to_lowercase().is_in(nothing)
        elif planned.dtype.is_float():
            bad = pl.lit(False)  # a number stays a number; NaN is counted apart
        yield pl.when(bad).then(pl.format(f"{planned.name} {{}} is not a {_kind_of(planned.dtype)}", _shown(raw)))
    if planned.values:
        reason = pl.format(f"unknown {planned.name} {{}} (accepted: {', '.join(planned.values)})", _shown(cast))
        yield pl.when(~cast.is_in(planned.values)).then(reason)


def _kind_of(dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "whole number" if dtype.is_signed_integer() else "positive whole number"
    return {pl.Float64: "number", pl.Boolean: "truth value", TIME: "time"}.get(dtype, str(dtype))


def _impossible(roles: Roles, found: dict[str, Checked]) -> Iterator[pl.Expr]:
    """Reasons why the values of a judgment cannot be."""

    def column(name: str) -> pl.Expr | None:
        return pl.col(f"_cast:{found[name].column}") if name in found else _plain(roles, name)

    for name in ("probability", "probability_tie"):
        if (p := column(name)) is not None and roles.kind == "comparisons":
            yield pl.when(~p.is_between(0, 1)).then(pl.format(f"{name} {{}} is outside [0, 1]", p))
    if roles.kind == "comparisons":
        p, tie, outcome, strength = map(column, ("probability", "probability_tie", "outcome", "strength"))
        if p is not None and tie is not None:
            yield pl.when(p + tie > 1 + 1e-9).then(pl.lit("probability + probability_tie is above 1"))
        if p is not None and outcome is not None:
            both = p.is_not_null() & outcome.is_not_null()
            yield pl.when(both).then(pl.lit("both an outcome and a teacher's probability: keep one of them"))
        if strength is not None:
            yield pl.when(strength < 1).then(pl.format("strength {} is below 1", strength))
    if (propensity := column("propensity")) is not None:
        bad = ~((propensity > 0) & (propensity <= 1))
        yield pl.when(bad).then(pl.format("propensity {} is outside (0, 1]", propensity))
    if (weight := column("weight")) is not None:
        yield pl.when(~(weight.is_finite() & (weight >= 0))).then(pl.format("weight {} is not a weight", weight))


def _plain(roles: Roles, name: str) -> pl.Expr | None:
    """A judgment column that had the plan's type already."""
    return pl.col(roles.judgment[name]) if name in roles.judgment else None


def _absent_sides(roles: Roles) -> Iterator[pl.Expr]:
    if roles.kind == "rankings":
        return
    for side in roles.sides:
        given = [pl.col(side.parts[part]).is_not_null() for part in _SUBSTANCE if part in side.parts]
        name = f"side {side.label}" if side.label else "the response"
        reason = pl.lit(f"{name} is missing: no text, id or system")
        yield pl.when(~pl.any_horizontal(given)).then(reason) if given else reason


def stands_for_some(schema: pl.Schema, roles: Roles) -> pl.Expr:
    """Whether a row's count is not 0."""
    column = roles.judgment.get("count")
    return pl.lit(True) if column is None or not schema[column].is_numeric() else pl.col(column).fill_null(1) > 0


def _count_nan(rows: pl.LazyFrame, columns: list[Checked], report: ImportReport) -> None:
    schema = rows.collect_schema()
    masks = {}
    for checked in columns:
        if schema[checked.column].is_float():
            masks[checked.planned.name] = pl.col(checked.column).is_nan()
        elif schema[checked.column] == pl.String:
            masks[checked.planned.name] = pl.col(checked.column).str.to_lowercase() == "nan"
    if masks:
        counts = rows.select(mask.sum().alias(name) for name, mask in masks.items()).collect(engine="streaming")
        for name, count in counts.row(0, named=True).items():
            report.map(f"{name} NaN -> null", count or 0)


def _shown(value: pl.Expr) -> pl.Expr:
    return pl.format("'{}'", value.cast(pl.String).str.slice(0, 40))
