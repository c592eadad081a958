"""Models of ratings, alone and as the first stage of a model of comparisons."""

from __future__ import annotations

from typing import Any, Literal

from preflearn.models.composed import Composed
from preflearn.models.fitting.warm_start import WarmStart
from preflearn.models.heads import Utility
from preflearn.models.outcomes import Classes, GaussianRating, Grades, Strength


def rating_regression(
    hidden: tuple[int, ...] = (),
    scale: Literal["interval", "grades", "classes"] = "interval",
    personal: float | None = None,
    **options: Any,
) -> Composed:
    """Ratings by a utility of the response: least squares with learned noise, ordinal or stereotype regression.

    It answers comparisons too: which of two ratings, with the noise of each, would be the higher one.

    Args:
        hidden: widths of hidden layers of the utility.
        scale: "interval" (numbers), "grades" (few ordered levels, learned cut-points) or "classes" (labels).
        personal: precision with which annotators' shifts (or cut-points) are held to the common ones; None = none.
        options: of `Composed` (criterion, encoder, ridge, ...).

    Sources: SteerLM-style regression of attributes, as in HelpSteer2, Wang et al. (2024), arXiv 2406.08673; McCullagh
    (1980), Regression models for ordinal data; Anderson (1984), Regression and ordered categorical variables.
    """
    outcomes = {
        "interval": GaussianRating(personal=personal),
        "grades": Grades(personal=personal),
        "classes": Classes(),
    }
    if scale not in outcomes or (scale == "classes" and personal is not None):
        raise ValueError(f"ratings are interval, grades or (without annotators of their own) classes, not {scale!r}")
    return Composed(
        **{"head": Utility(tuple(hidden)), "outcomes": (outcomes[scale],), "name": "rating_regression", **options}
    )


def helpsteer2(
    hidden: tuple[int, ...] = (),
    memory: float = 1.0,
    extrapolation: float = 1.0,
    form: Literal["scaled", "margin", "ordinal"] = "scaled",
    **options: Any,
) -> Composed:
    """HelpSteer2-Preference: regression on ratings, from there scaled Bradley-Terry on comparisons, then beyond.

    Keep the ratings of one criterion (helpfulness) in the data; comparisons may be of another (overall preference).

    Args:
        hidden: widths of hidden layers of the utility.
        memory: how much of what the ratings said the second stage keeps: 1 = all, 0 = next to nothing.
        extrapolation: 1 = none; the paper extrapolates (ExPO) by a factor that could not be read: tune it.
        form: what recorded strength does in the second stage, see `Strength`.
        options: of `Composed`.

    Source: Wang et al. (2024), HelpSteer2-Preference: complementing ratings with preferences, arXiv 2410.01257. Checked
    in the authors' slides: losses, strengths 1 to 3, initialisation with the model of the helpfulness rating alone,
    scaled Bradley-Terry as the best second stage, extrapolation last. Stages end at their optimum here: `WarmStart`.
    """
    return Composed(
        **{
            "head": Utility(tuple(hidden)),
            "outcomes": (GaussianRating(), Strength(form)),
            "fitting": WarmStart(memory=memory, extrapolation=extrapolation),
            "name": "helpsteer2",
            **options,
        }
    )
