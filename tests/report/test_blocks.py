"""Scales, sentences' figures, and the comparison of groups."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflearn.report.blocks import Axis, count, join, number, percent
from preflearn.report.groups import compare


class Item(NamedTuple):
    item: str
    strength: float | None
    se: float | None


class Board(NamedTuple):
    items: tuple[Item, ...]


def board(**items: tuple[float | None, float | None]) -> Board:
    return Board(tuple(Item(name, *value) for name, value in items.items()))


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20))
def test_axis_keeps_order_and_stays_within_the_plot(values: list[float]) -> None:
    axis = Axis(values)
    places = [axis.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert places[0] > 0.0 and places[-1] < 100.0
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 12
    assert all(2.0 <= tick.at <= 98.0 for tick in ticks)
    assert len({tick.text for tick in ticks}) == len(ticks)


def test_axis_ticks_are_round() -> None:
    assert [tick.text for tick in Axis([-1.0, 1.0]).ticks()] == ["−1.0", "−0.5", "0.0", "0.5", "1.0"]
    assert [tick.text for tick in Axis([0.4, 0.6], percent=True).ticks()] == ["40%", "45%", "50%", "55%", "60%"]
    assert [tick.text for tick in Axis([900.0, 1100.0]).ticks()] == ["900", "950", "1,000", "1,050", "1,100"]


def test_interval_beyond_the_scale_is_drawn_open_and_missing_ends_are_not_drawn() -> None:
    axis = Axis([0.0, 1.0])
    mark = axis.mark(0.5, -math.inf, 0.9, title="x")
    assert (mark.low, mark.open_low, mark.open_high) == (0.0, True, False)
    assert axis.mark(0.5, math.nan, math.nan, title="x").low is None
    assert axis.mark(math.nan, math.nan, math.nan, title="x").at is None


def test_text_figures() -> None:
    assert join([]) == "" and join(["a"]) == "a" and join(["a", "b", "c"]) == "a, b and c"
    assert number(-1234.567) == "−1,234.57" and number(math.nan) == "–" and number(math.inf) == "∞"
    assert percent(0.1234) == "12%" and percent(0.1234, 1) == "12.3%"
    assert (
        count(1, "vote") == "1 vote"
        and count(2000, "vote") == "2,000 votes"
        and count(2, "person", "people") == "2 people"
    )


def test_groups_differ_where_they_do() -> None:
    boards = {
        "here": board(x=(1.0, 0.1), y=(0.0, 0.1), z=(-1.0, 0.1)),
        "there": board(x=(-1.0, 0.1), y=(0.05, 0.1), z=(0.95, 0.1)),
    }
    result = compare(boards)
    assert [difference.item for difference in result.differences] == ["x", "z", "y"]
    first, second, last = result.differences
    assert (first.high, first.low, first.gap) == ("here", "there", pytest.approx(2.0))
    assert (second.high, second.low) == ("there", "here")
    # Q of y by hand: (0.05 / 2)^2 * 2 / 0.01 = 0.125 on one degree of freedom, the smallest of three effects: p * 1.
    assert last.p == pytest.approx(math.erfc(math.sqrt(0.125 / 2)), abs=1e-12)
    assert first.p < 1e-20 and result.same_items and not result.left_out


def test_items_that_one_group_cannot_rank_are_named() -> None:
    result = compare({"g": board(x=(0.0, 0.1), y=(None, None)), "h": board(x=(0.1, 0.1), y=(1.0, 0.1))})
    assert result.left_out == ("y",) and not result.same_items
    assert [difference.item for difference in result.differences] == ["x"]


def test_an_unknown_error_gives_an_unknown_p() -> None:
    result = compare({"g": board(x=(0.0, 0.0), y=(1.0, 0.1)), "h": board(x=(0.1, 0.1), y=(1.0, 0.1))})
    p = {difference.item: difference.p for difference in result.differences}
    assert math.isnan(p["x"]) and p["y"] == pytest.approx(1.0)
