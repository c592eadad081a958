"""What annotators prefer: terms that add up to the log-strength difference of a over b.

Each term is plain data; `bind` draws what is random in it and returns a function of the questions asked, together
with the table of its truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.choice import nuisance
from preflearn.errors import InputError
from preflearn.simulate.pool import Codes, Floats, Pool
from preflearn.simulate.population import Crowd

_STRICT: dict[str, str] = {"extra": "forbid"}


class Asked(NamedTuple):
    """Questions put to annotators; every array is `[n]`.

    Attributes:
        a, b: positions in the pool.
        system_a, system_b: codes of their systems.
        annotator: position in the crowd.
        a_first: whether side a was shown first.
        time: fraction of the study that has passed, in [0, 1).
    """

    a: Codes
    b: Codes
    system_a: Codes
    system_b: Codes
    annotator: Codes
    a_first: npt.NDArray[np.bool_]
    time: Floats

    def take(self, rows: npt.NDArray[np.int64]) -> Asked:
        """These questions."""
        return Asked(*(column[rows] for column in self))  # type: ignore[arg-type]

    @classmethod
    def concatenate(cls, parts: Sequence[Asked]) -> Asked:
        """One after the other."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class Bound(NamedTuple):
    """A term that knows its numbers: logit of the questions asked (`[n]`), and the truth as tables by name."""

    logit: Callable[[Asked], Floats]
    tables: dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Strengths:
    """A log-strength per system, for everyone or by group.

    Give exactly one of `values` (by system), `by_level` (by group, then by system) and `spread` (drawn from
    N(0, spread^2), centred).

    Attributes:
        attribute: which attribute of the annotators the levels of `by_level` belong to.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    values: Mapping[str, float] | None = None
    by_level: Mapping[str, Mapping[str, float]] | None = None
    spread: float | None = None
    attribute: str = "group"
    kind: Literal["strengths"] = "strengths"

    def bind(self, pool: Pool, crowd: Crowd, generator: np.random.Generator) -> Bound:
        """Strengths as a table of level, system, strength."""
        if [self.values, self.by_level, self.spread].count(None) != 2:
            raise InputError("strengths need exactly one of values, by_level and spread.")
        if self.by_level is not None:
            levels, level = _levels(self.by_level, crowd, self.attribute)
            theta = np.stack([_per_system(self.by_level[name], pool, "strengths") for name in levels])
        else:
            levels, level = ("everyone",), np.zeros(len(crowd), dtype=np.int32)
            if self.values is not None:
                theta = _per_system(self.values, pool, "strengths")[None]
            else:
                drawn = (self.spread or 0.0) * generator.standard_normal(len(pool.systems))
                theta = (drawn - drawn.mean())[None]

        def logit(asked: Asked) -> Floats:
            if len(levels) == 1:
                result: Floats = theta[0][asked.system_a] - theta[0][asked.system_b]
                return result
            at = level[asked.annotator]
            return np.asarray(theta[at, asked.system_a] - theta[at, asked.system_b])

        counts = np.bincount(level, minlength=len(levels))
        table = pl.DataFrame(
            {
                "level": np.repeat(levels, len(pool.systems)),
                "share": np.repeat(counts / counts.sum(), len(pool.systems)),
                "system": list(pool.systems) * len(levels),
                "strength": theta.reshape(-1),
            }
        )
        return Bound(logit, {"strengths": table})


@dataclass(frozen=True)
class Taste:
    """A weight per unit of a numeric column of the responses (length bias: a weight on length).

    Give one of `weights` (for everyone) and `by_level` (by group).

    Attributes:
        relative: weigh the relative difference of counts, ``(a - b) / (a + b + 1)``, instead of the difference.
        attribute: which attribute the levels of `by_level` belong to.
        sd: standard deviation of a personal deviation, added to each weight of each annotator.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    weights: Mapping[str, float] | None = None
    by_level: Mapping[str, Mapping[str, float]] | None = None
    attribute: str = "group"
    relative: bool = False
    sd: float = 0.0
    kind: Literal["taste"] = "taste"

    def bind(self, pool: Pool, crowd: Crowd, generator: np.random.Generator) -> Bound:
        """Weights by level, feature, weight; with `sd` also everyone's own (annotator_id, feature, weight)."""
        if (self.weights is None) == (self.by_level is None):
            raise InputError("a taste needs exactly one of weights and by_level.")
        if self.by_level is not None:
            levels, level = _levels(self.by_level, crowd, self.attribute)
            by_level = self.by_level
        else:
            levels, level = ("everyone",), np.zeros(len(crowd), dtype=np.int32)
            by_level = {"everyone": self.weights or {}}
        names = list(dict.fromkeys(name for weights in by_level.values() for name in weights))
        if not names:
            raise InputError("a taste names no feature.", cure="Give weights such as {length: 0.5}.")
        features = np.stack([pool.column(name) for name in names], axis=1)
        if self.relative and (features < 0).any():
            raise InputError("a relative taste needs counts, and a feature is negative.", value=names)
        weights = np.array([[by_level[row].get(name, 0.0) for name in names] for row in levels])
        personal = weights[level] + self.sd * generator.standard_normal((len(crowd), len(names)))
        alike = self.sd == 0 and len(levels) == 1 and not self.relative

        def logit(asked: Asked) -> Floats:
            if alike:
                utility = features @ weights[0]
                result: Floats = utility[asked.a] - utility[asked.b]
                return result
            of_a, of_b = features[asked.a], features[asked.b]
            difference = nuisance.relative_difference(of_a, of_b) if self.relative else of_a - of_b
            return np.asarray(np.einsum("nf,nf->n", difference, personal[asked.annotator]))

        table = pl.DataFrame(
            {
                "level": np.repeat(levels, len(names)),
                "feature": names * len(levels),
                "weight": weights.reshape(-1),
            }
        )
        if not self.sd:
            return Bound(logit, {"taste": table})
        own = pl.DataFrame(
            {
                "annotator_id": np.repeat(crowd.ids, len(names)),
                "feature": names * len(crowd),
                "weight": personal.reshape(-1),
            }
        )
        return Bound(logit, {"taste": table, "personal_taste": own})


@dataclass(frozen=True)
class Offsets:
    """Personal strengths: each annotator's log-strength of each system deviates by N(0, sd^2)."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    sd: float
    kind: Literal["offsets"] = "offsets"

    def bind(self, pool: Pool, crowd: Crowd, generator: np.random.Generator) -> Bound:
        """Offsets as a table of annotator_id, system, offset."""
        offsets = self.sd * generator.standard_normal((len(crowd), len(pool.systems)))

        def logit(asked: Asked) -> Floats:
            return np.asarray(offsets[asked.annotator, asked.system_a] - offsets[asked.annotator, asked.system_b])

        table = pl.DataFrame(
            {
                "annotator_id": np.repeat(crowd.ids, len(pool.systems)),
                "system": list(pool.systems) * len(crowd),
                "offset": offsets.reshape(-1),
            }
        )
        return Bound(logit, {"offsets": table})


@dataclass(frozen=True)
class Position:
    """Advantage of the side shown first, in logits; personal effects are N(effect, sd^2)."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    effect: float
    sd: float = 0.0
    kind: Literal["position"] = "position"

    def bind(self, pool: Pool, crowd: Crowd, generator: np.random.Generator) -> Bound:
        """Effects as a table of annotator_id, effect."""
        effects = self.effect + self.sd * generator.standard_normal(len(crowd))

        def logit(asked: Asked) -> Floats:
            return np.asarray(nuisance.position(np.where(asked.a_first, 1.0, -1.0), effects[asked.annotator]))

        return Bound(logit, {"position": pl.DataFrame({"annotator_id": crowd.ids, "effect": effects})})


@dataclass(frozen=True)
class Cycle:
    """A planted intransitive part: a skew-symmetric matrix added to the logits of pairs of systems.

    Give `beats` (triples of winner, loser, logit; pairs not named get 0), or `amplitude` A: systems are put at equal
    angles phi on a circle in random order and ``logit(a over b) = A sin(phi_a - phi_b)``, whose row sums are zero, so
    that it changes no system's strength when all pairs are asked equally often.

    Source: the disc game; Balduzzi et al. (2019), Open-ended learning in symmetric zero-sum games, arXiv 1901.08106.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    amplitude: float | None = None
    beats: tuple[tuple[str, str, float], ...] = ()
    kind: Literal["cycle"] = "cycle"

    def bind(self, pool: Pool, crowd: Crowd, generator: np.random.Generator) -> Bound:
        """The skew-symmetric part as a table of system_a, system_b, logit (both orders)."""
        n = len(pool.systems)
        skew = np.zeros((n, n))
        if (self.amplitude is None) == (not self.beats):
            raise InputError("a cycle needs exactly one of amplitude and beats.")
        if self.amplitude is not None:
            if n < 3:
                raise InputError(f"a cycle needs at least three systems; there are {n}.")
            angle = 2 * np.pi * generator.permutation(n) / n
            skew = self.amplitude * np.sin(angle[:, None] - angle[None, :])
        for winner, loser, value in self.beats:
            i, j = (_system(name, pool, "a cycle") for name in (winner, loser))
            skew[i, j] += value
            skew[j, i] -= value

        def logit(asked: Asked) -> Floats:
            return np.asarray(skew[asked.system_a, asked.system_b])

        a, b = np.nonzero(~np.eye(n, dtype=bool))
        names = pl.Series(pool.systems)
        table = pl.DataFrame({"system_a": names.gather(a), "system_b": names.gather(b), "logit": skew[a, b]})
        return Bound(logit, {"cycle": table})


@dataclass(frozen=True)
class Drift:
    """Strengths that change while votes are collected.

    Attributes:
        changes: by system, the change of its log-strength from start to end (systems not named stay).
        shape: "linear" in time, or a "step" at the fraction `at` of the study (a silent update of the system).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    changes: Mapping[str, float] = field(default_factory=dict)
    shape: Literal["linear", "step"] = "linear"
    at: float = 0.5
    kind: Literal["drift"] = "drift"

    def bind(self, pool: Pool, crowd: Crowd, generator: np.random.Generator) -> Bound:
        """Changes as a table of system, change."""
        for name in self.changes:
            _system(name, pool, "a drift")
        change = np.array([self.changes.get(name, 0.0) for name in pool.systems])

        def logit(asked: Asked) -> Floats:
            passed = asked.time if self.shape == "linear" else (asked.time >= self.at).astype(np.float64)
            return np.asarray((change[asked.system_a] - change[asked.system_b]) * passed)

        return Bound(logit, {"drift": pl.DataFrame({"system": pool.systems, "change": change})})


Term: TypeAlias = Strengths | Taste | Offsets | Position | Cycle | Drift


def _levels(by_level: Mapping[str, object], crowd: Crowd, attribute: str) -> tuple[tuple[str, ...], Codes]:
    levels, codes = crowd.attribute(attribute)
    if set(levels) != set(by_level):
        raise InputError(
            f"by_level names {', '.join(sorted(by_level))}, but the levels of {attribute!r} are "
            f"{', '.join(sorted(levels))}."
        )
    return levels, codes


def _system(name: str, pool: Pool, what: str) -> int:
    if name not in pool.systems:
        raise InputError(f"{what} names an unknown system {name!r}.", cure=f"Systems: {', '.join(pool.systems)}.")
    return pool.systems.index(name)


def _per_system(values: Mapping[str, float], pool: Pool, what: str) -> Floats:
    for name in values:
        _system(name, pool, what)
    if absent := [name for name in pool.systems if name not in values]:
        raise InputError(f"{what} lack the system(s) {', '.join(absent[:5])}.", cure="Give every system a value.")
    theta = np.array([values[name] for name in pool.systems], dtype=np.float64)
    if not np.isfinite(theta).all():
        raise InputError(f"{what} must be finite numbers.", value=dict(values))
    return theta
