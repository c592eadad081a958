"""Which pairs are asked: uniformly, by popularity, or adaptively; always with the probability of having been asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from preflearn.choice.stable import logit as log_odds
from preflearn.errors import InputError
from preflearn.simulate.pool import Codes, Floats, Pool

_STRICT: dict[str, str] = {"extra": "forbid"}
_MOST_CANDIDATES = 5_000_000


class Pairs(NamedTuple):
    """Pairs drawn with replacement: positions in the pool, `[n]`, and the probability of that unordered pair."""

    a: Codes
    b: Codes
    propensity: Floats

    def repeated(self, times: int, n: int) -> Pairs:
        """Each pair so many times in a row, cut to `n`."""
        return Pairs(*(np.repeat(column, times)[:n] for column in self))  # type: ignore[arg-type]


@dataclass
class Tally:
    """What an adaptive design has seen so far.

    Attributes:
        wins, votes: by system, ties as half a win, `[systems]`.
    """

    wins: Floats
    votes: Floats

    @classmethod
    def empty(cls, systems: int) -> Tally:
        """Nothing seen."""
        return cls(np.zeros(systems), np.zeros(systems))

    def add(self, system_a: Codes, system_b: Codes, score_a: Floats) -> None:
        """Count votes; `score_a` is 1, 1/2 or 0."""
        n = len(self.wins)
        self.wins += np.bincount(system_a, score_a, n) + np.bincount(system_b, 1 - score_a, n)
        self.votes += np.bincount(system_a, minlength=n) + np.bincount(system_b, minlength=n)


@dataclass(frozen=True)
class Uniform:
    """Every pair of responses of one set is equally likely."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    kind: Literal["uniform"] = "uniform"

    def rounds(self, n: int) -> list[int]:
        """One round."""
        return [n]

    def draw(self, pool: Pool, tally: Tally, n: int, generator: np.random.Generator) -> Pairs:
        """`n` pairs."""
        sizes, pairs = _sets(pool)
        at = _draw_sets(pairs, n, generator)
        size = sizes[at]
        i = generator.integers(0, size, size=n)
        j = generator.integers(0, size - 1, size=n)
        j += j >= i
        start = pool.starts[at]
        return Pairs(_codes(start + i), _codes(start + j), np.full(n, 1.0 / pairs.sum()))


@dataclass(frozen=True)
class Popular:
    """Popular systems meet more often: within a set both sides are drawn in proportion to weights, until they differ.

    Attributes:
        weights: by system (systems not named get 1); empty: the r-th system in order gets ``r^-exponent``.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    weights: Mapping[str, float] = field(default_factory=dict)
    exponent: float = 0.5
    kind: Literal["popular"] = "popular"

    def rounds(self, n: int) -> list[int]:
        """One round."""
        return [n]

    def draw(self, pool: Pool, tally: Tally, n: int, generator: np.random.Generator) -> Pairs:
        """`n` pairs; ``P(i, j) = 2 w_i w_j / (1 - sum w^2)`` within a set, w normalised to sum 1 there."""
        weight = self._weights(pool)[pool.system]
        sizes, pairs = _sets(pool)
        total = np.add.reduceat(weight, pool.starts[:-1])
        weight = weight / np.repeat(total, sizes)
        again = 1 - np.add.reduceat(weight**2, pool.starts[:-1])
        at = _draw_sets(pairs, n, generator)
        # Sets follow each other on one axis, each of length 1: the integer part of a point is its set.
        ends = np.cumsum(weight)
        low, last = pool.starts[at], pool.starts[at + 1] - 1

        def side(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
            found = np.searchsorted(ends, at[rows] + generator.random(len(rows)), side="right")
            return np.clip(found, low[rows], last[rows])

        everyone = np.arange(n)
        i, j = side(everyone), side(everyone)
        while len(same := np.flatnonzero(i == j)):
            i[same], j[same] = side(same), side(same)
        propensity = 2 * weight[i] * weight[j] / again[at] * (pairs[at] / pairs.sum())
        return Pairs(_codes(i), _codes(j), propensity)

    def _weights(self, pool: Pool) -> Floats:
        if unknown := sorted(set(self.weights) - set(pool.systems)):
            raise InputError(f"popularity names unknown systems: {', '.join(unknown)}.")
        if self.weights:
            weights = np.array([self.weights.get(name, 1.0) for name in pool.systems])
            if not (weights > 0).all():
                raise InputError("popularity weights must be positive.", value=dict(self.weights))
            return weights
        return np.asarray(np.arange(1, len(pool.systems) + 1) ** -float(self.exponent))


@dataclass(frozen=True)
class Adaptive:
    """Pairs are chosen by what earlier rounds showed.

    The score of a system is the log-odds of its smoothed win rate; a pair of systems gets weight
    ``exp(-|difference| / scale)`` ("close") or ``1/sqrt(votes_i + 1) + 1/sqrt(votes_j + 1)`` ("uncertain"). The first
    round is uniform.

    Attributes:
        prefer: what attracts questions.
        batches: number of rounds of equal size.
        scale: in logits, of "close".
        explore: share of every round that is uniform, so that no propensity is tiny.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    prefer: Literal["close", "uncertain"] = "close"
    batches: int = 10
    scale: float = 0.5
    explore: float = 0.1
    kind: Literal["adaptive"] = "adaptive"

    def rounds(self, n: int) -> list[int]:
        """Sizes of the rounds."""
        if self.batches < 1 or not 0 < self.explore <= 1 or self.scale <= 0:
            raise InputError("adaptive sampling needs batches >= 1, 0 < explore <= 1 and scale > 0.")
        return [len(part) for part in np.array_split(np.empty(n, dtype=np.bool_), self.batches) if len(part)]

    def draw(self, pool: Pool, tally: Tally, n: int, generator: np.random.Generator) -> Pairs:
        """`n` pairs."""
        i, j = _candidates(pool)
        uniform = np.full(len(i), 1.0 / len(i))
        probability = uniform
        if tally.votes.any():
            weight = self._attraction(tally)[pool.system[i], pool.system[j]]
            probability = self.explore * uniform + (1 - self.explore) * weight / weight.sum()
        chosen = generator.choice(len(i), size=n, p=probability)
        turned = generator.random(n) < 0.5
        a, b = np.where(turned, j[chosen], i[chosen]), np.where(turned, i[chosen], j[chosen])
        return Pairs(_codes(a), _codes(b), probability[chosen])

    def _attraction(self, tally: Tally) -> Floats:
        if self.prefer == "close":
            score = log_odds((tally.wins + 1) / (tally.votes + 2))
            return np.asarray(np.exp(-np.abs(score[:, None] - score[None, :]) / self.scale))
        unsure = 1 / np.sqrt(tally.votes + 1)
        return np.asarray(unsure[:, None] + unsure[None, :])


Sampling: TypeAlias = Uniform | Popular | Adaptive


def _sets(pool: Pool) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Size and number of unordered pairs of each set."""
    sizes = pool.sizes
    return sizes, sizes * (sizes - 1) // 2


def _draw_sets(pairs: npt.NDArray[np.int64], n: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Sets in proportion to their number of pairs."""
    if len(pairs) == 1:
        return np.zeros(n, dtype=np.int64)
    ends = np.cumsum(pairs)
    return np.searchsorted(ends, generator.integers(0, ends[-1], size=n), side="right")


def _candidates(pool: Pool) -> tuple[Codes, Codes]:
    """All unordered pairs within sets."""
    sizes, pairs = _sets(pool)
    if pairs.sum() > _MOST_CANDIDATES:
        raise InputError(
            f"adaptive sampling weighs every pair, and there are {int(pairs.sum()):,}.",
            cure=f"Use at most {_MOST_CANDIDATES:,} pairs, or another sampling.",
        )
    parts = [np.stack(np.triu_indices(size, 1)) + start for size, start in zip(sizes, pool.starts, strict=False)]
    i, j = np.concatenate(parts, axis=1)
    return _codes(i), _codes(j)


def _codes(positions: npt.NDArray[np.int64]) -> Codes:
    return positions.astype(np.int32)
