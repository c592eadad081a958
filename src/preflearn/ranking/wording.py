"""Sentences of a leaderboard's reservations: numbers with their nouns, lists of names, what became of which items."""

from __future__ import annotations

from collections.abc import Sequence

from preflearn.ranking.graph import Status

_STATUS: tuple[tuple[Status, str], ...] = (
    ("undefeated", "that never lost, with no finite estimate"),
    ("winless", "that never won, with no finite estimate"),
    ("other_component", "not comparable with the main group of items"),
    ("no_votes", "without votes"),
)


def some(n: float, noun: str) -> str:
    """`1 vote`, `1,200 votes`."""
    return f"{n:,.0f} {noun}" if round(n) == 1 else f"{n:,.0f} {noun}s"


def listed(names: Sequence[str], most: int = 10) -> str:
    """The first few of many names."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def without_strength(items: Sequence[str], status: Sequence[Status], prior: bool) -> list[str]:
    """A sentence for every status but the good one; `prior`: a prior gives them a strength all the same."""
    found = []
    for kind, meaning in _STATUS:
        names = [item for item, this in zip(items, status) if this == kind]
        if names:
            tail = "; their place rests on the prior" if prior and kind != "no_votes" else ""
            found.append(f"{some(len(names), 'item')} {meaning}{tail}: {listed(names)}")
    return found
