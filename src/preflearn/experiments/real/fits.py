"""One recipe on one data set: chosen, fitted and asked in every fold; the predictions are kept on disk.

A process knows nothing of the others: it reads the prepared data set, and the ridges that Bradley-Terry chose.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.store import load
from preflearn.errors import InputError, NotComputable, NotSupported, PreflearnError
from preflearn.evaluate import new_annotator_curve
from preflearn.experiments.real import trials
from preflearn.experiments.real.folds import Folds, make
from preflearn.experiments.real.sets import UNIT, real_set
from preflearn.experiments.real.stand_ins import PerFold, Stored
from preflearn.models.composed import Composed
from preflearn.models.spec import build

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SIZES = (0, 1, 2, 5, 10, 20)
REPEATS = 2
ENCODERS: dict[str, Any] = {"characters": {"features": {"names": ["characters"]}}}
"""Encoders that have no name of their own."""


class Task(NamedTuple):
    """One recipe with one encoder on one data set.

    Attributes:
        data: key of the data set.
        recipe: key of the recipe.
        encoder: name of the encoder.
        folder: where the prepared data set lies and results go.
        seed: of folds and models.
        limit: seconds of processor time after which it is stopped.
    """

    data: str
    recipe: str
    encoder: str
    folder: str
    seed: int
    limit: int

    @property
    def file(self) -> Path:
        """Where its result lies."""
        return Path(self.folder) / f"{self.recipe}@{self.encoder}.npz"

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.data}: {self.recipe} ({self.encoder})"


@dataclass
class Result:
    """What came of a task.

    Attributes:
        by_unit: P(a beats b) of every judgment where its unit was held out, [n]; NaN where it never was.
        by_annotator: likewise for its annotator.
        known: likewise for those that just one fold did without.
        chosen: options chosen in each fold.
        seconds: of processor time, all of it.
        personal: whether it learns about single people.
        curve: over new annotators, as plain data; None where there is none.
        reason: why there is nothing.
        notes: of the fits.
    """

    by_unit: Floats
    by_annotator: Floats
    known: Floats
    chosen: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    personal: bool = False
    curve: dict[str, Any] | None = None
    reason: str | None = None
    notes: list[str] = field(default_factory=list)

    @staticmethod
    def empty(n: int) -> Result:
        """Of n judgments, none of them predicted."""
        return Result(np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan))

    def save(self, path: Path) -> None:
        """Write it as one file."""
        told = {name: value for name, value in vars(self).items() if name not in _ARRAYS}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        part = path.with_suffix(".part.npz")
        np.savez(part, told=np.asarray(json.dumps(told)), **arrays)
        part.replace(path)

    @staticmethod
    def read(path: Path) -> Result:
        """Read it back."""
        with np.load(path) as file:
            return Result(*(file[name] for name in _ARRAYS), **json.loads(str(file["told"])))


_ARRAYS = ("by_unit", "by_annotator", "known")


def run(task: Task) -> Path:
    """Do a task unless its result is there already; what cannot be done is a result with a reason."""
    if task.file.is_file():
        return task.file
    import torch

    torch.set_num_threads(1)
    start = time.process_time()
    data = _data(task.folder)
    result = Result.empty(data.height("comparisons"))
    try:
        with _limited(task.limit):
            _fill(result, task, data)
    except PreflearnError as error:
        result = Result.empty(data.height("comparisons"))
        result.reason = error.problem if isinstance(error, InputError) else str(error)
    result.seconds = round(time.process_time() - start, 1)
    result.save(task.file)
    return task.file


@lru_cache(maxsize=1)
def _data(folder: str) -> PreferenceData:
    return load(Path(folder) / "data")


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Stop what takes too long, by the clock of the processor: other work on the machine changes nothing."""

    def stop(*_: object) -> None:
        raise NotComputable(f"it was stopped after {seconds} seconds of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _fill(result: Result, task: Task, data: PreferenceData) -> None:
    described = real_set(task.data)
    folds = make(data, described.prompt_folds, described.annotator_folds, task.seed)
    baseline = None if task.recipe == trials.BASELINE else Result.read(task._replace(recipe=trials.BASELINE).file)
    models: list[Composed] = []
    for k in range(folds.number):
        ridge = None if baseline is None else float(baseline.chosen[k]["ridge"])
        alternatives = trials.grid(task.recipe, ridge, described, len(folds.unit))
        options = _choose(task, data, folds, k, alternatives)
        model = _fitted(task, _part(data, folds, folds.train(k), k), options)
        result.chosen.append(options)
        result.notes += [note for note in model.notes_ if note not in result.notes]
        for name, rows in (
            ("by_unit", folds.unit == k),
            ("by_annotator", folds.annotator == k),
            ("known", folds.back == k),
        ):
            getattr(result, name)[rows] = _probabilities(model, data, rows)
        models.append(model)
    if "ratings" in models[0].plan_.tables:  # a vote stands in its pair, and that pair may have been kept back
        result.known[:] = np.nan
    result.personal = bool(models[0].network_.personal)
    if described.curve and described.annotator_folds:
        result.curve = _curve(result, baseline, models, data, folds, task.seed)


def _choose(
    task: Task, data: PreferenceData, folds: Folds, k: int, alternatives: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The alternative with the lowest log loss on the next fold of units, fitted to the rest of the training data."""
    if len(alternatives) == 1:
        return alternatives[0]
    units = int(folds.unit.max()) + 1
    aside = folds.unit == (k + 1) % units
    train = folds.train(k)
    inner, held = train & ~aside, train & aside
    part = _part(data, folds, inner, k, (k + 1) % units)
    won = (data.comparisons["outcome"] == "a").to_numpy()[held]
    losses = []
    for options in alternatives:
        p = _probabilities(_fitted(task, part, options), data, held)
        losses.append(-np.log(np.clip(np.where(won, p, 1 - p), 1e-12, None)).mean())
    return alternatives[int(np.argmin(losses))]


def _part(data: PreferenceData, folds: Folds, rows: Bools, *away: int) -> PreferenceData:
    """The training data: these comparisons, and ratings of units and annotators that no fold in `away` holds out."""
    part = data.replace(comparisons=data.comparisons.filter(pl.Series(rows)))
    if data.height("ratings"):
        frame = data.comparisons.select(UNIT, pl.col("annotator_id").cast(pl.String))
        out = [np.isin(codes, away) for codes in (folds.unit, folds.annotator)]
        units, people = (frame.filter(pl.Series(hold))[name].unique() for name, hold in zip(frame.columns, out))
        who = pl.col("annotator_id").cast(pl.String)
        part = part.where("ratings", ~pl.col(UNIT).is_in(units.implode()) & ~who.is_in(people.implode()))
    return part


def _fitted(task: Task, data: PreferenceData, options: dict[str, Any]) -> Composed:
    encoder = ENCODERS.get(task.encoder, task.encoder)
    return build(task.recipe, **options, encoder=encoder, seed=task.seed).fit(data)


def _probabilities(model: Composed, data: PreferenceData, rows: Bools) -> Floats:
    """P(a beats b) of some rows, their answers taken out."""
    asked = data.comparisons.filter(pl.Series(rows)).drop("outcome")
    return model.prob(data.replace(comparisons=asked)) if asked.height else np.zeros(0)


def _curve(
    result: Result,
    baseline: Result | None,
    models: Sequence[Composed],
    data: PreferenceData,
    folds: Folds,
    seed: int,
) -> dict[str, Any] | None:
    own = Stored(data, result.by_annotator)
    against = own if baseline is None else Stored(data, baseline.by_annotator)
    model = PerFold(models, data, folds.annotator) if result.personal else own
    try:
        found = new_annotator_curve(model, data, SIZES, against=against, seed=seed, repeats=REPEATS)
    except NotSupported:
        found = new_annotator_curve(own, data, SIZES, against=against, seed=seed, repeats=REPEATS)
    except InputError as error:
        return {"reason": error.problem}
    return found.as_dict()
