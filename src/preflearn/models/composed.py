"""`Composed`: a preference model put together from parts, with the habits of a scikit-learn estimator."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch

from preflearn._version import __version__
from preflearn.backbones import Tunable, encoder_of
from preflearn.data import PreferenceData
from preflearn.errors import InputError, NotComputable
from preflearn.models.assemble import Assembled, Contexts, Features, assemble
from preflearn.models.base import Part
from preflearn.models.batch import Batch
from preflearn.models.beliefs import Beliefs
from preflearn.models.contexts import contexts_of
from preflearn.models.controls import control_scale, controls_of
from preflearn.models.fitting import Report
from preflearn.models.fitting.automatic import Auto
from preflearn.models.fitting.exact import Newton
from preflearn.models.fitting.linear import scales_itself
from preflearn.models.fitting.ridge import Curve, choose_ridge
from preflearn.models.network import Network
from preflearn.models.parts import Kind, check_part, from_spec
from preflearn.models.plan import Plan, needed_responses, shape_of
from preflearn.models.scaling import divided, moments, prompts_standardised, standardised
from preflearn.models.vocabulary import learn

Spec = Part | str | Mapping[str, Any]


class Composed(Beliefs):
    """A preference model over content: head, kernel, population, noises and outcomes over the features of an encoder.

    Args:
        head, kernel, population, noise, outcomes: parts, or their keys and options (see `models.parts.from_spec`).
        encoder: "auto" (the column `embedding` where it is recorded, else the packaged sentence encoder), a name, a
            directory or an encoder of `preflearn.backbones`.
        fitting: how parameters are found; "auto" = what suits the model (see `models.fitting.automatic.Auto`).
        ridge: penalty ``ridge / 2 * |weights|^2`` on the summed log-likelihood. "prior" = the number of features: with
            standardised features the logit of two typical responses then has a variance of 2 before anything is
            learned, however many features there are. "auto" = the one that predicts held-out judgments best, see
            `models.fitting.ridge.choose_ridge`: worth its time where responses are few and features many.
        standardise: give every feature mean 0 and standard deviation 1 over the training responses first.
        posterior: what the spread of the parameters is taken from: "model" (the likelihood is believed) or "sandwich"
            (judgments of one annotator may hang together in ways that the model does not know).
        criterion: the one whose judgments count, where several are recorded and the parts do not tell them apart.
        seed: of everything random.
        name: of the recipe, for reports.

    Fitted state: `network_`, `plan_`, `encoder_`, `vocabulary_`, `shape_`, `report_`, `ridge_`,
    `ridge_curve_`, `left_out_` (reason ->
    judgments), `notes_`, `annotators_`, `training_fingerprints_`.
    """

    def __init__(
        self,
        *,
        head: Spec = "utility",
        kernel: Spec = "difference",
        population: Spec = "everyone",
        noise: Sequence[Spec] = (),
        outcomes: Sequence[Spec] = ("choice",),
        encoder: Any = "auto",
        fitting: Spec = "auto",
        ridge: float | Literal["prior", "auto"] = "prior",
        standardise: bool = True,
        posterior: Literal["model", "sandwich"] = "model",
        criterion: str | None = None,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        self.head, self.kernel, self.population = head, kernel, population
        self.noise, self.outcomes = noise, outcomes
        self.encoder, self.fitting = encoder, fitting
        self.ridge, self.standardise, self.posterior = ridge, standardise, posterior
        self.criterion, self.seed, self.name = criterion, seed, name

    def get_params(self, deep: bool = False) -> dict[str, Any]:
        """Constructor parameters."""
        return {name: getattr(self, name) for name in list(inspect.signature(type(self).__init__).parameters)[1:]}

    def set_params(self, **parameters: Any) -> Self:
        """Change constructor parameters.

        Raises:
            InputError: there is no such parameter.
        """
        known = self.get_params()
        for name, value in parameters.items():
            if name not in known:
                raise InputError(f"the model has no parameter {name!r}.", cure=f"It has: {', '.join(known)}.")
            setattr(self, name, value)
        return self

    def clone(self) -> Self:
        """An unfitted model of the same parameters."""
        return type(self)(**copy.deepcopy(self.get_params()))

    def resolved(self) -> Plan:
        """The parts as objects.

        Raises:
            InputError: an unknown part or option, or a value that is none.
        """
        self._check_parameters()
        plan = Plan(
            from_spec(self.head, "head"),
            from_spec(self.kernel, "kernel"),
            from_spec(self.population, "population"),
            tuple(from_spec(each, "noise") for each in self.noise),
            tuple(from_spec(each, "outcome") for each in self.outcomes),
            from_spec(self.fitting, "fitting"),
        )
        kinds: tuple[Kind, ...] = ("head", "kernel", "population", "fitting")
        for kind in kinds:
            check_part(getattr(plan, kind), kind)
        for each in plan.noise:
            check_part(each, "noise")
        for outcome in plan.outcomes:
            check_part(outcome, "outcome")
        return plan

    def _check_parameters(self) -> None:
        """Raise `InputError` where a parameter is of the wrong kind."""
        for name in ("noise", "outcomes"):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Sequence):
                raise InputError(f"{name} is a list of parts.", value=given, cure=f"For instance {name}=[{given}].")
        if not self.outcomes:
            raise InputError("a model needs an outcome to learn from.", cure='For instance outcomes=("choice",).')
        number = isinstance(self.ridge, (int, float)) and not isinstance(self.ridge, bool)
        if self.ridge not in ("prior", "auto") and not (number and 0 <= float(self.ridge) < float("inf")):
            raise InputError("the ridge is a number >= 0, 'prior' or 'auto'.", value=self.ridge)
        if self.posterior not in ("model", "sandwich"):
            raise InputError("the posterior is 'model' or 'sandwich'.", value=self.posterior)
        if not isinstance(self.standardise, bool):
            raise InputError("standardise is true or false.", value=self.standardise)
        if not isinstance(self.seed, (int, np.integer)) or isinstance(self.seed, bool) or self.seed < 0:
            raise InputError("the seed is a whole number >= 0.", value=self.seed)

    def fit(self, data: PreferenceData) -> Self:
        """Estimate from the judgments of `data`.

        Raises:
            InputError: the data lacks something a part needs (said before any work), or nothing is left to learn from.
        """
        plan = self.resolved()
        data = plan.of_criterion(data, self.criterion)
        plan.check(data)
        plan.resolve(data)
        self.plan_ = plan
        self.encoder_ = encoder_of(self.encoder, data)
        self.vocabulary_ = learn(data, plan.tables, plan.columns(), plan.attributes())
        features = self._learned_features(data)
        features = features._replace(prompts=prompts_standardised(features.prompts, self.vocabulary_))
        assembled = assemble(data, features, self.vocabulary_, plan.outcomes, answers=True, need_prompts=plan.prompts)
        _check_answers(assembled)
        self.shape_ = shape_of(assembled.batch, self.vocabulary_)
        torch.manual_seed(self.seed)
        network = plan.build(self.shape_, self.ridge)
        network.names = self.vocabulary_.columns
        tuned = isinstance(self.encoder_, Tunable)
        batch = self._scaled(network, assembled.batch, raw=not tuned and isinstance(plan.fitting, Auto | Newton))
        network.prepare(batch)
        batch = network.relabelled(batch)
        notes = self._choose_ridge(network, batch, Auto() if tuned else plan.fitting)
        if tuned:
            batch = self._tuned(network, batch, data)
        else:
            self.report_: Report = plan.fitting.fit(network, batch, self.seed)
        network.settle(batch)
        self.network_ = network.double().eval()
        self._keep(self.network_, batch, data if tuned else None)
        self.left_out_ = dict(assembled.left_out)
        self.criteria_ = plan.criteria(data)
        self.notes_ = [*notes, *self.report_.notes, *network.population.notes()]
        self.version_ = __version__
        self._learned_from, self._fingerprints = (), None
        self._learn_from(data, assembled)
        return self

    def _choose_ridge(self, network: Network, batch: Batch, fitting: Any) -> list[str]:
        """Set the network's ridge; where it is left to the data, say how it was found."""
        self.ridge_curve_: Curve = ()
        notes: list[str] = []
        if self.ridge == "auto":
            try:
                choice = choose_ridge(network, batch, fitting, self.seed)
                network.ridge, self.ridge_curve_, notes = choice.ridge, choice.curve, [choice.note]
            except NotComputable as reason:
                notes = [f"The ridge is {network.ridge:g}: {reason}"]
            torch.manual_seed(self.seed)
        self.ridge_ = network.ridge
        return notes

    def _tuned(self, network: Network, batch: Batch, data: PreferenceData) -> Batch:
        """Train the language model with the parts; the batch with the features it then gives, if anyone needs them."""
        from preflearn.models.fitting.finetune import FineTune

        fitting, spec = self.plan_.fitting, self.encoder_
        assert isinstance(spec, Tunable)
        tuning = fitting if isinstance(fitting, FineTune) else FineTune(start=fitting)
        self.report_, self.encoder_ = tuning.tune(network, batch, self.seed, data, spec, self.vocabulary_)
        network.information = None  # of features that are no more
        if not any(module.personal for module in (network.population, *network.noises)):
            return batch
        return self._encoded(batch, data)

    @property
    def annotators_(self) -> tuple[str, ...]:
        """Annotators the model knows."""
        self._fitted()
        return self.vocabulary_.annotators

    # -- features ------------------------------------------------------------------------------------------------------

    def _learned_features(self, data: PreferenceData) -> Features:
        """Features of the training data as the encoder gives them; their moments become part of the vocabulary."""
        needed = needed_responses(data, self.plan_.tables)
        raw = self._raw_features(data, needed, self.plan_.tables)
        if self.standardise:
            centre, scale = moments(raw.responses, needed)
            self.vocabulary_ = replace(self.vocabulary_, centre=centre, scale=scale)
            if raw.prompts is not None:
                centre, scale = moments(raw.prompts, np.any(raw.prompts != 0, axis=1))
                self.vocabulary_ = replace(self.vocabulary_, prompt_centre=centre, prompt_scale=scale)
        if raw.controls is not None:
            self.vocabulary_ = replace(
                self.vocabulary_, control_scale=control_scale(data, np.asarray(raw.controls, np.float64))
            )
        return raw

    def _scaled(self, network: Network, batch: Batch, *, raw: bool) -> Batch:
        """The training batch on the scale of its own features; the fit divides where it can, and `raw` allows it."""
        centre, scale = self.vocabulary_.centre, self.vocabulary_.scale
        if centre is None or scale is None:
            return batch
        # Far from 0, in units of their spread, products of features would cancel in float32.
        near = bool((np.abs(centre) < 1000 * scale).all())
        if raw and near and scales_itself(network, batch):
            return replace(batch, scale=torch.from_numpy(scale))
        return replace(batch, x=torch.from_numpy(divided(batch.x.numpy(), centre, scale)))

    def _features(
        self, data: PreferenceData, tables: Sequence[str], needed: npt.NDArray[np.bool_] | None = None
    ) -> Features:
        needed = needed_responses(data, tables) if needed is None else needed
        if not needed.any():  # an encoder of texts that is asked about none does not say how many numbers it gives
            prompts = np.zeros((data.height("prompts"), self.shape_.prompts)) if self.plan_.prompts else None
            asked = self.plan_.controls and "comparisons" in tables
            controls = np.zeros((len(needed), self.shape_.controls)) if asked else None
            return Features(np.zeros((len(needed), self.shape_.features)), prompts, controls, self._no_contexts())
        raw = self._raw_features(data, needed, tables)
        if raw.contexts is not None and not raw.contexts.names:
            raw = raw._replace(contexts=self._no_contexts())
        if raw.responses.shape[1] != self.shape_.features:
            raise InputError(
                f"the model was fitted to features of {self.shape_.features} dimensions, "
                f"these have {raw.responses.shape[1]}.",
                cure="Use the encoder that the model was fitted with.",
            )
        return standardised(raw, self.vocabulary_)

    def _no_contexts(self) -> Contexts | None:
        return Contexts((), np.zeros((0, self.shape_.contexts))) if self.plan_.contexts else None

    def _raw_features(self, data: PreferenceData, needed: npt.NDArray[np.bool_], tables: Sequence[str]) -> Features:
        encoded = self.encoder_.encode(data, prompts=self.plan_.prompts, needed=needed)
        contexts = None
        if self.plan_.contexts:
            contexts = contexts_of(data, tables, self.encoder_, self.vocabulary_.columns["context"])
        asked = self.plan_.controls if "comparisons" in tables else ()
        controls = controls_of(data, asked, needed) if asked else None
        return Features(encoded.responses, encoded.prompts, controls, contexts)

    criteria_: Mapping[str, Sequence[str]] = {}

    def reservations(self, data: PreferenceData, table: str = "comparisons") -> list[str]:
        """What a user should know before believing the answers to these judgments, as sentences; [] = nothing.

        Annotators that the model does not know, columns and attributes it looks at that are not recorded here, and
        judgments on another criterion than it learned: all are answered by the fallback that the population documents.
        """
        from preflearn.models.reservations import reservations

        self._fitted()
        return reservations(self, data, table)

    # -- on disk -------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path, *, force: bool = False, draws: bool = False) -> None:
        """Write the fitted model as a directory (JSON and safetensors); `preflearn.models.load` reads it.

        Args:
            path: of the directory.
            force: replace what is there.
            draws: make the refits behind `prob_draws` and `uncertainty` (they take about as long as the fit) where they
                were not made yet. A posterior that was asked for before, or costs next to nothing (linear heads over
                differences), is always kept; a model that was stored without one says so when asked.

        Raises:
            InputError: not fitted, a part that no file can hold, or the directory is not empty.
        """
        from preflearn.models.saved import save

        save(self, Path(path), force=force, draws=draws)


def _check_answers(assembled: Assembled) -> None:
    """Raise `InputError` where no judgment is left, or all say the same."""
    if not len(assembled.batch):
        why = ", ".join(f"{n:,.0f} {reason}" for reason, n in assembled.left_out.items())
        raise InputError(f"no judgment is left to learn from ({why or 'there are none'}).")
    if not sum(float(rows.weight.sum()) for rows in assembled.batch.judgments()):
        raise InputError(
            "every judgment has the weight or the count 0, so none is left to learn from.", column="weight"
        )
    pairs, lists, ratings = assembled.batch.pairs, assembled.batch.lists, assembled.batch.ratings
    if pairs is not None and bool((pairs.target == pairs.target.flip(-1)).all()):
        raise InputError("every comparison is a tie, so nothing is preferred.", column="comparisons.outcome")
    if lists is not None and bool((lists.ranks.amax(1) == torch.where(lists.mask, lists.ranks, 1e9).amin(1)).all()):
        raise InputError("every ranking ties everything it lists.", column="rankings.ranks")
    if ratings is not None:
        answers = torch.stack([ratings.value, ratings.label.to(ratings.value.dtype)], dim=1).nan_to_num(nan=0.0)
        if len(ratings) and bool((answers == answers[:1]).all()):
            raise InputError("every rating is the same, so nothing can be told apart.", column="ratings")
