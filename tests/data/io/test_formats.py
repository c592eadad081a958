"""Public formats: detection, polarity of every label, the odd rows each source is known for, counts of what happened.

The fixtures are small files in the layout of each source; every expectation below is worked out by hand from them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from preflearn.data import PreferenceData
from preflearn.data.convert import rankings_to_pairs
from preflearn.data.io import read
from preflearn.data.io.formats import FORMATS
from preflearn.data.validate import validate

FIXTURES = Path(__file__).parents[2] / "fixtures" / "formats"

DETECTED = {
    "arena_33k.jsonl": "arena",
    "arena_100k.jsonl": "arena",
    "arena_140k.jsonl": "arena",
    "arena_55k.csv": "arena-55k",
    "hh.jsonl": "hh-rlhf",
    "trl_explicit.jsonl": "trl-preference",
    "trl_implicit.jsonl": "trl-preference",
    "trl_conversational.jsonl": "trl-preference",
    "trl_conversational_implicit.jsonl": "trl-preference",
    "trl_mixed.jsonl": "trl-preference",
    "trl_unpaired.jsonl": "trl-unpaired",
    "ultrafeedback_binarized.jsonl": "trl-preference",
    "ultrafeedback.jsonl": "ultrafeedback",
    "helpsteer2.jsonl": "helpsteer",
    "helpsteer2_disagreements.jsonl": "helpsteer",
    "helpsteer2_preference.jsonl": "helpsteer-preference",
    "helpsteer3.jsonl": "helpsteer-preference",
    "prism": "prism",
    "rewardbench.jsonl": "rewardbench",
    "rewardbench2.jsonl": "rewardbench-2",
}


def _read(name: str) -> PreferenceData:
    return read(FIXTURES / name)


def _texts(data: PreferenceData, ids: list[str]) -> list[str | None]:
    """Contents of the last message of each response."""
    found = dict(data.responses.select("response_id", "messages").iter_rows())
    return [found[one][-1]["content"] if found[one] else None for one in ids]


def _winners(data: PreferenceData) -> list[tuple[str | None, str | None, str | None]]:
    """(text of a, text of b, outcome) of every comparison."""
    rows = data.comparisons
    sides = [_texts(data, rows[f"response_{side}"].to_list()) for side in "ab"]
    return list(zip(*sides, rows["outcome"].to_list(), strict=True))


def _prompt(data: PreferenceData, response: str) -> list[tuple[str, str]] | None:
    """Messages of a response's prompt."""
    owner = dict(data.responses.select("response_id", "prompt_id").iter_rows())[response]
    rows = data.prompts.filter(pl.col("prompt_id") == pl.lit(owner, dtype=pl.String))
    return [(m["role"], m["content"]) for m in rows["messages"][0]] if rows.height else None


@pytest.mark.parametrize(("name", "expected"), DETECTED.items())
def test_each_source_is_known_by_its_layout_and_is_valid(name: str, expected: str) -> None:
    data = _read(name)
    report = data.report
    assert report is not None and report.format == expected
    assert report.read == report.kept + len(report.rejected) + sum(report.dropped.values())
    assert not validate(data).errors
    assert data.equals(_read(name)), "ids and order depend on the content alone"


def test_every_format_says_where_its_layout_was_read() -> None:
    names = [one.name for one in FORMATS]
    assert len(set(names)) == len(names) and names[-1] == "plain"
    for one in FORMATS:
        assert one.needs and len(one.about) > 20


# -- arena -------------------------------------------------------------------------------------------------------------


def test_arena_33k() -> None:
    data = _read("arena_33k.jsonl")
    rows = data.comparisons
    assert _winners(data) == [
        ("hello", "go away", "a"),
        ("5", "4", "b"),
        ("hello", "hey", "tie"),
        ("", "？", "both_bad"),
        ("x", "y", None),
        ("hello", "same id again", "b"),
        ("d", "D", "a"),
    ]
    assert rows["comparison_id"].to_list() == ["q1", "q2", "q3", "q4", "q5", "q1~2", "q7"]
    assert rows["annotator_id"].cast(pl.String).to_list()[:2] == ["arena_user_1", "arena_user_2"]
    assert data.annotators["kind"].to_list() == ["person", "person"]
    assert rows["time"][0] == datetime(2023, 6, 25, 20, 15, 0, 500_000, tzinfo=UTC)
    assert rows["shown_first"].to_list() == ["a"] * 7
    systems = dict(data.responses.select("response_id", pl.col("system").cast(pl.String)).iter_rows())
    assert [systems[one] for one in rows["response_a"]] == [
        "koala",
        "koala",
        "koala",
        "alpaca",
        "alpaca",
        "vicuna",
        "vicuna",
    ]
    assert _prompt(data, rows["response_a"][6]) == [("system", "be brief"), ("user", "a")]
    last = data.responses.filter(pl.col("response_id") == rows["response_b"][6])["messages"][0]
    assert [message["content"] for message in last] == ["B", "c", "D"]
    assert data.prompts["language"].to_list() == ["English"] * 5
    assert json.loads(data.prompts["openai_moderation"][0]) == {"categories": {"hate": False}, "flagged": False}
    assert data.report is not None
    assert data.report.mapped["winner=tie (bothbad) -> outcome both_bad"] == 1
    assert data.report.mapped["winner=tie -> outcome tie"] == 0  # the word is the plan's own
    assert data.report.mapped["no winner -> not yet judged"] == 1
    assert [(row.line, row.reason[:15]) for row in data.report.rejected] == [
        (8, "not valid JSON:"),
        (9, "unknown outcome"),
    ]


def test_arena_100k() -> None:
    data = _read("arena_100k.jsonl")
    rows = data.comparisons
    assert _winners(data) == [
        ("hello there", "no", "a"),
        ("nope", "hello again", "b"),
        ("5", "", "both_bad"),
        ("é", "è", "tie"),
    ]
    assert rows["comparison_id"].to_list() == ["a1", "a2", "a3", "a4"]
    assert rows["annotator_id"].cast(pl.String).to_list() == ["9f2c", "9f2c", "77aa", "gptlike"]
    assert rows["time"][0] == datetime(2024, 6, 10, 6, 13, 20, 250_000, tzinfo=UTC)
    assert rows["anony"].to_list() == [True, True, True, False]
    assert rows["is_refusal"].to_list() == [False, False, True, False]
    assert rows["dedup_sampled"].to_list() == [True, False, True, None]
    style = data.responses.select("tokens", "headers", "lists", "bold").rows()
    assert style[0] == (11, 2, 4, 4) and style[3] == (None,) * 4, "unrecorded counts are no zeros"
    assert data.prompts["category_criteria_v0.1_creativity"].to_list() == [True, True, None]
    assert data.prompts["language"].to_list() == ["English", "unknown", "English"]


def test_arena_140k() -> None:
    data = _read("arena_140k.jsonl")
    rows = data.comparisons
    assert _winners(data) == [("a1", "b1", "a"), ("a2", "b2", "both_bad"), ("cat", "dog", "tie"), ("a4", "b4", "b")]
    assert rows["comparison_id"].to_list() == ["v1", "v2", "v3", "v4"]
    assert "shown_first" not in rows.columns, "the source does not say which side stood on the left"
    assert rows["full_conversation"].is_null().to_list() == [True, False, True, True]
    responses = data.responses
    first = responses.filter(pl.col("response_id") == rows["response_a"][0])
    assert first.select("tokens", "headers", "lists", "bold").row(0) == (7, 3, 5, 2)
    other = responses.filter(pl.col("response_id") == rows["response_b"][0])
    assert other.select("tokens", "headers", "lists", "bold").row(0) == (9, 0, 0, 1)
    assert data.media.select("media_id", "kind", "mime").rows() == [("img/1.png", "image", "image/png")]
    assert data.prompts["category_math_v0.1_math"].to_list() == [True] * 3
    assert data.prompts["is_code"].to_list() == [False] * 3


def test_arena_55k() -> None:
    data = _read("arena_55k.csv")
    assert _winners(data) == [
        ("a2", "b2", "a"),
        ("x", "y", "b"),
        (None, "", "tie"),
        ("x", "y", None),
        ("x", "y", "b"),
    ]
    first = data.comparisons["response_a"][0]
    assert _prompt(data, first) == [("user", "Is it morally right?\nReally?")]
    assert _prompt(data, data.comparisons["response_a"][4]) == [("user", "lone \ufffd half")]
    assert data.report is not None
    assert {row.line: row.reason for row in data.report.rejected} == {
        5: "2 user turns with 1 and 1 answers",
        6: "prompt: not valid JSON: Unterminated string starting at",
        8: "more than one winner column is 1",
    }


# -- HH-RLHF and TRL ---------------------------------------------------------------------------------------------------


def test_hh_transcripts() -> None:
    data = _read("hh.jsonl")
    rows = data.comparisons
    assert _winners(data) == [
        ("4", "5", "a"),
        ("good", "bad", "a"),
        ("good", "bad", "a"),
        ("", "full", "a"),
        ("x", "x", "a"),
        ("a\n\nb 🙂", "c", "a"),
        ("c", "a", "a"),
    ]
    assert _prompt(data, rows["response_a"][1]) == [("user", "hi"), ("assistant", "yo"), ("user", "more")]
    assert _prompt(data, rows["response_a"][2]) == [("user", "hi")], "they part at the first answer"
    assert rows["response_a"][4] == rows["response_b"][4]
    assert _prompt(data, rows["response_a"][5]) == [("user", "text with Human: inside")]
    assert data.report is not None and [row.line for row in data.report.rejected] == [8, 9]
    assert data.report.rejected[0].raw.startswith('{"chosen": "no marks at all"')


def test_trl_explicit_text() -> None:
    data = _read("trl_explicit.jsonl")
    assert _winners(data) == [(" blue.", " green.", "a"), ("a", "", "a")]
    assert _prompt(data, data.comparisons["response_b"][0]) == [("user", "The sky is")]
    assert data.report is not None
    assert [(row.line, row.reason) for row in data.report.rejected] == [(3, "rejected is missing")]


def test_trl_implicit_text_is_cut_at_a_space() -> None:
    data = _read("trl_implicit.jsonl")
    assert _winners(data) == [(" blue.", " black.", "a"), ("Alpha", "Beta", "a")]
    assert _prompt(data, data.comparisons["response_a"][0]) == [("user", "The sky is")]
    assert _prompt(data, data.comparisons["response_a"][1]) is None


def test_trl_messages_with_and_without_prompt() -> None:
    explicit = _read("trl_conversational.jsonl")
    assert _winners(explicit) == [("It is blue.", "It is green.", "a"), ("c", "r", "a")]
    assert _prompt(explicit, explicit.comparisons["response_a"][1]) == [("system", "Be kind."), ("user", "q")]
    implicit = _read("trl_conversational_implicit.jsonl")
    assert _winners(implicit) == [("It is blue.", "It is green.", "a"), ("c", "r", "a")]
    assert _prompt(implicit, implicit.comparisons["response_a"][0]) == [("user", "What color is the sky?")]
    sides = [implicit.comparisons[f"response_{side}"][1] for side in "ab"]
    assert [_prompt(implicit, side) for side in sides] == [[("user", "one")], [("user", "two")]]
    # the same pair, written in the two ways, is the same rows
    assert explicit.comparisons.row(0) == implicit.comparisons.row(0)


def test_a_list_in_some_rows_and_text_in_others() -> None:
    data = _read("trl_mixed.jsonl")
    assert _winners(data) == [("text", "other", "a"), ("list", "more", "a")]
    assert [_prompt(data, one) for one in data.comparisons["response_a"]] == [[("user", "q1")], [("user", "q2")]]


def test_ultrafeedback_binarized_repeats_its_prompt() -> None:
    data = _read("ultrafeedback_binarized.jsonl")
    assert _winners(data) == [("good", "bad", "a"), ("fine", "", "a")]
    assert [_prompt(data, one) for one in data.comparisons["response_a"]] == [[("user", "q1")], [("user", "q2")]]
    scores = dict(data.responses.select("response_id", "score").iter_rows())
    assert [scores[one] for one in data.comparisons["response_a"]] == [8.5, 7.0]
    assert [scores[one] for one in data.comparisons["response_b"]] == [4.0, 7.0]


def test_trl_unpaired_thumbs() -> None:
    data = _read("trl_unpaired.jsonl")
    rows = data.ratings
    assert list(zip(_texts(data, rows["response_id"].to_list()), rows["label"], rows["value"], strict=True)) == [
        (" blue.", "up", 1.0),
        (" green.", "down", 0.0),
    ]
    assert data.report is not None and [row.reason for row in data.report.rejected] == ["no label"]


# -- ratings -----------------------------------------------------------------------------------------------------------


def _ratings(data: PreferenceData) -> set[tuple[Any, ...]]:
    rows = data.ratings.with_columns(pl.col("criterion_id").cast(pl.String))
    texts = _texts(data, rows["response_id"].to_list())
    return set(zip(texts, rows["criterion_id"], rows["value"], strict=True))


def test_ultrafeedback() -> None:
    data = _read("ultrafeedback.jsonl")
    assert _ratings(data) == {
        ("short", "helpfulness", 2.0),
        ("short", "instruction_following", 1.0),
        ("short", "overall", 10.0),
        ("long", "helpfulness", 5.0),
        ("long", "instruction_following", 5.0),
        ("long", "overall", 9.0),
        ("", "helpfulness", 1.0),
        ("", "overall", 1.0),
        ("x", "instruction_following", 3.0),
    }
    assert data.annotators.select(pl.all().cast(pl.String)).rows() == [("gpt-4", "judge", "gpt-4")]
    scales = {
        row[0]: row[1:] for row in data.criteria.select(pl.col("criterion_id").cast(pl.String), "low", "high").rows()
    }
    assert scales == {"helpfulness": (1, 5), "instruction_following": (1, 5), "overall": (1, 10)}
    rationale = data.ratings.filter(pl.col("criterion_id").cast(pl.String) == "overall")["rationale"].to_list()
    assert rationale == ["critique of alpaca-7b", "critique of gpt-4", "critique of alpaca-7b"]
    assert data.report is not None
    assert data.report.mapped["Rating N/A -> no rating"] == 2
    assert sum(n for what, n in data.report.mapped.items() if "known fault" in what) == 1
    assert [row.reason for row in data.report.rejected] == ["no completions"]


def test_helpsteer_ratings_and_disagreements() -> None:
    data = _read("helpsteer2.jsonl")
    found = _ratings(data)
    assert ("C# is …", "helpfulness", 3.0) in found and ("C# is …", "verbosity", 1.0) in found
    assert ("It is a language.", "helpfulness", 1.0) in found and len(found) == 14
    third = data.responses.filter(pl.col("messages").list.first().struct.field("content") == "")["response_id"][0]
    assert _prompt(data, third) == [("user", "hi"), ("assistant", "hello"), ("user", "more")]
    single = _read("helpsteer2_disagreements.jsonl").ratings
    helpful = single.filter(pl.col("criterion_id").cast(pl.String) == "helpfulness")["value"].to_list()
    assert helpful == [3, 3, 4] and single.height == 14


def test_helpsteer_preferences_keep_single_votes_and_both_polarities() -> None:
    second = _read("helpsteer2_preference.jsonl").comparisons
    assert second.select("outcome", "strength", pl.col("protocol").cast(pl.String)).rows() == [
        ("a", 2, "graded comparison"),
        ("a", 3, "graded comparison"),
        ("b", 1, "graded comparison"),
        ("b", 3, "aggregate"),
        ("tie", None, "aggregate"),
    ]
    assert second["rationale"].to_list()[:2] == ["first\nas first", "first much\nas first much"]
    data = _read("helpsteer3.jsonl")
    assert _winners(data) == [("one", "two", outcome) for outcome in ("a", "a", "b", "tie", "b")]
    assert data.comparisons["strength"].to_list() == [1, 3, 2, None, 3]
    assert data.comparisons["overall_preference"].to_list() == [-1, -1, -1, 2, 2]
    assert _prompt(data, data.comparisons["response_a"][3]) == [("system", "sys"), ("user", "q")]
    assert data.prompts["category"].to_list() == ["code", "general"]


def test_prism() -> None:
    data = _read("prism")
    overall = data.ratings.filter(pl.col("criterion_id").cast(pl.String) == "overall")
    texts = _texts(data, overall["response_id"].to_list())
    assert list(zip(texts, overall["value"], strict=True)) == [
        ("A0", 30), ("B0", 90), ("", 1), ("A1", 60), ("B1", 50), ("A0", 77), ("X0", 77),
    ]  # fmt: skip
    second_turn = overall["response_id"][3]
    assert _prompt(data, second_turn) == [("user", "hi"), ("assistant", "B0"), ("user", "more")]
    choices = data.rankings
    assert choices["ranks"].to_list() == [[None, 1, None], [1, None]]
    assert [_texts(data, row) for row in choices["responses"].to_list()] == [["A0", "B0", ""], ["A1", "B1"]]
    assert choices["kind"].to_list() == ["choice", "choice"]
    attributes = data.ratings.filter(pl.col("protocol").cast(pl.String) == "attribute rating")
    assert _texts(data, attributes["response_id"].to_list()) == ["B0", "B0"]
    assert sorted(attributes["value"]) == [12, 80]
    assert data.signals.select("kind", "text").rows() == [("critique", "fine, but short")]
    assert _texts(data, data.signals["response_id"].to_list()) == ["A1"]
    people = data.annotators.with_columns(pl.col("annotator_id").cast(pl.String)).sort("annotator_id")
    assert people.select("annotator_id", "kind", "country", "age", "stated_prefs_values").rows() == [
        ("user0", "person", "DEU", "25-34 years old", 50),
        ("user1", "person", "IND", "65+ years old", 1),
        ("user2", "person", "CHL", "18-24 years old", 1),
    ]
    assert data.prompts.sort("prompt_id").select("conversation_id", "turn").rows() == [("c0", 0), ("c0", 1), ("c1", 0)]


def test_prism_utterances_alone_and_conversations_alone() -> None:
    alone = read(FIXTURES / "prism" / "utterances.jsonl")
    assert alone.counts()["ratings"] == 7 and alone.counts()["rankings"] == 2
    history = read(FIXTURES / "prism" / "conversations.jsonl")
    overall = history.ratings.filter(pl.col("criterion_id").cast(pl.String) == "overall")
    assert overall["value"].to_list() == [30, 90]


# -- RewardBench -------------------------------------------------------------------------------------------------------


def test_rewardbench() -> None:
    data = _read("rewardbench.jsonl")
    assert _winners(data) == [("good", "bad", "a"), ("ok", "", "a"), ("ok", "no", "a")]
    assert data.comparisons["comparison_id"].to_list() == ["0", "1", "1~2"]
    systems = dict(data.responses.select("response_id", pl.col("system").cast(pl.String)).iter_rows())
    assert [systems[one] for one in data.comparisons["response_b"]] == ["alpaca", "alpaca", "x"]
    assert data.prompts["category"].to_list() == ["alpacaeval-easy", "math-prm", "math-prm"]


def test_rewardbench_2() -> None:
    data = _read("rewardbench2.jsonl")
    rows = data.rankings
    assert rows["ranks"].to_list() == [[1, None, None, None], [1, 1, None, None]]
    pairs = rankings_to_pairs(data).comparisons
    assert pairs["outcome"].to_list() == ["a"] * 3 + ["tie"] + ["a"] * 4, "wrong answers were never compared"
    assert [_texts(data, row) for row in rows["responses"].to_list()] == [
        ["good", "b1", "b2", "b3"],
        ["red", "blue", "pink", "mud"],
    ]
    systems = data.responses["system"].cast(pl.String).to_list()
    assert systems == [None] * 4 + ["m"] * 4, "whose completion is whose is known only where all are one model's"
    assert data.report is not None and [row.reason for row in data.report.rejected] == ["chosen is empty"]


def test_columns_beyond_the_layout_are_kept(tmp_path: Path) -> None:
    def widened(name: str, more: dict[str, Any]) -> None:
        rows = [json.loads(line) for line in (FIXTURES / name).read_text("utf-8").splitlines() if line[:1] == "{"]
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps({**row, **more}) + "\n" for row in rows), "utf-8")

    widened("ultrafeedback.jsonl", {"batch": 7, "models": ["m"]})
    data = read(tmp_path / "ultrafeedback.jsonl")
    assert data.ratings["batch"].unique().to_list() == [7] and data.report is not None
    assert any("'models'" in note for note in data.report.notes)
    widened("prism/utterances.jsonl", {"wave": "w"})
    widened("prism/conversations.jsonl", {"timing_duration_mins": 5.0})
    data = read(tmp_path / "prism")
    scores = data.ratings.filter(pl.col("protocol") == "absolute rating")
    assert scores["wave"].unique().to_list() == ["w"]
    assert data.prompts["timing_duration_mins"].to_list() == [5.0, 5.0, None], "the last has no conversations row"
    assert data.prompts["generated_datetime"][0] == "2023-11-22 15:55:46"
