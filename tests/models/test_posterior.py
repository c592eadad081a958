"""Posteriors: exact where they can be, falling as 1 / n, and uncertainty that says where it comes from."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from preflearn.errors import NotComputable
from preflearn.models import Composed, load
from preflearn.models import posterior as posteriors
from preflearn.models.fitting.linear import linear_of
from preflearn.models.population import Mixture
from preflearn.models.posterior import by_refits, posterior_of
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.simulate.embedded import embedded

W = np.random.default_rng(0).standard_normal(16) / 2


def study(n, seed=1, votes=10, **options):
    return embedded(lambda a, b, who, prompt: (a - b) @ W, annotators=n // votes, votes=votes, seed=seed, **options)


@pytest.fixture(scope="module")
def asked():
    return study(300, seed=2).data


@pytest.fixture(scope="module")
def fitted():
    return bradley_terry(encoder="embedding", ridge=1.0).fit(study(1000).data)


def total_entropy(draws):
    p = draws.mean(0)
    return -(p * np.log(p) + (1 - p) * np.log(1 - p))


class TestLaplace:
    def test_the_covariance_is_the_inverse_of_the_second_derivatives(self, fitted):
        information = fitted.network_.information.dense()
        (factor,) = (each.reshape(len(each), -1) for each in fitted.posterior_.factors.values() if each.shape[-1])
        np.testing.assert_allclose(factor.T @ factor @ information, np.eye(16), atol=1e-9)

    def test_draws_have_the_variance_it_says(self, fitted, asked):
        draws = fitted.prob_draws(asked, 800, seed=3)
        logit = np.log(draws / (1 - draws))
        covariance = np.linalg.inv(fitted.network_.information.dense())
        batch = fitted._assembled(asked).batch
        d = (batch.x[batch.pairs.a] - batch.x[batch.pairs.b]).numpy()
        expected = np.einsum("ni,ij,nj->n", d, covariance, d)
        np.testing.assert_allclose(logit.var(0), expected, rtol=0.3)
        np.testing.assert_allclose(logit.var(0).mean(), expected.mean(), rtol=0.05)
        p = fitted.prob(asked)
        assert np.abs(logit.mean(0) - np.log(p / (1 - p))).max() < 0.1

    def test_seeds_decide_draws(self, fitted, asked):
        first, again, other = (fitted.prob_draws(asked, 5, seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - other).max() > 1e-3
        assert fitted.prob_draws(asked, 0, 0).shape == (0, 300)

    def test_epistemic_uncertainty_falls_as_one_over_n(self, asked):
        scaled = []
        for n in (250, 1000, 4000):
            model = bradley_terry(encoder="embedding", ridge=1.0).fit(study(n).data)
            found = model.uncertainty(asked)
            variance = model.prob_draws(asked, 200, 0).var(0).mean()
            scaled.append((n * found.epistemic.mean(), n * variance))
            assert found.disagreement.max() < 1e-12, "everyone is alike in this model"
        epistemic, variance = np.transpose(scaled)
        assert epistemic.max() / epistemic.min() < 1.15
        assert variance.max() / variance.min() < 1.25

    def test_the_shape_of_the_link_is_uncertain_too(self):
        from preflearn.choice import Davidson

        data = study(1000, link=Davidson(), parameters=(0.3,)).data
        options = {"outcomes": ({"choice": {"link": "davidson"}},), "encoder": "embedding", "ridge": 1.0}
        model = Composed(**options).fit(data)
        free = model.posterior_.factors["outcomes.0.shape.free"]
        ties = int((data.comparisons["outcome"] == "tie").sum())
        assert 0.5 < np.sqrt((free**2).sum()) * np.sqrt(ties) < 2.5, "about one over the root of the number of ties"


class TestSandwich:
    def test_equals_its_formula(self):
        data = study(400).data
        model = bradley_terry(encoder="embedding", ridge=1.0, posterior="sandwich").fit(data)
        batch = model._training.batch
        problem = linear_of(model.network_, batch).problem
        at = problem.evaluate(linear_of(model.network_, batch).parameters())
        d = ((batch.x[batch.pairs.a] - batch.x[batch.pairs.b]) / batch.scale).double().numpy()
        scores = at.residuals * d
        who = batch.pairs.who.annotator.numpy()
        meat = np.zeros((16, 16))
        for person in np.unique(who):
            g = scores[who == person].sum(0)
            meat += np.outer(g, g)
        bread = np.linalg.inv(problem.information(at).dense())
        count = len(np.unique(who))
        expected = bread @ meat @ bread * count / (count - 1)
        factor = model.posterior_.factors["head.layers.weight"].reshape(-1, 16)
        np.testing.assert_allclose(factor.T @ factor, expected, rtol=1e-4, atol=1e-7)

    def test_copies_of_a_judgment_by_one_person_teach_nothing_new(self, asked):
        data = study(1000, votes=1).data
        frame = data.comparisons
        copied = pl.concat([frame.with_columns(pl.col("comparison_id") + f"-{k}") for k in range(8)])
        spread = {}
        for name, comparisons in (("once", frame), ("copied", copied)):
            for posterior in ("model", "sandwich"):
                model = bradley_terry(encoder="embedding", ridge=1e-3, posterior=posterior)
                model.fit(data.replace(comparisons=comparisons))
                draws = model.prob_draws(asked, 200, 0)
                spread[name, posterior] = np.log(draws / (1 - draws)).var(0).mean()
        assert spread["copied", "sandwich"] == pytest.approx(spread["once", "sandwich"], rel=0.05)
        assert spread["once", "sandwich"] == pytest.approx(spread["once", "model"], rel=0.15)
        assert spread["copied", "model"] == pytest.approx(spread["once", "model"] / 8, rel=0.1)


class TestRefits:
    def test_agree_with_laplace_where_both_apply(self):
        """With the ridge that planted weights were drawn with: refits do not believe a model that is wrong."""
        model = bradley_terry(encoder="embedding", ridge=4.0, posterior="sandwich").fit(study(500).data)
        network, batch, _ = model._training
        exact, refitted = posterior_of(network, batch, 0), by_refits(network, batch, 0, refits=50)
        wide, ours = (np.sqrt((each.factors["head.layers.weight"] ** 2).sum(0))[0] for each in (exact, refitted))
        np.testing.assert_allclose(ours, wide, rtol=0.4)
        assert ours.mean() == pytest.approx(wide.mean(), rel=0.08)
        few, again = (by_refits(network, batch, 0, refits=3).factors["head.layers.weight"] for _ in range(2))
        np.testing.assert_array_equal(few, again)

    def test_priors_speak_where_the_data_is_silent(self):
        """A feature that never differs keeps the width of its prior."""
        data = study(300).data
        still = data.replace(
            responses=data.responses.with_columns(embedding=pl.concat_list("embedding", pl.lit(0.0, pl.Float32)))
        )
        model = Composed(
            head={"utility": {"hidden": ()}}, encoder="embedding", ridge=4.0, standardise=False, fitting="full_batch"
        ).fit(still)
        refitted = by_refits(model.network_, model._training.batch, 0, refits=50)
        widths = np.sqrt((refitted.factors["head.layers.weight"] ** 2).sum(0))[0]
        assert widths[-1] == pytest.approx(0.5, rel=0.25), "one over the root of the ridge"
        assert widths[:-1].max() < 0.3

    @pytest.mark.parametrize("options", [{"head": {"utility": {"hidden": (4,)}}}, {"population": "mixture"}])
    def test_every_model_answers(self, asked, options, tmp_path):
        model = Composed(encoder="embedding", ridge=4.0, **options).fit(study(300).data)
        torch.manual_seed(5)
        parts = model.uncertainty(asked)
        after = torch.rand(3)
        torch.manual_seed(5)
        torch.testing.assert_close(after, torch.rand(3))
        assert all((part >= 0).all() and len(part) == 300 for part in parts)
        assert parts.epistemic.mean() > 0.002
        assert sum(part.mean() for part in parts) < np.log(2)
        model.save(tmp_path / "model", draws=True)
        again = load(tmp_path / "model")
        np.testing.assert_allclose(again.prob_draws(asked, 4, 1), model.prob_draws(asked, 4, 1), atol=1e-12)


class TestDisagreement:
    @staticmethod
    def camps(apart):
        u, v = np.random.default_rng(9).standard_normal((2, 16)) / 2
        camp = np.where(np.arange(60) < 30, 1.0, -1.0)
        return embedded(
            lambda a, b, who, prompt: (a - b) @ u + apart * camp[who] * ((a - b) @ v), annotators=60, votes=60, seed=4
        ).data

    @staticmethod
    def mixture(data):
        model = Composed(population=Mixture(2), fitting={"em": {"starts": 1}}, encoder="embedding", ridge=10.0)
        return model.fit(data)

    def test_rises_only_with_planted_disagreement(self):
        found = []
        for apart in (0.0, 0.7, 2.0):
            data = self.camps(apart)
            model = self.mixture(data)
            strangers = data.replace(comparisons=data.comparisons.drop("annotator_id").head(400))
            parts = model.uncertainty(strangers)
            found.append(parts.disagreement.mean())
            mixed = model.outcome_probs(strangers).probabilities
            entropy = -(mixed * np.log(mixed)).sum(1).mean()
            assert sum(part.mean() for part in parts) == pytest.approx(entropy, abs=0.02)
        assert found[0] < 0.02
        assert 2 * found[0] < found[1] < found[2]
        assert found[2] > 0.15
        known = model.uncertainty(data.replace(comparisons=data.comparisons.head(400)))
        assert known.disagreement.mean() < 0.01, "of somebody known there is one taste"

    def test_strangers_to_a_population_of_single_people(self):
        """Offsets know people one by one: for a stranger, a sample of them stands for everyone."""
        data = self.camps(2.0)
        few = data.replace(
            comparisons=data.comparisons.filter(
                pl.col("annotator_id").cast(pl.String).str.contains(r"-[0-9]$|-5[0-9]$")
            )
        )
        model = Composed(population="offsets", encoder="embedding", ridge=10.0).fit(few)
        strangers = data.replace(comparisons=data.comparisons.drop("annotator_id").head(200))
        asked = few.replace(comparisons=few.comparisons.head(200))
        assert model.uncertainty(strangers).disagreement.mean() > 0.1
        assert model.uncertainty(asked).disagreement.max() < 1e-9


def test_without_judgments_or_stored_posterior_it_is_said(fitted, asked):
    model = bradley_terry(encoder="embedding", ridge=1.0).fit(study(200).data)
    model.restored(None)
    with pytest.raises(NotComputable, match="stored without a posterior"):
        model.prob_draws(asked, 3, 0)


@pytest.mark.slow
def test_ninety_percent_intervals_cover_ninety_percent(asked):
    """Weights drawn from the prior that the ridge stands for: then the intervals are those of Bayes."""
    inside, count = 0, 0
    for seed in range(150):
        w = np.random.default_rng([seed, 5]).standard_normal(16) / np.sqrt(10)
        data = embedded(lambda a, b, who, prompt, w=w: (a - b) @ w, annotators=40, votes=10, seed=seed)
        keep = np.arange(400) < 300
        model = bradley_terry(encoder="embedding", ridge=10.0, standardise=False).fit(data.rows(keep))
        draws = model.prob_draws(data.rows(~keep), 400, seed)
        truth = 1 / (1 + np.exp(-data.logit[~keep]))
        low, high = np.quantile(draws, [0.05, 0.95], axis=0)
        inside += int(((low <= truth) & (truth <= high)).sum())
        count += len(truth)
    assert inside / count == pytest.approx(0.9, abs=0.015)


@pytest.mark.slow
def test_predictions_are_calibrated():
    train, test = study(4000), study(20_000, seed=3)
    model = bradley_terry(encoder="embedding").fit(train.data)
    p = model.prob(test.data)
    won = (test.data.comparisons["outcome"] == "a").to_numpy()
    place = np.minimum((10 * p).astype(int), 9)
    error = sum(abs((won - p)[place == k].sum()) for k in range(10)) / len(p)
    assert error < 0.02


class TestSeveralOptima:
    """Two camps of equal size that want opposite things: who of them errs is a matter of taste."""

    @staticmethod
    def camps(right):
        w = np.random.default_rng(2).standard_normal(4)
        camp = np.where(np.arange(12) < right, 2.0, -2.0)
        return embedded(
            lambda a, b, who, prompt: camp[who] * ((a - b) @ w), features=4, annotators=12, votes=20, prompts=40, seed=2
        ).data

    def refitted(self, data, seed=0):
        part = {"reliability": {"prior": (1.1, 1.0)}}
        model = Composed(noise=(part,), encoder="embedding", fitting={"full_batch": {"iterations": 100}}).fit(data)
        return model, by_refits(model.network_, model._training.batch, seed, refits=12)

    @pytest.mark.parametrize("right", [6, 11])
    def test_refits_stay_near_the_fit(self, right):
        """The prior of a reliability pulls with a bounded force: shifts of it must not win against that."""
        model, found = self.refitted(self.camps(right))
        weights = model.network_.head.last.weight.detach().numpy()
        spread = np.sqrt((found.factors["head.layers.weight"] ** 2).sum(0))
        assert found.notes == () and np.linalg.norm(spread) < 0.5 * np.linalg.norm(weights)
        assert np.sqrt((found.factors["noises.0.log_odds"] ** 2).sum(0)).max() < 10

    def test_mirror_images_are_another_optimum(self, monkeypatch):
        model, _ = self.refitted(self.camps(6))
        network, batch = model.network_, model._training.batch.to(torch.float64)
        learned = {name: p for name, p in network.named_parameters() if p.requires_grad}
        fitted = {name: p.detach().clone() for name, p in learned.items()}
        at_fit = posteriors._total(network, batch, 0)

        def behind(factor):
            with torch.no_grad():
                for name, p in learned.items():
                    p.copy_(factor * fitted[name])
            return posteriors._behind_a_ridge(network, batch, 0, learned, fitted, at_fit)

        assert behind(-1.0) and not behind(1.2) and not behind(1.0)
        behind(1.0)
        # Refits that begin elsewhere end elsewhere: they are left out and counted.
        find, count = posteriors.minimise, iter(range(100))

        def sometimes_mirrored(parameters, value, **options):
            parameters = list(parameters)
            if next(count) % 3 == 0:
                with torch.no_grad():
                    for p in parameters:
                        p.neg_()
            return find(parameters, value, **options)

        monkeypatch.setattr(posteriors, "minimise", sometimes_mirrored)
        found = by_refits(network, batch, 0, refits=9)
        assert "3 of 9 refits ended in another optimum" in found.notes[0]
        assert found.rank == 6
        monkeypatch.setattr(posteriors, "_behind_a_ridge", lambda *_: True)
        with pytest.raises(NotComputable, match="do not determine"):
            by_refits(network, batch, 0, refits=3)
