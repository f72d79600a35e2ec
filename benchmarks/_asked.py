"""What is achieved in an environment when an outcome is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from heedful.domains.games import Games
from heedful.loop.collect import Collector
from heedful.policy import Policy, Vocabulary


@dataclass(frozen=True, slots=True)
class Achieved:
    """What was asked for, and what each of n players came to on average, [targets, n]."""

    targets: tuple[float, ...]
    outcomes: np.ndarray

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation between targets and mean outcomes."""
        return spearman(self.targets, self.outcomes.mean(axis=1))


def achieved(
    policy: Policy,
    asking: Callable[[float], Games],
    vocabulary: Vocabulary,
    targets: Sequence[float],
    *,
    games: int,
    decisions: int,
    window: int,
    seed: int,
) -> Achieved:
    """Let ``policy`` play, as new players who ask for each target in all of their matches.

    Args:
        policy: what plays; its moves are drawn.
        asking: returns the game in which an outcome is asked for.
        vocabulary: of the policy.
        targets: outcomes to ask for.
        games: players side by side, each with a stream of its own.
        decisions: of each player.
        window: events a policy looks back.
        seed: of the environments and of the draw, the same for each target.
    """
    found = []
    for target in targets:
        game = asking(target)
        environment = game.environment(games, seed, {})
        assert environment is not None
        collector = Collector(game, vocabulary, environment, window=window, seed=seed)
        played = collector.play(policy, decisions)
        environment.close()
        reward = np.zeros(played.decisions.n)
        reward[played.feedback.decision] = played.feedback.value
        subject = played.decisions.subject
        owner = _owner(played.decisions.episode, subject)
        ended = np.bincount(owner[played.ends.episode], minlength=games)
        total = np.bincount(subject, weights=reward, minlength=games)
        found.append(total / np.maximum(ended, 1))
    return Achieved(tuple(targets), np.array(found))


def _owner(episode: np.ndarray, subject: np.ndarray) -> np.ndarray:
    owner = np.zeros(int(episode.max()) + 1, np.int64)
    owner[episode] = subject
    return owner


def spearman(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """Return the rank correlation of two lists in which no number stands twice.

    >>> spearman([1, 2, 3], [10, 20, 15])
    0.5
    """
    ranks = [np.argsort(np.argsort(np.asarray(values))) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1].round(12))
