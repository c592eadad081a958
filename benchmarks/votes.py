"""Simulated votes: as integer codes in memory, or as a Parquet table written piece by piece.

Strengths are N(0, 1); items are met with probability proportional to rank^-1/2, or all alike; a wins with probability
sigma(theta_a - theta_b). There are no ties, because several of the libraries measured here have no model for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PIECE = 2_000_000


class Case(NamedTuple):
    """One set of votes to be fitted."""

    key: str
    n_votes: int
    n_items: int
    uniform: bool = False
    ridge: float = 0.0
    """Penalty ridge/2 * sum(theta**2) on the summed log-likelihood."""

    @property
    def title(self) -> str:
        """For people."""
        ridge = f", ridge {self.ridge:g}" if self.ridge else ""
        return f"{self.n_votes:,} votes, {self.n_items:,} items{ridge}"


class Codes(NamedTuple):
    """Votes as integer codes: what every library starts from."""

    case: Case
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    outcome: npt.NDArray[np.int8]
    """1 where left won."""

    @property
    def megabytes(self) -> float:
        """Memory of the three arrays."""
        return (self.left.nbytes + self.right.nbytes + self.outcome.nbytes) / 2**20


def pieces(case: Case, seed: int = 0, piece: int = PIECE) -> Iterator[Codes]:
    """The votes of a case, at most `piece` at a time."""
    generator = np.random.default_rng(seed)
    theta = generator.standard_normal(case.n_items)
    popularity = np.ones(case.n_items) if case.uniform else np.arange(1, case.n_items + 1) ** -0.5
    up_to = np.cumsum(popularity / popularity.sum())
    up_to[-1] = 1.0

    def drawn(n: int) -> npt.NDArray[np.int32]:
        return np.searchsorted(up_to, generator.random(n), side="right").astype(np.int32)

    for start in range(0, case.n_votes, piece):
        n = min(piece, case.n_votes - start)
        left, right = drawn(n), drawn(n)
        while len(same := np.flatnonzero(left == right)):
            right[same] = drawn(len(same))
        chance = 1 / (1 + np.exp(theta[right] - theta[left]))
        yield Codes(case, left, right, (generator.random(n) < chance).astype(np.int8))


def write_codes(case: Case, folder: Path) -> None:
    """Store the codes of a case for the processes that fit them."""
    parts = list(pieces(case))
    for name in ("left", "right", "outcome"):
        np.save(folder / f"{case.key}-{name}.npy", np.concatenate([getattr(part, name) for part in parts]))


def read_codes(case: Case, folder: Path) -> Codes:
    """The codes of a case, in memory."""
    return Codes(case, *(np.load(folder / f"{case.key}-{name}.npy") for name in ("left", "right", "outcome")))


def write_table(case: Case, path: Path, annotators: int) -> None:
    """A plain Parquet table system_a, system_b, outcome, annotator_id; memory does not grow with the votes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    systems = pa.array([f"system-{i:05d}" for i in range(case.n_items)])
    people = pa.array([f"annotator-{i:05d}" for i in range(annotators)])
    outcomes = pa.array(["b", "a"])
    generator = np.random.default_rng(1)
    writer = None
    for part in pieces(case):
        who = generator.integers(0, annotators, len(part.left), dtype=np.int32)
        table = pa.table(
            {
                "system_a": pa.DictionaryArray.from_arrays(pa.array(part.left), systems),
                "system_b": pa.DictionaryArray.from_arrays(pa.array(part.right), systems),
                "outcome": pa.DictionaryArray.from_arrays(pa.array(part.outcome), outcomes),
                "annotator_id": pa.DictionaryArray.from_arrays(pa.array(who), people),
            }
        )
        table = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=1 << 20)
    if writer is not None:
        writer.close()
