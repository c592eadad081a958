"""Small vote makers shared by the ranking tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from preflearn.choice import Davidson
from preflearn.data import PreferenceData


def battles(rows: Sequence[tuple], **columns: Sequence) -> PreferenceData:
    """Battles (a, b, outcome) between named systems, with further columns."""
    frame = pl.DataFrame(
        {
            "comparison_id": [str(i) for i in range(len(rows))],
            "response_a": [row[0] for row in rows],
            "response_b": [row[1] for row in rows],
            "outcome": [row[2] for row in rows],
            **columns,
        },
        strict=False,
    )
    return PreferenceData(comparisons=frame).completed()


def counted(rows: Sequence[tuple[str, str, int, int]], ties: Sequence[int] | None = None) -> PreferenceData:
    """Counted battles from (a, b, wins of a, wins of b)."""
    out, counts = [], []
    for index, (a, b, wins, losses) in enumerate(rows):
        for outcome, n in (("a", wins), ("b", losses), ("tie", ties[index] if ties else 0)):
            if n:
                out.append((a, b, outcome))
                counts.append(n)
    return battles(out, count=counts)


def simulated(
    n_votes: int = 3000,
    n_items: int = 6,
    *,
    seed: int = 0,
    log_tie: float = -0.5,
    position: float = 0.0,
    annotators: int = 40,
    spread: float = 0.0,
) -> tuple[PreferenceData, np.ndarray]:
    """Votes with Davidson ties, a position effect and personal strengths; returns (data, centred strengths)."""
    generator = np.random.default_rng(seed)
    theta = np.linspace(-1, 1, n_items)
    person = generator.integers(0, annotators, n_votes)
    personal = theta + generator.normal(0, spread, (annotators, n_items)) if spread else np.tile(theta, (annotators, 1))
    a = generator.integers(0, n_items, n_votes)
    b = (a + generator.integers(1, n_items, n_votes)) % n_items
    first = generator.choice([1, -1], n_votes)
    logit = personal[person, a] - personal[person, b] + position * first
    outcome = np.asarray(Davidson().sample(logit, (log_tie,), generator))
    data = battles(
        [(f"m{i}", f"m{j}", ("b", "tie", "a")[y]) for i, j, y in zip(a, b, outcome)],
        annotator_id=[f"u{u}" for u in person],
        shown_first=np.where(first > 0, "a", "b"),
    )
    return data, theta
