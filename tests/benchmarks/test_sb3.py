"""Both sides of the comparison stop by the same rule."""

from dataclasses import replace

import pytest

from benchmarks import sb3
from benchmarks._ppo import Outcome

# A hundred episodes of play at random last about 22 steps each.
EASY = replace(sb3.CARTPOLE, target=12.0, limit=6000)


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_learning_stops_when_the_mean_of_a_hundred_episodes_is_there(side: str) -> None:
    if side == "theirs" and sb3.peer is None:
        pytest.skip("Stable-Baselines3 is not installed")
    found = getattr(sb3, side)(EASY, 0)
    assert found.reached >= 12.0
    assert 1000 < found.steps < 6000
    assert found.seconds > 0.0


def test_what_is_out_of_reach_ends_at_the_limit() -> None:
    found = sb3.ours(replace(EASY, target=501.0, limit=3000), 0)
    assert 3000 <= found.steps < 3000 + 32 * 32
    assert not found.reached >= 501.0


def test_a_row_says_how_many_seeds_got_there() -> None:
    outcomes = [Outcome(1000, 2.0, 480.0), Outcome(3000, 4.0, 470.0)]
    row = sb3._row("us", outcomes, 475.0, 12.0)
    assert row == ("us", "3.0 (2.0 to 4.0)", "0.25", "2,000 (1,000 to 3,000)", "625", "1 of 2")
