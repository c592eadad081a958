"""The measurements as tables: for the terminal, and as the documentation's page. No figure is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]
Document = dict[str, Any]


class Bar(NamedTuple):
    """What is promised, and how it is read off the document (None = not measured)."""

    what: str
    limit: float
    unit: str
    measure: Callable[[Document], float | None]
    at_least: bool = False


def _fit(document: Document, case: str, method: str) -> Row | None:
    found = (row for row in document["fits"] if (row["case"], row["method"]) == (case, method) and row["repeats"])
    return next(found, None)


def _cpu(case: str, method: str) -> Callable[[Document], float | None]:
    def read(document: Document) -> float | None:
        row = _fit(document, case, method)
        return None if row is None else float(row["cpu_s"])

    return read


def _ratio(case: str, method: str, to: str) -> Callable[[Document], float | None]:
    def read(document: Document) -> float | None:
        other, ours = _fit(document, case, method), _fit(document, case, to)
        return other["cpu_s"] / ours["cpu_s"] if other and ours else None

    return read


def _memory(case: str, method: str) -> Callable[[Document], float | None]:
    def read(document: Document) -> float | None:
        row = _fit(document, case, method)
        return row["peak_mb"] / row["codes_mb"] if row and row["peak_mb"] is not None else None

    return read


def _wall(what: str) -> Callable[[Document], float | None]:
    def read(document: Document) -> float | None:
        rows = (row for row in document["tables"] if row["what"] == what and row["n_votes"] == 10_000_000)
        return next((row["wall_s"] for row in rows), None)

    return read


def _start(what: str) -> Callable[[Document], float | None]:
    def read(document: Document) -> float | None:
        return next((row["wall_s"] for row in document["starts"] if row["what"] == what), None)

    return read


BARS = (
    Bar("fit, 2M x 200", 0.05, "CPU-s", _cpu("2M x 200", "preflearn")),
    Bar("fit, 10M x 300", 0.5, "CPU-s", _cpu("10M x 300", "preflearn")),
    Bar("evalica over preflearn, 10M x 300", 12, "x", _ratio("10M x 300", "evalica.bradley_terry", "preflearn"), True),
    Bar("100 bootstraps, 10M x 300", 2.5, "CPU-s", _cpu("10M x 300", "preflearn, 100 bootstraps")),
    Bar("peak above the holding process, 10M x 300", 1.2, "x the codes", _memory("10M x 300", "preflearn")),
    Bar("fit, 1M x 20k", 1.5, "CPU-s", _cpu("1M x 20k", "preflearn")),
    Bar("directory of 10M votes to leaderboard", 15, "s wall", _wall("data-set directory, clustered")),
    Bar("import preflearn", 0.3, "s wall", _start("import preflearn")),
    Bar("preflearn --help", 0.3, "s wall", _start("preflearn --help")),
)
"""The speed that the project holds itself to."""


# -- tables ------------------------------------------------------------------------------------------------------------


def _fits_table(document: Document, case: str) -> tuple[list[str], list[list[str]]]:
    ours = _fit(document, case, "preflearn")
    resampled = _fit(document, case, "preflearn, 100 bootstraps")
    body = []
    for row in (row for row in document["fits"] if row["case"] == case):
        if not row["repeats"]:
            body.append([row["method"], "-", "-", "-", "-", "-", "", row["note"] or ""])
            continue
        against = resampled if row["replicates"] else ours
        scale = against["replicates"] / row["replicates"] if against and row["replicates"] else 1.0
        body.append(
            [
                row["method"],
                _number(row["cpu_s"]),
                _times(row["cpu_s"] * scale / against["cpu_s"]) if against else "",
                _number(row["wall_s"]),
                "" if row["peak_mb"] is None else f"{row['peak_mb']:,.0f}",
                "" if row["peak_mb"] is None else f"{row['peak_mb'] / row['codes_mb']:.2f}",
                "" if row["difference"] is None else f"{row['difference']:.0e}",
                row["note"] or "",
            ]
        )
    heads = ["method", "CPU-s", "x preflearn", "wall s", "peak MB", "peak / codes", "max difference", "note"]
    return heads, body


def _tables_table(document: Document) -> tuple[list[str], list[list[str]]]:
    body = [
        [
            row["what"],
            f"{row['n_votes']:,}",
            _number(row["cpu_s"]),
            _number(row["wall_s"]),
            f"{row['peak_mb']:,.0f}",
            f"{row['file_mb']:,.0f}" if "file_mb" in row else "",
        ]
        for row in document["tables"]
    ]
    return ["from", "votes", "CPU-s", "wall s", "resident MB", "file MB"], body


def _starts_table(document: Document) -> tuple[list[str], list[list[str]]]:
    base = document["starts"][0]
    body = [
        [row["what"], _number(row["cpu_s"]), _times(row["cpu_s"] / base["cpu_s"]), _number(row["wall_s"])]
        for row in document["starts"]
    ]
    return ["", "CPU-s", "x python", "wall s"], body


def _bars_table(document: Document) -> tuple[list[str], list[list[str]]]:
    body = []
    for bar in BARS:
        value = bar.measure(document)
        if value is None:
            continue
        met = value >= bar.limit if bar.at_least else value <= bar.limit
        sign = "at least" if bar.at_least else "at most"
        body.append([bar.what, f"{sign} {bar.limit:g} {bar.unit}", _number(value), "yes" if met else "NO"])
    return ["", "promised", "measured", "held"], body


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _times(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def sections(document: Document) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, head and body of every table that has something to show."""
    for key, case in document["cases"].items():
        if any(row["case"] == key for row in document["fits"]):
            yield f"{key}: {case['title']}", *_fits_table(document, key)
    if document["tables"]:
        yield "From files to the printed leaderboard", *_tables_table(document)
    if document["starts"]:
        yield "Start-up", *_starts_table(document)
    heads, body = _bars_table(document)
    if body:
        yield "What is promised", heads, body


def text(document: Document) -> str:
    """For the terminal."""
    parts = [_machine(document)]
    for title, heads, body in sections(document):
        widths = [max(len(cell) for cell in column) for column in zip(heads, *body)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in (heads, *body)]
        parts.append("\n".join([title, *lines]))
    return "\n\n".join(parts)


def render(document: Document) -> str:
    """The documentation's page, in Markdown."""
    parts = [_INTRODUCTION, _machine(document)]
    for title, heads, body in sections(document):
        lines = [_markdown(heads), _markdown(["---"] * len(heads)), *(_markdown(line) for line in body)]
        parts.append(f"## {title}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _machine(document: Document) -> str:
    found = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    cores = f"{found['cores']} core{'s' if found['cores'] != 1 else ''}"
    return f"{found['processor']}, {cores}; Python {found['python']}; {versions}."


_INTRODUCTION = """# Speed and memory

This page is written by `make bench`; no figure in it was typed.

- Every measurement has a process of its own, which first holds the imports and the votes; each library has fitted a
  few votes before, so that nothing is loaded while it is measured. Methods take turns; medians are shown.
- CPU-s is user + system time with one thread for linear algebra. It hardly depends on what else the machine does; wall
  time does.
- Peak memory is counted above what the process held before; *peak / codes* divides it by the memory of the votes
  (9 bytes each).
- Everyone starts from the same integer codes in memory, without ties, which several libraries cannot model. *max
  difference* is the largest difference of a centred strength (nats) from preflearn's.
- *preflearn* counts the votes, finds what is comparable, and fits; *with intervals* adds the covariance.
- FastChat's formula is written in the benchmark from its description (distinct votes, L-BFGS); scikit-learn stops at a
  tolerance of 1e-8, because its default one returns zeros where votes spread over many items. arena-rank's time
  includes compiling, which happens anew for every shape of data.
- Bootstraps exclude the first fit, except evalica's, which makes its own; ratios are per replicate."""
