"""What was asked, and of whom: the counts that everything else on the page rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.schema import JUDGMENTS, TIES
from preflearn.report.blocks import Block, Facts, Prose, Section, Tile, count, join, percent

SHOWN = 12
"""Rows of a breakdown; the others are summed up in a last one."""
_KINDS = {"person": "person", "judge": "automatic judge", "rule": "rule", "simulated": "simulated person"}
_PLURAL = {"person": "people", "simulated person": "simulated people"}


@dataclass(frozen=True)
class Asked:
    """Counts of a data set, identical judgments counted as often as they were made."""

    judgments: dict[str, int]
    """Judgments by table."""
    outcomes: dict[str, int]
    """Answers of the comparisons by outcome."""
    annotators: dict[str, int]
    """Annotators by kind; `not recorded` where the kind is not."""
    groups: dict[str, int]
    """Annotators by declared group."""
    systems: int
    prompts: int
    responses: int
    criteria: tuple[tuple[str, str, int], ...]
    """Name, text as shown, comparisons."""
    protocols: dict[str, int]
    first: datetime | None
    last: datetime | None
    simulated: bool
    signals: int = 0
    steps: tuple[str, ...] = field(default=())

    @property
    def n_annotators(self) -> int:
        """Everyone who judged or could have."""
        return sum(self.annotators.values())

    @property
    def decided(self) -> int:
        """Comparisons with a winner."""
        return self.outcomes.get("a", 0) + self.outcomes.get("b", 0)

    @property
    def ties(self) -> int:
        """Comparisons without one: ties, both good, both bad."""
        return sum(self.outcomes.get(name, 0) for name in TIES)


def ask(data: PreferenceData) -> Asked:
    """Count."""
    judgments = {name: _total(data, name) for name in JUDGMENTS if data.height(name)}
    times = [_times(data, name) for name in judgments]
    known = [time for pair in times for time in pair if time is not None]
    annotators = _breakdown(data, "annotators", "kind", weighted=False)
    return Asked(
        judgments=judgments,
        outcomes=_breakdown(data, "comparisons", "outcome"),
        annotators=annotators,
        groups=_breakdown(data, "annotators", "group", weighted=False)
        if _recorded(data, "annotators", "group")
        else {},
        systems=_distinct(data, "responses", "system"),
        prompts=data.height("prompts"),
        responses=data.height("responses"),
        criteria=_criteria(data),
        protocols=_breakdown(data, "comparisons", "protocol") if _recorded(data, "comparisons", "protocol") else {},
        first=min(known, default=None),
        last=max(known, default=None),
        simulated=bool(data.provenance.get("simulated")) or (bool(annotators) and set(annotators) == {"simulated"}),
        signals=data.height("signals"),
        steps=tuple(str(step) for step in data.provenance.get("steps", [])),
    )


def tiles(asked: Asked) -> list[Tile]:
    """The head of the page in figures."""
    out = []
    for table, word in (("comparisons", "comparison"), ("ratings", "rating"), ("rankings", "ranking")):
        if n := asked.judgments.get(table, 0):
            out.append(_tile(n, word))
    if asked.n_annotators:
        out.append(Tile(f"{asked.n_annotators:,}", people(asked)))
    if asked.systems > 1:
        out.append(_tile(asked.systems, "system"))
    if asked.prompts:
        out.append(_tile(asked.prompts, "prompt"))
    if asked.ties:
        answered = asked.decided + asked.ties
        out.append(Tile(percent(asked.ties / answered), "ties"))
    return out


def people(asked: Asked) -> str:
    """What the annotators are called."""
    kinds = [kind for kind in asked.annotators if kind in _KINDS]
    if len(kinds) == len(asked.annotators) == 1:
        word = _KINDS[kinds[0]]
        return _PLURAL.get(word, f"{word}s") if asked.n_annotators != 1 else word
    return "annotators" if asked.n_annotators != 1 else "annotator"


def subtitle(asked: Asked) -> str:
    """The page's one-sentence description of the data."""
    what = [count(n, table.removesuffix("s")) for table, n in asked.judgments.items()]
    who = f" by {asked.n_annotators:,} {people(asked)}" if asked.n_annotators else " by annotators who are not recorded"
    about = []
    if asked.systems > 1:
        about.append(count(asked.systems, "system"))
    if asked.prompts:
        about.append(count(asked.prompts, "prompt"))
    tail = f", about {join(about)}" if about else ""
    return f"{join(what) or 'No judgments'}{who if what else ''}{tail}{_period(asked)}."


def section(asked: Asked) -> Section:
    """What was asked, and of whom."""
    blocks: list[Block] = []
    for name, text, n in asked.criteria:
        if text:
            blocks.append(Prose(f"The question “{name}” was put as: “{text}” ({count(n, 'comparison')})."))
    rows = [(f"Judgments: {table}", f"{n:,}") for table, n in asked.judgments.items()]
    if asked.signals:
        rows.append(("Observed signals (never counted as votes)", f"{asked.signals:,}"))
    for name, word in (("a", "the first-named side wins"), ("b", "the second-named side wins"), ("tie", "tie")):
        rows += [(f"Answer: {word}", f"{asked.outcomes[name]:,}")] if name in asked.outcomes else []
    for name, word in (("both_good", "both good"), ("both_bad", "both bad"), ("skip", "skipped")):
        rows += [(f"Answer: {word}", f"{asked.outcomes[name]:,}")] if name in asked.outcomes else []
    if unanswered := asked.outcomes.get("not recorded", 0):
        rows.append(("No answer, or a teacher's probability", f"{unanswered:,}"))
    if len(asked.criteria) > 1:
        rows += [(f"Criterion: {name}", f"{n:,}") for name, _, n in asked.criteria[:SHOWN]]
    rows += [(f"Annotators: {_kind(kind)}", f"{n:,}") for kind, n in asked.annotators.items()]
    rows += [(f"Group: {group}", f"{n:,}") for group, n in _short(asked.groups)]
    if len(asked.protocols) > 1:
        rows += [(f"Protocol: {name}", f"{n:,}") for name, n in _short(asked.protocols)]
    for word, n in (("Systems", asked.systems), ("Prompts", asked.prompts), ("Responses", asked.responses)):
        rows += [(word, f"{n:,}")] if n else []
    blocks.append(Facts("What the data holds", tuple(rows)))
    if asked.steps:
        told = " ".join(f"{step[0].upper()}{step[1:].rstrip('.')}." for step in asked.steps[-5:])
        blocks.append(Prose(f"What was done to the data before: {told}"))
    return Section("asked", "What was asked, and of whom", tuple(blocks))


# -- counting ----------------------------------------------------------------------------------------------------------


def _recorded(data: PreferenceData, table: str, column: str) -> bool:
    return column in data.columns(table) and bool(data.height(table))


def _total(data: PreferenceData, table: str) -> int:
    frame = data.select(table, ["count"]).select(pl.col("count").cast(pl.Int64).fill_null(1).sum())
    return int(frame.collect(engine="streaming").item() or 0)


def _breakdown(data: PreferenceData, table: str, column: str, *, weighted: bool = True) -> dict[str, int]:
    if not data.height(table):
        return {}
    n = pl.col("count").cast(pl.Int64).fill_null(1).sum() if weighted else pl.len()
    frame = data.select(table, [column, *(["count"] if weighted else [])])
    label = pl.col(column).cast(pl.String).fill_null("not recorded").alias("value")
    counted = frame.group_by(label).agg(n.alias("n")).sort("n", "value", descending=[True, False])
    return dict(counted.collect(engine="streaming").iter_rows())


def _distinct(data: PreferenceData, table: str, column: str) -> int:
    if not _recorded(data, table, column):
        return 0
    return int(data.lazy(table).select(pl.col(column).drop_nulls().n_unique()).collect(engine="streaming").item())


def _times(data: PreferenceData, table: str) -> Sequence[datetime | None]:
    if not _recorded(data, table, "time"):
        return ()
    frame = data.lazy(table).select(pl.col("time").min().alias("first"), pl.col("time").max().alias("last"))
    return frame.collect(engine="streaming").row(0)


def _criteria(data: PreferenceData) -> tuple[tuple[str, str, int], ...]:
    asked = _breakdown(data, "comparisons", "criterion_id")
    known = data.select("criteria", ["criterion_id", "name", "text"]).select(
        pl.col("criterion_id").cast(pl.String), "name", "text"
    )
    words = {key: (name, text) for key, name, text in known.collect().iter_rows()}
    out = []
    for key, n in asked.items():
        if key != "not recorded":
            name, text = words.get(key, (None, None))
            out.append((name or key, text or "", n))
    return tuple(out)


# -- words -------------------------------------------------------------------------------------------------------------


def _tile(n: int, word: str) -> Tile:
    return Tile(f"{n:,}", word if n == 1 else f"{word}s")


def _kind(kind: str) -> str:
    word = _KINDS.get(kind, kind)
    return _PLURAL.get(word, f"{word}s") if kind in _KINDS else f"kind {kind}"


def _short(values: dict[str, int]) -> list[tuple[str, int]]:
    shown = list(values.items())
    if len(shown) <= SHOWN:
        return shown
    return [*shown[:SHOWN], (f"{len(shown) - SHOWN:,} others", sum(n for _, n in shown[SHOWN:]))]


def _period(asked: Asked) -> str:
    if asked.first is None or asked.last is None:
        return ""
    first, last = f"{asked.first:%-d %B %Y}", f"{asked.last:%-d %B %Y}"
    return f", on {first}" if first == last else f", {first} to {last}"
