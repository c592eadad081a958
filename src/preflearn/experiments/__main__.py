"""`python -m preflearn.experiments [run | verify | freeze]`: the proofs from the command line; without a word: run."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from pathlib import Path

from preflearn import registry
from preflearn.errors import InputError, PreflearnError
from preflearn.experiments.proof import proof_of, verify
from preflearn.experiments.run import run_all
from preflearn.experiments.tolerance import MIN_SEEDS, freeze

_FREEZING_SEEDS = 10


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when everything passed, 1 when a proof failed, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m preflearn.experiments", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    every = verbs.add_parser("run", help="verify all methods with one fresh seed and write the table of the docs")
    every.add_argument("--seed", type=int, help="default: a random one, printed")
    every.add_argument("--docs", type=Path, default=Path("docs"), help="folder of proofs.json and proofs.md")
    every.add_argument("--all", action="store_true", dest="everything", help="also what did not change")
    one = verbs.add_parser("verify", help="verify one method and print the result as JSON")
    one.add_argument("key")
    one.add_argument("--seed", type=int, default=0)
    cold = verbs.add_parser("freeze", help="compute tolerances from several seeds and store them")
    cold.add_argument("keys", nargs="*", help="default: every method that has a proof")
    cold.add_argument("--seeds", type=int, default=_FREEZING_SEEDS, help=f"how many seeds, at least {MIN_SEEDS}")
    chosen = parser.parse_args((sys.argv[1:] if arguments is None else arguments) or ["run"])
    try:
        if chosen.verb == "verify":
            result = verify(chosen.key, chosen.seed)
            print(json.dumps(result.as_dict(), indent=2))
            return 0 if result.passed else 1
        if chosen.verb == "run":
            seed = secrets.randbits(31) if chosen.seed is None else chosen.seed
            print(f"seed {seed}", file=sys.stderr)
            rows = run_all(seed, chosen.docs, everything=chosen.everything, say=_say)
            return 0 if all(row["passed"] for row in rows) else 1
        return _freeze(chosen.keys, chosen.seeds)
    except PreflearnError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _freeze(keys: list[str], seeds: int) -> int:
    if seeds < MIN_SEEDS:
        raise InputError(f"{seeds} seeds are too few.", cure=f"Use at least {MIN_SEEDS}.")
    code = 0
    for key in keys or [entry.key for entry in registry.methods() if entry.proof is not None]:
        subject = proof_of(key)
        try:
            tolerance = freeze(
                key,
                (subject.measure(seed) for seed in range(seeds)),
                limit=subject.limit,
                least_effect=subject.least_effect,
                resolution=subject.resolution,
            )
        except PreflearnError as error:
            _say(str(error))
            code = 1
            continue
        _say(f"{key}: tolerance {tolerance.tolerance}, least effect {tolerance.least_effect}")
    return code


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
