"""What the columns of a flat frame mean: role names -> sides, prompt, judgment, annotator, criterion.

Knows only names; nothing here looks at a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from preflearn.data.schema import JUDGMENTS, TABLES
from preflearn.errors import InputError

KINDS = (*JUDGMENTS, "signals", "responses")
"""What one row of a flat frame can be."""

MEDIA_ROLES = ("image", "audio", "video", "trajectory", "mesh", "document")
_SIDE_ROLES = ("text", "system", "response_id", "prompt", "prompt_id", *MEDIA_ROLES)
_LISTS = {
    "texts": "text",
    "systems": "system",
    "response_ids": "response_id",
    "responses": "response_id",
    **{f"{role}s" if role != "audio" else "audios": role for role in MEDIA_ROLES},
}
_CONTENT = {"messages": "text", "text": "text"}


@dataclass
class Side:
    """One thing judged: part -> column of the frame. `label` is "a", "b" or "" (the only side)."""

    label: str
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        """Ending of the working columns of this side."""
        return f"_{self.label}" if self.label else ""


@dataclass
class Roles:
    """The columns of a flat frame by what they mean: name in its table -> column of the frame."""

    kind: str
    sides: list[Side]
    prompt: dict[str, str] = field(default_factory=dict)
    judgment: dict[str, str] = field(default_factory=dict)
    annotators: dict[str, str] = field(default_factory=dict)
    criteria: dict[str, str] = field(default_factory=dict)


def known(kind: str) -> list[str]:
    """The unqualified role names of a kind, for checking what a person wrote."""
    if kind not in KINDS:
        return [column.name for column in TABLES[kind].columns]
    if kind == "comparisons":
        sides = [f"{role}_{label}" for role in (*_SIDE_ROLES, "response") for label in "ab"]
    elif kind == "rankings":
        sides = [*_LISTS]
    else:
        sides = [*_SIDE_ROLES]
    own = [column.name for column in TABLES[kind].columns]
    return [*dict.fromkeys(["prompt", "prompt_id", *sides, *own])]


def qualifiers(kind: str) -> list[str]:
    """Table names that may stand before a dot in a role of this kind."""
    if kind not in KINDS:
        return []
    return [*dict.fromkeys([*("ab" if kind == "comparisons" else ""), *_QUALIFIERS, kind])]


_QUALIFIERS = ("responses", "prompts", "annotators", "criteria")


def infer_kind(columns: Sequence[str]) -> str:
    """comparisons, rankings, signals, ratings or responses, by the roles that are present.

    Raises:
        InputError: no column says what is judged.
    """
    names = set(columns)

    def side(label: str) -> bool:
        return any(f"{role}_{label}" in names for role in (*_SIDE_ROLES, "response")) or any(
            name.startswith(f"{label}.") for name in names
        )

    if side("a") or side("b"):
        return "comparisons"
    if names & {"ranks", "ranking_id", "rankings.ranks"} or names & set(_LISTS):
        return "rankings"
    one = bool(names & set(_SIDE_ROLES)) or any(name.startswith("responses.") for name in names)
    if one and names & {"signal_id", "position", "severity", "detector", "kind", "signals.kind"}:
        return "signals"
    if one and names & {"value", "label", "rating_id", "spread"}:
        return "ratings"
    if one and names & {"text", "system", "response_id", *MEDIA_ROLES}:
        return "responses"
    raise InputError(
        f"no column says what was judged; found: {', '.join(columns) or 'none'}.",
        cure="Two sides need text_a/text_b, system_a/system_b or response_id_a/response_id_b; one side needs text, "
        "system or response_id; a ranking needs texts, systems or response_ids.",
    )


def parse(columns: Sequence[str], kind: str | None = None) -> Roles:
    """Sort the columns of a flat frame by meaning; columns beginning with `_` are bookkeeping and skipped.

    Raises:
        InputError: unknown kind, two columns with one meaning, or a column of a table that this kind does not fill.
    """
    kind = kind or infer_kind(columns)
    if kind not in KINDS:
        raise InputError(f"a row cannot be {kind!r}.", cure=f"It can be: {', '.join(KINDS)}.")
    sides = [Side("a"), Side("b")] if kind == "comparisons" else [Side("")]
    roles = Roles(kind, sides)
    for column in columns:
        if not column.startswith("_"):
            _place(column, roles)
    for side in sides:
        for part, column in [*side.parts.items()]:
            if part.startswith("*"):  # `responses.X` holds for both sides unless a side says otherwise
                side.parts.setdefault(part[1:], column)
                del side.parts[part]
    return roles


def _place(column: str, roles: Roles) -> None:
    qualifier, dot, name = column.partition(".")
    if dot and qualifier in ("a", "b") and roles.kind == "comparisons":
        return _put(roles.sides["ab".index(qualifier)].parts, _CONTENT.get(name, name), column)
    if dot and qualifier == "responses":
        for side in roles.sides:
            part = _CONTENT.get(name, name)
            _put(side.parts, part if len(roles.sides) == 1 else f"*{part}", column)
        return None
    if dot and qualifier == "prompts":
        return _put(roles.prompt, "messages" if name == "text" else name, column)
    if dot and qualifier == "annotators":
        return _put(roles.annotators, name, column)
    if dot and qualifier == "criteria":
        return _put(roles.criteria, name, column)
    if dot and qualifier == roles.kind:
        return _put(roles.judgment, name, column)
    if dot and qualifier in TABLES:
        raise InputError(
            f"{column!r} belongs to another table than {roles.kind}.",
            column=column,
            cure="Qualify with prompts, responses, annotators, criteria"
            + (", a, b" if roles.kind == "comparisons" else "")
            + f" or {roles.kind}.",
        )
    if column in ("prompt", "prompt_id"):
        return _put(roles.prompt, "messages" if column == "prompt" else column, column)
    for side in roles.sides:
        if side.label and (column == f"response_{side.label}" or column.removesuffix(side.suffix) in _SIDE_ROLES):
            if column == f"response_{side.label}":
                return _put(side.parts, "response_id", column)
            if column.endswith(side.suffix):
                return _put(side.parts, column.removesuffix(side.suffix), column)
    if roles.kind == "rankings" and column in _LISTS:
        return _put(roles.sides[0].parts, _LISTS[column], column)
    if roles.kind not in ("comparisons", "rankings") and column in _SIDE_ROLES:
        return _put(roles.sides[0].parts, column, column)
    if roles.kind == "responses":  # no judgment table: everything describes the response
        return _put(roles.sides[0].parts, _CONTENT.get(column, column), column)
    return _put(roles.judgment, column, column)


def _put(parts: dict[str, str], name: str, column: str) -> None:
    if name in parts:
        raise InputError(
            f"two columns mean the same: {parts[name]!r} and {column!r}.", column=column, cure="Leave one out."
        )
    parts[name] = column
