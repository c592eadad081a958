"""Models whose preferences may run in circles: skew-symmetric forms, hybrids, classifiers of pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.contract import check_preference_model
from tests.models.planted import FEATURES, circling, skew_form, tournament

from preflearn.errors import InputError, NotSupported
from preflearn.models import Composed, load
from preflearn.models.heads import Join, MeanVariance, Point, SkewRepresentation, Utility
from preflearn.models.kernels import Classifier, Difference, Gaussian, IdealPoint, Skew, Sum
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.plural import gpm, hybrid
from preflearn.simulate.embedded import embedded

STORED = {"encoder": "embedding"}


def accuracy(model, study, train, test) -> float:
    """Share of held-out comparisons whose truly preferred side is predicted."""
    return study.right(model.fit(study.rows(train)).prob(study.rows(test)), test)


@pytest.mark.parametrize("size", [3, 5, 9])
def test_a_regular_tournament_has_no_utility_but_one_plane(size):
    data = tournament(size)
    won = (data.comparisons["outcome"] == "a").to_numpy()

    def loss(model) -> float:
        p = model.fit(data).prob(data)
        return -float(np.mean(np.log(np.where(won, p, 1 - p))))

    scalar = bradley_terry(ridge=0.01, **STORED)
    assert loss(scalar) == pytest.approx(np.log(2), abs=1e-4)
    np.testing.assert_allclose(scalar.prob(data), 0.5, atol=1e-2)
    skew = gpm(1, ridge=0.01, **STORED)
    assert loss(skew) < 0.1
    assert ((skew.prob(data) > 0.5) == won).all()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("rank", [2, 4])
def test_as_many_planes_as_there_are(rank, seed):
    form = skew_form(rank, np.random.default_rng(seed))
    study = embedded(
        lambda a, b, who, prompt: circling(a, form, b), features=FEATURES, annotators=50, votes=160, seed=seed
    )
    halves = study.halves()
    assert accuracy(bradley_terry(**STORED), study, *halves) == pytest.approx(0.5, abs=0.06)
    enough = accuracy(gpm(rank // 2, **STORED), study, *halves)
    assert enough > 0.95
    if rank == 4:
        assert accuracy(gpm(1, **STORED), study, *halves) < enough - 0.1


@pytest.fixture(scope="module")
def half_transitive():
    rng = np.random.default_rng(0)
    form, w = skew_form(4, rng, size=6.0), 4 * rng.standard_normal(FEATURES) / np.sqrt(FEATURES)
    study = embedded(
        lambda a, b, who, prompt: circling(a, form, b) + (a - b) @ w,
        features=FEATURES,
        annotators=50,
        votes=160,
        prompts=300,
    )
    return study, study.halves()


def test_the_hybrid_needs_fewest_planes_where_half_is_transitive(half_transitive):
    study, halves = half_transitive
    scalar, too_few, enough, both = (
        accuracy(model, study, *halves)
        for model in (bradley_terry(**STORED), gpm(2, **STORED), gpm(3, **STORED), hybrid(2, **STORED))
    )
    assert scalar < 0.8
    assert enough > 0.95 and both > 0.95
    assert too_few < both - 0.05  # the utility needs a plane of its own


def test_without_the_constant_a_utility_cannot_be_said():
    w = 4 * np.random.default_rng(0).standard_normal(FEATURES) / np.sqrt(FEATURES)
    study = embedded(
        lambda a, b, who, prompt: (a - b) @ w, features=FEATURES, annotators=50, votes=120, prompts=300, seed=0
    )
    halves = study.halves()
    assert accuracy(gpm(2, constant=False, **STORED), study, *halves) == pytest.approx(0.5, abs=0.08)
    assert accuracy(gpm(2, **STORED), study, *halves) > 0.95


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_winner_over_a_cycle_needs_the_hybrid(seed):
    # Theorem 4.7 of the hybrid's paper: one plane cannot hold "beats all members of a cycle".
    table = 1.5 * np.array([[0, 1, -1, -2], [-1, 0, 1, -2], [1, -1, 0, -2], [2, 2, 2, 0]])
    study = embedded(
        lambda a, b, who, prompt: table[a.argmax(1), b.argmax(1)],
        features=4,
        prompts=1,
        annotators=30,
        votes=60,
        x=np.eye(4),
        seed=seed,
    )
    everything = np.ones(len(study.logit), bool)
    assert accuracy(hybrid(1, **STORED), study, everything, everything) == 1.0
    assert accuracy(gpm(1, **STORED), study, everything, everything) < 0.9


@pytest.fixture(scope="module")
def gated_study():
    rng = np.random.default_rng(0)
    forms = [skew_form(2, rng) for _ in range(2)]

    def taste(a, b, who, prompt):
        gate = 1 / (1 + np.exp(-4 * prompt[:, 0]))
        return 2 * (gate * circling(a, forms[0], b) + (1 - gate) * circling(a, forms[1], b))

    study = embedded(taste, features=FEATURES, annotators=50, votes=160, prompts=500)
    return study, study.halves()


def test_prompts_decide_which_plane_counts(gated_study, tmp_path):
    study, halves = gated_study
    plain = accuracy(gpm(2, **STORED), study, *halves)
    model = gpm(2, gated=True, **STORED)
    gated = accuracy(model, study, *halves)
    assert gated > 0.95 and gated > plain + 0.12
    asked = study.rows(halves[1])
    check_preference_model(model, asked)
    model.save(tmp_path / "gpm")
    np.testing.assert_allclose(load(tmp_path / "gpm").prob(asked), model.prob(asked), atol=1e-12)


def test_vectors_of_unit_length_learn_their_scale(gated_study, tmp_path):
    study, halves = gated_study
    model = gpm(2, gated=True, unit=True, temperature=0.1, **STORED)
    assert accuracy(model, study, *halves) > 0.9
    asked = study.rows(halves[1])
    check_preference_model(model, asked)
    model.save(tmp_path / "gpm")
    np.testing.assert_allclose(load(tmp_path / "gpm").prob(asked), model.prob(asked), atol=1e-12)
    vectors = torch.from_numpy(model.represent(asked))
    np.testing.assert_allclose(vectors.norm(dim=1), 1, atol=1e-9)
    # No logit is larger than the scale times the largest weight of a plane, which is at most their number.
    largest = 2 * float(torch.exp(model.network_.kernel.log_scale.detach()))
    p = model.prob(asked)
    assert np.abs(np.log(p) - np.log1p(-p)).max() < largest


def test_temperature_only_moves_the_scale(half_transitive):
    study, (train, test) = half_transitive
    one = gpm(3, ridge=1e-4, **STORED).fit(study.rows(train)).prob(study.rows(test))
    cold = gpm(3, ridge=1e-4, temperature=0.5, **STORED).fit(study.rows(train)).prob(study.rows(test))
    assert np.abs(one - cold).mean() < 0.02


KERNELS = {
    "gpm": (SkewRepresentation(2), Skew()),
    "hybrid": (Join((Utility(), SkewRepresentation(1))), Sum((Difference(), Skew()))),
    "classifier": (Point(4), Classifier((8,))),
    "gaussian": (MeanVariance(), Gaussian()),
    "ideal": (Point(4), IdealPoint()),
    "unsquared": (Point(4), IdealPoint("unsquared")),
    "cosine": (Point(4), IdealPoint("cosine")),
    "ideal_of_prompt": (Point(4), IdealPoint(of_prompt=True)),
    "utility_and_point": (Join((Utility(), Point(4))), Sum((Difference(), IdealPoint()))),
    "two_gates": (Join((SkewRepresentation(1), SkewRepresentation(2))), Sum((Skew(gated=True), Skew(gated=True)))),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("population", ["everyone", {"mixture": {"components": 2}}, {"simplex": {"prototypes": 2}}])
def test_every_kernel_keeps_the_contract_whoever_is_asked(name, population):
    rng = np.random.default_rng(1)
    w = rng.standard_normal(5)
    study = embedded(
        lambda a, b, who, prompt: (a - b) @ w, features=5, annotators=12, votes=20, prompts=30, per_prompt=3, seed=3
    )
    head, kernel = KERNELS[name]
    fitting = {"full_batch": {"iterations": 15}}
    model = Composed(head=head, kernel=kernel, population=population, fitting=fitting, **STORED).fit(study.data)
    check_preference_model(model, study.data)
    if name in ("gpm", "hybrid", "classifier", "two_gates"):
        with pytest.raises(NotSupported, match=r"cyclic|only compares"):
            model.utility(study.data)
        return
    order = np.argsort(np.argsort(model.utility(study.data)))
    assert sorted(order) == list(range(len(order)))
    if population == "everyone" and name not in ("gaussian",):
        # The utility's differences are the logits.
        u = dict(zip(study.data.responses["response_id"], model.utility(study.data), strict=True))
        a, b = (np.array([u[i] for i in study.data.comparisons[f"response_{side}"]]) for side in "ab")
        np.testing.assert_allclose(1 / (1 + np.exp(b - a)), model.prob(study.data), atol=1e-9)


def test_gaussian_utilities_say_where_the_model_is_unsure():
    # The last feature says how much the utility of a response varies; it does not say by itself what is better.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1200, 5))
    x[:, 4] = rng.choice([-1.0, 1.0], size=1200)
    w = np.array([6.0, -6, 4, 0, 0])

    def taste(a, b, who, prompt):
        variance = np.where(a[:, 4] > 0, 60.0, 0.0) + np.where(b[:, 4] > 0, 60.0, 0.0)
        return (a - b) @ w / np.sqrt(1 + np.pi / 8 * variance)

    study = embedded(taste, x=x, prompts=300, annotators=60, votes=240)
    train, test = study.halves()
    model = Composed(head=MeanVariance(), kernel=Gaussian(), **STORED).fit(study.rows(train))
    truth = 1 / (1 + np.exp(-study.logit[test]))

    def divergence(p: np.ndarray) -> float:
        return float(np.mean(truth * np.log(truth / p) + (1 - truth) * np.log((1 - truth) / (1 - p))))

    plain = bradley_terry(**STORED).fit(study.rows(train))
    lost, by_plain = (divergence(each.prob(study.rows(test))) for each in (model, plain))
    assert lost < 0.6 * by_plain
    spread = model.represent(study.data)[:, 1]
    assert spread[x[:, 4] > 0].mean() > 5 * spread[x[:, 4] < 0].mean()


def test_a_classifier_of_pairs_learns_a_cycle():
    data = tournament(3, repeats=20)
    model = Composed(head=Point(3), kernel=Classifier((16,)), ridge=0.1, **STORED).fit(data)
    won = (data.comparisons["outcome"] == "a").to_numpy()
    assert ((model.prob(data) > 0.5) == won).all()
    assert np.abs(model.prob(data) - 0.5).min() > 0.2


@pytest.mark.parametrize(
    ("head", "kernel", "message"),
    [
        (Utility(), Skew(), "even width"),
        (Point(2), Skew(temperature=0.0), "temperature"),
        (Utility(), Gaussian(), "mean_variance"),
        (Point(3), Difference(), "one number"),
        (Point(3), Classifier(()), "hidden layer"),
        (Point(3), IdealPoint("manhattan"), "squared"),
        (Utility(), Sum((Difference(), Skew())), "join head"),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(head, kernel, message):
    data = tournament(3)
    with pytest.raises(InputError, match=message):
        Composed(head=head, kernel=kernel, **STORED).fit(data)
