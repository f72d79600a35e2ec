"""Overcooked by people in pairs: each player's moves, and what that player saw, as numbers.

46,729 joint steps on five layouts (Carroll et al., NeurIPS 2019). Each player's moves are decisions
of its own; a pair on a layout is a match.
"""

from __future__ import annotations

import ast
import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

MOVES = ("north", "south", "east", "west", "stay", "interact")
DIRECTIONS = {(0, -1): 0, (0, 1): 1, (1, 0): 2, (-1, 0): 3, (0, 0): 4}
LAYOUTS = (
    *("asymmetric_advantages", "coordination_ring", "cramped_room"),
    *("random0", "random3"),
)
HELD = ("onion", "dish", "soup")
GOALS = "ODPS"  # onions, dishes, pots, where soup is served
FULL, COOKED, SIZE = 3, 20, 10.0

Place = tuple[int, int]
State = dict[str, Any]


def rows(file: Path, seats: tuple[int, ...] = (0, 1)) -> Iterator[dict[str, Any]]:
    """Yield a row for each move of each player, as a file of matches has them."""
    step: dict[str, int] = {}
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            joint = json.loads(line)
            match = f"{joint['workerid_num']}/{joint['layout_name']}"
            grid = _grid(joint["layout"])
            state = ast.literal_eval(joint["state"])
            moves = ast.literal_eval(joint["joint_action"])
            for seat in seats:
                row = {"match": match, "player": f"{joint['workerid_num']}/{seat}"}
                row |= {"step": step.get(match, 0), "move": _move(moves[seat])}
                row |= {"observation": seen(state, grid, joint["layout_name"], seat)}
                if joint["reward"]:
                    row["reward"] = joint["reward"]
                yield row
            step[match] = step.get(match, 0) + 1


def _move(action: Any) -> str:
    return "interact" if isinstance(action, str) else MOVES[DIRECTIONS[tuple(action)]]


@cache
def _grid(layout: str) -> tuple[str, ...]:
    """Return the rows of a layout, with floor where players begin."""
    lines = ast.literal_eval(layout)
    return tuple(line.replace("1", " ").replace("2", " ") for line in lines)


@cache
def _places(grid: tuple[str, ...], sort: str) -> tuple[Place, ...]:
    return tuple(
        (x, y) for y, line in enumerate(grid) for x, cell in enumerate(line) if cell == sort
    )


def seen(state: State, grid: tuple[str, ...], layout: str, seat: int) -> list[float]:
    """Return what a player saw, from where it stood: 62 numbers."""
    me, other = state["players"][seat], state["players"][1 - seat]
    here, there = tuple(me["position"]), tuple(other["position"])
    objects = {tuple(thing["position"]): thing for thing in _things(state)}
    numbers = [float(layout == name) for name in LAYOUTS]
    numbers += [here[0] / SIZE, here[1] / SIZE, *_toward(here, there)]
    for player in (me, other):
        way = DIRECTIONS[tuple(player["orientation"])]
        numbers += [float(way == number) for number in range(4)]
        held = player.get("held_object")
        numbers += [float(held is not None and held["name"] == name) for name in HELD]
    for x, y in ((0, -1), (0, 1), (1, 0), (-1, 0)):
        cell = (here[0] + x, here[1] + y)
        sort = grid[cell[1]][cell[0]]
        numbers += [float(sort == " " and cell != there), *(float(sort == goal) for goal in GOALS)]
    for goal in GOALS:
        numbers += _toward(here, _nearest(here, _places(grid, goal)))
    pots = sorted(_places(grid, "P"), key=lambda pot: _far(here, pot))[:2]
    for pot in pots + [None] * (2 - len(pots)):
        numbers += _cooking(objects.get(pot)) if pot is not None else [0.0] * 3
    loose = [place for place in objects if grid[place[1]][place[0]] != "P"]
    nearest = _nearest(here, tuple(loose))
    numbers += _toward(here, nearest)
    name = objects[nearest]["name"] if nearest is not None else ""
    return numbers + [float(name == sort) for sort in HELD]


def _things(state: State) -> list[dict[str, Any]]:
    objects = state["objects"]
    return list(objects.values()) if isinstance(objects, dict) else list(objects)


def _cooking(soup: dict[str, Any] | None) -> list[float]:
    """Return how full a pot is, how far it has cooked, and whether it is done."""
    if soup is None:
        return [0.0, 0.0, 0.0]
    _, onions, time = soup["state"]
    return [onions / FULL, min(time, COOKED) / COOKED, float(time >= COOKED)]


def _toward(here: Place, there: Place | None) -> list[float]:
    if there is None:
        return [0.0, 0.0]
    return [(there[0] - here[0]) / SIZE, (there[1] - here[1]) / SIZE]


def _nearest(here: Place, places: tuple[Place, ...]) -> Place | None:
    return min(places, key=lambda place: _far(here, place), default=None)


def _far(here: Place, there: Place) -> int:
    return abs(here[0] - there[0]) + abs(here[1] - there[1])
