"""Plain tables: the layouts people have, with both label polarities, and what must not be guessed."""

import polars as pl
import pytest

from preflearn.data.io import plain
from preflearn.data.reading import ImportReport
from preflearn.errors import InputError


def read(columns):
    frame = pl.DataFrame(columns, strict=False).with_row_index("_line", offset=2)
    return plain.read(frame, ImportReport("test.csv", "plain", read=frame.height))


def sides(data):
    """Votes as (content or system of a, of b, outcome)."""
    names = {}
    for row in data.responses.to_dicts():
        messages = row.get("messages")
        names[row["response_id"]] = messages[0]["content"] if messages else row["system"]
    comparisons = data.comparisons.select("response_a", "response_b", "outcome")
    return [(names[a], names[b], outcome) for a, b, outcome in comparisons.rows()]


def test_votes_between_named_systems():
    data = read(
        {
            "system_a": ["x", "y"],
            "system_b": ["y", "x"],
            "outcome": ["a", "tie"],
            "annotator_id": ["u", "v"],
            "task": [1, 2],
        }
    )
    assert sides(data) == [("x", "y", "a"), ("y", "x", "tie")]
    assert data.report.mapped == {} and data.report.notes == []
    assert data.comparisons["task"].to_list() == [1, 2]


def test_synonyms_are_counted():
    data = read(
        {
            "model_a": ["x", "x", "x", "x"],
            "model_b": ["y", "y", "y", "y"],
            "winner": ["model_a", "model_b", "tie (bothbad)", None],
            "judge": ["u"] * 4,
            "tstamp": [1.7e9, 1.7e9 + 0.5, None, 1.7e9],
        }
    )
    assert sides(data) == [("x", "y", "a"), ("x", "y", "b"), ("x", "y", "both_bad"), ("x", "y", None)]
    mapped = data.report.mapped
    assert (
        mapped["outcome model_a -> a"]
        == mapped["outcome model_b -> b"]
        == mapped["outcome tie (bothbad) -> both_bad"]
        == 1
    )
    assert mapped["column model_a -> system_a"] == 4 and mapped["no outcome -> not yet judged"] == 1
    assert data.comparisons["time"].dt.epoch("ms").to_list() == [
        1_700_000_000_000,
        1_700_000_000_500,
        None,
        1_700_000_000_000,
    ]


def test_left_and_right():
    data = read({"left": ["x", "x"], "right": ["y", "y"], "winner": ["left", "right"]})
    assert sides(data) == [("x", "y", "a"), ("x", "y", "b")]
    assert "left and right are read as systems" in data.report.notes[0]


def test_winner_named_by_its_system():
    data = read({"system_a": ["x", "x", "b"], "system_b": ["y", "y", "a"], "winner": ["x", "y", "a"]})
    assert sides(data) == [("x", "y", "a"), ("x", "y", "b"), ("b", "a", "b")]
    assert data.report.mapped["winner named by its system -> side"] == 3


def test_prompt_and_two_texts():
    data = read({"prompt": ["p", "p"], "response_a": ["one", ""], "response_b": ["two", "two"], "outcome": ["b", "a"]})
    assert sides(data) == [("one", "two", "b"), ("", "two", "a")]
    assert data.responses["prompt_id"].null_count() == 0


def test_prompt_chosen_rejected():
    data = read({"prompt": ["p"], "chosen": ["good"], "rejected": ["bad"], "label": ["kept"]})
    assert sides(data) == [("good", "bad", "a")]
    assert data.comparisons["label"].to_list() == ["kept"]
    assert any("shown first is not recorded" in note for note in data.report.notes)


def test_responses_alone_are_ids_unless_they_look_like_text():
    data = read({"response_a": ["x"], "response_b": ["y"], "outcome": ["a"], "prompt_id": ["1"]})
    assert data.responses["response_id"].to_list() == ["x", "y"]
    assert data.comparisons["prompt_id"].to_list() == ["1"]
    assert any("read as ids" in note for note in data.report.notes)
    texts = read({"response_a": ["one\nline"], "response_b": ["y"], "outcome": ["a"]})
    assert sides(texts) == [("one\nline", "y", "a")]


def test_numbers_are_outcomes_only_where_the_sides_bear_them():
    data = read({"instruction": ["p"] * 4, "output_1": ["s"] * 4, "output_2": ["t"] * 4, "preference": [1, 2, 0, 1.5]})
    assert sides(data) == [("s", "t", "a"), ("s", "t", "b"), ("s", "t", "tie")]
    assert [row.reason.split(" (")[0] for row in data.report.rejected] == ["unknown outcome '1.5'"]
    zero = read({"prompt": ["p"] * 2, "response_0": ["s"] * 2, "response_1": ["t"] * 2, "label": [0, 1]})
    assert sides(zero) == [("s", "t", "a"), ("s", "t", "b")]
    with pytest.raises(InputError, match="nothing says which side each means"):
        read({"system_a": ["x"], "system_b": ["y"], "outcome": [1]})
    with pytest.raises(InputError, match="nothing says which side each means"):
        read({"model_a": ["x"], "model_b": ["y"], "label": [True]})


def test_unlabelled_pairs_and_teachers():
    data = read({"system_a": ["x"], "system_b": ["y"], "probability": [0.7]})
    assert data.comparisons["probability"].to_list() == [0.7]
    assert "outcome" not in data.comparisons.columns


def test_ratings_rankings_signals():
    ratings = read({"prompt": ["p"], "response": ["one"], "rating": [4], "worker": ["u"]})
    assert ratings.ratings.select("value", pl.col("annotator_id").cast(str)).rows() == [(4.0, "u")]
    rankings = read({"systems": [["x", "y", "z"]], "ranks": [[2, 1, 2]], "annotator": ["u"]})
    assert rankings.rankings["ranks"].to_list() == [[2, 1, 2]]
    signals = read({"response_id": ["x"], "kind": ["click"], "position": [0], "propensity": [0.2]})
    assert signals.signals["kind"].to_list() == ["click"]


def test_the_plan_s_own_columns_are_read_as_they_stand():
    data = read(
        {
            "comparison_id": ["1"],
            "response_a": ["x"],
            "response_b": ["y"],
            "outcome": ["both_good"],
            "shown_first": ["b"],
            "count": [3],
            "criterion_id": ["clarity"],
        }
    )
    row = data.comparisons.to_dicts()[0]
    assert (row["comparison_id"], row["outcome"], row["shown_first"], row["count"]) == ("1", "both_good", "b", 3)


@pytest.mark.parametrize(
    "columns",
    [
        ["name", "age"],
        ["prompt", "response"],
        ["prompt", "response_1", "response_2", "response_3", "winner"],
    ],
)
def test_what_is_no_plain_table(columns):
    assert plain.layout(columns) is None
    with pytest.raises(InputError, match="no layout of a plain table"):
        read({column: ["x"] for column in columns})


def test_written_otherwise():
    data = read({"System_A": ["x"], "System_B": ["y"], "Outcome": ["A"], "Annotator_ID": ["u"]})
    assert sides(data) == [("x", "y", "a")]
    assert data.annotators.height == 1


def test_conversations_in_other_fields():
    prompt = [{"from": "human", "value": "hi"}]
    answers = [[{"from": "gpt", "value": text}] for text in ("good", "bad")]
    data = read({"prompt": [prompt], "chosen": [answers[0]], "rejected": [answers[1]]})
    assert sides(data) == [("good", "bad", "a")]
    assert data.prompts["messages"][0].to_list() == [{"role": "user", "name": None, "content": "hi", "media": None}]


def test_images_in_messages_become_media():
    parts = [{"role": "user", "content": [{"type": "text", "text": "what?"}, {"type": "image", "image": "cat.png"}]}]
    data = read({"prompt": [parts], "response_a": ["a cat"], "response_b": ["a dog"], "winner": ["a"]})
    assert data.prompts["messages"][0][0]["media"] == ["cat.png"]
    assert data.media.select("media_id", "kind").rows() == [("cat.png", "image")]
