"""`describe`: figures worked out by hand, every kind of data set, and what may not matter."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.data import PreferenceData, read
from preflearn.errors import InputError
from preflearn.evaluate import Description, describe
from preflearn.evaluate.codes import Codes
from preflearn.evaluate.describe_comparisons import Question
from preflearn.evaluate.questions import SHOWN
from tests.evaluate.makers import swapped, votes

QUICK: dict[str, Any] = {"n_bootstrap": 50}


def _only(found: Description) -> Question:
    assert found.comparisons is not None
    (question,) = found.comparisons.questions
    return question


def test_a_small_arena_by_hand() -> None:
    data = votes(
        ["a", "a", "tie", "b", "both_bad", "skip", None],
        response_a=["x", "x", "y", "x", "x", "x", "y"],
        response_b=["y", "y", "x", "z", "y", "y", "z"],
        annotator_id=["u", "v", "w", "u", "u", "v", "w"],
        count=[1, 1, 1, 1, 2, 1, 1],
    ).completed()
    found = describe(data, **QUICK)
    assert found.comparisons is not None
    assert (found.comparisons.rows, found.comparisons.judgments) == (7, 8)
    assert found.comparisons.outcomes == {"a": 2, "b": 1, "tie": 1, "both_bad": 2, "skip": 1, "unjudged": 1}
    per = found.comparisons.per
    assert (per["annotator"].n, per["annotator"].max, per["annotator"].median) == (3, 4, 1)
    assert (per["pair"].n, per["pair"].min, per["pair"].max) == (2, 1, 5)
    assert per["prompt"].n == 0
    question = _only(found)
    assert question.ties.value == pytest.approx(3 / 6)
    assert question.clustered_by == "annotator"
    assert (question.overlap.items, question.overlap.shared) == (2, 1)
    # about x against y: u says x once and both bad twice, v says x, w says tie: shares (1/3, 2/3), (1, 0), (0, 1)
    assert question.agreement.observed.value == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)
    assert question.agreement.self_agreement.value == pytest.approx(1 / 3)
    graph = question.connectivity
    assert graph is not None
    assert (graph.among, graph.items, graph.pairs, graph.possible_pairs) == ("systems", 3, 2, 3)
    assert (graph.components, graph.strong_components, graph.strongly_connected) == (1, 2, False)
    assert (graph.undefeated, graph.winless) == (("z",), ())
    assert any("undefeated: z" in line for line in found.lines())


def test_components_and_soft_edges() -> None:
    data = votes(
        [None, "a", "a", None],
        response_a=["x", "p", "q", "x"],
        response_b=["y", "q", "p", "y"],
        probability=[0.7, None, None, 1.0],
    )
    graph = _only(describe(data, **QUICK)).connectivity
    assert graph is not None
    assert graph.among == "responses"
    assert (graph.components, graph.largest_component, graph.strong_components) == (2, 2, 2)
    certain = votes([None, None], probability=[1.0, 0.0], response_b=["y", "z"])
    graph = _only(describe(certain, **QUICK)).connectivity
    assert graph is not None
    assert (graph.undefeated, graph.winless) == (("z",), ("y",))


def test_position_and_length_by_hand() -> None:
    texts = pl.DataFrame({"response_id": ["x", "y"], "messages": ["long answer", "short"]})
    data = votes(
        ["a", "a", "b", "a", "tie"],
        {"responses": texts},
        shown_first=["a", "b", "b", "a", "a"],
    )
    question = _only(describe(data, **QUICK))
    assert question.clustered_by == "judgment"
    assert (question.position.first_won.value, question.position.first_won.n) == (0.75, 4)
    assert question.position.logit.value == pytest.approx(math.log(3))
    low = question.position.first_won.low
    assert low is not None
    assert question.position.logit.low == pytest.approx(math.log(low / (1 - low)))
    assert (question.length.longer_won.value, question.length.longer_won.n) == (0.75, 4)
    assert question.length.standard_deviation == pytest.approx(6)
    assert question.length.slope.value == pytest.approx(math.log(3))
    nothing = _only(describe(votes(["a"]), **QUICK))
    assert nothing.position.first_won.reason == "shown_first is not recorded"
    assert nothing.length.slope.reason == "the responses have no texts"
    always = _only(describe(votes(["a", "b"], shown_first=["a", "b"]), **QUICK)).position
    assert always.first_won.value == 1.0
    assert "infinite" in (always.logit.reason or "")


def test_questions_are_not_pooled() -> None:
    annotators = pl.DataFrame({"annotator_id": ["u", "v", "gpt"], "kind": ["person", "person", "judge"]})
    data = votes(
        ["a", "a", "b", "b", "a"],
        {"annotators": annotators},
        annotator_id=["u", "v", "gpt", "u", "v"],
        criterion_id=["help", "help", "help", "harm", "harm"],
    )
    found = describe(data, **QUICK)
    assert found.comparisons is not None
    by = {(q.criterion, q.answered_by): q for q in found.comparisons.questions}
    assert by["help", "person"].agreement.observed.value == 1.0
    assert by["harm", "person"].agreement.observed.value == 0.0
    assert by["help", "judge"].overlap.shared == 0
    assert found.comparisons.per["criterion"].n == 2
    assert sum(q.judgments for q in found.comparisons.questions) == 5
    many = votes(["a"] * (SHOWN + 5), criterion_id=[f"k{i}" for i in range(SHOWN + 5)])
    rest = describe(many, **QUICK)
    assert rest.comparisons is not None
    assert (len(rest.comparisons.questions), rest.comparisons.further_questions) == (SHOWN, (5, 5))
    assert any("5 further questions" in line for line in rest.lines())


def test_a_response_against_itself_is_counted_apart() -> None:
    data = votes(["a", "b", "tie"], response_b=["x", "y", "x"], annotator_id=["u", "v", "w"])
    found = describe(data, **QUICK)
    question = _only(found)
    assert (question.against_itself, question.overlap.items) == (2, 1)
    assert question.connectivity is not None and question.connectivity.items == 2
    assert any("against itself: 2" in line for line in found.lines())


def test_contexts_are_different_items() -> None:
    data = votes(["a", "b"], annotator_id=["u", "v"], context=["as a child", "as a judge"])
    assert _only(describe(data, **QUICK)).overlap.shared == 0


def test_what_intervals_treat_as_one() -> None:
    n = 40
    outcomes: list[str | None] = ["a", "b"] * (n // 2)

    def by(annotators: int, prompts: int) -> str:
        who, about = [f"u{i % annotators}" for i in range(n)], [f"p{i % prompts}" for i in range(n)]
        return _only(describe(votes(outcomes, annotator_id=who, prompt_id=about), **QUICK)).clustered_by

    assert [by(10, 20), by(2, 20), by(9, 9), by(2, 9), by(1, 1)] == [
        "annotator", "prompt", "annotator", "judgment", "judgment",
    ]  # fmt: skip


def test_people() -> None:
    annotators = pl.DataFrame(
        {"annotator_id": ["u", "v", "idle"], "kind": ["person", "judge", "person"], "language": ["de", None, None]}
    )
    ratings = pl.DataFrame({"rating_id": ["1"], "response_id": ["x"], "value": [1.0], "annotator_id": ["u"]})
    data = votes(["a", "b", "a"], {"annotators": annotators, "ratings": ratings}, annotator_id=["u", "stranger", None])
    people = describe(data, **QUICK).people
    assert people is not None
    assert (people.recorded, people.active, people.judgments, people.anonymous) == (3, 2, 3, 1)
    assert {k: (s.annotators, s.judgments) for k, s in people.traits["kind"].items()} == {
        "person": (2, 2), "(not recorded)": (1, 1), "judge": (1, 0),
    }  # fmt: skip
    assert people.traits["language"]["de"].judgments == 2
    assert people.busiest_tenth == pytest.approx(2 / 3)


def test_ratings_by_hand() -> None:
    ratings = pl.DataFrame(
        {
            "rating_id": [str(i) for i in range(7)],
            "response_id": ["x", "x", "y", "y", "x", "y", "x"],
            "value": [1.0, 2.0, 4.0, 4.0, None, None, None],
            "label": [None, None, None, None, "good", "bad", None],
            "count": [1, 1, 1, 1, 3, 1, 1],
            "annotator_id": ["u", "v", "u", "v", None, None, None],
            "criterion_id": ["k"] * 7,
        }
    )
    found = describe(PreferenceData(ratings=ratings), **QUICK)
    assert found.ratings is not None and found.comparisons is None
    (question,) = found.ratings.questions
    assert (question.judgments, question.unjudged, question.items, question.shared) == (9, 1, 2, 2)
    assert question.value.value == pytest.approx(2.75)
    assert question.histogram == {"1": 1, "2": 1, "4": 2}
    assert question.labels == {"good": 3, "bad": 1}
    # squared distances: within x 1, within y 0; over all ordered pairs of (1, 2, 4, 4)
    observed, expected = 2 * 1 / 4, 2 * (1 + 9 + 9 + 4 + 4 + 0) / 12
    assert question.alpha_interval.value == pytest.approx(1 - observed / expected)
    # x: three people say good (one row), y: one person
    assert "one answer" in (question.alpha_nominal.reason or "")


def test_means_of_several_people_have_no_agreement() -> None:
    ratings = pl.DataFrame(
        {
            "rating_id": ["1", "2"],
            "response_id": ["x", "x"],
            "value": [3.1, 2.9],
            "spread": [0.4, 0.5],
            "count": [25, 25],
        }
    )
    found = describe(PreferenceData(ratings=ratings), **QUICK).ratings
    assert found is not None
    assert "means of several people" in (found.questions[0].alpha_interval.reason or "")
    assert found.questions[0].means_of_several == 2


def test_rankings_and_signals() -> None:
    rankings = pl.DataFrame(
        {
            "ranking_id": ["1", "2"],
            "responses": [["x", "y", "z"], ["x", "y"]],
            "ranks": [[1, 1, None], [2, 1]],
            "kind": ["partial", "full"],
            "count": [3, 1],
        }
    )
    signals = pl.DataFrame(
        {
            "signal_id": ["1", "2", "3"],
            "response_id": ["x", "x", "y"],
            "kind": ["click", "exposure", "exposure"],
            "propensity": [None, 0.5, 0.5],
        }
    )
    found = describe(PreferenceData(rankings=rankings, signals=signals), **QUICK)
    assert found.rankings is not None and found.signals is not None
    (question,) = found.rankings.questions
    assert (question.judgments, question.kinds, question.unranked) == (4, {"partial": 3, "full": 1}, 3)
    assert question.tied.value == pytest.approx(0.75)
    assert question.incomplete.value == pytest.approx(0.75)
    assert (question.sizes.min, question.sizes.max) == (2, 3)
    exposure = found.signals.kinds[0]
    assert (exposure.kind, exposure.rows, exposure.responses, exposure.with_propensity) == ("exposure", 2, 2, 2)


KINDS = {
    "empty": PreferenceData(),
    "one row": votes(["a"]),
    "unjudged": votes([None, None]),
    "only skips": votes(["skip"]),
    "only ties": votes(["tie", "both_good"], annotator_id=["u", "v"]),
    "against itself": votes(["a"], response_b=["x"]),
    "only prompts": PreferenceData(prompts=pl.DataFrame({"prompt_id": ["p"]})),
    "only annotators": PreferenceData(annotators=pl.DataFrame({"annotator_id": ["u"], "kind": ["person"]})),
    "only ratings": PreferenceData(ratings=pl.DataFrame({"rating_id": ["1"], "response_id": ["x"]})),
    "only signals": PreferenceData(signals=pl.DataFrame({"signal_id": ["1"], "response_id": ["x"]})),
    "only rankings": PreferenceData(rankings=pl.DataFrame({"ranking_id": ["1"], "responses": [["x"]], "ranks": [[1]]})),
    "from disk": PreferenceData(comparisons=votes(["a", "b"]).comparisons.lazy()),
}


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS.keys())
def test_every_kind_of_data_set(data: PreferenceData) -> None:
    found = describe(data, **QUICK)
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert document["tables"] == data.counts()
    assert found.lines() and all(isinstance(line, str) and "nan" not in line for line in found.lines())


def test_imports_are_reported_and_levels_checked(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text("system_a,system_b,outcome\nx,y,a\ny,x,perhaps\n")
    found = describe(read(tmp_path / "votes.csv"), **QUICK)
    assert found.imports is not None
    assert (found.imports["read"], found.imports["kept"]) == (2, 1)
    assert any("rejected 1" in line for line in found.lines())
    with pytest.raises(InputError, match="between 0 and 1"):
        describe(PreferenceData(), level=95)


def test_codes_are_shared_and_survive() -> None:
    codes = Codes()
    frame = pl.DataFrame({"a": ["x", "y", None], "b": ["z", "x", "y"]})
    coded = [frame.lazy().select(codes.of(column).alias("c")).collect()["c"] for column in ("a", "b")]
    assert coded[0][0] == coded[1][1] and coded[0][1] == coded[1][2]
    assert coded[0][2] is None
    assert codes.names(coded[1]).to_list() == ["z", "x", "y"]


# -- properties --------------------------------------------------------------------------------------------------------

row = st.tuples(
    st.sampled_from(["a", "b", "tie", "both_bad", "skip", None]),
    st.sampled_from([("x", "y"), ("y", "x"), ("x", "z"), ("z", "w")]),
    st.sampled_from(["u", "v", "w", None]),
    st.sampled_from(["p", "q"]),
    st.sampled_from(["a", "b", None]),
    st.integers(1, 3),
)
TEXTS = pl.DataFrame(
    {"response_id": ["x", "y", "z", "w"], "system": ["X", "Y", "Z", "W"], "messages": ["a", "bbb", "cc", "a"]}
)


def _data(rows: list[tuple[Any, ...]]) -> PreferenceData:
    outcomes, pairs, people, prompts, first, count = (list(column) for column in zip(*rows, strict=True))
    return votes(
        outcomes,
        {"responses": TEXTS},
        response_a=[pair[0] for pair in pairs],
        response_b=[pair[1] for pair in pairs],
        annotator_id=people,
        prompt_id=prompts,
        shown_first=first,
        count=count,
    )


def _same(one: Any, two: Any, where: str = "") -> None:
    assert type(one) is type(two), where
    if isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            if key not in ("rows", "outcomes", "tables"):
                _same(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(two), where
        for i, (left, right) in enumerate(zip(one, two, strict=True)):
            _same(left, right, f"{where}[{i}]")
    elif isinstance(one, float):
        assert one == pytest.approx(two, abs=1e-9), where
    else:
        assert one == two, where


@settings(max_examples=20, deadline=None)
@given(st.lists(row, min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_nothing_depends_on_sides_order_or_counts(rows: list[tuple[Any, ...]], random: Any) -> None:
    plain = describe(_data(rows), n_bootstrap=20).as_dict()
    turned = swapped(_data(rows), np.array([random.random() < 0.5 for _ in rows]))
    _same(plain, describe(turned, n_bootstrap=20).as_dict())
    repeated = [(*r[:-1], 1) for r in rows for _ in range(r[-1])]
    random.shuffle(repeated)
    _same(plain, describe(_data(repeated), n_bootstrap=20).as_dict())


# -- planted truth and real data ---------------------------------------------------------------------------------------


def test_planted_position_and_length_effects_are_found() -> None:
    """80 people of different leanings; 4-sigma tolerance from the clustered standard error reported."""
    rng = np.random.default_rng(4)
    people, each = 80, 60
    n = people * each
    chars = rng.integers(1, 60, 200)
    texts = pl.DataFrame({"response_id": [f"r{i}" for i in range(200)], "messages": ["m" * k for k in chars]})
    a, b = rng.integers(0, 200, n), rng.integers(0, 200, n)
    first = rng.random(n) < 0.5
    who = np.repeat(np.arange(people), each)
    lean = 0.5 + 0.3 * rng.normal(size=people)
    difference = chars[a] - chars[b]
    sd = math.sqrt((difference**2).mean())
    logit = lean[who] * np.where(first, 1, -1) + 0.8 * difference / sd
    won = rng.random(n) < 1 / (1 + np.exp(-logit))
    data = votes(
        list(np.where(won, "a", "b")),
        {"responses": texts},
        response_a=[f"r{i}" for i in a],
        response_b=[f"r{i}" for i in b],
        annotator_id=[f"u{u}" for u in who],
        shown_first=list(np.where(first, "a", "b")),
    )
    question = _only(describe(data, n_bootstrap=0))
    # both effects are seen marginally, so they are attenuated by what the other one adds; the truth by a large sample
    x = rng.normal(size=400_000)
    x = x * 0.8 + rng.choice([-1, 1], 400_000) * (0.5 + 0.3 * rng.normal(size=400_000))
    share = float(
        (1 / (1 + np.exp(-(0.5 + 0.3 * rng.normal(size=400_000) + 0.8 * rng.choice(difference, 400_000) / sd)))).mean()
    )
    found = question.position.first_won
    assert found.value is not None and found.low is not None and found.high is not None
    assert abs(found.value - share) < 4 * (found.high - found.low) / 3.92
    assert found.low > 0.5
    slope = question.length.slope
    assert slope.value is not None and slope.low is not None and slope.high is not None
    assert 0.6 < slope.low < slope.value < 0.85


real = pytest.mark.skipif("PREFLEARN_DATA" not in os.environ, reason="PREFLEARN_DATA does not name the real data")
MAPPINGS = Path(__file__).parents[2] / "examples" / "mappings"


@real
def test_convincing_arguments() -> None:
    """UKPConvArg1: figures counted directly from the votes, apart from this code."""
    found = describe(read(os.environ["PREFLEARN_DATA"], mapping=MAPPINGS / "ukpconvarg.yaml"), n_bootstrap=50)
    question = _only(found)
    assert (question.overlap.items, question.overlap.shared) == (16_927, 16_927)
    assert question.agreement.observed.value == pytest.approx(0.523767, abs=1e-6)
    assert question.agreement.unanimous.value == pytest.approx(0.196668, abs=1e-6)
    assert question.length.longer_won.value == pytest.approx(0.685127, abs=1e-6)
    assert question.agreement.people_known
    # one component per debate and side, because arguments of different debates were never compared
    assert question.connectivity is not None and question.connectivity.components == 32
