"""Regret against return in a grid world, rewards of steps, priorities, policies as preference models."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from tests.contract import check_preference_model
from tests.models.grid import KINDS, SIZE, Grid

from preflearn.choice import kernels
from preflearn.data import PreferenceData
from preflearn.errors import InputError, NotSupported
from preflearn.models import Composed, load
from preflearn.models.control import Recorded, StepReward, regret_features
from preflearn.models.kernels import Lexicographic
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.trajectories import implicit_reward, partial_return, regret

SEED = 0
TRUTH = np.array([-1, -2, -0.2])


def compared(features: np.ndarray, a, b, wins, **columns) -> PreferenceData:
    """Comparisons of responses a and b [n] with these features [R, d] as embedding."""
    return PreferenceData(
        responses=pl.DataFrame(
            {
                "response_id": [f"r-{i}" for i in range(len(features))],
                "embedding": pl.Series(features.astype(np.float32)).arr.to_list(),
                **columns,
            }
        ),
        comparisons=pl.DataFrame(
            {
                "comparison_id": [f"c-{i}" for i in range(len(a))],
                "response_a": [f"r-{i}" for i in a],
                "response_b": [f"r-{i}" for i in b],
                "outcome": np.where(wins, "a", "b"),
            }
        ),
    )


class TestRegret:
    """People who prefer the smaller regret; fields cost 1, 2 and .2."""

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls):
        rng = np.random.default_rng(SEED)
        grid = Grid(rng.choice(KINDS, size=SIZE * SIZE, p=[0.3, 0.3, 0.4]))
        plans = np.unique([grid.plan(-np.exp(rng.uniform(-3, 1, KINDS))) for _ in range(60)], axis=0)
        successors = np.stack([grid.successors(plan) for plan in plans], axis=1)
        best = grid.successors(grid.plan(TRUTH)) @ TRUTH
        total, start, end = grid.walks(3000, 3, rng)
        advantage = total @ TRUTH + best[end] - best[start]
        a, b = np.arange(1500), np.arange(1500, 3000)
        wins = rng.random(1500) < 1 / (1 + np.exp(-(advantage[a] - advantage[b])))
        features = regret_features(total, successors[start], successors[end])
        return grid, len(plans), compared(total, a, b, wins), compared(features, a, b, wins), advantage

    @staticmethod
    def reached(grid, weights) -> float:
        """Mean true return of the policy that is best under fitted weights, over starting fields."""
        plan = grid.plan(np.minimum(weights, -1e-3))
        return float((grid.successors(plan) @ TRUTH).mean())

    def test_finds_the_reward_and_the_return_does_not(self, world):
        grid, policies, sums, states, advantage = world
        model = regret(policies).fit(states)
        found = model.network_.head.weight.detach().numpy()[0]
        np.testing.assert_allclose(found, TRUTH, atol=0.3)
        plain = partial_return(encoder="embedding").fit(sums).network_.head.last.weight.detach().numpy()[0]
        # What costs little seems to cost more, relative to the rest, to a model of returns.
        found_error, plain_error = found[2] / found[0] - 0.2, plain[2] / plain[0] - 0.2
        assert plain_error > 0.05 and abs(found_error) < 0.6 * plain_error
        best = self.reached(grid, TRUTH)
        assert self.reached(grid, found) == pytest.approx(best, abs=0.03)
        assert self.reached(grid, plain) <= self.reached(grid, found)
        assert np.corrcoef(model.utility(states), advantage)[0, 1] > 0.995
        check_preference_model(model, states)

    def test_values_are_those_of_the_best_policy(self, world):
        _, policies, _, states, _ = world
        head = regret(policies).fit(states).network_.head
        x = torch.tensor([[1.0] * KINDS + [0.0] * (2 * policies * KINDS)]).double()
        successors = torch.randn(7, policies, KINDS, dtype=torch.float64)
        each = torch.einsum("mjp,p->mj", successors, head.weight[0])
        torch.testing.assert_close(head.value(successors)[:, 0], each.max(1).values, atol=2e-3, rtol=0)
        torch.testing.assert_close(head(x)[0, 0, 0], head.weight[0].sum())

    def test_features_must_fit(self, world):
        _, policies, sums, _, _ = world
        with pytest.raises(InputError, match="successor features"):
            regret(policies).fit(sums)
        with pytest.raises(InputError, match=r"\[R, J, p\]"):
            regret_features(np.zeros((3, 2)), np.zeros((3, 4, 3)), np.zeros((3, 4, 3)))


def test_rewards_of_steps_sum_to_returns():
    """A linear reward of steps is the linear utility of their sums; padding does not count."""
    rng = np.random.default_rng(SEED)
    steps, there = rng.standard_normal((200, 5, 3)), np.arange(5) < rng.integers(1, 6, size=200)[:, None]
    shown = np.concatenate([np.where(there[..., None], steps, 7.0), there[..., None]], axis=2).reshape(200, -1)
    discounted = (steps * there[..., None] * 0.9 ** np.arange(5)[:, None]).sum(1)
    a, b = np.arange(100), np.arange(100, 200)
    wins = rng.random(100) < 1 / (1 + np.exp(-(discounted[a] - discounted[b]).sum(1)))
    by_steps = partial_return(steps=5, discount=0.9, encoder="embedding").fit(compared(shown, a, b, wins))
    by_sums = partial_return(encoder="embedding").fit(compared(discounted, a, b, wins))
    np.testing.assert_allclose(
        by_steps.utility(compared(shown, a, b, wins)), by_sums.utility(compared(discounted, a, b, wins)), atol=2e-3
    )
    with pytest.raises(InputError, match="are not 6 steps"):
        Composed(head=StepReward(6), standardise=False, encoder="embedding").fit(compared(shown, a, b, wins))


class TestPriorities:
    """Three criteria in order; the first difference of half a standard deviation decides."""

    @pytest.fixture(scope="class")
    @classmethod
    def study(cls):
        rng = np.random.default_rng(SEED)
        x = rng.standard_normal((1200, 3))
        x /= x.std(0)
        a, b = np.arange(600), np.arange(600, 1200)
        label = kernels.lexicographic(x[a], x[b], np.full(3, 0.5))
        return x, compared(x, a, b, label > 0), label

    def test_are_followed(self, study, tmp_path):
        _, data, label = study
        model = Composed(head=Recorded(), kernel=Lexicographic((0.5, 0.5, 0.5)), encoder="embedding", ridge=30.0).fit(
            data
        )
        assert np.mean((model.prob(data) > 0.5) == (label > 0)) > 0.995  # features are float32, thresholds sharp
        assert (model.network_.kernel.log_slope > 0).all()  # labels without noise: every criterion is believed
        check_preference_model(model, data)
        with pytest.raises(NotSupported, match="intransitive"):
            model.utility(data)
        model.save(tmp_path / "m")
        np.testing.assert_array_equal(load(tmp_path / "m").prob(data), model.prob(data))

    def test_a_utility_learns_most_of_them(self, study):
        """Known figures: a linear model agrees with .935 of the labels, with weights 1 : .28 : .06."""
        _, data, _ = study
        model = bradley_terry(ridge=1.0, encoder="embedding").fit(data)
        rng = np.random.default_rng(SEED + 1)
        fresh = rng.standard_normal((4000, 3))
        new = compared(fresh, np.arange(2000), np.arange(2000, 4000), np.zeros(2000, bool))
        truth = kernels.lexicographic(fresh[:2000], fresh[2000:], np.full(3, 0.5)) > 0
        agreement = np.mean((model.prob(new) > 0.5) == truth)
        assert 0.9 < agreement < 0.97
        weights = model.network_.head.last.weight.detach().numpy()[0]
        assert weights[1] / weights[0] == pytest.approx(0.28, abs=0.08)
        assert weights[2] / weights[0] == pytest.approx(0.06, abs=0.06)

    def test_need_a_threshold_for_each(self, study):
        _, data, _ = study
        for thresholds, said in (((0.5, 0.5), "one threshold"), ((0.5, 0.5, -0.1), "'thresholds'")):
            with pytest.raises(InputError, match=said):
                Composed(head="recorded", kernel=Lexicographic(thresholds), encoder="embedding").fit(data)
        with pytest.raises(InputError, match="learns nothing"):
            Composed(head="recorded", kernel=Lexicographic((0.5, 0.5, 0.5)), population="mixture").fit(
                data.replace(comparisons=data.comparisons.with_columns(annotator_id=pl.lit("one")))
            )


def test_a_policy_is_a_preference_model():
    """Its implicit reward answers as it stands; a learned beta makes the answers honest."""
    rng = np.random.default_rng(SEED)
    policy, reference = -80 + 12 * rng.standard_normal((2, 1600))
    reward = policy - reference
    a, b = np.arange(800), np.arange(800, 1600)
    wins = rng.random(800) < 1 / (1 + np.exp(-0.05 * (reward[a] - reward[b])))
    data = compared(np.zeros((1600, 1)), a, b, wins, policy_logp=policy, reference_logp=reference)
    known = implicit_reward(beta=0.3).fit(data)
    np.testing.assert_allclose(known.prob(data), 1 / (1 + np.exp(-0.3 * (reward[a] - reward[b]))), atol=1e-5)
    learned = implicit_reward(beta=0.3, learned=True).fit(data)
    assert float(learned.network_.head.log_beta.detach().exp()) == pytest.approx(0.05, rel=0.2)
    check_preference_model(learned, data)
    with pytest.raises(InputError, match="two features"):
        implicit_reward(encoder="embedding").fit(data)


def test_rewards_that_are_no_sums_of_features_need_the_steps(tmp_path):
    """A reward that depends on the size of a feature: read from files, learned by a perceptron, not by sums."""
    rng = np.random.default_rng(SEED)
    walks = rng.standard_normal((60, 20, 2))
    for number, walk in enumerate(walks):
        np.savez(tmp_path / f"{number}.npz", observations=walk, actions=np.zeros((20, 1)))
    start = rng.integers(0, 14, size=900)
    length = rng.integers(3, 7, size=900)
    whole = rng.integers(60, size=900)
    value = np.array([2 * np.abs(walks[w, s : s + n, 0]).sum() for w, s, n in zip(whole, start, length)])
    value -= 2 * 0.8 * length
    a, b = np.arange(450), np.arange(450, 900)
    wins = rng.random(450) < 1 / (1 + np.exp(-(value[a] - value[b])))
    data = compared(np.zeros((900, 1)), a, b, wins).replace(
        media=pl.DataFrame(
            {
                "media_id": [f"m-{i}" for i in range(60)],
                "kind": "trajectory",
                "uri": [(tmp_path / f"{i}.npz").as_uri() for i in range(60)],
            }
        ),
        responses=pl.DataFrame(
            {
                "response_id": [f"r-{i}" for i in range(900)] + [f"whole-{i}" for i in range(60)],
                "media": [[] for _ in range(900)] + [[f"m-{i}"] for i in range(60)],
                "part_of": [f"whole-{w}" for w in whole] + [None] * 60,
                "start": [*start.astype(float), *[None] * 60],
                "end": [*(start + length).astype(float), *[None] * 60],
                "unit": ["step"] * 900 + [None] * 60,
            },
            schema_overrides={"media": pl.List(pl.String)},
        ),
    )
    train, test = (data.replace(comparisons=part) for part in (data.comparisons.head(350), data.comparisons.tail(100)))
    truth = (value[a] > value[b])[350:]
    steps = partial_return(hidden=(16,), steps=6).fit(train)
    sums = partial_return().fit(train)
    assert np.mean((steps.prob(test) > 0.5) == truth) > np.mean((sums.prob(test) > 0.5) == truth) + 0.15
    with pytest.raises(InputError, match="longest=6"):
        partial_return(hidden=(16,), steps=5).fit(train)
