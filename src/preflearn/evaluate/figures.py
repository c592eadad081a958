"""A figure: a number with its interval and the n behind it, or the reason why there is none.

Knows nothing about what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from preflearn.errors import NotComputable


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number.

    Attributes:
        value: the estimate; None when it is not computable.
        low, high: ends of its interval; None when there is no honest interval.
        n: how many judgments (or items, where the figure says so) it rests on.
        reason: why `value` or the interval is missing, to be read after "not computable because".
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """`{value, low, high, n}`, and `reason` where something is missing."""
        out: dict[str, Any] = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        if self.reason is not None:
            out["reason"] = self.reason
        return out

    def text(self, digits: int = 3, *, percent: bool = False) -> str:
        """For people: `0.612 [0.580, 0.643] (n = 1,204)`, or why not."""
        if self.value is None:
            return f"not computable because {self.reason}"
        scale, unit = (100.0, "%") if percent else (1.0, "")
        places = max(digits - 2, 0) if percent else digits
        value = f"{scale * self.value:.{places}f}{unit}"
        if self.low is not None and self.high is not None:
            return f"{value} [{scale * self.low:.{places}f}, {scale * self.high:.{places}f}] (n = {self.n:,})"
        return f"{value} (n = {self.n:,}; interval not computable because {self.reason})"


def missing(reason: str, n: int = 0) -> Figure:
    """A figure that is not computable."""
    return Figure(None, n=n, reason=reason)


def attempt(compute: Callable[[], Figure], n: int = 0) -> Figure:
    """The figure, or the reason that `compute` gave by raising `NotComputable`."""
    try:
        return compute()
    except NotComputable as why:
        return missing(str(why), n)


def estimate(value: float, interval: Callable[[], Interval], n: int) -> Figure:
    """A figure whose value is known and whose interval may not be computable."""
    try:
        low, high = interval()
    except NotComputable as why:
        return Figure(value, n=n, reason=str(why))
    return Figure(value, low, high, n)
