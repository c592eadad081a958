"""Combinations of parts in one line each: better than what they are made of, and whole preference models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest
from tests.contract import check_preference_model
from tests.models.grid import KINDS, Grid
from tests.models.test_control import compared

from preflearn.choice import RaoKupper
from preflearn.experiments.preferences import combinations
from preflearn.experiments.preferences.combinations import denoised, excess, with_ties
from preflearn.models import Composed
from preflearn.models.noise import Position, reliabilities
from preflearn.models.outcomes import Comparisons
from preflearn.models.recipes.noisy import reliability
from preflearn.models.recipes.plural import gpm, mixture
from preflearn.models.recipes.strength import ordinal
from preflearn.models.recipes.trajectories import partial_return
from preflearn.simulate.embedded import Embedded, embedded

SEED = 0

Case = tuple[Callable[[int], Embedded], Callable[[], Composed], Sequence[Composed], float, float]
CASES: dict[str, Case] = {  # study, combination, what it is made of, share of prompts to learn from, least lead
    "grades_of_five": (
        combinations.graded_by_five,
        combinations.reliable_grades,
        [ordinal(), reliability(method="marginal")],
        0.7,
        0.0,
    ),
    "circles_of_eight": (combinations.circling_by_eight, combinations.reliable_cycles, [gpm()], 0.7, 0.05),
    "circles_of_camps": (
        combinations.circling_camps,
        lambda: combinations.camps_with_cycles(starts=2),
        [gpm(), mixture(2, starts=1)],
        0.5,
        0.15,
    ),
    "grades_of_camps": (
        combinations.graded_by_camps,
        lambda: combinations.camps_with_grades(starts=2),
        [ordinal(), mixture(2, starts=2)],
        0.5,
        0.01,
    ),
    "doubtful_camps": (
        combinations.unreliable_camps,
        lambda: combinations.reliable_camps(starts=2),
        [mixture(2, starts=2), reliability(method="marginal")],
        0.5,
        0.05,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_combination_is_better_than_its_parts(name: str) -> None:
    plant, make, parts, share, lead = CASES[name]
    study = plant(SEED)
    train, test = study.halves(share)
    both = make().fit(study.rows(train))
    found = study.right(both.denoised().prob(study.rows(test)), test)
    assert found > max(denoised(part, study, train, test) for part in parts) + lead


@pytest.mark.parametrize("name", [pytest.param(k, marks=pytest.mark.slow if "camps" in k else ()) for k in CASES])
def test_a_combination_is_a_preference_model(name: str) -> None:
    plant, make, _, share, _ = CASES[name]
    study = plant(SEED)
    train, test = study.halves(share)
    model = make().fit(study.rows(train & (np.cumsum(train) <= 200)).pruned())
    check_preference_model(model, study.rows(test & (np.cumsum(test) <= 200)))


def test_who_is_to_be_believed_is_seen_in_grades() -> None:
    study = combinations.graded_by_five(SEED)
    eta = dict(reliabilities(combinations.reliable_grades().fit(study.data)).rows())
    assert np.corrcoef([eta[f"person-{u}"] for u in range(5)], combinations.FIVE)[0, 1] > 0.85


def test_ties_of_people() -> None:
    study = combinations.tied_people(SEED)
    train, test = study.halves()
    models = [model.fit(study.rows(train)) for model in (combinations.offsets_with_ties(), with_ties())]
    personal, common = (excess(model, study, test) for model in models)
    assert 0 < personal < common - 0.05
    check_preference_model(models[0], study.rows(test & (np.cumsum(test) <= 300)))


def test_ties_with_an_order_of_showing() -> None:
    """Rao and Kupper's threshold and the advantage of the first place, each where it was planted."""
    w = np.random.default_rng(SEED).standard_normal(8) / 2
    study = embedded(
        lambda a, b, who, prompt: (a - b) @ w,
        features=8,
        annotators=20,
        votes=200,
        link=RaoKupper(),
        parameters=(0.6,),
        shown_first=0.5,
        seed=SEED,
    )
    model = Composed(outcomes=(Comparisons(RaoKupper()),), noise=(Position(),), encoder="embedding").fit(study.data)
    assert 0.5 < float(model.network_.choice.shape.shape_parameters.detach()) < 0.7
    assert 0.35 < float(model.network_.noises[0].effect.detach()) < 0.65
    check_preference_model(model, study.rows(np.arange(4000) < 400))
    frame = study.data.comparisons
    shown = [study.data.replace(comparisons=frame.with_columns(shown_first=pl.lit(side))) for side in ("a", "b")]
    first, second = (model.prob(data) for data in shown)
    assert (first > second).all()
    np.testing.assert_allclose(model.prob(study.data, symmetrised=True), (first + second) / 2, atol=1e-9)
    # An advantage of either side pulls the mean of both orders towards 1/2.
    plain = model.denoised().prob(study.data)
    assert (np.abs((first + second) / 2 - 0.5) <= np.abs(plain - 0.5) + 1e-9).all()


def test_returns_are_a_preference_model() -> None:
    rng = np.random.default_rng(SEED)
    grid = Grid(rng.choice(KINDS, size=25))
    total, _, _ = grid.walks(400, 3, rng)
    reward = total @ np.array([-1.0, -2, -0.2])
    a, b = np.arange(200), np.arange(200, 400)
    data = compared(total, a, b, rng.random(200) < 1 / (1 + np.exp(-(reward[a] - reward[b]))))
    check_preference_model(partial_return(encoder="embedding").fit(data), data)
