"""Everything on a page that has to be estimated: the leaderboard, its usual counterpart, groups, position.

A figure that cannot be had is replaced by the reason, never left out in silence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.columns import attach
from preflearn.data.schema import TIES
from preflearn.errors import PreflearnError
from preflearn.ranking import Effect, Leaderboard, rank, rank_by
from preflearn.ranking.board import build as rating_model
from preflearn.report.groups import Comparison, compare
from preflearn.report.votes import compared

SHOWN_GROUPS = 6
"""Groups compared; with more values of a column the ones with most votes."""
SHOWN_CRITERIA = 8
NAMELESS = (
    "the responses are not those of named systems, so nothing recurs that could be ranked; another column of responses "
    "can be named instead (--item), also response_id for single responses"
)


@dataclass(frozen=True)
class Estimates:
    """What was estimated for a page.

    Attributes:
        model: name of the rating model.
        notes: how comparisons were had from other judgments.
        criterion: the criterion ranked by, where several are recorded.
        board: the leaderboard; None when `reason` says why not.
        independent: standard errors by item if every vote were independent, as usual leaderboards take it.
        position: advantage of the side shown first, or why it is not known.
        by: column whose values are compared.
        boards: leaderboard of each value.
        unranked: values that cannot be ranked, and why.
        comparison: differences between the values.
        others: leaderboards by the other criteria.
    """

    model: str
    notes: tuple[str, ...] = ()
    criterion: str | None = None
    board: Leaderboard | None = None
    reason: str | None = None
    independent: dict[str, float] = field(default_factory=dict)
    position: Effect | str = "no leaderboard could be fitted"
    by: str | None = None
    boards: dict[str, Leaderboard] = field(default_factory=dict)
    unranked: dict[str, str] = field(default_factory=dict)
    comparison: Comparison | None = None
    others: dict[str, Leaderboard | str] = field(default_factory=dict)


def estimate(
    data: PreferenceData,
    *,
    by: str | None = None,
    criterion: str | None = None,
    item: str = "system",
    level: float = 0.95,
    seed: int = 0,
) -> Estimates:
    """Fit what a page shows.

    Args:
        by: column whose values are compared; None: declared groups of annotators, if there are at least two.
        criterion: the one to rank by; None: the one with most judgments.
        item: column of responses that names what is ranked.
    """
    try:
        data, notes, cluster = compared(data)
    except PreflearnError as error:
        return Estimates("none", reason=str(error))
    if item == "system" and not _named(data):
        return Estimates("none", notes, reason=NAMELESS)
    model = model_for(data)
    criteria = criteria_of(data)
    chosen = criterion if criterion is not None or len(criteria) < 2 else criteria[0]
    options: dict[str, Any] = {"item": item, "level": level, "seed": seed, "cluster": cluster}
    options["position"] = _shown_first(data)
    try:
        board = rank(data, model, criterion=chosen, **options)
    except PreflearnError as error:
        return Estimates(model, notes, chosen, reason=str(error))
    independent: dict[str, float] = {}
    if board.clustered_by:
        independent = independent_errors(data, model, criterion=chosen, item=item)
    by = by if by is not None else default_by(data)
    boards: dict[str, Leaderboard] = {}
    unranked: dict[str, str] = {}
    if by is not None:
        for value, found in rank_by(data, by, model, criterion=chosen, **options).items():
            if not isinstance(found, Leaderboard):
                unranked[value] = str(found)
            elif any(standing.se for standing in found.items) and len(boards) < SHOWN_GROUPS:
                boards[value] = found
            else:
                unranked[value] = "its votes give no strength" if len(boards) < SHOWN_GROUPS else "it has fewer votes"
    return Estimates(
        model=model,
        notes=notes,
        criterion=chosen,
        board=board,
        independent=independent,
        position=_position(board),
        by=by if len(boards) > 1 else None,
        boards=boards,
        unranked=unranked,
        comparison=compare(boards) if len(boards) > 1 else None,
        others={
            name: _board_or_reason(data, model, name, options)
            for name in criteria[: SHOWN_CRITERIA + 1]
            if chosen is not None and name != chosen
        },
    )


def independent_errors(
    data: PreferenceData, model: str, *, criterion: str | None = None, item: str = "system"
) -> dict[str, float]:
    """Standard errors by item, in logits, with every vote taken as a new person's."""
    fitted = rating_model(model, criterion=criterion, item=item, cluster=None).fit(data)
    if fitted.covariance_ is None:
        return {}
    errors = fitted.covariance_.standard_errors()
    return {fitted.items_[code]: float(error) for code, error in zip(fitted.estimable_, errors)}


def model_for(data: PreferenceData) -> str:
    """Davidson where ties are recorded, else Bradley-Terry."""
    if not data.height("comparisons"):
        return "bradley_terry"
    tied = pl.col("outcome").is_in(list(TIES)) | (pl.col("probability_tie") > 0)
    frame = data.select("comparisons", ["outcome", "probability_tie"])
    return "davidson" if frame.select(tied.any()).collect(engine="streaming").item() else "bradley_terry"


def criteria_of(data: PreferenceData) -> list[str]:
    """Criteria of the comparisons, most judged first."""
    frame = data.select("comparisons", ["criterion_id"]).select(pl.col("criterion_id").cast(pl.String))
    counted = frame.drop_nulls().group_by("criterion_id").len().sort("len", "criterion_id", descending=[True, False])
    return counted.collect(engine="streaming")["criterion_id"].to_list()


def default_by(data: PreferenceData) -> str | None:
    """Declared groups of annotators where at least two of them judged, else kinds (people, judges) where two did."""
    if "annotator_id" not in data.columns("comparisons"):
        return None
    for column in ("group", "kind"):
        if column in data.columns("annotators"):
            found = attach(data, "comparisons", {"__value": f"annotators.{column}"})
            different = found.select(pl.col("__value").drop_nulls().n_unique()).collect(engine="streaming").item()
            if different > 1:
                return f"annotators.{column}"
    return None


def _position(board: Leaderboard) -> Effect | str:
    found = next((effect for effect in board.effects if effect.name == "position"), None)
    if found is None:
        return "which side was shown first is not recorded"
    return found if found.estimate is not None else "the votes do not determine it"


def _named(data: PreferenceData) -> bool:
    """Whether any response tells which system made it."""
    if "system" in data.columns("responses"):
        known = data.lazy("responses").select(pl.col("system").is_not_null().any())
        return bool(known.collect(engine="streaming").item())
    return not data.height("responses")


def _shown_first(data: PreferenceData) -> bool:
    if "shown_first" not in data.columns("comparisons"):
        return False
    sides = data.lazy("comparisons").select(pl.col("shown_first").drop_nulls().n_unique())
    return bool(sides.collect(engine="streaming").item())


def _board_or_reason(data: PreferenceData, model: str, criterion: str, options: dict[str, Any]) -> Leaderboard | str:
    try:
        return rank(data, model, criterion=criterion, **options)
    except PreflearnError as error:
        return str(error)
