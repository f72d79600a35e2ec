"""Step 3 by other ways than REINFORCE: from what people said of wholes, or by playing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import nn

from heedful.config import Config
from heedful.contract import Contested, Conversation, Environment, NumericEnvironment
from heedful.loop import start
from heedful.loop.bench import Bench
from heedful.loop.clips import Preferred, wanted
from heedful.loop.deep_q import deep_q
from heedful.loop.direct import SORT_OF, Direct, learn_directly
from heedful.loop.form import without_floor
from heedful.loop.interact import Interaction, OnPolicy, Rollouts, interact
from heedful.loop.leave import register, run_of
from heedful.loop.lessons import split_of
from heedful.loop.replies import label_columns, reply_reward
from heedful.loop.rollouts import Recorded
from heedful.loop.router import AUTO, DEEP_Q, PLAYED, REINFORCE, Route, found_in, route
from heedful.loop.run import Run, fingerprint
from heedful.loop.self_play import Pool, SelfPlay
from heedful.loop.told import gather
from heedful.loop.vectorised import Vectorised, memoryless
from heedful.policy import Batch, Greedy, Policy, Vocabulary, clone, load
from heedful.record import Context
from heedful.reward import RewardError, TextReward, text_reward
from heedful.store.registry import Version
from heedful.store.snapshot import Snapshot

CACHE = "reference"
"""Folder of runs in which log-probabilities of references are kept."""


def said_of(bench: Bench, snapshot: Snapshot) -> npt.NDArray[np.float64]:
    """Return what ``[reward]`` reads of each unit, [M]; NaN where nobody said anything."""
    return np.asarray(bench.reads()(snapshot), np.float64)


def routed(bench: Bench, snapshot: Snapshot, *, after: int = 0) -> Route:
    """Return which objective learns from what was said after row ``after``, and why.

    Where decisions are no replies "auto" is REINFORCE: a rating of what somebody chose from a shop
    is no judgement of whoever showed it.

    Raises:
        NothingToLearnError: ``[reinforce] objective`` names one that can use nothing there.
        RewardError: ``[reward] clips`` says what play is worth, and the objective does not play.
    """
    found = found_in(snapshot, said_of(bench, snapshot), after=after)
    asked = bench.config.reinforce.objective
    if asked == AUTO and not isinstance(bench.domain, Conversation):
        chosen = Route(REINFORCE, asked, found)
    else:
        chosen = route(asked, found)
    if bench.config.reward.clips and chosen.objective not in PLAYED:
        raise RewardError(
            f"[reward] clips = true says what steps of play are worth, and {chosen.objective} does "
            'not play: set [reinforce] objective = "ppo"'
        )
    return chosen


def told_directly(
    bench: Bench, parent: Version, snapshot: Snapshot, chosen: Route, *, after: int
) -> Version:
    """Improve ``parent`` by DPO, IPO, KTO or weighted regression, staying near it.

    What was said up to row ``after`` has been learned from, and is not replayed.

    Raises:
        ValueError: too little of what was said can be learned from.
    """
    config, seed = bench.config, bench.config.workspace.seed
    loaded = start.grown(load(bench.registry.folder(parent.name)), bench.domain, snapshot)
    before = without_floor(loaded.policy)  # exploration hides how unlikely a decision is
    policy = _trainable(before)
    streams = bench.domain.encode(snapshot, loaded.vocabulary)
    told = gather(
        snapshot,
        streams,
        SORT_OF[chosen.objective],
        earned=said_of(bench, snapshot),
        ratings=(config.reward.rating_min, config.reward.rating_max),
        spared=split_of(config.pretrain, streams, snapshot).train,
        held_out=config.reinforce.held_out,
        seed=seed,
        after=after,
    )
    learned = told.streams.slots.unit[~told.held_out[told.streams.slots.stream]]
    counts = start.describe([policy, before], loaded.vocabulary, snapshot, np.unique(learned))
    said = fingerprint(told.rewards, told.decisions)
    run = run_of(bench, "reinforce", snapshot, parent=parent, earned=said)
    try:
        metrics = learn_directly(
            policy,
            before,
            told,
            config.reinforce,
            run,
            objective=cast(Direct, chosen.objective),
            window=config.policy.window,
            seed=seed,
            cache=bench.runs / CACHE,
        )
    finally:
        run.close()
    version = register(
        bench,
        policy,
        loaded.vocabulary,
        snapshot,
        step="reinforce",
        metrics={**chosen.to_card(), **metrics, **counts},
        parent=parent,
    )
    run.finish()
    return version


def played(bench: Bench, parent: Version, snapshot: Snapshot, chosen: Route) -> Version:
    """Improve ``parent`` by what it does itself, in the domain's environment.

    Where the domain holds conversations, it is asked what people asked first in the log, and judged
    by ``[interact] reward``.

    Raises:
        ValueError: the domain has no environment, or nobody judges; or ``parent`` is a policy that
            the objective cannot change.
        RewardError: ``[reward] clips`` asks for a reward that is not there, or no longer right.
    """
    config = bench.config
    loaded = start.grown(load(bench.registry.folder(parent.name)), bench.domain, snapshot)
    before = _changeable(without_floor(loaded.policy), parent, chosen)
    policy = _trainable(before)
    rollouts = _rollouts(bench, policy, loaded.vocabulary, snapshot, chosen)
    cut = rollouts.single if isinstance(rollouts, Vectorised | SelfPlay) else _as_played
    want = wanted(bench, snapshot) if config.reward.clips else None
    source = rollouts if want is None else Preferred(rollouts, want, loaded.vocabulary)
    reward = None if want is None else want.name
    run = run_of(bench, "reinforce", snapshot, parent=parent, reward=reward)
    try:
        made = _learned(
            policy, before, source, config, run, chosen, longest=bench.domain.length, cut=cut
        )
    finally:
        run.close()
    version = register(
        bench,
        Greedy(policy).eval() if chosen.objective == DEEP_Q else policy,
        loaded.vocabulary,
        snapshot,
        step="reinforce",
        metrics={**chosen.to_card(), **_told_by(made)},
        parent=parent,
        reward=reward,
    )
    run.finish()
    return version


def _changeable(policy: Policy, parent: Version, chosen: Route) -> Policy:
    """Return what learns of a version without its floor.

    Deep Q-learning leaves a greedy policy around action values, and goes on with the values.

    Raises:
        ValueError: an objective that needs chances was asked to change a greedy policy.
    """
    if not isinstance(policy, Greedy):
        return policy
    if chosen.objective != DEEP_Q:
        raise ValueError(
            f'version {parent.name} was made by objective = "{DEEP_Q}": it always does what is '
            f'worth most, so "{chosen.objective}" finds no chances to change. Go on with '
            f'"{DEEP_Q}", or name another version to start from'
        )
    return cast(Policy, policy.inner)


def _learned(
    policy: Policy,
    before: Policy,
    rollouts: Rollouts,
    config: Config,
    run: Run,
    chosen: Route,
    *,
    longest: int,
    cut: Callable[[Batch], Batch],
) -> Interaction:
    """Let ``policy`` learn in place, by the objective that was chosen."""
    seed = config.workspace.seed
    if chosen.objective != DEEP_Q:
        return interact(
            policy,
            before,
            rollouts,
            config.interact,
            run,
            objective=cast(OnPolicy, chosen.objective),
            seed=seed,
            longest=longest,
            cut=cut,
        )
    if not memoryless(policy) or longest > 1:
        raise ValueError(
            f'objective = "{DEEP_Q}" learns what one move is worth by the last observation alone: '
            'it needs policy.kind = "feedforward", and moves of one factor; "ppo" learns others'
        )
    for name in ("match", "kl"):
        if getattr(config.interact, name):
            raise ValueError(
                f'[interact] {name} is for policies with chances, and "{DEEP_Q}" has none: set '
                f'{name} = 0, or [reinforce] objective = "ppo"'
            )
    return deep_q(policy, rollouts, config.interact, run, seed=seed)


def _told_by(made: Interaction) -> dict[str, Any]:
    return {**made.metrics, **({"collapse": made.collapse} if made.collapse else {})}


def _as_played(batch: Batch) -> Batch:
    """Leave the rows of a round as they are: a policy with a memory needs all of them."""
    return batch


def _trainable(policy: Policy) -> Policy:
    copy = clone(policy)
    cast(nn.Module, copy).requires_grad_(requires_grad=True)
    return copy


def _rollouts(
    bench: Bench, policy: Policy, vocabulary: Vocabulary, snapshot: Snapshot, chosen: Route
) -> Recorded | Vectorised | SelfPlay:
    """Return the domain's environment as a source of rollouts, in arrays where that is enough."""
    domain, section, seed = bench.domain, bench.config.interact, bench.config.workspace.seed
    talks = isinstance(domain, Conversation)
    options: dict[str, Any] = {
        "group": section.group if chosen.objective not in ("ppo", DEEP_Q) else 1
    }
    if talks:
        prompts = openings(cast(Conversation, domain), snapshot)
        options |= {
            "prompts": prompts,
            "judge": _judge(bench),
            "unfinished": section.unfinished,
            "columns": label_columns(bench, prompts),
        }
    environment = domain.environment(section.environments, seed, options)
    if environment is None:
        raise ValueError(
            f'[reinforce] objective = "{chosen.objective}" learns by playing, and the domain '
            f"{domain.name} has no environment: choose an objective that learns from the log, "
            'or "auto"'
        )
    if section.opponents != "environment":
        return _self_play(bench, policy, environment)
    if isinstance(environment, NumericEnvironment) and memoryless(policy):
        steps, gamma = section.decisions, section.gamma
        return Vectorised(environment, steps=steps, gamma=gamma, seed=seed)
    return Recorded(
        domain,
        vocabulary,
        environment,
        decisions=section.decisions,
        window=bench.config.policy.window,
        gamma=section.gamma,
        seed=seed,
        fresh=talks,
        text=cast(Conversation, domain).text if talks else " ".join,
    )


def _self_play(bench: Bench, policy: Policy, environment: Environment) -> SelfPlay:
    """Return games against itself and its past.

    Raises:
        ValueError: nobody else acts in the environment, or the policy has a memory.
    """
    section, seed = bench.config.interact, bench.config.workspace.seed
    asked = f'[interact] opponents = "{section.opponents}" plays against itself'
    if not isinstance(environment, Contested):
        raise ValueError(
            f"{asked}, and in the environment of the domain {bench.domain.name} nobody else acts: "
            'choose "environment"'
        )
    if not memoryless(policy):
        raise ValueError(
            f"{asked}, and this policy of kind {policy.spec()['kind']!r} remembers what was before "
            'the last context: train one of [policy] kind = "feedforward"'
        )
    assert section.opponents != "environment"
    pool = Pool(
        every=section.pool_every,
        size=section.pool,
        drawn=section.opponents,
        others=section.others,
    )
    return SelfPlay(environment, steps=section.decisions, gamma=section.gamma, seed=seed, pool=pool)


def openings(domain: Conversation, snapshot: Snapshot) -> list[Context]:
    """Return what the conversations of ``snapshot`` began with, each once, in the log's order.

    Plain text and decisions that were asked for without a message began with nothing.

    Raises:
        ValueError: there are none.
    """
    decisions = snapshot.decisions
    first = np.full(len(snapshot.names.episodes), decisions.n, np.int64)
    np.minimum.at(first, decisions.episode, np.arange(decisions.n))
    texts = [decisions.contexts[row] for row in sorted(first[first < decisions.n].tolist())]
    found = [json.loads(text) for text in dict.fromkeys(texts) if text]
    contexts = [context for context in found if domain.said(context)]
    if not contexts:
        raise ValueError(
            "there is nothing to ask: no conversation in the log has a beginning that was said; "
            "import prompts, or serve and let people ask"
        )
    return contexts


def _judge(bench: Bench) -> TextReward:
    """Return who judges replies: the function that is named, or the reward fitted to the log.

    Raises:
        RewardError: there is neither.
    """
    name = bench.config.interact.reward
    if name:
        return text_reward(name)
    try:
        return reply_reward(bench)
    except RewardError as error:
        raise RewardError(
            "nobody judges what is said: name a function of prompts and completions as "
            f"module:name under [interact] reward in heedful.toml, or learn one ({error})"
        ) from None
