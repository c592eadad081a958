"""From data to a page: which sections there are, in which order, and what the summary says first."""

from __future__ import annotations

from collections.abc import Mapping

from preflearn._version import __version__
from preflearn.data import PreferenceData
from preflearn.errors import PreflearnError
from preflearn.evaluate import describe
from preflearn.evaluate.describe_comparisons import Question
from preflearn.ranking import Leaderboard
from preflearn.report import agreement, heldout, leaderboards, sources, trust
from preflearn.report import asked as asking
from preflearn.report import truth as truths
from preflearn.report import usual as usuals
from preflearn.report.asked import ask
from preflearn.report.blocks import Block, Bullets, Page, Prose, Section, Tile
from preflearn.report.estimates import SHOWN_GROUPS, Estimates, estimate
from preflearn.report.groups import compare
from preflearn.report.heldout import HeldOut
from preflearn.report.truth import Truth

RESAMPLES = 300
"""Of the intervals that a bootstrap makes; enough for two figures of a percentage."""
SIMULATED = (
    "The panel behind these votes is simulated: the page shows what the methods find and nothing about real people."
)


def build(
    data: PreferenceData,
    *,
    title: str = "What was preferred",
    by: str | None = None,
    criterion: str | None = None,
    item: str = "system",
    level: float = 0.95,
    seed: int = 0,
    estimates: Estimates | None = None,
    truth: Truth | None = None,
    held_out: HeldOut | None = None,
) -> Page:
    """The page about a data set.

    Args:
        title: of the page.
        by: column whose values are compared (default: declared groups of annotators).
        criterion: the one to rank by (default: the one with most judgments).
        item: column of responses that names what is ranked.
        estimates: if they are known already.
        truth: planted strengths, where the data is simulated.
        held_out: figures on votes that were kept back.
    """
    counts = ask(data, describe(data, seed=seed, level=level, n_bootstrap=RESAMPLES))
    found = estimates or estimate(data, by=by, criterion=criterion, item=item, level=level, seed=seed)
    usual = usuals.usual_board(data, found, item=item, seed=seed) if found.board is not None else None
    question = counts.question(found.criterion)
    own = [
        _leaderboard(found),
        _groups(found),
        usuals.section(usual, found, truth or {}) if usual is not None else None,
        heldout.section(held_out) if held_out is not None else None,
        agreement.section(question),
        agreement.influences(counts, question, found.position),
        _criteria(found),
        trust.section(counts, found),
        asking.section(counts),
        sources.section(found),
    ]
    summary = _summary(found, question)
    if usual is not None and truth:
        summary += truths.sentences(truth, found, usual)
    if held_out is not None:
        summary.append(heldout.sentence(held_out))
    return Page(
        title=title,
        subtitle=asking.subtitle(counts),
        tiles=(*asking.tiles(counts), *_tiles(found)),
        summary=tuple(summary),
        sections=tuple(section for section in own if section is not None),
        footer=footer(data.fingerprint()),
        banner=SIMULATED if counts.simulated else None,
    )


def board_page(
    board: Leaderboard | None,
    boards: Mapping[str, Leaderboard | PreflearnError],
    *,
    by: str | None,
    title: str = "Leaderboard",
) -> Page:
    """The page of leaderboards that are there already, as `preflearn rank --html` has them.

    Args:
        board: of everyone; None where only the values of `by` can be ranked.
        boards: by value, or why there is none.
    """
    shown = {name: part for name, part in boards.items() if isinstance(part, Leaderboard)}
    some = board if board is not None else next(iter(shown.values()), None)
    failed = [f"{name} is not ranked: {part}" for name, part in boards.items() if not isinstance(part, Leaderboard)]
    warned = {name: part.warnings for name, part in shown.items()}
    care = [trust.sentence(warning) for warning in board.warnings] if board is not None else []
    care += [f"{name}: {trust.sentence(warning)}" for name, found in warned.items() for warning in found] + failed
    usable = {name: part for name, part in shown.items() if any(standing.se for standing in part.items)}
    compares = board is not None and len(usable) > 1
    estimates = Estimates(
        model=some.model if some is not None else "none",
        board=board,
        reason="only the values below are ranked" if shown else "nothing can be ranked",
        position=next((e for e in some.effects if e.name == "position"), "not estimated") if some else "not estimated",
        by=by if compares else None,
        boards=dict(list(usable.items())[:SHOWN_GROUPS]) if compares else {},
        comparison=compare(dict(list(usable.items())[:SHOWN_GROUPS])) if compares else None,
    )
    each = tuple(leaderboards.plot(part, caption=f"{by} = {name}") for name, part in shown.items())
    sections = [
        _leaderboard(estimates),
        _groups(estimates),
        Section("each", f"By {by}", each) if each else None,
        Section("trust", "Where care is due", (Bullets(tuple(care), "caution"),)) if care else None,
        sources.section(estimates),
    ]
    told = [leaderboards.headline(part) for part in ([board] if board is not None else [])]
    told += [f"{by} = {name}: {leaderboards.headline(part)}" for name, part in list(shown.items())[:SHOWN_GROUPS]]
    votes = board.n_votes if board is not None else sum(part.n_votes for part in shown.values())
    return Page(
        title=title,
        subtitle=f"{votes:,} votes.",
        tiles=(Tile(f"{votes:,}", "votes"), Tile(f"{len(some.items) if some else 0:,}", "items")),
        summary=tuple(told) or ("Nothing can be ranked.",),
        sections=tuple(section for section in sections if section is not None),
        footer=footer(some.data_fingerprint if some is not None else None),
    )


def footer(fingerprint: str | None) -> tuple[tuple[str, str], ...]:
    """What identifies the data and the program."""
    return (("Data fingerprint", fingerprint or "not recorded"), ("Made with", f"preflearn {__version__}"))


# -- sections ----------------------------------------------------------------------------------------------------------


def _leaderboard(estimates: Estimates) -> Section:
    board = estimates.board
    if board is None:
        why = estimates.reason or "there are no comparisons"
        return Section("leaderboard", "The leaderboard", (Prose(f"There is no leaderboard: {why.rstrip('.')}."),))
    criterion = f" by the criterion “{estimates.criterion}”" if estimates.criterion else ""
    sentences = [leaderboards.headline(board), leaderboards.tiers(board), leaderboards.spread(board)]
    blocks: list[Block] = [Prose(trust.sentence(note)) for note in estimates.notes]
    blocks.append(Prose(" ".join(part for part in sentences if part)))
    blocks.append(
        leaderboards.plot(
            board,
            caption=f"Leaderboard{criterion}, strongest first",
            note="Point: estimate. Line: its interval. A place is a range where the votes allow several.",
        )
    )
    return Section("leaderboard", "The leaderboard", tuple(blocks))


def _groups(estimates: Estimates) -> Section | None:
    if estimates.comparison is None or estimates.board is None:
        return None
    told = leaderboards.group_sentences(estimates.board, estimates.boards, estimates.comparison)
    plot = leaderboards.group_plot(
        estimates.boards,
        estimates.comparison,
        caption=f"Strengths by {estimates.by}, largest differences first",
        note="p: chance of so large a difference if all groups had one strength, corrected for the number of items.",
    )
    return Section("groups", "Who ranks what differently", (Prose(" ".join(told)), plot))


def _criteria(estimates: Estimates) -> Section | None:
    if not estimates.others:
        return None
    blocks: list[Block] = [
        Prose("Criteria are never pooled. The leaderboard above is by one of them; these are the others.")
    ]
    for name, board in estimates.others.items():
        if isinstance(board, Leaderboard):
            blocks.append(leaderboards.plot(board, caption=f"By the criterion “{name}”"))
        else:
            blocks.append(Prose(f"By “{name}” there is no leaderboard: {board.rstrip('.')}."))
    return Section("criteria", "By other criteria", tuple(blocks))


def _summary(estimates: Estimates, question: Question | None) -> list[str]:
    board = estimates.board
    if board is None:
        return [f"No leaderboard could be made: {(estimates.reason or 'there are no comparisons').rstrip('.')}."]
    out: list[str | None] = [leaderboards.headline(board)]
    if estimates.comparison is not None:
        out.append(" ".join(leaderboards.group_sentences(board, estimates.boards, estimates.comparison)))
    if estimates.independent:
        out.append(leaderboards.inflation_sentence(board, estimates.independent))
    if not isinstance(estimates.position, str):
        out.append(trust.position_sentence(estimates.position))
    if question is not None and question.agreement.observed.value is not None:
        out.append(agreement.agreement_sentence(question))
    unranked = [standing.item for standing in board.items if standing.strength is None]
    if unranked:
        out.append(f"{len(unranked):,} of {len(board.items):,} items cannot be given a strength from these votes.")
    return [sentence for sentence in out if sentence]


def _tiles(estimates: Estimates) -> list[Tile]:
    board = estimates.board
    if board is None:
        return []
    tiers = {standing.tier for standing in board.items if standing.tier is not None}
    return [Tile(f"{len(tiers)}", "tier" if len(tiers) == 1 else "tiers")] if tiers else []
