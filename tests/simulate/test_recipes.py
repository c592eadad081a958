"""Simulated answers follow the planted truth: frequencies against closed probabilities, within 5 standard errors."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import polars as pl
import pytest

import preflearn.simulate as simulate
from preflearn.choice import Davidson, Ordinal, RaoKupper
from preflearn.errors import InputError


def share(frame: pl.DataFrame, value: str, column: str = "outcome") -> float:
    return float((frame[column] == value).mean())


def oriented(frame: pl.DataFrame, winner: str, loser: str) -> tuple[int, int]:
    """Wins of `winner` over `loser`, and decided votes between them."""
    pair = frame.filter(
        pl.concat_list("response_a", "response_b").list.sort() == pl.lit(sorted([winner, loser])),
        pl.col("outcome").is_in(["a", "b"]),
    )
    won = pair.select(((pl.col("response_a") == winner) == (pl.col("outcome") == "a")).sum()).item()
    return won, pair.height


def near(count: int, n: int, probability: float, sigma: float = 5.0) -> bool:
    return abs(count / n - probability) <= sigma * math.sqrt(probability * (1 - probability) / n)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_bradley_terry_win_rates_are_the_logistic_of_the_difference() -> None:
    truth = {"x": 1.0, "y": 0.0, "z": -0.5}
    votes = simulate.bradley_terry(truth, n_votes=60_000, seed=1)
    for i, j in combinations(truth, 2):
        won, n = oriented(votes.comparisons, i, j)
        assert near(won, n, sigmoid(truth[i] - truth[j]))
        assert near(n, 60_000, 1 / 3)
    assert votes.truth.strengths() == truth
    assert near(int((votes.comparisons["response_a"] == "x").sum()), 60_000, 1 / 3), "sides are exchanged at random"


@pytest.mark.parametrize(
    ("votes", "link", "shape"),
    [
        (simulate.davidson({"x": 0.7, "y": 0.0}, tie=0.8, n_votes=40_000, seed=2), Davidson(), [math.log(0.8)]),
        (simulate.rao_kupper({"x": 0.7, "y": 0.0}, threshold=0.4, n_votes=40_000, seed=3), RaoKupper(), [0.4]),
    ],
)
def test_ties(votes: simulate.Simulation, link: Davidson | Ordinal, shape: list[float]) -> None:
    expected = np.exp(link.log_probs(np.array([0.7]), shape))[0]
    won, decided = oriented(votes.comparisons, "x", "y")
    assert near(won, 40_000, expected[2])
    assert near(decided - won, 40_000, expected[0])
    assert near(40_000 - decided, 40_000, expected[1])


def test_grades_are_outcome_and_strength() -> None:
    votes = simulate.graded({"x": 0.5, "y": 0.0}, thresholds=(0.3, 1.2, 2.4), n_votes=40_000, seed=4)
    link = Ordinal(levels=3)
    expected = dict(zip(link.outcomes, np.exp(link.log_probs(np.array(0.5), [0.3, 1.2, 2.4])), strict=True))
    x_is_a = votes.comparisons.filter(response_a="x")
    for name, probability in expected.items():
        outcome, grade = (name, None) if name == "tie" else (name[0], int(name[1]))
        found = x_is_a.filter(pl.col("outcome") == outcome, pl.col("strength").eq_missing(grade)).height
        assert near(found, x_is_a.height, float(probability)), name


def test_groups_are_recorded_and_mixtures_are_not() -> None:
    strengths = {"short": {"x": 1.5, "y": 0.0}, "long": {"x": -1.0, "y": 0.0}}
    votes = simulate.groups(strengths, shares={"short": 0.3, "long": 0.7}, n_votes=30_000, n_annotators=50, seed=5)
    assert votes.annotators["group"].value_counts().sort("group").rows() == [("long", 35), ("short", 15)]
    for level, values in strengths.items():
        members = votes.annotators.filter(group=level)["annotator_id"].cast(pl.String)
        theirs = votes.comparisons.filter(pl.col("annotator_id").cast(pl.String).is_in(members.implode()))
        won, n = oriented(theirs, "x", "y")
        assert near(won, n, sigmoid(values["x"]))
        assert votes.truth.strengths(level) == values
    latent = simulate.mixture(strengths, shares={"short": 0.3, "long": 0.7}, n_votes=30_000, n_annotators=50, seed=5)
    assert "group" not in latent.annotators.columns
    assert latent.truth.table("annotators")["group"].value_counts().sort("group").rows() == [
        ("long", 35),
        ("short", 15),
    ]
    assert latent.comparisons.equals(votes.comparisons), "declared or not, the same people vote the same way"


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [("random", 0.5), ("first", 0.5), ("second", 0.5), ("flip", sigmoid(-2.0))],
)
def test_careless_annotators(behaviour: str, expected: float) -> None:
    votes = simulate.spammers({"x": 2.0, "y": 0.0}, share=0.25, behaviour=behaviour, n_votes=40_000, seed=6)
    careless = votes.truth.table("annotators").filter(careless=behaviour)["annotator_id"]
    assert len(careless) == 25
    is_careless = pl.col("annotator_id").cast(pl.String).is_in(careless.implode())
    won, n = oriented(votes.comparisons.filter(is_careless), "x", "y")
    assert near(won, n, expected)
    won, n = oriented(votes.comparisons.filter(~is_careless), "x", "y")
    assert near(won, n, sigmoid(2.0))
    first = votes.comparisons.filter(is_careless).select((pl.col("outcome") == pl.col("shown_first")).mean()).item()
    assert {"first": first == 1.0, "second": first == 0.0}.get(behaviour, abs(first - 0.5) < 0.03)


def test_flips_turn_answers_round() -> None:
    votes = simulate.spammers({"x": 2.0, "y": 0.0}, share=0.0, flips=0.1, n_votes=40_000, seed=7)
    won, n = oriented(votes.comparisons, "x", "y")
    assert near(won, n, 0.9 * sigmoid(2.0) + 0.1 * sigmoid(-2.0))
    assert votes.truth.parameters() == {"flips": 0.1}


def test_position_and_length_bias() -> None:
    votes = simulate.biased({"x": 0.0, "y": 0.0}, position=0.5, n_votes=40_000, seed=8)
    first = votes.comparisons.filter(pl.col("outcome") == pl.col("shown_first")).height
    assert near(first, 40_000, sigmoid(0.5))
    votes = simulate.biased({"x": 0.0, "y": 0.0}, length=1.0, lengths={"x": 1.0}, n_votes=40_000, seed=9)
    length = votes.responses.select("response_id", "length")
    at = votes.comparisons.join(length, left_on="response_a", right_on="response_id").join(
        length, left_on="response_b", right_on="response_id", suffix="_b"
    )
    residual = at.select(
        (pl.col("outcome") == "a").cast(pl.Float64) - 1 / (1 + (pl.col("length_b") - pl.col("length")).exp())
    ).to_series()
    assert abs(residual.mean()) < 5 * residual.std() / 200
    assert abs(np.corrcoef(residual, at["length"] - at["length_b"])[0, 1]) < 5 / 200
    means = votes.responses.group_by("system").agg(pl.col("length").mean()).sort("system")["length"]
    assert means[0] - means[1] == pytest.approx(1.0, abs=5 * math.sqrt(2 / 200))


def test_cycles_change_pairs_but_no_strength() -> None:
    votes = simulate.cyclic({"r": 0.0, "p": 0.0, "s": 0.0}, amplitude=1.0, n_votes=30_000, seed=10)
    cycle = votes.truth.table("cycle")
    for i, j, logit in cycle.iter_rows():
        won, n = oriented(votes.comparisons, i, j)
        assert abs(logit) == pytest.approx(math.sin(2 * math.pi / 3))
        assert near(won, n, sigmoid(logit))
    assert cycle.group_by("system_a").agg(pl.col("logit").sum())["logit"].abs().max() < 1e-12


def test_drift_is_linear_or_a_step() -> None:
    strengths, changes = {"x": 0.0, "y": 0.0}, {"x": 2.0}
    step = simulate.drift(strengths, changes=changes, shape="step", at=0.25, n_votes=40_000, seed=11).comparisons
    when = (step["time"] - step["time"][0]).dt.total_seconds() / (30 * 86_400)
    before, after = step.filter(when < 0.249), step.filter(when > 0.251)
    assert near(*oriented(before, "x", "y"), 0.5)
    assert near(*oriented(after, "x", "y"), sigmoid(2.0))
    linear = simulate.drift(strengths, changes=changes, n_votes=40_000, seed=12).comparisons
    assert linear["time"].is_sorted()
    assert near(*oriented(linear.head(2_000), "x", "y"), sigmoid(0.05))
    assert near(*oriented(linear.tail(2_000), "x", "y"), sigmoid(1.95))


def test_personal_strengths_make_votes_of_one_annotator_alike() -> None:
    votes = simulate.heterogeneous({"x": 0.0, "y": 0.0}, sd=1.0, n_votes=60_000, n_annotators=60, seed=13)
    offsets = votes.truth.table("offsets")
    assert offsets["offset"].std() == pytest.approx(1.0, abs=0.3)
    for annotator in offsets["annotator_id"].unique().sort()[:5]:
        theirs = dict(offsets.filter(annotator_id=annotator).select("system", "offset").iter_rows())
        won, n = oriented(votes.comparisons.filter(pl.col("annotator_id").cast(pl.String) == annotator), "x", "y")
        assert n == 1_000
        assert near(won, n, sigmoid(theirs["x"] - theirs["y"]))


def test_adaptive_sampling_prefers_close_pairs_and_stores_their_propensity() -> None:
    strengths = {"x": 3.0, "y": 0.0, "z": 0.0}
    votes = simulate.adaptive(strengths, n_votes=20_000, seed=14).comparisons
    late = votes.tail(2_000).with_columns(
        pl.concat_list("response_a", "response_b").list.sort().list.join("").alias("p")
    )
    shares = dict(late["p"].value_counts(normalize=True).iter_rows())
    stored = dict(late.group_by("p").agg(pl.col("propensity").first()).iter_rows())
    assert shares["yz"] > 0.8
    assert shares["xy"] < 0.2
    for pair, probability in stored.items():
        assert near(round(shares[pair] * 2_000), 2_000, probability)
    weights = 1 / (3 * votes["propensity"])
    assert weights.mean() == pytest.approx(1.0, abs=5 * weights.std() / math.sqrt(20_000))


@pytest.mark.parametrize("given", [{"x": 1.0}, {"x": 1.0, "y": float("nan")}, [1.0]])
def test_strengths_that_make_no_sense(given: object) -> None:
    with pytest.raises(InputError):
        simulate.bradley_terry(given, n_votes=10)  # type: ignore[arg-type]
