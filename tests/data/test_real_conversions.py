"""Splits and conversions on real data, where components, repeats and near-duplicates are what people left behind."""

import os
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from preflearn.data.convert import pairs_to_rankings, rankings_to_pairs, votes_to_counts
from preflearn.data.io.mapping import read_mapped
from preflearn.data.leakage import leakage
from preflearn.data.merge import merge
from preflearn.data.records import records
from preflearn.data.split import split
from preflearn.data.tables import PreferenceData
from preflearn.data.validate import validate

DATA = os.environ.get("PREFLEARN_DATA")
pytestmark = pytest.mark.skipif(
    not DATA or not Path(DATA).is_dir(),
    reason="real data sets are found through the environment variable PREFLEARN_DATA",
)


@cache
def real(name: str) -> PreferenceData:
    return read_mapped(name, DATA)


@pytest.mark.parametrize("name", ["llmfao", "rmbench"])
def test_splits_of_real_data_share_no_text(name):
    data = real(name)
    for by in ("prompt", "response"):
        shared = leakage(*split(data, by=by, seed=1).values())
        assert (shared.judgments, shared.prompts, shared.prompt_contents, shared.responses) == (0, 0, 0, 0)
        assert by == "prompt" or shared.response_contents == 0


def test_annotators_of_real_data_are_kept_apart():
    parts = split(real("ukpconvarg"), by="annotator", seed=1)
    assert leakage(*parts.values()).annotators == 0
    assert parts["test"].height("comparisons") == pytest.approx(84445 / 5, rel=0.01)


def test_pairs_that_raters_of_translations_imply_are_rankings_and_come_back():
    """Pairs derived from error scores are complete and consistent: all of them survive the way there and back."""
    data = real("mqm")
    ranked = pairs_to_rankings(data)
    assert ranked.counts() == {k: n for k, n in data.counts().items() if k != "comparisons"} | {"rankings": 1443}
    assert votes(rankings_to_pairs(ranked)) == votes(data)


def votes(data: PreferenceData) -> dict[tuple[str, str, str], int]:
    """How often each outcome was given to each pair, whichever side is called a."""
    swap = pl.col("response_a") > pl.col("response_b")
    rows = data.comparisons.select(
        pl.min_horizontal("response_a", "response_b").alias("low"),
        pl.max_horizontal("response_a", "response_b").alias("high"),
        pl.when(swap).then(pl.col("outcome").replace({"a": "b", "b": "a"})).otherwise("outcome").alias("outcome"),
    )
    return {row[:3]: row[3] for row in rows.group_by("low", "high", "outcome").len().rows()}


def test_real_ballots_imply_all_their_pairs():
    data = real("preflib")
    pairs = rankings_to_pairs(data)
    lengths = data.rankings["responses"].list.len()
    assert pairs.height("comparisons") == int((lengths * (lengths - 1) // 2).sum())
    assert int(pairs.comparisons["count"].sum()) == int((data.rankings["count"] * (lengths * (lengths - 1) // 2)).sum())
    assert validate(pairs).ok


def test_records_hold_every_real_vote():
    data = real("ukpconvarg")
    found = records(data)
    assert (len(found), len(found.pairs), len(found.rows)) == (32, 84445, 1052)
    assert sum(len(record.pairs) for record in found) == 84445


def test_real_data_merged_with_itself_is_itself_and_with_another_loses_nothing():
    one, other = real("pandalm"), real("llmbar")
    assert merge(one, one).equals(merge(one))
    both = merge(one, other, names=["pandalm", "llmbar"])
    assert both.height("comparisons") == one.height("comparisons") + other.height("comparisons")
    assert validate(both).ok


def test_counting_real_votes_keeps_their_number():
    counted = votes_to_counts(real("llmbar")).comparisons
    assert counted.height < 53301
    assert int(counted["count"].sum()) == 53301
