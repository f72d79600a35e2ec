"""Learning against oneself: a policy plays itself, and versions of its past.

The other side's moves are a part of the environment (:class:`heedful.contract.Contested`), so the
trainer, its returns and its masks are those of any game: a step is the policy's own move and the
answer to it, and where the game ends nothing stands in for the rest. One policy plays both sides.
Against itself alone it can go round in circles, beating only what it was a moment ago; against a
pool of what it was before it has to keep what it knew (Bansal et al., arXiv 1710.03748; Silver et
al., Science 2018, have no pool, and a search instead).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from heedful.contract import Contested
from heedful.evaluate.elo import elo
from heedful.loop.interact import Rollout
from heedful.loop.vectorised import Vectorised
from heedful.policy import Batch, Floor, Policy, build

Drawn = Literal["uniform", "prioritised"]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ENVIRONMENT = -1
"""The opponent that the environment has of its own."""
ITSELF = -2
"""The policy as it stands; so are the numbers below, by how much it explores."""
SHARE = 0.5
"""Of the games against policies, those that are played against itself."""
EXPLORED = (0.1, 0.3, 0.6)
"""Of its own moves on the other side, those that are drawn uniformly, in a third of these games
each: so it learns what to do about moves that it would not make. Versions of the past play as they
were, or ratings would not be theirs."""
AT_ONCE = 4
"""Versions of the past that are met in one round: each answers its own games in one pass."""
MEMORY = 0.9
"""Of what is known of a version, what is left after a round: how the policy did is soon old."""
HARD = 2.0
"""Exponent of f_hard(p) = (1 - p)^2 (Vinyals et al., Nature 2019, methods, "PFSP")."""


@dataclass(slots=True, eq=False)
class _Past:
    """A version in the pool.

    Attributes:
        number: of the round that it played.
        weights: its own.
        form: of the policy that played; whoever explores does so by a share that is no weight.
        score: what the policy scored against it lately, over ``games``.
        games: how many those were; both fade.
    """

    number: int
    weights: dict[str, Tensor]
    form: dict[str, Any]
    score: float = 0.5
    games: float = 1.0
    policy: Policy | None = None

    @property
    def beaten(self) -> float:
        """The policy's expected score against it; 1/2 while nothing is known."""
        return self.score / self.games


@dataclass(slots=True, eq=False)
class Pool:
    """Versions of the past, and how they did against each other.

    Args:
        every: rounds between two versions that enter.
        size: most versions that are kept; the first one stays, as ratings are relative to it.
        drawn: "uniform", or "prioritised": the more often the harder they are to beat.
        others: share of the games that are against the environment's own opponent.
    """

    every: int = 10
    size: int = 20
    drawn: Drawn = "prioritised"
    others: float = 0.0
    past: list[_Past] = field(default_factory=list)
    table: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def opponents(self, n: int, rng: np.random.Generator) -> Ints:
        """Return whom each of ``n`` games is against, [n]: a place in the pool, or one below 0."""
        found = np.full(n, ENVIRONMENT)
        own = round(n * (1.0 - self.others))
        past = round(own * (1.0 - SHARE)) if self.past else 0
        itself = own - past
        found[past:own] = ITSELF - np.arange(itself) % len(EXPLORED)
        if past:
            weights = self._weights()
            met = rng.choice(
                len(self.past), size=min(AT_ONCE, len(self.past)), replace=False, p=weights
            )
            found[:past] = met[np.arange(past) % len(met)]
        return found

    def _weights(self) -> Floats:
        if self.drawn == "uniform":
            return np.full(len(self.past), 1.0 / len(self.past))
        beaten = np.array([past.beaten for past in self.past])
        weights: Floats = np.maximum(1.0 - beaten, 0.01) ** HARD  # nobody is forgotten for good
        weights /= weights.sum()
        return weights

    def note(self, scores: Floats, games: Floats) -> tuple[float, float]:
        """Write down what the policy scored against each version; return its Elo and its error.

        Args:
            scores: [P], a draw counts half.
            games: [P].

        Returns:
            The rating by this round's games, relative to the first version, and its standard error.
        """
        for past, score, n in zip(self.past, scores, games, strict=True):
            past.score = MEMORY * past.score + (1 - MEMORY) * 0.5 + float(score)
            past.games = MEMORY * past.games + (1 - MEMORY) + float(n)
        if not self.past:
            return 0.0, 0.0
        found = elo(_joined(self.table, scores, games))
        return float(found.ratings[-1]), float(found.standard_errors[-1])

    def admit(self, policy: Policy, number: int, scores: Floats, games: Floats) -> None:
        """Let ``policy`` in, as it played round ``number``, if it is time; drop one if need be."""
        if number % self.every:
            return
        self.table = _joined(self.table, scores, games)
        weights = {
            name: tensor.detach().clone()
            for name, tensor in cast(nn.Module, policy).state_dict().items()
        }
        self.past.append(_Past(number, weights, dict(policy.spec())))
        if len(self.past) > self.size:
            easiest = max(range(1, len(self.past) - 1), key=lambda i: self.past[i].beaten)
            del self.past[easiest]
            self.table = np.delete(np.delete(self.table, easiest, axis=0), easiest, axis=1)

    def policy(self, place: int, like: Policy) -> Policy:
        """Return the version at ``place`` as it played, in numbers as precise as ``like``'s."""
        past = self.past[place]
        if past.policy is None:
            past.policy = build(past.form)
            module = cast(nn.Module, past.policy)
            module.to(next(cast(nn.Module, like).parameters()).dtype)
            module.load_state_dict(past.weights)
            module.requires_grad_(requires_grad=False).eval()
        return past.policy

    def facts(self) -> dict[str, Any]:
        """Return what :meth:`restore` takes beside the weights, as JSON."""
        rows = [[past.number, past.form, past.score, past.games] for past in self.past]
        return {"past": rows, "table": self.table.tolist()}

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights of all versions."""
        return {
            f"{past.number}.{name}": tensor
            for past in self.past
            for name, tensor in past.weights.items()
        }

    def restore(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Take up where another pool stood."""
        self.past = []
        for number, form, score, games in facts["past"]:
            head = f"{number}."
            weights = {n.removeprefix(head): t for n, t in tensors.items() if n.startswith(head)}
            self.past.append(_Past(int(number), weights, form, score, games))
        self.table = np.array(facts["table"], np.float64).reshape(len(self.past), len(self.past))


def _joined(table: Floats, scores: Floats, games: Floats) -> Floats:
    """Return the table with one more player, who scored ``scores`` in ``games`` with the others."""
    joined = np.pad(table, (0, 1))
    joined[-1, :-1], joined[:-1, -1] = scores, games - scores
    return joined


class SelfPlay:
    """Rounds of games against itself and its past; see :class:`heedful.loop.interact.Rollouts`.

    Each game of the vector has one opponent for a round, and all games begin anew with it: so a
    round follows from its number, the policy and the pool alone, and learning that was stopped goes
    on with the same bits. The score is the policy's Elo by the games of the round, relative to the
    first version: against opponents that learn too, the return stays about 0.

    Attributes:
        pool: the versions so far.
    """

    def __init__(
        self, environment: Contested, *, steps: int, gamma: float, seed: int, pool: Pool
    ) -> None:
        """Take the other side in ``environment``.

        Args:
            environment: n games of two sides.
            steps: the policy's own decisions in each of them in a round; several games' worth.
            gamma: discount between decisions.
            seed: of the games and of the draws.
            pool: empty, or where another one stood.

        Raises:
            ValueError: the environment has no other side.
        """
        self.pool = pool
        self._n, self._seed, self._environment = environment.num_envs, seed, environment
        self._inner = Vectorised(environment, steps=steps, gamma=gamma, seed=seed, fresh=True)
        self._opponents: Ints = np.full(self._n, ITSELF)
        self._policies: dict[int, Policy] = {}
        environment.contest(self._answer, self._opponents != ENVIRONMENT)

    def play(self, policy: Policy, number: int) -> Rollout:
        """Play a round, and write down how it went."""
        rng = np.random.default_rng([self._seed, number])
        self._opponents = self.pool.opponents(self._n, rng)
        self._policies = {
            place: _exploring(policy, place) if place < 0 else self.pool.policy(place, policy)
            for place in np.unique(self._opponents).tolist()
            if place != ENVIRONMENT
        }
        self._environment.contest(self._answer, self._opponents != ENVIRONMENT)
        rollout = self._inner.play(policy, number)
        scores, games = self._tally(results(rollout.batch))
        rating, error = self.pool.note(scores, games)
        self.pool.admit(policy, number, scores, games)
        counts = {"elo": rating, "elo_error": error, "pool": float(len(self.pool.past))}
        if games.sum():
            counts["score_against_past"] = float(scores.sum() / games.sum())
        return replace(rollout, score=rating, metrics={**rollout.metrics, **counts})

    def single(self, batch: Batch) -> Batch:
        """Return a batch of this with a row a decision; see :class:`Vectorised`."""
        return self._inner.single(batch)

    def kept(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the pool for a checkpoint: facts as JSON, and tensors."""
        return self.pool.facts(), self.pool.tensors()

    def take_up(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on where the pool of a checkpoint stood."""
        self.pool.restore(facts, tensors)

    def _answer(self, rows: npt.NDArray[np.float32], games: Ints) -> Ints:
        """Move for the other side in ``games`` [m], each by the version it is against."""
        against = self._opponents[games]
        actions: Ints | None = None
        for place in np.unique(against).tolist():
            its = np.flatnonzero(against == place)
            moves = self._inner.answer(self._policies[place], rows[its])
            if actions is None:
                actions = np.zeros((len(games), moves.shape[1]), np.int64)
            actions[its] = moves
        # No game is asked about without a policy that plays it.
        assert actions is not None
        return actions

    def _tally(self, ended: Sequence[tuple[int, float]]) -> tuple[Floats, Floats]:
        """Return scores and games against each version in the pool, [P] each."""
        scores, games = (np.zeros(len(self.pool.past)) for _ in range(2))
        for row, earned in ended:
            place = int(self._opponents[row])
            if place >= 0:
                games[place] += 1
                scores[place] += (float(np.sign(earned)) + 1.0) / 2.0
        return scores, games


def _exploring(policy: Policy, place: int) -> Policy:
    """Return ``policy`` as it plays against itself at ``ITSELF``, and at the places below that."""
    return cast(Policy, Floor(policy, share=EXPLORED[ITSELF - place]).eval())


def results(batch: Batch) -> list[tuple[int, float]]:
    """Return the row and the return of each game that came to its end within ``batch``.

    Args:
        batch: of a round in which all games began anew; a game ends where its discount is 0. One
            that was cut off, where a value stands in for the rest, has no result.
    """
    found: list[tuple[int, float]] = []
    rewards = torch.where(batch.mask, batch.rewards, 0.0).double()
    total = rewards.cumsum(1)
    ended = batch.mask & (batch.discounts == 0.0)
    rows, columns = torch.nonzero(ended | batch.bootstrap, as_tuple=True)
    row_before, before = -1, 0.0
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        until = float(total[row, column])
        if ended[row, column]:
            found.append((row, until - (before if row == row_before else 0.0)))
        row_before, before = row, until
    return found
