"""`PreferenceData`: the nine tables as polars frames, in memory or scanned from disk, and nothing else.

A frame holds the plan's columns that were recorded, in canonical order, then the columns that ride along.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import polars as pl

from preflearn.data.reading import ImportReport
from preflearn.data.schema import JUDGMENTS, TABLES, conform, conformed, empty, table
from preflearn.errors import InputError

if TYPE_CHECKING:
    from preflearn.data.records import Records

Frame = pl.DataFrame | pl.LazyFrame
By = Literal["prompt", "set", "presentation", "conversation"]


class PreferenceData:
    """A data set of judgments and what they are about.

    Args:
        **tables: polars frames (eager or lazy) by table name (`prompts`, `responses`, `media`, `annotators`,
            `criteria`, `comparisons`, `ratings`, `rankings`, `signals`); absent tables are empty. Columns are cast to
            the plan's types.
        provenance: plain data kept in preferences.json (imports, mapping, steps).
        report: what the import that made this said of itself.

    Raises:
        InputError: unknown table, an obligatory column is missing, or a column or value has the wrong type.

    Source: preflearn's own data contract (docs/data.md).
    """

    def __init__(
        self,
        *,
        provenance: Mapping[str, Any] | None = None,
        report: ImportReport | None = None,
        **tables: Frame | None,
    ) -> None:
        unknown = [name for name in tables if name not in TABLES]
        if unknown:
            table(unknown[0])
        self._frames: dict[str, Frame] = {}
        for name in TABLES:
            frame = tables.get(name)
            if frame is None:
                self._frames[name] = empty(name)
            elif isinstance(frame, pl.DataFrame):
                self._frames[name] = conformed(name, frame)
            else:
                self._frames[name] = conform(name, frame)
        self.provenance: dict[str, Any] = dict(provenance or {})
        self.report = report
        self._fingerprint: str | None = None

    # -- the nine tables -------------------------------------------------------------------------------------------

    def table(self, name: str) -> pl.DataFrame:
        """The table as a frame in memory (a scanned one is read and kept)."""
        frame = self._frames[table(name).name]
        if isinstance(frame, pl.LazyFrame):
            frame = frame.collect(engine="streaming")
            self._frames[name] = frame
        return frame

    def lazy(self, name: str) -> pl.LazyFrame:
        """The table as a lazy frame: nothing is read before `collect`."""
        return self._frames[table(name).name].lazy()

    @property
    def prompts(self) -> pl.DataFrame:
        """What was asked of the systems."""
        return self.table("prompts")

    @property
    def responses(self) -> pl.DataFrame:
        """The things judged: wholes, parts, sets."""
        return self.table("responses")

    @property
    def media(self) -> pl.DataFrame:
        """Images, sounds, trajectories that messages refer to."""
        return self.table("media")

    @property
    def annotators(self) -> pl.DataFrame:
        """Who judged."""
        return self.table("annotators")

    @property
    def criteria(self) -> pl.DataFrame:
        """The questions that were put."""
        return self.table("criteria")

    @property
    def comparisons(self) -> pl.DataFrame:
        """Judgments of two responses."""
        return self.table("comparisons")

    @property
    def ratings(self) -> pl.DataFrame:
        """Judgments of one response."""
        return self.table("ratings")

    @property
    def rankings(self) -> pl.DataFrame:
        """Judgments of several responses at once."""
        return self.table("rankings")

    @property
    def signals(self) -> pl.DataFrame:
        """What was observed without asking."""
        return self.table("signals")

    # -- looking ---------------------------------------------------------------------------------------------------

    def columns(self, name: str) -> list[str]:
        """Names of the recorded columns of a table."""
        return self.lazy(name).collect_schema().names()

    def select(self, name: str, columns: Sequence[str]) -> pl.LazyFrame:
        """These columns of a table, lazily; columns of the plan that were not recorded are null.

        Raises:
            InputError: a column is neither recorded nor in the plan.
        """
        spec, recorded = table(name), set(self.columns(name))
        wanted: list[pl.Expr] = []
        for column in columns:
            planned = spec.column(column)
            if column in recorded:
                wanted.append(pl.col(column))
            elif planned is not None:
                wanted.append(pl.lit(None, dtype=planned.dtype).alias(column))
            else:
                raise InputError(
                    f"table {name!r} has no column {column!r}.", cure=f"It has: {', '.join(sorted(recorded))}."
                )
        frame = self.lazy(name)
        if recorded and not recorded.intersection(columns):  # literals alone would give one row
            return frame.with_columns(wanted).select(columns)
        return frame.select(wanted)

    def height(self, name: str) -> int:
        """Number of rows of a table."""
        frame = self._frames[table(name).name]
        if isinstance(frame, pl.DataFrame):
            return frame.height
        return int(frame.select(pl.len()).collect(engine="streaming").item())

    def counts(self) -> dict[str, int]:
        """Rows by table, empty tables left out."""
        return {name: n for name in TABLES if (n := self.height(name))}

    @property
    def is_lazy(self) -> bool:
        """Whether any table is still on disk."""
        return any(isinstance(frame, pl.LazyFrame) for frame in self._frames.values())

    def fingerprint(self) -> str:
        """Hex digest of the content of all tables (row order counts, storage does not)."""
        if self._fingerprint is None:
            self._fingerprint = _fingerprint({name: self.table(name) for name in self.counts()})
        return self._fingerprint

    def known_fingerprint(self) -> str | None:
        """The fingerprint if it is recorded or the tables are in memory; scanned tables are not read for it."""
        return self._fingerprint if self.is_lazy else self.fingerprint()

    def __repr__(self) -> str:
        inside = ", ".join(f"{n:,} {name}" for name, n in self.counts().items())
        return f"PreferenceData({inside or 'empty'})"

    def equals(self, other: PreferenceData) -> bool:
        """Whether both hold the same tables, columns and rows."""
        return all(plain(self.table(name)).equals(plain(other.table(name)), null_equal=True) for name in TABLES)

    # -- new data from old (never in place) ------------------------------------------------------------------------

    def replace(self, step: str | None = None, /, **tables: Frame) -> PreferenceData:
        """The same data with some tables exchanged; `step` (a sentence) is added to the provenance."""
        provenance = dict(self.provenance)
        if step:
            provenance["steps"] = [*provenance.get("steps", []), step]
        return PreferenceData(provenance=provenance, report=self.report, **{**self._frames, **tables})

    def where(self, name: str, predicate: pl.Expr, step: str | None = None) -> PreferenceData:
        """Keep the rows of one table that satisfy a predicate; other tables are untouched (see `pruned`)."""
        frame = self._frames[table(name).name]
        return self.replace(step, **{name: frame.filter(predicate)})

    def pruned(self) -> PreferenceData:
        """Drop prompts, responses, media, annotators and criteria that no judgment or signal needs any more."""
        from preflearn.data.references import prune

        return prune(self)

    def completed(self) -> PreferenceData:
        """Add a row for every annotator, criterion, response and prompt that is referred to but absent.

        A comparison between named systems needs no responses table: the missing response gets `system` = its id.
        """
        from preflearn.data.references import complete

        return complete(self)

    def records(self, by: By = "prompt") -> Records:
        """The listwise view: one record per prompt, set, presentation or conversation (see `data.records`)."""
        from preflearn.data.records import records

        return records(self, by=by)

    def save(self, path: Any, *, force: bool = False) -> None:
        """Write the data-set directory (Parquet + preferences.json + rejected.jsonl)."""
        from preflearn.data.store import save

        save(self, path, force=force)


def judgments(data: PreferenceData) -> dict[str, pl.DataFrame]:
    """The non-empty judgment tables by name."""
    return {name: data.table(name) for name in JUDGMENTS if data.height(name)}


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Categories as text, so that equal content compares equal whatever its coding."""
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


class _Digest:
    """A file-like object that only hashes."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=16)

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is buffered."""


def _fingerprint(frames: Mapping[str, pl.DataFrame]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, frame in frames.items():
        digest.update(name.encode())
        for column in frame.columns:
            part = _Digest()
            flat = plain(frame.select(column)).rechunk()
            flat.write_ipc(cast(IO[bytes], part), compat_level=pl.CompatLevel.oldest())
            digest.update(column.encode() + part.hash.digest())
    return digest.hexdigest()
