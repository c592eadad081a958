"""Flips, corrected labels, position and covariates: what they promise about expectations and derivatives."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.choice import (
    Binary,
    Davidson,
    Flip,
    Ordinal,
    RaoKupper,
    flipped,
    one_hot,
    smoothed_target,
    unbiased_target,
)
from preflearn.choice.nuisance import linear, position, position_column, through_design


class TestFlip:
    @settings(max_examples=50, deadline=None)
    @given(d=st.floats(-20, 20), rate=st.floats(0, 1))
    def test_is_the_mixture_of_the_two_orders(self, d: float, rate: float) -> None:
        link = Ordinal(levels=2)
        clean = np.exp(link.log_probs(d, [0.3, 1.1]))
        noisy = np.exp(Flip(link).log_probs(d, [0.3, 1.1, rate]))
        np.testing.assert_allclose(noisy, (1 - rate) * clean + rate * clean[::-1], rtol=1e-12)

    def test_rate_zero_is_the_link_and_rate_one_its_mirror(self) -> None:
        d = np.array([-300.0, -3.0, 0.0, 3.0, 300.0])
        clean = Davidson().derivatives(d, [0.2])
        at = Flip(Davidson()).derivatives(d, [0.2, 0.0])
        np.testing.assert_allclose(at.log_prob, clean.log_prob, rtol=1e-13, atol=1e-300)
        np.testing.assert_allclose(at.score[..., :2], clean.score, rtol=1e-12)
        np.testing.assert_allclose(at.curvature[..., :2, :2], clean.curvature, rtol=1e-12)
        mirrored = Flip(Davidson()).log_probs(d, [0.2, 1.0])
        np.testing.assert_allclose(mirrored, clean.log_prob[:, ::-1], rtol=1e-13, atol=1e-300)

    def test_of_log_probabilities_is_the_link_and_swaps_back_what_never_happens(self) -> None:
        d, rate = np.array([-4.0, 0.5, 700.0]), np.array([0.0, 0.3, 1.0])
        clean = Davidson().log_probs(d, [0.2])
        parameters = np.column_stack([np.full(3, 0.2), rate])
        np.testing.assert_allclose(flipped(clean, rate), Flip(Davidson()).log_probs(d, parameters), rtol=1e-14)
        np.testing.assert_array_equal(flipped(np.array([-np.inf, 0.0]), 1.0), [0.0, -np.inf])

    def test_ties_do_not_depend_on_the_rate(self) -> None:
        at = Flip(RaoKupper()).derivatives(np.linspace(-3, 3, 5), [0.4, 0.3])
        assert (at.score[:, 1, 2] == 0).all()
        assert (at.curvature[:, 1, 2] == 0).all()

    def test_bounded_influence_of_a_surprising_label(self) -> None:
        """A confident wrong label has score -1 without flips and next to none with them."""
        assert Binary().derivatives(30.0).score[0, 0] == pytest.approx(-1)
        assert abs(Flip(Binary()).derivatives(30.0, [0.1]).score[0, 0]) < 1e-11

    def test_one_rate_per_annotator(self) -> None:
        rates = np.array([[0.0], [0.25], [0.5]])
        p = np.exp(Flip(Binary()).log_probs(math.log(3.0), rates))[:, 1]
        np.testing.assert_allclose(p, [0.75, 0.625, 0.5], rtol=1e-14)

    def test_outside_the_domain_of_the_link_is_impossible_not_nan(self) -> None:
        link = Flip(RaoKupper())
        assert (link.log_probs(np.array([0.0, 1.0]), [-0.5, 0.1]) == -np.inf).all()
        assert not np.isnan(link.derivatives(np.array([0.0, 1.0]), [-0.5, 0.1]).score).any()


class TestCorrectedTargets:
    def test_by_hand(self) -> None:
        np.testing.assert_allclose(unbiased_target(np.array([0.0, 1.0]), 0.2), [-1 / 3, 4 / 3], rtol=1e-14)
        np.testing.assert_allclose(smoothed_target(np.array([0.0, 1.0]), 0.2), [0.2, 0.8], rtol=1e-14)
        # rDPO: (-(1 - eps) log sigma(h) + eps log sigma(-h)) / (1 - 2 eps) at h = log 3, eps = 1/4.
        loss = -Binary().log_prob(unbiased_target(np.array([0.0, 1.0]), 0.25), math.log(3.0))
        assert loss == pytest.approx((-0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / 0.5, rel=1e-14)

    @settings(max_examples=60, deadline=None)
    @given(d=st.floats(-30, 30), eps=st.floats(0, 0.45), outcome=st.integers(0, 2))
    def test_average_over_flips_is_the_clean_loss(self, d: float, eps: float, outcome: int) -> None:
        link, p = Davidson(), [0.1]
        clean = one_hot(np.array(outcome), 3)
        recorded = (1 - eps, clean), (eps, clean[::-1])
        for method in (link.log_prob, link.score, link.curvature):
            averaged = sum(weight * method(unbiased_target(label, eps), d, p) for weight, label in recorded)
            np.testing.assert_allclose(averaged, method(clean, d, p), rtol=1e-10, atol=1e-10)

    def test_inverts_the_flip_and_keeps_ties_and_mass(self) -> None:
        target = np.random.default_rng(0).dirichlet(np.ones(3), 20)
        np.testing.assert_allclose(smoothed_target(unbiased_target(target, 0.3), 0.3), target, rtol=1e-13)
        np.testing.assert_allclose(unbiased_target(target, 0.3).sum(-1), 1, rtol=1e-13)
        np.testing.assert_allclose(unbiased_target(target, 0.3)[:, 1], target[:, 1], rtol=1e-13)

    def test_refuses_uninformative_rates(self) -> None:
        with pytest.raises(ValueError, match="half of the time"):
            unbiased_target(np.array([0.0, 1.0]), 0.5)
        with pytest.raises(ValueError, match="probability"):
            smoothed_target(np.array([0.0, 1.0]), -0.1)


class TestNuisance:
    def test_position(self) -> None:
        shown = np.array([1.0, -1.0, 0.0, np.nan])
        np.testing.assert_array_equal(position(shown, 0.3), [0.3, -0.3, 0.0, 0.0])
        np.testing.assert_array_equal(position(np.array([1, -1]), np.array([0.1, 0.2])), [0.1, -0.2])

    def test_position_coding_is_checked(self) -> None:
        with pytest.raises(TypeError, match="boolean"):
            position_column(np.array([True, False]))
        with pytest.raises(ValueError, match="b first"):
            position_column(np.array([1.0, 2.0]))

    def test_linear(self) -> None:
        assert linear(np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([0.5, 0.25])).tolist() == [1.0, -0.25]
        with pytest.raises(ValueError, match=r"\[..., p\] and \[p\]"):
            linear(np.ones((2, 3)), np.ones(2))

    @pytest.mark.parametrize("link", [Binary(), Davidson(), Ordinal(levels=2), Flip(Davidson(), 0.1)], ids=repr)
    def test_through_design_matches_central_differences(self, link) -> None:
        rng = np.random.default_rng(2)
        n, q = 30, 3
        design = np.column_stack((rng.choice([-1.0, 0.0, 1.0], n), rng.normal(size=(n, q - 1))))
        beta = rng.normal(size=q)
        point = np.concatenate((beta, link.initial()))
        target = rng.dirichlet(np.ones(len(link.outcomes)), n)

        def at(x: np.ndarray):
            logit = position(design[:, 0], x[0]) + linear(design[:, 1:], x[1:q])
            return through_design(link.weighted(target, logit, x[q:]), design)

        exact, h = at(point), 1e-5
        for i in range(point.size):
            step = np.zeros_like(point)
            step[i] = h
            up, down = at(point + step), at(point - step)
            np.testing.assert_allclose(exact.score[:, i], (up.log_prob - down.log_prob) / (2 * h), rtol=1e-7, atol=1e-8)
            np.testing.assert_allclose(exact.curvature[..., i], (up.score - down.score) / (2 * h), rtol=1e-7, atol=1e-8)
