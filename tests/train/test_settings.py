"""Settings come from YAML, and what cannot be meant is refused with its place."""

from __future__ import annotations

import pytest
import yaml

pytest.importorskip("torch", reason="the torch extra is not installed")

from preflearn.errors import InputError
from preflearn.train import Group, TrainSettings

YAML = """
epochs: 3
lr: 1e-3
warmup: 0.1
schedule: wsd
betas: [0.9, 0.95]
clip: 1
groups:
  "head.*": {lr: 0.01}
  "*": {weight_decay: 0.1}
"""


def test_yaml_round_trip() -> None:
    settings = TrainSettings.parse(yaml.safe_load(YAML))
    assert settings == TrainSettings(
        epochs=3,
        lr=0.001,
        warmup=0.1,
        schedule="wsd",
        betas=(0.9, 0.95),
        clip=1.0,
        groups={"head.*": Group(lr=0.01), "*": Group(weight_decay=0.1)},
    )
    assert isinstance(settings.lr, float)
    assert TrainSettings.parse(yaml.safe_load(yaml.safe_dump(settings.plain() | {"betas": [0.9, 0.95]}))) == settings
    assert not settings.differences(settings.plain())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"learning_rate": 1}, "learning_rate: Unexpected keyword argument"),
        ({"epochs": 1.5}, "epochs: Input should be a valid integer"),
        ({"lr": -1}, "lr must be a number of at least 0"),
        ({"lr": "fast"}, "lr: Input should be a valid number"),
        ({"epochs": 0}, "epochs must be a number of at least 1"),
        ({"optimizer": "lion"}, "optimizer: Input should be 'adamw', 'adam' or 'sgd'"),
        ({"groups": {"*": {"lrr": 1}}}, r"groups.\*.lrr: Unexpected keyword argument"),
        ({"groups": {"*": {"lr": -1}}}, "groups: lr must be a number"),
        ({"warmup": 2.5}, "warmup is a number of steps, or a share below 1"),
        ({"decay": 1.5}, "decay is a share"),
        ({"clip": 0}, "clip is a positive norm"),
        ({"betas": [0.9, 1.0]}, "betas are two numbers"),
        ({"patience": 2, "monitor": None}, "patience needs a figure"),
        ({"lr": float("nan")}, "lr must be a number"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        TrainSettings.parse(wrong)


def test_python_callers_are_checked_too() -> None:
    with pytest.raises(InputError, match=r"unknown optimizer.*adamw, adam, sgd"):
        TrainSettings(optimizer="lion")


def test_a_run_may_grow_only_where_nothing_earlier_depends_on_its_length() -> None:
    saved = TrainSettings(epochs=3)
    assert TrainSettings(epochs=5, keep=4).differences(saved.plain()) == ""
    assert TrainSettings(epochs=5, schedule="linear").differences(TrainSettings(schedule="linear").plain())
    assert TrainSettings(lr=0.1).differences(saved.plain()) == "lr was 0.001, is 0.1"


def test_a_precision_that_does_not_exist_is_refused() -> None:
    from preflearn.train.precision import autocast

    with pytest.raises(InputError, match="no precision 'bfloat16'"):
        autocast("bfloat16", "cpu")  # type: ignore[arg-type]
