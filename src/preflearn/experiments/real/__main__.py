"""`python -m preflearn.experiments.real [--only SET ...]`: preference models on real data, from the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from preflearn.errors import PreflearnError
from preflearn.experiments.real.sets import SETS


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, also where there are no data (which is said); 1 for failure, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m preflearn.experiments.real", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="SET", default=[], help=f"of {', '.join(SETS)}; default: all")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of real_data.json and real_data.md")
    parser.add_argument("--work", type=Path, default=Path("out/real"), help="folder of predictions, to go on from")
    parser.add_argument("--processes", type=int, help="at work at a time; default: one per core")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", dest="everything", help="measure also what did not change")
    parser.add_argument("--page", action="store_true", help="only write the page anew from the stored figures")
    chosen = parser.parse_args(arguments)
    from preflearn.experiments.real.run import RECORD, read_record, run_all, write

    try:
        if chosen.page:
            write(chosen.docs, read_record(chosen.docs / RECORD))
            return 0
        run_all(
            chosen.docs,
            only=chosen.only,
            work=chosen.work,
            processes=chosen.processes,
            seed=chosen.seed,
            everything=chosen.everything,
            say=_say,
        )
    except PreflearnError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
