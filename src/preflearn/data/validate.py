"""Every rule of the plan, checked: what is wrong, how often, where, and what to do. Tables are read lazily."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import polars as pl

from preflearn.data.leakage import Leakage, leakage
from preflearn.data.schema import TABLES
from preflearn.data.tables import PreferenceData
from preflearn.data.validate_links import LinkRule, link_rules
from preflearn.data.validate_rules import Severity, row_rules
from preflearn.errors import InputError

EXAMPLES = 5
"""Keys shown per problem."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One rule that some rows break."""

    table: str
    column: str
    rule: str
    """What should hold, as a phrase."""
    severity: Severity
    """error = figures would be wrong or cannot be computed; warning = probably not meant."""
    count: int
    """Rows that break it."""
    examples: list[str]
    """Keys of the first of them."""
    cure: str

    def line(self) -> str:
        """The problem as one line for people."""
        where = f"{self.table}.{self.column}" if self.column else self.table
        shown = ", ".join(self.examples) + (", ..." if self.count > len(self.examples) else "")
        named = f" ({shown})" if self.examples else ""
        return f"{self.severity}: {where}: {self.rule}; broken by {self.count:,}{named}. {self.cure}"


class ValidationReport(NamedTuple):
    """All problems of a data set, errors first."""

    problems: list[Problem]
    counts: dict[str, int]
    """Rows by table."""

    @property
    def errors(self) -> list[Problem]:
        """Problems that make figures wrong or impossible."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """Problems that are probably not meant."""
        return [problem for problem in self.problems if problem.severity == "warning"]

    @property
    def ok(self) -> bool:
        """Whether there are no errors (warnings allowed)."""
        return not self.errors

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {"ok": self.ok, "counts": self.counts, "problems": [asdict(problem) for problem in self.problems]}

    def lines(self) -> list[str]:
        """The report as short lines for people."""
        rows = ", ".join(f"{n:,} {name}" for name, n in self.counts.items()) or "no rows"
        head = f"{rows}: {len(self.errors)} error(s), {len(self.warnings)} warning(s)"
        return [head, *(problem.line() for problem in self.problems)]

    def check(self) -> None:
        """Refuse data with errors.

        Raises:
            InputError: there are errors; the message is the first of them.
        """
        if self.errors:
            more = f" ({len(self.errors) - 1} more kinds of error)" if len(self.errors) > 1 else ""
            raise InputError(self.errors[0].line() + more, cure="Run `preflearn validate` for all.")


def validate(data: PreferenceData, *, train: PreferenceData | None = None) -> ValidationReport:
    """Check every rule of the nine tables; nothing is raised for bad rows, they are counted.

    Scanned tables stay on disk: the rules stream over the columns they need. With `train`, data that a model was fitted
    to, a warning counts what `data` shares with it (see `preflearn.data.leakage`).
    """
    counts = data.counts()
    problems = [problem for name in counts for problem in _row_problems(data, name)]
    problems += [problem for rule in link_rules(data) for problem in _link_problems(rule)]
    if train is not None:
        problems += _leaks(leakage(train, data))
    order, tables = {"error": 0, "warning": 1}, list(TABLES)
    problems.sort(key=lambda problem: (order[problem.severity], tables.index(problem.table)))
    return ValidationReport(problems, counts)


def _row_problems(data: PreferenceData, table: str) -> list[Problem]:
    """All rules of single rows: one pass over the table counts, a second shows examples of what is broken."""
    frame = data.select(table, [column.name for column in TABLES[table].columns])
    rules = [(rule, rule.broken.fill_null(False)) for rule in row_rules(table)]
    counts = _row(frame.select(broken.sum().alias(str(i)) for i, (_, broken) in enumerate(rules)))
    found = [(rule, broken, count) for (rule, broken), count in zip(rules, counts) if count]
    if not found:
        return []
    key = pl.col(TABLES[table].key).cast(pl.String)
    shown = _row(
        frame.select(
            key.filter(broken).head(EXAMPLES).implode().alias(str(i)) for i, (_, broken, _) in enumerate(found)
        )
    )
    return [
        Problem(table, rule.column, rule.rule, rule.severity, count, _shown(keys), rule.cure)
        for (rule, _, count), keys in zip(found, shown)
    ]


def _row(frame: pl.LazyFrame) -> tuple[Any, ...]:
    return frame.collect(engine="streaming").row(0)


def _link_problems(rule: LinkRule) -> list[Problem]:
    found = rule.broken.select(pl.len().alias("n"), pl.col("key").head(EXAMPLES).implode()).collect(engine="streaming")
    count, keys = found.row(0)
    if not count:
        return []
    return [Problem(rule.table, rule.column, rule.rule, rule.severity, count, _shown(keys), rule.cure)]


_LEAKS = {
    "judgments": ("comparisons", "", "response"),
    "presentations": ("comparisons", "presentation_id", "prompt"),
    "prompts": ("prompts", "prompt_id", "prompt"),
    "prompt_contents": ("prompts", "messages", "prompt"),
    "conversations": ("prompts", "conversation_id", "conversation"),
    "responses": ("responses", "response_id", "prompt"),
    "response_contents": ("responses", "messages", "response"),
    "annotators": ("annotators", "annotator_id", "annotator"),
}
"""What may be shared with training data -> where it stands, and the split that keeps it apart."""


def _leaks(shared: Leakage) -> list[Problem]:
    problems = []
    for what, (table, column, by) in _LEAKS.items():
        if count := getattr(shared, what):
            rule = f"{what.replace('_', ' ')} are not in the training data too"
            problems.append(Problem(table, column, rule, "warning", count, [], f"A split by {by} keeps them apart."))
    return problems


def _shown(keys: list[str | None]) -> list[str]:
    return ["null" if key is None else key for key in keys]
