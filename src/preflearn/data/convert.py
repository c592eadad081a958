"""Conversions between kinds of judgment: assumptions stand in their arguments, counts in the provenance."""

from __future__ import annotations

from collections.abc import Callable

from preflearn.data.convert_lists import pairs_to_rankings, rankings_to_pairs
from preflearn.data.convert_ratings import labels_to_values, ratings_to_pairs, values_to_labels
from preflearn.data.convert_shape import (
    columns_to_criteria,
    counts_to_votes,
    criteria_to_columns,
    pool,
    votes_to_counts,
)
from preflearn.data.tables import PreferenceData

__all__ = [
    "CONVERSIONS",
    "columns_to_criteria",
    "counts_to_votes",
    "criteria_to_columns",
    "labels_to_values",
    "pairs_to_rankings",
    "pool",
    "rankings_to_pairs",
    "ratings_to_pairs",
    "values_to_labels",
    "votes_to_counts",
]

CONVERSIONS: dict[str, Callable[..., PreferenceData]] = {
    "rankings-to-pairs": rankings_to_pairs,
    "pairs-to-rankings": pairs_to_rankings,
    "ratings-to-pairs": ratings_to_pairs,
    "labels-to-values": labels_to_values,
    "values-to-labels": values_to_labels,
    "criteria-to-columns": criteria_to_columns,
    "columns-to-criteria": columns_to_criteria,
    "votes-to-counts": votes_to_counts,
    "counts-to-votes": counts_to_votes,
    "pool": pool,
}
"""By the name that the command line uses; further arguments by keyword."""
