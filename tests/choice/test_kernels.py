"""Kernels: values by hand, exact antisymmetry, the identities that connect them, safe gradients."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from preflearn.choice import kernels
from preflearn.choice.stable import sigmoid

numbers = st.floats(-1e3, 1e3)
pairs = arrays(np.float64, (2, 3, 4), elements=numbers)
gates = arrays(np.float64, (3, 2), elements=numbers)


class TestByHand:
    def test_skew(self) -> None:
        # (1*5 - 2*4) = -3 and (3*7 - 1*6) = 15.
        a, b = np.array([1.0, 2.0, 3.0, 1.0]), np.array([4.0, 5.0, 6.0, 7.0])
        assert kernels.skew(a, b) == 12
        assert kernels.skew(a, b, np.array([2.0, 0.5])) == -6 + 7.5

    def test_ideal_point(self) -> None:
        a, b, p = np.array([3.0, 4.0]), np.array([0.0, 12.0]), np.zeros(2)
        assert kernels.ideal_point(a, b, p) == 144 - 25
        assert kernels.ideal_point(a, b, p, "unsquared") == 12 - 5
        assert kernels.ideal_point(a, b, np.array([0.0, 2.0]), "cosine") == pytest.approx(0.8 - 1, rel=1e-15)
        assert kernels.ideal_point(a, b, p, "cosine") == 0

    def test_gaussian(self) -> None:
        assert kernels.gaussian(3.0, 5 / math.pi, 1.0, 3 / math.pi) == pytest.approx(math.sqrt(2), rel=1e-15)

    def test_lexicographic(self) -> None:
        bound = np.array([1.0, 0.5, 0.0])
        a = np.array([[2.5, 0.0, 0.0], [0.5, -0.6, 9.0], [1.0, 0.5, -3.0], [0.0, 0.0, 0.0]])
        np.testing.assert_array_equal(kernels.lexicographic(a, np.zeros(3), bound), [2.5, -0.6, -3.0, 0.0])
        # Nothing exceeds its threshold: the last level decides all the same.
        assert kernels.lexicographic(np.array([0.1, 0.2]), np.zeros(2), np.ones(2)) == 0.2

    def test_returns_and_regret(self) -> None:
        rewards = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, np.nan]])
        mask = np.array([[True, True, True], [True, True, False]])
        np.testing.assert_array_equal(kernels.partial_return(rewards, mask), [7, 3])
        np.testing.assert_array_equal(kernels.partial_return(rewards, mask, 0.5), [3, 2])
        np.testing.assert_array_equal(kernels.partial_return(rewards[:1], discount=0.0), [1])
        # One step of reward -1 from value -3 to value -2 is optimal; staying at -3 wastes it.
        assert kernels.regret(-1.0, -3.0, -2.0) == 0
        assert kernels.regret(-1.0, -3.0, -3.0) == 1

    def test_log_ratio(self) -> None:
        assert kernels.log_ratio(np.array(-2.0), np.array(-5.0), 0.1) == pytest.approx(0.3)


@settings(max_examples=60, deadline=None)
@given(items=pairs, gate=gates, point=arrays(np.float64, 4, elements=numbers))
def test_exchange_changes_the_sign_to_the_last_bit(items: np.ndarray, gate: np.ndarray, point: np.ndarray) -> None:
    a, b = items
    kinds = [
        (kernels.difference, (), {}),
        (kernels.skew, (), {}),
        (kernels.skew, (gate,), {}),
        *((kernels.ideal_point, (point, form), {}) for form in ("squared", "unsquared", "cosine")),
        (kernels.lexicographic, (np.abs(point),), {}),
        (kernels.antisymmetrised, (), {}),
    ]
    for kernel, rest, named in kinds:
        np.testing.assert_array_equal(kernel(a, b, *rest, **named), -kernel(b, a, *rest, **named))
        np.testing.assert_array_equal(kernel(a, a, *rest, **named), 0)
    va, vb = np.abs(a), np.abs(b)
    np.testing.assert_array_equal(kernels.gaussian(a, va, b, vb), -kernels.gaussian(b, vb, a, va))


class TestIdentities:
    def test_one_plane_with_a_constant_is_the_difference(self) -> None:
        r, s = np.array([1.7, -0.3]), np.array([0.4, 0.4])
        one = np.ones(2)
        np.testing.assert_array_equal(
            kernels.skew(np.stack((r, one), -1), np.stack((s, one), -1)), kernels.difference(r, s)
        )

    def test_any_skew_table_of_logits_is_a_skew_kernel(self) -> None:
        """Rock, paper, scissors and more: item i is row i of (S, 1-hot) in K planes."""
        rng = np.random.default_rng(0)
        table = rng.normal(size=(5, 5))
        table = np.triu(table, 1) - np.triu(table, 1).T
        vectors = np.stack((table / 2, np.eye(5)), axis=-1).reshape(5, 10)
        np.testing.assert_allclose(kernels.skew(vectors[:, None], vectors[None]), table, rtol=1e-14)

    def test_squared_distance_is_linear_in_the_point(self) -> None:
        rng = np.random.default_rng(1)
        a, b, p = rng.normal(size=(3, 20, 6))
        linear = 2 * (p * (a - b)).sum(-1) + (b * b).sum(-1) - (a * a).sum(-1)
        np.testing.assert_allclose(kernels.ideal_point(a, b, p), linear, rtol=1e-10, atol=1e-12)

    def test_gaussian_approximates_the_expectation(self) -> None:
        nodes, weights = np.polynomial.hermite_e.hermegauss(80)
        worst = 0.0
        for mean in np.linspace(-6, 6, 25):
            for variance in (0.0, 0.1, 1.0, 4.0, 16.0):
                exact = weights @ sigmoid(mean + math.sqrt(variance) * nodes) / weights.sum()
                worst = max(worst, abs(sigmoid(kernels.gaussian(mean, variance / 2, 0.0, variance / 2)) - exact))
        assert 0.005 < worst < 0.02

    def test_a_threshold_of_infinity_skips_a_level(self) -> None:
        a, b = np.random.default_rng(2).normal(size=(2, 30, 3))
        skipped = kernels.lexicographic(a, b, [np.inf, 0.4, 0.0])
        np.testing.assert_array_equal(skipped, kernels.lexicographic(a[:, 1:], b[:, 1:], [0.4, 0.0]))

    def test_regret_is_blind_to_potentials_and_partial_return_is_not(self) -> None:
        """Shaping r + phi(s') - phi(s) changes V by -phi: regret stays, partial return does not."""
        rewards = np.array([1.0, -2.0, 0.5])
        phi = np.array([0.3, 1.1, -0.7, 2.0])
        plain = kernels.regret(kernels.partial_return(rewards), 4.0, 3.0)
        shaped = kernels.partial_return(rewards + np.diff(phi))
        assert kernels.regret(shaped, 4.0 - phi[0], 3.0 - phi[-1]) == pytest.approx(plain, rel=1e-14)
        assert shaped != pytest.approx(kernels.partial_return(rewards))


def test_wrong_shapes_say_what_is_expected() -> None:
    with pytest.raises(ValueError, match="two coordinates"):
        kernels.skew(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="one weight per plane"):
        kernels.skew(np.ones(4), np.ones(4), np.ones(4))
    with pytest.raises(ValueError, match="squared, unsquared or cosine"):
        kernels.ideal_point(np.ones(2), np.ones(2), np.ones(2), "manhattan")
    with pytest.raises(ValueError, match=r"\[..., L\]"):
        kernels.lexicographic(np.ones(3), np.ones(3), np.ones(2))
