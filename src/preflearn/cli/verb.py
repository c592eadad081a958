"""What every verb shares: --json, --seed, --quiet, --force where it writes, and how errors end.

A verb is a function `(say, its own parameters) -> document`; `verb` gives it the common options and the exit codes.
"""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from preflearn.cli.say import Document, Say, dump
from preflearn.errors import PreflearnError

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output; text for people elsewhere.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of everything random (0 unless given).")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only the result: no notes, no progress.")]
Force = Annotated[bool, typer.Option("--force", help="Replace existing output.")]


def verb(*, writes: bool = False) -> Callable[[Callable[..., Document]], Callable[..., None]]:
    """Make a function a verb of the command line; `writes` adds --force.

    The function's first parameter receives the `Say` of the run. A document with `"ok": False` ends with exit code 1.
    """

    def decorate(function: Callable[..., Document]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]
        parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, default, annotation in _common(writes)
        ]

        @wraps(function)
        def run(**options: Any) -> None:
            say = Say(
                json=options.pop("json"),
                chosen_seed=options.pop("seed"),
                quiet=options.pop("quiet"),
                force=options.pop("force", False),
            )
            code = _run(function, say, options)
            if code:
                raise typer.Exit(code)

        del run.__wrapped__  # the added options must be seen, not the inner signature
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _common(writes: bool) -> list[tuple[str, Any, Any]]:
    force: list[tuple[str, Any, Any]] = [("force", False, Force)] if writes else []
    return [*force, ("json", False, Json), ("seed", None, Seed), ("quiet", False, Quiet)]


def _run(function: Callable[..., Document], say: Say, options: dict[str, Any]) -> int:
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say.warn(str(message))
        try:
            if say.json:
                with redirect_stdout(sys.stderr):
                    document = function(say, **options)
                print(dump(document), flush=True)
            else:
                document = function(say, **options)
        except BrokenPipeError:
            raise
        except Exception as error:
            return report_error(error, json=say.json)
    return 1 if document.get("ok") is False else 0


def report_error(error: Exception, *, json: bool) -> int:
    """Say what went wrong in one line (as a document too with `json`) and return the exit code."""
    if os.environ.get("PREFLEARN_DEBUG"):
        import traceback

        traceback.print_exception(error)
    known = isinstance(error, PreflearnError)
    code = error.exit_code if isinstance(error, PreflearnError) else 1
    message = " ".join(str(error).split()) if known else _unexpected(error)
    print(f"preflearn: {message}", file=sys.stderr)
    if json:
        print(dump({"error": {"type": type(error).__name__, "message": message}, "exit_code": code}))
    return code


def _unexpected(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    return f"unexpected {type(error).__name__}: {text:.500} (PREFLEARN_DEBUG=1 shows where)"
