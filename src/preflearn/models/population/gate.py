"""Gates: the prompt, or the context of a judgment, decides how much each channel counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from preflearn.data import PreferenceData
from preflearn.errors import InputError
from preflearn.models.base import Judgments, Part, PopulationModule, Shape, Taste
from preflearn.models.batch import Batch, Ratings
from preflearn.models.bounds import Count, NonNegative, Positive, Widths
from preflearn.models.heads import perceptron
from preflearn.models.parts import part

if TYPE_CHECKING:
    from preflearn.models.network import Network

On = Literal["prompt", "context", "both"]


def seen(rows: Judgments, batch: Batch, on: On) -> Tensor:
    """What a gate sees of each judgment, [n, g]: the features of its prompt, of its context, or both side by side.

    A judgment without a context shows zeros.
    """
    views, place = distinct_views(rows, batch, on)
    return views[place]


def distinct_views(rows: Judgments, batch: Batch, on: On) -> tuple[Tensor, Tensor]:
    """What `seen` is made of, every prompt and context once: [m, g], and which of them each judgment has, [n].

    A gate need not be computed again for every judgment of one prompt.
    """
    prompt, context = torch.zeros_like(rows.who.prompt), torch.zeros_like(rows.who.prompt)
    known = 1
    if on != "context":
        prompt = rows.who.prompt
    if on != "prompt":
        assert batch.contexts is not None
        context, known = rows.who.columns["context_row"] + 1, batch.contexts.shape[0] + 1
    key, place = torch.unique(prompt * known + context, return_inverse=True)
    views = []
    if on != "context":
        assert batch.prompts is not None
        views.append(batch.prompts[key // known])
    if on != "prompt":
        views.append(_contexts(batch, key % known - 1))
    return torch.cat(views, dim=1), place


def _contexts(batch: Batch, place: Tensor) -> Tensor:
    """Features of contexts, [n, c]; zeros where there is none."""
    assert batch.contexts is not None
    if not batch.contexts.shape[0]:
        return batch.contexts.new_zeros(len(place), batch.contexts.shape[1])
    return batch.contexts[place.clamp(min=0)] * (place >= 0)[:, None]


def view_width(shape: Shape, on: On) -> int:
    """Columns of `seen`."""
    return (shape.prompts if on != "context" else 0) + (shape.contexts if on != "prompt" else 0)


class GateModule(PopulationModule):
    """Weights of C channels for each judgment."""

    contexts: Tensor
    context_shares: Tensor
    active: Tensor

    def __init__(self, part: Gate, channels: int, shape: Shape) -> None:
        super().__init__()
        self.channels, self.part = channels, part
        self.layers = perceptron(view_width(shape, part.on), part.hidden, channels, bias=True)
        self.log_scale = nn.Parameter(torch.zeros(()), requires_grad=part.scaled)
        self.register_buffer("contexts", torch.zeros(0, shape.contexts))
        self.register_buffer("context_shares", torch.zeros(0))
        self.register_buffer("active", torch.ones(channels, dtype=torch.bool))

    def weights(self, view: Tensor) -> Tensor:
        """Weights ``[..., C]`` from views ``[..., g]``."""
        raw: Tensor = self.layers(view) / self.part.temperature
        if self.part.form == "softmax":
            raw = torch.softmax(raw.masked_fill(~self.active, -torch.inf), dim=-1)
        return raw * torch.exp(self.log_scale)

    def _asked(self, rows: Judgments) -> Tensor | None:
        """One-hot weights of ratings on a criterion that is a channel."""
        if not self.part.by_criterion or not isinstance(rows, Ratings):
            return None
        place = rows.who.columns["criterion"]
        one: Tensor = torch.nn.functional.one_hot(place.clamp(min=0), self.channels).to(self.log_scale.dtype)
        return torch.where(place[:, None] >= 0, one, torch.full_like(one, 1 / self.channels))

    def forward(self, rows: Judgments, batch: Batch) -> Taste:
        asked = self._asked(rows)
        if asked is not None:
            return Taste(weights=asked)
        views, place = distinct_views(rows, batch, self.part.on)
        return Taste(weights=self.weights(views)[place])

    def known(self, rows: Judgments, batch: Batch) -> Taste:
        if self.part.on == "prompt" or not self.contexts.shape[0]:
            return self.forward(rows, batch)
        place = rows.who.columns["context_row"]
        if bool((place >= 0).all()):
            return self.forward(rows, batch)
        # P(a beats b | x) = E_c P(a beats b | x, c) over the contexts of the training judgments.
        n, g = len(place), self.contexts.shape[0]
        contexts = self.contexts.expand(n, g, -1)
        views = [contexts]
        if self.part.on == "both":
            assert batch.prompts is not None
            views = [batch.prompts[rows.who.prompt][:, None, :].expand(-1, g, -1), contexts]
        shares = torch.log(self.context_shares).expand(n, g)
        weights = self.weights(torch.cat(views, dim=2))
        own = self.weights(seen(rows, batch, self.part.on))[:, None, :].expand(-1, g, -1)
        told = (place >= 0)[:, None]
        first = torch.full_like(shares, -torch.inf)
        first[:, 0] = 0.0
        return Taste(weights=torch.where(told[:, :, None], own, weights), log_weights=torch.where(told, first, shares))

    def settle(self, network: Network, batch: Batch) -> None:
        if self.part.on == "prompt" or batch.contexts is None:
            return
        used = torch.zeros(batch.contexts.shape[0], dtype=torch.float64)
        for rows in batch.judgments():
            place = rows.who.columns["context_row"]
            used.index_add_(0, place[place >= 0], rows.weight[place >= 0].double())
        self.contexts = batch.contexts[used > 0].clone()
        self.context_shares = used[used > 0] / used.sum()

    def penalty(self, ridge: float) -> Tensor:
        squares = [p.square().sum() for name, p in self.layers.named_parameters() if p.ndim > 1]
        return self.part.ridge / 2 * torch.stack(squares).sum()


@part("population", "gate")
@dataclass(frozen=True)
class Gate(Part):
    """Channels weighed by what is asked: ``u(x, y) = sum_k g_k(x) r_k(x, y)``; utilities are mixed.

    Where a judgment has no context but the gate looks at contexts, its probability is the mean over the contexts of the
    training judgments. Who is asked plays no role.

    Attributes:
        channels: number of channels; "criteria" = one for each criterion of the data, whose ratings it predicts.
        on: what the gate sees: the prompt, the context of the judgment (a principle, a persona), or both.
        hidden: widths of hidden layers.
        form: "softmax" (shares) or "linear" (any numbers: the taste is bilinear in response and context).
        temperature: of the softmax.
        scaled: learn one factor on all weights.
        ridge: penalty on the gate's weights, as for the head.
    """

    channels: Count | Literal["criteria"] = 4
    on: On = "prompt"
    hidden: Widths = ()
    form: Literal["softmax", "linear"] = "softmax"
    temperature: Positive = 1.0
    scaled: bool = False
    ridge: NonNegative = 1.0

    @property
    def needs_prompts(self) -> bool:  # type: ignore[override]
        return self.on != "context"

    @property
    def needs_contexts(self) -> bool:  # type: ignore[override]
        return self.on != "prompt"

    @property
    def by_criterion(self) -> bool:
        """Whether channels are criteria."""
        return self.channels == "criteria"

    def columns(self) -> Mapping[str, str]:
        return {"criterion": "criterion_id"} if self.by_criterion else {}

    def tells_criteria(self) -> tuple[str, ...]:
        """Ratings: each is of the channel of its criterion. Comparisons all teach the one gate."""
        return ("ratings",) if self.by_criterion else ()

    def check(self, data: PreferenceData) -> None:
        tables = ("comparisons", "ratings", "rankings")
        if self.on == "context" and not any(
            data.select(table, ["context"]).collect()["context"].drop_nulls().len() for table in tables
        ):
            raise InputError(
                "this model weighs tastes by the context of a judgment, and none is recorded.",
                column="comparisons.context",
                cure="Record persona, principle or scenario, or use bradley_terry.",
            )

    def build(self, shape: Shape) -> PopulationModule:
        channels = shape.codes["criterion"] if isinstance(self.channels, str) else self.channels
        return GateModule(self, channels, shape)
