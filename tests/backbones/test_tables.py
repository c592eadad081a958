from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from preflearn.backbones import (
    ENCODERS,
    Auto,
    Columns,
    Concat,
    Embedding,
    Encoder,
    Features,
    HiddenState,
    Segments,
    SentenceTransformer,
    as_spec,
    embed,
    encoder_of,
)
from preflearn.data import PreferenceData
from preflearn.errors import InputError, NotSupported
from tests.backbones import makers


def stored(vectors: list[list[float | None] | None], **more: object) -> PreferenceData:
    ids = [f"r{i}" for i in range(len(vectors))]
    return PreferenceData(responses=pl.DataFrame({"response_id": ids, "embedding": vectors, **more}))


def test_stored_embeddings_are_used_as_they_stand() -> None:
    found = Embedding().encode(stored([[1.0, 2.0], [3.0, -4.0]]))
    assert found.responses.tolist() == [[1, 2], [3, -4]] and found.prompts is None


def test_other_columns_arrays_and_prompts() -> None:
    data = PreferenceData(
        prompts=pl.DataFrame({"prompt_id": ["p", "unasked"], "mine": [[5], None]}),
        responses=pl.DataFrame(
            {"response_id": ["r"], "prompt_id": ["p"], "mine": pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2))}
        ),
    )
    found = Embedding("mine").encode(data, prompts=True)
    assert found.responses.tolist() == [[1, 2]] and found.prompts.tolist() == [[5], [0]]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0], None, None, [2.0]], r"row 1, .*2 of 4 needed rows have no embedding"),
        ([[1.0], [2.0, 3.0]], r"row 1, .*2 numbers, and the first has 1"),
        ([[1.0, 2.0], [3.0, float("nan")]], r"row 1, .*not finite"),
        ([[1.0, 2.0], [float("inf"), 3.0], [1.0, 2.0]], r"row 1, .*not finite"),
        ([[1.0, 2.0], [3.0, None]], r"row 1, .*not finite"),
        ([[], []], r"empty"),
    ],
)
def test_embeddings_that_cannot_be_used(vectors: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Embedding().encode(stored(vectors))


def test_rows_that_are_not_needed_may_lack_anything() -> None:
    needed = np.array([False, True, False, False])
    found = Embedding().encode(stored([None, [1.0, 2.0], [3.0], [float("nan"), 0.0]]), needed=needed).responses
    assert found.tolist() == [[0, 0], [1, 2], [0, 0], [0, 0]]
    with pytest.raises(InputError, match=r"`needed` has the shape"):
        Embedding().encode(stored([[1.0]]), needed=needed)


def test_a_missing_or_odd_column() -> None:
    with pytest.raises(InputError, match=r"responses\.embedding.*no embeddings are recorded\. Write them"):
        Embedding().encode(makers.texts())
    with pytest.raises(InputError, match=r"responses\.note.*holds String"):
        Embedding("note").encode(stored([[1.0]], note=["x"]))


def test_columns_of_any_table_that_a_response_leads_to() -> None:
    data = PreferenceData(
        prompts=pl.DataFrame({"prompt_id": ["p", "q"], "turn": [3, 4]}),
        responses=pl.DataFrame(
            {"response_id": ["r", "s"], "prompt_id": ["q", "p"], "length": [7.5, 8.5], "ok": [True, False]}
        ),
    )
    assert Columns(("length", "turn", "ok")).encode(data).responses.tolist() == [[7.5, 4, 1], [8.5, 3, 0]]
    assert Columns("turn").encode(data, prompts=True).prompts.tolist() == [[3], [4]]
    with pytest.raises(InputError, match=r"lenght"):
        Columns(("lenght",)).encode(data)
    gap = data.replace(responses=data.responses.with_columns(length=pl.Series([1.0, None])))
    with pytest.raises(InputError, match=r"row 1, column 'length'.*1 of 2 needed rows .* 's'"):
        Columns(("length",)).encode(gap)
    with pytest.raises(InputError, match=r"holds String"):
        Columns(("response_id",)).encode(data)
    with pytest.raises(InputError, match=r"no such column"):
        Columns(("length",)).encode(data, prompts=True)


def test_encoders_side_by_side() -> None:
    data = stored([[1.0, 2.0], [3.0, 4.0]], length=[9, 8])
    both = Concat((Embedding(), {"columns": ["length"]}))
    assert both.encode(data).responses.tolist() == [[1, 2, 9], [3, 4, 8]]
    assert json.loads(both.signature())["concat"][1] == {"columns": ["length"]}
    assert encoder_of(["embedding", {"columns": "length"}]) == both
    assert Concat((Columns("length"), Columns("length"))).dimension == 2 and both.dimension is None


EVERY = [
    Embedding("mine"),
    Columns(("a", "b")),
    Features(("words", "bold")),
    SentenceTransformer("some/model", normalise=False, of="prompt+response", prefix="query: ", max_length=9),
    HiddenState("some/model", layer=3, pooling="mean", template=False, max_length=77, dtype="bfloat16"),
    Segments(("observations", "rewards"), 0.9, "somewhere"),
    Auto(),
    Concat((Embedding(), Concat((Features(), Columns("a"))))),
]


@pytest.mark.parametrize("encoder", EVERY, ids=lambda one: type(one).__name__)
def test_plain_data_there_and_back(encoder: Encoder) -> None:
    assert encoder_of(json.loads(json.dumps(as_spec(encoder)))) == encoder
    assert isinstance(encoder, Encoder) and encoder_of(encoder) is encoder


def test_short_names(tmp_path: Path) -> None:
    assert encoder_of("minilm") == SentenceTransformer() == encoder_of({"sentence_transformer": "minilm"})
    assert encoder_of({"minilm": {"normalise": False}}) == SentenceTransformer(normalise=False)
    assert encoder_of("smollm2") == HiddenState("smollm2")
    assert encoder_of("minilm+features") == Concat((SentenceTransformer(), Features()))
    assert encoder_of("intfloat/e5-small") == SentenceTransformer("intfloat/e5-small")
    assert encoder_of(str(tmp_path)) == HiddenState(str(tmp_path))
    (tmp_path / "modules.json").write_text("[]")
    assert encoder_of(str(tmp_path)) == SentenceTransformer(str(tmp_path))
    assert encoder_of("embedding").encode(stored([[1.0]])).responses.shape == (1, 1)
    assert {
        key for key in ENCODERS if key not in {"columns", "concat", "hidden_state", "segment_steps", "tunable"}
    } == {key for key in ENCODERS if not _fails(key)}


def _fails(key: str) -> bool:
    try:
        encoder_of(key)
    except InputError:
        return True
    return False


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("embeding", r"Did you mean embedding"),
        ({"hidden_stat": {}}, r"Did you mean hidden_state"),
        ({"hidden_state": {"modle": "x"}}, r"no parameter 'modle'. Did you mean model"),
        ({"hidden_state": {}}, r"missing .*model"),
        ({"embedding": {}, "columns": {}}, r"one key"),
        (["embedding"], r"fewer than two"),
        (7, r"no encoder"),
        ("./nowhere", r"no directory of that name"),
    ],
)
def test_specifications_that_mean_nothing(spec: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoder_of(spec)  # type: ignore[arg-type]


def test_auto_means_what_the_data_holds() -> None:
    assert encoder_of("auto", stored([[1.0]])) == Embedding()
    assert encoder_of("auto", makers.texts()) == SentenceTransformer()
    assert Auto().encode(stored([[1.0]])).responses.tolist() == [[1]]
    assert encoder_of("auto+features", stored([[1.0]])) == Concat((Embedding(), Features()))
    with pytest.raises(NotSupported, match="encoder_of"):
        Auto().signature()


def test_embed_writes_the_column() -> None:
    data = makers.texts()
    out = embed(data, "features", prompts=True)
    assert out.responses["embedding"].dtype == pl.List(pl.Float32)
    found = Embedding().encode(out, prompts=True)
    direct = Features().encode(data, prompts=True)
    assert (found.responses == direct.responses).all() and (found.prompts == direct.prompts).all()
    assert "features" in out.provenance["steps"][-1] and "embedding" not in data.responses.columns


def test_nothing_heavy_is_loaded_for_what_needs_none() -> None:
    code = """
import sys, polars as pl
import preflearn.backbones as backbones
from preflearn.data import PreferenceData
data = PreferenceData(responses=pl.DataFrame({"response_id": ["r"], "messages": ["x"], "embedding": [[1.0]]}))
backbones.encoder_of("auto", data).encode(data)
backbones.Features().encode(data)
backbones.encoder_of({"tunable": {"encoder": {"hidden_state": "some/model"}}})
backbones.Segments(), backbones.SentenceTransformer()
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "sentence_transformers", "peft", "pandas"} & set(done.stdout.split())
