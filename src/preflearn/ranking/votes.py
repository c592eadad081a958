"""From a data set to counted cells: which judgments are votes between items, and what became of the others.

Nothing is dropped or pooled in silence: every judgment that is not used is counted under a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import NamedTuple

import polars as pl

from preflearn.choice import Binary, Link, Ordinal
from preflearn.data import PreferenceData
from preflearn.data.columns import attach
from preflearn.data.schema import COMPARISONS, OUTCOMES, TIES
from preflearn.errors import InputError
from preflearn.ranking.cells import Cells
from preflearn.ranking.encode import SOFT_LIMIT, cluster_names, codes, counted, each_vote, outcome_targets
from preflearn.ranking.style import Covariates, Form, covariates, difference, with_covariates
from preflearn.ranking.wording import some

MAX_GRADES = 20
"""Above this many grades the thresholds outweigh the items, in time and in what is estimated."""


@dataclass(frozen=True)
class Question:
    """Which votes to count, and how.

    Attributes:
        item: column of responses that names what is ranked.
        criterion: the one criterion whose judgments count; needed when several are recorded.
        cluster: columns whose values share their errors, up to two.
        position: keep which side was shown first.
        style: covariates, see `preflearn.ranking.style`.
        since, until: judgments from this time on, and before that one (ISO 8601, date or datetime; UTC).
        propensity: weigh by 1 / propensity.
    """

    item: str = "system"
    criterion: str | None = None
    cluster: tuple[str, ...] = ()
    position: bool = False
    style: tuple[str, ...] = ()
    since: str | date | None = None
    until: str | date | None = None
    propensity: bool = False


@dataclass(frozen=True)
class Votes:
    """Counted votes of a data set, and the account of what was not counted."""

    items: tuple[str, ...]
    link: Link
    cells: Cells
    used: float
    """Judgments in the cells."""
    excluded: Mapping[str, float]
    """Judgments left out, by reason."""
    n_annotators: int | None
    """None when no annotators are recorded."""
    covariates: tuple[str, ...] = ()
    covariate_scale: tuple[float, ...] = ()
    """Root mean square by which each covariate was divided."""
    clusters: tuple[str, ...] = ()
    """Names of the cluster matrices: the one column, or both and their intersection."""
    cluster_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    grades: tuple[int, ...] = ()
    """Recorded strengths that the grades of an ordinal link stand for."""
    warnings: tuple[str, ...] = ()
    covariate_forms: tuple[Form, ...] = ()
    """Which difference each covariate is; none: relative ones."""


def collect_votes(data: PreferenceData, link: Link, question: Question) -> Votes:
    """Count the votes of `data.comparisons` for a link.

    Raises:
        InputError: no comparisons, no such column, several criteria and none chosen, nothing left to count.
    """
    if not data.height("comparisons"):
        raise InputError(
            "the data set has no comparisons.",
            cure="Convert rankings or ratings to comparisons first (`preflearn convert`).",
        )
    question = replace(question, cluster=tuple(dict.fromkeys(question.cluster)))
    cluster_names(question.cluster)
    if question.criterion is not None:
        _check_criterion(data, question.criterion)
    if not _systems_are_responses(data) or question.item != "system":
        return _collect(data, link, question, direct=False)
    try:
        return _collect(data, link, question, direct=True)
    except pl.exceptions.InvalidOperationError:  # a comparison names a response that is not recorded
        return _collect(data, link, question, direct=False)


def _collect(data: PreferenceData, link: Link, question: Question, *, direct: bool) -> Votes:
    """The votes; `direct` takes the ids of responses for their systems, without a join."""
    warnings: list[str] = []
    names = covariates(question.style) if question.style else ()
    style = with_covariates(data, names) if names else Covariates(data, [], ())
    forms = dict(zip(names, style.forms))
    plain = [name for name, form in forms.items() if form == "plain"]
    if plain:
        warnings.append(f"covariates with negative numbers enter as plain differences: {', '.join(plain)}")
    data, style_columns = style.data, style.columns
    frame = _frame(style, question, direct=direct)
    frame = _restrict(frame, question)
    items, labels = _labels(data, frame, question)
    account = _account(frame, question, warnings)
    link, grades = _link_for(account.live, link, warnings)
    live = frame.filter(pl.col("__reason").is_null())
    targets, soft = outcome_targets(live, link)
    compact = live.select(codes(items, labels, link, grades, soft, style_columns))
    if style_columns or len(soft) > SOFT_LIMIT:
        cells, names, scale = each_vote(
            compact, len(items), targets, question.cluster, question.position, names, warnings
        )
    else:
        scale = ()
        cells = counted(compact, len(items), targets, question.cluster, question.position)
    return Votes(
        tuple(items),
        link,
        cells,
        cells.n_votes,
        account.excluded,
        _annotators(data, live, warnings),
        names,
        scale,
        cluster_names(question.cluster),
        {name: tuple(values) for name, values in labels.items()},
        grades,
        tuple(warnings),
        tuple(forms[name] for name in names),
    )


# -- the frame -------------------------------------------------------------------------------------------------------


def _check_criterion(data: PreferenceData, criterion: str) -> None:
    known = data.select("comparisons", ["criterion_id"]).select(pl.col("criterion_id").cast(pl.String)).drop_nulls()
    names = known.unique().sort("criterion_id").collect(engine="streaming")["criterion_id"].to_list()
    if criterion not in names:
        recorded = f"Criteria: {', '.join(names)}." if names else "None is recorded: leave it out."
        raise InputError("no comparison was made under this criterion.", value=criterion, cure=recorded)


def _check_plain(dtype: pl.DataType | None, name: str, what: str) -> None:
    if dtype is not None and dtype.is_nested():
        raise InputError(
            f"the column {name!r} cannot name {what}: it holds {dtype}.", cure="Name a column of single values."
        )


def _frame(style: Covariates, question: Question, *, direct: bool) -> pl.LazyFrame:
    """One row per judgment with every column that matters, null where not recorded."""
    data, style_columns = style.data, style.columns
    wanted = {f"__cluster_{name}": name for name in question.cluster}
    if question.item == "response_id" or direct:
        sides = [pl.col("response_a").alias("__a"), pl.col("response_b").alias("__b")]
    else:
        if question.item not in data.columns("responses"):
            raise InputError(
                f"the responses have no column {question.item!r} to rank by.",
                cure=f"They have: {', '.join(data.columns('responses'))}; response_id ranks single responses.",
            )
        _check_plain(data.lazy("responses").collect_schema()[question.item], question.item, "items")
        wanted |= {"__a": f"a.{question.item}", "__b": f"b.{question.item}"}
        sides = [pl.col("__a").cast(pl.String), pl.col("__b").cast(pl.String)]
    for column in style_columns:
        wanted |= {f"__a{column}": f"a.{column}", f"__b{column}": f"b.{column}"}
    frame = attach(data, "comparisons", wanted)
    schema = frame.collect_schema()
    for name in question.cluster:
        _check_plain(schema[f"__cluster_{name}"], name, "clusters")
    recorded = set(data.columns("comparisons"))
    planned = [
        pl.col(column.name) if column.name in recorded else pl.lit(None, dtype=column.dtype).alias(column.name)
        for column in COMPARISONS.columns
        if column.name in _NEEDED
    ]
    clusters = [pl.col(f"__cluster_{name}").cast(pl.String) for name in question.cluster]
    styles = [
        difference(pl.col(f"__a{column}"), pl.col(f"__b{column}"), form).alias(f"__x{column}")
        for column, form in zip(style_columns, style.forms)
    ]
    weight = pl.col("weight").fill_null(1.0)
    if question.propensity:
        if "propensity" not in recorded:
            raise InputError("no propensities are recorded, so votes cannot be weighed by them.")
        asked = pl.col("propensity").fill_null(1.0)
        weight = pl.when((asked > 0) & (asked <= 1)).then(weight / asked).otherwise(-1.0)
    return frame.select(*planned, *sides, *clusters, *styles).with_columns(weight.alias("__weight"))


_NEEDED = {
    "outcome", "strength", "probability", "probability_tie", "shown_first", "count", "weight", "propensity",
    "time", "criterion_id", "protocol", "annotator_id",
}  # fmt: skip


def _systems_are_responses(data: PreferenceData) -> bool:
    """Whether every response is a named system, so that no join is needed."""
    if "system" not in data.columns("responses"):
        return False
    same = data.lazy("responses").select(
        (pl.col("system").cast(pl.String) == pl.col("response_id")).fill_null(False).all()
    )
    return bool(same.collect(engine="streaming").item())


def _restrict(frame: pl.LazyFrame, question: Question) -> pl.LazyFrame:
    if question.criterion is not None:
        frame = frame.filter(pl.col("criterion_id").cast(pl.String) == question.criterion)
    moment = pl.col("time")
    if question.since is not None:
        frame = frame.filter(moment.is_null() | (moment >= _moment(question.since, "since")))
    if question.until is not None:
        frame = frame.filter(moment.is_null() | (moment < _moment(question.until, "until")))
    return frame.with_columns(_reason(question).alias("__reason"))


def _moment(value: str | date, name: str) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InputError(f"{name} is not a time.", value=value, cure="Use ISO 8601, as 2024-05-31.") from None
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


SOFT = pl.col("outcome").is_null() & pl.col("probability").is_not_null()
"""Whether a judgment is a teacher's probability."""


def _reason(question: Question) -> pl.Expr:
    """Why a judgment is not a vote; null if it is one."""
    weight, outcome = pl.col("__weight"), pl.col("outcome")
    probability, tie = pl.col("probability"), pl.col("probability_tie").fill_null(0.0)
    sound = (probability >= 0) & (tie >= 0) & (probability + tie).is_between(0, 1 + 1e-9)
    reasons = [
        (outcome.is_null() & ~SOFT, "not judged"),
        (outcome == "skip", "skipped"),
        (outcome.is_not_null() & ~outcome.is_in(OUTCOMES), "the outcome is not a known one"),
        (pl.col("__a").is_null() | pl.col("__b").is_null(), "an item is not named"),
        (pl.col("__a") == pl.col("__b"), "an item against itself"),
        (SOFT & ~sound, "probability outside [0, 1]"),
    ]
    if question.since is not None or question.until is not None:
        reasons.append((pl.col("time").is_null(), "no time is recorded"))
    if question.propensity:
        asked = pl.col("propensity").fill_null(1.0)
        reasons.append((~((asked > 0) & (asked <= 1)), "propensity outside (0, 1]"))
    reasons += [
        (weight.is_nan() | weight.is_infinite() | (weight < 0), "weight is not a finite number >= 0"),
        (weight == 0, "weight is zero"),
    ]
    out = pl.lit(None, dtype=pl.String)
    for holds, reason in reversed(reasons):
        out = pl.when(holds).then(pl.lit(reason)).otherwise(out)
    return out


# -- accounts and labels ---------------------------------------------------------------------------------------------


class _Account(NamedTuple):
    live: pl.DataFrame
    """Votes by outcome, strength, criterion, protocol and whether they are soft (with ties), as column n."""
    excluded: dict[str, float]


def _account(frame: pl.LazyFrame, question: Question, warnings: list[str]) -> _Account:
    count = pl.col("count").fill_null(1).cast(pl.Float64)
    soft_tie = (SOFT & (pl.col("probability_tie").fill_null(0.0) > 0)).alias("soft_tie")
    unasked = (pl.col("propensity").is_null() & pl.lit(question.propensity)).alias("unasked")
    table = (
        frame.with_columns(pl.col("criterion_id", "protocol").cast(pl.String), soft_tie, unasked)
        .group_by("__reason", "outcome", "strength", "criterion_id", "protocol", "soft_tie", "unasked")
        .agg(count.sum().alias("n"))
        .collect(engine="streaming")
    )
    live = table.filter(pl.col("__reason").is_null())
    lost = table.filter(pl.col("__reason").is_not_null()).group_by("__reason").agg(pl.col("n").sum()).sort("__reason")
    excluded = {str(reason): float(n) for reason, n in lost.rows()}
    if not live.height:
        reasons = "; ".join(f"{reason}: {n:,.0f}" for reason, n in excluded.items()) or "no row matches the filters"
        raise InputError(f"there is no vote to count ({reasons}).")
    criteria = live["criterion_id"].drop_nulls().unique().sort().to_list()
    if len(criteria) > 1:
        raise InputError(
            f"judgments of {len(criteria)} criteria are recorded, and they are never pooled silently.",
            cure=f"Choose one with criterion (--criterion): {', '.join(criteria)}; or rank by criterion_id.",
        )
    nameless = float(live.filter(pl.col("criterion_id").is_null())["n"].sum())
    if criteria and nameless:
        warnings.append(f"{some(nameless, 'vote')} without a recorded criterion pooled with those of {criteria[0]}")
    unknown = float(live.filter(pl.col("unasked"))["n"].sum())
    if unknown:
        warnings.append(f"{some(unknown, 'vote')} without propensity, weighed as if always asked")
    protocols = live["protocol"].unique().sort().to_list()
    if len(protocols) > 1:
        named = ", ".join("none recorded" if name is None else str(name) for name in protocols)
        warnings.append(f"votes of {len(protocols)} protocols are pooled ({named})")
    warnings.extend(f"{some(n, 'judgment')} left out: {reason}" for reason, n in excluded.items())
    return _Account(live, excluded)


def _annotators(data: PreferenceData, live: pl.LazyFrame, warnings: list[str]) -> int | None:
    """How many annotators voted; says so when people and judges (or rules) are pooled."""
    voters = live.select(pl.col("annotator_id").cast(pl.String)).drop_nulls().unique().collect(engine="streaming")
    if "kind" in data.columns("annotators"):
        known = data.annotators.select(pl.col("annotator_id").cast(pl.String), "kind")
        kinds = voters.join(known, on="annotator_id").group_by("kind").len().drop_nulls().sort("kind").rows()
        if len(kinds) > 1:
            named = ", ".join(f"{n:,} {kind}" for kind, n in kinds)
            warnings.append(f"votes of different kinds of annotators are pooled ({named})")
    return voters.height or None


def _link_for(live: pl.DataFrame, link: Link, warnings: list[str]) -> tuple[Link, tuple[int, ...]]:
    """The link with the outcomes and grades that were used; says what the outcomes mean for it."""
    seen = {str(outcome): float(n) for outcome, n in live.group_by("outcome").agg(pl.col("n").sum()).rows() if outcome}
    ties = {name: seen[name] for name in TIES if seen.get(name)}
    if len(ties) > 1 or (ties and "tie" not in ties):
        parts = ", ".join(f"{n:,.0f} {name}" for name, n in ties.items())
        warnings.append(f"{parts} all count as ties in this model")
    tied = bool(ties) or bool(live["soft_tie"].any())
    if isinstance(link, Ordinal) and not (link.levels == 1 and link.ties):
        return _graded(live, tied, warnings)
    if "tie" in link.outcomes and not tied:
        warnings.append("no ties are recorded, so the tie parameter is left out and the model is bradley_terry")
        return Binary(), ()
    if "tie" not in link.outcomes and tied:
        soft = float(live.filter(pl.col("soft_tie"))["n"].sum())
        said = [some(sum(ties.values()), "tie")] if ties else []
        said += [f"{some(soft, 'label')} with a probability of a tie"] if soft else []
        warnings.append(
            f"half a win for each side from {' and '.join(said)}, which draws strengths together; "
            "davidson or rao_kupper model ties"
        )
    return link, ()


def _graded(live: pl.DataFrame, tied: bool, warnings: list[str]) -> tuple[Link, tuple[int, ...]]:
    decided = live.filter(pl.col("outcome").is_in(["a", "b"]))
    grades = decided["strength"].drop_nulls().unique().sort().to_list()
    ungraded = float(decided.filter(pl.col("strength").is_null())["n"].sum())
    if not grades:
        raise InputError(
            "no strengths are recorded, so a graded model has nothing to use.", cure="Use bradley_terry or davidson."
        )
    if len(grades) > MAX_GRADES:
        raise InputError(
            f"strengths take {len(grades)} values, and a graded model has a threshold for each.",
            column="strength",
            cure=f"Merge them to at most {MAX_GRADES} grades.",
        )
    soft = float(live.filter(pl.col("outcome").is_null())["n"].sum())
    if soft:
        warnings.append(f"{some(soft, 'soft label')} taken as the weakest grade")
    if ungraded:
        warnings.append(f"{some(ungraded, 'win')} without a recorded strength taken as the weakest grade")
    if grades != list(range(1, len(grades) + 1)):
        warnings.append(f"strengths used are {grades}; they are taken as {len(grades)} successive grades")
    return Ordinal(levels=len(grades), ties=tied), tuple(grades)


def _labels(data: PreferenceData, frame: pl.LazyFrame, question: Question) -> tuple[list[str], dict[str, list[str]]]:
    """Names of the items (also those without votes) and of the clusters."""
    live = frame.filter(pl.col("__reason").is_null())
    if question.item == "response_id":
        items = pl.concat([live.select(pl.col(side).alias("item")) for side in ("__a", "__b")]).unique()
    else:
        items = data.lazy("responses").select(pl.col(question.item).cast(pl.String).alias("item")).drop_nulls().unique()
    names = items.sort("item").collect(engine="streaming")["item"].to_list()
    labels = {
        name: live.select(pl.col(f"__cluster_{name}").alias("c"))
        .drop_nulls()
        .unique()
        .sort("c")
        .collect(engine="streaming")["c"]
        .to_list()
        for name in question.cluster
    }
    return names, labels
