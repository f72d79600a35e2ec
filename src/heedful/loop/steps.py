"""The steps that make a version: each reads the log and leaves a candidate in the registry."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from heedful.config import Config, ConfigWarning
from heedful.contract import Conversation, Streams
from heedful.loop import start
from heedful.loop.bench import NEWEST, Bench, repeats
from heedful.loop.constraints import constrained
from heedful.loop.direct import SORT_OF
from heedful.loop.form import members_of, network_of, with_prior, without_floor
from heedful.loop.improve import played, routed, told_directly
from heedful.loop.leave import inputs_of, register, run_of
from heedful.loop.lessons import (
    by_reward,
    chosen_by_people,
    reread_of,
    split_of,
    to_reinforce,
    validation_of,
    without_answers,
)
from heedful.loop.pretrain import Exam, pretrain
from heedful.loop.range_test import RangeTest, range_test
from heedful.loop.reinforce import reinforce_from_log
from heedful.loop.router import PLAYED, Route
from heedful.loop.run import Run, fingerprint
from heedful.loop.tune import gather, tune
from heedful.policy import (
    Policy,
    Popularity,
    Vocabulary,
    clone,
    load,
)
from heedful.reward import (
    RewardError,
)
from heedful.store.registry import (
    Card,
    Version,
)
from heedful.store.snapshot import Snapshot

BEGUN = "begin"
"""The step of a version that has learned nothing."""
MEMBER_SEEDS = 1 << 16
"""How far the seeds of an ensemble's members lie apart."""


def popularity(bench: Bench) -> Version:
    """Count what people liked, and leave the version that shows it in proportion.

    It needs no feedback at all: before anybody came every unit is alike.
    """
    snapshot = bench.log.snapshot()
    vocabulary = bench.domain.vocabulary(snapshot)
    streams = bench.encode(snapshot, vocabulary)
    liked = chosen_by_people(streams) * split_of(bench.config.pretrain, streams, snapshot).train
    counts = np.bincount(streams.slots.unit, weights=liked, minlength=len(vocabulary))
    policy = Popularity(bench.domain.schema(vocabulary), sharpness=1.0)
    policy.fit(torch.from_numpy(counts))
    return register(bench, policy, vocabulary, snapshot, step="popularity", metrics={})


def plays(bench: Bench) -> bool:
    """Say whether a network that has learned nothing could learn here: from what it does itself."""
    playing = bench.config.reinforce.objective in PLAYED
    return playing and not isinstance(bench.domain, Conversation)


def nothing_yet(bench: Bench) -> bool:
    """Say whether to start from nothing: it can be done, and no version has learned anything."""
    registry = bench.registry
    learned = [v for v in registry.versions() if registry.card(v.name).step != BEGUN]
    return plays(bench) and registry.live() is None and not learned


def begun(bench: Bench) -> Version:
    """Leave a fresh network as a version: what to start from where nobody has done anything yet.

    What it decides is nearly by chance. Where there is nothing but such a version, made of the same
    settings, it is that one: a step that was stopped goes on from where it began.
    """
    config, inputs = bench.config, ("workspace", "domain", "policy")
    asked = bench.asked_for()
    for version in bench.registry.versions():
        card = bench.registry.card(version.name)
        if card.step == BEGUN and all(card.configuration[n] == asked[n] for n in inputs):
            return version
    snapshot = bench.log.snapshot()
    vocabulary = bench.domain.vocabulary(snapshot)
    torch.manual_seed(config.workspace.seed)
    network = network_of(bench, bench.domain.schema(vocabulary))
    return register(bench, network, vocabulary, snapshot, step=BEGUN, metrics={})


def pretrained(bench: Bench, parent: Version | None = None) -> Version:
    """Pre-train a network on the units people chose, and add the transition prior.

    It begins anew, or with the network inside of ``parent``, grown to the units there are now.

    What ``[pretrain] split`` holds out is for two things: validation chooses the best epoch and
    the prior's weight, the test is for :meth:`heedful.workspace.Workspace.evaluate`.

    Raises:
        ValueError: the log holds nothing that people chose themselves, or ``parent`` no network.
    """
    config = bench.config
    made = _ready(bench, parent)
    network, streams, weights = made.network, made.streams, made.weights
    validation = made.validation
    metrics: dict[str, float] = {}
    runs = []
    for number, member in enumerate(members_of(network)):
        run = run_of(bench, "pretrain", made.snapshot, parent=parent, member=number)
        runs.append(run)
        try:
            metrics = pretrain(
                member,
                streams,
                config.pretrain,
                run,
                train=weights,
                validation=validation,
                window=config.policy.window,
                seed=config.workspace.seed + number * MEMBER_SEEDS,
                seen=repeats(bench),
                reread=reread_of(bench, made.snapshot),
            )
        finally:
            run.close()
    policy = network
    if config.policy.prior and not config.pretrain.by_likelihood:
        policy, chosen = with_prior(network, streams, weights, validation, bench)
        metrics |= chosen
    elif len(runs) > 1:
        exam = Exam(
            streams,
            validation,
            config.policy.window,
            seen=repeats(bench),
            by_likelihood=config.pretrain.by_likelihood,
        )
        metrics |= exam.shown(exam.score(policy))[0]
    version = register(
        bench,
        policy,
        made.vocabulary,
        made.snapshot,
        step="pretrain",
        metrics=metrics | made.counts,
        parent=parent,
    )
    for run in runs:
        run.finish()
    return version


def rates_tried(bench: Bench, parent: Version | None = None) -> tuple[RangeTest, Path]:
    """Try learning rates for :func:`pretrained`, and draw the loss over them; no version is left.

    Returns:
        What was found, and the file of the plot.

    Raises:
        ValueError: as :func:`pretrained`; or no rate changed anything for the better.
    """
    from heedful.loop.plots import loss_by_rate, png  # matplotlib: no other step draws

    config = bench.config
    made = _ready(bench, parent)
    run = run_of(bench, "range-test", made.snapshot, parent=parent)
    try:
        run.resume()  # it takes seconds, so it begins anew
        found = range_test(
            members_of(made.network)[0],
            made.streams,
            config.pretrain,
            run,
            train=made.weights,
            window=config.policy.window,
            seed=config.workspace.seed,
        )
        plot = run.folder / "range-test.png"
        plot.write_bytes(png(loss_by_rate(found.rates, found.losses, found.suggested)))
    finally:
        run.close()
    run.finish()
    return found, plot


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """What pre-training begins with: a network, and what it learns from."""

    network: Policy
    vocabulary: Vocabulary
    snapshot: Snapshot
    streams: Streams
    weights: np.ndarray
    validation: np.ndarray
    counts: dict[str, float]


def _ready(bench: Bench, parent: Version | None) -> _Ready:
    snapshot, config = bench.log.snapshot(), bench.config
    _warn(config)
    torch.manual_seed(config.workspace.seed)
    network, vocabulary = _begun(bench, snapshot, parent)
    streams = bench.encode(snapshot, vocabulary)
    split = split_of(config.pretrain, streams, snapshot)
    weights = chosen_by_people(streams) * split.train
    weights *= by_reward(streams, config.pretrain.reward_weight)
    learned = np.unique(streams.slots.unit[weights > 0])
    counts = start.describe(
        [network], vocabulary, snapshot, learned, dropout=config.policy.id_dropout
    )
    validation = validation_of(streams, split, seen=repeats(bench))
    learned_from = without_answers(streams, ~split.train)
    return _Ready(network, vocabulary, snapshot, learned_from, weights, validation, counts)


def _warn(config: Config) -> None:
    for doubt in config.doubts():
        warnings.warn(doubt, ConfigWarning, stacklevel=3)


def _begun(bench: Bench, snapshot: Snapshot, parent: Version | None) -> tuple[Policy, Vocabulary]:
    """Return the network that pre-training begins with, and its units."""
    if parent is None:
        vocabulary = bench.domain.vocabulary(snapshot)
        return network_of(bench, bench.domain.schema(vocabulary)), vocabulary
    loaded = load(bench.registry.folder(parent.name))
    try:
        begun = start.warm_start(loaded, bench.domain, snapshot)
    except ValueError as error:
        raise ValueError(f"version {parent.name}: {error}") from None
    return begun.policy, begun.vocabulary


def reinforced(
    bench: Bench,
    parent: Version,
    reward: str | None = NEWEST,
    *,
    after: int | None = None,
    until: int | None = None,
) -> Version:
    """Improve ``parent`` on the feedback in the log, staying near it; new units are taken up.

    How, ``[reinforce] objective`` says: see :mod:`heedful.loop.router`.

    Args:
        bench: what is worked with.
        parent: the version to improve.
        reward: the fitted reward to learn with, ``None`` for what people said alone; the newest
            where ``[reward]`` asks for one.
        after: rows after this sequence number are new, older ones are replayed; by default those
            that ``parent`` has not learned from.
        until: the last row that is looked at; by default the log's last.

    Raises:
        ValueError: no decision in the log has probabilities and a matured reward, or ``[reward]``
            asks for what has not been fitted.
    """
    _warn(bench.config)
    snapshot = bench.log.snapshot(until)
    after = learned_until(bench, parent) if after is None else after
    chosen = routed(bench, snapshot, after=after)
    if chosen.objective in PLAYED:
        return played(bench, parent, snapshot, chosen)
    if chosen.objective in SORT_OF:
        return told_directly(bench, parent, snapshot, chosen, after=after)
    return _from_log(bench, parent, snapshot, chosen, _named_reward(bench, reward), after=after)


def _from_log(
    bench: Bench,
    parent: Version,
    snapshot: Snapshot,
    chosen: Route,
    reward: str | None,
    *,
    after: int,
) -> Version:
    """Improve ``parent`` by REINFORCE with logged probabilities, on what ``reward`` says too.

    Raises:
        ValueError: no decision in ``snapshot`` has probabilities and a matured reward.
    """
    loaded = start.grown(load(bench.registry.folder(parent.name)), bench.domain, snapshot)
    policy = clone(loaded.policy)
    cast(nn.Module, policy).requires_grad_(requires_grad=True)
    config = bench.config
    earned = bench.learned(snapshot, reward)
    streams = bench.encode(snapshot, loaded.vocabulary, gamma=config.reinforce.gamma, earned=earned)
    train = split_of(config.pretrain, streams, snapshot).train
    streams = to_reinforce(streams, train)
    before = _before_tuning(bench, parent).metrics
    streams, constraints = constrained(bench, snapshot, streams, earned, before)
    ours = ~np.isnan(streams.slots.behaviour_logp) & (streams.slots.weight > 0)
    counts = start.describe(
        [policy, loaded.policy], loaded.vocabulary, snapshot, np.unique(streams.slots.unit[ours])
    )
    slots = streams.slots
    earned_so_far = fingerprint(slots.reward, slots.weight, slots.measured)
    run = run_of(bench, "reinforce", snapshot, parent=parent, reward=reward, earned=earned_so_far)
    try:
        metrics = reinforce_from_log(
            policy,
            loaded.policy,
            streams,
            config.reinforce,
            run,
            after=after,
            window=config.policy.window,
            seed=config.workspace.seed,
            constraints=constraints,
        )
    finally:
        run.close()
    inner = without_floor(policy)
    version = register(
        bench,
        inner,
        loaded.vocabulary,
        snapshot,
        step="reinforce",
        metrics={**chosen.to_card(), **metrics, **counts} | {"matured": int(earned.matured.sum())},
        parent=parent,
        reward=reward,
    )
    run.finish()
    return version


def tuned(bench: Bench, parent: Version) -> Version:
    """Move ``parent`` towards the trusted labels in the log, staying near it.

    Raises:
        ValueError: there are too few labels, the parent has no network, or held-out labels did not
            become likelier.
    """
    snapshot, config = bench.log.snapshot(), bench.config
    loaded = start.grown(load(bench.registry.folder(parent.name)), bench.domain, snapshot)
    start.network_within(loaded.policy)
    before = without_floor(loaded.policy)  # exploration hides how unlikely a label is
    policy = clone(before)
    streams = bench.domain.encode(snapshot, loaded.vocabulary)
    section, seed, window = config.tune, config.workspace.seed, config.policy.window
    labels = gather(
        snapshot,
        streams,
        loaded.vocabulary,
        before,
        section,
        givers=bench.trusted,
        ratings=(config.reward.rating_min, config.reward.rating_max),
        spared=split_of(config.pretrain, streams, snapshot).train,
        window=window,
        seed=seed,
    )
    counts = start.describe([policy, before], loaded.vocabulary, snapshot, labels.chosen())
    run = run_of(bench, "tune", snapshot, parent=parent)
    try:
        metrics = tune(policy, before, labels, section, run, window=window, seed=seed)
    finally:
        run.close()
    version = register(
        bench,
        policy,
        loaded.vocabulary,
        snapshot,
        step="tune",
        metrics=metrics | counts,
        parent=parent,
    )
    run.finish()
    return version


def _named_reward(bench: Bench, reward: str | None) -> str | None:
    """Return the name of the fitted reward to learn with, ``None`` for none.

    Raises:
        RewardError: one is asked for, and none has been fitted.
    """
    if reward != NEWEST:
        return reward
    if not bench.config.reward.fitted:
        return None
    newest = bench.shelf.newest()
    if newest is None:
        raise RewardError(
            "[reward] asks for comments, normalise or silence by a model, and nothing has been "
            "fitted yet: heedful reward does that"
        )
    return newest


def learned_until(bench: Bench, version: Version) -> int:
    """Return the sequence number up to which ``version`` was reinforced; 0 where it never was.

    Tuning looks at labels and not at rewards: a tuned version stands where its parent does.
    """
    card = _before_tuning(bench, version)
    return card.snapshot.watermark if card.step == "reinforce" and card.snapshot else 0


def _before_tuning(bench: Bench, version: Version) -> Card:
    """Return the card of ``version``, or of the one that it was tuned from."""
    card = bench.registry.card(version.name)
    if card.step == "tune" and card.parent is not None:
        return _before_tuning(bench, bench.registry.version(card.parent))
    return card


def interrupted_at(bench: Bench, parent: Version, reward: str | None) -> int | None:
    """Return up to which row :func:`reinforced` was learning from when it was stopped.

    The log may have grown since: with this as ``until`` it goes on with what it began.

    Returns:
        ``None`` where nothing with the same inputs but for the rows was left unfinished.
    """
    like = inputs_of(bench, "reinforce", parent=parent, reward=reward)
    found = Run.unfinished(bench.runs, like)
    return None if found is None else int(found["snapshot"]["watermark"])
