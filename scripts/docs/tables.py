"""Write docs/tables.md, the reference of the nine tables, from the schema itself."""

from pathlib import Path

import polars as pl

from preflearn.data.schema import MESSAGES, TABLES

TARGET = Path(__file__).parents[2] / "docs" / "tables.md"


def type_name(dtype: pl.DataType) -> str:
    """A short name of a polars type."""
    if dtype == MESSAGES:
        return "list of {role, name, content, media}"
    if isinstance(dtype, pl.List):
        return f"list of {type_name(dtype.inner)}"
    if isinstance(dtype, pl.Datetime):
        return "time (UTC, microseconds)"
    names = {pl.String: "text", pl.Categorical: "category", pl.Boolean: "true/false"}
    return names.get(type(dtype), str(dtype).lower())


def render() -> str:
    """The page."""
    lines = [
        "# The nine tables",
        "",
        "Generated from `preflearn.data.schema` by `scripts/docs/tables.py`. **Bold** columns are obligatory; null",
        "means *not recorded*; other columns ride along and are kept by every operation.",
    ]
    for table in TABLES.values():
        lines += ["", f"## {table.name}", "", "| column | type | meaning |", "|---|---|---|"]
        for column in table.columns:
            name = f"**{column.name}**" if column.required else column.name
            meaning = column.meaning
            if column.values:
                meaning += f" ({', '.join(column.values)})"
            if column.refers_to:
                meaning += f" → {column.refers_to}"
            lines.append(f"| {name} | {type_name(column.dtype)} | {meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), "utf-8")
