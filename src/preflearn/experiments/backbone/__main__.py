"""Run from the command line: `python -m preflearn.experiments.backbone [--only KEY ...] [--seed N] [--docs DIR]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from preflearn.experiments.backbone.run import RUNS, measure, write


def main() -> None:
    """Measure the chosen runs, one after the other, and write the page after each."""
    parser = argparse.ArgumentParser(prog="python -m preflearn.experiments.backbone", description=main.__doc__)
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--logs", type=Path, default=None, help="folder for training logs and checkpoints")
    chosen = parser.parse_args()
    for key in chosen.only:
        record = measure(key, chosen.seed, chosen.logs)
        write(chosen.docs, record)
        print(
            f"{key}: frozen {record['frozen']:.3f}, tuned {record['tuned']:.3f}, gain {record['gain']:+.3f} "
            f"[{record['low']:+.3f}, {record['high']:+.3f}], {record['seconds_tuned']:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
