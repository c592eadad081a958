"""Which format a file is in; and, where none fits, what was found, what comes nearest and what that needs."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import polars as pl

from preflearn.data.io.base import Format, Sample
from preflearn.data.io.formats import FORMATS
from preflearn.errors import InputError


def named(name: str) -> Format:
    """The format of this name.

    Raises:
        InputError: there is none; the nearest names are given.
    """
    for one in FORMATS:
        if one.name == name:
            return one
    names = [one.name for one in FORMATS]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise InputError(f"there is no format {name!r}.", cure=f"{hint}The formats are: {', '.join(names)}.")


def detected(path: Path, frame: pl.DataFrame) -> Format:
    """The first format that knows these columns and rows.

    Raises:
        InputError: none does.
    """
    sample = Sample.of(path, frame)
    for one in FORMATS:
        if one.detect(sample):
            return one
    raise unknown(path, [*sample.columns])


def unknown(path: Path, columns: list[str]) -> InputError:
    """The error for columns that no format knows: it names the three nearest formats and the way out."""
    likeness = {one.name: _likeness(one, columns) for one in FORMATS}
    near = [one for one in FORMATS if likeness[one.name] >= 0.3] or [FORMATS[-1]]
    ranked = sorted(near, key=lambda one: -likeness[one.name])[:3]
    needs = "; ".join(f"{one.name} needs {' or '.join(one.needs)}" for one in ranked)
    return InputError(
        f"no known format has these columns: {', '.join(columns) or 'none'}.",
        path=path,
        cure=f"Nearest: {needs}. Say what the columns mean with --map ROLE=COLUMN (as in --map outcome=vote), with a "
        "mapping file, or force a format with --format.",
    )


def _likeness(one: Format, columns: list[str]) -> float:
    """The best share of a layout's columns that are there, near misses counting half."""
    best = 0.0
    for layout in one.needs:
        words = [word for word in re.findall(r"[a-z_0-9]+", re.sub(r"[(\[].*?[)\]]", "", layout)) if len(word) > 2]
        found = 0.0
        for word in words:
            if word in columns:
                found += 1
            elif difflib.get_close_matches(word, columns, n=1, cutoff=0.75):
                found += 0.5
        best = max(best, found / max(len(words), 1))
    return best
