"""What is tried of each recipe, and how one alternative is chosen: on training folds only.

Bradley-Terry chooses its ridge from a wide grid. Every other recipe takes that ridge; on small data sets it also tries
four times as much, or alternatives named here. The choice is made within the training data of each fold anew: the next
fold of units is left out, and the lowest log loss on it wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from preflearn.experiments.real.sets import RealSet
from preflearn.models.recipes import RECIPES

BASELINE = "bradley_terry"

RIDGES = (10.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0)
"""Of Bradley-Terry on standardised features; precisions on the summed log-likelihood."""

SMALL = 10_000
"""Judgments up to which other recipes try several alternatives."""

FACTORS = (1.0, 4.0)
"""Ridges that other recipes try, as multiples of that of Bradley-Terry."""

VARIANTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "mixture": ({"components": 2, "starts": 3}, {"components": 3, "starts": 3}),
    "pal_a": ({"prototypes": 2}, {"prototypes": 4}),
}
"""Recipe -> alternatives on small data sets, tried with one ridge."""

LARGE: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "micro": ({"fitting": {"micro": {"starts": 1, "iterations": 100}}},),
    "mixture": ({"components": 2, "starts": 2},),
    "offsets": ({"precision": 1_000.0}, {"precision": 10_000.0}),
    "pal_a": ({"prototypes": 2},),
    "vpl": ({"steps": 150},),
}
"""Recipe -> alternatives on large ones, where learning a prior or many starts would take too long."""

NEEDS: Mapping[str, str] = {
    **dict.fromkeys(("ordinal", "margin_bt", "scaled_bt", "helpsteer2"), "no strength of preference is recorded"),
    **dict.fromkeys(("plackett_luce", "listmle", "lipo", "ranklist"), "nothing was ranked"),
    **dict.fromkeys(("partial_return", "regret", "implicit_reward"), "there are no trajectories or policies"),
    "context_aware": "no context is recorded",
    "attributes": "no attribute of annotators is recorded that was not made from their votes",
}
"""Recipe -> what all these data sets lack; where a data set lacks something else, the recipe says so itself."""


def recipes(chosen: RealSet) -> tuple[str, ...]:
    """Recipes that are tried on a data set, Bradley-Terry first."""
    others = sorted(key for key in RECIPES if key != BASELINE and key not in NEEDS)
    return (BASELINE, *others)


def grid(recipe: str, ridge: float | None, chosen: RealSet, judgments: int) -> list[dict[str, Any]]:
    """Alternatives of a recipe.

    Args:
        recipe: key of `RECIPES`.
        ridge: that of Bradley-Terry in this fold; None for Bradley-Terry itself.
        chosen: the data set, whose options of the recipe hold for every alternative.
        judgments: of the data set.
    """
    small = judgments <= SMALL
    named = (VARIANTS if small else LARGE).get(recipe)
    fixed = dict(chosen.options.get(recipe, {}))
    variants = [{**fixed, **variant} for variant in named or ({},)]
    if ridge is None:
        return [{**variant, "ridge": value} for variant in variants for value in RIDGES]
    factors = FACTORS if small and named is None else (1.0,)
    return [{**variant, "ridge": ridge * factor} for variant in variants for factor in factors]
