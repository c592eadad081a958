from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.data.leakage import leakage
from preflearn.data.split import assign, split
from preflearn.data.store import load, save
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

START = datetime(2024, 1, 1, tzinfo=UTC)


def world(prompts: int = 60, k: int = 3, votes: int = 400, annotators: int = 20, seed: int = 0) -> PreferenceData:
    """Prompts in conversations of two turns, k responses each, votes by many annotators over time."""
    rng = np.random.default_rng(seed)
    prompt = rng.integers(0, prompts, votes)
    a = rng.integers(0, k, votes)
    b = (a + rng.integers(1, k, votes)) % k
    return PreferenceData(
        prompts=pl.DataFrame(
            {
                "prompt_id": [f"p{i}" for i in range(prompts)],
                "messages": [f"question {i}" for i in range(prompts)],
                "conversation_id": [f"k{i // 2}" for i in range(prompts)],
                "turn": [i % 2 for i in range(prompts)],
            }
        ),
        responses=pl.DataFrame(
            {
                "response_id": [f"r{i}" for i in range(prompts * k)],
                "prompt_id": [f"p{i // k}" for i in range(prompts * k)],
                "messages": [f"answer {i}" for i in range(prompts * k)],
            }
        ),
        annotators=pl.DataFrame({"annotator_id": [f"u{i}" for i in range(annotators + 3)]}),  # three judged nothing
        comparisons=pl.DataFrame(
            {
                "comparison_id": [f"c{i}" for i in range(votes)],
                "response_a": [f"r{p * k + i}" for p, i in zip(prompt, a)],
                "response_b": [f"r{p * k + i}" for p, i in zip(prompt, b)],
                "outcome": rng.choice(["a", "b", "tie"], votes),
                "annotator_id": [f"u{i}" for i in rng.integers(0, annotators, votes)],
                "time": [START + timedelta(minutes=int(m)) for m in rng.permutation(votes)],
            }
        ),
    )


NEVER = {
    "prompt": {"judgments", "presentations", "prompts", "prompt_contents", "responses", "response_contents"},
    "conversation": {"judgments", "prompts", "prompt_contents", "conversations", "responses", "response_contents"},
    "response": {"judgments", "prompts", "prompt_contents", "conversations", "responses", "response_contents"},
    "annotator": {"judgments", "annotators"},
    "time": {"judgments", "not_later"},
}


@pytest.mark.parametrize("by", list(NEVER))
def test_no_unit_stands_in_two_parts_and_nothing_is_lost(by):
    data = world()
    parts = split(data, {"train": 0.7, "dev": 0.1, "test": 0.2}, by=by, seed=3)
    assert list(parts) == ["train", "dev", "test"]
    sizes = {name: part.height("comparisons") for name, part in parts.items()}
    assert sum(sizes.values()) == 400
    assert sizes == pytest.approx({"train": 280, "dev": 40, "test": 80}, abs=12)
    names = list(parts)
    for i, early in enumerate(names):
        for late in names[i + 1 :]:
            shared = leakage(parts[early], parts[late]).as_dict()
            assert {what for what, n in shared.items() if n} & NEVER[by] == set(), shared
    together = set().union(*(part.comparisons["comparison_id"].to_list() for part in parts.values()))
    assert together == set(data.comparisons["comparison_id"])
    for table, key in (("prompts", "prompt_id"), ("responses", "response_id"), ("annotators", "annotator_id")):
        kept = set().union(*(part.table(table)[key].to_list() for part in parts.values()))
        assert kept == set(data.table(table)[key])
    for part in parts.values():
        assert part.completed().counts() == part.counts()  # every reference still resolves


@pytest.mark.parametrize("by", list(NEVER))
def test_seed_decides_and_row_order_of_each_part_is_the_datas(by):
    data = world()
    one, two = split(data, by=by, seed=1), split(data, by=by, seed=1)
    assert all(one[name].equals(two[name]) for name in one)
    other = split(data, by=by, seed=2)
    assert one["test"].equals(other["test"]) == (by == "time")
    ids = one["train"].comparisons["comparison_id"].to_list()
    assert ids == [c for c in data.comparisons["comparison_id"] if c in set(ids)]


def test_prompts_of_equal_text_stay_together():
    data = world()
    twins = data.replace(
        prompts=data.prompts.with_columns(messages=pl.col("messages").gather(pl.int_range(pl.len()) // 4))
    )
    parts = split(twins, by="prompt")
    assert leakage(*parts.values()).prompt_contents == 0
    assert (
        leakage(*split(data, by="prompt").values()).conversations > 0
    )  # what only a conversation split holds together
    assert leakage(*split(data, by="conversation").values()).conversations == 0


def test_prompts_judged_together_stay_together():
    rows = pl.DataFrame({"comparison_id": [f"x{i}" for i in range(30)]}).with_columns(
        pl.Series("response_a", [f"r{6 * i}" for i in range(30)]),  # prompt 2i
        pl.Series("response_b", [f"r{6 * i + 3}" for i in range(30)]),  # prompt 2i + 1
    )
    data = world()
    joined = data.replace(comparisons=pl.concat([data.comparisons, rows], how="diagonal_relaxed"))
    parts = split(joined, by="prompt")
    assert sum(part.height("comparisons") for part in parts.values()) == 430
    assert leakage(*parts.values()).prompts == 0
    assert leakage(*parts.values()).responses == 0


def test_equal_responses_tie_components_together():
    data = world()
    copied = data.replace(
        responses=data.responses.with_columns(
            content_hash=pl.when(pl.int_range(pl.len()) % 30 == 0).then(
                pl.lit("same 0") + (pl.int_range(pl.len()) // 60).cast(pl.String)
            )
        )
    )
    parts = split(copied, by="response", seed=5)
    hashes = [set(part.responses["content_hash"].drop_nulls()) for part in parts.values()]
    assert hashes[0] & hashes[1] == set()
    assert leakage(*split(data, by="prompt").values()).response_contents == 0


def test_one_giant_component_falls_back_and_says_so():
    """One answer under every prompt: by response nothing can be split, so conversations are, and that is counted."""
    data = world()
    every = (
        pl.when(pl.int_range(pl.len()) % 3 == 0)
        .then(pl.lit("I don't know"))
        .otherwise(pl.col("messages").list.first().struct.field("content"))
    )
    data = data.replace(responses=data.responses.with_columns(messages=every))
    parts = split(data, by="response", seed=5)
    assert sum(part.height("comparisons") for part in parts.values()) == 400
    assert leakage(*parts.values()).conversations == 0
    assert leakage(*parts.values()).response_contents == 1
    (step,) = parts["test"].provenance["steps"]
    assert (
        "by response one connected component holds 100.0% of the judgments, therefore units are by conversation" in step
    )
    assert "1 response contents and 0 conversations stand in more than one part" in step


def test_a_chain_over_all_prompts_leaves_out_what_it_must_and_counts_it():
    data = world(prompts=40)
    chain = pl.DataFrame(
        {
            "comparison_id": [f"x{i}" for i in range(39)],
            "response_a": [f"r{3 * i}" for i in range(39)],
            "response_b": [f"r{3 * i + 3}" for i in range(39)],
        }
    )
    data = data.replace(comparisons=pl.concat([data.comparisons, chain], how="diagonal_relaxed"))
    parts = split(data, by="prompt", seed=5)
    kept = sum(part.height("comparisons") for part in parts.values())
    assert 400 < kept < 439
    assert leakage(*parts.values()).prompts == 0
    assert (
        f"left out {439 - kept} comparisons whose responses fell into different parts"
        in parts["train"].provenance["steps"][0]
    )


def test_segments_sets_and_edits_go_with_their_sources():
    n = 20
    whole = pl.DataFrame({"response_id": [f"w{i}" for i in range(n)], "messages": [f"text {i}" for i in range(n)]})
    part = pl.DataFrame({"response_id": [f"s{i}" for i in range(n)], "part_of": [f"w{i}" for i in range(n)]})
    edit = pl.DataFrame({"response_id": [f"e{i}" for i in range(n)], "derived_from": [f"s{i}" for i in range(n)]})
    group = pl.DataFrame({"response_id": [f"g{i}" for i in range(n)], "members": [[f"e{i}"] for i in range(n)]})
    data = PreferenceData(
        responses=pl.concat([whole, part, edit, group], how="diagonal_relaxed"),
        ratings=pl.DataFrame({"rating_id": [str(i) for i in range(n)], "response_id": [f"g{i}" for i in range(n)]}),
    )
    for one in split(data, by="response").values():
        numbers = one.responses["response_id"].str.slice(1)
        assert (numbers.value_counts()["count"] == 4).all()


def test_battles_between_names_are_split_by_vote_and_share_the_names():
    data = PreferenceData(
        comparisons=pl.DataFrame(
            {
                "comparison_id": [str(i) for i in range(100)],
                "response_a": "m1",
                "response_b": "m2",
                "outcome": "a",
                "presentation_id": [f"s{i // 2}" for i in range(100)],
            }
        )
    ).completed()
    parts = split(data, by="prompt")
    assert [part.height("comparisons") for part in parts.values()] == [80, 20]
    assert all(part.height("responses") == 2 for part in parts.values())
    assert leakage(*parts.values()).presentations == 0
    assert leakage(*parts.values()).responses == 0


def test_a_prompt_of_the_judgment_itself_is_a_unit():
    data = PreferenceData(
        comparisons=pl.DataFrame(
            {
                "comparison_id": [str(i) for i in range(100)],
                "response_a": "m1",
                "response_b": "m2",
                "prompt_id": [f"p{i // 10}" for i in range(100)],
            }
        )
    )
    parts = split(data, by="prompt")
    assert [part.height("comparisons") for part in parts.values()] == [80, 20]
    assert set(parts["train"].comparisons["prompt_id"]) & set(parts["test"].comparisons["prompt_id"]) == set()


def test_anonymous_and_undated_judgments_go_to_the_first_part_and_are_counted():
    data = world()
    blank = data.comparisons.with_columns(
        annotator_id=pl.when(pl.int_range(pl.len()) >= 10).then("annotator_id"),
        time=pl.when(pl.int_range(pl.len()) >= 10).then("time"),
    )
    first = set(blank["comparison_id"][:10])
    for by, word in (("annotator", "annotator"), ("time", "time")):
        parts = split(data.replace(comparisons=blank), by=by)
        assert first <= set(parts["train"].comparisons["comparison_id"])
        assert f"10 judgments without {word} went to train" in parts["train"].provenance["steps"][0]


def test_time_cuts_at_the_share_and_keeps_showings_whole():
    data = world()
    shown = data.comparisons.sort("time").with_columns(
        presentation_id=pl.lit("s") + (pl.int_range(pl.len()) // 7).cast(pl.String)
    )
    parts = split(data.replace(comparisons=shown), {"past": 3, "future": 1}, by="time")
    assert parts["past"].height("comparisons") == pytest.approx(300, abs=7)
    assert parts["past"].comparisons["time"].max() < parts["future"].comparisons["time"].min()
    assert leakage(parts["past"], parts["future"]).presentations == 0
    assert "future from 2024-01-01T05:" in parts["future"].provenance["steps"][0]


def test_unjudged_prompts_are_units_too():
    data = PreferenceData(prompts=pl.DataFrame({"prompt_id": [str(i) for i in range(100)]}))
    assert [part.height("prompts") for part in split(data).values()] == [80, 20]


def test_media_go_with_what_shows_them(cases):
    pictures = PreferenceData(
        prompts=pl.DataFrame({"prompt_id": [f"p{i}" for i in range(10)]}),
        responses=pl.DataFrame(
            {
                "response_id": [f"r{i}" for i in range(10)],
                "prompt_id": [f"p{i}" for i in range(10)],
                "media": [[f"m{i}"] for i in range(10)],
            }
        ),
        media=pl.DataFrame({"media_id": [f"m{i}" for i in range(10)]}),
        ratings=pl.DataFrame(
            {
                "rating_id": [str(i) for i in range(10)],
                "response_id": [f"r{i}" for i in range(10)],
                "annotator_id": [f"u{i}" for i in range(10)],
            }
        ),
    )
    for by in ("prompt", "annotator"):
        for part in split(pictures, by=by).values():
            assert part.media["media_id"].to_list() == ["m" + r[1:] for r in part.responses["response_id"]]


def test_scanned_data_splits_alike_and_stays_on_disk(tmp_path):
    data = world()
    save(data, tmp_path / "d")
    scanned = load(tmp_path / "d", lazy=True)
    for by in NEVER:
        for name, part in split(scanned, by=by).items():
            assert part.equals(split(data, by=by)[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "colour"}, "no split by 'colour'"),
        ({"fractions": {"all": 1.0}}, "not two or more positive"),
        ({"fractions": {"train": 1.0, "test": 0.0}}, "not two or more positive"),
        ({"fractions": {"train": float("nan"), "test": 1.0}}, "not two or more positive"),
    ],
)
def test_unusable_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        split(world(), **arguments)


def test_authors_who_never_judged_are_no_units(cases):
    data = world()
    anonymous = data.replace(comparisons=data.comparisons.drop("annotator_id"))
    with pytest.raises(InputError, match="there are 0 units to split by \\(annotators who judged\\)"):
        split(anonymous, by="annotator")


def test_too_few_units_are_named(cases):
    for by in ("prompt", "annotator", "time"):
        with pytest.raises(InputError, match=r"there are \d units to split by"):
            split(cases["ranking_with_tie_and_unranked"], by=by)


def test_a_part_of_heavy_and_light_units_mirrors_both():
    """Half of the judgments by few heavy annotators: a test part made of light ones alone would not be a sample."""
    weight = np.array([100.0] * 20 + [1.0] * 2000)
    heavy = np.zeros(2)
    for seed in range(50):
        part = assign(weight, np.array([0.8, 0.2]), np.random.default_rng(seed))
        assert np.bincount(part, weights=weight)[1] == pytest.approx(800, abs=1)
        heavy += np.bincount(part[:20], minlength=2)
    assert heavy[1] / heavy.sum() == pytest.approx(0.2, abs=0.04)


def test_a_part_is_one_big_unit_only_where_it_must():
    weight = np.array([200.0, *[1.0] * 800])
    for seed in range(20):
        assert assign(weight, np.array([0.8, 0.2]), np.random.default_rng(seed))[0] == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 50), min_size=3, max_size=200),
    st.lists(st.floats(0.05, 1.0), min_size=2, max_size=4),
    st.integers(0, 5),
)
def test_shares_are_met_as_nearly_as_whole_units_allow(weights, fractions, seed):
    if len(weights) < len(fractions):
        return
    weight, shares = np.array(weights, dtype=float), np.array(fractions) / sum(fractions)
    part = assign(weight, shares, np.random.default_rng(seed))
    assert set(part) == set(range(len(shares)))
    if weight.sum():
        reached = np.bincount(part, weights=weight, minlength=len(shares))
        assert np.abs(reached - shares * weight.sum()).max() <= max(2 * weight.max(), 1.0)


def test_leakage_counts_what_is_shared_whatever_the_ids(cases):
    data = cases["follow_up_turn"]
    renamed = data.replace(
        prompts=data.prompts.with_columns(prompt_id=pl.col("prompt_id") + "'"),
        responses=data.responses.with_columns(pl.col("response_id", "prompt_id") + "'"),
        comparisons=data.comparisons.with_columns(pl.col("comparison_id", "response_a", "response_b") + "'"),
    )
    shared = leakage(data, renamed)
    assert (shared.prompts, shared.responses) == (0, 0)
    assert (shared.prompt_contents, shared.response_contents, shared.judgments) == (2, 4, 2)
    assert (shared.conversations, shared.annotators) == (1, 1)
    assert "2 judgments in both" in shared.lines()
    assert leakage(data, world()).lines() == []
