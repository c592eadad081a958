"""Temperature scaling recovers planted temperatures, on any link, and says when there is none."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch", reason="the torch extra is not installed")

from preflearn.choice import Binary, Davidson, one_hot
from preflearn.errors import InputError
from preflearn.train import fit_temperature


@pytest.mark.parametrize("planted", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("link", [Binary(), Davidson()], ids=["Binary", "Davidson"])
def test_planted_temperature(link: object, planted: float) -> None:
    """20,000 labels drawn at the true logits; the model reports them too large by `planted`. Sd about 0.015."""
    random = np.random.default_rng(5)
    truth = random.normal(0, 1.5, 20_000)
    parameters = link.initial()
    target = one_hot(link.sample(truth, parameters, random), len(link.outcomes))
    found = fit_temperature(partial(link.log_prob, parameters=parameters), target, truth * planted)
    assert found.temperature == pytest.approx(planted, rel=0.06)
    assert found.after <= found.before
    assert not found.at_limit
    if planted != 1.0:
        assert found.before - found.after > 0.02


def test_expected_outcomes_give_the_temperature_exactly() -> None:
    """Soft targets that are the true probabilities: the minimum lies at the planted value."""
    truth, link = np.linspace(-4, 4, 41), Davidson()
    target = np.exp(link.log_probs(truth, (0.3,)))
    weight = np.linspace(0.1, 2, 41)
    found = fit_temperature(partial(link.log_prob, parameters=(0.3,)), target, 3 * truth, weight=weight)
    assert found.temperature == pytest.approx(3, abs=1e-5)
    entropy = -(weight * (target * np.log(target)).sum(-1)).sum() / weight.sum()
    assert found.after == pytest.approx(entropy, abs=1e-10)


def test_weights_are_counts() -> None:
    random = np.random.default_rng(0)
    logit, count = random.normal(0, 2, 300), random.integers(1, 4, 300)
    target = one_hot(random.integers(0, 2, 300), 2)
    counted = fit_temperature(Binary().log_prob, target, logit, weight=count)
    repeated = fit_temperature(Binary().log_prob, np.repeat(target, count, 0), np.repeat(logit, count))
    assert counted == pytest.approx(repeated, rel=1e-6)


def test_perfect_and_reversed_orders_end_at_the_limit() -> None:
    logit = np.array([-2.0, -1.0, 1.0, 2.0])
    right = one_hot((logit > 0).astype(int), 2)
    perfect = fit_temperature(Binary().log_prob, right, logit)
    assert perfect.at_limit
    assert perfect.temperature < 0.01
    reversed_ = fit_temperature(Binary().log_prob, right[:, ::-1], logit)
    assert reversed_.at_limit
    assert reversed_.after == pytest.approx(np.log(2), abs=0.01)


@pytest.mark.parametrize(
    ("target", "logit", "weight"),
    [
        (np.ones((3, 2)), np.ones(4), None),
        (np.ones((0, 2)), np.ones(0), None),
        (np.ones((2, 2)), np.array([1.0, np.nan]), None),
        (np.ones((2, 2)), np.ones(2), [0, 0]),
    ],
)
def test_rows_that_cannot_be_used(target: np.ndarray, logit: np.ndarray, weight: list | None) -> None:
    with pytest.raises(InputError):
        fit_temperature(Binary().log_prob, target, logit, weight=weight)
