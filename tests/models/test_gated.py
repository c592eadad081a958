"""Models in which the prompt or the context decides what counts, on planted tastes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.contract import check_preference_model

from preflearn.models.fitting.routed import RoutedStages
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.gated import armorm, context_aware, micro, orchestrator
from preflearn.simulate.embedded import embedded

ATTRIBUTES = 4


def shares(prompt):
    """True weights of the attributes given the prompt's features: one clearly leads."""
    raw = np.exp(3 * prompt[:, :ATTRIBUTES])
    return raw / raw.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def by_prompt():
    w = np.random.default_rng(5).standard_normal((ATTRIBUTES, 16))

    def taste(a, b, who, prompt):
        return (shares(prompt) * ((a - b) @ w.T)).sum(1)

    return embedded(taste, prompts=600, annotators=100, votes=40, seed=3)


def test_micro_routes_by_prompt(by_prompt):
    train, test = by_prompt.halves(0.7)
    data, held = by_prompt.rows(train), by_prompt.rows(test)
    pooled = bradley_terry(encoder="embedding").fit(data).prob(held)
    model = micro(4, on="prompt", hidden=(), fitting=RoutedStages(starts=2), encoder="embedding").fit(data)
    assert by_prompt.right(model.prob(held), test) > by_prompt.right(pooled, test) + 0.08
    check_preference_model(model, held)


@pytest.fixture(scope="module")
def by_context(by_prompt):
    """The same votes, each under one of two contexts that reverse the taste."""
    rng = np.random.default_rng(9)
    w = rng.standard_normal(16)
    side = rng.integers(0, 2, 6000)
    signs = np.where(side == 0, 1.0, -1.0)
    study = embedded(lambda a, b, who, prompt: signs * ((a - b) @ w), annotators=100, votes=60, seed=4)
    names = np.array(["be brief", "be thorough"])[side]
    return study, names


def test_context_aware_reverses_with_the_context(by_context):
    study, names = by_context
    data = study.data.replace(comparisons=study.data.comparisons.with_columns(context=pl.Series(names)))
    train, test = study.halves()
    keep = lambda mask: data.replace(comparisons=data.comparisons.filter(pl.Series(mask)))  # noqa: E731
    model = context_aware(2, encoder="embedding").fit(keep(train))
    assert study.right(model.prob(keep(test)), test) > 0.95
    blind = keep(test).replace(comparisons=keep(test).comparisons.drop("context"))
    assert np.abs(model.prob(blind) - 0.5).mean() < 0.05
    check_preference_model(model, keep(test))
    check_preference_model(model, blind)


def test_micro_learns_contexts_from_few():
    """Prompts tell the two tastes apart in three of four cases; 200 judgments say what the context does."""
    rng = np.random.default_rng(9)
    w = rng.standard_normal(16)
    against = rng.random(6000) < 0.25
    sides = []

    def taste(a, b, who, prompt):
        side = np.where((prompt[:, 0] > 0) ^ against, 1.0, -1.0)
        sides.append(side)
        return side * ((a - b) @ w)

    study = embedded(taste, annotators=100, votes=60, seed=4)
    names = np.where(sides[0] > 0, "be brief", "be thorough")
    train, test = study.halves()
    told = test.copy()
    told[np.flatnonzero(train)[:200]] = True
    context = pl.Series(names).to_frame("c").select(pl.when(pl.Series(told)).then("c")).to_series()
    data = study.data.replace(comparisons=study.data.comparisons.with_columns(context=context))
    train_data = data.replace(comparisons=data.comparisons.filter(pl.Series(train)))
    held = data.replace(comparisons=data.comparisons.filter(pl.Series(test)))
    model = micro(2, encoder="embedding", hidden=(), fitting=RoutedStages(starts=2)).fit(train_data)
    blind = model.prob(held.replace(comparisons=held.comparisons.drop("context")))
    assert study.right(model.prob(held), test) > study.right(blind, test) + 0.1


@pytest.fixture(scope="module")
def rated(by_prompt):
    """The votes by prompt, and noisy ratings of the four attributes and of length, which shows in all of them."""
    rng = np.random.default_rng(11)
    w = np.random.default_rng(5).standard_normal((ATTRIBUTES, 16))
    n = len(by_prompt.x)
    length = by_prompt.x[:, 0] + 0.3 * rng.standard_normal(n)
    scores = by_prompt.x @ w.T + 1.5 * length[:, None]
    values = np.column_stack([scores, length]) + 0.5 * rng.standard_normal((n, ATTRIBUTES + 1))
    names = [*(f"attribute-{k}" for k in range(ATTRIBUTES)), "length"]
    ratings = pl.concat(
        pl.DataFrame(
            {
                "rating_id": [f"{name}-{i}" for i in range(n)],
                "response_id": [f"r-{i}" for i in range(n)],
                "criterion_id": [name] * n,
                "value": 10 + 2 * values[:, k],
            }
        )
        for k, name in enumerate(names)
    )
    return by_prompt.data.replace(ratings=ratings).completed()


def of_prompts(study, data, mask):
    """The data about some prompts only, ratings included."""
    prompts = pl.Series([f"p-{k}" for k in np.unique(study.prompt[mask])])
    responses = data.responses.filter(pl.col("prompt_id").is_in(prompts.implode()))
    mine = pl.col("response_id").is_in(responses["response_id"].implode())
    return data.replace(
        comparisons=data.comparisons.filter(pl.Series(mask)), ratings=data.ratings.filter(mine), responses=responses
    )


def test_armorm_weighs_attributes_by_prompt(by_prompt, rated):
    train, test = by_prompt.halves(0.7)
    data, held = of_prompts(by_prompt, rated, train), of_prompts(by_prompt, rated, test)
    pooled = by_prompt.right(
        bradley_terry(encoder="embedding").fit(data.replace(ratings=rated.ratings.head(0))).prob(held), test
    )
    model = armorm(hidden=(), temperature=1.0, encoder="embedding").fit(data)
    careful = armorm("length", hidden=(), temperature=1.0, encoder="embedding").fit(data)
    taught = orchestrator(hidden=(), encoder="embedding").fit(data)
    differences = orchestrator("winner_minus_loser", hidden=(), encoder="embedding").fit(data)
    right = [by_prompt.right(each.prob(held), test) for each in (model, careful, taught, differences)]
    assert right[1] > pooled + 0.1
    assert right[1] > right[2] + 0.03, "scores of winners are not why they won"
    assert right[3] > right[2]
    check_preference_model(careful, held)
    found = careful.rate(held)
    values = held.ratings["value"].to_numpy()
    attributes = held.ratings["criterion_id"].cast(pl.String).to_numpy() == "attribute-0"
    assert np.corrcoef(model.rate(held).mean[attributes], values[attributes])[0, 1] > 0.9
    assert found.mean.shape == values.shape


def test_verbosity_is_taken_out(by_prompt, rated):
    """Adjusted scores rank responses independently of length, on responses that the model never saw."""
    train, test = by_prompt.halves(0.7)
    data, held = of_prompts(by_prompt, rated, train), of_prompts(by_prompt, rated, test)
    most = int(np.argmax(np.random.default_rng(5).standard_normal((ATTRIBUTES, 16))[:, 0]))
    length = held.ratings.filter(pl.col("criterion_id").cast(pl.String) == "length")["value"].to_numpy()
    for verbosity, low, high in (("length", -0.15, 0.15), (None, 0.2, 1.0)):
        model = armorm(verbosity, hidden=(), encoder="embedding").fit(data)
        scores = model.represent(held)
        place = model.vocabulary_.columns["criterion"].index(f"attribute-{most}")
        found = float(np.corrcoef(scores[:, place], length)[0, 1])
        assert low < found < high, (verbosity, found)
