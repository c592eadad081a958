"""Wrong labels on planted truth: flips, smoothing, unbiased losses, annotators, covariates, peers, ensembles."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
import torch
from tests.contract import check_preference_model

from preflearn.errors import InputError, NotSupported
from preflearn.models import Composed, load
from preflearn.models.fitting import FullBatch
from preflearn.models.heads import Utility
from preflearn.models.noise import (
    Controls,
    EnsembleStrength,
    Flips,
    PeerReview,
    Position,
    Reliability,
    Smoothing,
    Unbiased,
    flip_profile,
    reliabilities,
)
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.noisy import flips, reliability
from preflearn.models.recipes.strength import margin_bt
from preflearn.simulate.embedded import embedded

SEED = 0
SHOWN = np.array([0.95, 0.8, 0.65, 0.5, 0.3])


def planted(seed: int, wrong, scale: float = 4.0, features: int = 16, votes: int = 300, prompts: int = 600, **options):
    """Votes of people who record the reverse of what they mean with probabilities `wrong` (one per annotator)."""
    w = np.random.default_rng(seed).standard_normal(features)
    w *= scale / np.linalg.norm(w) / np.sqrt(2)
    wrong = np.atleast_1d(wrong)
    study = embedded(
        lambda a, b, who, prompt: (a - b) @ w,
        features=features,
        prompts=prompts,
        annotators=len(wrong),
        votes=votes,
        reliability=1 - wrong,
        seed=seed,
        **options,
    )
    return w, study


def right(model, study, rows) -> float:
    """Accuracy against what is truly preferred."""
    return study.right(model.denoised().prob(study.rows(rows)), rows)


def size(model, w) -> float:
    """Length of the fitted weights relative to the planted ones."""
    weights = model.network_.head.last.weight.detach().numpy()[0] / model.vocabulary_.scale
    return float(np.linalg.norm(weights) / np.linalg.norm(w))


class TestReliability:
    """Five annotators who are right with probability .95, .8, .65, .5, .3."""

    @pytest.fixture(scope="class")
    @classmethod
    def study(cls):
        return planted(SEED, 1 - SHOWN, votes=800, prompts=1000)[1]

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, study):
        train, _ = study.halves(0.6)
        make = [reliability(), reliability(method="marginal"), bradley_terry()]
        return [model.set_params(encoder="embedding").fit(study.rows(train)) for model in make]

    def test_is_recovered_and_pays(self, study, fitted):
        _, test = study.halves(0.6)
        em, marginal, plain = fitted
        for model in (em, marginal):
            found = dict(reliabilities(model).rows())
            np.testing.assert_allclose([found[f"person-{u}"] for u in range(5)], SHOWN, atol=0.1)
        assert "of 5 annotators" in em.notes_[-1]
        gain = [right(marginal, study, test) - right(plain, study, test)]
        for seed in (1, 2):
            other = planted(SEED + seed, 1 - SHOWN, votes=500)[1]
            train, test = other.halves(0.6)
            make = [reliability(method="marginal"), bradley_terry()]
            both = [model.set_params(encoder="embedding").fit(other.rows(train)) for model in make]
            gain.append(right(both[0], other, test) - right(both[1], other, test))
        assert np.mean(gain) > 0.03

    def test_expectation_maximisation_climbs_the_marginal_likelihood(self, study, fitted):
        em, marginal, _ = fitted
        assert em.report_.value == pytest.approx(marginal.report_.value, abs=1)
        assert em.report_.value > marginal.report_.value - 1e-3
        np.testing.assert_allclose(
            reliabilities(em).sort("annotator_id")["reliability"],
            reliabilities(marginal).sort("annotator_id")["reliability"],
            atol=0.02,
        )

    def test_prob_is_of_what_is_recorded(self, study, fitted, tmp_path):
        """A contrarian's record is predicted, a stranger has the mean reliability, the denoised model has none."""
        _, test = study.halves(0.8)
        model, rows = fitted[1], study.rows(test)
        check_preference_model(model, rows)
        clean = model.denoised().prob(rows)
        eta = reliabilities(model)
        place = dict(eta.rows())
        mine = np.array([place[name] for name in rows.comparisons["annotator_id"]])
        np.testing.assert_allclose(model.prob(rows), mine * clean + (1 - mine) * (1 - clean), atol=1e-12)
        strange = rows.replace(comparisons=rows.comparisons.with_columns(annotator_id=pl.lit("nobody")))
        mean = eta["reliability"].mean()
        np.testing.assert_allclose(model.prob(strange), mean * clean + (1 - mean) * (1 - clean), atol=1e-12)
        check_preference_model(model.denoised(), rows)
        model.denoised().save(tmp_path / "m")
        np.testing.assert_allclose(load(tmp_path / "m").prob(rows), clean, atol=1e-12)

    def test_newcomers_are_known_from_their_labels(self, study):
        train, test = study.halves()
        known = np.isin(study.annotator, [0, 1, 2])
        model = reliability(method="marginal", encoder="embedding").fit(study.rows(train & known).pruned())
        adapted = model.adapt(study.rows(train & ~known).pruned())
        found = dict(reliabilities(adapted).rows())
        np.testing.assert_allclose([found["person-3"], found["person-4"]], [0.5, 0.3], atol=0.12)
        rest = study.rows(test & ~known)
        won = (rest.comparisons["outcome"] == "a").to_numpy()

        def log_loss(p):
            return -np.log(np.where(won, p, 1 - p)).mean()

        assert log_loss(adapted.prob(rest)) < log_loss(model.prob(rest)) - 0.1
        silent = study.rows(train & ~known).pruned()
        silent = silent.replace(comparisons=silent.comparisons.head(0))
        np.testing.assert_allclose(model.adapt(silent).prob(rest), model.prob(rest), atol=1e-6)

    def test_what_it_cannot_do_is_refused(self, study):
        bare = study.data.replace(comparisons=study.data.comparisons.with_columns(annotator_id=pl.lit(None, pl.String)))
        with pytest.raises(InputError, match="none are recorded"):
            reliability(encoder="embedding").fit(bare)
        with pytest.raises(InputError, match="another taste"):
            reliability(population="mixture", encoder="embedding").fit(study.data)
        with pytest.raises(InputError, match="more of the first"):
            reliability(prior=(1.0, 9.0), encoder="embedding").fit(study.data)
        with pytest.raises(InputError, match="noise part reliability"):
            bradley_terry(fitting="reliability_em", encoder="embedding").fit(study.data)
        with pytest.raises(InputError, match="no reliabilities"):
            reliabilities(bradley_terry(encoder="embedding").fit(study.data))


class TestOneRate:
    """A fifth of all labels wrong, utilities of scale 4."""

    @pytest.fixture(scope="class")
    @classmethod
    def studies(cls):
        return [planted(SEED + seed, np.full(10, 0.2), scale=8.0, votes=200, prompts=500) for seed in range(5)]

    @staticmethod
    def measured(studies, *noise):
        found = []
        for w, study in studies:
            train, test = study.halves(0.7)
            model = bradley_terry(noise=noise, ridge=0.1, encoder="embedding").fit(study.rows(train))
            found.append((right(model, study, test), size(model, w)))
        return np.mean(found, axis=0)

    def test_the_mixture_likelihood_beats_smoothing_and_unbiased_losses(self, studies):
        plain, mixed = self.measured(studies), self.measured(studies, Flips(0.2))
        smoothed, unbiased = self.measured(studies, Smoothing(0.2)), self.measured(studies, Unbiased(0.2))
        assert mixed[0] > max(plain[0], smoothed[0], unbiased[0]) + 0.008
        # They hardly change the direction of the weights, only their size.
        assert smoothed[0] == pytest.approx(plain[0], abs=0.012) and unbiased[0] == pytest.approx(plain[0], abs=0.02)
        assert smoothed[1] < 0.7 * plain[1] and unbiased[1] > 2 * plain[1]
        assert mixed[1] == pytest.approx(1, abs=0.35) and plain[1] < 0.3

    def test_a_bound_on_the_unbiased_loss_keeps_weights_finite(self):
        """Labels without any contradiction: without a ridge the unbiased loss falls without bound."""
        _, study = planted(SEED, np.zeros(1), votes=40, features=16)
        runaway, bounded = (
            bradley_terry(noise=(Unbiased(0.3, clip),), ridge=1e-6, encoder="embedding").fit(study.data)
            for clip in (None, 3.0)
        )
        sizes = [float(torch.linalg.norm(model.network_.head.last.weight.detach())) for model in (runaway, bounded)]
        assert sizes[0] > 5 * sizes[1]
        calm = bradley_terry(noise=(Unbiased(0.2, clip=3.0),), encoder="embedding").fit(study.data)
        check_preference_model(calm, study.data)

    def test_a_learned_rate_and_its_interval(self, studies):
        _, study = studies[0]
        model = flips(rate=0.05, learned=True, ridge=0.1, encoder="embedding").fit(study.data)
        assert float(model.network_.noises[0].rate.detach()) == pytest.approx(0.2, abs=0.05)
        check_preference_model(model, study.data)
        plain = bradley_terry(ridge=0.1, encoder="embedding")
        profile = flip_profile(plain, study.data, rates=(0.1, 0.15, 0.2, 0.25, 0.3))
        assert profile.low < 0.22 and profile.high > 0.18 and profile.high - profile.low < 0.1
        # A ridge that holds utilities small leaves nothing to flips.
        tight = flip_profile(bradley_terry(ridge=60.0, encoder="embedding"), study.data, rates=(0.0, 0.1, 0.2))
        assert tight.rate < 0.12

    def test_rates_are_checked(self):
        wrong = (
            {"flips": {"rate": 0.5}},
            {"flips": {"rate": 0.0, "learned": True}},
            {"smoothing": {"eps": 0.5}},
            {"unbiased": {"eps": -0.1}},
            {"unbiased": {"eps": 0.1, "clip": 0.0}},
        )
        for noise in wrong:
            with pytest.raises(InputError):
                bradley_terry(noise=(noise,), encoder="embedding").resolved()


def test_the_unbiased_objective_averages_over_flips_to_the_clean_one():
    _, study = planted(SEED, np.zeros(1), votes=6, features=4, prompts=20)
    model = bradley_terry(encoder="embedding").fit(study.data)
    noisy = bradley_terry(noise=(Unbiased(0.2),), encoder="embedding").fit(study.data).network_
    batch = model._assembled(study.data, answers=True).batch
    noisy.head = model.network_.head
    clean = float(model.network_.objective(batch).per_unit.detach().sum())
    total = 0.0
    for flipped in itertools.product([False, True], repeat=6):
        turned = torch.tensor(flipped)[:, None]
        pairs = batch.pairs
        target = torch.where(turned, pairs.target.flip(-1), pairs.target)
        seen = noisy.relabelled(
            batch.__class__(**{**vars(batch), "pairs": pairs.__class__(**{**vars(pairs), "target": target})})
        )
        chance = 0.2 ** sum(flipped) * 0.8 ** (6 - sum(flipped))
        total += chance * float(noisy.objective(seen).per_unit.detach().sum())
    assert total == pytest.approx(clean, abs=1e-9)


class TestControls:
    """Longer answers win half a logit per standard deviation of length difference, whatever they say."""

    @pytest.fixture(scope="class")
    @classmethod
    def study(cls):
        rng = np.random.default_rng(SEED)
        x = rng.standard_normal((1200, 6))
        length = 120 + 40 * (0.7 * x[:, 0] + 0.7 * rng.standard_normal(1200))
        w = np.array([1.0, -1, 0.5, 0, 0, 0.5])
        everything = np.column_stack([x, length / 40])
        study = embedded(
            lambda a, b, who, prompt: (a - b)[:, :6] @ w + 1.2 * (a - b)[:, 6],
            x=everything,
            prompts=300,
            annotators=10,
            votes=300,
            seed=SEED,
        )
        data = study.data.replace(
            responses=study.data.responses.with_columns(
                length=pl.Series(length), embedding=pl.Series(x.astype(np.float32)).arr.to_list()
            )
        )
        return study, data, x @ w

    def test_take_what_is_theirs_out_of_the_utility(self, study):
        _, data, truth = study
        controlled = bradley_terry(noise=(Controls("length"),), encoder="embedding").fit(data)
        plain = bradley_terry(encoder="embedding").fit(data)

        def slope(model):
            """Weight of the first feature relative to the second: truly -1."""
            weights = model.network_.head.last.weight.detach().numpy()[0] / model.vocabulary_.scale
            return float(weights[0] / weights[1])

        assert slope(controlled) == pytest.approx(-1, abs=0.2)
        assert slope(plain) < -1.5
        effect = float(controlled.network_.noises[0].effects.detach())
        a, b = (data.comparisons[f"response_{side}"].str.slice(2).cast(pl.Int32).to_numpy() for side in "ab")
        length = data.responses["length"].to_numpy()
        assert effect == pytest.approx(1.2 * np.sqrt(np.mean((length[a] - length[b]) ** 2)) / 40, rel=0.12)
        assert np.corrcoef(controlled.utility(data), truth)[0, 1] > 0.98 > np.corrcoef(plain.utility(data), truth)[0, 1]

    def test_are_in_predictions_and_not_in_utilities(self, study, tmp_path):
        _, data, _ = study
        model = bradley_terry(noise=(Controls(("length",)), Position()), encoder="embedding").fit(data)
        some = data.replace(comparisons=data.comparisons.head(400))
        check_preference_model(model, some)
        utility = dict(zip(data.responses["response_id"], model.utility(data)))
        pairs = some.comparisons.select("response_a", "response_b").rows()
        d = np.array([utility[a] - utility[b] for a, b in pairs])
        np.testing.assert_allclose(model.denoised().prob(some), 1 / (1 + np.exp(-d)), atol=1e-12)
        assert np.abs(model.prob(some) - model.denoised().prob(some)).mean() > 0.05
        model.save(tmp_path / "m")
        np.testing.assert_array_equal(load(tmp_path / "m").prob(some), model.prob(some))

    def test_may_be_counted_in_texts(self, study):
        _, data, _ = study
        words = data.responses["length"].round().cast(pl.Int32).clip(1)
        texts = [[{"role": "assistant", "content": " ".join(["word"] * n)}] for n in words]
        told = data.replace(responses=data.responses.drop("length").with_columns(messages=pl.Series(texts)))
        counted = bradley_terry(noise=(Controls("words"),), encoder="embedding").fit(told)
        recorded = bradley_terry(noise=(Controls("length"),), encoder="embedding").fit(data)
        # Lengths were rounded to whole words.
        np.testing.assert_allclose(counted.prob(told), recorded.prob(data), atol=0.03)
        assert np.abs(counted.prob(told) - recorded.prob(data)).mean() < 0.004
        with pytest.raises(InputError, match="no feature of texts"):
            bradley_terry(noise=(Controls("lenght"),), encoder="embedding").fit(data)
        with pytest.raises(InputError, match="give one part all names"):
            bradley_terry(noise=(Controls("length"), Controls("words")), encoder="embedding").fit(told)


class TestPeerReview:
    """A perceptron learns wrong labels by heart; reviewed by a peer, fewer of them."""

    @staticmethod
    def study(rate: float, seed: int):
        w = np.random.default_rng(seed).standard_normal(12)
        w *= 4 / np.linalg.norm(w)
        return embedded(
            lambda a, b, who, prompt: (np.tanh(2 * a) - np.tanh(2 * b)) @ w,
            features=12,
            prompts=500,
            annotators=20,
            votes=100,
            reliability=np.full(20, 1 - rate),
            seed=seed,
        )

    @pytest.mark.parametrize("rate", [0.2, pytest.param(0.4, marks=pytest.mark.slow)])
    def test_keeps_a_perceptron_from_learning_wrong_labels(self, rate):
        study = self.study(rate, SEED)
        train, test = study.halves()

        def accuracy(fitting):
            model = Composed(head=Utility((24,)), fitting=fitting, ridge=0.1, encoder="embedding", seed=SEED)
            return right(model.fit(study.rows(train)), study, test), model

        reviewed, model = accuracy(PeerReview(flip_rate=rate))
        assert reviewed > accuracy(FullBatch(iterations=150))[0] + 0.06
        assert "left" in model.notes_[-1]

    def test_is_about_comparisons_and_shares(self):
        study = self.study(0.2, SEED)
        few = study.rows(np.arange(2000) < 300)
        check_preference_model(bradley_terry(fitting=PeerReview(rounds=2), encoder="embedding").fit(few), few)
        for bad in (PeerReview(flip_rate=1.0), PeerReview(rounds=0)):
            with pytest.raises(InputError, match=r"peer.review"):
                bradley_terry(fitting=bad, encoder="embedding").fit(study.data)


class TestEnsembleStrength:
    @pytest.fixture(scope="class")
    @classmethod
    def study(cls):
        return planted(SEED, np.full(10, 0.2), scale=8.0, votes=200)[1]

    def test_finds_the_wrong_labels(self, study):
        """Known figures: precision .83 and recall .94 at a fifth of wrong labels, by the mean of ten models."""
        model = bradley_terry(encoder="embedding").fit(study.data)
        batch = model._assembled(study.data, answers=True).batch
        network = model.network_
        strength = EnsembleStrength().differences(network, batch, 0).mean(0)
        side = batch.pairs.target[:, 1] - batch.pairs.target[:, 0]
        contradicted = (strength * side < 0).numpy()
        meant = np.sign(study.logit) != side.numpy()  # recorded against the truly preferred side
        precision, recall = (
            (contradicted & meant).sum() / contradicted.sum(),
            (contradicted & meant).sum() / meant.sum(),
        )
        assert precision > 0.8 and recall > 0.8
        # The weakest tenth of agreement is nearly all wrong, the strongest half nearly all right.
        order = np.argsort((strength * side).numpy())
        assert meant[order[:200]].mean() > 0.9 and meant[order[1000:]].mean() < 0.1

    def test_treatments(self, study):
        train, test = study.halves()
        plain = right(bradley_terry(encoder="embedding").fit(study.rows(train)), study, test)
        sizes = {}
        for name, part in {
            "keep": EnsembleStrength(models=4, contradicted="keep"),
            "flip": EnsembleStrength(models=4),
            "lowest": EnsembleStrength(models=4, lowest=0.2),
            "smooth": EnsembleStrength(models=4, contradicted="smooth"),
            "drop": EnsembleStrength(models=4, contradicted="drop"),
            "margin": EnsembleStrength(models=4, contradicted="keep", margin=True),
        }.items():
            model = bradley_terry(fitting=part, encoder="embedding").fit(study.rows(train))
            # For a linear model the direction stays what it was: labels are corrected by the same kind of model.
            assert right(model, study, test) > plain - 0.02
            sizes[name] = float(torch.linalg.norm(model.network_.head.last.weight))
            assert len(model.network_.noises) == 0
        assert sizes["flip"] > 2 * sizes["keep"] and sizes["margin"] > 1.2 * sizes["keep"]
        assert sizes["drop"] > 2 * sizes["keep"] > 0

    def test_what_it_cannot_do_is_refused(self, study):
        for part, match in [
            ({"ensemble_strength": {"models": 3}}, "even number"),
            ({"ensemble_strength": {"contradicted": "burn"}}, "contradicted"),
        ]:
            with pytest.raises(InputError, match=match):
                bradley_terry(fitting=part, encoder="embedding").fit(study.data)


def test_margins_and_wrong_labels_do_not_go_together():
    from preflearn.choice import Ordinal

    _, study = planted(SEED, np.zeros(5), link=Ordinal(2), parameters=(0.3, 1.0))
    with pytest.raises(InputError, match="margin"):
        margin_bt(noise=(Reliability(),), encoder="embedding").fit(study.data)
    with pytest.raises(NotSupported, match="alike"):
        bradley_terry(noise=(Flips(0.1),), encoder="embedding").fit(study.data).adapt(study.data)
