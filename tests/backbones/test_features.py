from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflearn.backbones import Features, as_spec
from preflearn.backbones.features import feature, features, per_text
from preflearn.errors import InputError
from preflearn.ranking.style import with_covariates
from tests.backbones import makers


def counted(text: str, *names: str) -> dict[str, float]:
    names = names or Features().names  # type: ignore[assignment]
    row = Features(names).encode(makers.texts([text])).responses[0]
    return dict(zip(names, row.tolist()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"words": 0, "characters": 0, "lines": 0, "capitals_share": 0, "word_length": 0, "distinct_words": 0}),
        ("", {"distinct_trigrams": 1, "code_blocks": 0}),
        ("two words", {"words": 2, "length": 2, "characters": 9, "lines": 1, "word_length": 4, "distinct_trigrams": 1}),
        ("a b c a b c", {"distinct_words": 0.5, "distinct_trigrams": 0.75}),
        ("The the THE cat", {"distinct_words": 0.5, "distinct_trigrams": 1, "capitals_share": 4 / 12}),
        ("# Head\n\n- one\n2) two\n  * **three** __four__", {"headers": 1, "lists": 3, "bold": 2, "lines": 4}),
        ("```py\nx\n```\ntext\n~~~\nopen", {"code_blocks": 2}),
        ("¿Qué? Why?! 12%", {"question_marks": 3, "exclamation_marks": 1, "digits_share": 2 / 15}),
        ("ÉCOLE été 学校", {"capitals_share": 0.5, "words": 3, "characters": 12}),
    ],
)
def test_counts_by_hand(text: str, expected: dict[str, float]) -> None:
    found = counted(text, *expected)
    assert found == pytest.approx(expected, abs=1e-6)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_shares_are_shares_and_everything_is_finite(text: str) -> None:
    found = counted(text)
    assert all(np.isfinite(value) and value >= 0 for value in found.values())
    for name in ("digits_share", "capitals_share", "distinct_words", "distinct_trigrams"):
        assert 0 <= found[name] <= 1
    words = text.split()
    if text.isascii() and not set(text) & {chr(c) for c in range(28, 32)}:  # str.split knows four separators more
        assert found["words"] == len(words)
        runs = list(zip(words, words[1:], words[2:]))
        lowered = [tuple(w.lower() for w in run) for run in runs]
        assert found["distinct_trigrams"] == pytest.approx(len(set(lowered)) / len(lowered) if lowered else 1)


def test_style_covariates_are_the_same_counts() -> None:
    data = makers.texts(["# a\n- b **c**", "plain words only here", ""])
    names = ["length", "headers", "lists", "bold"]
    styled = with_covariates(data, names)
    expected = styled.data.responses.select(styled.columns).to_numpy()
    assert (Features(tuple(names)).encode(data).responses == expected).all() and expected.any()


def test_features_of_one_s_own() -> None:
    def longer_than_prompt(response: pl.Expr, prompt: pl.Expr) -> pl.Expr:
        return response.str.len_chars() > prompt.str.len_chars()

    def vowels(text: str) -> float:
        return sum(letter in "aeiou" for letter in text)

    data = makers.texts(["a tale of vowels", "xyz", "a tale of vowels"], prompt="hello you")
    encoder = Features(("words", longer_than_prompt, per_text(vowels)))
    assert encoder.encode(data).responses.tolist() == [[4, 1, 6], [1, 0, 0], [4, 1, 6]]
    with pytest.raises(InputError, match=r"'longer_than_prompt' exists only in memory.*@feature"):
        as_spec(encoder)
    with pytest.raises(InputError, match=r"'longer_than_prompt' exists only in memory"):
        encoder.signature()
    with pytest.raises(InputError, match=r"'vowels' gave .*per_text"):
        Features((lambda response: 3,)).encode(data) if False else Features((_plain_vowels,)).encode(data)

    feature("test_vowels")(per_text(vowels))
    assert Features(("test_vowels",)).encode(data).responses[0, 0] == 6 and "test_vowels" in features()
    with pytest.raises(InputError, match="already a feature"):
        feature("words")(longer_than_prompt)


def _plain_vowels(text: str) -> float:
    return 1.0


_plain_vowels.__name__ = "vowels"


def test_errors() -> None:
    with pytest.raises(InputError, match=r"Did you mean words"):
        Features(("wrods",))
    with pytest.raises(InputError, match=r"row 1, .*no text"):
        Features().encode(makers.texts(["a", None]))
    with pytest.raises(InputError, match=r"row 0, .*not a finite number"):
        Features((lambda text: text.str.len_chars() / 0,)).encode(makers.texts(["a"]))
