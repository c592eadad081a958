"""Ratings: densities by hand, means of several people, cut-points, classes, thumbs; recovery of planted scales."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from preflearn.choice import Binary, ClassLabel, Desirable, Flip, Ordinal, OrdinalRating, one_hot
from preflearn.choice.rating import Gaussian, which_grade_is_higher


class TestGaussian:
    link = Gaussian()

    def test_by_hand(self) -> None:
        # Mean 1 + 2 * 3 = 7, sd 2, value 10: z = 1.5.
        at = self.link.derivatives(10.0, 3.0, [1.0, 2.0, math.log(2)])
        assert at.log_prob == pytest.approx(-0.5 * 1.5**2 - math.log(2) - 0.5 * math.log(2 * math.pi), rel=1e-14)
        np.testing.assert_allclose(at.score, [1.5, 0.75, 2.25, 1.25], rtol=1e-14)
        np.testing.assert_allclose(np.diag(at.curvature), [-1, -0.25, -2.25, -4.5], rtol=1e-14)
        assert self.link.mean(3.0, [1.0, 2.0, 0.0]) == 7

    @pytest.mark.parametrize("spread", [None, 0.7, math.nan])
    @pytest.mark.parametrize("count", [None, 5.0])
    def test_derivatives_match_central_differences(self, count: float | None, spread: float | None) -> None:
        rng = np.random.default_rng(0)
        n, h = 20, 1e-5
        value, point = rng.normal(size=n), np.column_stack((rng.normal(size=(n, 2)), rng.normal(1, 0.3, (n, 2))))
        rows = {
            "count": None if count is None else np.full(n, count),
            "spread": None if spread is None else np.full(n, spread),
        }

        def at(x: np.ndarray):
            return self.link.derivatives(value, x[:, 0], x[:, 1:], **rows)

        exact = at(point)
        np.testing.assert_array_equal(exact.score, self.link.score(value, point[:, 0], point[:, 1:], **rows))
        np.testing.assert_array_equal(exact.curvature, self.link.curvature(value, point[:, 0], point[:, 1:], **rows))
        for i in range(4):
            step = h * np.eye(4)[i]
            up, down = at(point + step), at(point - step)
            slope, bend = (up.log_prob - down.log_prob) / (2 * h), (up.score - down.score) / (2 * h)
            np.testing.assert_allclose(exact.score[:, i], slope, rtol=1e-7, atol=1e-7)
            np.testing.assert_allclose(exact.curvature[..., i], bend, rtol=1e-7, atol=1e-7)

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 10**6), people=st.integers(1, 8))
    def test_a_mean_with_its_spread_is_the_people_it_stands_for(self, seed: int, people: int) -> None:
        rng = np.random.default_rng(seed)
        values, parameters = rng.normal(0, 2, people), rng.normal(0, 0.5, 3)
        alone = self.link.derivatives(values, 0.4, parameters)
        pooled = self.link.derivatives(values.mean(), 0.4, parameters, count=people, spread=values.std())
        for part, whole in zip(alone, pooled):
            np.testing.assert_allclose(whole, part.sum(0), rtol=1e-10, atol=1e-10)
        same = self.link.log_prob(1.3, 0.4, parameters, count=people)
        assert same == pytest.approx(people * float(self.link.log_prob(1.3, 0.4, parameters)), rel=1e-12)

    def test_a_mean_of_unknown_spread_is_one_normal_value(self) -> None:
        log_sd = math.log(2) - 0.5 * math.log(4)
        expected = self.link.log_prob(1.0, 0.3, [0.0, 1.0, log_sd])
        found = self.link.log_prob(1.0, 0.3, [0.0, 1.0, math.log(2)], count=4.0, spread=math.nan)
        assert found == pytest.approx(float(expected), rel=1e-14)

    def test_least_squares_of_each_annotator_is_the_maximum(self) -> None:
        """The classical estimate, one scale per annotator, has score 0 and recovers the planted scales."""
        rng = np.random.default_rng(1)
        n, people = 3000, 3
        truth = np.array([[0.0, 1.0, -1.0], [2.0, 0.5, -0.5], [-1.0, 2.0, 0.0]])
        who, utility = rng.integers(0, people, n), rng.normal(size=n)
        value = self.link.sample(utility, truth[who], rng)
        found = np.empty((people, 3))
        for u in range(people):
            design = np.column_stack((np.ones((who == u).sum()), utility[who == u]))
            found[u, :2], squares, *_ = np.linalg.lstsq(design, value[who == u])
            found[u, 2] = 0.5 * math.log(squares[0] / len(design))
        at = self.link.derivatives(value, utility, found[who])
        for u in range(people):
            np.testing.assert_allclose(at.score[who == u, 1:].sum(0), 0, atol=1e-9)
            assert (np.linalg.eigvalsh(at.curvature[who == u, 1:, 1:].sum(0)) < 0).all()
        error = np.exp(truth[:, 2]) / math.sqrt(n / people)
        assert (abs(found - truth)[:, :2] < 4 * error[:, None]).all()
        assert (abs(found - truth)[:, 2] < 4 / math.sqrt(2 * n / people)).all()


class TestOrdinalRating:
    def test_by_hand(self) -> None:
        # Odds 2; cuts at odds 1/2 and 4: above 4/5 and 1/3.
        link = OrdinalRating(3)
        assert link.outcomes == ("1", "2", "3")
        assert link.parameters == ("cut_1", "cut_2")
        at = link.derivatives(math.log(2), [-math.log(2), math.log(4)])
        np.testing.assert_allclose(np.exp(at.log_prob), [1 / 5, 7 / 15, 1 / 3], rtol=1e-14)
        np.testing.assert_allclose(at.score[:, 0], [-4 / 5, 1 / 5 - 1 / 3, 2 / 3], rtol=1e-13)
        # The gap of log 8 adds -+ 1/7 to the score of the middle grade by its lower and upper cut.
        np.testing.assert_allclose(at.score[1, 1:], [-1 / 5 - 1 / 7, 1 / 3 + 1 / 7], rtol=1e-13)

    def test_all_grades_are_equally_likely_at_the_start(self) -> None:
        link = OrdinalRating(5)
        np.testing.assert_allclose(np.exp(link.log_probs(0.0, link.initial())), 0.2, rtol=1e-13)

    @settings(max_examples=40, deadline=None)
    @given(d=st.floats(-30, 30), free=st.lists(st.floats(-3, 3), min_size=4, max_size=4))
    def test_is_a_distribution_with_the_moments_of_a_score(self, d: float, free: list[float]) -> None:
        link = OrdinalRating(5)
        cuts = link.constrain(np.array(free))
        assert (np.diff(cuts) > 0).all()
        np.testing.assert_allclose(link.unconstrain(cuts), free, rtol=1e-9, atol=1e-9)
        at = link.derivatives(d, cuts)
        probs = np.exp(at.log_prob)
        assert probs.sum() == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(probs @ at.score, 0, atol=1e-9)
        information = np.einsum("k,ki,kj->ij", probs, at.score, at.score)
        np.testing.assert_allclose(np.einsum("k,kij->ij", probs, at.curvature), -information, rtol=1e-8, atol=1e-9)

    def test_symmetric_cuts_are_the_graded_preference(self) -> None:
        d = np.linspace(-4, 4, 9)
        np.testing.assert_allclose(
            OrdinalRating(5).log_probs(d, [-1.2, -0.4, 0.4, 1.2]), Ordinal(2).log_probs(d, [0.4, 1.2]), rtol=1e-13
        )

    def test_upside_down(self) -> None:
        clean = OrdinalRating(3).log_probs(0.7, [-1.0, 0.2])
        flipped = Flip(OrdinalRating(3)).log_probs(0.7, [-1.0, 0.2, 1.0])
        np.testing.assert_allclose(flipped, clean[::-1], rtol=1e-13)

    def test_recovers_planted_asymmetric_cuts_of_each_annotator(self) -> None:
        """Two readers of one scale, one of them severe; pooled cut-points fit either of them badly."""
        rng = np.random.default_rng(2)
        link, n = OrdinalRating(4), 6000
        truth = np.array([[-2.0, -0.5, 1.5], [0.0, 1.0, 1.8]])
        who, utility = rng.integers(0, 2, n), rng.normal(0, 1.5, n)
        target = one_hot(link.sample(utility, truth[who], rng), 4)

        def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
            cuts = np.asarray(link.constrain(free.reshape(2, 3)))
            at = link.weighted(target, utility, cuts[who])
            by_cut = np.stack([at.score[who == u, 1:].sum(0) for u in range(2)])
            sigma = 1 / (1 + np.exp(-free.reshape(2, 3)[:, 1:]))
            tail = np.cumsum(by_cut[:, ::-1], axis=1)[:, ::-1]
            gradient = np.concatenate((tail[:, :1], tail[:, 1:] * sigma), axis=1)
            return -at.log_prob.sum(), -gradient.ravel()

        fit = minimize(loss, np.zeros(6), jac=True, method="BFGS", options={"gtol": 1e-4})
        found = np.asarray(link.constrain(fit.x.reshape(2, 3)))
        np.testing.assert_allclose(found, truth, atol=0.2)
        pooled = minimize(
            lambda free: -link.weighted(target, utility, link.constrain(free)).log_prob.sum(), np.zeros(3)
        )
        assert pooled.fun - fit.fun > 300

    def test_refuses_cuts_out_of_order(self) -> None:
        with pytest.raises(ValueError, match=r"strictly increasing .* cut_2; cut_2 is not"):
            OrdinalRating(3).check([1.0, 0.5])
        OrdinalRating(3).check([-2.0, -1.0])
        assert (OrdinalRating(3).log_probs(0.0, [1.0, 0.5]) == -np.inf).all()
        with pytest.raises(ValueError, match="at least 2"):
            OrdinalRating(1)
        with pytest.raises(ValueError, match="all 3 grades"):
            OrdinalRating(3, ("bad", "good"))


def test_a_thumb_is_bradley_terry_against_the_reference_point() -> None:
    u = np.linspace(-5, 5, 11)
    assert Desirable().outcomes == ("undesirable", "desirable")
    at, plain = Desirable().derivatives(u, [0.7]), Binary().derivatives(u - 0.7)
    np.testing.assert_allclose(at.log_prob, plain.log_prob, rtol=1e-14)
    np.testing.assert_allclose(at.score[..., 0], plain.score[..., 0], rtol=1e-13)
    np.testing.assert_allclose(at.score[..., 1], -plain.score[..., 0], rtol=1e-13)
    np.testing.assert_allclose(at.curvature[..., 0, 0], plain.curvature[..., 0, 0], rtol=1e-13)


class TestClassLabel:
    link = ClassLabel(("no", "perhaps", "yes"))

    def test_by_hand(self) -> None:
        utility = np.log([1.0, 2.0, 5.0])
        np.testing.assert_allclose(np.exp(self.link.log_probs(utility)), [1 / 8, 1 / 4, 5 / 8], rtol=1e-14)
        at = self.link.derivatives(np.array([0.0, 1.0, 0.0]), utility)
        np.testing.assert_allclose(at.score, [-1 / 8, 3 / 4, -5 / 8], rtol=1e-14)
        np.testing.assert_allclose(
            at.curvature,
            -np.array([[7 / 64, -1 / 32, -5 / 64], [-1 / 32, 3 / 16, -5 / 32], [-5 / 64, -5 / 32, 15 / 64]]),
        )
        assert self.link.log_prob(np.array([0.0, 1.0, 0.0]), utility) == pytest.approx(math.log(1 / 4))

    def test_two_classes_are_bradley_terry(self) -> None:
        d = np.linspace(-6, 6, 13)
        two = ClassLabel(("b", "a"))
        np.testing.assert_allclose(
            two.log_probs(np.stack((np.zeros(13), d), -1)), Binary().log_probs(d), rtol=1e-13, atol=1e-15
        )

    def test_samples_by_its_probabilities(self) -> None:
        n, utility = 40_000, np.log([1.0, 2.0, 5.0])
        counts = np.bincount(self.link.sample(np.broadcast_to(utility, (n, 3)), np.random.default_rng(3)), minlength=3)
        p = np.array([1, 2, 5]) / 8
        assert (abs(counts - n * p) < 4 * np.sqrt(n * p * (1 - p))).all()

    def test_refuses_other_numbers_of_channels(self) -> None:
        with pytest.raises(ValueError, match="one per class"):
            self.link.log_probs(np.zeros(2))
        with pytest.raises(ValueError, match="one column per outcome"):
            self.link.log_prob(np.zeros(2), np.zeros(3))
        with pytest.raises(ValueError, match="at least two"):
            ClassLabel(("only",))


class TestWhichGradeIsHigher:
    def test_is_the_chance_that_one_of_two_logistic_noises_wins(self) -> None:
        from scipy.integrate import quad
        from scipy.special import expit

        for d in [0.0, 1e-9, 0.1, 0.2499, 0.2501, 2.0, 12.0]:
            # P(u_a + e_a > u_b + e_b) = E F(e + d), substituted q = F(e): the integral of F(F^-1(q) + d) over (0, 1).
            expected = quad(lambda q, d=d: float(expit(np.log(q / (1 - q)) + d)), 0, 1, epsabs=1e-13, limit=400)[0]
            b, a = np.exp(which_grade_is_higher(d))
            assert a == pytest.approx(expected, abs=1e-10)
            assert a + b == pytest.approx(1, abs=1e-14)

    def test_mirrors_and_keeps_its_tail(self) -> None:
        d = np.array([0.0, 0.1, 0.25, 3.0, 900.0])
        np.testing.assert_array_equal(which_grade_is_higher(d)[:, ::-1], which_grade_is_higher(-d))
        assert which_grade_is_higher(900.0)[0] == pytest.approx(-900 + np.log(899), rel=1e-14)
        assert abs(np.diff(np.exp(which_grade_is_higher(np.array([0.25 - 1e-12, 0.25 + 1e-12])))[:, 1])[0]) < 1e-12
