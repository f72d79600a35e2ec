"""A vector environment as rows of numbers, and what breaks told by name."""

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from heedful.contract import NumericEnvironment
from heedful.domains.games import Game, GameError, Moves, Observations
from tests.domains.games.scripted import Track, broken, track


def test_a_row_is_what_is_seen_and_behind_it_what_is_legal() -> None:
    game = track(masked=True)
    assert isinstance(game, NumericEnvironment)
    rows, _ = game.reset(seed=3)
    assert rows.tolist() == [[0.0, 0.0, 0.0, 1.0, 1.0]] * 2
    rows, rewards, *_ = game.step(np.array([[1], [2]]))
    seen, legal = game.read(rows)
    np.testing.assert_allclose(seen, [[1.0, 1 / 12], [0.0, 1 / 12]], rtol=1e-6)
    assert legal.tolist() == [[True] * 3, [False, True, True]]
    assert rewards.tolist() == [1.0, 0.0]
    assert game.actions(np.array([[2], [0]])).tolist() == [[2], [0]]


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_where_a_game_is_over_any_move_stands_as_legal(mode: AutoresetMode) -> None:
    game = track(1, mode, masked=True)
    game.reset()
    for _ in range(2):
        game.step(np.array([[1]]))
    rows, _, terminated, _, info = game.step(np.array([[1]]))
    assert terminated.all()
    if mode is AutoresetMode.SAME_STEP:  # the next game has begun
        assert rows[0].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
        final = info["final_obs"][0]
        np.testing.assert_allclose(final, [3.0, 3 / 12, 1.0, 1.0, 1.0], rtol=1e-6)
    else:
        assert rows[0, 2:].tolist() == [1.0, 1.0, 1.0]
    if mode is AutoresetMode.NEXT_STEP:
        rows, *_ = game.step(np.array([[0]]))
    if mode is AutoresetMode.DISABLED:
        rows, _ = game.reset(options={"reset_mask": np.array([True])})
    assert rows[0].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "raise",
            r"tests/Track-v0 raised ZeroDivisionError at step 3 .*\[\[1\], \[0\]\].*no track",
        ),
        ("nan", "game 1 of 2, step 3: observed nan as number 0 .*must be finite"),
        ("infinite", "game 1 of 2, step 3: observed inf as number 0 .*must be finite"),
        ("outside", "game 1 of 2, step 3: observed 7 as number 0 .*outside its space 0 to 4"),
        ("reward", "game 1 of 2, step 3: gave a reward of nan"),
        ("mask", "game 1 of 2, step 3: allows no move, though its game is not over"),
        ("shape", r"tests/Track-v0: the action mask has shape \(2, 5\): give \(2, 3\)"),
    ],
)
def test_what_breaks_is_named(fault: str, message: str) -> None:
    game, moves = broken(fault), np.array([[1], [2]])
    game.reset(seed=0)
    game.step(moves)
    game.step(moves)
    with pytest.raises(GameError, match=message):
        game.step(np.array([[1], [0]]) if fault == "raise" else moves)


def test_observations_outside_their_space_may_be_let_through() -> None:
    game, moves = broken("outside", bounded=False), np.array([[1], [2]])
    game.reset()
    for _ in range(3):
        rows, *_ = game.step(moves)
    assert rows[1, 0] == 7.0
    game = broken("nan", bounded=False)
    game.reset()
    game.step(moves)
    game.step(moves)
    with pytest.raises(GameError, match="observed nan"):
        game.step(moves)


class Told(Track):
    """A track that says what could have been done in the last position of a game."""

    def step(self, actions: Any) -> Any:
        *rest, info = super().step(actions)
        if "final_obs" in info:
            mask = np.zeros((self.num_envs, 3), np.int8)
            mask[:, 2] = 1
            info["final_info"] = {"action_mask": mask, "_action_mask": info["_final_obs"]}
        elif self.over.any():
            info["action_mask"][self.over] = [0, 0, 1]
        return *rest, info


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_where_a_game_is_cut_off_what_could_have_been_done_is_legal(mode: AutoresetMode) -> None:
    inner = Told(1, mode, masked=True)
    seen = Observations(inner.single_observation_space)
    game = Game(inner, "told", seen, Moves(inner.single_action_space))
    game.reset()
    for _ in range(4):
        rows, _, _, truncated, info = game.step(np.array([[2]]))
    assert truncated.all()
    last = info["final_obs"][0] if mode is AutoresetMode.SAME_STEP else rows[0]
    assert last[2:].tolist() == [0.0, 0.0, 1.0]
