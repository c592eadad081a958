"""`hold_out`: what training has not seen, told of every test row."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from preflearn.data import PreferenceData
from preflearn.data.leakage import leakage
from preflearn.data.split_both import QUADRANTS, hold_out
from preflearn.errors import InputError


def crossed(people: int = 40, prompts: int = 80, each: int = 30, seed: int = 0, own: bool = False) -> PreferenceData:
    """Everybody judges some pairs of two responses of a prompt; with `own`, prompts that nobody else sees."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), each)
    prompt = np.concatenate([rng.permutation(prompts)[:each] for _ in range(people)])
    if own:
        prompt = np.arange(len(who))
    k = int(prompt.max()) + 1
    return PreferenceData(
        prompts=pl.DataFrame(
            {"prompt_id": [f"p{i}" for i in range(k)], "messages": [f"question {i}" for i in range(k)]}
        ),
        responses=pl.DataFrame(
            {
                "response_id": [f"r{i}" for i in range(2 * k)],
                "prompt_id": [f"p{i // 2}" for i in range(2 * k)],
                "messages": [f"answer {i}" for i in range(2 * k)],
            }
        ),
        comparisons=pl.DataFrame(
            {
                "comparison_id": [f"c{i}" for i in range(len(who))],
                "response_a": [f"r{2 * i}" for i in prompt],
                "response_b": [f"r{2 * i + 1}" for i in prompt],
                "outcome": rng.choice(["a", "b"], len(who)),
                "annotator_id": [f"u{i}" for i in who],
            }
        ),
    )


def ids(data: PreferenceData) -> set[str]:
    return set(data.comparisons["comparison_id"])


def prompts_of(data: PreferenceData) -> set[str]:
    joined = data.comparisons.join(data.responses, left_on="response_a", right_on="response_id")
    return set(joined["prompt_id"])


def people_of(data: PreferenceData) -> set[str]:
    return set(data.comparisons["annotator_id"].cast(pl.String))


@pytest.mark.parametrize("seed", [0, 1])
def test_every_quadrant_is_what_it_is_called(seed: int) -> None:
    data = crossed()
    held = hold_out(data, seed=seed)
    parts = held.quadrants
    assert list(parts) == list(QUADRANTS)
    everything = [held.train, *parts.values()]
    assert sum(part.height("comparisons") for part in everything) == 1200
    assert set.union(*map(ids, everything)) == ids(data)
    assert held.rows == {
        "train": held.train.height("comparisons"),
        **{k: p.height("comparisons") for k, p in parts.items()},
    }
    prompts, people = prompts_of(held.train), people_of(held.train)
    for name, part in parts.items():
        assert prompts_of(part).isdisjoint(prompts) == (name in {"new_both", "new_prompt"})
        assert people_of(part).isdisjoint(people) == (name in {"new_both", "new_annotator"})
        if name == "known":
            assert prompts_of(part) <= prompts and people_of(part) <= people
    shared = leakage(held.train, parts["new_both"]).as_dict()
    assert not any(shared[what] for what in ("judgments", "prompts", "prompt_contents", "responses", "annotators"))
    # shares: a quarter of either, a sixteenth of both, a tenth of the rest
    assert held.rows["new_both"] / 1200 == pytest.approx(1 / 16, abs=0.02)
    assert held.rows["train"] / 1200 == pytest.approx(0.9 * 9 / 16, abs=0.04)
    assert held.test is parts["new_both"]
    assert (held.by, held.unit, held.left_out) == (("prompt", "annotator"), "prompt", 0)
    assert ids(hold_out(data, seed=seed).train) == ids(held.train)
    assert ids(hold_out(data, seed=seed + 10).train) != ids(held.train)


def test_prompts_that_only_held_out_people_judged_are_new() -> None:
    held = hold_out(crossed(own=True), known=0.0)
    assert set(held.quadrants) <= {"new_both", "new_prompt"}
    people = people_of(held.train)
    assert people_of(held.quadrants["new_both"]).isdisjoint(people)
    # everybody's own prompts: whoever is held out takes all their prompts along, a quarter of the judgments
    assert held.rows["new_both"] / 1200 == pytest.approx(1 / 4, abs=0.03)


def test_repeats_of_a_pair_by_one_person_stay_together() -> None:
    data = crossed(people=10, prompts=30, each=20)
    again = data.comparisons.with_columns(comparison_id=pl.col("comparison_id") + "again")
    held = hold_out(data.replace(comparisons=pl.concat([data.comparisons, again])), known=0.3)
    for part in (held.train, *held.quadrants.values()):
        once = {name.removesuffix("again") for name in ids(part)}
        assert len(once) * 2 == part.height("comparisons")


def test_without_annotators_or_prompts_the_other_is_held_out_and_it_is_said() -> None:
    data = crossed()
    no_people = data.replace(comparisons=data.comparisons.drop("annotator_id"))
    held = hold_out(no_people)
    assert held.by == ("prompt",) and set(held.quadrants) == {"new_prompt", "known"}
    assert any("annotators are not recorded" in note for note in held.notes)
    assert prompts_of(held.test).isdisjoint(prompts_of(held.train))
    names = pl.DataFrame(
        {
            "comparison_id": [f"c{i}" for i in range(60)],
            "response_a": ["x", "y", "z"] * 20,
            "response_b": ["y", "z", "x"] * 20,
            "outcome": ["a", "b"] * 30,
            "annotator_id": [f"u{i % 10}" for i in range(60)],
        }
    )
    held = hold_out(PreferenceData(comparisons=names))
    assert held.by == ("annotator",) and held.unit is None
    assert any("prompts are not recorded" in line for line in held.lines())
    assert people_of(held.test).isdisjoint(people_of(held.train))
    with pytest.raises(InputError, match="neither prompts nor annotators"):
        hold_out(PreferenceData(comparisons=names.drop("annotator_id")))
    with pytest.raises(InputError, match="no comparisons"):
        hold_out(PreferenceData())
    with pytest.raises(InputError, match="prompts is a share"):
        hold_out(data, prompts=0.0)


def test_judgments_without_annotator_count_as_made_by_known_people() -> None:
    data = crossed()
    some = data.comparisons.with_columns(
        annotator_id=pl.when(pl.int_range(pl.len()) % 10 > 0).then(pl.col("annotator_id").cast(pl.String))
    )
    held = hold_out(data.replace(comparisons=some))
    assert any("120 comparisons have no annotator" in note for note in held.notes)
    assert held.quadrants["new_both"].comparisons["annotator_id"].null_count() == 0


def test_counts_as_table_and_data() -> None:
    held = hold_out(crossed())
    assert held.table()["comparisons"].to_list() == list(held.rows.values())
    assert held.as_dict()["rows"] == held.rows
    assert any("unseen in training" in line for line in held.lines())
    assert any("prompt and annotator" in step for step in held.train.provenance["steps"])
