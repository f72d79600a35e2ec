"""A frozen lake crossed by players of three skills, who are on tilt after a match they lost.

A player knows the best move exactly, makes it with probability 1 - e and any move with probability
e. Its e is the same in all of its matches but for the tilt, and nobody is told what it is: a clone
can only tell from the moves, and from how the match before came out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from heedful.domains.games import Games
from heedful.evaluate.exact import Rules
from heedful.record import Context

Row = dict[str, Any]

SKILLS = {"low": 0.6, "middle": 0.3, "high": 0.02}
"""The share of moves that are made by chance."""
TILT = 0.4
"""How much higher that share is in the match after one that was lost."""
LAKE: Mapping[str, Any] = {"is_slippery": True, "success_rate": 0.8}
OPTIONS: Mapping[str, Any] = {
    "game": "FrozenLake-v1",
    "options": dict(LAKE),
    "asked": True,
    "reward_min": 0.0,
    "outcome_min": 0.0,
}
_GAMMA = 0.97  # a shorter way is a better one


def asking(outcome: float) -> Games:
    """Return the game in whose contexts ``outcome`` is asked for."""

    class Asking(Games):
        def context(self, observation: np.ndarray) -> Context:
            return {**super().context(observation), "asked": outcome}

    return Asking(OPTIONS)


def best_moves() -> np.ndarray:
    """Return the best move in each state, [S], by dynamic programming."""
    rules = Rules.of_environment(gymnasium.make("FrozenLake-v1", **LAKE))
    value = np.zeros(len(rules.start))
    for _ in range(1_000):
        worth = rules.rewards + _GAMMA * rules.following @ value
        value = worth.max(axis=1)
    best: np.ndarray = worth.argmax(axis=1)
    return best


@dataclass(frozen=True, slots=True)
class World:
    """Who plays: ``players`` of each skill, ``matches`` each.

    Attributes:
        seed: of everything random.
        players: of each skill.
        matches: of each player.
    """

    seed: int
    players: int
    matches: int

    @property
    def skills(self) -> list[str]:
        """The skill of each player, by number."""
        return [skill for skill in SKILLS for _ in range(self.players)]

    def played(self) -> tuple[list[Row], np.ndarray]:
        """Return a row for each move, as a file of matches has them, and its probability, [N]."""
        rng, best, n = np.random.default_rng(self.seed), best_moves(), len(self.skills)
        games = Games(OPTIONS)
        game = games.environment(n, 0, {})
        assert game is not None
        usual = np.array([SKILLS[skill] for skill in self.skills])
        chance, match = usual.copy(), np.zeros(n, np.int64)
        seen, _ = game.reset(seed=int(rng.integers(2**31)))
        found: list[list[tuple[Row, float]]] = [[] for _ in range(n)]
        while (match < self.matches).any():
            good = best[seen[:, 0].astype(np.int64)]
            any_move = rng.integers(4, size=n)
            moves = np.where(rng.random(n) < chance, any_move, good)
            p = chance / 4 + np.where(moves == good, 1 - chance, 0.0)
            contexts = [games.context(row) for row in seen]
            seen, rewards, terminated, truncated, _ = game.step(moves[:, None])
            for player in np.flatnonzero(match < self.matches).tolist():
                row = {"match": f"{player}/{match[player]}", "player": player}
                row |= {"move": str(moves[player]), **contexts[player]}
                row["reward"] = float(rewards[player])
                found[player].append((row, float(p[player])))
            over = terminated | truncated
            match[over] += 1
            tilted = np.minimum(usual + TILT, 1.0)
            chance[over] = np.where(rewards > 0, usual, tilted)[over]
        game.close()
        moves_of = [move for player in found for move in player]
        return [row for row, _ in moves_of], np.array([p for _, p in moves_of])
