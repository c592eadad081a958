"""Ideal points: what lies closer to a person's point wins; people's points are mixtures of prototypes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from preflearn.choice import kernels
from preflearn.errors import InputError
from preflearn.models.base import HeadModule, KernelModule, Part, Shape, Taste
from preflearn.models.bounds import Positive, Widths
from preflearn.models.heads import layer_penalty, perceptron
from preflearn.models.parts import part

Form = Literal["squared", "unsquared", "cosine"]
_LARGEST_SCALE = 100.0


class IdealPointModule(KernelModule):
    """Distances to ``sum_k w_k (P_k + g_k(prompt))``.

    Attributes:
        prototypes: P, [K, q].
        moved: features of prompts to what each prototype moves by, ``[P, d'] -> [P, K q]``, or None.
        log_scale: of cosines, learned.
    """

    mixes_points = True

    def __init__(
        self,
        prototypes: int,
        width: int,
        form: Form,
        prompts: int,
        hidden: Sequence[int],
        spread: float,
        features: int,
    ) -> None:
        super().__init__()
        self.form: Form = form
        self.spread, self.features = spread, features
        self.prototypes = nn.Parameter(torch.empty(prototypes, width))
        self.moved = perceptron(prompts, hidden, prototypes * width, bias=False) if prompts else None
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07))) if form == "cosine" else None
        self.restart()

    def restart(self) -> None:
        """Draw prototypes anew."""
        nn.init.normal_(self.prototypes, std=self.spread)

    def seen(self, prompts: Tensor) -> Tensor:
        """What each prompt moves the prototypes by, [P, K q]."""
        result: Tensor = prompts[:, :0] if self.moved is None else self.moved(prompts)
        return result

    def points(self, taste: Taste, prompts: Tensor | None) -> Tensor:
        """Ideal points ``[n or 1, Z, q]``: of each row (and component), or (Z = K) each prototype by itself."""
        points = self.prototypes[None]
        if self.moved is not None and prompts is not None:
            points = points + prompts.reshape(-1, *self.prototypes.shape)
        if taste.weights is None:
            return points
        weights = taste.weights if taste.weights.ndim == 3 else taste.weights[:, None]
        return weights @ points

    def forward(self, a: Tensor, b: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        logit: Tensor = kernels.ideal_point(a, b, self.points(taste, prompts), self.form)
        return self._scaled(logit)

    def utility(self, rep: Tensor, taste: Taste, prompts: Tensor | None) -> Tensor:
        """How close each response is: 0 on the ideal point, negative elsewhere."""
        points = self.points(taste, prompts)
        closeness: Tensor = kernels.ideal_point(rep, points, points, self.form)
        return self._scaled(closeness)

    def _scaled(self, logit: Tensor) -> Tensor:
        if self.log_scale is None:
            return logit
        return torch.exp(self.log_scale.clamp(max=math.log(_LARGEST_SCALE))) * logit

    def penalty(self, ridge: float) -> Tensor:
        """Prototypes are drawn from where the points of responses lie."""
        unit = ridge / self.features
        points = unit / 2 * self.prototypes.square().sum()
        return points if self.moved is None else points + layer_penalty(self.moved, unit)


@part("kernel", "ideal_point")
@dataclass(frozen=True)
class IdealPoint(Part):
    """Closeness to an ideal point: ``|z_b - p| - |z_a - p|``, the same of squares, or a scaled difference of cosines.

    The population says whose point: a `simplex` gives ``p_u = sum_k w_uk P_k``, a mixture chooses one prototype,
    everyone has the same. Only the points of people are determined by data, not the prototypes: any simplex that
    encloses the points fits as well.

    Attributes:
        form: "squared", "unsquared" or "cosine" (with a learned scale, at most 100).
        of_prompt: prototypes move with the prompt, ``g_k(x) = P_k + f_k(x)``.
        hidden: widths of hidden layers of f; none = linear.
        spread: standard deviation of the initial coordinates of prototypes.

    Sources: Coombs (1950), Psychological Review 57, 145-158; PAL, Chen et al. (2024), arXiv 2406.08469 (official code:
    model A unsquared, model B cosine with scale ``min(exp(s), 100)`` starting at 1/.07; theory squared).
    """

    form: Form = "squared"
    of_prompt: bool = False
    hidden: Widths = ()
    spread: Positive = 0.5

    @property
    def needs_prompts(self) -> bool:  # type: ignore[override]
        return self.of_prompt

    @property
    def mixes_points(self) -> bool:  # type: ignore[override]
        return True

    def build(self, shape: Shape, head: HeadModule) -> KernelModule:
        if self.form not in ("squared", "unsquared", "cosine"):
            raise InputError("an ideal point is squared, unsquared or cosine.", value=self.form)
        prompts = shape.prompts if self.of_prompt else 0
        return IdealPointModule(
            shape.channels, head.width, self.form, prompts, self.hidden, self.spread, shape.features
        )
