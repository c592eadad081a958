"""People known by their own offset, by their group, by their attributes: on planted truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from tests.contract import check_preference_model

from preflearn.choice import Davidson
from preflearn.errors import InputError, NotSupported
from preflearn.models import Composed, load
from preflearn.models.fitting import FullBatch
from preflearn.models.fitting.profile import Profile
from preflearn.models.heads import Utility
from preflearn.models.outcomes import Comparisons
from preflearn.models.population import Attributes, Offsets
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.people import attributes, groups, offsets
from preflearn.simulate.embedded import embedded

PEOPLE = 100


def differing(het: float, seed: int = 3, votes: int = 60, people: int = PEOPLE, **options):
    """People with weights of their own about common ones; a third of the prompts is for training: 20 votes each."""
    rng = np.random.default_rng([seed, 1])
    weights = rng.standard_normal(16) + het * rng.standard_normal((people, 16))
    return embedded(
        lambda a, b, who, prompt: ((a - b) * weights[who]).sum(1),
        annotators=people,
        votes=votes,
        prompts=600,
        seed=seed,
        **options,
    )


def right(model, study, keep):
    return study.right(model.prob(study.rows(keep)), keep)


@pytest.mark.parametrize(("het", "least"), [(0.0, -0.01), (1.0, 0.07)])
def test_offsets_pay_where_people_differ_and_cost_nothing_where_not(het, least):
    study = differing(het)
    train, test = study.halves(1 / 3)
    pooled = right(bradley_terry(encoder="embedding").fit(study.rows(train)), study, test)
    model = offsets(encoder="embedding").fit(study.rows(train))
    assert right(model, study, test) - pooled > least
    if het:
        check_preference_model(model, study.rows(test & (np.arange(len(test)) % 10 == 0)))
    else:
        people = model.network_.population  # nobody differs, and the model says so
        assert float(people.offsets(people.coefficients).detach().abs().max()) < 0.02


def test_profile_ends_where_descent_on_everything_ends(tmp_path):
    """With ties, and judgments of nobody in particular."""
    study = differing(1.0, votes=12, people=20, link=Davidson(), parameters=(1.0,))
    frame = study.data.comparisons.with_columns(
        annotator_id=pl.when(pl.int_range(pl.len()) % 7 > 0).then(pl.col("annotator_id").cast(pl.String))
    )
    data = study.data.replace(comparisons=frame)
    options = {"outcomes": [Comparisons(Davidson())], "encoder": "embedding", "ridge": 2.0}
    exact = Composed(population=Offsets(3.0), fitting=Profile(tolerance=1e-8), **options).fit(data)
    plain = Composed(population=Offsets(3.0), fitting=FullBatch(tolerance=1e-8, iterations=2000), **options).fit(data)
    assert exact.report_.value == pytest.approx(plain.report_.value, rel=1e-6)
    np.testing.assert_allclose(exact.prob(data), plain.prob(data), atol=1e-3)
    check_preference_model(exact, data)
    exact.adapt(data.replace(comparisons=frame.with_columns(annotator_id=pl.lit("new")))).save(tmp_path / "model")
    again, asked = load(tmp_path / "model"), data.replace(comparisons=frame.with_columns(annotator_id=pl.lit("new")))
    assert again.annotators_[-1] == "new"
    np.testing.assert_allclose(again.prob(asked), exact.adapt(asked).prob(asked), atol=1e-12)


def test_directions_in_which_people_differ_are_found():
    rng = np.random.default_rng(8)
    plane = np.linalg.qr(rng.standard_normal((12, 2)))[0]
    weights = rng.standard_normal(12) / 2 + 3 * rng.standard_normal((50, 2)) @ plane.T
    study = embedded(
        lambda a, b, who, prompt: ((a - b) * weights[who]).sum(1), features=12, annotators=50, votes=50, seed=2
    )
    train, test = study.halves(0.6)
    model = offsets(encoder="embedding").fit(study.rows(train))
    root = model.network_.population.root.numpy()
    values, vectors = np.linalg.eigh(root @ root.T)
    assert values[-2] > 10 * values[-3]
    # Features were standardised: directions change a little.
    assert np.linalg.svd(vectors[:, -2:].T @ plane)[1].min() > 0.9
    plain = offsets(prior="isotropic", encoder="embedding").fit(study.rows(train))
    assert right(model, study, test) > right(plain, study, test) + 0.08


def test_offsets_in_channels_of_a_perceptron():
    rng = np.random.default_rng(4)
    share = rng.standard_normal(40)
    study = embedded(
        lambda a, b, who, prompt: 3 * (np.abs(a[:, 0]) - np.abs(b[:, 0]) + share[who] * (a[:, 1] - b[:, 1])),
        features=4,
        annotators=40,
        votes=60,
        seed=1,
    )
    train, test = study.halves(0.6)
    options = {"head": Utility((8,)), "encoder": "embedding", "ridge": 1.0}
    population, fitting = Offsets(1.0, channels=1), Profile(iterations=60)
    model = Composed(population=population, fitting=fitting, **options).fit(study.rows(train))
    alike = Composed(**options).fit(study.rows(train))
    assert right(model, study, test) > max(0.85, right(alike, study, test) + 0.1)
    check_preference_model(model, study.rows(test & (np.arange(len(test)) % 5 == 0)))


def test_offsets_refuse_what_they_cannot_do():
    study = differing(1.0, votes=4, people=5)
    with pytest.raises(InputError, match="profile"):
        Composed(population=Offsets(), fitting="full_batch", encoder="embedding").fit(study.data)
    with pytest.raises(InputError, match="number as ridge"):
        Offsets(channels=2)
    with pytest.raises(InputError, match="has none"):
        Composed(fitting="profile", encoder="embedding").fit(study.data)
    with pytest.raises(InputError, match="annotators"):
        offsets(encoder="embedding").fit(study.data.replace(comparisons=study.data.comparisons.drop("annotator_id")))


@pytest.fixture(scope="module")
def described():
    """Tastes by group (x, y, z) and age; the last 20 people are strangers."""
    rng = np.random.default_rng(1)
    age, group = rng.normal(40, 10, 70), rng.integers(3, size=70)
    common, by_age, by_group = rng.normal(0, 0.5, (1, 12)), rng.normal(0, 0.5, (1, 12)), rng.normal(0, 0.6, (3, 12))
    weights = common + ((age - 40) / 10)[:, None] * by_age + by_group[group]
    return embedded(
        lambda a, b, who, prompt: ((a - b) * weights[who]).sum(1),
        features=12,
        annotators=70,
        votes=60,
        seed=3,
        columns={"group": [str(name) for name in np.array(["x", "y", "z"])[group]], "age": age.tolist()},
    )


def test_groups_and_attributes_explain_strangers(described):
    strangers = described.annotator >= 50
    train, test = (half & ~strangers for half in described.halves())
    new = described.halves()[1] & strangers
    data = described.rows(train)
    alike, by_group, by_both = (
        model.fit(data)
        for model in (
            bradley_terry(encoder="embedding"),
            groups("annotators.group", encoder="embedding"),
            attributes(("group", "age"), encoder="embedding"),
        )
    )
    for keep in (test, new):
        scores = [right(model, described, keep) for model in (alike, by_group, by_both)]
        assert scores[1] > scores[0] + 0.05
        assert scores[2] > max(0.9, scores[1] + 0.03)
    check_preference_model(by_group, described.rows(new))
    check_preference_model(by_both, described.rows(new))
    with pytest.raises(NotSupported):
        by_group.adapt(described.rows(new))


def test_who_is_not_described_is_average(described):
    train, test = described.halves()
    data, asked = described.rows(train), described.rows(test)
    undescribed = asked.replace(
        annotators=asked.annotators.drop("group", "age"),
        comparisons=asked.comparisons.with_columns(annotator_id=pl.lit("nobody")),
    )
    by_group = groups("annotators.group", encoder="embedding").fit(data)
    weights = by_group.network_.head.layers.weight.detach().numpy()
    x = asked.replace(comparisons=asked.comparisons.head(3))
    assert len(weights) == 4
    p = by_group.prob(undescribed)
    assert np.isfinite(p).all() and p.std() > 0.1
    by_both = attributes(("group", "age"), encoder="embedding").fit(data)
    known = by_both.prob(asked.replace(annotators=asked.annotators.drop("group", "age")))
    np.testing.assert_allclose(known, by_both.prob(asked), atol=1e-6)  # remembered from training
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    # The average person's logit is the mean of everybody's.
    everyone = []
    for person in by_both.annotators_:
        each = x.replace(comparisons=x.comparisons.with_columns(annotator_id=pl.lit(person)))
        everyone.append(logit(by_both.prob(each)))
    np.testing.assert_allclose(np.mean(everyone, axis=0), logit(by_both.prob(undescribed))[:3], atol=1e-5)


def test_adapt_knows_newcomers_by_their_attributes(described):
    strangers = described.annotator >= 50
    model = attributes(("group", "age"), encoder="embedding").fit(described.rows(~strangers))
    people = described.data.annotators.filter(pl.int_range(pl.len()) >= 50)
    nothing = described.data.replace(annotators=people, comparisons=described.data.comparisons.head(0))
    adapted = model.adapt(nothing)
    asked = described.rows(strangers)
    bare = asked.replace(annotators=asked.annotators.drop("group", "age"))
    np.testing.assert_allclose(adapted.prob(bare), model.prob(asked), atol=1e-12)
    assert np.abs(model.prob(bare) - model.prob(asked)).max() > 0.3


def test_groups_by_offsets_choose_how_far_groups_differ(described):
    """A group is a person with many judgments: the same population, unit = column, learns the shrinkage."""
    train, test = described.halves()
    model = Composed(population=Offsets(unit="annotators.group", prior="isotropic"), encoder="embedding")
    channels = groups("annotators.group", encoder="embedding").fit(described.rows(train))
    assert right(model.fit(described.rows(train)), described, test) > right(channels, described, test) - 0.01


def test_unknown_columns_are_named(described):
    with pytest.raises(InputError, match="country"):
        groups("annotators.country", encoder="embedding").fit(described.data)
    with pytest.raises(InputError, match="income"):
        attributes(("income",), encoder="embedding").fit(described.data)
    with pytest.raises(InputError):
        Attributes(())
    with pytest.raises(InputError, match="spread"):
        groups("annotators.group", spread=0.0).resolved()
    assert torch.get_default_dtype() == torch.float32
