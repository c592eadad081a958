"""Seeded splits that cannot leak, and the check that says what two data sets share."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.arrays import Floats, Ints, places
from preflearn.data.leakage import leakage
from preflearn.data.references import prune, referred
from preflearn.data.schema import TABLES
from preflearn.data.split_components import JUDGED, LEVELS, Graph, Level, components, graph, occupied
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

SplitBy = Literal["prompt", "annotator", "conversation", "response", "time"]
DEFAULT = MappingProxyType({"train": 0.8, "test": 0.2})


def split(
    data: PreferenceData,
    fractions: Mapping[str, float] = DEFAULT,
    *,
    by: SplitBy = "prompt",
    seed: int = 0,
) -> dict[str, PreferenceData]:
    """Divide the judgments into named parts such that no unit stands in two of them.

    Units: `prompt`: prompts of equal text, and all prompts whose responses are judged together. `conversation`: in
    addition all turns of a conversation. `response`: in addition everything connected by equal response contents.
    `annotator`: all judgments of a person or judge. `time`: earlier judgments go to the first part, later ones to the
    next; one showing stays whole. Where one connected component holds nearly everything, the next looser of these units
    is taken (at last single prompts, leaving out judgments between two parts), and the provenance says so and counts
    what is shared. Judgments without annotator or time, where that is the unit, go to the first part.

    Fractions are shares of judgment rows (of units, where nothing is judged), met as nearly as whole units allow. Named
    systems, annotators and criteria may stand in several parts; prompts and responses that nobody judged are units like
    others, or go to the first part (`annotator`, `time`), as do annotators who judged nothing.

    Args:
        fractions: part -> share, positive; they need not sum to 1.
        by: the unit.
        seed: same data, fractions and seed give the same parts.

    Raises:
        InputError: a fraction is not positive; fewer units than parts; nothing recorded to split by.
    """
    if by not in get_args(SplitBy):
        raise InputError(f"there is no split by {by!r}.", cure=f"Choose one of: {', '.join(get_args(SplitBy))}.")
    names = list(fractions)
    shares = np.array([fractions[name] for name in names], dtype=np.float64)
    if len(names) < 2 or not np.isfinite(shares).all() or (shares <= 0).any():
        raise InputError(
            f"the fractions {dict(fractions)} are not two or more positive numbers.",
            cure="Give a share for every part, like train=0.8, test=0.2.",
        )
    shares /= shares.sum()
    rng = np.random.default_rng(seed)
    if by == "annotator":
        return _by_annotator(data, names, shares, rng, seed)
    if by == "time":
        return _by_time(data, names, shares)
    return _by_component(data, names, shares, rng, seed, by)


# -- units -> parts ----------------------------------------------------------------------------------------------------


def assign(weight: Floats, shares: Floats, rng: np.random.Generator) -> Ints:
    """[units] part of every unit, at random, such that the parts' weights come as near to their shares as units allow.

    Heavy units come first, the heaviest (roughly) before the others, each to a part drawn by how much is still missing
    among those of which it would be at most half: a small part is made neither of small units only nor, if it can be
    helped, of one big one. Light ones follow in random order by running share of what is then missing.

    Args:
        weight: [units] judgments of each unit; all zero counts units instead.
        shares: [parts] summing to 1.
    """
    if not weight.sum():
        weight = np.ones_like(weight)
    missing = shares * weight.sum()
    part = np.empty(len(weight), dtype=np.int64)
    heavy = weight > 0.05 * missing.min()  # at most 20 / smallest share of them
    order = np.argsort(-weight * np.exp(0.3 * rng.random(len(weight))))
    for unit in order[heavy[order]]:
        room = np.where(missing >= 2 * weight[unit], missing, 0.0)
        part[unit] = rng.choice(len(shares), p=room / room.sum()) if room.any() else int(np.argmax(missing))
        missing[part[unit]] -= weight[unit]
    light = rng.permutation(np.flatnonzero(~heavy))
    edges = np.cumsum(np.maximum(missing, 0.0))
    amount = weight[light].sum()
    if amount:
        middle = np.cumsum(weight[light]) - weight[light] / 2
        part[light] = np.minimum(np.searchsorted(edges / edges[-1] * amount, middle), len(shares) - 1)
    else:
        part[light] = rng.choice(len(shares), size=len(light), p=shares)
    return _none_empty(part, weight, len(shares))


def _none_empty(part: Ints, weight: Floats, parts: int) -> Ints:
    """Give an empty part the lightest unit of the part with most units."""
    for empty in np.flatnonzero(np.bincount(part, minlength=parts) == 0):
        fullest = int(np.argmax(np.bincount(part, minlength=parts)))
        candidates = np.flatnonzero(part == fullest)
        part[candidates[np.argmin(weight[candidates])]] = empty
    return part


def _need_units(found: int, parts: int, unit: str) -> None:
    if found < parts:
        raise InputError(
            f"there are {found} units to split by ({unit}) for {parts} parts.",
            cure="Split by something finer, or into fewer parts.",
        )


# -- by component ------------------------------------------------------------------------------------------------------


def _by_component(
    data: PreferenceData, names: list[str], shares: Floats, rng: np.random.Generator, seed: int, by: Level
) -> dict[str, PreferenceData]:
    whole = graph(data)
    found = connected(whole, by, len(names), 1 - (1 - float(shares.max())) / 2)
    _need_units(len(found.units), len(names), found.level)
    part = np.full(len(found.weight), -1, dtype=np.int64)
    part[found.units] = assign(found.weight[found.units], shares, rng)
    parts = _cut_components(data, whole, part[found.labels], names)
    note = f"{by} (seed {seed}), {len(found.units):,} units"
    if found.why:
        note += f"; {found.why}{_shared_sentence(parts)}"
    left_out = {name: data.height(name) - sum(p.height(name) for p in parts.values()) for name in JUDGED}
    if any(left_out.values()):
        lost = ", ".join(f"{n:,} {name}" for name, n in left_out.items() if n)
        note += f"; left out {lost} whose responses fell into different parts"
    return {name: noted(data, one, name, note) for name, one in parts.items()}


class Connected(NamedTuple):
    """Components that stay whole.

    Attributes:
        labels: component of every node, [nodes].
        units: labels of the components that are units.
        weight: judgments by label.
        level: how strictly they are connected.
        why: why not as strictly as asked; empty if they are.
    """

    labels: Ints
    units: Ints
    weight: Floats
    level: Level
    why: str


def connected(whole: Graph, by: Level, parts: int, most: float) -> Connected:
    """Components at this level, or at the next looser one where a component holds more than a share `most`."""
    told: list[str] = []
    for level in LEVELS[LEVELS.index(by) :]:
        labels = components(whole, level)
        units = occupied(whole, labels)
        weight = np.zeros(int(labels.max(initial=-1)) + 1)
        for name in JUDGED[:3]:
            weight += np.bincount(_unit(whole, name, labels), minlength=len(weight))
        largest = float(weight.max(initial=0.0) / max(weight.sum(), 1.0))
        if len(units) >= parts and largest <= most:
            break
        told.append(f"by {level} one connected component holds {largest:.1%} of the judgments")
    why = f"{' and '.join(told)}, therefore units are by {level}" if level != by else ""
    return Connected(labels, units, weight, level, why)


def _unit(whole: Graph, name: str, labels: Ints) -> Ints:
    """[rows of the table] component of each judgment (of its first node, where they differ)."""
    touched = whole.touches[name]
    unit = np.empty(len(touched.showing), dtype=np.int64)
    unit[touched.owner[::-1]] = labels[touched.node[::-1]]
    return unit


def _cut_components(data: PreferenceData, whole: Graph, of_node: Ints, names: list[str]) -> dict[str, PreferenceData]:
    """Rows of each part; `of_node` is the part of every node."""
    n_prompts, n_responses = data.height("prompts"), data.height("responses")
    prompts = of_node[:n_prompts]
    responses = of_node[whole.n_prompts : whole.n_prompts + n_responses]
    of_judgment: dict[str, tuple[Ints, Ints]] = {}
    for name in JUDGED:
        touched = whole.touches[name]
        low, high = np.full(len(touched.showing), len(names)), np.full(len(touched.showing), -1)
        np.minimum.at(low, touched.owner, of_node[touched.node])
        np.maximum.at(high, touched.owner, of_node[touched.node])
        of_judgment[name] = low, high
    parts = {}
    for index, name in enumerate(names):
        keep = {judged: (low == index) & (high == index) for judged, (low, high) in of_judgment.items()}
        keep |= {"prompts": prompts == index, "responses": (responses == index) | ~whole.content[:n_responses]}
        parts[name] = _with_media(rows_of(data, keep), data)
    return parts


def _shared_sentence(parts: dict[str, PreferenceData]) -> str:
    first, *others = parts.values()
    found = [leakage(first, other) for other in others]
    texts, talks = sum(f.response_contents for f in found), sum(f.conversations for f in found)
    return f"; {texts:,} response contents and {talks:,} conversations stand in more than one part"


# -- by annotator, by time ---------------------------------------------------------------------------------------------


def _by_annotator(
    data: PreferenceData, names: list[str], shares: Floats, rng: np.random.Generator, seed: int
) -> dict[str, PreferenceData]:
    who, weight = annotators_of(data)
    judging = weight > 0
    if not any(data.height(name) for name in JUDGED[:3]):
        judging[:] = True
    _need_units(int(judging.sum()), len(names), "annotators who judged")
    part = np.zeros(len(weight), dtype=np.int64)
    part[judging] = assign(weight[judging], shares, rng)
    judged = {name: np.where(rows >= 0, part[rows], 0) for name, rows in who.items()}
    anonymous = sum(int((who[name] < 0).sum()) for name in JUDGED[:3])
    note = f"annotator (seed {seed}), {int(judging.sum()):,} annotators who judged"
    if anonymous:
        note += f"; {anonymous:,} judgments without annotator went to {names[0]}"
    keep = {"annotators": part[: data.height("annotators")]}
    return _cut_judgments(data, names, judged, keep, note)


def annotators_of(data: PreferenceData) -> tuple[dict[str, Ints], Floats]:
    """Number of the annotator of each row, by table (-1 = not recorded), and judgments by annotator.

    Annotators are numbered as in the completed table of annotators.
    """
    people = data.completed().annotators["annotator_id"].cast(pl.String)
    who = {name: places(_text(data, name, "annotator_id"), people) for name in JUDGED}
    weight = np.zeros(people.len())
    for name in JUDGED[:3]:
        weight += np.bincount(who[name][who[name] >= 0], minlength=people.len())
    return who, weight


def _by_time(data: PreferenceData, names: list[str], shares: Floats) -> dict[str, PreferenceData]:
    times = {}
    for name in JUDGED:
        frame = data.select(name, ["presentation_id", "time"]).collect()
        shown = pl.when(pl.col("presentation_id").is_not_null()).then(pl.col("time").min().over("presentation_id"))
        times[name] = frame.select(pl.coalesce(shown, "time").alias("time").dt.timestamp("us"))["time"]
    asked = pl.concat([times[name] for name in JUDGED[:3]])
    moments = asked.drop_nulls().value_counts().sort("time")
    _need_units(moments.height, len(names), "moments of judging")
    weight = moments["count"].to_numpy().astype(np.float64)
    middle = (np.cumsum(weight) - weight / 2) / weight.sum()
    part = np.minimum(np.searchsorted(np.cumsum(shares), middle), len(names) - 1)
    starts = [int(moments["time"][int(np.argmax(part >= index))]) for index in range(1, len(names))]
    if len(np.unique(part)) < len(names):
        raise InputError("a few moments hold nearly all judgments.", cure="Split by something else, or more evenly.")
    judged = {
        name: np.where(t.is_null(), 0, np.searchsorted(starts, t.fill_null(starts[0] - 1).to_numpy(), side="right"))
        for name, t in times.items()
    }
    since = ", ".join(f"{name} from {np.datetime64(start, 'us')}Z" for name, start in zip(names[1:], starts))
    note = f"time, {since}"
    if asked.null_count():
        note += f"; {asked.null_count():,} judgments without time went to {names[0]}"
    return _cut_judgments(data, names, judged, {}, note)


def _cut_judgments(
    data: PreferenceData, names: list[str], judged: dict[str, Ints], also: dict[str, Ints], note: str
) -> dict[str, PreferenceData]:
    """Parts by judgment rows; every part has the prompts and responses it needs, the first also those nobody needs."""
    cut = [rows_of(data, {name: rows == i for name, rows in {**judged, **also}.items()}) for i in range(len(names))]
    parts = {name: noted(data, one.pruned(), name, note) for name, one in zip(names[1:], cut[1:])}
    idle = {}
    for target in ("prompts", "responses", "media", "annotators", "criteria"):
        key = TABLES[target].key
        taken = pl.concat([_text(part, target, key) for part in parts.values()])
        idle[target] = _text(data, target, key).filter(~_text(data, target, key).is_in(taken.implode())).to_frame("key")
    return {names[0]: noted(data, prune(cut[0], also=idle), names[0], note), **parts}


# -- frames ------------------------------------------------------------------------------------------------------------


def _text(data: PreferenceData, table: str, column: str) -> pl.Series:
    return data.select(table, [column]).select(pl.col(column).cast(pl.String)).collect()[column]


def rows_of(data: PreferenceData, keep: Mapping[str, npt.NDArray[np.bool_]]) -> PreferenceData:
    """Only these rows of these tables; scanned tables stay on disk."""
    return data.replace(**{name: data.lazy(name).filter(pl.Series(mask)) for name, mask in keep.items()})


def _with_media(part: PreferenceData, data: PreferenceData) -> PreferenceData:
    """Leave out media that only other parts show."""
    elsewhere = referred(data, "media").join(referred(part, "media"), on="key", how="anti")
    return part.replace(media=part.lazy("media").join(elsewhere, left_on="media_id", right_on="key", how="anti"))


def noted(data: PreferenceData, part: PreferenceData, name: str, how: str) -> PreferenceData:
    """The part with a step in its provenance that says how it came about and what it holds."""
    rows = [(part.height(table), data.height(table), table) for table in JUDGED[:3] if data.height(table)]
    counts = ", ".join(f"{n:,} of {total:,} {table}" for n, total, table in rows) or "no judgments"
    return part.replace(f"part {name!r} of a split by {how}: {counts}")
