"""Files: every line that is not blank is a row or a rejected line with its exact number, whatever is wrong with it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preflearn.data.io import csvtext, packed
from preflearn.data.io.files import kind_of, read_frame, scan_frame, stem_of
from preflearn.errors import InputError


def _read(folder: Path, name: str, content: bytes | str) -> tuple[pl.DataFrame, dict[int | None, tuple[str, str]]]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    frame, rejected = read_frame(path)
    assert all(row.source == name for row in rejected)
    return frame, {row.line: (row.reason, row.raw) for row in rejected}


# -- JSON Lines --------------------------------------------------------------------------------------------------------


def test_bad_lines_are_rejected_with_their_numbers_and_text(tmp_path: Path) -> None:
    lines = [
        b'{"a": 1}',
        b"",
        b'{"a":',
        b"3",
        b'["x"]',
        b"null",
        b'{"a": 2} {"a": 3}',
        b'{"a": "\xe9"}',
        b'{"a": "x\x00y"}',
        b'{"a": 1e400}',
        b'{"a": Infinity}',
        b"   ",
        b'{"a": 4}',
        b'{"a": "cut off',
    ]
    frame, rejected = _read(tmp_path, "x.jsonl", b"\n".join(lines))
    assert frame["_line"].to_list() == [1, 13]
    assert frame["a"].to_list() == [1, 4]
    assert set(rejected) == {3, 4, 5, 6, 7, 8, 9, 10, 11, 14}
    assert rejected[3] == ("not valid JSON: Expecting value at character 6 of the line", '{"a":')
    assert rejected[4][0] == "not a JSON object but a number"
    assert rejected[5][0] == "not a JSON object but a list"
    assert rejected[6][0] == "not a JSON object but null"
    assert rejected[8] == ("not UTF-8 (byte 0xe9 at position 8 of the line)", '{"a": "\\xe9"}')
    assert rejected[10][0] == "a number is out of range"
    assert "Infinity" in rejected[11][0]
    assert rejected[14][1] == '{"a": "cut off'


def test_blank_lines_do_not_shift_numbers_on_the_fast_path(tmp_path: Path) -> None:
    frame, rejected = _read(tmp_path, "x.jsonl", '\n\n{"a": 1}\r\n\r\n{"a": 2}\n')
    assert frame.rows() == [(3, 1), (5, 2)]
    assert not rejected


def test_no_value_is_lost_where_types_mix(tmp_path: Path) -> None:
    rows = [
        {"text_or_list": "plain", "int_or_text": 1, "bool_or_int": True, "late": None},
        {"text_or_list": ["y", "z"], "int_or_text": "x", "bool_or_int": 2, "late": {"k": 1}},
        {"text_or_list": [{"role": "user"}], "int_or_text": None, "bool_or_int": False, "late": {"m": "q"}},
    ]
    frame, rejected = _read(tmp_path, "x.jsonl", "\n".join(json.dumps(row) for row in rows))
    assert not rejected
    texts = frame["text_or_list"].to_list()
    assert texts[0] == "plain" and json.loads(texts[1]) == ["y", "z"] and json.loads(texts[2]) == [{"role": "user"}]
    assert frame["int_or_text"].to_list() == ["1", "x", None]
    assert [json.loads(text) for text in frame["bool_or_int"]] == [True, 2, False]
    assert frame["late"].to_list() == [None, {"k": 1, "m": None}, {"k": None, "m": "q"}]


def test_a_column_that_appears_late_is_there(tmp_path: Path) -> None:
    frame, _ = _read(tmp_path, "x.jsonl", '{"a": 1}\n' * 5000 + '{"b": "late"}\n')
    assert frame["b"].drop_nulls().to_list() == ["late"] and frame.height == 5001


def test_nan_is_missing_and_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    frame, rejected = _read(tmp_path, "x.jsonl", '{"a": NaN, "t": "\\ud83d\\ude00"}\n{"a": 1.5, "t": "half \\ud83d"}\n')
    assert frame["a"].to_list() == [None, 1.5]
    assert frame["t"].to_list() == ["😀", "half \ufffd"]
    assert not rejected


def test_long_raw_text_is_cut_and_says_so(tmp_path: Path) -> None:
    _, rejected = _read(tmp_path, "x.jsonl", '{"a": "' + "x" * 20_000 + "\n")
    raw = rejected[1][1]
    assert raw.startswith('{"a": "xxx') and len(raw) < 10_100 and raw.endswith("[cut: 20,007 characters]")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), json_values, min_size=1), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_types_every_object_becomes_a_row(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    frame, rejected = _read(tmp_path, "x.jsonl", "\n".join(json.dumps(row) for row in rows))
    assert not rejected
    assert frame["_line"].to_list() == list(range(1, len(rows) + 1))
    for name in ("a", "b"):
        for row, value in zip(
            rows, frame[name].to_list() if name in frame.columns else [None] * len(rows), strict=True
        ):
            given_value = row.get(name)
            if isinstance(given_value, str):
                assert value == given_value
            elif given_value is None:
                assert value is None
            elif given_value not in ({}, []):
                assert value is not None


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_list_elements_know_their_lines(tmp_path: Path) -> None:
    content = '[\n {"a": 1},\n\n {"a":\n  2},\n 3,\n {"a": "x\\ny"}\n]\n'
    frame, rejected = _read(tmp_path, "x.json", content)
    assert frame["_line"].to_list() == [2, 4, 7]
    assert frame["a"].to_list() == ["1", "2", "x\ny"]
    assert rejected == {6: ("not a JSON object but a number", "3")}


def test_a_list_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    frame, rejected = _read(tmp_path, "x.json", '{"version": [1], "data": [\n{"a": 1},\n{"a": 2},\n{"a": ')
    assert frame.rows() == [(2, 1), (3, 2)]
    assert list(rejected) == [4] and "cannot be read from here on" in rejected[4][0] and rejected[4][1] == '{"a": '


@pytest.mark.parametrize(
    "content",
    [
        '{"a": [1, 2], "b": ["x", null]}',
        '{"a": {"0": 1, "1": 2}, "b": {"0": "x", "1": null}}',
        '{"data": [{"a": 1, "b": "x"}, {"a": 2}]}',
        '{"a": 1, "b": "x"}\n{"a": 2}\n',
        '\ufeff[{"a": 1, "b": "x"}, {"a": 2, "b": null}]',
    ],
)
def test_the_shapes_of_a_json_file(tmp_path: Path, content: str) -> None:
    frame, rejected = _read(tmp_path, "x.json", content)
    assert frame.select("a", "b").rows() == [(1, "x"), (2, None)] and not rejected


def test_json_that_is_none_of_these_says_so(tmp_path: Path) -> None:
    for content, words in (('"text"', "neither"), ("{broken", "not valid JSON"), ('{"a": [1], "b": []}', "lengths")):
        with pytest.raises(InputError, match=words):
            _read(tmp_path, "x.json", content)


# -- CSV ---------------------------------------------------------------------------------------------------------------


def test_csv_records_of_the_wrong_width_are_rejected_where_they_start(tmp_path: Path) -> None:
    content = (
        b"\xef\xbb\xbfid,text,n\r\n"  # 1
        b'007,"two\nlines",1\r\n'  # 2-3
        b"\r\n"  # 4
        b'1,"",2\r\n'  # 5
        b"2,,3\r\n"  # 6
        b"4,5\r\n"  # 7
        b'6,"x\ny",8,9\r\n'  # 8-9
        b'10,"never closed,2\r\n'  # 10
        b"11,a,3\r\n"  # 11
        b"12,b\xe9,4\r\n"  # 12
        b"13,q\x00,4\r\n"  # 13
        b'14,5" screen,5\r\n'  # 14
        b"15,last,6"  # 15
    )
    frame, rejected = _read(tmp_path, "x.csv", content)
    assert frame["_line"].to_list() == [2, 5, 6, 11, 14, 15]
    assert frame["text"].to_list() == ["two\nlines", "", None, "a", '5" screen', "last"]
    assert frame["id"].to_list() == ["007", "1", "2", "11", "14", "15"]
    assert frame["n"].to_list() == [1, 2, 3, 3, 5, 6]
    reasons = {line: reason for line, (reason, _) in rejected.items()}
    assert reasons[7] == "2 fields where the header has 3"
    assert reasons[8] == "4 fields where the header has 3"
    assert rejected[8][1].rstrip("\r") == '6,"x\ny",8,9'
    assert reasons[10].startswith("not readable as CSV") and reasons[12] == "not UTF-8" and reasons[13] == "NUL byte"
    assert set(rejected) == {7, 8, 10, 12, 13}


def test_fast_and_slow_paths_of_csv_agree(tmp_path: Path) -> None:
    good = 'id,text,n\n1,"a, b\n""c""",1.5\n2,,2\n\n3,"",0.1\n'
    fast, none = _read(tmp_path, "fast.csv", good)
    slow, one = _read(tmp_path, "slow.csv", good + "odd\n")
    assert not none and list(one) == [7]
    assert fast.equals(slow) and fast["_line"].to_list() == [2, 4, 6]
    assert fast["text"].to_list() == ['a, b\n"c"', None, ""]


lines = st.lists(st.text('ab1,"é ', max_size=8), min_size=1, max_size=8)


@given(lines)
@settings(max_examples=150, deadline=None)
def test_structure_by_numpy_agrees_with_reading_record_by_record(records: list[str]) -> None:
    data = ("x,y\n" + "\n".join(records)).encode()
    quick, careful = csvtext.read_table(data, "x.csv", ","), csvtext._one_by_one(data, "x.csv", ",")
    assert quick.frame.equals(careful.frame) and quick.rejected == careful.rejected


def test_numbers_in_csv_are_numbers_only_where_nothing_is_lost(tmp_path: Path) -> None:
    content = (
        "int,zero,version,float,flag,word,big,exp\n"
        "1,01,1.1,0.5,True,x,9223372036854775808,1e-05\n"
        "-2,2,1.10,3,False,nan,1,0.5\n"
    )
    frame, _ = _read(tmp_path, "x.csv", content)
    assert (
        frame.schema["int"] == pl.Int64 and frame.schema["float"] == pl.Float64 and frame.schema["flag"] == pl.Boolean
    )
    assert frame.schema["exp"] == pl.Float64 and frame["exp"].to_list() == [1e-05, 0.5]
    assert frame["zero"].to_list() == ["01", "2"] and frame["version"].to_list() == ["1.1", "1.10"]
    assert frame["big"].to_list() == ["9223372036854775808", "1"] and frame["word"].to_list() == ["x", "nan"]


def test_separators_names_and_encodings(tmp_path: Path) -> None:
    assert _read(tmp_path, "a.tsv", "a\tb\n1\tx,y\n")[0].rows() == [(2, 1, "x,y")]
    assert _read(tmp_path, "b.csv", "a;b\n1.5;x\n")[0].rows() == [(2, 1.5, "x")]
    assert _read(tmp_path, "c.csv", "a, a ,\n1,2,3\n")[0].columns == ["_line", "a", "a_2", "column_3"]
    assert _read(tmp_path, "d.csv", "a,b\né,2\n".encode("utf-16"))[0].rows() == [(2, "é", 2)]
    assert _read(tmp_path, "e.csv", "a\r1\r2\r")[0].rows() == [(2, 1), (3, 2)]
    assert _read(tmp_path, "f.csv", "a,b\n")[0].height == 0
    assert _read(tmp_path, "g.csv", "_line,b\n7,x\n")[0].columns == ["_line", "source_line", "b"]


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\0", exclude_categories=("Cs",)), max_size=6)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_written_by_polars_is_read_back(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    table = pl.DataFrame(rows, schema={"x": pl.String, "y": pl.String}, orient="row")
    table.write_csv(tmp_path / "x.csv", quote_style="always")
    frame, rejected = read_frame(tmp_path / "x.csv")
    assert not rejected and frame.height == table.height
    assert frame.select(pl.col("x", "y").cast(pl.String)).drop_nulls().height <= table.height
    for name in ("x", "y"):
        if frame.schema[name] == pl.String:
            assert frame[name].to_list() == table[name].to_list()
        else:  # numbers and booleans whose writing is their own
            assert [str(value) for value in frame[name]] in (
                table[name].to_list(),
                [f"{x}.0" for x in table[name]],
            ) or (frame.schema[name] == pl.Boolean)


# -- packed, Parquet, others -------------------------------------------------------------------------------------------


def test_packed_files_of_several_members(tmp_path: Path) -> None:
    one, two = b'{"a": 1}\n', b'{"a": 2}\n'
    for name, content in (
        ("x.jsonl.gz", gzip.compress(one) + gzip.compress(two)),
        ("x.jsonl.zst", zstandard.compress(one) + zstandard.compress(two)),
        ("wrong_ending.jsonl", gzip.compress(one + two)),
    ):
        frame, rejected = _read(tmp_path, name, content)
        assert frame.rows() == [(1, 1), (2, 2)] and not rejected


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_stream_that_breaks_off_keeps_what_came(tmp_path: Path, pack: object) -> None:
    lines = b"".join(b'{"a": "%d"}\n' % (i * 7919) for i in range(20_000))
    name = "x.jsonl.gz" if pack is gzip.compress else "x.jsonl.zst"
    frame, rejected = _read(tmp_path, name, pack(lines)[:-200])  # type: ignore[operator]
    assert frame.height > 1000 and any("breaks off" in reason for reason, _ in rejected.values())


@pytest.mark.parametrize(("name", "pack"), [("b.csv.gz", gzip.compress), ("b.csv.zst", zstandard.compress)])
def test_bombs_are_refused(tmp_path: Path, name: str, pack: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "FREE_BYTES", 2**20)
    with pytest.raises(InputError, match="decompression bomb"):
        _read(tmp_path, name, pack(b"\0" * 2**24))  # type: ignore[operator]


def test_parquet_with_nested_types_and_its_faults(tmp_path: Path) -> None:
    table = pl.DataFrame({"m": [[{"role": "user", "content": "q"}], []], "s": [{"x": 1}, None]})
    table.write_parquet(tmp_path / "x.parquet")
    frame, rejected = read_frame(tmp_path / "x.parquet")
    assert frame.drop("_line").equals(table) and frame["_line"].to_list() == [1, 2] and not rejected
    assert scan_frame(tmp_path / "x.parquet").collect().equals(table)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    for read in (read_frame, scan_frame):
        with pytest.raises(InputError, match="Parquet"):
            read(tmp_path / "bad.parquet")
    with pytest.raises(InputError, match="only Parquet"):
        scan_frame(tmp_path / "x.csv")


def test_unknown_endings_and_missing_files(tmp_path: Path) -> None:
    assert _read(tmp_path, "export", '{"a": 1}\n')[0].rows() == [(1, 1)]
    with pytest.raises(InputError, match="is unknown"):
        _read(tmp_path, "x.docx", b"PK\x03\x04")
    with pytest.raises(InputError, match="cannot be read"):
        read_frame(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="directory"):
        read_frame(tmp_path)
    assert kind_of(Path("a/b.JSONL.zst")) == "jsonl" and stem_of(Path("votes.jsonl.gz")) == "votes"
