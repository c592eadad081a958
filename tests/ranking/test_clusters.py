"""Clusters that are missing, single, few or crossed: intervals never pretend to know what they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from preflearn.errors import InputError
from preflearn.ranking import BradleyTerry, Davidson, rank, rank_by, votes_of_codes
from preflearn.ranking import newton as newton_module
from preflearn.ranking.scores import clustering
from tests.ranking.makers import battles, simulated

AB = [("a", "b", "a"), ("a", "b", "b"), ("a", "b", "a")]


def says(warnings, text):
    return any(text in warning for warning in warnings)


def errors(board):
    return {standing.item: standing.se for standing in board.items}


@pytest.mark.parametrize("interval", ["sandwich", "bootstrap"])
def test_one_cluster_says_nothing_of_others_and_is_not_an_interval_of_width_zero(interval):
    """Scores add up to zero within the only cluster; a clustered sandwich would be exactly 0."""
    options = {"interval": interval, "n_bootstrap": 200, "level": 0.9}
    board = rank(battles(AB * 20, annotator_id=["u"] * 60), cluster="annotator_id", **options)
    alone = rank(battles(AB * 20), cluster=None, **options)
    assert errors(board) == pytest.approx(errors(alone), rel=0.02 if interval == "sandwich" else 0.2)
    assert board.clustered_by == [] and says(board.warnings, "all votes share one annotator_id")


def test_with_one_cluster_in_one_way_the_other_way_remains():
    task = [str(i % 12) for i in range(60)]
    data = battles(AB * 20, annotator_id=["u"] * 60, task=task)
    both = rank(data, cluster=("annotator_id", "task"))
    assert errors(both) == errors(rank(data, cluster="task"))
    assert both.clustered_by == ["task"] and says(both.warnings, "all votes share one annotator_id")


def test_annotators_are_counted_among_those_who_voted():
    rows = [("a", "b", "a"), ("a", "b", "b"), ("b", "c", "a"), ("c", "a", "a"), ("a", "c", "a")]
    data = battles(rows * 12, annotator_id=[f"u{i // 5}" for i in range(60)])
    assert rank(data).clustered_by == ["annotator_id"]
    for board in rank_by(data, "annotator_id").values():
        assert board.clustered_by == [] and says(board.warnings, "only 1 annotator voted")
        assert min(errors(board).values()) > 0.5
    nameless = data.replace(annotators=data.annotators.clear())
    assert rank(nameless).clustered_by == ["annotator_id"]


def test_a_counted_row_without_annotator_is_as_many_clusters_as_it_counts():
    known = AB * 10
    single = [("a", "b", "a")] * 40 + [("a", "b", "b")] * 30
    people = [f"u{i}" for i in range(30)]
    rows = battles(known + single, annotator_id=people + [None] * 70)
    counted = battles(
        [*known, ("a", "b", "a"), ("a", "b", "b")], annotator_id=[*people, None, None], count=[1] * 30 + [40, 30]
    )
    one, two = (BradleyTerry(cluster="annotator_id").fit(data) for data in (rows, counted))
    np.testing.assert_allclose(two.covariance_.matrix, one.covariance_.matrix, rtol=1e-10)
    assert one.covariance_.clusters == two.covariance_.clusters == {"annotator_id": 100}
    assert one.covariance_.degrees_of_freedom == 99
    for model in (one, two):
        assert says(model.warnings_, "70 votes without annotator_id")
    plain = BradleyTerry(cluster=None).fit(rows).covariance_.matrix
    np.testing.assert_allclose(one.covariance_.matrix, plain * 100 / 99, rtol=1e-10)


def test_votes_without_one_of_two_clusters_are_clustered_by_the_other():
    """Where no annotator is recorded, the annotator's part and the intersection's cancel."""
    generator = np.random.default_rng(0)
    data, _ = simulated(1200, n_items=4, annotators=20, spread=0.5)
    task = [f"t{i}" for i in generator.integers(0, 25, 1200)]
    nobody = data.replace(
        comparisons=data.comparisons.with_columns(annotator_id=None).with_columns(task=np.array(task))
    )
    both = Davidson(cluster=("annotator_id", "task")).fit(nobody).covariance_.matrix
    one = Davidson(cluster="task").fit(nobody).covariance_.matrix
    np.testing.assert_allclose(both, one, rtol=1e-9, atol=1e-12)


def lopsided(judges: int, repeats: int = 60):
    """40 annotators of three items, and a new item that only the first few of them judged."""
    generator = np.random.default_rng(1)
    rows, people = [], []
    for annotator in range(40):
        for _ in range(30):
            i, j = generator.choice(3, 2, replace=False)
            rows.append(("abc"[i], "abc"[j], "ab"[generator.integers(0, 2)]))
            people.append(f"u{annotator:02d}")
    for k in range(repeats):
        rows.append(("new", "abc"[k % 3], "ab"[generator.integers(0, 2)]))
        people.append(f"u{k % judges:02d}")
    return battles(rows, annotator_id=people)


def test_an_item_judged_by_one_annotator_has_no_interval_of_width_zero():
    """Its scores add up to zero within that annotator, who alone would seem to be quite sure of it."""
    board = rank(lopsided(1))
    independent = rank(lopsided(1), cluster=None)
    assert board["new"].se == pytest.approx(independent["new"].se, rel=0.02)
    assert says(board.warnings, "1 item judged within a single annotator_id") and board.warnings[-1].endswith("new")
    drawn = BradleyTerry().fit(lopsided(1))
    resampled = BradleyTerry(interval="bootstrap").fit(lopsided(1))
    np.testing.assert_allclose(resampled.covariance_.standard_errors(), drawn.covariance_.standard_errors(), rtol=0.2)


def test_items_with_few_clusters_are_named():
    few = rank(lopsided(4))
    assert says(few.warnings, "1 item with votes from fewer than 10 clusters of annotator_id")
    assert not says(rank(lopsided(20)).warnings, "fewer than")
    model = BradleyTerry().fit(lopsided(4))
    group = clustering(model.design_.cells, "annotator_id")
    assert group.per_item.tolist() == [40, 40, 40, 4] and group.n == 40


def test_two_clusterings_of_codes_bring_their_intersection():
    generator = np.random.default_rng(0)
    n, votes = 5, 3000
    a = generator.integers(0, n, votes)
    b = (a + generator.integers(1, n, votes)) % n
    y = generator.integers(0, 2, votes)
    u, q = generator.integers(0, 30, votes), generator.integers(0, 40, votes)
    names = [f"m{i}" for i in range(n)]
    fit = lambda **clusters: BradleyTerry().fit_votes(  # noqa: E731
        votes_of_codes(names, a, b, y, BradleyTerry().link(), clusters=clusters)
    )
    both = fit(u=u, q=q)
    assert both.clusters_ == ("u", "q", "u*q")
    expected = fit(u=u).covariance_.matrix + fit(q=q).covariance_.matrix - fit(c=u * 40 + q).covariance_.matrix
    values, vectors = np.linalg.eigh(expected)
    np.testing.assert_allclose(both.covariance_.matrix, (vectors * np.maximum(values, 0)) @ vectors.T, atol=1e-9)
    given = fit(**{"u": u, "q": q, "u*q": u * 40 + q})
    np.testing.assert_allclose(given.covariance_.matrix, both.covariance_.matrix, atol=1e-12)
    with pytest.raises(InputError, match="Up to two"):
        fit(u=u, q=q, third=q)


def test_naming_a_cluster_twice_names_it_once():
    data, _ = simulated(300)
    once, twice = rank(data, cluster="annotator_id"), rank(data, cluster=("annotator_id", "annotator_id"))
    assert once.as_dict() == twice.as_dict()


def test_two_ways_of_clustering_are_drawn_with_the_right_variances(monkeypatch):
    """Above the dense limit too, and not those of the first way alone."""
    generator = np.random.default_rng(0)
    n, annotators, prompts, votes = 12, 40, 50, 12_000
    theta = generator.normal(size=n)
    taste, suits = generator.normal(0, 0.7, (annotators, n)), generator.normal(0, 0.7, (prompts, n))
    u, q = generator.integers(0, annotators, votes), generator.integers(0, prompts, votes)
    a = generator.integers(0, n, votes)
    b = (a + generator.integers(1, n, votes)) % n
    logit = theta[a] - theta[b] + taste[u, a] - taste[u, b] + suits[q, a] - suits[q, b]
    y = (generator.random(votes) < 1 / (1 + np.exp(-logit))).astype(int)
    names = [f"m{i:02d}" for i in range(n)]
    fit = lambda **clusters: BradleyTerry().fit_votes(  # noqa: E731
        votes_of_codes(names, a, b, y, BradleyTerry().link(), clusters=clusters)
    )
    exact = fit(u=u, q=q).covariance_.standard_errors()
    first = fit(u=u).covariance_.standard_errors()
    monkeypatch.setattr(newton_module, "DENSE_LIMIT", 0)
    drawn = fit(u=u, q=q).covariance_.standard_errors()
    np.testing.assert_allclose(drawn, exact, rtol=0.15)
    assert drawn.mean() > 1.2 * first.mean()
