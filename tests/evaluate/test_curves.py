"""Curves over new annotators, label budgets and added flips: what is learned from, what is predicted, what is said."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.data import PreferenceData
from preflearn.data.split_both import hold_out
from preflearn.errors import InputError, NotComputable, NotSupported
from preflearn.evaluate import budget_curve, compare_held_out, flip_curve, flipped, new_annotator_curve, score
from preflearn.evaluate.intervals import quantile_t
from tests.evaluate.makers import Stub, Tastes, planted, votes


class Slope(Tastes):
    """P(a) = sigma(beta x) for everybody, beta by a crude fit to decided answers."""

    def fit(self, data: PreferenceData) -> Slope:
        frame = data.comparisons.filter(pl.col("outcome").is_in(["a", "b"]))
        if not frame.height:
            raise NotComputable("nothing is decided")
        x, y = frame["x"].to_numpy(), (frame["outcome"] == "a").to_numpy() - 0.5
        self.beta = 4 * float(x @ y) / float(x @ x)
        return self

    def prob(self, data: PreferenceData, *, symmetrised: bool = False) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-self.beta * data.comparisons["x"].to_numpy())))

    def adapt(self, labelled: PreferenceData) -> Tastes:
        raise NotSupported("everyone alike")


# -- new annotators --------------------------------------------------------------------------------------------------


def test_what_is_learned_and_what_is_predicted() -> None:
    data, _ = planted(1, people=20, prompts=60, each=30)
    model = Tastes(1.5)
    found = new_annotator_curve(model, data, (0, 2, 10), held_out=5, repeats=2)
    assert [point.labels for point in found.points] == [0, 2, 10]
    assert (found.annotators, found.left_out, found.held_out) == (20, 0, 400)
    # one call for everybody per size and repeat
    sizes = [labelled.comparisons.height for labelled in model.adaptations]
    assert sizes == [0, 40, 200] * 2
    for labelled in model.adaptations:
        assert set(labelled.annotators["annotator_id"]) == set(data.annotators["annotator_id"])
        counts = labelled.comparisons["annotator_id"].cast(pl.String).value_counts()["count"].unique().to_list()
        assert len(counts) <= 1
    small, large = (set(model.adaptations[k].comparisons["comparison_id"]) for k in (1, 2))
    assert small < large
    assert large != set(model.adaptations[5].comparisons["comparison_id"])


def test_the_curve_is_the_mean_over_annotators_of_bayes_by_hand() -> None:
    data, _ = planted(2, people=12, prompts=60, each=30)
    model = Tastes(1.5)
    found = new_annotator_curve(model, data, (0, 5))
    labelled = model.adaptations[-1]
    pool = set(labelled.comparisons["comparison_id"])
    adapted = Tastes(1.5).adapt(labelled)
    accuracies, gains = [], []
    for who in data.annotators["annotator_id"]:
        own = data.where("comparisons", pl.col("annotator_id").cast(pl.String) == who)
        rest = own.where("comparisons", ~pl.col("comparison_id").is_in(pool))
        after, before = (score(m.prob(rest), rest, n_bootstrap=0) for m in (adapted, Tastes(1.5)))
        accuracies.append(after.accuracy.value)
        gains.append(after.log_loss.value - before.log_loss.value)
    point = found.points[1]
    assert point.accuracy.value == pytest.approx(np.mean(accuracies))
    half = quantile_t(0.95, 11) * np.std(accuracies, ddof=1) / math.sqrt(12)
    assert point.accuracy.low == pytest.approx(np.mean(accuracies) - half)
    assert point.log_loss_gain.value == pytest.approx(np.mean(gains))
    half = quantile_t(0.95, 11) * np.std(gains, ddof=1) / math.sqrt(12)
    assert point.log_loss_gain.high == pytest.approx(np.mean(gains) + half)
    assert found.points[0].log_loss.value == pytest.approx(math.log(2))


def test_the_lead_over_another_model_is_paired_by_annotator() -> None:
    data, _ = planted(6, people=15, prompts=60, each=30)
    model, other = Tastes(1.5), Tastes(belief={"else": 0.5})
    found = new_annotator_curve(model, data, (0, 10), against=other)
    alone, rival = new_annotator_curve(Tastes(1.5), data, (0, 10)), new_annotator_curve(other, data, (0, 10))
    for k, point in enumerate(found.points):
        assert point.accuracy == alone.points[k].accuracy and point.log_loss == alone.points[k].log_loss
        for key in ("accuracy", "log_loss"):
            lead = getattr(point, f"{key}_lead")
            assert lead.value == pytest.approx(getattr(point, key).value - getattr(rival.points[0], key).value)
    # without labels the lead is what a gain would be, had the other model been the beginning
    gain, lead = found.points[1].log_loss_gain, found.points[1].log_loss_lead
    assert lead.value - found.points[0].log_loss_lead.value == pytest.approx(gain.value)
    assert alone.points[1].log_loss_lead is None and "log_loss_lead" not in alone.table().columns
    assert found.table()["log_loss_lead"][1] == pytest.approx(lead.value)


def test_twenty_labels_recover_what_a_known_annotator_gets() -> None:
    data, p = planted(3, people=60, prompts=80, each=60, strength=2.0)
    found = new_annotator_curve(Tastes(2.0), data, repeats=2)
    known = float(np.maximum(p, 1 - p).mean())
    gains = [point.accuracy.value - 0.5 for point in found.points]
    assert gains[-1] > 0.95 * (known - 0.5)
    assert all(later > earlier - 0.01 for earlier, later in pairwise(gains))
    assert found.points[-1].log_loss_gain.high < -0.1


def test_a_model_that_does_not_adapt_gives_a_flat_line() -> None:
    data, p = planted(4)
    data = data.replace(comparisons=data.comparisons.with_columns(p=p))
    for model in (Stub(), Slope().fit(data)):
        found = new_annotator_curve(model, data, (0, 5))  # type: ignore[arg-type]
        assert not found.adapts
        assert found.points[0].accuracy == found.points[1].accuracy
        assert found.points[1].accuracy_gain.value == 0.0 and found.points[1].accuracy_gain.low is None
        assert any("flat by design" in note for note in found.notes)
        assert any("0.0" in line or "+0.000 [?]" in line for line in found.lines())


def test_known_annotators_and_trained_rows_are_refused() -> None:
    from preflearn.data.fingerprints import row_fingerprints

    data, _ = planted(5, people=8)
    with pytest.raises(InputError, match="2 annotators of the data were in the training data"):
        new_annotator_curve(Tastes(belief={"u001": 1.0, "u002": 0.9, "else": 1.0}), data, (0, 5))
    allowed = new_annotator_curve(Tastes(belief={"u001": 1.0}), data, (0, 5), allow_overlap=True)
    assert any("not new to the model" in note for note in allowed.notes)
    model = Tastes()
    model.training_fingerprints_ = row_fingerprints(data)[:3]  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="training data of the model"):
        new_annotator_curve(model, data, (0, 5))
    with pytest.raises(InputError, match="no annotator has 500 judgments for labels and 5 more"):
        new_annotator_curve(Tastes(), data, (0, 500))
    with pytest.raises(InputError, match="numbers of labels"):
        new_annotator_curve(Tastes(), data, (-1,))
    with pytest.raises(InputError, match="no annotator"):
        new_annotator_curve(Tastes(), votes(["a"], x=[1.0]))


def test_people_with_few_judgments_are_left_out_and_repeats_of_a_pair_stay_together() -> None:
    data, _ = planted(6, people=6, prompts=30, each=20)
    frame = data.comparisons
    again = frame.filter(pl.col("annotator_id").cast(pl.String) == "u003").with_columns(
        comparison_id=pl.col("comparison_id") + "again"
    )
    short = frame.filter(pl.col("annotator_id").cast(pl.String) != "u005")
    few = frame.filter(pl.col("annotator_id").cast(pl.String) == "u005").head(9)
    data = data.replace(comparisons=pl.concat([short, few, again]))
    model = Tastes()
    found = new_annotator_curve(model, data, (0, 5), held_out=5)
    assert (found.annotators, found.left_out) == (5, 1)
    assert found.held_out == 4 * 15 + 34  # 5 labels of the repeater are 3 pairs, both judgments of each
    labelled = model.adaptations[-1].comparisons
    assert labelled.height == 25
    pairs = labelled.filter(pl.col("annotator_id").cast(pl.String) == "u003")["prompt_id"].n_unique()
    assert pairs == 3


def test_other_judgments_do_not_leak_into_adaptation() -> None:
    data, _ = planted(7, people=6)
    data = data.replace(
        ratings=pl.DataFrame({"rating_id": ["r"], "response_id": ["x1"], "annotator_id": ["u001"], "value": [1.0]})
    )
    model = Tastes()
    new_annotator_curve(model, data, (0, 5))
    assert all(not labelled.height("ratings") for labelled in model.adaptations)


def test_the_curve_does_not_depend_on_the_order_of_rows_and_is_plain_data() -> None:
    data, _ = planted(8, people=10)
    found = new_annotator_curve(Tastes(), data, (1, 4), seed=3)
    order = np.random.default_rng(0).permutation(data.comparisons.height)
    moved = new_annotator_curve(Tastes(), data.replace(comparisons=data.comparisons[order]), (1, 4), seed=3)
    assert json.dumps(found.as_dict(), allow_nan=False) == json.dumps(moved.as_dict())
    table = found.table()
    assert table["labels"].to_list() == [0, 1, 4]
    assert table["accuracy_gain"][0] == 0.0
    other = new_annotator_curve(Tastes(), data, (1, 4), seed=4)
    assert other.points[1].accuracy.value != found.points[1].accuracy.value


# -- label budgets and flips -----------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "tie", "skip", None]), min_size=1, max_size=40),
    st.floats(0, 1),
    st.integers(0, 5),
)
def test_flips_are_exact_nested_and_touch_decided_rows_only(outcomes: list[str | None], rate: float, seed: int) -> None:
    data = votes(outcomes)
    found = flipped(data, rate, seed)
    decided = np.array([outcome in ("a", "b") for outcome in outcomes])
    assert found.rows.sum() == round(rate * decided.sum())
    assert not (found.rows & ~decided).any()
    other: dict[str | None, str] = {"a": "b", "b": "a"}
    expected = [other[o] if f else o for o, f in zip(outcomes, found.rows, strict=True)]
    assert found.data.comparisons["outcome"].to_list() == expected
    assert data.comparisons["outcome"].to_list() == outcomes
    assert found.rows[flipped(data, rate / 2, seed).rows].all()
    order = np.random.default_rng(seed).permutation(len(outcomes))
    moved = flipped(data.replace(comparisons=data.comparisons[order]), rate, seed)
    assert (moved.rows == found.rows[order]).all()


def test_flips_shrink_what_is_learned() -> None:
    train, _ = planted(9, people=40, minority=0.0)
    test, _ = planted(10, people=40, minority=0.0)
    found = flip_curve(lambda data: Slope().fit(data), train, test, (0.2, 0.0, 0.5), n_bootstrap=100)
    assert [point.setting for point in found.points] == [0.0, 0.2, 0.5]
    assert [point.labels for point in found.points] == [0, 320, 800]
    assert not found.points[0].differences
    # half of the labels flipped leave nothing: the slope is about 0, the loss log 2
    assert found.points[2].figures["log_loss"].value == pytest.approx(math.log(2), abs=0.01)
    assert found.points[2].differences["log_loss"].low > 0
    assert found.reference == 0.0
    assert any("50% (800)" in line for line in found.lines())
    with pytest.raises(InputError, match="share of flipped"):
        flip_curve(lambda data: Slope().fit(data), train, test, (0.0, 1.5))


@pytest.mark.parametrize("by", ["annotator", "prompt", "rows"])
def test_budgets_are_nested_and_spent_on_whole_units(by: Any) -> None:
    train, _ = planted(11, people=20, prompts=40, each=30)
    test, _ = planted(12, people=10)
    seen: list[PreferenceData] = []

    def fit(data: PreferenceData) -> Slope:
        seen.append(data)
        return Slope().fit(data)

    found = budget_curve(fit, train, test, [300, 45, 600], by=by, n_bootstrap=50)
    ids = [set(data.comparisons["comparison_id"]) for data in seen]
    assert ids[0] < ids[1] < ids[2]
    assert [point.labels for point in found.points] == [len(one) for one in ids]
    assert found.points[2].labels == 600 and found.reference == 600
    if by == "rows":
        assert found.points[0].labels == 45
    if by == "annotator":
        assert found.points[0].labels in (30, 60)
        counts = seen[1].comparisons["annotator_id"].value_counts()["count"]
        assert counts.unique().to_list() == [30]
        assert seen[1].height("annotators") == counts.len() == found.points[1].units
    assert found.table().height == 3
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_fit_that_fails_is_a_point_with_a_reason() -> None:
    train = votes(["tie"] * 5 + ["a", "b"] * 20, x=[1.0] * 45, annotator_id=["u"] * 5 + ["v"] * 40)
    test, _ = planted(13, people=5)

    def fit(data: PreferenceData) -> Slope:
        if data.comparisons.height < 40:
            raise NotComputable("nothing is decided")
        return Slope().fit(data)

    found = budget_curve(fit, train, test, [4, 45], n_bootstrap=0, seed=1, by="rows")
    assert found.points[0].reason == "nothing is decided" and not found.points[0].figures
    assert any("4 labels: not fitted because nothing is decided" in line for line in found.lines())
    with pytest.raises(InputError, match="no fit succeeded"):
        budget_curve(fit, train, test, [4], n_bootstrap=0, by="rows")
    with pytest.raises(InputError, match="from 1 to the 45"):
        budget_curve(fit, train, test, [0, 20])
    beyond = budget_curve(fit, train, test, [45, 900], n_bootstrap=0, by="rows")
    assert [point.labels for point in beyond.points] == [45]
    assert any("larger budgets take all" in note for note in beyond.notes)
    with pytest.raises(InputError, match="no budget is spent by"):
        budget_curve(fit, train, test, [4], by="colour")  # type: ignore[arg-type]


# -- the default split -----------------------------------------------------------------------------------------------


def test_models_on_every_quadrant() -> None:
    data, _ = planted(14, people=40, prompts=60, each=50)
    held = hold_out(data, seed=2)
    found = compare_held_out({"slope": Slope().fit(held.train), "half": Tastes()}, held, n_bootstrap=50)
    assert list(found.quadrants) == ["new_both", "new_prompt", "new_annotator", "known"]
    for name, one in found.quadrants.items():
        assert one.judgments == held.rows[name]
    assert found.strictest is found.quadrants["new_both"]
    assert found.table()["quadrant"].to_list() == [name for name in found.quadrants for _ in range(2)]
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert document["split"]["rows"]["train"] == held.train.height("comparisons")
    assert any("in full: prompts and annotators unseen" in line for line in found.lines())
