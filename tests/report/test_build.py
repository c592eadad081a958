"""The page against planted truth: what it says must be what the votes were made of."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from preflearn import ranking, report, simulate
from preflearn.data import PreferenceData
from preflearn.report.blocks import Bullets, Intervals, Page
from preflearn.report.build import build
from preflearn.report.estimates import default_by, model_for
from preflearn.report.render import render
from tests.report.test_render import check

WARM = {"warm": 1.0, "terse": 0.0, "lists": -1.0}
LISTS = {"warm": -1.0, "terse": 0.0, "lists": 1.0}


@pytest.fixture(scope="module")
def camps() -> Page:
    return build(simulate.groups({"north": WARM, "south": LISTS}, n_votes=3000, n_annotators=30, seed=1), seed=1)


def text(page: Page) -> str:
    return re.sub(r"\s+", " ", check(render(page)).text)


def section(page: Page, name: str) -> str:
    return text(Page(page.title, "", (), (), tuple(s for s in page.sections if s.id == name), ()))


def test_opposite_camps_are_found_and_the_pooled_board_is_not_trusted(camps: Page) -> None:
    said = " ".join(camps.summary)
    assert "north and south rank 2 of 3 items differently beyond chance" in said
    assert re.search(r"furthest apart on (warm: place 1 of 3 in north, place 3 of 3 in south|lists: place 1)", said)
    assert "do not settle who is first" in said
    ratio = re.search(r"([\d.]+) times as wide", said)
    assert ratio and float(ratio[1]) > 2, "votes of one person are alike here"
    assert "an average over groups that differ (north and south)" in section(camps, "trust")
    assert camps.banner and "simulated" in camps.banner


def test_the_plot_shows_all_items_with_places_that_hold_the_truth(camps: Page) -> None:
    plots = [block for part in camps.sections for block in part.blocks if isinstance(block, Intervals)]
    board, groups = plots[0], plots[1]
    assert {row.label for row in board.rows} == {"warm", "terse", "lists"}
    assert groups.legend == ("north", "south") and all(len(row.marks) == 2 for row in groups.rows)
    warm = next(row for row in groups.rows if row.label == "warm")
    assert warm.cells[:2] == ("1", "3")


def test_a_clear_winner_is_called_so_and_chances_are_right() -> None:
    page = build(simulate.bradley_terry({"x": 2.0, "y": 0.0, "z": -2.0}, n_votes=4000, seed=4))
    assert "x is first" in page.summary[0]
    chance = re.search(r"about (\d+)% of decided votes go to x", section(page, "leaderboard"))
    assert chance and abs(int(chance[1]) - 98) <= 1  # sigma(4) = 0.982
    assert "No answer is a tie" in section(page, "influences")


def test_position_effect_is_told_as_a_chance() -> None:
    page = build(simulate.biased(4, position=0.5, n_votes=6000, n_annotators=40, seed=5))
    told = next(sentence for sentence in page.summary if "shown first" in sentence)
    found = [float(value) for value in re.findall(r"([\d.]+)%", told)][:3]
    assert found[1] < 62.2 < found[2] and "advantage of its own" in told  # sigma(0.5) = 0.622


def test_ties_are_not_half_wins() -> None:
    data = simulate.davidson({"x": 0.5, "y": -0.5}, tie=0.6, n_votes=2000, seed=6)
    assert model_for(data) == "davidson"
    assert "not half a win" in section(build(data), "influences")


def test_every_warning_and_status_reaches_the_page() -> None:
    rows = [("x", "y", "a"), ("y", "x", "a"), ("x", "hero", "b"), ("p", "q", "a"), ("q", "p", "a")]
    frame = pl.DataFrame(
        {
            "comparison_id": [str(i) for i in range(len(rows))],
            "response_a": [a for a, _, _ in rows],
            "response_b": [b for _, b, _ in rows],
            "outcome": [outcome for *_, outcome in rows],
        }
    )
    data = PreferenceData(comparisons=frame).completed()
    page = build(data)
    shown = text(page)
    assert "hero (never lost" in shown and "not comparable with the others" in shown
    board = ranking.rank(data, "bradley_terry")
    caution = next(b for s in page.sections for b in s.blocks if isinstance(b, Bullets) and b.tone == "caution")
    for warning in board.warnings:
        assert any(warning.rstrip(".")[1:] in item for item in caution.items), warning
    assert any("Who voted is not recorded" in item for item in caution.items)


@pytest.mark.parametrize(
    "data",
    [
        PreferenceData(),
        PreferenceData(
            comparisons=pl.DataFrame(
                {"comparison_id": ["1"], "response_a": ["x"], "response_b": ["y"], "outcome": ["skip"]}
            )
        ).completed(),
        PreferenceData(
            comparisons=pl.DataFrame(
                {"comparison_id": ["1"], "response_a": ["x"], "response_b": ["y"], "outcome": ["a"]}
            )
        ).completed(),
        PreferenceData(ratings=pl.DataFrame({"rating_id": ["1"], "response_id": ["x"], "label": ["up"]})).completed(),
    ],
    ids=["nothing", "skips only", "one vote", "labels only"],
)
def test_a_page_of_almost_nothing_says_why(data: PreferenceData) -> None:
    shown = text(build(data))
    assert "nan" not in shown.lower().replace("finance", "") and "None" not in shown
    assert re.search(r"No leaderboard|No item can be ranked|is no leaderboard", shown)


def test_criteria_are_never_pooled() -> None:
    one = simulate.bradley_terry({"x": 1.0, "y": -1.0}, n_votes=600, seed=7)
    other = simulate.bradley_terry({"x": -1.0, "y": 1.0}, n_votes=400, seed=8)
    tables = [
        part.comparisons.with_columns(
            pl.lit(name).alias("criterion_id"),
            pl.concat_str(pl.lit(name), "comparison_id").alias("comparison_id"),
            pl.col(pl.Categorical).cast(pl.String),
        )
        for name, part in (("help", one), ("harm", other))
    ]
    data = PreferenceData(comparisons=pl.concat(tables), responses=one.responses, annotators=one.annotators).completed()
    page = build(data)
    assert "by the criterion “help”" in section(page, "leaderboard")
    assert "By the criterion “harm”" in section(page, "criteria")


def test_groups_are_found_unless_named_otherwise() -> None:
    data = simulate.groups({"north": WARM, "south": LISTS}, n_votes=300, n_annotators=10, seed=1)
    assert default_by(data) == "annotators.group"
    assert default_by(simulate.bradley_terry(3, n_votes=100)) is None
    page = build(simulate.biased(3, n_votes=600, n_annotators=12, seed=2), by="shown_first")
    assert "several values of shown_first" in section(page, "trust"), "one person's votes are in both parts"


def test_files(tmp_path: Path) -> None:
    data = simulate.bradley_terry({"<b>x</b>": 1.0, "y": 0.0}, n_votes=300, seed=1)
    report.write(data, tmp_path / "page.html", title="A & B")
    html = (tmp_path / "page.html").read_text()
    assert "<b>x</b>" not in html and "A &amp; B" in html and len(html) < 100_000
    assert data.fingerprint() in html
    board = ranking.rank(data, "bradley_terry")
    check(report.board_html(board))


def test_many_items_stay_small() -> None:
    strengths = {f"system-{i:03d}": i / 100 for i in range(120)}
    html = report.html(simulate.bradley_terry(strengths, n_votes=20_000, n_annotators=20, seed=1))
    assert "20 more items are not drawn" in html
    assert len(html) < 500_000
