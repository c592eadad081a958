"""Whether ties and grades leave the thresholds bounded: the part of existence that the win graph does not show.

Within a strongly connected component strengths alone cannot run away, but strengths and thresholds together can: where
every win bridges a wider gap than every tie, as with one win and one tie of the same two items, stretching all gaps and
the tie parameter alike raises the likelihood for ever (Albert and Anderson 1984: complete separation).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog
from scipy.sparse.csgraph import connected_components

from preflearn.choice import Link
from preflearn.ranking.cells import Cells, Floats, Ints


def thresholds_run_away(cells: Cells, link: Link) -> bool:
    """Whether the likelihood rises without bound as the thresholds (and the strengths with them) grow.

    Sought is a direction (gaps d, thresholds c with the outermost one equal to 1) in which every observed outcome stays
    where it belongs: a win of grade g needs c_g <= d <= c_(g+1), a tie -c_0 <= d <= c_0. Davidson's tie parameter acts
    as the only threshold. Covariates are held.

    Args:
        cells: votes among items that the win graph connects.
        link: their link; without shape parameters the answer is no.
    """
    if not link.parameters:
        return False
    better, worse, grade = _observed(cells, link)
    highest = len(link.outcomes) // 2
    if _cyclic(better[grade == highest], worse[grade == highest], cells.n_items):
        return False  # around a cycle the gaps add up to zero, so none of these wins can keep a gap of 1
    return _feasible(better, worse, grade, highest, "tie" in link.outcomes, cells.n_items)


def _observed(cells: Cells, link: Link) -> tuple[Ints, Ints, Ints]:
    """Distinct (better item, worse item, grade) that have weight; ties have grade 0."""
    k, half = len(link.outcomes), len(link.outcomes) // 2
    found = []
    for outcome in range(k):
        seen = (cells.weight > 0) & (cells.targets[cells.target, outcome] > 0)
        left, right = cells.left[seen], cells.right[seen]
        grade = outcome - half if k % 2 else (outcome - half + 1 if outcome >= half else outcome - half)
        pair = (left, right) if grade >= 0 else (right, left)
        found.append(np.stack([*pair, np.full(len(left), abs(grade))], axis=1))
    better, worse, grades = np.unique(np.concatenate(found), axis=0).T
    return better, worse, grades


def _cyclic(better: Ints, worse: Ints, n: int) -> bool:
    wins = sp.csr_array((np.ones(len(better), np.int8), (better, worse)), shape=(n, n))
    return int(connected_components(wins, directed=True, connection="strong")[0]) < n


def _feasible(better: Ints, worse: Ints, grade: Ints, highest: int, ties: bool, n: int) -> bool:
    """Linear program over (strengths [n], thresholds [P]): is there such a direction?"""
    size = highest if ties else highest - 1
    # Lower bounds: c_g <= d. With ties the threshold below grade g is c_(g-1), counted from 0; without, below 1 is 0.
    below = grade - 1 if ties else grade - 2
    won = grade > 0
    above = np.where(won, below + 1, 0)
    rows = [
        _rows(worse[won], better[won], below[won], 1.0, n, size),
        _rows(better[above < size], worse[above < size], above[above < size], -1.0, n, size),
    ]
    tied = ~won
    rows.append(_rows(worse[tied], better[tied], np.zeros(int(tied.sum()), np.int64), -1.0, n, size))
    rows.append(_increasing(n, size))
    matrix = sp.csr_array(sp.vstack(rows, format="csr"))
    bounds = [(0.0, 0.0), *[(None, None)] * (n - 1), *[(0.0, None)] * (size - 1), (1.0, 1.0)]
    answer = linprog(np.zeros(n + size), A_ub=matrix, b_ub=np.zeros(matrix.shape[0]), bounds=bounds, method="highs")
    return bool(answer.status == 0)


def _rows(plus: Ints, minus: Ints, threshold: Ints, sign: float, n: int, size: int) -> sp.csr_array:
    """Rows of `theta_plus - theta_minus + sign * c_threshold <= 0`; a negative threshold index means 0."""
    m = len(plus)
    here = np.arange(m)
    held = threshold >= 0
    values: Floats = np.concatenate([np.ones(m), -np.ones(m), np.full(int(held.sum()), sign)])
    return sp.csr_array(
        (values, (np.concatenate([here, here, here[held]]), np.concatenate([plus, minus, n + threshold[held]]))),
        shape=(m, n + size),
    )


def _increasing(n: int, size: int) -> sp.csr_array:
    """Rows of `c_k - c_(k+1) <= 0`."""
    k = np.arange(size - 1)
    values = np.concatenate([np.ones(size - 1), -np.ones(size - 1)])
    return sp.csr_array((values, (np.concatenate([k, k]), n + np.concatenate([k, k + 1]))), shape=(size - 1, n + size))
