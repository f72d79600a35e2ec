"""Evidence from games: candidate and live version play the same ones, and what they earn is paired.

Where a version can be played without people there is no need to try it out on them. One pair is one
episode of each from the same seed: the same opening, the same luck for as long as they decide
alike. The seeds are new for every judgement, so no version was trained on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from heedful.contract import Environment, NumericEnvironment
from heedful.contract.transitions import Transitions
from heedful.evaluate import Evidence, Verdict, judge, paired
from heedful.loop.bench import Bench
from heedful.loop.collect import Collector
from heedful.loop.vectorised import Vectorised, memoryless
from heedful.policy import Loaded, load

Floats = npt.NDArray[np.float64]

AT_ONCE = 64
"""Pairs that are played side by side; between two such blocks the evidence is looked at."""
TRIED = 8
"""Games of the live version that tell whether returns lie within their bounds at all."""
LONGEST = 1_000_000
"""Steps of one episode after which it is taken to be endless."""


class NoGamesError(ValueError):
    """Nothing can be played here, so there is no such evidence."""


def verdict_by_games(
    bench: Bench, candidate: str, live: str, *, purpose: str, spend: float
) -> Verdict:
    """Judge ``candidate`` against ``live`` on paired games, until the evidence is in.

    Games are played in blocks, and no more of them than ``[gate] pairs``; the bet stays fair
    wherever one stops.

    Args:
        bench: what is worked with.
        candidate: a version.
        live: the version it is compared with.
        purpose: names this judgement; another one, other games.
        spend: what it may spend of alpha.

    Raises:
        NoGamesError: the domain has no environment, its returns have no bounds or all lie beyond
            them, or guardrails are asked for, which need people.
        ValueError: an environment broke.
    """
    gate = bench.config.gate
    check_games(bench, candidate, live)
    low, high = bounds_of(bench)
    earned: list[list[Floats]] = [[], []]
    verdict = None
    for block in _blocks(bench, (candidate, live), purpose):
        for mine, returns in zip(earned, block, strict=True):
            mine.append(np.clip((returns - low) / (high - low), 0.0, 1.0))
        evidence = _evidence(earned, gate.margin)
        verdict = judge(
            evidence,
            spend=spend,
            rollback_alpha=gate.rollback_alpha,
            betting=gate.betting,
            draws=1,
        )
        if verdict.promote or verdict.rollback:
            break
    assert verdict is not None
    return judge(
        _evidence(earned, gate.margin),
        spend=spend,
        rollback_alpha=gate.rollback_alpha,
        betting=gate.betting,
    )


def _evidence(earned: list[list[Floats]], margin: float) -> Evidence:
    return paired(*(np.concatenate(mine) for mine in earned), margin=margin)


def check_games(bench: Bench, candidate: str, live: str) -> None:
    """See that there is something to play and to count, before a judgement is begun.

    The live version plays some games for that, of seeds that nobody is judged on.

    Args:
        bench: what is worked with.
        candidate: a version.
        live: the version it is compared with.

    Raises:
        NoGamesError: the domain has no environment, or one of the versions cannot play in it; its
            returns have no bounds or all lie beyond them; or guardrails are asked for, which need
            people.
    """
    gate = bench.config.gate
    _playable(bench, candidate)
    player = _playable(bench, live)
    environment = _environment(bench, TRIED)
    try:
        low, high = bounds_of(bench)
        earned = returns(bench, player, environment, TRIED)
    finally:
        environment.close()
    if (earned > high).all() or (earned < low).all():
        raise NoGamesError(
            f"version {live} earns {earned.min():g} to {earned.max():g} in a game, and what counts "
            f"lies between {low:g} and {high:g}: beyond, all returns are alike, and no candidate "
            "could be better. Set [gate] returns = [lowest, highest return of a game]"
        )
    if gate.not_more or gate.not_less or bench.config.constraints.any:
        raise NoGamesError(
            'guardrails and constraints are measured on people, and [gate] evidence = "paired" '
            'asks nobody: set evidence = "assignment" and begin a trial, or take them out'
        )


def bounds_of(bench: Bench) -> tuple[float, float]:
    """Return the returns of an episode that count 0 and 1; what lies outside counts like them.

    Raises:
        NoGamesError: neither ``[gate] returns`` nor the domain says.
    """
    given = bench.config.gate.returns
    if given:
        return given[0], given[1]
    rewards = [channel for channel in bench.domain.channels if channel.kind == "reward"]
    if not rewards:
        raise NoGamesError(
            f"the domain {bench.domain.name} does not say between what its returns lie: set "
            "[gate] returns = [lowest, highest]"
        )
    return rewards[0].low, rewards[0].high


def _blocks(bench: Bench, names: tuple[str, str], purpose: str) -> Iterator[list[Floats]]:
    """Yield the returns of both versions on the same games, block by block, [n] each."""
    pairs = bench.config.gate.pairs
    loaded = [_playable(bench, name) for name in names]
    seeds = np.random.SeedSequence(int(bench.salt(purpose), 16))
    shown = bench.reporter("play")
    environment = _environment(bench, AT_ONCE)
    try:
        for number in range(-(-pairs // AT_ONCE)):
            seed = int(seeds.spawn(1)[0].generate_state(1)[0])
            n = min(AT_ONCE, pairs - number * AT_ONCE)
            yield [returns(bench, one, environment, seed)[:n] for one in loaded]
            shown.update(number * AT_ONCE + n, pairs)
    finally:
        environment.close()
        shown.close()


def _playable(bench: Bench, name: str) -> Loaded:
    """Return a version, which reads what the domain shows.

    Raises:
        NoGamesError: it was trained under other options.
    """
    loaded = load(bench.registry.folder(name))
    if loaded.policy.schema != bench.domain.schema(loaded.vocabulary):
        raise NoGamesError(
            f"version {name} reads other contexts or feedback than the domain {bench.domain.name} "
            "offers now, so it cannot play: restore the [domain] options that it was trained "
            "under, or train another one"
        )
    return loaded


def _environment(bench: Bench, n: int) -> Environment:
    environment = bench.domain.environment(n, bench.config.workspace.seed, {})
    if environment is None:
        raise NoGamesError(
            f'[gate] evidence = "paired" plays games, and the domain {bench.domain.name} has no '
            'environment: set evidence = "assignment" and begin a trial'
        )
    return environment


def returns(bench: Bench, loaded: Loaded, environment: Environment, seed: int) -> Floats:
    """Return what a version, exploration included, earns in the first episode of each game, [n].

    Args:
        bench: whose domain is played.
        loaded: the version.
        environment: n games.
        seed: of the games and of the version's draws.

    Raises:
        NoGamesError: an episode does not end.
    """
    if isinstance(environment, NumericEnvironment) and memoryless(loaded.policy):
        return _in_arrays(loaded, environment, seed)
    return _in_records(bench, loaded, environment, seed)


def _in_arrays(loaded: Loaded, environment: NumericEnvironment, seed: int) -> Floats:
    n = environment.num_envs
    player = Vectorised(environment, steps=1, gamma=1.0, seed=seed)
    player.seeded(seed)
    games = Transitions(environment, seed=seed)
    earned, over = np.zeros(n), np.zeros(n, np.bool_)
    for _ in range(LONGEST):
        done = games.step(player.answer(loaded.policy, games.observation))
        going = ~over[done.rows]
        earned[done.rows[going]] += done.rewards[going]
        over[done.rows] |= done.over
        if over.all():
            return earned
    raise _endless()


def _in_records(bench: Bench, loaded: Loaded, environment: Environment, seed: int) -> Floats:
    """Play with a history: by records, as the service would."""
    window = bench.config.policy.window
    collector = Collector(
        bench.domain, loaded.vocabulary, environment, window=window, seed=seed, name="judged"
    )
    n = environment.num_envs
    earned, over = np.zeros(n), np.zeros(n, np.bool_)
    # As long as a stream may be: whoever plays longer has forgotten how the game began.
    steps = max(1, window // 2)
    for _ in range(LONGEST // steps + 1):
        snapshot = collector.play(loaded.policy, steps)
        for row, value, ended in _told(snapshot):
            if not over[row]:
                earned[row] += value
                over[row] = ended
        if over.all():
            return earned
    raise _endless()


def _told(snapshot: Any) -> Iterator[tuple[int, float, bool]]:
    """Yield, in order, the game, the reward of each decision, and whether its episode ended."""
    decisions, feedback = snapshot.decisions, snapshot.feedback
    rewards = np.bincount(
        feedback.decision, weights=np.nan_to_num(feedback.value), minlength=decisions.n
    )
    last = {int(e): int(r) for r, e in enumerate(decisions.episode)}
    closing = {last[int(e)] for e in snapshot.ends.episode if int(e) in last}
    for row in range(decisions.n):
        subject = snapshot.names.subjects[int(decisions.subject[row])]
        yield int(subject.rsplit("-", 1)[1]), float(rewards[row]), row in closing


def _endless() -> NoGamesError:
    return NoGamesError(
        f"an episode has not ended after {LONGEST:,} steps: give the environment a time limit "
        "([domain] options)"
    )
