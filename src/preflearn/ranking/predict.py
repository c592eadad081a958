"""What a fitted rating model answers about comparisons: the `PreferenceModel` contract."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import numpy as np
import polars as pl

from preflearn.choice import Link
from preflearn.data import PreferenceData
from preflearn.data.columns import attach
from preflearn.errors import InputError, NotComputable, NotSupported
from preflearn.protocols import OutcomeProbabilities
from preflearn.ranking.cells import Floats, Ints
from preflearn.ranking.covariance import Covariance
from preflearn.ranking.graph import Status
from preflearn.ranking.style import Form, difference, with_covariates


class _Rows(NamedTuple):
    """Codes and covariates of comparisons."""

    left: Ints
    right: Ints
    first: Floats | None
    features: Floats | None


class Prediction:
    """The fitted state of a rating model as plain data, and what it answers from it."""

    item: str
    items_: tuple[str, ...]
    strengths_: Floats
    """Centred, in logits; NaN where the votes do not determine them."""
    estimable_: Ints
    """Positions of the items that have a strength."""
    other_: Floats
    """Position effect, covariates, link parameters, in this order."""
    has_position_: bool
    covariates_: tuple[str, ...]
    covariate_scale_: tuple[float, ...]
    covariate_forms_: tuple[Form, ...]
    link_: Link
    covariance_: Covariance | None
    """Of the estimable strengths followed by `other_`."""
    replicates_: Floats | None
    status_: list[Status]
    components_: list[dict[str, Any]]
    votes_per_item_: Floats
    n_votes_: float
    n_annotators_: int | None
    excluded_: dict[str, float]
    clusters_: tuple[str, ...]
    warnings_: list[str]
    converged_: bool
    n_iterations_: int
    log_likelihood_: float | None
    data_fingerprint_: str | None

    def prob(self, data: PreferenceData, *, symmetrised: bool = False, missing: str = "raise") -> Floats:
        """P(a beats b | decided) for each row of `data.comparisons` [n], in order of presentation.

        Args:
            symmetrised: average both orders of presentation.
            missing: what to do about items without a strength: "raise" or "nan".

        Raises:
            InputError: an item was not in the training data.
            NotComputable: an item has no strength and `missing` is "raise".
        """
        rows = self._rows(data, missing)
        if not np.isfinite(self.strengths_).any():
            return np.where(rows.left == rows.right, 0.5, np.nan)
        if symmetrised and rows.first is not None:
            swapped = rows._replace(first=-rows.first)
            return 0.5 * (self._decided(rows) + self._decided(swapped))
        return self._decided(rows)

    def outcome_probs(self, data: PreferenceData, *, missing: str = "raise") -> OutcomeProbabilities:
        """Probabilities of the link's outcomes for each row of `data.comparisons` [n, K]; `missing` as in `prob`."""
        rows = self._rows(data, missing)
        if not np.isfinite(self.strengths_).any():
            return OutcomeProbabilities(
                self.link_.outcomes, np.full((len(rows.left), len(self.link_.outcomes)), np.nan)
            )
        parameters = self._parameters()
        log_probs = self.link_.log_probs(self._logit(rows, parameters), self._shape(parameters))
        return OutcomeProbabilities(self.link_.outcomes, np.exp(log_probs))

    def utility(self, data: PreferenceData) -> Floats:
        """Strength of the item of each row of `data.responses` [n], in logits; NaN where it has none."""
        self._fitted()
        items = data.select("responses", [self.item]).collect()[self.item].cast(pl.String)
        return self.strengths_[self._positions(items)]

    def prob_draws(self, data: PreferenceData, n: int, seed: int) -> Floats:
        """Draws of `prob` from the estimator's normal approximation [n, comparisons]."""
        rows = self._rows(data, "raise")
        generator = np.random.default_rng(seed)
        if self.covariance_ is None:
            raise NotComputable("the uncertainty of the strengths is not computable")
        errors = self.covariance_.sample(n, generator)
        out = np.empty((n, len(rows.left)))
        base = self._parameters()
        for draw in range(n):
            out[draw] = self._decided(rows, base + self._spread(errors[draw]))
        return out

    def rate(self, data: PreferenceData) -> NoReturn:
        """A rating model of comparisons has no absolute scale."""
        raise NotSupported("comparisons determine differences only, not positions on a rating scale")

    def represent(self, data: PreferenceData) -> NoReturn:
        """A rating model knows items by name only."""
        raise NotSupported("a rating model of named items has no representation of responses")

    def adapt(self, labelled: PreferenceData) -> NoReturn:
        """One leaderboard serves everyone."""
        raise NotSupported("this model has no annotator-specific part to adapt")

    # -- inside ----------------------------------------------------------------------------------------------------

    def _fitted(self) -> None:
        if not hasattr(self, "strengths_"):
            raise InputError(f"this {type(self).__name__} is not fitted.", cure="Call fit(data) first.")

    def _parameters(self) -> Floats:
        """Strengths of all items followed by the other parameters."""
        return np.concatenate([self.strengths_, self.other_])

    def _spread(self, error: Floats) -> Floats:
        """Errors of the estimated parameters [n + q] in the layout of `_parameters`."""
        determined = len(self.estimable_)
        out = np.zeros(len(self.items_) + len(self.other_))
        out[self.estimable_] = error[:determined]
        out[len(self.items_) :] = error[determined:]
        return out

    def _shape(self, parameters: Floats) -> Floats:
        return parameters[len(parameters) - len(self.link_.parameters) :]

    def _rows(self, data: PreferenceData, missing: str) -> _Rows:
        self._fitted()
        if missing not in ("raise", "nan"):
            raise InputError("missing is neither 'raise' nor 'nan'.", value=missing)
        columns: list[str] = []
        if self.covariates_:
            data, columns, _ = with_covariates(data, self.covariates_, self.covariate_forms_)
        wanted = {"__a": f"a.{self.item}", "__b": f"b.{self.item}"}
        for column in columns:
            wanted |= {f"__a{column}": f"a.{column}", f"__b{column}": f"b.{column}"}
        frame = attach(data, "comparisons", wanted).collect()
        left, right = self._positions(frame["__a"].cast(pl.String)), self._positions(frame["__b"].cast(pl.String))
        undetermined = np.isnan(self.strengths_[left]) | np.isnan(self.strengths_[right])
        undetermined &= left != right
        if missing == "raise" and not np.isfinite(self.strengths_).any():
            raise NotComputable("no strength is computable from the training data")
        if missing == "raise" and undetermined.any():
            names = sorted({self.items_[i] for i in np.concatenate([left, right]) if np.isnan(self.strengths_[i])})
            raise NotComputable(
                f"{int(undetermined.sum())} comparisons involve items without a strength: {', '.join(names[:10])}"
            )
        features = None
        if columns:
            differences = frame.select(
                difference(pl.col(f"__a{column}"), pl.col(f"__b{column}"), form).fill_null(0.0).alias(column)
                for column, form in zip(columns, self.covariate_forms_)
            ).to_numpy()
            features = differences / np.asarray(self.covariate_scale_)
        first = None
        if self.has_position_:
            recorded = "shown_first" in frame.columns
            shown = frame["shown_first"] if recorded else pl.Series([None] * frame.height, dtype=pl.String)
            first = shown.replace_strict(["a", "b"], [1.0, -1.0], default=0.0, return_dtype=pl.Float64).to_numpy()
        return _Rows(left, right, first, features)

    def _positions(self, items: pl.Series) -> Ints:
        unknown = items.is_null() | ~items.is_in(list(self.items_))
        if unknown.any():
            name = items.filter(unknown)[0]
            raise InputError(
                f"the item {name!r} was not in the training data.", row=int(unknown.arg_true()[0]), column=self.item
            )
        return items.cast(pl.Enum(list(self.items_))).to_physical().cast(pl.Int64).to_numpy()

    def _logit(self, rows: _Rows, parameters: Floats) -> Floats:
        n = len(self.items_)
        logit = np.where(rows.left == rows.right, 0.0, parameters[rows.left] - parameters[rows.right])
        at = n
        if rows.first is not None:
            logit = logit + parameters[at] * rows.first
            at += 1
        if rows.features is not None:
            logit = logit + rows.features @ parameters[at : at + rows.features.shape[1]]
        return logit

    def _decided(self, rows: _Rows, parameters: Floats | None = None) -> Floats:
        parameters = self._parameters() if parameters is None else parameters
        log_probs = np.asarray(self.link_.log_probs(self._logit(rows, parameters), self._shape(parameters)))
        half = len(self.link_.outcomes) // 2
        probabilities = np.exp(log_probs)
        lose, win = probabilities[:, :half].sum(1), probabilities[:, len(self.link_.outcomes) - half :].sum(1)
        return win / (win + lose)  # type: ignore[no-any-return]
