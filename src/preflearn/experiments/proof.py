"""What a proof is, and how one is verified against the tolerance that earlier seeds set.

A proof measures one figure whose true value is known, for the method and for a baseline. It passes when the method's
figure is within the frozen tolerance of the true value, and when the method is closer to it than the baseline by at
least the frozen floor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from preflearn import registry
from preflearn.errors import InputError
from preflearn.experiments.tolerance import Tolerance, read_tolerance


class Figures(NamedTuple):
    """What one run of a proof measures.

    Attributes:
        measured: the method's figure.
        baseline: the same figure for the baseline.
        expected: the true value, where it depends on the seed; otherwise the proof states it.
    """

    measured: float
    baseline: float
    expected: float | None = None


@dataclass(frozen=True)
class Proof:
    """One claim about a method, and how to check it. Calling it with a seed checks it.

    Attributes:
        key: of the method.
        claim: one sentence, saying what is measured.
        baseline: what it is compared with.
        expected: the true value of the figure; None where each run computes it.
        limit: the largest tolerance under which the claim is still worth making; freezing refuses a larger one.
        least_effect: by how much the method must be closer to the truth than the baseline; freezing refuses less.
        figures: from a seed to the figures.
        resolution: the smallest tolerance that means anything, where only rounding is left.
    """

    key: str
    claim: str
    baseline: str
    expected: float | None
    limit: float
    least_effect: float
    figures: Callable[[int], Figures]
    resolution: float = 0.0

    def __call__(self, seed: int) -> ProofResult:
        """Run once and hold the result against the frozen tolerance.

        Raises:
            InputError: the tolerance was never frozen.
        """
        return judged(self, self.measure(seed), read_tolerance(self.key))

    def measure(self, seed: int) -> Measurement:
        """Run once.

        Raises:
            ValueError: neither the proof nor the run says what is expected.
        """
        start = time.perf_counter()
        figures = self.figures(seed)
        seconds = time.perf_counter() - start
        expected = self.expected if figures.expected is None else figures.expected
        if expected is None:
            raise ValueError("the proof states no expected value and the run returns none")
        return Measurement(seed, float(expected), float(figures.measured), float(figures.baseline), round(seconds, 2))


class Measurement(NamedTuple):
    """One run of a proof."""

    seed: int
    expected: float
    measured: float
    baseline: float
    seconds: float

    @property
    def error(self) -> float:
        """Distance of the method's figure from the true value."""
        return abs(self.measured - self.expected)

    @property
    def effect(self) -> float:
        """By how much the method is closer to the true value than the baseline."""
        return abs(self.baseline - self.expected) - self.error


def proof(
    key: str,
    *,
    claim: str,
    baseline: str,
    limit: float,
    least_effect: float,
    expected: float | None = None,
    resolution: float = 0.0,
) -> Callable[[Callable[[int], Figures]], Proof]:
    """Make a function from seed to `Figures` a proof; the arguments are those of `Proof`."""

    def wrap(figures: Callable[[int], Figures]) -> Proof:
        return Proof(key, claim, baseline, expected, limit, least_effect, figures, resolution)

    return wrap


@dataclass(frozen=True)
class ProofResult:
    """Outcome of verifying one method with one seed.

    Attributes:
        key: of the method.
        claim: what is measured.
        expected, measured: the true value and the method's figure.
        tolerance: the largest distance of the two that passes.
        baseline, baseline_measured: what it was compared with, and its figure.
        effect: by how much the method is closer to the truth.
        least_effect: the smallest effect that passes.
        passed: whether both hold.
        seconds, seed: of this run.
    """

    key: str
    claim: str
    expected: float
    tolerance: float
    measured: float
    passed: bool
    baseline: str
    baseline_measured: float
    effect: float
    least_effect: float
    seconds: float
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def verify(key: str, seed: int) -> ProofResult:
    """Run the proof of a method and hold it against its frozen tolerance.

    Raises:
        InputError: there is no such method, it has no proof, or its tolerance was never frozen.
    """
    return proof_of(key)(seed)


def judged(subject: Proof, run: Measurement, tolerance: Tolerance) -> ProofResult:
    """Hold one run against a tolerance; a figure that is not a number never passes."""
    passed = run.error <= tolerance.tolerance and run.effect >= tolerance.least_effect
    return ProofResult(
        key=subject.key,
        claim=subject.claim,
        expected=run.expected,
        tolerance=tolerance.tolerance,
        measured=run.measured,
        passed=passed,
        baseline=subject.baseline,
        baseline_measured=run.baseline,
        effect=run.effect,
        least_effect=tolerance.least_effect,
        seconds=run.seconds,
        seed=run.seed,
    )


def proof_of(key: str) -> Proof:
    """The proof of a method.

    Raises:
        InputError: there is no such method, or it has no proof.
    """
    entry = registry.method(key)
    if entry.proof is None:
        raise InputError(f"{key!r} has no proof", cure=f"It is of the kind {entry.kind!r}: {entry.reason or ''}.")
    subject = registry.resolve(entry.proof)
    if not isinstance(subject, Proof):
        raise TypeError(f"{entry.proof} is not a proof; decorate it with preflearn.experiments.proof")
    return subject
