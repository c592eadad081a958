"""What every composed model keeps to: answers without judgments, without noise, to one person, with and without contexts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from preflearn.errors import InputError
from preflearn.models import Composed, load
from preflearn.models.minnorm import MinNorm
from preflearn.models.spec import build
from preflearn.simulate.embedded import embedded


@pytest.fixture(scope="module")
def study():
    weights = np.random.default_rng(0).standard_normal(4)
    camp = np.where(np.arange(12) < 6, 1.0, -1.0)
    groups = {"group": np.where(camp > 0, "x", "y").tolist()}
    return embedded(
        lambda a, b, who, prompt: camp[who] * ((a - b) @ weights),
        features=4,
        annotators=12,
        votes=20,
        prompts=20,
        seed=1,
        columns=groups,
    )


@pytest.fixture(scope="module")
def data(study):
    """Every third judgment without a context."""
    n = study.data.height("comparisons")
    return study.data.replace(
        comparisons=study.data.comparisons.with_columns(
            context=pl.Series([["kind", "terse", None][i % 3] for i in range(n)]),
        )
    )


@pytest.fixture(scope="module")
def criteria(data):
    n = data.height("comparisons")
    return data.replace(
        comparisons=data.comparisons.with_columns(criterion_id=pl.Series([["p", "q"][i % 2] for i in range(n)]))
    )


def nothing(data):
    return data.replace(comparisons=data.comparisons.head(0))


def asked_of(data, annotator):
    return data.replace(comparisons=data.comparisons.with_columns(annotator_id=pl.lit(annotator)))


def logits_of(utility, data):
    of = dict(zip(data.responses["response_id"], utility))
    return np.array([of[a] - of[b] for a, b in data.comparisons.select("response_a", "response_b").rows()])


class TestContexts:
    POPULATIONS = (
        {"gate": {"channels": 2, "on": "context", "form": "linear"}},
        {"router": {"on": "both", "hidden": ()}},
    )

    @pytest.mark.parametrize("population", POPULATIONS)
    def test_are_asked_for_by_no_single_response_and_no_empty_table(self, data, population):
        model = Composed(population=population, encoder="embedding", fitting={"full_batch": {"starts": 1}}).fit(data)
        assert model.utility(data).shape == (data.height("responses"),)
        assert model.prob(nothing(data)).shape == (0,)

    @pytest.mark.parametrize("known", [True, False])
    def test_may_be_missing_where_the_encoder_reads_texts(self, data, known):
        texts = [[{"role": "assistant", "content": "word " * (1 + i % 7)}] for i in range(data.height("responses"))]
        asked = [[{"role": "user", "content": f"question {i}?"}] for i in range(data.height("prompts"))]
        told = data.replace(
            responses=data.responses.drop("embedding").with_columns(messages=pl.Series(texts)),
            prompts=data.prompts.drop("embedding").with_columns(messages=pl.Series(asked)),
        )
        untold = told.replace(comparisons=told.comparisons.drop("context"))
        train, test = (told, untold) if known else (untold, told)
        population = {"router": {"components": 2, "on": "both", "hidden": ()}}
        model = Composed(population=population, encoder="features", fitting={"full_batch": {"starts": 1}}).fit(train)
        assert np.isfinite(model.prob(test)).all()

    def test_a_model_of_contexts_needs_some(self, data):
        bare = data.replace(comparisons=data.comparisons.drop("context"))
        with pytest.raises(InputError, match="context"):
            build("context_aware", encoder="embedding").fit(bare)


class TestOnePerson:
    def test_utility_is_that_of_her_group(self, data):
        model = build("groups", column="group", encoder="embedding").fit(data)
        for annotator in ("person-0", "person-11"):
            p = model.prob(asked_of(data, annotator))
            expected = logits_of(model.utility(data, annotator=annotator), data)
            np.testing.assert_allclose(np.log(p / (1 - p)), expected, atol=1e-9)

    def test_responses_without_a_prompt_have_no_utility_where_prompts_count(self, data):
        gate = {"gate": {"channels": 2}}
        model = Composed(population=gate, encoder="embedding", fitting={"full_batch": {"starts": 1}}).fit(data)
        without = pl.when(pl.col("response_id") == "r-3").then(None).otherwise("prompt_id").alias("prompt_id")
        with pytest.raises(InputError, match=r"prompt_id.*1 responses"):
            model.utility(data.replace(responses=data.responses.with_columns(without)))


class TestCriteria:
    def test_may_be_groups_or_tasks(self, criteria):
        with pytest.raises(InputError, match="2 criteria"):
            build("bradley_terry", encoder="embedding").fit(criteria)
        for model in (
            build("groups", column="criterion_id", encoder="embedding"),
            Composed(fitting=MinNorm(tasks="criterion_id", steps=3), encoder="embedding"),
        ):
            assert np.isfinite(model.fit(criteria).prob(criteria)).all()

    def test_newcomers_teach_only_about_the_criterion_of_the_model(self, criteria):
        model = build("mixture", encoder="embedding", starts=1, criterion="p").fit(criteria)
        new = asked_of(criteria, "new").where("comparisons", pl.col("comparison_id") < "c-15").pruned()
        on_p = new.where("comparisons", pl.col("criterion_id") == "p")
        np.testing.assert_array_equal(model.adapt(new).prob(new), model.adapt(on_p).prob(new))


def test_what_newcomers_taught_counts_as_training(data):
    model = build("mixture", encoder="embedding", starts=1).fit(data)
    new = asked_of(data, "new").where("comparisons", pl.col("comparison_id") < "c-15").pruned()
    adapted = model.adapt(new)
    assert set(adapted.training_fingerprints_) > set(model.training_fingerprints_)


def test_a_model_without_noise_has_draws_too(data, tmp_path):
    agreed = data.where("comparisons", pl.col("annotator_id") < "person-2").pruned()
    model = build("flips", learned=True, encoder="embedding").fit(agreed)
    clean = model.denoised()
    draws = clean.prob_draws(data, 3, 0)
    assert np.isfinite(draws).all() and np.ptp(draws, axis=0).max() > 0
    clean.save(tmp_path / "clean")
    np.testing.assert_allclose(load(tmp_path / "clean").prob_draws(data, 3, 0), draws)


def test_the_posterior_of_offsets_is_of_all_parameters(data):
    model = build("offsets", precision=1.0, encoder="embedding").fit(data)
    assert np.isfinite(model.prob_draws(data, 2, 0)).all()
    assert "population.coefficients" in model.posterior_.factors


def test_a_policy_without_anything_to_learn_is_a_model(data, study, tmp_path):
    ratio = study.x @ np.ones(4)
    with_ratios = data.replace(
        responses=data.responses.with_columns(policy_logp=pl.Series(ratio), reference_logp=pl.lit(0.0))
    )
    model = build("implicit_reward", beta=0.5).fit(with_ratios)
    p = model.prob(with_ratios)
    np.testing.assert_allclose(np.log(p / (1 - p)), logits_of(0.5 * ratio, data), rtol=1e-5, atol=1e-5)
    model.save(tmp_path / "policy")
    np.testing.assert_array_equal(load(tmp_path / "policy").prob_draws(with_ratios, 2, 0), [p, p])
