"""When ties and grades have no finite thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from preflearn.choice import Binary, Davidson, Ordinal
from preflearn.errors import NotComputable
from preflearn.ranking import rank
from preflearn.ranking.cells import count_codes
from preflearn.ranking.separation import thresholds_run_away
from tests.ranking.makers import battles

TIED = (Davidson(), Ordinal(levels=1, ties=True))


def cells_of(rows, link, n):
    index = [link.outcomes.index(outcome) for *_, outcome in rows]
    left, right = (np.array([row[side] for row in rows]) for side in (0, 1))
    return count_codes(left, right, np.array(index), n, np.eye(len(link.outcomes)))


@pytest.mark.parametrize("link", TIED, ids=["davidson", "rao_kupper"])
@pytest.mark.parametrize(
    ("rows", "n", "expected"),
    [
        ([(0, 1, "a"), (0, 1, "tie")], 2, True),
        ([(0, 1, "a"), (0, 1, "tie"), (0, 1, "b")], 2, False),
        # A chain of ties that comes round by one win: drops 1 by the win, may rise 2 by the ties.
        ([(0, 1, "a"), (1, 2, "tie"), (2, 0, "tie")], 3, True),
        # Two wins against one tie cannot be stretched.
        ([(0, 1, "a"), (1, 2, "a"), (2, 0, "tie")], 3, False),
        # As many wins as ties still can.
        ([(0, 1, "a"), (1, 2, "a"), (2, 3, "tie"), (3, 0, "tie")], 4, True),
        ([(0, 1, "a"), (1, 2, "a"), (2, 0, "a"), (0, 2, "tie")], 3, False),
    ],
)
def test_wins_against_ties(link, rows, n, expected):
    assert thresholds_run_away(cells_of(rows, link, n), link) is expected


def test_grades():
    link = Ordinal(levels=2, ties=False)
    both = [(0, 1, "a1"), (0, 1, "b1")]
    assert not thresholds_run_away(cells_of([*both, (0, 1, "a2")], link, 2), link)
    # Strong wins lead one way along a chain, weak ones never come back: nothing holds the outer threshold.
    chain = [(0, 1, "a2"), (1, 2, "a2"), (0, 1, "a1")]
    assert thresholds_run_away(cells_of(chain, link, 3), link)
    full = Ordinal(levels=2, ties=True)
    rows = [(0, 1, "a2"), (0, 1, "a1"), (0, 1, "tie"), (1, 0, "a1")]
    assert thresholds_run_away(cells_of(rows[:3], full, 2), full)
    assert not thresholds_run_away(cells_of(rows, full, 2), full)


def test_a_link_without_thresholds_never_does():
    assert not thresholds_run_away(cells_of([(0, 1, "a")], Binary(), 2), Binary())


@pytest.mark.parametrize("link", TIED, ids=["davidson", "rao_kupper"])
def test_the_answer_agrees_with_where_the_likelihood_leads(link):
    """Random small data: the fit stays finite exactly where the linear program says so."""
    from scipy.sparse.csgraph import connected_components

    from preflearn.ranking.design import Design
    from preflearn.ranking.newton import newton

    generator = np.random.default_rng(4)
    seen = {True: 0, False: 0}
    for _ in range(120):
        n = int(generator.integers(2, 5))
        left = generator.integers(0, n, 6)
        right = (left + generator.integers(1, n, 6)) % n
        left, right = np.minimum(left, right), np.maximum(left, right)
        outcome = generator.choice([1, 2, 2, 1, 0], 6, p=[0.3, 0.3, 0.2, 0.1, 0.1])
        if len(set(outcome.tolist()) - {1}) == 0 or 1 not in outcome:
            continue
        reach = np.zeros((n, n))
        for i, j, y in zip(left, right, outcome):
            reach[i, j] += y >= 1
            reach[j, i] += y <= 1
        if connected_components(reach, directed=True, connection="strong")[0] > 1:
            continue
        cells = count_codes(left, right, outcome, n, np.eye(3))
        away = thresholds_run_away(cells, link)
        seen[away] += 1
        start = np.concatenate([np.zeros(n), link.initial()])
        try:
            fit = newton(Design(cells, link), start, tolerance=1e-13, max_iterations=60)
            far = bool(np.abs(fit.parameters).max() > 8)
        except NotComputable:  # so far out that nothing is left of the curvature
            far = True
        assert far == away
    assert min(seen.values()) >= 5


@pytest.mark.parametrize("model", ["davidson", "rao_kupper"])
def test_a_leaderboard_says_so_and_gives_no_number(model):
    votes = battles([("x", "y", "a"), ("x", "y", "tie")])
    board = rank(votes, model)
    assert all(standing.strength is None for standing in board.items)
    assert any("ties and wins" in warning for warning in board.warnings)
    assert rank(votes, model, ghost=0.5)["x"].strength > 0
