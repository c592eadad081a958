"""What a simulation knows and its data set does not say: saved under `truth/`, opened only by evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from preflearn.errors import InputError

FOLDER = "truth"
SCENARIO = "scenario.json"


@dataclass(frozen=True)
class Truth:
    """The planted truth.

    Attributes:
        scenario: everything that was asked for, as plain data (a valid spec, with its seed).
        tables: by name: `annotators` (group, attributes, careless), and one table per term of the utility:
            `strengths` (level, share, system, strength), `taste` (level, feature, weight) and with personal deviations
            `personal_taste` (annotator_id, feature, weight), `offsets` (annotator_id, system, offset), `position`
            (annotator_id, effect), `cycle` (system_a, system_b, logit), `drift` (system, change); `answers` (parameter,
            value); `votes` (comparison_id, logit, careless) where asked for.
    """

    scenario: Mapping[str, Any]
    tables: Mapping[str, pl.DataFrame]

    def table(self, name: str) -> pl.DataFrame:
        """A table of the truth.

        Raises:
            InputError: this simulation has no such part.
        """
        if name not in self.tables:
            raise InputError(f"this simulation has no {name!r}.", cure=f"It has: {', '.join(self.tables)}.")
        return self.tables[name]

    def strengths(self, level: str | None = None) -> dict[str, float]:
        """Log-strength by system, as planted (not centred); without a level the mean over annotators.

        With several levels the mean is a summary only: a Bradley-Terry model fitted to the pooled votes has another
        limit, because win rates are averaged and not logits.
        """
        table = self.table("strengths")
        if level is not None:
            table = table.filter(level=level)
            if not table.height:
                known = self.table("strengths")["level"].unique(maintain_order=True)
                raise InputError(f"there is no level {level!r}.", cure=f"Levels: {', '.join(known)}.")
        mean = table.group_by("system", maintain_order=True).agg(
            (pl.col("strength") * pl.col("share")).sum() / pl.col("share").sum()
        )
        return dict(mean.iter_rows())

    def parameters(self) -> dict[str, float]:
        """Shape parameters of the answers by name, and `flips`."""
        return dict(self.table("answers").iter_rows())

    def save(self, folder: str | Path) -> None:
        """Write the tables into `folder/truth/`."""
        path = Path(folder) / FOLDER
        path.mkdir(parents=True, exist_ok=True)
        (path / SCENARIO).write_text(json.dumps(self.scenario, indent=2, ensure_ascii=False) + "\n", "utf-8")
        for name, table in self.tables.items():
            table.write_parquet(path / f"{name}.parquet", compression="zstd")


def read_truth(path: str | Path) -> Truth:
    """The truth of a simulated data-set directory.

    Raises:
        InputError: there is none.
    """
    folder = Path(path) / FOLDER
    if not (folder / SCENARIO).is_file():
        raise InputError("this data set has no truth: it was not simulated.", path=path)
    scenario = json.loads((folder / SCENARIO).read_text("utf-8"))
    return Truth(scenario, {file.stem: pl.read_parquet(file) for file in sorted(folder.glob("*.parquet"))})
