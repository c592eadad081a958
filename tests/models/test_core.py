"""What every composed model keeps to: no judgments, no noise, one person, contexts or none; and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from preflearn.backbones import HiddenState
from preflearn.errors import InputError, NotSupported
from preflearn.models import Composed, load
from preflearn.models.exporting import linear_weight
from preflearn.models.fitting.minnorm import MinNorm
from preflearn.models.population import Gate
from preflearn.models.saved import BACKBONE, NAME, _with_backbone
from preflearn.models.spec import build, read_spec
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


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"ridge": "atuo"}, "ridge"),
            ({"ridge": float("nan")}, "ridge"),
            ({"seed": -1}, "seed"),
            ({"posterior": "bayes"}, "posterior"),
            ({"noise": "position"}, r"noise=\[position\]"),
            ({"outcomes": ()}, "outcome"),
            ({"kernel": None}, "no kernel"),
            ({"kernel": {"head/utility": {}}}, "is no kernel"),
            ({"head": {"skew": {"pairs": "four"}}}, "'pairs'.*valid integer"),
            ({"population": {"mixture": {"components": 0}}}, "components"),
            ({"outcomes": ({"choice": {"ties": "maybe"}},)}, "'half' or 'drop'"),
            ({"criterion": "tone"}, "none is recorded"),
        ],
    )
    def test_name_the_option(self, data, options, says):
        with pytest.raises(InputError, match=says):
            Composed(encoder="embedding", **options).fit(data)

    @pytest.mark.parametrize(
        ("column", "says"),
        [
            ({"probability": float("nan"), "outcome": None}, "between 0 and 1"),
            ({"probability": 1.5, "outcome": None}, "between 0 and 1"),
            ({"weight": 0.0}, "weight"),
            ({"outcome": "left"}, "240 of an unknown outcome"),
        ],
    )
    def test_name_the_column(self, data, column, says):
        types = {"outcome": pl.String}
        wrong = data.comparisons.with_columns(pl.lit(v, types.get(k)).alias(k) for k, v in column.items())
        with pytest.raises(InputError, match=says):
            build("bradley_terry", encoder="embedding").fit(data.replace(comparisons=wrong))

    def test_people_of_whom_nothing_is_recorded(self, data):
        blank = data.replace(annotators=data.annotators.with_columns(group=pl.lit(None, pl.String), age=float("nan")))
        with pytest.raises(InputError, match="nothing is recorded"):
            build("groups", encoder="embedding").fit(blank)
        with pytest.raises(InputError, match="nobody"):
            build("attributes", names="age", encoder="embedding").fit(blank)

    def test_a_number_that_became_a_word(self, data):
        aged = data.replace(annotators=data.annotators.with_columns(age=pl.int_range(pl.len())))
        model = build("attributes", names="age", encoder="embedding").fit(aged)
        with pytest.raises(InputError, match="number"):
            model.prob(data.replace(annotators=data.annotators.with_columns(age=pl.lit("young"))))

    @pytest.mark.parametrize("text", ["[]", '{"kind": "composed", "format": 1}', '{"a": 1}'])
    def test_a_damaged_model(self, data, tmp_path, text):
        build("bradley_terry", encoder="embedding").fit(data).save(tmp_path / "m")
        (tmp_path / "m" / "model.json").write_text(text)
        with pytest.raises(InputError, match="model"):
            load(tmp_path / "m")


def test_one_person_who_lacks_an_age_does_not_take_it_from_all(data):
    aged = data.annotators.with_columns(age=pl.int_range(pl.len()).cast(pl.Float64))
    some = aged.with_columns(age=pl.when(pl.col("annotator_id") == "person-3").then(float("nan")).otherwise("age"))
    model = build("attributes", names="age", encoder="embedding").fit(data.replace(annotators=some))
    assert model.vocabulary_.attributes[0].centre == pytest.approx(63 / 11)


@pytest.mark.slow
def test_files_may_name_parts_that_nobody_imported():
    names = {"fine_tune": "fitting", "min_norm": "fitting", "amortised": "population", "step_reward": "head"}
    code = f"from preflearn.models.parts import keys\nfor k, kind in {names!r}.items(): assert k in keys(kind), k"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_yaml_may_say_on(tmp_path):
    (tmp_path / "m.yaml").write_text("population: {gate: {on: both, channels: 2}}\n")
    assert read_spec(tmp_path / "m.yaml").resolved().population == Gate(2, on="both")


@pytest.mark.parametrize("options", [{"population": {"offsets": {"ridge": 1.0}}}, {"kernel": "classifier"}])
def test_only_one_utility_for_everyone_is_a_score(data, options):
    model = Composed(encoder="embedding", **options).fit(data)
    with pytest.raises(NotSupported, match="one linear utility"):
        linear_weight(model)


def test_a_loaded_model_takes_its_language_model_along(tmp_path):
    (tmp_path / "old" / BACKBONE).mkdir(parents=True)
    (tmp_path / "old" / NAME).write_text("{}")
    (tmp_path / "old" / BACKBONE / "config.json").write_text("{}")
    encoder, field = _with_backbone(HiddenState(str(tmp_path / "old" / BACKBONE)), tmp_path / "new")
    assert field == "model" and encoder.model == str(tmp_path / "new" / BACKBONE)
    assert (tmp_path / "new" / BACKBONE / "config.json").is_file()
