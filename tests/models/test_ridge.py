"""The ridge chosen by held-out judgments: equal to brute force, better than any fixed one where it matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from preflearn.models import Composed, load
from preflearn.models.fitting import ridge
from preflearn.models.fitting.holdout import folds
from preflearn.models.fitting.linear import linear_of
from preflearn.models.fitting.ridge import FOLDS, choose_ridge
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.solvers.newton import maximise
from preflearn.models.solvers.penalised import Problem
from preflearn.simulate.embedded import embedded

W = np.zeros(48)
W[:4] = 0.8


def study(n, seed=1, **options):
    """Four features that matter among 48, few prompts."""
    return embedded(
        lambda a, b, who, prompt: (a - b) @ W,
        features=48,
        prompts=60,
        annotators=n // 10,
        votes=10,
        seed=seed,
        **options,
    )


def log_loss(model, data):
    p = model.prob(data)
    won = (data.comparisons["outcome"] == "a").to_numpy()
    return -np.log(np.where(won, p, 1 - p)).mean()


def test_cross_validation_equals_brute_force():
    model = bradley_terry(encoder="embedding", noise=("position",), ridge=3.0, posterior="sandwich")
    model.fit(study(600, shown_first=0.3).data)
    network, batch = model._training.network, model._training.batch
    found = choose_ridge(network, batch, model.fitting, 0)
    problem = linear_of(network, batch).problem
    fold = folds(batch, FOLDS, 0)["pairs"].numpy()
    assert found.folds == FOLDS == fold.max() + 1
    for given, loss in found.curve:
        total = 0.0
        for k in range(FOLDS):
            parts = [
                Problem(problem.design, problem.link, problem.target, problem.weight * mask[:, None], ridge=r)
                for mask, r in ((fold != k, given), (fold == k, 0.0))
            ]
            total -= parts[1].evaluate(maximise(parts[0]).parameters).log_likelihood
        assert loss == pytest.approx(total / len(fold), abs=1e-4)
    assert found.ridge == min(found.curve, key=lambda point: point[1])[0]


def test_it_beats_fixed_ridges_where_features_are_many():
    train, test = study(500), study(4000, seed=2)
    losses = {
        given: log_loss(bradley_terry(encoder="embedding", ridge=given).fit(train.data), test.data)
        for given in (1.0, 3000.0, "prior", "auto")
    }
    assert losses["auto"] < losses[1.0] - 0.03
    assert losses["auto"] < losses[3000.0] - 0.01
    assert losses["auto"] < losses["prior"] + 0.005


def test_prompts_are_never_on_both_sides(monkeypatch):
    """Responses that are liked or not for no reason the features know can still be learned by heart, vote by vote."""
    v = np.random.default_rng(0).standard_normal(64)
    liking = lambda x: 2 * np.sin(40 * (x @ v))  # noqa: E731 - a taste
    planted = embedded(
        lambda a, b, who, prompt: liking(a) - liking(b), features=64, prompts=40, annotators=150, votes=10, seed=3
    ).data
    by_prompt = bradley_terry(encoder="embedding", ridge="auto").fit(planted)
    assert by_prompt.ridge_ >= 1000
    assert by_prompt.ridge_curve_[0][1] > np.log(2) + 0.1, "weak ridges are worse than knowing nothing"

    def dealt(batch, count, seed):
        return {"pairs": torch.randperm(len(batch.pairs), generator=torch.Generator().manual_seed(seed)) % count}

    monkeypatch.setattr(ridge, "folds", dealt)
    by_row = bradley_terry(encoder="embedding", ridge="auto").fit(planted)
    assert by_row.ridge_ < by_prompt.ridge_ / 5


@pytest.mark.parametrize("options", [{"head": "skew", "kernel": "skew"}, {"population": "mixture"}])
def test_other_models_choose_too(options, tmp_path):
    data = study(150).data
    model = Composed(encoder="embedding", ridge="auto", **options).fit(data)
    tried = [given for given, _ in model.ridge_curve_]
    assert len(tried) >= 3 and model.ridge_ in tried and model.ridge_ > 1.0
    assert f"A ridge of {model.ridge_:g} predicted held-out judgments best" in model.notes_[0]
    assert Composed(encoder="embedding", ridge="auto", **options).fit(data).ridge_curve_ == model.ridge_curve_
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").ridge_ == model.ridge_


def test_too_few_judgments_are_no_failure():
    data = study(10).data
    model = bradley_terry(encoder="embedding", ridge="auto").fit(data.replace(comparisons=data.comparisons.head(1)))
    assert model.ridge_ == 48.0 and "too few judgments" in model.notes_[0]


def test_the_prior_of_a_logit_does_not_depend_on_the_number_of_features():
    for features in (4, 64):
        planted = embedded(lambda a, b, who, prompt: a[:, 0] - b[:, 0], features=features, annotators=4, seed=1)
        model = bradley_terry(encoder="embedding").fit(planted.data)
        assert model.ridge_ == features
