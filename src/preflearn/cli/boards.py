"""Leaderboards in the terminal: places, strengths with intervals, effects and warnings, within 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preflearn.cli.say import Field, Say

if TYPE_CHECKING:
    from preflearn.ranking import Effect, Leaderboard, Standing

STATUS = {
    "estimable": "",
    "undefeated": "never lost",
    "winless": "never won",
    "other_component": "not comparable",
    "no_votes": "no votes",
}
"""What a status says to a reader of the table."""

TIES = {
    "bradley_terry": "ties count as half a win for each side",
    "davidson": "ties are an outcome of their own (Davidson)",
    "rao_kupper": "ties are differences below a threshold (Rao-Kupper)",
    "graded": "graded answers with symmetric thresholds",
}
"""What a model makes of ties."""


LISTED_SILENT = 3
"""Items without votes that get a line each; more of them are named by the warning below the table."""


def show_board(say: Say, board: Leaderboard, *, title: str | None = None) -> None:
    """The table of one leaderboard and the lines below it."""
    if title:
        say.heading(title)
    silent = [standing for standing in board.items if standing.status == "no_votes"]
    listed = [standing for standing in board.items if standing.status != "no_votes" or len(silent) <= LISTED_SILENT]
    statuses = any(standing.status != "estimable" for standing in listed)
    fields = [
        Field("place", right=True),
        Field("tier", right=True),
        Field("item", flexible=True),
        Field(_SCALES[board.scale], right=True),
        Field(f"{100 * board.level:g}% interval"),
        Field("votes", right=True),
        *([Field("status")] if statuses else []),
    ]
    say.table(fields, [_row(standing, board.scale, statuses) for standing in listed])
    shown = [effect for effect in board.effects if effect.estimate is not None]
    if shown:
        say.table(
            [Field("effect"), Field("estimate", right=True), Field("interval"), Field("meaning", flexible=True)],
            [[effect.name, f"{effect.estimate:+.3f}", _effect_interval(effect), effect.meaning] for effect in shown],
            title="Besides the items",
        )
    say.line()
    say.line(basis(board))
    for warning in board.warnings:
        say.warn(warning)


_SCALES = {"logit": "strength", "elo": "Elo", "probability": "win rate"}


def places(standing: Standing) -> str:
    """The places that the data does not rule out, as `3` or `2-5`."""
    if standing.rank_low is None or standing.rank_high is None:
        return ""
    if standing.rank_low == standing.rank_high:
        return str(standing.rank_low)
    return f"{standing.rank_low}-{standing.rank_high}"


def figure(value: float | None, scale: str) -> str:
    """A strength on its scale; a dash where there is none."""
    if value is None:
        return "-"
    if scale == "elo":
        return f"{value:.0f}"
    return f"{100 * value:.1f}%" if scale == "probability" else f"{value:.3f}"


def interval(low: float | None, high: float | None, scale: str) -> str:
    """An interval on its scale; blank where there is none."""
    return "" if low is None or high is None else f"[{figure(low, scale)}, {figure(high, scale)}]"


def _row(standing: Standing, scale: str, statuses: bool) -> list[object]:
    row: list[object] = [
        places(standing),
        standing.tier,
        standing.item,
        figure(standing.strength, scale),
        interval(standing.low, standing.high, scale),
        standing.votes,
    ]
    return [*row, STATUS.get(standing.status, standing.status)] if statuses else row


def _effect_interval(effect: Effect) -> str:
    return "" if effect.low is None or effect.high is None else f"[{effect.low:+.3f}, {effect.high:+.3f}]"


def basis(board: Leaderboard) -> str:
    """What the figures rest on, in one sentence."""
    people = f" of {board.n_annotators:,} annotators" if board.n_annotators else ""
    errors = f"clustered by {' and '.join(board.clustered_by)}" if board.clustered_by else "votes taken as independent"
    if board.interval == "none":
        return f"{board.n_votes:,} votes{people}; {board.model}: no strength is computable, for the reasons given."
    unsettled = "" if board.converged else "; the fit did not converge"
    return (
        f"{board.n_votes:,} votes{people}; {board.model}: {TIES.get(board.model, board.model)}; "
        f"scale: {board.anchor}; intervals: {errors}{unsettled}."
    )
