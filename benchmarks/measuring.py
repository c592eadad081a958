"""CPU-seconds, wall time and peak memory: of a call inside a process of its own, or of a whole program.

CPU-seconds are user + system time of the process, its threads and its finished children: on a busy machine they stay
what they are, while wall time does not. The peak is counted above the memory held when the work begins.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_LINEAR_ALGEBRA = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD = {**dict.fromkeys(_LINEAR_ALGEBRA, "1"), "JAX_PLATFORMS": "cpu"}
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Cost(NamedTuple):
    """What a piece of work took."""

    cpu_s: float
    wall_s: float
    peak_mb: float | None
    """Above what was held before; None where the system does not tell."""


def measured(work: Callable[[], Any]) -> tuple[Any, Cost]:
    """Do the work once, in this process."""
    gc.collect()
    held = _memory("VmRSS")
    if held is not None:
        _CLEAR.write_text("5")  # Linux: the high-water mark starts again from what is held
    cpu, wall = _cpu(), time.perf_counter()
    result = work()
    spent = _cpu() - cpu, time.perf_counter() - wall
    high = _memory("VmHWM")
    return result, Cost(*spent, None if held is None or high is None else max(high - held, 0.0))


def _cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _memory(field: str) -> float | None:
    if not _STATUS.exists() or not os.access(_CLEAR, os.W_OK):
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return None


class Failed(Exception):
    """The measured process did not finish; the message says why."""


def in_process(arguments: Sequence[str], cpu_limit_s: float) -> dict[str, Any]:
    """Run this program again with other arguments; the JSON document it prints last.

    Raises:
        Failed: it used more CPU-seconds than allowed, or failed.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_limit_s) + 1, int(cpu_limit_s) + 5))

    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | ONE_THREAD,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=30 * cpu_limit_s,
    )
    if done.returncode:
        over = done.returncode < 0 and "Traceback" not in done.stderr
        reason = f"more than {cpu_limit_s:g} CPU-s" if over else (done.stderr.strip().splitlines() or ["failed"])[-1]
        raise Failed(reason[:200])
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def program(arguments: Sequence[str]) -> tuple[str, Cost]:
    """Run a whole program: what it printed, and its cost (its peak is its whole resident memory).

    Raises:
        Failed: it ended with an error.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        running = subprocess.Popen(list(arguments), stdout=out, stderr=errors, env=os.environ | ONE_THREAD)
        _, status, usage = os.wait4(running.pid, 0)
        wall = time.perf_counter() - start
        running.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if running.returncode:
            raise Failed(errors.read().strip()[-300:])
        scale = 2**20 if sys.platform == "darwin" else 2**10
        return out.read(), Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / scale)
