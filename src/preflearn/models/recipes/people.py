"""Models that know people: offsets of their own, declared groups, recorded attributes."""

from __future__ import annotations

from typing import Any, Literal

from preflearn.models.composed import Composed
from preflearn.models.population import Attributes, Groups, Offsets


def offsets(
    precision: float | Literal["auto"] = "auto",
    prior: Literal["isotropic", "diagonal", "full"] = "full",
    **options: Any,
) -> Composed:
    """Every annotator's weights are the common ones plus an offset: ``w_u = w + delta_u``, ``delta_u ~ N(0, T)``.

    Strangers answer by the common weights, newcomers by what their answers say about their offset.

    Args:
        precision: of the offsets; "auto" learns how much people differ, which may be not at all.
        prior: what is learned of T: a variance, one for each feature, or any covariance (in which directions people
            differ: newcomers are then known from few judgments).
        options: of `Composed`.

    Source: annotator offsets of What's in my human feedback? (WIMHF), arXiv 2510.26202, appendix D (paper text: a ridge
    of 1/tau^2 around a frozen global fit); here both are estimated together.
    """
    return Composed(**{"name": "offsets", "population": Offsets(precision, prior), **options})


def groups(column: str = "group", spread: float = 1.0, **options: Any) -> Composed:
    """Every declared group has its own utility, shrunk toward the common one; strangers to all groups get that.

    Args:
        column: that names the group of a judgment, of any table.
        spread: prior standard deviation of a group's deviation in units of that of the common utility.
        options: of `Composed`.
    """
    return Composed(**{"name": "groups", "population": Groups(column, spread), **options})


def attributes(names: tuple[str, ...] | str = (), spread: float = 1.0, **options: Any) -> Composed:
    """Utilities linear in attributes of annotators (age, country, panel): people of the same kind share a taste.

    Args:
        names: columns of annotators.
        spread: prior standard deviation of an attribute's effect in units of that of the common utility.
        options: of `Composed`.
    """
    chosen = (names,) if isinstance(names, str) else tuple(names)
    return Composed(**{"name": "attributes", "population": Attributes(chosen, spread), **options})
