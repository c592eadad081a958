"""`Composed`: a preference model put together from parts, with the habits of a scikit-learn estimator."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch

from preflearn._version import __version__
from preflearn.backbones import encoder_of
from preflearn.data import PreferenceData
from preflearn.data.fingerprints import row_fingerprints
from preflearn.errors import InputError, NotComputable
from preflearn.models.assemble import Assembled, Features, assemble
from preflearn.models.base import OutcomePart, Part, Shape
from preflearn.models.fitting import FullBatch, Report
from preflearn.models.heads import Utility
from preflearn.models.kernels import Difference
from preflearn.models.network import Network
from preflearn.models.outcomes import Comparisons
from preflearn.models.parts import from_spec
from preflearn.models.population import Everyone
from preflearn.models.vocabulary import Vocabulary, learn
from preflearn.protocols import OutcomeProbabilities

Floats = npt.NDArray[np.float64]


class Composed:
    """A preference model over content: head, kernel, population, noises and outcomes over the features of an encoder.

    Args:
        head, kernel, population, noise, outcomes: parts, or their keys and options (see `models.parts.from_spec`).
        encoder: "auto" (the column `embedding` where it is recorded, else the packaged sentence encoder), a name, a
            directory or an encoder of `preflearn.backbones`.
        fitting: how parameters are found.
        ridge: penalty ``ridge / 2 * |weights|^2`` on the summed log-likelihood.
        standardise: give every feature mean 0 and standard deviation 1 over the training responses first.
        criterion: the one whose judgments count, where several are recorded.
        seed: of everything random.
        name: of the recipe, for reports.

    Fitted state: `network_`, `vocabulary_`, `report_`, `notes_`, `annotators_`, `training_fingerprints_`.
    """

    def __init__(
        self,
        *,
        head: Part | str | Mapping[str, Any] = Utility(),
        kernel: Part | str | Mapping[str, Any] = Difference(),
        population: Part | str | Mapping[str, Any] = Everyone(),
        noise: Sequence[Part | str | Mapping[str, Any]] = (),
        outcomes: Sequence[Part | str | Mapping[str, Any]] = (Comparisons(),),
        encoder: Any = "auto",
        fitting: Part | str | Mapping[str, Any] = FullBatch(),
        ridge: float | Literal["auto"] = 1.0,
        standardise: bool = True,
        criterion: str | None = None,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        self.head, self.kernel, self.population = head, kernel, population
        self.noise, self.outcomes = noise, outcomes
        self.encoder, self.fitting = encoder, fitting
        self.ridge, self.standardise = ridge, standardise
        self.criterion, self.seed, self.name = criterion, seed, name

    def get_params(self, deep: bool = False) -> dict[str, Any]:
        """Constructor parameters."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

    def set_params(self, **parameters: Any) -> Self:
        """Change constructor parameters."""
        known = self.get_params()
        for name, value in parameters.items():
            if name not in known:
                raise InputError(f"the model has no parameter {name!r}.", cure=f"It has: {', '.join(known)}.")
            setattr(self, name, value)
        return self

    # -- fitting -------------------------------------------------------------------------------------------------------

    def fit(self, data: PreferenceData) -> Self:
        """Estimate from the judgments of `data`.

        Raises:
            InputError: the data lacks something a part needs (said before any work), or nothing is left to learn from.
        """
        parts = self._resolved()
        data = self._restricted(data)
        for each in parts.everything:
            each.check(data)
        self._check(parts, data)
        vocabulary = learn(data, parts.tables, parts.columns(), parts.attributes())
        features, vocabulary = self._features(data, vocabulary, parts)
        assembled = assemble(data, features, vocabulary, parts.outcomes, answers=True, need_prompts=parts.prompts)
        self._check_answers(assembled)
        batch = assembled.batch
        torch.manual_seed(self.seed)
        network = parts.build(shape_of(batch, vocabulary), self.ridge)
        report: Report = parts.fitting.fit(network, batch, self.seed)
        network.settle(batch)
        self.network_ = network.double().eval()
        self.vocabulary_, self.report_ = vocabulary, report
        self.left_out_ = dict(assembled.left_out)
        self.notes_ = list(report.notes)
        self.version_ = __version__
        self._parts = parts
        if "comparisons" in assembled.rows:
            rows = assembled.rows["comparisons"].tolist()
            self.training_fingerprints_ = row_fingerprints(data.replace(comparisons=data.comparisons[rows]))
        return self

    @property
    def annotators_(self) -> tuple[str, ...]:
        """Annotators the model knows."""
        self._fitted()
        return self.vocabulary_.annotators

    def _resolved(self) -> Parts:
        outcomes = tuple(from_spec(each, "outcome") for each in self.outcomes)
        return Parts(
            from_spec(self.head, "head"),
            from_spec(self.kernel, "kernel"),
            from_spec(self.population, "population"),
            tuple(from_spec(each, "noise") for each in self.noise),
            outcomes,
            from_spec(self.fitting, "fitting"),
        )

    def _restricted(self, data: PreferenceData) -> PreferenceData:
        return data

    def _check(self, parts: Parts, data: PreferenceData) -> None:
        for table in parts.tables:
            if not data.height(table):
                raise InputError(f"the data set has no {table}, which this model learns from.")
            if parts.people and "annotator_id" not in data.columns(table):
                raise InputError(
                    "this model learns about annotators, but none are recorded.",
                    column=f"{table}.annotator_id",
                    cure="Record who judged, or use a model that treats everyone alike (bradley_terry).",
                )

    def _check_answers(self, assembled: Assembled) -> None:
        if not len(assembled.batch):
            why = ", ".join(f"{n:,.0f} {reason}" for reason, n in assembled.left_out.items())
            raise InputError(f"no judgment is left to learn from ({why or 'there are none'}).")

    def _features(
        self, data: PreferenceData, vocabulary: Vocabulary, parts: Parts, *, fitted: bool = False
    ) -> tuple[Features, Vocabulary]:
        encoder = encoder_of(self.encoder)
        needed = needed_responses(data, parts.tables)
        encoded = encoder.encode(data, prompts=parts.prompts, needed=needed)
        x, prompts = encoded.responses, encoded.prompts
        if fitted and vocabulary.centre is not None and x.shape[1] != len(vocabulary.centre):
            raise InputError(
                f"the model was fitted to features of {len(vocabulary.centre)} dimensions, these have {x.shape[1]}.",
                cure="Use the encoder that the model was fitted with.",
            )
        if self.standardise and not fitted:
            centre, scale = moments(x[needed])
            vocabulary = replace(vocabulary, centre=centre, scale=scale)
            if prompts is not None:
                centre, scale = moments(prompts)
                vocabulary = replace(vocabulary, prompt_centre=centre, prompt_scale=scale)
        if vocabulary.centre is not None and vocabulary.scale is not None:
            x = (x - vocabulary.centre) / vocabulary.scale
        if prompts is not None and vocabulary.prompt_centre is not None and vocabulary.prompt_scale is not None:
            prompts = (prompts - vocabulary.prompt_centre) / vocabulary.prompt_scale
        return Features(x, prompts), vocabulary

    # -- answers -------------------------------------------------------------------------------------------------------

    def _fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise InputError("the model is not fitted.", cure="Call fit(data) first.")

    def _asked(self, data: PreferenceData) -> Assembled:
        """The comparisons of `data` as the fitted model sees them."""
        self._fitted()
        features, _ = self._features(data, self.vocabulary_, self._parts, fitted=True)
        return assemble(
            data,
            features,
            self.vocabulary_,
            [each for each in self._parts.outcomes if each.table == "comparisons"] or [Comparisons()],
            answers=False,
            need_prompts=self._parts.prompts,
            dtype=torch.float64,
        )

    def outcome_probs(self, data: PreferenceData) -> OutcomeProbabilities:
        """Probabilities of every outcome the model knows for each row of `data.comparisons`."""
        batch = self._asked(data).batch
        assert batch.pairs is not None
        probs, shares = self.network_.predict(batch.pairs, batch)
        mixed = (shares[:, :, None] * probs).sum(1)
        return OutcomeProbabilities(self.network_.choice.link.outcomes, (mixed / mixed.sum(1, keepdim=True)).numpy())

    def prob(self, data: PreferenceData, *, symmetrised: bool = False) -> Floats:
        """P(a beats b | decided) for each row of `data.comparisons`, [n], in order of presentation."""
        batch = self._asked(data).batch
        assert batch.pairs is not None
        orders = [batch.pairs]
        if symmetrised:
            ones = torch.ones_like(batch.pairs.position)
            orders = [replace(batch.pairs, position=ones), replace(batch.pairs, position=-ones)]
        return np.mean([self._prob(replace(batch, pairs=rows)) for rows in orders], axis=0)  # type: ignore[no-any-return]

    def _prob(self, batch: Any) -> Floats:
        probs, shares = self.network_.predict(batch.pairs, batch)
        mixed = (shares[:, :, None] * probs).sum(1)
        names = self.network_.choice.link.outcomes
        a = mixed[:, [k for k, name in enumerate(names) if name.startswith("a")]].sum(1)
        b = mixed[:, [k for k, name in enumerate(names) if name.startswith("b") and not name.startswith("both")]].sum(1)
        p: Floats = (a / (a + b)).numpy()
        return p

    def adapt(self, labelled: PreferenceData) -> Composed:
        """A model that also knows the annotators of `labelled`; see `protocols.HasAdapt`."""
        self._fitted()
        raise NotComputable("not yet")

    def clone(self) -> Self:
        """An unfitted model of the same parameters."""
        return type(self)(**copy.deepcopy(self.get_params()))


class Parts:
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
    def people(self) -> bool:
        """Whether annotators must be recorded."""
        return any(each.needs_annotators for each in self.everything)

    def columns(self) -> dict[str, str]:
        """Code columns that parts need."""
        return {alias: name for each in self.everything for alias, name in each.columns().items()}

    def attributes(self) -> tuple[str, ...]:
        """Attributes of annotators that parts need."""
        return tuple(dict.fromkeys(name for each in self.everything for name in each.attributes()))

    def build(self, shape: Shape, ridge: float | str) -> Network:
        """The network of these parts, with fresh parameters."""
        population = self.population.build(shape)
        channels = population.channels
        head = self.head.build(shape, shape.features + population.latent, channels)
        kernel = self.kernel.build(shape, head)
        noises = [each.build(shape) for each in self.noise]
        outcomes = [each.build(shape) for each in self.outcomes]  # type: ignore[attr-defined]
        return Network(head, kernel, population, noises, outcomes, 1.0 if isinstance(ridge, str) else ridge)


def shape_of(batch: Any, vocabulary: Vocabulary) -> Shape:
    """Sizes of a batch."""
    return Shape(
        features=batch.x.shape[1],
        prompts=0 if batch.prompts is None else batch.prompts.shape[1],
        annotators=len(vocabulary.annotators),
        attributes=0 if batch.attributes is None else batch.attributes.shape[1],
        codes={alias: len(values) for alias, values in vocabulary.columns.items()},
        controls=0 if batch.pairs is None else batch.pairs.controls.shape[1],
        total=float(sum(rows.weight.sum() for rows in batch.judgments())),
    )


def moments(x: npt.NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of columns; 1 where a column does not vary."""
    centre = x.mean(axis=0, dtype=np.float64)
    scale = x.std(axis=0, dtype=np.float64)
    return centre, np.where(scale > 1e-12, scale, 1.0)


def needed_responses(data: PreferenceData, tables: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which responses the judgments of these tables are about, [R]."""
    import polars as pl

    ids = {
        "comparisons": ("response_a", "response_b"),
        "ratings": ("response_id",),
        "rankings": ("responses",),
    }
    wanted = []
    for table in tables:
        frame = data.table(table)
        for column in ids[table]:
            series = frame[column]
            wanted.append(series.explode() if series.dtype == pl.List else series)
    if not wanted:
        return np.ones(data.height("responses"), bool)
    found: npt.NDArray[np.bool_] = data.responses["response_id"].is_in(pl.concat(wanted).unique().implode()).to_numpy()
    return found
