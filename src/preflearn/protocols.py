"""What the parts of the house ask of each other: preference models, policies, labellers.

`evaluate` and `explain` see only these protocols, never a class.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from preflearn.data.tables import PreferenceData

Floats = npt.NDArray[np.float64]


class OutcomeProbabilities(NamedTuple):
    """One row per comparison, one column per outcome the model knows; rows sum to 1."""

    outcomes: tuple[str, ...]
    probabilities: Floats


class Rate(NamedTuple):
    """Predicted ratings on the criterion's own scale."""

    mean: Floats
    sd: Floats


class Uncertainty(NamedTuple):
    """Per comparison, in nats: noise of a single answer, what more data would settle, division among people."""

    aleatoric: Floats
    epistemic: Floats
    disagreement: Floats


@runtime_checkable
class PreferenceModel(Protocol):
    """Answers P(a beats b | prompt, who, context).

    Invariants (tested on every model): exchanging a and b (and shown_first) gives 1 - p; P(a beats a) = 1/2; the order
    of rows does not matter. Unknown items raise `InputError`; items whose strength the data does not determine give
    NaN in `prob` only when `missing="nan"` is asked for, else raise `NotComputable`.
    """

    def fit(self, data: PreferenceData) -> Self:
        """Estimate from the judgments of `data`; fitted state ends in `_`."""
        ...

    def prob(self, data: PreferenceData, *, symmetrised: bool = False) -> Floats:
        """P(a beats b | decided) for each row of `data.comparisons`: [n], outcomes ignored, in order of presentation.

        `symmetrised` averages both orders of presentation.
        """
        ...

    def outcome_probs(self, data: PreferenceData) -> OutcomeProbabilities:
        """Probabilities of every outcome the model knows for each row of `data.comparisons`."""
        ...

    def get_params(self) -> dict[str, Any]:
        """Constructor parameters, enough to build an equal unfitted model."""
        ...


@runtime_checkable
class HasUtility(Protocol):
    """A model with one number per response (`NotSupported` for intransitive ones)."""

    def utility(self, data: PreferenceData) -> Floats:
        """Utility of each row of `data.responses` to the population as a whole: [n], in logits."""
        ...


@runtime_checkable
class HasRate(Protocol):
    """A model that predicts ratings."""

    def rate(self, data: PreferenceData) -> Rate:
        """Predicted rating of each row of `data.ratings` (values ignored) on its criterion's scale: mean and sd [n]."""
        ...


@runtime_checkable
class HasDraws(Protocol):
    """A model with a posterior."""

    def prob_draws(self, data: PreferenceData, n: int, seed: int) -> Floats:
        """Posterior draws of `prob`: [n, comparisons]."""
        ...


@runtime_checkable
class HasUncertainty(Protocol):
    """A model that says where its uncertainty comes from."""

    def uncertainty(self, data: PreferenceData) -> Uncertainty:
        """Aleatoric, epistemic and disagreement of each row of `data.comparisons`, in nats."""
        ...


@runtime_checkable
class HasAdapt(Protocol):
    """A model that gets to know people from few answers."""

    def adapt(self, labelled: PreferenceData) -> PreferenceModel:
        """A model that also knows the annotators of `labelled` (each from their own n >= 0 judgments).

        The original is untouched. Annotators that appear in `labelled.annotators` without judgments are known from
        their attributes alone, else as the population.

        Raises:
            InputError: a judgment names no annotator.
            NotSupported: the model treats everyone alike.
        """
        ...


@runtime_checkable
class HasRepresentation(Protocol):
    """A model that can show what it sees of a response."""

    def represent(self, data: PreferenceData) -> Floats:
        """Representation of each row of `data.responses`: [n, d]."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Something that produces responses and can say how likely it was to."""

    def sample(self, prompts: PreferenceData, n: int, seed: int) -> PreferenceData:
        """`n` responses to each prompt, as rows of `responses`."""
        ...

    def unit_scores(self, records: Any, draw: Any) -> Any:
        """Scores [responses, units] with mask, exactness, reduction and scale."""
        ...


@runtime_checkable
class Labeller(Protocol):
    """Whoever answers when asked: people through the server, a judge, a model, a rule, a simulated crowd."""

    def label(self, records: Any, seed: int) -> PreferenceData:
        """Judgments of the given records."""
        ...
