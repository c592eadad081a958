"""Scenarios: reproducible, composable, honest about what they recorded; specs with clear errors."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

import preflearn.simulate as simulate
from preflearn.data import PreferenceData, load
from preflearn.data.validate import validate
from preflearn.errors import InputError
from preflearn.simulate import pool as pools
from preflearn.simulate.population import apportion
from preflearn.simulate.sampling import Tally
from preflearn.simulate.spec import parse

EXAMPLES = Path(__file__).parents[2] / "examples" / "simulate"

FULL = simulate.Scenario(
    votes=3_000,
    utility=(
        simulate.Strengths(by_level={"g": {"x": 1.0, "y": 0.0, "z": -1.0}, "h": {"x": -1.0, "y": 0.0, "z": 1.0}}),
        simulate.Taste({"length": 0.5}, sd=0.2),
        simulate.Offsets(0.3),
        simulate.Position(0.4, sd=0.1),
        simulate.Cycle(0.5),
        simulate.Drift({"x": 0.5}),
    ),
    prompts=40,
    features={"length": simulate.Feature(1.0, {"x": 0.5})},
    population=simulate.Population(
        20, {"g": 1, "h": 2}, attributes={"country": {"UK": 1, "FR": 1}}, careless={"random": 0.1}, activity="heavy"
    ),
    answers=simulate.Answers("davidson", {"log_tie": -0.5}, flips=0.02),
    overlap=3,
    retest=0.1,
    record_votes=True,
    seed=5,
)


def test_equal_seeds_give_equal_data_and_other_seeds_do_not() -> None:
    one, two, other = simulate.run(FULL), simulate.run(FULL), simulate.run(replace(FULL, seed=6))
    assert one.equals(two)
    assert one.fingerprint() == two.fingerprint() != other.fingerprint()


def test_more_votes_do_not_change_who_votes() -> None:
    few, many = simulate.run(FULL), simulate.run(replace(FULL, votes=6_000))
    for name in ("annotators", "strengths", "taste", "offsets", "position", "cycle"):
        assert_frame_equal(few.truth.table(name), many.truth.table(name))
    assert few.responses.equals(many.responses)


def test_overlap_asks_different_people_and_retests_the_same_one_with_sides_exchanged() -> None:
    sim = simulate.run(FULL)
    votes = sim.comparisons
    assert votes.height == 3_000
    assert votes["comparison_id"].is_unique().all()
    assert votes["time"].is_sorted()
    pair = pl.concat_list("response_a", "response_b").list.sort().list.join("|").alias("pair")
    judged = votes.select("annotator_id", pair, "response_a", "shown_first").with_row_index()
    per_person = judged.group_by("annotator_id", "pair").agg(pl.len(), pl.col("response_a").n_unique().alias("sides"))
    assert per_person.filter(pl.col("len") > 1, pl.col("sides") > 1).height >= 200
    single = simulate.run(replace(FULL, retest=0.0, population=simulate.Population(200, {"g": 1, "h": 2})))
    people = (
        single.comparisons.select("annotator_id", pair)
        .group_by("pair")
        .agg(pl.len(), pl.col("annotator_id").n_unique().alias("people"))
    )
    assert (people["len"] >= 3).all()
    assert (people["people"] >= 3).all()


def test_saved_truth_is_beside_the_data_and_not_in_it(tmp_path: Path) -> None:
    sim = simulate.run(FULL)
    sim.save(tmp_path / "votes")
    back = load(tmp_path / "votes")
    assert back.equals(sim)
    assert type(back) is PreferenceData
    assert not any(
        "offset" in column or column in {"careless", "logit"} for t in back.counts() for column in back.columns(t)
    )
    truth = simulate.read_truth(tmp_path / "votes")
    assert truth.scenario == sim.truth.scenario
    for name, table in sim.truth.tables.items():
        assert_frame_equal(truth.table(name), table)
    assert parse(truth.scenario) == FULL, "what is saved is a spec that makes the same data again"
    sim.save(tmp_path / "votes", force=True)
    assert not hasattr(sim.where("comparisons", pl.col("outcome") == "tie"), "truth")
    with pytest.raises(InputError, match="not simulated"):
        simulate.read_truth(tmp_path)


def test_the_logit_of_every_vote_is_the_sum_of_the_terms_in_the_truth() -> None:
    sim = simulate.run(FULL)
    truth = sim.truth.tables
    text = pl.col("system").cast(pl.String)
    votes = sim.comparisons.with_columns(pl.col("annotator_id").cast(pl.String)).join(
        truth["annotators"].select("annotator_id", "group"), on="annotator_id", maintain_order="left"
    )
    total = np.zeros(votes.height)
    systems = {}
    for side, sign in (("a", 1.0), ("b", -1.0)):
        response = votes.join(
            sim.responses.select("response_id", text, "length"),
            left_on=f"response_{side}",
            right_on="response_id",
            maintain_order="left",
        ).with_columns(pl.lit("length").alias("feature"))
        systems[side] = response["system"]
        for name, keys, value, times in (
            ("strengths", {"group": "level", "system": "system"}, "strength", 1.0),
            ("offsets", {"annotator_id": "annotator_id", "system": "system"}, "offset", 1.0),
            ("personal_taste", {"annotator_id": "annotator_id", "feature": "feature"}, "weight", response["length"]),
            ("drift", {"system": "system"}, "change", None),
        ):
            found = response.join(truth[name], left_on=list(keys), right_on=list(keys.values()), maintain_order="left")
            if times is None:  # days are thirty, and a time is kept to the microsecond
                times = (votes["time"].cast(pl.Int64) - 1_735_689_600_000_000) / (30 * 86_400 * 1e6)
            total += sign * (found[value] * times).to_numpy()
    effect = votes.join(truth["position"], on="annotator_id", maintain_order="left")["effect"].to_numpy()
    total += np.where(votes["shown_first"] == "a", effect, -effect)
    pair = pl.DataFrame({"system_a": systems["a"], "system_b": systems["b"]})
    total += pair.join(truth["cycle"], on=["system_a", "system_b"], maintain_order="left")["logit"].to_numpy()
    assert np.abs(total - truth["votes"]["logit"].to_numpy()).max() < 1e-9


def test_simulated_data_keeps_every_rule_of_the_contract() -> None:
    for sim in (simulate.run(FULL), simulate.graded(4, n_votes=500), simulate.adaptive(4, n_votes=500)):
        assert [problem.line() for problem in validate(sim).problems] == []


def test_judging_given_responses() -> None:
    responses = pl.DataFrame(
        {
            "response_id": ["r1", "r2", "r3", "r4", "r5"],
            "prompt_id": ["p", "q", "p", "q", "p"],
            "system": ["x", "x", "y", "y", "z"],
            "length": [3, 1, 0, 2, 0],
            "messages": ["one", "two", "three", "four", "five"],
        }
    )
    data = PreferenceData(prompts=pl.DataFrame({"prompt_id": ["p", "q"]}), responses=responses)
    scenario = simulate.Scenario(votes=8_000, utility=(simulate.Taste({"length": 0.7}),), seed=1)
    sim = simulate.run(scenario, on=data)
    assert sim.responses.equals(data.responses), "the responses enter unchanged"
    pairs = sim.comparisons.select(pl.concat_list("response_a", "response_b").list.sort().list.join("").alias("p"))["p"]
    counts = dict(pairs.value_counts().iter_rows())
    assert set(counts) == {"r1r3", "r1r5", "r3r5", "r2r4"}, "only responses to one prompt meet"
    assert all(abs(n - 2_000) < 5 * math.sqrt(8_000 * 3 / 16) for n in counts.values())
    met = sim.comparisons.filter(pl.col("response_a").is_in(["r1", "r3"]), pl.col("response_b").is_in(["r1", "r3"]))
    won = met.select(((pl.col("response_a") == "r1") == (pl.col("outcome") == "a")).mean()).item()
    assert abs(won - 1 / (1 + math.exp(-2.1))) < 5 * math.sqrt(0.11 * 0.89 / met.height)
    with pytest.raises(InputError, match="no numeric column 'width'"):
        simulate.run(replace(scenario, utility=(simulate.Taste({"width": 1.0}),)), on=data)
    nameless = data.replace(responses=data.responses.drop("system"))
    assert simulate.run(scenario, on=nameless).height("comparisons") == 8_000
    for change in ({"utility": (simulate.Offsets(1.0),)}, {"sampling": simulate.Adaptive()}):
        with pytest.raises(InputError, match="no system"):
            simulate.run(replace(scenario, **change), on=nameless)
    with pytest.raises(InputError, match="no prompt has two responses"):
        simulate.run(scenario, on=data.where("responses", pl.col("system") == "x"))


@pytest.mark.parametrize("sampling", [simulate.Uniform(), simulate.Popular({"a": 4.0, "b": 2.0})])
def test_pairs_come_as_often_as_their_propensity_says(sampling: simulate.Uniform | simulate.Popular) -> None:
    sizes = [2, 3, 4]
    starts = np.cumsum([0, *sizes])
    ids = pl.Series("id", [f"r{i}" for i in range(starts[-1])])
    system = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    pool = pools.Pool({}, ids, ("a", "b", "c", "d"), system, starts, np.arange(starts[-1]))
    pairs = sampling.draw(pool, Tally.empty(4), 90_000, np.random.default_rng(3))
    drawn = pl.DataFrame(
        {"low": np.minimum(pairs.a, pairs.b), "high": np.maximum(pairs.a, pairs.b), "p": pairs.propensity}
    )
    found = drawn.group_by("low", "high").agg(pl.len(), pl.col("p").first(), pl.col("p").n_unique().alias("values"))
    assert found.height == 1 + 3 + 6
    assert found["values"].max() == 1
    assert found["p"].sum() == pytest.approx(1.0, abs=1e-12)
    assert ((found["len"] / 90_000 - found["p"]).abs() < 5 * (found["p"] / 90_000).sqrt()).all()


def test_shares_are_met_exactly() -> None:
    assert np.bincount(apportion({"a": 1, "b": 1, "c": 1}, 10, "x")).tolist() == [4, 3, 3]
    assert np.bincount(apportion({"a": 0.05, "b": 0.95}, 60, "x")).tolist() == [3, 57]
    with pytest.raises(InputError, match="non-negative"):
        apportion({"a": -1.0, "b": 2.0}, 3, "shares")


def test_activity_is_equal_or_heavy() -> None:
    equal = (
        simulate.bradley_terry(4, n_votes=1_000, n_annotators=30).comparisons["annotator_id"].value_counts()["count"]
    )
    assert set(equal) <= {33, 34}
    heavy = simulate.run(FULL).comparisons["annotator_id"].value_counts()["count"]
    assert heavy.max() > 5 * heavy.min()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_example_specs_run(path: Path) -> None:
    sim = simulate.from_spec(path)
    assert sim.height("comparisons") == yaml.safe_load(path.read_text())["votes"]
    assert not simulate.from_spec(path, seed=99).equals(sim)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"voters": 3}, "voters: Unexpected keyword argument"),
        ({"votes": "many"}, "votes: Input should be a valid integer"),
        ({"votes": 0}, "at least 1"),
        ({"utility": [{"kind": "strenghts"}]}, "utility.0: Input tag 'strenghts'"),
        ({"utility": []}, "no term"),
        ({"utility": [{"kind": "strengths", "values": {"x": 1, "y": 0}, "colour": 1}]}, "colour"),
        ({"utility": [{"kind": "strengths"}]}, "exactly one of values, by_level and spread"),
        ({"utility": [{"kind": "offsets", "sd": 1}] * 2}, "two terms of the kind 'offsets'"),
        ({"systems": ["x", "y", "z"]}, "lack the system\\(s\\) z"),
        ({"systems": ["x", "x"]}, "different names"),
        ({"population": {"annotators": 0}}, "at least one annotator"),
        ({"population": {"careless": {"asleep": 0.5}}}, "population.careless.asleep"),
        ({"population": {"careless": {"random": 1.5}}}, "must lie in \\[0, 1\\]"),
        ({"utility": [{"kind": "strengths", "by_level": {"g": {"x": 1, "y": 0}}}]}, "has no 'group'"),
        ({"answers": {"link": "davidson", "parameters": {"nu": 1}}}, "has the parameters log_tie"),
        ({"answers": {"link": "rao_kupper", "parameters": {"tie": -1}}}, "positive"),
        ({"answers": {"flips": 2}}, "probability"),
        ({"population": {"careless": {"tie": 0.5}}}, "cannot always tie"),
        ({"sampling": {"kind": "lazy"}}, "sampling: Input tag 'lazy'"),
        ({"sampling": {"kind": "popular", "weights": {"q": 2}}}, "unknown systems: q"),
        ({"overlap": 101}, "101 votes per pair"),
        ({"retest": 1}, "share in"),
        ({"start": "yesterday"}, "not an ISO date"),
        ({"features": {"length": {}}}, "belong to responses of prompts"),
        ({"prompts": 3, "features": {"length": {"mean": {"q": 1}}}}, "unknown systems: q"),
        ({"utility": [{"kind": "cycle", "beats": [["x", "q", 1.0]]}]}, "unknown system 'q'"),
    ],
)
def test_specs_that_make_no_sense_say_where_and_why(change: dict[str, object], message: str, tmp_path: Path) -> None:
    spec = {
        "votes": 100,
        "systems": ["x", "y"],
        "utility": [{"kind": "strengths", "values": {"x": 1, "y": 0}}],
        **change,
    }
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    with pytest.raises(InputError, match=message) as caught:
        simulate.from_spec(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_specs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        simulate.from_spec(tmp_path / "absent.yaml")
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(InputError, match="not a mapping"):
        simulate.from_spec(tmp_path / "list.json")
    (tmp_path / "broken.yaml").write_text("votes: [1\nseed: 2")
    with pytest.raises(InputError, match="not YAML"):
        simulate.from_spec(tmp_path / "broken.yaml")
