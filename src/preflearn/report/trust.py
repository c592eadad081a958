"""What to trust on a page and what not: every reservation in plain words, each drawn from a figure."""

from __future__ import annotations

import math

from preflearn.ranking import Effect, Leaderboard
from preflearn.report.asked import Asked
from preflearn.report.blocks import Block, Bullets, Section, count, join, number, percent
from preflearn.report.estimates import Estimates

FEW_VOTES = 30
"""Below so many votes of an item its interval rests on a rough approximation."""
FEW_PEOPLE = 20


def section(asked: Asked, estimates: Estimates) -> Section:
    """Two lists: what the data supports, and where care is due."""
    good, caution = _connectivity(estimates.board), []
    for sentences in (_people(asked, estimates), _items(estimates), _groups(estimates), _kind(asked)):
        good += sentences[0]
        caution += sentences[1]
    if estimates.board is not None:
        caution += [sentence(warning) for warning in estimates.board.warnings]
        if not estimates.board.converged:
            caution.append("The fit did not converge; do not use its figures.")
    blocks: list[Block] = []
    if good:
        blocks.append(Bullets(tuple(good), "good", "What you can rely on"))
    if caution:
        blocks.append(Bullets(tuple(dict.fromkeys(caution)), "caution", "Where care is due"))
    blocks.append(
        Bullets(
            (
                "Strengths say what these people preferred among these items on these prompts. "
                "They do not say which item is right, safe or useful.",
                "Strengths are relative: adding or leaving out an item moves the zero, not the differences.",
                "A place is a range: the votes do not rule out any place within it.",
            ),
            "plain",
            "How to read it",
        )
    )
    return Section("trust", "What to trust, and what not", tuple(blocks))


def sentence(text: str) -> str:
    """A warning as a sentence: capital letter and full stop."""
    text = text.strip()
    return text if not text else f"{text[0].upper()}{text[1:].rstrip('.')}."


def position_sentence(effect: Effect | str, level: float = 0.95) -> str:
    """What being shown first is worth, as chances."""
    if isinstance(effect, str):
        return f"Whether the side shown first has an advantage is not known: {effect}."
    estimate, low, high = (_chance(value) for value in (effect.estimate, effect.low, effect.high))
    told = (
        f"Between equally good responses, the one shown first wins {percent(estimate, 1)} of decided votes "
        f"({percent(low, 1)} to {percent(high, 1)})"
    )
    if effect.low is not None and effect.high is not None and effect.low <= 0 <= effect.high:
        return f"{told}; no advantage would be 50%, which is within the interval."
    side = "first" if estimate > 0.5 else "second"
    return f"{told} instead of 50%: being shown {side} is an advantage of its own."


def _chance(logit: float | None) -> float:
    return math.nan if logit is None else 1 / (1 + math.exp(-logit))


Two = tuple[list[str], list[str]]


def _connectivity(board: Leaderboard | None) -> list[str]:
    if board is None or not board.items:
        return []
    ranked = sum(standing.strength is not None for standing in board.items)
    if ranked == len(board.items) > 1:
        return [f"All {ranked} items are connected by votes, so that every difference between them is measured."]
    return []


def _people(asked: Asked, estimates: Estimates) -> Two:
    board = estimates.board
    if board is None:
        return [], []
    if not board.n_annotators:
        return [], [
            "Who voted is not recorded, so every vote is taken as a new person's. "
            "If some people voted often, the intervals are too short."
        ]
    if board.clustered_by:
        who = join([name.removesuffix("_id") for name in board.clustered_by])
        good = [f"The intervals allow for the votes of one {who} being alike."]
        if board.n_annotators < FEW_PEOPLE:
            return good, [
                f"Only {count(board.n_annotators, 'annotator')} voted: a few different ones could change much."
            ]
        return good, []
    return [], []


def _items(estimates: Estimates) -> Two:
    board = estimates.board
    if board is None:
        return [], []
    few = [s.item for s in board.items if s.strength is not None and s.votes < FEW_VOTES]
    if not few:
        return [], []
    shown = join(few[:5]) + (f" and {len(few) - 5:,} more" if len(few) > 5 else "")
    return [], [f"{shown} {'has' if len(few) == 1 else 'have'} fewer than {FEW_VOTES} votes: the intervals are rough."]


def _groups(estimates: Estimates) -> Two:
    comparison, board = estimates.comparison, estimates.board
    if comparison is None or board is None:
        return [], []
    sure = [difference.item for difference in comparison.differences if difference.p < 1 - board.level]
    out: Two = ([], [])
    if sure:
        out[1].append(
            f"The common leaderboard is an average over groups that differ ({join(list(estimates.boards))}); "
            "with another mix of people it would look different."
        )
    if comparison.left_out:
        out[1].append(f"Not compared between groups, because fewer than two rank them: {join(comparison.left_out)}.")
    if not comparison.same_items:
        out[1].append("The groups do not rank the same items, so their zero points differ and gaps are approximate.")
    if estimates.by is not None and not _of_people(estimates.by):
        out[1].append(
            f"One annotator may have voted in several values of {estimates.by}; "
            "the tests of differences take them as independent."
        )
    for value, reason in estimates.unranked.items():
        out[1].append(f"{value} is not shown in the comparison of groups: {reason.rstrip('.')}.")
    return out


def _of_people(by: str) -> bool:
    return by.startswith("annotators.") or by in {"group", "country", "panel", "language"}


def _kind(asked: Asked) -> Two:
    out: Two = ([], [])
    kinds = asked.kinds()
    judges = kinds.get("judge", 0) + kinds.get("rule", 0)
    if judges and judges < sum(kinds.values()):
        out[1].append(
            f"People and {count(judges, 'automatic judge')} voted together; look at them apart with --by kind."
        )
    elif judges:
        out[1].append("The votes are those of automatic judges, not of people.")
    if asked.simulated:
        out[1].append("The votes are simulated; they say something about the methods and nothing about any system.")
    answered = asked.decided + asked.ties
    if answered and asked.ties / answered > 0.4:
        out[1].append(
            f"{number(100 * asked.ties / answered, 0)}% of the answers are ties: the strengths rest on the others."
        )
    return out
