"""Margins and scaled losses: by hand, against repetition of rows, derivatives, and what is predicted."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.choice import Binary, Flip, Link, Margin, Ordinal, Scaled
from preflearn.choice.margin import scaled, with_margin
from preflearn.errors import NotSupported

LINKS = [Margin(3), Margin(2, ties=True), Margin(2, steps=(0.5, 2.5)), Scaled(3), Scaled(2, ties=True), Margin(1)]
links = pytest.mark.parametrize("link", LINKS, ids=repr)


def log_sigma(x: float) -> float:
    return -math.log1p(math.exp(-x))


def test_columns_by_hand() -> None:
    d = 0.7
    expected = [log_sigma(-d - 2), log_sigma(-d - 1), log_sigma(d - 1), log_sigma(d - 2)]
    np.testing.assert_allclose(Margin(2).log_probs(d), expected, rtol=1e-14)
    expected = [2 * log_sigma(-d), log_sigma(-d), 0.5 * (log_sigma(d) + log_sigma(-d)), log_sigma(d), 2 * log_sigma(d)]
    np.testing.assert_allclose(Scaled(2, ties=True).log_probs(d), expected, rtol=1e-14)


def test_outcomes_are_those_of_graded_preferences() -> None:
    for levels in (1, 2, 3):
        for ties in (True, False):
            assert Margin(levels, ties).outcomes == Scaled(levels, ties).outcomes == Ordinal(levels, ties).outcomes


@links
def test_derivatives_match_central_differences(link: Link) -> None:
    d, h = np.random.default_rng(0).normal(0, 3, 40), 1e-5
    at, up, down = link.derivatives(d), link.derivatives(d + h), link.derivatives(d - h)
    np.testing.assert_allclose(at.log_prob, link.log_probs(d), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(at.score[..., 0], (up.log_prob - down.log_prob) / (2 * h), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(at.curvature[..., 0, 0], (up.score - down.score)[..., 0] / (2 * h), rtol=1e-7, atol=1e-9)
    assert (at.curvature <= 0).all()


@links
@settings(max_examples=30, deadline=None)
@given(d=st.floats(-500, 500))
def test_mirror(link: Link, d: float) -> None:
    np.testing.assert_array_equal(link.log_probs(d), link.log_probs(-d)[list(link.swap)])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_scaled_is_repetition_exactly(seed: int) -> None:
    """Value, score and curvature of a row of strength m are those of m rows of plain Bradley-Terry."""
    rng = np.random.default_rng(seed)
    n = 20
    d, grade, won = rng.normal(0, 2, n), rng.integers(1, 4, n), rng.random(n) < 0.5
    target = np.zeros((n, 6))
    target[np.arange(n), np.where(won, 2 + grade, 3 - grade)] = 1
    two = np.stack((~won, won), -1).astype(float)
    rows = np.repeat(np.arange(n), grade)
    repeated = Binary().weighted(two[rows], d[rows])
    for ours in (Scaled(3).weighted(target, d), scaled(two, d, grade)):
        for mine, single in zip(ours, repeated):
            summed = np.zeros_like(mine)
            np.add.at(summed, rows, single)
            np.testing.assert_allclose(mine, summed, rtol=1e-14, atol=1e-300)


def test_number_valued_margin_is_the_link_where_it_is_a_grade() -> None:
    rng = np.random.default_rng(1)
    d, grade, won = rng.normal(size=30), rng.integers(1, 4, 30), rng.random(30) < 0.5
    target = np.zeros((30, 6))
    target[np.arange(30), np.where(won, 2 + grade, 3 - grade)] = 1
    two = np.stack((~won, won), -1).astype(float)
    for mine, link in zip(with_margin(two, d, grade), Margin(3).weighted(target, d)):
        np.testing.assert_allclose(mine, link, rtol=1e-14)
    for mine, plain in zip(with_margin(two, d, np.zeros(30)), Binary().weighted(two, d)):
        np.testing.assert_allclose(mine, plain, rtol=1e-14)


def test_a_margin_asks_for_more_than_a_win() -> None:
    """At the margin a pair still pulls with half of its force; without it the pull is sigma(-m)."""
    win = np.array([0.0, 1.0])
    assert with_margin(win, 3.0, 3.0).score[0] == pytest.approx(0.5)
    assert Binary().weighted(win, 3.0).score[0] == pytest.approx(1 / (1 + math.exp(3)))


def test_what_is_predicted_stays_bradley_terry() -> None:
    assert Margin(3).prediction == Scaled(2).prediction == Binary()
    for link in (Binary(), Ordinal(2), Flip(Binary())):
        assert link.prediction is link
    with pytest.raises(NotSupported, match="Ordinal"):
        Margin(2).sample(0.0, generator=np.random.default_rng(0))


def test_refuses_steps_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="3 finite strengths"):
        Margin(3, steps=(1.0, 2.0))
    with pytest.raises(ValueError, match="none negative"):
        Scaled(1, steps=(-1.0,))
    with pytest.raises(ValueError, match="at least 1"):
        Margin(0)
