"""Newton's method for the coefficients of many units at once, each unit by itself, with a standard normal prior.

It takes log-likelihoods as functions of one number per row and knows nothing of what the rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class Bends(NamedTuple):
    """Rows at the present values: log-likelihood, slope, and curvature with its sign turned, >= 0; each [n]."""

    log_prob: Tensor
    slope: Tensor
    curvature: Tensor


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

    def personal(self, design: Tensor, coefficients: Tensor) -> Tensor:
        """What a unit's coefficients ``[U, k]`` add to each row of ``design [n, k]``, [n]; 0 for rows of nobody."""
        own = (design * coefficients[self.unit.clamp(min=0)]).sum(-1)
        return torch.where(self.unit >= 0, own, torch.zeros_like(own))

    def total(self, values: Tensor) -> Tensor:
        """Sums over the rows of each unit, ``[n] -> [U]``."""
        known = self.unit >= 0
        return values.new_zeros(self.units).index_add_(0, self.unit[known], values[known])

    def solve(
        self, design: Tensor, base: Tensor, log_prob: LogProb, start: Tensor, *, iterations: int = 50
    ) -> tuple[Tensor, Bends]:
        """Coefficients ``[U, k]`` that maximise ``sum_r log_prob_r(base_r + design_r . e_u) - |e_u|^2 / 2``.

        Damped Newton steps: a unit whose objective would fall halves its step. Where the log-likelihood is not
        concave the result is a local maximum.

        Args:
            design: [n, k].
            base: the shared part of the value of each row, [n].
            log_prob: of the rows.
            start: [U, k].
            iterations: limit.
        """
        e = start.clone()
        bends = derivatives(log_prob, base + self.personal(design, e))
        goal = self.total(bends.log_prob) - e.square().sum(1) / 2
        # The next step of a Newton iteration that promises this little would promise about its square.
        enough = max(1e-9, 100 * torch.finfo(base.dtype).eps)
        for _ in range(iterations):
            target = self._newton(design, self.personal(design, e), bends, e)
            ascent = self._slope(design, bends.slope, e)
            step = target - e
            gain = (ascent * step).sum(1)  # twice what the quadratic model promises
            open_ = gain > enough * (1 + goal.abs())
            if not bool(open_.any()):
                break
            rate = open_.to(e.dtype)
            for _ in range(30):
                trial = e + rate[:, None] * step
                values = base + self.personal(design, trial)
                reached = self.total(log_prob(values).detach()) - trial.square().sum(1) / 2
                worse = (reached < goal + 1e-4 * rate * gain - enough * (1 + goal.abs())) & (rate > 0)
                if not bool(worse.any()):
                    break
                rate = torch.where(worse, rate / 2, rate)
            e = e + rate[:, None] * step
            bends = derivatives(log_prob, base + self.personal(design, e))
            goal = self.total(bends.log_prob) - e.square().sum(1) / 2
        return e, bends

    def _slope(self, design: Tensor, slope: Tensor, e: Tensor) -> Tensor:
        known = self.unit >= 0
        sums = torch.zeros_like(e).index_add_(0, self.unit[known], (design * slope[:, None])[known])
        return sums - e

    def _newton(self, design: Tensor, personal: Tensor, bends: Bends, e: Tensor) -> Tensor:
        """Where a full Newton step leads: ``(D' W D + I)^-1 D' (W D e + slope)``, [U, k]."""
        target = torch.zeros_like(e)
        for bucket in self.buckets:
            d, w = _padded(design, bucket), _padded(bends.curvature, bucket)
            pull = w * _padded(personal, bucket) + _padded(bends.slope, bucket)
            if d.shape[1] >= self.size:
                factor = torch.linalg.cholesky(_primal(d, w))
                target[bucket.units] = torch.cholesky_solve((d.mT @ pull[..., None]), factor)[..., 0]
            else:
                # The same through rows instead of coefficients: Rasmussen and Williams (2006), algorithm 3.1.
                root = w.sqrt()
                factor = torch.linalg.cholesky(_dual(d, root))
                through = root * (d @ (d.mT @ pull[..., None]))[..., 0]
                a = pull - root * torch.cholesky_solve(through[..., None], factor)[..., 0]
                target[bucket.units] = (d.mT @ a[..., None])[..., 0]
        return target

    def log_determinant(self, design: Tensor, curvature: Tensor) -> Tensor:
        """``sum_u log |D_u' W_u D_u + I|``: what Laplace's approximation charges for the coefficients, nats times 2."""
        sums = []
        for bucket in self.buckets:
            d, w = _padded(design, bucket), _padded(curvature, bucket)
            square = _primal(d, w) if d.shape[1] >= self.size else _dual(d, w.sqrt())
            sums.append(2 * torch.linalg.cholesky(square).diagonal(dim1=-2, dim2=-1).log().sum())
        return torch.stack(sums).sum() if sums else curvature.new_zeros(())

    def without_itself(self, design: Tensor, personal: Tensor, bends: Bends) -> Tensor:
        """Personal part of the value of each row had it been left out of its unit's coefficients, [n].

        One Newton step from the solution: approximate leave-one-out of Rad and Maleki (2020), A scalable estimate of
        the out-of-sample prediction error via approximate leave-one-out, JRSS B 82, 965-996.
        """
        leverage = torch.zeros_like(personal)
        for bucket in self.buckets:
            d, w = _padded(design, bucket), _padded(bends.curvature, bucket)
            if d.shape[1] >= self.size:
                half = torch.linalg.cholesky(_primal(d, w))
                own = torch.linalg.solve_triangular(half, d.mT, upper=False).square().sum(1)
            else:
                root = w.sqrt()
                gram = d @ d.mT
                half = torch.linalg.cholesky(_dual(d, root))
                lost = torch.linalg.solve_triangular(half, root[..., None] * gram, upper=False).square().sum(1)
                own = gram.diagonal(dim1=-2, dim2=-1) - lost
            leverage[bucket.rows[bucket.mask]] = own[bucket.mask]
        rest = (1 - bends.curvature * leverage).clamp(min=1e-6)
        return personal - leverage * bends.slope / rest

    def covariance(self, design: Tensor, curvature: Tensor, structure: Structure) -> Tensor:
        """Sum over units with rows of the posterior covariance ``(D' W D + I)^-1``.

        Returns:
            "isotropic": its trace, []; "diagonal": its diagonal, [k]; "full": all of it, [k, k].
        """
        k = self.size
        count = float(len(self.present))
        learned = design.new_zeros({"isotropic": (), "diagonal": (k,), "full": (k, k)}[structure])
        for bucket in self.buckets:
            d, w = _padded(design, bucket), _padded(curvature, bucket)
            if d.shape[1] >= k:
                inverse = torch.cholesky_inverse(torch.linalg.cholesky(_primal(d, w)))
                rest = torch.eye(k, dtype=d.dtype, device=d.device) * len(d) - inverse.sum(0)
                learned = learned + _reduced(rest, structure)
                continue
            root = w.sqrt()
            half = torch.linalg.cholesky(_dual(d, root))
            # I - (D'WD + I)^-1 = D' R B^-1 R D, in factors: no k x k matrix per unit.
            parts = torch.linalg.solve_triangular(half, root[..., None] * d, upper=False).reshape(-1, k)
            if structure == "full":
                learned = learned + parts.mT @ parts
            else:
                squares = parts.square().sum(0)
                learned = learned + (squares if structure == "diagonal" else squares.sum())
        prior = {"isotropic": count * k, "diagonal": count}.get(structure)
        if prior is None:
            return torch.eye(k, dtype=design.dtype, device=design.device) * count - learned
        return prior - learned


def derivatives(log_prob: LogProb, values: Tensor) -> Bends:
    """Log-likelihood of rows and its first two derivatives by their values."""
    with torch.enable_grad():
        at = values.detach().requires_grad_()
        log_probs = log_prob(at)
        (slope,) = torch.autograd.grad(log_probs.sum(), at, create_graph=True)
        (second,) = torch.autograd.grad(slope.sum(), at)
    return Bends(log_probs.detach(), slope.detach(), (-second).clamp(min=0))


def _reduced(square: Tensor, structure: Structure) -> Tensor:
    if structure == "full":
        return square
    return square.diagonal() if structure == "diagonal" else square.diagonal().sum()


def _primal(d: Tensor, w: Tensor) -> Tensor:
    return d.mT @ (w[..., None] * d) + torch.eye(d.shape[2], dtype=d.dtype, device=d.device)


def _dual(d: Tensor, root: Tensor) -> Tensor:
    scaled = root[..., None] * d
    return scaled @ scaled.mT + torch.eye(d.shape[1], dtype=d.dtype, device=d.device)


def _padded(values: Tensor, bucket: Bucket) -> Tensor:
    found = values[bucket.rows]
    mask = bucket.mask if values.ndim == 1 else bucket.mask[..., None]
    return torch.where(mask, found, torch.zeros_like(found))


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
        at_once = max(1, _CELLS // (width * max(width, size) if width < size else max(width * size, size * size)))
        for piece in torch.split(units, at_once):
            place = torch.arange(width, device=order.device)[None, :]
            mask = place < counts[piece][:, None]
            rows = order[torch.where(mask, begins[piece][:, None] + place, 0)]
            yield Bucket(piece, rows, mask)
