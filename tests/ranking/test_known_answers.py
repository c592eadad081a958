"""Estimates and standard errors that statsmodels 0.15 gives for the same votes, stored.

Its binomial GLM on the design (item differences without the first item, position, covariate) is the Bradley-Terry
model; its ordered logit on the votes and their mirror images is the graded model with symmetric thresholds.
"""

from __future__ import annotations

import numpy as np
import pytest

from preflearn.choice import Binary, Ordinal
from preflearn.ranking import BradleyTerry, Graded, RaoKupper, Votes, votes_of_codes
from preflearn.ranking.cells import cells_of_votes
from preflearn.ranking.encode import with_pairs

ITEMS = ("m0", "m1", "m2", "m3")


class Study:
    """240 votes of 16 annotators on 24 prompts, from the arithmetic of whole numbers."""

    def __init__(self) -> None:
        k = np.arange(240)
        self.a = k % 4
        self.b = (self.a + 1 + (k // 4) % 3) % 4
        self.annotator = (k * k // 7 + k // 3) % 16
        self.prompt = (k // 5) % 24
        self.first = np.where((k * 5 // 3) % 2 == 0, 1, -1)
        self.covariate = ((k * 37) % 101 - 50) / 50.0
        self.weight = 1 + (k % 3) * 0.5
        theta = np.array([0.6, 0.1, -0.2, -0.5])
        self.logit = theta[self.a] - theta[self.b] + 0.4 * self.covariate + 0.3 * self.first
        self.logit += np.sin(self.annotator + self.a) + np.cos(self.prompt + self.a)
        self.luck = ((k * 53 + self.annotator * 29) % 97) / 97.0

    def answer(self, *cuts: float) -> np.ndarray:
        """Outcome codes: how many of the boundaries the logit passes."""
        return sum((self.luck < 1 / (1 + np.exp(-(self.logit - cut)))).astype(int) for cut in cuts)

    def votes(self, *, weighted: bool = False, clusters: tuple[str, ...] = ()) -> Votes:
        groups = with_pairs({name: getattr(self, name) for name in clusters})
        cells = cells_of_votes(
            self.a,
            self.b,
            self.answer(0.0),
            4,
            np.eye(2),
            first=self.first,
            weight=self.weight if weighted else None,
            features=self.covariate[:, None],
            clusters=groups,
        )
        return Votes(ITEMS, Binary(), cells, 240, {}, None, ("x",), (1.0,), tuple(groups))


def against_first(model: BradleyTerry) -> tuple[np.ndarray, np.ndarray]:
    """Strengths of the items and effects, with standard errors, the first item held at 0."""
    board = model.leaderboard(anchor="m0")
    lines = [board[item] for item in ITEMS[1:]] + board.effects
    estimate = [line.strength if hasattr(line, "strength") else line.estimate for line in lines]
    return np.array(estimate), np.array([line.se for line in lines])


ESTIMATE = [-0.268144813404, -0.747102457856, -0.833778388244, 0.152622660605, 0.272385377487]
WEIGHTED = [-0.342680300726, -0.862115880591, -0.962650847345, 0.156360663693, 0.139139385245]


@pytest.mark.parametrize(
    ("interval", "errors"),
    [
        ("model", [0.244312280592, 0.23775894323, 0.240142794036, 0.141378161309, 0.231943276976]),
        ("sandwich", [0.237161832552, 0.237898086967, 0.23827875271, 0.138535612613, 0.238748187324]),
    ],
)
def test_bradley_terry_with_position_and_covariate(interval, errors):
    model = BradleyTerry(position=True, interval=interval).fit_votes(Study().votes())
    found, se = against_first(model)
    np.testing.assert_allclose(found, ESTIMATE, atol=1e-8)
    np.testing.assert_allclose(se, errors, atol=1e-8)
    assert model.log_likelihood_ == pytest.approx(-155.964757001972, abs=1e-8)


VARIANCES = {  # without small-sample factors
    "annotator": (16, [0.054654000823, 0.088190913021, 0.083642970536, 0.012208794173, 0.067652425596]),
    "prompt": (24, [0.072815567844, 0.113121097138, 0.081370290862, 0.017083581426, 0.057912226035]),
    "annotator*prompt": (194, [0.058970655794, 0.061259323715, 0.054330297529, 0.018585171881, 0.05939628491]),
}


@pytest.mark.parametrize("clusters", [("annotator",), ("prompt",), ("annotator", "prompt")])
def test_clustered_one_and_two_ways(clusters):
    model = BradleyTerry(position=True).fit_votes(Study().votes(clusters=clusters))
    expected = np.zeros(5)
    for name, sign in zip((*clusters, "*".join(clusters)) if len(clusters) == 2 else clusters, (1, 1, -1)):
        size, variance = VARIANCES[name]
        expected += sign * size / (size - 1) * np.array(variance)
        assert model.covariance_.clusters[name] == size
    found, se = against_first(model)
    np.testing.assert_allclose(found, ESTIMATE, atol=1e-8)
    np.testing.assert_allclose(se, np.sqrt(expected), atol=1e-7)
    # t quantiles of 15 and 23 degrees of freedom at 97.5 % (tables).
    quantile = {"annotator": 2.131450, "prompt": 2.068658}[clusters[0]]
    board = model.leaderboard(anchor="m0")
    assert (board["m1"].high - board["m1"].low) / 2 == pytest.approx(quantile * se[0], rel=1e-6)


def test_weights_enter_the_sandwich_squared():
    for clusters, errors in (
        ((), [0.247344505921, 0.247380294964, 0.241574892278, 0.142917275981, 0.249041972157]),
        (("annotator",), [0.217713444696, 0.29021534876, 0.299503436147, 0.117294866303, 0.266997089457]),
    ):
        model = BradleyTerry(position=True).fit_votes(Study().votes(weighted=True, clusters=clusters))
        found, se = against_first(model)
        np.testing.assert_allclose(found, WEIGHTED, atol=1e-8)
        np.testing.assert_allclose(se, np.array(errors) * (np.sqrt(16 / 15) if clusters else 1), atol=1e-8)


@pytest.mark.parametrize(
    ("model", "link", "cuts", "strengths", "thresholds", "log_likelihood"),
    [
        (
            RaoKupper(cluster=None),
            Ordinal(levels=1, ties=True),
            (-0.4, 0.4),
            [-0.312467141248, -0.721287942983, -0.803063619872],
            [0.333106019],
            -234.567552012120,
        ),
        (
            Graded(cluster=None),
            Ordinal(levels=2, ties=True),
            (-1.2, -0.4, 0.4, 1.2),
            [-0.272428365994, -0.626096712217, -0.751965056034],
            [0.332345392, 1.016317106],
            -365.708825746190,
        ),
    ],
    ids=["rao_kupper", "graded"],
)
def test_ordered_logit(model, link, cuts, strengths, thresholds, log_likelihood):
    study = Study()
    model.fit_votes(votes_of_codes(ITEMS, study.a, study.b, study.answer(*cuts), link))
    np.testing.assert_allclose(model.strengths_[1:] - model.strengths_[0], strengths, atol=1e-6)
    np.testing.assert_allclose(model.other_, thresholds, atol=1e-6)
    assert model.log_likelihood_ == pytest.approx(log_likelihood, abs=1e-8)
