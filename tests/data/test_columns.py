import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.data.columns import attach, describe_columns, resolve
from preflearn.data.store import load, save
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError


@pytest.fixture
def data() -> PreferenceData:
    return PreferenceData(
        prompts=pl.DataFrame(
            {
                "prompt_id": ["p", "q"],
                "messages": ["hi", "ho"],
                "language": ["en", "en"],
                "category": ["x", "y"],
            }
        ),
        responses=pl.DataFrame(
            {
                "response_id": ["1", "2", "3"],
                "prompt_id": ["p", "p", "q"],
                "system": ["s", "t", "s"],
                "length.words": [3, 4, 5],
                "author_id": ["v", None, None],
            }
        ),
        annotators=pl.DataFrame({"annotator_id": ["u", "v"], "group": ["g", "h"], "language": ["de", "en"]}),
        comparisons=pl.DataFrame(
            {
                "comparison_id": ["c1", "c2", "c3"],
                "response_a": ["1", "1", "9"],
                "response_b": ["2", "3", "1"],
                "annotator_id": ["v", "u", None],
                "outcome": ["a", "b", "tie"],
            }
        ),
        rankings=pl.DataFrame(
            {
                "ranking_id": ["k", "l", "m"],
                "responses": [["1", "2"], ["1", "3"], []],
                "ranks": [[1, 2], [1, 1], []],
                "annotator_id": ["u", "v", "u"],
            }
        ),
        ratings=pl.DataFrame({"rating_id": ["r"], "response_id": ["3"], "criterion_id": ["c"]}),
        criteria=pl.DataFrame({"criterion_id": ["c"], "role": ["law"]}),
    )


def values(data: PreferenceData, table: str, name: str) -> list[object]:
    return attach(data, table, {"value": name}).collect()["value"].to_list()


@pytest.mark.parametrize(
    ("table", "name", "expected"),
    [
        ("comparisons", "outcome", ["a", "b", "tie"]),
        ("comparisons", "group", ["h", "g", None]),
        ("comparisons", "annotators.language", ["en", "de", None]),
        ("comparisons", "prompts.language", ["en", "en", None]),  # two prompts, one language
        ("comparisons", "category", ["x", None, None]),
        ("comparisons", "prompt_id", ["p", None, None]),
        ("comparisons", "prompts.messages", None),
        ("comparisons", "system", [None, "s", None]),
        ("comparisons", "a.system", ["s", "s", None]),
        ("comparisons", "b.system", ["t", "s", "s"]),
        ("comparisons", "b.length.words", [4, 5, 3]),
        ("comparisons", "responses.length.words", [None, None, None]),
        ("comparisons", "a.category", ["x", "x", None]),
        ("comparisons", "b.prompts.category", ["x", "y", "x"]),
        ("comparisons", "a.response_id", ["1", "1", "9"]),
        ("comparisons", "weight", [None, None, None]),  # planned, not recorded
        ("comparisons", "comparisons.weight", [None, None, None]),
        ("comparisons", "criteria.text", [None, None, None]),
        ("rankings", "group", ["g", "h", "g"]),
        ("rankings", "category", ["x", None, None]),
        ("rankings", "system", [None, "s", None]),
        ("rankings", "prompts.language", ["en", "en", None]),
        ("rankings", "prompt_id", ["p", None, None]),
        ("ratings", "category", ["y"]),
        ("ratings", "role", ["law"]),
        ("ratings", "system", ["s"]),
        ("responses", "category", ["x", "x", "y"]),
        ("responses", "group", ["h", None, None]),
        ("prompts", "category", ["x", "y"]),
    ],
)
def test_names_lead_to_values(data, table, name, expected):
    found = values(data, table, name)
    if name == "prompts.messages":
        assert [m and m[0]["content"] for m in found] == ["hi", None, None]
    else:
        assert found == expected


def test_own_prompt_comes_before_the_responses(data):
    with_own = data.replace(comparisons=data.comparisons.with_columns(prompt_id=pl.Series(["q", None, "p"])))
    assert values(with_own, "comparisons", "prompt_id") == ["q", None, "p"]
    assert values(with_own, "comparisons", "category") == ["y", None, "x"]


def test_an_exact_name_with_dots_is_a_column(data):
    odd = data.replace(comparisons=data.comparisons.with_columns(pl.lit("mine").alias("a.system")))
    assert values(odd, "comparisons", "a.system") == ["mine"] * 3
    assert values(data, "comparisons", "length.words") == [None] * 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("language", "could mean annotators.language or prompts.language"),
        ("grup", "Did you mean annotators.group"),
        ("a.sistem", "Did you mean responses.system"),
        ("prompts.nothing", "no column 'prompts.nothing'"),
        ("rankings.kind", "no column 'rankings.kind'"),
    ],
)
def test_unknown_and_ambiguous_names_say_what_there_is(data, name, message):
    with pytest.raises(InputError, match=message):
        attach(data, "comparisons", {"x": name})
    with pytest.raises(InputError, match="there is no table 'votes'"):
        resolve(data, "votes", "x")


def test_a_planned_name_recorded_only_elsewhere_is_not_guessed(data):
    weighted = data.replace(annotators=data.annotators.with_columns(weight=pl.Series([1.0, 2.0])))
    with pytest.raises(InputError, match=r"comparisons\.weight or annotators\.weight"):
        attach(weighted, "comparisons", {"x": "weight"})
    assert values(weighted, "comparisons", "annotators.weight") == [2.0, 1.0, None]


def test_alias_of_a_recorded_column_replaces_it_in_place(data):
    frame = attach(data, "comparisons", {"outcome": "group", "extra": "outcome"}).collect()
    assert frame.columns == [*data.columns("comparisons"), "extra"]
    assert frame["outcome"].to_list() == ["h", "g", None]
    assert frame["extra"].to_list() == ["a", "b", "tie"]


def test_repeated_keys_do_not_repeat_judgments(data):
    doubled = data.replace(annotators=pl.concat([data.annotators, data.annotators]))
    assert values(doubled, "comparisons", "group") == ["h", "g", None]


def test_scanned_data_stays_lazy_and_in_order(data, tmp_path):
    save(data, tmp_path / "d")
    scanned = load(tmp_path / "d", lazy=True)
    frame = attach(scanned, "comparisons", {"g": "group", "s": "a.system"})
    assert isinstance(frame, pl.LazyFrame)
    assert scanned.is_lazy
    assert "messages" not in frame.explain()  # columns nobody asked for are not read
    assert frame.collect(engine="streaming")["g"].to_list() == ["h", "g", None]


def test_describe_columns_lists_what_attach_accepts(data):
    listed = describe_columns(data)
    names = [info.name for info in listed]
    assert {"comparisons.outcome", "annotators.group", "prompts.category", "b.system"} <= set(names)
    for info in listed:
        attach(data, "comparisons", {"x": info.name}).collect_schema()
        if info.short:
            assert values(data, "comparisons", info.short) == values(data, "comparisons", info.name)
    short = {info.name: info.short for info in listed}
    assert short["annotators.group"] == "group"
    assert short["annotators.language"] is None
    assert describe_columns(data, "prompts")[0].name == "prompts.prompt_id"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcx"), st.sampled_from("abcx"), st.sampled_from(["u", "v", None]))))
def test_agrees_with_a_dictionary(rows):
    system = {"a": "s", "b": "t", "c": "s"}
    group = {"u": "g"}
    data = PreferenceData(
        responses=pl.DataFrame({"response_id": list(system), "system": list(system.values())}),
        annotators=pl.DataFrame({"annotator_id": list(group), "group": list(group.values())}),
        comparisons=pl.DataFrame(
            [(str(i), *row) for i, row in enumerate(rows)],
            schema=dict.fromkeys(["comparison_id", "response_a", "response_b", "annotator_id"], pl.String),
            orient="row",
        ),
    )
    frame = attach(data, "comparisons", {"g": "group", "a": "a.system", "both": "system"}).collect()
    assert frame["comparison_id"].to_list() == [str(i) for i in range(len(rows))]
    assert frame["g"].to_list() == [group.get(u) for *_, u in rows]
    assert frame["a"].to_list() == [system.get(a) for a, *_ in rows]
    assert frame["both"].to_list() == [system.get(a) if system.get(a) == system.get(b) else None for a, b, _ in rows]
