"""One self-contained HTML page about a data set or a leaderboard: figures, intervals, reservations, sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preflearn.data import PreferenceData
    from preflearn.errors import PreflearnError
    from preflearn.ranking import Leaderboard

__all__ = ["board_html", "html", "write"]


def html(data: PreferenceData, **options: Any) -> str:
    """The page about a data set as one HTML document; options are those of `preflearn.report.build.build`."""
    from preflearn.report.build import build
    from preflearn.report.render import render

    return render(build(data, **options))


def write(data: PreferenceData, path: str | Path, **options: Any) -> None:
    """Write the page about a data set to a file (replacing it)."""
    Path(path).write_text(html(data, **options), encoding="utf-8")


def board_html(
    board: Leaderboard | None,
    boards: Mapping[str, Leaderboard | PreflearnError] | None = None,
    *,
    by: str | None = None,
    title: str = "Leaderboard",
) -> str:
    """The page of one leaderboard, of one for everyone (None: not known) and one for each value of a column `by`."""
    from preflearn.report.build import board_page
    from preflearn.report.render import render

    return render(board_page(board, boards or {}, by=by, title=title))
