"""Answers for a population and weights of tasks: by hand, by brute force, and what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.choice import aggregate
from preflearn.choice.multitask import min_norm

TWO_GROUPS = np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.6]])
CYCLE = np.array([[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]])
seeds = st.integers(0, 10**6)


class TestScores:
    def test_average_and_worst_off_choose_differently(self) -> None:
        np.testing.assert_allclose(aggregate.mean(TWO_GROUPS, [0.8, 0.2]), [0.8, 0.2, 0.6])
        np.testing.assert_array_equal(aggregate.maximin(TWO_GROUPS, [0.8, 0.2]), [0, 0, 0.6])
        assert aggregate.mean(TWO_GROUPS, [0.8, 0.2]).argmax() == 0
        assert aggregate.maximin(TWO_GROUPS, [0.8, 0.2]).argmax() == 2

    def test_quantiles_by_hand(self) -> None:
        utility, weight = np.array([3.0, 1.0, 2.0]), [1, 1, 2]
        for q, expected in ((0, 1), (0.25, 1), (0.26, 2), (0.75, 2), (0.76, 3), (1, 3)):
            assert aggregate.quantile(utility, q, weight) == expected
        assert aggregate.quantile(np.arange(10.0), 0.3) == 2  # ten times .1 is rounded

    @settings(max_examples=40, deadline=None)
    @given(seed=seeds)
    def test_whole_weights_are_repetitions(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        utility, count = rng.normal(size=(5, 3)), rng.integers(0, 4, 5)
        count[0] += 1
        repeated = np.repeat(utility, count, axis=0)
        np.testing.assert_allclose(aggregate.mean(utility, count), repeated.mean(0), rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(aggregate.maximin(utility, count), repeated.min(0))
        for q in (0.0, 0.3, 0.5, 1.0):
            expected = np.quantile(repeated, q, axis=0, method="inverted_cdf")
            np.testing.assert_array_equal(aggregate.quantile(utility, q, count), expected)
        np.testing.assert_array_equal(aggregate.quantile(utility, 0, count), aggregate.maximin(utility, count))

    def test_refuses_populations_of_nobody(self) -> None:
        for weight in ([0, 0], [-1, 2], [1]):
            with pytest.raises(ValueError, match="weight must be 2 numbers"):
                aggregate.mean(TWO_GROUPS, weight)
        with pytest.raises(ValueError, match="NaN"):
            aggregate.maximin([[math.nan, 1.0]])
        with pytest.raises(ValueError, match="q must"):
            aggregate.quantile(TWO_GROUPS, 1.5)


class TestLotteries:
    def test_cycles_are_mixed_and_winners_are_not(self) -> None:
        np.testing.assert_allclose(aggregate.maximal_lottery(CYCLE), [1 / 3] * 3, atol=1e-9)
        wins = np.array([[0.5, 0.6, 0.51], [0.4, 0.5, 0.9], [0.49, 0.1, 0.5]])
        np.testing.assert_allclose(aggregate.maximal_lottery(wins), [1, 0, 0], atol=1e-12)
        # A clone of the winner does not take anything from the others: Condorcet losers stay at 0.
        np.testing.assert_allclose(aggregate.maximal_lottery(np.zeros((1, 1))), [1])

    def test_unequal_cycle_by_hand(self) -> None:
        """Margins x, y, z around a cycle give probabilities proportional to the margin of the pair left out."""
        margin = np.array([[0.0, 0.2, -0.6], [-0.2, 0.0, 0.4], [0.6, -0.4, 0.0]])
        np.testing.assert_allclose(aggregate.maximal_lottery(0.5 + margin / 2), [0.4 / 1.2, 0.6 / 1.2, 0.2 / 1.2])

    @settings(max_examples=25, deadline=None)
    @given(seed=seeds, items=st.integers(2, 8))
    def test_no_lottery_beats_it(self, seed: int, items: int) -> None:
        rng = np.random.default_rng(seed)
        wins = np.triu(rng.random((items, items)), 1)
        wins = wins + np.tril(1 - wins.T, -1) + 0.5 * np.eye(items)
        p = aggregate.maximal_lottery(wins)
        assert p.sum() == pytest.approx(1)
        assert (p >= 0).all()
        assert ((wins - wins.T).T @ p > -1e-8).all()

    def test_win_matrix_is_the_average_of_people(self) -> None:
        wins = aggregate.win_matrix(TWO_GROUPS, [3, 1])
        np.testing.assert_allclose(wins + wins.T, 1, rtol=1e-14)
        e = 1 / (1 + math.exp(-1))
        assert wins[0, 1] == pytest.approx(0.75 * e + 0.25 * (1 - e))

    def test_three_orderly_people_make_a_cycle(self) -> None:
        people = 10 * np.array([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [2.0, 1.0, 3.0]])
        wins = aggregate.win_matrix(people)
        assert wins[0, 1] > 0.6 and wins[1, 2] > 0.6 and wins[2, 0] > 0.6
        np.testing.assert_allclose(aggregate.maximal_lottery(wins), [1 / 3] * 3, atol=1e-8)

    def test_mixing_helps_the_worst_off(self) -> None:
        np.testing.assert_allclose(aggregate.maximin_lottery([[1.0, 0.0], [0.0, 1.0]]), [0.5, 0.5], atol=1e-9)
        np.testing.assert_allclose(aggregate.maximin_lottery(TWO_GROUPS), [0, 0, 1], atol=1e-9)
        np.testing.assert_allclose(aggregate.maximin_lottery(TWO_GROUPS, [1, 0]), [1, 0, 0], atol=1e-9)
        rng = np.random.default_rng(0)
        utility = rng.normal(size=(6, 5))
        worst = (utility @ aggregate.maximin_lottery(utility)).min()
        assert worst >= aggregate.maximin(utility).max() - 1e-9
        assert (worst >= (rng.dirichlet(np.ones(5), 2000) @ utility.T).min(1) - 1e-9).all()

    def test_refuses_tables_with_gaps(self) -> None:
        with pytest.raises(ValueError, match=r"wins\[0, 1\] is nan"):
            aggregate.maximal_lottery([[0.5, math.nan], [0.5, 0.5]])
        with pytest.raises(ValueError, match=r"\[K, K\]"):
            aggregate.maximal_lottery(np.ones((2, 3)))
        with pytest.raises(ValueError, match="people by items"):
            aggregate.win_matrix(np.ones(3))


class TestMinNorm:
    @settings(max_examples=40, deadline=None)
    @given(seed=seeds)
    def test_two_tasks_in_closed_form(self, seed: int) -> None:
        g = np.random.default_rng(seed).normal(size=(2, 3))
        gram = g @ g.T
        first = np.clip((gram[1, 1] - gram[0, 1]) / (gram[0, 0] + gram[1, 1] - 2 * gram[0, 1]), 0, 1)
        np.testing.assert_allclose(min_norm(gram), [first, 1 - first], atol=1e-9)

    @settings(max_examples=40, deadline=None)
    @given(seed=seeds, tasks=st.integers(1, 9), size=st.integers(1, 12))
    def test_common_descent(self, seed: int, tasks: int, size: int) -> None:
        """Every task gains at least |g|^2 along g, also when tasks outnumber directions (a singular table)."""
        rng = np.random.default_rng(seed)
        g = rng.normal(size=(tasks, size)) + rng.normal(size=size)
        gram = g @ g.T
        w = min_norm(gram)
        assert w.sum() == pytest.approx(1)
        assert (w >= 0).all()
        assert (gram @ w >= w @ gram @ w - 1e-9 * np.trace(gram)).all()
        for other in rng.dirichlet(np.ones(tasks), 20):
            assert w @ gram @ w <= other @ gram @ other + 1e-9 * np.trace(gram)

    def test_by_hand(self) -> None:
        np.testing.assert_allclose(min_norm(np.diag([1.0, 2.0, 4.0])), np.array([4, 2, 1]) / 7, rtol=1e-12)
        np.testing.assert_allclose(min_norm([[1.0, 2.0], [2.0, 9.0]]), [1, 0], atol=1e-12)
        np.testing.assert_array_equal(min_norm(np.zeros((2, 2))), [0.5, 0.5])
        tiny = 1e-200 * np.diag([1.0, 3.0])
        np.testing.assert_allclose(min_norm(tiny), [0.75, 0.25], rtol=1e-12)

    def test_refuses_what_is_no_gram_matrix(self) -> None:
        with pytest.raises(ValueError, match="square"):
            min_norm(np.ones((2, 3)))
        with pytest.raises(ValueError, match="symmetric"):
            min_norm([[1.0, 0.5], [0.0, 1.0]])
