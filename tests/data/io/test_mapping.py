"""The mapping language: every operation and step by hand, what is counted, and errors that name the cure."""

import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from preflearn.data import read
from preflearn.data.io.mapping import load_mapping, mapping_from_pairs, mapping_names, read_mapped
from preflearn.data.io.mapping_expressions import parse
from preflearn.data.io.mapping_operations import OPERATIONS, SOURCES
from preflearn.data.reading import ImportReport
from preflearn.errors import InputError

ROOT = Path(__file__).parents[3]
ROWS = pl.DataFrame(
    {
        "winner": ["left", "right", "tie", None],
        "score": [1.0, 2.0, 2.5, None],
        "text": ["7", " 8 ", "x", None],
        "n": [1, 2, 3, 4],
        "json": ['{"a": {"b": [10, 20]}}', '{"a": {"b": [30]}}', "{}", None],
        "object": [{"a": [1, 2]}, {"a": [3]}, {"a": []}, None],
        "when": [0, 1_699_920_000, None, 1],
        "day": ["17/05/2024", "nonsense", None, "01/01/2000"],
        "two words": ["p", "q", "", None],
        "yes": [True, False, None, True],
    }
)


day = partial(datetime, tzinfo=UTC)


def value(expression, report=None):
    return parse(expression).evaluate(ROWS, report or ImportReport("test", "mapping")).to_list()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("winner", ["left", "right", "tie", None]),
        (3, [3, 3, 3, 3]),
        (None, [None] * 4),
        ({"constant": "a"}, ["a"] * 4),
        ({"column": "winner", "values": {"left": "a", "right": "b"}}, ["a", "b", "tie", None]),
        ({"column": "winner", "values": {"left": "a", "right": "b", None: "skip"}}, ["a", "b", "tie", "skip"]),
        ({"column": "winner", "values": {"left": "a"}, "else": "b"}, ["a", "b", "b", None]),
        ({"column": "winner", "values": {"left": None}}, [None, "right", "tie", None]),
        ({"column": "score", "values": {1: "a", 2: "b", 2.5: "tie"}}, ["a", "b", "tie", None]),
        ({"column": "n", "values": {1: 10}, "else": {"column": "score"}}, [10, 2, 2.5, None]),
        ({"column": "yes", "values": {True: "a", False: "b"}}, ["a", "b", None, "a"]),
        ({"column": "winner", "default": "skip"}, ["left", "right", "tie", "skip"]),
        ({"column": "winner", "default": {"column": "two words"}}, ["left", "right", "tie", None]),
        ({"template": "{two words}/{score}"}, ["p/1", "q/2", "/2.5", None]),
        ({"template": "{{x}}"}, ["{x}"] * 4),
        ({"column": "json", "path": "a.b[1]"}, ["20", None, None, None]),
        ({"column": "json", "path": "a.b[0]", "number": True}, [10, 30, None, None]),
        ({"column": "object", "path": "a[1]"}, [2, None, None, None]),
        ({"column": "object", "path": "a", "length": True}, [2, 1, 0, None]),
        ({"column": "winner", "extract": "^(.)"}, ["l", "r", "t", None]),
        ({"column": "winner", "extract": "i.*"}, [None, "ight", "ie", None]),
        ({"column": "winner", "replace": {"(.)$": "$1!"}}, ["left!", "right!", "tie!", None]),
        ({"column": "winner", "split": "i"}, [["left"], ["r", "ght"], ["t", "e"], None]),
        ({"column": "text", "strip": True}, ["7", "8", "x", None]),
        ({"column": "text", "number": True}, [7, 8, None, None]),
        ({"constant": "ABC", "lower": True}, ["abc"] * 4),
        ({"column": "winner", "length": True}, [4, 5, 3, None]),
        ({"column": "score", "minus": 1, "times": 2}, [0, 2, 3, None]),
        ({"column": "score", "times": 2, "minus": 1}, [1, 3, 4, None]),
        ({"constant": 2, "minus": {"column": "score"}}, [1, 0, -0.5, None]),
        ({"column": "n", "plus": {"column": "score"}, "over": 2}, [1, 2, 2.75, None]),
        ({"column": "score", "above": 1.5}, [False, True, True, False]),
        ({"column": "score", "at_most": {"column": "n"}}, [True, True, True, False]),
        ({"column": "score", "at_least": 2}, [False, True, True, False]),
        ({"column": "winner", "is": "left"}, [True, False, False, False]),
        ({"column": "winner", "is_not": "left"}, [False, True, True, False]),
        ({"column": "score", "in": [1, 2.5]}, [True, False, True, False]),
        ({"column": "winner", "in": ["tie", None]}, [False, False, True, True]),
        ({"column": "winner", "matches": "^.i"}, [False, True, True, False]),
        ({"column": "winner", "known": True}, [True, True, True, False]),
        ({"column": "winner", "below": {"column": "two words"}}, [True, False, False, False]),
        ({"all": [{"column": "n", "above": 1}, {"column": "n", "below": 4}]}, [False, True, True, False]),
        ({"any": [{"column": "n", "is": 1}, {"column": "n", "is": 4}]}, [True, False, False, True]),
        ({"not": {"column": "n", "is": 1}}, [False, True, True, True]),
        (
            {"case": [{"when": {"column": "n", "is": 3}, "then": "b"}, {"when": "yes", "then": {"column": "n"}}]},
            ["1", None, "b", "4"],
        ),
        ({"case": [{"when": "yes", "then": "a"}], "else": "b"}, ["a", "b", "b", "a"]),
        ({"first": ["winner", "day"]}, ["left", "right", "tie", "01/01/2000"]),
        ({"list": ["winner", "two words"]}, [["left", "p"], ["right", "q"], ["tie", ""], [None, None]]),
        ({"glue": ["winner", "two words"], "by": "; "}, ["left; p", "right; q", "tie", None]),
        ({"of": {"column": "n", "plus": 1}, "times": 2}, [4, 6, 8, 10]),
        ({"column": "when", "unix": "s"}, [day(1970, 1, 1), day(2023, 11, 14), None, day(1970, 1, 1, 0, 0, 1)]),
        ({"column": "when", "times": 1000, "unix": "ms", "known": True}, [True, True, False, True]),
        ({"column": "day", "time": "%d/%m/%Y"}, [day(2024, 5, 17), None, None, day(2000, 1, 1)]),
    ],
)  # fmt: skip
def test_expressions(expression, expected):
    assert value(expression) == expected


def test_every_source_and_operation_is_tested_and_documented():
    written = Path(__file__).read_text("utf-8")
    page = (ROOT / "docs" / "mapping.md").read_text("utf-8")
    for word in [*SOURCES, *OPERATIONS]:
        assert f'"{word}"' in written, word
        assert f"`{word}" in page, word


def test_hash_and_transcript():
    hashed = value({"column": "winner", "hash": True})
    assert len(set(hashed)) == 4 and hashed[3] is None and len(hashed[0]) == 20
    talk = pl.DataFrame({"t": ["\n\nHuman: hi\n\nAssistant: ho"]})
    made = parse({"column": "t", "transcript": r"\n\n(Human|Assistant): ?"}).evaluate(talk, ImportReport("", ""))
    assert [(one["role"], one["content"]) for one in made[0]] == [("user", "hi"), ("assistant", "ho")]


def test_what_cannot_be_read_is_counted():
    report = ImportReport("test", "mapping")
    value({"column": "text", "number": True}, report)
    value({"column": "day", "time": "%d/%m/%Y"}, report)
    value({"column": "winner", "extract": "i.*"}, report)
    assert report.mapped == {
        "text: not a number -> null": 1,
        "day: not a time as '%d/%m/%Y' -> null": 1,
        "winner: no match of 'i.*' -> null": 1,
    }


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("winer", "Did you mean 'winner'"),
        ({"column": "winner", "minus": 1}, "minus needs numbers"),
        ({"column": "winner", "above": 1}, "above compares String"),
        ({"column": "object", "path": "b"}, "there is no field 'b'"),
        ({"column": "n", "path": "[0]"}, "has no elements"),
        ({"column": "winner", "extract": "("}, "is no regular expression"),
        ({"case": [{"when": "winner", "then": 1}]}, "is not a condition"),
        ({"template": "{winner.__class__}"}, "there is no such column"),
    ],
)
def test_expressions_that_cannot_be_evaluated(expression, message):
    with pytest.raises(InputError, match=re.escape(message)):
        value(expression)


def run(tmp_path, outputs, tables=None, report=None, **frames):
    """The data set of a mapping over small frames."""
    sources = {}
    for name, frame in frames.items():
        pl.DataFrame(frame, strict=False).write_parquet(tmp_path / f"{name}.parquet")
        sources[name] = f"{name}.parquet"
    outputs = outputs if isinstance(outputs, list) else [outputs]
    mapping = {"name": "test", "sources": sources, "tables": tables or {}, "outputs": outputs}
    return read_mapped(load_mapping(mapping), tmp_path)


VOTES = {"pair": [1, 2, 3], "who": ["u", "v", "u"], "winner": ["l", "r", "l"]}
PAIRS = {"id": ["1", "2"], "x": ["m", "m"], "y": ["n", "o"], "winner": ["?", "?"]}


def judged(**step):
    return {
        "table": "comparisons",
        "from": "votes",
        "steps": [{"join": {"with": "pairs", "on": {"pair": "id"}, **step}}],
        "roles": {
            "system_a": "x",
            "system_b": "y",
            "outcome": {"column": "winner", "values": {"l": "a", "r": "b"}},
            "annotator_id": "who",
        },
    }


def test_joins_count_what_has_no_match(tmp_path):
    data = run(tmp_path, judged(how="inner", take=["x", "y"]), votes=VOTES, pairs=PAIRS)
    assert data.comparisons["outcome"].to_list() == ["a", "b"]
    assert data.report.dropped == {"votes for comparisons: no match in pairs (pair)": 1}
    left = run(tmp_path, judged(take=["x", "y"]), votes=VOTES, pairs=PAIRS)
    assert left.report.mapped["votes for comparisons: no match in pairs (pair) -> null"] == 1
    assert [(row.source, row.line, row.reason) for row in left.report.rejected] == [
        ("votes.parquet", 3, "side a is missing: no text, id or system")
    ]
    assert '"winner": "l"' in left.report.rejected[0].raw  # the source's row, not the mapped one
    with pytest.raises(InputError, match="both votes for comparisons and pairs have winner"):
        run(tmp_path, judged(), votes=VOTES, pairs=PAIRS)
    twice = {**PAIRS, "id": ["1", "1"]}
    with pytest.raises(InputError, match="pairs has several rows for one"):
        run(tmp_path, judged(take=["x", "y"]), votes=VOTES, pairs=twice)
    many = run(tmp_path, judged(take=["x", "y"], many=True, how="inner"), votes=VOTES, pairs=twice)
    assert many.comparisons["comparison_id"].to_list() == ["c1", "c1~2"]


def test_drop_is_counted_and_only_is_not(tmp_path):
    roles = {"system_a": "a", "system_b": "b", "outcome": "w"}
    steps = [{"drop": {"where": {"column": "w", "is": "x"}, "reason": "broken"}}, {"only": {"column": "n", "above": 1}}]
    votes = {"a": ["s"] * 4, "b": ["t"] * 4, "w": ["a", "x", "b", "a"], "n": [1, 1, 2, 3]}
    data = run(tmp_path, {"table": "comparisons", "steps": steps, "roles": roles}, votes=votes)
    assert data.comparisons["outcome"].to_list() == ["b", "a"]
    assert data.report.dropped == {"broken": 1} and data.report.read == 4


def test_stack_turns_columns_into_rows(tmp_path):
    cases = {"first": {"w": "w1"}, "second": {"w": "w2", "why": "reason"}}
    output = {
        "table": "comparisons",
        "steps": [{"stack": {"name": "who", "cases": cases}}],
        "roles": {"system_a": "a", "system_b": "b", "outcome": "w", "rationale": "why", "annotator_id": "who"},
    }
    data = run(tmp_path, output, votes={"a": ["s"], "b": ["t"], "w1": ["a"], "w2": ["b"], "reason": ["because"]})
    rows = data.comparisons.select("comparison_id", "outcome", pl.col("annotator_id").cast(str), "rationale").rows()
    assert rows == [("c1", "a", "first", None), ("c1~2", "b", "second", "because")]


def test_explode_and_group_make_counted_rows(tmp_path):
    output = {
        "table": "ratings",
        "steps": [
            {"explode": {"columns": ["scores"], "index": "place"}},
            {"group": {"by": ["item", "scores"], "columns": {"n": "count", "first": {"min": "place"}}}},
        ],
        "roles": {"response_id": "item", "label": "scores", "count": "n"},
        "keep": ["first"],
    }
    items = {"item": ["i", "j", "k"], "scores": [["yes", "no", "yes"], ["no"], []]}
    data = run(tmp_path, output, items=items)
    assert data.ratings.select("response_id", "label", "count", "first").rows() == [
        ("i", "yes", 2, 0),
        ("i", "no", 1, 1),
        ("j", "no", 1, 0),
    ]
    assert data.report.dropped == {"nothing in scores": 1}


def test_group_aggregates(tmp_path):
    columns = {
        "total": {"sum": "v"},
        "mean": {"mean": "v"},
        "sd": {"sd": "v"},
        "low": {"min": "v"},
        "high": {"max": "v"},
        "all": {"list": "v"},
        "kinds": {"distinct": "v"},
        "name": {"first": "label"},
    }
    output = {
        "table": "responses",
        "steps": [{"group": {"by": ["item"], "columns": columns}}],
        "roles": {"response_id": "item"},
        "keep": [*columns],
    }
    items = {"item": ["i", "i", "i"], "v": [1.0, 3.0, 3.0], "label": [None, "x", "y"]}
    row = run(tmp_path, output, items=items).responses.to_dicts()[0]
    exact = {"total": 7.0, "low": 1.0, "high": 3.0, "all": [1.0, 3.0, 3.0], "kinds": 2, "name": "x"}
    assert {name: row[name] for name in exact} == exact
    assert (row["mean"], row["sd"]) == pytest.approx((7 / 3, 2 / 3**0.5))


def test_tables_below_each_other_and_several_outputs(tmp_path):
    tables = {
        "crowd": {"from": "people", "steps": [{"derive": {"kind": {"constant": "person"}}}]},
        "all": {"from": ["crowd", "judges"]},
    }
    roles = {"system_a": "a", "system_b": "b", "outcome": "w", "annotator_id": "who"}
    outputs = [
        {"table": "comparisons", "name": "one", "from": "all", "roles": {**roles, "annotators.kind": "kind"}},
        {"table": "comparisons", "name": "two", "from": "people", "roles": {**roles, "a.style": {"constant": "terse"}}},
        {"table": "criteria", "rows": [{"criterion_id": "overall", "text": "Which?"}]},
        {"table": "annotators", "from": "people", "roles": {"annotator_id": "who"}, "keep": {"wave": 1}},
    ]
    people = {"a": ["s"], "b": ["t"], "w": ["a"], "who": ["u"]}
    judges = {"a": ["s"], "b": ["t"], "w": ["b"], "who": ["gpt"], "kind": ["judge"]}
    data = run(tmp_path, outputs, tables, people=people, judges=judges)
    assert data.comparisons["comparison_id"].to_list() == ["one-c1", "one-c1~2", "two-c1"]
    assert data.responses.select(pl.col("system").cast(str), "style").rows() == [("s", "terse"), ("t", None)]
    annotators = data.annotators.select(pl.col("annotator_id").cast(str), "kind", "wave").rows()
    assert annotators == [("u", "person", 1), ("gpt", "judge", None)]
    assert data.provenance["mapping"]["name"] == "test"
    assert data.report.mapped["rows of all -> comparisons"] == 2


def test_columns_that_nothing_reads_are_named(tmp_path):
    output = {"table": "comparisons", "roles": {"system_a": "a", "system_b": "b", "outcome": "w"}}
    votes = {"a": ["s"], "b": ["t"], "w": ["a"], "mood": ["good"]}
    data = run(tmp_path, output, votes=votes)
    assert data.report.notes == ["Columns of votes that no role takes: mood."]
    kept = run(tmp_path, {**output, "keep": "rest"}, votes=votes)
    assert kept.comparisons["mood"].to_list() == ["good"] and not kept.report.notes


def test_unlabelled_pairs_are_counted(tmp_path):
    output = {"table": "comparisons", "roles": {"system_a": "a", "system_b": "b", "outcome": "w", "raw": "raw"}}
    votes = {"a": ["s"] * 3, "b": ["t"] * 3, "w": ["a", None, None], "raw": ["A", "no idea", None]}
    mapped = run(tmp_path, output, votes=votes).report.mapped
    assert mapped["raw answer without an outcome -> a failed verdict, kept"] == 1
    assert mapped["no outcome -> not yet judged"] == 1


def test_files_by_name_by_path_and_from_the_environment(tmp_path, monkeypatch):
    output = {"table": "comparisons", "roles": {"system_a": "a", "system_b": "b", "outcome": "w"}}
    mapping = load_mapping({"sources": {"votes": "votes.parquet"}, "outputs": [output]})
    (tmp_path / "votes.csv").write_text("a,b,w\ns,t,a\n")
    for given in ([tmp_path], [tmp_path / "votes.csv"]):
        assert read_mapped(mapping, *given).comparisons.height == 1
    (tmp_path / "other.csv").write_text("a,b,w\ns,t,a\ns,t,b\n")
    assert read_mapped(mapping, tmp_path / "other.csv", tmp_path / "votes.csv").comparisons.height == 3
    monkeypatch.setenv("PREFLEARN_DATA", str(tmp_path))
    assert read_mapped(mapping).comparisons.height == 1
    monkeypatch.delenv("PREFLEARN_DATA")
    with pytest.raises(InputError, match="looked in: nowhere"):
        read_mapped(mapping)
    nameless = load_mapping({"outputs": [output]})
    assert read_mapped(nameless, tmp_path / "votes.csv").comparisons.height == 1
    with pytest.raises(InputError, match="none was given"):
        read_mapped(nameless)


def test_pairs_override_what_a_plain_table_is_taken_for(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("sys one,sys two,label,judge,outcome\ns,t,1,u,good\ns,t,2,v,bad\ns,t,0,u,\n")
    pairs = ["system_a=sys one", "system_b=sys two", "outcome=label:0=tie,1=a,2=b"]
    data = read(path, mapping=pairs)
    assert data.comparisons["outcome"].to_list() == ["a", "b", "tie"]
    assert data.comparisons["annotator_id"].cast(str).to_list() == ["u", "v", "u"]  # a synonym still counts
    assert data.comparisons["outcome_in_source"].to_list() == ["good", "bad", None]
    words = tmp_path / "words.csv"
    words.write_text("p,q,r\nx,y,left\nx,y,right\n")
    found = read(words, mapping=["system_a=p", "system_b=q", "outcome=r"])
    assert found.comparisons["outcome"].to_list() == ["a", "b"]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [(["outcome"], "no ROLE=COLUMN"), (["outcome=a", "outcome=b"], "given twice"), (["outcme=a"], "mean 'outcome'")],
)
def test_pairs_that_cannot_be(pairs, message):
    with pytest.raises(InputError, match=message):
        mapping_from_pairs(pairs)


def written(**output):
    return {
        "outputs": [{"table": "comparisons", "roles": {"system_a": "x", "system_b": "y", "outcome": "w"}, **output}]
    }


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"output": []}, "unknown key 'output'. Did you mean 'outputs'?"),
        (written(role={}), "outputs.0: unknown key 'role'. Did you mean 'roles'?"),
        (written(roles={"outcom": "w"}), "comparisons has no role 'outcom'. Did you mean 'outcome'?"),
        (written(roles={"outcome": {"column": "w", "value": {}}}), "unknown word 'value' in an expression."),
        (written(roles={"outcome": {"values": {1: 2}, "column": "w"}}), "an expression begins with one of"),
        (written(roles={"outcome": {"column": "w", "else": "a"}}), "'else' follows values or case, not column"),
        (written(roles={"outcome": {"column": "w", "values": [1]}}), "values takes {found: wanted, ...}"),
        (written(roles={"outcome": {"template": "{a:03d}"}}), "only {column} is understood"),
        (written(roles={"outcome": {"template": "{a"}}), "template '{a'"),
        (written(roles={"time": {"column": "t", "unix": "sec"}}), "unix takes the unit of the number: s, ms, us, ns"),
        (written(roles={"outcome": {"case": [{"if": 1}]}}), "a case is {when: CONDITION, then: VALUE}"),
        (written(steps=[{"filter": 1}]), "unknown key 'filter'"),
        (written(steps=[{"only": "x", "derive": {}}]), "a step is exactly one of"),
        (written(**{"from": "nowhere"}), "there is no table 'nowhere' before this"),
        (written(steps=[{"join": {"wiht": "x"}}]), "unknown key 'wiht'. Did you mean 'with'?"),
        (written(steps=[{"group": {"by": ["x"], "columns": {"y": {"summ": "z"}}}}]), "Did you mean 'sum'?"),
        (written(keep=3), "here stands rest, [columns] or {new column: EXPRESSION}"),
        (written(keep={"a": {"colum": "b"}}), "unknown word 'colum' in an expression. Did you mean 'column'?"),
        ({"sources": {"a": "x", "b": "y"}, **written()}, "say which table it is from: a, b"),
        ({"sources": {"a": {"row": []}}, **written()}, "unknown key 'row'. Did you mean 'rows'?"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_the_nearest_valid_word(raw, message):
    with pytest.raises(InputError) as caught:
        load_mapping(raw)
    assert message in str(caught.value)
    assert "Input should be" not in str(caught.value)


def test_yaml_keeps_yes_and_no_and_refuses_a_key_twice(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(
        "outputs: [{table: ratings, roles: {system: s, label: {column: l, values: {Yes: 1, No: 0, on: 2}}}}]\n"
    )
    table = load_mapping(path).outputs[0].roles["label"].operations[0][1]["table"]
    assert table == {"Yes": 1, "No": 0, "on": 2}
    path.write_text("outputs: []\noutputs: []\n")
    with pytest.raises(InputError, match="'outputs' is there twice"):
        load_mapping(path)
    path.write_text("!!python/object/apply:os.getcwd []\n")
    with pytest.raises(InputError, match="no YAML"):
        load_mapping(path)
    with pytest.raises(InputError, match=r"Mappings by name: .*ukpconvarg"):
        load_mapping("nothing of this name")


@pytest.mark.parametrize("name", mapping_names())
def test_bundled_mappings_are_valid_and_say_what_they_are(name):
    mapping = load_mapping(name)
    assert mapping.name == name and "Layout:" in mapping.about
    readme = (ROOT / "examples" / "mappings" / "README.md").read_text("utf-8")
    assert f"`{name}.yaml`" in readme


def test_mappings_of_the_documentation_are_valid():
    page = (ROOT / "docs" / "mapping.md").read_text("utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    whole = [block for block in blocks if "outputs:" in block]
    assert len(whole) >= 2
    import yaml

    for block in whole:
        load_mapping(yaml.safe_load(block))
