"""People who play tic-tac-toe with a style, and how they are written down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heedful.domains.games import Games
from heedful.domains.games.boards import TIC_TAC_TOE_ID
from heedful.record import ALL_UNITS, UNKNOWN, ChoiceSet, Decision, Feedback, Kind
from heedful.store import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OPTIONS = {"opponent": "one-ply", "seat": None}
CELLS, MOST_MOVES = 9, 5
LIKED = np.array([0.2, 1.2, 0.2, 1.2, -0.6, 1.2, 0.2, 1.2, 0.2])
"""What people think of a cell, in nats: they like edges and leave the middle alone."""

SEES_WIN, SEES_THREAT = 1.5, 0.8  # nats: at once; often missed
OWN_TASTE = 0.5  # standard deviation of a person's own

LINES = np.array(
    [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]]
)


@dataclass(frozen=True)
class Matches:
    """n moves of M matches, match by match.

    Attributes:
        observed: [n, 18], the mover's stones and the opponent's.
        legal: bool [n, 9].
        moves: [n].
        match: [n], from 0, ascending.
        rewards: [n], 1 won, -1 lost, at the last move of a match.
    """

    observed: NDArray[np.float32]
    legal: NDArray[np.bool_]
    moves: Ints
    match: Ints
    rewards: Floats

    @property
    def results(self) -> Floats:
        """The result of each match, [M]."""
        return np.bincount(self.match, weights=self.rewards)


def game() -> Games:
    """Return the domain."""
    return Games({"game": TIC_TAC_TOE_ID, "options": OPTIONS})


def people(persons: int, matches: int, seed: int) -> Matches:
    """Return the matches of as many people, one person's after the other's."""
    rng = np.random.default_rng(seed)
    taste = LIKED + OWN_TASTE * rng.standard_normal((persons, CELLS))
    return played(taste.repeat(matches, axis=0), seed)


def played(taste: Floats, seed: int) -> Matches:
    """Play a match by each taste [M, 9]."""
    n, rng = len(taste), np.random.default_rng([seed, 1])
    world = game().environment(n, 0, {})
    rows, _ = world.reset(seed=seed)
    open_ = np.ones(n, np.bool_)
    parts: list[tuple[NDArray[np.float32], NDArray[np.bool_], Ints, Ints, Floats]] = []
    for _ in range(MOST_MOVES):
        seen, legal = world.read(rows)
        score = np.where(legal, taste + habits(seen), -np.inf)
        move = (score + rng.gumbel(size=score.shape)).argmax(1)
        rows, rewards, terminated, truncated, _ = world.step(move[:, None])
        kept = np.flatnonzero(open_)
        parts.append((seen[kept], legal[kept], move[kept], kept, rewards[kept]))
        open_ &= ~(terminated | truncated)
    world.close()
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[3], kind="stable")  # by match, moves in their order
    return Matches(*(column[order] for column in columns))


def habits(seen: NDArray[np.float32]) -> Floats:
    """Return how much more a cell draws because it wins at once or would lose, [n, 9]."""
    mine, theirs = seen[:, :CELLS], seen[:, CELLS:]
    found = np.zeros((len(seen), CELLS))
    for line in LINES:
        for cell in line:
            others = line[line != cell]
            for stones, drawn in ((mine, SEES_WIN), (theirs, SEES_THREAT)):
                full = stones[:, others].all(1)
                found[full, cell] = np.maximum(found[full, cell], drawn)
    return found


def records(
    made: Matches, matches_each: int, *, first_person: int = 0
) -> Iterator[Decision | Feedback | ChoiceSet]:
    """Yield matches as the log has them, with the choices of each move before it."""
    games = game()
    vocabulary = games.vocabulary(Snapshot.of([]))
    step = 0
    for row in range(len(made.moves)):
        match = int(made.match[row])
        step = step + 1 if row and match == made.match[row - 1] else 0
        person = first_person + match // matches_each
        context = games.context(np.concatenate([made.observed[row], made.legal[row]]))
        rule, at = games.choices(context), float(10 * match + step)
        decision = Decision(
            id=f"{person}/{match}/{step}",
            episode=f"match-{person}-{match}",
            step=step,
            subject=f"person-{person}",
            units=(str(made.moves[row]),),
            logps=UNKNOWN,
            policy="people",
            made_at=at,
            context=context,
            choices=rule.digest(),
            vocabulary=vocabulary.digest(),
        )
        yield rule
        yield decision
        yield Feedback(
            id=f"{decision.id}/reward",
            by=decision.subject,
            about=decision.id,
            unit=ALL_UNITS,
            kind=Kind.REWARD,
            value=float(made.rewards[row]),
            given_at=at,
            received_at=at,
        )
