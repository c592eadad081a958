"""Plain tables read as they stand: the plan's role names and what people commonly call them.

Layouts: `system_a, system_b, outcome[, annotator_id, ...]`, `prompt, response_a, response_b, outcome`,
`prompt, chosen, rejected`, one rating, ranking or signal a row. Every renamed column and value is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from preflearn.data.io import flat
from preflearn.data.io.base import Format
from preflearn.data.io.flat_roles import infer_kind
from preflearn.data.io.flat_sides import concat, one_row_each
from preflearn.data.io.messages import conversations, is_conversation
from preflearn.data.reading import ImportReport
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

_PAIRS = (("_a", "_b"), ("_1", "_2"), ("1", "2"), (" 1", " 2"), ("_0", "_1"), ("_left", "_right"), ("_x", "_y"))
_SYSTEM = ("system", "model", "generator", "player", "item", "candidate")
_TEXT = ("text", "response", "output", "answer", "completion", "generation", "summary", "result")
_ALIASES: dict[str, tuple[str, ...]] = {
    "prompt": ("instruction", "question", "query"),
    "outcome": ("winner", "preference", "verdict", "choice", "preferred", "vote", "label", "judgment", "judgement"),
    "annotator_id": ("annotator", "worker", "worker_id", "rater", "rater_id", "judge", "user", "user_id", "voter_id"),
    "criterion_id": ("criterion",),
    "rationale": ("reason", "explanation"),
    "time": ("timestamp", "tstamp", "created_at", "date"),
    "duration_s": ("seconds",),
}
_ALIASES_OF_ONE: dict[str, tuple[str, ...]] = {
    **_ALIASES,
    "outcome": (),
    "system": ("model", "generator", "item"),
    "text": ("response", "output", "answer", "completion"),
    "value": ("rating", "score", "stars"),
}
_OUTCOMES: dict[str, tuple[str, ...]] = {
    "a": ("a", "left", "first", "model_a", "system_a", "response_a", "assistant_a", "[[a]]"),
    "b": ("b", "right", "second", "model_b", "system_b", "response_b", "assistant_b", "[[b]]"),
    "tie": ("tie", "draw", "equal", "same", "[[c]]"),
    "both_good": ("both_good", "both good", "bothgood", "tie (bothgood)"),
    "both_bad": ("both_bad", "both bad", "bothbad", "tie (bothbad)", "neither"),
    "skip": ("skip", "abstain", "pass"),
}
_EPOCH = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_YEAR_2000, _YEAR_2100 = 946_684_800, 4_102_444_800


class Layout(NamedTuple):
    """How a plain table is read: column -> role, and what its outcome values mean."""

    kind: str
    roles: dict[str, str]
    numbers: tuple[int, int] | None
    """The numbers that sides a and b bear in the column names (`response_1`: 1), where they have any."""


def layout(columns: Sequence[str]) -> Layout | None:
    """The roles of a table's columns, or None where nothing in it is known to be judged."""
    names = {_normal(column): column for column in reversed([*columns])}
    roles: dict[str, str] = {}
    numbers = None
    if "chosen" in names and "rejected" in names:
        roles.update({names["chosen"]: "text_a", names["rejected"]: "text_b"})
    else:
        for first, second in _PAIRS:
            pair = dict(_sides(names, first, second))
            if not pair:
                continue
            roles.update(pair)
            digits = first.strip(" _"), second.strip(" _")
            numbers = (int(digits[0]), int(digits[1])) if digits[0].isdigit() else None
            if numbers and _has_more(names, pair):
                return None
            break
        else:
            if "left" in names and "right" in names:
                roles.update({names["left"]: "system_a", names["right"]: "system_b"})
    two = bool(roles)
    for role, aliases in (_ALIASES if two else _ALIASES_OF_ONE).items():
        if role in names.keys() - roles.keys() or (role == "outcome" and "chosen" in names and "rejected" in names):
            continue
        found = next((names[alias] for alias in aliases if alias in names and names[alias] not in roles), None)
        if found is not None:
            roles[found] = role
    for role in _ROLE_NAMES:  # the role itself, only written differently (`Outcome`)
        column = names.get(role, role)
        if role not in columns and column != role and column not in roles:
            roles[column] = role
    renamed = [roles.get(column, _normal(column)) for column in columns]
    try:
        kind = "comparisons" if two else infer_kind(renamed)
    except InputError:
        return None
    if kind == "responses":
        return None
    return Layout(kind, roles, numbers)


def read(frame: pl.DataFrame, report: ImportReport) -> PreferenceData:
    """Read rows of a plain table.

    `response_a`/`response_b` are texts beside a prompt or systems, else ids (of named systems) unless they look like
    text. Numbers as outcomes are accepted only where the sides bear numbers (`response_1`, `response_2`; 0 = tie).

    Args:
        frame: rows with `_line`.
        report: conversions are counted in it; the caller counts `read`.

    Raises:
        InputError: no known layout, or an outcome whose coding cannot be known.
    """
    original = frame
    found = layout([column for column in frame.columns if not column.startswith("_")])
    if found is None:
        raise InputError(
            f"this is no layout of a plain table; columns: {', '.join(frame.columns)}.",
            cure="Say what the columns mean with --map ROLE=COLUMN (see docs/mapping.md).",
        )
    roles = _texts_or_ids(frame, found, report)
    frame = _rename(frame, roles, report)
    if found.kind == "comparisons":
        frame = outcomes(frame.lazy(), found, report).collect()
    if "time" in frame.columns:
        frame = _unix_time(frame, report)
    frame, media = _conversations(frame, report)
    data = flat.build(frame, report, kind=found.kind, original=original)
    if media is None:
        return data
    return data.replace(media=one_row_each("media", concat([data.media, media]), report))


PLAIN = Format(
    name="plain",
    about="A table of votes, pairs, ratings, rankings or signals with the plan's column names or common synonyms.",
    needs=("system_a, system_b, outcome", "prompt, response_a, response_b, outcome", "prompt, chosen, rejected"),
    detect=lambda sample: layout([*sample.columns]) is not None,
    read=read,
)


def _normal(column: str) -> str:
    return column.strip().lower().replace("-", "_")


def _sides(names: Mapping[str, str], first: str, second: str) -> Iterator[tuple[str, str]]:
    """Column -> role for the two sides, where both columns of a pair are there."""
    for role, bases in (("text", _TEXT), ("system", _SYSTEM)):
        for base in bases:
            pair = names.get(base + first), names.get(base + second)
            if pair[0] is not None and pair[1] is not None:
                yield pair[0], f"{role}_a"
                yield pair[1], f"{role}_b"
                break
    ids = names.get(f"response_id{first}"), names.get(f"response_id{second}")
    if ids[0] is not None and ids[1] is not None:
        yield ids[0], "response_id_a"
        yield ids[1], "response_id_b"


def _has_more(names: Mapping[str, str], pair: Mapping[str, str]) -> bool:
    """Whether a numbered side has more than two siblings (`response_1` ... `response_4`): no comparison of two."""
    stems = {_normal(column).rstrip("0123456789") for column in pair}
    numbered = {name for name in names if name[-1:].isdigit() and name.rstrip("0123456789") in stems}
    return len(numbered) > len(pair)


def _texts_or_ids(frame: pl.DataFrame, found: Layout, report: ImportReport) -> dict[str, str]:
    """`response_a` is a text beside a prompt or a system; alone it is an id, unless it looks like a text."""
    roles = dict(found.roles)
    sides = [column for column, role in roles.items() if role in ("text_a", "text_b") and "response" in _normal(column)]
    known = {*(_normal(column) for column in frame.columns), *roles.values()}
    if len(sides) != 2 or known & {"prompt", "system_a", "prompt_a"}:
        return roles
    texts = frame.select(sides)
    if any(dtype != pl.String for dtype in texts.dtypes):
        looks = any(dtype.is_nested() for dtype in texts.dtypes)
    else:
        long = texts.select(pl.all().str.len_chars().max()).row(0)
        lines = texts.select(pl.all().str.contains("\n", literal=True).any()).row(0)
        looks = any(lines) or any((length or 0) > 120 for length in long)
    if not looks:
        report.note(f"Columns {sides[0]!r} and {sides[1]!r} are read as ids; if they are texts, say --map text_a=...")
        roles.update({sides[0]: "response_id_a", sides[1]: "response_id_b"})
    return roles


def _rename(frame: pl.DataFrame, roles: Mapping[str, str], report: ImportReport) -> pl.DataFrame:
    renames = {}
    for column in frame.columns:
        role = roles.get(column, column)
        if role == column:
            continue
        if role in frame.columns and role not in roles:
            continue  # the exact name wins, the synonym rides along
        renames[column] = role
        if _normal(column) != role:
            report.map(f"column {column} -> {role}", frame.height)
    if {"chosen", "rejected"} <= renames.keys():
        report.note("The chosen side became side a: which side was shown first is not recorded.")
        if "outcome" not in frame.columns:
            frame = frame.with_columns(pl.lit("a").alias("outcome"))
    if {"left", "right"} <= renames.keys():
        report.note(
            "Columns left and right are read as systems; if they are texts, say --map text_a=left text_b=right."
        )
    return frame.rename(renames)


_ROLE_NAMES = {*_ALIASES, *_ALIASES_OF_ONE, "prompt_id", "shown_first", "strength", "probability", "count", "weight"}


def _outcome_words(found: Layout) -> dict[str, str]:
    """What people write for the winner (in lower case) -> the plan's outcome; numbers where the sides bear numbers."""
    words = {word: outcome for outcome, all_words in _OUTCOMES.items() for word in all_words}
    if found.numbers is not None:
        first, second = found.numbers
        words.update({str(first): "a", str(second): "b", **({"0": "tie"} if first else {})})
    return words


def outcomes(rows: pl.LazyFrame, found: Layout, report: ImportReport) -> pl.LazyFrame:
    """Common words for the winner -> the plan's; the name of one of the two systems -> its side. Others stay.

    Raises:
        InputError: the outcomes are numbers or truth values, and nothing says which side each means.
    """
    schema = rows.collect_schema()
    if "outcome" not in schema:
        return rows
    dtype, column = schema["outcome"], pl.col("outcome")
    if dtype == pl.Boolean or (dtype.is_numeric() and found.numbers is None):
        values = rows.select(column.drop_nulls().unique().sort().head(4)).collect(engine="streaming")
        source = next((name for name, role in found.roles.items() if role == "outcome"), "outcome")
        raise InputError(
            f"the outcomes are {', '.join(str(value) for value in values['outcome'])}, and nothing says which side "
            "each means.",
            column=source,
            cure=f"Use a mapping with outcome: {{column: {source}, values: {{0: a, 1: b}}}} (docs/mapping.md).",
        )
    value = column.cast(pl.String).str.strip_chars()
    if dtype.is_float():
        value = value.str.strip_suffix(".0")
    value = pl.when(value != "").then(value)
    counted = rows.group_by(value.alias("word")).len().collect(engine="streaming").sort("word")
    named = _named_by_system(rows, value, counted["word"])
    if named is not None:
        counted = rows.group_by(value.alias("word"), named.alias("side")).len().collect(engine="streaming").sort("word")
        by_name = counted.filter(pl.col("side").is_not_null())
        report.map("winner named by its system -> side", int(by_name["len"].sum()))
        counted = counted.filter(pl.col("side").is_null()).drop("side")
    words = _outcome_words(found)
    known = {word: words[word.lower()] for word in counted["word"].drop_nulls() if word.lower() in words}
    for word, n in counted.rows():
        if word in known and word != known[word]:
            report.map(f"outcome {word} -> {known[word]}", n)
    report.map("no outcome -> not yet judged", int(counted.filter(pl.col("word").is_null())["len"].sum()))
    outcome: pl.Expr = value
    for word, meaning in known.items():  # `replace` would hold the whole column of a scanned file
        if word != meaning:
            outcome = pl.when(value == word).then(pl.lit(meaning)).otherwise(outcome)
    return rows.with_columns((outcome if named is None else pl.coalesce(named, outcome)).alias("outcome"))


def _named_by_system(rows: pl.LazyFrame, value: pl.Expr, words: pl.Series) -> pl.Expr | None:
    """The side whose system is named as the winner; None where no word is the name of a system."""
    sides = [pl.col(f"system_{side}").cast(pl.String) for side in "ab"]
    if not {"system_a", "system_b"} <= set(rows.collect_schema()):
        return None
    some = rows.filter(pl.any_horizontal(side.is_in(words.drop_nulls().implode()) for side in sides)).head(1)
    if not some.select(pl.len()).collect(engine="streaming").item():
        return None
    differ = sides[0] != sides[1]
    named = pl.when(differ & (value == sides[0])).then(pl.lit("a"))
    return named.when(differ & (value == sides[1])).then(pl.lit("b")).otherwise(None)


def _conversations(frame: pl.DataFrame, report: ImportReport) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Contents that are lists of messages, in whatever fields, in the plan's; and the media they name."""
    media = []
    for column in ("prompt", "prompt_a", "prompt_b", "text", "text_a", "text_b"):
        if column in frame.columns and is_conversation(frame.schema[column]):
            found = conversations(frame[column], "user" if column.startswith("prompt") else "assistant")
            frame = frame.with_columns(found.column.alias(column))
            if found.left_out:
                left = ", ".join(found.left_out)
                report.note(f"Messages in column {column!r} have fields that are not kept: {left}.")
            media += [found.media] if found.media is not None else []
    return frame, pl.concat(media) if media else None


def _unix_time(frame: pl.DataFrame, report: ImportReport) -> pl.DataFrame:
    """Numbers that are times between 2000 and 2100 in one unit; others stay for the error that names the cure."""
    column = frame["time"]
    if not column.dtype.is_numeric() or column.null_count() == frame.height:
        return frame
    seconds = column.cast(pl.Float64).fill_nan(None)
    low, high = seconds.min(), seconds.max()
    assert isinstance(low, float) and isinstance(high, float)
    for unit, per_second in _EPOCH.items():
        if _YEAR_2000 * per_second <= low and high <= _YEAR_2100 * per_second:
            report.map(f"time as unix time in {unit}", column.count())
            micro = (seconds * (1_000_000 / per_second)).round(0).cast(pl.Int64)
            return frame.with_columns(micro.cast(pl.Datetime("us", "UTC")).alias("time"))
    return frame
