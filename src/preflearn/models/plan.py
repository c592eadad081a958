"""The parts of a model resolved: what they need together, and the network they build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data import PreferenceData
from preflearn.errors import InputError
from preflearn.models.base import OutcomePart, Part, Shape
from preflearn.models.batch import Batch
from preflearn.models.network import Network
from preflearn.models.outcomes import Choice
from preflearn.models.vocabulary import Vocabulary

Floats = npt.NDArray[np.float64]
OVERALL = "overall"
"""What a judgment without a criterion is about."""
_ITEMS = {"comparisons": ("response_a", "response_b"), "ratings": ("response_id",), "rankings": ("responses",)}


class Plan:
    """The resolved parts of a model, and what they need together."""

    def __init__(
        self,
        head: Any,
        kernel: Any,
        population: Any,
        noise: tuple[Any, ...],
        outcomes: tuple[OutcomePart, ...],
        fitting: Any,
    ) -> None:
        self.head, self.kernel, self.population, self.noise = head, kernel, population, noise
        self.outcomes, self.fitting = outcomes, fitting

    @property
    def everything(self) -> tuple[Part, ...]:
        """All parts."""
        return (self.head, self.kernel, self.population, *self.noise, *self.outcomes, self.fitting)

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables of judgments that are learned from."""
        return tuple(dict.fromkeys(each.table for each in self.outcomes))

    @property
    def prompts(self) -> bool:
        """Whether features of prompts are needed."""
        return any(each.needs_prompts for each in self.everything)

    @property
    def contexts(self) -> bool:
        """Whether features of the contexts of judgments are needed."""
        return any(each.needs_contexts for each in self.everything)

    @property
    def people(self) -> bool:
        """Whether annotators must be recorded."""
        return any(each.needs_annotators for each in self.everything)

    @property
    def controls(self) -> tuple[str, ...]:
        """Names of nuisance covariates of responses."""
        return tuple(dict.fromkeys(name for each in self.everything for name in each.controls()))

    def of_criterion(self, data: PreferenceData, criterion: str | None) -> PreferenceData:
        """The data with judgments of one criterion only in every table whose criteria no part tells apart.

        A criterion that is named, of a model that tells all apart, leaves only the judgments on it.

        Raises:
            InputError: see `of_one_criterion`.
        """
        return of_one_criterion(data, self._alike() or (self.tables if criterion is not None else ()), criterion)

    def criteria(self, data: PreferenceData) -> dict[str, tuple[str, ...]]:
        """Criteria of the judgments of every table whose criteria no part tells apart."""
        found = {}
        for table in self._alike():
            names = data.select(table, ["criterion_id"]).collect()["criterion_id"].cast(pl.String).fill_null(OVERALL)
            found[table] = tuple(sorted(names.unique()))
        return found

    def _alike(self) -> list[str]:
        told = {table for each in self.everything for table in each.tells_criteria()}
        return [table for table in self.tables if table not in told]

    def check(self, data: PreferenceData) -> None:
        """Raise `InputError` where the data lacks what the model needs; nothing has been computed yet."""
        for table in self.tables:
            if not data.height(table):
                raise InputError(
                    f"the data set has no {table}, which this model learns from.",
                    cure=f"It has: {', '.join(data.counts()) or 'nothing'}; see `preflearn convert`.",
                )
            if self.people and not data.select(table, ["annotator_id"]).collect()["annotator_id"].drop_nulls().len():
                raise InputError(
                    "this model learns about annotators, but none are recorded.",
                    column=f"{table}.annotator_id",
                    cure="Record who judged, or use a model that treats everyone alike (bradley_terry).",
                )
        if len(self.tables) < len(self.outcomes):
            raise InputError(
                "two outcomes read the same judgments.", cure=f"Keep one of each table: {', '.join(self.tables)}."
            )
        for each in self.everything:
            each.check(data)

    def resolve(self, data: PreferenceData) -> None:
        """Decide what parts leave to the data.

        Raises:
            InputError: the data does not decide it, or parts do not go together.
        """
        self.outcomes = tuple(each.resolved(data) for each in self.outcomes)

    def columns(self) -> dict[str, str]:
        """Code columns that parts need."""
        contexts = {"context": "context"} if self.contexts else {}
        return contexts | {alias: name for each in self.everything for alias, name in each.columns().items()}

    def attributes(self) -> tuple[str, ...]:
        """Attributes of annotators that parts need."""
        return tuple(dict.fromkeys(name for each in self.everything for name in each.attributes()))

    def build(self, shape: Shape, ridge: float | str) -> Network:
        """The network of these parts, with fresh parameters; a ridge that is no number is that of the prior."""
        population = self.population.build(shape)
        shape = replace(shape, channels=population.channels)
        channels = 1 if self.kernel.mixes_points else population.channels
        head = self.head.build(shape, shape.features + population.latent, channels)
        kernel = self.kernel.build(shape, head)
        noises = [each.build(shape) for each in self.noise]
        outcomes = [each.build(shape) for each in self.outcomes]  # type: ignore[attr-defined]
        borrowed = any(isinstance(each, Choice) and each.prediction is not each.link for each in outcomes)
        if borrowed and any(each.mixes for each in noises):
            raise InputError(
                "margins and scales are no probabilities of strengths, which wrong labels would mix.",
                cure='Use the ordinal form of strength (recipe "ordinal").',
            )
        return Network(
            head, kernel, population, noises, outcomes, float(shape.features) if isinstance(ridge, str) else ridge
        )


def shape_of(batch: Batch, vocabulary: Vocabulary) -> Shape:
    """Sizes of a batch."""
    return Shape(
        features=batch.x.shape[1],
        prompts=0 if batch.prompts is None else batch.prompts.shape[1],
        contexts=0 if batch.contexts is None else batch.contexts.shape[1],
        annotators=len(vocabulary.annotators),
        attributes=0 if batch.attributes is None else batch.attributes.shape[1],
        codes={alias: len(values) for alias, values in vocabulary.columns.items()},
        controls=0 if batch.pairs is None else batch.pairs.controls.shape[1],
        total=float(sum(rows.weight.sum() for rows in batch.judgments())),
    )


def needed_responses(data: PreferenceData, tables: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which responses the judgments of these tables are about, [R]."""
    wanted = [data.table(table)[column] for table in tables for column in _ITEMS[table] if data.height(table)]
    if not wanted:
        return np.zeros(data.height("responses"), bool)
    ids = pl.concat([series.explode() if series.dtype == pl.List else series for series in wanted]).unique()
    found: npt.NDArray[np.bool_] = data.responses["response_id"].is_in(ids.implode()).to_numpy()
    return found


def of_one_criterion(data: PreferenceData, tables: Sequence[str], criterion: str | None) -> PreferenceData:
    """The judgments of one criterion in these tables; all of them where only one is recorded.

    A judgment without a criterion is on "overall", as in a table without the column.

    Raises:
        InputError: the criterion does not occur, or several do and none was chosen.
    """
    for table in tables:
        if not data.height(table):
            continue
        if "criterion_id" not in data.columns(table):
            if criterion not in (None, OVERALL):
                raise InputError(
                    f"no judgment is on the criterion {criterion!r}: none is recorded.", column=f"{table}.criterion_id"
                )
            continue
        recorded = data.table(table)["criterion_id"].cast(pl.String).fill_null(OVERALL)
        known = sorted(recorded.unique())
        if criterion is None:
            if len(known) > 1:
                raise InputError(
                    f"there are judgments on {len(known)} criteria, and this model answers one question.",
                    column=f"{table}.criterion_id",
                    cure=f"Choose one with criterion=: {', '.join(known[:8])}.",
                )
            continue
        if criterion not in known:
            raise InputError(
                f"no judgment is on the criterion {criterion!r}.",
                column=f"{table}.criterion_id",
                cure=f"There are: {', '.join(known[:8]) or 'none'}.",
            )
        data = data.where(table, pl.col("criterion_id").cast(pl.String).fill_null(OVERALL) == criterion)
    return data
