"""The boards' environments: spaces, autoreset, ended or cut off, illegal moves, seats, AEC."""

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.domains.games.boards import (
    BOARDS,
    CONNECT_FOUR_ID,
    TIC_TAC_TOE_ID,
    BoardEnv,
    BoardVectorEnv,
    aec_env,
    register,
)
from heedful.domains.games.boards.opponents import draw, uniform

IDS = (TIC_TAC_TOE_ID, CONNECT_FOUR_ID)
MODES = tuple(AutoresetMode)


def lowest(board, mine, theirs, rng):
    """The first legal move: no luck in it."""
    return np.argmax(board.legal(mine | theirs), axis=1)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("seat", [0, 1, None])
def test_gymnasium_s_own_check_passes(name, seat):
    register()
    register()
    env = gymnasium.make(name, seat=seat).unwrapped
    assert env.spec.id == name
    check_env(env)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("mode", MODES)
def test_vectors_stay_in_their_spaces_and_end_in_one_way(name, mode):
    register()
    env = gymnasium.make_vec(
        name,
        num_envs=16,
        vectorization_mode="vector_entry_point",
        seat=None,
        max_moves={TIC_TAC_TOE_ID: 3, CONNECT_FOUR_ID: 5}[name],
        autoreset_mode=mode,
    )
    assert env.metadata["autoreset_mode"] is mode
    env.action_space.seed(0)
    observations, infos = env.reset(seed=1)
    seen = np.zeros(3, dtype=int)
    for _ in range(40):
        assert observations in env.observation_space
        assert observations.dtype == np.float32
        assert infos["action_mask"].shape == (16, env.single_action_space.n)
        observations, rewards, terminated, truncated, infos = env.step(env.action_space.sample())
        assert rewards.dtype == np.float64
        assert not (terminated & truncated).any()
        assert (rewards[~terminated] == 0).all()
        seen += [terminated.sum(), truncated.sum(), (rewards != 0).sum()]
        if mode is AutoresetMode.DISABLED and (terminated | truncated).any():
            observations, infos = env.reset(options={"reset_mask": terminated | truncated})
    assert (seen > 0).all()


@given(seed=st.integers(0, 2**32), seat=st.sampled_from([0, 1]), limit=st.sampled_from([None, 2]))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("board", BOARDS)
@settings(max_examples=30)
def test_a_vector_is_gymnasium_s_vector_of_single_games(board, mode, seed, seat, limit):
    keys = {"board": board, "opponent": lowest, "seat": seat, "max_moves": limit}
    ours = BoardVectorEnv(3, autoreset_mode=mode, **keys)
    theirs = SyncVectorEnv([lambda: BoardEnv(**keys)] * 3, autoreset_mode=mode)
    rng = np.random.default_rng(seed)
    compare(ours.reset(seed=0), theirs.reset(seed=0), mode)
    for _ in range(12):
        moves = rng.integers(ours.single_action_space.n, size=3)  # illegal ones too
        mine, other = ours.step(moves), theirs.step(moves)
        compare(mine, other, mode)
        ended = mine[2] | mine[3]
        if mode is AutoresetMode.DISABLED and ended.any():
            got = ours.reset(options={"reset_mask": ended})
            want = theirs.reset(options={"reset_mask": ended})
            assert (got[0] == want[0]).all()


def compare(mine: tuple[Any, ...], other: tuple[Any, ...], mode: AutoresetMode) -> None:
    for got, want in zip(mine[:-1], other[:-1], strict=True):
        assert (got == want).all()
        assert got.dtype == want.dtype
    got, want = mine[-1], other[-1]
    masks = np.asarray(want["action_mask"]).copy()
    if mode is AutoresetMode.NEXT_STEP and len(mine) == 5:
        masks[mine[2] | mine[3]] = 1  # what comes next is ignored, so anything may be drawn
    assert (got["action_mask"] == masks).all()
    assert ("final_obs" in got) == ("final_obs" in want)
    if "final_obs" in got:
        assert (got["_final_obs"] == want["_final_obs"]).all()
        for row in np.flatnonzero(got["_final_obs"]):
            assert (got["final_obs"][row] == want["final_obs"][row]).all()
            final = got["final_info"]["action_mask"][row], want["final_info"]["action_mask"][row]
            assert (final[0] == final[1]).all()


def episodes(mode: AutoresetMode) -> list[list[Any]]:
    """The first twelve episodes of one learner, step by step, bogus steps left out."""
    env = BoardVectorEnv(1, "tic-tac-toe", lowest, seat=1, max_moves=3, autoreset_mode=mode)
    rng, found, current, bogus = np.random.default_rng(3), [], [], False
    seen, infos = env.reset(seed=0)
    while len(found) < 12:
        move = np.zeros(1, dtype=np.int64) if bogus else draw(infos["action_mask"] > 0, rng)
        before = seen.tolist()
        seen, rewards, terminated, truncated, infos = env.step(move)
        if bogus:
            assert rewards[0] == 0
            assert not terminated[0]
            assert not truncated[0]
            bogus = False
            continue
        ended = bool(terminated[0] or truncated[0])
        after = infos["final_obs"][0] if "final_obs" in infos else seen[0]
        current.append([before, move.tolist(), rewards.tolist(), after.tolist()])
        if ended:
            found.append([*current, terminated.tolist(), truncated.tolist()])
            current = []
            bogus = mode is AutoresetMode.NEXT_STEP
            if mode is AutoresetMode.DISABLED:
                seen, infos = env.reset(options={"reset_mask": np.array([True])})
    return found


def test_the_three_modes_tell_the_same_episodes():
    same = episodes(AutoresetMode.SAME_STEP)
    assert same == episodes(AutoresetMode.NEXT_STEP) == episodes(AutoresetMode.DISABLED)
    assert {(e[-2][0], e[-1][0]) for e in same} == {(True, False), (False, True)}


@given(seed=st.integers(0, 2**32), limit=st.integers(1, 5))
def test_cut_off_is_what_has_not_ended_at_the_limit(seed, limit):
    env = BoardVectorEnv(4, "tic-tac-toe", max_moves=limit)
    _, infos = env.reset(seed=seed)
    rng, length = np.random.default_rng(seed), np.zeros(4, dtype=int)
    for _ in range(10):
        moves = draw(infos["action_mask"] > 0, rng)
        _, rewards, terminated, truncated, infos = env.step(moves)
        length += 1
        assert (truncated == (~terminated & (length == limit))).all()
        assert (length <= min(limit, 5)).all()
        for row in np.flatnonzero(truncated):
            assert rewards[row] == 0
            assert infos["final_info"]["action_mask"][row].any()
        for row in np.flatnonzero(terminated):
            assert not infos["final_info"]["action_mask"][row].any()
        length[terminated | truncated] = 0


def test_an_illegal_move_loses_and_says_so():
    env = BoardVectorEnv(2, "tic-tac-toe", lowest, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    env.step(np.array([4, 8]))  # the opponent takes 0
    _, rewards, terminated, truncated, infos = env.step(np.array([0, 7]))
    assert rewards.tolist() == [-1, 0]
    assert terminated.tolist() == [True, False]
    assert not truncated.any()
    assert infos["illegal"].tolist() == [True, False]
    assert infos["action_mask"].sum(axis=1).tolist() == [0, 5]


@pytest.mark.parametrize("mode", MODES)
def test_an_illegal_move_is_an_error_where_that_was_asked_for_and_moves_no_game(mode):
    env = BoardVectorEnv(2, "tic-tac-toe", lowest, illegal="raise", autoreset_mode=mode)
    env.reset(seed=0)
    env.step(np.array([4, 8]))
    before = env.games.stones.copy()
    with pytest.raises(ValueError, match="move 0 is illegal in game 1 of tic-tac-toe"):
        env.step(np.array([1, 0]))
    assert (env.games.stones == before).all()
    env.step(np.array([1, 7]))


def test_what_cannot_be_stepped_says_why():
    env = BoardVectorEnv(2, "tic-tac-toe", autoreset_mode="Disabled", max_moves=1)
    with pytest.raises(gymnasium.error.ResetNeeded, match="no game has begun"):
        env.step(np.array([0, 0]))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"integers within 0\.\.8"):
        env.step(np.array([0, 9]))
    env.step(np.array([0, 0]))
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"games \[0, 1\] have ended"):
        env.step(np.array([1, 1]))
    for mask in (np.array([True]), np.array([0, 1]), np.array([False, False])):
        with pytest.raises(ValueError, match="reset_mask is"):
            env.reset(options={"reset_mask": mask})
    single = BoardEnv(max_moves=1)
    single.reset(seed=0)
    single.step(0)
    with pytest.raises(gymnasium.error.ResetNeeded, match="have ended"):
        single.step(1)


def test_an_opponent_that_breaks_the_rules_is_named():
    def stubborn(board, mine, theirs, rng):
        return np.zeros(len(mine), dtype=np.int64)

    env = BoardVectorEnv(1, "tic-tac-toe", stubborn)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="the opponent broke the rules: move 0 is illegal"):
        env.step(np.array([0]))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"num_envs": 0}, "num_envs is 0"),
        ({"board": "go"}, "no board is called 'go'"),
        ({"opponent": "expert"}, "no opponent is called 'expert'"),
        ({"seat": 2}, "seat is 2"),
        ({"illegal": "warn"}, "illegal is 'warn'"),
        ({"max_moves": 0}, "max_moves is 0"),
    ],
)
def test_wrong_arguments_are_refused_by_name(wrong, said):
    with pytest.raises(ValueError, match=said):
        BoardVectorEnv(**wrong)


def test_minimax_does_not_play_on_a_board_too_large():
    env = BoardVectorEnv(1, "connect-four", "minimax", seat=1)
    with pytest.raises(ValueError, match="connect-four has 42 cells"):
        env.reset(seed=0)


@pytest.mark.parametrize("board", BOARDS)
def test_seats(board):
    first = BoardVectorEnv(64, board, seat=0)
    assert not first.reset(seed=0)[0].any()
    second = BoardVectorEnv(64, board, seat=1)
    observations, _ = second.reset(seed=0)
    assert not observations[:, 0].any()
    assert (observations[:, 1].sum(axis=(1, 2)) == 1).all()
    drawn = BoardVectorEnv(400, board, seat=None)
    observations, _ = drawn.reset(seed=0)
    assert (observations.sum(axis=(1, 2, 3)) == drawn.seats).all()
    assert 150 < drawn.seats.sum() < 250  # five standard deviations of a fair coin


def trace(seed):
    env = BoardVectorEnv(8, "connect-four", seat=None)
    _, infos = env.reset(seed=seed)
    rng, seen = np.random.default_rng(0), []
    for _ in range(30):
        seen.append(env.games.stones.tolist())
        infos = env.step(draw(infos["action_mask"] > 0, rng))[-1]
    return seen


def test_same_seed_same_games():
    assert trace(4) == trace(4)
    assert trace(4) != trace(5)


def test_gymnasium_s_wrapper_counts_episodes():
    env = RecordEpisodeStatistics(BoardVectorEnv(6, "tic-tac-toe", lowest, max_moves=2))
    env.reset(seed=0)
    env.step(np.full(6, 8))
    infos = env.step(np.full(6, 7))[-1]
    assert (infos["episode"]["l"] == 2).all()
    assert (infos["episode"]["r"] == 0).all()


def test_the_board_is_text():
    register()
    env = gymnasium.make(TIC_TAC_TOE_ID, opponent=lowest, render_mode="ansi")
    env.reset(seed=0)
    env.step(4)
    assert env.render() == "o . .\n. x .\n. . ."
    with pytest.raises(ValueError, match="render_mode is 'human'"):
        BoardEnv(render_mode="human")


def test_without_pettingzoo_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pettingzoo", None)
    with pytest.raises(ImportError, match=r"pip install 'heedful\[games\]'"):
        aec_env("tic-tac-toe")


class TestPettingZoo:
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("pettingzoo", reason="needs pettingzoo: pip install 'heedful[games]'")

    @pytest.mark.parametrize("board", BOARDS)
    def test_its_own_check_passes(self, board):
        from pettingzoo.test import api_test, seed_test

        with warnings.catch_warnings():
            # It warns of every observation that is a dict, but for a list of its own environments,
            # and of the empty mask of an agent that is not to move.
            warnings.simplefilter("ignore", UserWarning)
            api_test(aec_env(board), num_cycles=200)
            seed_test(lambda: aec_env(board), num_cycles=20)

    def test_a_game_is_played_to_its_end(self):
        env = aec_env("tic-tac-toe", render_mode="ansi")
        env.reset(seed=0)
        for move, agent in zip((0, 3, 1, 4, 2), ("player_0", "player_1") * 3, strict=False):
            assert env.agent_selection == agent
            observation, reward, terminated, truncated, _ = env.last()
            assert observation in env.observation_space(agent)
            assert observation["action_mask"][move]
            assert (reward, terminated, truncated) == (0, False, False)
            waiting = env.possible_agents[agent == "player_0"]
            assert not env.observe(waiting)["action_mask"].any()
            env.step(move)
        assert env.render() == "x x x\no o .\n. . ."
        assert env.rewards == {"player_0": 1, "player_1": -1}
        assert env.terminations == {"player_0": True, "player_1": True}
        seen = env.observe("player_1")
        assert seen["observation"][..., 0].tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]
        assert not seen["action_mask"].any()
        for _ in range(2):
            env.step(None)
        assert env.agents == []

    def test_an_illegal_move_is_an_error(self):
        env = aec_env("tic-tac-toe")
        env.reset()
        env.step(4)
        with pytest.raises(ValueError, match="move 4 is illegal"):
            env.step(4)


def test_openings_are_moves_by_chance_of_both_sides_before_anybody_is_asked():
    asked = []

    def opponent(board, mine, theirs, rng):
        asked.append(len(mine))
        return uniform(board, mine, theirs, rng)

    env = BoardVectorEnv(600, "tic-tac-toe", opponent, seat=None, openings=3)
    observations, infos = env.reset(seed=0)
    stones = observations.sum(axis=(2, 3)).astype(int)  # [n, 2]
    seats, total = env.seats, stones.sum(axis=1)
    # Whoever is asked now is the learner: it has as many stones as the other, or one fewer.
    assert ((stones[:, 1] - stones[:, 0]) == seats).all()
    assert (total % 2 == seats).all()
    opened = total[seats == 0]  # 0 to 3, and one more where it was the opponent's turn then
    shares = np.bincount(opened, minlength=5)[[0, 2, 4]] / len(opened)
    assert shares == pytest.approx([1 / 4, 2 / 4, 1 / 4], abs=0.08)
    assert (infos["action_mask"].sum(axis=1) == 9 - total).all()
    assert asked == [600]  # at once, those games included in which it is the learner's turn

    cells = observations.reshape(600, 2, 9).sum(axis=(0, 1))
    assert cells.min() > 0.7 * cells.mean()
    with pytest.raises(ValueError, match="give 0 to 4 moves on tic-tac-toe"):
        BoardVectorEnv(1, "tic-tac-toe", openings=5)


@pytest.mark.parametrize("board", ["tic-tac-toe", "connect-four"])
def test_luck_of_one_game_is_never_that_of_another(board):
    """Whatever is played, the stream of luck is used in rows of one number for each game."""
    n, drawn = 5, set()
    for player in range(3):
        env, rng = BoardVectorEnv(n, board, seat=None, openings=2), np.random.default_rng(player)
        _, infos = env.reset(seed=7)
        fresh = np.random.Generator(np.random.PCG64(np.random.SeedSequence(7)))
        assert type(env.np_random.bit_generator) is type(fresh.bit_generator)
        for _ in range(40):
            infos = env.step(draw(infos["action_mask"] > 0, rng))[-1]
        after = env.np_random.bit_generator.state
        assert not after["has_uint32"]  # no half of a number is left over
        rows = 0
        while fresh.bit_generator.state["state"] != after["state"]:
            fresh.random(n)
            rows += 1
            assert rows < 1000
        drawn.add(rows)
    assert len(drawn) > 1  # the players' games did go different ways
