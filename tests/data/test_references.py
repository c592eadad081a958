import polars as pl

from preflearn.data.references import missing, referred
from preflearn.data.tables import PreferenceData


def test_completed_makes_named_systems_and_everyone_named():
    data = PreferenceData(
        comparisons=pl.DataFrame(
            {
                "comparison_id": ["1", "2"],
                "response_a": ["m1", "m2"],
                "response_b": ["m2", "m3"],
                "annotator_id": ["u", None],
                "criterion_id": ["c", "c"],
                "prompt_id": ["p", None],
            }
        )
    ).completed()
    assert data.responses.select("response_id", pl.col("system").cast(pl.String)).rows() == [
        ("m1", "m1"),
        ("m2", "m2"),
        ("m3", "m3"),
    ]
    assert data.annotators["annotator_id"].to_list() == ["u"]
    assert data.criteria["criterion_id"].to_list() == ["c"]
    assert data.prompts["prompt_id"].to_list() == ["p"]
    assert data.completed().equals(data)


def test_completed_reaches_through_lists_messages_and_new_rows():
    look = [[{"role": "user", "content": "look", "media": ["i1"]}]]
    data = PreferenceData(
        prompts=pl.DataFrame({"prompt_id": ["p"], "messages": look}),
        responses=pl.DataFrame({"response_id": ["S"], "members": [["x", "y"]], "author_id": ["w"], "prompt_id": ["q"]}),
        rankings=pl.DataFrame({"ranking_id": ["k"], "responses": [["S", "z"]], "ranks": [[1, 2]]}),
    ).completed()
    assert data.responses["response_id"].to_list() == ["S", "x", "y", "z"]
    assert data.prompts["prompt_id"].to_list() == ["p", "q"]
    assert data.annotators["annotator_id"].to_list() == ["w"]
    assert data.media["media_id"].to_list() == ["i1"]
    assert missing(data, "responses").height == 0


def test_pruned_keeps_what_kept_rows_need(cases):
    data = cases["joint_candidate_set"]
    extra = pl.DataFrame({"response_id": ["lonely"], "prompt_id": ["other"]})
    grown = data.replace(
        responses=pl.concat([data.responses, extra], how="diagonal_relaxed"),
        prompts=pl.concat([data.prompts, pl.DataFrame({"prompt_id": ["other"]})], how="diagonal_relaxed"),
        annotators=pl.DataFrame({"annotator_id": ["nobody"]}),
    )
    pruned = grown.pruned()
    assert pruned.responses["response_id"].to_list() == ["a1", "a2", "b1", "b2", "A", "B"]  # members of judged sets
    assert pruned.prompts["prompt_id"].to_list() == ["p"]
    assert pruned.annotators.height == 0


def test_pruned_drops_media_that_no_kept_row_shows(cases):
    data = cases["image_under_two_captions"]
    more = data.replace(media=pl.concat([data.media, pl.DataFrame({"media_id": ["unused"]})], how="diagonal_relaxed"))
    assert more.pruned().media["media_id"].to_list() == ["img"]
    look = [[{"role": "user", "content": "look", "media": ["unused"]}], None]
    shown = more.replace(prompts=more.prompts.with_columns(messages=pl.Series(look)))
    assert shown.pruned().media["media_id"].to_list() == ["img", "unused"]


def test_pruned_keeps_the_whole_of_a_judged_segment(cases):
    data = cases["segment_level_tie"]
    assert data.pruned().equals(data)
    assert data.where("comparisons", pl.lit(False)).pruned().counts() == {}


def test_referred_counts_each_key_once(cases):
    keys = referred(cases["follow_up_turn"], "prompts").collect()["key"].to_list()
    assert sorted(keys) == ["t0", "t1"]
    assert referred(PreferenceData(), "media").collect().height == 0
