"""Which judgments belong together: by annotator, prompt or any column; what the bootstrap resamples as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.columns import attach, qualified
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError
from preflearn.evaluate.intervals import Floats, Ints, Units
from preflearn.evaluate.questions import ENOUGH

_SHORT = {"annotator": "annotator_id", "prompt": "prompt_id"}
ROWS = "rows"


class Clusters(NamedTuple):
    """Clusters of the rows of one table.

    Attributes:
        name: the column, or "rows".
        code: [n], 0 .. size - 1, numbered by the sorted values, so that the order of rows does not matter.
        size: number of clusters.
        loose: rows without a value, each a cluster of its own.
    """

    name: str
    code: Ints
    size: int
    loose: int

    @property
    def recorded(self) -> int:
        """Different recorded values."""
        return self.size - self.loose

    @property
    def unit(self) -> str:
        """The singular word for people."""
        return {"annotator_id": "annotator", "prompt_id": "prompt", ROWS: "judgment"}.get(
            self.name, f"value of {self.name}"
        )

    def take(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Clusters:
        """The clusters of some rows, numbered anew in the same order."""
        present, code = np.unique(self.code[keep], return_inverse=True)
        return Clusters(self.name, code.astype(np.int64), len(present), int((present >= self.recorded).sum()))

    def units(self, count: Floats) -> Units:
        """What to resample; without clusters every judgment is a unit, and a row with a count is so many of them."""
        counted = self.name == ROWS and bool((count != 1).any())
        frequency = np.bincount(self.code, weights=count, minlength=self.size).astype(np.float64) if counted else None
        return Units(self.code, self.size, frequency)


def clusters(data: PreferenceData, table: str, by: str | None, rows: npt.NDArray[np.bool_]) -> Clusters:
    """Clusters of the chosen rows of a judgment table.

    Args:
        by: a column of any table (`annotator` and `prompt` for short), "rows" for none, or None: the prompt where at
            least two are recorded, else the annotator likewise, else rows.
        rows: which rows of the table, [n].

    Raises:
        InputError: there is no such column.
    """
    key = f"{table[:-1]}_id"
    columns = [_SHORT.get(by, by)] if by is not None and by != ROWS else []
    if by is None:
        columns = ["prompt_id", "annotator_id"]
    wanted = {f"__{i}": qualified(table, column) for i, column in enumerate(columns)}
    frame = attach(data, table, wanted).select(pl.col(key).alias("key"), *wanted).collect().filter(pl.Series(rows))
    for alias, column in zip(wanted, columns, strict=True):
        values = frame[alias].cast(pl.String)
        if by is not None or values.drop_nulls().n_unique() > 1:
            return _coded(column, values, frame["key"])
    return _coded(ROWS, pl.Series([None] * frame.height, dtype=pl.String), frame["key"])


def ways(
    data: PreferenceData, table: str, by: str | Sequence[str] | None, rows: npt.NDArray[np.bool_]
) -> tuple[Clusters, ...]:
    """One or two clusterings of the chosen rows, which intervals are to respect.

    Args:
        by: one or two columns as in `clusters`; None: prompts and annotators where there are `ENOUGH` of both, the one
            there are enough of (intervals are then about just these prompts, or people), else what `clusters` takes.

    Raises:
        InputError: no such column, or more than two.
    """
    if isinstance(by, str):
        return (clusters(data, table, by, rows),)
    if by is None:
        both = [clusters(data, table, short, rows) for short in ("prompt", "annotator")]
        enough = tuple(found for found in both if found.recorded >= ENOUGH)
        return enough or (clusters(data, table, None, rows),)
    if not 1 <= len(by) <= 2:
        raise InputError("intervals respect one or two clusterings.", value=list(by), cure="Name one or two columns.")
    return tuple(clusters(data, table, name, rows) for name in by)


def crossing(one: Clusters, other: Clusters) -> Clusters:
    """The cells of two clusterings of the same rows: rows that share both clusters."""
    present, code = np.unique(one.code * other.size + other.code, return_inverse=True)
    return Clusters(f"{one.name} x {other.name}", code.astype(np.int64), len(present), max(one.loose, other.loose))


def _coded(name: str, values: pl.Series, key: pl.Series) -> Clusters:
    """Recorded values first, in their order; then each row without one, in the order of its key."""
    distinct = values.drop_nulls().unique().sort()
    order = pl.DataFrame({"value": distinct}).with_row_index("code")
    code = values.to_frame("value").join(order, on="value", how="left", maintain_order="left")["code"].cast(pl.Int64)
    free = code.is_null()
    loose = int(free.sum())
    numbered = code.to_numpy(writable=True) if not loose else code.fill_null(0).to_numpy(writable=True)
    if loose:
        positions = np.flatnonzero(free.to_numpy())
        ranked = key.filter(free).arg_sort().to_numpy()
        numbered[positions[ranked]] = distinct.len() + np.arange(loose)
    return Clusters(name, numbered.astype(np.int64), distinct.len() + loose, loose)
