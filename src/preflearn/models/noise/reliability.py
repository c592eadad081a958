"""Annotators who are right more or less often: a probability of a correct label for each, learned with the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl
import torch
from torch import Tensor, nn

from preflearn.choice import flipped
from preflearn.choice.reliability import posterior_correct, update_reliability
from preflearn.errors import InputError
from preflearn.models.base import NoiseModule, Part, Shape
from preflearn.models.batch import Batch, Pairs
from preflearn.models.bounds import Count, NonNegative, Positive
from preflearn.models.fitting import FullBatch, Report
from preflearn.models.network import Network
from preflearn.models.parts import part

if TYPE_CHECKING:
    from preflearn.models.composed import Composed

_CLIP = (0.01, 0.99)


class ReliabilityModule(NoiseModule):
    """Log-odds of a correct label, by annotator.

    Attributes:
        log_odds: [U].
        prior: correct and wrong labels that everybody is taken to have given before.
        hidden: labels count as correct: while an EM algorithm fits the rest.
    """

    personal = True
    mixes = True

    def __init__(self, annotators: int, prior: tuple[float, float]) -> None:
        super().__init__()
        self.prior = prior
        self.hidden = False
        self.log_odds = nn.Parameter(torch.full((annotators,), prior[0] / prior[1]).log())

    @property
    def reliability(self) -> Tensor:
        """Probability of a correct label, by annotator, [U]."""
        return torch.sigmoid(self.log_odds)

    def of(self, rows: Pairs) -> Tensor:
        """Reliability behind each comparison, [n]; strangers have the mean of those who are known."""
        known, who = self.reliability, rows.who.annotator
        table = torch.cat([known, known.mean()[None]])
        return table[torch.where(who < len(known), who, -1)]

    def observed(self, log_probs: Tensor, rows: Pairs) -> Tensor:
        if self.hidden:
            return log_probs
        result: Tensor = flipped(log_probs, 1 - self.of(rows).to(log_probs.dtype)[:, None])
        return result

    def penalty(self) -> Tensor:
        right, wrong = self.prior
        log_sigmoid = nn.functional.logsigmoid
        return -(right * log_sigmoid(self.log_odds) + wrong * log_sigmoid(-self.log_odds)).sum()

    @torch.no_grad()
    def posterior(self, network: Network, batch: Batch, *, known: bool = False) -> Tensor:
        """Posterior that each label of `batch.pairs` is correct, [n].

        Args:
            network: whose noise this is.
            batch: with comparisons.
            known: ask the population for what it knows after the fit, instead of what it trains with.

        Raises:
            InputError: tastes are mixed as probabilities: which of them a label contradicts is not known.
        """
        rows = batch.pairs
        assert rows is not None
        self.hidden = True
        try:
            taste = network.population.known(rows, batch) if known else network.population(rows, batch)
            values = network.values(rows, batch, taste)
            recorded = network.log_prob_at(values, rows)
            mirrored = network.log_prob_at(values, replace(rows, target=rows.target.flip(-1)))
        finally:
            self.hidden = False
        if taste.log_weights is not None:
            # A label under the mixture: components of their posterior (or prior) shares.
            recorded, mirrored = (torch.logsumexp(each + taste.log_weights, 1) for each in (recorded, mirrored))
        else:
            recorded, mirrored = recorded[:, 0], mirrored[:, 0]
        result: Tensor = posterior_correct(recorded, mirrored, self.of(rows).to(recorded.dtype))
        return result

    @torch.no_grad()
    def acquaint(self, network: Network, batch: Batch, newcomers: Tensor) -> None:
        """Reliability of newcomers by EM, everything else frozen; without labels, that of strangers."""
        old = self.log_odds.detach()
        mean = float(self.reliability.mean())
        size = max(int(newcomers.max()) + 1, len(old))
        # A prior as strong as that of the fit, around the people who are known.
        total = sum(self.prior)
        prior = (mean * total, (1 - mean) * total)
        table = torch.cat([old, old.new_full((size - len(old),), mean).logit()])
        table[newcomers] = torch.logit(old.new_tensor(mean))
        self.log_odds = nn.Parameter(table)
        if batch.pairs is None:
            return
        rows = batch.pairs
        for _ in range(200):
            before = self.reliability
            right = self.posterior(network, batch, known=True)
            found = update_reliability(right, rows.who.annotator, rows.weight, size, prior, _CLIP)
            change = (found - before)[newcomers].abs().max()
            self.log_odds[newcomers] = torch.logit(found[newcomers].to(self.log_odds.dtype))
            if float(change) < 1e-6:
                break


@part("noise", "reliability")
@dataclass(frozen=True)
class Reliability(Part):
    """Every annotator gives the correct label with a probability of their own, and else the reverse.

    ``P(recorded o | u) = eta_u P(o) + (1 - eta_u) P(reversed o)`` with a Beta prior on eta_u. Below 1/2 people are
    contrarians, whose labels are read the other way round. By gradient this is the marginal likelihood; the fitting
    `reliability_em` climbs the same objective by expectation-maximisation. Strangers have the mean reliability.
    `prob` answers what would be *recorded* from the annotator of the row, the denoised model what is preferred.

    Only the order of annotators is well determined; the level of all follows the prior (and the scale of utilities).

    Attributes:
        prior: correct and wrong labels that everybody is taken to have given before; both positive.

    Sources: Chen et al. (2013), Pairwise ranking aggregation in a crowdsourced setting, WSDM (Crowd-BT); as a part of
    any preference model RE-PO, Cao et al. (2026), arXiv 2509.24159 (paper text; the prior is ours, it has none).
    """

    prior: tuple[Positive, Positive] = (9.0, 1.0)

    needs_annotators = True

    def __post_init__(self) -> None:
        right, wrong = self.prior
        if not 0 < wrong < right:
            raise InputError(
                "the prior of reliability counts correct and wrong labels, more of the first.", value=self.prior
            )

    def build(self, shape: Shape) -> NoiseModule:
        right, wrong = self.prior
        return ReliabilityModule(shape.annotators, (float(right), float(wrong)))


@part("fitting", "reliability_em")
@dataclass(frozen=True)
class ReliabilityEM(Part):
    """RE-PO's expectation-maximisation, over the whole data: believe labels (E), fit to what is believed (M), repeat.

    E: ``w = eta p / (eta p + (1 - eta) p')``. M: the model by `fitting` on the recorded label with weight w and its
    reverse with 1 - w; ``eta_u`` = the mean w of the annotator, with the prior of the noise part. The first M-step
    takes every label for correct with its prior probability, so that nobody is judged by an untrained model.

    Exact where `fitting` reaches the optimum (linear heads); it converges to a stationary point of the marginal
    likelihood that `Reliability` has by gradient, more slowly where labels are noisy.

    Attributes:
        fitting: of the M-step, begun where the last one ended.
        rounds: at most so many.
        tolerance: largest change of a reliability at which it has converged.

    Source: Cao et al. (2026), RE-PO, arXiv 2509.24159, equations 2-6 (paper text). There minibatches move eta by an
    average of rate .1; no prior, no clipping.
    """

    fitting: Part = FullBatch()  # noqa: RUF009 - a frozen part
    rounds: Count = 100
    tolerance: NonNegative = 1e-3

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        module = next((each for each in network.noises if isinstance(each, ReliabilityModule)), None)
        rows = batch.pairs
        if module is None or rows is None:
            raise InputError("reliability_em fits comparisons with the noise part reliability.", cure="Name both.")
        if network.population.channels > 1:
            raise InputError(
                "reliability_em cannot tell a wrong label from another taste.",
                cure="Fit the marginal likelihood instead (fitting full_batch).",
            )
        network.to(batch.x.dtype)
        module.log_odds.requires_grad_(False)
        right = module.of(rows).detach()
        report, converged, rounds = Report(0.0, 0, False), False, 0
        try:
            while rounds < self.rounds and not converged:
                rounds += 1
                report = self._believe(network, module, batch, right, seed)
                right = module.posterior(network, batch)
                named = rows.who.annotator >= 0
                found = update_reliability(
                    right[named],
                    rows.who.annotator[named],
                    rows.weight[named],
                    len(module.log_odds),
                    module.prior,
                    _CLIP,
                )
                change = float((found - module.reliability).abs().max())
                with torch.no_grad():
                    module.log_odds.copy_(torch.logit(found))
                converged = change < self.tolerance
        finally:
            module.log_odds.requires_grad_(True)
        with torch.no_grad():
            cost = network.objective(batch)
            value = float(cost.per_unit.double().sum() + cost.extra + cost.penalty)
        wrong = float(((1 - right) * rows.weight).sum() / rows.weight.sum())
        eta = module.reliability.detach()
        note = (
            f"Reliability of {len(eta):,} annotators: {float(eta.min()):.2f} to {float(eta.max()):.2f}; "
            f"{100 * wrong:.0f} % of the labels are taken for wrong."
        )
        return Report(value, rounds, converged, notes=(*report.notes, note))

    def _believe(self, network: Network, module: ReliabilityModule, batch: Batch, right: Tensor, seed: int) -> Report:
        """The M-step of everything but the reliabilities."""
        rows = batch.pairs
        assert rows is not None
        w = right.to(rows.target.dtype)[:, None]
        believed = replace(rows, target=w * rows.target + (1 - w) * rows.target.flip(-1))
        module.hidden = True
        try:
            report: Report = self.fitting.fit(network, replace(batch, pairs=believed), seed)  # type: ignore[attr-defined]
        finally:
            module.hidden = False
        return report


def reliabilities(model: Composed) -> pl.DataFrame:
    """Reliability of every annotator that a fitted model knows, the most reliable first: `annotator_id`, `reliability`.

    Raises:
        InputError: the model has no reliabilities.
    """
    module = next((each for each in model.network_.noises if isinstance(each, ReliabilityModule)), None)
    if module is None:
        raise InputError("the model has no reliabilities of annotators.", cure="Fit with the noise part reliability.")
    found = pl.DataFrame({"annotator_id": list(model.annotators_), "reliability": module.reliability.detach().numpy()})
    return found.sort("reliability", descending=True)
