from datetime import UTC, date, datetime

import polars as pl
import pytest

from preflearn.data.schema import JUDGMENTS, TABLES, conform, empty, table
from preflearn.data.tables import PreferenceData, judgments
from preflearn.errors import InputError


def comparisons(**columns: object) -> PreferenceData:
    base = {"comparison_id": ["c"], "response_a": ["x"], "response_b": ["y"]}
    return PreferenceData(comparisons=pl.DataFrame(base | columns, strict=False))


# -- the plan


def test_every_table_has_its_key_first_and_refers_to_tables_that_exist():
    for name, spec in TABLES.items():
        assert spec.columns[0].name == spec.key
        assert spec.columns[0].required
        assert len({column.name for column in spec.columns}) == len(spec.columns)
        assert {column.refers_to for column in spec.columns} - {None} <= set(TABLES)
        assert empty(name).columns == list(spec.required)


def test_judgments_share_the_plans_columns():
    shared = ["annotator_id", "criterion_id", "context", "prompt_id", "presentation_id", "protocol", "count", "weight"]
    shared += ["propensity", "confidence", "rationale", "raw", "duration_s", "time", "source"]
    for name in JUDGMENTS:
        assert [column.name for column in TABLES[name].columns][-len(shared) :] == shared


def test_unknown_tables_and_missing_columns_are_named():
    with pytest.raises(InputError, match="there is no table 'votes'"):
        PreferenceData(votes=pl.DataFrame())
    with pytest.raises(InputError, match="there is no table 'votes'"):
        table("votes")
    with pytest.raises(InputError, match="'comparisons' lacks the obligatory column\\(s\\) response_a, response_b"):
        PreferenceData(comparisons=pl.DataFrame({"comparison_id": ["c"]}))


# -- types


def test_columns_are_cast_and_ordered_and_others_ride_along():
    data = comparisons(zebra=[1.5], outcome=["a"], annotator_id=[7], strength=[2.0], count=[3])
    assert data.columns("comparisons") == [
        "comparison_id",
        "response_a",
        "response_b",
        "outcome",
        "strength",
        "annotator_id",
        "count",
        "zebra",
    ]
    schema = data.comparisons.schema
    assert (schema["strength"], schema["count"], schema["annotator_id"]) == (pl.Int32, pl.UInt32, pl.Categorical)
    assert data.comparisons["annotator_id"].to_list() == ["7"]


@pytest.mark.parametrize(
    "given",
    [
        "2024-05-17T12:30:15.123456Z",
        "2024-05-17T14:30:15.123456+02:00",
        datetime(2024, 5, 17, 12, 30, 15, 123456, tzinfo=UTC),
        datetime(2024, 5, 17, 12, 30, 15, 123456),  # naive times are UTC
        pl.Series([datetime(2024, 5, 17, 12, 30, 15, 123456)]).cast(pl.Datetime("ns")),
        pl.Series([datetime(2024, 5, 17, 12, 30, 15, 123456)])
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone("Asia/Tokyo"),
    ],
)
def test_times_become_utc_microseconds(given):
    data = comparisons(time=given if isinstance(given, pl.Series) else [given])
    assert data.comparisons.schema["time"] == pl.Datetime("us", "UTC")
    assert data.comparisons["time"][0] == datetime(2024, 5, 17, 12, 30, 15, 123456, tzinfo=UTC)


def test_a_date_is_its_midnight_and_a_number_is_no_time():
    assert comparisons(time=[date(2024, 5, 17)]).comparisons["time"][0] == datetime(2024, 5, 17, tzinfo=UTC)
    with pytest.raises(InputError, match=r"comparisons\.time.*unit is unknown"):
        comparisons(time=[1715949015])


def test_texts_become_one_message_of_the_tables_role():
    data = PreferenceData(
        prompts=pl.DataFrame({"prompt_id": ["p", "q"], "messages": ["hi", None]}),
        responses=pl.DataFrame({"response_id": ["x"], "messages": ["ho"]}),
    )
    message = {"role": "user", "name": None, "content": "hi", "media": None}
    assert data.prompts["messages"].to_list() == [[message], None]
    assert data.responses["messages"].to_list() == [[message | {"role": "assistant", "content": "ho"}]]


def test_messages_need_role_and_content_only():
    partial = pl.DataFrame({"prompt_id": ["p"], "messages": [[{"content": "hi", "role": "user", "tokens": 1}]]})
    data = PreferenceData(prompts=partial)
    assert data.prompts["messages"].to_list() == [[{"role": "user", "name": None, "content": "hi", "media": None}]]
    with pytest.raises(InputError, match="messages have the fields"):
        PreferenceData(prompts=pl.DataFrame({"prompt_id": ["p"], "messages": [[{"text": "hi"}]]}))
    with pytest.raises(InputError, match="messages have type Int64"):
        PreferenceData(prompts=pl.DataFrame({"prompt_id": ["p"], "messages": [1]}))


@pytest.mark.parametrize(
    ("columns", "place"),
    [
        ({"count": [-1]}, "count"),
        ({"weight": ["heavy"]}, "weight"),
        ({"strength": ["2 steps"]}, "strength"),
        ({"time": ["yesterday"]}, "time"),
        ({"outcome": [["a"]]}, "outcome"),
    ],
)
def test_values_that_cannot_be_cast_are_named(columns, place):
    with pytest.raises(InputError, match=rf"comparisons\.{place}"):
        comparisons(**columns)


def test_the_first_bad_row_is_named():
    frame = pl.DataFrame({"comparison_id": map(str, range(1000)), "response_a": "x", "response_b": "y"})
    weights = ["1.5"] * 737 + ["heavy"] + ["2"] * 261 + ["light"]
    with pytest.raises(InputError, match=r"row 737, column 'comparisons.weight', value 'heavy'"):
        PreferenceData(comparisons=frame.with_columns(weight=pl.Series(weights)))


def test_lists_are_not_guessed_from_text():
    with pytest.raises(InputError, match=r"rankings\.responses"):
        PreferenceData(rankings=pl.DataFrame({"ranking_id": ["k"], "responses": ["x,y"], "ranks": [[1, 2]]}))


def test_conform_is_idempotent(case):
    for name in case.counts():
        again = conform(name, case.lazy(name)).collect()
        assert again.equals(case.table(name), null_equal=True)
        assert again.schema == case.table(name).schema


# -- looking


def test_absent_tables_are_empty_and_select_fills_with_null():
    data = comparisons(outcome=["a"])
    assert data.counts() == {"comparisons": 1}
    assert data.ratings.height == 0
    picked = data.select("comparisons", ["weight", "outcome", "count"]).collect()
    assert picked.rows() == [(None, "a", None)]
    assert picked.schema["count"] == pl.UInt32
    assert data.select("comparisons", ["weight"]).collect().rows() == [(None,)]  # as many rows as the table
    assert data.select("ratings", ["value"]).collect().height == 0
    with pytest.raises(InputError, match="table 'comparisons' has no column 'colour'"):
        data.select("comparisons", ["colour"])


def test_repr_counts_rows(case):
    assert repr(PreferenceData()) == "PreferenceData(empty)"
    assert f"{case.height('responses'):,} responses" in repr(case)
    assert set(judgments(case)) == {name for name in JUDGMENTS if case.height(name)}


# -- new from old


def test_nothing_is_changed_in_place(case):
    before = {name: case.table(name).clone() for name in case.counts()}
    provenance = dict(case.provenance)
    for name in case.counts():
        case.where(name, pl.lit(False), "emptied")
    case.replace("a step", responses=case.responses.clear())
    case.completed()
    case.pruned()
    assert all(case.table(name).equals(frame, null_equal=True) for name, frame in before.items())
    assert case.provenance == provenance


def test_replace_adds_its_step_and_where_filters_one_table(cases):
    data = cases["follow_up_turn"].replace("first").where("comparisons", pl.col("outcome") == "b", "kept b")
    assert data.provenance["steps"] == ["first", "kept b"]
    assert data.comparisons["comparison_id"].to_list() == ["c1"]
    assert data.height("responses") == 4


def test_fingerprint_tells_content_and_nothing_else(cases):
    data = cases["follow_up_turn"]
    same = PreferenceData(**{name: data.table(name).clone() for name in data.counts()}, provenance={"steps": ["other"]})
    assert same.fingerprint() == data.fingerprint()
    recoded = data.replace(annotators=pl.DataFrame({"annotator_id": ["zz", "u"], "kind": ["person", "person"]}).tail(1))
    assert recoded.fingerprint() == data.fingerprint()  # another coding of the same category
    turned = data.replace(comparisons=data.comparisons.with_columns(outcome=pl.lit("a")))
    assert turned.fingerprint() != data.fingerprint()
    assert data.replace(comparisons=data.comparisons.reverse()).fingerprint() != data.fingerprint()
    assert not turned.equals(data)
    assert len({other.fingerprint() for other in cases.values()}) == len(cases)


def test_null_and_empty_have_different_fingerprints():
    def responses(content: str | None) -> PreferenceData:
        return PreferenceData(
            responses=pl.DataFrame({"response_id": ["x"], "system": [content]}, schema_overrides={"system": pl.String})
        )

    assert responses(None).fingerprint() != responses("").fingerprint()
