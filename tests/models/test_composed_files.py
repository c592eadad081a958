"""Saving, loading, adapting and refusing: what every composed model does whatever its parts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from preflearn.backbones import Embedding, Encoded
from preflearn.errors import InputError, NotSupported
from preflearn.models import Composed, load
from preflearn.models.population import Mixture
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.simulate.embedded import embedded


@pytest.fixture(scope="module")
def study():
    w = np.random.default_rng(0).standard_normal(8)
    camp = np.where(np.arange(60) < 30, 1.0, -1.0)
    return embedded(lambda a, b, who, prompt: camp[who] * ((a - b) @ w), features=8, annotators=60, seed=1)


def test_saved_models_answer_alike(study, tmp_path):
    model = Composed(population=Mixture(2), encoder="embedding").fit(study.data)
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    np.testing.assert_array_equal(again.prob(study.data), model.prob(study.data))
    assert again.resolved().population == Mixture(2)
    with pytest.raises(InputError, match="already"):
        model.save(tmp_path / "m")


def test_newcomers_are_known_from_their_answers(study):
    old = np.asarray(study.annotator) % 3 != 0
    model = Composed(population=Mixture(2), encoder="embedding").fit(study.rows(old).pruned())
    new = study.rows(~old & (np.arange(len(old)) % 4 == 0)).pruned()
    rest = ~old & (np.arange(len(old)) % 4 != 0)
    before, after = model.prob(study.rows(rest)), model.adapt(new).prob(study.rows(rest))
    assert study.right(after, rest) > study.right(before, rest) + 0.3
    np.testing.assert_array_equal(model.prob(study.rows(rest)), before)
    with pytest.raises(InputError, match="knows"):
        model.adapt(study.rows(old))


class AskedAboutNothing(Embedding):
    """As encoders of texts: without a text there is no vector, hence no dimension."""

    def encode(self, data, *, prompts=False, needed=None, progress=None):
        found = super().encode(data, prompts=prompts, needed=needed, progress=progress)
        return found if needed is None or needed.any() else Encoded(found.responses[:, :0])


def test_people_who_have_answered_nothing_yet_are_strangers(study):
    old = np.asarray(study.annotator) % 3 != 0
    model = Composed(population=Mixture(2), encoder=AskedAboutNothing()).fit(study.rows(old).pruned())
    new = study.rows(~old).pruned()
    none = new.replace(comparisons=new.comparisons.head(0))
    adapted = model.adapt(none)
    assert set(adapted.annotators_) > set(model.annotators_)
    np.testing.assert_allclose(adapted.prob(new), model.prob(new))


def test_a_model_of_everyone_cannot_adapt(study):
    with pytest.raises(NotSupported, match="alike"):
        bradley_terry(encoder="embedding").fit(study.data).adapt(study.data)


def test_utility_differences_are_logits(study):
    model = bradley_terry(encoder="embedding").fit(study.data)
    utility = dict(zip(study.data.responses["response_id"], model.utility(study.data)))
    pairs = study.data.comparisons.head(20)
    logit = [utility[a] - utility[b] for a, b in pairs.select("response_a", "response_b").rows()]
    np.testing.assert_allclose(1 / (1 + np.exp(-np.array(logit))), model.prob(study.data)[:20])


def test_bad_input_is_refused_before_any_fitting(study):
    data = study.data
    bare = data.replace(comparisons=data.comparisons.drop("annotator_id"))
    with pytest.raises(InputError, match="annotators"):
        Composed(population=Mixture(2), encoder="embedding").fit(bare)
    with pytest.raises(InputError, match="comparisons"):
        bradley_terry(encoder="embedding").fit(data.replace(comparisons=data.comparisons.head(0)))
    unjudged = data.replace(comparisons=data.comparisons.with_columns(outcome=pl.lit(None, pl.String)))
    with pytest.raises(InputError, match="no judgment"):
        bradley_terry(encoder="embedding").fit(unjudged)
    short = data.replace(responses=data.responses.with_columns(pl.col("embedding").list.head(3)))
    model = bradley_terry(encoder="embedding").fit(data)
    with pytest.raises(InputError, match="dimensions"):
        model.prob(short)
    with pytest.raises(InputError, match="Did you mean"):
        Composed(kernel="diference").fit(data)
