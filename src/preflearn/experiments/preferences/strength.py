"""Proofs of reward models, of recorded strength and ties, and of ratings."""

from __future__ import annotations

import numpy as np
import polars as pl

from preflearn.choice import Davidson, Ordinal
from preflearn.data import PreferenceData
from preflearn.experiments.measures import Floats, averaged
from preflearn.experiments.preferences.studies import linear, right, scalar, with_ratings
from preflearn.experiments.proof import Figures, proof
from preflearn.models import Composed
from preflearn.models.outcomes import Comparisons
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.models.recipes.ratings import helpsteer2, rating_regression
from preflearn.models.recipes.strength import margin_bt, ordinal, scaled_bt
from preflearn.simulate.embedded import Embedded, embedded

CUTS = (2.0, 5.0, 9.0)
"""Where a preference is called slight, clear and strong, for utilities with a standard deviation of 6."""


@proof(
    "reward_model",
    claim="accuracy of a utility learned from 1,000 comparisons, features correlated",
    baseline="the direction from the mean of losers to the mean of winners",
    expected=1.0,
    limit=0.1,
    least_effect=0.05,
)
@averaged(40)
def reward_model(seed: int) -> Figures:
    """Features that vary most are not those that decide."""
    rng = np.random.default_rng([seed, 3])
    mixing = rng.standard_normal((16, 16)) * np.linspace(0.2, 2.0, 16)
    w = np.linalg.solve(mixing, 3 * rng.standard_normal(16) / 4)
    x = rng.standard_normal((2_000, 16)) @ mixing.T
    study = embedded(linear(np.asarray(w)), x=x, prompts=500, annotators=50, votes=40, seed=seed)
    train, test = study.halves()
    pairs = _differences(study)
    won = np.where(study.data.comparisons["outcome"].to_numpy() == "a", 1.0, -1.0)
    direction = (pairs[train] * won[train, None]).mean(0)
    by_means = study.right((1 + np.sign(pairs[test] @ direction)) / 2, test)
    return Figures(right(bradley_terry(), study, train, test), by_means)


@proof(
    "ordinal",
    claim="accuracy of a utility learned from 100 comparisons of recorded strength",
    baseline="Bradley-Terry on who won",
    expected=1.0,
    limit=0.15,
    least_effect=0.01,
)
@averaged(15)
def graded_outcomes(seed: int) -> Figures:
    """Strong preferences say more than weak ones."""
    return _from_few(seed, ordinal())


@proof(
    "ordinal_cut_points",
    claim="slope of learned on planted cut-points (.4, 1.2, 2.5), from 4,000 comparisons",
    baseline="cut-points from how often each strength was recorded, all responses taken for equal",
    expected=1.0,
    limit=0.2,
    least_effect=0.1,
)
def cut_points(seed: int) -> Figures:
    """Where strong preferences begin can only be told when utilities are known."""
    cuts = np.array([0.4, 1.2, 2.5])
    study = scalar(seed, 1.5, features=8, link=Ordinal(3), parameters=cuts, votes=40, prompts=1_000)
    model = ordinal().fit(study.data)
    found = model.network_.choice.shape.shape_parameters.detach().numpy()
    strength = study.data.comparisons["strength"].fill_null(0).to_numpy()
    reached = np.array([np.mean(strength >= level) / 2 for level in (1, 2, 3)])
    return Figures(_through_zero(found, cuts), _through_zero(np.log(1 / reached - 1), cuts))


@proof(
    "margin_bt",
    claim="accuracy of a utility learned from 100 comparisons of recorded strength",
    baseline="Bradley-Terry on who won",
    expected=1.0,
    limit=0.15,
    least_effect=0.003,
)
@averaged(15)
def margins(seed: int) -> Figures:
    """The gain is small: compare with `ordinal`, which knows how strength comes about."""
    return _from_few(seed, margin_bt())


@proof(
    "scaled_bt",
    claim="accuracy of a utility learned from 100 comparisons of recorded strength",
    baseline="Bradley-Terry on who won",
    expected=1.0,
    limit=0.15,
    least_effect=0.003,
)
@averaged(15)
def weights_by_strength(seed: int) -> Figures:
    """The gain is small: compare with `ordinal`, which knows how strength comes about."""
    return _from_few(seed, scaled_bt())


@proof(
    "scaled_repetition",
    claim="mean distance of predictions of scaled Bradley-Terry from those where strength m is said m times",
    baseline="Bradley-Terry that hears everything once",
    expected=0.0,
    limit=1e-5,
    least_effect=0.005,
    resolution=1e-6,
)
@averaged(8)
def repetition(seed: int) -> Figures:
    """An identity: strength as a weight is nothing but repetition."""
    study = scalar(seed, 3.0, link=Ordinal(3, ties=False), parameters=(1.0, 3.0), votes=5)
    frame = study.data.comparisons
    once = study.data.replace(comparisons=frame.drop("strength"))
    often = once.replace(comparisons=frame.with_columns(count=pl.col("strength").cast(pl.UInt32)).drop("strength"))
    scaled, said, plain = (
        model.fit(data).prob(once)
        for model, data in ((scaled_bt(), study.data), (bradley_terry(), often), (bradley_terry(), once))
    )
    return Figures(float(np.abs(scaled - said).mean()), float(np.abs(plain - said).mean()))


@proof(
    "helpsteer2",
    claim="accuracy of a utility learned from 100 ratings and 100 comparisons of recorded strength",
    baseline="the better of its two stages alone: regression on the ratings, scaled Bradley-Terry on the comparisons",
    expected=1.0,
    limit=0.1,
    least_effect=0.002,
)
def ratings_then_comparisons(seed: int) -> Figures:
    """The regression on ratings is where comparisons begin."""
    both, *alone = np.mean([_stages(seed + 100_003 * k) for k in range(30)], axis=0)
    return Figures(float(both), float(max(alone)))


@proof(
    "warm_start_memory",
    claim="accuracy where 60 ratings have to serve 32 features, and a tenth of what they said is remembered",
    baseline="all of it is remembered: below the accuracy of the comparisons alone",
    expected=1.0,
    limit=0.15,
    least_effect=0.002,
)
@averaged(10)
def few_ratings(seed: int) -> Figures:
    """Few ratings are fitted too well, and then believed too much: a default that fails there."""
    w, study = _strong(seed)
    data = _rated(study, 60, noise=0.5, seed=seed)
    return Figures(*(_exact(helpsteer2(memory=memory).fit(data), w) for memory in (0.1, 1.0)))


@proof(
    "rating_regression",
    claim="correlation with the true utility of what 400 ratings by 40 raters teach, each strict or lenient",
    baseline="regression that takes everyone's scale for the same",
    expected=1.0,
    limit=0.05,
    least_effect=0.02,
)
@averaged(32)
def ratings(seed: int) -> Figures:
    """A lenient rater's four is not a strict rater's four."""
    rng = np.random.default_rng([seed, 5])
    study = scalar(seed, 1.0, votes=40)
    w = _taste(study)
    item = rng.permutation(len(study.x))
    first, rest = item[:400], item[400:]
    who = rng.integers(40, size=400)
    value = study.x[first] @ w + 2 * rng.standard_normal(40)[who] + 0.5 * rng.standard_normal(400)
    data = with_ratings(study.data, value, first, annotator_id=[f"person-{u}" for u in who])
    data = data.replace(comparisons=data.comparisons.clear())
    models = [rating_regression(personal=personal).fit(data) for personal in (1.0, None)]
    return Figures(*(float(np.corrcoef(model.utility(data)[rest], study.x[rest] @ w)[0, 1]) for model in models))


@proof(
    "davidson_outcome",
    claim="propensity to tie at equal utilities, from 20,000 comparisons of responses",
    baseline="the propensity that the share of ties gives when utilities are taken for equal",
    expected=0.8,
    limit=0.2,
    least_effect=0.1,
)
def ties(seed: int) -> Figures:
    """Most pairs are not equal, so they tie less often than equal ones would."""
    study = scalar(seed, 1.5, features=8, link=Davidson(), parameters=(np.log(0.8),), prompts=2_000, votes=200)
    model = Composed(outcomes=(Comparisons(Davidson()),)).fit(study.data)
    share = float((study.data.comparisons["outcome"] == "tie").mean())  # type: ignore[arg-type]
    found = float(model.network_.choice.shape.shape_parameters.detach().exp())
    return Figures(found, 2 * share / (1 - share))


def _from_few(seed: int, model: Composed) -> Figures:
    """Accuracy of a model, and of Bradley-Terry, from 100 comparisons."""
    w, study = _strong(seed)
    return Figures(*(_exact(each.fit(study.data), w) for each in (model, bradley_terry())))


def _stages(seed: int) -> list[float]:
    """Accuracy of both stages, of the regression alone, of scaled Bradley-Terry alone."""
    study = scalar(seed, link=Ordinal(3), parameters=(1.0, 2.5, 4.5), votes=1, prompts=400)
    data = _rated(study, 100, noise=0.6, seed=seed)
    w, rated = _taste(study), data.replace(comparisons=data.comparisons.clear())
    fitted = helpsteer2().fit(data), rating_regression().fit(rated), scaled_bt().fit(study.data)
    return [_exact(model, w) for model in fitted]


def _strong(seed: int) -> tuple[Floats, Embedded]:
    """A taste in 32 features, and 100 comparisons with strength."""
    study = scalar(seed, 6.0, features=32, link=Ordinal(3), parameters=CUTS, annotators=10, votes=10, prompts=400)
    return _taste(study), study


def _rated(study: Embedded, n: int, noise: float, seed: int) -> PreferenceData:
    """The data with ratings of n responses from 0 to 9, `noise` in standard deviations of the utility."""
    rng = np.random.default_rng([seed, 4])
    item = rng.permutation(len(study.x))[:n]
    utility = study.x @ _taste(study)
    value = (utility / utility.std())[item] + noise * rng.standard_normal(n)
    return with_ratings(study.data, np.clip(np.round(4.5 + 1.5 * value), 0, 9), item)


def _taste(study: Embedded) -> Floats:
    """The planted weights, by least squares from the logits of the study."""
    w = np.linalg.lstsq(_differences(study), study.logit, rcond=None)[0]
    return np.asarray(w)


def _differences(study: Embedded) -> Floats:
    """Features of a minus those of b of every comparison, [n, d]."""
    sides = [
        study.data.comparisons[side].str.slice(2).cast(pl.Int64).to_numpy() for side in ("response_a", "response_b")
    ]
    return np.asarray(study.x[sides[0]] - study.x[sides[1]])


def _exact(model: Composed, w: Floats) -> float:
    """Accuracy on all pairs of responses with independent normal features: 1 - angle / pi."""
    assert model.vocabulary_.scale is not None
    v = model.network_.head.last.weight.detach().numpy()[0] / model.vocabulary_.scale  # type: ignore[union-attr,operator]
    return 1 - float(np.arccos(v @ w / np.linalg.norm(v) / np.linalg.norm(w))) / np.pi


def _through_zero(found: Floats, truth: Floats) -> float:
    """Slope of a line through the origin."""
    return float(found @ truth / (truth @ truth))
