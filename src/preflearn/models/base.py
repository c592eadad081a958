"""What each kind of part promises: the plain description (`Part`) and the torch module it builds.

A judgment meets the parts in this order: head (features -> representation), kernel (two representations -> logits of
C channels), population (who is asked: which channels, mixed how), noise (shifts of the logit, flips of the label),
outcome (probability of what was recorded).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from preflearn.errors import NotSupported
from preflearn.models.batch import Batch, Lists, Pairs, Ratings

if TYPE_CHECKING:
    import polars as pl

    from preflearn.data import PreferenceData
    from preflearn.models.network import Network

Judgments = Pairs | Lists | Ratings


@dataclass(frozen=True)
class Shape:
    """Sizes that modules are built from.

    Attributes:
        features, prompts, contexts: columns of `Batch.x`, `Batch.prompts` and `Batch.contexts` (0 = not asked for).
        annotators: people known to the model.
        attributes: columns of `Batch.attributes`.
        codes: number of known values of each code column that parts asked for.
        controls: columns of `Pairs.controls`.
        channels: tastes that the population chooses among or mixes; known once the population is built.
        total: weight of all training judgments together: the number that a minibatch stands for a share of.
    """

    features: int
    prompts: int = 0
    contexts: int = 0
    annotators: int = 0
    attributes: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)
    controls: int = 0
    channels: int = 1
    total: float = 1.0


class Part:
    """Base of the descriptions; subclasses are frozen dataclasses registered with `parts.part`."""

    needs_prompts: ClassVar[bool] = False
    """Whether features of prompts are needed (then every judgment must have one prompt)."""
    needs_contexts: ClassVar[bool] = False
    """Whether features of the contexts of judgments are needed."""
    needs_annotators: ClassVar[bool] = False
    """Whether judgments must say who made them."""
    mixes_points: ClassVar[bool] = False
    """Of kernels: whether they hold one prototype per channel of the population, over a head of one channel."""
    unsettled: ClassVar[str | None] = None
    """Of fittings: why what they find is no optimum of the objective on the recorded judgments (no posterior then)."""

    def columns(self) -> Mapping[str, str]:
        """Code columns wanted in `Who.columns`: alias -> name of a column of any table."""
        return {}

    def tells_criteria(self) -> tuple[str, ...]:
        """Tables whose judgments this part takes differently by their criterion."""
        told = any(name.rpartition(".")[2] == "criterion_id" for name in self.columns().values())
        return ("comparisons", "ratings", "rankings") if told else ()

    def attributes(self) -> tuple[str, ...]:
        """Columns of annotators wanted in `Batch.attributes`: numbers as they are, classes as indicators."""
        return ()

    def controls(self) -> tuple[str, ...]:
        """Nuisance covariates of responses wanted in `Pairs.controls`: numeric columns, or counted features."""
        return ()

    def check(self, data: PreferenceData) -> None:
        """Raise `InputError` where the data lacks what this part needs; called before any work."""


class Taste(NamedTuple):
    """Who is asked, as a population sees it. Every field may be None: then it plays no role.

    Attributes:
        weights: shares of channels or prototypes, mixed as utilities or points, [n, C]; or [n, Z, C] where each of Z
            components mixed as probabilities has its own.
        log_weights: log-probabilities of components, mixed as probabilities, [n, Z].
        unit: which judgments share one component, [n]; None = each has its own.
        units: number of units.
        latent: numbers about the person that the head sees beside the features, [n, m]; or [n, Z, m] where each of Z
            components mixed as probabilities has its own.
        offset: personal weights on the features of responses, [n, d].
        weight: factors on the weights of the judgments, [n]; 0 where one was only looked at to know the person.
        loss: added to the negative log-likelihood of the batch, a scalar in nats (a KL divergence, an entropy).
    """

    weights: Tensor | None = None
    log_weights: Tensor | None = None
    unit: Tensor | None = None
    units: int = 0
    latent: Tensor | None = None
    offset: Tensor | None = None
    weight: Tensor | None = None
    loss: Tensor | None = None


class HeadModule(nn.Module):
    """Features to representations: ``[m, inputs] -> [m, C, r]``.

    Attributes:
        channels, width: C and r.
    """

    channels: int
    width: int

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def inputs(self) -> list[Tensor]:
        """Weights ``[..., inputs]`` that multiply the features, where there are such."""
        return []

    def penalty(self, ridge: float) -> Tensor:
        """Negative log-prior in nats: by default ``ridge / 2 * sum of squared weights`` (biases are free)."""
        weights = [p.square().sum() for p in self.parameters() if p.ndim > 1]
        return ridge / 2 * torch.stack(weights).sum() if weights else torch.zeros(())


class KernelModule(nn.Module):
    """Two representations to antisymmetric logits: ``[n, C, r], [n, C, r] -> [n, C']``.

    Attributes:
        mixes_points: the kernel has one prototype for each channel of the population (`Shape.channels`), and itself
            uses `Taste.weights` over them (the result is then [n, 1]); the head has a single channel.
    """

    mixes_points: bool = False

    def seen(self, prompts: Tensor) -> Tensor:
        """What the kernel takes from the features of prompts, ``[P, d'] -> [P, g]``: computed once per prompt."""
        return prompts

    def forward(self, a: Tensor, b: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        """Logits; `prompts` [n, g] is what `seen` made of the prompt of each row."""
        raise NotImplementedError

    def utility(self, rep: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        """Utilities ``[m, C']`` whose differences are the logits.

        Raises:
            NotSupported: preferences of this kernel can be cyclic, so no such number exists.
        """
        raise NotSupported("this model allows cyclic preferences: there is no one utility per response.")

    def penalty(self, ridge: float) -> Tensor:
        """Negative log-prior in nats."""
        return torch.zeros(())


class PopulationModule(nn.Module):
    """Who is asked. `forward` serves training, `known` prediction; both give a `Taste` of n rows.

    Tables of what is known about each annotator are buffers or parameters with one row per annotator.

    Attributes:
        channels: channels of the head that this population chooses among or mixes (1 = nothing to choose).
        latent: numbers of `Taste.latent`.
        whole_units: training batches must hold all judgments of an annotator.
        personal: something is known about single annotators, so `acquaint` works.
        fitting: key of the way of fitting that suits it, for `automatic.Auto`.
        stochastic: the objective is drawn anew at every evaluation, so it must be trained in steps.
        progress: share of the training that is done, in [0, 1]; set by fittings that train in steps.
    """

    channels: int = 1
    latent: int = 0
    whole_units: bool = False
    personal: bool = False
    fitting: str | Mapping[str, Any] = "full_batch"
    stochastic: bool = False
    progress: float = 1.0

    def forward(self, rows: Judgments, batch: Batch) -> Taste:
        raise NotImplementedError

    def known(self, rows: Judgments, batch: Batch) -> Taste:
        """What is known about who is asked; strangers (annotator -1) get the fallback the population documents."""
        taste: Taste = self(rows, batch)
        return taste

    def units(self, rows: Judgments) -> Tensor | None:
        """Whose judgments must stay together in training, [n]; -1 = nobody's; None = each stands alone."""
        return rows.who.annotator

    def settle(self, network: Network, batch: Batch) -> None:
        """After the fit: learn what `known` will answer about the annotators of the training batch."""

    def notes(self) -> list[str]:
        """After `settle`: what a user should read about the people of the training judgments."""
        return []

    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        """Get to know annotators from their judgments in `batch`, everything else frozen.

        Args:
            network: the fitted whole.
            batch: judgments of newcomers only, their codes continuing those of the annotators already known.
            newcomers: their codes, [m]; tables must have ``max(newcomers) + 1`` rows afterwards.

        Raises:
            NotSupported: everyone is alike here.
        """
        raise NotSupported("this model treats everyone alike, so there is nothing to learn about one person.")

    def penalty(self, ridge: float) -> Tensor:
        """Negative log-prior in nats."""
        return torch.zeros(())


class NoiseModule(nn.Module):
    """What lies between the preference and the record.

    Attributes:
        personal: something is known about single annotators, so `acquaint` does something.
        mixes: `observed` mixes probabilities, which links that only borrow a form for fitting do not give.
    """

    personal: bool = False
    mixes: bool = False

    def shift(self, rows: Pairs) -> Tensor | None:
        """Added to the logit, [n]."""
        return None

    def observed(self, log_probs: Tensor, rows: Pairs) -> Tensor:
        """Log-probabilities of recorded outcomes from those of clean ones, ``[n, Z, K] -> [n, Z, K]``."""
        return log_probs

    def reweighed(self, loss: Tensor, rows: Judgments) -> Tensor | None:
        """Factors [n] on the judgments' weights given their (detached) losses [n]: filters and curricula."""
        return None

    def relabelled(self, rows: Pairs) -> Pairs:
        """The comparisons as learning shall see them: corrected targets; called once, before any fitting."""
        return rows

    def settle(self, network: Network, batch: Batch) -> None:
        """After the fit."""

    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        """As for populations; called where the noise is personal."""

    def penalty(self) -> Tensor:
        """Negative log-prior in nats."""
        return torch.zeros(())


class OutcomeModule(nn.Module):
    """Log-probability of what was recorded.

    Those of ratings and rankings have ``log_prob(values, rows) -> [n, Z]`` for the values of `Network.values`; those of
    ratings also ``predict(utility [n, Z], rows) -> mean, sd``, each [n, Z].

    Attributes:
        personal: something is known about single annotators, so `acquaint` does something.
        fitting: the way of fitting that this outcome needs; None = any.
        unsettled: why it is no likelihood; None = it is one, or stands for one.
    """

    table: str = "comparisons"
    """The judgments it reads."""
    fitting: str | None = None
    unsettled: str | None = None
    personal: bool = False

    def prepare(self, batch: Batch) -> None:
        """Look at the training judgments before the fit: where a scale begins, how wide it is."""

    def paired(self) -> OutcomeModule | None:
        """How comparisons would come out by this outcome alone, for models that were fitted to none."""
        return None

    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        """As for populations; called where the outcome is personal."""

    def penalty(self) -> Tensor:
        """Negative log-prior in nats."""
        return torch.zeros(())


class OutcomePart(Part):
    """Description of an outcome: also says how the answers of a table become targets."""

    table: ClassVar[str] = "comparisons"

    def resolved(self, data: PreferenceData) -> OutcomePart:
        """The part with everything decided that it leaves to the data (the number of grades).

        Raises:
            InputError: the data does not have what has to be decided by it.
        """
        return self

    def grades(self, frame: pl.DataFrame) -> Any:
        """Of ratings: the place of each answer among the grades or classes, [n] of int64; -1 = none."""
        return np.full(frame.height, -1)

    def answers(self, frame: pl.DataFrame) -> tuple[Any, Mapping[str, float]]:
        """What can be learned from: comparisons: targets [n, K], zeros for rows that cannot be used; ratings and
        rankings: which rows can, [n] of bool. And what happened to the others: reason -> judgments.
        """
        raise NotImplementedError
