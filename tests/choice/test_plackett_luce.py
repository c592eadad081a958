"""Plackett-Luce against hand-worked fractions, enumeration of all rankings, and its identities."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.choice import Binary, plackett_luce

UTILITY = np.log([1.0, 2.0, 3.0])
utilities = st.lists(st.floats(-15, 15), min_size=4, max_size=4)


class TestByHand:
    def test_full_ranking(self) -> None:
        # 3 first (3/6), then 1 of the rest (1/3).
        at = plackett_luce.derivatives(np.array([2, 3, 1]), UTILITY)
        assert np.exp(at.log_prob) == pytest.approx(1 / 6, rel=1e-14)
        np.testing.assert_allclose(at.score, [1 / 2, -1, 1 / 2], rtol=1e-13)
        expected = [[-13 / 36, 5 / 18, 1 / 12], [5 / 18, -4 / 9, 1 / 6], [1 / 12, 1 / 6, -1 / 4]]
        np.testing.assert_allclose(at.curvature, expected, rtol=1e-13)

    @pytest.mark.parametrize("unranked", [0.0, np.nan])
    def test_choice_and_partial(self, unranked: float) -> None:
        u = unranked
        ranks = np.array([[u, u, 1], [u, 1, 2], [u, u, u], [u, 4, 2]])
        # The last row starts at rank 2: only the order counts.
        probs = np.exp(plackett_luce.log_prob(ranks, UTILITY))
        np.testing.assert_allclose(probs, [3 / 6, 2 / 6 * 3 / 4, 1, 3 / 6 * 2 / 3], rtol=1e-14)

    def test_choice_has_the_score_of_a_softmax(self) -> None:
        score = plackett_luce.score(np.array([0, 1, 0]), UTILITY)
        np.testing.assert_allclose(score, [-1 / 6, 1 - 2 / 6, -3 / 6], rtol=1e-13)

    def test_padding_changes_nothing(self) -> None:
        mask = np.array([True, False, True, True])
        padded = plackett_luce.derivatives(np.array([2, 0, 3, 1]), np.insert(UTILITY, 1, np.nan), mask)
        plain = plackett_luce.derivatives(np.array([2, 3, 1]), UTILITY)
        keep = [0, 2, 3]
        assert padded.log_prob == plain.log_prob
        np.testing.assert_array_equal(padded.score[keep], plain.score)
        np.testing.assert_array_equal(padded.curvature[np.ix_(keep, keep)], plain.curvature)
        assert padded.score[1] == 0
        assert not padded.curvature[1].any()
        assert not padded.curvature[:, 1].any()


@settings(max_examples=25, deadline=None)
@given(u=utilities)
def test_probabilities_of_all_rankings_sum_to_one(u: list[float]) -> None:
    ranks = np.array(list(itertools.permutations(range(1, 5))))
    at = plackett_luce.derivatives(ranks, np.array(u))
    probs = np.exp(at.log_prob)
    assert math.fsum(probs) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(probs @ at.score, 0, atol=1e-11)
    information = np.einsum("r,ri,rj->ij", probs, at.score, at.score)
    np.testing.assert_allclose(np.einsum("r,rij->ij", probs, at.curvature), -information, atol=1e-11)
    # Leaving the tail unranked is the sum over its orders.
    top = np.where(ranks <= 2, ranks, 0)
    merged = {tuple(row): 0.0 for row in top}
    for row, p in zip(top, probs):
        merged[tuple(row)] += p
    for row, p in merged.items():
        assert np.exp(plackett_luce.log_prob(np.array(row), np.array(u))) == pytest.approx(p, rel=1e-10)


@settings(max_examples=50, deadline=None)
@given(a=st.floats(-300, 300), b=st.floats(-300, 300))
def test_two_items_are_binary(a: float, b: float) -> None:
    at = plackett_luce.derivatives(np.array([[2, 1], [1, 2]]), np.array([a, b]))
    binary = Binary().derivatives(b - a)
    np.testing.assert_allclose(at.log_prob, binary.log_prob[::-1], rtol=1e-12, atol=0)
    np.testing.assert_allclose(at.score[:, 1], binary.score[::-1, 0], rtol=1e-12, atol=0)
    np.testing.assert_allclose(at.curvature[0], binary.curvature[0, 0, 0] * np.array([[1, -1], [-1, 1]]), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(u=utilities, shift=st.floats(-1000, 1000))
def test_only_differences_of_utilities_count(u: list[float], shift: float) -> None:
    ranks = np.array([2, 0, 1, 3])
    at, moved = (plackett_luce.derivatives(ranks, np.array(u) + s) for s in (0.0, shift))
    np.testing.assert_allclose(moved.log_prob, at.log_prob, atol=1e-11)
    np.testing.assert_allclose(at.score.sum(), 0, atol=1e-13)
    np.testing.assert_allclose(at.curvature.sum(-1), 0, atol=1e-15)
    np.testing.assert_array_equal(at.curvature, at.curvature.T)
    assert np.linalg.eigvalsh(at.curvature).max() <= 1e-12


def test_derivatives_match_central_differences() -> None:
    rng = np.random.default_rng(4)
    u = rng.normal(0, 2, (20, 6))
    ranks = np.argsort(np.argsort(rng.normal(size=u.shape), -1), -1) + 1
    ranks = np.where(ranks <= rng.integers(1, 7, (20, 1)), ranks, 0)
    mask = np.ones_like(ranks, dtype=bool)
    mask[:5, 0] = False
    ranks[:5, 0] = 0
    exact, h = plackett_luce.derivatives(ranks, u, mask), 1e-5
    for i in range(6):
        step = np.eye(6)[i] * h
        up, down = (plackett_luce.derivatives(ranks, u + s, mask) for s in (step, -step))
        np.testing.assert_allclose(exact.score[:, i], (up.log_prob - down.log_prob) / (2 * h), rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(exact.curvature[..., i], (up.score - down.score) / (2 * h), rtol=1e-7, atol=1e-8)


def test_extreme_utilities_stay_finite() -> None:
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        at = plackett_luce.derivatives(np.array([[1, 2, 3, 0], [3, 2, 1, 0]]), np.array([700.0, 0.0, -700.0, 350.0]))
    assert all(np.isfinite(a).all() for a in at)
    # Best to worst against the utilities: 3 first (loses 1400), then 2 (loses 700), then 1 (sure).
    np.testing.assert_allclose(at.log_prob, [-350.0 - 1050.0, -1400.0 - 700.0], rtol=1e-14)


class TestRefusals:
    def test_ties(self) -> None:
        with pytest.raises(ValueError, match="without ties"):
            plackett_luce.log_prob(np.array([[1, 2, 3], [1, 1, 2]]), UTILITY)

    def test_negative_padded_and_misshapen(self) -> None:
        with pytest.raises(ValueError, match="negative"):
            plackett_luce.log_prob(np.array([1, -1, 2]), UTILITY)
        with pytest.raises(ValueError, match="padding"):
            plackett_luce.log_prob(np.array([1, 2, 3]), UTILITY, np.array([True, True, False]))
        with pytest.raises(ValueError, match="shape"):
            plackett_luce.log_prob(np.array([1, 2]), UTILITY)


def test_sampled_rankings_have_the_right_frequencies() -> None:
    n = 30_000
    drawn = plackett_luce.sample(np.broadcast_to(UTILITY, (n, 3)), np.random.default_rng(9))
    for ranks in itertools.permutations((1, 2, 3)):
        p = math.exp(plackett_luce.log_prob(np.array(ranks), UTILITY))
        seen = (drawn == ranks).all(-1).sum()
        assert abs(seen - n * p) < 4 * math.sqrt(n * p * (1 - p))


def test_sampling_leaves_padding_unranked() -> None:
    mask = np.array([[True, False, True], [True, True, True]])
    drawn = plackett_luce.sample(np.zeros((2, 3)), np.random.default_rng(0), mask)
    assert drawn[0, 1] == 0
    assert sorted(drawn[0]) == [0, 1, 2]
    assert sorted(drawn[1]) == [1, 2, 3]
