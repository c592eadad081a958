"""`score`: figures worked out by hand, invariances, what becomes of rows, and how intervals are made."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.data import PreferenceData
from preflearn.errors import InputError
from preflearn.evaluate import score
from preflearn.evaluate.scores import FIGURES
from preflearn.protocols import OutcomeProbabilities
from tests.evaluate.makers import Stub, swapped, votes

LOG2 = math.log(2)


def test_two_way_figures_by_hand() -> None:
    data = votes(["a", "b", "a", "b"])
    found = score([0.8, 0.2, 0.4, 0.5], data, n_bootstrap=50)
    # right, right, wrong, undecided
    assert found.accuracy.value == pytest.approx(2.5 / 4)
    assert found.log_loss.value == pytest.approx(-(math.log(0.8) + math.log(0.8) + math.log(0.4) + math.log(0.5)) / 4)
    assert found.brier.value == pytest.approx((0.04 + 0.04 + 0.36 + 0.25) / 4)
    # z towards the winner: .3, .3, -.1, 0; of 16 ordered pairs 12 have a positive sum (all with a .3), 3 a negative one
    # (the -.1 with itself and twice with 0), 1 is zero (0 with itself)
    assert found.auc.value == pytest.approx((12 + 0.5) / 16)
    # fewer than twenty rows: one bin, of which .8 + .8 + .6 + .5 was predicted and 1 + 1 + 0 + .5 came true
    assert found.ece.value == pytest.approx(abs(2.5 - 2.7) / 4)
    assert all(figure.n == 4 for figure in found.figures().values())
    assert found.log_loss_decided == found.log_loss


def test_ties_are_half_labels_without_a_tie_model() -> None:
    found = score([0.9, 0.6], votes(["both_bad", "a"]), n_bootstrap=0)
    assert found.accuracy.value == pytest.approx((0.5 + 1) / 2)
    assert found.log_loss.value == pytest.approx(-(0.5 * math.log(0.9) + 0.5 * math.log(0.1) + math.log(0.6)) / 2)
    assert found.brier.value == pytest.approx((0.4**2 + 0.4**2) / 2)
    assert found.log_loss_decided.value == pytest.approx(-math.log(0.6))
    assert found.brier_decided.value == pytest.approx(0.16)
    assert (found.log_loss.n, found.log_loss_decided.n, found.counts.ties) == (2, 1, 1)
    assert "half label" in found.ties
    assert found.accuracy.low is None
    assert "no resamples" in (found.accuracy.reason or "")


def test_a_model_that_knows_ties_is_scored_on_three_outcomes() -> None:
    data = votes(["tie", "a", "b"], p=[0.5, 0.75, 0.75], p_tie=[0.4, 0.2, 0.2])
    found = score(Stub(), data, n_bootstrap=0)
    # (a, tie, b): (.3, .4, .3), (.6, .2, .2), (.6, .2, .2)
    assert found.log_loss.value == pytest.approx(-(math.log(0.4) + math.log(0.6) + math.log(0.2)) / 3)
    brier = [0.09 + 0.36 + 0.09, 0.16 + 0.04 + 0.04, 0.36 + 0.04 + 0.64]
    assert found.brier.value == pytest.approx(sum(brier) / 3)
    assert found.accuracy.value == pytest.approx((0.5 + 1 + 0) / 3)
    assert found.log_loss_decided.value == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert found.ece.value == pytest.approx(abs(1 - 1.5) / 2)
    assert (found.ece.n, found.log_loss.n) == (2, 3)
    assert "three" not in found.ties
    assert "knows ties" in found.ties


def test_graded_outcomes_collapse_and_skips_are_conditioned_away() -> None:
    answer = OutcomeProbabilities(
        ("b2", "b1", "both_bad", "tie", "a1", "a2", "skip"), np.array([[0.1, 0.1, 0.05, 0.05, 0.1, 0.1, 0.5]])
    )
    found = score(answer, votes(["both_good"]), n_bootstrap=0)
    assert found.log_loss.value == pytest.approx(-math.log(0.1 / 0.5))
    with pytest.raises(InputError, match="'perhaps'"):
        score(OutcomeProbabilities(("a", "b", "perhaps"), np.ones((1, 3)) / 3), votes(["a"]))
    with pytest.raises(InputError, match="sum to 1"):
        score(OutcomeProbabilities(("a", "b"), np.array([[0.5, 0.4]])), votes(["a"]))


def test_counts_weights_and_soft_labels() -> None:
    data = votes(
        ["a", "b", None, None], count=[3, 1, 1, 2], weight=[1.0, 2.0, 1.0, None], probability=[None, None, 0.7, 0.2]
    )
    p = [0.9, 0.9, 0.9, 0.9]
    found = score(p, data, n_bootstrap=0)
    # weights 3, 2, 1, 2
    assert found.accuracy.value == pytest.approx((3 + 0 + 0.7 + 2 * 0.2) / 8)
    expected = 3 * math.log(0.9) + 2 * math.log(0.1) + (0.7 * math.log(0.9) + 0.3 * math.log(0.1))
    expected += 2 * (0.2 * math.log(0.9) + 0.8 * math.log(0.1))
    assert found.log_loss.value == pytest.approx(-expected / 8)
    assert (found.log_loss.n, found.counts.soft, found.counts.judgments) == (7, 2, 7)


def test_a_soft_label_scores_as_the_vote_shares_it_stands_for() -> None:
    soft = votes([None], probability=[0.6], probability_tie=[0.1])
    shares = votes(["a", "tie", "b"], count=[6, 1, 3])
    one, many = score([0.8], soft, n_bootstrap=0), score([0.8] * 3, shares, n_bootstrap=0)
    for name in FIGURES:
        assert one.figures()[name].value == pytest.approx(many.figures()[name].value), name


def test_every_row_is_accounted_for() -> None:
    data = votes(["a", "skip", None, "tie", "b", "a"], weight=[1.0, 1.0, 1.0, 1.0, 0.0, 1.0])
    found = score([0.7, 0.7, 0.7, 0.7, 0.7, float("nan")], data, n_bootstrap=0)
    counts = found.counts
    assert (counts.rows, counts.scored, counts.skipped, counts.unjudged, counts.weightless, counts.unanswered) == (
        6, 2, 1, 1, 1, 1,
    )  # fmt: skip
    assert any("no prediction" in note for note in found.notes)
    assert any("1: not answered by the model" in line for line in found.lines())


def test_a_model_does_not_see_the_answers() -> None:
    model = Stub()
    score(model, votes(["a", "b"], p=[0.6, 0.6], rationale=["because", "so"], strength=[1, 2]), n_bootstrap=0)
    assert not {"outcome", "rationale", "strength"}.intersection(model.seen)


def test_impossible_events_make_the_loss_infinite_and_say_so() -> None:
    found = score([0.0, 0.5], votes(["a", "a"]), n_bootstrap=10)
    assert found.log_loss.value is None
    assert "probability 0" in (found.log_loss.reason or "")
    assert found.brier.value == pytest.approx((1 + 0.25) / 2)
    certain = score([1.0, 0.0], votes(["a", "b"]), n_bootstrap=10)
    assert certain.log_loss.value == 0.0
    assert certain.auc.value == 1.0
    assert certain.auc.low is None


def test_perfect_accuracy_keeps_an_honest_interval() -> None:
    found = score([0.9] * 10, votes(["a"] * 10), n_bootstrap=200)
    # Wilson, 10 of 10: n / (n + z^2)
    assert found.accuracy.value == 1.0
    assert found.accuracy.low == pytest.approx(10 / (10 + 1.959964**2), abs=1e-6)


def test_no_decided_comparison_is_said() -> None:
    found = score([0.3, 0.7], votes(["tie", "both_good"]), n_bootstrap=20)
    assert found.accuracy.value == 0.5
    for name in ("auc", "log_loss_decided"):
        assert found.figures()[name].value is None
        assert "no decided comparison" in (found.figures()[name].reason or "")
    nothing = score([0.3, 0.7], votes(["skip", None]), n_bootstrap=20)
    assert nothing.accuracy.value is None
    assert "not computable because no judgment" in nothing.accuracy.text()


@pytest.mark.parametrize(
    ("predictions", "problem"),
    [([0.5], "2 comparisons"), ([0.5, 1.2], "outside"), (["much", "little"], "neither a preference model")],
)
def test_bad_predictions_are_refused(predictions: list[object], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        score(predictions, votes(["a", "b"]))  # type: ignore[arg-type]


def test_bad_labels_and_empty_data_are_refused() -> None:
    with pytest.raises(InputError, match=r"comparisons\.probability"):
        score([0.5, 0.5], votes([None, None], probability=[0.2, 1.4]))
    with pytest.raises(InputError, match=r"comparisons\.weight"):
        score([0.5, 0.5], votes(["a", "b"], weight=[1.0, -1.0]))
    with pytest.raises(InputError, match="no comparisons"):
        score([], PreferenceData())


def test_by_any_column_of_any_table() -> None:
    annotators = pl.DataFrame({"annotator_id": ["u", "v"], "group": ["north", None]})
    data = votes(["a", "b", "a"], {"annotators": annotators}, annotator_id=["u", "u", "v"], confidence=[0.1, 0.2, 0.3])
    found = score([0.8, 0.8, 0.3], data, by=["group", "annotator_id"], n_bootstrap=20)
    assert found.by["group"]["north"]["accuracy"].value == 0.5
    assert found.by["group"]["(not recorded)"]["accuracy"].value == 0.0
    assert found.by["annotator_id"]["u"]["log_loss"].value == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2)
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert set(document["by"]["group"]["north"]["accuracy"]) >= {"value", "low", "high", "n"}
    with pytest.raises(InputError, match="no column"):
        score([0.8, 0.8, 0.3], data, by="colour")


def test_clusters_without_decided_judgments_do_not_break_the_intervals() -> None:
    outcomes: list[str | None] = ["tie"] * 6 + ["a", "b"]
    data = votes(outcomes, p=[0.6] * 8, p_tie=[0.2] * 8, annotator_id=list("uuvvwwxx"))
    found = score(Stub(), data, n_bootstrap=200)
    # of four people only one decided: a third of the resamples does not hold that person
    for name in ("ece", "auc", "brier_decided"):
        figure = found.figures()[name]
        assert figure.value is not None and figure.low is None
        assert "too few clusters" in (figure.reason or ""), name
    assert found.log_loss.low is not None


def test_default_clusters_are_prompts_then_annotators_then_rows() -> None:
    outcomes, p = ["a", "b", "a", "b"], [0.7] * 4
    both = votes(outcomes, prompt_id=["p", "p", "q", "q"], annotator_id=["u", "v", "w", "w"])
    assert (score(p, both, n_bootstrap=9).clustered_by, score(p, both, n_bootstrap=9).n_clusters) == ("prompt_id", 2)
    assert score(p, both, cluster="annotator", n_bootstrap=9).n_clusters == 3
    assert score(p, both, cluster="rows", n_bootstrap=9).n_clusters == 4
    people = votes(outcomes, annotator_id=["u", "v", None, None])
    found = score(p, people, n_bootstrap=9)
    assert (found.clustered_by, found.n_clusters) == ("annotator_id", 4)
    assert any("2 rows have no annotator_id" in note for note in found.notes)
    assert score(p, votes(outcomes), n_bootstrap=9).clustered_by == "rows"
    lonely = score(p, people, cluster="source", n_bootstrap=9)
    assert lonely.n_clusters == 4
    single = score(p, votes(outcomes, annotator_id=["u"] * 4), cluster="annotator", n_bootstrap=9)
    assert single.accuracy.low is None
    assert "one annotator" in (single.accuracy.reason or "")


def test_clusters_widen_intervals() -> None:
    rng = np.random.default_rng(5)
    right = np.repeat(rng.random(40) < 0.7, 25)
    data = votes(["a" if r else "b" for r in right], annotator_id=[f"u{i // 25:02d}" for i in range(1000)])
    by_row = score([0.8] * 1000, data, cluster="rows", n_bootstrap=4000).accuracy
    by_person = score([0.8] * 1000, data, n_bootstrap=4000).accuracy
    assert by_row.high is not None and by_row.low is not None
    assert by_person.high is not None and by_person.low is not None
    # identical answers within people: the design effect is 25, the width five times as large, and 4.5 % more for
    # 40 clusters
    assert (by_person.high - by_person.low) / (by_row.high - by_row.low) == pytest.approx(5 * 1.045, rel=0.1)


def test_training_rows_are_refused_unless_allowed() -> None:
    from preflearn.data.fingerprints import row_fingerprints

    data = votes(["a", "b", "a"], p=[0.6, 0.6, 0.6], annotator_id=["u", "v", "w"], time=["2024-01-01T00:00:00Z"] * 3)
    model = Stub(row_fingerprints(data)[[1]])
    with pytest.raises(InputError, match="1 of 3 judged comparisons were in the training data"):
        score(model, data)
    found = score(model, data, allow_overlap=True, n_bootstrap=9)
    assert found.counts.overlap == 1
    assert any("training figures" in note for note in found.notes)
    assert score(Stub(row_fingerprints(data)[:0]), data, n_bootstrap=9).counts.overlap == 0
    assert score(Stub(), data, n_bootstrap=9).counts.overlap is None


# -- properties --------------------------------------------------------------------------------------------------------

row = st.tuples(
    st.sampled_from(["a", "b", "tie", "both_bad", "skip"]),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.6, 0.9, 1.0]) | st.floats(0.01, 0.99),
    st.integers(1, 3),
    st.sampled_from(["u", "v", "w"]),
)


def _values(found: object) -> dict[str, float | None]:
    return {name: figure.value for name, figure in found.figures().items()}  # type: ignore[attr-defined]


@settings(max_examples=25, deadline=None)
@given(st.lists(row, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_nothing_depends_on_sides_or_order(rows: list[tuple[str, float, int, str]], random: object) -> None:
    outcomes, p, counts, people = (list(column) for column in zip(*rows, strict=True))
    data = votes(outcomes, count=counts, annotator_id=people)
    plain = score(p, data, n_bootstrap=20)

    exchange = np.array([random.random() < 0.5 for _ in rows])  # type: ignore[attr-defined]
    mirrored = np.where(exchange, 1 - np.array(p), p)
    turned = score(mirrored, swapped(data, exchange), n_bootstrap=20)
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    moved = score(np.array(p)[order], data.replace(comparisons=data.comparisons[order]), n_bootstrap=20)
    for other in (turned, moved):
        for name, figure in plain.figures().items():
            same = other.figures()[name]
            assert figure.n == same.n and figure.reason == same.reason, name
            for end in ("value", "low", "high"):
                assert getattr(figure, end) == pytest.approx(getattr(same, end), abs=1e-9), (name, end)


@settings(max_examples=25, deadline=None)
@given(st.lists(row, min_size=1, max_size=15))
def test_a_count_is_so_many_rows(rows: list[tuple[str, float, int, str]]) -> None:
    outcomes, p, counts, people = (list(column) for column in zip(*rows, strict=True))
    index = np.repeat(np.arange(len(rows)), counts)
    counted = score(p, votes(outcomes, count=counts, annotator_id=people), cluster="annotator", n_bootstrap=20)
    repeated = score(
        np.array(p)[index],
        votes([outcomes[i] for i in index], annotator_id=[people[i] for i in index]),
        cluster="annotator",
        n_bootstrap=20,
    )
    for name, figure in counted.figures().items():
        same = repeated.figures()[name]
        assert figure.n == same.n
        if name != "ece":  # the number of bins follows the rows
            assert figure.value == pytest.approx(same.value, abs=1e-9), name
            assert figure.low == pytest.approx(same.low, abs=1e-9), name


def test_seeds_decide_the_resamples() -> None:
    rng = np.random.default_rng(0)
    data = votes(list(rng.choice(["a", "b"], 60)))
    p = rng.random(60)
    first, again, other = (score(p, data, n_bootstrap=100, seed=s).as_dict() for s in (1, 1, 2))
    assert first == again
    assert first["brier"]["low"] != other["brier"]["low"]
    assert first["brier"]["value"] == other["brier"]["value"]


@pytest.mark.slow
def test_clustered_intervals_cover() -> None:
    """60 people whose tastes differ from the model's: nominal 95 % intervals cover the population figure."""
    rng = np.random.default_rng(11)
    names = ("accuracy", "log_loss", "brier", "auc")

    def sample(people: int, each: int) -> tuple[PreferenceData, np.ndarray]:
        x = rng.normal(size=people * each)
        taste = np.repeat(1 + 0.8 * rng.normal(size=people), each)
        won = rng.random(people * each) < 1 / (1 + np.exp(-taste * x))
        who = np.repeat(np.arange(people), each).astype(str)
        return votes(list(np.where(won, "a", "b")), annotator_id=list(who)), 1 / (1 + np.exp(-x))

    data, p = sample(20_000, 20)
    truth = _values(score(p, data, n_bootstrap=0))
    hits = {(cluster, name): 0 for cluster in ("annotator", "rows") for name in names}
    for seed in range(300):
        data, p = sample(60, 40)
        for cluster in ("annotator", "rows"):
            found = score(p, data, cluster=cluster, n_bootstrap=300, seed=seed).figures()
            for name in names:
                figure = found[name]
                assert figure.low is not None and figure.high is not None
                hits[cluster, name] += figure.low <= truth[name] <= figure.high
    for name in names:
        # 4-sigma band around .94 (percentile intervals of 60 clusters are a little short) for 300 repetitions
        assert 0.885 <= hits["annotator", name] / 300 <= 0.99, hits
        assert hits["rows", name] < hits["annotator", name] - 15, hits
