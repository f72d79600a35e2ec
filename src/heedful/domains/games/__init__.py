"""Games: units are moves, in any Gymnasium environment whose moves are discrete or bounded.

`domain` is what the core asks of a domain; `environment` turns a vector environment into rows of
numbers, read as `spaces` say, and names what breaks; `boards` are games of our own, `clips` are
stretches of play that people compare.
"""

from heedful.domains.games.domain import Games, Options
from heedful.domains.games.environment import Game, GameError
from heedful.domains.games.spaces import Moves, Observations, SpaceError

__all__ = [
    "Game",
    "GameError",
    "Games",
    "Moves",
    "Observations",
    "Options",
    "SpaceError",
]
