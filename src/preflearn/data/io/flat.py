"""From a flat frame, whose columns are role names, to the nine tables: the one way in for every text format.

A row is one judgment of two responses (comparisons), of one (ratings), of several (rankings), one observed behaviour
(signals), or just one response. What each name means stands in `build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from preflearn.data.io import flat_roles, flat_rows, flat_sides
from preflearn.data.io.flat_roles import Roles
from preflearn.data.reading import ImportReport
from preflearn.data.schema import TABLES
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

Scalar = str | int | float | bool | None


def build(
    frame: pl.DataFrame,
    report: ImportReport,
    *,
    kind: str | None = None,
    defaults: Mapping[str, Scalar] | None = None,
    prefix: str = "",
    original: pl.DataFrame | None = None,
) -> PreferenceData:
    """Build a data set from role columns.

    **Sides.** Two of them (comparisons) end in `_a` and `_b`, the one of a rating, signal or response has no ending:
    `text` (text or messages), `system`, `response_id`; `image`, `audio`, `video`, `trajectory`, `mesh`, `document`
    (file name or list of them). `a.X`, `b.X` (comparisons) or `responses.X` (both sides, or the one) is any further
    column of responses, the plan's or another. Rankings have lists of equal length: `texts`, `systems`, `response_ids`,
    `responses.X`, `ranks` (without it, best first).

    **Prompt.** `prompt` (text or messages), `prompt_id`, `prompts.X`; `prompt_a`, `prompt_b`, `prompt_id_a`,
    `prompt_id_b` where the sides have different ones.

    **Judgment.** Columns of the judgment's table by their names (`outcome`, `value`, `annotator_id`, `time`, ...), or
    qualified (`signals.text`); `annotators.X` and `criteria.X` describe who judged and what was asked. Any other column
    rides along on the judgment. Columns beginning with `_` are bookkeeping (`_line`, `_source`) and not kept.

    **Ids** are deterministic. A prompt's comes from its content; a response's from prompt, system, author, content and
    place, so that the same answer to the same prompt is one row and the same content under two prompts two rows with
    one `content_hash`; a system named without content is one response whose id is the system's name, and then the
    prompt stands on the judgment. A judgment's comes from its line. A given id that occurs again, or stands for a
    second content, is counted and made unique (`ID~2`, `ID~DIGEST`): nothing is dropped for it.

    Args:
        frame: [rows]; `_line` (1-based) and `_source` as the reader found them.
        report: conversions, drops and rejected rows are added; the caller counts `read`.
        kind: comparisons, ratings, rankings, signals or responses; None = seen from the columns.
        defaults: role -> value for rows that have none.
        prefix: beginning of made judgment ids, where several frames become one data set.
        original: the rows as read, with `_line`, to be quoted when one is rejected.

    Raises:
        InputError: no role says what was judged, two columns mean the same, or a column's type cannot be used.
    """
    made = tables(frame, report, kind=kind, defaults=defaults, prefix=prefix, original=original)
    frames: dict[str, Any] = {**made}
    return PreferenceData(report=report, **frames).completed()


def tables(
    frame: pl.DataFrame,
    report: ImportReport,
    *,
    kind: str | None = None,
    defaults: Mapping[str, Scalar] | None = None,
    prefix: str = "",
    original: pl.DataFrame | None = None,
) -> dict[str, pl.DataFrame]:
    """What `build` does, as frames by table name, before absent annotators and the like are completed."""
    for role, value in (defaults or {}).items():
        filled = pl.col(role).fill_null(pl.lit(value)) if role in frame.columns else pl.lit(value)
        frame = frame.with_columns(filled.alias(role))
    roles = flat_roles.parse(frame.columns, kind)
    frame = _contents_as_text(frame, roles, report)
    frame = flat_rows.check(flat_rows.number_rows(frame), roles, report, original=original)
    if roles.kind == "rankings":
        return _rankings(frame, roles, report, prefix, original)
    return _single(frame, roles, report, prefix)


def _contents_as_text(frame: pl.DataFrame, roles: Roles, report: ImportReport) -> pl.DataFrame:
    """Answers that are numbers or truth values (`4` to "2 + 2?") as what was written."""
    parts = [roles.prompt.get("messages"), *(side.parts.get(part) for side in roles.sides for part in _CONTENTS)]
    for column in dict.fromkeys(one for one in parts if one is not None):
        dtype = frame.schema[column]
        scalar = dtype.inner if isinstance(dtype, pl.List) else dtype
        if scalar.is_numeric() or scalar == pl.Boolean:
            text = pl.List(pl.String) if isinstance(dtype, pl.List) else pl.String
            report.map(f"{column}: {scalar} -> text", frame[column].count())
            frame = frame.with_columns(pl.col(column).cast(text))
    return frame


_CONTENTS = ("text", "prompt")


def _single(frame: pl.DataFrame, roles: Roles, report: ImportReport, prefix: str) -> dict[str, pl.DataFrame]:
    frame, found = flat_sides.place_prompts(frame, roles, report)
    frame, more = flat_sides.place_responses(frame, roles, report)
    found.update(more)
    if roles.kind != "responses":
        sides = {
            (f"response_{side.label}" if side.label else "response_id"): f"_response{side.suffix}"
            for side in roles.sides
        }
        found[roles.kind] = _judgments(frame, roles, report, prefix, sides)
        found.update(_people(frame, roles, report))
    if roles.kind == "comparisons":
        _count_failed(frame, roles, report)
        same = frame.filter(pl.col("_response_a") == pl.col("_response_b")).height
        report.map("comparison of a response with itself, kept", same)
    return found


def _count_failed(frame: pl.DataFrame, roles: Roles, report: ImportReport) -> None:
    """Say how many verdicts could not be read: a raw answer without an outcome. (An unlabelled pair has neither.)"""
    answers = [pl.col(roles.judgment[name]) for name in ("outcome", "probability") if name in roles.judgment]
    if "raw" in roles.judgment and answers:
        failed = pl.all_horizontal([answer.is_null() for answer in answers])
        failed = failed & pl.col(roles.judgment["raw"]).is_not_null()
        report.map("raw answer without an outcome -> a failed verdict, kept", frame.select(failed.sum()).item())


def _rankings(
    frame: pl.DataFrame, roles: Roles, report: ImportReport, prefix: str, original: pl.DataFrame | None
) -> dict[str, pl.DataFrame]:
    """Rankings: items are exploded to rows, given ids as one-sided rows are, and folded back into lists."""
    side = roles.sides[0]
    lists = {part: column for part, column in side.parts.items() if isinstance(frame.schema[column], pl.List)}
    ranks, order = roles.judgment.pop("ranks", None), roles.judgment.pop("shown_order", None)
    if not lists:
        raise InputError(
            "a ranking needs a list of what was ranked.", cure="Give texts, systems or response_ids as lists."
        )
    folded = [*lists.values(), *(column for column in (ranks, order) if column)]
    frame = flat_rows.reject(frame, _uneven(frame, folded), report, original).with_row_index("_row")
    items, reasons = flat_rows.inspect(frame.explode(folded), Roles("responses", [side]), report)
    items, wrong = _rank_numbers(items, ranks, order)
    items = items.with_columns(pl.coalesce(reasons, wrong).alias("_wrong"))
    faults = items.group_by("_row", maintain_order=True).agg(pl.col("_wrong").first(ignore_nulls=True))["_wrong"]
    frame = flat_rows.reject(frame, faults, report, original)
    items = items.join(frame.select("_row"), on="_row", how="semi", maintain_order="left")
    item_roles = Roles("rankings", [side], prompt=roles.prompt)
    items, found = flat_sides.place_prompts(items, item_roles, report)
    items, more = flat_sides.place_responses(items, item_roles, report)
    found.update(more)
    rank = pl.col(ranks) if ranks else pl.int_range(1, pl.len() + 1).over("_row")
    back = [pl.col("_response").alias("_responses"), rank.cast(pl.Int32).alias("_ranks")]
    if order:
        back.append(pl.col(order).cast(pl.Int32).alias("_order"))
    if "_prompt" in items.columns:
        back.append(pl.col("_prompt").alias("_prompts"))
    groups = items.select("_row", *back).group_by("_row", maintain_order=True).agg(pl.all())
    frame = frame.join(groups, on="_row", how="left", maintain_order="left")
    if "_prompts" in frame.columns:
        frame = frame.with_columns(pl.col("_prompts").list.drop_nulls().list.first().alias("_prompt"))
    sides = {"responses": "_responses", "ranks": "_ranks", **({"shown_order": "_order"} if order else {})}
    found["rankings"] = _judgments(frame, roles, report, prefix, sides)
    found.update(_people(frame, roles, report))
    return found


def _uneven(frame: pl.DataFrame, lists: list[str]) -> pl.Series:
    """Why a row's lists are no ranking (null = they are one)."""
    lengths = [pl.col(column).list.len() for column in lists]
    uneven = pl.any_horizontal([length.ne_missing(lengths[0]) for length in lengths])
    nothing = pl.any_horizontal([length.fill_null(0) == 0 for length in lengths])
    reason = (
        pl.when(nothing)
        .then(pl.lit("nothing was ranked"))
        .when(uneven)
        .then(pl.lit(f"the lists {', '.join(lists)} have different lengths"))
    )
    return frame.select(reason.alias("reason"))["reason"]


def _rank_numbers(items: pl.DataFrame, ranks: str | None, order: str | None) -> tuple[pl.DataFrame, pl.Series]:
    """Ranks (from 1) and shown positions (from 0) as whole numbers, and why an item has none (null = it has)."""
    wrong = pl.Series("wrong", [None], dtype=pl.String).new_from_index(0, items.height)
    for column, low in ((ranks, 1), (order, 0)):
        if column is None:
            continue
        number = pl.col(column).cast(pl.Float64, strict=False)
        whole = pl.when((number == number.round(0)) & (number >= low)).then(number.cast(pl.Int32, strict=False))
        bad = pl.col(column).is_not_null() & whole.is_null()
        reason = pl.when(bad).then(pl.format(f"{column} holds {{}}, no whole number from {low}", pl.col(column)))
        wrong = items.select(pl.coalesce(wrong, reason).alias("wrong"))["wrong"]
        items = items.with_columns(whole.alias(column))
    return items, wrong


def _judgments(
    frame: pl.DataFrame, roles: Roles, report: ImportReport, prefix: str, sides: Mapping[str, str]
) -> pl.DataFrame:
    spec = TABLES[roles.kind]
    given = roles.judgment.get(spec.key)
    columns = [
        _judgment_ids(frame, spec.key, given, prefix + roles.kind[0], report),
        *(frame[working].alias(name) for name, working in sides.items()),
        *(frame[column].alias(name) for name, column in roles.judgment.items() if name != spec.key),
    ]
    if "_prompt" in frame.columns and frame["_prompt"].null_count() < frame.height:
        columns.append(frame["_prompt"].alias("prompt_id"))
    return pl.DataFrame(columns)


def _judgment_ids(frame: pl.DataFrame, key: str, given: str | None, prefix: str, report: ImportReport) -> pl.Series:
    """The given id, else one made from the line; repeated ones get `~2`, `~3`, ..."""
    line = pl.lit(prefix) + pl.col("_line").cast(pl.String)
    made = pl.coalesce(pl.col(given).cast(pl.String), line) if given else line
    named = frame.select(made.alias(key))
    if given is None or frame[given].null_count():
        report.made_ids.add(next(name for name, spec in TABLES.items() if spec.key == key))
    if not named[key].is_duplicated().any():
        return named[key]
    again = named.select(pl.int_range(pl.len()).over(key)).to_series() + 1
    if given:
        counted = int(((again > 1) & frame[given].is_not_null()).sum())
        report.map(f"{key} occurs again -> the first keeps it, others get ID~2, ID~3, ...", counted)
    suffix = pl.when(pl.col("again") > 1).then(pl.format("{}~{}", key, "again")).otherwise(key)
    return named.with_columns(again.alias("again")).select(suffix.alias(key)).to_series()


def _people(frame: pl.DataFrame, roles: Roles, report: ImportReport) -> dict[str, pl.DataFrame]:
    """Rows of annotators and criteria; without further columns only their ids."""
    found = {}
    for table, parts in (("annotators", roles.annotators), ("criteria", roles.criteria)):
        key = TABLES[table].key
        source = roles.judgment.get(key)
        if parts and source is None:
            raise InputError(
                f"columns {', '.join(parts.values())} describe {table}, but no column is {key}.",
                cure=f"Name the column that holds {key}.",
            )
        if source is not None:
            rows = frame.select(
                pl.col(source).cast(pl.String).alias(key),
                *(pl.col(column).alias(name) for name, column in parts.items() if name != key),
            )
            found[table] = flat_sides.one_row_each(table, rows.filter(pl.col(key).is_not_null()), report)
    return found
