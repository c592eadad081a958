"""The thin line: data to prediction through every part, on planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from tests.contract import check_preference_model

from preflearn.models import Composed
from preflearn.models.fitting import FullBatch
from preflearn.models.heads import SkewRepresentation
from preflearn.models.kernels import Skew
from preflearn.models.population import Mixture
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.simulate.embedded import embedded


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(0)
    w = rng.standard_normal(16) / 2
    return embedded(lambda a, b, who, prompt: (a - b) @ w, seed=1)


def test_bradley_terry_recovers_planted_weights(study):
    train, test = study.halves()
    model = bradley_terry(encoder="embedding").fit(study.rows(train))
    p = model.prob(study.rows(test))
    assert study.right(p, test) > 0.95
    check_preference_model(model, study.rows(test))


def test_mixture_knows_opposite_camps():
    rng = np.random.default_rng(3)
    w = rng.standard_normal(16)
    camp = np.where(np.arange(100) < 50, 1.0, -1.0)
    study = embedded(lambda a, b, who, prompt: camp[who] * ((a - b) @ w), seed=2)
    train, test = study.halves()
    model = Composed(population=Mixture(2), encoder="embedding", fitting=FullBatch(starts=3)).fit(study.rows(train))
    assert study.right(model.prob(study.rows(test)), test) > 0.9
    check_preference_model(model, study.rows(test))


def test_general_preference_model_sees_cycles(study):
    rng = np.random.default_rng(4)
    m = rng.standard_normal((16, 16))
    skew = (m - m.T) / 4
    study = embedded(lambda a, b, who, prompt: np.einsum("ni,ij,nj->n", a, skew, b), votes=80, seed=2)
    train, test = study.halves(0.8)
    model = Composed(head=SkewRepresentation(8), kernel=Skew(), encoder="embedding").fit(study.rows(train))
    assert study.right(model.prob(study.rows(test)), test) > 0.8
    check_preference_model(model, study.rows(test))
