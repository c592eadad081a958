"""The rules that one row alone can break, as expressions; `validate` counts them in one pass per table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import polars as pl

from preflearn.data.schema import JUDGMENTS, TABLES

Severity = Literal["error", "warning"]


class Rule(NamedTuple):
    """Something that holds for every row of a table."""

    table: str
    column: str
    rule: str
    severity: Severity
    cure: str
    broken: pl.Expr
    """True where a row breaks the rule; null counts as kept. Speaks of planned columns, null where not recorded."""


def row_rules(table: str, now: datetime | None = None) -> list[Rule]:
    """The rules of a table."""
    rules = [*_of_the_schema(table), *_SPECIFIC.get(table, lambda: iter(()))()]
    if table in JUDGMENTS:
        rules += _shared(table)
    if TABLES[table].column("time") is not None:
        rules.append(_not_in_the_future(table, now or datetime.now(UTC)))
    return rules


def _of_the_schema(table: str) -> Iterator[Rule]:
    spec = TABLES[table]
    for column in spec.columns:
        here = pl.col(column.name)
        if column.required:
            cure = "Give every row its own." if column.name == spec.key else "Fill it or drop the row."
            yield Rule(table, column.name, "is never null", "error", cure, here.is_null())
        if column.values is not None:
            allowed = ", ".join(column.values)
            foreign = here.is_not_null() & ~here.is_in(list(column.values))
            yield Rule(table, column.name, f"is one of {allowed}", "error", "Map other words to these.", foreign)


def _shared(table: str) -> Iterator[Rule]:
    def rule(column: str, text: str, cure: str, kept: pl.Expr) -> Rule:
        return Rule(table, column, text, "error", cure, ~kept)

    weight, propensity = pl.col("weight"), pl.col("propensity")
    yield rule("count", "is at least 1", "Drop rows that stand for nobody.", pl.col("count") >= 1)
    yield rule("weight", "is finite and not negative", "Use 0 to leave a row out.", _at_least(weight, 0))
    yield rule(
        "propensity",
        "lies in (0, 1]",
        "A question that was asked had a chance; leave it null if unknown.",
        propensity.is_finite() & (propensity > 0) & (propensity <= 1),
    )
    yield rule("confidence", "is finite", "Leave it null if not recorded.", pl.col("confidence").is_finite())
    yield rule("duration_s", "is finite and not negative", "Check the clocks.", _at_least(pl.col("duration_s"), 0))


def _not_in_the_future(table: str, now: datetime) -> Rule:
    cure = "Check unit and time zone: times are UTC."
    return Rule(table, "time", "is not in the future", "warning", cure, pl.col("time") > pl.lit(now))


def _at_least(value: pl.Expr, low: float) -> pl.Expr:
    return value.is_finite() & (value >= low)


def _share(value: pl.Expr) -> pl.Expr:
    return value.is_finite() & (value >= 0) & (value <= 1)


def _comparisons() -> Iterator[Rule]:
    t = "comparisons"
    outcome, strength = pl.col("outcome"), pl.col("strength")
    yield Rule(
        t,
        "probability",
        "stands only where outcome is null",
        "error",
        "A teacher's probability replaces the outcome; record vote shares as counted rows.",
        pl.col("probability").is_not_null() & outcome.is_not_null(),
    )
    for column in ("probability", "probability_tie"):
        yield Rule(t, column, "lies in [0, 1]", "error", "Give a share, not a percentage.", ~_share(pl.col(column)))
    yield Rule(
        t,
        "probability_tie",
        "comes with probability",
        "warning",
        "Without P(a beats b) it says nothing of the sides.",
        pl.col("probability_tie").is_not_null() & pl.col("probability").is_null(),
    )
    yield Rule(t, "strength", "is at least 1", "error", "Leave it null if not recorded.", strength < 1)
    yield Rule(
        t,
        "strength",
        "comes only with a winner",
        "error",
        "Ties and skips have no strength.",
        strength.is_not_null() & ~outcome.is_in(["a", "b"]).fill_null(False),
    )
    yield Rule(
        t,
        "response_a",
        "differs from response_b",
        "warning",
        "A thing compared with itself tells only of position effects.",
        pl.col("response_a") == pl.col("response_b"),
    )
    for column in ("exposure_a_s", "exposure_b_s"):
        yield Rule(t, column, "is finite and not negative", "error", "Check the clocks.", ~_at_least(pl.col(column), 0))


def _ratings() -> Iterator[Rule]:
    t = "ratings"
    yield Rule(t, "value", "is finite", "error", "Leave it null if not recorded.", ~pl.col("value").is_finite())
    yield Rule(t, "spread", "is finite and not negative", "error", "It is a sd.", ~_at_least(pl.col("spread"), 0))
    yield Rule(
        t,
        "spread",
        "comes with count",
        "warning",
        "Say of how many people the row is the mean.",
        pl.col("spread").is_not_null() & pl.col("count").is_null(),
    )
    yield Rule(
        t,
        "value",
        "or label is recorded",
        "warning",
        "A rating without answer says nothing.",
        pl.col("value").is_null() & pl.col("label").is_null(),
    )


def _rankings() -> Iterator[Rule]:
    t = "rankings"
    responses, ranks, order = pl.col("responses"), pl.col("ranks"), pl.col("shown_order")
    given = ranks.list.drop_nulls()
    yield Rule(
        t,
        "ranks",
        "has one entry per response",
        "error",
        "Use null for shown but not ranked.",
        ranks.list.len() != responses.list.len(),
    )
    yield Rule(t, "ranks", "counts from 1", "error", "1 = best.", given.list.min() < 1)
    yield Rule(
        t,
        "ranks",
        "ranks at least one response",
        "warning",
        "An empty ranking says nothing.",
        given.list.len() == 0,
    )
    beyond = given.list.sort().list.eval(pl.element() > pl.int_range(1, pl.len() + 1)).list.any()
    yield Rule(
        t,
        "ranks",
        "has no gaps (a rank is at most 1 + the number of better ones)",
        "warning",
        "Only their order is used; check that no response was lost.",
        beyond & (pl.col("kind") != "best_worst").fill_null(True),
    )
    yield Rule(
        t,
        "ranks",
        "is complete where kind is full",
        "error",
        "Call it partial, or rank all.",
        (pl.col("kind") == "full") & (given.list.len() < ranks.list.len()),
    )
    yield Rule(
        t,
        "responses",
        "names every response once",
        "error",
        "One rank per response.",
        responses.list.n_unique() != responses.list.len(),
    )
    yield Rule(
        t,
        "responses",
        "has no null among its ids",
        "error",
        "Drop the entry and its rank.",
        responses.list.drop_nulls().list.len() != responses.list.len(),
    )
    places = order.list.sort().list.eval(pl.element() != pl.int_range(0, pl.len())).list.any()
    yield Rule(
        t,
        "shown_order",
        "holds each place from 0 once, one per response",
        "error",
        "It is the place at which each response was shown.",
        (order.list.len() != responses.list.len()) | places.fill_null(True) & order.is_not_null(),
    )


def _responses() -> Iterator[Rule]:
    t = "responses"
    start, end, members = pl.col("start"), pl.col("end"), pl.col("members")
    key = pl.col("response_id")
    yield Rule(t, "end", "lies behind start", "error", "end is exclusive.", ~(start < end))
    yield Rule(t, "start", "is not negative", "error", "Count from the whole's beginning.", ~_at_least(start, 0))
    yield Rule(
        t,
        "start",
        "comes with a unit",
        "error",
        "Say whether it counts characters, steps, frames, actions or seconds.",
        (start.is_not_null() | end.is_not_null()) & pl.col("unit").is_null(),
    )
    yield Rule(
        t,
        "start",
        "comes with part_of",
        "error",
        "Name the response of which this is a segment.",
        start.is_not_null() & pl.col("part_of").is_null(),
    )
    for column in ("part_of", "derived_from"):
        yield Rule(t, column, "is another response", "error", "It names itself.", pl.col(column) == key)
    yield Rule(t, "members", "does not hold the set itself", "error", "It names itself.", members.list.contains(key))
    yield Rule(t, "members", "is not empty", "warning", "A set of nothing.", members.list.len() == 0)
    yield Rule(
        t,
        "members",
        "is null for a segment",
        "error",
        "A row is a whole, a part, or a set.",
        members.is_not_null() & pl.col("part_of").is_not_null(),
    )
    roles = pl.col("messages").list.eval(pl.element().struct.field("role").is_null()).list.any()
    yield Rule(t, "messages", "says the role of each message", "error", "Use assistant.", roles)


def _prompts() -> Iterator[Rule]:
    t = "prompts"
    messages = pl.col("messages")
    yield Rule(t, "turn", "is not negative", "error", "The first turn is 0.", pl.col("turn") < 0)
    yield Rule(
        t,
        "turn",
        "comes with conversation_id",
        "warning",
        "Without it nothing ties the turns together.",
        (pl.col("turn") > 0) & pl.col("conversation_id").is_null(),
    )
    last = messages.list.last().struct.field("role")
    yield Rule(
        t,
        "continues",
        "is set only where the last message is the assistant's",
        "error",
        "The prefix to be continued is the last message.",
        pl.col("continues") & (last != "assistant").fill_null(True),
    )
    roles = messages.list.eval(pl.element().struct.field("role").is_null()).list.any()
    yield Rule(t, "messages", "says the role of each message", "error", "Use user, assistant or system.", roles)


def _criteria() -> Iterator[Rule]:
    t = "criteria"
    low, high, step = pl.col("low"), pl.col("high"), pl.col("step")
    yield Rule(t, "high", "lies above low", "error", "Check the scale.", ~(low < high))
    yield Rule(t, "step", "is positive", "error", "Leave it null for a continuous scale.", ~(step > 0))


def _media() -> Iterator[Rule]:
    kept = _at_least(pl.col("duration"), 0)
    yield Rule("media", "duration", "is finite and not negative", "error", "Seconds, or steps.", ~kept)


def _annotators() -> Iterator[Rule]:
    kept = _at_least(pl.col("weight"), 0)
    yield Rule("annotators", "weight", "is finite and not negative", "error", "Use 0 to leave one out.", ~kept)


def _signals() -> Iterator[Rule]:
    t = "signals"
    propensity = pl.col("propensity")
    kept = propensity.is_finite() & (propensity > 0) & (propensity <= 1)
    yield Rule(t, "propensity", "lies in (0, 1]", "error", "Leave it null if unknown.", ~kept)
    for column in ("value", "confidence"):
        yield Rule(t, column, "is finite", "error", "Leave it null if not recorded.", ~pl.col(column).is_finite())
    yield Rule(t, "position", "is not negative", "error", "The first place is 0.", pl.col("position") < 0)


_SPECIFIC: dict[str, Callable[[], Iterator[Rule]]] = {
    "prompts": _prompts,
    "responses": _responses,
    "media": _media,
    "annotators": _annotators,
    "criteria": _criteria,
    "comparisons": _comparisons,
    "ratings": _ratings,
    "rankings": _rankings,
    "signals": _signals,
}
