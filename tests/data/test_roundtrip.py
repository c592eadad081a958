"""Every odd thing survives the disk: save, load, scan, and back into the same data."""

import json

import polars as pl
import pytest

from preflearn.data.reading import ImportReport, Rejected
from preflearn.data.store import load, read_manifest, save
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError


@pytest.mark.parametrize("lazy", [False, True])
def test_case_survives_save_and_load(case, tmp_path, lazy):
    save(case, tmp_path / "d")
    back = load(tmp_path / "d", lazy=lazy)
    assert back.is_lazy == lazy
    assert back.equals(case)
    assert back.fingerprint() == case.fingerprint()
    for name in case.counts():
        assert back.table(name).schema == case.table(name).schema


def test_scanned_data_is_written_without_being_read_whole(case, tmp_path):
    save(case, tmp_path / "d")
    save(load(tmp_path / "d", lazy=True), tmp_path / "e")
    assert load(tmp_path / "e").equals(case)


def test_details_that_formats_tend_to_lose(cases, tmp_path):
    def through_disk(name: str) -> PreferenceData:
        save(cases[name], tmp_path / name)
        return load(tmp_path / name)

    ranking = through_disk("ranking_with_tie_and_unranked").rankings
    assert ranking["ranks"].to_list() == [[2, 1, 2, None]]
    assert ranking["shown_order"].to_list() == [[3, 0, 1, 2]]
    assert ranking["time"][0].microsecond == 123456
    assert str(ranking.schema["time"]) == "Datetime(time_unit='us', time_zone='UTC')"
    soft = through_disk("soft_label").comparisons
    assert soft["outcome"].to_list() == [None]
    assert soft["probability"].to_list() == [0.83]
    unlabelled = through_disk("unlabelled_pair")
    assert "probability" not in unlabelled.columns("comparisons")
    assert unlabelled.prompts["messages"].to_list()[0][0]["content"] == "Grüß Gott 👋"
    assert unlabelled.responses["messages"].to_list()[1][0]["content"] == ""  # empty is not null
    image = through_disk("image_under_two_captions").responses
    assert image["messages"].to_list()[0][0] == {
        "role": "assistant",
        "name": None,
        "content": None,
        "media": ["img"],
    }
    assert through_disk("joint_candidate_set").responses["members"].to_list()[-1] == ["b1", "b2"]
    turns = through_disk("follow_up_turn").prompts
    assert [len(m) for m in turns["messages"].to_list()] == [1, 3]
    assert turns["messages"].to_list()[1][1]["name"] == "m"


def test_columns_that_ride_along_and_provenance_survive(cases, tmp_path):
    data = cases["counted_row"].replace("asked twice", comparisons=cases["counted_row"].comparisons)
    data = data.replace(comparisons=data.comparisons.with_columns(stance=pl.lit("pro"), extra=pl.Series([[1, 2]])))
    save(data, tmp_path / "d")
    back = load(tmp_path / "d")
    assert back.columns("comparisons")[-2:] == ["stance", "extra"]
    assert back.provenance["steps"] == ["asked twice"]
    assert back.equals(data)


def test_rejected_rows_and_report_are_written(cases, tmp_path):
    report = ImportReport(source="votes.csv", format="csv", read=3)
    report.reject([Rejected("votes.csv", 2, "no winner", "x,y,")])
    data = PreferenceData(comparisons=cases["counted_row"].comparisons, report=report)
    save(data, tmp_path / "d")
    (line,) = (tmp_path / "d" / "rejected.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line) == {"source": "votes.csv", "line": 2, "reason": "no winner", "raw": "x,y,"}
    manifest = read_manifest(tmp_path / "d")
    assert manifest["provenance"]["import"]["rejected"] == {"no winner": 1}
    assert manifest["counts"] == {"comparisons": 1}


def test_what_is_there_is_not_overwritten(cases, tmp_path):
    data = cases["counted_row"]
    save(data, tmp_path / "d")
    with pytest.raises(InputError, match="not empty"):
        save(data, tmp_path / "d")
    save(cases["soft_label"], tmp_path / "d", force=True)
    assert load(tmp_path / "d").equals(cases["soft_label"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="not a data set"):
        save(data, tmp_path / "mine", force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a file of this name"):
        save(data, tmp_path / "file")


def test_scanned_data_can_replace_its_own_source(cases, tmp_path):
    save(cases["soft_label"], tmp_path / "d")
    with_step = load(tmp_path / "d", lazy=True).replace("looked at")
    save(with_step, tmp_path / "d", force=True)
    assert load(tmp_path / "d").equals(cases["soft_label"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "preferences.json").unlink(), "there is no preferences.json"),
        (lambda folder: (folder / "preferences.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "preferences.json").write_text('{"schema_version": 99}'), "schema version 99"),
        (lambda folder: (folder / "comparisons.parquet").unlink(), "comparisons are missing"),
        (lambda folder: (folder / "comparisons.parquet").write_bytes(b"PAR1"), "cannot be read"),
    ],
)
def test_damage_is_named(cases, tmp_path, damage, message):
    save(cases["counted_row"], tmp_path / "d")
    damage(tmp_path / "d")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "d")


def test_force_keeps_files_that_are_not_the_data_sets_own(cases, tmp_path):
    save(cases["follow_up_turn"], tmp_path / "d")
    (tmp_path / "d" / "notes.md").write_text("mine")
    (tmp_path / "d" / "truth").mkdir()
    save(cases["counted_row"], tmp_path / "d", force=True)
    assert {path.name for path in (tmp_path / "d").iterdir()} == {
        "comparisons.parquet",
        "notes.md",
        "preferences.json",
        "responses.parquet",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_failed_write_leaves_what_was_there(cases, tmp_path):
    save(cases["counted_row"], tmp_path / "d")
    scanned = load(tmp_path / "d", lazy=True)
    broken = scanned.where("comparisons", pl.col("response_a").str.to_integer() > 0)
    with pytest.raises(pl.exceptions.PolarsError):
        save(broken, tmp_path / "d", force=True)
    assert load(tmp_path / "d").equals(cases["counted_row"])
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
