import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.data.records import Record, records
from preflearn.data.schema import OUTCOMES
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError


def only(data: PreferenceData, by="prompt") -> Record:
    (record,) = records(data, by)
    return record


def test_ranking_keeps_tie_and_unranked(cases):
    record = only(cases["ranking_with_tie_and_unranked"])
    assert (record.key, record.keyed_by, record.prompt) == ("p", "prompt", 0)
    assert record.response_ids == ["w", "x", "y", "z"]
    ((response, rank),) = record.ranks.lists()
    assert response.tolist() == [0, 1, 2, 3]
    assert rank.tolist() == [2, 1, 2, -1]
    assert record.source.annotators["annotator_id"][int(record.ranks.annotator[0])] == "u"
    assert record.source.presentations[record.ranks.presentation[0]] == "show1"
    assert len(record.pairs) == len(record.values) == 0


def test_pair_with_different_prompts_has_its_own_record(cases):
    all_records = records(cases["pair_with_different_prompts"])
    assert [(r.key, r.keyed_by, len(r.pairs)) for r in all_records] == [
        ("p", "prompt", 0),
        ("q", "prompt", 0),
        ("x | y", "responses", 1),
    ]
    record = all_records[-1]
    assert record.prompts.tolist() == [0, 1]
    assert record.prompt == -1
    assert record.pairs.prompt.tolist() == [-1]
    assert record.pairs.strength.tolist() == [2]
    assert OUTCOMES[record.pairs.outcome[0]] == "b"


def test_different_prompts_are_keyed_by_the_showing_where_it_is_recorded(cases):
    data = cases["pair_with_different_prompts"]
    shown = data.replace(comparisons=data.comparisons.with_columns(presentation_id=pl.lit("s")))
    assert (records(shown)[-1].key, records(shown)[-1].keyed_by) == ("s", "presentation")


def test_one_image_under_two_captions_is_two_responses(cases):
    cat, dog = records(cases["image_under_two_captions"])
    assert (cat.response_ids, dog.response_ids) == (["img@cat"], ["img@dog"])
    assert (cat.values.value.tolist(), dog.values.value.tolist()) == ([4.5], [1.0])


def test_segments_stand_beside_their_wholes(cases):
    record = only(cases["segment_level_tie"])
    assert record.response_ids == ["x", "y", "x:0", "y:0"]
    assert (record.pairs.a.tolist(), record.pairs.b.tolist()) == ([2], [3])
    assert OUTCOMES[record.pairs.outcome[0]] == "tie"
    assert record.judged.tolist() == [False, False, True, True]
    assert record.responses["part_of"].to_list() == [None, None, "x", "y"]


def test_step_label(cases):
    record = only(cases["step_label"])
    assert record.values.response.tolist() == [1]
    assert record.source.labels[record.values.label[0]] == "-1"
    assert np.isnan(record.values.value[0])


def test_joint_sets_compared_and_grouped(cases):
    data = cases["joint_candidate_set"]
    record = only(data)
    assert [record.response_ids[i] for i in (record.pairs.a[0], record.pairs.b[0])] == ["A", "B"]
    by_set = records(data, "set")
    assert [(r.key, r.keyed_by, r.response_ids) for r in by_set] == [
        ("A", "set", ["a1", "a2"]),
        ("B", "set", ["b1", "b2"]),
        ("A | B", "responses", ["A", "B"]),
    ]
    assert by_set.unplaced == 0
    assert records(data, "presentation").unplaced == 4


def test_conversation_holds_all_turns(cases):
    data = cases["follow_up_turn"]
    assert [r.key for r in records(data)] == ["t0", "t1"]
    record = only(data, "conversation")
    assert (record.key, record.keyed_by, record.prompt) == ("conv", "conversation", -1)
    assert record.source.prompts["turn"].gather(record.prompts).to_list() == [0, 0, 1, 1]
    assert record.pairs.prompt.tolist() == [0, 1]


def test_soft_label_and_unlabelled_pair_differ(cases):
    soft, bare = only(cases["soft_label"]).pairs, only(cases["unlabelled_pair"]).pairs
    assert (soft.outcome[0], soft.probability[0], soft.probability_tie[0]) == (-1, 0.83, 0.05)
    assert bare.outcome[0] == -1
    assert np.isnan(bare.probability[0])
    assert (bare.shown_first[0], bare.propensity[0]) == (1, 0.25)


def test_counts_means_and_defaults(cases):
    counted = only(cases["counted_row"])
    assert (counted.keyed_by, counted.pairs.count[0], counted.pairs.weight[0]) == ("responses", 137, 0.5)
    mean = only(cases["mean_of_25_ratings"]).values
    assert (mean.value[0], mean.spread[0], mean.count[0], mean.weight[0]) == (3.42, 0.61, 25, 1.0)


def test_named_systems_under_a_recorded_prompt():
    data = PreferenceData(
        comparisons=pl.DataFrame(
            {
                "comparison_id": ["1", "2", "3"],
                "response_a": ["m1", "m1", "m2"],
                "response_b": ["m2", "m3", "m1"],
                "prompt_id": ["p", "q", "p"],
            }
        )
    )
    p, q = records(data)
    assert (p.key, p.response_ids, p.pairs.a.tolist(), p.pairs.b.tolist()) == ("p", ["m1", "m2"], [0, 1], [1, 0])
    assert (q.key, q.response_ids) == ("q", ["m1", "m3"])
    assert p.prompts.tolist() == [0, 0]
    assert q.prompts.tolist() == [1, 1]
    assert p.pairs.row.tolist() == [0, 2]


def test_ids_that_hold_the_separator_stay_apart():
    data = PreferenceData(
        comparisons=pl.DataFrame(
            {"comparison_id": ["1", "2"], "response_a": ["a | b", "a"], "response_b": ["c", "b | c"]}
        )
    )
    assert len(records(data)) == 2


def test_a_prompt_without_responses_is_a_record():
    data = PreferenceData(prompts=pl.DataFrame({"prompt_id": ["p"], "messages": ["Hi"]}))
    record = only(data)
    assert (record.key, len(record.rows), record.prompt) == ("p", 0, 0)
    assert len(records(PreferenceData())) == 0


@pytest.mark.parametrize("by", ["prompt", "set", "presentation", "conversation"])
def test_every_judgment_is_in_exactly_one_record(case, by):
    found = records(case, by)
    for name, part in (("comparisons", "pairs"), ("ratings", "values"), ("rankings", "ranks")):
        rows = np.concatenate([getattr(r, part).row for r in found] or [np.empty(0, int)])
        assert sorted(rows.tolist()) == list(range(case.height(name)))
        assert rows.tolist() == getattr(found, part).row.tolist()
    for record in found:
        for index in (record.pairs.a, record.pairs.b, record.values.response, record.ranks.response):
            assert ((index >= 0) & (index < len(record.rows))).all()


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_indices_lead_back_to_the_tables(draw):
    """Whatever is recorded or not: (record, index) gives the response that the table names."""
    ids = st.sampled_from([f"r{i}" for i in range(6)])
    maybe = st.sampled_from([None, "x", "y"])
    pairs = draw.draw(st.lists(st.tuples(ids, ids, maybe, maybe), max_size=12))
    lists = draw.draw(st.lists(st.tuples(st.lists(ids, max_size=4), maybe), max_size=5))
    prompts = draw.draw(st.lists(maybe, min_size=6, max_size=6))
    sets = draw.draw(st.lists(maybe, min_size=6, max_size=6))
    data = PreferenceData(
        responses=pl.DataFrame(
            {"response_id": [f"r{i}" for i in range(6)], "prompt_id": prompts, "set_id": sets},
            schema={"response_id": pl.String, "prompt_id": pl.String, "set_id": pl.String},
        ),
        comparisons=pl.DataFrame(
            [(str(i), *pair) for i, pair in enumerate(pairs)],
            schema=dict.fromkeys(
                ["comparison_id", "response_a", "response_b", "prompt_id", "presentation_id"], pl.String
            ),
            orient="row",
        ),
        rankings=pl.DataFrame(
            [(str(i), r, list(range(1, len(r) + 1)), p) for i, (r, p) in enumerate(lists)],
            schema={
                "ranking_id": pl.String,
                "responses": pl.List(pl.String),
                "ranks": pl.List(pl.Int32),
                "presentation_id": pl.String,
            },
            orient="row",
        ),
    )
    for by in ("prompt", "set", "presentation"):
        seen_pairs, seen_lists = {}, {}
        for record in records(data, by):
            ids_here = record.response_ids
            assert len(set(ids_here)) == len(ids_here)
            for row, a, b in zip(record.pairs.row, record.pairs.a, record.pairs.b):
                seen_pairs[int(row)] = (ids_here[a], ids_here[b])
            for row, (response, rank) in zip(record.ranks.row, record.ranks.lists()):
                seen_lists[int(row)] = ([ids_here[i] for i in response], rank.tolist())
        assert seen_pairs == {i: pair[:2] for i, pair in enumerate(pairs)}
        assert seen_lists == {i: (r, list(range(1, len(r) + 1))) for i, (r, _) in enumerate(lists)}


def test_row_order_of_judgments_is_the_table_order(cases):
    data = cases["counted_row"]
    three = data.replace(
        comparisons=pl.concat([data.comparisons.with_columns(comparison_id=pl.lit(str(i))) for i in (3, 1, 2)])
    )
    assert only(three).pairs.row.tolist() == [0, 1, 2]


def test_unusable_input_is_named():
    with pytest.raises(InputError, match="cannot be made by 'annotator'"):
        records(PreferenceData(), by="annotator")
    short = pl.DataFrame({"ranking_id": ["k"], "responses": [["x", "y"]], "ranks": [[1]]})
    with pytest.raises(InputError, match="ranking 'k' has not as many ranks"):
        records(PreferenceData(rankings=short))
    nothing = pl.DataFrame({"comparison_id": ["c0", "c1"], "response_a": ["x", "x"], "response_b": ["y", None]})
    with pytest.raises(InputError, match="comparisons 'c1' names no response"):
        records(PreferenceData(comparisons=nothing))


def test_a_hundred_thousand_comparisons_take_seconds():
    rng = np.random.default_rng(0)
    n, size, prompts = 100_000, 4, 10_000
    prompt = rng.integers(0, prompts, n)
    data = PreferenceData(
        responses=pl.DataFrame({"response_id": np.arange(prompts * size)}).select(
            pl.col("response_id").cast(pl.String), (pl.col("response_id") // size).cast(pl.String).alias("prompt_id")
        ),
        comparisons=pl.DataFrame(
            {
                "comparison_id": np.arange(n).astype(str),
                "response_a": (prompt * size + rng.integers(0, size, n)).astype(str),
                "response_b": (prompt * size + rng.integers(0, size, n)).astype(str),
            }
        ),
    )
    start = time.process_time()
    total = sum(len(record.pairs) for record in records(data))
    assert total == n
    assert time.process_time() - start < 6.0
