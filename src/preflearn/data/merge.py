"""Several data sets become one: equal things once, different things under one id renamed, every judgment kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from preflearn.data.columns import attach
from preflearn.data.convert_lists import fresh_ids
from preflearn.data.reading import ImportReport
from preflearn.data.rename import GROUPS, Names, rename
from preflearn.data.schema import JUDGMENTS, TABLES
from preflearn.data.tables import PreferenceData, plain
from preflearn.errors import InputError

_THINGS = ("media", "annotators", "criteria", "prompts", "responses")
"""Tables whose rows are the same thing if nothing that both record differs."""
_EVENTS = ("comparisons", "ratings", "rankings", "signals")
"""Tables whose rows are the same only if they are equal in everything."""


def merge(*datasets: PreferenceData, names: Sequence[str] | None = None, apart: Sequence[str] = ()) -> PreferenceData:
    """One data set of all rows and all columns; its `report` and its provenance say what was unified and renamed.

    A prompt, response, medium, annotator or criterion with an id that is already there is the same one if no column
    that both record differs; what only one records is added. A judgment or signal is the same only if it is equal in
    everything. Whatever else shares an id is another thing: the later one is renamed `NAME/ID`, and what refers to it
    follows. Showings (presentation_id) of two data sets are the same only where a judgment is; conversations and sets
    only where a prompt or response is. Ids that an import made from line numbers say nothing across sources: votes of
    two files are never taken for the same, however equal.

    Different answers of one annotator to one question in two data sets are kept, and counted. All is read into memory.

    Args:
        names: one per data set, for renaming; `set1`, `set2`, ... where not given.
        apart: tables (say `annotators`) whose equal ids are chance: the later ones are always renamed.

    Raises:
        InputError: no data set; names that are not one per data set and distinct; columns of one name whose types
            cannot be joined; a key that is null or stands twice within one data set.
    """
    if not datasets:
        raise InputError("there is nothing to merge.", cure="Give at least one data set.")
    labels = list(names) if names is not None else [f"set{i + 1}" for i in range(len(datasets))]
    if len(labels) != len(datasets) or len(set(labels)) != len(labels):
        raise InputError(f"the names {labels} are not one per data set and distinct.", cure="Give each its own.")
    if wrong := [name for name in apart if name not in _THINGS]:
        raise InputError(f"{wrong[0]!r} cannot be kept apart.", cure=f"Choose among: {', '.join(_THINGS)}.")
    report = ImportReport(source=" + ".join(labels), format="merge")
    for label, data in zip(labels, datasets):
        report.read += sum(data.height(name) for name in JUDGMENTS)
        _check_keys(data, label)
        if data.report:
            report.reject(data.report.rejected)
    whole = datasets[0].completed()
    for label, data in zip(labels[1:], datasets[1:]):
        before = datasets[: labels.index(label)]
        chance = {
            name for name in _EVENTS if (own := _sources(data, name)) and own.isdisjoint(_all_sources(before, name))
        }
        whole = _merge_two(whole, data.completed(), label, tuple(apart), chance, report)
    told = [f"merged {report.source}: {line.strip()}" for line in report.lines()[1:]]
    provenance = {
        "merged": {label: _provenance(data) for label, data in zip(labels, datasets)},
        "steps": told or [f"merged {report.source}"],
    }
    return PreferenceData(provenance=provenance, report=report, **{name: whole.lazy(name) for name in TABLES})


def _provenance(data: PreferenceData) -> dict[str, Any]:
    """What is known of a data set's making, also where it was imported just now and never saved."""
    fresh = data.report is not None and data.report.format not in ("merge", "preflearn")
    return {"import": data.report.as_dict(), **data.provenance} if fresh and data.report else dict(data.provenance)


def _sources(data: PreferenceData, name: str) -> set[str]:
    """The files from whose line numbers ids of this table were made."""
    found: set[str] = set()
    waiting = [_provenance(data)]
    while waiting:
        made = waiting.pop()
        if name in made.get("import", {}).get("made_ids", ()):
            found.add(made["import"]["source"])
        waiting += made.get("merged", {}).values()
    return found


def _all_sources(datasets: Sequence[PreferenceData], name: str) -> set[str]:
    return set().union(*(_sources(data, name) for data in datasets))


def _check_keys(data: PreferenceData, label: str) -> None:
    for name in data.counts():
        key = TABLES[name].key
        ids = data.table(name)[key]
        if ids.null_count() or ids.n_unique() < ids.len():
            raise InputError(
                f"in {label}, {name} have ids that are null or stand twice.",
                column=f"{name}.{key}",
                cure="Run `preflearn validate` on it and give every row its own id.",
            )


def _merge_two(
    whole: PreferenceData,
    data: PreferenceData,
    label: str,
    apart: tuple[str, ...],
    chance: set[str],
    report: ImportReport,
) -> PreferenceData:
    """Add `data` to `whole`; `chance`: judgments and signals whose equal ids say nothing."""
    data = _settle_things(whole, data, label, apart, report)
    data, repeated = _settle_events(whole, data, label, chance, report)
    for sentence, count in _disagreements(whole, data, repeated):
        report.map(sentence, count)
    joined = {name: _unified(whole, data, name) for name in _THINGS}
    for name in _EVENTS:
        new = plain(data.table(name)).join(repeated[name], on=TABLES[name].key, how="anti", maintain_order="left")
        joined[name] = pl.concat(_alike(plain(whole.table(name)), new, name))
    return whole.replace(**joined)


# -- which rows are the same -------------------------------------------------------------------------------------------


def _settle_things(
    whole: PreferenceData, data: PreferenceData, label: str, apart: tuple[str, ...], report: ImportReport
) -> PreferenceData:
    """Rename what has the id of another thing in `whole`, until what is left under equal ids agrees.

    Renaming one thing can part others: a segment of a renamed response is no longer the segment of the same id.
    """
    renamed = {name: pl.Series(dtype=pl.String) for name in _THINGS}
    for name in apart:
        renamed[name] = _shared_keys(whole, data, name)
    now = rename(data, {name: _new_names(whole, data, name, ids, label) for name, ids in renamed.items()})
    while True:
        found = {name: _conflicts(whole, now, name) for name in _THINGS}
        if not any(ids.len() for ids in found.values()):
            break
        renamed = {name: pl.concat([renamed[name], found[name]]) for name in _THINGS}
        now = rename(data, {name: _new_names(whole, data, name, ids, label) for name, ids in renamed.items()})
    for name in _THINGS:
        report.map(f"{name} of {label} renamed {label}/..., their ids being taken", renamed[name].len())
        report.map(f"{name} of {label} unified by equal id", _shared_keys(whole, now, name).len())
    groups: dict[str, Names] = {}
    for group, table in (("conversation", "prompts"), ("set", "responses")):
        unified = _shared_keys(whole, now, table)
        groups[group] = _chance_groups(whole, now, group, {table: unified}, label)
        report.map(f"{group} ids of {label} renamed {label}/..., being taken", groups[group].old.len())
    return rename(now, groups)


def _settle_events(
    whole: PreferenceData, data: PreferenceData, label: str, chance: set[str], report: ImportReport
) -> tuple[PreferenceData, dict[str, pl.DataFrame]]:
    """Rename judgments and signals whose id is taken by another; say which are already there, as keys per table."""
    repeated: dict[str, pl.DataFrame] = {}
    names: dict[str, Names] = {}
    for name in _EVENTS:
        key = TABLES[name].key
        shared = _shared_keys(whole, data, name)
        other = shared if name in chance else _conflicts(whole, data, name)
        repeated[name] = shared.filter(~shared.is_in(other.implode())).to_frame(key)
        names[name] = _new_names(whole, data, name, other, label)
        report.map(f"{name} of {label} renamed {label}/..., their ids being taken", other.len())
        same = f"{name} of {label} equal to one already there"
        if name in JUDGMENTS:
            report.drop(same, repeated[name].height)
        else:
            report.map(same, repeated[name].height)
    again = {name: rows[TABLES[name].key] for name, rows in repeated.items()}
    names["presentation"] = _chance_groups(whole, data, "presentation", again, label)
    report.map(f"presentation ids of {label} renamed {label}/..., being taken", names["presentation"].old.len())
    return rename(data, names), repeated


def _shared_keys(whole: PreferenceData, data: PreferenceData, name: str) -> pl.Series:
    """Keys that stand in both, in the order of `data`."""
    key = TABLES[name].key
    there = plain(whole.table(name).select(key))
    return plain(data.table(name).select(key)).join(there, on=key, how="semi", maintain_order="left")[key]


def _conflicts(whole: PreferenceData, data: PreferenceData, name: str) -> pl.Series:
    """Keys that stand in both for different rows: things that contradict each other, events that are not equal."""
    key = TABLES[name].key
    ours, theirs = _alike(plain(whole.table(name)), plain(data.table(name)), name)
    both = theirs.join(ours, on=key, how="inner", suffix="/there", maintain_order="left")
    differs = [
        pl.col(column).ne_missing(pl.col(f"{column}/there"))
        & (pl.lit(name in _EVENTS) | (pl.col(column).is_not_null() & pl.col(f"{column}/there").is_not_null()))
        for column in ours.columns
        if column != key
    ]
    return both.filter(pl.any_horizontal(*differs))[key] if differs else both[key].clear()


def _alike(ours: pl.DataFrame, theirs: pl.DataFrame, name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both with all columns of both, in one order and of one type."""
    try:
        schema = pl.concat([ours.clear(), theirs.clear()], how="diagonal_relaxed").schema
    except pl.exceptions.PolarsError as error:
        differ = [c for c in ours.columns if c in theirs.columns and ours.schema[c] != theirs.schema[c]]
        raise InputError(
            f"the types of {', '.join(differ)} differ between the data sets and cannot be joined: {error}",
            column=f"{name}.{differ[0]}" if differ else name,
            cure="Cast or rename the column in one of them.",
        ) from error
    ours, theirs = (
        frame.select(
            (pl.col(column) if column in frame.columns else pl.lit(None)).cast(dtype).alias(column)
            for column, dtype in schema.items()
        )
        for frame in (ours, theirs)
    )
    return ours, theirs


# -- new names ---------------------------------------------------------------------------------------------------------


def _new_names(whole: PreferenceData, data: PreferenceData, name: str, ids: pl.Series, label: str) -> Names:
    key = TABLES[name].key
    taken = pl.concat([plain(frame.table(name).select(key))[key] for frame in (whole, data)])
    return Names(ids, fresh_ids(label + "/" + ids, taken))


def _chance_groups(
    whole: PreferenceData, data: PreferenceData, group: str, same: dict[str, pl.Series], label: str
) -> Names:
    """Group ids that stand in both by chance: no row that both have (`same`: keys by table) belongs to them."""
    ours, theirs, known = [], [], []
    for table, column in GROUPS[group]:
        key = TABLES[table].key
        ours.append(whole.select(table, [column]).collect()[column])
        rows = data.select(table, [key, column]).collect()
        theirs.append(rows[column])
        if table in same:
            known.append(rows.filter(rows[key].cast(pl.String).is_in(same[table].implode()))[column])
    there, here = pl.concat(ours).drop_nulls(), pl.concat(theirs).drop_nulls().unique(maintain_order=True)
    met = here.is_in(there.implode()) & ~here.is_in(pl.concat(known).implode())
    chance = here.filter(met)
    return Names(chance, fresh_ids(label + "/" + chance, pl.concat([there, here])))


# -- putting together --------------------------------------------------------------------------------------------------


def _unified(whole: PreferenceData, data: PreferenceData, name: str) -> pl.DataFrame:
    """Rows of `whole`, filled up with what `data` knows of them, then the other rows of `data`."""
    key = TABLES[name].key
    ours, theirs = _alike(plain(whole.table(name)), plain(data.table(name)), name)
    filled = ours.join(theirs, on=key, how="left", suffix="/there", maintain_order="left").select(
        key, *(pl.coalesce(column, f"{column}/there").alias(column) for column in ours.columns if column != key)
    )
    return pl.concat([filled, theirs.join(ours, on=key, how="anti", maintain_order="left").select(filled.columns)])


def _disagreements(
    whole: PreferenceData, data: PreferenceData, repeated: dict[str, pl.DataFrame]
) -> list[tuple[str, int]]:
    """Questions that one annotator answered differently in the two data sets, by table."""
    told = []
    for name, answers in (("comparisons", ["outcome"]), ("ratings", ["value", "label"])):
        ours, theirs = _answers(whole, name, answers), _answers(data, name, answers)
        new = theirs.join(repeated[name], on=TABLES[name].key, how="anti")
        question = [column for column in ours.columns if column not in {*answers, TABLES[name].key}]
        both = new.join(ours, on=question, how="inner", suffix="/there", nulls_equal=True)
        differ = both.filter(pl.any_horizontal(pl.col(a).ne_missing(pl.col(f"{a}/there")) for a in answers))
        count = differ.select(question).unique().height
        told.append((f"questions of {name} that one annotator answered differently; all answers kept", count))
    return told


def _answers(data: PreferenceData, name: str, answers: list[str]) -> pl.DataFrame:
    """Answered questions of known annotators: key, question, answer; sides in the order of their ids."""
    key = TABLES[name].key
    shared = ["annotator_id", "criterion_id", "context"]
    sides = ["response_a", "response_b"] if name == "comparisons" else ["response_id"]
    wanted = {"__prompt": "prompt_id", **{f"__{c}": f"{name}.{c}" for c in (*shared, *answers)}}
    frame = plain(attach(data, name, wanted).collect()).select(
        key, *sides, "__prompt", *(pl.col(f"__{c}").alias(c) for c in (*shared, *answers))
    )
    frame = frame.drop_nulls("annotator_id").filter(pl.any_horizontal(pl.col(a).is_not_null() for a in answers))
    if name == "comparisons":
        swap = pl.col("response_a") > pl.col("response_b")
        other = pl.col("outcome").replace({"a": "b", "b": "a"})
        frame = frame.with_columns(
            pl.min_horizontal(sides).alias("response_a"),
            pl.max_horizontal(sides).alias("response_b"),
            pl.when(swap).then(other).otherwise("outcome").alias("outcome"),
        )
    return frame
