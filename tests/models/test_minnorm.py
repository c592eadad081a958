"""Min-norm task weights: a small task is not sacrificed to a large one."""

from __future__ import annotations

import numpy as np
import polars as pl

from preflearn.models.fitting.minnorm import MinNorm
from preflearn.models.recipes.bradley_terry import bradley_terry
from preflearn.simulate.embedded import embedded


def test_no_source_is_sacrificed():
    rng = np.random.default_rng(1)
    u, v = np.linalg.qr(rng.standard_normal((12, 2)))[0].T
    small = rng.random(8000) < 0.1
    weights = 2 * np.where(small[:, None], 0.6 * u + v, u - 0.2 * v)
    study = embedded(lambda a, b, who, prompt: ((a - b) * weights).sum(1), features=12, votes=80, seed=2)
    source = pl.Series(np.where(small, "few", "many"))
    data = study.data.replace(comparisons=study.data.comparisons.with_columns(source=source))
    train, test = study.halves()
    keep = lambda mask: data.replace(comparisons=data.comparisons.filter(pl.Series(mask)))  # noqa: E731
    pooled = bradley_terry(encoder="embedding").fit(keep(train))
    fair = bradley_terry(encoder="embedding", fitting=MinNorm(steps=150, rate=0.03)).fit(keep(train))
    few = test & small
    assert study.right(fair.prob(keep(few)), few) > study.right(pooled.prob(keep(few)), few) + 0.03
    assert study.right(fair.prob(keep(test & ~small)), test & ~small) > 0.75
    assert "few" in fair.notes_[0]
