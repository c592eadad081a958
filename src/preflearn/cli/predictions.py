"""Files of predictions: written by `predict`, read by `evaluate`. One row per comparison, found again by its id.

Columns: comparison_id, probability (P(a beats b | decided)), and, where a model knows ties, outcome_a, outcome_tie, ...
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from preflearn.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from preflearn.data import PreferenceData
    from preflearn.protocols import Floats, OutcomeProbabilities

SUFFIXES = (".csv", ".jsonl", ".parquet")
_OUTCOME = "outcome_"


def check_suffix(path: Path) -> Path:
    """The path, if predictions can be written there.

    Raises:
        InputError: another suffix.
    """
    if path.suffix not in SUFFIXES:
        raise InputError("predictions are written as csv, jsonl or parquet.", path=path, cure="Name such a file.")
    return path


def write_predictions(
    path: Path, data: PreferenceData, probability: Floats, outcomes: OutcomeProbabilities | None
) -> pl.DataFrame:
    """Write one row per comparison (null where the model has no answer) and return the table."""
    import numpy as np
    import polars as pl

    columns = {"probability": probability}
    if outcomes is not None:
        columns |= {f"{_OUTCOME}{name}": p for name, p in zip(outcomes.outcomes, outcomes.probabilities.T, strict=True)}
    frame = data.select("comparisons", ["comparison_id"]).collect()
    frame = frame.with_columns(
        pl.Series(name, np.asarray(values, np.float64), nan_to_null=True) for name, values in columns.items()
    )
    if path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_parquet(path)
    return frame


def read_predictions(path: Path, data: PreferenceData) -> tuple[Floats | OutcomeProbabilities, list[str]]:
    """Predictions in the order of `data.comparisons` (NaN where the file has none), and what did not match.

    Raises:
        InputError: the file cannot be read, lacks a column, or has an id twice.
    """
    import polars as pl

    from preflearn.data.schema import TIES
    from preflearn.protocols import OutcomeProbabilities

    table = _table(path)
    for column in ("comparison_id", "probability"):
        if column not in table.columns:
            raise InputError(
                f"the predictions have no column {column!r}.",
                path=path,
                cure=f"comparison_id and probability are needed; there are: {', '.join(table.columns)}.",
            )
    table = table.with_columns(pl.col("comparison_id").cast(pl.String))
    if (twice := table["comparison_id"].is_duplicated()).any():
        row = int(twice.arg_true()[0])
        raise InputError(
            "a comparison is predicted twice.", path=path, column="comparison_id", value=table["comparison_id"][row]
        )
    known = [name for name in table.columns if name.startswith(_OUTCOME)]
    try:
        table = table.select("comparison_id", pl.col("probability", *known).cast(pl.Float64))
    except pl.exceptions.InvalidOperationError as error:
        raise InputError("a prediction is not a number.", path=path, column="probability") from error
    asked = data.select("comparisons", ["comparison_id"]).collect()
    joined = asked.join(table, on="comparison_id", how="left", maintain_order="left")
    notes = []
    if unknown := table.join(asked, on="comparison_id", how="anti").height:
        notes.append(f"{unknown:,} predictions are of comparisons that the data does not have; they are not used.")
    if unknown == table.height:
        raise InputError("no prediction is of a comparison of this data.", path=path, column="comparison_id")
    if any(name.removeprefix(_OUTCOME) in TIES for name in known):
        names = tuple(name.removeprefix(_OUTCOME) for name in known)
        return OutcomeProbabilities(names, joined.select(known).to_numpy()), notes
    return joined["probability"].to_numpy(), notes


def _table(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        if path.suffix == ".csv":
            return pl.read_csv(path)
        return pl.read_ndjson(path) if path.suffix == ".jsonl" else pl.read_parquet(path)
    except FileNotFoundError as error:
        raise InputError("there is no such file.", path=path) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"the predictions cannot be read: {error}", path=path) from error
