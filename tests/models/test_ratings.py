"""Ratings: planted scales, people behind means, shifts of annotators, grades, classes; ratings beside votes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from tests.contract import check_preference_model
from tests.models.makers import with_ratings

from preflearn.choice import Ordinal
from preflearn.errors import InputError, NotComputable, NotSupported
from preflearn.models import Composed, load
from preflearn.models.outcomes import Classes, GaussianRating, Grades
from preflearn.models.outcomes.ratings import NOISE
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.ratings import helpsteer2, rating_regression
from preflearn.models.recipes.strength import scaled_bt
from preflearn.simulate.embedded import embedded

SEED = 0
FEW = np.arange(3000) < 300


class Rated:
    """A study with noisy opinions `u + noise` about random responses, in logits."""

    def __init__(self, seed: int, n: int = 2000, annotators: int = 30, differ: float = 0.0, logistic: bool = False):
        rng = np.random.default_rng(seed)
        self.w = rng.standard_normal(8) / 2
        self.study = embedded(
            lambda a, b, who, prompt: (a - b) @ self.w, features=8, annotators=annotators, votes=100, seed=seed
        )
        self.item, self.who = rng.integers(len(self.study.x), size=n), rng.integers(annotators, size=n)
        self.shift = differ * rng.standard_normal(annotators)
        noise = rng.logistic(size=n) if logistic else NOISE * rng.standard_normal(n)
        self.opinion = self.study.x[self.item] @ self.w + noise + self.shift[self.who]

    def data(self, value, **columns):
        return with_ratings(self.study, np.asarray(value), self.item, self.who, **columns)

    def recovered(self, model) -> float:
        """Size of the fitted weights along the planted ones."""
        found = model.network_.head.last.weight.detach().numpy()[0] / model.vocabulary_.scale
        return float(found @ self.w / (self.w @ self.w))

    def right(self, model) -> float:
        return self.study.right(model.prob(self.study.data), np.ones(len(self.study.logit), bool))


@pytest.fixture(scope="module")
def rated():
    return Rated(SEED)


def test_the_scale_of_ratings_plays_no_role(rated):
    """Utilities come out in logits from any scale, and answer comparisons like the votes of the same people."""
    data = rated.data(50 + 12 * rated.opinion)
    model = rating_regression(encoder="embedding").fit(data)
    assert rated.recovered(model) == pytest.approx(1, abs=0.12)
    mean, sd = model.rate(data)
    assert sd[0] == pytest.approx(12 * NOISE, rel=0.06)
    assert np.corrcoef(mean, 12 * (rated.study.x[rated.item] @ rated.w))[0, 1] > 0.98
    other = rating_regression(encoder="embedding").fit(rated.data(3 + 0.01 * rated.opinion))
    np.testing.assert_allclose(other.utility(data), model.utility(data), atol=1e-4)

    utility = dict(zip(data.responses["response_id"], model.utility(data)))
    pairs = data.comparisons.select("response_a", "response_b").rows()
    d = np.array([utility[a] - utility[b] for a, b in pairs])
    np.testing.assert_allclose(model.prob(data), norm.cdf(d / (np.sqrt(2) * NOISE)), atol=1e-12)
    assert np.abs(model.prob(data) - 1 / (1 + np.exp(-rated.study.logit))).mean() < 0.04
    check_preference_model(model, rated.study.rows(FEW))
    with pytest.raises(NotSupported, match="rankings"):
        model._assembled(data, "rankings")


def test_means_of_people_count_as_their_ratings(rated):
    """One row of a mean with its spread and count says what the rows of the people behind it say."""
    opinion = np.round(3 * rated.opinion)
    item = np.repeat(np.arange(400), 5)
    each = with_ratings(rated.study, opinion, item)
    table = pl.DataFrame({"item": item, "value": opinion}).group_by("item", maintain_order=True)
    summary = table.agg(pl.col("value").mean().alias("mean"), pl.col("value").std(ddof=0).alias("spread"))
    means = with_ratings(
        rated.study, summary["mean"].to_numpy(), np.arange(400), count=[5] * 400, spread=summary["spread"].to_list()
    )
    one, many = (rating_regression(encoder="embedding").fit(data) for data in (means, each))
    np.testing.assert_allclose(one.utility(each), many.utility(each), atol=1e-4)
    assert one.report_.value == pytest.approx(many.report_.value, rel=1e-6)


def test_annotators_have_shifts_of_their_own():
    rated = Rated(SEED + 1, annotators=40, differ=1.5)
    data = rated.data(10 * rated.opinion)
    number = pl.col("annotator_id").cast(pl.String).str.slice(7).cast(pl.Int32)
    old, new = data.where("ratings", number < 30), data.where("ratings", number >= 30)
    own = rating_regression(personal=1.0, encoder="embedding").fit(old)
    plain = rating_regression(encoder="embedding").fit(old)
    assert plain.rate(old).sd[0] > 1.4 * own.rate(old).sd[0]
    place = [int(name.removeprefix("person-")) for name in own.annotators_]
    shift = own.network_.outcomes[0].deviation.detach().numpy()
    assert np.corrcoef(shift, rated.shift[place])[0, 1] > 0.95

    def error(model, of):
        return float(np.mean((model.rate(of).mean - of.ratings["value"].to_numpy()) ** 2))

    first = new.where("ratings", pl.int_range(pl.len()) % 2 == 0).pruned()
    rest = new.where("ratings", pl.int_range(pl.len()) % 2 == 1)
    assert error(own.adapt(first), rest) < 0.6 * error(own, rest)


def test_criteria_have_scales_of_their_own(rated, tmp_path):
    """A second criterion on another scale, of which lower is better, and one that has nothing to do with it."""
    rng = np.random.default_rng(SEED)
    kind = np.arange(len(rated.item)) % 4
    value = np.select([kind < 2, kind == 2], [rated.opinion, 40 - 5 * rated.opinion], rng.standard_normal(len(kind)))
    data = rated.data(value, criterion_id=np.array(["good", "good", "bad", "other"])[kind].tolist())
    model = Composed(outcomes=(GaussianRating(per_criterion=True),), encoder="embedding").fit(data)
    module = model.network_.outcomes[0]
    ratio = dict(zip(model.vocabulary_.columns["criterion"], module.ratio.detach().numpy()))
    assert ratio["good"] == 1
    assert ratio["bad"] == pytest.approx(-1, abs=0.15)
    assert abs(ratio["other"]) < 0.15
    assert rated.recovered(model) == pytest.approx(1, abs=0.15)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(load(tmp_path / "m").rate(data).mean, model.rate(data).mean)
    strange = data.replace(ratings=data.ratings.with_columns(criterion_id=pl.lit("new")))
    with pytest.raises(InputError, match="criterion that the model has not learned"):
        model.rate(strange)
    with pytest.raises(InputError, match="3 criteria"):
        rating_regression(encoder="embedding").fit(data)


def test_grades_recover_cut_points():
    rated = Rated(SEED + 2, logistic=True)
    cuts = [-1.5, -0.5, 0.5, 2.0]
    data = rated.data(10 * (np.digitize(rated.opinion, cuts) + 1.0))
    model = rating_regression(scale="grades", encoder="embedding").fit(data)
    assert model.plan_.outcomes == (Grades(values=(10.0, 20.0, 30.0, 40.0, 50.0)),)
    np.testing.assert_allclose(model.network_.outcomes[0].shape.shape_parameters.detach(), cuts, atol=0.25)
    assert rated.recovered(model) == pytest.approx(1, abs=0.12)
    mean, sd = model.rate(data)
    assert ((mean > 10) & (mean < 50) & (sd > 0)).all()
    assert np.mean((mean - data.ratings["value"].to_numpy()) ** 2) == pytest.approx(np.mean(sd**2), rel=0.1)
    check_preference_model(model, rated.study.rows(FEW))
    named = rated.data(np.array(["poor", "fair", "good", "fine", "best"])[np.digitize(rated.opinion, cuts)])
    labels = Grades(labels=("poor", "fair", "good", "fine", "best"))
    by_name = Composed(outcomes=(labels,), encoder="embedding").fit(named)
    np.testing.assert_allclose(by_name.prob(data), model.prob(data), atol=1e-6)


def test_grades_of_annotators_who_use_the_scale_differently():
    rated = Rated(SEED + 3, annotators=20, logistic=True)
    harsh = rated.who % 2 == 0
    grade = np.where(harsh, np.digitize(rated.opinion, [0, 2, 4]), np.digitize(rated.opinion, [-4, -2, 0])) + 1.0
    data = rated.data(grade)
    test = np.arange(len(grade)) % 2 == 0
    train, rest = (data.replace(ratings=data.ratings.filter(pl.Series(keep))) for keep in (~test, test))

    def error(personal):
        model = rating_regression(scale="grades", personal=personal, encoder="embedding").fit(train)
        return float(np.mean((model.rate(rest).mean - rest.ratings["value"].to_numpy()) ** 2))

    assert error(1.0) < 0.6 * error(None)


def test_classes_find_their_places():
    """An "unsure" that is half way, and one that people choose whatever they think."""
    rated = Rated(SEED + 4, n=4000)
    u = rated.study.x[rated.item] @ rated.w
    rng = np.random.default_rng(SEED)
    logits = np.column_stack([0 * u, 0.4 + 0.5 * u, -0.3 + 0 * u, u])
    names = np.array(["no", "half", "unsure", "yes"])
    label = names[(logits + rng.gumbel(size=logits.shape)).argmax(1)]
    model = Composed(outcomes=(Classes(("no", "unsure", "half", "yes")),), encoder="embedding").fit(rated.data(label))
    np.testing.assert_allclose(model.network_.outcomes[0].places.detach(), [0, 0, 0.5, 1], atol=0.15)
    assert rated.recovered(model) == pytest.approx(1, abs=0.2)
    check_preference_model(model, rated.study.rows(FEW))


def test_thumbs_are_logistic_regression():
    rated = Rated(SEED + 5, logistic=True)
    data = rated.data(np.where(rated.opinion > 0.7, "up", "down"))
    model = Composed(outcomes=("rating_class",), encoder="embedding", ridge=1.0).fit(data)
    assert model.plan_.outcomes == (Classes(("down", "up")),)
    x = ((rated.study.x - model.vocabulary_.centre) / model.vocabulary_.scale)[rated.item]
    weight = model.network_.head.last.weight.detach().numpy()[0]
    level = float(model.network_.outcomes[0].level.detach())
    p = 1 / (1 + np.exp(-(x @ weight + level)))
    # The maximum of the penalised likelihood: scores of weights and intercept are 0.
    np.testing.assert_allclose(x.T @ (p - (rated.opinion > 0.7)) + weight, 0, atol=0.05)
    assert (p - (rated.opinion > 0.7)).sum() == pytest.approx(0, abs=0.05)
    mean, sd = model.rate(data)
    np.testing.assert_allclose(mean, p, atol=1e-6)
    np.testing.assert_allclose(sd, np.sqrt(p * (1 - p)), atol=1e-6)


class TestRatingsAndVotes:
    """300 votes with strength and 150 ratings of the same opinions: how well the direction of the weights is found."""

    @pytest.fixture(scope="class")
    @classmethod
    def studies(cls):
        found = []
        for seed in range(SEED, SEED + 3):
            rng = np.random.default_rng([seed, 5])
            w = rng.standard_normal(16)
            w *= 1.5 / np.linalg.norm(w)
            study = embedded(
                lambda a, b, who, prompt, w=w: (a - b) @ w,
                prompts=300,
                annotators=10,
                votes=30,
                link=Ordinal(3),
                parameters=(0.4, 1.2, 2.5),
                seed=seed,
            )
            item = rng.integers(len(study.x), size=150)
            value = 2 + 0.6 * (study.x[item] @ w + NOISE * rng.standard_normal(150))
            found.append((w, with_ratings(study, value, item)))
        return found

    @staticmethod
    def cosine(studies, make) -> float:
        found = []
        for w, data in studies:
            model = make().set_params(encoder="embedding").fit(data)
            weights = model.network_.head.last.weight.detach().numpy()[0] / model.vocabulary_.scale
            found.append(weights @ w / np.linalg.norm(weights) / np.linalg.norm(w))
        return float(np.mean(found))

    def test_share_the_head(self, studies):
        both = self.cosine(studies, lambda: Composed(outcomes=("choice", "rating")))
        assert both > self.cosine(studies, bradley_terry) + 0.008
        assert both > self.cosine(studies, rating_regression) + 0.008

    def test_ratings_first_are_a_warm_start(self, studies):
        warm = self.cosine(studies, helpsteer2)
        assert warm > self.cosine(studies, scaled_bt) + 0.006
        assert warm > self.cosine(studies, lambda: helpsteer2(memory=0.0)) + 0.006

    @pytest.mark.slow
    def test_a_stage_that_was_held_too_much_gains_by_extrapolation(self, studies):
        held = self.cosine(studies, lambda: helpsteer2(memory=10.0))
        assert self.cosine(studies, lambda: helpsteer2(memory=10.0, extrapolation=2.0)) > held + 0.002

    def test_the_warm_start_keeps_what_it_says(self, studies, tmp_path):
        _, data = studies[0]
        model = helpsteer2(extrapolation=1.3, encoder="embedding").fit(data)
        mean, sd = model.rate(data)
        assert np.mean((mean - data.ratings["value"].to_numpy()) ** 2) == pytest.approx(sd[0] ** 2, rel=0.1)
        check_preference_model(model, data)
        model.save(tmp_path / "m")
        np.testing.assert_array_equal(load(tmp_path / "m").rate(data).mean, mean)
        with pytest.raises(NotComputable, match="stages"):
            model.uncertainty(data)
        with pytest.raises(InputError, match="ratings"):
            helpsteer2(encoder="embedding").fit(data.replace(ratings=data.ratings.head(0)))


def test_bad_ratings_are_refused_before_any_fitting(rated):
    data = rated.data(rated.opinion)

    def refused(match, of, **options):
        with pytest.raises(InputError, match=match):
            Composed(**{"outcomes": ("rating",), "encoder": "embedding", **options}).fit(of)

    frame = data.ratings
    refused("none has one", data.replace(ratings=frame.with_columns(value=pl.lit(None, pl.Float64))))
    refused("every rating is the same", data.replace(ratings=frame.with_columns(value=pl.lit(3.0))))
    refused(
        "none are recorded", data.replace(ratings=frame.drop("annotator_id")), outcomes=(GaussianRating(personal=1.0),)
    )
    refused("free slope", data, outcomes=(GaussianRating(slope="free"),))
    refused("no scale of grades", data, outcomes=("rating_ordinal",))
    refused("at least two values", data.replace(ratings=frame.drop("value")), outcomes=("rating_ordinal",))
    refused("no rating has a label", data, outcomes=("rating_class",))
    odd = data.replace(ratings=frame.with_columns(label=pl.lit("blue")))
    refused("order of the labels", odd, outcomes=("rating_class",))
    refused("same judgments", data, outcomes=("rating", "rating_ordinal"))
    lower = data.replace(
        ratings=frame.with_columns(criterion_id=pl.lit("harm")),
        criteria=pl.DataFrame({"criterion_id": ["harm"], "higher_is_better": [False]}),
    )
    refused("lower value is better", lower)
    some = data.replace(ratings=frame.with_columns(value=pl.when(pl.int_range(pl.len()) > 99).then(pl.col("value"))))
    assert rating_regression(encoder="embedding").fit(some).left_out_ == {"without a value": 100}
    with pytest.raises(InputError, match="recipe"):
        from preflearn.models.spec import build

        build("rating_regression", scale="stars")
