"""Leaderboards on a page: the interval plot with places and tiers, and the sentences that its figures justify."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from preflearn.ranking import Leaderboard, Standing
from preflearn.report.blocks import Axis, Heading, Intervals, Mark, Row, count, headings, join, number, percent
from preflearn.report.groups import Comparison, Difference

UNITS = {"logit": "strength (log-odds)", "elo": "strength (Elo points)", "probability": "chance of being preferred"}
NOT_RANKED = {
    "undefeated": "never lost: stronger than the votes can measure",
    "winless": "never won: weaker than the votes can measure",
    "other_component": "not comparable with the others",
    "no_votes": "no votes",
    "estimable": "not computable",
}
SHOWN_WITHOUT = 20
"""Items without a strength that get a line."""
SHOWN_ITEMS = 100
"""Items drawn; a page with more says how many are left out and where all of them are."""


def plot(
    board: Leaderboard, *, caption: str, truth: Mapping[str, float] | None = None, note: str | None = None
) -> Intervals:
    """The interval plot of one leaderboard, tier by tier.

    Args:
        truth: known strengths on the same scale, drawn as an upright stroke.
    """
    ranked = [standing for standing in board.items if standing.strength is not None]
    rest = [standing for standing in board.items if standing.strength is None]
    shown = ranked[:SHOWN_ITEMS]
    axis = _axis(board, shown, truth)
    tiers = len({standing.tier for standing in ranked}) > 1
    rows: list[Row] = []
    for previous, standing in pairwise([None, *shown]):
        assert standing is not None
        opens = tiers and (previous is None or previous.tier != standing.tier)
        rows.append(
            Row(
                standing.item,
                (_mark(axis, board, standing, truth),),
                (places(standing), value(board, standing.strength), interval(board, standing), f"{standing.votes:,}"),
                group=f"Tier {standing.tier}" if opens else None,
            )
        )
    for index, standing in enumerate(rest[:SHOWN_WITHOUT]):
        reason = NOT_RANKED.get(standing.status, standing.status)
        rows.append(
            Row(
                f"{standing.item} ({reason})",
                (),
                ("", "", "", f"{standing.votes:,}"),
                group="Without a strength" if index == 0 else None,
                faint=True,
            )
        )
    hidden = len(ranked) + len(rest) - len(rows)
    notes = [note or "", f"{hidden:,} more items are not drawn; `preflearn rank --csv` lists all." if hidden else ""]
    return Intervals(
        caption=caption,
        label="Item",
        axis=f"{UNITS[board.scale]}, {100 * board.level:g}% intervals",
        ticks=axis.ticks(),
        reference=axis.at(0.0) if board.scale == "logit" and axis.inside(0.0) else None,
        headings=headings("#Place", "#Strength", f"#{100 * board.level:g}% interval", "#Votes"),
        rows=tuple(rows),
        legend=(),
        note=" ".join(part for part in notes if part) or None,
        summary=headline(board),
    )


def group_plot(
    boards: Mapping[str, Leaderboard],
    comparison: Comparison,
    *,
    caption: str,
    everyone: Leaderboard | None = None,
    note: str | None = None,
) -> Intervals:
    """Strengths of every item in every group, one mark per group; the items people differ on most come first."""
    names = list(boards)
    standings = {group: {entry.item: entry for entry in board.items} for group, board in boards.items()}
    some = next(iter(boards.values()))
    chosen = comparison.differences[:SHOWN_ITEMS]
    ends = [
        end
        for difference in chosen
        for group in difference.strengths
        for end in (standings[group][difference.item].low, standings[group][difference.item].high)
        if end is not None
    ]
    axis = Axis(ends, percent=some.scale == "probability")
    rows = []
    for difference in chosen:
        marks = tuple(
            _mark(axis, boards[group], standings[group][difference.item], None, series=series, prefix=f"{group}: ")
            for series, group in enumerate(names)
            if group in difference.strengths
        )
        order = [places(standings[group][difference.item]) or "–" for group in names]
        rows.append(Row(difference.item, marks, (*order, gap(some, difference), p_text(difference.p))))
    hidden = len(comparison.differences) - len(chosen)
    notes = [note or "", f"{hidden:,} more items are not drawn." if hidden else ""]
    return Intervals(
        caption=caption,
        label="Item",
        axis=f"{UNITS[some.scale]}, {100 * some.level:g}% intervals",
        ticks=axis.ticks(),
        reference=axis.at(0.0) if some.scale == "logit" and axis.inside(0.0) else None,
        headings=(*(Heading(f"Place, {group}", True) for group in names), Heading("Gap", True), Heading("p", True)),
        rows=tuple(rows),
        legend=tuple(names),
        note=" ".join(part for part in notes if part) or None,
        summary=f"Strengths of {count(len(comparison.differences), 'item')} in {count(len(names), 'group')}.",
    )


# -- sentences ---------------------------------------------------------------------------------------------------------


def headline(board: Leaderboard) -> str:
    """Who is first, said as strongly as the figures allow and not more."""
    ranked = [standing for standing in board.items if standing.strength is not None]
    if not ranked:
        return "No item can be ranked from these votes."
    if len(ranked) == 1:
        return f"Only {ranked[0].item} can be given a strength, so there is nothing to compare it with."
    level = f"{100 * board.level:g}% confidence for all places at once"
    first = [standing.item for standing in ranked if standing.rank_low == 1]
    if len(first) == 1:
        return f"{first[0]} is first ({level})."
    if len(first) == len(ranked):
        return f"The votes do not settle who is first: each of the {len(ranked)} items could be ({level})."
    if len(first) > 5:
        return f"The votes do not settle who is first: {len(first)} of {len(ranked)} items could be ({level})."
    return f"The votes do not settle who is first: it may be {join(first, word='or')} ({level})."


def spread(board: Leaderboard) -> str | None:
    """How far the ends are apart, in chances."""
    ranked = [standing for standing in board.items if standing.strength is not None]
    if len(ranked) < 2 or board.scale == "probability":
        return None
    top, bottom = ranked[0], ranked[-1]
    per_logit = 400 / math.log(10) if board.scale == "elo" else 1.0
    assert top.strength is not None and bottom.strength is not None
    chance = 1 / (1 + math.exp(-(top.strength - bottom.strength) / per_logit))
    return (
        f"When {top.item} meets {bottom.item}, the ends of the board, "
        f"about {percent(chance)} of decided votes go to {top.item}."
    )


def tiers(board: Leaderboard) -> str | None:
    """How many tiers there are."""
    ranked = [standing for standing in board.items if standing.tier is not None]
    n = len({standing.tier for standing in ranked})
    if len(ranked) < 2:
        return None
    if n == 1:
        return f"The votes do not separate the {len(ranked)} items: all stand in one tier."
    return (
        f"The items fall into {n} tiers; what stands in a lower tier is surely below the best item of the tier above."
    )


def inflation(board: Leaderboard, independent: Mapping[str, float]) -> float | None:
    """Median ratio of a leaderboard's errors, on the logit scale, to those of independent votes by item."""
    ratios = [s.se / independent[s.item] for s in board.items if s.se and independent.get(s.item)]
    return sorted(ratios)[len(ratios) // 2] if ratios else None


def inflation_sentence(board: Leaderboard, independent: Mapping[str, float]) -> str | None:
    """What clustering does to the intervals."""
    ratio = inflation(board, independent)
    if ratio is None or not board.clustered_by:
        return None
    who = join([_of_one(name) for name in board.clustered_by])
    if ratio < 1.1:
        return (
            f"Votes of {who} resemble each other no more than votes of different ones: intervals hardly depend on it."
        )
    return (
        f"Votes of {who} resemble each other. Intervals that allow for it are {number(ratio, 1)} times as wide as "
        "those of a usual leaderboard, which takes every vote as independent; the usual ones would promise too much."
    )


def group_sentences(everyone: Leaderboard, boards: Mapping[str, Leaderboard], comparison: Comparison) -> list[str]:
    """Whether groups differ, on what, and what that means for the common board."""
    groups = list(boards)
    differences = comparison.differences
    if not differences:
        return [f"{join(groups)} share no item that both can rank."]
    sure = [difference for difference in differences if difference.p < 1 - everyone.level]
    of = f"{len(differences)} item{'s' * (len(differences) != 1)}"
    if not sure:
        return [f"{join(groups)} do not differ beyond chance on any of {of}; that is not proof that they agree."]
    out = [f"{join(groups)} rank {len(sure)} of {of} differently beyond chance."]
    largest = sure[0]
    ends = [f"{_place_words(boards[group], largest.item)} in {group}" for group in (largest.high, largest.low)]
    out.append(f"They are furthest apart on {largest.item}: {', '.join(ends)}.")
    leader = _top(everyone)
    against = [group for group, board in boards.items() if leader in _ranked(board) and _top(board) != leader]
    if leader is not None and against:
        tops = join([f"within {group} it is {_top(boards[group])}" for group in against])
        out.append(f"With all votes pooled {leader} comes out on top; {tops}.")
    return out


def _ranked(board: Leaderboard) -> list[str]:
    return [standing.item for standing in board.items if standing.strength is not None]


def _top(board: Leaderboard) -> str | None:
    return next(iter(_ranked(board)), None)


def _place_words(board: Leaderboard, item: str) -> str:
    n = sum(entry.strength is not None for entry in board.items)
    return f"place {places(board[item])} of {n}"


def _of_one(column: str) -> str:
    names = {"annotator_id": "one person", "prompt_id": "one prompt"}
    return names.get(column, f"one {column}")


# -- cells -------------------------------------------------------------------------------------------------------------


def places(standing: Standing) -> str:
    """Places that the votes do not rule out."""
    if standing.rank_low is None or standing.rank_high is None:
        return ""
    return (
        str(standing.rank_low)
        if standing.rank_low == standing.rank_high
        else f"{standing.rank_low}–{standing.rank_high}"
    )


def value(board: Leaderboard, strength: float | None) -> str:
    """A strength on the board's scale."""
    if strength is None:
        return "–"
    if board.scale == "probability":
        return percent(strength, 1)
    return number(strength, 0 if board.scale == "elo" else 2)


def interval(board: Leaderboard, standing: Standing) -> str:
    """The interval of a strength."""
    if standing.low is None or standing.high is None:
        return ""
    return f"{value(board, standing.low)} to {value(board, standing.high)}"


def gap(board: Leaderboard, difference: Difference) -> str:
    """A difference between groups."""
    if board.scale == "probability":
        return f"{number(100 * difference.gap, 0)} pp"
    return number(difference.gap, 0 if board.scale == "elo" else 2)


def p_text(p: float) -> str:
    """A p-value as a reader needs it."""
    if math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else number(p, 3)


def _axis(board: Leaderboard, standings: Sequence[Standing], truth: Mapping[str, float] | None) -> Axis:
    """A scale on which estimates fit; an interval wider than all estimates together is cut and drawn open."""
    estimates = [standing.strength for standing in standings if standing.strength is not None]
    ends = [end for standing in standings for end in (standing.low, standing.high) if end is not None]
    if estimates and ends:
        reach = max(max(estimates) - min(estimates), _median_width(standings))
        ends = [min(max(end, min(estimates) - reach), max(estimates) + reach) for end in ends]
    return Axis([*estimates, *ends, *(truth or {}).values()], percent=board.scale == "probability")


def _median_width(standings: Sequence[Standing]) -> float:
    widths = sorted(s.high - s.low for s in standings if s.low is not None and s.high is not None)
    return widths[len(widths) // 2] if widths else 0.0


def _mark(
    axis: Axis,
    board: Leaderboard,
    standing: Standing,
    truth: Mapping[str, float] | None,
    *,
    series: int = 0,
    prefix: str = "",
) -> Mark:
    known = (truth or {}).get(standing.item)
    extra = f", truth {value(board, known)}" if known is not None else ""
    title = f"{prefix}{standing.item}: {value(board, standing.strength)} ({interval(board, standing)}){extra}"
    nan = math.nan
    return axis.mark(
        nan if standing.strength is None else standing.strength,
        nan if standing.low is None else standing.low,
        nan if standing.high is None else standing.high,
        title=title,
        series=series,
        truth=known,
    )
