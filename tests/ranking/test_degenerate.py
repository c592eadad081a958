"""Input that other libraries answer with a silent number: every item gets a status, every reservation a sentence."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from preflearn.data import PreferenceData
from preflearn.errors import InputError
from preflearn.ranking import BradleyTerry, Davidson, Graded, RaoKupper, rank, rank_by
from tests.ranking.makers import battles, counted, simulated

MODELS = [BradleyTerry, Davidson, RaoKupper]


def statuses(board):
    return {standing.item: standing.status for standing in board.items}


def mentions(board, text):
    return any(text in warning for warning in board.warnings)


@pytest.mark.parametrize("model", MODELS)
def test_two_components_share_no_scale(model):
    board = model(cluster=None).fit(counted([("a", "b", 12, 8), ("c", "d", 11, 9)], ties=[3, 3])).leaderboard()
    assert statuses(board) == {"a": "estimable", "b": "estimable", "c": "other_component", "d": "other_component"}
    assert board["c"].strength is None and board["c"].low is None and board["c"].rank_low is None
    assert [component["relation"] for component in board.components] == ["main", "apart"]
    assert mentions(board, "not comparable")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("wins", "losses", "status"), [(10, 0, "undefeated"), (0, 10, "winless")])
def test_an_undefeated_or_winless_item_has_no_number_and_disturbs_no_other(model, wins, losses, status):
    rows = [("a", "b", 12, 8), ("c", "a", wins, losses), ("c", "b", wins, losses)]
    board = model(cluster=None).fit(counted(rows)).leaderboard()
    assert board["c"].status == status and board["c"].strength is None and board["c"].se is None
    alone = model(cluster=None).fit(counted(rows[:1])).leaderboard()
    assert board["a"].strength == pytest.approx(alone["a"].strength, abs=1e-9)
    assert board["a"].se == pytest.approx(alone["a"].se, abs=1e-9)


def test_a_ghost_makes_them_finite_and_says_so():
    rows = [("a", "b", 12, 8), ("c", "a", 10, 0), ("c", "b", 10, 0)]
    board = BradleyTerry(cluster=None, ghost=0.5).fit(counted(rows)).leaderboard()
    assert board["c"].status == "undefeated" and board["c"].strength > board["a"].strength > board["b"].strength
    assert mentions(board, "rests on the prior")


def test_a_chain_of_sure_wins_names_what_lies_above_and_below():
    rows = [("top", "upper", 5, 0), ("upper", "a", 5, 0), ("a", "b", 6, 4), ("b", "low", 5, 0), ("low", "last", 5, 0)]
    board = rank(counted(rows), cluster=None)
    assert statuses(board) == {
        "top": "undefeated",
        "upper": "other_component",
        "a": "estimable",
        "b": "estimable",
        "low": "other_component",
        "last": "winless",
    }
    relation = {component["items"][0]: component["relation"] for component in board.components}
    assert relation == {"top": "above", "upper": "above", "a": "main", "low": "below", "last": "below"}


@pytest.mark.parametrize("model", [Davidson, RaoKupper])
def test_nothing_but_ties_has_no_strengths(model):
    board = model(cluster=None).fit(battles([("a", "b", "tie")] * 5)).leaderboard()
    assert all(standing.strength is None for standing in board.items)
    assert mentions(board, "every vote is a tie")


def test_one_vote_is_no_leaderboard():
    board = rank(battles([("a", "b", "a")]))
    assert statuses(board) == {"a": "undefeated", "b": "winless"}
    assert all(standing.strength is None for standing in board.items)
    assert mentions(board, "no two items are comparable")


def test_no_votes_at_all():
    with pytest.raises(InputError, match="no comparisons"):
        rank(PreferenceData())
    with pytest.raises(InputError, match="not judged: 2"):
        rank(battles([("a", "b", None), ("b", "a", None)]))


def test_one_item_only():
    with pytest.raises(InputError, match="an item against itself: 3"):
        rank(battles([("a", "a", "a")] * 3))


def test_every_kind_of_unusable_row_is_counted_and_the_rest_is_fitted():
    rows = [("a", "b", "a"), ("a", "b", "b"), ("b", "a", "b")] + [("a", "b", "a")] * 4
    rows += [("a", "a", "a"), ("a", "b", "skip"), ("a", "b", None)]
    weight = [1.0, 1.0, 1.0, 1.0, float("nan"), 0.0, -1.0, 1.0, 1.0, 1.0]
    board = rank(battles(rows, weight=weight))
    assert board.excluded == {
        "an item against itself": 1,
        "not judged": 1,
        "skipped": 1,
        "weight is not a finite number >= 0": 2,
        "weight is zero": 1,
    }
    assert board.n_votes == 4
    assert board["a"].strength - board["b"].strength == pytest.approx(np.log(3), abs=1e-8)


def test_an_item_without_votes_is_listed():
    data = battles([("a", "b", "a"), ("a", "b", "b")])
    extra = pl.DataFrame({"response_id": ["z"], "system": ["z"]})
    data = data.replace(responses=pl.concat([data.responses.cast(pl.String), extra]))
    board = rank(data)
    assert board["z"].status == "no_votes" and board["z"].votes == 0 and board["z"].strength is None


def test_a_position_that_always_wins_is_not_given_a_number():
    rows = [("a", "b", "a"), ("b", "a", "a")] * 10
    board = BradleyTerry(position=True).fit(battles(rows, shown_first=["a"] * 20)).leaderboard()
    assert board.effects[0].estimate is None
    assert mentions(board, "position is not estimable")


def test_position_asked_for_but_never_recorded():
    board = BradleyTerry(position=True).fit(battles([("a", "b", "a"), ("a", "b", "b")])).leaderboard()
    assert board.effects == [] and mentions(board, "shown first is not recorded")


def test_several_criteria_are_never_pooled():
    data = battles([("a", "b", "a"), ("a", "b", "b")] * 2, criterion_id=["help", "help", "harm", "harm"])
    with pytest.raises(InputError, match="harm, help"):
        rank(data)
    assert rank(data, criterion="help").n_votes == 2
    assert set(rank_by(data, "criterion_id")) == {"help", "harm"}


def test_pooled_protocols_and_merged_ties_are_said():
    data = battles(
        [("a", "b", "a"), ("a", "b", "b"), ("a", "b", "tie"), ("a", "b", "both_bad")],
        protocol=["live", "live", "study", "study"],
    )
    board = rank(data)
    assert mentions(board, "votes of 2 protocols are pooled")
    assert mentions(board, "1 tie, 1 both_bad all count as ties")
    assert mentions(board, "half a win for each side from 2 ties")


def test_davidson_without_ties_is_bradley_terry_and_says_so():
    data = counted([("a", "b", 12, 8), ("b", "c", 9, 7), ("a", "c", 5, 6)])
    board = rank(data, "davidson", cluster=None)
    assert mentions(board, "no ties are recorded")
    assert board["a"].strength == pytest.approx(rank(data, cluster=None)["a"].strength, abs=1e-12)


def test_graded_without_strengths():
    with pytest.raises(InputError, match="no strengths are recorded"):
        Graded().fit(battles([("a", "b", "a"), ("a", "b", "b")]))


@pytest.mark.parametrize(
    ("option", "value", "match"),
    [
        ("ridge", -1.0, "ridge must be"),
        ("ghost", float("nan"), "ghost must be"),
        ("interval", "exact", "no such interval"),
        ("item", "modell", "no column 'modell'"),
        ("cluster", "worker", "worker"),
        ("since", "yesterday", "not a time"),
        ("style", "length", "texts"),
        ("modle", 1, "modle"),
    ],
)
def test_bad_options_name_themselves(option, value, match):
    with pytest.raises(InputError, match=match):
        rank(battles([("a", "b", "a"), ("a", "b", "b")]), **{option: value})


def test_bad_scale_level_and_anchor():
    data = battles([("a", "b", "a"), ("a", "b", "b")])
    for options in ({"scale": "points"}, {"level": 1.0}, {"anchor": "zz"}, {"anchor": "a", "scale": "probability"}):
        with pytest.raises(InputError):
            rank(data, **options)


def test_few_annotators_are_said_and_missing_ones_counted():
    few, _ = simulated(200, annotators=4)
    assert mentions(rank(few), "only 4 annotators")
    data = battles(
        [("a", "b", "a"), ("a", "b", "b")] * 12, annotator_id=[f"u{i}" if i < 20 else None for i in range(24)]
    )
    board = rank(data)
    assert board.clustered_by == ["annotator_id"] and mentions(board, "4 votes without annotator_id")


def test_one_voice_among_many_is_said():
    loud = [("a", "b", "a"), ("a", "b", "b")] * 200
    quiet = [("a", "b", "a"), ("b", "a", "a")] * 10
    people = ["loud"] * 400 + [f"u{i}" for i in range(20)]
    board = rank(battles(loud + quiet, annotator_id=people))
    assert mentions(board, "21 clusters of annotator_id, so unevenly that they count as 1.1")
