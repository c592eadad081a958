"""`preflearn rank`: a leaderboard with honest intervals, for everyone or by any column."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from preflearn.cli.options import Criterion, Data, Level, Since, Until, check_output, open_data
from preflearn.cli.say import Document, Say
from preflearn.cli.verb import verb
from preflearn.errors import InputError

if TYPE_CHECKING:
    from preflearn.data import PreferenceData
    from preflearn.ranking import Leaderboard, RatingModel


class Model(StrEnum):
    """Rating models."""

    bradley_terry = "bradley_terry"
    davidson = "davidson"
    rao_kupper = "rao_kupper"
    graded = "graded"


class Interval(StrEnum):
    """How intervals are made."""

    auto = "auto"
    model = "model"
    sandwich = "sandwich"
    bootstrap = "bootstrap"


class Scale(StrEnum):
    """Units of strengths."""

    logit = "logit"
    elo = "elo"
    probability = "probability"


@verb(writes=True)
def run(
    say: Say,
    data: Data,
    model: Annotated[
        Model | None, typer.Option("--model", help="Rating model. Default: davidson, or bradley_terry without ties.")
    ] = None,
    item: Annotated[
        str, typer.Option("--item", metavar="COLUMN", help="Column of responses that names what is ranked.")
    ] = "system",
    by: Annotated[
        str | None, typer.Option("--by", metavar="COLUMN", help="One leaderboard per value of any column of any table.")
    ] = None,
    criterion: Criterion = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            "--cluster",
            metavar="COLUMN",
            help="Votes of one value share their errors (twice for two-way; `none`: votes are independent). "
            "Default: annotators, if at least ten are recorded.",
        ),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option("--style", metavar="NAMES", help="Looks held constant: lmarena, length, or columns a,b,c."),
    ] = None,
    position: Annotated[
        bool, typer.Option("--position/--no-position", help="Estimate the advantage of being shown first.")
    ] = False,
    interval: Annotated[Interval, typer.Option("--interval", help="How intervals are made.")] = Interval.auto,
    level: Level = 0.95,
    scale: Annotated[Scale, typer.Option("--scale", help="Units of strengths.")] = Scale.logit,
    anchor: Annotated[
        str | None, typer.Option("--anchor", metavar="ITEM[=VALUE]", help="Item held at a value (0, or 1000 Elo).")
    ] = None,
    since: Since = None,
    until: Until = None,
    ridge: Annotated[float, typer.Option("--ridge", help="Penalty ridge/2 * sum(strength^2).")] = 0.0,
    ghost: Annotated[
        float, typer.Option("--ghost", help="Pseudo-wins and -losses of every item against a mean item.")
    ] = 0.0,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the table.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page.")] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the fitted model, for predict and evaluate.")
    ] = None,
) -> Document:
    """A leaderboard with intervals, simultaneous places and tiers.

    COLUMN is any column of any table: group, annotators.country, prompts.category, comparisons.protocol ...
    """
    for path in (csv, html, save):
        if path is not None:
            check_output(path, force=say.force)
    from preflearn.report.votes import compared

    opened, notes, cluster_by = compared(open_data(say, data, lazy=True))
    say.notes(notes)
    options: dict[str, Any] = {
        "item": item,
        "criterion": criterion,
        "cluster": clusters(cluster, cluster_by),
        "position": position,
        "style": [name.strip() for name in style.split(",")] if style else None,
        "ridge": ridge,
        "ghost": ghost,
        "interval": interval.value,
        "since": since,
        "until": until,
        "seed": say.seed,
    }
    shown: dict[str, Any] = {"scale": scale.value, "anchor": anchor, "level": level}
    from preflearn.ranking import rank_by
    from preflearn.ranking.board import build
    from preflearn.report.estimates import model_for

    with say.working("fitting"):
        chosen = model.value if model is not None else model_for(opened)
        fitted, board, refused = _everyone(build(chosen, **options), opened, shown, by)
        boards = rank_by(opened, by, chosen, **options, **shown) if by is not None else {}
    document: Document = board.as_dict() if board is not None else {"items": [], "reason": refused}
    if notes:
        document["notes"] = list(notes)
    if by is not None:
        document["by"] = {value: _document(part) for value, part in boards.items()}
    _show(say, board if board is not None else refused, boards, by)
    if csv is not None:
        _write_csv(csv, board, boards, by)
        say.note(f"table: {csv}")
    if html is not None:
        from preflearn.report import board_html

        html.write_text(board_html(board, boards, by=by), encoding="utf-8")
        say.note(f"page: {html}")
    if save is not None:
        if board is None:
            raise InputError(f"there is no model of everyone to save: {refused}")
        fitted.save(save)
        say.note(f"model: {save}")
    return document


def _everyone(
    model: RatingModel, data: PreferenceData, shown: dict[str, Any], by: str | None
) -> tuple[RatingModel, Leaderboard | None, str]:
    """The fitted model and its leaderboard, or why there is none although there may be one for each value of `by`.

    Raises:
        InputError: there is none, and no `by`.
    """
    try:
        fitted = model.fit(data)
        return fitted, fitted.leaderboard(**shown), ""
    except InputError as error:
        if by is None:
            raise
        return model, None, str(error)


def clusters(given: list[str] | None, otherwise: str) -> str | list[str] | None:
    """What --cluster means to a model."""
    if not given:
        return otherwise
    return None if given == ["none"] else given


def _document(part: Leaderboard | InputError) -> Document:
    from preflearn.ranking import Leaderboard

    return part.as_dict() if isinstance(part, Leaderboard) else {"error": str(part)}


def _show(say: Say, board: Leaderboard | str, boards: dict[str, Leaderboard | InputError], by: str | None) -> None:
    from preflearn.cli.boards import show_board
    from preflearn.ranking import Leaderboard

    for title, part in {"Everyone": board, **{f"{by} = {value}": part for value, part in boards.items()}}.items():
        if isinstance(part, Leaderboard):
            show_board(say, part, title=title if by else None)
        else:
            say.heading(title)
            say.line(f"not ranked because {part}")


def _write_csv(
    path: Path, board: Leaderboard | None, boards: dict[str, Leaderboard | InputError], by: str | None
) -> None:
    import polars as pl

    from preflearn.ranking import Leaderboard

    if by is None and board is not None:
        board.write_csv(path)
        return
    parts = [(value, part) for value, part in [("(everyone)", board), *boards.items()] if isinstance(part, Leaderboard)]
    frames = [part.table().select(pl.lit(value).alias(str(by)), pl.all()) for value, part in parts]
    if not frames:
        raise InputError("no value can be ranked, so there is no table to write.", path=path)
    pl.concat(frames).write_csv(path)
