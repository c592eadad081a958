from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from preflearn.backbones import Segments, SegmentSteps, as_spec, encoder_of
from preflearn.data import PreferenceData
from preflearn.errors import InputError, NotSupported

RNG = np.random.default_rng(0)
LONG = {
    "observations": RNG.normal(size=(7, 2)),
    "actions": RNG.normal(size=(6, 1)),
    "rewards": RNG.normal(size=6),
    "values": RNG.normal(size=7),
}
SHORT = {
    "observations": RNG.normal(size=(3, 2)),
    "actions": RNG.normal(size=(3, 1)),
    "rewards": RNG.normal(size=3),
    "start_value": np.array(4.0),
    "end_value": np.array([5.0]),
}


def data_of(directory: Path, **columns: list) -> PreferenceData:
    """`whole` and its parts in one file, `other` in another; a part of a part has steps of the whole."""
    np.savez(directory / "long.npz", **LONG)
    save_file({name: np.atleast_1d(array).astype(np.float32) for name, array in SHORT.items()}, directory / "short")
    table = {
        "response_id": ["part", "whole", "other", "inner"],
        "part_of": ["whole", None, None, "part"],
        "start": [2.0, None, None, 3.0],
        "end": [6.0, None, None, 5.0],
        "unit": ["step", None, None, "frame"],
        "media": [None, ["long"], ["picture", "short"], []],
        **columns,
    }
    media = {
        "media_id": ["long", "short", "picture"],
        "kind": ["trajectory", "trajectory", "image"],
        "uri": ["long.npz", (directory / "short").as_uri(), "x.png"],
    }
    return PreferenceData(
        media=pl.DataFrame(media), responses=pl.DataFrame(table, schema_overrides={"media": pl.List(pl.String)})
    )


def sums(file: dict[str, np.ndarray], start: int, end: int, discount: float) -> np.ndarray:
    x = np.concatenate([file["observations"][: len(file["actions"])], file["actions"]], axis=1)[start:end]
    return sum(discount**t * row for t, row in enumerate(x))  # type: ignore[return-value]


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_discounted_sums_of_wholes_parts_and_parts_of_parts(tmp_path: Path, discount: float) -> None:
    found = Segments(discount=discount, root=str(tmp_path)).encode(data_of(tmp_path)).responses
    expected = [
        sums(LONG, 2, 6, discount),
        sums(LONG, 0, 6, discount),
        sums(SHORT, 0, 3, discount),
        sums(LONG, 3, 5, discount),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_steps_side_by_side(tmp_path: Path) -> None:
    encoder = SegmentSteps(7, ("actions",), str(tmp_path))
    assert encoder_of(as_spec(encoder)) == encoder
    needed = np.array([True, False, True, True])
    steps = Segments(("actions",), root=str(tmp_path)).steps(data_of(tmp_path), needed=needed)
    found = encoder.encode(data_of(tmp_path), needed=needed).responses.reshape(4, 7, 2)
    longest = steps.mask.shape[1]
    np.testing.assert_array_equal(found[:, :longest, 0], steps.features[..., 0])
    np.testing.assert_array_equal(found[:, :longest, 1], steps.mask)
    assert (found[:, longest:] == 0).all() and found[0, :, 1].sum() == 4
    with pytest.raises(InputError, match=r"'part' has 4 steps.*Give longest=4"):
        SegmentSteps(3, root=str(tmp_path)).encode(data_of(tmp_path), needed=needed)
    with pytest.raises(InputError, match="at least one step"):
        SegmentSteps(0)
    with pytest.raises(NotSupported, match="prompts"):
        encoder.encode(data_of(tmp_path), prompts=True)


def test_steps(tmp_path: Path) -> None:
    steps = Segments(("actions",), root=str(tmp_path)).steps(
        data_of(tmp_path), needed=np.array([True, False, True, True])
    )
    assert steps.mask.sum(axis=1).tolist() == [4, 0, 3, 2] and steps.features.shape == (4, 4, 1)
    np.testing.assert_allclose(steps.features[0], LONG["actions"][2:6], rtol=1e-6)
    assert not steps.features[~steps.mask].any()
    np.testing.assert_allclose(steps.rewards[3, :2], LONG["rewards"][3:5], rtol=1e-6)
    np.testing.assert_allclose(
        steps.start[[0, 2, 3]], [LONG["observations"][2], SHORT["observations"][0], LONG["observations"][3]], rtol=1e-6
    )
    # Where the file says where it ended that counts; `short` has no observation after its last step.
    np.testing.assert_allclose(
        steps.end[[0, 2, 3]], [LONG["observations"][6], SHORT["observations"][2], LONG["observations"][5]], rtol=1e-6
    )
    np.testing.assert_allclose(steps.start_value, [LONG["values"][2], np.nan, 4, LONG["values"][3]])
    np.testing.assert_allclose(steps.end_value, [LONG["values"][6], np.nan, 5, LONG["values"][5]])


@given(st.integers(0, 5), st.integers(1, 6), st.floats(0.5, 1))
def test_a_sum_over_steps_is_the_sum(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int, discount: float
) -> None:
    end = min(start + length, 6)
    directory = tmp_path_factory.mktemp("t")
    data = data_of(directory, start=[start, None, None, 0], end=[end, None, None, 1])
    encoder = Segments(("rewards",), discount, str(directory))
    steps = encoder.steps(data)
    weights = discount ** np.arange(steps.mask.shape[1])
    np.testing.assert_allclose(
        (steps.rewards * weights).sum(axis=1), encoder.encode(data).responses[:, 0], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(steps.rewards[0].sum(), LONG["rewards"][start:end].sum(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"end": [7.0, None, None, 5.0]}, r"row 0, .*'part' runs from step 2 to 7, and its trajectory has 6 steps"),
        ({"start": [6.0, None, None, 3.0]}, r"from step 6 to 6"),
        ({"unit": ["second", None, None, "frame"]}, r"'part' is measured in another unit"),
        ({"media": [None, None, ["short"], []]}, r"3 of 4 needed responses have no trajectory; the first is 'part'"),
        ({"media": [None, ["long", "short"], ["short"], []]}, r"row 1, .*several trajectories"),
    ],
)
def test_segments_that_cannot_be_read(tmp_path: Path, columns: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Segments(root=str(tmp_path)).encode(data_of(tmp_path, **columns))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    encoder = Segments(root=str(tmp_path))
    with pytest.raises(InputError, match=r"no array 'torques'.*actions, .*observations"):
        Segments(("torques",), root=str(tmp_path)).encode(data)
    with pytest.raises(NotSupported, match="no prompts"):
        encoder.encode(data, prompts=True)
    np.savez(tmp_path / "long.npz", **{**LONG, "rewards": np.zeros(4)})
    with pytest.raises(InputError, match=r"long.npz: 'rewards' has 4 steps, and the trajectory 6"):
        encoder.encode(data)
    np.savez(tmp_path / "long.npz", **{**LONG, "actions": np.full((6, 1), np.nan)})
    with pytest.raises(InputError, match=r"'actions' holds a number that is not finite"):
        encoder.encode(data)
    np.savez(tmp_path / "long.npz", **{**LONG, "observations": np.zeros((7, 9))})
    with pytest.raises(InputError, match=r"different sizes"):
        encoder.encode(data)
    (tmp_path / "long.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"cannot be read"):
        encoder.encode(data)
    with pytest.raises(InputError, match=r"discount"):
        Segments(discount=0)
