"""What all verbs share: one JSON document, exit codes, no bare traceback, tables that line up."""

from __future__ import annotations

import json
import math
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from preflearn.cli.main import run as main
from preflearn.cli.say import Document, Field, Say, dump, show
from preflearn.cli.verb import verb
from preflearn.errors import InputError, NotComputable

ERRORS = {
    "input": lambda: InputError("the vote is odd.", path="x.csv", row=3, cure="Mend it."),
    "failure": lambda: NotComputable("no votes"),
    "bug": lambda: KeyError("boom"),
    "disk": lambda: PermissionError(13, "Permission denied", "/root/x"),
}


@verb(writes=True)
def example(say: Say, what: str, fail: str = "") -> Document:
    """An example."""
    say.note("a note")
    say.line("a result")
    print("a stray line of some library")
    warnings.warn("careful", stacklevel=1)
    if fail:
        raise ERRORS[fail]()
    return {"what": what, "seed": say.seed, "force": say.force, "ok": what != "bad"}


app = typer.Typer()
app.command()(example)


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_json_is_exactly_one_document_and_everything_else_goes_to_standard_error() -> None:
    result = call("x", "--json", "--seed", "7", "--force")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"what": "x", "seed": 7, "force": True, "ok": True}
    for text in ("a note", "a result", "a stray line", "warning: careful"):
        assert text in result.stderr


def test_quiet_json_leaves_standard_error_to_errors() -> None:
    result = call("x", "--json", "--quiet")
    assert "a result" not in result.stderr and "note" not in result.stderr and "careful" not in result.stderr


def test_without_json_the_result_is_text() -> None:
    result = call("x")
    assert "a result" in result.stdout and "a note" in result.stderr and "{" not in result.stdout
    assert "a note" not in call("x", "--quiet").stderr


@pytest.mark.parametrize(("fail", "code"), [("input", 2), ("failure", 1), ("bug", 1), ("disk", 1)])
def test_errors_are_one_line_and_one_document(fail: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFLEARN_DEBUG", raising=False)
    result = call("x", "--fail", fail, "--json", "--quiet")
    assert result.exit_code == code
    document = json.loads(result.stdout)
    assert document["exit_code"] == code and document["error"]["message"]
    assert len(result.stderr.strip().splitlines()) == 1 + ("stray" in result.stderr)
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFLEARN_DEBUG", "1")
    assert "Traceback" in call("x", "--fail", "bug").stderr


def test_a_document_that_is_not_ok_ends_with_1() -> None:
    assert call("bad").exit_code == 1


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["rank"], ["rank", "x", "--no-such-option"], ["rank", "x", "--seed", "-1"]]
)
def test_wrong_options_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["exit_code"] == 2 and "Traceback" not in captured.err


VERBS = [
    "import",
    "export",
    "validate",
    "merge",
    "split",
    "convert",
    "describe",
    "rank",
    "predict",
    "evaluate",
    "simulate",
    "methods",
    "report",
    "demo",
]


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_the_common_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--json", "--seed", "--quiet"):
        assert option in text
    assert max(map(len, text.splitlines())) <= 100


def test_json_holds_everything_and_no_nan() -> None:
    document = {
        "nan": math.nan, "inf": np.float64("inf"), "array": np.array([1.0, math.nan]), "int": np.int64(3),
        "flag": np.bool_(True),
        "time": datetime(2024, 5, 1, tzinfo=UTC), "path": Path("a/b"), "set": {1}, 4: None,
    }  # fmt: skip
    assert json.loads(dump(document)) == {
        "nan": None, "inf": None, "array": [1.0, None], "int": 3, "flag": True,
        "time": "2024-05-01T00:00:00+00:00", "path": "a/b", "set": [1], "4": None,
    }  # fmt: skip
    with pytest.raises(TypeError, match="object has no JSON form"):
        dump({"x": object()})


def test_cells_are_short() -> None:
    shown = [show(value) for value in (None, True, 1234, 1.23456, 12345.6, 1e-5, math.nan, "x")]
    assert shown == ["", "yes", "1,234", "1.235", "12,346", "1e-05", "-", "x"]


def test_tables_line_up_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Say().table([Field("name"), Field("votes", right=True)], [["日本", 5], ["[bold]plain[/bold] :smile:", 12345]])
    assert capsys.readouterr().out.splitlines() == [
        "name                         votes",
        "--------------------------  ------",
        "日本                             5",
        "[bold]plain[/bold] :smile:  12,345",
    ]


def test_tables_fit_80_columns_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    Say().table([Field("name", flexible=True), Field("votes", right=True)], [["word " * 40, 5]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines).split()).count("word") == 40
