"""Rating models as preference models; leaderboards and their scales; saving; where votes come from."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from preflearn import ranking
from preflearn.data import PreferenceData
from preflearn.data import load as load_data
from preflearn.errors import InputError, NotComputable, NotSupported
from preflearn.ranking import MODELS, BradleyTerry, Davidson, Graded, rank, rank_by
from tests.contract import check_preference_model
from tests.ranking.makers import battles, counted, simulated


def graded_data(n=800, seed=0):
    data, _ = simulated(n, seed=seed, position=0.3)
    strength = np.random.default_rng(seed).integers(1, 4, n)
    decided = pl.col("outcome").is_in(["a", "b"])
    frame = data.comparisons.with_columns(strength=pl.Series(strength, dtype=pl.Int32))
    return data.replace(
        comparisons=frame.with_columns(strength=pl.when(decided).then(pl.col("strength"))),
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("position", [False, True])
def test_contract(name, position):
    data = graded_data()
    model = MODELS[name](position=position).fit(data)
    check_preference_model(model, data)


def test_contract_with_texts_and_style():
    data, _, _ = styled(seed=1)
    check_preference_model(BradleyTerry(style="lmarena", position=True).fit(data), data)


def test_predictions_recover_the_simulated_probabilities():
    data, _ = simulated(20_000, position=0.4, seed=2)
    model = Davidson(position=True).fit(data)
    pairs = battles([("m5", "m0", None), ("m2", "m3", None)], shown_first=["a", "b"])
    expected = 1 / (1 + np.exp(-(np.array([2.0, -0.4]) + np.array([0.4, -0.4]))))
    np.testing.assert_allclose(model.prob(pairs), expected, atol=0.02)
    swapped = 1 / (1 + np.exp(-(np.array([2.0, -0.4]) - np.array([0.4, -0.4]))))
    np.testing.assert_allclose(model.prob(pairs, symmetrised=True), (expected + swapped) / 2, atol=0.02)
    draws = model.prob_draws(pairs, 2000, seed=0)
    np.testing.assert_allclose(draws.mean(0), model.prob(pairs), atol=0.005)
    assert (draws.std(0) > 0.001).all()
    np.testing.assert_allclose(model.utility(pairs), model.strengths_[[0, 2, 3, 5]])


def test_what_a_rating_model_does_not_answer():
    data, _ = simulated(200)
    model = BradleyTerry().fit(data)
    for question in (model.rate, model.represent, model.adapt):
        with pytest.raises(NotSupported):
            question(data)
    with pytest.raises(InputError, match="'zz' was not in the training data"):
        model.prob(battles([("m0", "zz", None)]))
    with pytest.raises(InputError, match="not fitted"):
        BradleyTerry().prob(data)
    partly = BradleyTerry().fit(counted([("a", "b", 3, 2), ("c", "a", 4, 0)]))
    question = battles([("c", "a", None), ("a", "b", None), ("c", "c", None)])
    with pytest.raises(NotComputable, match="without a strength: c"):
        partly.prob(question)
    answer = partly.prob(question, missing="nan")
    assert np.isnan(answer[0]) and answer[2] == 0.5 and 0.5 < answer[1] < 0.7


def test_scales_and_anchors():
    data, _ = simulated(3000)
    model = Davidson().fit(data)
    logit = model.leaderboard()
    assert sum(standing.strength for standing in logit.items) == pytest.approx(0, abs=1e-9)
    elo = model.leaderboard(scale="elo")
    factor = 400 / np.log(10)
    for standing in logit.items:
        assert elo[standing.item].strength == pytest.approx(1000 + factor * standing.strength)
        assert elo[standing.item].high == pytest.approx(1000 + factor * standing.high)
    anchored = model.leaderboard(scale="elo", anchor="m2=1200")
    assert anchored["m2"][1:5] == (1200, 0, 1200, 1200) and anchored.anchor == "m2 = 1200"
    gap = logit["m5"].strength - logit["m2"].strength
    assert anchored["m5"].strength == pytest.approx(1200 + factor * gap)
    # The interval of a difference is not the difference of intervals.
    block = model.covariance_.matrix
    expected = np.sqrt(block[5, 5] + block[2, 2] - 2 * block[5, 2])
    assert anchored["m5"].se == pytest.approx(factor * expected)
    chance = model.leaderboard(scale="probability")
    strengths = np.array([logit[f"m{i}"].strength for i in range(6)])
    by_hand = np.mean([1 / (1 + np.exp(strengths[j] - strengths[5])) for j in range(5)])
    assert chance["m5"].strength == pytest.approx(by_hand)
    for standing in chance.items:
        assert 0 < standing.low < standing.strength < standing.high < 1


def test_probability_errors_follow_the_delta_method():
    data, _ = simulated(3000)
    model = BradleyTerry().fit(data)
    board = model.leaderboard(scale="probability")
    draws = model.covariance_.sample(20_000, np.random.default_rng(0))[:, :6] + model.strengths_
    values = ranking.leaderboard.mean_win_probability(draws)
    for index in range(6):
        assert board[f"m{index}"].se == pytest.approx(values[:, index].std(), rel=0.05)


def test_the_document_has_what_it_promises():
    board = rank(simulated(500)[0], "davidson")
    document = json.loads(json.dumps(board.as_dict()))
    assert set(document["items"][0]) >= {
        "item", "strength", "se", "low", "high", "rank_low", "rank_high", "votes", "status",
    }  # fmt: skip
    for key in (
        "model", "scale", "anchor", "converged", "iterations", "log_likelihood", "n_votes", "n_annotators",
        "clustered_by", "warnings", "data_fingerprint", "version",
    ):  # fmt: skip
        assert key in document
    assert document["n_annotators"] == 40 and document["clustered_by"] == ["annotator_id"]
    assert document["n_votes"] == 500 and document["converged"]
    assert board.table().height == 6


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("interval", ["auto", "bootstrap"])
def test_a_saved_model_answers_alike(name, interval, tmp_path):
    data = graded_data()
    model = MODELS[name](position=True, interval=interval, n_bootstrap=20).fit(data)
    model.save(tmp_path / "model.safetensors")
    again = ranking.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.prob(data), model.prob(data))
    assert (
        again.leaderboard(scale="elo", anchor="m1").as_dict() == model.leaderboard(scale="elo", anchor="m1").as_dict()
    )
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.training_fingerprints_, np.unique(model.training_fingerprints_))


def test_what_is_not_a_saved_model_says_so(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match="no such model file"):
        ranking.load(path)
    for content in (b"", b"junk", b"\xff" * 100, b"{}"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a saved rating model"):
            ranking.load(path)


def test_votes_on_disk_are_counted_without_being_held(tmp_path):
    data, _ = simulated(5000, annotators=30)
    data.save(tmp_path / "votes")
    lazy = load_data(tmp_path / "votes", lazy=True)
    model = Davidson(position=True).fit(lazy)
    held = Davidson(position=True).fit(data)
    np.testing.assert_allclose(model.strengths_, held.strengths_, atol=1e-10)
    np.testing.assert_allclose(model.covariance_.matrix, held.covariance_.matrix, atol=1e-12)
    assert model.data_fingerprint_ == held.data_fingerprint_ == data.fingerprint()
    assert isinstance(lazy._frames["comparisons"], pl.LazyFrame)


def test_since_until_and_item_column():
    times = [f"2024-0{1 + i % 6}-01T00:00:00Z" for i in range(60)]
    rows = [("x", "y", "a" if i % 3 else "b") for i in range(60)]
    data = battles(rows, time=times)
    assert rank(data, since="2024-03-01").n_votes == 40
    assert rank(data, until="2024-03-01").n_votes == 20
    assert rank(data, since="2024-02-01", until="2024-04-01T00:00:00+00:00").n_votes == 20
    family = data.responses.with_columns(family=pl.Series(["one", "two"]))
    board = rank(data.replace(responses=family), item="family")
    assert {standing.item for standing in board.items} == {"one", "two"}
    assert rank(data, item="response_id")["x"].votes == 60


def test_rank_by_any_column_keeps_what_cannot_be_ranked():
    data = battles(
        [("a", "b", "a"), ("a", "b", "b")] * 3 + [("a", "b", "skip")],
        annotator_id=["u", "u", "v", "v", "w", "w", "w"],
    )
    people = pl.DataFrame({"annotator_id": ["u", "v", "w"], "group": ["old", "young", None]})
    boards = rank_by(data.replace(annotators=people), "annotators.group")
    assert list(boards) == ["(not recorded)", "old", "young"]
    assert boards["old"].n_votes == 2 and boards["(not recorded)"].n_votes == 2
    skipped = rank_by(battles([("a", "b", "skip"), ("a", "b", "a")], source=["s", "t"]), "source")
    assert isinstance(skipped["s"], InputError) and skipped["t"].n_votes == 1


def styled(n=6000, coefficient=0.5, seed=0, items=12):
    """Battles whose outcome also follows the relative difference in the number of words (planted coefficient)."""
    generator = np.random.default_rng(seed)
    theta = np.linspace(-1, 1, items)
    mean_words = 20 + 40 * (np.arange(items)[::-1] / items)  # weak systems write more
    a = generator.integers(0, items, n)
    b = (a + generator.integers(1, items, n)) % items
    words = [1 + generator.poisson(mean_words[side] * generator.lognormal(0, 0.5, n)) for side in (a, b)]
    difference = (words[0] - words[1]) / (words[0] + words[1] + 1)
    standard = difference / np.sqrt(np.mean(difference**2))
    won = generator.random(n) < 1 / (1 + np.exp(-(theta[a] - theta[b] + coefficient * standard)))
    ids = [[f"{side}{k}" for k in range(n)] for side in "ab"]
    responses = pl.DataFrame(
        {
            "response_id": ids[0] + ids[1],
            "system": [f"m{i:02d}" for i in a] + [f"m{i:02d}" for i in b],
            "messages": ["word " * w for w in words[0]] + ["word " * w for w in words[1]],
        }
    )
    comparisons = pl.DataFrame(
        {
            "comparison_id": [str(k) for k in range(n)],
            "response_a": ids[0],
            "response_b": ids[1],
            "outcome": np.where(won, "a", "b"),
        }
    )
    return PreferenceData(responses=responses, comparisons=comparisons), theta, coefficient


def test_a_planted_style_effect_is_recovered_and_leaves_the_ratings():
    data, theta, coefficient = styled()
    controlled = BradleyTerry(style="length", cluster=None).fit(data)
    plain = BradleyTerry(cluster=None).fit(data)
    effect = controlled.leaderboard().effects[0]
    assert effect.name == "length"
    assert abs(effect.estimate - coefficient) < 4 * effect.se and effect.se < 0.05
    error = lambda model: np.abs(model.strengths_ - theta).mean()  # noqa: E731
    assert error(controlled) < 0.6 * error(plain)


def test_a_covariate_that_never_differs_is_named():
    data, _, _ = styled(300)
    board = BradleyTerry(style=["length", "headers"], cluster=None).fit(data).leaderboard()
    assert [effect.name for effect in board.effects] == ["length"]
    assert any("headers never differs" in warning for warning in board.warnings)
    with pytest.raises(InputError, match="no covariate 'emoji'"):
        BradleyTerry(style="emoji").fit(data)


def test_propensities_undo_selective_asking():
    # Pairs of close systems are asked ten times as often, and their votes come from a crowd that sees no difference;
    # weighing by 1 / propensity restores the average over pairs asked equally.
    generator = np.random.default_rng(0)
    rows, propensity = [], []
    for _ in range(40_000):
        often = generator.random() < 10 / 11
        p = 0.5 if often else 0.8
        rows.append(("a", "b", "a" if generator.random() < p else "b"))
        propensity.append(10 / 11 if often else 1 / 11)
    data = battles(rows, propensity=propensity)
    target = np.log(0.65 / 0.35)
    weighted, plain = rank(data, propensity=True), rank(data)
    gap = lambda board: board["a"].strength - board["b"].strength  # noqa: E731
    assert abs(gap(weighted) - target) < 4 * 2 * weighted["a"].se
    assert abs(gap(plain) - target) > 10 * 2 * plain["a"].se
    with pytest.raises(InputError, match="no propensities"):
        rank(battles([("a", "b", "a")]), propensity=True)


def test_graded_merges_unused_grades_and_reports_them():
    rows = [("a", "b", "a"), ("a", "b", "b")] * 10
    board = Graded(cluster=None).fit(battles(rows, strength=[1, 1, 5, 5] * 5)).leaderboard()
    assert any("strengths used are [1, 5]" in warning for warning in board.warnings)
    assert [effect.name for effect in board.effects] == ["step_1"]
