"""What every preference model must satisfy, whatever it is made of; run on each of them."""

from __future__ import annotations

import numpy as np
import polars as pl

from preflearn.data import PreferenceData
from preflearn.protocols import PreferenceModel


def exchanged(data: PreferenceData) -> PreferenceData:
    """The same comparisons with a and b (and what was shown first) exchanged."""
    frame = data.comparisons
    mirror = {"a": "b", "b": "a"}
    columns = [pl.col("response_b").alias("response_a"), pl.col("response_a").alias("response_b")]
    columns += [pl.col(name).replace(mirror) for name in ("outcome", "shown_first") if name in frame.columns]
    return data.replace(comparisons=frame.with_columns(columns))


def check_preference_model(model: PreferenceModel, data: PreferenceData) -> None:
    """Assert the contract on a model fitted to something like `data`."""
    assert isinstance(model, PreferenceModel)
    p = model.prob(data)
    assert p.dtype == np.float64 and p.shape == (data.comparisons.height,)
    assert ((p > 0) & (p < 1)).all()
    np.testing.assert_allclose(model.prob(exchanged(data)), 1 - p, atol=1e-12)
    itself = data.replace(
        comparisons=data.comparisons.with_columns(response_b=pl.col("response_a")).drop("shown_first", strict=False)
    )
    np.testing.assert_allclose(model.prob(itself), 0.5, atol=1e-12)
    order = np.random.default_rng(0).permutation(len(p))
    shuffled = data.replace(comparisons=data.comparisons[order.tolist()])
    np.testing.assert_allclose(model.prob(shuffled), p[order], atol=1e-12)
    blind = data.replace(comparisons=data.comparisons.drop("outcome"))
    np.testing.assert_array_equal(model.prob(blind), p)
    symmetrised = model.prob(data, symmetrised=True)
    np.testing.assert_allclose(model.prob(exchanged(data), symmetrised=True), 1 - symmetrised, atol=1e-12)

    outcomes, table = model.outcome_probs(data)
    assert table.shape == (len(p), len(outcomes))
    np.testing.assert_allclose(table.sum(1), 1, atol=1e-12)
    wins = sum(table[:, k] for k, name in enumerate(outcomes) if name.startswith("a"))
    losses = sum(table[:, k] for k, name in enumerate(outcomes) if name.startswith("b"))
    np.testing.assert_allclose(wins / (wins + losses), p, atol=1e-12)

    again = type(model)(**model.get_params())
    assert again.get_params() == model.get_params()
    assert not [name for name in vars(again) if name.endswith("_") and not name.startswith("_")]
