"""Derivatives, the two ways of solving, invariances of the estimate, and the priors."""

from __future__ import annotations

import numpy as np
import pytest

from preflearn.choice import Binary, Ordinal
from preflearn.choice import Davidson as DavidsonLink
from preflearn.ranking import BradleyTerry, Davidson, Graded, RaoKupper
from preflearn.ranking import newton as newton_module
from preflearn.ranking.cells import Accumulator, cells_of_votes, count_codes
from preflearn.ranking.design import Design, Prior
from preflearn.ranking.newton import newton
from tests.ranking.makers import battles, simulated

LINKS = [Binary(), DavidsonLink(), Ordinal(levels=1, ties=True), Ordinal(levels=2, ties=True)]


def design_of(link, *, seed=0, votes=400, n=5, prior=None):
    generator = np.random.default_rng(seed)
    left = generator.integers(0, n, votes)
    right = (left + generator.integers(1, n, votes)) % n
    outcome = generator.integers(0, len(link.outcomes), votes)
    cells = cells_of_votes(
        left,
        right,
        outcome,
        n,
        np.eye(len(link.outcomes)),
        first=generator.choice([-1, 0, 1], votes),
        weight=generator.random(votes) + 0.5,
        features=generator.normal(size=(votes, 2)),
        clusters={"u": generator.integers(0, 20, votes)},
    )
    return Design(cells, link, position=True, prior=prior)


@pytest.mark.parametrize("link", LINKS, ids=lambda link: "/".join(link.outcomes))
def test_gradient_and_information_are_derivatives_of_the_value(link):
    design = design_of(link, prior=Prior(ridge=0.3, ghost=0.7, covariate_ridge=0.2))
    generator = np.random.default_rng(1)
    at = np.concatenate([generator.normal(size=design.n + design.p), link.initial()])
    here = design.evaluate(at)
    step = 1e-5
    numeric_gradient = np.empty(design.size)
    numeric_hessian = np.empty((design.size, design.size))
    for k in range(design.size):
        shift = step * np.eye(design.size)[k]
        up, down = design.evaluate(at + shift), design.evaluate(at - shift)
        numeric_gradient[k] = (up.value - down.value) / (2 * step)
        numeric_hessian[k] = (up.gradient - down.gradient) / (2 * step)
    np.testing.assert_allclose(here.gradient, numeric_gradient, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(here.information.dense(), -numeric_hessian, rtol=1e-6, atol=1e-5)
    assert here.value == pytest.approx(design.value(at), rel=1e-12)


@pytest.mark.parametrize("link", LINKS[:2], ids=["binary", "davidson"])
@pytest.mark.parametrize("prior", [Prior(), Prior(ridge=0.5)], ids=["free", "ridge"])
def test_conjugate_gradients_find_what_the_factorisation_finds(link, prior, monkeypatch):
    design = design_of(link, votes=3000, n=12, prior=prior)
    start = np.concatenate([np.zeros(design.n + design.p), link.initial()])
    dense = newton(design, start)
    monkeypatch.setattr(newton_module, "DENSE_LIMIT", 0)
    sparse = newton(design, start)
    assert dense.converged and sparse.converged
    free_shift = np.append(np.ones(12), np.zeros(design.size - 12))
    for fit in (dense, sparse):
        fit.parameters[:] -= fit.parameters[:12].mean() * free_shift
    np.testing.assert_allclose(sparse.parameters, dense.parameters, atol=1e-6)


def test_many_items_with_few_votes_each_still_converge():
    # A criterion on the mean gradient stops at the start here: 50 votes per item among 200,000.
    generator = np.random.default_rng(5)
    n, votes = 4_000, 200_000
    theta = generator.normal(size=n)
    left = generator.integers(0, n, votes)
    right = (left + generator.integers(1, n, votes)) % n
    won = (generator.random(votes) < 1 / (1 + np.exp(theta[right] - theta[left]))).astype(int)
    design = Design(count_codes(left, right, won, n, np.eye(2)), Binary(), prior=Prior(ridge=1e-3))
    fit = newton(design, np.zeros(n))
    assert fit.converged and fit.iterations > 3
    np.testing.assert_allclose(design.evaluate(fit.parameters).gradient, 0, atol=1e-4)
    error = fit.parameters - fit.parameters.mean() - (theta - theta.mean())
    assert np.sqrt(np.mean(error**2)) < 0.3


@pytest.mark.parametrize("model", [BradleyTerry, Davidson, RaoKupper])
def test_order_of_sides_rows_and_duplicates_do_not_matter(model):
    data, _ = simulated(1500)
    fitted = model().fit(data)
    swap = {"a": "b", "b": "a", "tie": "tie"}
    rows = data.comparisons.rows(named=True)
    mirrored = battles(
        [(r["response_b"], r["response_a"], swap[r["outcome"]]) for r in reversed(rows)],
        annotator_id=[r["annotator_id"] for r in reversed(rows)],
    )
    again = model().fit(mirrored)
    assert again.items_ == fitted.items_
    np.testing.assert_allclose(again.strengths_, fitted.strengths_, atol=1e-9)
    np.testing.assert_allclose(again.covariance_.matrix, fitted.covariance_.matrix, atol=1e-12)
    tripled = model(cluster=None, interval="model").fit(
        battles([(r["response_a"], r["response_b"], r["outcome"]) for r in rows], count=[3] * len(rows))
    )
    np.testing.assert_allclose(tripled.strengths_, fitted.strengths_, atol=1e-7)
    once = model(cluster=None, interval="model").fit(data)
    np.testing.assert_allclose(tripled.covariance_.matrix * 3, once.covariance_.matrix, rtol=1e-6)


def test_counts_weights_and_repeated_rows_agree_where_they_should():
    rows = [("a", "b", "a"), ("a", "b", "b"), ("b", "c", "a"), ("b", "c", "b"), ("a", "c", "a"), ("a", "c", "b")]
    times = [5, 3, 4, 2, 6, 1]
    repeated = battles([row for row, n in zip(rows, times) for _ in range(n)])
    by_count = BradleyTerry(cluster=None).fit(battles(rows, count=times))
    by_row = BradleyTerry(cluster=None).fit(repeated)
    by_weight = BradleyTerry(cluster=None).fit(battles(rows, weight=[float(n) for n in times]))
    np.testing.assert_allclose(by_count.strengths_, by_row.strengths_, atol=1e-10)
    np.testing.assert_allclose(by_weight.strengths_, by_row.strengths_, atol=1e-10)
    np.testing.assert_allclose(by_count.covariance_.matrix, by_row.covariance_.matrix, atol=1e-12)
    # A weight enters the sandwich squared: six weighty votes are less information than 21 votes.
    assert np.trace(by_weight.covariance_.matrix) > 2 * np.trace(by_row.covariance_.matrix)


def test_a_ridge_acts_on_the_summed_likelihood():
    data, _ = simulated(1000)
    rows = [(r["response_a"], r["response_b"], r["outcome"]) for r in data.comparisons.rows(named=True)]
    twice = BradleyTerry(ridge=6.0, cluster=None).fit(battles(rows, count=[2] * len(rows)))
    same = BradleyTerry(ridge=3.0, cluster=None).fit(battles(rows))
    np.testing.assert_allclose(twice.strengths_, same.strengths_, atol=1e-8)
    weaker = BradleyTerry(ridge=3.0, cluster=None).fit(battles(rows, count=[2] * len(rows)))
    assert np.linalg.norm(weaker.strengths_) > np.linalg.norm(same.strengths_)


def test_a_ghost_is_a_pseudo_vote_each_way():
    # Two items, one ghost of strength 0 met once each way by both: the fit by hand over the three-node graph.
    data = battles([("a", "b", "a")] * 3 + [("a", "b", "b")])
    fitted = BradleyTerry(ghost=1.0, cluster=None).fit(data)
    gap = fitted.strengths_[0] - fitted.strengths_[1]
    half = gap / 2
    sigma = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    # d/dtheta_a: 3 - 4 sigma(gap) + 1 - 2 sigma(theta_a) = 0 with theta_a = gap/2 by symmetry.
    assert 3 - 4 * sigma(gap) + 1 - 2 * sigma(half) == pytest.approx(0, abs=1e-8)


def test_soft_labels_are_expected_votes_with_less_noise():
    soft = battles([("a", "b", None)] * 40, probability=[0.75] * 40)
    hard = battles([("a", "b", "a")] * 30 + [("a", "b", "b")] * 10)
    one, two = BradleyTerry(cluster=None).fit(soft), BradleyTerry(cluster=None).fit(hard)
    np.testing.assert_allclose(one.strengths_, two.strengths_, atol=1e-9)
    assert one.covariance_.standard_errors()[0] < 1e-9 < two.covariance_.standard_errors()[0]
    varied = np.random.default_rng(0).random(1000)
    many = BradleyTerry(cluster=None).fit(battles([("a", "b", None)] * 1000, probability=varied))
    mean = varied.mean()
    assert many.strengths_[0] - many.strengths_[1] == pytest.approx(np.log(mean / (1 - mean)), abs=1e-7)


def test_soft_ties_reach_the_tie_parameter():
    data = battles([("a", "b", None)] * 10, probability=[0.4] * 10, probability_tie=[0.2] * 10)
    fitted = Davidson(cluster=None).fit(data)
    predicted = fitted.outcome_probs(data)
    assert predicted.outcomes == ("b", "tie", "a")
    np.testing.assert_allclose(predicted.probabilities[0], [0.4, 0.2, 0.4], atol=1e-8)


def test_graded_answers_recover_thresholds_and_use_fewer_votes():
    generator = np.random.default_rng(2)
    theta = np.linspace(-1.5, 1.5, 8)
    link = Ordinal(levels=3, ties=True)
    cuts = (0.3, 1.0, 2.0)
    errors = {Graded: [], BradleyTerry: []}
    for _ in range(15):
        a = generator.integers(0, 8, 1500)
        b = (a + generator.integers(1, 8, 1500)) % 8
        y = np.asarray(link.sample(theta[a] - theta[b], cuts, generator))
        rows, strength = [], []
        for i, j, k in zip(a, b, y):
            name = link.outcomes[k]
            rows.append((f"m{i}", f"m{j}", name if name == "tie" else name[0]))
            strength.append(None if name == "tie" else int(name[1:]))
        data = battles(rows, strength=strength)
        for model in errors:
            fitted = model(cluster=None).fit(data)
            errors[model].append(np.mean((fitted.strengths_ - theta) ** 2))
        graded = Graded(cluster=None).fit(data)
        np.testing.assert_allclose(graded.fit_.parameters[-3:], cuts, atol=0.2)
    assert np.mean(errors[Graded]) < 0.85 * np.mean(errors[BradleyTerry])


def test_accumulator_counts_the_same_in_any_chunks_and_either_layout():
    generator = np.random.default_rng(0)
    n, votes = 9, 5000
    left = generator.integers(0, n, votes)
    right = (left + generator.integers(1, n, votes)) % n
    outcome = generator.integers(0, 3, votes)
    user = generator.integers(0, 7, votes)
    whole = count_codes(left, right, outcome, n, np.eye(3), clusters={"u": user})
    parts = Accumulator(n, np.eye(3), clusters=("u",))
    for low in range(0, votes, 777):
        part = slice(low, low + 777)
        parts.add(left[part], right[part], outcome[part], clusters={"u": user[part]})
    chunked = parts.cells()
    dense = count_codes(left, right, outcome, n, np.eye(3))
    for cells in (chunked, dense):
        np.testing.assert_array_equal(cells.left, whole.left)
        np.testing.assert_array_equal(cells.target, whole.target)
        np.testing.assert_array_equal(cells.count, whole.count)
    np.testing.assert_array_equal(chunked.clusters["u"].toarray(), whole.clusters["u"].toarray())
    assert whole.count.sum() == votes and (whole.left < whole.right).all()
    np.testing.assert_allclose(whole.clusters["u"].sum(0), whole.weight)
    np.testing.assert_array_equal(whole.clusters["u"].sum(1), np.bincount(user))
