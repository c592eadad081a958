"""How strong a preference is: grades as outcomes of their own, or as margins or weights inside Bradley-Terry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from preflearn.choice import Link, Margin, Ordinal, Scaled
from preflearn.data import PreferenceData
from preflearn.data.schema import TIES
from preflearn.errors import InputError
from preflearn.models.base import OutcomePart
from preflearn.models.bounds import Count, NonNegative, Positive
from preflearn.models.outcomes.comparisons import Comparisons, strengths
from preflearn.models.parts import part


@part("outcome", "strength")
@dataclass(frozen=True)
class Strength(OutcomePart):
    """Comparisons with a recorded strength; resolves to `Comparisons` with the link that fits the data.

    Attributes:
        form: "ordinal" (grades are outcomes; predictions know them), "margin" (a winner must win by its strength) or
            "scaled" (a strength of m counts m times); the last two predict ``sigma(d)``.
        levels: grades on each side; "auto" = the largest recorded strength.
        ties: whether there is a middle outcome; "auto" = when one was recorded.
        steps: of margins and scales: what each grade stands for, weakest first; by default 1, 2, ...
        personal: of ordinal strength: cut-points of each annotator, see `Comparisons`.

    Sources: see `preflearn.choice.Ordinal`, `Margin`, `Scaled`.
    """

    form: Literal["ordinal", "margin", "scaled"] = "ordinal"
    levels: Count | Literal["auto"] = "auto"
    ties: bool | Literal["auto"] = "auto"
    steps: tuple[NonNegative, ...] = ()
    personal: Positive | None = None

    @property
    def needs_annotators(self) -> bool:  # type: ignore[override]
        return self.personal is not None

    def resolved(self, data: PreferenceData) -> OutcomePart:
        """The comparisons' outcome with its link.

        Raises:
            InputError: no strength is recorded, or it never differs.
        """
        found = strengths(data)
        largest = int(found.max())  # type: ignore[arg-type]
        levels = largest if self.levels == "auto" else self.levels
        if found.n_unique() == 1 and levels == largest:
            raise InputError(
                f"every recorded strength is {largest}, so strength says nothing.",
                column="comparisons.strength",
                value=largest,
                cure="Use bradley_terry.",
            )
        outcome = pl.col("outcome").cast(pl.String)
        recorded = data.select("comparisons", ["outcome"]).select(outcome.is_in(list(TIES)).any()).collect().item()
        ties = bool(recorded) if self.ties == "auto" else self.ties
        return Comparisons(self._link(levels, ties), personal=self.personal)

    def _link(self, levels: int, ties: bool) -> Link:
        try:
            if self.form == "ordinal":
                if self.steps:
                    raise InputError("cut-points of an ordinal model are learned: it takes no steps.", value=self.steps)
                return Ordinal(levels, ties)
            if self.personal is not None:
                raise InputError(f"the {self.form} form has no cut-points that annotators could differ in.")
            return {"margin": Margin, "scaled": Scaled}[self.form](levels, ties, self.steps)
        except KeyError:
            raise InputError("strength is ordinal, margin or scaled.", value=self.form) from None
        except ValueError as error:
            raise InputError(f"the strength outcome cannot be made: {error}.") from None
