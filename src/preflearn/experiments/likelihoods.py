"""Proofs of likelihood parts that no rating model wraps: rankings, flipped labels, soft labels.

Maximum likelihood by a general optimiser on the part's own values and scores.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from preflearn.choice import Binary, Flip, plackett_luce, unbiased_target
from preflearn.choice.types import Link
from preflearn.experiments.measures import Floats, centred, root_mean_square, slope
from preflearn.experiments.proof import Figures, proof

Ints = npt.NDArray[np.int64]


@proof(
    "plackett_luce",
    claim="slope of estimated on true strengths from the best two of five",
    baseline="Plackett-Luce on the ranked items alone, the three others dropped",
    expected=1.0,
    limit=0.12,
    least_effect=0.1,
)
def rankings(seed: int) -> Figures:
    """Who was shown and not ranked has lost."""
    generator = np.random.default_rng(seed)
    theta = np.linspace(-1.5, 1.5, 10)
    shown = np.argsort(generator.random((6_000, len(theta))), axis=1)[:, :5]
    ranks = plackett_luce.sample(theta[shown], generator)
    ranks = np.where(ranks <= 2, ranks, 0)

    def fitted(mask: npt.NDArray[np.bool_]) -> float:
        def loss(x: Floats) -> tuple[float, Floats]:
            value, score, _ = plackett_luce.derivatives(ranks, x[shown], mask)
            gradient = np.bincount(shown.ravel(), np.asarray(score).ravel(), len(x))
            return -float(np.sum(value)), np.asarray(-gradient, dtype=np.float64)

        return slope(_minimum(loss, len(theta)), theta)

    return Figures(fitted(np.ones(ranks.shape, dtype=bool)), fitted(ranks > 0))


@proof(
    "flips",
    claim="slope of estimated on true strengths when 15 % of the labels are flipped and the rate is not known",
    baseline="Bradley-Terry that takes every label as meant",
    expected=1.0,
    limit=0.2,
    least_effect=0.1,
)
def flips(seed: int) -> Figures:
    """Clear cases that went the wrong way tell the rate."""
    theta, left, right, label = _flipped(seed, rate=0.15)
    return Figures(
        slope(_strengths(Flip(Binary(), rate=0.05), left, right, _one_hot(label), len(theta)), theta),
        slope(_strengths(Binary(), left, right, _one_hot(label), len(theta)), theta),
    )


@proof(
    "unbiased_labels",
    claim="slope of estimated on true strengths when a known 20 % of the labels are flipped",
    baseline="Bradley-Terry that takes every label as meant",
    expected=1.0,
    limit=0.2,
    least_effect=0.1,
)
def unbiased_labels(seed: int) -> Figures:
    """Targets beyond 0 and 1 average to the clean loss."""
    theta, left, right, label = _flipped(seed, rate=0.2)
    target = _one_hot(label)
    corrected = np.asarray(unbiased_target(target, 0.2))
    return Figures(
        slope(_strengths(Binary(), left, right, corrected, len(theta)), theta),
        slope(_strengths(Binary(), left, right, target, len(theta)), theta),
    )


@proof(
    "soft_labels",
    claim="error of strengths learned from 2,000 probabilities of a teacher, root mean square in logits",
    baseline="2,000 labels drawn from the same probabilities",
    expected=0.0,
    limit=0.01,
    least_effect=0.05,
    resolution=1e-4,
)
def soft_labels(seed: int) -> Figures:
    """A probability says all that a label says on average."""
    generator = np.random.default_rng(seed)
    theta = np.linspace(-1.5, 1.5, 12)
    errors = []
    for _ in range(10):
        left, right = _pairs(generator, len(theta), 2_000)
        difference = theta[left] - theta[right]
        soft = np.exp(np.asarray(Binary().log_probs(difference)))
        hard = _one_hot(Binary().sample(difference, (), generator))
        errors.append([_strengths(Binary(), left, right, target, len(theta)) - theta for target in (soft, hard)])
    return Figures(*(root_mean_square(np.array([error[k] for error in errors])) for k in range(2)))


def _flipped(seed: int, rate: float) -> tuple[Floats, Ints, Ints, Ints]:
    """True strengths and 120,000 votes of which `rate` are recorded the wrong way round."""
    generator = np.random.default_rng(seed)
    theta = np.linspace(-2.5, 2.5, 12)
    left, right = _pairs(generator, len(theta), 120_000)
    label = Binary().sample(theta[left] - theta[right], (), generator)
    return theta, left, right, np.where(generator.random(len(label)) < rate, 1 - label, label)


def _pairs(generator: np.random.Generator, n: int, size: int) -> tuple[Ints, Ints]:
    left = generator.integers(0, n, size)
    return left, (left + generator.integers(1, n, size)) % n


def _one_hot(label: Ints) -> Floats:
    return np.stack([label == 0, label == 1], axis=-1).astype(np.float64)


def _strengths(link: Link, left: Ints, right: Ints, target: Floats, n: int) -> Floats:
    """Centred maximum-likelihood strengths; shape parameters of the link are estimated with them."""
    cell, index = np.unique(left * n + right, return_inverse=True)
    counts = np.stack([np.bincount(index, target[:, k], len(cell)) for k in range(target.shape[1])], axis=-1)
    i, j = np.divmod(cell, n)
    shape = len(link.parameters)

    def loss(x: Floats) -> tuple[float, Floats]:
        free = x[n:]
        parameters = np.asarray(link.constrain(free))
        step = 1e-6
        slopes = (np.asarray(link.constrain(free + step)) - np.asarray(link.constrain(free - step))) / (2 * step)
        difference = x[i] - x[j]
        score = np.asarray(link.score(counts, difference, parameters))
        gradient = np.zeros(n + shape)
        gradient[:n] = np.bincount(i, score[:, 0], n) - np.bincount(j, score[:, 0], n)
        gradient[n:] = score[:, 1:].sum(0) * slopes
        return -float(np.sum(np.asarray(link.log_prob(counts, difference, parameters)))), -gradient

    start = np.asarray(link.unconstrain(np.asarray(link.initial())))
    return centred(_minimum(loss, n, start)[:n])


def _minimum(loss: Callable[[Floats], tuple[float, Floats]], n: int, shape: Floats | None = None) -> Floats:
    start = np.concatenate([np.zeros(n), np.zeros(0) if shape is None else shape])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2_000, "ftol": 1e-15, "gtol": 1e-6})
    return np.asarray(found.x)
