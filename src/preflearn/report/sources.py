"""The methods behind a page, with their papers, from the project's catalogue."""

from __future__ import annotations

from preflearn import registry
from preflearn.errors import InputError
from preflearn.report.blocks import Block, Grid, Prose, Section, headings, number
from preflearn.report.estimates import Estimates


def section(estimates: Estimates, extra: tuple[str, ...] = ()) -> Section:
    """What was computed, by which method, after which paper."""
    board = estimates.board
    blocks: list[Block] = []
    if board is not None:
        errors = (
            f"a sandwich estimator clustered by {' and '.join(board.clustered_by)}"
            if board.clustered_by
            else "a sandwich estimator that takes votes as independent"
        )
        blocks.append(
            Prose(
                f"Strengths are maximum-likelihood estimates of the model {board.model} ({board.iterations} Newton "
                f"steps, log-likelihood {number(board.log_likelihood or 0.0, 1)}). Intervals come from {errors}; "
                f"places and tiers hold for all items at once with {100 * board.level:g}% confidence."
            )
        )
    rows = []
    for key in dict.fromkeys((*_used(estimates), *extra)):
        try:
            entry = registry.method(key)
        except InputError:
            continue
        rows.append((entry.title, entry.formula, f"{entry.authors} ({entry.year}). {entry.reference}"))
    if rows:
        blocks.append(Grid("Methods", headings("Method", "Formula", "Source"), tuple(rows)))
    return Section("methods", "Methods and sources", tuple(blocks))


def _used(estimates: Estimates) -> list[str]:
    """Keys of the catalogue."""
    keys = [estimates.model]
    board = estimates.board
    if board is not None and len(board.clustered_by) == 2:
        keys.append("two_way_clusters")
    elif board is not None and board.clustered_by:
        keys.append("clustered_intervals")
    keys.append("rank_sets")
    if not isinstance(estimates.position, str):
        keys.append("position_effect")
    return keys
