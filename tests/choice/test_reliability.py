"""Reliability of labels: posteriors by hand, EM on planted annotators, rates by profile, peers, ensembles."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.choice import Binary, Davidson, Flip, Ordinal, one_hot, reliability, smoothed_target, strength
from preflearn.choice.stable import log_sigmoid, sigmoid

probabilities = st.floats(0.001, 0.999)


class TestInduced:
    @settings(max_examples=40, deadline=None)
    @given(s=st.floats(-40, 40))
    def test_logistic_loss_is_bradley_terry(self, s: float) -> None:
        own, other = -log_sigmoid(np.array(s)), -log_sigmoid(np.array(-s))
        np.testing.assert_allclose(
            reliability.induced_log_prob(own, other), Binary().log_probs(s)[1], rtol=1e-12, atol=1e-15
        )

    def test_squared_loss_needs_a_temperature(self) -> None:
        # (h - 1/(2 tau))^2 with tau = .1 at h = +-2: losses 9 and 49.
        assert reliability.induced_log_prob(9.0, 49.0) == pytest.approx(-math.exp(-40), rel=1e-9)
        assert reliability.induced_log_prob(9.0, 49.0, temperature=20.0) == pytest.approx(-math.log1p(math.exp(-2)))


class TestPosterior:
    def test_by_hand(self) -> None:
        """DPO with beta = .1 and a log-ratio difference of 2, reliability .9."""
        p = 1 / (1 + math.exp(-0.2))
        assert p == pytest.approx(0.549834, abs=1e-6)
        w = reliability.posterior_correct(math.log(p), math.log(1 - p), 0.9)
        assert w == pytest.approx(0.916615, abs=1e-6)
        assert -(w * math.log(p) + (1 - w) * math.log(1 - p)) == pytest.approx(0.614816, abs=1e-6)

    @settings(max_examples=60, deadline=None)
    @given(p=probabilities, eta=st.floats(0, 1))
    def test_is_bayes(self, p: float, eta: float) -> None:
        w = float(reliability.posterior_correct(math.log(p), math.log1p(-p), eta))
        assert w == pytest.approx(eta * p / (eta * p + (1 - eta) * (1 - p)), rel=1e-12, abs=1e-300)
        other = float(reliability.posterior_correct(math.log1p(-p), math.log(p), 1 - eta))
        assert w + other == pytest.approx(1, abs=1e-12)

    def test_extremes_are_numbers(self) -> None:
        w = reliability.posterior_correct(np.array([-1e4, 0.0, -1e4, -np.inf]), np.array([0.0, -1e4, 0.0, 0.0]), 0.9)
        np.testing.assert_array_equal(w, [0, 1, 0, 0])
        # A sure annotator against a sure model: nothing is left but the annotator.
        assert reliability.posterior_correct(-np.inf, 0.0, 1.0) == 1

    def test_ties_say_nothing(self) -> None:
        link, d = Davidson(), np.linspace(-3, 3, 7)
        tie = link.log_probs(d, [0.2])[:, 1]
        np.testing.assert_allclose(reliability.posterior_correct(tie, tie, 0.8), 0.8, rtol=1e-14)

    def test_is_the_derivative_of_the_marginal_likelihood(self) -> None:
        """Fisher's identity: d/d(eta) log p = w/eta - (1-w)/(1-eta), with the flip rate 1 - eta."""
        d, eta = np.linspace(-4, 4, 9), 0.7
        clean = Binary().log_probs(d)
        w = reliability.posterior_correct(clean[:, 1], clean[:, 0], eta)
        score = Flip(Binary()).derivatives(d, [1 - eta]).score[:, 1, 1]
        np.testing.assert_allclose(w / eta - (1 - w) / (1 - eta), -score, rtol=1e-10)


class TestUpdate:
    w, who = np.array([0.9, 0.6, 0.95, 0.3]), np.array([0, 0, 0, 0])

    def test_by_hand(self) -> None:
        plain = reliability.update_reliability(self.w, self.who, None, 1, prior=(0, 0))
        assert plain[0] == pytest.approx(0.6875)
        assert reliability.update_reliability(self.w, self.who, None, 1)[0] == pytest.approx((2.75 + 9) / 14)
        moved = reliability.moving_reliability(np.array([0.9, 0.4]), self.w, self.who)
        np.testing.assert_allclose(moved, [0.87875, 0.4], rtol=1e-14)

    def test_counts_are_repetitions_and_the_range_is_kept(self) -> None:
        who, count = np.array([0, 1, 0, 1]), np.array([1, 2, 3, 4])
        rows = np.repeat(np.arange(4), count)
        counted = reliability.update_reliability(self.w, who, count, 2)
        np.testing.assert_allclose(counted, reliability.update_reliability(self.w[rows], who[rows], None, 2))
        before = np.array([0.5, 0.5])
        np.testing.assert_allclose(
            reliability.moving_reliability(before, self.w, who, count),
            reliability.moving_reliability(before, self.w[rows], who[rows]),
        )
        ends = reliability.update_reliability(np.array([0.0, 1.0]), np.array([0, 1]), None, 2, (0, 0))
        np.testing.assert_array_equal(ends, [0.01, 0.99])

    def test_no_labels(self) -> None:
        assert reliability.update_reliability(self.w, self.who, None, 2)[1] == pytest.approx(0.9)
        with pytest.raises(ValueError, match=r"1 annotator\(s\) have no labels"):
            reliability.update_reliability(self.w, self.who, None, 2, prior=(0, 0))


def planted(seed: int, quality: np.ndarray, n: int = 6000, scale: float = 2.0):
    """Comparisons of 30 items by annotators who record the wrong way round at rates of their own."""
    rng = np.random.default_rng(seed)
    utility = rng.normal(0, scale, 30)
    i, j = rng.integers(0, 30, (2, n))
    j = np.where(i == j, (j + 1) % 30, j)
    who = rng.integers(0, quality.size, n)
    meant = rng.random(n) < sigmoid(utility[i] - utility[j])
    return utility, i, j, who, np.where(rng.random(n) < quality[who], meant, ~meant)


def em(i: np.ndarray, j: np.ndarray, who: np.ndarray, won: np.ndarray, annotators: int):
    """Crowd-BT by EM with Newton steps for the strengths and a weak ridge: strengths, reliabilities, objective."""
    items = 30
    theta, eta, path = np.zeros(items), np.full(annotators, 0.9), []
    sign = np.where(won, 1.0, -1.0)
    for step in range(60):
        d = theta[i] - theta[j]
        recorded, swapped = log_sigmoid(sign * d), log_sigmoid(-sign * d)
        likelihood = Flip(Binary()).log_prob(one_hot(won.astype(int), 2), d, (1 - eta[who])[:, None]).sum()
        path.append(likelihood + (9 * np.log(eta) + np.log(1 - eta)).sum() - 0.05 * (theta**2).sum())
        w = reliability.posterior_correct(recorded, swapped, eta[who])
        if step > 2:
            eta = reliability.update_reliability(w, who, None, annotators)
        target = np.stack((np.where(won, 1 - w, w), np.where(won, w, 1 - w)), -1)
        for _ in range(3):
            at = Binary().weighted(target, theta[i] - theta[j])
            gradient = np.bincount(i, at.score[:, 0], items) - np.bincount(j, at.score[:, 0], items) - 0.1 * theta
            hessian, bend = 0.1 * np.eye(items), -at.curvature[:, 0, 0]
            for a, b, s in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                np.add.at(hessian, (a, b), s * bend)
            theta = theta + np.linalg.solve(hessian, gradient)
    return theta, eta, path


class TestPlantedAnnotators:
    quality = np.array([0.95, 0.8, 0.65, 0.5, 0.3])

    def test_em_finds_them_and_ranks_better_for_it(self) -> None:
        utility, i, j, who, won = planted(0, self.quality)
        theta, eta, path = em(i, j, who, won, 5)
        assert (np.diff(path[4:]) > -1e-6).all()
        np.testing.assert_allclose(eta, self.quality, atol=0.06)
        plain, _, _ = em(i, j, np.zeros_like(who), won, 1)
        pair = np.triu_indices(30, 1)

        def right(estimate: np.ndarray) -> float:
            gap = np.subtract.outer(estimate, estimate)[pair] * np.subtract.outer(utility, utility)[pair]
            return float((gap > 0).mean())

        assert right(theta) > 0.95
        assert right(theta) > right(plain) + 0.02

    def test_flip_with_one_rate_per_row_has_derivatives_in_every_rate(self) -> None:
        """The marginal likelihood of all annotators at once: parameters [n, 1], summed by annotator."""
        utility, i, j, who, won = planted(1, self.quality, n=400)
        target, d, h = one_hot(won.astype(int), 2), utility[i] - utility[j], 1e-5
        rates = 1 - self.quality

        def at(x: np.ndarray):
            return Flip(Binary()).weighted(target, d, x[who][:, None])

        exact = at(rates)
        for u in range(5):
            step = h * np.eye(5)[u]
            up, down = at(rates + step), at(rates - step)
            own = who == u
            slope = (up.log_prob - down.log_prob)[own] / (2 * h)
            np.testing.assert_allclose(exact.score[own, 1], slope, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(
                exact.curvature[own, 1], (up.score - down.score)[own] / (2 * h), rtol=1e-5, atol=1e-6
            )
            assert (up.log_prob - down.log_prob)[~own].max(initial=0) == 0
        big = np.tile(np.arange(400), 50)  # more rows than one block
        blocks = Flip(Binary()).weighted(target[big], d[big], rates[who][big][:, None])
        np.testing.assert_allclose(blocks.curvature, exact.curvature[big], rtol=1e-13)

    def test_ordinal_with_cut_points_of_each_row_has_derivatives_in_all(self) -> None:
        rng = np.random.default_rng(2)
        link, n, h = Ordinal(2, ties=True), 40_000, 1e-5
        cuts = np.sort(rng.uniform(0.2, 3, (7, 2)), axis=1)
        who, d = rng.integers(0, 7, n), rng.normal(0, 2, n)
        target = one_hot(link.sample(d, cuts[who], rng), 5)
        exact = link.weighted(target, d, cuts[who])
        for u in (0, 6):
            alone = link.weighted(target[who == u], d[who == u], cuts[u])
            for whole, part in zip(exact, alone):
                np.testing.assert_allclose(whole[who == u], part, rtol=1e-13)
        for p in range(2):
            step = np.zeros((7, 2))
            step[:, p] = h
            up, down = (link.weighted(target, d, (cuts + s * step)[who]) for s in (1, -1))
            slope, bend = (up.log_prob - down.log_prob) / (2 * h), (up.score - down.score) / (2 * h)
            np.testing.assert_allclose(exact.score[:, 1 + p], slope, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(exact.curvature[:, 1 + p], bend, rtol=1e-6, atol=1e-6)
        # At the truth the score of each annotator's cut-points is 0 up to its own standard error.
        for u in range(7):
            own = exact.score[who == u, 1:]
            assert (abs(own.sum(0)) < 4 * np.sqrt((own**2).sum(0))).all()


class TestProfile:
    def test_parabola_by_hand(self) -> None:
        rates = np.linspace(0, 0.5, 11)
        found = reliability.profile_flip_rate(rates, -800 * (rates - 0.22) ** 2)
        assert found.rate == pytest.approx(0.22, abs=1e-12)
        half = math.sqrt(3.841458820694124 / 1600)
        assert found.low == pytest.approx(0.22 - half, abs=1e-12)
        assert found.high == pytest.approx(0.22 + half, abs=1e-12)
        assert found.drop.min() == pytest.approx(800 * 0.02**2)

    def test_flat_is_not_identified_and_an_end_is_an_end(self) -> None:
        rates = np.linspace(0, 0.4, 9)
        flat = reliability.profile_flip_rate(rates, np.full(9, -3.0))
        assert (flat.low, flat.high) == (0.0, 0.4)
        falling = reliability.profile_flip_rate(rates, -100 * rates)
        assert falling.rate == falling.low == 0
        assert 0 < falling.high < 0.05

    def test_covers_a_planted_rate_where_em_does_not_move(self) -> None:
        rng = np.random.default_rng(3)
        d, truth = rng.normal(0, 4, 4000), 0.3
        won = (rng.random(4000) < sigmoid(d)) ^ (rng.random(4000) < truth)
        target, rates = one_hot(won.astype(int), 2), np.linspace(0.02, 0.48, 24)
        profile = reliability.profile_flip_rate(rates, [Flip(Binary()).log_prob(target, d, [r]).sum() for r in rates])
        assert profile.low < truth < profile.high
        assert 0.02 < profile.high - profile.low < 0.08

    def test_refuses_what_is_no_profile(self) -> None:
        with pytest.raises(ValueError, match="increase"):
            reliability.profile_flip_rate([0.2, 0.1, 0.3], [0, 0, 0])
        with pytest.raises(ValueError, match=r"at rate 0.2 it is not"):
            reliability.profile_flip_rate([0.1, 0.2, 0.3], [0, math.nan, 0])


class TestPeers:
    def test_keeps_the_smallest_losses(self) -> None:
        loss = np.array([0.3, 5.0, 0.1, np.nan, 0.3])
        np.testing.assert_array_equal(reliability.peer_keep(loss, 0.6), [True, False, True, False, True])
        np.testing.assert_array_equal(reliability.peer_keep(loss, 0.4), [True, False, True, False, False])
        assert reliability.peer_keep(loss, 1.0).all()
        assert reliability.peer_keep(loss, 0.01).sum() == 1
        assert reliability.peer_keep(np.arange(10.0), 0.7).sum() == 7
        with pytest.raises(ValueError, match="share"):
            reliability.peer_keep(loss, 0.0)

    def test_schedule(self) -> None:
        shares = [reliability.keep_share(t, 0.4, 10) for t in (0, 5, 10, 50)]
        np.testing.assert_allclose(shares, [1, 0.8, 0.6, 0.6])

    def test_what_is_kept_is_cleaner(self) -> None:
        rng = np.random.default_rng(4)
        d = rng.normal(0, 2, 2000)
        wrong = rng.random(2000) < 0.4
        loss = -log_sigmoid(np.where(wrong, -1, 1) * abs(d))
        kept = reliability.peer_keep(loss, 0.6)
        assert kept.sum() == 1200
        assert wrong[kept].mean() < 0.05


class TestStrength:
    differences = np.array([[1.0, -2.0, 0.2], [3.0, -4.0, -0.2]])
    a, b, tie = one_hot(np.array(2), 3), one_hot(np.array(0), 3), one_hot(np.array(1), 3)

    def test_by_hand(self) -> None:
        found = strength.ensemble_strength(self.differences)
        np.testing.assert_allclose(found.mean, [2, -3, 0], atol=1e-15)
        np.testing.assert_allclose(found.sd, [1, 1, 0.2], rtol=1e-14)

    def test_operators(self) -> None:
        mean = np.array([2.0, -3.0, 0.1, 5.0])
        target = np.stack((self.a, self.a, self.b, self.tie))
        np.testing.assert_allclose(strength.agreement(target, mean), [2, -3, -0.1, 0])
        np.testing.assert_array_equal(strength.flip_below(target, mean), np.stack((self.a, self.b, self.a, self.tie)))
        np.testing.assert_array_equal(
            strength.flip_below(target, mean, -1.0), np.stack((self.a, self.b, self.b, self.tie))
        )
        np.testing.assert_allclose(
            strength.soften_near_zero(target, mean, 0.5, 0.2), np.stack((self.a, self.a, [0.8, 0, 0.2], self.tie))
        )
        # Graded and soft labels have a direction too.
        assert strength.agreement(np.array([[0.1, 0.0, 0.2, 0.7]]), np.array([2.0]))[0] == pytest.approx(1.6)

    def test_smoothing_by_row(self) -> None:
        eps = np.array([0.0, 0.1, 1.0])
        target = np.random.default_rng(5).dirichlet(np.ones(4), 3)
        for row, rate, found in zip(target, eps, smoothed_target(target, eps)):
            np.testing.assert_array_equal(found, smoothed_target(row, rate))

    def test_flips_are_found_by_an_ensemble_that_did_not_see_them(self) -> None:
        """Ten noisy models, a fifth of the labels flipped: most that are contradicted are wrong ones."""
        rng = np.random.default_rng(6)
        d = rng.normal(0, 3, 4000)
        wrong = rng.random(4000) < 0.2
        target = one_hot(((d > 0) ^ wrong).astype(int), 2)
        mean = strength.ensemble_strength(d + rng.normal(0, 1.5, (10, 4000))).mean
        contradicted = strength.agreement(target, mean) < 0
        assert wrong[contradicted].mean() > 0.8
        assert contradicted[wrong].mean() > 0.9
        repaired = strength.flip_below(target, mean)
        assert (repaired.argmax(1) == (d > 0)).mean() > (target.argmax(1) == (d > 0)).mean() + 0.1
