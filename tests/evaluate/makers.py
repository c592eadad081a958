"""Small data sets and a stub model for the tests of `preflearn.evaluate`."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from preflearn.data import PreferenceData
from preflearn.errors import NotSupported
from preflearn.protocols import OutcomeProbabilities


def votes(
    outcomes: list[str | None], tables: dict[str, pl.DataFrame] | None = None, **columns: list[Any]
) -> PreferenceData:
    """Comparisons of x against y with these outcomes; further columns as keywords."""
    n = len(outcomes)
    frame = {
        "comparison_id": columns.pop("comparison_id", [f"c{i:05d}" for i in range(n)]),
        "response_a": columns.pop("response_a", ["x"] * n),
        "response_b": columns.pop("response_b", ["y"] * n),
        "outcome": pl.Series(outcomes, dtype=pl.String),
        **columns,
    }
    return PreferenceData(comparisons=pl.DataFrame(frame), **(tables or {}))


def swapped(data: PreferenceData, rows: np.ndarray | None = None) -> PreferenceData:
    """The same judgments with sides a and b exchanged in some rows."""
    frame = data.comparisons
    chosen = pl.Series(np.ones(frame.height, bool) if rows is None else rows)
    other = {"a": "b", "b": "a"}

    def exchange(first: str, second: str) -> list[pl.Expr]:
        return [
            pl.when(chosen).then(pl.col(second)).otherwise(pl.col(first)).alias(first),
            pl.when(chosen).then(pl.col(first)).otherwise(pl.col(second)).alias(second),
        ]

    changes = exchange("response_a", "response_b")
    changes += [
        pl.when(chosen).then(pl.col(c).replace(other)).otherwise(pl.col(c)).alias(c)
        for c in ("outcome", "shown_first")
        if c in frame.columns
    ]
    if "probability" in frame.columns:
        tie = pl.col("probability_tie").fill_null(0.0) if "probability_tie" in frame.columns else 0.0
        changes.append(
            pl.when(chosen).then(1 - pl.col("probability") - tie).otherwise(pl.col("probability")).alias("probability")
        )
    return data.replace(comparisons=frame.with_columns(changes))


class Stub:
    """A model that answers the column `p` (and `p_tie`) of the comparisons, and remembers what it was shown."""

    def __init__(self, training: Any = None) -> None:
        if training is not None:
            self.training_fingerprints_ = training
        self.seen: list[str] = []

    def fit(self, data: PreferenceData) -> Stub:
        return self

    def prob(self, data: PreferenceData, *, symmetrised: bool = False) -> np.ndarray:
        self.seen = data.comparisons.columns
        return data.comparisons["p"].to_numpy()

    def outcome_probs(self, data: PreferenceData) -> OutcomeProbabilities:
        if "p_tie" not in data.comparisons.columns:
            raise NotSupported("no ties")
        p, tie = data.comparisons["p"].to_numpy(), data.comparisons["p_tie"].to_numpy()
        return OutcomeProbabilities(("b", "tie", "a"), np.column_stack([(1 - tie) * (1 - p), tie, (1 - tie) * p]))

    def get_params(self) -> dict[str, Any]:
        return {}


class Tastes:
    """Two kinds of people who see the column `x` of a comparison with opposite signs: P(a) = sigma(+-strength * x).

    It knows some people's kind; about others it believes half and half, and learns by Bayes from what they say.
    """

    def __init__(self, strength: float = 1.0, belief: dict[str, float] | None = None) -> None:
        self.strength = strength
        self.belief = dict(belief or {})
        self.adaptations: list[PreferenceData] = []

    @property
    def annotators_(self) -> tuple[str, ...]:
        return tuple(self.belief)

    def fit(self, data: PreferenceData) -> Tastes:
        return self

    def prob(self, data: PreferenceData, *, symmetrised: bool = False) -> np.ndarray:
        first = np.array([self.belief.get(who, 0.5) for who in data.comparisons["annotator_id"].cast(pl.String)])
        p = 1 / (1 + np.exp(-self.strength * data.comparisons["x"].to_numpy()))
        return first * p + (1 - first) * (1 - p)

    def outcome_probs(self, data: PreferenceData) -> OutcomeProbabilities:
        p = self.prob(data)
        return OutcomeProbabilities(("a", "b"), np.column_stack([p, 1 - p]))

    def adapt(self, labelled: PreferenceData) -> Tastes:
        self.adaptations.append(labelled)
        belief = dict.fromkeys(labelled.annotators["annotator_id"].cast(pl.String), 0.5)
        rows = labelled.comparisons.select(pl.col("annotator_id").cast(pl.String), "x", "outcome")
        for who, x, outcome in rows.iter_rows():
            toward = self.strength * (x if outcome == "a" else -x)
            one, other = belief[who] / (1 + np.exp(-toward)), (1 - belief[who]) / (1 + np.exp(toward))
            belief[who] = one / (one + other)
        return Tastes(self.strength, {**self.belief, **belief})

    def get_params(self) -> dict[str, Any]:
        return {"strength": self.strength, "belief": self.belief}


def planted(
    seed: int = 0,
    *,
    people: int = 30,
    prompts: int = 40,
    each: int = 40,
    strength: float = 1.5,
    minority: float = 0.3,
    ties: float = 0.0,
) -> tuple[PreferenceData, np.ndarray]:
    """Judgments of `Tastes` people (group "north": sign +, "south": sign -) about pairs, one per prompt; and true p."""
    rng = np.random.default_rng(seed)
    sign = np.where(np.arange(people) < round(people * minority), -1.0, 1.0)
    x = rng.normal(size=prompts)
    who = np.repeat(np.arange(people), each)
    pair = np.concatenate([rng.permutation(prompts)[:each] for _ in range(people)])
    turned = rng.random(len(who)) < 0.5
    seen = np.where(turned, -x[pair], x[pair])
    p = 1 / (1 + np.exp(-strength * sign[who] * seen))
    outcome = np.where(rng.random(len(who)) < p, "a", "b")
    outcome = np.where(rng.random(len(who)) < ties, "tie", outcome)
    first, second = np.where(turned, "y", "x"), np.where(turned, "x", "y")
    annotators = pl.DataFrame(
        {"annotator_id": [f"u{i:03d}" for i in range(people)], "group": np.where(sign > 0, "north", "south")}
    )
    data = votes(
        outcome.tolist(),
        {"annotators": annotators},
        response_a=[f"{side}{j}" for side, j in zip(first, pair, strict=True)],
        response_b=[f"{side}{j}" for side, j in zip(second, pair, strict=True)],
        prompt_id=[f"p{j:03d}" for j in pair],
        annotator_id=[f"u{i:03d}" for i in who],
        x=seen.tolist(),
    )
    return data, p
