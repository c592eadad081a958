"""Counted features of texts: what a response looks like, in numbers a person can check.

Every feature is a function of polars expressions, registered by name with `@feature`. Counts of style (length, headers,
lists, bold) are those that leaderboards are controlled for.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np
import polars as pl

from preflearn.backbones.rows import Inputs, all_rows, prompt_inputs, response_inputs, text_of
from preflearn.backbones.types import Encoded, Mask, Vectors
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

Feature = Callable[..., pl.Expr]
"""`f(response)` or `f(response, prompt)`: from expressions of texts to an expression of one number per row."""
F = TypeVar("F", bound=Feature)

_FEATURES: dict[str, Feature] = {}


def feature(name: str) -> Callable[[F], F]:
    """Register a feature under a name, so that encoders that use it can be saved.

    >>> @feature("exclaims")
    ... def exclaims(response):
    ...     return response.str.contains("!", literal=True)

    Raises:
        InputError: the name is taken by another function.
    """

    def register(function: F) -> F:
        known = _FEATURES.get(name, function)
        if (known.__module__, known.__qualname__) != (function.__module__, function.__qualname__):
            raise InputError(f"there is already a feature {name!r}.", cure="Choose another name.")
        _FEATURES[name] = function
        return function

    return register


def per_text(function: Callable[[str], float]) -> Feature:
    """A feature from a Python function of one text (slower: it is called once per distinct text)."""

    def counted(response: pl.Expr) -> pl.Expr:
        def over(texts: pl.Series) -> pl.Series:
            distinct = texts.unique()
            found = pl.Series([float(function(text)) for text in distinct], dtype=pl.Float64)
            return texts.replace_strict(distinct, found, return_dtype=pl.Float64)

        return response.map_batches(over, return_dtype=pl.Float64)

    counted.__name__ = counted.__qualname__ = getattr(function, "__name__", "function")
    return counted


def features() -> list[str]:
    """Names of the registered features."""
    return list(_FEATURES)


def expression(name: str, response: pl.Expr, prompt: pl.Expr | None = None) -> pl.Expr:
    """A registered feature of texts.

    Raises:
        InputError: there is none of this name.
    """
    return _applied(_known(name), response, pl.lit("") if prompt is None else prompt)


@dataclass(frozen=True)
class Features:
    """Counted features of the responses' texts.

    Args:
        names: registered features (`features()` lists them), or functions of your own (see `Feature`, `per_text`); the
            latter live in memory only: a model that uses one cannot be saved until the function is registered.
    """

    names: tuple[str | Feature, ...] = (
        "words",
        "characters",
        "lines",
        "lists",
        "code_blocks",
        "headers",
        "bold",
        "question_marks",
        "exclamation_marks",
        "digits_share",
        "capitals_share",
        "word_length",
        "distinct_words",
        "distinct_trigrams",
    )

    def __post_init__(self) -> None:
        given: Any = self.names
        names = (given,) if isinstance(given, str) or callable(given) else tuple(given)
        if not names:
            raise InputError("no features are named.", cure=f"There are: {', '.join(_FEATURES)}.")
        for name in names:
            if isinstance(name, str):
                _known(name)
        object.__setattr__(self, "names", names)

    @property
    def dimension(self) -> int | None:
        """One number per feature."""
        return len(self.names)

    def encode(
        self, data: PreferenceData, *, prompts: bool = False, needed: Mask | None = None, progress: bool | None = None
    ) -> Encoded:
        """The features as they are counted: [R, number of features] (and of the prompts' texts).

        Raises:
            InputError: a needed response has no text, or a feature is not finite for one; it is named.
        """
        wanted = all_rows(data, needed)
        functions = [_known(name) if isinstance(name, str) else name for name in self.names]
        reads_prompt = any(_arguments(function) > 1 for function in functions)
        inputs = response_inputs(data, wanted, "prompt+response" if reads_prompt else "response")
        responses = self._counted(data, inputs, functions, data.height("responses"))
        if not prompts:
            return Encoded(responses)
        asked = prompt_inputs(data, wanted)
        return Encoded(responses, self._counted(data, asked, functions, data.height("prompts")))

    def signature(self) -> str:
        """The names of the features.

        Raises:
            InputError: a function of yours is not registered.
        """
        for name in self.names:
            if not isinstance(name, str):
                raise InputError(
                    f"the feature {_name(name)!r} exists only in memory.",
                    cure="Register it in a module with @feature(name) and give its name.",
                )
        return json.dumps({"features": self.names})

    def _counted(self, data: PreferenceData, inputs: Inputs, functions: list[Feature], height: int) -> Vectors:
        own = data.table(inputs.table).select(text_of(pl.col("messages")).alias("response"))[inputs.rows]
        prompt = pl.Series("prompt", [""], dtype=pl.String).new_from_index(0, inputs.rows.size)
        if (inputs.prompt_rows >= 0).any():
            texts = data.prompts.select(text_of(pl.col("messages")).fill_null("")).to_series()
            at = pl.Series(inputs.prompt_rows).to_frame("at").select(pl.when(pl.col("at") >= 0).then(pl.col("at")))
            prompt = texts.gather(at.to_series()).fill_null("").alias("prompt")
        expressions = [
            _applied(function, pl.col("response"), pl.col("prompt")).cast(pl.Float64).alias(f"__feature_{place}")
            for place, function in enumerate(functions)
        ]
        counted = own.with_columns(prompt).select(expressions)
        found = counted.fill_null(float("nan")).to_numpy().astype(np.float32)
        bad = ~np.isfinite(found)
        if bad.any():
            row, place = np.argwhere(bad)[0]
            raise InputError(
                f"the feature {_name(self.names[place])!r} is not a finite number for a text.",
                row=int(inputs.rows[row]),
                column=f"{inputs.table}.messages",
                value=own["response"][int(row)],
            )
        out = np.zeros((height, len(functions)), dtype=np.float32)
        out[inputs.rows] = found
        return out


def _known(name: str) -> Feature:
    if name not in _FEATURES:
        near = get_close_matches(name, _FEATURES, n=2)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"there is no feature {name!r}.", cure=f"{hint}There are: {', '.join(_FEATURES)}.")
    return _FEATURES[name]


def _name(entry: str | Feature) -> str:
    return entry if isinstance(entry, str) else getattr(entry, "__name__", repr(entry))


def _arguments(function: Feature) -> int:
    return len(inspect.signature(function).parameters)


def _applied(function: Feature, response: pl.Expr, prompt: pl.Expr) -> pl.Expr:
    found = function(response, prompt) if _arguments(function) > 1 else function(response)
    if not isinstance(found, pl.Expr):
        raise InputError(
            f"the feature {_name(function)!r} gave {type(found).__name__}, and a polars expression is needed.",
            cure="For a Python function of one text give per_text(function).",
        )
    return found


def _share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """The quotient, 0 where there is nothing."""
    return pl.when(whole > 0).then(part / whole).otherwise(0.0)


@feature("words")
def words(response: pl.Expr) -> pl.Expr:
    """Runs of anything but white space."""
    return response.str.count_matches(r"\S+")


_FEATURES["length"] = words


@feature("characters")
def characters(response: pl.Expr) -> pl.Expr:
    """Unicode code points."""
    return response.str.len_chars()


@feature("lines")
def lines(response: pl.Expr) -> pl.Expr:
    """Lines that hold more than white space."""
    return response.str.count_matches(r"(?m)^.*\S")


@feature("lists")
def lists(response: pl.Expr) -> pl.Expr:
    """Lines that begin with a bullet or a number, as in Markdown."""
    return response.str.count_matches(r"(?m)^\s*(?:[-*+]|\d+[.)])\s+")


@feature("code_blocks")
def code_blocks(response: pl.Expr) -> pl.Expr:
    """Fenced blocks; one that is never closed counts."""
    return (response.str.count_matches(r"(?m)^\s*(?:```|~~~)") + 1) // 2


@feature("headers")
def headers(response: pl.Expr) -> pl.Expr:
    """Markdown headers."""
    return response.str.count_matches(r"(?m)^\s{0,3}#{1,6}\s")


@feature("bold")
def bold(response: pl.Expr) -> pl.Expr:
    """Bold passages in Markdown."""
    return response.str.count_matches(r"\*\*[^*\n]+\*\*|__[^_\n]+__")


@feature("question_marks")
def question_marks(response: pl.Expr) -> pl.Expr:
    """Question marks, inverted and full-width ones too."""
    return response.str.count_matches("[?¿？]")


@feature("exclamation_marks")
def exclamation_marks(response: pl.Expr) -> pl.Expr:
    """Exclamation marks, inverted and full-width ones too."""
    return response.str.count_matches("[!¡！]")


@feature("digits_share")
def digits_share(response: pl.Expr) -> pl.Expr:
    """Share of characters that are digits."""
    return _share(response.str.count_matches(r"\d"), response.str.len_chars())


@feature("capitals_share")
def capitals_share(response: pl.Expr) -> pl.Expr:
    """Share of letters that are capitals."""
    return _share(response.str.count_matches(r"\p{Lu}"), response.str.count_matches(r"\p{L}"))


@feature("word_length")
def word_length(response: pl.Expr) -> pl.Expr:
    """Mean characters per word."""
    return _share(response.str.count_matches(r"\S"), words(response))


@feature("distinct_words")
def distinct_words(response: pl.Expr) -> pl.Expr:
    """Type-token ratio: distinct words (case apart) among words; 0 without words."""
    found = _tokens(response)
    return _share(found.list.n_unique(), found.list.len())


@feature("distinct_trigrams")
def distinct_trigrams(response: pl.Expr) -> pl.Expr:
    """Distinct runs of three words among all of them; 1 with fewer than three words: nothing is repeated."""
    one = pl.element()
    runs = _tokens(response).list.eval(
        pl.concat_str(one, one.shift(-1), one.shift(-2), separator=" ").drop_nulls(),
    )
    return pl.when(runs.list.len() > 0).then(runs.list.n_unique() / runs.list.len()).otherwise(1.0)


def _tokens(response: pl.Expr) -> pl.Expr:
    return response.str.to_lowercase().str.extract_all(r"\S+")
