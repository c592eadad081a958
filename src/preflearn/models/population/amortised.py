"""People as latent numbers that an encoder reads off their comparisons: known and new people in the same way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from preflearn.models.base import Judgments, Part, PopulationModule, Shape, Taste
from preflearn.models.batch import Batch, Pairs, taken
from preflearn.models.bounds import Count, NonNegative, Share, Whole
from preflearn.models.parts import part
from preflearn.models.population.encoder import Belief, Pooling, SetEncoder

if TYPE_CHECKING:
    from preflearn.models.network import Network

_ACTIVE = 0.01
_COLLAPSED = 0.05


class Use(NamedTuple):
    """What a fitted model knows about the annotators of its training judgments.

    Attributes:
        divergence: mean KL(q || N(0, I)) per annotator, nats: how much their judgments said about them.
        active: latent numbers whose posterior mean varies over annotators (variance above .01).
    """

    divergence: float
    active: int


class AmortisedModule(PopulationModule):
    """Beliefs about each known annotator, and the encoder they come from.

    Attributes:
        mean, log_variance: of annotators known to the model, [U, m].
        draws: standard normal numbers over which predictions are averaged, [S, m]; [0, m] = the mean alone is used.
    """

    personal = True
    whole_units = True
    stochastic = True
    fitting = "minibatch"
    mean: Tensor
    log_variance: Tensor
    draws: Tensor

    def __init__(self, part: Amortised, features: int, annotators: int) -> None:
        super().__init__()
        self.part = part
        if part.decoder == "head":
            self.latent = part.latent
        else:
            self.channels = 1 + part.latent
        self.encoder = SetEncoder(features, part.hidden, part.latent, part.pooling, part.odd)
        self.register_buffer("mean", torch.zeros(annotators, part.latent))
        self.register_buffer("log_variance", torch.zeros(annotators, part.latent))
        self.register_buffer("draws", _normal(part.draws if part.variational else 0, part.latent))

    # -- training ------------------------------------------------------------------------------------------------------

    def forward(self, rows: Judgments, batch: Batch) -> Taste:
        """People as some of their comparisons show them; only their others count in the likelihood."""
        code, unit = torch.unique(rows.who.annotator, return_inverse=True)
        known = code >= 0
        pairs = batch.pairs
        target: Tensor | None = None
        if isinstance(rows, Pairs):
            chosen, target = self._contexts(unit, known)
            belief, turned = self.encoder(
                taken(rows, chosen), batch.x, unit[chosen], len(code), turned=self.part.guidance > 0
            )
        else:
            belief, turned = self._of(pairs, batch, code), None
        z = self._drawn(belief, known)[unit]
        loss = None if target is None else self._loss(belief, turned, known)
        return self._taste(z)._replace(weight=target, loss=loss)

    def _contexts(self, unit: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Rows that are looked at, and factors [n] on all rows: 0 for these, more for the others of the same person.

        In training a random part of each person's comparisons, of any size but all of them; else the first half.
        """
        count = torch.bincount(unit, minlength=len(known))
        shuffled = torch.randperm(len(unit)) if self.training else torch.arange(len(unit))
        order = shuffled[torch.argsort(unit[shuffled], stable=True)]
        place = torch.empty_like(unit)
        place[order] = torch.arange(len(unit)) - (torch.cumsum(count, 0) - count)[unit[order]]
        least = 1 if self.part.variational else 0
        if self.training:
            size = least + torch.floor(torch.rand(len(count)) * (count - least)).to(torch.int64)
        else:
            size = count // 2
        size = torch.where(known, size.minimum(count - 1), 0)
        looked_at = place < size[unit]
        factor = torch.where(looked_at, 0.0, (count / (count - size))[unit])
        return torch.nonzero(looked_at)[:, 0], factor

    def _drawn(self, belief: Belief, known: Tensor) -> Tensor:
        """Latent numbers of each unit, [U, m]: drawn in training, else the mean."""
        if not (self.training and self.part.variational):
            return belief.mean
        return belief.mean + torch.exp(belief.log_variance / 2) * torch.randn_like(belief.mean)

    def _loss(self, belief: Belief, turned: Belief | None, known: Tensor) -> Tensor:
        """What the latent numbers of all people cost, nats: once per person, however many comparisons."""
        part = self.part
        if part.variational:
            each = self.strength * belief.divergence()
        else:
            each = belief.mean.square().sum(-1) / 2
        if turned is not None:
            each = each + part.guidance * _guidance(belief, turned, part.guidance_variance)
        return each[known].sum()

    @property
    def strength(self) -> float:
        """Present weight of the divergence."""
        phase = (self.progress * self.part.cycles) % 1 if self.progress < 1 else 1.0
        rising = self.part.warmup
        return self.part.beta * (min(1.0, phase / rising) if rising else 1.0)

    # -- answers -------------------------------------------------------------------------------------------------------

    def known(self, rows: Judgments, batch: Batch) -> Taste:
        """Known people by their beliefs, strangers by the prior."""
        place = rows.who.annotator
        nobody = torch.zeros_like(self.mean[:1]) if len(self.mean) else self.draws.new_zeros(1, self.part.latent)
        mean = torch.cat([self.mean, nobody])[place]
        if not len(self.draws):
            return self._taste(mean)
        spread = torch.exp(torch.cat([self.log_variance, nobody])[place] / 2)
        z = mean[:, None] + spread[:, None] * self.draws
        shares = mean.new_full((len(mean), len(self.draws)), -math.log(len(self.draws)))
        return self._taste(z)._replace(log_weights=shares)

    def _taste(self, z: Tensor) -> Taste:
        if self.part.decoder == "head":
            return Taste(latent=z)
        return Taste(weights=torch.cat([torch.ones_like(z[..., :1]), z], dim=-1))

    @torch.no_grad()
    def _of(self, pairs: Pairs | None, batch: Batch, code: Tensor) -> Belief:
        """Beliefs about these annotators, [len(code), m], from all their comparisons."""
        nothing = torch.zeros(len(code), self.part.latent, dtype=batch.x.dtype)
        if pairs is None or not len(code):
            return Belief(nothing, nothing)
        place = torch.full((int(max(code.max(), pairs.who.annotator.max())) + 2,), -1)
        place[code[code >= 0]] = torch.nonzero(code >= 0)[:, 0]
        unit = place[pairs.who.annotator]
        own = torch.nonzero(unit >= 0)[:, 0]
        said, _ = self.encoder(taken(pairs, own), batch.x, unit[own], len(code), turned=False)
        belief: Belief = said
        return belief

    def settle(self, network: Network, batch: Batch) -> None:
        self.mean, self.log_variance = self._of(batch.pairs, batch, torch.arange(len(self.mean)))

    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        """Encode the newcomers' comparisons: nothing is optimised."""
        fresh = self._of(batch.pairs, batch, newcomers)
        more = int(newcomers.max()) + 1 - len(self.mean)
        for name, values in zip(("mean", "log_variance"), fresh, strict=True):
            table = getattr(self, name)
            grown = torch.cat([table, table.new_zeros(max(more, 0), self.part.latent)])
            grown[newcomers] = values.to(table.dtype)
            setattr(self, name, grown)

    def use(self) -> Use:
        """How much the beliefs differ from the prior and from each other."""
        belief = Belief(self.mean, self.log_variance)
        if not len(self.mean):
            return Use(0.0, 0)
        return Use(float(belief.divergence().mean()), int((self.mean.var(0, correction=0) > _ACTIVE).sum()))

    def notes(self) -> list[str]:
        use = self.use()
        said = (
            f"The comparisons of an annotator say {use.divergence:.2g} nats about them on average, "
            f"through {use.active} of {self.part.latent} latent numbers."
        )
        if self.part.variational and use.divergence < _COLLAPSED:
            said += " The latent space has collapsed: annotators are not told apart (try a longer warmup, more steps)."
        return [said] if len(self.mean) else []


def _guidance(belief: Belief, turned: Belief, variance: float) -> Tensor:
    """Swap guidance of SPL, [U]: turned answers should turn the mean and keep the variance."""
    mean, log_variance = belief.mean.clamp(-1, 1), belief.log_variance.clamp(-1, 1)
    back, back_variance = (value.detach().clamp(-1, 1) for value in turned)
    away = torch.cosine_similarity(mean, back, dim=-1, eps=1e-6)
    same = torch.cosine_similarity(log_variance, back_variance, dim=-1, eps=1e-6)
    return (1 + away) / 2 + variance * (1 - same) / 2


def _normal(count: int, size: int) -> Tensor:
    """Standard normal numbers [count, size] that are the same in every model: a Sobol sequence and its reflection."""
    if not count:
        return torch.zeros(0, size)
    sobol = torch.quasirandom.SobolEngine(size, scramble=True, seed=1)  # type: ignore[no-untyped-call]
    uniform = sobol.draw((count + 1) // 2, dtype=torch.float64)
    half = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))
    return torch.cat([half, -half])[:count].float()


@part("population", "amortised")
@dataclass(frozen=True)
class Amortised(Part):
    """Everyone is a point z of a latent space, and an encoder says where, given comparisons of theirs.

    Training shows the encoder some comparisons of a person and scores the others: a comparison never helps to predict
    itself. Newcomers are encoded like everyone else. Predictions average over what is not known about z; strangers
    answer by the prior N(0, I).

    Variational: ``E_q log p(others | z) - beta KL(q(z | some) || N(0, I))`` with the log-likelihood summed over a
    person's comparisons and one divergence per person; beta = 1 is the evidence bound. On a mean over comparisons the
    same beta would be as many times larger as a person has comparisons, and the latent space collapses. z is used as
    drawn, in training and after: nothing is normalised.

    Attributes:
        latent: m, the numbers of z.
        hidden: width of the encoder's layers.
        variational: else z is a deterministic function of the comparisons, with ``|z|^2 / 2`` as its cost.
        pooling: see `encoder.SetEncoder`.
        odd: turning all answers of a person turns z into -z, exactly.
        decoder: "head": the head sees [features; z] (it needs hidden layers: a linear one would add the same to both
            responses); "channels": ``u(x) = r_0(x) + sum_k z_k r_k(x)``.
        beta: weight of the divergence.
        warmup: share of each cycle in which the weight of the divergence rises from 0.
        cycles: number of such rises.
        guidance: weight, in nats per person, of SPL's swap guidance (turned answers should turn the mean).
        guidance_variance: weight in it of the variances' likeness.
        draws: points of z over which a prediction is averaged; 0 = only the mean of z.

    Source: VPL, Poddar et al. (2024), arXiv 2408.10075 (official code: vae.py and the language-model encoder; its
    sphere in training only, clamps and small weights of the divergence are not reproduced); guidance: SPL (2026), arXiv
    2603.12595 (official code; its flow and FiLM decoder are not reproduced); deterministic encoders of labelled sets:
    FSPO, PPD.
    """

    latent: Count = 8
    hidden: Count = 32
    variational: bool = True
    pooling: Pooling = "mean"
    odd: bool = False
    decoder: Literal["head", "channels"] = "head"
    beta: NonNegative = 1.0
    warmup: Share = 0.3
    cycles: Count = 1
    guidance: NonNegative = 0.0
    guidance_variance: NonNegative = 0.1
    draws: Whole = 64

    needs_annotators = True

    def build(self, shape: Shape) -> PopulationModule:
        return AmortisedModule(self, shape.features, shape.annotators)
