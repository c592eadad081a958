"""Fit and evaluate on one data set: models compared on every quadrant of what training did not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from preflearn.data.split_both import QUADRANTS, WORDS, HeldOut
from preflearn.evaluate.comparing import compare
from preflearn.evaluate.comparison import Comparison
from preflearn.evaluate.comparison_lines import aligned, interval_text
from preflearn.protocols import PreferenceModel


@dataclass(frozen=True)
class HeldOutComparison:
    """Models on each part that was held out.

    Attributes:
        split: how the data were divided, without the data.
        quadrants: `new_both`, `new_prompt`, `new_annotator`, `known` -> comparison; absent where nothing is held out.
        words: the split, for people.
    """

    split: dict[str, Any]
    quadrants: dict[str, Comparison]
    words: tuple[str, ...]

    @property
    def strictest(self) -> Comparison:
        """On the part of which training has seen least."""
        return next(self.quadrants[name] for name in QUADRANTS if name in self.quadrants)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "split": self.split,
            "quadrants": {name: found.as_dict() for name, found in self.quadrants.items()},
        }

    def table(self) -> pl.DataFrame:
        """`Comparison.table` of every quadrant, with a column `quadrant`."""
        return pl.concat(
            found.table().select(pl.lit(name).alias("quadrant"), pl.all()) for name, found in self.quadrants.items()
        )

    def lines(self) -> list[str]:
        """Short lines for people: the split, all quadrants briefly, the strictest in full."""
        out = [*self.words]
        for key, title in (("accuracy", "accuracy"), ("log_loss", "log loss")):
            rows = [[title, "judgments", *self.strictest.models]]
            for name, found in self.quadrants.items():
                cells = []
                for scores in found.models.values():
                    difference = scores.differences.get(key)
                    change = "" if difference is None else f" ({interval_text(difference, signed=True)})"
                    cells.append(f"{interval_text(scores.figures[key])}{change}")
                rows.append([WORDS[name], f"{found.judgments:,}", *cells])
            out += aligned(rows)
        told = next(name for name in QUADRANTS if name in self.quadrants)
        return [*out, f"in full: {WORDS[told]}", *self.strictest.lines()]


def compare_held_out(models: Mapping[str, PreferenceModel], held: HeldOut, **settings: Any) -> HeldOutComparison:
    """Compare models, fitted to `held.train`, on every part that was held out.

    Args:
        models: by name.
        held: from `data.split_both.hold_out`.
        **settings: of `compare`.

    Raises:
        InputError: see `compare`.
    """
    found = {name: compare(models, part, **settings) for name, part in held.quadrants.items()}
    return HeldOutComparison(held.as_dict(), found, tuple(held.lines()))
