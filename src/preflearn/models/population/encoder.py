"""From the comparisons of a person to a distribution over latent numbers: pairs, pooling, mean and variance."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from preflearn.models.batch import Pairs

Pooling = Literal["mean", "attention", "evidence"]


class Belief(NamedTuple):
    """A normal distribution with independent coordinates for each unit.

    Attributes:
        mean, log_variance: [U, m].
    """

    mean: Tensor
    log_variance: Tensor

    def divergence(self) -> Tensor:
        """From the standard normal distribution: KL(q || N(0, I)) of each unit, [U], nats."""
        terms = self.log_variance.exp() + self.mean.square() - 1 - self.log_variance
        return terms.sum(-1) / 2


class Beliefs(NamedTuple):
    """What comparisons say, and what they would have said with every answer turned round."""

    said: Belief
    turned: Belief | None


class SetEncoder(nn.Module):
    """Comparisons of each unit, in any order and number, to beliefs about it.

    A comparison enters as [winner; loser]; a tie or a soft label as a mixture of both orders.

    Args:
        features: d.
        hidden: width of the layers.
        latent: m.
        pooling: "mean" of encoded comparisons; the same after "attention" among those of a unit; or "evidence": every
            comparison contributes a precision and a mean, and they add up as those of independent measurements do.
        odd: turning every answer round turns the sign of the mean, and leaves the variance.
    """

    def __init__(self, features: int, hidden: int, latent: int, pooling: Pooling, odd: bool) -> None:
        super().__init__()
        self.latent, self.pooling, self.odd = latent, pooling, odd
        self.pair = nn.Sequential(
            nn.Linear(2 * features, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2)
        )
        self.attention = nn.MultiheadAttention(hidden, 1, batch_first=True) if pooling == "attention" else None
        counted = pooling != "evidence"
        self.out = nn.Linear(hidden + counted, 2 * latent)

    def forward(self, rows: Pairs, x: Tensor, unit: Tensor, units: int, *, turned: bool) -> Beliefs:
        """Beliefs about units 0 .. units - 1 from the rows of each; a unit without rows is standard normal.

        Args:
            rows: comparisons and their answers.
            x: features of responses, [R, d].
            unit: of each row, [n].
            units: their number.
            turned: also what the turned answers would say.
        """
        won, lost = self._ordered(rows, x, both=turned or self.odd)
        if self.pooling == "evidence":
            said, other = self._evidence(won, lost, unit, units, rows.weight)
        else:
            said = self._pooled(won, unit, units)
            other = None if lost is None else self._pooled(lost, unit, units)
        if self.odd and other is not None and self.pooling != "evidence":
            said, other = _odd(said, other), _odd(other, said)
        present = (torch.bincount(unit, minlength=units) > 0)[:, None]
        return Beliefs(_where(present, said), _where(present, other) if turned and other is not None else None)

    def _ordered(self, rows: Pairs, x: Tensor, *, both: bool) -> tuple[Tensor, Tensor | None]:
        """Encoded comparisons [n, h] with the winner first, and with the loser first."""
        # Outcomes are ordered from the best for b to the best for a.
        sides = torch.linspace(-1, 1, rows.target.shape[1], dtype=x.dtype, device=x.device)
        toward = rows.target.to(x.dtype) @ sides
        a, b = x[rows.a], x[rows.b]
        hard = bool((toward.abs() == 1).all())
        if hard and not both:
            first = torch.where(toward[:, None] > 0, a, b)
            return self.pair(torch.cat([first, a + b - first], dim=1)), None
        as_shown, exchanged = self.pair(torch.cat([a, b], dim=1)), self.pair(torch.cat([b, a], dim=1))
        share = (1 + toward[:, None]) / 2
        return share * as_shown + (1 - share) * exchanged, (1 - share) * as_shown + share * exchanged

    def _pooled(self, seen: Tensor, unit: Tensor, units: int) -> Belief:
        if self.attention is not None:
            seen = self._attended(seen, unit, units)
        count = torch.bincount(unit, minlength=units).to(seen.dtype)[:, None]
        mean = seen.new_zeros(units, seen.shape[1]).index_add(0, unit, seen) / count.clamp(min=1)
        return _belief(self.out(torch.cat([mean, torch.log1p(count)], dim=1)))

    def _attended(self, seen: Tensor, unit: Tensor, units: int) -> Tensor:
        """Every comparison after a look at the others of its unit, [n, h]."""
        assert self.attention is not None
        count = torch.bincount(unit, minlength=units)
        order = torch.argsort(unit, stable=True)
        place = torch.empty_like(unit)
        place[order] = torch.arange(len(unit), device=unit.device) - (torch.cumsum(count, 0) - count)[unit[order]]
        padded = seen.new_zeros(units, int(count.max()), seen.shape[1])
        padded[unit, place] = seen
        empty = torch.arange(padded.shape[1], device=unit.device)[None, :] >= count.clamp(min=1)[:, None]
        found, _ = self.attention(padded, padded, padded, key_padding_mask=empty, need_weights=False)
        result: Tensor = seen + found[unit, place]
        return result

    def _evidence(
        self, won: Tensor, lost: Tensor | None, unit: Tensor, units: int, weight: Tensor
    ) -> tuple[Belief, Belief | None]:
        mean, precision = self.out(won).chunk(2, dim=-1)
        if lost is None:
            return _added(mean, precision, unit, units, weight), None
        back, back_precision = self.out(lost).chunk(2, dim=-1)
        if self.odd:
            mean, back = (mean - back) / 2, (back - mean) / 2
            precision = back_precision = (precision + back_precision) / 2
        said = _added(mean, precision, unit, units, weight)
        return said, _added(back, back_precision, unit, units, weight)


def _added(mean: Tensor, free: Tensor, unit: Tensor, units: int, weight: Tensor) -> Belief:
    """Posterior of a standard normal after independent measurements."""
    precision = nn.functional.softplus(free) * weight[:, None].to(mean.dtype)
    total = 1 + precision.new_zeros(units, precision.shape[1]).index_add(0, unit, precision)
    summed = precision.new_zeros(units, precision.shape[1]).index_add(0, unit, precision * mean)
    return Belief(summed / total, -torch.log(total))


def _belief(numbers: Tensor) -> Belief:
    mean, log_variance = numbers.chunk(2, dim=-1)
    # Wide enough for any belief worth having; outside, a step too long would not come back.
    return Belief(mean, log_variance.clamp(-10, 4))


def _odd(said: Belief, other: Belief) -> Belief:
    return Belief((said.mean - other.mean) / 2, (said.log_variance + other.log_variance) / 2)


def _where(present: Tensor, belief: Belief) -> Belief:
    return Belief(*(torch.where(present, value, torch.zeros_like(value)) for value in belief))
