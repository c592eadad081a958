"""Sources deal every row once per epoch, the same for the same seed, whole units together."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

import numpy as np  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from preflearn.errors import InputError  # noqa: E402
from preflearn.train import InMemorySource, Source, tensor_rows  # noqa: E402


def plain(rows: np.ndarray) -> list[int]:
    return rows.tolist()


options = st.fixed_dictionaries(
    {"rows": st.integers(1, 60), "batch_size": st.integers(1, 20), "seed": st.integers(0, 5)},
    optional={"shuffle": st.booleans(), "kind": st.sampled_from(["lengths", "unit"])},
)


def build(spec: dict) -> InMemorySource:
    spec = dict(spec)
    kind = spec.pop("kind", None)
    codes = np.random.default_rng(spec["seed"]).integers(0, 7, spec["rows"])
    return InMemorySource(take=plain, **spec, **({kind: codes} if kind else {}))


@given(options, st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_every_row_comes_once_per_epoch_and_epochs_repeat(spec: dict, epoch: int) -> None:
    one, other = build(spec), build(spec)
    batches = list(one.epoch(epoch))
    assert sorted(row for batch in batches for row in batch) == list(range(spec["rows"]))
    list(other.epoch(epoch + 1))
    assert list(other.epoch(epoch)) == batches
    if spec.get("kind") != "unit":
        assert len(batches) == one.steps() == -(-spec["rows"] // spec["batch_size"])
        assert all(len(batch) <= spec["batch_size"] for batch in batches)


@given(options, st.integers(0, 9), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_start_and_stride_pick_from_the_same_sequence(spec: dict, start: int, stride: int) -> None:
    source = build(spec)
    assert list(source.epoch(1, start=start, stride=stride)) == list(source.epoch(1))[start::stride]


@given(options)
@settings(max_examples=60, deadline=None)
def test_units_stay_whole_and_batches_are_filled(spec: dict) -> None:
    source = build({**spec, "kind": "unit"})
    codes = np.random.default_rng(spec["seed"]).integers(0, 7, spec["rows"])
    sizes = np.bincount(codes)
    batches = [list(dict.fromkeys(codes[batch])) for batch in source.plan(0)]
    assert sorted(unit for batch in batches for unit in batch) == sorted(np.unique(codes))
    for batch, following in zip(batches, [*batches[1:], None]):
        filled = sizes[batch].sum()
        assert filled <= spec["batch_size"] or len(batch) == 1
        if following is not None:
            assert filled + sizes[following[0]] > spec["batch_size"]


def test_orders_change_with_epoch_and_seed_and_not_without_shuffle() -> None:
    source = InMemorySource(50, plain, batch_size=50)
    assert list(source.epoch(0)) != list(source.epoch(1))
    assert list(source.epoch(0)) != list(InMemorySource(50, plain, batch_size=50, seed=1).epoch(0))
    still = InMemorySource(50, plain, batch_size=20, shuffle=False)
    assert list(still.epoch(3)) == [list(range(20)), list(range(20, 40)), list(range(40, 50))]


def test_buckets_cut_padding_to_a_fraction() -> None:
    """Log-normal lengths, batches of 16: padding of random batches against bucketed ones."""
    lengths = np.random.default_rng(0).lognormal(4, 1, 4000).astype(int) + 1

    def padded(source: InMemorySource) -> float:
        return sum(len(rows) * lengths[rows].max() for rows in source.plan(0)) / lengths.sum()

    random = padded(InMemorySource(4000, plain, batch_size=16))
    bucketed = InMemorySource(4000, plain, batch_size=16, lengths=lengths)
    assert random > 2.5
    assert padded(bucketed) < 1.35
    longest = [lengths[rows].max() for rows in bucketed.plan(0)]
    # The order of batches carries no trend of length.
    assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.2


def test_tensor_rows_gathers() -> None:
    x, y = torch.randn(6, 3), torch.arange(6)
    batch = tensor_rows(x=x, y=y)(np.array([4, 1]))
    assert torch.equal(batch["x"], x[[4, 1]])
    assert batch["y"].tolist() == [4, 1]
    with pytest.raises(InputError, match="differ in their rows"):
        tensor_rows(x=x, y=y[:5])


def test_it_is_a_source() -> None:
    assert isinstance(InMemorySource(3, plain, batch_size=2), Source)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rows": 0, "batch_size": 2}, "no rows"),
        ({"rows": 3, "batch_size": 0}, "at least 1"),
        ({"rows": 3, "batch_size": 2, "lengths": [1, 2]}, r"lengths has shape \(2,\)"),
        ({"rows": 2, "batch_size": 2, "lengths": [1, 2], "unit": [0, 0]}, "not both"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused(arguments: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        InMemorySource(take=plain, **arguments)
