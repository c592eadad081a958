"""The contract of a preference model, on every recipe there is; a new recipe without a case here fails."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.contract import check_preference_model
from tests.models.makers import gumbel_rankings, with_rankings, with_ratings

import preflearn
from preflearn.errors import InputError, NotSupported
from preflearn.models import load
from preflearn.models.recipes import RECIPES
from preflearn.models.spec import build
from preflearn.simulate.embedded import embedded

STORED = {"encoder": "embedding", "ridge": 2.0}
GATED = {"hidden": (4,), **STORED}
ONE_START = {"em": {"starts": 1, "rounds": 20}}
SHORT = {"full_batch": {"iterations": 60}}
CASES = {
    "armorm": GATED,
    "attributes": {"names": ("age",), **STORED},
    "bradley_terry": STORED,
    "context_aware": {"channels": 2, "fitting": SHORT, **STORED},
    "flips": STORED,
    "gpm": {"pairs": 1, "fitting": SHORT, **STORED},
    "groups": {"column": "annotators.group", **STORED},
    "helpsteer2": {"criterion": "tone", **STORED},
    "hybrid": {"pairs": 1, "fitting": SHORT, **STORED},
    "implicit_reward": {"learned": True},
    "lipo": STORED,
    "listmle": STORED,
    "margin_bt": STORED,
    "micro": {"components": 2, "fitting": {"micro": {"starts": 1, "rounds": 1, "iterations": 30}}, **GATED},
    "mixture": {"fitting": ONE_START, **STORED},
    "offsets": {"precision": 1.0, **STORED},
    "orchestrator": GATED,
    "ordinal": STORED,
    "pal_a": {"fitting": SHORT, **STORED},
    "pal_b": {"fitting": SHORT, **STORED},
    "partial_return": {"encoder": "embedding"},
    "plackett_luce": STORED,
    "ranklist": STORED,
    "rating_regression": {"criterion": "tone", **STORED},
    "regret": {},
    "reliability": {"fitting": {"reliability_em": {"rounds": 10}}, **STORED},
    "scaled_bt": STORED,
    "vpl": {"latent": 2, "steps": 4, **GATED},
}
"""Options that keep a fit short."""
NEWCOMERS = ("person-10", "person-11")


@pytest.fixture(scope="module")
def data():
    """Everything that a recipe asks for: people with attributes, contexts, strengths, ratings, rankings, policies."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal(6)
    camp = np.where(np.arange(12) < 6, 1.0, -0.5)
    study = embedded(
        lambda a, b, who, prompt: camp[who] * ((a - b) @ w), features=6, annotators=12, votes=12, prompts=24, seed=3
    )
    n, size = len(study.annotator), len(study.x)
    item = np.tile(np.arange(min(size, 40)), 2)
    rating = study.x[item] @ w + rng.standard_normal(len(item))
    rated = with_ratings(study, rating, item, criterion_id=np.repeat(["tone", "facts"], len(item) // 2).tolist())
    items = np.array([rng.permutation(size)[:4] for _ in range(40)])
    ranked = with_rankings(study, items, gumbel_rankings(study.x @ w, items, rng))
    return study.data.replace(
        ratings=rated.ratings,
        rankings=ranked.rankings,
        comparisons=study.data.comparisons.with_columns(
            strength=pl.Series(1 + (np.abs(study.logit) > 1).astype(int)),
            context=pl.Series(rng.choice(["brief", "kind"], n)),
            criterion_id=pl.lit("tone"),
        ),
        annotators=study.data.annotators.with_columns(
            age=pl.int_range(pl.len()), group=pl.Series(np.where(camp > 0, "left", "right"))
        ),
        responses=study.data.responses.with_columns(
            policy_logp=pl.Series(study.x @ w - 9), reference_logp=pl.Series(-9 + 0.1 * study.x[:, 0])
        ),
    )


def of(data, people, keep):
    """The comparisons of these people (or of all others); ratings and rankings stay."""
    rows = data.comparisons["annotator_id"].cast(pl.String).is_in(list(people))
    return data.replace(comparisons=data.comparisons.filter(rows if keep else ~rows))


def test_every_recipe_has_a_case():
    assert set(CASES) == set(RECIPES)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_contract(name, data, tmp_path):
    train, new = of(data, NEWCOMERS, keep=False), of(data, NEWCOMERS, keep=True)
    model = build(name, **CASES[name])
    with pytest.raises(InputError, match="not fitted"):
        model.prob(data)
    model.fit(train)
    check_preference_model(model, data)
    before = model.prob(data)
    assert np.ptp(before) > 0.01, "it has learned something"

    again = model.clone().fit(train)
    np.testing.assert_array_equal(again.prob(data), before, err_msg="the seed decides everything random")

    model.save(tmp_path / "m")
    stored = load(tmp_path / "m")
    np.testing.assert_allclose(stored.prob(data), before, atol=1e-12)
    assert stored.annotators_ == model.annotators_ and stored.name == model.name

    strangers = data.replace(
        comparisons=data.comparisons.with_columns(annotator_id=pl.lit("nobody")),
        annotators=data.annotators.head(0),
    )
    nobody = strangers.replace(comparisons=strangers.comparisons.drop("annotator_id"))
    np.testing.assert_allclose(model.prob(strangers), model.prob(nobody), atol=1e-12)
    assert bool(model.reservations(strangers)) == (model.network_.personal != [] or name == "groups")

    asked = new.replace(ratings=None, rankings=None) if model.network_.personal else new
    if model.network_.personal:
        adapted = model.adapt(asked)
        assert set(adapted.annotators_) == {*model.annotators_, *NEWCOMERS}
        assert np.isfinite(adapted.prob(data)).all()
        np.testing.assert_array_equal(model.prob(data), before, err_msg="the original is left alone")
    else:
        with pytest.raises(NotSupported, match="everyone alike"):
            model.adapt(asked)

    cyclic = name in ("gpm", "hybrid")
    if cyclic:
        with pytest.raises(NotSupported):
            model.utility(data)
    else:
        assert np.isfinite(model.utility(data)).all() and len(model.utility(data)) == data.height("responses")
    if "ratings" in model.plan_.tables:
        mean, sd = model.rate(data)
        assert np.isfinite(mean).all() and (sd > 0).all()
    else:
        with pytest.raises(NotSupported, match="not fitted to ratings"):
            model.rate(data)


def test_recipes_are_short_and_files_have_one_subject():
    home = Path(preflearn.__file__).parent
    for file in sorted((home / "models" / "recipes").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{file.name}: {node.name}"
    long = {
        str(file.relative_to(home)): len(file.read_text(encoding="utf-8").splitlines()) for file in home.rglob("*.py")
    }
    assert not {name: lines for name, lines in long.items() if lines > 500}
