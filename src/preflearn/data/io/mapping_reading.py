"""One import through a mapping: finds the files, makes the tables, hands the roles over, and says what was left."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from preflearn.data.io import flat, flat_roles, flat_sides, plain
from preflearn.data.io.files import read_frame, stem_of
from preflearn.data.io.formats.tools import joined
from preflearn.data.io.mapping_expressions import Expression
from preflearn.data.io.mapping_model import INPUT, Mapping, Output, Rows
from preflearn.data.io.mapping_steps import Step
from preflearn.data.reading import ImportReport
from preflearn.data.schema import TABLES
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

DATA_VARIABLE = "PREFLEARN_DATA"
"""Environment variable: the directory in which a mapping looks for its files when none is given."""


class Reading:
    """One import: tables by name, each read or made once."""

    def __init__(self, mapping: Mapping, paths: list[Path], report: ImportReport) -> None:
        self.mapping, self.paths, self.report = mapping, paths, report
        self.tables: dict[str, pl.DataFrame] = {}
        self.taken: set[Path] = set()

    def data(self) -> PreferenceData:
        """The data set; what happened is in the report."""
        parts = []
        for output, prefix in zip(self.mapping.outputs, self._prefixes(), strict=True):
            if output.note:
                self.report.note(output.note)
            parts.append(self._made(output, prefix))
        self._say_what_was_left()
        _once_each(self.report)
        data = joined(parts, self.report)
        data.provenance["mapping"] = self.mapping.written
        return data

    def _prefixes(self) -> list[str]:
        """Made ids of outputs that fill one table begin differently."""
        outputs = self.mapping.outputs
        several = Counter(output.table for output in outputs)
        names = [output.name or output.from_ or "" for output in outputs]
        prefixes = [
            f"{name}-" if several[output.table] > 1 else "" for output, name in zip(outputs, names, strict=True)
        ]
        seen: Counter[tuple[str, str]] = Counter()
        for index, (output, prefix) in enumerate(zip(outputs, prefixes, strict=True)):
            seen[output.table, prefix] += 1
            if seen[output.table, prefix] > 1:
                prefixes[index] = f"{prefix}{seen[output.table, prefix]}-"
        return prefixes

    def _made(self, output: Output, prefix: str) -> dict[str, pl.DataFrame]:
        if output.rows is not None:
            return {output.table: pl.DataFrame(output.rows, strict=False, infer_schema_length=None)}
        source = output.from_ or next(iter(self.mapping.sources), INPUT)
        frame = self._steps(self.table(source), output.steps, f"{source} for {output.table}")
        flat_frame = self._roles(frame, output)
        self.report.map(f"rows of {source} -> {output.table}", flat_frame.height)
        if output.table == "plain":
            data = plain.read(flat_frame, self.report)
            return {name: data.table(name) for name in data.counts()}
        if output.table in flat_roles.KINDS:
            original = self._original(source)
            made = flat.tables(flat_frame, self.report, kind=output.table, prefix=prefix, original=original)
            self.report.map("no outcome -> not yet judged", _unlabelled(made.get("comparisons")))
            return made
        columns = flat_frame.select(pl.exclude("^_.*$"))
        key = TABLES[output.table].key
        if key not in columns.columns:
            raise InputError(f"output {output.table} needs a role {key}.", cure=f"Rows are known by {key}.")
        columns = columns.select(pl.col(key).cast(pl.String), pl.exclude(key)).filter(pl.col(key).is_not_null())
        return {output.table: flat_sides.one_row_each(output.table, columns, self.report)}

    def _roles(self, frame: pl.DataFrame, output: Output) -> pl.DataFrame:
        """A frame whose columns are roles, columns that ride along, and bookkeeping."""
        columns: dict[str, pl.Series] = {name: frame[name] for name in ("_line", "_source") if name in frame.columns}
        columns.update({role: expression.evaluate(frame, self.report) for role, expression in output.roles.items()})
        read = {name for expression in output.roles.values() for name in expression.columns()}
        if output.keep == "rest":
            kept = {name: Expression("column", name) for name in frame.columns if name not in read}
            kept = {name: value for name, value in kept.items() if not name.startswith("_")}
        elif isinstance(output.keep, list):
            kept = {name: Expression("column", name) for name in output.keep}
        else:
            kept = output.keep
        for name, expression in kept.items():
            column = f"{name}_in_source" if name in columns else name
            columns[column] = expression.evaluate(frame, self.report)
        return pl.DataFrame([series.alias(name) for name, series in columns.items()])

    def _steps(self, frame: pl.DataFrame, steps: Sequence[Step], name: str) -> pl.DataFrame:
        for step in steps:
            try:
                frame = step.apply(frame, self.report, self.table, name)
            except (InputError, pl.exceptions.PolarsError) as error:
                raise InputError(f"in the steps of {name}: {error}") from error
        return frame

    def table(self, name: str) -> pl.DataFrame:
        """A source or derived table, read or made on first use."""
        if name not in self.tables:
            if name in self.mapping.tables:
                derived = self.mapping.tables[name]
                sources = [derived.from_] if isinstance(derived.from_, str) else derived.from_
                frame = flat_sides.concat([self.table(source) for source in sources])
                self.tables[name] = self._steps(frame, derived.steps, name)
            else:
                self.tables[name] = self._read(name)
        return self.tables[name]

    def _original(self, name: str) -> pl.DataFrame | None:
        """The source rows behind a table, to be quoted when one is rejected."""
        while name in self.mapping.tables:
            source = self.mapping.tables[name].from_
            if not isinstance(source, str):
                return None
            name = source
        return self.tables.get(name)

    def _read(self, name: str) -> pl.DataFrame:
        source = self.mapping.sources.get(name)
        if isinstance(source, Rows):
            return pl.DataFrame(source.rows, strict=False, infer_schema_length=None)
        frames = []
        for path in self._paths(name, source):
            frame, rejected = read_frame(path)
            self.report.read += frame.height + len(rejected)
            self.report.reject(rejected)
            if hidden := [column for column in frame.columns if column.startswith("_") and column != "_line"]:
                self.report.note(f"Columns {', '.join(hidden)} are kept only where the mapping names them.")
            frames.append(frame.with_columns(pl.lit(path.name).alias("_source")))
        return flat_sides.concat(frames)

    def _paths(self, name: str, source: str | list[str] | None) -> list[Path]:
        if source is None or (len(self.mapping.sources) == 1 and self.paths and all(p.is_file() for p in self.paths)):
            if not self.paths:
                raise InputError("the mapping names no files, and none was given.", cure="Name the files to read.")
            return self.paths
        return [self._find(name, wanted) for wanted in ([source] if isinstance(source, str) else source)]

    def _find(self, name: str, wanted: str) -> Path:
        """The file of a source: among the files given, in the directories given, or in $PREFLEARN_DATA."""
        folder = os.environ.get(DATA_VARIABLE)
        places = self.paths or ([Path(folder)] if folder else [])
        stem = stem_of(Path(wanted))
        for place in places:
            if place.is_file() and (place.name == Path(wanted).name or stem_of(place) == stem):
                return place
            if (place / wanted).is_file():
                return place / wanted
        for place in places:  # the same table in another format
            if place.is_dir() and (found := sorted(file for file in place.iterdir() if stem_of(file) == stem)):
                return found[0]
        looked = ", ".join(map(str, places)) or "nowhere"
        raise InputError(
            f"the file {wanted} of source {name!r} is not there; looked in: {looked}.",
            cure=f"Give the directory that holds it, or set {DATA_VARIABLE}.",
        )

    def _say_what_was_left(self) -> None:
        """Columns that no part of the mapping reads."""
        mapping = self.mapping
        if any(output.keep == "rest" for output in mapping.outputs):
            return
        read: set[str] = set()
        prefixes = [""]
        for steps in [*(derived.steps for derived in mapping.tables.values()), *(out.steps for out in mapping.outputs)]:
            for step in steps:
                read.update(step.reads())
                prefixes += [step.join.prefix] if step.join else []
        for output in mapping.outputs:
            expressions = [*output.roles.values(), *(output.keep.values() if isinstance(output.keep, dict) else [])]
            read.update(name for expression in expressions for name in expression.columns())
            read.update(output.keep if isinstance(output.keep, list) else [])
        for name in mapping.sources:
            if name in self.tables and not isinstance(mapping.sources[name], Rows):
                columns = [one for one in self.tables[name].columns if not one.startswith("_")]
                left = [one for one in columns if not any(prefix + one in read for prefix in prefixes)]
                if left:
                    self.report.note(f"Columns of {name} that no role takes: {', '.join(left)}.")


def _unlabelled(comparisons: pl.DataFrame | None) -> int:
    """Comparisons that hold no answer of any kind."""
    if comparisons is None:
        return 0
    answers = [pl.col(name) for name in ("outcome", "probability", "raw") if name in comparisons.columns]
    return comparisons.filter(pl.all_horizontal([one.is_null() for one in answers])).height if answers else 0


def _once_each(report: ImportReport) -> None:
    """A source row rejected by several outputs is one rejected row."""
    places = {(row.source, row.line, "" if row.line else row.reason): row for row in reversed(report.rejected)}
    report.rejected = list(places.values())[::-1]
