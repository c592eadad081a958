"""Newton's method for the coefficients of many units at once, each unit by itself, with a standard normal prior.

It takes log-likelihoods as functions of one number per row and knows nothing of what the rows are. A unit with fewer
rows than coefficients is solved through its rows (a Gram matrix), any other through its coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

LogProb = Callable[[Tensor], Tensor]
"""Log-likelihood of every row, weights included, from the values of the rows: ``[n] -> [n]``, row by row."""
Structure = Literal["isotropic", "diagonal", "full"]

_CELLS = 1 << 24  # of the largest padded tensor: 64 MB in single precision


class Bucket(NamedTuple):
    """Units with about as many rows.

    Attributes:
        units: codes, [B].
        rows: their rows, [B, m]; padding repeats row 0.
        mask: True where there is a row, [B, m].
    """

    units: Tensor
    rows: Tensor
    mask: Tensor

    def padded(self, values: Tensor) -> Tensor:
        """Values of the rows, ``[n, ...] -> [B, m, ...]``, zeros where there is none."""
        found = values[self.rows]
        mask = self.mask if values.ndim == 1 else self.mask[..., None]
        return torch.where(mask, found, torch.zeros_like(found))


class Bends(NamedTuple):
    """Rows at the present values: log-likelihood, slope, and curvature with its sign turned, >= 0; each [n]."""

    log_prob: Tensor
    slope: Tensor
    curvature: Tensor


class Solved(NamedTuple):
    """Coefficients of all units.

    Attributes:
        states: by bucket: coefficients [B, k], or, where they are the rows' design times it, a number per row [B, m].
        personal: what they add to the value of each row, [n].
        squares: squared length of each unit's coefficients, [U].
        bends: of the rows.
    """

    states: tuple[Tensor, ...]
    personal: Tensor
    squares: Tensor
    bends: Bends


class Blocks:
    """Rows by unit.

    Args:
        unit: of each row, [n]; -1 = of nobody, then the row has no coefficients.
        units: number of units U.
        size: coefficients of a unit, k.
    """

    def __init__(self, unit: Tensor, units: int, size: int) -> None:
        self.unit, self.units, self.size = unit, units, size
        counts = torch.bincount(unit[unit >= 0], minlength=units)
        order = torch.argsort(unit, stable=True)[int((unit < 0).sum()) :]
        self.present = torch.nonzero(counts)[:, 0]
        self.buckets = list(_buckets(counts, order, size))

    def see(self, design: Tensor) -> Design:
        """The blocks with what coefficients are multiplied with in the value of each row, [n, k]."""
        views = []
        for bucket in self.buckets:
            d = bucket.padded(design)
            views.append(d if self.by_coefficients(bucket) else d @ d.mT)
        return Design(self, views)

    def by_coefficients(self, bucket: Bucket) -> bool:
        """Whether the units of a bucket are solved through their coefficients."""
        return bucket.rows.shape[1] >= self.size

    def total(self, values: Tensor) -> Tensor:
        """Sums over the rows of each unit, ``[n] -> [U]``."""
        known = self.unit >= 0
        return values.new_zeros(self.units).index_add_(0, self.unit[known], values[known])

    def coefficients(self, design: Tensor, solved: Solved) -> Tensor:
        """Coefficients ``[U, k]``."""
        e = design.new_zeros(self.units, self.size)
        for bucket, state in zip(self.buckets, solved.states, strict=True):
            if self.by_coefficients(bucket):
                e[bucket.units] = state
            else:
                e[bucket.units] = (bucket.padded(design).mT @ state[..., None])[..., 0]
        return e

    def covariance(self, design: Tensor, curvature: Tensor, structure: Structure) -> Tensor:
        """Sum over units with rows of the posterior covariance ``(D' W D + I)^-1``, in Laplace's approximation.

        Returns:
            "isotropic": its trace, []; "diagonal": its diagonal, [k]; "full": all of it, [k, k].
        """
        k, count = self.size, len(self.present)
        eye = torch.eye(k, dtype=design.dtype, device=design.device)
        learned = design.new_zeros(k, k) if structure == "full" else design.new_zeros(k)
        for bucket in self.buckets:
            d, w = bucket.padded(design), bucket.padded(curvature)
            if self.by_coefficients(bucket):
                rest = eye * len(d) - torch.cholesky_inverse(torch.linalg.cholesky(_primal(d, w))).sum(0)
                learned = learned + (rest if structure == "full" else rest.diagonal())
                continue
            root = w.sqrt()
            half = torch.linalg.cholesky(_dual(d @ d.mT, root))
            # I - (D'WD + I)^-1 = D' R B^-1 R D, in factors: no k x k matrix per unit.
            parts = torch.linalg.solve_triangular(half, root[..., None] * d, upper=False).reshape(-1, k)
            learned = learned + (parts.mT @ parts if structure == "full" else parts.square().sum(0))
        left = (eye if structure == "full" else eye.diagonal()) * count - learned
        return left.sum() if structure == "isotropic" else left


class Design:
    """Blocks and what their rows see.

    Args:
        blocks: the rows by unit.
        views: by bucket: design [B, m, k], or Gram matrices [B, m, m].
    """

    def __init__(self, blocks: Blocks, views: Sequence[Tensor]) -> None:
        self.blocks, self.views = blocks, views

    def scaled(self, factor: float) -> Design:
        """The same with the design multiplied by a number."""
        blocks = self.blocks
        powers = [1 if blocks.by_coefficients(bucket) else 2 for bucket in blocks.buckets]
        return Design(blocks, [view * factor**power for view, power in zip(self.views, powers, strict=True)])

    def solve(self, base: Tensor, log_prob: LogProb, start: Solved | None = None, *, iterations: int = 50) -> Solved:
        """Coefficients e that maximise ``sum_r log_prob_r(base_r + design_r . e_u) - |e_u|^2 / 2`` for each unit u.

        Damped Newton steps: a unit whose objective would fall halves its step. Where the log-likelihood is not
        concave the result is a local maximum.

        Args:
            base: the shared part of the value of each row, [n].
            log_prob: of the rows.
            start: another solution; by default zeros.
            iterations: limit.
        """
        blocks = self.blocks
        states = start.states if start is not None else self._zeros(base)
        personal, squares = self._values(states, base)
        bends = derivatives(log_prob, base + personal)
        goal = blocks.total(bends.log_prob) - squares / 2
        noise = 100 * torch.finfo(base.dtype).eps  # of sums, relative
        enough = max(1e-12, noise)
        for _ in range(iterations):
            steps, gain = self._newton(states, personal, bends)
            close = enough * (1 + goal.abs())
            if not bool((gain > close).any()):
                break
            rate = (gain > close).to(base.dtype)
            for _ in range(30):
                trial = self._moved(states, steps, rate)
                personal, squares = self._values(trial, base)
                reached = blocks.total(log_prob(base + personal).detach()) - squares / 2
                worse = (reached < goal + 1e-4 * rate * gain - noise * (1 + goal.abs())) & (rate > 0)
                if not bool(worse.any()):
                    break
                rate = torch.where(worse, rate / 2, rate)
            states = trial
            bends = derivatives(log_prob, base + personal)
            goal = blocks.total(bends.log_prob) - squares / 2
        return Solved(states, personal, squares, bends)

    def without_itself(self, solved: Solved) -> Tensor:
        """Personal part of the value of each row had it been left out of its unit's coefficients, [n].

        One Newton step from the solution: approximate leave-one-out of Rad and Maleki (2020), A scalable estimate of
        the out-of-sample prediction error via approximate leave-one-out, JRSS B 82, 965-996.
        """
        leverage = torch.zeros_like(solved.personal)
        for bucket, view in zip(self.blocks.buckets, self.views, strict=True):
            w = bucket.padded(solved.bends.curvature)
            if self.blocks.by_coefficients(bucket):
                half = torch.linalg.cholesky(_primal(view, w))
                own = torch.linalg.solve_triangular(half, view.mT, upper=False).square().sum(1)
            else:
                root = w.sqrt()
                half = torch.linalg.cholesky(_dual(view, root))
                lost = torch.linalg.solve_triangular(half, root[..., None] * view, upper=False).square().sum(1)
                own = view.diagonal(dim1=-2, dim2=-1) - lost
            leverage[bucket.rows[bucket.mask]] = own[bucket.mask]
        rest = (1 - solved.bends.curvature * leverage).clamp(min=1e-6)
        return solved.personal - leverage * solved.bends.slope / rest

    def _zeros(self, base: Tensor) -> tuple[Tensor, ...]:
        blocks = self.blocks
        widths = [blocks.size if blocks.by_coefficients(b) else b.rows.shape[1] for b in blocks.buckets]
        return tuple(base.new_zeros(len(b.units), width) for b, width in zip(blocks.buckets, widths, strict=True))

    def _values(self, states: Sequence[Tensor], base: Tensor) -> tuple[Tensor, Tensor]:
        """What coefficients add to each row [n], and their squared lengths [U]."""
        personal, squares = torch.zeros_like(base), base.new_zeros(self.blocks.units)
        for bucket, view, state in zip(self.blocks.buckets, self.views, states, strict=True):
            values = (view @ state[..., None])[..., 0]
            personal[bucket.rows[bucket.mask]] = values[bucket.mask]
            other = state if self.blocks.by_coefficients(bucket) else values
            squares[bucket.units] = (state * other).sum(-1)
        return personal, squares

    def _newton(self, states: Sequence[Tensor], personal: Tensor, bends: Bends) -> tuple[list[Tensor], Tensor]:
        """Full Newton steps by bucket, and twice the gain that each unit's quadratic model promises, [U]."""
        steps: list[Tensor] = []
        gain = personal.new_zeros(self.blocks.units)
        for bucket, view, state in zip(self.blocks.buckets, self.views, states, strict=True):
            w, slope = bucket.padded(bends.curvature), bucket.padded(bends.slope)
            pull = w * bucket.padded(personal) + slope
            if self.blocks.by_coefficients(bucket):
                factor = torch.linalg.cholesky(_primal(view, w))
                step = torch.cholesky_solve(view.mT @ pull[..., None], factor)[..., 0] - state
                gain[bucket.units] = (((view.mT @ slope[..., None])[..., 0] - state) * step).sum(-1)
            else:
                # The same through rows instead of coefficients: Rasmussen and Williams (2006), algorithm 3.1.
                root = w.sqrt()
                factor = torch.linalg.cholesky(_dual(view, root))
                through = root * (view @ pull[..., None])[..., 0]
                step = pull - root * torch.cholesky_solve(through[..., None], factor)[..., 0] - state
                gain[bucket.units] = ((slope - state) * (view @ step[..., None])[..., 0]).sum(-1)
            steps.append(step)
        return steps, gain

    def _moved(self, states: Sequence[Tensor], steps: Sequence[Tensor], rate: Tensor) -> tuple[Tensor, ...]:
        triples = zip(self.blocks.buckets, states, steps, strict=True)
        return tuple(state + rate[bucket.units][:, None] * step for bucket, state, step in triples)


def derivatives(log_prob: LogProb, values: Tensor) -> Bends:
    """Log-likelihood of rows and its first two derivatives by their values."""
    with torch.enable_grad():
        at = values.detach().requires_grad_()
        log_probs = log_prob(at)
        (slope,) = torch.autograd.grad(log_probs.sum(), at, create_graph=True)
        (second,) = torch.autograd.grad(slope.sum(), at)
    return Bends(log_probs.detach(), slope.detach(), (-second).clamp(min=0))


def _primal(d: Tensor, w: Tensor) -> Tensor:
    return d.mT @ (w[..., None] * d) + torch.eye(d.shape[2], dtype=d.dtype, device=d.device)


def _dual(gram: Tensor, root: Tensor) -> Tensor:
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    return root[:, :, None] * gram * root[:, None, :] + eye


def _buckets(counts: Tensor, order: Tensor, size: int) -> Iterator[Bucket]:
    """Units of similar size together, padded by at most a half, in pieces that fit into memory."""
    begins = torch.cumsum(counts, 0) - counts
    low = 0
    largest = int(counts.max()) if len(counts) else 0
    while low < largest:
        high = max(low + 1, int(low * 1.5))
        units = torch.nonzero((counts > low) & (counts <= high))[:, 0]
        low = high
        if not len(units):
            continue
        width = int(counts[units].max())
        at_once = max(1, _CELLS // (size * max(width, size) if width >= size else width * size))
        for piece in torch.split(units, at_once):
            place = torch.arange(width, device=order.device)[None, :]
            mask = place < counts[piece][:, None]
            rows = order[torch.where(mask, begins[piece][:, None] + place, 0)]
            yield Bucket(piece, rows, mask)
