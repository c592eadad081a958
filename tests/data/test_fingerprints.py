"""Row fingerprints: the same judgment is recognised whatever its ids, its answer and its orientation."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from preflearn.data import PreferenceData
from preflearn.data.fingerprints import row_fingerprints


def _data(
    texts: dict[str, str] | None = None, prompts: dict[str, str] | None = None, **columns: list[Any]
) -> PreferenceData:
    n = len(columns["response_a"])
    frame = {"comparison_id": [str(i) for i in range(n)], **columns}
    tables: dict[str, pl.DataFrame] = {"comparisons": pl.DataFrame(frame)}
    if texts:
        responses = {"response_id": list(texts), "messages": list(texts.values())}
        if prompts:
            responses["prompt_id"] = [next(iter(prompts))] * len(texts)
        tables["responses"] = pl.DataFrame(responses)
    if prompts:
        tables["prompts"] = pl.DataFrame({"prompt_id": list(prompts), "messages": list(prompts.values())})
    return PreferenceData(**tables)


def _one(**arguments: Any) -> int:
    return int(row_fingerprints(_data(**arguments))[0])


TEXTS = {"r1": "yes", "r2": "no"}
ASKED = {"p": "Is it?"}
STABLE = 6669317683382169586


def test_stable_value() -> None:
    """Saved models keep these numbers: a change here makes their overlap check blind."""
    found = _one(texts=TEXTS, prompts=ASKED, response_a=["r1"], response_b=["r2"], annotator_id=["u"])
    assert found == STABLE


def test_ids_answers_and_sides_do_not_matter() -> None:
    plain = _one(texts=TEXTS, prompts=ASKED, response_a=["r1"], response_b=["r2"], annotator_id=["u"], outcome=["a"])
    other = _one(
        texts={"z9": "no", "z8": "yes"},
        prompts={"q": "Is it?"},
        response_a=["z9"],
        response_b=["z8"],
        annotator_id=["u"],
        outcome=["b"],
        comparison_id=["77"],
        presentation_id=["show 3"],
        rationale=["because"],
    )
    assert plain == other


def test_what_makes_a_different_judgment() -> None:
    base: dict[str, Any] = {"response_a": ["r1"], "response_b": ["r2"], "annotator_id": ["u"]}
    time = ["2024-01-01T00:00:00Z"]
    found = {
        _one(texts=TEXTS, prompts=ASKED, **base),
        _one(texts=TEXTS, prompts={"p": "Is it not?"}, **base),
        _one(texts=TEXTS, **base),
        _one(texts={"r1": "yes!", "r2": "no"}, prompts=ASKED, **base),
        _one(texts=TEXTS, prompts=ASKED, **{**base, "annotator_id": ["v"]}),
        _one(texts=TEXTS, prompts=ASKED, **base, criterion_id=["help"]),
        _one(texts=TEXTS, prompts=ASKED, **base, context=["as a child"]),
        _one(texts=TEXTS, prompts=ASKED, **base, time=time),
        _one(texts=TEXTS, prompts=ASKED, **{**base, "response_b": ["r1"]}),
    }
    assert len(found) == 9


def test_votes_between_named_systems_need_their_row_id() -> None:
    pair: dict[str, Any] = {"response_a": ["x", "y"], "response_b": ["y", "x"]}
    assert len(set(row_fingerprints(_data(**pair)))) == 2
    by_prompt = row_fingerprints(_data(**pair, prompt_id=["p", "p"]))
    assert by_prompt[0] == by_prompt[1]
    shown = row_fingerprints(_data(**pair, prompt_id=["p", "p"], presentation_id=["1", "2"]))
    assert shown[0] != shown[1]


def test_media_and_hashes_are_content() -> None:
    def with_column(name: str, values: list[Any]) -> int:
        responses = pl.DataFrame({"response_id": ["r1", "r2"], name: values})
        comparisons = _data(response_a=["r1"], response_b=["r2"]).comparisons
        return int(row_fingerprints(PreferenceData(comparisons=comparisons, responses=responses))[0])

    assert with_column("media", [["m1"], ["m2"]]) == with_column("media", [["m2"], ["m1"]])
    assert with_column("media", [["m1"], ["m2"]]) != with_column("media", [["m1"], ["m3"]])
    assert with_column("content_hash", ["h1", "h2"]) != with_column("content_hash", ["h1", "h3"])


def test_no_rows() -> None:
    found = row_fingerprints(PreferenceData())
    assert found.dtype == np.uint64 and found.shape == (0,)
