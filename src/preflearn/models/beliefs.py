"""What a fitted composed model says about its own uncertainty: posterior draws, and where uncertainty comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from preflearn.choice.mixture import entropy
from preflearn.data import PreferenceData
from preflearn.errors import NotComputable
from preflearn.models.answers import Answers
from preflearn.models.batch import Batch, taken
from preflearn.models.fitting.linear import is_linear
from preflearn.models.network import Network
from preflearn.models.posterior import Posterior, by_laplace, posterior_of
from preflearn.protocols import Uncertainty

Floats = npt.NDArray[np.float64]

DRAWS = 64
"""Parameter draws behind `uncertainty`: every other one is the mirror image of the one before."""
PEOPLE = 32
"""Known annotators that stand for the population where a stranger is asked."""


class _Tastes(NamedTuple):
    """Outcome probabilities under each taste [n, Z, K] and the tastes' shares [n, Z]."""

    probs: Tensor
    shares: Tensor


class _Training(NamedTuple):
    """What a posterior is computed from; see `Beliefs._keep`."""

    network: Network
    batch: Batch | None
    tuned_on: PreferenceData | None


class Beliefs(Answers):
    """The half of `Composed` that says how sure its answers are."""

    posterior: Literal["model", "sandwich"]
    seed: int
    notes_: list[str]
    _posterior: Posterior | None = None
    _training: _Training | None = None

    def _keep(self, network: Network, batch: Batch, tuned_on: PreferenceData | None) -> None:
        """Remember what the posterior will be computed from.

        Args:
            network: the fitted one.
            batch: the training judgments.
            tuned_on: the training data, where the encoder changed since `batch` was made.
        """
        # A fitting of several stages may leave the second derivatives of an earlier one.
        known = self.posterior == "model" and network.information is not None and is_linear(network, batch)
        self._posterior, self._training = None, _Training(network, None if known else batch, tuned_on)

    def _encoded(self, batch: Batch, data: PreferenceData) -> Batch:
        """The batch with features by the encoder as it is now."""
        x = torch.as_tensor(self._features(data, self.plan_.tables).responses, dtype=batch.x.dtype)
        return replace(batch, x=x)

    def restored(self, posterior: Posterior | None) -> None:
        """Take the posterior of a stored model."""
        self._posterior, self._training = posterior, None

    @property
    def posterior_is_work(self) -> bool:
        """Whether the posterior would still have to be found by refits."""
        if self._posterior is not None or self._training is None:
            return False
        network, batch, tuned_on = self._training
        if batch is None:
            return False
        return network.learns and (tuned_on is not None or not is_linear(network, batch))

    @property
    def posterior_(self) -> Posterior:
        """The posterior of the parameters: Laplace's for linear heads, else from refits (see `models.posterior`).

        Refits take about as long as the fit. They are made when somebody first asks, or when the model is saved with
        ``draws=True``; until then the model keeps its training judgments.

        Raises:
            NotComputable: the data leaves parameters undetermined, or the model was stored without refits.
        """
        self._fitted()
        for part in (self.plan_.fitting, *self.network_.outcomes):
            if part.unsettled is not None:
                raise NotComputable(f"there is no posterior: {part.unsettled}.")
        if self._posterior is None:
            if self._training is None:
                raise NotComputable(
                    "the model was stored without a posterior, and its training judgments are gone. Fit it again and "
                    "keep one: save(path, draws=True), or `preflearn fit --draws`."
                )
            network, batch, tuned_on = self._training
            if batch is None:
                assert network.information is not None
                self._posterior = by_laplace(network, network.information)
            else:
                batch = batch if tuned_on is None else self._encoded(batch, tuned_on)
                clusters = _annotators(batch) if self.posterior == "sandwich" else None
                self._posterior = posterior_of(network, batch, self.seed, clusters=clusters)
            self._training = None
            self.notes_ = [*self.notes_, *self._posterior.notes]
        return self._posterior

    def prob_draws(self, data: PreferenceData, n: int, seed: int) -> Floats:
        """Posterior draws of `prob`, [n, comparisons]: one draw of all parameters per row of the result.

        Raises:
            NotComputable: there is no posterior; the message says why.
        """
        batch = self._assembled(data).batch
        draws = self.posterior_.draws(self.network_, n, seed)
        result: Floats = np.reshape([self._decided(self._mixed(batch, network)) for network in draws], (n, len(batch)))
        return result

    def uncertainty(self, data: PreferenceData) -> Uncertainty:
        """Where the uncertainty about the answer to each row of `data.comparisons` comes from, [n] each, in nats.

        With parameters theta of the posterior, tastes z of whoever is asked, and H the entropy of the answer (all
        outcomes that the model knows, recorded with its noise):

        - aleatoric: ``E_theta E_z H(p)``: what one person with one taste would answer is still open;
        - disagreement: ``E_theta [H(E_z p) - E_z H(p)]``: tastes differ;
        - epistemic: ``H(E_theta E_z p) - E_theta H(E_z p)``: what more data would settle; about 1 / n.

        None is negative, and their sum is the entropy ``H(E_theta E_z p)`` of the prediction. Tastes of a known
        annotator are those the model still holds possible; of a stranger those of the population: its components, or
        the annotators that the model knows (a sample of them), each with the same weight.

        Raises:
            NotComputable: there is no posterior; the message says why.

        Source: the decomposition is that of Depeweg et al. (2018), Decomposition of uncertainty in Bayesian deep
        learning for efficient and risk-sensitive learning, arXiv 1710.07283, applied twice.
        """
        batch = self._assembled(data).batch
        aleatoric, given, total = torch.zeros(len(batch)).double(), torch.zeros(len(batch)).double(), torch.zeros(())
        for network in self.posterior_.draws(self.network_, DRAWS, self.seed, mirrored=True):
            tastes = self._tastes(network, batch)
            mean = (tastes.shares[:, :, None] * tastes.probs).sum(1)
            aleatoric += (tastes.shares * entropy(tastes.probs)).sum(1) / DRAWS
            given += entropy(mean) / DRAWS
            total = total + mean / DRAWS
        whole = entropy(total)
        parts = [aleatoric, whole - given, given - aleatoric]
        return Uncertainty(*(part.clamp(min=0).numpy() for part in parts))

    def _tastes(self, network: Network, batch: Batch) -> _Tastes:
        """What each taste of whoever is asked would answer."""
        rows = batch.pairs
        assert rows is not None
        probs, shares = network.predict(rows, batch)
        strangers = torch.nonzero(rows.who.annotator < 0)[:, 0]
        people = self._people()
        if probs.shape[1] > 1 or not len(strangers) or len(people) < 2:
            return _Tastes(probs, shares)
        spread = probs.expand(-1, len(people), -1).clone()
        asked = taken(rows, strangers)
        for place, person in enumerate(people):
            who = replace(asked.who, annotator=torch.full_like(asked.who.annotator, person))
            spread[strangers, place] = network.predict(replace(asked, who=who), batch)[0][:, 0]
        return _Tastes(spread, torch.full(spread.shape[:2], 1 / len(people), dtype=spread.dtype))

    def _people(self) -> list[int]:
        """Known annotators who stand for the population, where it knows people one by one."""
        part = self.plan_.population
        if not (self.network_.population.personal or part.attributes()):
            return []
        known = len(self.vocabulary_.annotators)
        return [round(place) for place in np.linspace(0, known - 1, min(known, PEOPLE))]


def _annotators(batch: Batch) -> npt.NDArray[np.int64]:
    """Clusters of judgments: who made them; those of nobody in particular one by one."""
    found = torch.cat([rows.who.annotator for rows in batch.judgments()]).numpy()
    alone = found < 0
    return np.where(alone, found.max(initial=-1) + np.cumsum(alone), found)
