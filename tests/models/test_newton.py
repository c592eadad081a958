"""Exact Newton: stationary to finite differences, equal to scikit-learn, honest where no maximum exists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from preflearn.choice import Binary, Davidson, Flip, Margin, Ordinal
from preflearn.errors import NotComputable, NotSupported
from preflearn.models import Composed
from preflearn.models.outcomes import Comparisons
from preflearn.models.solvers import design
from preflearn.models.solvers.design import Design
from preflearn.models.solvers.newton import maximise, newton_step
from preflearn.models.solvers.penalised import Parameters, Problem
from preflearn.simulate.embedded import embedded

LINKS = [
    (Binary(), ()),
    (Davidson(), (0.3,)),
    (Ordinal(2), (0.4, 1.2)),
    (Flip(Binary()), (0.15,)),
    (Flip(Ordinal(2)), (0.4, 1.2, 0.1)),
]


def planted(link, shape, *, n=600, d=3, responses=80, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((responses, d)).astype(dtype)
    a = rng.integers(responses, size=n)
    b = (a + rng.integers(1, responses, size=n)) % responses
    w = rng.standard_normal(d) * 1.5 / np.sqrt(d)
    columns = rng.standard_normal((n, 2))
    logit = (x[a] - x[b]).astype(float) @ w + columns @ np.array([0.5, -0.3])
    target = np.eye(len(link.outcomes))[link.sample(logit, np.asarray(shape), rng)]
    weight = rng.uniform(0.2, 2.0, n)
    return x, a, b, columns, target, weight, w


def objective(link, x, a, b, columns, target, weight, ridge):
    """The penalised negative log-likelihood written out: weights, coefficients, free shape parameters in one vector."""
    d, p = x.shape[1], columns.shape[1]

    def value(flat):
        w, c, free = flat[:d], flat[d : d + p], flat[d + p :]
        shape = link.constrain(free) if len(free) else ()
        logit = (x[a] - x[b]).astype(float) @ w + columns @ c
        return -(weight * link.log_prob(target, logit, shape)).sum() + ridge / 2 * (w**2).sum()

    return value


def differences(value, at, step=1e-4):
    """Gradient and Hessian by central differences."""
    size = len(at)
    e = step * np.eye(size)
    gradient = np.array([(value(at + e[i]) - value(at - e[i])) / (2 * step) for i in range(size)])
    hessian = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
            hessian[i, j] = sum(s * t * value(at + s * e[i] + t * e[j]) for s, t in signs) / (4 * step**2)
    return gradient, hessian


@pytest.mark.parametrize("link, shape", LINKS, ids=lambda value: str(value)[:20])
def test_ends_at_the_optimum_and_knows_the_curvature_there(link, shape):
    x, a, b, columns, target, weight, _ = planted(link, shape)
    found = maximise(Problem(Design(x, a, b, columns=columns), link, target, weight, ridge=0.7), exact_information=True)
    assert found.converged
    at = np.concatenate([found.parameters.weights[0], found.parameters.shared])
    value = objective(link, x, a, b, columns, target, weight, 0.7)
    gradient, hessian = differences(value, at)
    scale = np.sqrt(np.diagonal(hessian))
    assert np.abs(gradient / scale).max() < 1e-4, "in standard errors"
    np.testing.assert_allclose(found.value, value(at), rtol=1e-12)
    np.testing.assert_allclose(found.information.dense(), hessian, atol=1e-6 * np.abs(hessian).max())


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-8), (np.float32, 1e-5)])
def test_equals_scikit_learn(dtype, tolerance):
    """Also through the samples that start a large fit, and with and without stored differences."""
    x, a, b, _, target, weight, _ = planted(Binary(), (), n=20_000, d=20, responses=3_000, dtype=dtype)
    reference = LogisticRegression(C=1 / 2.0, fit_intercept=False, solver="newton-cholesky", tol=1e-12)
    reference.fit((x[a] - x[b]).astype(float), target[:, 1], sample_weight=weight)
    found = maximise(Problem(Design(x, a, b), Binary(), target, weight, ridge=2.0))
    np.testing.assert_allclose(found.parameters.weights[0], reference.coef_[0], atol=tolerance)


@pytest.mark.parametrize("stored", [0, 2**28])
def test_differences_stored_or_not_give_the_same(monkeypatch, stored):
    monkeypatch.setattr(design, "_STORED", stored)
    monkeypatch.setattr(design, "_ROWS", 7)
    x, a, b, _, _, weight, _ = planted(Davidson(), (0.3,), n=50, responses=100)
    expected = (x[a] - x[b]).T @ ((weight - 1)[:, None] * (x[a] - x[b]))
    plan = Design(x, a, b)
    np.testing.assert_allclose(plan.gram(weight - 1), expected, atol=1e-12)
    np.testing.assert_allclose(plan.pull(weight[:, None])[0], weight @ (x[a] - x[b]), atol=1e-12)
    np.testing.assert_allclose(plan.logits(np.ones((1, 3)), np.zeros(0))[:, 0], (x[a] - x[b]).sum(1), atol=1e-12)


def test_repeated_pairs_in_either_order_are_folded_and_nothing_changes():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((12, 3))
    a = rng.integers(12, size=400)
    b = (a + rng.integers(1, 12, size=400)) % 12
    target = np.eye(2)[rng.integers(2, size=400)]
    weight = rng.uniform(0.5, 2, 400)
    folded = maximise(Problem(Design(x, a, b), Binary(), target, weight, ridge=1.0), exact_information=True)
    every = np.concatenate([x[a], x[b]])  # each comparison with responses of its own
    apart = Design(every, np.arange(400), np.arange(400, 800))
    alone = maximise(Problem(apart, Binary(), target, weight, ridge=1.0), exact_information=True)
    np.testing.assert_allclose(folded.parameters.weights, alone.parameters.weights, atol=1e-9)
    np.testing.assert_allclose(folded.information.dense(), alone.information.dense(), rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 10), st.sampled_from(LINKS[:3]))
def test_order_of_presentation_counts_and_units_do_not_matter(seed, ridge, case):
    link, shape = case
    x, a, b, _, target, weight, _ = planted(link, shape, n=120, seed=seed)
    found = maximise(Problem(Design(x, a, b), link, target, weight, ridge=ridge)).parameters
    mirrored = maximise(Problem(Design(x, b, a), link, target[:, list(link.swap)], weight, ridge=ridge)).parameters
    np.testing.assert_allclose(mirrored.weights, found.weights, atol=1e-6)
    np.testing.assert_allclose(mirrored.free, found.free, atol=1e-6)
    again = Design(x, np.tile(a, 2), np.tile(b, 2))
    twice = maximise(Problem(again, link, np.tile(target, (2, 1)), np.tile(weight / 2, 2), ridge=ridge))
    np.testing.assert_allclose(twice.parameters.weights, found.weights, atol=1e-6)
    unit = np.array([0.1, 1.0, 20.0])
    scaled = maximise(Problem(Design(x * unit, a, b, scale=unit), link, target, weight, ridge=ridge)).parameters
    np.testing.assert_allclose(scaled.weights, found.weights, atol=1e-6)


def test_channels_without_anything_shared_are_fits_of_their_own():
    x, a, b, _, target, weight, _ = planted(Binary(), ())
    both = np.column_stack([weight, weight[::-1]])
    together = maximise(Problem(Design(x, a, b), Binary(), target, both, ridge=1.0), tolerance=1e-12)
    for c in range(2):
        problem = Problem(Design(x, a, b), Binary(), target, both[:, c], ridge=1.0)
        alone = maximise(problem, tolerance=1e-12).parameters.weights[0]
        np.testing.assert_allclose(together.parameters.weights[c], alone, atol=1e-7)


def test_channels_share_coefficients_and_shape():
    """The joint optimum of two weighted channels is stationary in everything."""
    link = Davidson()
    x, a, b, columns, target, weight, _ = planted(link, (0.3,))
    both = np.column_stack([weight, weight[::-1]])
    found = maximise(Problem(Design(x, a, b, columns=columns), link, target, both, ridge=1.0), exact_information=True)
    weights, c, free = found.parameters

    def value(flat):
        w, rest = flat[:6].reshape(2, 3), flat[6:]
        parts = [
            objective(link, x, a, b, columns, target, both[:, k], 1.0)(np.concatenate([w[k], rest])) for k in range(2)
        ]
        return sum(parts)

    gradient, hessian = differences(value, np.concatenate([weights.reshape(-1), c, free]))
    assert np.abs(gradient / np.sqrt(np.diagonal(hessian))).max() < 1e-4
    np.testing.assert_allclose(found.information.dense(), hessian, atol=1e-6 * np.abs(hessian).max())


def test_single_steps_never_go_down_and_end_where_the_whole_fit_does():
    link = Flip(Davidson())
    x, a, b, columns, target, weight, _ = planted(link, (0.3, 0.1))
    plan = Design(x, a, b, columns=columns)
    whole = maximise(Problem(plan, link, target, weight, ridge=1.0))
    free = np.asarray(link.unconstrain(np.asarray(link.initial())))
    here, values = Parameters(np.zeros((1, 3)), np.zeros(2), free), []
    for _ in range(25):
        step = newton_step(Problem(plan, link, target, weight, ridge=1.0), here)
        here = step.parameters
        values.append(step.value)
    assert np.diff(values).max() <= 1e-9
    np.testing.assert_allclose(here.weights, whole.parameters.weights, atol=1e-4)


def test_samples_that_start_a_large_fit_do_not_change_its_end():
    x, a, b, columns, target, weight, _ = planted(Davidson(), (0.3,), n=30_000)
    plan = Design(x, a, b, columns=columns)
    started = maximise(Problem(plan, Davidson(), target, weight, ridge=1.0))
    zeros = Parameters(np.zeros((1, 3)), np.zeros(2), np.zeros(1))
    cold = maximise(Problem(plan, Davidson(), target, weight, ridge=1.0), start=zeros)
    np.testing.assert_allclose(started.parameters.weights, cold.parameters.weights, atol=1e-7)
    assert started.converged and cold.converged and started.iterations <= cold.iterations


def test_no_maximum_is_said_instead_of_diverging():
    x, a, b, _, _, weight, w = planted(Binary(), ())
    won = (x[a] - x[b]) @ w > 0
    separated = np.column_stack([~won, won]).astype(float)
    with pytest.raises(NotComputable, match="ridge above 0"):
        maximise(Problem(Design(x, a, b), Binary(), separated, weight, ridge=0.0))
    one_direction = np.hstack([x, (x @ w)[:, None] > 0])  # only the new feature never errs when it differs
    noisy = separated.copy()
    same = one_direction[a, 3] == one_direction[b, 3]
    noisy[same] = np.eye(2)[np.random.default_rng(0).integers(2, size=same.sum())]
    with pytest.raises(NotComputable, match="ridge above 0"):
        maximise(Problem(Design(one_direction, a, b), Binary(), noisy, weight, ridge=0.0))
    found = maximise(Problem(Design(x, a, b), Binary(), separated, weight, ridge=1e-3))
    assert found.converged and np.isfinite(found.parameters.weights).all()


def test_features_that_follow_each_other_need_a_ridge():
    x, a, b, _, target, weight, _ = planted(Binary(), ())
    doubled = np.hstack([x, x[:, :1]])
    with pytest.raises(NotComputable, match="undetermined"):
        maximise(Problem(Design(doubled, a, b), Binary(), target, weight, ridge=0.0))
    found = maximise(Problem(Design(doubled, a, b), Binary(), target, weight, ridge=1.0)).parameters.weights[0]
    assert found[0] == pytest.approx(found[3], abs=1e-7), "a ridge shares the weight equally"


def test_a_planted_flip_rate_comes_back():
    x, a, b, columns, target, weight, w = planted(Flip(Binary()), (0.15,), n=20_000, responses=500)
    found = maximise(Problem(Design(x, a, b, columns=columns), Flip(Binary()), target, weight, ridge=1.0)).parameters
    rate = float(Flip(Binary()).constrain(found.free)[0])
    assert rate == pytest.approx(0.15, abs=0.02)
    np.testing.assert_allclose(found.weights[0], w, atol=0.15)


def test_information_anywhere():
    link = Davidson()
    x, a, b, columns, target, weight, _ = planted(link, (0.3,))
    place = Parameters(np.full((1, 3), 0.2), np.array([0.1, 0.0]), np.array([0.5]))
    problem = Problem(Design(x, a, b, columns=columns), link, target, weight, ridge=0.5)
    found = problem.information(problem.evaluate(place))
    _, hessian = differences(
        objective(link, x, a, b, columns, target, weight, 0.5), np.concatenate([place.weights[0], place.shared])
    )
    np.testing.assert_allclose(found.dense(), hessian, atol=1e-6 * np.abs(hessian).max())


@pytest.mark.parametrize("link, shape", [*LINKS[:4], (Margin(2, ties=True), None)], ids=lambda value: str(value)[:20])
def test_composed_models_are_the_same_by_newton_and_by_descent(link, shape):
    w = np.random.default_rng(0).standard_normal(16) / 2
    drawn = Ordinal(2) if shape is None else link
    study = embedded(
        lambda a, b, who, prompt: (a - b) @ w,
        link=drawn,
        parameters=(0.4, 1.2) if shape is None else shape,
        shown_first=0.4,
        seed=1,
    )
    options = {"outcomes": (Comparisons(link=link),), "noise": ("position",), "encoder": "embedding"}
    exact = Composed(**options, fitting="newton").fit(study.data)
    descended = Composed(**options, fitting={"full_batch": {"tolerance": 1e-8}}).fit(study.data)
    np.testing.assert_allclose(exact.prob(study.data), descended.prob(study.data), atol=1e-5)
    assert exact.report_.value == pytest.approx(descended.report_.value, rel=1e-8)
    assert exact.report_.converged
    automatic = Composed(**options).fit(study.data)
    np.testing.assert_array_equal(automatic.prob(study.data), exact.prob(study.data))


def test_other_models_are_refused():
    study = embedded(lambda a, b, who, prompt: a[:, 0] - b[:, 0], annotators=5, seed=1)
    for options in ({"head": {"utility": {"hidden": (4,)}}}, {"population": "mixture"}):
        with pytest.raises(NotSupported, match="one linear head"):
            Composed(encoder="embedding", fitting="newton", **options).fit(study.data)


@pytest.mark.parametrize("far", [20.0, 1e5])
def test_standardisation_left_to_the_fit_changes_nothing(far):
    """Linear fits divide by the spread themselves, where products of features far from 0 do not cancel."""
    rng = np.random.default_rng(2)
    w = rng.standard_normal(16) / 2
    # Eighths of the spread, times powers of two: nothing is rounded, however far from 0.
    stretch = 2.0 ** rng.integers(-6, 7, 16)
    x = (np.round(8 * rng.standard_normal((400, 16))) / 8 + np.round(rng.uniform(-far, far, 16))) * stretch
    study = embedded(
        lambda a, b, who, prompt: (a - b) / stretch @ w,
        x=x,
        prompts=100,
        annotators=50,
        votes=20,
        shown_first=0.2,
        seed=1,
    )
    options = {"noise": ("position",), "encoder": "embedding", "ridge": 2.0}
    spared = Composed(**options, posterior="sandwich").fit(study.data)
    assert (spared._training.batch.scale is None) == (far > 1000)
    copied = Composed(**options, fitting={"full_batch": {"tolerance": 1e-8, "least": 0.0}}).fit(study.data)
    np.testing.assert_allclose(spared.prob(study.data), copied.prob(study.data), atol=1e-4)
    assert spared.report_.value == pytest.approx(copied.report_.value, rel=1e-6)
    plain = Composed(**options, standardise=False).fit(study.data)
    assert plain.report_.value != pytest.approx(spared.report_.value, rel=1e-3)
