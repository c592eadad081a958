"""Mixtures over units: brute force, units of one record, EM's ascent, Hedge, sums by segment."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.choice import mixture, segment_sum
from preflearn.choice.stable import log_sigmoid


def problem(seed: int, n: int = 12, types: int = 3, units: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        np.log(rng.uniform(0.05, 0.95, (n, types))),
        np.log(rng.dirichlet(np.ones(types), units)),
        rng.integers(0, units, n),
    )


class TestLogMixture:
    def test_by_hand(self) -> None:
        # Unit 0: .5 (.8 * .5) + .5 (.2 * .5) = .25; unit 1: .5 * .4 + .5 * .6 = .5.
        p = np.log([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5]])
        unit, half = np.array([0, 1, 0]), np.log([0.5, 0.5])
        np.testing.assert_allclose(mixture.log_mixture(p, half, unit, 2), np.log([0.25, 0.5]), rtol=1e-14)
        posterior = mixture.responsibilities(p, half, unit, 2)
        np.testing.assert_allclose(posterior, [[0.8, 0.2], [0.4, 0.6]], rtol=1e-14)

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 10**6))
    def test_is_the_sum_over_types_of_the_product_over_records(self, seed: int) -> None:
        log_prob, log_weight, unit = problem(seed)
        for weight in (log_weight, log_weight[0]):
            w = np.broadcast_to(np.exp(weight), (4, 3))
            brute = [math.log(sum(w[u, z] * np.exp(log_prob[unit == u, z].sum()) for z in range(3))) for u in range(4)]
            np.testing.assert_allclose(mixture.log_mixture(log_prob, weight, unit, 4), brute, rtol=1e-12, atol=1e-12)

    def test_ten_thousand_records_of_one_unit_do_not_underflow(self) -> None:
        log_prob = np.full((10_000, 2), math.log(0.5))
        log_prob[:, 1] = math.log(0.25)
        value = mixture.log_mixture(log_prob, np.log([0.5, 0.5]), np.zeros(10_000, dtype=int), 1)
        # Adding n numbers of one sign rounds by at most n * 1.1e-16.
        assert value[0] == pytest.approx(10_000 * math.log(0.5) + math.log(0.5), rel=1.1e-12)

    def test_one_type_is_the_plain_likelihood_and_a_type_of_weight_zero_is_absent(self) -> None:
        log_prob, _, unit = problem(1)
        single = mixture.log_mixture(log_prob[:, :1], np.zeros(1), unit, 4)
        np.testing.assert_allclose(single, segment_sum(log_prob[:, 0], unit, 4), rtol=1e-14, atol=1e-15)
        with np.errstate(divide="ignore"):
            weight = np.log([0.3, 0.0, 0.7])
        without = mixture.log_mixture(log_prob[:, [0, 2]], np.log([0.3, 0.7]), unit, 4)
        np.testing.assert_allclose(mixture.log_mixture(log_prob, weight, unit, 4), without, rtol=1e-14, atol=1e-15)

    def test_without_units_every_record_stands_alone(self) -> None:
        log_prob, _, _ = problem(2)
        gate = np.log(np.random.default_rng(3).dirichlet(np.ones(3), 12))
        alone = mixture.log_mixture(log_prob, gate)
        np.testing.assert_array_equal(alone, mixture.log_mixture(log_prob, gate, np.arange(12), 12))
        np.testing.assert_allclose(alone, np.log((np.exp(gate) * np.exp(log_prob)).sum(1)), rtol=1e-13)

    def test_responsibilities_are_the_derivative_by_the_log_weights(self) -> None:
        log_prob, log_weight, unit = problem(4)
        posterior, h = mixture.responsibilities(log_prob, log_weight, unit, 4), 1e-6
        np.testing.assert_allclose(posterior.sum(1), 1, rtol=1e-14)
        for z in range(3):
            step = h * np.eye(3)[z]
            up, down = (mixture.log_mixture(log_prob, log_weight + s * step, unit, 4) for s in (1, -1))
            np.testing.assert_allclose(posterior[:, z], (up - down) / (2 * h), rtol=1e-8, atol=1e-9)

    def test_units_without_records_or_without_a_possible_type_keep_their_weights(self) -> None:
        log_prob = np.array([[-np.inf, -np.inf], [0.0, -1.0]])
        posterior = mixture.responsibilities(log_prob, np.log([0.3, 0.7]), np.array([0, 1]), 3)
        np.testing.assert_allclose(posterior[[0, 2]], [[0.3, 0.7]] * 2, rtol=1e-14)
        assert mixture.log_mixture(log_prob, np.log([0.3, 0.7]), np.array([0, 1]), 3)[0] == -np.inf
        assert mixture.log_mixture(log_prob, np.log([0.3, 0.7]), np.array([0, 1]), 3)[2] == pytest.approx(0, abs=1e-15)

    def test_em_ascends_and_finds_two_opposite_groups(self) -> None:
        """60 people x 12 answers on 6 questions; half of them answer the other way."""
        rng = np.random.default_rng(5)
        unit = np.repeat(np.arange(60), 12)
        question, group = rng.integers(0, 6, unit.size), np.arange(60) % 2
        utility = np.array([1.5, -1.5, 2.0, -2.0, 1.0, -1.0])
        sign = 1 - 2 * group[unit]
        answer = rng.random(unit.size) < 1 / (1 + np.exp(-sign * utility[question]))
        theta, weight, path = rng.normal(0, 0.5, (2, 6)), np.log([0.5, 0.5]), []
        for _ in range(40):
            logit = theta[:, question].T
            log_prob = log_sigmoid(np.where(answer[:, None], logit, -logit))
            path.append(mixture.log_mixture(log_prob, weight, unit, 60).sum())
            posterior = mixture.responsibilities(log_prob, weight, unit, 60)
            weight = np.log(posterior.mean(0))
            row = posterior[unit]
            won = segment_sum(row * answer[:, None], question, 6)
            theta = np.log((won + 1e-9) / (segment_sum(row, question, 6) - won + 1e-9)).T
        assert (np.diff(path) > -1e-9).all()
        found = posterior.argmax(1)
        assert max((found == group).mean(), (found != group).mean()) > 0.95
        assert path[-1] > path[0] + 50

    def test_weights_of_records_become_weights_of_units(self) -> None:
        log_prob, log_weight, unit = problem(6)
        np.testing.assert_allclose(
            np.exp(mixture.unit_weight(log_weight[unit], unit, 4))[np.unique(unit)], np.exp(log_weight)[np.unique(unit)]
        )
        two = np.log([[0.8, 0.2], [0.2, 0.8]])
        np.testing.assert_allclose(np.exp(mixture.unit_weight(two, np.zeros(2, int), 2)), [[0.5, 0.5]] * 2, rtol=1e-14)
        with pytest.raises(ValueError, match="unit_weight"):
            mixture.log_mixture(log_prob, log_weight[unit], unit, 4)

    def test_refuses_units_without_their_number(self) -> None:
        with pytest.raises(ValueError, match="number of units"):
            mixture.log_mixture(np.zeros((3, 2)), np.zeros(2), np.zeros(3, int))
        with pytest.raises(ValueError, match="one column per type"):
            mixture.log_mixture(np.zeros(3), np.zeros(2))


class TestHedge:
    def test_by_hand(self) -> None:
        # 1/4 * 1/2 : 3/4 * 1/4 = 2 : 3.
        after = mixture.hedge(np.array([0.25, 0.75]), np.log([2.0, 4.0]), 1.0)
        np.testing.assert_allclose(after, [0.4, 0.6], rtol=1e-14)

    def test_is_bayes_at_rate_one(self) -> None:
        log_prob, log_weight, _ = problem(7)
        prior = np.exp(log_weight[0])
        np.testing.assert_allclose(
            mixture.hedge(prior, -log_prob, 1.0), mixture.responsibilities(log_prob, log_weight[0]), rtol=1e-13
        )

    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 10**6), rate=st.floats(0, 50))
    def test_minimises_loss_plus_divergence(self, seed: int, rate: float) -> None:
        """Mirror descent: no other weights have a smaller rate * loss + KL(. | weights)."""
        rng = np.random.default_rng(seed)
        weights, losses = rng.dirichlet(np.ones(4)), rng.normal(0, 3, 4)
        found = mixture.hedge(weights, losses, rate)

        def objective(w: np.ndarray) -> float:
            return float(rate * w @ losses - mixture.entropy(w) - w @ np.log(weights))

        assert found.sum() == pytest.approx(1, abs=1e-12)
        for other in rng.dirichlet(np.ones(4), 20):
            assert objective(found) <= objective(other) + 1e-9

    def test_zero_weight_stays_zero(self) -> None:
        np.testing.assert_array_equal(mixture.hedge(np.array([0.0, 1.0]), np.array([-1e4, 1e4]), 1.0), [0, 1])


def test_entropy() -> None:
    np.testing.assert_allclose(mixture.entropy(np.array([[0.5, 0.5], [1.0, 0.0]])), [math.log(2), 0], atol=1e-16)


class TestSegmentSum:
    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 10**6), shape=st.sampled_from([(), (1,), (3,), (2, 3)]))
    def test_equals_add_at(self, seed: int, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(seed)
        values, code = rng.normal(size=(30, *shape)), rng.integers(0, 6, 30)
        expected = np.zeros((8, *shape))
        np.add.at(expected, code, values)
        np.testing.assert_allclose(segment_sum(values, code, 8), expected, rtol=1e-13, atol=1e-14)

    def test_keeps_float32_and_serves_no_rows(self) -> None:
        for shape in ((4,), (4, 2)):
            assert segment_sum(np.ones(shape, np.float32), np.array([0, 1, 1, 0]), 2).dtype == np.float32
        for shape in ((0,), (0, 2)):
            np.testing.assert_array_equal(segment_sum(np.ones(shape), np.zeros(0, int), 3), np.zeros((3, *shape[1:])))

    @pytest.mark.parametrize(
        ("code", "match"), [([0, 3], "0..2"), ([-1, 0], "0..2"), ([0.0, 1.0], "integer"), ([0], "integer")]
    )
    def test_refuses_codes_that_do_not_fit(self, code: list[float], match: str) -> None:
        with pytest.raises(ValueError, match=match):
            segment_sum(np.ones(2), np.array(code), 3)


def test_responsibilities_do_not_depend_on_the_order_of_records() -> None:
    log_prob, log_weight, unit = problem(8, n=6)
    expected = mixture.responsibilities(log_prob, log_weight, unit, 4)
    for order in itertools.islice(itertools.permutations(range(6)), 0, 720, 97):
        found = mixture.responsibilities(log_prob[list(order)], log_weight, unit[list(order)], 4)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
