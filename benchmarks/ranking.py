"""Speed and memory of ranking, side by side with other libraries in one run: `python benchmarks/ranking.py`.

Every measurement runs in a process of its own that first holds the imports and the votes; methods take turns, so that a
busy machine disturbs them alike; medians are shown. `--page` writes the tables as documentation, from the same JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measuring import Cost, Failed, in_process, measured, program
from methods import METHODS, Method
from page import render, text
from votes import Case, pieces, read_codes, write_codes, write_table

DENSE = "needs dense 20,000 x 20,000 matrices"
CASES = (
    Case("2M x 200", 2_000_000, 200),
    Case("10M x 300", 10_000_000, 300),
    Case("1M x 20k", 1_000_000, 20_000, uniform=True, ridge=1e-3),
)
SKIPPED = {
    ("evalica.bradley_terry", "1M x 20k"): DENSE,
    ("evalica.newman", "1M x 20k"): DENSE,
    ("choix.ilsr_pairwise_dense", "1M x 20k"): DENSE,
    ("arena-rank", "1M x 20k"): "has no ridge",
    ("scikit-learn, single votes", "10M x 300"): "slower than on distinct votes, with the same result",
    ("scikit-learn, single votes", "1M x 20k"): "nearly all votes are distinct",
    ("evalica.bootstrap, 10 bootstraps", "10M x 300"): "measured on 2M votes",
}
_SAVE = "import sys, preflearn; preflearn.scan(sys.argv[1]).save(sys.argv[2])"
QUICK = (Case("tiny", 20_000, 20),)
ANNOTATORS = 5_000
LARGE_VOTES = 100_000_000
BOOTSTRAPPED = 1_000
"""Bootstraps are measured on cases of at most so many items."""


class Run(NamedTuple):
    """Sizes and repetitions."""

    cases: tuple[Case, ...]
    repeat: int
    cpu_limit_s: float
    directory: Case
    large: Case | None
    starts: int


FULL = Run(CASES, 5, 150.0, Case("directory", 10_000_000, 300), Case("large", LARGE_VOTES, 300), 11)
SMALL = Run(QUICK, 1, 60.0, Case("directory", 5_000, 20), None, 1)


# -- one measurement, in a process of its own ------------------------------------------------------------------------


def measure_one(name: str, case: Case, folder: Path) -> None:
    """Prepare, measure, print one JSON document; strengths (or standard errors) go to a file."""
    method = METHODS[name]
    tiny = next(pieces(Case("tiny", 300, 3)))
    method.prepare(tiny, min(method.replicates, 2))()  # what is imported on first use is imported
    codes = read_codes(case, folder)
    result, cost = measured(method.prepare(codes, method.replicates))
    np.save(_answer(folder, name, case), result)
    print(json.dumps({**cost._asdict(), "codes_mb": codes.megabytes}))


def _answer(folder: Path, name: str, case: Case) -> Path:
    return folder / f"{case.key}-{list(METHODS).index(name)}.npy"


# -- fits and bootstraps -----------------------------------------------------------------------------------------------


def fits(run: Run, folder: Path, wanted: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of every method on every case."""
    for case in run.cases:
        say(f"{case.key}: simulating {case.title}")
        write_codes(case, folder)
        names = [name for name in wanted if not METHODS[name].replicates or case.n_items <= BOOTSTRAPPED]
        notes = {name: why for name in names if (why := _skipped(METHODS[name], case))}
        costs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for turn in range(run.repeat):
            for name in names:
                if name in notes or _enough(costs[name]):
                    continue
                say(f"{case.key}: {name}, {turn + 1} of {run.repeat}")
                arguments = [__file__, "--measure", name, case.key, str(folder)]
                try:
                    costs[name].append(in_process(arguments, run.cpu_limit_s))
                except Failed as failure:
                    notes[name] = str(failure)
        for name in names:
            yield _row(METHODS[name], case, costs[name], notes.get(name), folder)
        for path in folder.glob(f"{case.key}-*.npy"):
            path.unlink()


def _enough(costs: list[dict[str, Any]]) -> bool:
    """Long measurements need fewer repetitions: they vary little."""
    longest = max((cost["cpu_s"] for cost in costs), default=0.0)
    return len(costs) >= (3 if longest > 3 else 9) or (longest > 30 and bool(costs))


def _skipped(method: Method, case: Case) -> str | None:
    if method.needs and not _version(method.needs):
        return "not installed"
    return SKIPPED.get((method.name, case.key))


def _row(method: Method, case: Case, costs: list[dict[str, Any]], note: str | None, folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"case": case.key, "method": method.name, "replicates": method.replicates, "note": note}
    if not costs:
        return {**row, "repeats": 0}
    middle = {key: statistics.median(cost[key] for cost in costs) for key in ("cpu_s", "wall_s", "codes_mb")}
    peaks = [cost["peak_mb"] for cost in costs if cost["peak_mb"] is not None]
    ours, reference = _answer(folder, method.name, case), _answer(folder, next(iter(METHODS)), case)
    apart = None
    if not method.replicates and reference.exists():
        apart = float(np.abs(np.load(ours) - np.load(reference)).max())
    return {
        **row,
        **middle,
        "cpu_s_all": sorted(cost["cpu_s"] for cost in costs),
        "peak_mb": statistics.median(peaks) if peaks else None,
        "difference": apart,
        "repeats": len(costs),
    }


# -- whole programs ----------------------------------------------------------------------------------------------------


def tables(run: Run, folder: Path) -> Iterator[dict[str, Any]]:
    """From files to the printed leaderboard."""
    case = run.directory
    table, directory = folder / "votes.parquet", folder / "votes"
    say(f"writing {case.title} of {ANNOTATORS:,} annotators")
    write_table(case, table, min(ANNOTATORS, case.n_votes // 10))
    program([sys.executable, "-c", _SAVE, str(table), str(directory)])
    repeat = min(run.repeat, 3)
    yield _program("data-set directory, clustered", case, ["rank", str(directory), "--cluster", "annotator_id"], repeat)
    table.unlink()
    shutil.rmtree(directory)
    if run.large is None:
        return
    case = run.large
    free = shutil.disk_usage(folder).free / 2**30
    if free < 5:
        say(f"only {free:.1f} GiB are free: no table of {case.n_votes:,} votes is written")
        return
    say(f"writing {case.title}")
    write_table(case, table, ANNOTATORS)
    size = table.stat().st_size / 2**20
    for what, cluster in (("votes independent", "none"), ("clustered", "annotator_id")):
        row = _program(f"plain Parquet table, {what}", case, ["rank", str(table), "--cluster", cluster], 1)
        yield {**row, "file_mb": size}
    table.unlink()


def _program(what: str, case: Case, arguments: list[str], repeat: int) -> dict[str, Any]:
    costs = []
    for turn in range(repeat):
        say(f"preflearn {arguments[0]}: {what}, {case.title}, {turn + 1} of {repeat}")
        printed, cost = program([_script(), *arguments])
        if f"{case.n_items}" not in printed:
            raise Failed(f"the leaderboard was not printed: {printed[-300:]}")
        costs.append(cost)
    return {"what": what, "n_votes": case.n_votes, "n_items": case.n_items, **_medians(costs)}


def starts(run: Run) -> Iterator[dict[str, Any]]:
    """How long it takes to be there."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import preflearn": [sys.executable, "-c", "import preflearn"],
        "preflearn --help": [_script(), "--help"],
    }
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(run.starts):
        for name, command in commands.items():
            costs[name].append(program(command)[1])
    for name, found in costs.items():
        yield {"what": name, **_medians(found)}


def _medians(costs: list[Cost]) -> dict[str, Any]:
    columns = zip(("cpu_s", "wall_s", "peak_mb"), zip(*costs))
    return {name: statistics.median(values) for name, values in columns} | {"repeats": len(costs)}


def _script() -> str:
    return str(Path(sys.executable).with_name("preflearn"))


# -- the run -----------------------------------------------------------------------------------------------------------


def everything(run: Run, parts: set[str], wanted: list[str]) -> dict[str, Any]:
    """All measurements as one document."""
    with tempfile.TemporaryDirectory(prefix="preflearn-bench-") as name:
        folder = Path(name)
        return {
            "machine": machine(),
            "cases": {case.key: {"title": case.title, **case._asdict()} for case in run.cases},
            "fits": list(fits(run, folder, wanted)) if "fits" in parts else [],
            "tables": list(tables(run, folder)) if "tables" in parts else [],
            "starts": list(starts(run)) if "starts" in parts else [],
        }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    packages = ("preflearn", "numpy", "scipy", "polars", "evalica", "choix", "scikit-learn", "arena-rank", "jax")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: found for name in packages if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def say(line: str) -> None:
    """Progress, for people."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once: does it run?")
    parser.add_argument("--json", metavar="FILE", help="write the document here (- = standard output)")
    parser.add_argument("--page", metavar="FILE", help="write the documentation page here")
    parser.add_argument("--from", metavar="FILE", dest="stored", help="take a stored document instead of measuring")
    parser.add_argument("--only", action="append", choices=["fits", "tables", "starts"], help="parts to measure")
    parser.add_argument("--methods", metavar="TEXT", default="", help="only methods whose name contains this")
    parser.add_argument("--measure", nargs=3, metavar=("METHOD", "CASE", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        name, key, folder = given.measure
        measure_one(name, {case.key: case for case in (*CASES, *QUICK)}[key], Path(folder))
        return
    if given.stored:
        document = json.loads(Path(given.stored).read_text("utf-8"))
    else:
        wanted = [name for name in METHODS if given.methods in name or name == next(iter(METHODS))]
        parts = set(given.only or ("fits", "tables", "starts"))
        document = everything(SMALL if given.quick else FULL, parts, wanted)
    if given.json == "-":
        print(json.dumps(document, indent=1))
    else:
        print(text(document))
        if given.json:
            Path(given.json).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    if given.page:
        Path(given.page).write_text(render(document), "utf-8")


if __name__ == "__main__":
    main()
