"""Hold out prompts and annotators at once: train on neither, and know what is new to training in each test row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.arrays import Ints
from preflearn.data.fingerprints import pair_contents
from preflearn.data.split import annotators_of, assign, connected, noted, rows_of
from preflearn.data.split_components import JUDGED, Graph, graph
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

Bools = npt.NDArray[np.bool_]

NEW_BOTH, NEW_PROMPT, NEW_ANNOTATOR, KNOWN = "new_both", "new_prompt", "new_annotator", "known"
QUADRANTS = (NEW_BOTH, NEW_PROMPT, NEW_ANNOTATOR, KNOWN)
WORDS = {
    NEW_BOTH: "prompts and annotators unseen in training",
    NEW_PROMPT: "prompts unseen, annotators seen",
    NEW_ANNOTATOR: "prompts seen, annotators unseen",
    KNOWN: "both seen",
}


@dataclass(frozen=True)
class HeldOut:
    """Training data, and test data by what training has not seen.

    Attributes:
        train: judgments to fit on.
        quadrants: `new_both`, `new_prompt`, `new_annotator`, `known` -> judgments; those without any are absent.
        rows: comparisons of training and of every quadrant.
        left_out: comparisons in none of them (their responses lie on both sides).
        by: what was held out: prompt, annotator, both.
        unit: what keeps prompts together (see `split`), None where prompts are not held out.
        notes: what a reader should know.
    """

    train: PreferenceData
    quadrants: dict[str, PreferenceData]
    rows: dict[str, int]
    left_out: int
    by: tuple[str, ...]
    unit: str | None
    notes: list[str] = field(default_factory=list)

    @property
    def test(self) -> PreferenceData:
        """The strictest quadrant: everything new that was held out."""
        return next(self.quadrants[name] for name in QUADRANTS if name in self.quadrants)

    def as_dict(self) -> dict[str, Any]:
        """Counts and notes, without the data."""
        return {
            "rows": dict(self.rows),
            "left_out": self.left_out,
            "by": list(self.by),
            "unit": self.unit,
            "notes": list(self.notes),
        }

    def table(self) -> pl.DataFrame:
        """One row per part: `part`, `meaning`, `comparisons`."""
        rows = [(name, WORDS.get(name, "training"), n) for name, n in self.rows.items()]
        return pl.DataFrame(
            rows, schema={"part": pl.String, "meaning": pl.String, "comparisons": pl.Int64}, orient="row"
        )

    def lines(self) -> list[str]:
        """Short lines for people."""
        what = " and ".join(f"{name}s" for name in self.by)
        out = [f"split by {what}: {self.rows['train']:,} comparisons for training"]
        out += [f"  {self.rows[name]:,} held out: {WORDS[name]}" for name in QUADRANTS if self.rows[name]]
        if self.left_out:
            out.append(f"  {self.left_out:,} left out: their responses lie on both sides")
        return [*out, *(f"note: {note}" for note in self.notes)]


def hold_out(
    data: PreferenceData,
    *,
    prompts: float = 0.25,
    annotators: float = 0.25,
    known: float = 0.1,
    seed: int = 0,
) -> HeldOut:
    """Hold out prompts and annotators; fit on what concerns neither.

    Prompts are held out with everything connected to them as in `split(by="prompt")`. A judgment of a held-out
    annotator about a held-out prompt is new in both; the mixed ones are new in one. Of the rest a small share is kept
    back too, one annotator's judgments of one pair together, to show what a model reaches for prompts and people it
    knows. What each test row is called follows from what training really holds in the end: a prompt that only held-out
    people judged is new, whichever side it was drawn for.

    Args:
        prompts: share of the judgments whose prompts are held out; where prompts are not recorded only annotators are.
        annotators: share of the judgments whose annotators are held out; likewise.
        known: share of the remaining comparisons kept back.
        seed: same data and arguments give the same parts.

    Raises:
        InputError: a share outside (0, 1) (`known` may be 0), no comparisons, or neither prompts nor annotators to hold
            out, or nothing left for training.
    """
    for name, share in (("prompts", prompts), ("annotators", annotators), ("known", known)):
        if not 0 <= share < 1 or (not share and name != "known"):
            raise InputError(f"{name} is a share between 0 and 1.", value=share)
    if not data.height("comparisons"):
        raise InputError("there are no comparisons to split.")
    rng = np.random.default_rng(seed)
    whole = graph(data)
    who, judged_by = annotators_of(data)
    notes: list[str] = []
    sides = _prompt_sides(whole, prompts, rng, notes)
    people = _people_sides(judged_by, annotators, rng, notes)
    if sides is None and people is None:
        raise InputError(
            "neither prompts nor annotators are recorded for at least two different judgments.",
            cure="Split by rows of your own choice, or record who judged what.",
        )
    away = {name: _away(whole, name, sides, who[name], people) for name in JUDGED}
    straddling = {name: _straddles(whole, name, sides) for name in JUDGED}
    train = {name: ~away[name] & ~straddling[name] for name in JUDGED}
    _keep_back(data, who["comparisons"], train["comparisons"], known, rng)
    if not train["comparisons"].any():
        raise InputError("nothing is left for training.", cure="Hold out smaller shares.")
    quadrant = _quadrants(whole, sides, who, people, train, straddling)
    anonymous = int((who["comparisons"] < 0).sum()) if people is not None else 0
    if anonymous:
        notes.append(f"{anonymous:,} comparisons have no annotator; they count as made by people seen in training.")
    by = tuple(name for name, found in (("prompt", sides), ("annotator", people)) if found is not None)
    how = f"{' and '.join(by)} (seed {seed})"
    parts = {
        name: noted(data, rows_of(data, {t: quadrant[t] == k for t in JUDGED}).pruned(), name, how)
        for k, name in enumerate(QUADRANTS)
        if (quadrant["comparisons"] == k).any()
    }
    rows = {"train": int(train["comparisons"].sum())}
    rows |= {name: int((quadrant["comparisons"] == k).sum()) for k, name in enumerate(QUADRANTS)}
    if "prompt" in by and "annotator" in by and not rows[NEW_BOTH]:
        notes.append("no judgment is of a held-out annotator about a held-out prompt.")
    return HeldOut(
        train=noted(data, rows_of(data, train).pruned(), "train", how),
        quadrants=parts,
        rows=rows,
        left_out=int(straddling["comparisons"].sum()),
        by=by,
        unit=None if sides is None else sides.unit,
        notes=notes,
    )


@dataclass(frozen=True, eq=False)
class _Sides:
    """Component of every node, whether it is held out, and how strictly components are connected."""

    label: Ints
    away: Bools
    unit: str


def _prompt_sides(whole: Graph, share: float, rng: np.random.Generator, notes: list[str]) -> _Sides | None:
    content = whole.n_prompts + len(whole.content)
    nodes = np.concatenate([whole.touches[name].node for name in JUDGED[:3]])
    if len(np.unique(nodes[nodes < content])) < 2:
        notes.append("prompts are not recorded (or there is one): only annotators are held out.")
        return None
    found = connected(whole, "prompt", 2, 1 - share / 2)
    if len(found.units) < 2:
        notes.append("all prompts are connected: only annotators are held out.")
        return None
    if found.why:
        notes.append(f"{found.why}.")
    away = np.zeros(len(found.weight), np.bool_)
    away[found.units] = assign(found.weight[found.units], np.array([1 - share, share]), rng) == 1
    return _Sides(found.labels, away[found.labels], found.level)


def _people_sides(
    weight: npt.NDArray[np.float64], share: float, rng: np.random.Generator, notes: list[str]
) -> Bools | None:
    judging = np.flatnonzero(weight > 0)
    if len(judging) < 2:
        notes.append("annotators are not recorded (or there is one): only prompts are held out.")
        return None
    away = np.zeros(len(weight), np.bool_)
    away[judging] = assign(weight[judging], np.array([1 - share, share]), rng) == 1
    return away


def _extremes(whole: Graph, name: str, of_node: Bools) -> tuple[Bools, Bools]:
    """Whether all, and whether any, of the nodes that each row of a table touches have a property."""
    touched = whole.touches[name]
    least, most = np.ones(len(touched.showing), np.bool_), np.zeros(len(touched.showing), np.bool_)
    np.logical_and.at(least, touched.owner, of_node[touched.node])
    np.logical_or.at(most, touched.owner, of_node[touched.node])
    return least, most


def _straddles(whole: Graph, name: str, sides: _Sides | None) -> Bools:
    if sides is None:
        return np.zeros(len(whole.touches[name].showing), np.bool_)
    least, most = _extremes(whole, name, sides.away)
    return np.asarray(most & ~least)


def _away(whole: Graph, name: str, sides: _Sides | None, who: Ints, people: Bools | None) -> Bools:
    """Judgments about a held-out prompt or by a held-out annotator."""
    away = np.zeros(len(who), np.bool_)
    if sides is not None:
        away |= _extremes(whole, name, sides.away)[1]
    if people is not None:
        away |= (who >= 0) & people[who]
    return away


def _keep_back(data: PreferenceData, who: Ints, train: Bools, share: float, rng: np.random.Generator) -> None:
    """Take comparisons out of training, one annotator's about one pair together (unnamed ones singly), in place."""
    if not share:
        return
    unit = (
        pair_contents(data)
        .with_columns(pl.Series("who", np.where(who < 0, -1 - np.arange(len(who)), who)))
        .select(pl.struct("who", "low", "high").rank("dense").cast(pl.Int64))
        .to_series()
        .to_numpy()
    )
    chosen = np.unique(unit[train])
    kept_back = chosen[rng.random(len(chosen)) < share]
    train &= ~np.isin(unit, kept_back)


def _quadrants(
    whole: Graph,
    sides: _Sides | None,
    who: dict[str, Ints],
    people: Bools | None,
    train: dict[str, Bools],
    straddling: dict[str, Bools],
) -> dict[str, Ints]:
    """Number of the quadrant of every row by table; -1 for training and for what is left out."""
    seen_node: Bools | None = None
    if sides is not None:
        seen_label = np.zeros(int(sides.label.max(initial=-1)) + 1, np.bool_)
        for name in JUDGED:
            touched = whole.touches[name]
            seen_label[sides.label[touched.node[train[name][touched.owner]]]] = True
        seen_node = seen_label[sides.label]
    seen_person: Bools | None = None
    if people is not None:
        seen_person = np.zeros(len(people), np.bool_)
        for name in JUDGED:
            known = who[name][train[name]]
            seen_person[known[known >= 0]] = True
    out = {}
    for name in JUDGED:
        n = len(train[name])
        new_prompt = np.zeros(n, np.bool_) if seen_node is None else ~_extremes(whole, name, seen_node)[1]
        new_person = np.zeros(n, np.bool_) if seen_person is None else (who[name] >= 0) & ~seen_person[who[name]]
        quadrant = np.select([new_prompt & new_person, new_prompt, new_person], [0, 1, 2], 3).astype(np.int64)
        quadrant[train[name] | straddling[name]] = -1
        out[name] = quadrant
    return out
