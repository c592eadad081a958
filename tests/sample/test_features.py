"""Style facts of the bundled sample: hand-counted texts, properties, and the responses as they stand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

SAMPLE = Path(__file__).resolve().parents[2] / "scripts" / "sample"


def _load() -> ModuleType:
    # The scripts are no package: they are run by path, and so they are loaded by path.
    spec = importlib.util.spec_from_file_location("sample_features", SAMPLE / "features.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


features = _load()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # characters, words, list items, exclamation marks, question marks, warmth words
        ("", (0, 0, 0, 0, 0, 0)),
        ("  \n ", (0, 0, 0, 0, 0, 0)),
        ("Take the bus.", (13, 3, 0, 0, 0, 0)),
        ("I am SO glad, my friend!! Don't worry, OK?", (42, 9, 0, 2, 1, 3)),
        ("1. Buy bread.\n2) Eat it.\n- Sleep.\n  * Repeat.", (45, 6, 4, 0, 0, 0)),
        ("Version 1.5 came in 1999. - Not a list. *Nor this*", (50, 11, 0, 0, 0, 0)),
        ("¡Ánimo, amigo! ¿Qué tal?", (24, 4, 0, 2, 2, 2)),
        ("a) one\nb. two\nA ten-year-old's well-being", (41, 5, 2, 0, 0, 1)),
        ("1.\n2.", (5, 2, 0, 0, 0, 0)),
    ],
)
def test_hand_counted(text: str, expected: tuple[int, ...]) -> None:
    assert tuple(features.style_facts(text)) == expected


def test_warmth_compares_whole_words() -> None:
    assert features.style_facts("The unkind heartless friendship warmed").warmth_words == 0
    assert features.style_facts("A kind heart, a warm friend").warmth_words == 4


@given(st.text(max_size=60), st.text(max_size=60))
def test_two_paragraphs_add_up(first: str, second: str) -> None:
    one, two = features.style_facts(first), features.style_facts(second)
    both = features.style_facts(f"{first.strip()}\n\n{second.strip()}")
    assert both[1:] == tuple(a + b for a, b in zip(one[1:], two[1:], strict=True))


def test_systems_of_the_sample_differ_as_their_names_say() -> None:
    rows = [json.loads(line) for line in (SAMPLE / "responses.jsonl").read_text(encoding="utf-8").splitlines()]
    facts = {
        name: [features.style_facts(row["text"]) for row in rows if row["system"] == name]
        for name in {row["system"] for row in rows}
    }
    mean = {
        name: {field: sum(getattr(fact, field) for fact in several) / len(several) for field in several[0]._fields}
        for name, several in facts.items()
    }
    assert min(mean, key=lambda name: mean[name]["words"]) == "terse"
    assert max(mean, key=lambda name: mean[name]["words"]) == "elaborate"
    assert max(mean, key=lambda name: mean[name]["list_items"]) == "lists"
    assert mean["lists"]["list_items"] > 2.5
    assert mean["warm"]["warmth_words"] > 2 * mean["sober"]["warmth_words"]
    assert mean["sober"]["exclamation_marks"] == 0
