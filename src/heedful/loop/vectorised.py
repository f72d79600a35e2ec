"""Rollouts as arrays: what a policy without memory does in a vector environment.

Where nothing but the last context counts, records and streams have nothing to add: a round is
played and encoded in arrays alone. It is the same round that a
:class:`~heedful.loop.collect.Collector` and ``encode`` make, slot for slot, and knows one thing
more: where the last move of the round led.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heedful.contract import NumericEnvironment
from heedful.contract.transitions import Transition, Transitions
from heedful.loop.interact import Rollout
from heedful.policy import Batch, Choices, EventKind, Events, LogitWrapper, Policy, State, draw

RECENT = 100
"""Episodes over which returns are averaged, as in the published results of most games."""

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class Vectorised:
    """Plays a policy without memory in a vector environment, and goes on where it stopped.

    In a round every environment makes ``steps`` decisions, fewer where steps only reset it; all
    three of Gymnasium's autoreset modes give the same batch. Where an episode was cut off, or the
    round ends in the middle of one, its value stands in for the rest; where it terminated, nothing
    does.
    """

    def __init__(
        self,
        environment: NumericEnvironment,
        *,
        steps: int,
        gamma: float,
        seed: int,
        fresh: bool = False,
    ) -> None:
        """Play nothing yet.

        Args:
            environment: n games.
            steps: of each of them in a round.
            gamma: discount between decisions.
            seed: of the environment and of the draws.
            fresh: begin all games anew for every round: what is played in it then follows from its
                number and the policy alone.
        """
        self._environment, self._steps, self._gamma, self._seed = environment, steps, gamma, seed
        self._fresh = fresh
        self._places = list(environment.places)
        self._rng = torch.Generator()
        self._next = 0
        self._transitions: Transitions | None = None
        self._returns = np.zeros(environment.num_envs)
        self._recent: deque[float] = deque(maxlen=RECENT)

    def play(self, policy: Policy, number: int) -> Rollout:
        """Play ``policy`` for a round; a ``number`` out of turn begins all games anew.

        Args:
            policy: in evaluation mode, with no memory of anything before the last context.
            number: of the round.

        Raises:
            TypeError: the policy has a memory.
        """
        if not memoryless(policy):
            raise TypeError(
                f"{type(policy).__name__} remembers what was before the last context: let a "
                "Collector play it, or use a feedforward policy"
            )
        if self._transitions is None or self._fresh or number != self._next:
            self._begin(number)
        self._next = number + 1
        round_ = self._play(policy)
        return Rollout(
            _batch(round_, self._places, policy, self._gamma), self._score(round_), self._metrics()
        )

    def single(self, batch: Batch) -> Batch:
        """Return a batch of this with a row a decision, for minibatches that are well mixed.

        Args:
            batch: prepared: advantages are known, and what only lends its value falls away.
        """
        first = batch.mask.clone()
        first[:, 1:] &= batch.decisions[:, 1:] != batch.decisions[:, :-1]
        row, column = torch.nonzero(first, as_tuple=True)
        places = torch.arange(len(self._places))
        at = (row[:, None], column[:, None] + places)  # [N, K]
        columns = {
            f.name: getattr(batch.events, f.name)[at] for f in fields(Events) if f.name != "lengths"
        }
        events = Events(**columns, lengths=torch.full((len(row),), len(places)))
        tensors: dict[str, Any] = {
            f.name: value[at]
            for f in fields(batch)
            if isinstance(value := getattr(batch, f.name), Tensor)
        }
        tensors["positions"] = places.expand(len(row), -1)
        return replace(batch, **tensors, events=events, choices=_moved(batch.choices, at))

    def seeded(self, seed: int) -> None:
        """Begin the draws of :meth:`answer` anew."""
        self._rng.manual_seed(seed)

    @torch.no_grad()
    def answer(self, policy: Policy, rows: npt.NDArray[np.float32]) -> Ints:
        """Return what ``policy``, which has no memory, does in places of its own, [m, K].

        Args:
            policy: in evaluation mode.
            rows: [m, ...], what it observes.
        """
        seen, legal = self._environment.read(rows)
        events = replace(contexts(len(rows)), features=torch.from_numpy(seen)[:, None])
        units, _ = self._choose(policy, policy.start(len(rows)), events, legal)
        return self._environment.actions(units)

    def _begin(self, number: int) -> None:
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        self._rng.manual_seed(seed)
        self._transitions = Transitions(self._environment, seed=seed)
        self._returns[:] = 0.0

    @torch.no_grad()
    def _play(self, policy: Policy) -> _Round:
        assert self._transitions is not None
        steps, n = self._steps, self._environment.num_envs
        start, asked = policy.start(n), contexts(n)
        found = _Round.empty(steps, n, len(self._places), policy)
        for t in range(steps):
            seen, legal = self._environment.read(self._transitions.observation)
            events = replace(asked, features=torch.from_numpy(seen)[:, None])
            units, logps = self._choose(policy, start, events, legal)
            done = self._transitions.step(self._environment.actions(units))
            found.note(t, seen, legal, units, logps, done)
            cut = np.flatnonzero(done.truncated & ~done.terminated)
            if len(cut):
                after, allowed = self._environment.read(done.following[cut])
                found.following[t, done.rows[cut]] = after
                found.allowed[t, done.rows[cut]] = allowed
        found.close(*self._environment.read(self._transitions.observation))
        return found

    def _choose(
        self, policy: Policy, state: State, events: Events, legal: Flags
    ) -> tuple[Ints, Floats]:
        """Draw a decision for each game, after ``events``: units and log-probabilities, [n, K]."""
        units: list[Ints] = []
        logps: list[Floats] = []
        for place in self._places:
            if units:
                events = Events.of_units(torch.from_numpy(units[-1]), policy.schema.features)
            state, logits = policy.step(state, events, self._choices(legal, place))
            unit, logp = draw(logits, self._rng)
            units.append(unit.numpy())
            logps.append(logp.numpy())
        return np.stack(units, axis=1), np.stack(logps, axis=1)

    def _choices(self, legal: Flags, place: slice) -> Choices:
        n, size = legal.shape
        if len(self._places) == 1 and legal.all():
            return Choices.everything(size, n)
        row, unit = np.nonzero(legal[:, place])
        return _restricted(size, (n, 1), row, unit + place.start, np.zeros_like(row))

    def _score(self, round_: _Round) -> float:
        """Add up what was earned; return the mean return of the episodes that ended, or NaN."""
        ended = []
        for t in range(self._steps):
            self._returns += round_.rewards[t]
            for row in np.flatnonzero(round_.terminated[t] | round_.truncated[t]):
                ended.append(float(self._returns[row]))
                self._returns[row] = 0.0
        self._recent.extend(ended)
        return float(np.mean(ended)) if ended else math.nan

    def _metrics(self) -> dict[str, float]:
        if len(self._recent) < RECENT:
            return {}
        return {f"return_of_{RECENT}": float(np.mean(self._recent))}


def memoryless(policy: Policy) -> bool:
    """Whether a policy sees nothing but the last context, also through wrappers of its logits."""
    inside: Any = policy
    while isinstance(inside, LogitWrapper):
        inside = inside.inner
    return bool(getattr(inside, "memoryless", False))


@dataclass(slots=True, eq=False)
class _Round:
    """What happened: T steps of n games, K units a decision.

    ``following`` holds what was observed last where an episode was cut off, ``allowed`` what could
    have been done there.
    """

    seen: npt.NDArray[np.float32]  # [T, n, F]
    following: npt.NDArray[np.float32]  # [T, n, F]
    legal: Flags  # [T, n, V]
    allowed: Flags  # [T, n, V]
    units: Ints  # [T, n, K]
    logps: Floats  # [T, n, K]
    rewards: Floats  # [T, n]
    acted: Flags  # [T, n]
    terminated: Flags  # [T, n]
    truncated: Flags  # [T, n]
    cut: Flags  # [T, n]: a value stands in for what follows

    @classmethod
    def empty(cls, steps: int, n: int, places: int, policy: Policy) -> _Round:
        shape, features = (steps, n), policy.schema.features
        return cls(
            np.zeros((*shape, features), np.float32),
            np.zeros((*shape, features), np.float32),
            np.ones((*shape, policy.schema.size), np.bool_),
            np.ones((*shape, policy.schema.size), np.bool_),
            np.zeros((*shape, places), np.int64),
            np.zeros((*shape, places)),
            np.zeros(shape),
            *(np.zeros(shape, np.bool_) for _ in range(4)),
        )

    def note(
        self,
        t: int,
        seen: npt.NDArray[np.float32],
        legal: Flags,
        units: Ints,
        logps: Floats,
        done: Transition,
    ) -> None:
        """Write down step ``t``."""
        self.seen[t], self.legal[t], self.units[t], self.logps[t] = seen, legal, units, logps
        self.acted[t, done.rows] = True
        self.rewards[t, done.rows] = done.rewards
        self.terminated[t, done.rows] = done.terminated
        self.truncated[t, done.rows] = done.truncated & ~done.terminated

    def close(self, seen: npt.NDArray[np.float32], legal: Flags) -> None:
        """Mark where a value stands in for the rest.

        Args:
            seen: [n, F], what is observed now.
            legal: [n, V], what could be done now.
        """
        n = self.acted.shape[1]
        last = len(self.acted) - 1 - self.acted[::-1].argmax(axis=0)
        games = np.arange(n)
        open_ = ~self.terminated[last, games] & ~self.truncated[last, games]
        self.following[last[open_], games[open_]] = seen[open_]
        self.allowed[last[open_], games[open_]] = legal[open_]
        self.cut[:] = self.truncated
        self.cut[last, games] |= open_
        self.cut &= self.acted


def _batch(round_: _Round, places: list[slice], policy: Policy, gamma: float) -> Batch:
    """Lay a round out: a row a game, in the order of its steps.

    The K units of a decision are K columns, and where a value stands in for the rest one more
    follows. Column c is decided after event c: the context, or the unit before. There is no START,
    as a policy without memory does not look at it.
    """
    n, n_places = round_.acted.shape[1], len(places)
    width = round_.acted * n_places + round_.cut
    starts = np.cumsum(width, axis=0) - width
    step, game = np.nonzero(round_.acted)
    column = starts[step, game]
    shape = (n, int(width.sum(axis=0).max(initial=1)))
    lay = _Layout(shape, policy.schema.features)
    for k in range(n_places):
        last = k == n_places - 1
        slot = (game, column + k)
        lay.mask[slot] = True
        lay.units[slot] = round_.units[step, game, k]
        lay.logps[slot] = round_.logps[step, game, k]
        lay.decisions[slot] = step * n + game
        lay.discounts[slot] = np.where(round_.terminated[step, game], 0.0, gamma) if last else 1.0
        lay.kind[slot] = int(EventKind.UNIT if k else EventKind.CONTEXT)
        lay.spoken[slot] = round_.units[step, game, k - 1] if k else -1
    lay.rewards[game, column + n_places - 1] = round_.rewards[step, game]
    lay.seen[game, column] = round_.seen[step, game]
    step, game = np.nonzero(round_.cut)
    after = (game, starts[step, game] + n_places)
    lay.bootstrap[after] = True
    lay.kind[after] = int(EventKind.CONTEXT)
    lay.seen[after] = round_.following[step, game]
    return lay.batch(_choices(round_, places, starts, shape), len(policy.schema.channels))


class _Layout:
    """The columns of a batch, [B, C] each, before they are tensors."""

    def __init__(self, shape: tuple[int, int], features: int) -> None:
        self.kind, self.units = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.spoken, self.decisions = np.full(shape, -1), np.full(shape, -1)
        self.mask, self.bootstrap = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        self.logps = np.zeros(shape)
        self.rewards, self.discounts = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.seen = np.zeros((*shape, features), np.float32)

    def batch(self, choices: Choices, n_channels: int) -> Batch:
        n, width = self.mask.shape
        mask = torch.from_numpy(self.mask)
        bootstrap = torch.from_numpy(self.bootstrap)
        none = torch.zeros(n, width, dtype=torch.int64)
        events = Events(
            torch.from_numpy(self.kind),
            torch.from_numpy(self.spoken),
            none,
            torch.zeros(n, width),
            torch.from_numpy(self.seen),
            torch.full((n, width), torch.nan, dtype=torch.float64),
            (mask | bootstrap).sum(1),
        )
        return Batch(
            events=events,
            positions=torch.arange(width).expand(n, -1),
            units=torch.from_numpy(self.units),
            decisions=torch.from_numpy(self.decisions),
            mask=mask,
            bootstrap=bootstrap,
            choices=choices,
            behaviour_logps=torch.from_numpy(self.logps),
            rewards=torch.from_numpy(self.rewards),
            discounts=torch.from_numpy(self.discounts),
            weights=mask.float(),
            feedback=torch.full((n, width, n_channels), torch.nan),
        )


def _choices(round_: _Round, places: list[slice], starts: Ints, shape: tuple[int, int]) -> Choices:
    """Return what was possible at each column: at each place the legal units of its factor.

    Where a value stands in for the rest it is what the first unit would have been chosen from.
    """
    size = round_.legal.shape[2]
    if len(places) == 1 and round_.legal.all() and round_.allowed.all():
        return Choices(size, shape)
    rows, units, columns = [], [], []
    for k, place in enumerate(places):
        step, game, unit = np.nonzero(round_.legal[..., place] & round_.acted[..., None])
        rows.append(game)
        units.append(unit + place.start)
        columns.append(starts[step, game] + k)
    step, game, unit = np.nonzero(round_.allowed[..., places[0]] & round_.cut[..., None])
    rows.append(game)
    units.append(unit + places[0].start)
    columns.append(starts[step, game] + len(places))
    return _restricted(size, shape, *map(np.concatenate, (rows, units, columns)))


def _restricted(size: int, shape: tuple[int, int], row: Ints, unit: Ints, column: Ints) -> Choices:
    """Return choices of nothing but ``unit`` at (``row``, ``column``), where any is named."""
    restricted = np.zeros(shape, np.bool_)
    restricted[row, column] = True
    lines = np.stack([row, unit, column, column + 1], axis=1)
    return Choices(
        size, shape, allowed=torch.from_numpy(lines), restricted=torch.from_numpy(restricted)
    )


def _moved(choices: Choices, at: tuple[Tensor, Tensor]) -> Choices:
    """Return choices of the slots ``at`` (rows [N, 1], columns [N, K]) as rows of their own."""
    shape = (at[1].shape[0], at[1].shape[1])
    if choices.restricted is None:
        return Choices(choices.size, shape)
    where = torch.full(choices.shape, -1)
    where[at] = torch.arange(shape[0] * shape[1]).view(shape)
    row, unit, column, _ = choices.allowed.unbind(1)
    slot = where[row, column]
    kept = slot >= 0
    row, column = slot[kept] // shape[1], slot[kept] % shape[1]
    return Choices(
        choices.size,
        shape,
        allowed=torch.stack([row, unit[kept], column, column + 1], dim=1),
        restricted=choices.restricted[at],
    )


def contexts(n: int) -> Events:
    """Return one context for each of ``n`` rows, its numbers left out."""
    one = torch.ones(n, 1, dtype=torch.int64)
    return Events(
        one * int(EventKind.CONTEXT),
        -one,
        0 * one,
        torch.zeros(n, 1),
        torch.zeros(n, 1, 0),
        torch.full((n, 1), torch.nan, dtype=torch.float64),
        one[:, 0],
    )
