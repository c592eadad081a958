"""`preflearn demo`: the whole line on the bundled sample, or on any data: votes in, an honest page out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from preflearn.cli.options import check_directory
from preflearn.cli.say import Document, Field, Say
from preflearn.cli.verb import verb

if TYPE_CHECKING:
    from preflearn.data import PreferenceData
    from preflearn.ranking import Leaderboard
    from preflearn.report.estimates import Estimates

SAMPLE = (
    "The bundled sample: answers of one small language model under six system prompts, judged by a SIMULATED panel of "
    "known tastes. Nobody was asked, so the truth is known and the methods can be held against it."
)


@verb(writes=True)
def run(
    say: Say,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="Any data set or source instead of the bundled sample.")
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Directory for the data set, the leaderboard and the page."),
    ] = Path("preflearn-demo"),
) -> Document:
    """Import, validate, describe, rank, evaluate and report, on the bundled sample: a page in under a minute."""
    started = time.perf_counter()
    check_directory(out, force=say.force)
    out.mkdir(parents=True, exist_ok=True)
    source, opened = _import(say, data, out)
    document: Document = {"source": source, "data_fingerprint": opened.fingerprint()}
    document["validate"] = _validate(say, opened)
    document["describe"] = _describe(say, opened)
    estimates, document["rank"] = _rank(say, opened, source, out)
    document["evaluate"], page = _report(say, opened, estimates, source, bundled=data is None)
    from preflearn.report.render import render

    target = out / "report.html"
    target.write_text(render(page), encoding="utf-8")
    document |= {"summary": list(page.summary), "page": str(target), "seconds": round(time.perf_counter() - started, 1)}
    say.heading("In short")
    say.lines(page.summary)
    say.line()
    say.line(f"The page: {target.resolve()}  ({document['seconds']:.0f} s)")
    return document


def _import(say: Say, source: str | None, out: Path) -> tuple[str, PreferenceData]:
    """Read the source and keep it as a data-set directory, as `preflearn import` does."""
    from preflearn.data import save
    from preflearn.data.io.reader import read

    if source is None:
        from preflearn.data.bundled import sample_path

        source = str(sample_path())
        say.line(SAMPLE)
    say.heading("1  import")
    with say.working("reading"):
        data = read(source)
        save(data, out / "data", force=True)
    say.lines(data.report.lines() if data.report is not None else [], bullet=" ")
    say.line(f"  {', '.join(f'{n:,} {name}' for name, n in data.counts().items())} -> {out / 'data'}")
    return source, data


def _validate(say: Say, data: PreferenceData) -> Document:
    from preflearn.data.validate import validate

    say.heading("2  validate")
    found = validate(data)
    say.line(f"  {len(found.errors)} errors, {len(found.warnings)} warnings")
    say.lines([problem.line() for problem in found.problems[:5]], bullet="  ")
    return found.as_dict()


def _describe(say: Say, data: PreferenceData) -> Document:
    from preflearn.evaluate import describe
    from preflearn.report.agreement import agreement_sentence
    from preflearn.report.asked import ask, subtitle

    say.heading("3  describe")
    found = describe(data, seed=say.seed, n_bootstrap=200)
    asked = ask(data, found)
    question = asked.question(None)
    say.line(f"  {subtitle(asked)}")
    if question is not None:
        say.line(f"  {agreement_sentence(question)}")
    return found.as_dict()


def _rank(say: Say, data: PreferenceData, source: str, out: Path) -> tuple[Estimates, Document]:
    """The usual leaderboard beside the honest one and those of groups."""
    from preflearn.cli.say import dump
    from preflearn.report.estimates import estimate
    from preflearn.report.truth import planted
    from preflearn.report.usual import usual_board

    say.heading("4  rank")
    with say.working("fitting"):
        estimates = estimate(data, seed=say.seed)
    if estimates.board is None:
        say.line(f"  no leaderboard: {estimates.reason}")
        return estimates, {"reason": estimates.reason}
    usual = usual_board(data, estimates, seed=say.seed)
    boards = {"usual": usual, "honest": estimates.board, **estimates.boards}
    _show(say, boards, planted(Path(source), estimates))
    say.line()
    say.line("  Places that the votes do not rule out. Usual: everyone pooled, ties as half wins, votes independent.")
    say.line(f"  Honest: {estimates.model}, position estimated, people allowed for; then the same for each group.")
    document = {name: board.as_dict() for name, board in boards.items()}
    (out / "leaderboard.json").write_text(dump(document) + "\n", encoding="utf-8")
    return estimates, document


def _show(say: Say, boards: dict[str, Leaderboard], truth: Any) -> None:
    from preflearn.cli.boards import places

    known: dict[str, list[str]] = {}
    for name in boards:
        group = None if name == "honest" else name
        if group in truth:
            known[name] = sorted(truth[group], key=lambda item: -truth[group][item])
    fields: list[Field] = [Field("item", flexible=True)]
    for name in boards:
        fields.append(Field(name, right=True))
        fields += [Field("true", right=True)] if name in known else []
    rows = []
    for standing in boards["honest"].items[:20]:
        row: list[object] = [standing.item]
        for name, board in boards.items():
            found = next((entry for entry in board.items if entry.item == standing.item), None)
            row.append(places(found) if found is not None else "")
            if name in known:
                row.append(str(known[name].index(standing.item) + 1) if standing.item in known[name] else "")
        rows.append(row)
    say.table(fields, rows)


def _report(
    say: Say, data: PreferenceData, estimates: Estimates, source: str, *, bundled: bool
) -> tuple[Document, Any]:
    """Held-out figures, then the page."""
    from preflearn.errors import PreflearnError
    from preflearn.report.build import build
    from preflearn.report.heldout import held_out, sentence
    from preflearn.report.truth import planted

    say.heading("5  evaluate")
    found = None
    if estimates.board is None:
        document: Document = {"reason": estimates.reason}
    else:
        try:
            with say.working("evaluating"):
                found = held_out(data, estimates, seed=say.seed)
            document = {name: scores.as_dict() for name, scores in found.scores.items()}
            say.line(f"  {sentence(found)}")
        except PreflearnError as error:
            document = {"reason": str(error)}
            say.line(f"  nothing was held out: {error}")
    say.heading("6  report")
    with say.working("writing the page"):
        page = build(
            data,
            title="Six ways to answer, judged by a simulated panel" if bundled else "What was preferred",
            estimates=estimates,
            truth=planted(Path(source), estimates),
            held_out=found,
            seed=say.seed,
        )
    say.line(f"  {len(page.sections)} sections")
    return document, page
