"""Published estimates of two textbook data sets, and agreement with independent implementations."""

from __future__ import annotations

import numpy as np
import pytest

from preflearn.choice import Binary
from preflearn.choice import Davidson as DavidsonLink
from preflearn.ranking import BradleyTerry, Davidson, votes_of_codes
from tests.ranking.makers import battles, counted

CITATIONS = [
    ("Biometrika", "Comm Statist", 730, 33),
    ("Biometrika", "JASA", 498, 320),
    ("Biometrika", "JRSS-B", 221, 284),
    ("Comm Statist", "JASA", 68, 813),
    ("Comm Statist", "JRSS-B", 17, 276),
    ("JASA", "JRSS-B", 142, 325),
]
"""Citations among four journals, 1987-88 (Stigler 1994; Agresti, Categorical Data Analysis, ch. 10)."""

TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
HOME_AWAY = {
    "Milwaukee": ((4, 3), (4, 2), (4, 3), (6, 1), (4, 2), (6, 0)),
    "Detroit": ((3, 3), (4, 2), (4, 3), (6, 0), (6, 1), (4, 3)),
    "Toronto": ((2, 5), (4, 3), (2, 4), (4, 3), (4, 2), (6, 0)),
    "New York": ((3, 3), (5, 1), (2, 5), (4, 3), (4, 2), (6, 1)),
    "Boston": ((5, 1), (2, 5), (3, 3), (4, 2), (5, 2), (6, 0)),
    "Cleveland": ((2, 5), (3, 3), (3, 4), (4, 3), (4, 2), (2, 4)),
    "Baltimore": ((2, 5), (1, 5), (1, 6), (2, 4), (1, 6), (3, 4)),
}
"""American League East 1987: (home wins, away wins) against each other team in order (Agresti, ch. 10)."""


def baseball():
    rows, counts = [], []
    for home, results in HOME_AWAY.items():
        for away, (won, lost) in zip([team for team in TEAMS if team != home], results):
            for outcome, n in (("a", won), ("b", lost)):
                if n:
                    rows.append((home, away, outcome))
                    counts.append(n)
    return battles(rows, count=counts, shown_first=["a"] * len(rows))


def test_citations_match_the_published_estimates_and_errors():
    board = BradleyTerry(cluster=None, interval="model").fit(counted(CITATIONS)).leaderboard(anchor="Biometrika")
    published = {
        "Comm Statist": (-2.94907, 0.10255),
        "JASA": (-0.47957, 0.06059),
        "JRSS-B": (0.26895, 0.07083),
    }
    for journal, (estimate, error) in published.items():
        assert board[journal].strength == pytest.approx(estimate, abs=5e-6)
        assert board[journal].se == pytest.approx(error, abs=5e-6)
    assert board["Biometrika"].strength == 0 and board["Biometrika"].se == 0


def test_baseball_with_and_without_home_advantage():
    plain = BradleyTerry(cluster=None, interval="model").fit(baseball()).leaderboard(anchor="Baltimore")
    for team, estimate in {
        "Boston": 1.1077,
        "Cleveland": 0.6839,
        "Detroit": 1.4364,
        "Milwaukee": 1.5814,
        "New York": 1.2476,
        "Toronto": 1.2945,
    }.items():
        assert plain[team].strength == pytest.approx(estimate, abs=5e-5)
    home = BradleyTerry(cluster=None, interval="model", position=True).fit(baseball()).leaderboard(anchor="Baltimore")
    for team, estimate in {
        "Boston": 1.1438,
        "Cleveland": 0.7047,
        "Detroit": 1.4754,
        "Milwaukee": 1.6196,
        "New York": 1.2813,
        "Toronto": 1.3271,
    }.items():
        assert home[team].strength == pytest.approx(estimate, abs=5e-5)
    assert home.effects[0].estimate == pytest.approx(0.3023, abs=5e-5)


def random_codes(n_items=30, n_votes=20_000, ties=0.0, seed=3):
    generator = np.random.default_rng(seed)
    theta = generator.normal(size=n_items)
    a = generator.integers(0, n_items, n_votes)
    b = (a + generator.integers(1, n_items, n_votes)) % n_items
    if ties:
        outcome = np.asarray(DavidsonLink().sample(theta[a] - theta[b], (np.log(ties),), generator))
    else:
        outcome = (generator.random(n_votes) < 1 / (1 + np.exp(theta[b] - theta[a]))).astype(int)
    return a, b, outcome


def fit_codes(model, a, b, outcome, n_items=30):
    votes = votes_of_codes([f"m{i:02d}" for i in range(n_items)], a, b, outcome, model.link())
    return model.fit_votes(votes)


def test_bradley_terry_equals_choix():
    choix = pytest.importorskip("choix")
    a, b, y = random_codes()
    ours = fit_codes(BradleyTerry(cluster=None), a, b, y).strengths_
    pairs = [(i, j) if won else (j, i) for i, j, won in zip(a, b, y)]
    theirs = choix.ilsr_pairwise(30, pairs, tol=1e-12)
    np.testing.assert_allclose(ours, theirs - theirs.mean(), atol=1e-6)


def test_davidson_equals_newman():
    evalica = pytest.importorskip("evalica")
    a, b, y = random_codes(ties=0.6)
    model = fit_codes(Davidson(cluster=None), a, b, y)
    winners = [(evalica.Winner.Y, evalica.Winner.Draw, evalica.Winner.X)[k] for k in y]
    result = evalica.newman([f"m{i:02d}" for i in a], [f"m{j:02d}" for j in b], winners, tolerance=1e-13, limit=100_000)
    theirs = np.log(result.scores.sort_index().to_numpy())
    np.testing.assert_allclose(model.strengths_, theirs - theirs.mean(), atol=1e-6)
    # Newman's v is half of Davidson's nu.
    assert np.exp(model.fit_.parameters[-1]) / 2 == pytest.approx(result.v, abs=1e-6)


def test_binary_link_of_votes_of_codes_rejects_codes_out_of_range():
    with pytest.raises(ValueError, match="left codes"):
        votes_of_codes(["x", "y"], np.array([2]), np.array([0]), np.array([0]), Binary())
