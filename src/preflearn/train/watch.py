"""The monitored held-out figure: which weights were best, and when patience ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from preflearn.errors import InputError
from preflearn.train.settings import TrainSettings
from preflearn.train.types import Best, Diverged


class Watch:
    """Keeps the best evaluation and a snapshot of the state it was made of.

    Attributes:
        best: None before the first evaluation, and where nothing is monitored.
        snapshot: the state at ``best``.
        stale: evaluations since then.
    """

    def __init__(self, settings: TrainSettings) -> None:
        self._settings = settings
        self.best: Best | None = None
        self.snapshot: Any = None
        self.stale = 0

    @property
    def out_of_patience(self) -> bool:
        """Whether too many evaluations have passed without improvement."""
        return self._settings.patience is not None and self.stale >= self._settings.patience

    def see(self, step: int, figures: Mapping[str, float], snapshot: Callable[[], Any]) -> bool:
        """Whether an evaluation is the best so far; then its snapshot is taken.

        Raises:
            InputError: the monitored figure is not among ``figures``.
            Diverged: it is not finite.
        """
        settings, monitor = self._settings, str(self._settings.monitor)
        if monitor not in figures:
            raise InputError(
                f"evaluate returned no {monitor!r} to monitor; it returned {', '.join(figures) or 'nothing'}.",
                cure="Set monitor to one of these, or to None to keep the last weights.",
            )
        value = figures[monitor]
        if not math.isfinite(value):
            raise Diverged(f"The evaluation after step {step} gave {monitor} {value}.")
        sign = -1.0 if settings.higher_is_better else 1.0
        if self.best is not None and sign * value >= sign * self.best.value - settings.min_delta:
            self.stale += 1
            return False
        self.best, self.stale, self.snapshot = Best(step, value, dict(figures)), 0, snapshot()
        return True

    def state(self) -> dict[str, Any]:
        """Everything, as plain data and tensors."""
        best = None if self.best is None else self.best._asdict()
        return {"best": best, "snapshot": self.snapshot, "stale": self.stale}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the state."""
        self.best = None if state["best"] is None else Best(**state["best"])
        self.snapshot, self.stale = state["snapshot"], state["stale"]
