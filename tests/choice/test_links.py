"""Links against values worked out by hand, finite differences, and the identities every link obeys."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.choice import Binary, Davidson, Flip, Link, Ordinal, RaoKupper, contract, one_hot

LINKS = [
    Binary(),
    Davidson(),
    RaoKupper(),
    Ordinal(levels=2, ties=False),
    Ordinal(levels=3, ties=True),
    Flip(Binary(), 0.1),
    Flip(Davidson(), 0.2),
    Flip(Ordinal(levels=2, ties=True), 0.3),
]
CONCAVE = LINKS[:5]
EXTREME = np.array([-700.0, -350.0, -40.0, -1e-300, -0.0, 0.0, 1e-300, 40.0, 350.0, 700.0])

links = pytest.mark.parametrize("link", LINKS, ids=repr)
logits = st.floats(-30, 30)
free_numbers = st.lists(st.floats(-3, 3), min_size=4, max_size=4)


def inside(link: Link, free: list[float]) -> np.ndarray:
    """Parameters inside the domain from any numbers."""
    return np.asarray(link.constrain(np.array(free[: len(link.parameters)])), dtype=float)


class TestByHand:
    """Strengths 3:1 or 4:1, so that every probability is a simple fraction."""

    def test_binary(self) -> None:
        d = Binary().derivatives(math.log(3.0))
        np.testing.assert_allclose(np.exp(d.log_prob), [1 / 4, 3 / 4], rtol=1e-14)
        np.testing.assert_allclose(d.score, [[-3 / 4], [1 / 4]], rtol=1e-14)
        np.testing.assert_allclose(d.curvature, [[[-3 / 16]], [[-3 / 16]]], rtol=1e-14)

    def test_davidson(self) -> None:
        # pi = (4, 1), nu = 1/2: the weights are 1 (b), nu sqrt(4) = 1 (tie), 4 (a).
        d = Davidson().derivatives(math.log(4.0), [math.log(0.5)])
        np.testing.assert_allclose(np.exp(d.log_prob), [1 / 6, 1 / 6, 4 / 6], rtol=1e-14)
        np.testing.assert_allclose(d.score, [[-3 / 4, -1 / 6], [-1 / 4, 5 / 6], [1 / 4, -1 / 6]], rtol=1e-14)
        same = [[-7 / 48, 1 / 24], [1 / 24, -5 / 36]]
        np.testing.assert_allclose(d.curvature, [same] * 3, rtol=1e-14)

    def test_davidson_equal_strengths_tie_with_nu_over_two_plus_nu(self) -> None:
        tie = np.exp(Davidson().log_probs(0.0, [math.log(0.7)])[1])
        assert tie == pytest.approx(0.7 / 2.7, rel=1e-14)

    def test_rao_kupper(self) -> None:
        # pi = (4, 1), kappa = 2: P(a) = 4/(4+2), P(b) = 1/(1+8), P(tie) = 3*4/(6*9).
        d = RaoKupper().derivatives(math.log(4.0), [math.log(2.0)])
        np.testing.assert_allclose(np.exp(d.log_prob), [1 / 9, 2 / 9, 2 / 3], rtol=1e-14)
        np.testing.assert_allclose(d.score, [[-8 / 9, -8 / 9], [-5 / 9, 13 / 9], [1 / 3, -1 / 3]], rtol=1e-14)
        expected = [
            [[-8 / 81, -8 / 81], [-8 / 81, -8 / 81]],
            [[-26 / 81, 10 / 81], [10 / 81, -170 / 81]],
            [[-2 / 9, 2 / 9], [2 / 9, -2 / 9]],
        ]
        np.testing.assert_allclose(d.curvature, expected, rtol=1e-13)

    def test_graded_without_ties(self) -> None:
        # Odds 3; boundaries -log 2, 0, log 2: P(above) = 6/7, 3/4, 3/5.
        link = Ordinal(levels=2, ties=False)
        assert link.outcomes == ("b2", "b1", "a1", "a2")
        d = link.derivatives(math.log(3.0), [math.log(2.0)])
        np.testing.assert_allclose(np.exp(d.log_prob), [1 / 7, 3 / 28, 3 / 20, 3 / 5], rtol=1e-14)
        # d/dd of log P: sigma(-lower) - sigma(upper), i.e. P(not above lower) - P(above upper).
        np.testing.assert_allclose(d.score[:, 0], [-6 / 7, 1 / 7 - 3 / 4, 1 / 4 - 3 / 5, 2 / 5], rtol=1e-13)
        # d/dstep: only the outer boundary moves; gap log 2 adds 1/(2-1) = 1 to both inner outcomes.
        np.testing.assert_allclose(d.score[:, 1], [-6 / 7, 1 / 7 + 1, 3 / 5 + 1, -2 / 5], rtol=1e-13)

    def test_graded_with_ties_is_differences_of_cumulative_logits(self) -> None:
        link = Ordinal(levels=2, ties=True)
        assert link.outcomes == ("b2", "b1", "tie", "a1", "a2")
        assert link.parameters == ("tie", "step_1")
        # Odds 2; boundaries at odds 1/6, 1/3, 3, 6: odds above 12, 6, 2/3, 1/3.
        probs = np.exp(link.log_probs(math.log(2.0), [math.log(3.0), math.log(6.0)]))
        above = [1, 12 / 13, 6 / 7, 2 / 5, 1 / 4, 0]
        np.testing.assert_allclose(probs, -np.diff(above), rtol=1e-13)

    def test_flip(self) -> None:
        # p = 3/4, eps = 1/10: P(a) = 0.9 * 3/4 + 0.1 * 1/4 = 7/10.
        d = Flip(Binary()).derivatives(math.log(3.0), [0.1])
        np.testing.assert_allclose(np.exp(d.log_prob), [0.3, 0.7], rtol=1e-14)
        np.testing.assert_allclose(d.score[1], [3 / 14, -5 / 7], rtol=1e-13)
        np.testing.assert_allclose(d.curvature[1], [[-15 / 98, -75 / 196], [-75 / 196, -25 / 49]], rtol=1e-13)


@links
def test_derivatives_match_central_differences(link: Link) -> None:
    """Step 1e-5 in float64: truncation and rounding are both near 1e-10."""
    rng = np.random.default_rng(7)
    d = rng.normal(0, 3, 40)
    p = np.broadcast_to(np.array(link.initial()), (40, len(link.parameters))) + 0.0
    p = p + rng.uniform(-0.04, 0.04, p.shape)
    exact = link.derivatives(d, p)
    np.testing.assert_allclose(exact.log_prob, link.log_probs(d, p), rtol=1e-13, atol=1e-13)
    h = 1e-5
    point = np.concatenate((d[:, None], p), axis=1)
    for i in range(point.shape[1]):
        step = np.zeros_like(point)
        step[:, i] = h
        up, down = point + step, point - step
        slope = (link.log_probs(up[:, 0], up[:, 1:]) - link.log_probs(down[:, 0], down[:, 1:])) / (2 * h)
        np.testing.assert_allclose(exact.score[..., i], slope, rtol=1e-7, atol=1e-8)
        above, below = link.derivatives(up[:, 0], up[:, 1:]), link.derivatives(down[:, 0], down[:, 1:])
        bend = (above.score - below.score) / (2 * h)
        np.testing.assert_allclose(exact.curvature[..., i], bend, rtol=1e-7, atol=1e-8)


@links
@settings(max_examples=40, deadline=None)
@given(d=logits, free=free_numbers)
def test_probabilities_sum_to_one_and_mirror(link: Link, d: float, free: list[float]) -> None:
    p = inside(link, free)
    log_probs = link.log_probs(d, p)
    assert math.fsum(np.exp(log_probs)) == pytest.approx(1.0, abs=1e-12)
    mirrored = link.log_probs(-d, p)[list(link.swap)]
    np.testing.assert_allclose(log_probs, mirrored, rtol=1e-12, atol=1e-12)
    # A sum of probabilities that is constant has score 0 in expectation, and curvature -E[score score'].
    at = link.derivatives(d, p)
    probs = np.exp(log_probs)
    np.testing.assert_allclose(probs @ at.score, 0, atol=1e-9)
    information = np.einsum("k,ki,kj->ij", probs, at.score, at.score)
    np.testing.assert_allclose(np.einsum("k,kij->ij", probs, at.curvature), -information, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("link", CONCAVE, ids=repr)
@settings(max_examples=40, deadline=None)
@given(d=logits, free=free_numbers)
def test_log_likelihood_is_concave(link: Link, d: float, free: list[float]) -> None:
    curvature = link.derivatives(d, inside(link, free)).curvature
    assert np.linalg.eigvalsh(curvature).max() <= 1e-12 * max(1.0, np.abs(curvature).max())


@links
def test_extreme_logits_stay_finite(link: Link) -> None:
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        at = link.derivatives(EXTREME, link.initial())
        log_probs = link.log_probs(EXTREME, link.initial())
    for array in (*at, log_probs):
        assert np.isfinite(array).all()
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, atol=1e-12)


def test_tails_keep_their_relative_precision() -> None:
    tail = math.exp(-700.0)
    np.testing.assert_allclose(Binary().log_probs(700.0), [-700.0, -tail], rtol=1e-13)
    np.testing.assert_allclose(Binary().derivatives(700.0).score[:, 0], [-1.0, tail], rtol=1e-13)
    # P(not a) is dominated by the tie: nu e^{-d/2}.
    assert Davidson().log_probs(600.0, [0.0])[2] == pytest.approx(-math.exp(-300.0), rel=1e-12)
    # Rao-Kupper at a tiny threshold: P(tie) = tanh(delta/2) at equal strengths.
    assert RaoKupper().log_probs(0.0, [1e-12])[1] == pytest.approx(math.log(math.tanh(0.5e-12)), rel=1e-12)


def test_infinite_logits_are_certain_not_nan() -> None:
    for link in LINKS:
        probs = np.exp(link.log_probs(np.array([-np.inf, np.inf]), link.initial()))
        assert np.isfinite(probs).all()
    np.testing.assert_array_equal(np.exp(Binary().log_probs(np.array([-np.inf, np.inf]))), [[1, 0], [0, 1]])


class TestLimits:
    @settings(max_examples=40, deadline=None)
    @given(d=logits)
    def test_davidson_without_ties_is_binary(self, d: float) -> None:
        for log_tie, tolerance in ((-math.inf, 1e-14), (-60.0, 1e-12)):
            davidson = Davidson().log_probs(d, [log_tie])[[0, 2]]
            np.testing.assert_allclose(davidson, Binary().log_probs(d), rtol=tolerance, atol=tolerance)
        at = Davidson().derivatives(d, [-math.inf])
        np.testing.assert_allclose(at.score[[0, 2], 0], Binary().derivatives(d).score[:, 0], rtol=1e-13)
        assert at.log_prob[1] == -math.inf
        assert np.isfinite(at.score).all()
        assert np.isfinite(at.curvature).all()

    @settings(max_examples=40, deadline=None)
    @given(a=st.floats(0.01, 100), b=st.floats(0.01, 100), kappa=st.floats(1.001, 50))
    def test_rao_kupper_is_its_ratio_form(self, a: float, b: float, kappa: float) -> None:
        probs = np.exp(RaoKupper().log_probs(math.log(a / b), [math.log(kappa)]))
        tie = (kappa**2 - 1) * a * b / ((a + kappa * b) * (kappa * a + b))
        np.testing.assert_allclose(probs, [b / (kappa * a + b), tie, a / (a + kappa * b)], rtol=1e-11)

    def test_one_grade_without_ties_is_binary(self) -> None:
        link = Ordinal(levels=1, ties=False)
        assert (link.outcomes, link.parameters) == (Binary().outcomes, ())
        d = np.linspace(-9, 9, 7)
        for mine, other in zip(link.derivatives(d), Binary().derivatives(d)):
            np.testing.assert_allclose(mine, other, rtol=1e-14)

    def test_merging_grades_of_a_longer_scale_gives_the_shorter(self) -> None:
        d = np.linspace(-4, 4, 9)
        fine = np.exp(Ordinal(levels=2).log_probs(d, [0.4, 1.5]))
        coarse = np.exp(RaoKupper().log_probs(d, [0.4]))
        merged = np.stack((fine[:, 0] + fine[:, 1], fine[:, 2], fine[:, 3] + fine[:, 4]), axis=-1)
        np.testing.assert_allclose(merged, coarse, rtol=1e-12)


class TestDomain:
    @pytest.mark.parametrize(
        ("link", "bad", "word"),
        [
            (RaoKupper(), [-0.1], "tie"),
            (RaoKupper(), [0.0], "tie"),
            (RaoKupper(), [math.nan], "tie"),
            (Ordinal(levels=2), [1.0, 0.5], "step_1"),
            (Ordinal(levels=2), [[0.1, 0.5], [0.6, 0.5]], "step_1"),
            (Davidson(), [math.nan], "log_tie"),
            (Davidson(), [math.inf], "log_tie"),
            (Flip(Binary()), [1.5], "flip_rate"),
            (Flip(RaoKupper()), [-1.0, 0.1], "tie"),
        ],
    )
    def test_check_names_the_parameter(self, link: Link, bad: list[float], word: str) -> None:
        with pytest.raises(ValueError, match=word):
            link.check(bad)

    @links
    def test_check_accepts_the_initial_values(self, link: Link) -> None:
        link.check(link.initial())

    @pytest.mark.parametrize("bad", [[-0.5, 1.0], [1.0, 0.5], [math.nan, 1.0]])
    def test_outside_is_impossible_not_nan(self, bad: list[float]) -> None:
        link = Ordinal(levels=2)
        d = np.array([-1.0, 0.0, 2.0])
        assert (link.log_probs(d, bad) == -np.inf).all()
        at = link.derivatives(d, bad)
        assert (at.log_prob == -np.inf).all()
        assert not np.isnan(at.score).any() or math.isnan(bad[0])

    def test_equal_thresholds_close_one_outcome_only(self) -> None:
        probs = np.exp(RaoKupper().log_probs(0.7, [0.0]))
        np.testing.assert_allclose(probs[[0, 2]], np.exp(Binary().log_probs(0.7)), rtol=1e-14)
        assert probs[1] == 0

    @pytest.mark.parametrize("parameters", [(), [0.1, 0.2], 0.3])
    def test_wrong_number_of_parameters_is_named(self, parameters: object) -> None:
        with pytest.raises(ValueError, match="log_tie"):
            Davidson().log_probs(np.zeros(2), np.asarray(parameters))

    def test_binary_takes_no_parameters(self) -> None:
        with pytest.raises(ValueError, match="no shape parameters"):
            Binary().log_probs(np.zeros(2), [0.5])

    def test_levels_and_rate_are_checked(self) -> None:
        with pytest.raises(ValueError, match="levels"):
            Ordinal(levels=0)
        with pytest.raises(ValueError, match="rate"):
            Flip(Binary(), 1.2)


class TestTargets:
    @links
    def test_soft_target_is_the_mean_of_hard_ones(self, link: Link) -> None:
        rng = np.random.default_rng(3)
        d = rng.normal(0, 2, 50)
        target = rng.dirichlet(np.ones(len(link.outcomes)), 50)
        p = link.initial()
        hard = [one_hot(np.full(50, k), len(link.outcomes)) for k in range(len(link.outcomes))]
        for method in (link.log_prob, link.score, link.curvature):
            mixed = sum(
                target[:, k].reshape(-1, *[1] * (method(hard[k], d, p).ndim - 1)) * method(hard[k], d, p)
                for k in range(len(hard))
            )
            np.testing.assert_allclose(method(target, d, p), mixed, rtol=1e-12, atol=1e-13)

    @links
    def test_hard_target_picks_its_column(self, link: Link) -> None:
        d = np.linspace(-3, 3, 5)
        at = link.derivatives(d, link.initial())
        for k in range(len(link.outcomes)):
            picked = link.weighted(one_hot(np.full(5, k), len(link.outcomes)), d, link.initial())
            np.testing.assert_allclose(picked.log_prob, at.log_prob[:, k], rtol=1e-14)
            np.testing.assert_allclose(picked.score, at.score[:, k], rtol=1e-14)
            np.testing.assert_allclose(picked.curvature, at.curvature[:, k], rtol=1e-14)

    def test_zero_weight_on_an_impossible_outcome_costs_nothing(self) -> None:
        target = np.array([0.25, 0.0, 0.75])
        assert math.isfinite(Davidson().log_prob(target, 0.3, [-math.inf]))
        assert math.isfinite(contract(target, Davidson().derivatives(0.3, [-math.inf])).log_prob)
        assert Davidson().log_prob(np.array([0.0, 0.1, 0.9]), 0.3, [-math.inf]) == -math.inf

    @links
    def test_blocks_of_many_rows_equal_one_row_at_a_time(self, link: Link) -> None:
        rng = np.random.default_rng(11)
        n = 20_001
        d = rng.normal(0, 3, n)
        target = rng.dirichlet(np.ones(len(link.outcomes)), n)
        per_row = np.array(link.initial()) + rng.uniform(0, 0.04, (n, len(link.parameters)))
        some = rng.integers(0, n, 25)
        some[0], some[1] = 0, n - 1
        for p, few in ((np.array(link.initial()), np.array(link.initial())), (per_row, per_row[some])):
            for many, single in zip(link.derivatives(d, p), link.derivatives(d[some], few)):
                np.testing.assert_allclose(many[some], single, rtol=1e-13, atol=1e-300)
            summed = contract(target[some], link.derivatives(d[some], few))
            for many, single in zip(link.weighted(target, d, p), summed):
                np.testing.assert_allclose(many[some], single, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(link.log_probs(d, p)[some], link.log_probs(d[some], few), rtol=1e-13)

    def test_shapes_broadcast(self) -> None:
        p = np.array([[0.1], [0.2], [0.3]])
        at = Davidson().derivatives(np.zeros((4, 1)), p)
        assert at.log_prob.shape == (4, 3, 3)
        assert at.score.shape == (4, 3, 3, 2)
        assert at.curvature.shape == (4, 3, 3, 2, 2)
        one = Davidson().weighted(np.full((5, 3), 1 / 3), 0.4, [0.0])
        assert one.score.shape == (5, 2)

    def test_wrong_columns_are_named(self) -> None:
        with pytest.raises(ValueError, match=r"expected \[..., 3\]"):
            Davidson().log_prob(np.ones((4, 2)), np.zeros(4), [0.0])
        with pytest.raises(ValueError, match=r"expected \[..., 3\]"):
            Davidson().weighted(np.ones((4, 2)), np.zeros(4), [0.0])

    def test_one_hot(self) -> None:
        np.testing.assert_array_equal(one_hot(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
        with pytest.raises(ValueError, match=r"0\.\.2"):
            one_hot(np.array([0, 3]), 3)


class TestSampling:
    @links
    def test_frequencies(self, link: Link) -> None:
        n = 40_000
        p = np.array(link.initial())
        drawn = link.sample(np.full(n, 0.6), p, np.random.default_rng(5))
        probs = np.exp(link.log_probs(0.6, p))
        counts = np.bincount(drawn, minlength=len(probs))
        np.testing.assert_array_less(np.abs(counts - n * probs), 4 * np.sqrt(n * probs * (1 - probs)))

    def test_seeded_and_impossible_never_drawn(self) -> None:
        d = np.linspace(-2, 2, 999)
        first, again = (Davidson().sample(d, [-math.inf], np.random.default_rng(1)) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert set(first.tolist()) == {0, 2}

    def test_needs_a_generator_and_a_domain(self) -> None:
        with pytest.raises(TypeError, match="generator"):
            Binary().sample(np.zeros(3))
        with pytest.raises(ValueError, match="tie"):
            RaoKupper().sample(np.zeros(3), [-1.0], np.random.default_rng(0))


@links
def test_free_numbers_round_trip(link: Link) -> None:
    p = np.array(link.initial())
    np.testing.assert_allclose(link.constrain(link.unconstrain(p)), p, rtol=1e-13)
    assert isinstance(link, Link)
    assert hash(link) == hash(type(link)(**{f: getattr(link, f) for f in link.__dataclass_fields__}))


def test_dtypes_follow_the_logit() -> None:
    for link in LINKS:
        p = np.array(link.initial())
        assert all(a.dtype == np.float32 for a in link.derivatives(np.zeros(3, np.float32), p))
        assert link.log_probs(np.zeros(3, np.float16), p).dtype == np.float32
        assert link.log_probs(np.zeros(3, int), p).dtype == np.float64


def test_importing_choice_imports_no_torch_and_no_scipy() -> None:
    code = "import sys, preflearn.choice; print([m for m in ('torch', 'scipy', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
