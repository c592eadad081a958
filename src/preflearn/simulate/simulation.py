"""A scenario (plain data: who, what they prefer, what is asked, how they answer) and the data set it produces."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data import PreferenceData
from preflearn.errors import InputError
from preflearn.simulate import pool as pools
from preflearn.simulate.answers import Answers
from preflearn.simulate.pool import Codes, Feature, Floats, Pool
from preflearn.simulate.population import CARELESS, Crowd, Population
from preflearn.simulate.sampling import Sampling, Tally, Uniform
from preflearn.simulate.truth import Truth
from preflearn.simulate.utility import Asked, Bound, Strengths, Taste, Term


@dataclass(frozen=True)
class Scenario:
    """Everything that determines a simulation; plain data, so that it is also the spec file.

    Attributes:
        votes: number of judgments.
        utility: terms that add up (see `preflearn.simulate.utility`); each kind at most once.
        systems: names; None: those of the strengths, or with `spread` eight systems.
        prompts: 0 for battles between systems without texts; else this many synthetic prompts answered by all.
        features: columns of synthetic responses; need prompts.
        population: who is asked.
        answers: what may be answered.
        sampling: which pairs are asked.
        overlap: votes per drawn pair, by different annotators.
        retest: share of the votes that ask an annotator again what he or she was asked before, sides exchanged.
        start, days: when the study began (ISO date) and how long it took.
        record_votes: keep logit and behaviour of every vote in the truth.
        seed: the only source of randomness; parts draw from separate streams of it.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    votes: int
    utility: tuple[Term, ...]
    systems: tuple[str, ...] | None = None
    prompts: int = 0
    features: Mapping[str, Feature] = field(default_factory=dict)
    population: Population = field(default_factory=Population)
    answers: Answers = field(default_factory=Answers)
    sampling: Sampling = field(default_factory=Uniform)
    overlap: int = 1
    retest: float = 0.0
    start: str = "2025-01-01"
    days: float = 30.0
    record_votes: bool = False
    seed: int = 0

    def names(self) -> tuple[str, ...]:
        """Names of the systems.

        Raises:
            InputError: fewer than two, or names that occur twice.
        """
        if self.systems is not None:
            names = tuple(self.systems)
        else:
            names = tuple(f"system-{i}" for i in range(8))
            for term in self.utility:
                if isinstance(term, Strengths) and (term.values or term.by_level):
                    names = tuple(term.values or next(iter((term.by_level or {}).values())))
        if len(names) < 2 or len(set(names)) < len(names):
            raise InputError("a simulation needs at least two systems of different names.", value=list(names))
        return names

    def check(self) -> None:
        """Raise `InputError` for counts and shares that make no sense together."""
        kinds = [term.kind for term in self.utility]
        if not kinds:
            raise InputError("the utility has no term.", cure="Give at least strengths or a taste.")
        if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            raise InputError(f"the utility has two terms of the kind {twice[0]!r}.", cure="Merge them into one.")
        if self.votes < 1 or self.overlap < 1 or self.prompts < 0:
            raise InputError("votes and overlap must be at least 1, prompts at least 0.")
        if not 0 <= self.retest < 1:
            raise InputError("retest is a share in [0, 1).", value=self.retest)
        if self.days <= 0:
            raise InputError("a study lasts more than 0 days.", value=self.days)
        if self.features and not self.prompts:
            raise InputError("features belong to responses of prompts.", cure="Set `prompts` to at least 1.")

    def stream(self, name: str) -> np.random.Generator:
        """An own stream of random numbers for each part: more votes do not change who votes."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])


class Simulation(PreferenceData):
    """Simulated preference data that knows its truth; `save` writes the truth beside the tables.

    Whatever is derived from it (`replace`, `where`, ...) is plain `PreferenceData` without the truth.
    """

    truth: Truth

    def __init__(self, truth: Truth, **tables: Any) -> None:
        super().__init__(provenance={"simulated": True}, **tables)
        self.truth = truth

    def save(self, path: Any, *, force: bool = False) -> None:
        """Write the data-set directory with its `truth/`."""
        super().save(path, force=force)
        self.truth.save(path)


def run(scenario: Scenario, on: PreferenceData | None = None) -> Simulation:
    """Simulate.

    Args:
        scenario: the plain description.
        on: judge the responses of this data set (pairs within a prompt; features are numeric columns of its
            responses) instead of synthetic ones.

    Raises:
        InputError: the scenario does not fit together, or the responses lack what it needs.
    """
    scenario.check()
    if on is None:
        names = scenario.names()
        pool = (
            pools.of_prompts(names, scenario.prompts, scenario.features, scenario.stream("responses"))
            if scenario.prompts
            else pools.of_systems(names)
        )
    else:
        if scenario.prompts or scenario.systems:
            raise InputError("prompts and systems come from the given responses; do not set them.")
        pool = pools.of_data(on)
        by_system = scenario.sampling.kind != "uniform" or any(not isinstance(term, Taste) for term in scenario.utility)
        if by_system and (pool.system < 0).any():
            raise InputError(
                "some responses have no system, which this utility or sampling needs.", column="responses.system"
            )
    crowd = scenario.population.draw(scenario.stream("population"))
    terms = [term.bind(pool, crowd, scenario.stream(term.kind)) for term in scenario.utility]
    votes = _collect(scenario, pool, crowd, terms)
    comparisons = _comparisons(scenario, pool, crowd, votes)
    tables: dict[str, pl.DataFrame] = {"annotators": crowd.truth()}
    for term in terms:
        tables |= term.tables
    link = scenario.answers.part()
    tables["answers"] = pl.DataFrame(
        {
            "parameter": [*link.parameters, "flips"],
            "value": [*map(float, scenario.answers.shape()), float(scenario.answers.flips)],
        }
    )
    if scenario.record_votes:
        behaviour = pl.Series(CARELESS).gather(crowd.careless[votes.asked.annotator])
        tables["votes"] = comparisons.select("comparison_id").with_columns(
            pl.Series("logit", votes.logit), behaviour.alias("careless")
        )
    truth = Truth(_plain(asdict(scenario)), tables)
    return Simulation(truth, **pool.tables, annotators=crowd.table(), comparisons=comparisons)


class _Votes(NamedTuple):
    """Questions with their answers: probability of having been asked, position of the outcome, attentive logit."""

    asked: Asked
    propensity: Floats
    outcome: Codes
    logit: Floats

    def take(self, rows: npt.NDArray[np.int64]) -> _Votes:
        return _Votes(self.asked.take(rows), self.propensity[rows], self.outcome[rows], self.logit[rows])


def _collect(scenario: Scenario, pool: Pool, crowd: Crowd, terms: list[Bound]) -> _Votes:
    """Ask and answer, round by round; then ask some again; everything in order of time."""
    ask, answer = scenario.stream("sampling"), scenario.stream("answers")
    names = scenario.answers.part().outcomes
    score = np.array([1.0 if name.startswith("a") else 0.5 if name == "tie" else 0.0 for name in names])
    again = round(scenario.retest * scenario.votes)
    first, overlap = scenario.votes - again, scenario.overlap
    rounds = scenario.sampling.rounds(-(-first // overlap))
    tally = Tally.empty(len(pool.systems))
    time = _ordered_uniform(first, scenario.stream("clock"))
    parts: list[_Votes] = []
    done = 0
    for units in rounds:
        pairs = scenario.sampling.draw(pool, tally, units, ask)
        annotator = crowd.assign(units, overlap, ask)
        n = min(units * overlap, first - done)
        a, b, propensity = pairs if overlap == 1 else pairs.repeated(overlap, n)
        a_first = ask.random(n, dtype=np.float32) < 0.5
        asked = Asked(a, b, pool.system[a], pool.system[b], annotator[:n], a_first, time[done : done + n])
        logit = _utility(terms, asked)
        outcome = scenario.answers.draw(logit, asked, crowd.careless, answer)
        if len(rounds) > 1:
            tally.add(asked.system_a, asked.system_b, score[outcome])
        parts.append(_Votes(asked, propensity, outcome, logit))
        done += n
    votes = parts[0] if len(parts) == 1 else _concatenate(parts)
    if not again:
        return votes
    votes = _concatenate([votes, _retest(scenario, crowd, votes, again, terms)])
    return votes.take(np.argsort(votes.asked.time, kind="stable"))


def _retest(scenario: Scenario, crowd: Crowd, earlier: _Votes, n: int, terms: list[Bound]) -> _Votes:
    """The same annotators judge pairs again that they judged before, sides exchanged, later."""
    generator = scenario.stream("retest")
    chosen = earlier.take(generator.choice(len(earlier.logit), size=n, replace=n > len(earlier.logit)))
    before = chosen.asked
    asked = before._replace(  # a and b change places and the order of the places stays: the other one is shown first
        a=before.b,
        b=before.a,
        system_a=before.system_b,
        system_b=before.system_a,
        time=before.time + (1 - before.time) * generator.random(n),
    )
    logit = _utility(terms, asked)
    outcome = scenario.answers.draw(logit, asked, crowd.careless, generator)
    return _Votes(asked, chosen.propensity, outcome, logit)


def _utility(terms: list[Bound], asked: Asked) -> Floats:
    total = terms[0].logit(asked)
    for term in terms[1:]:
        total = total + term.logit(asked)
    return total


def _ordered_uniform(n: int, generator: np.random.Generator) -> Floats:
    """Order statistics of n uniform numbers, without sorting: normalised sums of exponential gaps."""
    gaps = np.cumsum(generator.standard_exponential(n + 1))
    return np.asarray(gaps[:-1] / gaps[-1])


def _concatenate(parts: list[_Votes]) -> _Votes:
    return _Votes(
        Asked.concatenate([part.asked for part in parts]),
        np.concatenate([part.propensity for part in parts]),
        np.concatenate([part.outcome for part in parts]),
        np.concatenate([part.logit for part in parts]),
    )


def _comparisons(scenario: Scenario, pool: Pool, crowd: Crowd, votes: _Votes) -> pl.DataFrame:
    asked = votes.asked
    n = len(asked.a)
    width = len(str(n - 1))
    start = _start(scenario.start)
    span = timedelta(days=scenario.days) // timedelta(microseconds=1)
    microseconds = (asked.time * span).astype(np.int64) + int(start.timestamp() * 1_000_000)
    sides = pl.Series(["b", "a"])
    frame = pl.DataFrame(
        {
            "comparison_id": pl.int_range(n, eager=True).cast(pl.String).str.zfill(width),
            "response_a": pool.ids.gather(asked.a),
            "response_b": pool.ids.gather(asked.b),
            **scenario.answers.columns(votes.outcome),
            "shown_first": sides.gather(asked.a_first.astype(np.int32)),
            "annotator_id": pl.Series(crowd.ids).cast(pl.Categorical).gather(asked.annotator),
            "propensity": votes.propensity,
            "time": pl.Series(microseconds).cast(pl.Datetime("us", "UTC")),
        }
    )
    return frame.with_columns(
        (pl.lit("v") + pl.col("comparison_id")).alias("comparison_id"),
        pl.lit("simulated", dtype=pl.Categorical).alias("source"),
    )


def _start(text: str) -> datetime:
    try:
        start = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError("start is not an ISO date.", value=text, cure="Write it like 2025-01-31.") from error
    return start if start.tzinfo else start.replace(tzinfo=UTC)


def _plain(value: Any) -> Any:
    """Dataclasses as dicts hold tuples and mappings: make them what JSON gives back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value
