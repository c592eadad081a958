"""What an import says of itself: what was read, kept, mapped and dropped, and every row it could not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Rejected(NamedTuple):
    """One unreadable row, kept word for word."""

    source: str
    """File name as the user gave it."""
    line: int | None
    """1-based line for text files, 1-based row for Parquet and for JSON of one line; None = the whole source."""
    reason: str
    raw: str
    """The row's text as found (JSON for table formats)."""


@dataclass
class ImportReport:
    """Counts of one import. Nothing is dropped without a line here."""

    source: str
    format: str
    read: int = 0
    """Rows found in the source, readable or not."""
    mapped: Counter[str] = field(default_factory=Counter)
    """Conversions by name ('winner=tie (bothbad) -> outcome both_bad'), with counts of rows."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Readable rows deliberately not kept, by reason."""
    notes: list[str] = field(default_factory=list)
    """Assumptions and things a reader should know, as sentences."""
    rejected: list[Rejected] = field(default_factory=list)
    """Unreadable rows; they go to rejected.jsonl."""
    made_ids: set[str] = field(default_factory=set)
    """Tables of judgments whose ids were made from line numbers: equal ids of two sources are chance."""

    def map(self, what: str, count: int = 1) -> None:
        """Count a conversion; zero rows leave no line."""
        if count:
            self.mapped[what] += count

    def drop(self, reason: str, count: int = 1) -> None:
        """Count readable rows that were left out."""
        if count:
            self.dropped[reason] += count

    def note(self, sentence: str) -> None:
        """Say something once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def reject(self, rows: Iterable[Rejected]) -> None:
        """Keep unreadable rows."""
        self.rejected.extend(rows)

    @property
    def kept(self) -> int:
        """Rows that entered the data set; one of which only a part could not be read did not."""
        unreadable = {(row.source, row.line, row.raw) for row in self.rejected}
        return self.read - len(unreadable) - sum(self.dropped.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain data for preferences.json and `--json` (rejected rows as a count by reason)."""
        return {
            "source": self.source,
            "format": self.format,
            "read": self.read,
            "kept": self.kept,
            "mapped": dict(self.mapped),
            "dropped": dict(self.dropped),
            "rejected": dict(Counter(row.reason for row in self.rejected)),
            "notes": list(self.notes),
            "made_ids": sorted(self.made_ids),
        }

    def lines(self) -> list[str]:
        """The report as short lines for people."""
        out = [f"{self.source}: format {self.format}, {self.read:,} rows read, {self.kept:,} kept"]
        out += [f"  mapped {count:,}: {what}" for what, count in self.mapped.most_common()]
        out += [f"  dropped {count:,}: {why}" for why, count in self.dropped.most_common()]
        reasons = Counter(row.reason for row in self.rejected)
        out += [f"  unreadable {count:,}: {why} (kept in rejected.jsonl)" for why, count in reasons.most_common()]
        out += [f"  note: {note}" for note in self.notes]
        return out
