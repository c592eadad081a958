"""Steps of the mapping language: tables in, tables out (join, only, drop, explode, stack, derive, group).

Every step that loses rows counts them; see docs/mapping.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from preflearn.data.io.mapping_expressions import Expression, parse
from preflearn.data.io.mapping_operations import as_text, nearest
from preflearn.data.reading import ImportReport
from preflearn.errors import InputError

Expr = Annotated[Expression, BeforeValidator(parse)]
_HIT = "_hit"


def shaped(what: str, word: str | None = None) -> BeforeValidator:
    """Say once what is taken where several shapes are: text (only `word`, if given), a list of texts, an object."""

    def check(raw: Any) -> Any:
        texts = isinstance(raw, list) and all(isinstance(one, str) for one in raw)
        if not (texts or isinstance(raw, Mapping) or (isinstance(raw, str) and word in (None, raw))):
            raise ValueError(f"here stands {what}, not {raw!r:.80}")
        return raw

    return BeforeValidator(check)


class Strict(BaseModel):
    """A part of a mapping: unknown keys are errors that name the nearest valid one."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, raw: Any) -> Any:
        if isinstance(raw, Mapping):
            if True in raw and "on" in cls.model_fields:  # YAML 1.1 readers take the word `on` for true
                raw = {"on" if key is True else key: value for key, value in raw.items()}
            valid = [field.alias or name for name, field in cls.model_fields.items()]
            for key in raw:
                if key not in valid:
                    raise ValueError(f"unknown key {key!r}.{nearest(key, valid)}")
        return raw


class Join(Strict):
    """Columns of another table beside the rows of this one."""

    with_: str = Field(alias="with")
    on: Annotated[list[str] | dict[str, str], shaped("[columns] or {here: there}", "")]
    """Columns of one name, or {here: there}."""
    how: Literal["left", "inner"] = "left"
    prefix: str = ""
    """Put before the names of the columns that come in."""
    take: list[str] | None = None
    """Which of them (None = all)."""
    many: bool = False
    """Several matches make several rows; without it they are an error."""

    def pairs(self) -> dict[str, str]:
        """Key columns here -> there."""
        return self.on if isinstance(self.on, dict) else {name: name for name in self.on}


class Drop(Strict):
    """Rows left out, for a reason that is counted."""

    where: Expr
    reason: str


class Explode(Strict):
    """One row per element of lists of equal length."""

    columns: list[str]
    index: str | None = None
    """New column with the 0-based place of the element."""


class Stack(Strict):
    """One row per case: several columns of one row become rows (annotators side by side, both orders)."""

    name: str
    """New column with the name of the case."""
    cases: dict[str, dict[str, Expr]]
    """Case -> new column -> expression."""


class Group(Strict):
    """One row per combination of `by`; new column -> count | {first|sum|mean|sd|min|max|list|distinct: EXPRESSION}."""

    by: list[str]
    columns: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _aggregations(self) -> Self:
        for name, raw in self.columns.items():
            self.columns[name] = _aggregation(name, raw)
        return self


class Step(Strict):
    """Exactly one of the steps."""

    join: Join | None = None
    only: Expr | None = None
    """The rows this table is about; the others are not lost, they are simply not meant here."""
    drop: Drop | None = None
    explode: Explode | None = None
    stack: Stack | None = None
    derive: dict[str, Expr] | None = None
    """New column -> expression; later ones see earlier ones."""
    group: Group | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a step is exactly one of {', '.join(type(self).model_fields)}; found {given or 'none'}")
        return self

    def apply(
        self, frame: pl.DataFrame, report: ImportReport, table: Callable[[str], pl.DataFrame], name: str
    ) -> pl.DataFrame:
        """The frame after this step.

        Args:
            table: gives other tables by name, for joins.
            name: of the table being made, for the report.
        """
        if self.join is not None:
            return _join(frame, self.join, report, table(self.join.with_), name)
        if self.only is not None:
            return frame.filter(_condition(self.only, frame, report))
        if self.drop is not None:
            lost = _condition(self.drop.where, frame, report)
            report.drop(self.drop.reason, int(lost.sum()))
            return frame.filter(~lost)
        if self.explode is not None:
            return _explode(frame, self.explode, report)
        if self.stack is not None:
            return _stack(frame, self.stack, report)
        if self.derive is not None:
            for column, expression in self.derive.items():
                frame = frame.with_columns(expression.evaluate(frame, report).alias(column))
            return frame
        assert self.group is not None
        return _group(frame, self.group, report)

    def reads(self) -> Iterator[str]:
        """Names of the columns it uses, as far as it names them."""
        if self.join is not None:
            yield from self.join.pairs().keys()
            yield from self.join.pairs().values()
        if self.drop is not None:
            yield from self.drop.where.columns()
        if self.only is not None:
            yield from self.only.columns()
        if self.explode is not None:
            yield from self.explode.columns
        for expressions in [self.derive or {}, *(self.stack.cases.values() if self.stack else [])]:
            for expression in expressions.values():
                yield from expression.columns()
        if self.group is not None:
            yield from self.group.by
            for _, expression in self.group.columns.values():
                yield from expression.columns()


def _condition(expression: Expression, frame: pl.DataFrame, report: ImportReport) -> pl.Series:
    found = expression.evaluate(frame, report)
    if found.dtype != pl.Boolean:
        raise InputError(
            f"{expression} is {found.dtype}, not a condition.", cure="Add a test, e.g. is: VALUE or known: true."
        )
    return found.fill_null(False)


def _join(frame: pl.DataFrame, join: Join, report: ImportReport, other: pl.DataFrame, name: str) -> pl.DataFrame:
    keys = join.pairs()
    _need(frame, keys.keys(), name)
    _need(other, keys.values(), join.with_)
    taken = [column for column in join.take or other.columns if not column.startswith("_")]
    _need(other, taken, join.with_)
    taken = [column for column in taken if column not in keys.values() or join.prefix]
    right = other.select(
        *(pl.col(there).alias(f"_key{index}") for index, there in enumerate(keys.values())),
        *(pl.col(column).alias(join.prefix + column) for column in taken),
        pl.lit(True).alias(_HIT),
    )
    left = frame.with_columns(pl.col(here).alias(f"_key{index}") for index, here in enumerate(keys))
    for key in (f"_key{index}" for index in range(len(keys))):
        if left.schema[key] != right.schema[key]:  # 3 and "3" are the same key
            left = left.with_columns(as_text(left[key]).alias(key))
            right = right.with_columns(as_text(right[key]).alias(key))
    clash = [column for column in right.columns if column in frame.columns and not column.startswith("_")]
    if clash:
        raise InputError(
            f"both {name} and {join.with_} have {', '.join(clash)}.",
            cure="Give the join a prefix, or take fewer columns.",
        )
    on = [f"_key{index}" for index in range(len(keys))]
    on_shown = ", ".join(keys)
    given = right.select(on).drop_nulls()  # null is no key and matches nothing
    if not join.many and given.is_duplicated().any():
        twice = given.filter(given.is_duplicated()).row(0)
        raise InputError(
            f"{join.with_} has several rows for one ({on_shown}), e.g. {twice}.",
            cure="Say many: true if each of them is meant, or group it first.",
        )
    joined = left.join(right, on=on, how="left", maintain_order="left").drop(on)
    missed = joined[_HIT].null_count()
    if join.how == "inner":
        report.drop(f"{name}: no match in {join.with_} ({on_shown})", missed)
        joined = joined.filter(pl.col(_HIT).is_not_null())
    else:
        report.map(f"{name}: no match in {join.with_} ({on_shown}) -> null", missed)
    return joined.drop(_HIT)


def _need(frame: pl.DataFrame, columns: Any, name: str) -> None:
    for column in columns:
        if column not in frame.columns:
            visible = [one for one in frame.columns if not one.startswith("_")]
            raise InputError(f"table {name} has no such column.", column=column, cure=nearest(column, visible).strip())


def _explode(frame: pl.DataFrame, explode: Explode, report: ImportReport) -> pl.DataFrame:
    _need(frame, explode.columns, "here")
    lengths = [pl.col(column).list.len() for column in explode.columns]
    empty = frame.select((lengths[0].fill_null(0) == 0).sum()).item()
    report.drop(f"nothing in {', '.join(explode.columns)}", int(empty))
    frame = frame.filter(lengths[0] > 0)
    if explode.index:
        frame = frame.with_columns(pl.int_ranges(0, lengths[0], dtype=pl.Int64).alias(explode.index))
    try:
        return frame.explode([*explode.columns, *([explode.index] if explode.index else [])])
    except pl.exceptions.ShapeError as error:
        raise InputError(f"the lists {', '.join(explode.columns)} have different lengths.") from error


def _stack(frame: pl.DataFrame, stack: Stack, report: ImportReport) -> pl.DataFrame:
    frame = frame.with_columns(pl.int_range(pl.len()).alias("_order"))
    cases = []
    for case, columns in stack.cases.items():
        made = [expression.evaluate(frame, report).alias(column) for column, expression in columns.items()]
        cases.append(frame.with_columns(*made, pl.lit(case).alias(stack.name)))
    return pl.concat(cases, how="diagonal_relaxed").sort("_order", maintain_order=True).drop("_order")


def _aggregation(name: str, raw: Any) -> tuple[str, Expression]:
    if isinstance(raw, tuple):
        return raw
    if raw == "count":
        return "count", Expression("constant", 1)
    if isinstance(raw, str) and raw in _AGGREGATIONS:
        return raw, Expression("column", name)
    if isinstance(raw, Mapping) and len(raw) == 1:
        (word, argument) = next(iter(raw.items()))
        if word in _AGGREGATIONS:
            return word, parse(argument)
        raise ValueError(f"unknown aggregation {word!r}.{nearest(word, [*_AGGREGATIONS])}")
    raise ValueError(
        f"column {name!r} of a group is count or {{{'|'.join(_AGGREGATIONS)}: EXPRESSION}}, not {raw!r:.80}"
    )


_AGGREGATIONS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "first": lambda column: column.first(ignore_nulls=True),
    "sum": lambda column: column.sum(),
    "mean": lambda column: column.mean(),
    "sd": lambda column: column.std(),
    "min": lambda column: column.min(),
    "max": lambda column: column.max(),
    "list": lambda column: column,
    "distinct": lambda column: column.drop_nulls().n_unique(),
}


def _group(frame: pl.DataFrame, group: Group, report: ImportReport) -> pl.DataFrame:
    _need(frame, group.by, "here")
    work = {name: f"_group{index}" for index, name in enumerate(group.columns)}
    frame = frame.with_columns(
        expression.evaluate(frame, report).alias(work[name])
        for name, (word, expression) in group.columns.items()
        if word != "count"
    )
    bookkeeping = [name for name in ("_line", "_source") if name in frame.columns and name not in group.by]
    made = [
        (pl.len() if word == "count" else _AGGREGATIONS[word](pl.col(work[name]))).alias(name)
        for name, (word, _) in group.columns.items()
    ]
    return frame.group_by(group.by, maintain_order=True).agg(*made, *(pl.col(name).first() for name in bookkeeping))
