"""Options and odd rows: what is asked for is found or refused with a reason, and no row is lost without a word."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from preflearn import ranking
from preflearn.data import PreferenceData
from preflearn.errors import InputError, NotComputable
from preflearn.ranking import BradleyTerry, Davidson, Graded, RaoKupper, rank, rank_by
from tests.ranking.makers import battles, counted, simulated

AB = [("a", "b", "a"), ("a", "b", "b"), ("a", "b", "a")]


def says(board, text):
    return any(text in warning for warning in board.warnings)


def gap(board, one="a", other="b"):
    return board[one].strength - board[other].strength


# -- rows ------------------------------------------------------------------------------------------------------------


def test_a_comparison_of_an_unrecorded_response_names_no_item():
    responses = pl.DataFrame({"response_id": ["a", "b"], "system": ["a", "b"]})
    rows = pl.DataFrame(
        {
            "comparison_id": ["1", "2", "3"],
            "response_a": ["a", "a", "a"],
            "response_b": ["b", "b", "zz"],
            "outcome": ["a", "b", "a"],
        }
    )
    board = rank(PreferenceData(responses=responses, comparisons=rows))
    assert board.excluded == {"an item is not named": 1} and board.n_votes == 2


def test_impossible_probabilities_are_counted_and_left_out():
    data = battles(
        [("a", "b", None)] * 5, probability=[0.6, 0.4, 0.7, 1.2, 0.5], probability_tie=[-0.1, 0.1, 0.2, 0.0, 0.6]
    )
    assert rank(data, "davidson").excluded == {"probability outside [0, 1]": 3}


def test_a_probability_beside_an_outcome_is_not_used():
    """A recorded answer is the vote; a probability beside it neither excludes it nor brings ties along."""
    data = battles(AB, probability=[None, None, 1.5], probability_tie=[0.1, 0.1, 0.1])
    board = rank(data, "davidson")
    assert board.n_votes == 3 and board.excluded == {} and board.effects == []
    assert gap(board) == pytest.approx(np.log(2), abs=1e-7)


def test_what_a_filter_by_time_cannot_place_is_counted():
    times = ["2024-02-01T00:00:00Z", "2024-02-01T00:00:00Z", None]
    board = rank(battles(AB, time=times), since="2024-01-01")
    assert board.n_votes == 2 and board.excluded == {"no time is recorded": 1}
    with pytest.raises(InputError, match="no time is recorded: 3"):
        rank(battles(AB), until="2024-01-01")
    for since in (date(2024, 1, 15), datetime(2024, 1, 15), datetime(2024, 1, 15, tzinfo=UTC)):
        assert rank(battles(AB, time=times), since=since).n_votes == 2


def test_an_unknown_criterion_lists_the_known_ones():
    with pytest.raises(InputError, match="Criteria: harm, help"):
        rank(battles(AB, criterion_id=["help", "harm", "help"]), criterion="helpp")
    with pytest.raises(InputError, match="None is recorded"):
        rank(battles(AB), criterion="overall")


def test_votes_without_a_criterion_are_not_pooled_silently():
    board = rank(battles(AB, criterion_id=["help", None, None]))
    assert says(board, "2 votes without a recorded criterion pooled with those of help")


def test_propensities_that_are_none_are_counted():
    board = rank(battles(AB * 2, propensity=[0, -1, None, 2, 0.5, 0.5]), propensity=True)
    assert board.excluded == {"propensity outside (0, 1]": 3}
    assert says(board, "1 vote without propensity")


def test_sides_without_an_order_are_counted():
    board = BradleyTerry(position=True).fit(battles(AB * 10, shown_first=["a", None, "b"] * 10)).leaderboard()
    assert says(board, "10 votes with no record of which side came first")


def test_soft_labels_are_said_by_models_that_have_no_place_for_them():
    board = rank(battles([("a", "b", None)] * 2, probability=[0.5, 0.3], probability_tie=[0.2, 0.2]))
    assert says(board, "half a win for each side from 2 labels with a probability of a tie")
    graded = battles(AB * 4 + [("a", "b", None)], strength=[1, 2, 1] * 4 + [None], probability=[None] * 12 + [0.7])
    assert says(rank(graded, "graded"), "1 soft label taken as the weakest grade")


def test_a_slider_is_not_a_graded_answer():
    with pytest.raises(InputError, match="strengths take 60 values"):
        Graded().fit(battles([("a", "b", "ab"[i % 2]) for i in range(60)], strength=list(range(1, 61))))


# -- outcomes that the fitted votes do not use -----------------------------------------------------------------------


@pytest.mark.parametrize("model", [Davidson, RaoKupper])
def test_ties_of_other_items_only_leave_no_tie_parameter(model):
    """The tie threshold would lie at the edge of its domain, where the fit stops short of the strengths."""
    rows = [("a", "b", "a")] * 12 + [("a", "b", "b")] * 8 + [("c", "d", "tie")] * 3
    board = model(cluster=None).fit(battles(rows)).leaderboard()
    assert board.converged and gap(board) == pytest.approx(np.log(1.5), abs=1e-8)
    assert board.effects == [] and says(board, "no ties are recorded among the items with a strength")


@pytest.mark.parametrize("elsewhere", [("c", "d", "tie", None), ("c", "d", "a", 2)])
def test_grades_of_other_items_only_leave_no_threshold(elsewhere):
    # An odd number of each so that the sides differ: a wins 6 of 10 strongly and 9 of 15 weakly.
    rows = [("a", "b", "a", 3)] * 6 + [("a", "b", "b", 3)] * 4 + [("a", "b", "a", 1)] * 9 + [("a", "b", "b", 1)] * 6
    alone = battles([row[:3] for row in rows], strength=[row[3] for row in rows])
    more = [*rows, elsewhere, (*elsewhere[:2], "b" if elsewhere[2] == "a" else "tie", elsewhere[3])]
    together = battles([row[:3] for row in more], strength=[row[3] for row in more])
    one, two = (Graded(cluster=None).fit(data).leaderboard() for data in (alone, together))
    assert two.converged and gap(two) == pytest.approx(gap(one), abs=1e-8)
    assert [effect.estimate for effect in two.effects] == pytest.approx([e.estimate for e in one.effects], abs=1e-8)
    assert says(two, "among the items with a strength")


# -- names and anchors -----------------------------------------------------------------------------------------------


def test_items_may_have_any_name():
    rows = [("", "🦊", "a"), ("", "🦊", "b"), ("🦊", "ü\nx", "a"), ("ü\nx", "🦊", "a"), (None, "🦊", "a")]
    board = rank(battles(rows))
    assert {standing.item for standing in board.items} == {"", "🦊", "ü\nx"}
    assert board.excluded == {"an item is not named": 1}


def test_an_anchor_whose_name_holds_an_equals_sign():
    data = battles([("t=0.7", "t=1", "a"), ("t=0.7", "t=1", "b"), ("t=0.7", "t=1", "a")])
    assert rank(data, anchor="t=0.7")["t=0.7"].strength == 0
    assert rank(data, anchor="t=0.7=100")["t=0.7"].strength == 100
    assert rank(data, anchor=("t=1", 5.0))["t=1"].strength == 5
    with pytest.raises(InputError, match="the anchor 't=2' is not an item"):
        rank(data, anchor="t=2")


@pytest.mark.parametrize("value", ["a=nan", "a=inf", "a=many", ("a", float("nan")), ("a", "x")])
def test_an_anchor_needs_a_finite_value(value):
    with pytest.raises(InputError, match="not a finite number"):
        rank(battles(AB), anchor=value)


def test_scales_are_checked_even_without_strengths():
    for options in ({"scale": "points"}, {"scale": "probability", "anchor": "a"}):
        with pytest.raises(InputError):
            rank(battles([("a", "b", "a")]), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"interval": "bootstrap", "n_bootstrap": 1},
        {"max_iterations": 0},
        {"tolerance": 0.0},
        {"tolerance": float("nan")},
        {"cluster": ("annotator_id", "outcome", "source")},
    ],
)
def test_options_without_a_meaning_are_refused(options):
    with pytest.raises(InputError):
        rank(battles(AB, annotator_id=["u", "v", "w"], source=["x", "y", "z"]), **options)


@pytest.mark.parametrize("use", ["item", "cluster", "by"])
def test_columns_of_lists_are_refused_with_their_type(use):
    data = battles(AB)
    data = data.replace(
        comparisons=data.comparisons.with_columns(many=pl.Series([["x"], ["y"], ["z"]])),
        responses=data.responses.with_columns(several=pl.Series([["x"], ["y"]])),
    )
    with pytest.raises(InputError, match=r"List\(String\)"):
        rank_by(data, "many") if use == "by" else rank(data, **{use: "several" if use == "item" else "many"})


def test_boards_by_value_are_ordered_by_judgments_not_rows():
    data = battles(AB * 2, source=["rows"] * 4 + ["counts"] * 2, count=[1, 1, 1, 1, 50, 50])
    assert list(rank_by(data, "source")) == ["counts", "rows"]


# -- covariates ------------------------------------------------------------------------------------------------------


def texts(x, y=None, coefficient=0.0, seed=0):
    """Battles of single responses with numeric columns x (and y); the outcome follows `x_a - x_b` by a coefficient."""
    generator = np.random.default_rng(seed)
    n = len(x) // 2
    first = generator.integers(0, 3, n)
    second = (first + generator.integers(1, 3, n)) % 3
    won = generator.random(n) < 1 / (1 + np.exp(-coefficient * (np.nan_to_num(x[:n]) - np.nan_to_num(x[n:]))))
    columns = {"x": x} | ({} if y is None else {"y": y})
    responses = pl.DataFrame(
        {
            "response_id": [f"{side}{k}" for side in "pq" for k in range(n)],
            "system": [f"m{i}" for i in np.concatenate([first, second])],
            **columns,
        }
    )
    comparisons = pl.DataFrame(
        {
            "comparison_id": [str(k) for k in range(n)],
            "response_a": [f"p{k}" for k in range(n)],
            "response_b": [f"q{k}" for k in range(n)],
            "outcome": np.where(won, "a", "b"),
        }
    )
    return PreferenceData(responses=responses, comparisons=comparisons)


def test_negative_numbers_enter_as_plain_differences(tmp_path):
    """A relative difference divides by their sum, which may be anything."""
    x = np.random.default_rng(1).normal(size=8000)
    data = texts(x, coefficient=0.6)
    model = BradleyTerry(style="x", cluster=None).fit(data)
    (effect,) = model.leaderboard().effects
    per_unit = effect.estimate / model.covariate_scale_[0]
    assert abs(per_unit - 0.6) < 4 * effect.se / model.covariate_scale_[0] and effect.se < 0.05
    assert says(model.leaderboard(), "plain differences: x") and effect.meaning.endswith("of the difference")
    model.save(tmp_path / "m.safetensors")
    positive = texts(np.abs(x), coefficient=0.6)
    np.testing.assert_array_equal(ranking.load(tmp_path / "m.safetensors").prob(positive), model.prob(positive))
    relative = BradleyTerry(style="x", cluster=None).fit(positive)
    with pytest.raises(InputError, match="had none in the training data"):
        relative.prob(data)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_numbers_that_are_none_count_as_not_recorded(odd):
    generator = np.random.default_rng(2)
    x, y = generator.random(400), generator.random(400)
    x[:3] = odd
    board = BradleyTerry(style=["x", "y"], cluster=None).fit(texts(x, y)).leaderboard()
    assert [effect.name for effect in board.effects] == ["x", "y"]
    assert says(board, "3 votes without a covariate")
    x[:3] = 0
    x[200:203] = 0
    close = BradleyTerry(style=["x", "y"], cluster=None).fit(texts(x, y)).leaderboard()
    assert board.effects[1].estimate == pytest.approx(close.effects[1].estimate, abs=0.05)


def test_covariates_that_follow_each_other_give_a_reason_and_no_numbers():
    x = np.random.default_rng(3).random(400)
    board = BradleyTerry(style=["x", "y"], cluster=None).fit(texts(x, 2 * x / (1 + 0 * x))).leaderboard()
    twin = BradleyTerry(style=["x", "y"], cluster=None).fit(texts(x, x)).leaderboard()
    assert board.effects and all(effect.se > 0 for effect in board.effects)  # nearly, but not quite, the same
    assert twin.effects == [] and all(standing.strength is None for standing in twin.items)
    assert says(twin, "follow each other or the items too closely")


def test_model_based_intervals_say_what_they_make_of_weights():
    data = battles(AB * 10, weight=[5.0, 1.0, 1.0] * 10)
    assert says(rank(data, interval="model"), "take weights for numbers of votes")
    assert not says(rank(battles(AB * 10), interval="model"), "weights")


def test_labels_without_noise_are_said():
    board = rank(battles([("a", "b", None)] * 4, probability=[0.7] * 4))
    assert says(board, "fit the model exactly")
    assert not says(rank(battles([("a", "b", None)] * 4, probability=[0.7, 0.6, 0.5, 0.4])), "exactly")


# -- predictions and files -------------------------------------------------------------------------------------------


def test_without_any_strength_probabilities_are_nan_when_asked_for():
    model = Davidson().fit(counted([("a", "b", 3, 0)]))
    question = battles([("a", "b", None), ("a", "a", None)])
    with pytest.raises(NotComputable):
        model.prob(question)
    np.testing.assert_array_equal(model.prob(question, missing="nan"), [np.nan, 0.5])
    assert np.isnan(model.outcome_probs(question, missing="nan").probabilities).all()
    with pytest.raises(InputError, match="missing"):
        model.prob(question, missing="zero")


def test_options_survive_saving(tmp_path):
    data, _ = simulated(600, annotators=30)
    data = data.replace(comparisons=data.comparisons.with_columns(task=data.comparisons["response_a"]))
    path = tmp_path / "m.safetensors"
    for options in (
        {"cluster": ("annotator_id", "task")},
        {"cluster": None, "seed": np.int64(3), "ridge": np.float32(0.5)},
        {"ghost": 0.5, "position": True, "interval": "model", "criterion": None},
    ):
        model = Davidson(**options).fit(data)
        model.save(path)
        again = ranking.load(path)
        assert again.get_params() == model.get_params()
        assert again.leaderboard().as_dict() == model.leaderboard().as_dict()


def test_a_damaged_file_and_a_missing_folder_have_their_sentence(tmp_path):
    model = BradleyTerry().fit(simulated(200)[0])
    with pytest.raises(InputError, match="cannot be written"):
        model.save(tmp_path / "nowhere" / "m.safetensors")
    path = tmp_path / "m.safetensors"
    model.save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="damaged"):
        ranking.load(path)
