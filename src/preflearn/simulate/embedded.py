"""Votes about responses with embeddings, by people whose tastes are any function of them.

Unlike a `Scenario`, whose terms can be written to a file, the taste here is a function; everything else is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.choice import Binary, Link, Ordinal
from preflearn.data import PreferenceData
from preflearn.errors import InputError
from preflearn.simulate.pool import Floats

Codes: TypeAlias = npt.NDArray[np.int64]

Taste = Callable[[Floats, Floats, Codes, Floats], Floats]
"""Logit of a over b, [n], from the features of both sides [n, d], annotator [n] and prompt's features [n, d']."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """A simulated study and its truth.

    Attributes:
        data: prompts (with `embedding`), responses (with `embedding`), annotators, comparisons in random order.
        logit: true logit of a over b for the annotator of each comparison, noise excluded, [n].
        annotator, prompt: of each comparison, [n], as codes: annotator 3 is "person-3".
        x: features of responses, [R, d]; row i is the response "r-i".
        prompt_x: features of prompts, [P, d'].
        flipped: comparisons recorded the wrong way round, [n].
    """

    data: PreferenceData
    logit: Floats
    annotator: Codes
    prompt: Codes
    x: Floats
    prompt_x: Floats
    flipped: npt.NDArray[np.bool_]

    def rows(self, keep: npt.NDArray[np.bool_]) -> PreferenceData:
        """The data with some of the comparisons."""
        return self.data.replace(comparisons=self.data.comparisons.filter(pl.Series(keep)))

    def halves(self, share: float = 0.5) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Masks of training and test comparisons [n]; no prompt (hence no response) is in both."""
        limit = round(share * len(self.prompt_x))
        return self.prompt < limit, self.prompt >= limit

    def bayes_accuracy(self, keep: npt.NDArray[np.bool_] | None = None) -> float:
        """Accuracy of someone who knows every logit, against clean answers."""
        logit = self.logit if keep is None else self.logit[keep]
        return float(np.mean(1 / (1 + np.exp(-np.abs(logit)))))

    def right(self, probability: npt.ArrayLike, keep: npt.NDArray[np.bool_]) -> float:
        """Share of the kept comparisons whose predicted side is truly preferred; a predicted 1/2 is half right."""
        side = np.sign(np.asarray(probability, np.float64) - 0.5)
        return float(np.mean((1 + side * np.sign(self.logit[keep])) / 2))


def embedded(
    taste: Taste,
    *,
    features: int = 16,
    prompts: int = 200,
    per_prompt: int = 4,
    prompt_features: int = 4,
    annotators: int = 100,
    votes: int | Sequence[int] = 40,
    link: Link | None = None,
    parameters: Sequence[float] | npt.ArrayLike = (),
    reliability: npt.ArrayLike | None = None,
    shown_first: float = 0.0,
    columns: Mapping[str, Sequence[Any]] | None = None,
    x: Floats | None = None,
    sharp: bool = False,
    seed: int = 0,
) -> Embedded:
    """Simulate votes about embedded responses.

    Args:
        taste: see `Taste`.
        features, prompt_features: dimensions; standard normal unless `x` is given.
        prompts, per_prompt: every prompt has so many responses; comparisons are within a prompt.
        annotators: number of people.
        votes: of each annotator (one number or one per annotator).
        link: how an answer is drawn from the logit: `Binary` (the default), `Davidson` or `Ordinal`.
        parameters: of the link, [P] or one row per annotator [U, P].
        reliability: probability that the recorded side is the one meant, per annotator [U]; default 1.
        shown_first: advantage in logits of the side shown first; the order is random and recorded when not 0.
        columns: further columns of annotators (groups, attributes).
        x: features of responses [prompts * per_prompt, d], instead of random ones.
        sharp: the preferred side always wins (for `Binary` without noise).
        seed: of everything random.

    Raises:
        InputError: sizes that do not fit together.
    """
    link = link or Binary()
    rng = np.random.default_rng([seed, 7919])
    if x is None:
        x = rng.standard_normal((prompts * per_prompt, features))
    if x.shape[0] != prompts * per_prompt or per_prompt < 2:
        raise InputError("there must be prompts * per_prompt responses, at least two per prompt.", value=x.shape)
    prompt_x = rng.standard_normal((prompts, prompt_features))
    each = np.broadcast_to(np.asarray(votes), (annotators,))
    who = rng.permutation(np.repeat(np.arange(annotators), each))
    n = len(who)
    prompt = rng.integers(prompts, size=n)
    first = rng.integers(per_prompt, size=n)
    second = (first + rng.integers(1, per_prompt, size=n)) % per_prompt
    a, b = prompt * per_prompt + first, prompt * per_prompt + second
    logit = np.asarray(taste(x[a], x[b], who, prompt_x[prompt]), np.float64)
    front = np.where(rng.random(n) < 0.5, 1, -1) if shown_first else np.zeros(n)
    shape = np.asarray(parameters, np.float64)
    shape = shape[who] if shape.ndim == 2 else shape
    meant = link.sample(np.where(sharp, 1e6, 1.0) * (logit + shown_first * front), shape, rng)
    outcomes = list(link.outcomes)
    flipped = np.zeros(n, bool)
    if reliability is not None:
        flipped = rng.random(n) >= np.asarray(reliability, np.float64)[who]
    recorded = np.where(flipped, np.asarray(link.swap)[meant], meant)
    names = np.asarray(outcomes)[recorded]
    frame = {
        "comparison_id": [f"c-{i}" for i in range(n)],
        "response_a": [f"r-{i}" for i in a],
        "response_b": [f"r-{i}" for i in b],
        "outcome": [name if name == "tie" else name[0] for name in names],
        "annotator_id": [f"person-{u}" for u in who],
    }
    if isinstance(link, Ordinal) and link.levels > 1:
        frame["strength"] = [None if name == "tie" else int(name[1:]) for name in names]
    if shown_first:
        frame["shown_first"] = ["a" if side > 0 else "b" for side in front]
    data = PreferenceData(
        prompts=pl.DataFrame(
            {
                "prompt_id": [f"p-{i}" for i in range(prompts)],
                "embedding": pl.Series(prompt_x.astype(np.float32)).arr.to_list(),
            }
        ),
        responses=pl.DataFrame(
            {
                "response_id": [f"r-{i}" for i in range(len(x))],
                "prompt_id": [f"p-{i // per_prompt}" for i in range(len(x))],
                "embedding": pl.Series(x.astype(np.float32)).arr.to_list(),
            }
        ),
        annotators=pl.DataFrame(
            {"annotator_id": [f"person-{u}" for u in range(annotators)], "kind": "simulated", **(columns or {})}
        ),
        comparisons=pl.DataFrame(frame),
        provenance={"simulated": True},
    )
    return Embedded(data, logit, who, prompt, x, prompt_x, flipped)
