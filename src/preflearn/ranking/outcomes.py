"""Which outcomes of a link the votes that are fitted make use of; parameters of the others have no estimate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from preflearn.choice import Binary, Link, Ordinal
from preflearn.ranking.cells import Cells, Floats


def decided(link: Link) -> Floats:
    """1 for outcomes with a winner, 0 for ties [K]."""
    return np.array([0.0 if name == "tie" else 1.0 for name in link.outcomes])


def used_outcomes(cells: Cells, link: Link) -> tuple[Cells, Link, list[str]]:
    """The link without the ties or grades that no vote uses, the cells in its outcomes, and a sentence on each loss.

    A tie parameter without ties, or two thresholds without a vote between them, would be fitted at the edge of its
    domain, where there is no maximum to converge to.
    """
    mass = np.bincount(cells.target, cells.weight, len(cells.targets)) @ cells.targets
    used = (mass + mass[::-1]) > 0
    if used.all() or len(link.outcomes) == 2:
        return cells, link, []
    tied = "tie" in link.outcomes and bool(used[link.outcomes.index("tie")])
    grades = int(used[(len(used) + 1) // 2 :].sum())
    notes = []
    if "tie" in link.outcomes and not tied:
        notes.append("no ties are recorded among the items with a strength, so the tie parameter is left out")
    if grades < len(link.outcomes) // 2:
        notes.append(
            f"only {grades} grades are used among the items with a strength; thresholds between others are left out"
        )
    reduced: Link = Binary()
    if isinstance(link, Ordinal) and (tied or grades > 1):
        reduced = Ordinal(levels=grades, ties=tied)
    return replace(cells, targets=np.ascontiguousarray(cells.targets[:, used])), reduced, notes
