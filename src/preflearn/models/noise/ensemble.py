"""Labels examined by an ensemble before the fit: contradicted ones reversed, softened or left out; margins."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from preflearn.choice import Binary, smoothed_target, strength
from preflearn.choice.margin import with_margin
from preflearn.errors import InputError
from preflearn.models.base import NoiseModule, Part
from preflearn.models.batch import Batch, Pairs, taken
from preflearn.models.bounds import Count, Minority, Share
from preflearn.models.fitting import Report
from preflearn.models.fitting.automatic import Auto
from preflearn.models.network import Network
from preflearn.models.parts import part
from preflearn.models.solvers.descent import restart

_MARGIN = "margin_by_ensemble"


class _Margins(NoiseModule):
    """Margins that winners must win by: columns of `with_margin` instead of the link's, while learning."""

    def observed(self, log_probs: Tensor, rows: Pairs) -> Tensor:
        logit, margin = log_probs[..., 1] - log_probs[..., 0], rows.who.columns[_MARGIN][:, None]
        sides = torch.eye(2, dtype=log_probs.dtype)
        return torch.stack([with_margin(side.expand_as(log_probs), logit, margin).log_prob for side in sides], dim=-1)


@part("fitting", "ensemble_strength")
@dataclass(frozen=True)
class EnsembleStrength(Part):
    """Fit an ensemble, see how strong it finds each preference, correct the labels, fit again.

    The ensemble are models of random halves of the responses' pairs; each comparison is judged by those that did not
    learn from its pair (the paper's ten learn from all data in different order, and so have seen every label).

    It finds wrong labels well. Correcting them makes a linear model no better at ordering responses, only surer: what
    was flipped agrees with the ensemble by construction. Perceptrons, which learn wrong labels by heart, gain.

    Attributes:
        fitting: of every member and of the final model.
        models: members, an even number: each split of the pairs trains two.
        contradicted: what becomes of labels that the ensemble contradicts: "flip", "smooth", "drop" or "keep".
        lowest: the share of labels to treat so, those of least agreement; None = all that are contradicted on average.
        eps: of smoothing.
        margin: winners must win by the strength that the ensemble sees (`-log sigma(d - strength)`); after a flip that
            of the new label, and 0 where it still contradicts.

    Source: Wang et al. (2024), Secrets of RLHF in large language models part II, arXiv 2401.06080, section 2 (paper
    text: the lowest fifth flipped; smoothing of contradicted ones; margins on all, whose sign it leaves open where the
    ensemble contradicts).
    """

    fitting: Part = Auto()  # noqa: RUF009 - a frozen part
    models: Count = 10
    contradicted: Literal["flip", "smooth", "drop", "keep"] = "flip"
    lowest: Share | None = None
    eps: Minority = 0.1
    margin: bool = False

    unsettled: ClassVar[str | None] = "an ensemble changed the labels that it learned from"

    def __post_init__(self) -> None:
        if self.models < 2 or self.models % 2:
            raise InputError("an ensemble has an even number of models: halves of it are compared.", value=self.models)

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        rows = batch.pairs
        if rows is None or network.population.channels > 1:
            raise InputError("an ensemble judges comparisons of one taste for all.", cure="Use population everyone.")
        if self.margin and network.choice.link != Binary():
            raise InputError("margins by an ensemble need a binary link.", value=network.choice.link)
        mean = strength.ensemble_strength(self.differences(network, batch, seed)).mean
        agreement: Tensor = strength.agreement(rows.target, mean)
        threshold = 0.0 if self.lowest is None else float(torch.quantile(agreement.double(), self.lowest))
        wrong = agreement < threshold
        corrected = self._corrected(rows, mean, threshold, wrong)
        note = f"The ensemble of {self.models} contradicts {float((agreement < 0).double().mean()):.1%} of the labels"
        note += f"; {float(wrong.double().mean()):.1%} were treated ({self.contradicted})."
        report = self._final(network, replace(batch, pairs=corrected), seed)
        return report._replace(notes=(*report.notes, note))

    def differences(self, network: Network, batch: Batch, seed: int) -> Tensor:
        """Logits of a over b by the members that did not learn from the pair, [models / 2, n]."""
        rows = batch.pairs
        assert rows is not None
        generator = torch.Generator().manual_seed(seed)
        low, high = torch.minimum(rows.a, rows.b), torch.maximum(rows.a, rows.b)
        _, pair = torch.unique(low * len(batch.x) + high, return_inverse=True)
        found = []
        for split in range(self.models // 2):
            order = torch.randperm(int(pair.max()) + 1, generator=generator)
            side = (order % 2 == 0)[pair]
            logit = rows.target.new_zeros(len(rows))
            for place, mine in enumerate((side, ~side)):
                member = copy.deepcopy(network)
                torch.manual_seed(seed + 2 * split + place + 1)
                restart(member)
                self.fitting.fit(member, replace(batch, pairs=taken(rows, mine.nonzero()[:, 0])), seed)  # type: ignore[attr-defined]
                with torch.no_grad():
                    member.to(batch.x.dtype)
                    every = member.logits(rows, batch, member.population.known(rows, batch))[:, 0]
                logit = torch.where(mine, logit, every.to(logit.dtype))
            found.append(logit)
        return torch.stack(found)

    def _corrected(self, rows: Pairs, mean: Tensor, threshold: float, wrong: Tensor) -> Pairs:
        target, weight = rows.target, rows.weight
        if self.contradicted == "flip":
            target = strength.flip_below(target, mean, threshold)
        elif self.contradicted == "smooth":
            target = smoothed_target(target, torch.where(wrong, self.eps, 0.0).to(target.dtype))
        elif self.contradicted == "drop":
            weight = torch.where(wrong, 0.0, weight)
        columns = dict(rows.who.columns)
        if self.margin:
            columns[_MARGIN] = strength.agreement(target, mean).clamp(min=0)
        return replace(rows, target=target, weight=weight, who=replace(rows.who, columns=columns))

    def _final(self, network: Network, batch: Batch, seed: int) -> Report:
        if not self.margin:
            return self.fitting.fit(network, batch, seed)  # type: ignore[attr-defined,no-any-return]
        noises = network.noises
        network.noises = torch.nn.ModuleList([*noises, _Margins()])
        try:
            return self.fitting.fit(network, batch, seed)  # type: ignore[attr-defined,no-any-return]
        finally:
            network.noises = noises
