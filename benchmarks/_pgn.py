"""Chess games in PGN as moves: no board engine knows what they mean."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TAG = re.compile(r'^\[(\w+) "(.*)"\]$', re.MULTILINE)
COMMENT = re.compile(r"\{[^}]*\}|;[^\n]*")
VARIATION = re.compile(r"\([^()]*\)")
NOISE = re.compile(r"\$\d+|\d+\.+|[+#!?]+|\*|1-0|0-1|1/2-1/2")
OUTCOMES = {"1-0": (1.0, 0.0), "0-1": (0.0, 1.0), "1/2-1/2": (0.5, 0.5)}


def games(file: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Yield the tags of each game, and its moves in algebraic notation.

    Comments, variations, glyphs, move numbers, checks and results are left out.
    """
    text = file.read_text(encoding="latin-1").replace("\r\n", "\n")
    for part in re.split(r"(?=^\[Event )", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n\n")
        yield dict(TAG.findall(head)), moves(body)


def moves(body: str) -> list[str]:
    """Return the moves of a game's text.

    >>> moves("1. e4 {best (by test)} e5 2. Nf3 $1 (2. f4 exf4 (2... d5)) Nc6! 3.Bb5+ 1/2-1/2")
    ['e4', 'e5', 'Nf3', 'Nc6', 'Bb5']
    """
    bare = COMMENT.sub(" ", body)
    while (without := VARIATION.sub(" ", bare)) != bare:
        bare = without
    return NOISE.sub(" ", bare).split()


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each move, as a file of matches has them."""
    for match, (tags, played) in enumerate(games(file)):
        outcome = OUTCOMES[tags["Result"]]
        for ply, move in enumerate(played):
            player = tags["White" if ply % 2 == 0 else "Black"]
            row = {"match": match, "player": player, "step": ply, "move": move}
            yield {**row, "outcome": outcome[ply % 2]}


class Backoff:
    """How often what followed the last moves, backing off to fewer: an n-gram of a match.

    With c counts of what followed a context and t the different moves that did (Witten and Bell
    1991), from all moves alike, over all counted, over those of the same ply, to the last three:

        p_k(move) = (c_k(move) + t_k p_{k-1}(move)) / (c_k + t_k)
    """

    def __init__(self, size: int, *, orders: Sequence[int] = (1, 2, 3), plies: bool = True) -> None:
        """Count nothing yet; of V = ``size`` moves."""
        self._size, self._orders, self._plies = size, tuple(orders), plies
        self._counts: dict[tuple[object, ...], Counter[int]] = defaultdict(Counter)

    def fit(self, matches: Sequence[Sequence[int]], learned: Sequence[Sequence[bool]]) -> Backoff:
        """Count the moves of ``matches`` where ``learned`` is true."""
        for played, counts in zip(matches, learned, strict=True):
            for ply, (move, counted) in enumerate(zip(played, counts, strict=True)):
                if counted:
                    for context in self._contexts(played, ply):
                        self._counts[context][move] += 1
        return self

    def chances(self, played: Sequence[int], ply: int) -> np.ndarray:
        """Return the probability of each move at a ply, [V]."""
        found = np.full(self._size, 1.0 / self._size)
        for context in self._contexts(played, ply):
            counts = self._counts.get(context)
            if counts:
                found *= len(counts)
                found[list(counts)] += list(counts.values())
                found /= len(counts) + counts.total()
        return found

    def _contexts(self, played: Sequence[int], ply: int) -> Iterator[tuple[object, ...]]:
        yield ()
        if self._plies:
            yield ("ply", ply)
        for order in self._orders:
            if order <= ply:
                yield tuple(played[ply - order : ply])
