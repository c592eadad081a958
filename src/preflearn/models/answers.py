"""What a fitted composed model answers: probabilities, utilities, ratings, representations, newcomers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor, nn

from preflearn.data import PreferenceData
from preflearn.data.arrays import codes
from preflearn.data.columns import attach, qualified, resolve
from preflearn.data.fingerprints import row_fingerprints
from preflearn.errors import InputError, NotSupported
from preflearn.models.assemble import Assembled, Features, assemble
from preflearn.models.base import OutcomePart
from preflearn.models.batch import Batch, Ratings, Who
from preflearn.models.network import Network
from preflearn.models.outcomes import Comparisons
from preflearn.models.plan import Plan
from preflearn.models.vocabulary import Vocabulary
from preflearn.protocols import OutcomeProbabilities, Rate

Floats = npt.NDArray[np.float64]
_LEAST = 2.0**-53
"""Half the distance from 1 to the next number: the smallest probability whose complement is not 1."""


class Answers:
    """The answering half of `Composed`; the fitting half provides the attributes and `_features`."""

    noise: Any
    criterion: str | None
    network_: Network
    vocabulary_: Vocabulary
    plan_: Plan
    _learned_from: tuple[tuple[PreferenceData, npt.NDArray[np.int64]], ...] = ()
    _fingerprints: npt.NDArray[np.uint64] | None = None

    @property
    def training_fingerprints_(self) -> npt.NDArray[np.uint64] | None:
        """Fingerprints of the comparisons learned from, sorted; None: there are none. Computed when first asked."""
        for data, rows in self._learned_from:
            learned = np.unique(row_fingerprints(data.replace(comparisons=data.comparisons[rows.tolist()])))
            known = self._fingerprints
            self._fingerprints = learned if known is None else np.union1d(known, learned)
        self._learned_from = ()
        return self._fingerprints

    def _learn_from(self, data: PreferenceData, assembled: Assembled) -> None:
        """Keep what is needed to recognise these comparisons."""
        if "comparisons" in assembled.rows:
            light = data.replace(responses=data.responses.drop("embedding", strict=False))
            self._learned_from += ((light, assembled.rows["comparisons"]),)

    def __getstate__(self) -> dict[str, Any]:
        """Fingerprints instead of the data they are computed from."""
        if self._learned_from:
            self._fingerprints = self.training_fingerprints_
        return self.__dict__

    def _fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise InputError("the model is not fitted.", cure="Call fit(data) first.")

    def _features(
        self, data: PreferenceData, tables: Sequence[str], needed: npt.NDArray[np.bool_] | None = None
    ) -> Features:
        raise NotImplementedError

    def _assembled(self, data: PreferenceData, table: str = "comparisons", *, answers: bool = False) -> Assembled:
        """The judgments of one table as the fitted model sees them."""
        self._fitted()
        return assemble(
            data,
            self._features(data, [table]),
            self.vocabulary_,
            [self._outcome(table)],
            answers=answers,
            need_prompts=self.plan_.prompts,
            dtype=torch.float64,
        )

    def _outcome(self, table: str) -> OutcomePart:
        for each in self.plan_.outcomes:
            if each.table == table:
                return each
        if table == "comparisons":
            assert self.network_.choice  # raises where the model has nothing to say about comparisons
            return Comparisons()
        raise NotSupported(f"this model was not fitted to {table}.")

    # -- comparisons ---------------------------------------------------------------------------------------------------

    def outcome_probs(self, data: PreferenceData) -> OutcomeProbabilities:
        """Probabilities of every outcome the model knows for each row of `data.comparisons`; rows sum to 1.

        Raises:
            NotSupported: the judgments that the model was fitted to say nothing about comparisons.
        """
        batch = self._assembled(data).batch
        return OutcomeProbabilities(self.network_.choice.prediction.outcomes, self._mixed(batch))

    def prob(self, data: PreferenceData, *, symmetrised: bool = False) -> Floats:
        """P(a beats b | decided) for each row of `data.comparisons`, [n], outcomes ignored, in order of presentation.

        It is the probability of what would be recorded from the annotator of the row; an annotator that the model does
        not know, or none, gets the answer that the population documents for strangers. See `denoised`.
        """
        batch = self._assembled(data).batch
        assert batch.pairs is not None
        if not symmetrised:
            return self._decided(self._mixed(batch))
        ones = torch.ones_like(batch.pairs.position)
        orders = [replace(batch, pairs=replace(batch.pairs, position=side * ones)) for side in (1.0, -1.0)]
        mean: Floats = np.mean([self._decided(self._mixed(each)) for each in orders], axis=0)
        return mean

    def _mixed(self, batch: Batch, network: Network | None = None) -> Floats:
        """Outcome probabilities of the pairs of a batch, components mixed, [n, K]; of a given network."""
        assert batch.pairs is not None
        probs, shares = (network or self.network_).predict(batch.pairs, batch)
        mixed = (shares[:, :, None] * probs).sum(1)
        result: Floats = (mixed / mixed.sum(1, keepdim=True)).numpy()
        return result

    def _decided(self, probabilities: Floats) -> Floats:
        """P(a beats b | decided) from outcome probabilities [..., K]."""
        won, lost = sides(self.network_.choice.prediction.outcomes)
        a, b = probabilities[..., won].sum(-1), probabilities[..., lost].sum(-1)
        # A logit of 40 is still no certainty, though its probability is the next number to 1.
        result: Floats = np.clip(a / (a + b), _LEAST, 1 - _LEAST)
        return result

    # -- single responses ----------------------------------------------------------------------------------------------

    def utility(self, data: PreferenceData, *, annotator: str | None = None) -> Floats:
        """Utility of each row of `data.responses`, [n], in logits: to a stranger, or to a known annotator.

        Where components are mixed as probabilities it is their mean utility. No context is given. What groups people
        is read from the annotator's row in `data`; what groups responses or prompts, from theirs.

        Raises:
            NotSupported: the model allows cyclic preferences.
            InputError: the annotator is not known to the model, or it looks at prompts and a response has none.
        """
        rows, batch = self._responses(data, annotator)
        with torch.no_grad():
            taste = self.network_.population.known(rows, batch)
            values = self.network_.utilities(rows, rows.item, batch, taste)
        if taste.log_weights is not None:
            values = (torch.exp(taste.log_weights) * values).sum(-1, keepdim=True)
        result: Floats = values[:, 0].numpy()
        return result

    def represent(self, data: PreferenceData) -> Floats:
        """What the head makes of each row of `data.responses` for a stranger, [n, channels * width]."""
        rows, batch = self._responses(data, None)
        with torch.no_grad():
            taste = self.network_.population.known(rows, batch)
            result: Floats = self.network_.representation(batch.x, taste).flatten(1).numpy()
        return result

    def _responses(self, data: PreferenceData, annotator: str | None) -> tuple[Ratings, Batch]:
        """One question about every response, to one annotator or to a stranger."""
        self._fitted()
        known = self.vocabulary_.annotators
        if annotator is not None and annotator not in known:
            raise InputError(f"the model does not know the annotator {annotator!r}.", cure="See adapt(labelled).")
        n = data.height("responses")
        features = self._features(data, (), np.ones(n, bool))
        who = torch.full((n,), -1 if annotator is None else known.index(annotator))
        prompt = codes(
            data.select("responses", ["prompt_id"]).collect()["prompt_id"], data.prompts["prompt_id"].to_list()
        )
        if self.plan_.prompts and (prompt < 0).any():
            raise InputError(
                f"{int((prompt < 0).sum()):,} responses have no prompt, and this model looks at it.",
                row=int(np.argmax(prompt < 0)),
                column="responses.prompt_id",
                cure="Keep only responses with a prompt.",
            )
        codes_of = {alias: torch.tensor(self._code(data, alias, annotator)) for alias in self.vocabulary_.columns}
        if self.plan_.contexts:
            codes_of["context_row"] = torch.full((n,), -1)
        nothing = torch.full((n,), torch.nan, dtype=torch.float64)
        rows = Ratings(
            Who(who, torch.tensor(prompt), codes_of),
            item=torch.arange(n),
            value=nothing,
            label=torch.full((n,), -1),
            spread=nothing,
            weight=torch.ones(n, dtype=torch.float64),
        )
        empty = assemble(data, features, self.vocabulary_, (), answers=False, dtype=torch.float64).batch
        return rows, replace(empty, ratings=rows)

    def _code(self, data: PreferenceData, alias: str, annotator: str | None) -> npt.NDArray[np.int64]:
        """Codes of a column for every response as one annotator would be asked about it, [n]; -1 = not known."""
        known, name = self.vocabulary_.columns[alias], self.vocabulary_.names[alias]
        n, table = data.height("responses"), self.plan_.tables[0]
        try:
            via, column = resolve(data, table, qualified(table, name))
        except InputError:
            return np.full(n, -1)  # not recorded here
        if via in ("prompts", "responses"):
            return codes(attach(data, "responses", {"__code": f"{via}.{column}"}).collect()["__code"], known)
        if via == "annotators" and annotator is not None and column in data.columns("annotators"):
            own = data.annotators.filter(pl.col("annotator_id").cast(pl.String) == annotator)[column]
            return np.full(n, codes(own, known)[0] if len(own) else -1)
        return np.full(n, -1)

    def rate(self, data: PreferenceData) -> Rate:
        """Predicted rating of each row of `data.ratings` (values ignored): mean and sd [n] on the criterion's scale.

        Raises:
            NotSupported: the model was not fitted to ratings.
        """
        batch = self._assembled(data, "ratings").batch
        rows = batch.ratings
        assert rows is not None
        with torch.no_grad():
            taste = self.network_.population.known(rows, batch)
            utility = self.network_.utilities(rows, rows.item, batch, taste)
            outcome = next(each for each in self.network_.outcomes if each.table == "ratings")
            mean, sd = outcome.predict(utility, rows)  # type: ignore[operator]
            shares = torch.ones_like(mean) if taste.log_weights is None else torch.exp(taste.log_weights)
            centre = (shares * mean).sum(1)
            variance = (shares * (sd**2 + mean**2)).sum(1) - centre**2
        return Rate(centre.numpy(), torch.sqrt(variance.clamp(min=0)).numpy())

    def denoised(self) -> Self:
        """A model of what is preferred instead of what is recorded: the same one without its noise parts.

        Nobody's labels are wrong, nothing depends on the order of showing, nuisance covariates are equal on both sides.
        """
        self._fitted()
        clean = copy.copy(self)
        clean.noise = ()
        clean.plan_ = copy.copy(self.plan_)
        clean.plan_.noise = ()
        clean.network_ = copy.copy(self.network_)
        clean.network_._modules = {**self.network_._modules, "noises": nn.ModuleList()}
        return clean

    # -- people --------------------------------------------------------------------------------------------------------

    def adapt(self, labelled: PreferenceData) -> Self:
        """A model that also knows the annotators of `labelled`, each from their own judgments; this one is untouched.

        Raises:
            NotSupported: the model treats everyone alike.
            InputError: a judgment names no annotator, or one that the model knows already.
        """
        self._fitted()
        if not self.network_.personal:
            raise NotSupported("this model treats everyone alike, so there is nothing to learn about one person.")
        labelled = self.plan_.of_criterion(labelled, self.criterion)
        tables = [table for table in self.plan_.tables if labelled.height(table)]
        newcomers = self._newcomers(labelled, tables)
        adapted = copy.copy(self)
        adapted.network_ = copy.deepcopy(self.network_)
        known = self.vocabulary_.annotators
        adapted.vocabulary_ = replace(self.vocabulary_, annotators=(*known, *newcomers))
        assembled = assemble(
            labelled,
            adapted._features(labelled, tables),
            adapted.vocabulary_,
            [each for each in self.plan_.outcomes if each.table in tables],
            answers=True,
            need_prompts=self.plan_.prompts,
            dtype=torch.float64,
        )
        batch = assembled.batch
        adapted._learn_from(labelled, assembled)
        places: Tensor = torch.arange(len(known), len(known) + len(newcomers))
        if len(newcomers):
            batch = adapted.network_.relabelled(batch)
            for module in adapted.network_.personal:
                module.acquaint(adapted.network_, batch, places)  # type: ignore[operator]
        return adapted

    def _newcomers(self, labelled: PreferenceData, tables: Sequence[str]) -> list[str]:
        names: list[str] = []
        for table in tables:
            frame = labelled.select(table, ["annotator_id"]).collect()
            if frame["annotator_id"].null_count():
                raise InputError(
                    "a judgment names no annotator, so it is not known about whom it teaches.",
                    row=int(frame["annotator_id"].is_null().arg_true()[0]),
                    column=f"{table}.annotator_id",
                )
            names += frame["annotator_id"].cast(pl.String).unique(maintain_order=True).to_list()
        if labelled.height("annotators"):
            listed = labelled.annotators["annotator_id"].cast(pl.String).to_list()
            names += [name for name in listed if name not in self.vocabulary_.annotators]
        names = list(dict.fromkeys(names))
        if already := sorted(set(names) & set(self.vocabulary_.annotators)):
            raise InputError(
                f"the model knows {len(already):,} of these annotators already.",
                column="annotator_id",
                value=already[0],
                cure="Fit again with all their judgments, or give only those of new people.",
            )
        return names


def sides(outcomes: Sequence[str]) -> tuple[list[int], list[int]]:
    """Places of the outcomes in which a wins, and of those in which b wins."""
    grades = [(name, name[:1], name[1:]) for name in outcomes]
    won = [k for k, (_, side, grade) in enumerate(grades) if side == "a" and (not grade or grade.isdigit())]
    lost = [k for k, (_, side, grade) in enumerate(grades) if side == "b" and (not grade or grade.isdigit())]
    return won, lost
