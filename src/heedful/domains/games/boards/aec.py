"""The boards for PettingZoo: two agents in turn (agent-environment cycle).

The one file that needs pettingzoo, which comes with `pip install 'heedful[games]'`.
"""

from importlib import import_module
from typing import Any

import numpy as np
from gymnasium import spaces

from heedful.domains.games.boards.games import Games
from heedful.domains.games.boards.rules import Board, board_of

__all__ = ["aec_env"]


def aec_env(board: Board | str, render_mode: str | None = None) -> Any:
    """One game as a `pettingzoo.AECEnv` of the agents "player_0", who begins, and "player_1".

    An observation is a dict, as in PettingZoo's own boards: "observation" int8 [rows, columns, 2]
    of the agent's stones and its opponent's, and "action_mask" int8 [A], all 0 when it is not its
    turn. Rewards come at the end: 1 won, -1 lost, 0 drawn. An illegal move is a `ValueError`.

    Args:
        board: the board or its name.
        render_mode: "ansi" for text, or None.

    Returns:
        The environment.

    Raises:
        ImportError: pettingzoo is not installed.
        ValueError: no such board.
    """
    try:
        base = import_module("pettingzoo").AECEnv
    except ImportError as error:
        raise ImportError(
            "the boards' PettingZoo environment needs pettingzoo: pip install 'heedful[games]'"
        ) from error
    return type("BoardAEC", (_Turns, base), {})(board_of(board), render_mode)


class _Turns:
    """What a board adds to `pettingzoo.AECEnv`, whose bookkeeping of agents it uses."""

    # The base's attributes and methods, which a type checker cannot see through the lazy import.
    _was_dead_step: Any
    _accumulate_rewards: Any

    def __init__(self, board: Board, render_mode: str | None) -> None:
        self.metadata = {
            "name": f"{board.name}_v0",
            "render_modes": ["ansi"],
            "is_parallelizable": False,
        }
        self.render_mode = render_mode
        self.possible_agents = ["player_0", "player_1"]
        self._games = Games(board, 1)
        shape = (board.rows, board.columns, 2)
        self.action_spaces = {a: spaces.Discrete(board.moves) for a in self.possible_agents}
        self.observation_spaces = {
            agent: spaces.Dict(
                {
                    "observation": spaces.Box(0, 1, shape, np.int8),
                    "action_mask": spaces.Box(0, 1, (board.moves,), np.int8),
                }
            )
            for agent in self.possible_agents
        }

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """The space of :meth:`observe`, the same object every time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """The moves of the board, the same object every time."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Empty the board; nothing here is random, so a seed changes nothing."""
        self._games.restart()
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self.agent_selection = self.possible_agents[0]

    def observe(self, agent: str) -> dict[str, Any]:
        """What `agent` sees now."""
        player = self.possible_agents.index(agent)
        planes = self._games.planes(np.array([player]))[0]
        mask = self._games.legal()[0] & (self._games.turn[0] == player)
        return {
            "observation": np.moveaxis(planes, 0, -1).astype(np.int8),
            "action_mask": mask.astype(np.int8),
        }

    def step(self, action: Any) -> None:
        """The selected agent moves; one that is done steps with None."""
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        ended = bool(self._games.play(np.asarray([action]))[0])
        self._cumulative_rewards[agent] = 0.0
        self.rewards = dict(zip(self.agents, self._games.returns[0].tolist(), strict=True))
        self.terminations = dict.fromkeys(self.agents, ended)
        self.agent_selection = self.possible_agents[int(self._games.turn[0])]
        self._accumulate_rewards()

    def render(self) -> str | None:
        """The board as text, the top row first; None without a mode."""
        if self.render_mode is None:
            return None
        return self._games.text(0)

    def close(self) -> None:
        """Nothing is open."""
