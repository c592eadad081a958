"""Several runs from different seeds, the best one kept and all of them shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from preflearn.errors import InputError
from preflearn.train.types import Diverged


class HasCriterion(Protocol):
    """A result that says how good it is."""

    @property
    def criterion(self) -> float:
        """Lower is better."""
        ...


Result = TypeVar("Result")


class Restarts(NamedTuple, Generic[Result]):
    """All runs.

    Attributes:
        best: the result with the lowest criterion.
        seed: its seed.
        seeds: of all runs.
        results: of all runs; None where a run diverged.
        criteria: of all runs; infinite where a run diverged.
    """

    best: Result
    seed: int
    seeds: Sequence[int]
    results: Sequence[Result | None]
    criteria: Sequence[float]


def held_out(result: HasCriterion) -> float:
    """The criterion a result carries: of a :class:`TrainResult` the monitored figure, else the training loss."""
    return result.criterion


def restarts(
    run: Callable[[int], Result], seeds: Iterable[int], *, criterion: Callable[[Result], float] | None = None
) -> Restarts[Result]:
    """Call ``run(seed)`` for every seed and keep the result with the lowest criterion.

    Args:
        run: one complete fit; whatever it learns must be its own (a new module each time).
        seeds: at least one.
        criterion: of a result, lower is better; by default its ``criterion`` attribute.

    Raises:
        InputError: no seeds.
        Diverged: every run diverged (a run that does is counted as infinitely bad).
    """
    seeds = list(seeds)
    if not seeds:
        raise InputError("restarts need at least one seed.")
    results: list[Result | None] = []
    criteria: list[float] = []
    problem: Diverged | None = None
    for seed in seeds:
        try:
            result = run(seed)
        except Diverged as error:
            problem = error
            results.append(None)
            criteria.append(math.inf)
            continue
        value = criterion(result) if criterion is not None else held_out(result)  # type: ignore[arg-type]
        results.append(result)
        criteria.append(math.inf if math.isnan(value) else float(value))
    finished = [number for number, result in enumerate(results) if result is not None]
    if not finished:
        raise Diverged(f"All {len(seeds)} restarts diverged; the last one: {problem}") from problem
    chosen = min(finished, key=lambda number: criteria[number])
    best = results[chosen]
    assert best is not None
    return Restarts(best, seeds[chosen], seeds, results, criteria)
