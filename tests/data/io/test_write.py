"""`export`: what is written is read again as the same data, and what a format cannot hold is counted."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from preflearn.data import PreferenceData
from preflearn.data.io import export, read
from preflearn.errors import InputError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "formats"
WHOLE = (
    "arena_33k.jsonl", "arena_55k.csv", "hh.jsonl", "trl_explicit.jsonl", "trl_implicit.jsonl",
    "trl_conversational.jsonl", "trl_conversational_implicit.jsonl", "trl_unpaired.jsonl", "helpsteer2.jsonl",
    "helpsteer2_preference.jsonl", "helpsteer3.jsonl", "rewardbench.jsonl", "ultrafeedback_binarized.jsonl",
)  # fmt: skip
"""Sources whose judgments are of one kind and whose columns are flat."""


def _same(one: PreferenceData, other: PreferenceData) -> None:
    """Equal tables whatever the order of rows and columns."""
    assert one.counts() == other.counts()
    for name in one.counts():
        frames = []
        for data in (one, other):
            frame = data.table(name).with_columns(pl.col(pl.Categorical).cast(pl.String))
            frames.append(frame.sort(frame.columns[0]).select(sorted(frame.columns)))
        assert frames[0].columns == frames[1].columns, name
        for column in frames[0].columns:
            assert frames[0][column].equals(frames[1][column], null_equal=True), (name, column)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("out", ["x.csv", "x.jsonl.zst"])
def test_flat_rows_are_read_again_as_the_same_data(tmp_path: Path, name: str, out: str) -> None:
    data = read(FIXTURES / name)
    report = export(data, tmp_path / out)
    assert not report.left_out
    assert sum(report.written.values()) == data.height("comparisons") or data.height("ratings")
    _same(data, read(tmp_path / out))


def test_votes_between_systems_stay_simple_columns(tmp_path: Path) -> None:
    source = tmp_path / "votes.csv"
    source.write_text("system_a,system_b,outcome,annotator_id,weight,mood\nx,y,a,u1,0.5,good\ny,z,,u2,1.0,\n")
    data = read(source)
    export(data, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "comparison_id,system_a,system_b,outcome,annotator_id,weight,mood",
        "c2,x,y,a,u1,0.5,good",
        "c3,y,z,,u2,1.0,",
    ]
    _same(data, read(tmp_path / "out.csv"))


def test_everything_goes_to_a_data_set_and_to_a_hub_directory(tmp_path: Path) -> None:
    for name in (*WHOLE, "arena_140k.jsonl", "prism", "ultrafeedback.jsonl", "rewardbench2.jsonl"):
        data = read(FIXTURES / name)
        for form in ("preflearn", "huggingface"):
            report = export(data, tmp_path / form / name, format=form)
            assert dict(report.written) == data.counts()
            _same(data, read(tmp_path / form / name))


def test_rankings_as_json_lines(tmp_path: Path) -> None:
    data = read(FIXTURES / "rewardbench2.jsonl")
    export(data, tmp_path / "x.jsonl")
    again = read(tmp_path / "x.jsonl")
    assert again.rankings["ranks"].to_list() == data.rankings["ranks"].to_list()
    assert sorted(again.responses["response_id"]) == sorted(data.responses["response_id"])
    with pytest.raises(InputError, match="no comparisons or ratings"):
        export(data, tmp_path / "x.csv")


def test_what_a_flat_file_cannot_hold_is_counted(tmp_path: Path) -> None:
    report = export(read(FIXTURES / "prism"), tmp_path / "x.csv")
    assert report.written == {"ratings": 9}
    assert report.left_out["rankings: a flat file holds one kind of judgment, here ratings"] == 2
    assert report.left_out["annotators to which no written row refers"] == 1
    media = export(read(FIXTURES / "arena_140k.jsonl"), tmp_path / "y.csv")
    assert media.left_out["media: flat rows hold their ids, not where they lie"] == 1
    assert any("nested" in note for note in media.notes)
    assert media.lines()[0].endswith("4 comparisons written") and media.as_dict()["written"] == {"comparisons": 4}


# -- TRL ---------------------------------------------------------------------------------------------------------------


def _rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_trl_pairs_put_the_winner_first_and_count_the_rest(tmp_path: Path) -> None:
    data = read(FIXTURES / "arena_33k.jsonl")
    report = export(data, tmp_path / "text.jsonl", format="trl")
    assert _rows(tmp_path / "text.jsonl") == [
        {"prompt": "hi", "chosen": "hello", "rejected": "go away", "chosen_model": "koala", "rejected_model": "vicuna"},
        {"prompt": "2+2?", "chosen": "4", "rejected": "5", "chosen_model": "vicuna", "rejected_model": "koala"},
        {
            "prompt": "hi",
            "chosen": "same id again",
            "rejected": "hello",
            "chosen_model": "alpaca",
            "rejected_model": "vicuna",
        },
    ]
    assert report.left_out["outcome tie: a pair needs a winner"] == 1
    assert report.left_out["outcome both_bad: a pair needs a winner"] == 1
    assert report.left_out["no outcome (not judged, or a teacher's probability)"] == 1
    assert report.left_out["several messages, a system message or media: only trl-conversational holds them"] == 1
    assert report.left_out["who judged"] == 3
    talk = export(data, tmp_path / "talk.parquet", format="trl-conversational")
    assert talk.written == {"comparisons": 4}
    rows = pl.read_parquet(tmp_path / "talk.parquet").to_dicts()
    assert rows[3]["prompt"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a"}]
    assert [message["content"] for message in rows[3]["chosen"]] == ["b", "c", "d"]


def test_trl_text_survives_a_round_trip(tmp_path: Path) -> None:
    data = read(FIXTURES / "trl_explicit.jsonl")
    export(data, tmp_path / "x.jsonl", format="trl")
    assert _rows(tmp_path / "x.jsonl") == [
        {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
        {"prompt": "", "chosen": "a", "rejected": ""},
    ]
    _same(data, read(tmp_path / "x.jsonl"))


def test_trl_never_pools_criteria_and_writes_nothing_empty(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "prompt": ["p"] * 3,
            "text_a": ["x"] * 3,
            "text_b": ["y"] * 3,
            "outcome": ["a", "b", "tie"],
            "criterion_id": ["style", "truth", "humour"],
        }
    )
    rows.write_ndjson(tmp_path / "in.jsonl")
    data = read(tmp_path / "in.jsonl")
    with pytest.raises(InputError, match=r"several criteria: humour, style, truth"):
        export(data, tmp_path / "x.jsonl", format="trl")
    report = export(data, tmp_path / "x.jsonl", format="trl", criterion="truth")
    assert _rows(tmp_path / "x.jsonl") == [{"prompt": "p", "chosen": "y", "rejected": "x"}]
    assert report.left_out["not about criterion truth"] == 2
    with pytest.raises(InputError, match="nothing can be exported"):
        export(data, tmp_path / "y.jsonl", format="trl", criterion="humour")
    assert not (tmp_path / "y.jsonl").exists()
    with pytest.raises(InputError, match="no criterion 'taste'"):
        export(data, tmp_path / "y.jsonl", format="trl", criterion="taste")


def test_trl_unpaired(tmp_path: Path) -> None:
    export(read(FIXTURES / "trl_unpaired.jsonl"), tmp_path / "x.jsonl", format="trl-unpaired")
    assert _rows(tmp_path / "x.jsonl") == [
        {"prompt": "The sky is", "completion": " blue.", "label": True},
        {"prompt": "The sky is", "completion": " green.", "label": False},
    ]


# -- hub directory, overwriting ----------------------------------------------------------------------------------------


def test_the_card_of_a_hub_directory(tmp_path: Path) -> None:
    data = read(FIXTURES / "arena_33k.jsonl")
    report = export(data, tmp_path / "hub", format="huggingface", license="cc-by-4.0")
    card = (tmp_path / "hub" / "README.md").read_text("utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "cc-by-4.0" and head["size_categories"] == ["n<1K"]
    configs = {config["config_name"]: config for config in head["configs"]}
    assert (
        configs["comparisons"]["default"] and configs["responses"]["data_files"][0]["path"] == "data/responses.parquet"
    )
    assert "| comparisons | 7 |" in card and "9 rows read, 7 kept" in card
    assert report.left_out["rows that could not be imported (they are in rejected.jsonl of the data set)"] == 2
    unnamed = export(data, tmp_path / "hub", format="huggingface", force=True)
    assert any("licence" in note for note in unnamed.notes)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    data = read(FIXTURES / "trl_explicit.jsonl")
    for name, form in (("x.csv", "csv"), ("x.jsonl", "trl"), ("set", "preflearn"), ("hub", "huggingface")):
        export(data, tmp_path / name, format=form)
        with pytest.raises(InputError, match="force"):
            export(data, tmp_path / name, format=form)
        export(data, tmp_path / name, format=form, force=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    for form in ("preflearn", "huggingface"):
        with pytest.raises(InputError, match="another directory"):
            export(data, tmp_path / "other", format=form, force=True)
    assert (tmp_path / "other" / "thesis.txt").read_text() == "mine"
    with pytest.raises(InputError, match="no export format"):
        export(data, tmp_path / "x.xml", format="xml")


def test_lists_of_media_survive_csv(tmp_path: Path) -> None:
    responses = pl.DataFrame(
        {"response_id": ["r1", "r2"], "messages": ["look", "see"], "media": [["a.png", "b,c.png"], None]}
    )
    comparisons = pl.DataFrame({"comparison_id": ["c1"], "response_a": ["r1"], "response_b": ["r2"], "outcome": ["b"]})
    media = pl.DataFrame({"media_id": ["a.png", "b,c.png"], "kind": ["image", "image"]})
    export(PreferenceData(responses=responses, comparisons=comparisons, media=media), tmp_path / "o.csv")
    again = read(tmp_path / "o.csv")
    assert again.responses["media"].to_list() == [["a.png", "b,c.png"], None]
    assert again.media["media_id"].to_list() == ["a.png", "b,c.png"]
