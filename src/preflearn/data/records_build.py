"""How `records` groups: keys for every judgment, the K responses of each key, and indices among them, all at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from preflearn.data.arrays import Ints, codes, exploded, floats, lengths, places
from preflearn.data.columns import attach
from preflearn.data.schema import JUDGMENTS, TABLES
from preflearn.data.tables import By, PreferenceData
from preflearn.errors import InputError

_FALLBACK: dict[By, tuple[str, ...]] = {
    "prompt": ("prompt", "presentation", "set", "responses"),
    "conversation": ("conversation", "prompt", "presentation", "set", "responses"),
    "set": ("set", "presentation", "responses"),
    "presentation": ("presentation", "responses"),
}
"""What a judgment is keyed by: the first of these that is recorded and the same for all its responses."""
_SIDES = {"comparisons": ("response_a", "response_b"), "ratings": ("response_id",), "rankings": ("responses",)}


class Group(NamedTuple):
    """One judgment table in the order of the records."""

    order: Ints
    """[n] rows of the table, sorted by record, table order kept within one."""
    record: Ints
    """[n] record of each."""
    frame: pl.DataFrame
    """The table in that order."""
    shared: dict[str, npt.NDArray[Any]]
    """The arrays that all judgments have."""


class Build:
    """The grouping of one data set; every method returns arrays in record order."""

    def __init__(self, data: PreferenceData, by: By) -> None:
        self.data = data
        frames = {name: _keyed(data, name, by) for name in JUDGMENTS}
        placed = _placed_responses(data, by)
        heads = [_head_keys(data, by), placed, *frames.values()]
        self.keys = (
            pl.concat([head.select("kind", "key") for head in heads])
            .drop_nulls("key")
            .unique(maintain_order=True)
            .with_row_index("record")
        )
        self.names = {name: self._names(name) for name in ("context", "presentation_id", "protocol", "label")}
        self._touched: dict[str, tuple[Ints, Ints]] = {}
        self._groups = {name: self._group(name, frame) for name, frame in frames.items()}
        self._member_codes = self._memberships(placed)

    # -- the K responses -------------------------------------------------------------------------------------------

    def members(self) -> tuple[Ints, Ints, Ints]:
        """Response rows of all records one after another, the prompt row of each, and the records' offsets."""
        base = self._base
        record, rows = self._member_codes // base, self._member_codes % base
        own = self._rows_of("prompts", self.data.select("responses", ["prompt_id"]).collect()["prompt_id"])
        prompts = own[rows] if len(own) else rows.copy()
        self._fill_from_judgments(prompts)
        return rows, prompts, np.searchsorted(record, np.arange(self.keys.height + 1)).astype(np.int64)

    def offsets(self, name: str) -> Ints:
        """Where the judgments of each record begin and end in the ordered table."""
        return np.searchsorted(self._groups[name].record, np.arange(self.keys.height + 1)).astype(np.int64)

    def group(self, name: str) -> Group:
        """One judgment table, ordered by record."""
        return self._groups[name]

    def indices(self, name: str) -> list[Ints]:
        """Per side of the table: the index of each judgment's response among the K of its record."""
        record, rows = self._touched[name]
        sides = len(_SIDES[name])
        start = np.searchsorted(self._member_codes, np.arange(self.keys.height) * self._base)
        local = np.searchsorted(self._member_codes, record * self._base + rows) - start[record]
        return [local[side::sides] for side in range(sides)]

    # -- inside ----------------------------------------------------------------------------------------------------

    @property
    def _base(self) -> int:
        return max(self.data.responses.height, 1)

    def _names(self, column: str) -> list[str]:
        tables = [name for name in JUDGMENTS if TABLES[name].column(column)]
        parts = [self.data.select(name, [column]).select(pl.col(column).cast(pl.String)) for name in tables]
        names: list[str] = pl.concat(parts).unique(maintain_order=True).drop_nulls().collect()[column].to_list()
        return names

    def _rows_of(self, target: str, ids: pl.Series) -> Ints:
        keys = self.data.table(target)[TABLES[target].key]
        return places(ids, keys)

    def _group(self, name: str, frame: pl.DataFrame) -> Group:
        codes = frame.join(self.keys, on=["kind", "key"], how="left", maintain_order="left")["record"]
        record = codes.to_numpy().astype(np.int64)
        order = np.argsort(record, kind="stable")
        frame, record = frame[order], record[order]
        self._touched[name] = self._touch(name, frame, record)
        shared: dict[str, npt.NDArray[Any]] = {
            "row": order.astype(np.int64),
            "prompt": self._rows_of("prompts", frame["__prompt"]),
            "annotator": self._rows_of("annotators", frame["annotator_id"]),
            "criterion": self._rows_of("criteria", frame["criterion_id"]),
            "context": self._code("context", frame),
            "presentation": self._code("presentation_id", frame),
            "protocol": self._code("protocol", frame),
            "count": frame["count"].fill_null(1).cast(pl.Int64).to_numpy(),
            "weight": frame["weight"].fill_null(1.0).to_numpy(),
            "propensity": floats(frame["propensity"]),
            "confidence": floats(frame["confidence"]),
        }
        return Group(order, record, frame, shared)

    def _code(self, column: str, frame: pl.DataFrame) -> Ints:
        return codes(frame[column], self.names[column])

    def labels(self) -> Ints:
        """Place of every rating's label among the names of labels."""
        return self._code("label", self._groups["ratings"].frame)

    def _touch(self, name: str, frame: pl.DataFrame, record: Ints) -> tuple[Ints, Ints]:
        """(record, response row) of every response that a judgment names, judgment by judgment."""
        if name == "rankings":
            sizes = lengths(frame["responses"])
            ids, record = exploded(frame["responses"]), np.repeat(record, sizes)
            owner = np.repeat(np.arange(frame.height), sizes)
        else:
            columns = _SIDES[name]
            ids = (
                frame.select(pl.concat_list(columns).alias("ids"))["ids"].explode()
                if frame.height
                else pl.Series(dtype=pl.String)
            )
            record, owner = np.repeat(record, len(columns)), np.repeat(np.arange(frame.height), len(columns))
        rows = self._rows_of("responses", ids)
        if (rows < 0).any():
            key = TABLES[name].key
            where = frame[key][int(owner[int(np.argmax(rows < 0))])]
            raise InputError(
                f"{name} {where!r} names no response.",
                column=f"{name}.{'/'.join(_SIDES[name])}",
                cure="Run `preflearn validate` to see all such rows.",
            )
        return record, rows

    def _memberships(self, placed: pl.DataFrame) -> Ints:
        """Distinct record * base + response row, sorted: the K of every record."""
        found = placed.drop_nulls("key").join(self.keys, on=["kind", "key"], how="left", maintain_order="left")
        codes = [found["record"].to_numpy().astype(np.int64) * self._base + found["row"].to_numpy().astype(np.int64)]
        codes += [record * self._base + rows for record, rows in self._touched.values()]
        return np.unique(np.concatenate(codes))

    def _fill_from_judgments(self, prompts: Ints) -> None:
        """A response without prompt (a named system) has the one prompt under which this record's judgments saw it."""
        for name, (record, rows) in self._touched.items():
            group = self._groups[name]
            sizes = lengths(group.frame["responses"]) if name == "rankings" else len(_SIDES[name])
            asked = np.repeat(group.shared["prompt"], sizes)
            spots = np.searchsorted(self._member_codes, record * self._base + rows)
            open_ = (asked >= 0) & (prompts[spots] < 0)
            if not open_.any():
                continue
            low, high = np.full(len(prompts), np.iinfo(np.int64).max), np.full(len(prompts), -1)
            np.minimum.at(low, spots[open_], asked[open_])
            np.maximum.at(high, spots[open_], asked[open_])
            single = low == high
            prompts[single] = low[single]


# -- keys --------------------------------------------------------------------------------------------------------------


def _first_key(by: By, sources: dict[str, pl.Expr]) -> list[pl.Expr]:
    """Columns `kind` and `key`: the first source of the fall-back order that is not null."""
    kinds = [kind for kind in _FALLBACK[by] if kind in sources]
    kind = pl.coalesce(pl.when(sources[kind].is_not_null()).then(pl.lit(kind)) for kind in kinds)
    return [kind.alias("kind"), pl.coalesce(sources[kind].cast(pl.String) for kind in kinds).alias("key")]


def _keyed(data: PreferenceData, name: str, by: By) -> pl.DataFrame:
    """A judgment table with all shared columns, the prompt judged, and its record's `kind` and `key`."""
    wanted = {"__prompt": "prompt_id", "__set": "responses.set_id", "__conversation": "prompts.conversation_id"}
    spec = TABLES[name]
    planned = {
        column.name: f"{name}.{column.name}" for column in spec.columns if column.name not in {"rationale", "raw"}
    }
    sources = {
        "prompt": pl.col("__prompt"),
        "conversation": pl.col("__conversation"),
        "set": pl.col("__set"),
        "presentation": pl.col("presentation_id"),
        "responses": _joined_ids(name),
    }
    return attach(data, name, planned | wanted).with_columns(_first_key(by, sources)).collect()


def _joined_ids(name: str) -> pl.Expr:
    """The sorted ids of a judgment's responses as one text; bars inside ids are doubled, so that it stays distinct."""
    if name == "rankings":
        escaped = pl.col("responses").list.eval(pl.element().str.replace_all("|", "||", literal=True))
        return escaped.list.sort().list.join(" | ")
    sides = [pl.col(side).str.replace_all("|", "||", literal=True) for side in _SIDES[name]]
    if len(sides) == 1:
        return sides[0]
    return pl.concat_str(pl.min_horizontal(sides), pl.max_horizontal(sides), separator=" | ")


def _head_keys(data: PreferenceData, by: By) -> pl.DataFrame:
    """Keys that come first, in the order of the prompts table, whether or not anything was judged."""
    if by not in {"prompt", "conversation"}:
        return pl.DataFrame(schema={"kind": pl.String, "key": pl.String})
    sources = {"prompt": pl.col("prompt_id"), "conversation": pl.col("conversation_id")}
    return data.select("prompts", ["prompt_id", "conversation_id"]).select(_first_key(by, sources)).collect()


def _placed_responses(data: PreferenceData, by: By) -> pl.DataFrame:
    """Responses (as `row`) that belong to a record by what they are, judged or not."""
    if by == "presentation":
        return pl.DataFrame(schema={"kind": pl.String, "key": pl.String, "row": pl.UInt32})
    frame = attach(
        data,
        "responses",
        {"__conversation": "prompts.conversation_id", "__prompt": "responses.prompt_id", "__set": "responses.set_id"},
    )
    sources = {"set": pl.col("__set")}
    if by != "set":
        sources = {"prompt": pl.col("__prompt"), "conversation": pl.col("__conversation")}
    return frame.select(_first_key(by, sources)).with_row_index("row").collect()
