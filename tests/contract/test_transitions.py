"""One scripted walk behind all three of Gymnasium's autoreset modes."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from heedful.contract.transitions import Transition, Transitions
from tests.loop.walks import NumberedWalk

MODES = list(AutoresetMode)


def play(mode: AutoresetMode, steps: int) -> dict[int, list[tuple[object, ...]]]:
    """Walk right in environment 0, back and forth in environment 1; what each of them met."""
    transitions = Transitions(NumberedWalk(2, mode), seed=0)
    met: dict[int, list[tuple[object, ...]]] = {0: [], 1: []}
    for _ in range(steps):
        actions = np.array([1, len(met[1]) % 2])
        done: Transition = transitions.step(actions)
        for i, row in enumerate(done.rows):
            met[row].append(
                (
                    int(done.observations[i]),
                    int(done.actions[i]),
                    float(done.rewards[i]),
                    int(done.following[i]),
                    bool(done.terminated[i]),
                    bool(done.truncated[i]),
                )
            )
    return met


@pytest.mark.parametrize("mode", MODES)
def test_all_modes_tell_the_same_steps(mode: AutoresetMode) -> None:
    met = play(mode, 20)
    expected = [
        (0, 1, 0.0, 1, False, False),
        (1, 1, 0.0, 2, False, False),
        (2, 1, 1.0, 3, True, False),
    ]
    assert met[0][:6] == expected * 2
    assert [step[5] for step in met[1][:10]] == [False] * 4 + [True] + [False] * 4 + [True]
    assert met[1][4][3] == 0  # where the episode was cut off, not where the next began
    assert len(met[0]) == (15 if mode is AutoresetMode.NEXT_STEP else 20)


def test_a_reward_that_is_no_number_is_refused() -> None:
    walk = NumberedWalk(2, AutoresetMode.SAME_STEP)
    walk.goal_reward = float("nan")
    transitions, right = Transitions(walk, seed=0), np.array([0, 1])
    transitions.step(right)
    transitions.step(right)
    with pytest.raises(ValueError, match="environment 1 gave a reward of nan"):
        transitions.step(right)
