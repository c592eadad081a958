"""Proofs of models of segments of trajectories, of policies read as models, and of recorded criteria in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data import PreferenceData
from preflearn.experiments.measures import Floats, averaged, slope
from preflearn.experiments.proof import Figures, proof
from preflearn.models import Composed
from preflearn.models.control import Recorded, regret_features
from preflearn.models.kernels import Lexicographic
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.trajectories import implicit_reward, partial_return, regret

Ints = npt.NDArray[np.int64]
SIZE, KINDS = 5, 3
COSTS = np.array([-1.0, -2.0, -0.2])
"""True rewards of entering a field of each kind."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Fields of several kinds; moves lead to neighbours (or nowhere, at the edge) until the last field, the goal."""

    kind: Ints

    @property
    def then(self) -> Ints:
        """Where each of four moves leads, [fields, 4]; the goal leads to itself."""
        row, column = np.divmod(np.arange(SIZE * SIZE), SIZE)
        moves = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])
        rows, columns = ((each[:, None] + moves[:, k]).clip(0, SIZE - 1) for k, each in enumerate((row, column)))
        then = rows * SIZE + columns
        then[self.goal] = self.goal
        return np.asarray(then)

    @property
    def goal(self) -> int:
        return SIZE * SIZE - 1

    def features(self, entered: Ints) -> Floats:
        """Indicators of the kind of entered fields, [..., KINDS]; none for the goal."""
        return np.asarray(np.eye(KINDS)[self.kind[entered]] * (entered != self.goal)[..., None])

    def plan(self, w: Floats) -> Ints:
        """The best move in each field under rewards w (negative), by value iteration, [fields]."""
        reward = self.features(self.then) @ w
        value = np.where(np.arange(SIZE * SIZE) == self.goal, 0.0, -1e3)
        for _ in range(4 * SIZE * SIZE):
            value = np.where(np.arange(SIZE * SIZE) == self.goal, 0.0, (reward + value[self.then]).max(1))
        return np.asarray((reward + value[self.then]).argmax(1))

    def successors(self, moves: Ints) -> Floats:
        """Summed features until the goal under a policy, [fields, KINDS]."""
        total, at = np.zeros((SIZE * SIZE, KINDS)), np.arange(SIZE * SIZE)
        for _ in range(SIZE * SIZE):
            at = self.then[at, moves[at]]
            total += self.features(at)
        return total


@proof(
    "regret",
    claim="cost of the cheapest kind of field relative to the dearest, people judging segments by regret",
    baseline="what the same judgments teach as partial returns",
    expected=0.1,
    limit=0.1,
    least_effect=0.02,
)
@averaged(24)
def judged_by_regret(seed: int) -> Figures:
    """A detour from a good place is worse than it looks, and its reward alone does not say so."""
    by_regret, by_return = _relative_costs(seed, of_regret=True)
    return Figures(by_regret, by_return)


@proof(
    "partial_return",
    claim="cost of the cheapest kind of field relative to the dearest, people judging segments by their return",
    baseline="what the same judgments teach as regrets",
    expected=0.1,
    limit=0.1,
    least_effect=0.1,
)
@averaged(24)
def judged_by_return(seed: int) -> Figures:
    """Who looks only at what happened is best modelled so."""
    by_regret, by_return = _relative_costs(seed, of_regret=False)
    return Figures(by_return, by_regret)


@proof(
    "implicit_reward",
    claim="learned beta where a policy's log-ratios times 0.3 are the utilities, 3,000 comparisons",
    baseline="the beta of .1 that is usual",
    expected=0.3,
    limit=0.1,
    least_effect=0.1,
)
@averaged(4)
def log_ratios(seed: int) -> Figures:
    """How bold a policy is as a model can be read off the comparisons."""
    rng = np.random.default_rng([seed, 15])
    policy, reference = -80 + 8 * rng.standard_normal((2, 1_500))
    columns = {"policy_logp": policy, "reference_logp": reference}
    data = _compared(np.zeros((1_500, 1)), 0.3 * (policy - reference), seed, 3_000, columns)
    model = implicit_reward(learned=True).fit(data)
    logit, utility = (each.utility(data) for each in (model, implicit_reward(beta=1.0).fit(data)))
    return Figures(slope(logit, utility), 0.1)


@proof(
    "lexicographic",
    claim="accuracy where the first of three recorded criteria that differs by half a deviation decides",
    baseline="a reward model linear in the criteria",
    expected=1.0,
    limit=0.05,
    least_effect=0.02,
)
@averaged(3)
def priorities(seed: int) -> Figures:
    """No weights give strict priorities."""
    rng = np.random.default_rng([seed, 16])
    x = rng.standard_normal((1_500, 3))
    a, b = rng.integers(1_500, size=(2, 4_000))
    data = _pairs(x, a, b, _priority(x[a] - x[b]) > 0)
    train, test = (data.replace(comparisons=data.comparisons[part]) for part in (slice(0, 2_000), slice(2_000, 4_000)))
    truth = test.comparisons["outcome"].to_numpy() == "a"
    ordered = Composed(head=Recorded(), kernel=Lexicographic((0.5, 0.5, 0.0)), encoder="embedding")
    return Figures(*(float(np.mean((m.fit(train).prob(test) > 0.5) == truth)) for m in (ordered, bradley_terry())))


def _priority(gap: Floats) -> Floats:
    """The difference on the first criterion where it exceeds .5, else on the last, [n]."""
    first, second, third = gap.T
    decisive: Floats = np.where(np.abs(first) > 0.5, first, np.where(np.abs(second) > 0.5, second, third))
    return decisive


def _relative_costs(seed: int, of_regret: bool) -> tuple[float, float]:
    """Cheapest to dearest cost as learned by the regret model, and by the partial return, from random segments."""
    rng = np.random.default_rng([seed, 13])
    world = Grid(rng.integers(KINDS, size=SIZE * SIZE))
    start = rng.integers(world.goal, size=1_000)
    at, total = start, np.zeros((1_000, KINDS))
    for _ in range(3):
        at = world.then[at, rng.integers(4, size=1_000)]
        total += world.features(at)
    # Policies that are best under random costs: the learned reward is planned for by the best of them.
    costs = rng.uniform(0.1, 3.0, (20, KINDS))
    successors = np.stack([world.successors(world.plan(-each)) for each in (-COSTS, *costs)], axis=1)
    utility = total @ COSTS
    if of_regret:
        best = successors[:, 0] @ COSTS
        utility = utility + best[at] - best[start]
    regrets = _compared(regret_features(total, successors[start], successors[at]), utility, seed)
    returns = _compared(total, utility, seed)
    fitted = regret(successors.shape[1]).fit(regrets), partial_return(encoder="embedding").fit(returns)
    weights = [next(model.network_.head.parameters()).detach().numpy()[0] for model in fitted]
    return float(weights[0][2] / weights[0][1]), float(weights[1][2] / weights[1][1])


def _compared(
    features: Floats, utility: Floats, seed: int, votes: int = 6_000, columns: dict[str, Floats] | None = None
) -> PreferenceData:
    """Votes about random pairs of responses with these utilities."""
    rng = np.random.default_rng([seed, 17])
    a, b = rng.integers(len(utility), size=(2, votes))
    won = rng.random(votes) < 1 / (1 + np.exp(utility[b] - utility[a]))
    return _pairs(features, a, b, won, columns)


def _pairs(
    features: Floats, a: Ints, b: Ints, won: npt.NDArray[np.bool_], columns: dict[str, Floats] | None = None
) -> PreferenceData:
    ids = [f"r-{i}" for i in range(len(features))]
    responses = pl.DataFrame(
        {"response_id": ids, "embedding": pl.Series(features.astype(np.float32)).arr.to_list(), **(columns or {})}
    )
    comparisons = pl.DataFrame(
        {
            "comparison_id": [f"c-{i}" for i in range(len(a))],
            "response_a": [ids[i] for i in a],
            "response_b": [ids[i] for i in b],
            "outcome": np.where(won, "a", "b"),
        }
    ).filter(pl.Series(a != b))
    return PreferenceData(responses=responses, comparisons=comparisons)
