"""The leaderboard that everyone makes, beside the one that allows for people, ties and position."""

from __future__ import annotations

from preflearn.data import PreferenceData
from preflearn.ranking import Leaderboard, Standing, rank
from preflearn.report import truth as truths
from preflearn.report.blocks import Block, Grid, Prose, Section, headings, join
from preflearn.report.estimates import Estimates
from preflearn.report.leaderboards import inflation_sentence, places, plot
from preflearn.report.truth import Truth
from preflearn.report.votes import compared

STROKE = "The upright stroke is the truth."


def usual_board(data: PreferenceData, estimates: Estimates, *, item: str = "system", seed: int = 0) -> Leaderboard:
    """Everyone pooled, a tie as half a win for each side, every vote taken as a new person's."""
    votes = compared(data).data
    return rank(votes, "bradley_terry", criterion=estimates.criterion, item=item, cluster=None, seed=seed)


def sentences(usual: Leaderboard, estimates: Estimates) -> list[str]:
    """Where the usual leaderboard says more than the votes do."""
    board = estimates.board
    if board is None:
        return []
    out = []
    unsure = {standing.item for standing in board.items if not _settled(standing)}
    only = [standing.item for standing in usual.items if _settled(standing) and standing.item in unsure]
    if only:
        out.append(
            f"It is certain about the place of {join(only)}; with intervals that allow for people, it cannot be."
        )
    leader = next((standing.item for standing in usual.items if standing.strength is not None), None)
    for group, part in estimates.boards.items():
        ranked = [standing for standing in part.items if standing.rank_low is not None]
        found = next((standing for standing in ranked if standing.item == leader), None)
        if found is not None and (found.rank_low or 1) > 1:
            out.append(f"Its first item, {leader}, is at place {places(found)} of {len(ranked)} for {group}.")
    return out


def section(usual: Leaderboard, estimates: Estimates, truth: Truth) -> Section | None:
    """Both leaderboards side by side, and the truth if it is known; None where they say the same."""
    board = estimates.board
    told = sentences(usual, estimates)
    if board is None or not (told or truth):
        return None
    inflation = inflation_sentence(board, estimates.independent) if estimates.independent else None
    blocks: list[Block] = [
        Prose(
            "The usual leaderboard pools everyone, counts a tie as half a win for each side and takes every vote as a "
            f"new person's. {' '.join([*told, inflation or ''])}".strip()
        ),
        _table(usual, estimates),
        plot(
            usual,
            caption="The usual leaderboard of the same votes",
            truth=truth.get(None),
            note=STROKE if None in truth else None,
        ),
    ]
    if truth:
        recovered = " ".join(truths.sentences(truth, estimates, usual))
        blocks.append(Prose(f"These votes are simulated, so the truth is known. {recovered}"))
        blocks += [
            plot(part, caption=f"{group}: estimates and truth", truth=truth[group], note=STROKE)
            for group, part in estimates.boards.items()
            if group in truth
        ]
    title = "Where the usual leaderboard misleads" if told else "The usual leaderboard"
    return Section("usual", f"{title}, and the truth" if truth else title, tuple(blocks))


def _table(usual: Leaderboard, estimates: Estimates) -> Grid:
    assert estimates.board is not None
    boards = [usual, estimates.board, *estimates.boards.values()]
    found = [{standing.item: standing for standing in board.items} for board in boards]
    rows = []
    for standing in estimates.board.items:
        cells = [places(column[standing.item]) if standing.item in column else "" for column in found]
        rows.append((standing.item, *cells))
    names = ["#Usual", "#Allowing for people", *(f"#{group}" for group in estimates.boards)]
    return Grid("Places that each leaderboard does not rule out", headings("Item", *names), tuple(rows))


def _settled(standing: Standing) -> bool:
    return standing.rank_low is not None and standing.rank_low == standing.rank_high
