"""Agreement between people: published and hand-made oracles, and what may not matter."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.evaluate import agreement as agree
from preflearn.evaluate.agreement import CODES, Coincidences
from preflearn.evaluate.intervals import Settings
from preflearn.evaluate.voices import voices

FEW = Settings(n_bootstrap=200, seed=3)
_ = None
# Krippendorff (2011), Computing Krippendorff's alpha-reliability: 4 observers, 12 units, missing values.
TABLE = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]


def _of(rows: list[tuple[int, int | None, int, int]], categories: int = 3) -> Coincidences:
    """Coincidences of (unit, annotator, answer, count)."""
    frame = pl.DataFrame(
        rows,
        schema={"key": pl.UInt32, "annotator": pl.UInt32, "answer": pl.UInt8, "count": pl.UInt32},
        orient="row",
    )
    heard = voices(frame, ["key"], categories)
    codes = CODES if categories == 3 else np.arange(categories, dtype=np.float64)
    return agree.coincidences(heard.unit, heard.votes, heard.people, codes, sides=categories == 3)[1]


def test_published_alpha() -> None:
    rows = [(u, o, v, 1) for o, line in enumerate(TABLE) for u, v in enumerate(line) if v is not None]
    found = _of([(u, o, v - 1, 1) for u, o, v, _n in rows], categories=5)
    assert found.people.sum() == 40
    assert agree.alpha_nominal(found, FEW, mirrored=False).value == pytest.approx(0.743, abs=5e-4)
    assert agree.alpha_interval(found, FEW).value == pytest.approx(0.849, abs=5e-4)


def test_published_alpha_from_values() -> None:
    rows = [(u, o, float(v), 1) for o, line in enumerate(TABLE) for u, v in enumerate(line) if v is not None]
    frame = pl.DataFrame(
        rows, schema={"key": pl.UInt32, "annotator": pl.UInt32, "value": pl.Float64, "count": pl.UInt32}, orient="row"
    )
    heard = voices(frame, ["key"], 0)
    ones = np.ones((len(heard.unit), 1))
    found = agree.coincidences(heard.unit, ones, heard.people, heard.votes[:, 0], heard.square)[1]
    assert agree.alpha_interval(found, FEW).value == pytest.approx(0.849, abs=5e-4)
    assert (heard.items, found.units) == (12, 11)


def test_comparisons_by_hand() -> None:
    # item 0: a, a, tie; item 1: b, b; item 2: a, b; item 3: one person only
    answers = [(0, [0, 0, 1]), (1, [2, 2]), (2, [0, 2]), (3, [0])]
    found = _of([(u, p, a, 1) for u, given in answers for p, a in enumerate(given)])
    assert found.units == 3
    # agreeing ordered pairs 2 + 2 + 0 of 6 + 2 + 2
    assert agree.observed(found, FEW).value == pytest.approx(0.4)
    assert agree.unanimous(found, FEW).value == pytest.approx(1 / 3)
    # item 0: two decide, both for a; item 1 likewise for b; item 2: they differ
    assert agree.unanimous_decided(found, FEW).value == pytest.approx(2 / 3)
    # nominal: agreement weighted by 1/(m - 1): (2/2 + 2 + 0) / 7; margins 3, 1, 3 of N = 7
    disagreement, expected = 1 - 3 / 7, (49 - 9 - 1 - 9) / 42
    assert agree.alpha_nominal(found, FEW).value == pytest.approx(1 - disagreement / expected)
    # ordinal: item 0 has 4 ordered pairs at distance 1/4, weighted by 1/2; item 2 has 2 at distance 1
    disagreement, expected = (4 * 0.25 / 2 + 2) / 7, 2 * (9 + 2 * 3 * 0.25) / 42
    assert agree.alpha_interval(found, FEW, mirrored=True).value == pytest.approx(1 - disagreement / expected)
    # leave one out: item 0: a (others a, tie) 1, a 1, tie 1/2; item 1: 1 + 1; item 2: 0 + 0
    assert agree.ceiling(found, FEW).value == pytest.approx(4.5 / 7)


def test_margins_are_symmetrised() -> None:
    # everybody says "first": without ties alpha must be that of agreement against chance 1/2, not undefined
    found = _of([(u, p, 0 if (u, p) != (0, 0) else 2, 1) for u in range(50) for p in range(2)])
    observed = 49 / 50
    n = 100
    assert agree.alpha_nominal(found, FEW).value == pytest.approx(1 - (1 - observed) / (n / (2 * (n - 1))))


def test_repeated_answers_are_one_voice_and_self_agreement() -> None:
    rows = [(0, 1, 0, 3), (0, 1, 2, 1), (0, 2, 0, 1)]
    heard = voices(
        pl.DataFrame(
            rows,
            schema={"key": pl.UInt32, "annotator": pl.UInt32, "answer": pl.UInt8, "count": pl.UInt32},
            orient="row",
        ),
        ["key"],
        3,
    )
    found = _of(rows)
    assert found.people.tolist() == [2.0]
    assert agree.observed(found, FEW).value == pytest.approx(0.75)
    # of 12 ordered pairs of the first person's four answers 6 agree
    assert agree.self_agreement(heard.person, heard.repeats, FEW).value == pytest.approx(0.5)
    nobody = agree.self_agreement([], np.zeros((0, 3)), FEW)
    assert "twice" in (nobody.reason or "")


def test_counts_without_annotators_are_people() -> None:
    counted = _of([(0, None, 0, 3), (0, None, 2, 1)])
    named = _of([(0, 1, 0, 1), (0, 2, 0, 1), (0, 3, 0, 1), (0, 4, 2, 1)])
    for name, column in vars(counted).items():
        np.testing.assert_allclose(column, getattr(named, name), err_msg=name)
    assert agree.ceiling(counted, FEW).value == pytest.approx(3 / 4)


def test_reasons() -> None:
    alone = _of([(0, 1, 0, 1), (1, 1, 0, 1)])
    figures = [agree.observed, agree.unanimous, agree.ceiling, agree.unanimous_decided]
    for figure in [*figures, agree.alpha_nominal, agree.alpha_interval]:
        found = figure(alone, FEW)
        assert found.value is None and found.reason, figure
    ties = _of([(0, 1, 1, 1), (0, 2, 1, 1)])
    assert "only one answer" in (agree.alpha_nominal(ties, FEW).reason or "")
    one = agree.alpha_nominal(_of([(0, 1, 0, 1), (0, 2, 2, 1)]), FEW)
    assert one.value is not None and one.low is None and "one item" in (one.reason or "")


vote = st.tuples(st.integers(0, 5), st.integers(0, 3) | st.none(), st.integers(0, 2), st.integers(1, 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(vote, min_size=1, max_size=25), st.sets(st.integers(0, 5)), st.randoms(use_true_random=False))
def test_orientation_and_order_do_not_matter(
    rows: list[tuple[int, int | None, int, int]], turned: set[int], random: object
) -> None:
    plain = _of(rows)
    other = [(u, p, 2 - a if u in turned else a, n) for u, p, a, n in rows]
    random.shuffle(other)  # type: ignore[attr-defined]
    mirrored = _of(other)
    figures = [agree.observed, agree.unanimous, agree.ceiling, agree.alpha_nominal, agree.unanimous_decided]
    for figure in [*figures, lambda c, s: agree.alpha_interval(c, s, mirrored=True)]:
        one, two = figure(plain, FEW), figure(mirrored, FEW)
        assert (one.n, one.reason) == (two.n, two.reason)
        assert one.value == pytest.approx(two.value, abs=1e-9)
    if plain.units:
        assert 0 <= agree.ceiling(plain, FEW).value <= 1  # type: ignore[operator]
        nominal = agree.alpha_nominal(plain, FEW).value
        assert nominal is None or nominal <= 1 + 1e-9


@pytest.mark.slow
def test_alpha_intervals_cover() -> None:
    """Items with their own P(first wins), five people each: the interval over items covers the population's alpha."""
    rng = np.random.default_rng(8)

    def sample(items: int) -> Coincidences:
        p = rng.beta(1.5, 1.5, items)
        answers = np.where(rng.random((items, 5)) < p[:, None], 0, 2)
        unit, votes = np.repeat(np.arange(items), 5), np.eye(3)[answers.ravel()]
        return agree.coincidences(unit, votes, np.ones(items * 5), CODES, sides=True)[1]

    truth = {"alpha": 0.0, "observed": 0.0}
    big = sample(400_000)
    truth["alpha"] = agree.alpha_nominal(big, Settings(0)).value or 0.0
    truth["observed"] = agree.observed(big, Settings(0)).value or 0.0
    hits = dict.fromkeys(truth, 0)
    for seed in range(400):
        found = sample(120)
        for name, figure in (
            ("alpha", agree.alpha_nominal(found, Settings(300, seed))),
            ("observed", agree.observed(found, Settings(300, seed))),
        ):
            assert figure.low is not None and figure.high is not None
            hits[name] += figure.low <= truth[name] <= figure.high
    for name, hit in hits.items():
        assert 0.905 <= hit / 400 <= 0.99, (name, hit)
