"""How people differ: the prior covariance of personal offsets, learned from the people themselves.

The scale is the one that predicts single judgments best from the others of the same person; the shape comes from EM on
the marginal likelihood, and is trusted as far as it predicts people who had no part in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from preflearn.models.solvers.personal import Blocks, Design, LogProb, Solved, Structure

SCALES = tuple(2.0**power for power in range(-4, 4))
"""Standard deviations of the personal part of a logit that are tried."""
STRETCH = 2**0.5
"""Steps in which the common part is stretched: it is weaker where differences between people are averaged out."""
TRUST = (0.0, 0.5, 0.8, 0.95, 1.0)
"""Shares of the learned shape that are tried; the rest is isotropic."""
FOLDS = 3


class Rows(NamedTuple):
    """Judgments as functions of one number each.

    Attributes:
        seen: what offsets are multiplied with, [n, k].
        base: the shared part of the value, [n]; predicted by a fit to other judgments.
        unit: whose judgment, [n]; -1 = nobody's.
        log_prob: log-likelihoods from values, [n] -> [n], weights included.
        only: makes `log_prob` of some of the rows.
    """

    seen: Tensor
    base: Tensor
    unit: Tensor
    log_prob: LogProb
    only: Callable[[Tensor], LogProb]

    def where(self, chosen: Tensor) -> Rows:
        """The rows for which `chosen`, [n], is true."""
        index = torch.nonzero(chosen)[:, 0]
        return Rows(self.seen[index], self.base[index], self.unit[index], self.only(index), self.only)


class Scale(NamedTuple):
    """Standard deviation of the personal part, and the factor on the common part that goes with it."""

    personal: float
    common: float


def whitened(seen: Tensor, root: Tensor) -> Tensor:
    """``seen root``, [n, k], for a root [], [k] (diagonal) or [k, k]."""
    return seen @ root if root.ndim == 2 else seen * root


def spread(seen: Tensor, root: Tensor) -> float:
    """Standard deviation, under the prior, of the personal part of a value: root mean square over rows."""
    return float(whitened(seen, root).square().sum(1).mean().sqrt())


def learn(rows: Rows, units: int, structure: Structure, rounds: int) -> Tensor:
    """The root of the prior covariance of offsets.

    Args:
        rows: all judgments.
        units: number of units.
        structure: "isotropic", "diagonal" or "full".
        rounds: limit of rounds of EM for a shape.

    Returns:
        [], [k] or [k, k].
    """
    one = rows.seen.new_ones(())
    one = one / spread(rows.seen, one)
    blocks = Blocks(rows.unit, units, rows.seen.shape[1])
    scale = _scale(rows, blocks.see(whitened(rows.seen, one)))
    if structure == "isotropic":
        return one * scale.personal
    return _shaped(rows, units, one, scale, structure, rounds)


def _loss(rows: Rows, design: Design, scale: Scale, start: Solved | None = None) -> tuple[float, Solved]:
    """Negative log-likelihood of the units' rows, each predicted without what it taught.

    Args:
        rows: the judgments.
        design: what they see under a prior of spread 1.
        scale: of the prior and of the common part.
        start: where Newton's method begins.
    """
    base, scaled = rows.base * scale.common, design.scaled(scale.personal)
    solved = scaled.solve(base, rows.log_prob, start)
    alone = scaled.without_itself(solved)
    return -float(rows.log_prob(base + alone)[rows.unit >= 0].sum()), solved


def _scale(rows: Rows, design: Design) -> Scale:
    """The best scale of an isotropic prior."""
    best: tuple[float, Scale] | None = None
    stretch = STRETCH**-2
    for personal in SCALES:
        here: tuple[float, float] | None = None
        solved: Solved | None = None
        while here is None or stretch <= STRETCH**8:
            value, solved = _loss(rows, design, Scale(personal, stretch), solved)
            if here is not None and value >= here[0]:
                break
            here = value, stretch
            stretch *= STRETCH
        # A stronger personal part never asks for a weaker common one.
        stretch = here[1]
        if best is None or here[0] < best[0]:
            best = here[0], Scale(personal, stretch)
        elif personal > 2 * best[1].personal:
            break
    assert best is not None
    return best[1]


def _shaped(rows: Rows, units: int, one: Tensor, scale: Scale, structure: Structure, rounds: int) -> Tensor:
    """Root of the covariance under which people are predicted best whose judgments did not shape it."""
    size = rows.seen.shape[1]
    everyone = Blocks(rows.unit, units, size)
    fold = torch.full((units,), -1, device=rows.unit.device)
    fold[everyone.present] = torch.arange(len(everyone.present), device=fold.device) % FOLDS
    of_row = torch.where(rows.unit >= 0, fold[rows.unit.clamp(min=0)], -1)
    others = [rows.where((of_row >= 0) & (of_row != number)) for number in range(FOLDS)]
    these = [rows.where(of_row == number) for number in range(FOLDS)]
    blocks = [Blocks(each.unit, units, size) for each in these]
    shapes = [_shape(each, Blocks(each.unit, units, size), one, scale, structure, rounds) for each in others]

    def designs(trust: float) -> list[Design]:
        each = zip(these, blocks, shapes, strict=True)
        return [block.see(whitened(mine.seen, _mixed(mine.seen, shape, trust))) for mine, block, shape in each]

    def loss(held: list[Design], scale: Scale) -> float:
        return sum(_loss(mine, design, scale)[0] for mine, design in zip(these, held, strict=True))

    losses = {trust: loss(designs(trust), scale) for trust in TRUST}
    trust = min(losses, key=lambda share: losses[share])
    if trust:
        held = designs(trust)
        around = [
            Scale(scale.personal * more, scale.common * stretch)
            for more in (0.5, 1.0, 2.0, 4.0)
            for stretch in (1.0, STRETCH)
        ]
        scale = min(around, key=lambda each: loss(held, each))
    learned = _shape(rows, everyone, one, scale, structure, rounds)
    result: Tensor = _mixed(rows.seen, learned, trust) * scale.personal
    return result


def _shape(rows: Rows, blocks: Blocks, one: Tensor, scale: Scale, structure: Structure, rounds: int) -> Tensor:
    """EM for the prior covariance at constant trace: [k, k], or [k] for "diagonal".

    The trace is kept because Laplace's approximation, used for the E-step, makes variances far too small where units
    have few rows each.
    """
    now = (one * scale.personal).square().expand(blocks.size)
    now = torch.diag(now) if structure == "full" else now.clone()
    trace, base = _trace(now), rows.base * scale.common
    for _ in range(rounds):
        root = _root(now)
        design = whitened(rows.seen, root)
        solved = blocks.see(design).solve(base, rows.log_prob)
        e = blocks.coefficients(design, solved)[blocks.present]
        left = blocks.covariance(design, solved.bends.curvature, structure)
        if structure == "full":
            moment = root @ (e.mT @ e + left) @ root.mT
        else:
            moment = now * (e.square().sum(0) + left)
        moment *= trace / _trace(moment)
        change = float((moment - now).norm() / now.norm())
        now = moment
        if change < 0.02:
            break
    return now


def _mixed(seen: Tensor, learned: Tensor, trust: float) -> Tensor:
    """Root, at spread 1, of a mixture of a learned and the isotropic covariance."""
    plain = torch.full_like(learned[0] if learned.ndim == 2 else learned, float(_trace(learned)) / len(learned))
    root = _root(trust * learned + (1 - trust) * (torch.diag(plain) if learned.ndim == 2 else plain))
    return root / spread(seen, root)


def _root(moment: Tensor) -> Tensor:
    """A root of a covariance [k, k], or of a diagonal [k]."""
    if moment.ndim == 1:
        return moment.sqrt()
    jitter = 1e-6 * moment.diagonal().mean() * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    root: Tensor = torch.linalg.cholesky(moment + jitter)
    return root


def _trace(moment: Tensor) -> Tensor:
    return moment.diagonal().sum() if moment.ndim == 2 else moment.sum()
