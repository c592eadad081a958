"""Differences of two items."""

from __future__ import annotations

import numpy as np
import pytest

from preflearn.errors import InputError, NotComputable
from preflearn.ranking import BradleyTerry, Davidson, contrast
from tests.ranking.makers import counted, simulated


def test_by_hand_for_two_items():
    # 30 wins to 10: log 3, variance 1/30 + 1/10 of a log-odds.
    model = BradleyTerry(cluster=None, interval="model").fit(counted([("a", "b", 30, 10)]))
    found = contrast(model, "a", "b")
    assert found.difference == pytest.approx(np.log(3), abs=1e-7)
    assert found.se == pytest.approx(np.sqrt(1 / 30 + 1 / 10), abs=1e-6)
    assert found.low == pytest.approx(found.difference - 1.959964 * found.se, abs=1e-5)
    assert found.p_value == pytest.approx(0.00262391, abs=1e-7)
    assert found.win_probability == pytest.approx(0.75)
    back = contrast(model, "b", "a")
    assert (back.difference, back.low, back.high) == pytest.approx((-found.difference, -found.high, -found.low))
    assert contrast(model, "a", "a")[2:] == (0.0, 0.0, 0.0, 0.0, 1.0, 0.5)


@pytest.mark.parametrize("interval", ["sandwich", "bootstrap"])
def test_agrees_with_the_anchored_leaderboard(interval):
    data, _ = simulated(3000, spread=0.5)
    model = Davidson(interval=interval).fit(data)
    found = contrast(model, "m4", "m1", level=0.9)
    anchored = model.leaderboard(anchor="m1", level=0.9)["m4"]
    assert (found.difference, found.low, found.high) == pytest.approx(anchored[1:2] + anchored[3:5])
    assert found.se == pytest.approx(anchored.se, rel=0.01)


def test_what_cannot_be_compared_says_why():
    model = BradleyTerry(cluster=None).fit(counted([("a", "b", 3, 2), ("c", "a", 4, 0)]))
    with pytest.raises(NotComputable, match=r"'c' has no strength \(status: undefeated"):
        contrast(model, "c", "a")
    with pytest.raises(InputError, match="'zz' is not an item"):
        contrast(model, "a", "zz")
    with pytest.raises(InputError, match="level"):
        contrast(model, "a", "b", level=2)
    with pytest.raises(InputError, match="not fitted"):
        contrast(BradleyTerry(), "a", "b")
