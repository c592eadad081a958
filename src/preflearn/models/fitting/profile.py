"""Personal offsets solved exactly inside the fit of everything shared, and how much people differ learned first."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from preflearn.errors import InputError
from preflearn.models.base import NoiseModule, Part
from preflearn.models.batch import Batch, taken
from preflearn.models.bounds import Count, NonNegative
from preflearn.models.fitting.automatic import Auto
from preflearn.models.fitting.full_batch import PRECISE, Report
from preflearn.models.fitting.holdout import KINDS, folds, where
from preflearn.models.network import Network
from preflearn.models.parts import part
from preflearn.models.population.everyone import EveryoneModule
from preflearn.models.population.offsets import OffsetsModule
from preflearn.models.solvers.heterogeneity import FOLDS, Rows, learn, spread, whitened
from preflearn.models.solvers.personal import Blocks, Design, LogProb, Solved
from preflearn.train import minimise


@part("fitting", "profile")
@dataclass(frozen=True)
class Profile(Part):
    """L-BFGS on the profile likelihood: at each evaluation everybody's offset is solved by Newton's method.

    Exact, and convex for linear heads. Where the prior of the offsets is undecided it is learned first (see
    `models.solvers.heterogeneity`), around a common part that was fitted to other prompts. Where nobody differs its
    scale becomes negligible.

    Attributes:
        iterations: limit of L-BFGS.
        tolerance: on the largest component of the gradient per judgment.
        rounds: limit of rounds of EM for the shape of the prior.
    """

    iterations: Count = 300
    tolerance: NonNegative = 1e-5
    rounds: Count = 20

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        """Fit `network` in place.

        Raises:
            InputError: the population has no offsets, judgments are rankings, or noise changes their weights.
        """
        # Twice the bits where they cost nothing: Newton's method then ends where it says.
        problem = _Problem(network, batch.to(torch.float64) if batch.x.numel() <= PRECISE else batch)
        problem.begin(seed)
        if not problem.population.decided:
            problem.learn_prior(self.rounds, seed)
        found = minimise(problem.shared, problem.value, tolerance=self.tolerance, max_iterations=self.iterations)
        problem.finish()
        notes = [problem.note()]
        network.to(batch.x.dtype)
        if not found.converged:
            notes.append(f"L-BFGS had not converged after {found.iterations} iterations.")
        value = found.value * problem.weight
        return Report(value, found.iterations, found.converged, (value,), tuple(notes))


class _Problem:
    """A network with personal offsets, and the judgments to fit it to."""

    def __init__(self, network: Network, batch: Batch) -> None:
        population = network.population
        if not isinstance(population, OffsetsModule):
            raise InputError(
                "the fitting 'profile' solves personal offsets, and this population has none.",
                value=type(population).__name__,
                cure="Use it with the population 'offsets'.",
            )
        if any(getattr(type(noise), "reweighed") is not NoiseModule.reweighed for noise in network.noises):  # noqa: B009
            raise InputError("offsets cannot be solved while a noise part changes the weights of judgments.")
        self.network, self.batch, self.population = network, batch, population
        network.to(batch.x.dtype)
        self.tables = batch.judgments()
        self.sizes = [len(rows) for rows in self.tables]
        self.weight = sum(float(rows.weight.sum()) for rows in self.tables)
        self.unit = torch.cat([population.units(rows) for rows in self.tables])
        self.blocks = Blocks(self.unit, *population.coefficients.shape)
        self.log_prob = self._log_prob()
        self.solved: Solved | None = None
        self.design: Design | None = None
        self.shared = [p for p in network.parameters() if p is not population.coefficients and p.requires_grad]

    def begin(self, seed: int) -> None:
        """Fit everything shared as if everyone were alike."""
        if self.population.channels == 1:
            _fit_alike(self.network, self.batch, seed)

    def value(self) -> Tensor:
        """The objective per judgment with every offset at its best; its gradient is that at fixed offsets."""
        base, seen = self._base(self.network, self.batch), None
        if self.population.channels > 1:
            seen = whitened(self._seen(self.network, self.batch), self.population.root)
        self.solved = self._design(seen).solve(base.detach(), self.log_prob, self.solved)
        personal = self.solved.personal
        if seen is not None:
            known = self.unit >= 0
            e = self.blocks.coefficients(seen.detach(), self.solved)
            personal = torch.where(known, (seen * e[self.unit.clamp(min=0)]).sum(-1), torch.zeros_like(personal))
        fit = -self.log_prob(base + personal).double().sum() + self.solved.squares.sum() / 2
        rest = self.network.penalty() - self.population.penalty(self.network.ridge)
        return (fit + rest) / self.weight

    def _design(self, seen: Tensor | None) -> Design:
        """What offsets are multiplied with; the same for ever where they act on features."""
        if seen is not None:
            return self.blocks.see(seen.detach())
        if self.design is None:
            with torch.no_grad():
                self.design = self.blocks.see(whitened(self._seen(self.network, self.batch), self.population.root))
        return self.design

    @torch.no_grad()
    def finish(self) -> None:
        """Put everybody's offset into the population."""
        base, population = self._base(self.network, self.batch), self.population
        seen = whitened(self._seen(self.network, self.batch), population.root)
        solved = self.blocks.see(seen).solve(base, self.log_prob, self.solved)
        population.coefficients.copy_(self.blocks.coefficients(seen, solved))

    def _seen(self, network: Network, batch: Batch) -> Tensor:
        return torch.cat([self.population.seen(network, rows, batch) for rows in batch.judgments()])

    def _base(self, network: Network, batch: Batch) -> Tensor:
        common = self.population.common
        return torch.cat([network.values(rows, batch, common(rows))[:, 0] for rows in batch.judgments()])

    def _log_prob(self, index: Tensor | None = None) -> LogProb:
        """Log-likelihoods of all rows, or of some (ascending), weights included."""
        tables, network = self.tables, self.network
        if index is not None:
            table = torch.bucketize(index, torch.tensor(self.sizes).cumsum(0), right=True)
            begins = [0, *torch.tensor(self.sizes).cumsum(0).tolist()]
            tables = [taken(rows, index[table == k] - begins[k]) for k, rows in enumerate(tables)]
        sizes = [len(rows) for rows in tables]

        def log_prob(values: Tensor) -> Tensor:
            pieces = zip(tables, torch.split(values, sizes), strict=True)
            each = [network.log_prob_at(part[:, None], rows)[:, 0] * rows.weight for rows, part in pieces]
            return torch.cat(each)

        return log_prob

    @torch.no_grad()
    def learn_prior(self, rounds: int, seed: int) -> None:
        """The prior of the offsets, from judgments whose common part was fitted to others."""
        population = self.population
        seen = self._seen(self.network, self.batch)
        rows = Rows(seen, self._honest_base(seed), self.unit, self.log_prob, self._log_prob)
        population.root.copy_(learn(rows, self.blocks.units, population.structure, rounds))
        population.decided = torch.tensor(True)

    def _honest_base(self, seed: int) -> Tensor:
        """The shared part of every value, [n], by fits to other prompts."""
        fold = folds(self.batch, FOLDS, seed)
        flat = torch.cat([fold[kind] for kind in KINDS if kind in fold])
        base = self.unit.new_zeros(len(flat), dtype=self.batch.x.dtype)
        for number in range(FOLDS):
            mine = {kind: code == number for kind, code in fold.items()}
            rest = where(self.batch, {kind: ~mask for kind, mask in mine.items()})
            if not len(rest) or not bool((flat == number).any()):
                continue
            other = copy.deepcopy(self.network)
            with torch.enable_grad():
                _fit_alike(other, rest, seed)
            base[flat == number] = self._base(other, where(self.batch, mine))
        return base

    def note(self) -> str:
        """How much people differ, in words."""
        with torch.no_grad():
            personal = spread(self._seen(self.network, self.batch), self.population.root)
            common = float(self._base(self.network, self.batch).square().mean().sqrt())
        return (
            f"Personal parts of a logit have a spread of {personal:.2g} in advance, common parts one of {common:.2g}."
        )


def _fit_alike(network: Network, batch: Batch, seed: int) -> None:
    """Fit what is shared with everyone's offset at zero."""
    population = network.population
    network.population = EveryoneModule()
    try:
        Auto().fit(network, batch, seed)
    finally:
        network.population = population
    network.to(batch.x.dtype)
