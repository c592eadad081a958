"""Amortised people: the encoder's algebra, what training scores, and planted camps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from tests.contract import check_preference_model
from torch.distributions import Normal, kl_divergence

from preflearn.errors import InputError
from preflearn.models import Composed, load
from preflearn.models.base import Shape
from preflearn.models.batch import Batch, Pairs, Who
from preflearn.models.fitting.minibatch import Minibatch
from preflearn.models.heads import Join, SkewRepresentation, Utility
from preflearn.models.kernels import Difference, Skew, Sum
from preflearn.models.outcomes import Comparisons
from preflearn.models.plan import Plan
from preflearn.models.population.amortised import Amortised
from preflearn.models.population.encoder import Belief, SetEncoder
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.latent import vpl
from preflearn.simulate.embedded import embedded

CHANNELS = {"decoder": "channels", "hidden": (), "pooling": "evidence", "latent": 4}


def batch_of(n: int = 30, people: int = 4, outcomes: int = 2, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(20, 5, generator=generator)
    who = torch.randint(-1, people, (n,), generator=generator)
    target = torch.eye(outcomes)[torch.randint(outcomes, (n,), generator=generator)]
    a, b = torch.randint(20, (2, n), generator=generator)
    one, none = torch.ones(n), torch.zeros(n)
    pairs = Pairs(Who(who, torch.full((n,), -1)), a, b, target, one, one, none, torch.zeros(n, 0))
    return Batch(x=x, pairs=pairs)


def turned(pairs: Pairs) -> Pairs:
    return replace(pairs, target=pairs.target.flip(1))


def mirrored(pairs: Pairs) -> Pairs:
    return replace(pairs, a=pairs.b, b=pairs.a, target=pairs.target.flip(1))


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "attention", "evidence"])
@pytest.mark.parametrize("outcomes", [2, 3])
def test_encoder_knows_no_order(pooling, odd, outcomes):
    torch.manual_seed(0)
    encoder = SetEncoder(5, 16, 3, pooling, odd)
    batch = batch_of(outcomes=outcomes)
    pairs, unit = batch.pairs, batch.pairs.who.annotator.clamp(min=0)
    said, back = encoder(pairs, batch.x, unit, 5, turned=True)
    order = torch.randperm(len(pairs))
    shuffled = batch.only(pairs=order).pairs
    for other in (
        encoder(shuffled, batch.x, unit[order], 5, turned=False).said,
        encoder(mirrored(pairs), batch.x, unit, 5, turned=False).said,  # the same answer, asked the other way round
        encoder(turned(pairs), batch.x, unit, 5, turned=True).turned,
    ):
        for value, expected in zip(other, said, strict=True):
            torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
    assert (said.mean[4] == 0).all() and (said.log_variance[4] == 0).all()  # no comparisons: the prior
    assert said.mean[:4].abs().min() > 0
    if odd:
        torch.testing.assert_close(back.mean, -said.mean)
        torch.testing.assert_close(back.log_variance, said.log_variance)


def test_evidence_adds_up():
    torch.manual_seed(0)
    encoder = SetEncoder(5, 16, 3, "evidence", False)
    batch = batch_of()
    unit = torch.zeros(30, dtype=torch.int64)
    few = encoder(batch.only(pairs=torch.arange(5)).pairs, batch.x, unit[:5], 1, turned=False).said
    all_ = encoder(batch.pairs, batch.x, unit, 1, turned=False).said
    assert (all_.log_variance < few.log_variance).all() and (few.log_variance < 0).all()
    twice = replace(batch.pairs, weight=2 * torch.ones(30))
    copied = batch.only(pairs=torch.arange(30).repeat(2)).pairs
    by_weight = encoder(twice, batch.x, unit, 1, turned=False).said
    by_rows = encoder(copied, batch.x, unit.repeat(2), 1, turned=False).said
    torch.testing.assert_close(by_weight, by_rows, atol=1e-6, rtol=1e-5)


def test_divergence_is_that_of_torch():
    belief = Belief(torch.tensor([[0.3, -2.0]]), torch.tensor([[-1.0, 0.5]]))
    expected = kl_divergence(Normal(belief.mean, (belief.log_variance / 2).exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(belief.divergence(), expected)


def network_of(part: Amortised, batch: Batch, people: int = 4):
    plan = Plan(Utility((8,)), Difference(), part, (), (Comparisons(),), Minibatch())
    torch.manual_seed(1)
    return plan.build(Shape(features=batch.x.shape[1], annotators=people), 1.0)


def test_what_is_looked_at_is_not_scored():
    """And what is scored stands for all comparisons of the person; the divergence counts once per person."""
    batch = batch_of(n=60)
    network = network_of(Amortised(latent=3), batch)
    network.population.progress = 1.0
    rows = batch.pairs
    count = torch.bincount(rows.who.annotator.clamp(min=0), minlength=4) - torch.tensor(
        [int((rows.who.annotator < 0).sum()), 0, 0, 0]
    )
    for _ in range(20):
        taste = network.population(rows, batch)
        sums = torch.zeros(5).index_add(0, rows.who.annotator + 1, taste.weight)
        torch.testing.assert_close(sums[1:], count.to(sums.dtype))
        assert (taste.weight[rows.who.annotator < 0] == 1).all()
        looked_at = (taste.weight == 0) & (rows.who.annotator >= 0)
        assert all(0 < int(looked_at[rows.who.annotator == u].sum()) < count[u] for u in range(4))
    cost = network.objective(batch)
    assert float(cost.weight) == 60
    # The answers that are scored do not move the latent numbers they are scored with.
    torch.manual_seed(7)
    taste = network.population(rows, batch)
    scored = taste.weight > 0
    other = replace(rows, target=torch.where(scored[:, None], rows.target.flip(1), rows.target))
    torch.manual_seed(7)
    again = network.population(other, replace(batch, pairs=other))
    torch.testing.assert_close(again.latent, taste.latent)
    torch.testing.assert_close(again.loss, taste.loss)


def test_divergence_warms_up_in_cycles():
    batch = batch_of()
    population = network_of(Amortised(beta=2.0, warmup=0.5, cycles=2), batch).population
    seen = []
    for progress in (0.0, 0.125, 0.25, 0.4, 0.5, 0.625, 1.0):
        population.progress = progress
        seen.append(population.strength)
    assert seen == pytest.approx([0, 1, 2, 2, 0, 1, 2])


def camps(people: int, votes: int, new: int = 40, seed: int = 0):
    """Two opposite camps; the last `new` people are not for training."""
    rng = np.random.default_rng([seed, 11])
    w = 2 * rng.standard_normal(8)
    camp = np.where(np.arange(people + new) % 2, 1.0, -1.0)
    study = embedded(
        lambda a, b, who, prompt: camp[who] * ((a - b) @ w),
        features=8,
        annotators=people + new,
        votes=np.r_[np.full(people, votes), np.full(new, 40)],
        prompts=400,
        seed=seed,
    )
    return study, study.annotator < people


def first(study, chosen: np.ndarray, n: int) -> np.ndarray:
    """The first n of the chosen judgments of each person."""
    frame = pl.DataFrame({"who": study.annotator, "chosen": chosen})
    rank = frame.select(pl.col("chosen").cast(pl.Int64).cum_sum().over("who"))["chosen"].to_numpy()
    return chosen & (rank <= n)


def curve(model, study, known: np.ndarray, sizes=(0, 1, 4, 8)) -> list[float]:
    """Share of right sides for newcomers after n judgments of theirs, on other prompts."""
    early = study.prompt < 200
    asked = ~known & ~early
    scores = []
    for n in sizes:
        adapted = model.adapt(study.rows(first(study, ~known & early, n))) if n else model
        scores.append(study.right(adapted.prob(study.rows(asked)), asked))
    return scores


@pytest.fixture(scope="module")
def opposite():
    return camps(100, 20)


def test_newcomers_are_known_at_first_sight(opposite):
    study, known = opposite
    model = vpl(steps=200, encoder="embedding").fit(study.rows(known))
    scores = curve(model, study, known)
    alike = bradley_terry(encoder="embedding").fit(study.rows(known))
    asked = study.rows(~known)
    assert abs(scores[0] - 0.5) < 0.08 and study.right(alike.prob(asked), ~known) < 0.62
    assert scores[1] > 0.8 and scores[3] > 0.92
    use = model.network_.population.use()
    assert use.divergence > 0.5 and use.active >= 1
    assert any("nats" in note for note in model.notes_)
    check_preference_model(model, study.rows(~known & (study.prompt > 350)))


def test_beliefs_are_averaged_over(opposite):
    """The predictions for people are means over what is not known about them, not those of the mean."""
    study, known = opposite
    model = vpl(steps=60, encoder="embedding").fit(study.rows(known))
    asked, population = study.rows(known & (study.prompt < 20)), model.network_.population
    predicted = model.prob(asked)
    population.draws = population.draws[:0]
    of_the_mean = model.prob(asked)
    mean = population.mean.clone()
    spread, generator = torch.exp(population.log_variance / 2), torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(400):
        population.mean = mean + spread * torch.randn(mean.shape, generator=generator)
        drawn.append(model.prob(asked))
    error, without = (np.sqrt(np.mean((p - np.mean(drawn, axis=0)) ** 2)) for p in (predicted, of_the_mean))
    assert error < 0.01 and without > 0.03


def test_a_divergence_counted_too_often_collapses(opposite):
    """beta = 1 on a mean over 20 comparisons is 20 on their sum: nobody is told apart, and the notes say so."""
    study, known = opposite
    model = vpl(beta=20.0, steps=120, encoder="embedding").fit(study.rows(known))
    assert model.network_.population.use().divergence < 0.05
    assert curve(model, study, known, sizes=(8,))[0] < 0.6
    assert any("collapsed" in note for note in model.notes_)


@pytest.mark.parametrize("options", [{"deterministic": True}, {"odd": True}, {"guidance": 2.0}])
def test_variants_reach_the_same(opposite, options):
    study, known = opposite
    model = vpl(steps=150, encoder="embedding", **CHANNELS, **options).fit(study.rows(known))
    assert curve(model, study, known, sizes=(8,))[0] > 0.93


def test_guidance_turns_the_mean():
    """Where nobody is the opposite of anybody, nothing else says what turned answers mean."""
    rng = np.random.default_rng(2)
    tastes = 2 * rng.standard_normal((3, 8))
    study = embedded(
        lambda a, b, who, prompt: ((a - b) * tastes[who % 3]).sum(1), features=8, annotators=60, votes=20, seed=3
    )
    cosines = []
    for guidance in (0.0, 5.0):
        model = vpl(steps=100, encoder="embedding", guidance=guidance).fit(study.data)
        data = study.data
        mirror = data.comparisons.with_columns(outcome=pl.col("outcome").cast(pl.String).replace({"a": "b", "b": "a"}))
        people = {name: f"turned {name}" for name in model.annotators_}
        mirror = mirror.with_columns(annotator_id=pl.col("annotator_id").cast(pl.String).replace(people))
        adapted = model.adapt(data.replace(comparisons=mirror, annotators=data.annotators.head(0)))
        mean = adapted.network_.population.mean
        n = len(model.annotators_)
        place = [adapted.annotators_.index(people[name]) for name in model.annotators_]
        cosines.append(float(torch.cosine_similarity(mean[:n], mean[place], dim=1).mean()))
    assert cosines[1] < cosines[0] - 0.05 and cosines[1] < -0.9


def test_latent_people_with_cyclic_tastes():
    """VPL over the hybrid kernel: camps that turn a cyclic preference round."""
    rng = np.random.default_rng(5)
    m = rng.standard_normal((6, 6))
    skew, w = (m - m.T) / 2, rng.standard_normal(6)
    camp = np.where(np.arange(80) < 40, 1.0, -1.0)
    study = embedded(
        lambda a, b, who, prompt: (a - b) @ w + 2 * camp[who] * np.einsum("ni,ij,nj->n", a, skew, b),
        features=6,
        annotators=80,
        votes=60,
        seed=1,
    )
    train, test = study.halves(0.7)
    head = Join((Utility(), SkewRepresentation(3)))
    parts = {"head": head, "kernel": Sum((Difference(), Skew())), "encoder": "embedding"}
    people = Amortised(2, decoder="channels", pooling="evidence", odd=True)
    model = Composed(population=people, fitting=Minibatch(200), **parts).fit(study.rows(train))
    alike = Composed(**parts).fit(study.rows(train))
    scores = [study.right(each.prob(study.rows(test)), test) for each in (model, alike)]
    assert scores[0] > scores[1] + 0.1
    check_preference_model(model, study.rows(test & (study.prompt > 190)))


def test_saved_and_loaded(tmp_path):
    study, known = camps(20, 8, new=5)
    model = vpl(latent=2, hidden=(4,), steps=5, encoder="embedding").fit(study.rows(known))
    adapted = model.adapt(study.rows(~known))
    adapted.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_allclose(again.prob(study.data), adapted.prob(study.data), atol=1e-12)


def test_people_must_be_named_and_drawn_objectives_trained_in_steps():
    study, _ = camps(10, 5, new=0)
    with pytest.raises(InputError, match="annotators"):
        vpl(encoder="embedding").fit(study.data.replace(comparisons=study.data.comparisons.drop("annotator_id")))
    with pytest.raises(InputError, match="minibatch"):
        vpl(encoder="embedding", fitting="full_batch").fit(study.data)
    with pytest.raises(InputError, match="latent"):
        vpl(latent=0, encoder="embedding").fit(study.data)
