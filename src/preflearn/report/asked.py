"""What was asked, and of whom: the counts that everything else on the page rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.schema import JUDGMENTS, TIES
from preflearn.evaluate import Description
from preflearn.evaluate.describe_comparisons import Question
from preflearn.report.blocks import Block, Facts, Prose, Section, Tile, count, join, percent

SHOWN = 8
"""Values of a breakdown; the others are summed up in a last one."""
_KINDS = {
    "person": ("person", "people"),
    "judge": ("automatic judge", "automatic judges"),
    "rule": ("rule", "rules"),
    "simulated": ("simulated person", "simulated people"),
}
_ANSWERS = {
    "a": "First-named side wins",
    "b": "Second-named side wins",
    "tie": "Tie",
    "both_good": "Both good",
    "both_bad": "Both bad",
    "skip": "Skipped",
    "soft": "A teacher's probability",
    "unjudged": "Not answered",
}


@dataclass(frozen=True)
class Asked:
    """A description of the data, and what a page needs beside it."""

    description: Description
    systems: int
    criteria: tuple[tuple[str, str], ...]
    """Name and text of the criteria whose text is recorded."""
    first: datetime | None
    last: datetime | None
    simulated: bool
    steps: tuple[str, ...]

    @property
    def judgments(self) -> dict[str, int]:
        """Judgments by table, identical ones counted as often as they were made."""
        found = self.description
        parts = {"comparisons": found.comparisons, "ratings": found.ratings, "rankings": found.rankings}
        return {name: part.judgments for name, part in parts.items() if part is not None}

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Answers of the comparisons."""
        return self.description.comparisons.outcomes if self.description.comparisons is not None else {}

    @property
    def decided(self) -> int:
        """Comparisons with a winner."""
        return self.outcomes.get("a", 0) + self.outcomes.get("b", 0)

    @property
    def ties(self) -> int:
        """Comparisons without one: ties, both good, both bad."""
        return sum(self.outcomes.get(name, 0) for name in TIES)

    @property
    def annotators(self) -> int:
        """Who judged."""
        return self.description.people.active if self.description.people is not None else 0

    def kinds(self) -> dict[str, int]:
        """Annotators by kind, where kinds are recorded."""
        people = self.description.people
        traits = people.traits.get("kind", {}) if people is not None else {}
        return {kind: share.annotators for kind, share in traits.items()}

    def question(self, criterion: str | None) -> Question | None:
        """The question with most judgments (of a criterion, if one is meant)."""
        found = self.description.comparisons
        questions = found.questions if found is not None else ()
        return next((q for q in questions if criterion is None or q.criterion == criterion), None)


def ask(data: PreferenceData, description: Description) -> Asked:
    """What a page says of the data itself."""
    known = [time for name in JUDGMENTS for time in _times(data, name) if time is not None]
    texts = data.select("criteria", ["criterion_id", "name", "text"]).filter(pl.col("text").is_not_null()).collect()
    kinds = description.people.traits.get("kind", {}) if description.people is not None else {}
    return Asked(
        description=description,
        systems=_systems(data),
        criteria=tuple((name or str(key), text) for key, name, text in texts.iter_rows()),
        first=min(known, default=None),
        last=max(known, default=None),
        simulated=bool(data.provenance.get("simulated")) or set(kinds) == {"simulated"},
        steps=tuple(str(step) for step in data.provenance.get("steps", [])),
    )


def tiles(asked: Asked) -> list[Tile]:
    """The head of the page in figures."""
    out = [_tile(n, table.removesuffix("s")) for table, n in asked.judgments.items()]
    if asked.annotators:
        out.append(Tile(f"{asked.annotators:,}", people(asked)))
    if asked.systems > 1:
        out.append(_tile(asked.systems, "system"))
    if n := asked.description.tables.get("prompts", 0):
        out.append(_tile(n, "prompt"))
    if asked.ties:
        out.append(Tile(percent(asked.ties / (asked.decided + asked.ties)), "ties"))
    return out


def people(asked: Asked) -> str:
    """What the annotators are called."""
    kinds = list(asked.kinds())
    singular, plural = _KINDS[kinds[0]] if len(kinds) == 1 and kinds[0] in _KINDS else ("annotator", "annotators")
    return singular if asked.annotators == 1 else plural


def subtitle(asked: Asked) -> str:
    """The page's one-sentence description of the data."""
    what = [count(n, table.removesuffix("s")) for table, n in asked.judgments.items()]
    if not what:
        return "The data set holds no judgments."
    who = f"by {asked.annotators:,} {people(asked)}" if asked.annotators else "by people who are not recorded"
    about = [count(asked.systems, "system")] if asked.systems > 1 else []
    if n := asked.description.tables.get("prompts", 0):
        about.append(count(n, "prompt"))
    return f"{join(what)} {who}{f', about {join(about)}' if about else ''}{_period(asked)}."


def section(asked: Asked) -> Section:
    """What was asked, and of whom."""
    found = asked.description
    blocks: list[Block] = [
        Prose(f"The question “{name}” was put as: “{text}”") for name, text in asked.criteria[:SHOWN]
    ]
    facts = [(f"{table.capitalize()}", f"{n:,}") for table, n in asked.judgments.items()]
    if found.signals is not None:
        facts.append(("Observed signals, never counted as votes", f"{found.signals.rows:,}"))
    if asked.systems:
        facts.append(("Systems", f"{asked.systems:,}"))
    facts += [
        (name.capitalize(), f"{found.tables[name]:,}") for name in ("prompts", "responses") if name in found.tables
    ]
    blocks.append(Facts("What the data holds", tuple(facts)))
    if asked.outcomes:
        answers = tuple((_ANSWERS.get(name, name), f"{n:,}") for name, n in asked.outcomes.items())
        blocks.append(Facts("Answers", answers))
    if found.people is not None and found.people.recorded:
        blocks += _people(asked)
    if found.comparisons is not None and len(found.comparisons.questions) > 1:
        asked_of = [(_named(q), f"{q.judgments:,}") for q in found.comparisons.questions[:SHOWN]]
        blocks.append(Facts("Judgments by question", (*asked_of, *_rest(found.comparisons.questions))))
    if asked.steps:
        told = " ".join(f"{step[0].upper()}{step[1:].rstrip('.')}." for step in asked.steps[-5:] if step)
        blocks.append(Prose(f"What was done to the data before: {told}"))
    return Section("asked", "What was asked, and of whom", tuple(blocks))


def _people(asked: Asked) -> list[Block]:
    found = asked.description.people
    assert found is not None
    facts = [("Judged", f"{found.active:,} of {found.recorded:,} recorded")]
    if found.per_annotator.median is not None:
        facts.append(("Judgments each (median)", f"{found.per_annotator.median:,.0f}"))
    if found.busiest_tenth is not None:
        facts.append(("Made by the busiest tenth", percent(found.busiest_tenth)))
    if found.anonymous:
        facts.append(("Judgments of nobody recorded", f"{found.anonymous:,}"))
    for trait, values in found.traits.items():
        shown = list(values.items())[:SHOWN]
        facts += [(f"{trait.capitalize()}: {value}", f"{share.annotators:,}") for value, share in shown]
        hidden = len(values) - len(shown) + found.further_values.get(trait, 0)
        if hidden:
            facts.append((f"{trait.capitalize()}: {hidden:,} more values", ""))
    return [Facts("Who judged", tuple(facts))]


# -- counting and words ------------------------------------------------------------------------------------------------


def _systems(data: PreferenceData) -> int:
    if "system" not in data.columns("responses"):
        return 0
    distinct = data.lazy("responses").select(pl.col("system").drop_nulls().n_unique())
    return int(distinct.collect(engine="streaming").item())


def _times(data: PreferenceData, table: str) -> tuple[datetime | None, ...]:
    if "time" not in data.columns(table):
        return ()
    ends = data.lazy(table).select(pl.col("time").min().alias("first"), pl.col("time").max().alias("last"))
    return tuple(ends.collect(engine="streaming").row(0))


def _named(question: Question) -> str:
    return ", ".join(part for part in (question.criterion, question.protocol) if part) or "not named"


def _rest(questions: tuple[Question, ...]) -> list[tuple[str, str]]:
    hidden = questions[SHOWN:]
    return [(f"{len(hidden):,} more", f"{sum(q.judgments for q in hidden):,}")] if hidden else []


def _tile(n: int, word: str) -> Tile:
    return Tile(f"{n:,}", word if n == 1 else f"{word}s")


def _period(asked: Asked) -> str:
    if asked.first is None or asked.last is None:
        return ""
    first, last = (f"{time.day} {time:%B %Y}" for time in (asked.first, asked.last))
    return f", on {first}" if first == last else f", {first} to {last}"
