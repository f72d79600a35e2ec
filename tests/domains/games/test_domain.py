"""Any Gymnasium environment through the contract, the collector and back."""

import json

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from heedful.checks import check_domain
from heedful.config import ConfigError
from heedful.domains.games import Game, GameError, Games
from heedful.loop.collect import Collector
from heedful.policy import Feedforward, replay
from heedful.store import Snapshot
from tests.domains.games.scripted import LOCKS, TRACK, register

register()
BOARDS = ("heedful/TicTacToe-v0", "heedful/ConnectFour-v0")
NOTHING = Snapshot.of([])


@pytest.mark.parametrize(
    "options",
    [
        {"game": "CartPole-v1", "reward_min": 0.0},
        {"game": "FrozenLake-v1", "options": {"is_slippery": False}},
        {"game": "FrozenLake-v1", "one_hot": False},
        {"game": BOARDS[0]},
        {"game": BOARDS[1], "options": {"opponent": "one-ply", "seat": None}},
        {"game": LOCKS},
        {"game": "Pendulum-v1", "bins": 5, "reward_min": -17.0, "reward_max": 0.0},
        {"game": TRACK, "options": {"masked": True}},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_it_keeps_the_promises_of_a_domain(options: dict[str, object]) -> None:
    check_domain(Games(options))


@pytest.mark.parametrize("name", [*BOARDS, LOCKS, TRACK])
def test_gymnasium_s_own_check_passes(name: str) -> None:
    Games({"game": name})
    check_env(gymnasium.make(name).unwrapped, skip_render_check=True)


def test_a_context_is_what_was_seen_and_what_is_legal() -> None:
    games = Games({"game": BOARDS[0]})
    game = games.environment(2, 0, {"opponent": "minimax"})
    rows, _ = game.reset(seed=0)
    vocabulary = games.vocabulary(NOTHING)
    assert games.context(rows[0]) == {"observation": [0.0] * 18}
    rows, *_ = game.step(games.action(["4"], vocabulary)[None].repeat(2, 0))
    context = games.context(rows[0])
    assert json.loads(json.dumps(context)) == context
    assert "4" not in context["legal"]
    assert len(context["legal"]) == 7
    choices = games.choices(context)
    assert set(choices.allowed) == set(context["legal"])
    assert games.choices({**context, "allowed": ["4", context["legal"][0]]}).allowed == (
        context["legal"][0],
    )
    seen, numbers = games.observe(context, vocabulary)
    assert seen.tolist() == [-1]
    assert np.array_equal(numbers, game.read(rows)[0][:1])


def test_a_state_of_a_table_is_one_number() -> None:
    games = Games({"game": "FrozenLake-v1", "one_hot": False})
    rows, _ = games.environment(3, 0, {}).reset(seed=0)
    assert games.context(rows[0]) == {"observation": 0}
    assert games.observe({"observation": 14}, games.vocabulary(NOTHING))[1].tolist() == [[14.0]]
    assert games.features == 1
    assert Games({"game": "FrozenLake-v1"}).features == 16


def test_every_factor_has_one_unit_and_what_is_impossible_is_never_drawn() -> None:
    games = Games({"game": LOCKS})
    vocabulary = games.vocabulary(NOTHING)
    assert vocabulary.units == ("0/1", "0/2", "0/3", "1/0", "1/1")
    torch.manual_seed(0)
    policy = Feedforward(games.schema(vocabulary)).eval()
    collector = Collector(games, vocabulary, games.environment(4, 0, {}), window=32, seed=0)
    rollout = collector.play(policy, 60)
    drawn = rollout.decisions.units.reshape(-1, 2)
    names = np.array(rollout.names.units)[drawn]
    factors = np.vectorize(lambda unit: unit[0])(names)
    assert (np.sort(factors, axis=1) == ["0", "1"]).all()
    assert set(names.ravel()) == {"0/1", "0/2", "1/0", "1/1"}
    batch = games.encode(rollout, vocabulary).batch(games.encode(rollout, vocabulary).windows(32))
    told = torch.where(batch.mask, replay(policy, batch).double(), 0.0)
    torch.testing.assert_close(told, batch.behaviour_logps, rtol=0, atol=1e-6)


def test_the_order_of_factors_does_not_matter_to_a_feedforward_policy() -> None:
    """p(dial) p(switch) is the probability of the pair, whichever comes first."""
    games = Games({"game": LOCKS})
    vocabulary = games.vocabulary(NOTHING)
    policy = Feedforward(games.schema(vocabulary)).double().eval()
    torch.nn.init.normal_(policy.actor[-1].weight)
    seen = torch.randn(1, 5, dtype=torch.float64)
    logits = policy.actor(seen)[0].detach()
    first = torch.softmax(logits[:3], 0)[:, None] * torch.softmax(logits[3:], 0)
    every = torch.softmax(logits, 0)
    either = torch.zeros(3, 2, dtype=torch.float64)
    for dial in range(3):
        for switch in range(2):
            dial_first = every[dial] * torch.softmax(logits[3:], 0)[switch]
            switch_first = every[3 + switch] * torch.softmax(logits[:3], 0)[dial]
            either[dial, switch] = dial_first + switch_first
    torch.testing.assert_close(either, first)


def test_options_of_the_environment_are_read_as_json_or_else_as_text() -> None:
    given = Games({"options": ["seat=null", "opponent = one-ply", "max_moves=3"]}).options.given
    assert given == {"seat": None, "opponent": "one-ply", "max_moves": 3}
    with pytest.raises(ValueError, match="'seat' should be \"name=value\""):
        Games({"options": ["seat"]}).length  # noqa: B018


def test_games_are_vectors_where_there_are_any() -> None:
    games = Games({"game": "CartPole-v1"})
    game = games.environment(5, 0, {"max_episode_steps": 9})
    assert isinstance(game, Game)
    assert type(game._inner).__name__ == "CartPoleVectorEnv"
    assert game._inner.max_episode_steps == 9
    assert type(Games({"game": LOCKS}).environment(2, 0, {})._inner).__name__ == "SyncVectorEnv"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"game": "NoSuchGame-v3"}, r'game = "NoSuchGame-v3" cannot be made: .*pprint_registry'),
        ({"game": "CartPole-v1", "options": {"wind": 3}}, "cannot be made: .*wind"),
        ({"game": "no_such_module:Game-v0"}, "cannot be made: .*no_such_module"),
    ],
)
def test_a_game_that_cannot_be_made_is_an_error_that_helps(options, message: str) -> None:
    with pytest.raises(GameError, match=message):
        Games(options).features  # noqa: B018


def test_wrong_options_and_contexts_are_refused() -> None:
    with pytest.raises(ConfigError, match="bord"):
        Games({"bord": "x"})
    for low, high in ((1.0, 1.0), (2.0, 1.0), (0.0, float("inf"))):
        with pytest.raises(ConfigError, match="has to be below outcome_max"):
            Games({"outcome_min": low, "outcome_max": high})
    games = Games({"game": BOARDS[0]})
    vocabulary = games.vocabulary(NOTHING)
    for context in ({"board": 1}, {"observation": [1.0, 2.0]}):
        with pytest.raises(ValueError, match="needs 'observation', a list of 18 numbers"):
            games.observe(context, vocabulary)
    with pytest.raises(ValueError, match="legal: expected a list of moves"):
        games.choices({"legal": 3})
