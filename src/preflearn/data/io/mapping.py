"""Mapping files: any tables -> the nine, by a small declarative language (sources, tables, outputs). No code is run.

A mapping names files, joins and reshapes them, and says for each output which column plays which role; docs/mapping.md
describes it, examples/mappings/ holds one for each of many public data sets. `--map ROLE=COLUMN` is its short form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preflearn.data.io.mapping_model import Mapping, parse_yaml, validated
from preflearn.data.io.mapping_reading import Reading
from preflearn.data.reading import ImportReport
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

__all__ = ["Mapping", "load_mapping", "mapping_from_pairs", "mapping_names", "read_mapped"]


def load_mapping(path_or_name: str | Path | AnyMapping[str, Any]) -> Mapping:
    """A mapping from a YAML file, from the name of one that comes with preflearn, or from plain data.

    Raises:
        InputError: no such file, broken YAML, or a word the language does not know (the nearest one is named).
    """
    if isinstance(path_or_name, AnyMapping):
        return validated(path_or_name)
    return parse_yaml(_mapping_path(path_or_name))


def mapping_names() -> list[str]:
    """Names of the mappings that come with preflearn."""
    return sorted({path.stem for folder in _folders() for path in folder.glob("*.yaml")})


def mapping_from_pairs(pairs: Sequence[str]) -> Mapping:
    """The mapping of `--map ROLE=COLUMN[:VALUE=WANTED,...]` arguments; what they leave open is read as a plain table.

    >>> mapping_from_pairs(["outcome=winner:left=a,right=b"]).outputs[0].roles["outcome"].columns()
    {'winner'}

    Raises:
        InputError: a pair without `=`, or a role given twice.
    """
    roles: dict[str, Any] = {}
    for pair in pairs:
        role, equals, column = pair.partition("=")
        if not equals or not role or not column:
            raise InputError("this is no ROLE=COLUMN.", value=pair, cure="For example --map outcome=winner.")
        if role in roles:
            raise InputError("the role is given twice.", value=role)
        found = re.fullmatch(r"(.+?):([^:=]+=[^:]*)", column)
        values = dict(one.partition("=")[::2] for one in found[2].split(",")) if found else None
        roles[role] = {"column": found[1], "values": values} if found else column
    return validated({"name": "--map", "outputs": [{"table": "plain", "roles": roles, "keep": "rest"}]})


def _mapping_path(name: str | Path) -> Path:
    path = Path(name)
    if path.is_file():
        return path
    for folder in _folders():
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    raise InputError(
        "there is no such mapping file.", path=path, cure=f"Mappings by name: {', '.join(mapping_names()) or 'none'}."
    )


def _folders() -> list[Path]:
    here = Path(__file__)
    folders = [here.parent / "mappings", here.parents[4] / "examples" / "mappings"]
    return [folder for folder in folders if folder.is_dir()]


def read_mapped(
    mapping: Mapping | str | Path, *paths: str | Path, report: ImportReport | None = None
) -> PreferenceData:
    """Read files through a mapping.

    Args:
        mapping: a mapping, its file or its name.
        paths: files, or directories in which the mapping's files lie; none = the directory in $PREFLEARN_DATA. A
            mapping that names no sources, or one, takes whatever files are given.
        report: to be added to; `.report` of the result.

    Raises:
        InputError: a file or column is absent; a join is ambiguous; a column's type cannot be used.
    """
    mapping = mapping if isinstance(mapping, Mapping) else load_mapping(mapping)
    report = report or ImportReport(", ".join(map(str, paths)) or mapping.name, f"mapping {mapping.name}")
    for note in mapping.notes:
        report.note(note)
    return Reading(mapping, [Path(path) for path in paths], report).data()
