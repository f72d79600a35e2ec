"""The drifting shop's arithmetic, and its arms in a tiny one."""

import numpy as np
import pytest

from benchmarks._drifting import (
    ANEW,
    FROZEN,
    GATED,
    WARM,
    Scale,
    references,
    served,
    visitors,
)
from benchmarks.drift import QUICK, rows_until

SCALE = Scale(people=10, decisions=10, before=2, after=3)


@pytest.mark.parametrize(
    ("after", "rows"),
    [([0.9, 0.1, 0.1], 0), ([0.2, 0.95, 0.1], 100), ([0.2, 0.3, 0.91], 200), ([0.1] * 3, None)],
)
def test_rows_are_those_logged_before_the_round_that_reached_it(
    after: list[float], rows: int | None
) -> None:
    assert rows_until(np.array([0.95, 0.95, *after]), SCALE) == rows


def test_people_of_a_round_find_the_shop_as_it_is_then() -> None:
    turned = []
    for number in range(SCALE.before + SCALE.after):
        shop = SCALE.shop(0, number)
        assert shop.turn_at is not None
        turned.append(shop.turn_at <= 0)
        assert turned[-1] or shop.turn_at >= SCALE.decisions, "no round sees both"
    assert turned == [False, False, True, True, True]
    assert visitors(1, 0, 5, SCALE) != visitors(2, 0, 5, SCALE)


def test_the_oracle_follows_the_change_and_random_slates_do_not_mind() -> None:
    found = references(3, Scale(people=200, groups=1, decisions=8, before=1, after=1))
    assert min(found["oracle"]) > 3 * max(found["random"])
    assert abs(found["random"][0] - found["random"][1]) < 0.02


@pytest.mark.slow
def test_arms_are_one_until_the_change_and_each_its_own_after() -> None:
    found = served((WARM, ANEW, FROZEN), 3, QUICK, {})
    before = [one["clicks"][: QUICK.before] for one in found.values()]
    assert before[0] == before[1] == before[2]
    assert found[FROZEN]["past"][QUICK.before :] == [None, None]
    parents = {
        arm: [past["parent"] for past in found[arm]["past"][QUICK.before :]] for arm in (WARM, ANEW)
    }
    assert parents == {WARM: ["0003", "0004"], ANEW: ["0001", "0001"]}
    gated = served((GATED,), 3, QUICK, {})[GATED]
    assert len(gated["clicks"]) == QUICK.before + QUICK.after
