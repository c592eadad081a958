"""A scanned table of votes is never held: its queries have no part that needs a whole column."""

from __future__ import annotations

import polars as pl
import pytest

import preflearn as pf


@pytest.mark.parametrize("winners", [["a", "b", "tie", "a"], ["left", "Right", "draw", None], ["x", "z", "tie", "z"]])
def test_scanned_votes_stream(winners, tmp_path):
    file = tmp_path / "votes.parquet"
    columns = {"system_a": ["x", "y", "z", "x"], "system_b": ["y", "z", "x", "z"], "rater": ["u", "v", "u", None]}
    pl.DataFrame({**columns, "winner": winners}).write_parquet(file)
    data = pf.scan(file)
    assert data.is_lazy
    plan = str(data.lazy("comparisons").show_graph(engine="streaming", plan_stage="physical", raw_output=True))
    held = [line for line in plan.splitlines() if "fillcolor" in line]
    assert "multi-scan[parquet]" in plan and not held
    assert data.comparisons["outcome"].to_list() == pf.read(file).comparisons["outcome"].to_list()
