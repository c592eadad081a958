"""Flat role columns -> nine tables: identity, references, rejected rows, ids."""

import json
from hashlib import blake2b

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.data import ids
from preflearn.data.io import flat
from preflearn.data.reading import ImportReport
from preflearn.data.references import missing
from preflearn.data.schema import TABLES
from preflearn.errors import InputError


def build(columns, **options):
    frame = columns if isinstance(columns, pl.DataFrame) else pl.DataFrame(columns, strict=False)
    report = ImportReport("test.csv", "plain", read=frame.height)
    data = flat.build(frame, report, **options)
    for name in TABLES:
        assert not missing(data, name).height
        assert not data.table(name)[TABLES[name].key].is_duplicated().any()
    return data


def text_of(data, response_id):
    return data.responses.filter(pl.col("response_id") == response_id)["messages"][0][0]["content"]


def test_named_systems_are_one_response_each_and_the_prompt_stands_on_the_judgment():
    data = build(
        {
            "system_a": ["x", "y", "x"],
            "system_b": ["y", "z", "z"],
            "outcome": ["a", "tie", "b"],
            "prompt": ["p", "p", "q"],
            "annotator_id": [1, 2, 1],
            "annotators.group": ["g", None, None],
            "topic": ["t", "u", "t"],
        }
    )
    assert data.counts() == {"prompts": 2, "responses": 3, "annotators": 2, "comparisons": 3}
    assert data.responses.select("response_id", pl.col("system").cast(str)).rows() == [
        ("x", "x"),
        ("y", "y"),
        ("z", "z"),
    ]
    assert data.responses["prompt_id"].null_count() == 3
    assert data.comparisons["prompt_id"].n_unique() == 2
    assert data.comparisons["topic"].to_list() == ["t", "u", "t"]
    assert data.comparisons["comparison_id"].to_list() == ["c1", "c2", "c3"]
    assert data.annotators["group"].to_list() == ["g", None]


def test_the_same_answer_is_one_row_per_prompt_with_one_content_hash():
    data = build(
        {
            "prompt": ["p", "p", "q"],
            "text_a": ["one", "one", "one"],
            "text_b": ["two", "", "three"],
            "outcome": ["a", "b", "tie"],
        }
    )
    assert data.counts() == {"prompts": 2, "responses": 5, "comparisons": 3}
    a = data.comparisons["response_a"]
    assert a[0] == a[1] != a[2]
    hashes = dict(data.responses.select("response_id", "content_hash").rows())
    assert hashes[a[0]] == hashes[a[2]]
    assert text_of(data, data.comparisons["response_b"][1]) == ""  # an empty answer is an answer
    assert "prompt_id" not in data.comparisons.columns
    assert data.prompts["messages"][0].to_list() == [{"role": "user", "name": None, "content": "p", "media": None}]


def test_ids_are_digests_of_the_content_on_every_machine():
    data = build({"prompt": ["p"], "text_a": ["one"], "text_b": ["two"], "system_a": ["s"], "outcome": ["a"]})
    prompt = "p" + blake2b(b"user\x1f\x1fp\x1f", digest_size=10).hexdigest()
    assert data.prompts["prompt_id"].to_list() == [prompt]
    content = blake2b(b"assistant\x1f\x1fone\x1f", digest_size=10).hexdigest()
    parts = [prompt, "s", "\0", content, "\0", "\0", "\0", "\0", "\0"]
    assert data.comparisons["response_a"][0] == "r" + blake2b("\x1f".join(parts).encode(), digest_size=10).hexdigest()


def test_messages_and_text_are_the_same_content():
    message = [{"role": "assistant", "content": "one"}]
    named = [{"role": "assistant", "content": "one", "name": None, "media": None}]
    assert ids.content_id(pl.Series([message])).to_list() == ids.content_id(pl.Series(["one"])).to_list()
    assert ids.content_id(pl.Series([named])).to_list() == ids.content_id(pl.Series(["one"])).to_list()
    different = [
        [{"role": "assistant", "content": ""}],
        [{"role": "assistant", "content": None}],
        [{"role": "assistant", "content": "x"}, {"role": "assistant", "content": "y"}],
        [{"role": "assistant", "content": "xy"}],
        [{"role": "user", "content": "xy"}],
        [],
    ]
    series = pl.Series(different, dtype=pl.List(pl.Struct({"role": pl.String, "content": pl.String})))
    assert ids.content_id(series).n_unique() == len(different)


def test_sides_may_have_prompts_of_their_own():
    data = build(
        {
            "prompt_a": ["p", "p"],
            "prompt_b": ["q", "p"],
            "text_a": ["x", "x"],
            "text_b": ["x", "y"],
            "outcome": ["a"] * 2,
        }
    )
    rows = {row["response_id"]: row["prompt_id"] for row in data.responses.to_dicts()}
    first, second = data.comparisons.to_dicts()
    assert rows[first["response_a"]] != rows[first["response_b"]]
    assert rows[second["response_a"]] == rows[second["response_b"]] == rows[first["response_a"]]
    assert data.counts() == {"prompts": 2, "responses": 3, "comparisons": 2}


def test_columns_of_other_tables():
    data = build(
        {
            "prompt_id": ["1"],
            "prompts.category": ["maths"],
            "text_a": ["x"],
            "text_b": ["y"],
            "a.style": ["terse"],
            "responses.finish": ["stop"],
            "b.system": ["s"],
            "comparisons.outcome": ["b"],
            "criterion_id": ["helpful"],
            "criteria.text": ["Which helps more?"],
            "count": [3],
        }
    )
    assert data.prompts.rows() == [("1", "maths")]
    assert data.responses["style"].to_list() == ["terse", None]
    assert data.responses["finish"].to_list() == ["stop", "stop"]
    assert data.responses["prompt_id"].to_list() == ["1", "1"]
    assert data.criteria["text"].to_list() == ["Which helps more?"]
    assert data.comparisons["outcome"].to_list() == ["b"] and data.comparisons["count"].to_list() == [3]


def test_impossible_rows_are_rejected_with_line_reason_and_text():
    good = {"system_a": "x", "system_b": "y", "outcome": "a"}
    bad = [
        ({"outcome": "left"}, "unknown outcome 'left'"),
        ({"system_a": None}, "side a is missing"),
        ({"outcome": None, "probability": "1.5"}, "probability 1.5 is outside [0, 1]"),
        ({"probability": "0.5"}, "both an outcome and a teacher's probability"),
        ({"strength": "0"}, "strength 0 is below 1"),
        ({"strength": "1.5"}, "strength '1.5' is not a whole number"),
        ({"propensity": "0"}, "propensity 0.0 is outside (0, 1]"),
        ({"weight": "-1"}, "weight -1.0 is not a weight"),
        ({"time": "yesterday"}, "time 'yesterday' is not a time"),
        ({"shown_first": "left"}, "unknown shown_first 'left'"),
        ({"confidence": "high"}, "confidence 'high' is not a number"),
        ({"outcome": None, "probability": "0.8", "probability_tie": "0.3"}, "probability + probability_tie is above 1"),
    ]
    keys = sorted({key for change, _ in bad for key in change} | set(good))
    rows = [good, *({**good, **change} for change, _ in bad), good]
    frame = pl.DataFrame({key: pl.Series([row.get(key) for row in rows], dtype=pl.String) for key in keys})
    data = build(frame.with_row_index("_line", offset=2))
    assert data.comparisons["comparison_id"].to_list() == ["c2", f"c{len(bad) + 3}"]
    assert [row.line for row in data.report.rejected] == list(range(3, 3 + len(bad)))
    for row, (change, reason) in zip(data.report.rejected, bad, strict=True):
        assert row.reason.startswith(reason), row
        assert row.source == "test.csv"
        assert json.loads(row.raw) == {key: value for key, value in {**good, **change}.items() if value is not None}
    assert data.report.kept == 2


def test_the_original_row_is_quoted_where_the_caller_has_it():
    original = pl.DataFrame({"_line": [7, 8], "winner": ["left", "none"]})
    frame = pl.DataFrame({"_line": [7, 8], "system_a": ["x", "x"], "system_b": ["y", "y"], "outcome": ["a", "none"]})
    data = build(frame, original=original)
    assert [(row.line, row.raw) for row in data.report.rejected] == [(8, '{"winner": "none"}')]


def test_zero_counts_and_nan_are_counted():
    data = build(
        {
            "system": ["x", "y", "z"],
            "value": [1.0, float("nan"), 2.0],
            "label": ["u", "v", "w"],
            "count": [1, 2, 0],
        }
    )
    assert data.ratings["value"].to_list() == [1.0, None]
    assert data.report.mapped["value NaN -> null"] == 1
    assert data.report.dropped == {"count is 0: the row stands for no judgment": 1}


def test_a_given_id_for_two_contents_is_reported_and_split():
    data = build(
        {
            "prompt": ["p", "p", "p"],
            "response_id_a": ["1", "1", "1"],
            "text_a": ["x", "y", "x"],
            "system_b": ["s", "s", "s"],
            "outcome": ["a", "a", "b"],
        }
    )
    first, second, third = data.comparisons["response_a"]
    assert first == third == "1" and second.startswith("1~")
    assert [text_of(data, one) for one in (first, second)] == ["x", "y"]
    assert data.report.mapped == {
        "response_id stands for several contents -> the first keeps it, others get ID~DIGEST": 1
    }


def test_duplicate_judgment_ids_are_made_unique_and_counted():
    data = build({"comparison_id": ["1", "1", None, "1"], "system_a": ["x"] * 4, "system_b": ["y"] * 4})
    assert data.comparisons["comparison_id"].to_list() == ["1", "1~2", "c3", "1~3"]
    assert data.report.mapped["comparison_id occurs again -> the first keeps it, others get ID~2, ID~3, ..."] == 2


def test_rows_of_one_line_get_ids_of_their_own():
    data = build({"_line": [4, 4, 5], "system": ["x", "y", "x"], "value": [1, 2, 3]}, prefix="crowd-")
    assert data.ratings["rating_id"].to_list() == ["crowd-r4", "crowd-r4~2", "crowd-r5"]
    assert data.ratings["value"].dtype == pl.Float64


def test_attributes_that_disagree_are_counted_and_the_first_stands():
    data = build(
        {
            "system": ["x", "x", "x", "y"],
            "label": ["agree"] * 4,
            "annotator_id": ["u", "u", "u", "v"],
            "annotators.group": [None, "g", "h", "g"],
        }
    )
    assert data.annotators["group"].to_list() == ["g", "g"]
    assert data.report.mapped == {
        "annotators.group differs between rows of one annotator_id -> the first value stands": 1
    }


def test_rankings_from_lists():
    data = build(
        {
            "prompt": ["p", "q", "p", "p"],
            "texts": [["one", "two"], ["one", "two", "three"], ["two", "one"], ["one"]],
            "systems": [["s", "t"], ["s", "t", "u"], ["t", "s"], ["s", "t"]],
            "ranks": [[1, 1], [2, 1, None], [1, 2], [1]],
            "responses.length": [[3, 3], [3, 3, 5], [3, 3], [3]],
        }
    )
    assert data.counts() == {"prompts": 2, "responses": 5, "rankings": 3}
    first, second, third = data.rankings.to_dicts()
    assert third["responses"] == first["responses"][::-1]
    assert second["ranks"] == [2, 1, None]
    assert data.responses["length"].to_list() == [3, 3, 3, 3, 5]
    assert [row.reason for row in data.report.rejected] == [
        "the lists texts, systems, responses.length, ranks have different lengths"
    ]


def test_impossible_rankings_are_rejected():
    data = build(
        {
            "systems": [["x", "y"], ["x", None], ["x", "y"], [], ["x", "y"], ["y", "x"]],
            "ranks": [["1", "2"], ["1", "2"], ["0", "1"], [], ["1", "1.5"], ["1", None]],
            "responses.start": [["0", "1"], ["0", "1"], ["0", "1"], [], ["0", "1"], ["early", "1"]],
        }
    )
    assert data.rankings["ranks"].to_list() == [[1, 2]]
    assert {row.line: row.reason for row in data.report.rejected} == {
        2: "the response is missing: no text, id or system",
        3: "ranks holds 0, no whole number from 1",
        4: "nothing was ranked",
        5: "ranks holds 1.5, no whole number from 1",
        6: "start 'early' is not a number",
    }


def test_rankings_without_ranks_are_best_first():
    data = build({"systems": [["x", "y", "z"], ["z", "x"]], "count": [4, 2]})
    assert data.rankings["ranks"].to_list() == [[1, 2, 3], [1, 2]]
    assert data.rankings["responses"].to_list() == [["x", "y", "z"], ["z", "x"]]


def test_segments_and_media():
    data = build(
        {
            "a.part_of": ["walk", "walk"],
            "a.start": [0, 64],
            "a.end": [64, 128],
            "b.part_of": ["walk", "walk"],
            "b.start": [64, 0],
            "b.end": [128, 64],
            "responses.unit": ["step", "step"],
            "outcome": ["a", "tie"],
        }
    )
    a, b = data.comparisons["response_a"].to_list(), data.comparisons["response_b"].to_list()
    assert a == b[::-1]
    segments = data.responses.filter(pl.col("part_of") == "walk")
    assert segments.select("start", "end", "unit").rows() == [(0.0, 64.0, "step"), (64.0, 128.0, "step")]
    images = build(
        {"prompt": ["p", "p"], "image_a": ["1.png", "1.png"], "image_b": ["2.png", "3.png"], "outcome": ["a", "b"]}
    )
    assert images.media.rows() == [(f"{n}.png", "image", f"{n}.png") for n in (1, 2, 3)]
    assert images.counts()["responses"] == 3


@pytest.mark.parametrize(
    "schema",
    [
        ["system_a", "system_b", "outcome", "annotator_id", "annotators.group"],
        ["prompt", "text_a", "text_b", "outcome"],
        ["text", "value"],
    ],
)
def test_no_rows_are_no_data(schema):
    assert build(pl.DataFrame(schema=dict.fromkeys(schema, pl.String))).counts() == {}


def test_rankings_carry_the_prompt_where_items_are_only_named():
    data = build({"systems": [["x", "y"]], "prompt": ["p"], "shown_order": [[1, 0]]})
    row = data.rankings.to_dicts()[0]
    assert row["prompt_id"] == data.prompts["prompt_id"][0] and row["shown_order"] == [1, 0]
    assert "prompt_id" not in data.responses.columns or data.responses["prompt_id"].null_count() == 2


def test_signals_have_a_text_of_their_own():
    data = build(
        {"prompt": ["p"], "text": ["answer"], "kind": ["critique"], "signals.text": ["too short"], "position": [0]}
    )
    assert data.signals["text"].to_list() == ["too short"]
    assert text_of(data, data.signals["response_id"][0]) == "answer"


def test_defaults_fill_what_rows_lack():
    data = build(
        {"system_a": ["x", "x"], "system_b": ["y", "y"], "source": ["here", None]},
        defaults={"source": "there", "outcome": "a"},
    )
    assert data.comparisons["source"].cast(str).to_list() == ["here", "there"]
    assert data.comparisons["outcome"].to_list() == ["a", "a"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"winner": ["a"]}, "no column says what was judged"),
        ({"text_a": ["x"], "a.text": ["x"], "text_b": ["y"]}, "two columns mean the same"),
        ({"text_a": ["x"], "text_b": ["y"], "ratings.value": [1]}, "belongs to another table"),
        ({"text_a": [[1]], "text_b": ["y"]}, r"content has type List\(String\)"),
        ({"system_a": ["x"], "system_b": ["y"], "time": [17]}, "whose unit is unknown"),
        ({"system_a": ["x"], "system_b": ["y"], "outcome": [["a"]]}, "the column is a list"),
        ({"system_a": ["x"], "system_b": ["y"], "annotators.group": ["g"]}, "no column is annotator_id"),
    ],
)
def test_frames_that_cannot_be_used(columns, message):
    with pytest.raises(InputError, match=message):
        build(columns)


def test_times_in_every_common_writing():
    writings = [
        "2024-01-02T03:04:05Z",
        "2024-01-02 03:04:05",
        "2024-01-02T04:04:05+01:00",
        "2024-01-02 03:04:05.000000+00:00",
        "2024-01-02T03:04:05.000",
    ]
    n = len(writings)
    data = build({"system_a": ["x"] * n, "system_b": ["y"] * n, "outcome": ["a"] * n, "time": writings})
    assert data.comparisons["time"].n_unique() == 1
    assert data.comparisons.schema["time"] == pl.Datetime("us", "UTC")


content = st.text(st.characters(codec="utf-8"), max_size=8)
votes = st.lists(
    st.tuples(content, content, content, st.sampled_from(["s", "t", None]), st.sampled_from(["a", "b", "tie"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=12, deadline=None)
@given(votes, st.randoms(use_true_random=False))
def test_ids_do_not_depend_on_the_order_of_rows_or_sides(rows, random):
    def judged(rows, *, swap=False):
        a, b = ("b", "a") if swap else ("a", "b")
        names = ["prompt", f"text_{a}", f"text_{b}", "responses.system", "n"]
        frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
        data = build(frame)
        pairs = data.comparisons.select(f"response_{a}", f"response_{b}")
        return sorted(pairs.rows()), sorted(data.responses.select("response_id", "prompt_id", "content_hash").rows())

    shuffled = random.sample(rows, len(rows))
    assert judged(rows) == judged(shuffled) == judged(rows, swap=True)
    assert len(judged(rows)[1]) == len({(p, t, s) for p, a, b, s, _ in rows for t in (a, b)})
