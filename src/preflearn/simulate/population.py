"""Who is asked: annotators, their groups and attributes, the careless ones among them, and how much each one votes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.errors import InputError
from preflearn.simulate.pool import Codes, Floats

Careless = Literal["random", "first", "second", "flip", "tie"]
"""How a careless annotator answers: by chance among all outcomes, always the side shown first (or second), the
opposite of what was meant, always a tie."""

CARELESS: tuple[str, ...] = ("attentive", *get_args(Careless))
"""Names of the behaviour codes."""


@dataclass(frozen=True)
class Population:
    """A panel of simulated annotators.

    Attributes:
        annotators: how many.
        groups: share by group; shares are normalised and met exactly (largest remainder). Empty: one group.
        declared: whether `annotators.group` records the group; otherwise it is latent and only the truth knows.
        attributes: further columns, each drawn independently: ``{"country": {"UK": 0.6, "FR": 0.4}}``.
        careless: share by behaviour (see `Careless`), met exactly; the others are attentive.
        activity: "equal" votes for everyone, or "heavy": the r-th busiest annotator votes in proportion to 1/r.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    annotators: int = 100
    groups: Mapping[str, float] = field(default_factory=dict)
    declared: bool = True
    attributes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    careless: Mapping[Careless, float] = field(default_factory=dict)
    activity: Literal["equal", "heavy"] = "equal"

    def draw(self, generator: np.random.Generator) -> Crowd:
        """The panel itself.

        Raises:
            InputError: no annotators, negative shares, an unknown behaviour, or careless shares above 1.
        """
        if self.annotators < 1:
            raise InputError("a population needs at least one annotator.", value=self.annotators)
        levels = dict(self.attributes)
        if self.groups:
            levels = {"group": self.groups, **levels}
        codes = {
            name: generator.permutation(apportion(shares, self.annotators, f"shares of {name!r}"))
            for name, shares in levels.items()
        }
        width = len(str(self.annotators - 1))
        return Crowd(
            ids=[f"u{i:0{width}d}" for i in range(self.annotators)],
            levels={name: tuple(shares) for name, shares in levels.items()},
            codes=codes,
            careless=generator.permutation(self._behaviours()),
            activity=self._activity(generator),
            declared=self.declared,
        )

    def _behaviours(self) -> Codes:
        if unknown := sorted(set(self.careless) - set(CARELESS[1:])):
            raise InputError(
                f"there is no careless behaviour {unknown[0]!r}.", cure=f"Behaviours: {', '.join(CARELESS[1:])}."
            )
        careless = sum(self.careless.values())
        if careless > 1 or min(self.careless.values(), default=0) < 0:
            raise InputError("shares of careless annotators must lie in [0, 1] together.", value=dict(self.careless))
        shares = {name: self.careless.get(name, 0.0) for name in CARELESS[1:]}  # type: ignore[call-overload]
        return apportion({"attentive": 1 - careless, **shares}, self.annotators, "careless shares")

    def _activity(self, generator: np.random.Generator) -> Floats | None:
        if self.activity == "equal":
            return None
        weights = 1.0 / np.arange(1, self.annotators + 1)
        return generator.permutation(weights / weights.sum())


@dataclass(frozen=True)
class Crowd:
    """The annotators of one simulation.

    Attributes:
        ids: names, `[annotators]`.
        levels, codes: by attribute ("group" first where there are groups): names of its levels and the level of each
            annotator, `[annotators]`.
        careless: position in `CARELESS`, `[annotators]`.
        activity: probability of being the next voter, `[annotators]`; None for equal numbers of votes.
        declared: whether groups are recorded in the data.
    """

    ids: list[str]
    levels: dict[str, tuple[str, ...]]
    codes: dict[str, Codes]
    careless: Codes
    activity: Floats | None
    declared: bool

    def __len__(self) -> int:
        return len(self.ids)

    def attribute(self, name: str) -> Attribute:
        """Levels and codes of an attribute.

        Raises:
            InputError: annotators have no such attribute.
        """
        if name not in self.codes:
            raise InputError(
                f"the population has no {name!r}.",
                cure=f"It has: {', '.join(self.codes) or 'no groups or attributes'}; see population.groups.",
            )
        return Attribute(self.levels[name], self.codes[name])

    def assign(self, units: int, overlap: int, generator: np.random.Generator) -> Codes:
        """Who judges each unit: `[units * overlap]`, the `overlap` judges of a unit in a row and all different.

        Raises:
            InputError: more judges per unit than annotators who vote.
        """
        if overlap > len(self):
            raise InputError(
                f"{overlap} votes per pair need as many annotators; there are {len(self)}.", cure="Lower `overlap`."
            )
        n = units * overlap
        if self.activity is None:
            who = np.resize(np.arange(len(self), dtype=np.int32), n)
            generator.shuffle(who)
        else:
            who = generator.choice(len(self), size=n, p=self.activity).astype(np.int32)
        if overlap == 1:
            return who
        table = who.reshape(units, overlap)
        for _ in range(10_000):
            ordered = np.sort(table, axis=1)
            again = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
            if not len(again):
                return table.reshape(-1)
            table[again] = generator.choice(len(self), size=(len(again), overlap), p=self.activity)
        raise InputError("too few active annotators for this many votes per pair.", cure="Lower `overlap`.")

    def table(self) -> pl.DataFrame:
        """The annotators table of the data set: what a study would know."""
        columns: dict[str, object] = {
            "annotator_id": self.ids,
            "kind": ["simulated"] * len(self),
            "panel": ["simulated"] * len(self),
        }
        for name, levels in self.levels.items():
            if name != "group" or self.declared:
                columns[name] = pl.Series(levels).gather(self.codes[name])
        return pl.DataFrame(columns)

    def truth(self) -> pl.DataFrame:
        """The annotators as they are: groups, attributes and behaviour."""
        columns: dict[str, object] = {"annotator_id": self.ids}
        for name, levels in self.levels.items():
            columns[name] = pl.Series(levels).gather(self.codes[name])
        columns["careless"] = pl.Series(CARELESS).gather(self.careless)
        return pl.DataFrame(columns)


class Attribute(NamedTuple):
    """One attribute of the annotators: level names and the level of each annotator."""

    levels: tuple[str, ...]
    codes: Codes


def apportion(shares: Mapping[str, float], n: int, what: str) -> Codes:
    """Codes 0..K-1 in blocks, as many of each as its share of n by largest remainder: `[n]`.

    Raises:
        InputError: a negative share, or all are zero.
    """
    values = np.array(list(shares.values()), dtype=np.float64)
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() == 0:
        raise InputError(f"{what} must be non-negative and not all zero.", value=dict(shares))
    exact = n * values / values.sum()
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: n - counts.sum()]] += 1
    codes: npt.NDArray[np.int32] = np.repeat(np.arange(len(values), dtype=np.int32), counts)
    return codes
