"""Estimates against a planted truth, where the data is simulated and its truth lies beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from preflearn.ranking import Leaderboard
from preflearn.report.estimates import Estimates

Truth = Mapping[str | None, Mapping[str, float]]
"""Strengths (mean 0) by group; None stands for everyone together."""


class Covered(NamedTuple):
    """How often intervals hold the truth."""

    held: int
    of: int


def planted(path: Path, estimates: Estimates) -> Truth:
    """Planted strengths of the data set in a directory, for everyone and for groups; empty where there are none.

    Everyone's strengths are known where the truth has a table `pooled` (what infinitely many votes of all would give),
    or where there is only one kind of person.
    """
    from preflearn.simulate import read_truth

    if not (path / "truth").is_dir():
        return {}
    truth = read_truth(path)
    if "strengths" not in truth.tables:
        return {}
    levels = truth.table("strengths")["level"].unique().to_list()
    out: dict[str | None, Mapping[str, float]] = {
        group: _centred(truth.strengths(group)) for group in estimates.boards if group in levels
    }
    if "pooled" in truth.tables:
        out[None] = _centred(dict(truth.table("pooled").select("system", "strength").iter_rows()))
    elif len(levels) == 1:
        out[None] = _centred(truth.strengths())
    return out


def covered(boards: Mapping[str | None, Leaderboard], truth: Truth) -> Covered:
    """How many true strengths lie within the intervals of boards whose truth is known."""
    held = of = 0
    for group, board in boards.items():
        for standing in board.items:
            known = truth.get(group, {}).get(standing.item)
            if known is not None and standing.low is not None and standing.high is not None:
                of += 1
                held += standing.low <= known <= standing.high
    return Covered(held, of)


def sentences(truth: Truth, estimates: Estimates, usual: Leaderboard) -> list[str]:
    """Whether the truth was recovered, group by group and for everyone together."""
    out = []
    boards: dict[str | None, Leaderboard] = {
        group: board for group, board in estimates.boards.items() if group in truth
    }
    inside = covered(boards, truth)
    if inside.of:
        ranked = [placed(board, truth[group]) for group, board in boards.items()]
        right, places = sum(part.held for part in ranked), sum(part.of for part in ranked)
        out.append(
            f"Group by group, {inside.held} of {inside.of} true strengths lie within their intervals, "
            f"and {right} of {places} true places within the places shown."
        )
    if estimates.board is not None and (of := covered({None: usual}, truth).of):
        honest, common = (covered({None: board}, truth).held for board in (estimates.board, usual))
        out.append(
            f"For everyone together, intervals that allow for people hold {honest} of {of} true strengths; "
            f"those of the usual leaderboard hold {common}."
        )
    return out


def placed(board: Leaderboard, truth: Mapping[str, float]) -> Covered:
    """How many true places lie within the places that a board does not rule out."""
    ranked = [standing for standing in board.items if standing.rank_low is not None and standing.item in truth]
    order = sorted((standing.item for standing in ranked), key=lambda item: -truth[item])
    inside = [
        (standing.rank_low or 0) <= order.index(standing.item) + 1 <= (standing.rank_high or 0) for standing in ranked
    ]
    return Covered(sum(inside), len(inside))


def _centred(strengths: Mapping[str, float]) -> dict[str, float]:
    mean = sum(strengths.values()) / len(strengths)
    return {item: strength - mean for item, strength in strengths.items()}
