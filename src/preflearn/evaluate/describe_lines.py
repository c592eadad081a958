"""A description as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from preflearn.evaluate.connectivity import Connectivity
from preflearn.evaluate.describe_comparisons import Comparisons, Question
from preflearn.evaluate.describe_people import People
from preflearn.evaluate.describe_tables import RankingQuestion, RatingQuestion, Signals
from preflearn.evaluate.plain import Spread

if TYPE_CHECKING:
    from preflearn.evaluate.description import Description

_LISTED = 8


def lines(found: Description) -> list[str]:
    """See `Description.lines`."""
    out = [", ".join(f"{n:,} {table}" for table, n in found.tables.items()) or "the data set is empty"]
    if found.imports is not None:
        out += _imports(found.imports)
    if found.people is not None:
        out += _people(found.people)
    if found.comparisons is not None:
        out += _comparisons(found.comparisons)
    if found.ratings is not None:
        out.append(f"ratings: {found.ratings.judgments:,} judgments in {found.ratings.rows:,} rows")
        out += _per(found.ratings.per)
        for rated in found.ratings.questions:
            out += _rated(rated)
        out += _further(*found.ratings.further_questions)
    if found.rankings is not None:
        out.append(f"rankings: {found.rankings.judgments:,} judgments in {found.rankings.rows:,} rows")
        out += _per(found.rankings.per)
        for ranked in found.rankings.questions:
            out += _ranked(ranked)
        out += _further(*found.rankings.further_questions)
    if found.signals is not None:
        out += _signals(found.signals)
    return [*out, *found.notes]


def _imports(report: Mapping[str, object]) -> Iterator[str]:
    read, kept = report.get("read"), report.get("kept")
    if isinstance(read, int) and isinstance(kept, int):
        yield f"import: {read:,} rows read, {kept:,} kept"
    for word in ("dropped", "rejected"):
        counts = report.get(word)
        if isinstance(counts, Mapping):
            yield from (f"  {word} {n:,}: {why}" for why, n in counts.items())


def _people(found: People) -> Iterator[str]:
    some = found.recorded or found.active
    yield f"annotators: {found.active:,} judged, {found.recorded:,} recorded" if some else "annotators: none"
    if found.active:
        busiest = f"; the busiest tenth made {found.busiest_tenth:.0%}" if found.busiest_tenth is not None else ""
        yield f"  judgments each: {found.per_annotator.text()}{busiest}"
    if found.anonymous:
        yield f"  {found.anonymous:,} judgments have no annotator"
    for trait, values in found.traits.items():
        listed = [f"{value} {share.annotators:,} ({share.judgments:,} judgments)" for value, share in values.items()]
        yield f"  {trait}: {_list(listed, found.further_values.get(trait, 0))}"


def _comparisons(found: Comparisons) -> Iterator[str]:
    yield f"comparisons: {found.judgments:,} judgments in {found.rows:,} rows: {_tally(found.outcomes)}"
    yield from _per(found.per)
    for question in found.questions:
        yield from _question(question)
    yield from _further(*found.further_questions)


def _question(found: Question) -> Iterator[str]:
    yield _title(found)
    yield f"  answers: {_tally(found.outcomes)}"
    yield f"  ties: {found.ties.text(percent=True)}, clustered by {found.clustered_by}"
    if found.against_itself:
        yield f"  a response against itself: {found.against_itself:,} judgments, left out of agreement and graph"
    overlap = found.overlap
    share = "" if overlap.share is None else f" ({overlap.share:.0%})"
    yield f"  items: {overlap.items:,}, judged by two or more people: {overlap.shared:,}{share}"
    if overlap.shared:
        agreement = found.agreement
        if not agreement.people_known:
            yield "  annotators are not recorded: every judgment is taken as another person's"
        yield f"  two people agree: {agreement.observed.text(percent=True)}"
        yield f"  all agree about an item: {agreement.unanimous.text(percent=True)}"
        yield f"  all who decide agree: {agreement.unanimous_decided.text(percent=True)}"
        yield f"  Krippendorff's alpha: nominal {agreement.alpha_nominal.text()}"
        yield f"  Krippendorff's alpha: ordinal {agreement.alpha_ordinal.text()}"
        yield f"  ceiling of accuracy against one person: {agreement.ceiling.text(percent=True)}"
    else:
        yield "  agreement: not computable because nothing was judged by two or more people"
    if found.agreement.self_agreement.value is not None:
        yield f"  one person asked again agrees: {found.agreement.self_agreement.text(percent=True)}"
    yield f"  the side shown first wins: {found.position.first_won.text(percent=True)}"
    yield f"  the longer text wins: {found.length.longer_won.text(percent=True)}"
    if found.length.standard_deviation is not None:
        per = f"per {found.length.standard_deviation:,.0f} characters (1 sd)"
        yield f"  length slope, logits {per}: {found.length.slope.text()}"
    if found.connectivity is not None:
        yield from _graph(found.connectivity)


def _graph(found: Connectivity) -> Iterator[str]:
    yield (
        f"  {found.items:,} {found.among}, {found.pairs:,} of {found.possible_pairs:,} pairs compared, "
        f"{found.components:,} component(s)" + (", strongly connected" if found.strongly_connected else "")
    )
    if found.components > 1:
        yield f"  {found.among} of different components cannot be compared; the largest has {found.largest_component:,}"
    for word, names, n in (
        ("undefeated", found.undefeated, found.n_undefeated),
        ("winless", found.winless, found.n_winless),
    ):
        if n and found.among == "systems":
            yield f"  {word}: {_list(list(names[:_LISTED]), n - len(names[:_LISTED]))}"
        elif n:
            yield f"  {word}: {n:,} {found.among}"


def _rated(found: RatingQuestion) -> Iterator[str]:
    yield _title(found)
    if found.value.value is not None:
        yield f"  mean {found.value.text()}; {found.values.text()}"
    if found.histogram is not None and len(found.histogram) > 1:
        yield f"  values: {_tally(found.histogram)}"
    if found.labels:
        yield f"  labels: {_tally(found.labels)}" + (f" and {found.further_labels:,} more" * bool(found.further_labels))
    if found.unjudged:
        yield f"  not judged: {found.unjudged:,}"
    if found.means_of_several:
        yield f"  rows that are means over several people: {found.means_of_several:,}"
    yield f"  items: {found.items:,}, rated by two or more people: {found.shared:,}"
    if found.value.value is not None:
        yield f"  Krippendorff's alpha of values: {found.alpha_interval.text()}"
    if found.labels:
        yield f"  Krippendorff's alpha of labels: {found.alpha_nominal.text()}"


def _ranked(found: RankingQuestion) -> Iterator[str]:
    yield _title(found)
    yield f"  kinds: {_tally(found.kinds)}; responses shown: {found.sizes.text()}"
    yield f"  with ties: {found.tied.text(percent=True)}"
    yield f"  with unranked responses: {found.incomplete.text(percent=True)}"


def _signals(found: Signals) -> Iterator[str]:
    yield f"signals: {found.rows:,}"
    for kind in found.kinds:
        yield f"  {kind.kind}: {kind.rows:,} on {kind.responses:,} responses by {kind.annotators:,} annotators"


def _per(per: Mapping[str, Spread]) -> Iterator[str]:
    for name, distribution in per.items():
        if distribution.n > 1:
            yield f"  judgments per {name} ({distribution.n:,}): {distribution.text()}"


def _title(found: Question | RatingQuestion | RankingQuestion) -> str:
    parts = {"criterion": found.criterion, "protocol": found.protocol, "answered by": found.answered_by}
    named = [f"{word} {name}" for word, name in parts.items() if name is not None]
    return f"- {', '.join(named) or 'one question'}: {found.judgments:,} judgments"


def _further(questions: int, judgments: int) -> Iterator[str]:
    if questions:
        yield f"- {questions:,} further questions with {judgments:,} judgments are not itemised"


def _tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in counts.items()) or "none"


def _list(names: list[str], further: int) -> str:
    hidden = max(0, len(names) - _LISTED) + further
    return ", ".join(names[:_LISTED]) + (f" and {hidden:,} more" if hidden else "")
