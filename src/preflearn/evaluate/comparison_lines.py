"""The words of a comparison: a table of figures, what differs, for whom it is worst, and what people allow at best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from preflearn.evaluate.comparison import (
    HEADLINE,
    HIGHER_IS_BETTER,
    Calibrated,
    Ceiling,
    Comparison,
    Groups,
    Minority,
)
from preflearn.evaluate.figures import Figure

NAMES = {"accuracy": "accuracy", "log_loss": "log loss", "brier": "Brier", "ece": "ECE", "auc": "AUC"}
SHOWN_GROUPS = 20
"""Groups listed; more are in the table only."""


def lines(found: Comparison) -> list[str]:
    """The whole comparison for people."""
    return [
        *_rows(found),
        *_main(found),
        *_calibrated(found),
        *(line for column, groups in found.by.items() for line in _groups(column, groups, found.baseline)),
        *(line for minority in found.minority for line in _minority(minority, found.baseline)),
        *_people(found),
        *_ceilings(found),
        f"ties: {found.ties}",
        f"intervals: {found.interval}",
        *(f"note: {note}" for note in found.notes),
    ]


def interval_text(figure: Figure, digits: int = 3, *, signed: bool = False) -> str:
    """`0.612 [0.580, 0.643]`, `0.612 [?]` without an interval, `?` without a value."""
    sign = "+" if signed else ""
    if figure.value is None:
        return "?"
    if figure.low is None or figure.high is None:
        return f"{figure.value:{sign}.{digits}f} [?]"
    return f"{figure.value:{sign}.{digits}f} [{figure.low:{sign}.{digits}f}, {figure.high:{sign}.{digits}f}]"


def aligned(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Rows of cells as columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def reasons(figures: Iterable[tuple[str, Figure]]) -> list[str]:
    """Why figures, or their intervals, are missing: one line per reason."""
    told: dict[str, list[str]] = {}
    for name, figure in figures:
        if figure.reason is not None:
            what = name if figure.value is None else f"interval of {name}"
            told.setdefault(figure.reason, []).append(what)
    return [f"  ? {', '.join(names)}: not computable because {reason}" for reason, names in told.items()]


# -- parts -------------------------------------------------------------------------------------------------------------


def _rows(found: Comparison) -> list[str]:
    left = found.left
    models = "1 model" if len(found.models) == 1 else f"{len(found.models)} models on the same rows"
    out = [f"{models}: {found.judgments:,} judgments in {left.scored:,} of {left.rows:,} rows scored"]
    why = {"skipped": left.skipped, "not judged": left.unjudged, "of no weight": left.weightless}
    out += [f"  left out {n:,}: {reason}" for reason, n in why.items() if n]
    if left.unanswered_by_any:
        each = ", ".join(f"{name} {n:,}" for name, n in left.unanswered.items() if n)
        out.append(f"  left out {left.unanswered_by_any:,}: not answered by every model ({each})")
    return out


def _main(found: Comparison) -> list[str]:
    header = ["model", *(NAMES[key] for key in HEADLINE)]
    rows = [[name, *(interval_text(scores.figures[key]) for key in HEADLINE)] for name, scores in found.models.items()]
    out = aligned([header, *rows])
    out += reasons(
        (f"{NAMES[key]} of {name}", scores.figures[key]) for name, scores in found.models.items() for key in HEADLINE
    )
    others = {name: scores for name, scores in found.models.items() if name != found.baseline}
    if not others:
        return out
    header[0] = "model"
    rows = [
        [name, *(interval_text(scores.differences[key], signed=True) for key in HEADLINE)]
        for name, scores in others.items()
    ]
    out += [f"differences to {found.baseline}, paired", *aligned([header, *rows])]
    out += [f"  {_verdict(name, scores.differences, found.baseline)}" for name, scores in others.items()]
    return out


def _verdict(name: str, differences: Mapping[str, Figure], baseline: str) -> str:
    better: list[str] = []
    worse: list[str] = []
    for key in HEADLINE:
        figure = differences[key]
        if figure.low is None or figure.high is None or figure.low <= 0 <= figure.high:
            continue
        (better if (figure.low > 0) == HIGHER_IS_BETTER[key] else worse).append(NAMES[key])
    told = [f"{word} in {_and(names)}" for word, names in (("better", better), ("worse", worse)) if names]
    if not told:
        return f"{name}: no difference to {baseline} that chance would not explain"
    return f"{name} is {', '.join(told)} than {baseline}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _calibrated(found: Comparison) -> list[str]:
    header = ["model", "temperature", "log loss before", "after", "change", "ECE before", "after", "change"]
    rows, lost = [header], []
    for name, after in found.calibrated.items():
        if after.reason is not None:
            lost.append(f"  ? {name}: not computable because {after.reason}")
            continue
        rows.append([name, *_one_calibrated(after, found.models[name].figures)])
    told = f"after one temperature, fitted on {found.calibrated_on}"
    return [told, *(aligned(rows) if len(rows) > 1 else []), *lost]


def _one_calibrated(after: Calibrated, before: Mapping[str, Figure]) -> list[str]:
    cells = [f"{after.temperature:.2f}" if after.temperature is not None else "infinite"]
    for key in ("log_loss", "ece"):
        was, now = (figures[key].value for figures in (before, after.figures))
        cells += ["?" if value is None else f"{value:.3f}" for value in (was, now)]
        cells.append(interval_text(after.changes[key], signed=True))
    return cells


def _groups(column: str, groups: Groups, baseline: str) -> list[str]:
    models = list(groups.worst)
    out = [f"by {column}: accuracy"]
    shown = list(groups.values.items())[:SHOWN_GROUPS]
    rows = [["group", "judgments", *models]]
    for value, scores in shown:
        n = scores[models[0]].figures["accuracy"].n
        rows.append([value, f"{n:,}", *(interval_text(scores[name].figures["accuracy"]) for name in models)])
    out += aligned(rows)
    if len(groups.values) > len(shown):
        out.append(f"  and {len(groups.values) - len(shown):,} groups more")
    for name, worst in groups.worst.items():
        one = worst["accuracy"]
        if one.group is None:
            out.append(f"  worst group for {name}: {one.figure.text()}")
            continue
        difference = groups.values[one.group][name].differences.get("accuracy")
        against = f", {interval_text(difference, signed=True)} against {baseline} there" if difference else ""
        out.append(f"  worst group for {name}: {one.group}, accuracy {one.figure.text()}{against}")
    out.append(
        f"  (the interval of the worst allows for its choice among {groups.eligible} groups of {groups.least} or more "
        "judgments)"
    )
    return out


def _minority(found: Minority, baseline: str) -> list[str]:
    if found.share.value is None:
        return [f"minority ({found.definition}): not computable because {found.share.reason}"]
    out = [f"minority ({found.definition}): {found.share.text(percent=True)} of these judgments"]
    rows = [["model", "accuracy on the minority", "on the majority", f"minority less {baseline}"]]
    for name, few in found.minority.items():
        difference = few.differences.get("accuracy")
        cells = [interval_text(scores.figures["accuracy"]) for scores in (few, found.majority[name])]
        rows.append([name, *cells, interval_text(difference, signed=True) if difference else ""])
    out += aligned(rows)
    if found.definition.startswith("votes"):
        out.append(
            "  (these votes were chosen for going against the majority: whoever does not know the person must do badly "
            "here, only differences tell)"
        )
    return out


def _people(found: Comparison) -> list[str]:
    people = found.per_annotator
    told = f"AUC within annotators: {people.annotators:,} with {people.least} or more decided judgments"
    out = [told + (f", {people.left_out:,} with fewer left out" if people.left_out else "")]
    first = next(iter(people.models.values()))
    if first.unweighted.value is None:
        return [f"AUC within annotators: not computable because {first.unweighted.reason}"]
    rows = [["model", "mean", "weighted by judgments", f"mean less {found.baseline}"]]
    for name, areas in people.models.items():
        difference = "" if areas.difference is None else interval_text(areas.difference, signed=True)
        rows.append([name, interval_text(areas.unweighted), interval_text(areas.weighted), difference])
    return out + aligned(rows)


def _ceilings(found: Comparison) -> list[str]:
    out = _ceiling("agreement ceiling (best accuracy of a model that does not know who asks)", found.ceiling)
    if found.ceiling.models:
        rows = [["model on the same rows", "accuracy", "less the lower end"]]
        for name, figure in found.ceiling.models.items():
            rows.append([name, interval_text(figure), interval_text(found.ceiling.differences[name], signed=True)])
        out += aligned(rows)
    if found.self_ceiling.lower.value is None:
        return [*out, f"noise ceiling: not computable because {found.self_ceiling.lower.reason}"]
    return out + _ceiling("noise ceiling (best accuracy of a model that knows everybody)", found.self_ceiling)


def _ceiling(what: str, found: Ceiling) -> list[str]:
    if found.lower.value is None:
        return [f"{what}: not computable because {found.lower.reason}"]
    return [f"{what}: between {interval_text(found.lower)} and {interval_text(found.upper)} (n = {found.lower.n:,})"]
