"""One answer for a population, prompt by prompt, from any fitted model: scores of responses and a lottery over them.

Which single answer people who disagree get is a decision, so it is asked for by name. The rules live in
`preflearn.choice.aggregate`; here are the voices: components, annotators, or everyone as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from preflearn.choice import aggregate
from preflearn.data import PreferenceData
from preflearn.errors import InputError
from preflearn.models.composed import Composed
from preflearn.models.population.mixture import MixtureModule

Floats = npt.NDArray[np.float64]
How = Literal["mean", "maximin", "quantile", "lottery"]
_ROWS = 2**18
"""Questions asked at once."""


def population_answer(
    model: Composed,
    data: PreferenceData,
    how: How = "mean",
    *,
    q: float = 0.25,
    of: Literal["wins", "utility"] = "wins",
    annotators: Sequence[str] | None = None,
) -> pl.DataFrame:
    """The answer of a population to each prompt of `data`.

    Voices are the components of a mixture with their shares; or the annotators that a personal model knows, with their
    `weight` where it is recorded; or everyone as one. Noise is left out: what counts is what is preferred.

    Args:
        model: fitted; with "wins" it may allow cycles.
        data: responses, grouped by prompt (those without a prompt are one group).
        how: "mean" of all voices; "maximin", the voice that is worst off; "quantile", what all but a share q of them
            reach; "lottery", the maximal lottery of the average table of wins, which no other lottery beats.
        q: of "quantile".
        of: what a voice says of a response: "wins", its mean probability of beating the others under the same prompt
            (comparable between voices, and defined for cyclic preferences), or "utility", in logits above the mean of
            the prompt's responses (only differences are known), as published max-min objectives take it.
        annotators: whose voices count, where the model knows annotators; default all that it knows.

    Returns:
        One row per response: prompt_id, response_id, score (for "lottery" the probability of beating a response drawn
        from the lottery), share (the lottery; else equal shares of the best).

    Raises:
        InputError: an unknown rule, or annotators where the model has none.
        NotSupported: utilities of a model that allows cycles.
    """
    if how not in ("mean", "maximin", "quantile", "lottery") or of not in ("wins", "utility"):
        raise InputError("the rule is mean, maximin, quantile or lottery, of wins or utility.", value=(how, of))
    clean = model.denoised()
    asked = _Asked.of(data)
    voices = _voices(clean, data, annotators)
    if how == "lottery":
        score, share = _lottery(asked, clean, voices)
    else:
        table = _wins(asked, clean, voices) if of == "wins" else _utilities(asked, clean, voices)
        if how == "quantile":
            score = aggregate.quantile(table, q, voices.weight)
        else:
            score = (aggregate.mean if how == "mean" else aggregate.maximin)(table, voices.weight)
        share = _best(score, asked.group)
    ids = data.select("responses", ["prompt_id", "response_id"]).collect()
    return ids.with_columns(pl.Series("score", score), pl.Series("share", share))


class _Voices(NamedTuple):
    """Who speaks: annotators by name, or None for the components (or the one voice) of the model; weights [G]."""

    names: Sequence[str] | None
    weight: Floats


def _voices(model: Composed, data: PreferenceData, annotators: Sequence[str] | None) -> _Voices:
    network, plan = model.network_, model.plan_
    components = isinstance(network.population, MixtureModule)
    personal = bool(network.personal) or bool(plan.attributes()) or bool(plan.columns())
    if components or not personal:
        if annotators is not None:
            raise InputError("the voices of this model are not annotators.", cure="Leave annotators out.")
        if not isinstance(network.population, MixtureModule):
            return _Voices(None, np.ones(1))
        return _Voices(None, torch.exp(network.population.log_shares.detach()).double().numpy())
    names = tuple(annotators) if annotators is not None else model.annotators_
    if not names:
        raise InputError("there is nobody whose voice could count.", cure="Name annotators.")
    known = data.select("annotators", ["annotator_id", "weight"]).collect()
    recorded = pl.DataFrame({"annotator_id": list(names)}, schema={"annotator_id": pl.String}).join(
        known.with_columns(pl.col("annotator_id").cast(pl.String)), on="annotator_id", how="left", maintain_order="left"
    )
    return _Voices(names, recorded["weight"].cast(pl.Float64).fill_null(1.0).to_numpy())


class _Asked(NamedTuple):
    """All pairs of responses under one prompt.

    Attributes:
        data: with the pairs as its comparisons.
        group: of each response, [R]: which prompt.
        a, b: places of the sides of each pair, [n].
    """

    data: PreferenceData
    group: npt.NDArray[np.int64]
    a: npt.NDArray[np.int64]
    b: npt.NDArray[np.int64]

    @classmethod
    def of(cls, data: PreferenceData) -> _Asked:
        """The pairs of a data set."""
        rows = data.select("responses", ["response_id", "prompt_id"]).collect().with_row_index("at")
        group = rows["prompt_id"].rank("dense").fill_null(0).cast(pl.Int64)
        rows = rows.select("at", pl.col("response_id").cast(pl.String), group.alias("group"))
        pairs = rows.join(rows, on="group", suffix="_b").filter(pl.col("at") < pl.col("at_b")).sort("at", "at_b")
        frame = pairs.select(
            pl.concat_str(pl.lit("pair-"), pl.int_range(pl.len()).cast(pl.String)).alias("comparison_id"),
            pl.col("response_id").alias("response_a"),
            pl.col("response_id_b").alias("response_b"),
        )
        asked = data.replace("asked about every pair of responses to a prompt", comparisons=frame)
        places = [pairs[name].cast(pl.Int64).to_numpy() for name in ("at", "at_b")]
        return cls(asked, group.to_numpy(), *places)

    @property
    def opponents(self) -> npt.NDArray[np.int64]:
        """How many others each response meets, [R]."""
        return np.asarray(np.bincount(self.group)[self.group] - 1)


def _answers(asked: _Asked, model: Composed, voices: _Voices) -> Iterator[tuple[slice, Floats]]:
    """P(a beats b) of some voices at a time: which voices, and [voices, n]."""
    n = len(asked.a)
    if voices.names is None:
        batch = model._assembled(asked.data).batch
        assert batch.pairs is not None
        p = model.network_.predict(batch.pairs, batch)[0].numpy()
        # Components of a gate are not people: they answer as one.
        alone = len(voices.weight) == 1
        yield slice(0, len(voices.weight)), model.prob(asked.data)[None] if alone else model._decided(p).T
        return
    step = max(1, _ROWS // max(n, 1))
    for start in range(0, len(voices.names), step):
        names = voices.names[start : start + step]
        frame = asked.data.comparisons
        crossed = pl.concat([frame.with_columns(annotator_id=pl.lit(name)) for name in names])
        crossed = crossed.with_columns(comparison_id=pl.int_range(pl.len()).cast(pl.String))
        p = model.prob(asked.data.replace(comparisons=crossed)) if n else np.zeros(0)
        yield slice(start, start + len(names)), p.reshape(len(names), n)


def _wins(asked: _Asked, model: Composed, voices: _Voices) -> Floats:
    """Mean probability of beating the others, [voices, R]; 1/2 where there are none."""
    size, opponents = len(asked.group), asked.opponents
    table = np.full((len(voices.weight), size), 0.5)
    for rows, p in _answers(asked, model, voices):
        for voice, each in zip(range(rows.start, rows.stop), p):
            won = np.bincount(asked.a, each, size) + np.bincount(asked.b, 1 - each, size)
            table[voice] = np.where(opponents > 0, won / np.maximum(opponents, 1), 0.5)
    return table


def _utilities(asked: _Asked, model: Composed, voices: _Voices) -> Floats:
    """Utilities of all responses above the mean of their prompt, [voices, R]."""
    if voices.names is not None:
        table = np.stack([model.utility(asked.data, annotator=name) for name in voices.names])
    elif len(voices.weight) == 1:
        table = model.utility(asked.data)[None]
    else:
        rows, batch = model._responses(asked.data, None)
        with torch.no_grad():
            taste = model.network_.population.known(rows, batch)
            table = model.network_.utilities(rows, rows.item, batch, taste).double().numpy().T
    sums = np.stack([np.bincount(asked.group, each) for each in table])
    means = sums / np.maximum(np.bincount(asked.group), 1)
    centred: Floats = table - means[:, asked.group]
    return centred


def _lottery(asked: _Asked, model: Composed, voices: _Voices) -> tuple[Floats, Floats]:
    """Probability of beating the lottery and the lottery, [R] each; one linear program per prompt."""
    mean = np.zeros(len(asked.a))
    for rows, p in _answers(asked, model, voices):
        mean += voices.weight[rows] @ p / voices.weight.sum()
    score, share = np.full(len(asked.group), 0.5), np.ones(len(asked.group))
    order = np.argsort(asked.group[asked.a], kind="stable")
    starts = np.flatnonzero(np.diff(asked.group[asked.a][order], prepend=-1))
    for pairs in np.split(order, starts[1:]):
        if not len(pairs):
            continue
        members, places = np.unique(np.concatenate([asked.a[pairs], asked.b[pairs]]), return_inverse=True)
        i, j = np.split(places, 2)
        wins = np.full((len(members), len(members)), 0.5)
        wins[i, j], wins[j, i] = mean[pairs], 1 - mean[pairs]
        lottery = aggregate.maximal_lottery(wins)
        score[members], share[members] = wins @ lottery, lottery
    return score, share


def _best(score: Floats, group: npt.NDArray[np.int64]) -> Floats:
    """Equal shares of the responses with the highest score of their group, [R]."""
    top = np.full(group.max(initial=0) + 1, -np.inf)
    np.maximum.at(top, group, score)
    best = score >= top[group] - 1e-12
    share: Floats = best / np.bincount(group, best)[group]
    return share
