"""What can be compared: responses in sets (prompts), each made by a system; pairs are drawn within a set.

Knows nothing about people or strengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data import PreferenceData
from preflearn.errors import InputError

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Feature:
    """A number that each synthetic response carries: the mean of its system plus noise.

    Attributes:
        sd: standard deviation within a system.
        mean: mean by system (0 for systems not named).
        log: whether these describe the logarithm, so that the feature is positive.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    sd: float = 1.0
    mean: Mapping[str, float] = field(default_factory=dict)
    log: bool = False


@dataclass(frozen=True)
class Pool:
    """Responses in order of their set, with codes.

    Attributes:
        tables: `prompts`, `responses` (and `media`) as they enter the data set; responses in any order.
        ids: response ids in order of their set, `[n]`.
        systems: names of the systems.
        system: code of each response's system, `[n]`; -1 where none is recorded.
        starts: the responses of set s are `starts[s] .. starts[s + 1] - 1`, `[sets + 1]`.
        rows: row of `tables["responses"]` of each response, `[n]`.
    """

    tables: dict[str, pl.DataFrame]
    ids: pl.Series
    systems: tuple[str, ...]
    system: Codes
    starts: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Number of responses of each set, `[sets]`."""
        return np.diff(self.starts)

    def column(self, name: str) -> Floats:
        """A numeric column of the responses in the order of `ids`, `[n]`.

        Raises:
            InputError: no such column, not numeric, or a value is missing.
        """
        responses = self.tables["responses"]
        numeric = [c for c, dtype in responses.schema.items() if dtype.is_numeric() or dtype == pl.Boolean]
        if name not in numeric:
            raise InputError(
                f"the responses have no numeric column {name!r}.",
                cure=f"Numeric columns: {', '.join(numeric) or 'none'}.",
            )
        values = responses[name]
        if values.null_count():
            row = int(values.is_null().arg_max() or 0)
            raise InputError("a response feature is missing.", row=row, column=f"responses.{name}")
        return values.cast(pl.Float64).to_numpy()[self.rows]


def of_systems(systems: Sequence[str]) -> Pool:
    """Battles between named systems: one response per system, no prompts."""
    names = list(systems)
    responses = pl.DataFrame({"response_id": names, "system": names})
    n = len(names)
    return Pool(
        {"responses": responses},
        pl.Series("id", names),
        tuple(names),
        np.arange(n, dtype=np.int32),
        np.array([0, n]),
        np.arange(n),
    )


def of_prompts(
    systems: Sequence[str], prompts: int, features: Mapping[str, Feature], generator: np.random.Generator
) -> Pool:
    """Every system answers every one of `prompts` synthetic prompts; responses carry `features` as columns.

    Raises:
        InputError: a feature gives a mean for a system that does not exist.
    """
    names, n = list(systems), len(systems)
    prompt = np.repeat(np.arange(prompts), n)
    system = np.tile(np.arange(n, dtype=np.int32), prompts)
    prompt_ids = pl.Series("prompt_id", [f"p{i:05d}" for i in range(prompts)])
    responses = pl.DataFrame({"prompt_id": prompt_ids.gather(prompt), "system": pl.Series(names).gather(system)})
    responses = responses.select(pl.format("{}-{}", "prompt_id", "system").alias("response_id"), "prompt_id", "system")
    for name, feature in features.items():
        if unknown := sorted(set(feature.mean) - set(names)):
            raise InputError(f"feature {name!r} names unknown systems: {', '.join(unknown)}.")
        means = np.array([feature.mean.get(s, 0.0) for s in names])
        values = means[system] + feature.sd * generator.standard_normal(len(system))
        responses = responses.with_columns(pl.Series(name, np.exp(values) if feature.log else values))
    return Pool(
        {"prompts": pl.DataFrame({"prompt_id": prompt_ids}), "responses": responses},
        responses["response_id"].alias("id"),
        tuple(names),
        system,
        np.arange(0, n * prompts + 1, n),
        np.arange(n * prompts),
    )


def of_data(data: PreferenceData) -> Pool:
    """The responses of a data set, compared within their prompt; its judgments are not looked at.

    Raises:
        InputError: there are no responses, or no prompt has two of them.
    """
    if not data.height("responses"):
        raise InputError("the data set has no responses to judge.", cure="Give responses, or name systems instead.")
    columns = data.select("responses", ["response_id", "prompt_id", "system"]).collect()
    ordered = columns.with_row_index("row").sort("prompt_id", "row")
    prompt = ordered["prompt_id"].fill_null("").rle_id().to_numpy()
    starts = np.flatnonzero(np.diff(prompt, prepend=-1, append=-1)).astype(np.int64)
    if not len(starts) or np.diff(starts).max() < 2:
        raise InputError("no prompt has two responses, so there is no pair to compare.")
    names = ordered["system"].cast(pl.String)
    systems = names.drop_nulls().unique(maintain_order=True).sort()
    codes = names.replace_strict(systems, np.arange(len(systems)), default=-1, return_dtype=pl.Int32)
    tables = {name: data.table(name) for name in ("prompts", "responses", "media") if data.height(name)}
    return Pool(
        tables,
        ordered["response_id"].alias("id"),
        tuple(systems),
        codes.fill_null(-1).to_numpy(),
        starts,
        ordered["row"].cast(pl.Int64).to_numpy(),
    )
