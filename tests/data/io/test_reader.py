"""`read` and `scan`: what each kind of source becomes, detection and its errors, strictness, reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import preflearn as pf
from preflearn.data.io import read, scan
from preflearn.data.io.formats import FORMATS
from preflearn.errors import InputError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "formats"
VOTES = "system_a,system_b,outcome,annotator_id\nx,y,a,u1\ny,z,tie,u2\nz,x,b,u1\n"


def _file(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")
    return path


def test_a_plain_file_a_data_set_and_its_report(tmp_path: Path) -> None:
    data = pf.read(_file(tmp_path, "votes.csv", VOTES))
    assert data.report is not None
    assert (data.report.format, data.report.read, data.report.kept) == ("plain", 3, 3)
    assert data.comparisons["outcome"].to_list() == ["a", "tie", "b"]
    data.save(tmp_path / "set")
    again = read(tmp_path / "set")
    assert again.equals(data) and again.report is not None and again.report.format == "preflearn"
    with pytest.raises(InputError, match="data-set directory"):
        read(tmp_path / "set", format="hh-rlhf")


def test_table_directories_import_as_they_stand(tmp_path: Path) -> None:
    _file(
        tmp_path,
        "comparisons.jsonl",
        '{"comparison_id": "1", "response_a": "r1", "response_b": "r2", "outcome": "a", "count": 3, "mine": "x"}\n'
        '{"comparison_id": "2", "response_a": "r1", "response_b": "r2", "outcome": "perhaps"}\n'
        '{"comparison_id": "3", "response_a": null, "response_b": "r2", "outcome": "b"}\n'
        "broken\n",
    )
    _file(tmp_path, "responses.csv", 'response_id,prompt_id,system,messages\nr1,p,s1,hello\nr2,p,s2,""\n')
    _file(tmp_path, "prompts.jsonl", '{"prompt_id": "p", "messages": [{"role": "user", "content": "hi"}]}\n')
    _file(tmp_path, "rankings.csv", 'ranking_id,responses,ranks\nk,"[""r1"", ""r2""]","[1, null]"\nl,nonsense,"[1]"\n')
    data = read(tmp_path)
    assert data.report is not None and data.report.format == "tables"
    assert data.counts() == {"prompts": 1, "responses": 2, "comparisons": 1, "rankings": 1}
    assert data.comparisons.select("outcome", "count", "mine").row(0) == ("a", 3, "x")
    assert data.rankings.select("responses", "ranks").row(0) == (["r1", "r2"], [1, None])
    assert data.responses["messages"].to_list()[1][0]["content"] == ""
    reasons = {(row.source, row.line): row.reason for row in data.report.rejected}
    assert reasons["comparisons.jsonl", 2] == "outcome 'perhaps' is none of a, b, tie, both_good, both_bad, skip"
    assert reasons["comparisons.jsonl", 3] == "response_a is missing"
    assert "comparisons.jsonl" in {source for source, line in reasons if line == 4}
    assert ("rankings.csv", 3) in reasons
    with pytest.raises(InputError, match="obligatory column"):
        read(_file(tmp_path / "bad", "ratings.csv", "rating_id\n1\n").parent)


def test_repeated_keys_in_table_files_are_told(tmp_path: Path) -> None:
    _file(tmp_path, "responses.csv", "response_id,system\nr1,m\nr1,n\n")
    data = read(tmp_path)
    assert data.height("responses") == 2 and data.report is not None
    assert data.report.notes == ["1 rows of responses.csv repeat a response_id: `preflearn validate` names them."]


def test_a_directory_of_files_of_one_format(tmp_path: Path) -> None:
    row = '{"prompt": "p%d", "chosen": "good", "rejected": "bad"}\n'
    _file(tmp_path, "data/train-00000-of-00002.jsonl", row % 1 + row % 2)
    _file(tmp_path, "data/train-00001-of-00002.jsonl", row % 3 + "{broken\n")
    _file(tmp_path, "data/test-00000-of-00001.jsonl", row % 4)
    _file(tmp_path, "README.md", "# card")
    data = read(tmp_path)
    assert data.report is not None and data.report.format == "trl-preference"
    assert sorted(data.comparisons["source"].cast(pl.String)) == ["test", "train", "train", "train"]
    assert data.comparisons["comparison_id"].n_unique() == 4
    assert [(one.source, one.line) for one in data.report.rejected] == [("train-00001-of-00002.jsonl", 2)]
    _file(tmp_path, "data/votes.csv", VOTES)
    with pytest.raises(InputError, match=r"several formats: .*votes.csv is plain"):
        read(tmp_path)


def test_what_is_unknown_names_what_comes_nearest(tmp_path: Path) -> None:
    path = _file(tmp_path, "x.csv", "question,completions_1,vote_of_crowd\nq,a,1\n")
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert (
        "question, completions_1, vote_of_crowd" in message
        and "Nearest: " in message
        and "--map ROLE=COLUMN" in message
    )
    pairs = _file(tmp_path, "pairs.jsonl", '{"instruction": "i", "prompt": "p", "choosen": "x", "rejected": "y"}\n')
    with pytest.raises(InputError, match=r"trl-preference needs chosen, rejected"):
        read(pairs)


def test_formats_are_forced_by_name(tmp_path: Path) -> None:
    path = FIXTURES / "rewardbench.jsonl"
    data = read(path, format="trl-preference")
    assert data.report is not None and data.report.format == "trl-preference" and data.counts()["comparisons"] == 3
    with pytest.raises(InputError, match=r"Did you mean 'arena'"):
        read(path, format="areena")
    with pytest.raises(InputError, match="not what arena looks like"):
        read(path, format="arena")
    with pytest.raises(InputError, match="exclude each other"):
        read(path, format="arena", mapping=["outcome=x"])


@pytest.mark.parametrize("name", [one.name for one in FORMATS])
def test_a_format_forced_on_another_says_what_it_needs(tmp_path: Path, name: str) -> None:
    path = _file(tmp_path, "rows.jsonl", '{"something": "x", "completion": "y", "label": [[1]]}\n')
    with pytest.raises(InputError, match=f"not what {name} looks like|column 'label': the column is a list"):
        read(path, format=name)


@pytest.mark.parametrize("column", ["prompt", "chosen", "rejected"])
def test_lists_that_are_no_messages_are_refused(tmp_path: Path, column: str) -> None:
    row = {"prompt": "p", "chosen": "x", "rejected": "y"} | {column: [[1]]}
    path = _file(tmp_path, "rows.jsonl", json.dumps(row) + "\n")
    with pytest.raises(InputError, match=r"type|List|text"):
        read(path, format="trl-preference")


def test_a_mapping_in_short_form(tmp_path: Path) -> None:
    path = _file(tmp_path, "x.csv", "left bot,right bot,vote\nm1,m2,L\nm2,m3,R\n")
    data = read(path, mapping=["system_a=left bot", "system_b=right bot", "outcome=vote:L=a,R=b"])
    assert data.comparisons.select("response_a", "response_b", "outcome").rows() == [
        ("m1", "m2", "a"),
        ("m2", "m3", "b"),
    ]
    assert data.report is not None and data.report.format == "mapping --map" and data.report.read == 2


def test_strict_imports_name_the_first_unreadable_rows(tmp_path: Path) -> None:
    path = _file(tmp_path, "x.jsonl", '{"system_a": "x", "system_b": "y", "outcome": "a"}\n' + "no\n" * 7)
    assert read(path).counts()["comparisons"] == 1
    with pytest.raises(InputError, match=r"7 row\(s\) cannot be read: x.jsonl line 2: .*and 2 more"):
        read(path, strict=True)


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0 of 2 rows. The first is line 1"):
        read(_file(tmp_path, "x.jsonl", "no\nno\n"))
    with pytest.raises(InputError, match="nothing could be read"):
        read(_file(tmp_path, "empty.csv", ""))
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "absent")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(InputError, match="no data file"):
        read(tmp_path / "hollow")


def test_rejected_rows_are_saved_word_for_word(tmp_path: Path) -> None:
    data = read(FIXTURES / "arena_33k.jsonl")
    data.save(tmp_path / "set")
    kept = [json.loads(line) for line in (tmp_path / "set" / "rejected.jsonl").read_text("utf-8").splitlines()]
    assert [row["line"] for row in kept] == [8, 9]
    assert kept[0]["raw"] == '{"question_id": "q8", "model_a": "koala", "model_b"'
    manifest = json.loads((tmp_path / "set" / "preferences.json").read_text("utf-8"))
    assert manifest["provenance"]["import"]["format"] == "arena"
    assert manifest["provenance"]["import"]["rejected"].keys() == {row["reason"] for row in kept}


# -- lazily ------------------------------------------------------------------------------------------------------------


def _battles(n: int) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    names = np.array([f"m{i}" for i in range(9)])
    words = np.array(["model_a", "model_b", "tie", "tie (bothbad)"])
    return pl.DataFrame(
        {
            "model_a": names[rng.integers(0, 9, n)],
            "model_b": names[rng.integers(0, 9, n)],
            "winner": words[rng.integers(0, 4, n)],
            "annotator_id": [f"u{i}" for i in rng.integers(0, 20, n)],
            "weight": rng.random(n),
        }
    )


def _sorted(data: pf.PreferenceData, table: str) -> pl.DataFrame:
    frame = data.table(table).with_columns(pl.col(pl.Categorical).cast(pl.String))
    recorded = [name for name in frame.columns if frame[name].count()]
    return frame.select(recorded).sort(frame.columns[0])


def test_a_battle_table_scanned_equals_the_same_table_read(tmp_path: Path) -> None:
    battles = _battles(500).with_columns(
        pl.when(pl.int_range(500) % 50 == 3).then(None).otherwise("winner").alias("winner")
    )
    battles = battles.with_columns(pl.when(pl.int_range(500) == 7).then(None).otherwise("model_a").alias("model_a"))
    battles.write_parquet(tmp_path / "b.parquet")
    lazy, eager = scan(tmp_path / "b.parquet"), read(tmp_path / "b.parquet")
    assert lazy.is_lazy and not eager.is_lazy
    assert lazy.height("comparisons") == 499 and lazy.height("responses") == 9 and lazy.height("annotators") == 20
    for table in ("comparisons", "responses", "annotators"):
        assert _sorted(lazy, table).equals(_sorted(eager, table))
    assert lazy.report is not None and eager.report is not None
    assert [(row.line) for row in lazy.report.rejected] == [row.line for row in eager.report.rejected] == [8]
    assert (
        lazy.report.mapped["outcome tie (bothbad) -> both_bad"]
        == eager.report.mapped["outcome tie (bothbad) -> both_bad"]
    )


def test_winners_named_by_their_systems_are_scanned_as_they_are_read(tmp_path: Path) -> None:
    battles = pl.DataFrame(
        {
            "system_a": ["x", "y", "b", "x", "x"],
            "system_b": ["y", "x", "a", "x", "y"],
            "winner": ["x", "x", "a", " tie ", ""],
        }
    )
    battles.write_parquet(tmp_path / "b.parquet")
    lazy, eager = scan(tmp_path / "b.parquet"), read(tmp_path / "b.parquet")
    expected = ["a", "b", "b", "tie", None]  # the third: a is the name of the system on side b
    assert lazy.comparisons["outcome"].to_list() == eager.comparisons["outcome"].to_list() == expected


def test_scanning_holds_no_votes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _battles(2000).write_parquet(tmp_path / "b.parquet")
    heights: list[int] = []
    original = pl.LazyFrame.collect

    def watched(self: pl.LazyFrame, **options: object) -> pl.DataFrame:
        frame = original(self, **options)  # type: ignore[call-overload]
        heights.append(frame.height)
        return frame

    monkeypatch.setattr(pl.LazyFrame, "collect", watched)
    data = scan(tmp_path / "b.parquet")
    assert data.is_lazy and heights and max(heights) <= 20


def test_directories_are_scanned_and_the_rest_is_refused(tmp_path: Path) -> None:
    data = read(_file(tmp_path, "votes.csv", VOTES))
    data.save(tmp_path / "set")
    assert scan(tmp_path / "set").is_lazy and scan(tmp_path / "set").equals(data)
    (tmp_path / "tables").mkdir()
    data.comparisons.write_parquet(tmp_path / "tables" / "comparisons.parquet")
    assert scan(tmp_path / "tables").is_lazy and scan(tmp_path / "tables").height("comparisons") == 3
    pl.DataFrame({"prompt": ["p"], "chosen": ["x"], "rejected": ["y"]}).write_parquet(tmp_path / "texts.parquet")
    for path, words in (
        ("texts.parquet", "no table of two systems"),
        ("votes.csv", "only Parquet"),
        ("absent", "no such"),
    ):
        with pytest.raises(InputError, match=words):
            scan(tmp_path / path)
    odd = _battles(20).with_columns(pl.lit("who knows").alias("winner"))
    odd.write_parquet(tmp_path / "odd.parquet")
    with pytest.raises(InputError, match=r"20 of 20 rows.*who knows"):
        scan(tmp_path / "odd.parquet")


ODD = {
    "capital": {"system_a": ["x", "y"], "system_b": ["y", "z"], "Outcome": ["a", "tie"]},
    "missing numbers": {"system_a": ["x"], "system_b": ["y"], "outcome": ["a"], "weight": [float("nan")]},
    "days": {
        "model_a": ["x", "y"],
        "model_b": ["y", "z"],
        "winner": ["model_a", "tie (bothbad)"],
        "time": ["2024-01-01T10:00:00Z", "2024-05-01"],
    },
    "unknown words": {"system_a": ["x", "y"], "system_b": ["y", "z"], "outcome": ["a", "perhaps"]},
    "bookkeeping names": {"system_a": ["x"], "system_b": ["y"], "outcome": ["a"], "_id": [7], "_line": [5]},
    "impossible numbers": {
        "system_a": ["x", "y", "z", "x"],
        "system_b": ["y", "z", "x", "z"],
        "outcome": ["a", "b", "a", "b"],
        "count": [1, 0, 2, -1],
        "strength": [1, 2, 0, 1],
    },
    "text for numbers": {
        "system_a": ["x", "y"],
        "system_b": ["y", "z"],
        "outcome": ["a", "b"],
        "weight": ["0.5", "much"],
    },
    "two answers": {
        "system_a": ["x", "y"],
        "system_b": ["y", "z"],
        "outcome": ["a", None],
        "probability": [0.9, 0.4],
        "shown_first": ["left", "b"],
    },
    "no words and no names": {"model_a": ["", "x"], "model_b": ["x", ""], "winner": ["", " "]},
    "numbers for sides": {"player_1": ["x", "y"], "player_2": ["y", "x"], "winner": [1.0, 0.0], "judge": [7, None]},
}


@pytest.mark.parametrize("name", ODD)
def test_odd_tables_are_scanned_as_they_are_read(tmp_path: Path, name: str) -> None:
    pl.DataFrame(ODD[name]).write_parquet(tmp_path / "b.parquet")
    lazy, eager = scan(tmp_path / "b.parquet"), read(tmp_path / "b.parquet")
    assert lazy.is_lazy and lazy.report is not None and eager.report is not None
    text = pl.col(pl.Categorical).cast(pl.String)
    assert lazy.comparisons.with_columns(text).equals(eager.comparisons.with_columns(text), null_equal=True)
    assert lazy.report.rejected == eager.report.rejected
    assert (lazy.report.kept, lazy.report.dropped) == (eager.report.kept, eager.report.dropped)
    assert lazy.responses["response_id"].to_list() == sorted(eager.responses["response_id"])


@pytest.mark.parametrize("name", ["votes.csv", "votes.parquet", "tables/comparisons.csv"])
def test_columns_that_begin_with_an_underscore_are_kept(tmp_path: Path, name: str) -> None:
    rows = {"response_a": ["x"], "response_b": ["y"], "outcome": ["a"], "_id": ["k1"], "_line": [9], "source_id": [1]}
    rows["comparison_id"] = ["c1"]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    frame = pl.DataFrame(rows)
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    data = read(path.parent if "tables" in name else path)
    kept = data.comparisons.select("source_id", "source_id_2", "source_line").row(0)
    assert kept == (1, "k1", 9)
    assert data.report is not None
    assert data.report.mapped["column _id -> source_id_2 (a leading _ marks bookkeeping)"] == 1


def test_rows_of_a_json_file_of_one_line_are_told_apart(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "chosen": "x", "rejected": "y"},
        {"prompt": "p", "chosen": "x"},
        3,
        {"prompt": "q", "chosen": "x", "rejected": "y"},
    ]
    data = read(_file(tmp_path, "pairs.json", json.dumps(rows)))
    assert data.report is not None and data.report.kept == 2
    assert sorted((row.line, row.raw) for row in data.report.rejected) == [(2, json.dumps(rows[1])), (3, "3")]
    votes = (FIXTURES / "helpsteer2_preference.jsonl").read_text("utf-8").splitlines()
    one = _file(tmp_path, "votes.json", "[" + ",".join(votes) + "]")
    assert read(one).comparisons.equals(read(FIXTURES / "helpsteer2_preference.jsonl").comparisons)


def test_a_row_of_which_a_part_cannot_be_read_counts_once(tmp_path: Path) -> None:
    row = {"prompt": "p", "response": "r", "helpfulness": ["x", "y"], "correctness": ["4"], "coherence": ["1"]}
    data = read(_file(tmp_path, "rows.jsonl", json.dumps(row) + "\n"))
    assert data.report is not None and (data.report.read, data.report.kept) == (1, 0)
    assert data.ratings["value"].to_list() == [4.0, 1.0] and len(data.report.rejected) == 2


@pytest.mark.parametrize("answers", [["4", "5", "5"], ["True", "False", "True"], ["3", "3.5", "3.0"]])
def test_answers_that_look_like_numbers_are_texts(tmp_path: Path, answers: list[str]) -> None:
    rows = "".join(f"7,{answer},no,a\n" for answer in answers)
    data = read(_file(tmp_path, "math.csv", "prompt,response_a,response_b,outcome\n" + rows))
    said = dict(data.responses.select("response_id", "messages").iter_rows())
    assert [said[one][0]["content"] for one in data.comparisons["response_a"]] == answers
    assert data.prompts["messages"][0][0]["content"] == "7"


def test_numbers_in_json_are_answers_too(tmp_path: Path) -> None:
    data = read(_file(tmp_path, "math.jsonl", '{"prompt": "2+2?", "chosen": 4, "rejected": 5}\n'))
    assert [messages[0]["content"] for messages in data.responses["messages"]] == ["4", "5"]
    lists = read(_file(tmp_path, "lists.jsonl", '{"prompt": "2+2?", "texts": [4, 5], "ranks": [1, 2]}\n'))
    assert [messages[0]["content"] for messages in lists.responses["messages"]] == ["4", "5"]
    rated = read(_file(tmp_path, "rated.jsonl", '{"prompt": true, "response": 4, "rating": 2}\n'))
    assert rated.prompts["messages"][0][0]["content"] == "true"
    assert rated.report is not None and rated.report.mapped["text: Int64 -> text"] == 1


def test_objects_without_fields_can_be_stored(tmp_path: Path) -> None:
    row = {"system_a": "x", "system_b": "y", "outcome": "a", "metadata": {}, "nest": {"a": {}, "b": 1}, "many": [{}]}
    rows = [row, {**row, "nest": None, "many": []}]
    data = read(_file(tmp_path, "votes.jsonl", "".join(json.dumps(one) + "\n" for one in rows)))
    data.save(tmp_path / "set")
    again = read(tmp_path / "set")
    assert again.equals(data)
    kept = again.comparisons.select("metadata", "nest", "many").rows()
    assert kept == [(None, {"a": None, "b": 1}, [None]), (None, None, [])]


def test_files_whose_columns_differ_in_kind_are_read_as_one(tmp_path: Path) -> None:
    _file(tmp_path, "a.jsonl", '{"system_a": "x", "system_b": "y", "outcome": "a", "tags": ["u", "v"]}\n')
    _file(tmp_path, "b.jsonl", '{"system_a": "x", "system_b": "y", "outcome": "b", "tags": [1, 2]}\n')
    _file(tmp_path, "c.csv", "system_a,system_b,outcome,tags\nx,y,tie,7\n")
    data = read(tmp_path)
    assert data.comparisons["tags"].to_list() == ['["u","v"]', "[1,2]", "7"]
    assert data.report is not None and any("'tags' differs in kind" in note for note in data.report.notes)
