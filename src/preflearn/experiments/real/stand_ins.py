"""Models that answer from several fits at once: probabilities already predicted, and newcomers by their own folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data import PreferenceData
from preflearn.errors import InputError, NotSupported
from preflearn.protocols import Floats, HasAdapt, OutcomeProbabilities, PreferenceModel


class _Fitted:
    """What both have in common: they are fitted already, and know no outcome but a and b."""

    def fit(self, data: PreferenceData) -> Self:
        """Not possible.

        Raises:
            NotSupported: always.
        """
        raise NotSupported("this model stands in for models that are fitted already.")

    def prob(self, data: PreferenceData, *, symmetrised: bool = False) -> Floats:
        """P(a beats b) for each row of `data.comparisons`, [n]."""
        raise NotImplementedError

    def outcome_probs(self, data: PreferenceData) -> OutcomeProbabilities:
        """Both outcomes."""
        p = self.prob(data)
        return OutcomeProbabilities(("a", "b"), np.stack([p, 1 - p], axis=1))

    def get_params(self) -> dict[str, Any]:
        """There are none."""
        return {}


class Stored(_Fitted):
    """Probabilities of the comparisons of a data set, found again by their ids.

    Args:
        data: the data set.
        p: P(a beats b) of each of its comparisons, [n].
    """

    def __init__(self, data: PreferenceData, p: Floats) -> None:
        self.known = data.comparisons.select(pl.col("comparison_id").cast(pl.String), pl.Series("p", p))

    def prob(self, data: PreferenceData, *, symmetrised: bool = False) -> Floats:
        """Those of the comparisons asked for; NaN for others."""
        asked = data.comparisons.select(pl.col("comparison_id").cast(pl.String))
        found = asked.join(self.known, on="comparison_id", how="left", maintain_order="left")["p"]
        return found.fill_null(float("nan")).to_numpy()


class PerFold(_Fitted):
    """Every annotator is answered by the model of the fold that holds this annotator out.

    Args:
        models: of the folds.
        data: all comparisons.
        fold: of the annotator of each of them, [n].

    Raises:
        InputError: a model knows an annotator whom it is to answer as new.
    """

    def __init__(self, models: Sequence[Any], data: PreferenceData, fold: npt.NDArray[np.int64]) -> None:
        people = data.comparisons.select(pl.col("annotator_id").cast(pl.String), pl.Series("fold", fold)).unique()
        self.folds = people
        self.models: list[PreferenceModel] = list(models)
        for k, model in enumerate(models):
            own = set(people.filter(pl.col("fold") == k)["annotator_id"])
            if both := sorted(own & set(getattr(model, "annotators_", ()))):
                raise InputError(f"fold {k} was fitted to annotators that it holds out.", value=both[0])

    def prob(self, data: PreferenceData, *, symmetrised: bool = False) -> Floats:
        """Each row by the model of its annotator's fold."""
        fold = self._folds_of(data.comparisons)
        p = np.full(len(fold), np.nan)
        for k, model in enumerate(self.models):
            rows = fold == k
            if rows.any():
                part = data.replace(comparisons=data.comparisons.filter(pl.Series(rows)))
                p[rows] = model.prob(part, symmetrised=symmetrised)
        return p

    def adapt(self, labelled: PreferenceData) -> PerFold:
        """Each model gets to know the newcomers of its own fold.

        Raises:
            NotSupported: the models treat everyone alike.
        """
        judged, listed = self._folds_of(labelled.comparisons), self._folds_of(labelled.annotators)
        adapted = PerFold.__new__(PerFold)
        adapted.folds, adapted.models = self.folds, []
        for k, model in enumerate(self.models):
            if not isinstance(model, HasAdapt):
                raise NotSupported("the models treat everyone alike.")
            rows, people = pl.Series(judged == k), pl.Series(listed == k)
            part = labelled.replace(
                comparisons=labelled.comparisons.filter(rows), annotators=labelled.annotators.filter(people)
            )
            adapted.models.append(model.adapt(part) if part.height("annotators") else model)
        return adapted

    def _folds_of(self, frame: pl.DataFrame) -> npt.NDArray[np.int64]:
        asked = frame.select(pl.col("annotator_id").cast(pl.String))
        found = asked.join(self.folds, on="annotator_id", how="left", maintain_order="left")["fold"]
        return found.fill_null(-1).to_numpy()
