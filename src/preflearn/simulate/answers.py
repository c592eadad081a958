"""How a logit becomes a recorded answer: the link of the outcome, careless annotators, flipped labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.choice import Binary, Davidson, Link, Ordinal, RaoKupper
from preflearn.errors import InputError
from preflearn.simulate.pool import Codes, Floats
from preflearn.simulate.population import CARELESS
from preflearn.simulate.utility import Asked

_CHUNK = 1 << 18
"""Questions answered at a time: bounds memory, and stays near the cache."""


@dataclass(frozen=True)
class Answers:
    """What may be answered, and how reliably.

    Attributes:
        link: "binary" (no ties), "davidson" or "rao_kupper" (ties), "graded" (cumulative logit).
        parameters: shape parameters of the link by name (`log_tie`; `tie`; `tie, step_1, ...`); without them the
            link's own starting values.
        levels, ties: of "graded": grades of preference on each side, and whether there is a middle answer.
        flips: probability that an answer is recorded the wrong way round, whoever gave it.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    link: Literal["binary", "davidson", "rao_kupper", "graded"] = "binary"
    parameters: Mapping[str, float] | None = None
    levels: int = 2
    ties: bool = True
    flips: float = 0.0

    def part(self) -> Link:
        """The likelihood part."""
        if self.link == "graded":
            return Ordinal(levels=self.levels, ties=self.ties)
        return {"binary": Binary, "davidson": Davidson, "rao_kupper": RaoKupper}[self.link]()

    def shape(self) -> tuple[float, ...]:
        """Shape parameters in the order of the link.

        Raises:
            InputError: a name is missing or unknown, a value outside the link's domain, or flips outside [0, 1].
        """
        link = self.part()
        if not 0 <= self.flips <= 1:
            raise InputError("flips is a probability.", value=self.flips)
        if self.parameters is None:
            return link.initial()
        if set(self.parameters) != set(link.parameters):
            raise InputError(
                f"the answer link {self.link!r} has the parameters {', '.join(link.parameters) or '(none)'}.",
                value=dict(self.parameters),
            )
        values = tuple(float(self.parameters[name]) for name in link.parameters)
        try:
            link.check(values)
        except ValueError as error:
            raise InputError(f"answers: {error}.") from error
        return values

    def draw(self, logit: Floats, asked: Asked, careless: Codes, generator: np.random.Generator) -> Codes:
        """Positions in the link's outcomes, `[n]`.

        Args:
            logit: attentive log-strength difference of a over b, `[n]`.
            asked: the questions.
            careless: behaviour of each annotator, positions in `CARELESS`.

        Raises:
            InputError: someone always ties, but the link has no tie.
        """
        link, shape = self.part(), self.shape()
        outcome = np.empty(len(logit), dtype=np.int32)
        for start in range(0, len(logit), _CHUNK):
            part = slice(start, start + _CHUNK)
            outcome[part] = link.sample(logit[part], shape, generator)
        swap = np.array(link.swap, dtype=np.int32)
        if careless.any():
            behaviour = careless[asked.annotator]
            for code in np.unique(careless[careless > 0]):
                rows = np.flatnonzero(behaviour == code)
                outcome[rows] = self._careless(CARELESS[code], link, outcome[rows], asked.a_first[rows], generator)
        if self.flips:
            wrong = generator.random(len(outcome)) < self.flips
            outcome[wrong] = swap[outcome[wrong]]
        return outcome

    @staticmethod
    def _careless(
        behaviour: str, link: Link, meant: Codes, a_first: npt.NDArray[np.bool_], generator: np.random.Generator
    ) -> Codes:
        names = link.outcomes
        mildest_a = next(k for k, name in enumerate(names) if name.startswith("a"))
        mildest_b = len(names) - 1 - mildest_a
        if behaviour == "random":
            return generator.integers(0, len(names), size=len(meant), dtype=np.int32)
        if behaviour in {"first", "second"}:
            return np.where(a_first == (behaviour == "first"), mildest_a, mildest_b).astype(np.int32)
        if behaviour == "flip":
            return np.array(link.swap, dtype=np.int32)[meant]
        if "tie" not in names:
            raise InputError(f"an annotator cannot always tie when answers are {', '.join(names)}.")
        return np.full(len(meant), names.index("tie"), dtype=np.int32)

    def columns(self, outcome: Codes) -> dict[str, pl.Series]:
        """The `outcome` column, and `strength` where there are grades."""
        names = self.part().outcomes
        plain = pl.Series([re.sub(r"\d+", "", name) for name in names])
        columns = {"outcome": plain.gather(outcome)}
        if any(name != base for name, base in zip(names, plain, strict=True)):
            grades = [int(digits) if (digits := re.sub(r"\D", "", name)) else None for name in names]
            columns["strength"] = pl.Series(grades, dtype=pl.Int32).gather(outcome)
        return columns
