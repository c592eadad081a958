"""Any column of any table beside the rows of one: what `--by`, `--cluster` and `--where` name.

A name is `column`, `table.column`, or, for the sides of a comparison, `a.column`, `b.column`, `a.prompts.column`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import NamedTuple

import polars as pl

from preflearn.data.schema import TABLES
from preflearn.data.schema import table as table_of
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

_ORDER = ("annotators", "prompts", "criteria", "responses")
_SIDES: dict[str, dict[str, str]] = {
    "comparisons": {"a": "response_a", "b": "response_b"},
    "ratings": {"r": "response_id"},
    "signals": {"r": "response_id"},
    "rankings": {"r": "responses"},
}
"""Base table -> side -> the column that holds the side's response id (a list for rankings)."""
_KEYS = {
    ("comparisons", "annotators"): "annotator_id",
    ("ratings", "annotators"): "annotator_id",
    ("rankings", "annotators"): "annotator_id",
    ("signals", "annotators"): "annotator_id",
    ("responses", "annotators"): "author_id",
    ("comparisons", "criteria"): "criterion_id",
    ("ratings", "criteria"): "criterion_id",
    ("rankings", "criteria"): "criterion_id",
}


class Route(NamedTuple):
    """Where a name leads: `via` is the base table, a table reached from it, or `a`, `b`, `a.prompts`, `b.prompts`."""

    via: str
    column: str


class ColumnInfo(NamedTuple):
    """One column that can be asked for."""

    name: str
    """Qualified name, always accepted."""
    short: str | None
    """The bare name, where it leads to the same column."""
    dtype: pl.DataType
    meaning: str
    """From the plan; empty for a column that rides along."""


def qualified(table: str, name: str) -> str:
    """A bare name that the plan has for the table means the table's own column, recorded or not; others stay.

    `prompt_id` stays too: it is the prompt judged, wherever that is recorded.
    """
    planned = "." not in name and name != "prompt_id" and table_of(table).column(name) is not None
    return f"{table}.{name}" if planned else name


def attach(data: PreferenceData, table: str, wanted: Mapping[str, str]) -> pl.LazyFrame:
    """The rows of `table`, in their order, plus one column per alias of `wanted` (alias -> name of a column).

    A bare name is looked for in the table itself, then in annotators, prompts (through the judgment's own prompt_id,
    else through its responses), criteria and responses. Where a judgment has several responses (two sides of a
    comparison, the list of a ranking) a column of prompts or responses is the value when all agree, else null;
    `a.column` and `b.column` name the sides of a comparison. `prompt_id` is the prompt judged, wherever it is recorded.
    Nothing is read before `collect`, and only the tables that are named are joined. An alias that equals a column of
    the table replaces it.

    Raises:
        InputError: a name is unknown, or is recorded in several of the other tables (qualify it then).
    """
    routes = {alias: resolve(data, table, name) for alias, name in wanted.items()}
    names = data.columns(table)
    if table == "rankings" and any(_of_responses(route) for route in routes.values()):
        frame, values = _through_lists(data, routes)
    else:
        joins = _Joins(data, table)
        values = {alias: joins.value(route) for alias, route in routes.items()}
        frame = joins.frame(data.lazy(table))
    return frame.with_columns(value.alias(alias) for alias, value in values.items()).select(
        *names, *[alias for alias in wanted if alias not in names]
    )


def resolve(data: PreferenceData, table: str, name: str) -> Route:
    """Where `name` leads, seen from `table`; see `attach` for the rules.

    A recorded column of the table that is spelled exactly like `name` (dots included) wins; otherwise everything up to
    the first dot is a qualifier if it is `a`, `b` or a table, and the rest is the column, dots included.

    Raises:
        InputError: the name is unknown or ambiguous; the message lists what could be meant.
    """
    table_of(table)
    reached = _reachable(table)
    if name == "prompt_id" and "prompts" in reached and table != "responses":
        return Route("prompts", "prompt_id")
    if name in data.columns(table):
        return Route(table, name)
    qualifier, dot, rest = name.partition(".")
    if dot and qualifier == table:
        if rest in data.columns(table) or table_of(table).column(rest):
            return Route(table, rest)
        raise _unknown(data, table, name)
    if dot and qualifier in {"a", "b"} and table == "comparisons":
        return _resolve_side(data, name, qualifier, rest)
    if dot and qualifier in reached:
        if _has(data, qualifier, rest):
            return Route(qualifier, rest)
        raise _unknown(data, table, name)
    holders = [other for other in reached if name in data.columns(other)]
    planned_here = table_of(table).column(name) is not None
    if len(holders) > 1 or (holders and planned_here):
        candidates = [f"{table}.{name}"] * planned_here + [f"{other}.{name}" for other in holders]
        raise InputError(
            f"the name {name!r} could mean {' or '.join(candidates)}.", cure="Give the name with its table."
        )
    if holders:
        return Route(holders[0], name)
    if planned_here:
        return Route(table, name)
    raise _unknown(data, table, name)


def describe_columns(data: PreferenceData, table: str = "comparisons") -> list[ColumnInfo]:
    """Every recorded column that `attach` can put beside the rows of `table`, in look-up order."""
    out: list[ColumnInfo] = []
    for via in (table, *_reachable(table)):
        schema = data.lazy(via).collect_schema()
        for column, dtype in schema.items():
            planned = table_of(via).column(column)
            try:
                short = column if resolve(data, table, column) == Route(via, column) else None
            except InputError:
                short = None
            out.append(ColumnInfo(f"{via}.{column}", short, dtype, planned.meaning if planned else ""))
    if table == "comparisons":
        for column, dtype in data.lazy("responses").collect_schema().items():
            planned = table_of("responses").column(column)
            meaning = planned.meaning if planned else ""
            out += [ColumnInfo(f"{side}.{column}", None, dtype, meaning) for side in ("a", "b")]
    return out


# -- resolving ---------------------------------------------------------------------------------------------------------


def _reachable(table: str) -> tuple[str, ...]:
    """Tables that a row of `table` leads to, in look-up order."""
    if table in _SIDES:
        return tuple(other for other in _ORDER if other in {"prompts", "responses"} or (table, other) in _KEYS)
    return ("annotators", "prompts") if table == "responses" else ()


def _has(data: PreferenceData, table: str, column: str) -> bool:
    return column in data.columns(table) or table_of(table).column(column) is not None


def _resolve_side(data: PreferenceData, name: str, side: str, rest: str) -> Route:
    if rest in data.columns("responses"):
        return Route(side, rest)
    table, dot, column = rest.partition(".")
    if dot and table == "prompts" and _has(data, "prompts", column):
        return Route(f"{side}.prompts", column)
    if dot and table == "responses" and _has(data, "responses", column):
        return Route(side, column)
    if table_of("responses").column(rest) is not None:
        return Route(side, rest)
    if rest in data.columns("prompts"):
        return Route(f"{side}.prompts", rest)
    raise _unknown(data, "comparisons", name)


def _unknown(data: PreferenceData, table: str, name: str) -> InputError:
    bare = name.rpartition(".")[2]
    known = {
        f"{via}.{column}" if via != table else column
        for via in (table, *_reachable(table))
        for column in data.columns(via)
    }
    by_bare: dict[str, list[str]] = {}
    for qualified in sorted(known):
        by_bare.setdefault(qualified.rpartition(".")[2], []).append(qualified)
    close = [full for near in get_close_matches(bare, by_bare, n=3, cutoff=0.6) for full in by_bare[near]]
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    return InputError(
        f"no column {name!r} is recorded that rows of {table!r} lead to.",
        cure=f"{hint}There are: {', '.join(sorted(known))}.",
    )


# -- joining -----------------------------------------------------------------------------------------------------------


def _of_responses(route: Route) -> bool:
    return route.via in {"responses", "prompts"}


class _Joins:
    """What has to be joined to one table: values are asked for first, then `frame` joins each target once per key."""

    def __init__(self, data: PreferenceData, table: str) -> None:
        self.data, self.table = data, table
        self.sides = _SIDES.get(table, {})
        self.recorded = set(data.columns(table))
        self._wanted: dict[tuple[str, str], list[str]] = {}
        self._prompt_keys: dict[str, pl.Expr] = {}

    def value(self, route: Route) -> pl.Expr:
        """The expression of a route over what `frame` will return."""
        via, _, of_prompt = route.via.partition(".")
        if via == self.table:
            return self._own(route.column)
        if via in {"annotators", "criteria"}:
            key = _KEYS[self.table, via]
            return self._fetch(via, key if key in self.recorded else None, route.column)
        if self.table == "responses":
            return self._fetch(via, "prompt_id" if "prompt_id" in self.recorded else None, route.column)
        if via in self.sides:
            return self._prompt(via, route.column) if of_prompt else self._response(via, route.column)
        read = self._prompt if via == "prompts" else self._response
        values = [read(side, route.column) for side in self.sides]
        if len(values) == 1:
            return values[0]
        first, second = values
        return pl.when(first.eq_missing(second)).then(first)

    def frame(self, base: pl.LazyFrame) -> pl.LazyFrame:
        """`base` (rows of the table) with every column that was asked for."""
        for (target, key), columns in self._wanted.items():
            if target == "responses":
                base = self._join(base, target, key, columns)
        base = base.with_columns(key.alias(name) for name, key in self._prompt_keys.items())
        for (target, key), columns in self._wanted.items():
            if target != "responses":
                base = self._join(base, target, key, columns)
        return base

    def _own(self, column: str) -> pl.Expr:
        return pl.col(column) if column in self.recorded else pl.lit(None, dtype=_planned_type(self.table, column))

    def _response(self, side: str, column: str) -> pl.Expr:
        return self._fetch("responses", self.sides[side], column)

    def _prompt(self, side: str, column: str) -> pl.Expr:
        own = "prompt_id" in self.recorded
        if "prompt_id" not in self.data.columns("responses"):
            return self._fetch("prompts", "prompt_id" if own else None, column)
        through = self._response(side, "prompt_id")
        self._prompt_keys[f"__prompt.{side}"] = pl.coalesce("prompt_id", through) if own else through
        return self._fetch("prompts", f"__prompt.{side}", column)

    def _fetch(self, target: str, key: str | None, column: str) -> pl.Expr:
        """Column of the row of `target` whose key stands in column `key` of the frame (None: no such link)."""
        if column == TABLES[target].key and key is not None:
            return pl.col(key).cast(pl.String)
        dtype = self.data.lazy(target).collect_schema().get(column)
        if key is None or dtype is None:
            return pl.lit(None, dtype=dtype or _planned_type(target, column))
        columns = self._wanted.setdefault((target, key), [])
        if column not in columns:
            columns.append(column)
        return pl.col(f"__{target}.{key}.{column}")

    def _join(self, base: pl.LazyFrame, target: str, key: str, columns: list[str]) -> pl.LazyFrame:
        found = self.data.lazy(target).select(
            pl.col(TABLES[target].key).cast(pl.String).alias(f"__key.{target}.{key}"),
            *(pl.col(column).alias(f"__{target}.{key}.{column}") for column in columns),
        )
        return base.join(
            found.unique(f"__key.{target}.{key}", keep="first"),  # a repeated key must not repeat judgments
            left_on=pl.col(key).cast(pl.String),
            right_on=f"__key.{target}.{key}",
            how="left",
            maintain_order="left",
        )


def _through_lists(data: PreferenceData, routes: Mapping[str, Route]) -> tuple[pl.LazyFrame, dict[str, pl.Expr]]:
    """Rankings: what all listed responses share, by going through one row per (ranking, response)."""
    base = data.lazy("rankings").with_row_index("__row")
    listed = {alias: route for alias, route in routes.items() if _of_responses(route)}
    keep = ["__row", "responses", *(["prompt_id"] if "prompt_id" in data.columns("rankings") else [])]
    through = _Joins(data, "rankings")
    found = {alias: through.value(route) for alias, route in listed.items()}
    names = {alias: f"__listed.{alias}" for alias in listed}
    shared = (
        through.frame(base.select(keep).explode("responses"))
        .with_columns(value.alias(names[alias]) for alias, value in found.items())
        .group_by("__row")
        .agg(
            pl.when(pl.col(name).eq_missing(pl.col(name).first()).all()).then(pl.col(name).first()).alias(name)
            for name in names.values()
        )
    )
    near = _Joins(data, "rankings")
    values = {alias: pl.col(names[alias]) if alias in listed else near.value(route) for alias, route in routes.items()}
    return near.frame(base).join(shared, on="__row", how="left", maintain_order="left"), values


def _planned_type(table: str, column: str) -> pl.DataType:
    planned = table_of(table).column(column)
    if planned is None:
        raise InputError(f"table {table!r} has no column {column!r}.")
    return planned.dtype
