from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import preflearn as pf
from preflearn.data.columns import attach
from preflearn.data.io import read
from preflearn.data.merge import merge
from preflearn.data.rename import Names, rename
from preflearn.data.store import load
from preflearn.data.tables import PreferenceData
from preflearn.data.validate import validate
from preflearn.errors import InputError


def votes(annotator: str | None, outcome: str, **columns: object) -> PreferenceData:
    """One vote on two answers to one prompt."""
    return PreferenceData(
        prompts=pl.DataFrame({"prompt_id": ["p"], "messages": ["Say hi."]}),
        responses=pl.DataFrame({"response_id": ["x", "y"], "prompt_id": ["p", "p"], "messages": ["hi", "hello"]}),
        annotators=pl.DataFrame({"annotator_id": [annotator]}) if annotator else None,
        comparisons=pl.DataFrame(
            {
                "comparison_id": ["c"],
                "response_a": ["x"],
                "response_b": ["y"],
                "outcome": [outcome],
                "annotator_id": pl.Series([annotator], dtype=pl.String),
                **columns,
            }
        ),
    )


def told(data: PreferenceData) -> str:
    return "\n".join(data.report.lines())


def test_human_and_judge_votes_on_the_same_answers():
    human = votes("ann", "a")
    judge = votes("gpt", "b").replace(
        annotators=pl.DataFrame({"annotator_id": ["gpt"], "kind": ["judge"], "model": ["m"]})
    )
    both = pf.merge(human, judge, names=["people", "judges"])
    assert both.counts() == {"prompts": 1, "responses": 2, "annotators": 2, "comparisons": 2}
    assert both.comparisons["comparison_id"].to_list() == ["c", "judges/c"]
    assert both.comparisons["outcome"].to_list() == ["a", "b"]
    assert both.annotators.select(pl.col("annotator_id").cast(pl.String), "kind").rows() == [
        ("ann", None),
        ("gpt", "judge"),
    ]
    assert "1: comparisons of judges renamed judges/..., their ids being taken" in told(both)
    assert "2: responses of judges unified by equal id" in told(both)
    assert validate(both).problems == []


def test_equal_data_merges_to_itself(case):
    both = merge(case, case)
    assert both.equals(merge(case))
    judged = sum(case.height(name) for name in ("comparisons", "ratings", "rankings"))
    assert (both.report.read, both.report.kept) == (2 * judged, judged)


def test_the_order_of_data_sets_does_not_change_how_much_there_is(cases):
    sets = list(cases.values())
    one, other = merge(*sets), merge(*reversed(sets))
    assert one.counts() == other.counts()
    for name in ("comparisons", "ratings", "rankings", "signals"):
        assert one.height(name) == sum(data.height(name) for data in sets)
    assert validate(one).problems == []


def contents(data: PreferenceData) -> list[str]:
    """What every comparison is about, in words instead of ids."""
    wanted = {"a": "a.messages", "b": "b.messages", "p": "a.prompts.messages", "who": "comparisons.annotator_id"}
    rows = attach(data, "comparisons", wanted | {"o": "comparisons.outcome"}).collect()
    return [str(row) for row in rows.select("a", "b", "p", "who", "o").rows()]


def test_other_things_under_one_id_are_renamed_and_references_follow(cases):
    """Data sets that all call their things x, y and p have little in common, and each keeps its own."""
    whole = merge(*cases.values(), names=list(cases))
    assert sorted(contents(whole)) == sorted(words for data in cases.values() for words in contents(data))
    chain = whole.responses.filter(pl.col("part_of").is_not_null())
    parents = chain.join(whole.responses, left_on="part_of", right_on="response_id", how="left", suffix="_whole")
    assert parents["prompt_id"].to_list() == parents["prompt_id_whole"].to_list()


def test_what_depends_on_a_renamed_thing_is_renamed_too():
    def with_parts(text: str) -> PreferenceData:
        return PreferenceData(
            responses=pl.DataFrame(
                {
                    "response_id": ["x", "x:0", "S"],
                    "messages": [text, None, None],
                    "part_of": [None, "x", None],
                    "members": [None, None, ["x:0"]],
                }
            ),
            ratings=pl.DataFrame({"rating_id": ["r"], "response_id": ["S"], "value": [1.0]}),
            rankings=pl.DataFrame({"ranking_id": ["k"], "responses": [["x", "x:0"]], "ranks": [[1, 2]]}),
        )

    both = merge(with_parts("one"), with_parts("two"), names=["a", "b"])
    assert both.responses["response_id"].to_list() == ["x", "x:0", "S", "b/x", "b/x:0", "b/S"]
    assert both.responses["part_of"].to_list()[4] == "b/x"
    assert both.responses["members"].to_list()[5] == ["b/x:0"]
    assert both.ratings["response_id"].to_list() == ["S", "b/S"]
    assert both.rankings["responses"].to_list() == [["x", "x:0"], ["b/x", "b/x:0"]]


def test_what_only_one_side_records_is_added():
    bare = votes("ann", "a")
    rich = bare.replace(
        prompts=bare.prompts.with_columns(language=pl.lit("en")),
        comparisons=bare.comparisons.with_columns(stance=pl.lit("pro"), comparison_id=pl.lit("d")),
    )
    for both in (merge(bare, rich), merge(rich, bare)):
        assert both.prompts["language"].to_list() == ["en"]
        assert sorted(both.comparisons["stance"].to_list(), key=str) == [None, "pro"]


def test_a_vote_that_differs_in_anything_is_another_vote():
    anonymous, signed = votes(None, "a"), votes("ann", "a")
    assert merge(anonymous, signed).comparisons.height == 2
    assert merge(signed, signed).comparisons.height == 1
    assert "dropped 1: comparisons of set2 equal to one already there" in told(merge(signed, signed))


def test_disagreement_of_one_annotator_is_kept_and_counted():
    first = votes("ann", "a")
    second = votes("ann", "a")
    turned = second.replace(
        comparisons=second.comparisons.with_columns(response_a=pl.lit("y"), response_b=pl.lit("x"))
    )  # y over x: the opposite answer
    both = merge(first, turned)
    assert both.comparisons.height == 2
    assert "1: questions of comparisons that one annotator answered differently; all answers kept" in told(both)
    agreeing = turned.replace(comparisons=turned.comparisons.with_columns(outcome=pl.lit("b")))
    assert "answered differently" not in told(merge(first, agreeing))


def test_showings_conversations_and_sets_meet_only_where_rows_do():
    def shown(text: str, comparison: str) -> PreferenceData:
        data = votes("ann", "a", presentation_id=["1"], time=["2024-01-01T00:00:00Z"])
        return data.replace(
            prompts=data.prompts.with_columns(conversation_id=pl.lit("1"), messages=pl.lit(text)),
            responses=data.responses.with_columns(set_id=pl.lit("1")),
            comparisons=data.comparisons.with_columns(comparison_id=pl.lit(comparison)),
        )

    both = merge(shown("Hi", "c"), shown("Ho", "d"), names=["a", "b"])
    assert both.prompts["conversation_id"].to_list() == ["1", "b/1"]
    assert both.responses["set_id"].to_list() == ["1", "1", "b/1", "b/1"]
    assert both.comparisons["presentation_id"].to_list() == ["1", "b/1"]
    same = merge(shown("Hi", "c"), shown("Hi", "c"))
    assert same.comparisons["presentation_id"].to_list() == ["1"]
    assert same.prompts["conversation_id"].to_list() == ["1"]


def test_annotators_can_be_kept_apart():
    both = merge(votes("1", "a"), votes("1", "b"), apart=["annotators"])
    assert both.comparisons["annotator_id"].cast(pl.String).to_list() == ["1", "set2/1"]
    assert both.annotators["annotator_id"].cast(pl.String).to_list() == ["1", "set2/1"]
    assert "answered differently" not in told(both)
    with pytest.raises(InputError, match="'comparisons' cannot be kept apart"):
        merge(votes("1", "a"), votes("1", "b"), apart=["comparisons"])


def test_renamed_ids_are_free():
    first = votes("ann", "a")
    taken = first.replace(
        comparisons=pl.concat([first.comparisons, first.comparisons.with_columns(comparison_id=pl.lit("b/c"))])
    )
    both = merge(taken, votes("bob", "b"), names=["a", "b"])
    assert both.comparisons["comparison_id"].n_unique() == 3
    assert both.comparisons["comparison_id"].to_list() == ["c", "b/c", "b/c'"]


def test_three_sets_and_provenance():
    sets = [votes(name, "a").replace("imported") for name in ("u", "v", "w")]
    whole = merge(*sets)
    assert whole.comparisons["comparison_id"].to_list() == ["c", "set2/c", "set3/c"]
    assert list(whole.provenance["merged"]) == ["set1", "set2", "set3"]
    assert whole.provenance["merged"]["set2"]["steps"] == ["imported"]
    assert all(step.startswith("merged set1 + set2 + set3") for step in whole.provenance["steps"])


def test_media_ids_follow_into_messages():
    def picture(uri: str) -> PreferenceData:
        return PreferenceData(
            prompts=pl.DataFrame(
                {"prompt_id": ["p"], "messages": [[{"role": "user", "content": "look", "media": ["m"]}]]}
            ),
            responses=pl.DataFrame({"response_id": ["x"], "prompt_id": ["p"], "media": [["m"]]}),
            media=pl.DataFrame({"media_id": ["m"], "uri": [uri]}),
        )

    both = merge(picture("1.png"), picture("2.png"), names=["a", "b"])
    assert [m[0]["media"] for m in both.prompts["messages"].to_list()] == [["m"], ["b/m"]]
    assert both.responses["media"].to_list() == [["m"], ["b/m"]]
    assert both.prompts["prompt_id"].to_list() == ["p", "b/p"]


def test_columns_of_different_type():
    ours = votes("u", "a").replace(comparisons=votes("u", "a").comparisons.with_columns(extra=pl.lit(1)))
    floats = votes("v", "a").replace(comparisons=votes("v", "a").comparisons.with_columns(extra=pl.lit(0.5)))
    assert merge(ours, floats).comparisons["extra"].to_list() == [1.0, 0.5]
    lists = votes("v", "a").replace(comparisons=votes("v", "a").comparisons.with_columns(extra=pl.Series([["q"]])))
    with pytest.raises(InputError, match="the types of extra differ"):
        merge(ours, lists)


@pytest.mark.parametrize(
    ("sets", "names", "message"),
    [
        ([], None, "nothing to merge"),
        ([votes("u", "a")], ["a", "b"], "one per data set"),
        ([votes("u", "a"), votes("u", "a")], ["a", "a"], "one per data set"),
    ],
)
def test_unusable_arguments_are_named(sets, names, message):
    with pytest.raises(InputError, match=message):
        merge(*sets, names=names)


def test_a_data_set_with_broken_ids_is_named():
    data = votes("u", "a")
    twice = data.replace(comparisons=pl.concat([data.comparisons, data.comparisons]))
    with pytest.raises(InputError, match="in broken, comparisons have ids"):
        merge(data, twice, names=["fine", "broken"])


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("pq"), st.sampled_from(["hi", "ho", None]), st.sampled_from("ab")),
        min_size=1,
        max_size=4,
    )
)
def test_no_vote_is_lost_and_each_keeps_its_content(worlds):
    """Whatever collides: after a merge every vote still stands on the prompt text that it was given on."""
    sets = [
        PreferenceData(
            prompts=pl.DataFrame({"prompt_id": [prompt], "category": [text]}, schema_overrides={"category": pl.String}),
            comparisons=pl.DataFrame(
                {
                    "comparison_id": ["c"],
                    "response_a": ["m1"],
                    "response_b": ["m2"],
                    "prompt_id": [prompt],
                    "outcome": [outcome],
                    "mine": [text],
                },
                schema_overrides={"mine": pl.String},
            ),
        )
        for prompt, text, outcome in worlds
    ]
    whole = merge(*sets)
    met = whole.comparisons.join(whole.prompts, on="prompt_id", how="left", suffix="_prompt")
    assert met.filter(pl.col("mine").is_not_null() & (pl.col("mine") != pl.col("category"))).height == 0
    assert {(m, o) for m, o in met.select("mine", "outcome").rows()} == {(t, o) for _, t, o in worlds}


def test_rename_reaches_every_place(cases):
    data = cases["follow_up_turn"]
    ids = pl.Series(["t0", "t1"])
    renamed = rename(
        data, {"prompts": Names(ids, ids + "!"), "conversation": Names(pl.Series(["conv"]), pl.Series(["k"]))}
    )
    assert renamed.prompts["prompt_id"].to_list() == ["t0!", "t1!"]
    assert renamed.prompts["conversation_id"].to_list() == ["k", "k"]
    assert renamed.responses["prompt_id"].to_list() == ["t0!", "t0!", "t1!", "t1!"]
    assert renamed.signals["follow_up_prompt_id"].to_list() == ["t1!"]
    back = rename(
        renamed, {"prompts": Names(ids + "!", ids), "conversation": Names(pl.Series(["k"]), pl.Series(["conv"]))}
    )
    assert back.equals(data)


def test_equal_votes_of_two_files_are_two_votes(tmp_path: Path) -> None:
    for name in ("monday.csv", "tuesday.csv"):
        (tmp_path / name).write_text("system_a,system_b,outcome\nx,y,a\ny,x,b\n", "utf-8")
    days = [read(tmp_path / name) for name in ("monday.csv", "tuesday.csv")]
    both = merge(*days, names=["monday", "tuesday"])
    assert both.comparisons["comparison_id"].to_list() == ["c2", "c3", "tuesday/c2", "tuesday/c3"]
    for day, name in zip(days, ("one", "two"), strict=True):
        day.save(tmp_path / name)
    stored = merge(load(tmp_path / "one"), load(tmp_path / "two"))
    assert stored.height("comparisons") == 4
    assert merge(days[0], days[0]).height("comparisons") == 2, "one file is the same votes"
