"""Counting in chunks against plain dictionaries, and resampled refits against Newton's own iteration."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflearn.choice import Binary, Davidson, Ordinal
from preflearn.ranking import bootstrap as resampling
from preflearn.ranking import cells as counting
from preflearn.ranking import sums as summing
from preflearn.ranking.bootstrap import bootstrap
from preflearn.ranking.cells import count_codes
from preflearn.ranking.design import Design, Prior
from preflearn.ranking.encode import codes, hard_targets
from preflearn.ranking.newton import newton


@pytest.fixture
def small_parts(monkeypatch):
    """Chunks and ranges so small that every branch of merging and splitting is walked."""
    monkeypatch.setattr(counting, "_CHUNK", 50)
    monkeypatch.setattr(summing, "_BACKLOG", 40)
    monkeypatch.setattr(summing, "_RANGE", 30)


@settings(max_examples=60, deadline=None)
@given(
    chunks=st.lists(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 5)), max_size=40), max_size=12),
    weighted=st.lists(st.booleans(), min_size=12, max_size=12),
    dense=st.sampled_from([0, 1000]),
)
def test_sums_are_those_of_a_dictionary(chunks, weighted, dense):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summing, "_BACKLOG", 20)
        patch.setattr(summing, "_RANGE", 8)
        found, expected = summing.sums(100, dense), Counter()
        for chunk, with_values in zip(chunks, weighted):
            key = np.array([k for k, _ in chunk], np.int64)
            values = np.array([v + 1 for _, v in chunk], float)
            found.add(key, np.stack([values, 2 * values]) if with_values else None)
            for k, v in zip(key, values if with_values else np.ones(len(key))):
                expected[int(k), 0] += v
                expected[int(k), 1] += 2 * v if with_values else v
        parts = [(key, np.broadcast_to(sums, (2, len(key)))) for key, sums in found.pop()]
    key = np.concatenate([key for key, _ in parts])
    np.testing.assert_array_equal(key, sorted({k for k, _ in expected}))
    sums = np.concatenate([sums for _, sums in parts], axis=1)
    for row in (0, 1):
        np.testing.assert_allclose(sums[row], [expected[k, row] for k in key])


@pytest.mark.parametrize("dense", [0, 1 << 22])
@pytest.mark.parametrize("weighted", [False, True])
def test_cells_are_those_of_a_dictionary(dense, weighted, small_parts, monkeypatch):
    monkeypatch.setattr(counting, "_DENSE_TABLE", dense)
    generator = np.random.default_rng(0)
    n, votes = 6, 700
    left, right = generator.integers(0, n, (2, votes))  # some items meet themselves
    outcome, user = generator.integers(0, 2, votes), generator.integers(-5, 30, votes) * 1_000
    weight = generator.random(votes) + 0.1 if weighted else None
    cells = count_codes(left, right, outcome, n, np.eye(2), weight=weight, clusters={"user": user})
    count, total, squared, by_user = Counter(), Counter(), Counter(), Counter()
    for index in range(votes):
        i, j, y = int(left[index]), int(right[index]), int(outcome[index])
        cell = (i, j, y) if i <= j else (j, i, 1 - y)
        w = 1.0 if weight is None else weight[index]
        count[cell] += 1
        total[cell] += w
        squared[cell] += w * w
        by_user[int(user[index]), cell] += w
    found = list(zip(cells.left.tolist(), cells.right.tolist(), cells.target.tolist()))
    assert sorted(count) == sorted(found) and cells.n_votes == votes
    np.testing.assert_array_equal(cells.count, [count[cell] for cell in found])
    np.testing.assert_allclose(cells.weight, [total[cell] for cell in found])
    np.testing.assert_allclose(cells.weight_squared, [squared[cell] for cell in found])
    dense_clusters = cells.clusters["user"].toarray()
    assert cells.cluster_codes["user"].tolist() == sorted(set(user.tolist()))
    for row, code in enumerate(cells.cluster_codes["user"]):
        np.testing.assert_allclose(dense_clusters[row], [by_user[int(code), cell] for cell in found])


def test_cluster_codes_that_cannot_be_keyed_are_refused():
    codes = np.array([0, 2**60])
    with pytest.raises(ValueError, match="the codes of user are too large"):
        count_codes(np.array([0, 1]), np.array([1, 2]), np.array([0, 1]), 10, np.eye(2), clusters={"user": codes})


@pytest.mark.parametrize(("link", "ridge"), [(Binary(), 0.0), (Davidson(), 0.0), (Davidson(), 0.5)])
def test_replicates_are_the_exact_refits(link, ridge):
    generator = np.random.default_rng(3)
    n, k = 8, len(link.outcomes)
    left = generator.integers(0, n, 4_000)
    right = (left + generator.integers(1, n, 4_000)) % n
    logit = np.linspace(-1, 1, n)[left] - np.linspace(-1, 1, n)[right]
    outcome = np.asarray(link.sample(logit, (0.0,) * (k - 2), generator))
    design = Design(count_codes(left, right, outcome, n, np.eye(k)), link, prior=Prior(ridge))
    fit = newton(design, np.zeros(design.size))
    found = bootstrap(design, fit, n=20, seed=5)
    draws = resampling._vote_weights(design, 20, np.random.default_rng(5))
    assert found.failed == 0
    for parameters, drawn in zip(found.parameters, draws):
        exact = newton(design, fit.parameters, weights=design.row_weights(drawn), tolerance=1e-14).parameters
        exact[:n] -= exact[:n].mean()
        np.testing.assert_allclose(parameters, exact, atol=2e-4)  # standard errors are about 0.06


def test_resampled_counts_are_multinomial():
    cells = count_codes(
        np.array([0] * 60 + [1] * 35 + [0] * 5), np.full(100, 2), np.array([1] * 95 + [0] * 5), 3, np.eye(2)
    )
    design = Design(cells, Binary())
    draws = np.array(list(resampling._vote_weights(design, 20_000, np.random.default_rng(0))))
    share = cells.count / 100
    assert np.all(draws.sum(1) == 100)
    np.testing.assert_allclose(draws.mean(0), cells.count, atol=4 * np.sqrt(25 / 20_000))
    expected = 100 * (np.diag(share) - np.outer(share, share))
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=4 * 25 * np.sqrt(2 / 20_000))


@pytest.mark.parametrize("grades", [(), (1, 2, 3)])
def test_votes_are_coded_without_holding_a_column(grades):
    link = Ordinal(levels=3, ties=True) if grades else Davidson()
    columns = {"outcome": ["a", "b", "tie", "both_bad", None], "strength": [1, 3, None, None, 2]}
    others = {"shown_first": ["a", "b", None, "a", "b"], "count": [1] * 5, "__weight": [1.0] * 5}
    rows = pl.LazyFrame({"__a": ["x"] * 5, "__b": ["y"] * 5, **columns, **others})
    coded = rows.select(codes(["x", "y"], {}, link, grades, pl.DataFrame(), []))
    found = coded.collect()
    names = list(hard_targets(link))
    expected = ["a1", "b3", "tie", "tie", None] if grades else ["a", "b", "tie", "tie", None]
    assert found["target"].to_list() == [names.index(name) if name else -1 for name in expected]
    assert found["first"].to_list() == [1, -1, 0, 1, -1]
    # Columnar functions (replace_strict is one) are not streamed: ten gigabytes for 100 million votes.
    plan = str(coded.show_graph(engine="streaming", plan_stage="physical", raw_output=True))
    assert "select" in plan and "columnar-function" not in plan
