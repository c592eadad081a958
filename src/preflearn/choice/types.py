"""What every link offers: the protocol, its derivatives, and how a (soft) outcome meets them.

A link gives the probability of each outcome of one comparison from one logit: the log-strength difference of a
over b. It holds hyper-parameters only; shape parameters (tie propensity, thresholds, flip rate) are passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from array_api_compat import array_namespace, device

from preflearn.choice.arrays import Array, as_float, split, uniform

Parameters: TypeAlias = Array | Sequence[float]
"""Shape parameters: ``[P]``, or ``[..., P]`` broadcastable against the logit (cut-points of each annotator)."""


class Derivatives(NamedTuple):
    """Log-probabilities and their derivatives with respect to (logit, parameters).

    From :meth:`Link.derivatives` one entry per outcome (axis K); from :func:`contract` one per comparison.
    Arrays may be read-only views with components stored first; copy before writing.

    Attributes:
        log_prob: ``[..., K]`` or ``[...]``, nats.
        score: ``[..., K, 1 + P]`` or ``[..., 1 + P]``, first derivatives.
        curvature: ``[..., K, 1 + P, 1 + P]`` or ``[..., 1 + P, 1 + P]``, second derivatives (not negated).
    """

    log_prob: Array
    score: Array
    curvature: Array


@runtime_checkable
class Link(Protocol):
    """From a logit to the probabilities of the outcomes of a comparison.

    Implementations define the four members without a body here; the rest follows from them.
    """

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of the K outcomes, from the best for b to the best for a: the order of the columns."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the P shape parameters."""
        ...

    def initial(self) -> tuple[float, ...]:
        """Shape parameters to start a fit from."""
        ...

    def derivatives(self, logit: Array, parameters: Parameters = ()) -> Derivatives:
        """Log-probability, first and second derivatives of every outcome, in closed form.

        Args:
            logit: ``[...]``, log-strength difference of a over b.
            parameters: ``[P]`` or ``[..., P]``.
        """
        ...

    def log_probs(self, logit: Array, parameters: Parameters = ()) -> Array:
        """Log-probability of every outcome, ``[..., K]``, nats; ``-inf`` outside the domain of the parameters."""
        ...

    def check(self, parameters: Parameters) -> None:
        """Raise ``ValueError`` where ``parameters`` lie outside the domain of the link."""
        split(parameters, self.parameters)

    @property
    def prediction(self) -> Link:
        """The link that predicts after a fit with this one: itself, except where fitting only borrows the form."""
        return self

    @property
    def swap(self) -> tuple[int, ...]:
        """Where each outcome goes when a and b exchange their places: the outcomes in reverse."""
        return tuple(reversed(range(len(self.outcomes))))

    def constrain(self, free: Array) -> Array:
        """Shape parameters ``[..., P]`` from unconstrained numbers ``[..., P]``, differentiable."""
        return free

    def unconstrain(self, parameters: Array) -> Array:
        """The inverse of :meth:`constrain`."""
        return parameters

    def log_prob(self, target: Array, logit: Array, parameters: Parameters = ()) -> Array:
        """Log-likelihood ``[...]`` (nats) of outcome distributions ``target [..., K]``; one-hot for a hard outcome."""
        return contract_log_prob(target, self.log_probs(logit, parameters))

    def weighted(self, target: Array, logit: Array, parameters: Parameters = ()) -> Derivatives:
        """:meth:`log_prob`, :meth:`score` and :meth:`curvature` in one evaluation: what a Newton step needs.

        Args:
            target: ``[..., K]``, outcome distributions, or counts of outcomes (everything is linear in them).
            logit: ``[...]``.
            parameters: ``[P]`` or ``[..., P]``.
        """
        return contract(target, self.derivatives(logit, parameters))

    def score(self, target: Array, logit: Array, parameters: Parameters = ()) -> Array:
        """First derivatives ``[..., 1 + P]`` of :meth:`log_prob` with respect to (logit, parameters)."""
        return self.weighted(target, logit, parameters).score

    def curvature(self, target: Array, logit: Array, parameters: Parameters = ()) -> Array:
        """Second derivatives ``[..., 1 + P, 1 + P]`` of :meth:`log_prob`."""
        return self.weighted(target, logit, parameters).curvature

    def sample(self, logit: Array, parameters: Parameters = (), generator: Any = None) -> Array:
        """Draw one outcome per logit, ``[...]`` of int64: positions in :attr:`outcomes`.

        Args:
            logit: ``[...]``.
            parameters: ``[P]`` or ``[..., P]``, inside the domain (:meth:`check` is called).
            generator: a ``numpy.random.Generator``, or a ``torch.Generator`` for tensors.

        Raises:
            TypeError: without a generator.
            ValueError: for parameters outside the domain.
        """
        if generator is None:
            raise TypeError("sample needs a generator: numpy.random.default_rng(seed), or a torch.Generator")
        self.check(parameters)
        return draw(self.log_probs(logit, parameters), generator)


def draw(log_probs: Array, generator: Any) -> Array:
    """One position ``[...]`` of int64 per row of log-probabilities ``[..., K]``, from either library's generator."""
    xp = array_namespace(log_probs)
    below = xp.cumulative_sum(xp.exp(log_probs), axis=-1)[..., :-1]
    level = uniform(generator, tuple(log_probs.shape[:-1]), log_probs)
    return xp.sum(xp.astype(level[..., None] >= below, xp.int64), axis=-1)


def one_hot(index: Array, outcomes: int, like: Array | None = None) -> Array:
    """Outcome distributions ``[..., K]`` that put everything on one outcome.

    Args:
        index: ``[...]``, integer positions in ``Link.outcomes``.
        outcomes: their number K.
        like: an array whose dtype the result takes (default float64).

    Raises:
        ValueError: for a position outside ``0 .. K - 1``.
    """
    xp = array_namespace(index)
    if bool(xp.any((index < 0) | (index >= outcomes))):
        raise ValueError(
            f"outcome positions must lie in 0..{outcomes - 1}; found {int(xp.min(index))} to {int(xp.max(index))}"
        )
    columns = xp.arange(outcomes, dtype=index.dtype, device=device(index))
    return xp.astype(index[..., None] == columns, xp.float64 if like is None else like.dtype)


def check_target(target: Array, outcomes: int, like: Array) -> Array:
    """``target [..., K]`` in the dtype of ``like``.

    Raises:
        ValueError: when its last axis is not the number of outcomes.
    """
    _, weights = as_float(target, like)
    if weights.ndim == 0 or weights.shape[-1] != outcomes:
        raise ValueError(
            f"target has shape {tuple(weights.shape)}; expected [..., {outcomes}], one column per outcome of the link"
        )
    return weights


def contract_log_prob(target: Array, log_probs: Array) -> Array:
    """``sum_k target_k log p_k`` with ``0 * -inf = 0``: ``[..., K], [..., K] -> [...]``, nats."""
    xp = array_namespace(log_probs)
    weights = check_target(target, log_probs.shape[-1], like=log_probs)
    return xp.sum(weights * xp.where(weights == 0, xp.zeros_like(log_probs), log_probs), axis=-1)


def contract(target: Array, derivatives: Derivatives) -> Derivatives:
    """Weigh the outcomes of ``derivatives`` by ``target``: the outcome axis K is summed out.

    Args:
        target: ``[..., K]``, outcome distributions (or counts: everything is linear in them).
        derivatives: of every outcome, from :meth:`Link.derivatives`.
    """
    weights = check_target(target, derivatives.log_prob.shape[-1], like=derivatives.log_prob)
    score = weights[..., 0, None] * derivatives.score[..., 0, :]
    curvature = weights[..., 0, None, None] * derivatives.curvature[..., 0, :, :]
    for k in range(1, weights.shape[-1]):
        score = score + weights[..., k, None] * derivatives.score[..., k, :]
        curvature = curvature + weights[..., k, None, None] * derivatives.curvature[..., k, :, :]
    return Derivatives(contract_log_prob(weights, derivatives.log_prob), score, curvature)
