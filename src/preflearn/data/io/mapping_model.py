"""The parts of a mapping file as checked data: sources, tables, outputs; and how YAML becomes them."""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from preflearn.data.io import flat_roles
from preflearn.data.io.mapping_operations import nearest
from preflearn.data.io.mapping_steps import Expr, Step, Strict, shaped
from preflearn.errors import InputError

INPUT = "input"
"""The source of a mapping that names none: the files given."""


class Rows(Strict):
    """A table written out in the mapping."""

    rows: list[dict[str, Any]]


class Derived(Strict):
    """A table made from another (or from several, one below the other) by steps."""

    from_: Annotated[str | list[str], shaped("a table or a list of tables")] = Field(alias="from")
    steps: list[Step] = Field(default_factory=list)


class Output(Strict):
    """Rows of one table of the plan."""

    table: Literal[
        "prompts",
        "responses",
        "media",
        "annotators",
        "criteria",
        "comparisons",
        "ratings",
        "rankings",
        "signals",
        "plain",
    ]
    """`plain`: what `roles` leaves open is recognised as in a plain table."""
    name: str | None = None
    """Beginning of made ids where several outputs fill one table (default: the name of `from`)."""
    from_: str | None = Field(default=None, alias="from")
    rows: list[dict[str, Any]] | None = None
    """The rows themselves, instead of `from` and `roles`."""
    steps: list[Step] = Field(default_factory=list)
    roles: dict[str, Expr] = Field(default_factory=dict)
    keep: Annotated[
        Literal["rest"] | list[str] | dict[str, Expr], shaped("rest, [columns] or {new column: EXPRESSION}", "rest")
    ] = Field(default_factory=list)
    """Columns that ride along; `rest` = all that no role of this output reads."""
    note: str | None = None
    """An assumption behind this output; it stands in the report."""

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.rows is not None and (self.roles or self.from_ or self.steps):
            raise ValueError("rows are written out: there can be no from, steps or roles beside them")
        if self.rows is None or self.table != "plain":
            kinds = flat_roles.KINDS if self.table == "plain" else (self.table,)
            known = [*dict.fromkeys(role for kind in kinds for role in flat_roles.known(kind))]
            qualifiers = [*dict.fromkeys(one for kind in kinds for one in flat_roles.qualifiers(kind))]
            for role in [*self.roles, *(name for row in self.rows or [] for name in row)]:
                qualifier, dot, _ = role.partition(".")
                if not (role in known or (dot and qualifier in qualifiers)):
                    advice = nearest(role, [*known, *(f"{one}." for one in qualifiers)])
                    what = "a row" if self.table == "plain" else self.table
                    raise ValueError(f"{what} has no role {role!r}.{advice} Other columns go under keep.")
        return self


class Mapping(Strict):
    """How a source becomes a data set.

    Args:
        name, about: what it maps; `about` should cite where the layout was read.
        sources: name -> file (or list of files with the same columns, or rows). None: the files given are `input`.
        tables: name -> {from, steps}, made in this order.
        outputs: what enters the data set.
        notes: assumptions; they stand in the report.
    """

    name: str = "mapping"
    about: str = ""
    sources: dict[str, Annotated[str | list[str] | Rows, shaped("a file, a list of files or {rows: [...]}")]] = Field(
        default_factory=dict
    )
    tables: dict[str, Derived] = Field(default_factory=dict)
    outputs: list[Output] = Field(min_length=1)
    notes: list[str] = Field(default_factory=list)
    _written: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _names(self) -> Self:
        known = list(self.sources) or [INPUT]
        for name, derived in self.tables.items():
            if name in known:
                raise ValueError(f"two tables have the name {name!r}")
            for source in [derived.from_] if isinstance(derived.from_, str) else derived.from_:
                _known_table(source, known)
            for step in derived.steps:
                if step.join:
                    _known_table(step.join.with_, known)
            known.append(name)
        for output in self.outputs:
            if output.from_ is not None:
                _known_table(output.from_, known)
            elif output.rows is None and len(known) > 1:
                raise ValueError(f"output {output.table}: say which table it is from: {', '.join(known)}")
        return self

    @property
    def written(self) -> dict[str, Any]:
        """The mapping as it was written, for the provenance of the data."""
        return self._written


def _known_table(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ValueError(f"there is no table {name!r} before this.{nearest(name, known)}")


_OTHER_SHAPE = ("string_type", "list_type", "dict_type", "literal_error", "model_type")


def validated(raw: AnyMapping[str, Any], path: Path | None = None) -> Mapping:
    """A mapping from plain data.

    Raises:
        InputError: a word the language does not know, or one that is not allowed here; every problem with its place.
    """
    try:
        mapping = Mapping.model_validate(dict(raw))
        mapping._written = dict(raw)
        return mapping
    except ValidationError as error:
        problems = []
        errors = error.errors()
        exact = {
            one["loc"][: len(one["loc"]) - depth] for one in errors if one["type"] == "value_error" for depth in (1, 2)
        }
        for one in errors:
            if one["type"] in _OTHER_SHAPE and one["loc"][:-1] in exact:
                continue  # pydantic tells of every shape that was not meant, too
            place = ".".join(str(part) for part in one["loc"] if not str(part).startswith(("function-", "dict[")))
            problems.append(f"{place or 'mapping'}: {one['msg'].removeprefix('Value error, ')}")
        raise InputError("; ".join(dict.fromkeys(problems)), path=path, cure="See docs/mapping.md.") from error


class _Loader(yaml.SafeLoader):
    """YAML 1.2 truth values (only true and false: `Yes` and `no` are words of data), no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            seen.append(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def parse_yaml(path: Path) -> Mapping:
    """A mapping from a YAML file.

    Raises:
        InputError: broken YAML, or not a mapping.
    """
    try:
        raw = yaml.load(path.read_text("utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"this is no YAML: {error}", path=path) from error
    if not isinstance(raw, dict):
        raise InputError("a mapping begins with keys such as sources and outputs.", path=path)
    return validated({"name": path.stem, **raw}, path)
