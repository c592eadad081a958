"""The bundled sample: labelled as simulated, whole, small, made again bit for bit, and it shows what it is for."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

import preflearn.ranking as ranking
from preflearn import data as datasets
from preflearn.data.validate import validate
from preflearn.errors import InputError
from preflearn.simulate import Truth, read_truth

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "sample"


@pytest.fixture(scope="module")
def judge() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sample_judge", SCRIPTS / "judge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sample() -> datasets.PreferenceData:
    return datasets.sample()


@pytest.fixture(scope="module")
def truth() -> Truth:
    return read_truth(datasets.sample_path())


def order(board: ranking.Leaderboard) -> list[str]:
    return [standing.item for standing in board.items]


def test_it_is_labelled_as_simulated_and_keeps_every_rule(sample: datasets.PreferenceData) -> None:
    assert set(sample.annotators["kind"]) == {"simulated"}
    assert set(sample.annotators["panel"]) == {"simulated"}
    assert sample.provenance["simulated"] is True
    assert [problem for problem in validate(sample).problems if problem.severity == "error"] == []


def test_it_is_small_and_complete(sample: datasets.PreferenceData) -> None:
    folder = datasets.sample_path()
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 3_000_000
    assert 6_000 <= sample.height("comparisons") <= 10_000
    assert sample.height("annotators") == 60
    systems = sample.responses["system"].n_unique()
    assert systems == 6
    assert sample.height("responses") == systems * sample.height("prompts")
    votes = sample.comparisons
    recorded = {"shown_first", "annotator_id", "criterion_id", "propensity", "time", "duration_s", "outcome"}
    assert votes.select(recorded).null_count().row(0) == (0,) * len(recorded)
    assert set(votes["outcome"]) == {"a", "tie", "b"}
    pair = pl.concat_list("response_a", "response_b").list.sort().list.join(" ").alias("pair")
    per_pair = votes.group_by(pair).agg(pl.len(), pl.col("annotator_id").n_unique().alias("people"))
    assert per_pair["people"].median() >= 3, "several people per pair"
    again = votes.group_by(pair, "annotator_id").agg(
        (pl.col("response_a") + pl.col("shown_first")).n_unique().alias("ways"), pl.len()
    )
    assert again.filter(pl.col("len") > 1, pl.col("ways") > 1).height > 200, "the same person in both orders"


def test_it_is_made_again_from_its_script(judge: ModuleType, sample: datasets.PreferenceData, truth: Truth) -> None:
    data, known = judge.judged(judge.texts(SCRIPTS / "prompts.jsonl", SCRIPTS / "responses.jsonl"))
    assert data.equals(sample)
    assert known.scenario == truth.scenario
    assert known.table("annotators").equals(truth.table("annotators"))


def test_the_usual_leaderboard_misleads_and_the_honest_one_says_so(
    sample: datasets.PreferenceData, truth: Truth
) -> None:
    usual = ranking.BradleyTerry(cluster=None).fit(sample).leaderboard()
    honest = ranking.Davidson(cluster="annotator_id", position=True).fit(sample).leaderboard()
    camps = ranking.rank_by(sample, "annotators.group", "davidson", cluster="annotator_id", position=True)
    assert set(camps) == {"brief", "friendly"}
    orders = []
    for camp, board in camps.items():
        assert isinstance(board, ranking.Leaderboard)
        orders.append(order(board))
        assert order(board) != order(usual)
        assert board.items[0].item == max(truth.strengths(camp), key=truth.strengths(camp).__getitem__)
    places = [[names.index(name) for name in order(usual)] for names in orders]
    assert np.corrcoef(places)[0, 1] < -0.5, "the camps disagree"
    wider = np.array([honest[name].se or np.nan for name in order(usual)]) / [s.se or np.nan for s in usual.items]
    assert np.median(wider) > 2, "votes of one person are not independent"
    surely = [sum((s.rank_high or 0) - (s.rank_low or 0) == 0 for s in board.items) for board in (usual, honest)]
    assert surely[1] < surely[0] or surely == [0, 0]


def test_the_truth_is_recovered(sample: datasets.PreferenceData, truth: Truth) -> None:
    careless = truth.table("annotators").filter(pl.col("careless") != "attentive")["annotator_id"]
    attentive = sample.where("comparisons", ~pl.col("annotator_id").cast(pl.String).is_in(careless.implode()))
    assert len(careless) == 5
    boards = ranking.rank_by(attentive, "annotators.group", "davidson", cluster="annotator_id", position=True)
    inside = []
    for camp, board in boards.items():
        assert isinstance(board, ranking.Leaderboard)
        known = truth.strengths(camp)
        inside += [(s.low or 0.0) <= known[s.item] <= (s.high or 0.0) for s in board.items]
        effects = {effect.name: effect for effect in board.effects}
        assert abs((effects["position"].estimate or 0.0) - 0.25) < 4 * (effects["position"].se or 0.0)
    assert sum(inside) >= 10, "95 % intervals of twelve strengths"


def test_inputs_that_do_not_fit_together(judge: ModuleType, tmp_path: Path) -> None:
    rows = (SCRIPTS / "responses.jsonl").read_text("utf-8").splitlines()
    (tmp_path / "fewer.jsonl").write_text("\n".join(rows[:-1]), "utf-8")
    with pytest.raises(InputError, match="every prompt needs one answer"):
        judge.texts(SCRIPTS / "prompts.jsonl", tmp_path / "fewer.jsonl")
    (tmp_path / "broken.jsonl").write_text(rows[0] + "\n{", "utf-8")
    with pytest.raises(InputError, match="row 2"):
        judge.texts(SCRIPTS / "prompts.jsonl", tmp_path / "broken.jsonl")
    with pytest.raises(InputError, match=r"Run generate\.py first"):
        judge.texts(SCRIPTS / "prompts.jsonl", tmp_path / "absent.jsonl")
    assert judge.main(["--responses", str(tmp_path / "absent.jsonl"), "--out", str(tmp_path / "out")]) == 2


def test_every_answer_in_the_sample_is_the_stored_one(sample: datasets.PreferenceData) -> None:
    stored = {
        row["response_id"]: row["text"]
        for row in map(json.loads, (SCRIPTS / "responses.jsonl").read_text("utf-8").splitlines())
    }
    content = pl.col("messages").list.first().struct.field("content").alias("text")
    assert dict(sample.responses.select("response_id", content).iter_rows()) == stored
