"""Rating models of named items: Bradley-Terry, Davidson, Rao-Kupper and graded comparisons.

All are one estimator over one solver; they differ in their link. Constructors only store parameters; fitted state ends
in `_`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from preflearn._version import __version__
from preflearn.choice import Binary, Link, Ordinal
from preflearn.choice import Davidson as DavidsonLink
from preflearn.data import PreferenceData
from preflearn.data.fingerprints import Fingerprints, row_fingerprints
from preflearn.errors import InputError, NotComputable
from preflearn.ranking.cells import Cells
from preflearn.ranking.covariance import Mask
from preflearn.ranking.design import Design, Prior
from preflearn.ranking.graph import Connectivity, connectivity
from preflearn.ranking.intervals import FEW_CLUSTERS, Interval, check_options, intervals
from preflearn.ranking.leaderboard import (
    Effect,
    Leaderboard,
    Scale,
    Standing,
    check_scale,
    critical_value,
    parse_anchor,
    standings,
    transform,
)
from preflearn.ranking.newton import Fit, newton
from preflearn.ranking.outcomes import decided, used_outcomes
from preflearn.ranking.predict import Prediction
from preflearn.ranking.ranksets import RankSets, rank_sets
from preflearn.ranking.separation import thresholds_run_away
from preflearn.ranking.style import Form, covariates
from preflearn.ranking.votes import Question, Votes, collect_votes
from preflearn.ranking.wording import some, without_strength


class RatingModel(Prediction):
    """Base of the rating models.

    Args:
        item: column of responses that names what is ranked ("system", "response_id", any other).
        criterion: the criterion whose judgments count, when several are recorded.
        cluster: column(s) whose values share their errors, as "annotator_id" or ("annotator_id", "prompt_id"); "auto"
            takes annotators when at least ten voted, None treats votes as independent.
        position: estimate the advantage of being shown first.
        style: covariates held constant: a preset ("length", "lmarena"), names of counts or numeric response columns.
        ridge: penalty `ridge/2 * sum(strength**2)` on the summed log-likelihood.
        ghost: pseudo-wins and pseudo-losses of every item against a ghost of strength 0 (0.5 is a usual choice).
        covariate_ridge: the same penalty on covariates.
        interval: "model" (inverse information), "sandwich" (clustered if `cluster`), "bootstrap" (votes, or clusters);
            "auto" = sandwich.
        n_bootstrap: replicates for "bootstrap".
        since, until: judgments from this time on, and before that one.
        propensity: weigh votes by 1 / propensity.
        seed: of bootstrap and rank-set draws.
        tolerance: squared Newton decrement at which the fit stops.
        max_iterations: Newton steps.

    Votes are `outcome` a/b, ties of all kinds, or a teacher's `probability`. Strengths exist for the items of the
    strongly connected component with the most votes (with a prior, for all that have votes); others keep a status
    instead of a number.
    """

    name: ClassVar[str] = ""
    fit_: Fit | None
    """The solver's last state, for influence and refits; a loaded model has none."""
    design_: Design | None

    def __init__(
        self,
        *,
        item: str = "system",
        criterion: str | None = None,
        cluster: str | Sequence[str] | None = "auto",
        position: bool = False,
        style: str | Sequence[str] | None = None,
        ridge: float = 0.0,
        ghost: float = 0.0,
        covariate_ridge: float = 0.0,
        interval: Interval = "auto",
        n_bootstrap: int = 200,
        since: str | date | None = None,
        until: str | date | None = None,
        propensity: bool = False,
        seed: int = 0,
        tolerance: float = 1e-8,
        max_iterations: int = 100,
    ) -> None:
        self.item = item
        self.criterion = criterion
        self.cluster = cluster
        self.position = position
        self.style = style
        self.ridge = ridge
        self.ghost = ghost
        self.covariate_ridge = covariate_ridge
        self.interval = interval
        self.n_bootstrap = n_bootstrap
        self.since = since
        self.until = until
        self.propensity = propensity
        self.seed = seed
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self._training: PreferenceData | None = None
        self._fingerprints: Fingerprints | None = None

    def get_params(self) -> dict[str, Any]:
        """Constructor parameters."""
        return {
            name: getattr(self, name) for name in inspect.signature(RatingModel.__init__).parameters if name != "self"
        }

    def link(self) -> Link:
        """The link that the model asks for; without ties or grades in the data a simpler one is fitted."""
        raise NotImplementedError

    # -- fitting ---------------------------------------------------------------------------------------------------

    def fit(self, data: PreferenceData) -> Self:
        """Estimate strengths from `data.comparisons`.

        Raises:
            InputError: nothing to count, unknown columns, several criteria and none chosen, bad parameters.
        """
        self._check()
        cluster, notes = self._clusters(data)
        votes = collect_votes(
            data,
            self.link(),
            Question(
                item=self.item,
                criterion=self.criterion,
                cluster=cluster,
                position=self.position,
                style=covariates(self.style) if self.style else (),
                since=self.since,
                until=self.until,
                propensity=self.propensity,
            ),
        )
        voters = votes.n_annotators or 0
        if self.cluster == "auto" and cluster and voters < FEW_CLUSTERS:
            votes = replace(votes, clusters=())
            who = some(voters, "annotator")
            notes = [f"only {who} voted: intervals take votes as independent and speak of these people only"]
        self.fit_votes(votes)
        self.warnings_ = [*notes, *self.warnings_]
        self.data_fingerprint_ = data.known_fingerprint()
        self._training = data
        return self

    def fit_votes(self, votes: Votes) -> Self:
        """Estimate strengths from counted votes (see `collect_votes`, `votes_of_codes`)."""
        self._check()
        self.items_ = votes.items
        self.link_ = votes.link
        self.warnings_ = list(votes.warnings)
        self.data_fingerprint_ = None
        self.votes_per_item_ = votes.cells.votes_per_item()
        self.n_votes_, self.n_annotators_ = votes.used, votes.n_annotators
        self.excluded_, self.clusters_ = dict(votes.excluded), votes.clusters
        self.covariates_, self.covariate_scale_ = votes.covariates, votes.covariate_scale
        relative: Form = "relative"
        self.covariate_forms_ = votes.covariate_forms or (relative,) * len(votes.covariates)
        connected = connectivity(votes.cells)
        self.status_ = connected.status
        self.components_ = _named_components(connected, votes.items)
        prior = Prior(self.ridge, self.ghost, self.covariate_ridge)
        keep = self._kept(prior)
        self.estimable_ = np.flatnonzero(keep)
        self.strengths_ = np.full(len(votes.items), np.nan)
        self.other_ = np.zeros(0)
        self.has_position_ = False
        self.covariance_, self.replicates_ = None, None
        self.converged_, self.n_iterations_, self.log_likelihood_ = False, 0, None
        self.fit_, self.design_ = None, None
        if len(self.estimable_) > 1:
            self._estimate(self._inside(votes.cells, keep), prior, _singles(connected)[keep])
        else:
            self.warnings_.append("no two items are comparable: no strength is computable")
        self.warnings_ += without_strength(self.items_, self.status_, prior.on_strengths)
        return self

    def _check(self) -> None:
        for name in ("ridge", "ghost", "covariate_ridge"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name} must be a finite number >= 0.", value=value)
        for name in ("tolerance", "max_iterations"):
            value = getattr(self, name)
            if not value > 0:
                raise InputError(f"{name} must be positive.", value=value)
        check_options(self.interval, self._named_clusters(), self.n_bootstrap)

    def _named_clusters(self) -> tuple[str, ...]:
        """The columns that were asked for by name."""
        if self.cluster is None or self.cluster == "auto":
            return ()
        return (self.cluster,) if isinstance(self.cluster, str) else tuple(self.cluster)

    def _clusters(self, data: PreferenceData) -> tuple[tuple[str, ...], list[str]]:
        if self.cluster != "auto":
            return self._named_clusters(), []
        if "annotator_id" in data.columns("comparisons"):
            return ("annotator_id",), []
        return (), ["no annotators are recorded: intervals take all votes as independent"]

    def _kept(self, prior: Prior) -> Mask:
        status = np.array(self.status_)
        return np.asarray(status != "no_votes" if prior.on_strengths else status == "estimable", dtype=np.bool_)

    def _inside(self, cells: Cells, keep: Mask) -> Cells:
        codes = np.cumsum(keep) - 1
        used = keep[cells.left] & keep[cells.right] & (cells.left != cells.right) & (cells.weight > 0)
        lost = float(cells.count[~used].sum())
        if lost:
            self.warnings_.append(f"{some(lost, 'vote')} not among the items with a strength, saying nothing of them")
        return cells.take(used, codes, int(keep.sum()))

    def _estimate(self, cells: Cells, prior: Prior, single: Mask) -> None:
        """Fit the cells of the kept items; `single`: of these, those comparable with no other but by the prior."""
        if not (cells.targets[cells.target] @ decided(self.link_)).any() and "tie" in self.link_.outcomes:
            self.warnings_.append("every vote is a tie: the strengths are not computable")
            return
        cells, self.link_, notes = used_outcomes(cells, self.link_)
        self.warnings_ += notes
        if not prior.on_strengths and thresholds_run_away(cells, self.link_):
            self.warnings_.append(
                "ties and wins (or grades) follow the strengths so perfectly that all of them grow without bound: the "
                "strengths are not computable; bradley_terry, a ridge or a ghost gives numbers"
            )
            return
        design = Design(cells, self.link_, position=self._position(cells), prior=prior)
        start = np.concatenate([np.zeros(design.n + design.p), np.asarray(self.link_.initial(), np.float64)])
        try:
            fit = newton(design, start, tolerance=self.tolerance, max_iterations=self.max_iterations)
            if not fit.converged:
                self.warnings_.append(
                    f"the fit did not converge in {fit.iterations} steps (squared Newton decrement {fit.decrement:.2g})"
                )
            found = intervals(
                design,
                fit,
                [self.items_[i] for i in self.estimable_],
                interval=self.interval,
                clusters=self.clusters_,
                by_model=single,
                n_bootstrap=self.n_bootstrap,
                seed=self.seed,
            )
        except NotComputable as error:
            tied = "; covariates or position follow each other or the items too closely" if design.p else ""
            self.warnings_.append(f"not computable because {error}{tied}")
            return
        theta = fit.parameters[: design.n]
        self.strengths_[self.estimable_] = theta - theta.mean()
        self.other_ = fit.parameters[design.n :]
        self.has_position_ = design.p > len(self.covariates_)
        self.converged_, self.n_iterations_ = fit.converged, fit.iterations
        self.log_likelihood_ = fit.log_likelihood
        self.design_, self.fit_ = design, fit
        self.covariance_, self.replicates_ = found.covariance, found.replicates
        self.warnings_ += found.warnings

    def _position(self, cells: Cells) -> bool:
        """Whether a position effect can be estimated; says for how many votes the order is not recorded."""
        if not self.position:
            return False
        unknown = float(cells.count[cells.first == 0].sum())
        if unknown == cells.n_votes:
            self.warnings_.append("which side was shown first is not recorded: no position effect is estimated")
            return False
        if unknown:
            self.warnings_.append(f"{some(unknown, 'vote')} with no record of which side came first, taken as neither")
        return True

    @property
    def training_fingerprints_(self) -> Fingerprints | None:
        """Fingerprints of the training rows [n]; None when the model was fitted to counted codes."""
        if self._fingerprints is None and self._training is not None:
            self._fingerprints = row_fingerprints(self._training)
            self._training = None
        return self._fingerprints

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one safetensors file; see `ranking.load`."""
        from preflearn.ranking.saved import save

        save(self, path)

    # -- answers ---------------------------------------------------------------------------------------------------

    def leaderboard(
        self,
        *,
        scale: Scale = "logit",
        anchor: str | tuple[str, float] | None = None,
        level: float = 0.95,
    ) -> Leaderboard:
        """Items best first with intervals, simultaneous rank sets and tiers.

        Raises:
            InputError: unknown scale, level outside (0, 1), or an anchor without a strength.
        """
        self._fitted()
        if not 0 < level < 1:
            raise InputError("the level must lie between 0 and 1.", value=level)
        check_scale(scale, anchor)
        warnings = list(self.warnings_)
        if self.replicates_ is not None and (1 - level) / 2 * len(self.replicates_) < 1:
            warnings.append(f"{len(self.replicates_)} resamples are too few for intervals of level {level:g}")
        standings, described = self._standings(scale, anchor, level)
        effects = self._effects(level, warnings)
        held = self.covariance_
        return Leaderboard(
            model=self.name,
            scale=scale,
            anchor=described,
            level=level,
            items=standings,
            effects=effects,
            converged=self.converged_,
            iterations=self.n_iterations_,
            log_likelihood=self.log_likelihood_,
            n_votes=round(self.n_votes_),
            n_annotators=self.n_annotators_,
            clustered_by=[name for name in self.clusters_[:2] if name in held.clusters] if held else [],
            interval=held.kind if held else "none",
            components=self.components_,
            excluded=self.excluded_,
            warnings=warnings,
            data_fingerprint=self.data_fingerprint_,
            version=__version__,
        )

    def rank_sets(self, level: float = 0.95) -> RankSets:
        """Simultaneous rank sets and tiers of the estimable items, in the order of `estimable_`."""
        if self.covariance_ is None:
            raise NotComputable("rank sets are not computable because no strength is")
        return rank_sets(self.strengths_[self.estimable_], self.covariance_, level=level, seed=self.seed)

    def _standings(
        self, scale: Scale, anchor: str | tuple[str, float] | None, level: float
    ) -> tuple[list[Standing], str]:
        kept = self.estimable_ if np.isfinite(self.strengths_).any() else self.estimable_[:0]
        votes = np.rint(self.votes_per_item_).astype(np.int64)
        if not len(kept):
            return standings(self.items_, votes, self.status_, kept, None, None), "none"
        names = tuple(self.items_[i] for i in kept)
        shown = transform(
            names,
            self.strengths_[kept],
            self.covariance_,
            scale=scale,
            anchor=parse_anchor(anchor, scale, names),
            level=level,
            replicates=None if self.replicates_ is None else self.replicates_[:, : len(kept)],
        )
        sets = None if self.covariance_ is None else self.rank_sets(level)
        return standings(self.items_, votes, self.status_, kept, shown, sets), shown.anchor

    def _effects(self, level: float, warnings: list[str]) -> list[Effect]:
        if self.covariance_ is None:
            return []
        errors = self.covariance_.standard_errors()[len(self.estimable_) :]
        reach = critical_value(self.covariance_, level) * errors
        out = []
        for (name, meaning), value, error, distance in zip(self._effect_names(), self.other_, errors, reach):
            if abs(value) > 15 or error > 15:
                warnings.append(f"the effect {name} is not estimable: the data lets it grow without bound")
                out.append(Effect(name, None, None, None, None, meaning))
            else:
                out.append(
                    Effect(name, float(value), float(error), float(value - distance), float(value + distance), meaning)
                )
        return out

    def _effect_names(self) -> list[tuple[str, str]]:
        names = [("position", "logit advantage of the side shown first")] if self.has_position_ else []
        difference = {"relative": "the relative difference", "plain": "the difference"}
        names += [
            (name, f"logit per standard unit of {difference[form]}")
            for name, form in zip(self.covariates_, self.covariate_forms_)
        ]
        tie = "log nu: equal items tie with probability nu/(2 + nu)"
        thresholds = "threshold on the logit scale"
        names += [(name, tie if name == "log_tie" else thresholds) for name in self.link_.parameters]
        return names


def _singles(connected: Connectivity) -> Mask:
    """Items that are a component of their own [n]: all votes of two such items ended alike."""
    sizes = np.array([len(component.items) for component in connected.components])
    return np.asarray(sizes[connected.component] == 1, dtype=np.bool_)


def _named_components(connected: Connectivity, items: Sequence[str]) -> list[dict[str, Any]]:
    """Components by item names; empty when everything is comparable."""
    if len(connected.components) < 2:
        return []
    return [
        {"items": [items[i] for i in component.items], "votes": component.votes, "relation": component.relation}
        for component in connected.components
    ]


class BradleyTerry(RatingModel):
    """P(a beats b) = sigma(theta_a - theta_b); a tie counts as half a win for each side.

    Source: Bradley and Terry 1952; half-wins are the arenas' convention (Chiang et al. 2024, arXiv 2403.04132).
    """

    name = "bradley_terry"

    def link(self) -> Link:
        """Binary."""
        return Binary()


class Davidson(RatingModel):
    """Ties as a third outcome whose odds are nu times the geometric mean of the strengths.

    Source: Davidson 1970.
    """

    name = "davidson"

    def link(self) -> Link:
        """Davidson."""
        return DavidsonLink()


class RaoKupper(RatingModel):
    """Ties when the noisy difference falls within a threshold: cumulative logit with one threshold.

    Source: Rao and Kupper 1967.
    """

    name = "rao_kupper"

    def link(self) -> Link:
        """Ordinal with one level and ties."""
        return Ordinal(levels=1, ties=True)


class Graded(RatingModel):
    """Strengths of preference ("much better", "slightly better", tie) as a cumulative logit with symmetric thresholds.

    Source: Agresti 1992; McCullagh 1980.
    """

    name = "graded"

    def link(self) -> Link:
        """Ordinal; the number of grades is read off the data."""
        return Ordinal(levels=2, ties=False)


MODELS: dict[str, type[RatingModel]] = {model.name: model for model in (BradleyTerry, Davidson, RaoKupper, Graded)}
