"""Expressions of the mapping language: where a value comes from, then operations in the order written. No code is run.

`winner` is a column; `{column: winner, values: {left: a, right: b}}` a column whose values are translated. The language
is described in docs/mapping.md; every source and operation stands in `mapping_operations`.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from preflearn.data.io.mapping_operations import EPOCH, OPERATIONS, SOURCES, lookup_key, nearest
from preflearn.data.reading import ImportReport
from preflearn.errors import InputError

_COMPLETIONS = {"else": ("values", "case"), "by": ("glue",)}
_SWITCHES = ("lower", "strip", "length", "number", "hash")
_VALUED = ("default", "plus", "minus", "times", "over", "is", "is_not", "above", "below", "at_least", "at_most")


@dataclass(frozen=True)
class Expression:
    """A source and the operations applied to it, in the order written."""

    source: str
    argument: Any
    """The source's own argument: a column name, a constant, a list of expressions, cases."""
    operations: tuple[tuple[str, Any], ...] = ()

    def columns(self) -> set[str]:
        """Names of the columns it reads."""
        return {*_columns(self.source, self.argument), *(c for name, value in self.operations for c in _inner(value))}

    def evaluate(self, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
        """The values for every row, [rows]; values that an operation cannot read turn null and are counted.

        Raises:
            InputError: a column is absent, or has a type the operation does not take.
        """
        series = SOURCES[self.source](self.argument, frame, report)
        named = self.argument if self.source == "column" else self.source
        for name, argument in self.operations:
            try:
                series = OPERATIONS[name](series.rename(named), argument, frame, report)
            except pl.exceptions.PolarsError as error:
                raise InputError(f"{name} cannot be applied to {self}: {error}") from error
        return series.rename(named)

    def __str__(self) -> str:
        shown = self.argument if self.source in ("column", "constant", "template") else "..."
        return str(shown) if not self.operations else f"{shown} ({', '.join(name for name, _ in self.operations)})"


def parse(raw: Any) -> Expression:
    """An expression from plain data: a bare word is a column, a bare number, truth value or null a constant.

    Raises:
        ValueError: unknown or misplaced words; the message names the nearest valid one.
    """
    if isinstance(raw, Expression):
        return raw
    if isinstance(raw, str):
        return Expression("column", raw)
    if raw is None or isinstance(raw, bool | int | float):
        return Expression("constant", raw)
    if not isinstance(raw, Mapping):
        raise ValueError(
            f"an expression is a column name, a number or {{source: ..., operation: ...}}, not {raw!r:.80}"
        )
    items = list(raw.items())
    sources = [key for key in raw if key in SOURCES]
    for key in raw:
        if key not in SOURCES and key not in OPERATIONS and key not in _COMPLETIONS:
            raise ValueError(
                f"unknown word {key!r} in an expression.{nearest(key, [*SOURCES, *OPERATIONS, *_COMPLETIONS])}"
            )
    if len(sources) != 1 or items[0][0] != sources[0]:
        raise ValueError(
            f"an expression begins with one of {', '.join(SOURCES)}; found {', '.join(map(str, raw)) or '{}'}"
        )
    operations: list[tuple[str, Any]] = []
    source, argument = sources[0], _argument(sources[0], items[0][1])
    for key, value in items[1:]:
        if key in _COMPLETIONS:
            previous = operations[-1][0] if operations else source
            if previous not in _COMPLETIONS[key]:
                raise ValueError(f"{key!r} follows {' or '.join(_COMPLETIONS[key])}, not {previous}")
            if operations:
                operations[-1] = (previous, {**operations[-1][1], key: value_of(value)})
            else:
                argument = {**argument, key: value_of(value)}
        else:
            operations.append((key, _operand(key, value)))
    return Expression(source, argument, tuple(operations))


def value_of(raw: Any) -> Expression:
    """Where a value is expected: a bare word is itself; `{column: ...}` and other mappings are expressions."""
    return parse(raw) if isinstance(raw, Mapping | Expression) else Expression("constant", raw)


# -- parsing of arguments ----------------------------------------------------------------------------------------------


def _argument(source: str, raw: Any) -> Any:
    if source == "column":
        if not isinstance(raw, str):
            raise ValueError(f"column takes a name, not {raw!r}")
        return raw
    if source == "constant":
        return raw
    if source == "template":
        return tuple(_template(raw))
    if source == "of":
        return parse(raw)
    if source == "case":
        return {"cases": [_case(one) for one in _list("case", raw)]}
    if source == "glue":
        return {"parts": [parse(one) for one in _list("glue", raw)]}
    if source == "not":
        return parse(raw)
    return [parse(one) for one in _list(source, raw)]


def _template(raw: Any) -> Iterator[tuple[str, str | None]]:
    """Pieces of literal text, each followed by a column (or by nothing)."""
    if not isinstance(raw, str):
        raise ValueError(f"template takes text with {{columns}}, not {raw!r}")
    try:
        pieces = list(string.Formatter().parse(raw))
    except ValueError as error:
        raise ValueError(f"template {raw!r}: {error}") from error
    for literal, name, form, conversion in pieces:
        if form or conversion:
            raise ValueError(f"template {raw!r}: only {{column}} is understood, no formats")
        if name == "":
            raise ValueError(f"template {raw!r}: {{}} names no column")
        yield literal, name


def _case(raw: Any) -> tuple[Expression, Expression]:
    if not isinstance(raw, Mapping) or set(raw) != {"when", "then"}:
        raise ValueError(f"a case is {{when: CONDITION, then: VALUE}}, not {raw!r:.80}")
    return parse(raw["when"]), value_of(raw["then"])


def _list(word: str, raw: Any) -> list[Any]:
    if not isinstance(raw, list) or not raw:
        raise ValueError(f"{word} takes a list, not {raw!r:.80}")
    return raw


def _operand(name: str, raw: Any) -> Any:
    if name == "values":
        if not isinstance(raw, Mapping) or not raw:
            raise ValueError(f"values takes {{found: wanted, ...}}, not {raw!r:.80}")
        return {"table": {lookup_key(key): wanted for key, wanted in raw.items()}}
    if name == "in":
        return [lookup_key(value) for value in _list("in", raw)]
    if name == "replace":
        if not isinstance(raw, Mapping):
            raise ValueError(f"replace takes {{regular expression: text}}, not {raw!r:.80}")
        return dict(raw)
    if name == "unix":
        if raw not in EPOCH:
            raise ValueError(f"unix takes the unit of the number: {', '.join(EPOCH)}; not {raw!r}")
        return raw
    if name in _SWITCHES:
        if raw is not True:
            raise ValueError(f"{name} takes true, not {raw!r}")
        return raw
    if name in _VALUED:
        return value_of(raw)
    if name in ("extract", "matches", "split", "transcript", "time") and not isinstance(raw, str):
        raise ValueError(f"{name} takes text, not {raw!r}")
    if name == "known" and not isinstance(raw, bool):
        raise ValueError(f"known takes true or false, not {raw!r}")
    return raw


def _columns(source: str, argument: Any) -> Iterator[str]:
    if source == "column":
        yield argument
    elif source == "template":
        yield from (name for _, name in argument if name)
    elif source != "constant":
        yield from _inner(argument)


def _inner(value: Any) -> Iterator[str]:
    if isinstance(value, Expression):
        yield from value.columns()
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _inner(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _inner(one)
