"""`preflearn evaluate`: how well models predict judgments, each figure with its interval; several side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from preflearn.cli.options import Level, open_data
from preflearn.cli.say import Document, Say
from preflearn.cli.verb import verb
from preflearn.errors import InputError

if TYPE_CHECKING:
    from preflearn.data import PreferenceData

CURVES = ("annotators", "budget", "flips")


class Settings(NamedTuple):
    """Options that every figure shares."""

    by: list[str] | None
    cluster: list[str] | None
    level: float
    resamples: int
    allow_overlap: bool
    baseline: str | None


@verb()
def run(
    say: Say,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="M... DATA",
            help="Models, then the data. A model is what `fit` or `rank --save` wrote, a file of predictions "
            "(comparison_id, probability), or something to fit first: a recipe of `fit`, a YAML file, a rating model.",
        ),
    ],
    train: Annotated[
        str | None,
        typer.Option(
            "--train",
            metavar="DATA",
            help="Data to fit named models on. Without it DATA is split by prompt and annotator.",
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="[M:]KEY=VALUE", help="Option of the models to fit, or of one (repeatable)."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", metavar="NAME", help="Encoder of the models to fit.")
    ] = None,
    curve: Annotated[
        list[str] | None,
        typer.Option(
            "--curve",
            metavar="KIND",
            help="annotators (people never seen, after n labels), budget (fewer labels), flips (wrong labels); "
            "repeatable.",
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="M", help="Model that differences are taken to (the first).")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option("--by", metavar="COLUMN", help="Figures for each value too (repeatable).")
    ] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            "--cluster",
            metavar="COLUMN",
            help="annotator, prompt, rows or any column: resampled as wholes (two: two-way intervals).",
        ),
    ] = None,
    level: Level = 0.95,
    resamples: Annotated[int, typer.Option("--resamples", min=0, help="Resamples of the bootstrap.")] = 1000,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Score rows that a model was trained on, and say so.")
    ] = False,
) -> Document:
    """Accuracy, log loss, Brier, calibration and AUC on held-out judgments; models side by side."""
    if len(models) < 2:
        raise InputError("a model and a data set are needed.", cure="preflearn evaluate M... DATA")
    *names, place = models
    curves = _curves(curve)
    settings = Settings(by or None, cluster or None, level, resamples, allow_overlap, baseline)
    data = open_data(say, place)
    training = open_data(say, train) if train is not None else None
    from preflearn.cli.candidates import candidates

    found = candidates(say, names, data, options or (), encoder)
    if training is None and any(each.unfitted for each in found.values()):
        return _held_out(say, found, data, curves, settings)
    sources = {name: each.source(say, data, training) for name, each in found.items()}
    if len(sources) == 1 and not curves:
        ((name, source),) = sources.items()
        return _one(say, name, source, data, settings)
    return _several(say, found, sources, training, data, curves, settings)


def _curves(wanted: list[str] | None) -> tuple[str, ...]:
    for kind in wanted or ():
        if kind not in CURVES:
            raise InputError("there is no such curve.", value=kind, cure=f"Choose among {', '.join(CURVES)}.")
    return tuple(dict.fromkeys(wanted or ()))


def _one(say: Say, name: str, source: Any, data: PreferenceData, settings: Settings) -> Document:
    from preflearn.evaluate import score

    cluster = settings.cluster
    if cluster is not None and len(cluster) > 1:
        raise InputError("one model is scored with one clustering.", value=cluster, cure="Name two models to compare.")
    with say.working(f"evaluating {name}"):
        scores = score(
            source,
            data,
            by=settings.by,
            cluster=cluster[0] if cluster else None,
            n_bootstrap=settings.resamples,
            seed=say.seed,
            level=settings.level,
            allow_overlap=settings.allow_overlap,
        )
    for line in scores.lines():
        say.line(line)
    return {"model": name, **scores.as_dict()}


def _compare_options(say: Say, settings: Settings) -> dict[str, Any]:
    return {
        "baseline": settings.baseline,
        "cluster": settings.cluster,
        "by": settings.by,
        "n_bootstrap": settings.resamples,
        "seed": say.seed,
        "level": settings.level,
        "allow_overlap": settings.allow_overlap,
    }


def _several(
    say: Say,
    found: Any,
    sources: dict[str, Any],
    training: PreferenceData | None,
    data: PreferenceData,
    curves: tuple[str, ...],
    settings: Settings,
) -> Document:
    from preflearn.evaluate import compare

    with say.working("comparing"):
        comparison = compare(sources, data, **_compare_options(say, settings))
    for line in comparison.lines():
        say.line(line)
    document = comparison.as_dict()
    if curves:
        document["curves"] = _drawn(say, found, sources, training, data, curves, settings)
    return document


def _held_out(say: Say, found: Any, data: PreferenceData, curves: tuple[str, ...], settings: Settings) -> Document:
    from preflearn.data.split_both import NEW_ANNOTATOR, NEW_BOTH, hold_out
    from preflearn.evaluate import compare_held_out

    if fitted := [name for name, each in found.items() if not each.unfitted]:
        raise InputError(
            f"{fitted[0]} is fitted already, and it is not known on what part of this data.",
            cure="Give --train DATA for the models to fit, and test data that no model has seen.",
        )
    held = hold_out(data, seed=say.seed)
    sources = {name: each.source(say, data, held.train) for name, each in found.items()}
    with say.working("comparing"):
        comparison = compare_held_out(sources, held, **_compare_options(say, settings))
    for line in comparison.lines():
        say.line(line)
    document = comparison.as_dict()
    if curves:
        strangers = held.quadrants.get(NEW_BOTH) or held.quadrants.get(NEW_ANNOTATOR) or held.test
        document["curves"] = _drawn(say, found, sources, held.train, strangers, curves, settings)
    return document


def _drawn(
    say: Say,
    found: Any,
    sources: dict[str, Any],
    training: PreferenceData | None,
    test: PreferenceData,
    curves: tuple[str, ...],
    settings: Settings,
) -> Document:
    from preflearn.evaluate import budget_curve, flip_curve, new_annotator_curve
    from preflearn.protocols import PreferenceModel

    drawn: Document = {}
    for kind in curves:
        for name, source in sources.items():
            fit = found[name].fit
            if kind == "annotators" and isinstance(source, PreferenceModel):
                with say.working(f"new annotators: {name}"):
                    curve: Any = new_annotator_curve(
                        source, test, seed=say.seed, level=settings.level, allow_overlap=settings.allow_overlap
                    )
            elif kind == "annotators" or fit is None or training is None:
                say.note(f"{kind}: not drawn for {name}, which is not fitted here.")
                continue
            elif kind == "budget":
                with say.working(f"label budgets: {name}"):
                    n = training.height("comparisons")
                    budgets = sorted({max(n // 2**k, 1) for k in range(5)})
                    curve = budget_curve(fit, training, test, budgets, seed=say.seed, by=_bought(training))
            else:
                with say.working(f"flipped labels: {name}"):
                    curve = flip_curve(fit, training, test, seed=say.seed)
            say.heading(f"{name}: {kind}")
            for line in curve.lines():
                say.line(line)
            drawn.setdefault(kind, {})[name] = curve.as_dict()
    return drawn


def _bought(training: PreferenceData) -> Any:
    """What a budget is spent on: whole annotators where there are any."""
    return "annotator" if "annotator_id" in training.columns("comparisons") else "rows"
