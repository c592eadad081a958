"""`preflearn evaluate`: how well models predict judgments, each figure with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from preflearn.cli.options import Level, open_data
from preflearn.cli.say import Document, Field, Say
from preflearn.cli.verb import verb
from preflearn.errors import InputError

if TYPE_CHECKING:
    from preflearn.data import PreferenceData
    from preflearn.evaluate import Scores

_SHOWN = ("accuracy", "log_loss", "brier", "ece", "auc")


@verb()
def run(
    say: Say,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="M... DATA",
            help="Models, then the data: a model saved by `rank --save`, a file of predictions (comparison_id, "
            "probability), or the name of a rating model to be fitted on --train.",
        ),
    ],
    train: Annotated[
        str | None, typer.Option("--train", metavar="DATA", help="Data on which named models are fitted first.")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option("--by", metavar="COLUMN", help="Figures for each value too (repeatable).")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="COLUMN", help="annotator, prompt, rows or any column: resampled as wholes."),
    ] = None,
    level: Level = 0.95,
    resamples: Annotated[int, typer.Option("--resamples", min=0, help="Resamples of the bootstrap.")] = 1000,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Score rows that a model was trained on, and say so.")
    ] = False,
) -> Document:
    """Accuracy, log loss, Brier, calibration and AUC on held-out judgments."""
    if len(models) < 2:
        raise InputError("a model and a data set are needed.", cure="preflearn evaluate M... DATA")
    *names, place = models
    data = open_data(say, place)
    training = open_data(say, train) if train is not None else None
    from preflearn.evaluate import score

    documents: list[Document] = []
    found: dict[str, Scores] = {}
    for name in names:
        with say.working(f"evaluating {name}"):
            source = _source(say, name, data, training)
            scores = score(
                source,
                data,
                by=by or None,
                cluster=cluster,
                n_bootstrap=resamples,
                seed=say.seed,
                level=level,
                allow_overlap=allow_overlap,
            )
        found[name] = scores
        documents.append({"model": name, **scores.as_dict()})
    _show(say, found)
    return documents[0] if len(documents) == 1 else {"models": documents}


def _source(say: Say, name: str, data: PreferenceData, training: PreferenceData | None) -> Any:
    """What is scored: a fitted model or probabilities."""
    from preflearn.cli.predictions import SUFFIXES, read_predictions
    from preflearn.ranking import MODELS
    from preflearn.ranking.board import build
    from preflearn.ranking.saved import load

    path = Path(name)
    if name in MODELS and not path.exists():
        if training is None:
            raise InputError(f"{name} must be fitted before it can be evaluated.", cure="Give --train DATA.")
        return build(name, seed=say.seed).fit(training)
    if path.suffix in SUFFIXES:
        predictions, notes = read_predictions(path, data)
        for note in notes:
            say.warn(note)
        return predictions
    return load(path)


def _show(say: Say, found: dict[str, Scores]) -> None:
    if len(found) == 1:
        (scores,) = found.values()
        for line in scores.lines():
            say.line(line)
        return
    rows = []
    for name, scores in found.items():
        figures = scores.figures()
        rows.append([name, *(figures[key].value for key in _SHOWN)])
        ends = [(figures[key].low, figures[key].high) for key in _SHOWN]
        rows.append(["", *("" if low is None or high is None else f"[{low:.3f}, {high:.3f}]" for low, high in ends)])
    say.table([Field("model", flexible=True), *(Field(key, right=True) for key in _SHOWN)], rows)
    for name, scores in found.items():
        for note in scores.notes:
            say.note(f"{name}: {note}")
