"""`describe`: what a data set holds and how far its judgments can be trusted, each figure with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError
from preflearn.evaluate.describe_comparisons import Comparisons, describe_comparisons
from preflearn.evaluate.describe_lines import lines
from preflearn.evaluate.describe_people import People, describe_people
from preflearn.evaluate.describe_tables import (
    Rankings,
    Ratings,
    Signals,
    describe_rankings,
    describe_ratings,
    describe_signals,
)
from preflearn.evaluate.intervals import Settings
from preflearn.evaluate.plain import plain


@dataclass(frozen=True)
class Description:
    """What `describe` found; parts of which the data set holds nothing are None.

    Attributes:
        tables: rows per table, empty ones left out.
        comparisons, ratings, rankings, signals: what was judged and observed.
        people: who judged.
        imports: what the import said of itself (rows read, kept, mapped, dropped, unreadable); None if it is not known.
        level: nominal coverage of the intervals.
        notes: how figures were made.
    """

    tables: dict[str, int]
    comparisons: Comparisons | None
    ratings: Ratings | None
    rankings: Rankings | None
    signals: Signals | None
    people: People | None
    imports: dict[str, Any] | None
    level: float
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        found: dict[str, Any] = plain(self)
        return found

    def lines(self) -> list[str]:
        """Short lines for people."""
        return lines(self)


def describe(data: PreferenceData, *, n_bootstrap: int = 1000, seed: int = 0, level: float = 0.95) -> Description:
    """Describe a data set of any kind, also an empty one.

    Counts are of judgments (a row with a count stands for several); importance weights are not used, because this is
    about what is there. Criteria and protocols are never pooled. No figure depends on the order of rows or on which
    response is called a, except the counts of the outcomes "a" and "b" themselves.

    Args:
        data: any data set; tables may lie on disk, and only codes of the comparisons are held in memory.
        n_bootstrap: resamples for the intervals of Krippendorff's alpha; 0 leaves them out.
        seed: of these resamples.
        level: nominal coverage of all intervals.

    Raises:
        InputError: a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise InputError("the level of an interval lies between 0 and 1.", value=level)
    settings = Settings(n_bootstrap, seed, level)
    return Description(
        tables=data.counts(),
        comparisons=describe_comparisons(data, settings),
        ratings=describe_ratings(data, settings),
        rankings=describe_rankings(data, settings),
        signals=describe_signals(data),
        people=describe_people(data),
        imports=data.report.as_dict() if data.report is not None else data.provenance.get("import"),
        level=level,
        notes=(
            f"Intervals are {level:.0%}. Shares: Wilson intervals on the effective sample size of clustered judgments "
            f"(clusters named with each question); agreement: items taken as independent; alpha: bootstrap over items "
            f"({n_bootstrap:,} resamples, seed {seed}).",
        ),
    )
