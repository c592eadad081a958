"""Monte Carlo: intervals of `compare` hold the truth as often as they say, where rows share people and prompts."""

from __future__ import annotations

import numpy as np
import pytest

from preflearn.data import PreferenceData
from preflearn.evaluate import compare
from tests.evaluate.makers import votes

pytestmark = pytest.mark.slow


def sigma(z: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-z)))


def crossed(seed: list[int], people: int, prompts: int, each: int) -> tuple[PreferenceData, np.ndarray, np.ndarray]:
    """People with tastes of their own and prompts that neither model understands in full; two models."""
    rng = np.random.default_rng(seed)
    tilt, shift = 1 + 0.8 * rng.normal(size=people), 0.6 * rng.normal(size=prompts)
    base, feature = rng.normal(size=(2, prompts))
    who = np.repeat(np.arange(people), each)
    what = np.concatenate([rng.permutation(prompts)[:each] for _ in range(people)])
    side = np.where(rng.random(len(who)) < 0.5, -1, 1)
    won = rng.random(len(who)) < sigma(side * (tilt[who] * base[what] + shift[what] + 0.5 * feature[what]))
    data = votes(
        np.where(won, "a", "b").tolist(),
        annotator_id=[f"u{i}" for i in who],
        prompt_id=[f"p{i}" for i in what],
    )
    return data, sigma(side * base[what]), sigma(side * (0.7 * base[what] + 0.5 * feature[what]))


def test_paired_two_way_intervals_cover() -> None:
    names = ("accuracy", "log_loss", "brier", "auc", "ece")
    large = [crossed([0, k], 20_000, 20_000, 5) for k in range(8)]
    found = [
        compare({"one": p, "other": q}, data, cluster="rows", n_bootstrap=0).models["other"].differences
        for data, p, q in large
    ]
    truth = {name: float(np.mean([one[name].value for one in found])) for name in names}
    hits: dict[tuple[str | None, str], list[bool]] = {}
    for seed in range(400):
        data, p, q = crossed([1, seed], 60, 60, 20)
        for way in (None, "annotator") if seed < 150 else (None,):
            one = compare({"one": p, "other": q}, data, cluster=way, n_bootstrap=300, seed=seed).models["other"]
            for name in names:
                figure = one.differences[name]
                assert figure.low is not None and figure.high is not None
                hits.setdefault((way, name), []).append(figure.low <= truth[name] <= figure.high)
    shares = {key: float(np.mean(found)) for key, found in hits.items()}
    for name in ("accuracy", "log_loss", "brier", "auc"):
        assert 0.92 <= shares[None, name] <= 0.98, shares
        # people alone are not what these figures vary with
        assert shares["annotator", name] < shares[None, name] - 0.03, shares
    assert shares[None, "ece"] >= 0.92, shares


def test_one_way_intervals_of_differences_cover_with_few_people() -> None:
    """Twelve people of different tastes; prompts all their own."""
    rng = np.random.default_rng(3)

    def sample(people: int, each: int) -> tuple[PreferenceData, np.ndarray, np.ndarray]:
        x, z = rng.normal(size=(2, people * each))
        taste = np.repeat(1 + 0.8 * rng.normal(size=people), each)
        won = rng.random(people * each) < sigma(taste * x + 0.5 * z)
        data = votes(
            np.where(won, "a", "b").tolist(), annotator_id=np.repeat(np.arange(people), each).astype(str).tolist()
        )
        return data, sigma(x), sigma(0.6 * x + 0.6 * z)

    data, p, q = sample(20_000, 20)
    truth = compare({"one": p, "other": q}, data, cluster="rows", n_bootstrap=0).models["other"].differences
    hits = {"accuracy": 0, "log_loss": 0}
    for seed in range(400):
        data, p, q = sample(12, 40)
        found = compare({"one": p, "other": q}, data, n_bootstrap=400, seed=seed).models["other"].differences
        for name in hits:
            hits[name] += found[name].low <= truth[name].value <= found[name].high  # type: ignore[operator]
    for name, n in hits.items():
        assert 0.92 <= n / 400 <= 0.98, (name, n / 400)


def test_the_interval_of_the_worst_group_covers_although_it_was_chosen() -> None:
    """Ten groups that are all alike: the smallest share is far below the truth, its own interval would often miss."""
    rng = np.random.default_rng(4)
    n, groups, repetitions = 1500, 10, 300
    together = alone = 0
    for seed in range(repetitions):
        right = rng.random(n) < 0.65
        data = votes(np.where(right, "a", "b").tolist(), source=[f"g{i % groups}" for i in range(n)])
        found = compare({"m": np.full(n, 0.7)}, data, by="source", n_bootstrap=300, seed=seed).by["source"]
        worst = found.worst["m"]["accuracy"]
        own = found.values[worst.group or ""]["m"].figures["accuracy"]
        assert worst.figure.low is not None and worst.figure.high is not None and own.high is not None
        together += worst.figure.low <= 0.65 <= worst.figure.high
        alone += own.high >= 0.65
    assert together / repetitions >= 0.93
    assert alone / repetitions < together / repetitions - 0.05


@pytest.mark.parametrize(("sharp", "n"), [(1.3, 300), (1.3, 2000), (2.0, 2000), (2.0, 8000)])
def test_differences_of_calibration_cover_although_the_error_is_biased(sharp: float, n: int) -> None:
    """A calibrated model (whose estimated error is nothing but bias) against one that is too sure."""
    many = np.abs(np.random.default_rng(5).normal(size=1_000_000))
    truth = float(np.abs(sigma(sharp * many) - sigma(many)).mean())
    hits = 0
    for seed in range(150):
        rng = np.random.default_rng([seed, n])
        x = rng.normal(size=n)
        data = votes(np.where(rng.random(n) < sigma(x), "a", "b").tolist())
        found = compare({"calibrated": sigma(x), "sure": sigma(sharp * x)}, data, n_bootstrap=300, seed=seed)
        figure = found.models["sure"].differences["ece"]
        assert figure.low is not None and figure.high is not None
        hits += figure.low <= truth <= figure.high
    assert hits / 150 >= 0.92
