"""Ctrl-C and SIGTERM wait until the step is done, so that the weights, the optimiser and the log agree."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """A context in which the first signal is noted and a second one of the same kind acts at once.

    Does nothing outside the main thread, and leaves ignored signals ignored.
    """

    _KINDS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self.pending: int | None = None
        """The signal that waits."""

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for kind in self._KINDS:
                before = signal.getsignal(kind)
                if before not in (signal.SIG_IGN, None):
                    self._before[kind] = signal.signal(kind, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def deliver(self) -> None:
        """Let the waiting signal act as it would have (``KeyboardInterrupt``, or the end of the process)."""
        self._restore()
        if self.pending is not None:
            signal.raise_signal(self.pending)

    def _note(self, kind: int, frame: FrameType | None) -> None:
        if self.pending == kind:
            self.deliver()
            return
        self.pending = kind
        print("Stopping after this step; once more stops at once, without saving it.", file=sys.stderr)

    def _restore(self) -> None:
        for kind, before in self._before.items():
            signal.signal(kind, before)
        self._before.clear()
