"""Which covariance stands behind a leaderboard's intervals, and every reservation about it in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from preflearn.errors import InputError, NotComputable
from preflearn.ranking import newton
from preflearn.ranking.bootstrap import bootstrap
from preflearn.ranking.cells import Floats
from preflearn.ranking.covariance import Covariance, Mask, covariance
from preflearn.ranking.design import Design
from preflearn.ranking.newton import Fit
from preflearn.ranking.scores import Clustering, clustering
from preflearn.ranking.wording import listed, some

Interval = Literal["auto", "model", "sandwich", "bootstrap"]
INTERVALS = ("auto", "model", "sandwich", "bootstrap")
FEW_CLUSTERS = 10
"""With fewer clusters than this their spread is hardly known, and intervals that rest on it are too short."""


class Intervals(NamedTuple):
    """What intervals rest on."""

    covariance: Covariance | None
    """None when it cannot be computed; the warnings say why."""
    replicates: Floats | None
    """Bootstrap parameters [B, n + q]."""
    warnings: list[str]


def intervals(
    design: Design,
    fit: Fit,
    items: Sequence[str],
    *,
    interval: Interval,
    clusters: tuple[str, ...],
    by_model: Mask,
    n_bootstrap: int,
    seed: int,
) -> Intervals:
    """The covariance that a model's options ask for.

    Args:
        items: names of the n items of the design.
        clusters: names of the cluster matrices: none, one, or two and their intersection.
        by_model: items [n] whose votes all ended alike against each opponent, so that only the prior holds them.
    """
    warnings: list[str] = []
    if interval == "model":
        squared = design.cells.weight_squared
        if not np.allclose(squared, design.cells.weight):
            warnings.append("model-based intervals take weights for numbers of votes; sandwich intervals do not")
        found = covariance(design, fit, kind="model", seed=seed)
        return Intervals(found, None, [*warnings, *found.notes])
    groups = {name: clustering(design.cells, name) for name in clusters}
    ways = {name: group for name, group in groups.items() if name in clusters[:2]}
    for name, group in ways.items():
        warnings += _few(name, group, items)
    if interval == "bootstrap":
        return _bootstrap(design, fit, items, ways, by_model, n_bootstrap, seed, warnings)
    kind = "clustered" if clusters else "sandwich"
    found = covariance(design, fit, kind=kind, clusters=clusters, by_model=by_model, groups=groups, seed=seed)
    return Intervals(found, None, [*warnings, *found.notes, *_without_noise(found, items)])


def _bootstrap(
    design: Design,
    fit: Fit,
    items: Sequence[str],
    ways: dict[str, Clustering],
    by_model: Mask,
    n: int,
    seed: int,
    warnings: list[str],
) -> Intervals:
    name, group = next(iter(ways.items()), (None, None))
    try:
        found = bootstrap(design, fit, n=n, group=group, seed=seed)
    except NotComputable as error:
        return Intervals(None, None, [*warnings, f"intervals are not computable because {error}"])
    if found.failed:
        warnings.append(
            f"{found.failed} of {n} resamples do not determine every strength and are left out, "
            "which shortens intervals"
        )
    if by_model.any():
        warnings.append(
            "resampling cannot tell how uncertain items are whose votes all ended alike: "
            "their intervals are too short; sandwich intervals allow for it"
        )
    used = {name: round(group.n)} if group is not None and name is not None and group.n > 1 else {}
    errors = found.parameters - found.parameters.mean(0)
    if design.n <= newton.DENSE_LIMIT:
        matrix = np.atleast_2d(np.cov(found.parameters.T))
        return Intervals(Covariance(matrix, None, "bootstrap", used, np.inf, []), found.parameters, warnings)
    draws = errors * np.sqrt(len(errors) / (len(errors) - 1))
    return Intervals(Covariance(None, draws, "bootstrap", used, np.inf, []), found.parameters, warnings)


def check_options(interval: str, clusters: Sequence[str], n_bootstrap: int) -> None:
    """Refuse options that no covariance can be made of.

    Raises:
        InputError: no such interval, a bootstrap over two kinds of clusters, or with too few replicates.
    """
    if interval not in INTERVALS:
        raise InputError("there is no such interval.", value=interval, cure="Use auto, model, sandwich or bootstrap.")
    if interval != "bootstrap":
        return
    if len(clusters) > 1:
        raise InputError("a bootstrap resamples one kind of cluster.", cure="Use the sandwich interval for two.")
    if n_bootstrap < 2:
        raise InputError("n_bootstrap must be at least 2; 200 is usual.", value=n_bootstrap)


def _few(name: str, group: Clustering, items: Sequence[str]) -> list[str]:
    """Sentences on clusters that are too few, overall or of single items."""
    n = round(group.n)
    if n < 2:
        return [f"all votes share one {name}: how others would differ is unknown, and intervals speak of it only"]
    found: list[str] = []
    lone = n - group.matrix.shape[0]
    if lone:
        found.append(f"{some(lone, 'vote')} without {name}, each a cluster of its own")
    if group.effective < FEW_CLUSTERS:
        spread = f", so unevenly that they count as {group.effective:.1f}" if group.effective < 0.8 * n else ""
        found.append(f"votes come from {n} clusters of {name}{spread}: clustered intervals are too short with so few")
    single = group.per_item < 2
    if single.any():
        found.append(
            f"{some(single.sum(), 'item')} judged within a single {name}, whose intervals take those votes as "
            f"independent and speak of it only: {_names(items, single)}"
        )
    if n >= FEW_CLUSTERS:
        few = ~single & (group.per_item < FEW_CLUSTERS)
        if few.any():
            found.append(
                f"{some(few.sum(), 'item')} with votes from fewer than {FEW_CLUSTERS} clusters of {name}, "
                f"whose clustered intervals are too short: {_names(items, few)}"
            )
    return found


def _names(items: Sequence[str], mask: Mask) -> str:
    return listed([items[int(i)] for i in np.flatnonzero(mask)])


def _without_noise(found: Covariance, items: Sequence[str]) -> list[str]:
    """Labels that fit exactly (a teacher's probabilities) leave a sandwich nothing to estimate noise from."""
    still = found.standard_errors()[: len(items)] < 1e-6
    if not still.any():
        return []
    return [
        f"the labels of {some(still.sum(), 'item')} fit the model exactly, so sandwich intervals have no width: "
        f"{_names(items, still)}; model-based ones take each label for one vote"
    ]
