"""The steps that make a version: each reads the log and leaves a candidate in the registry."""

from __future__ import annotations

import hashlib
import hmac
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from heedful.config import Config, ConfigWarning, Pretrain
from heedful.config import Reward as RewardSection
from heedful.contract import Domain, Streams
from heedful.evaluate import ndcg
from heedful.evaluate.held_out import (
    LOGITS,
    Split,
    by_time,
    decisions,
    fresh_targets,
    held_out_ndcg,
    leave_one_out,
    subject_means,
)
from heedful.evaluate.ranking import ranks
from heedful.loop import start
from heedful.loop.pretrain import pretrain
from heedful.loop.progress import Reporter, Silent
from heedful.loop.range_test import RangeTest, range_test
from heedful.loop.reinforce import reinforce_from_log
from heedful.loop.run import Run
from heedful.loop.tune import gather, tune
from heedful.policy import (
    Ensemble,
    Floor,
    Policy,
    Popularity,
    Schema,
    TransitionPrior,
    Vocabulary,
    clone,
    load,
    maker,
    save,
)
from heedful.record import Kind, pseudonym
from heedful.reward import (
    Earned,
    Fitted,
    ReadRatings,
    Reward,
    RewardError,
    earn,
    from_config,
)
from heedful.reward.answers import Answers
from heedful.reward.ensemble import pessimistic
from heedful.reward.fitted import ANSWERS
from heedful.store.log import Log
from heedful.store.registry import (
    Card,
    Data,
    Registry,
    Shelf,
    Version,
    current_code,
    current_environment,
)
from heedful.store.snapshot import Snapshot

NEWEST = "newest"
SPOKEN = {"clicks": "click", "ratings": "rating"}
"""The kind of feedback by the kind of reward that a model can expect."""

PRIOR_WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
PRIOR_DEPTHS = (10, 20)
UNTUNED = 0.5
"""The prior's weight where nothing is held out to choose it by."""

MEMBER_SEEDS = 1 << 16
"""How far the seeds of an ensemble's members lie apart."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every step works with: what is known, where results go, and what was asked for.

    Attributes:
        domain: what a unit is.
        log: read only.
        registry: written.
        config: what was asked for.
        runs: the folder of training runs.
        rewards: the folder of fitted rewards.
        secret: the workspace's; who is assigned to what follows from it, and nobody else can tell.
        clock: seconds since the epoch; the log's time in simulations.
        reporter: makes what shows progress, from a title.
    """

    domain: Domain
    log: Log
    registry: Registry
    config: Config
    runs: Path
    rewards: Path
    secret: bytes
    clock: Callable[[], float] = time.time
    reporter: Callable[[str], Reporter] = lambda _title: Silent()

    def __post_init__(self) -> None:
        """Use as many threads as were asked for: the bits of the result depend on it."""
        torch.set_num_threads(self.config.workspace.threads)

    def salt(self, purpose: str) -> str:
        """Return 32 hexadecimal digits for ``purpose``, the same for the same purpose."""
        return hmac.new(self.secret, purpose.encode(), hashlib.sha256).hexdigest()[:32]

    @property
    def trusted(self) -> list[str]:
        """Return the pseudonyms of the people under ``[tune] trusted``."""
        return [pseudonym(user, self.secret) for user in self.config.tune.trusted]

    def asked_for(self) -> dict[str, dict[str, Any]]:
        """Return the configuration for a card: no user id of anybody stands in one."""
        asked = self.config.canonical()
        asked["tune"]["trusted"] = self.trusted
        return asked

    @property
    def shelf(self) -> Shelf:
        """The fitted rewards."""
        return Shelf(self.rewards)

    def earned(self, snapshot: Snapshot, reward: str | None = NEWEST) -> Earned:
        """Return what the units of ``snapshot`` earned by what people said: what is judged by.

        Comments are read where that was asked for, as they are people's words. What a model makes
        of silence does not count here: a policy would be judged by what it was trained to please.

        Args:
            snapshot: what happened.
            reward: the fitted reward that reads comments, ``None`` for none; the newest by default,
                if there is one. A trial is judged by its candidate's, so that what earlier subjects
                earned stays what it was.
        """
        section = self.config.reward
        name = self.shelf.newest() if reward == NEWEST else reward
        ratings = None
        if section.comments and name is not None:
            reader = Fitted.load(self.shelf.folder(name)).comments
            ratings = ReadRatings(section, reader)
        return self._earn(snapshot, from_config(section, ratings))

    def learned(self, snapshot: Snapshot, reward: str | None) -> Earned:
        """Return what the units of ``snapshot`` earned for the purpose of learning.

        Over what :meth:`earned` says: ratings are made comparable between subjects, and a model
        says what silence is worth, where those were asked for.

        Args:
            snapshot: what happened.
            reward: the fitted reward; ``None`` to learn from what people said alone.

        Raises:
            RewardError: the fitted reward lacks a part that ``[reward]`` asks for.
        """
        section = self.config.reward
        if reward is None or not section.fitted:
            return self._earn(snapshot, from_config(section))
        folder = self.shelf.folder(reward)
        fitted = Fitted.load(folder)
        _require_parts(reward, fitted, section)
        scales = fitted.scales if section.normalise == "subject" else None
        reader = fitted.comments if section.comments else None
        numbers = from_config(section, ReadRatings(section, reader, scales))
        if section.silence == "zero":
            return self._earn(snapshot, numbers)
        expected, silence = self._expected(snapshot, folder / ANSWERS)
        return self._earn(snapshot, numbers, expected, silence)

    def encode(
        self,
        snapshot: Snapshot,
        vocabulary: Vocabulary,
        *,
        gamma: float = 0.0,
        earned: Earned | None = None,
    ) -> Streams:
        """Return the streams of ``snapshot`` with ``earned`` (by default, what people said)."""
        earned = self.earned(snapshot, None) if earned is None else earned
        return self.domain.encode(
            snapshot, vocabulary, rewards=earned.units, matured=earned.matured, gamma=gamma
        )

    def _earn(
        self,
        snapshot: Snapshot,
        reward: Reward,
        expected: np.ndarray | None = None,
        silence: float | None = 0.0,
    ) -> Earned:
        return earn(
            snapshot,
            reward,
            maturity=self.config.reward.maturity,
            now=self.clock(),
            expected=expected,
            silence=silence,
        )

    def _expected(self, snapshot: Snapshot, folder: Path) -> tuple[np.ndarray, float | None]:
        """Return what a model expects of each unit, [M], and what silence says of its kind."""
        section, kind = self.config.reward, SPOKEN[self.config.reward.kind]
        answers = Answers.load(folder, self.config.policy.window)
        streams = self.domain.encode(snapshot, answers.vocabulary)
        mean, spread = answers.expected(streams, kind)
        expected = np.full(len(snapshot.decisions.units), np.nan)
        expected[units_of(streams, snapshot)] = pessimistic(mean, spread, section.pessimism)
        [channel] = (one for one in self.domain.channels if one.kind == kind)
        return expected, channel.silence


def units_of(streams: Streams, snapshot: Snapshot) -> np.ndarray:
    """Return the flat unit of ``snapshot`` in each slot of ``streams``, int64 [U]."""
    flat: np.ndarray = snapshot.decisions.offsets[streams.slots.decision] + streams.slots.position
    return flat


def _require_parts(name: str, fitted: Fitted, section: RewardSection) -> None:
    lacks = [("comments = true", section.comments and fitted.comments is None)]
    lacks += [('normalise = "subject"', section.normalise != "none" and fitted.scales is None)]
    for asked, missing in lacks:
        if missing:
            raise RewardError(
                f"the fitted reward {name} was made without {asked}, which [reward] asks for now: "
                "fit it anew with heedful reward"
            )


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
    return _register(bench, policy, vocabulary, snapshot, step="popularity", metrics={})


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
        run = _run(bench, "pretrain", made.snapshot, parent=parent, member=number)
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
            )
        finally:
            run.close()
    policy = network
    if config.policy.prior:
        policy, chosen = with_prior(network, streams, weights, validation, bench)
        metrics |= chosen
    elif len(runs) > 1 and len(validation):
        window, seen = config.policy.window, repeats(bench)
        metrics["ndcg@10"] = held_out_ndcg(policy, streams, validation, window=window, seen=seen)
    version = _register(
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
    run = _run(bench, "range-test", made.snapshot, parent=parent)
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
    validation = _validation(streams, split, seen=repeats(bench))
    learned_from = without_answers(streams, ~split.train)
    return _Ready(network, vocabulary, snapshot, learned_from, weights, validation, counts)


def _warn(config: Config) -> None:
    for doubt in config.doubts():
        warnings.warn(doubt, ConfigWarning, stacklevel=3)


def _begun(bench: Bench, snapshot: Snapshot, parent: Version | None) -> tuple[Policy, Vocabulary]:
    """Return the network that pre-training begins with, and its units."""
    if parent is None:
        vocabulary = bench.domain.vocabulary(snapshot)
        return network_of(bench.config, bench.domain.schema(vocabulary)), vocabulary
    loaded = load(bench.registry.folder(parent.name))
    try:
        begun = start.warm_start(loaded, bench.domain, snapshot)
    except ValueError as error:
        raise ValueError(f"version {parent.name}: {error}") from None
    return begun.policy, begun.vocabulary


def reinforced(bench: Bench, parent: Version, reward: str | None = NEWEST) -> Version:
    """Improve ``parent`` on the feedback in the log, staying near it; new units are taken up.

    Args:
        bench: what is worked with.
        parent: the version to improve.
        reward: the fitted reward to learn with, ``None`` for what people said alone; the newest
            where ``[reward]`` asks for one.

    Raises:
        ValueError: no decision in the log has probabilities and a matured reward, or ``[reward]``
            asks for what has not been fitted.
    """
    _warn(bench.config)
    snapshot = bench.log.snapshot()
    reward = _named_reward(bench, reward)
    loaded = start.grown(load(bench.registry.folder(parent.name)), bench.domain, snapshot)
    policy = clone(loaded.policy)
    cast(nn.Module, policy).requires_grad_(requires_grad=True)
    config = bench.config
    earned = bench.learned(snapshot, reward)
    streams = bench.encode(snapshot, loaded.vocabulary, gamma=config.reinforce.gamma, earned=earned)
    streams = weighted(streams, split_of(config.pretrain, streams, snapshot).train)
    ours = ~np.isnan(streams.slots.behaviour_logp) & (streams.slots.weight > 0)
    counts = start.describe(
        [policy, loaded.policy], loaded.vocabulary, snapshot, np.unique(streams.slots.unit[ours])
    )
    run = _run(bench, "reinforce", snapshot, parent=parent, reward=reward)
    try:
        metrics = reinforce_from_log(
            policy,
            loaded.policy,
            streams,
            config.reinforce,
            run,
            after=learned_until(bench, parent),
            window=config.policy.window,
            seed=config.workspace.seed,
        )
    finally:
        run.close()
    inner = without_floor(policy)
    version = _register(
        bench,
        inner,
        loaded.vocabulary,
        snapshot,
        step="reinforce",
        metrics=metrics | counts,
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
    run = _run(bench, "tune", snapshot, parent=parent)
    try:
        metrics = tune(policy, before, labels, section, run, window=window, seed=seed)
    finally:
        run.close()
    version = _register(
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
    card = bench.registry.card(version.name)
    if card.step == "tune" and card.parent is not None:
        return learned_until(bench, bench.registry.version(card.parent))
    return card.snapshot.watermark if card.step == "reinforce" and card.snapshot else 0


def network_of(config: Config, schema: Schema) -> Policy:
    """Return a fresh network, or an ensemble of them, of the form ``[policy]`` asks for."""
    members = [_network(config, schema, kind) for kind in config.policy.members]
    return Ensemble(members) if members else _network(config, schema, config.policy.kind)


def _network(config: Config, schema: Schema, kind: str) -> Policy:
    section = config.policy
    options: dict[str, object] = {"width": section.width, "dropout": section.dropout}
    if section.layers:
        options["layers"] = section.layers
    if kind == "transformer":
        options["heads"] = section.heads
    return cast(Policy, maker(kind)(schema, **options))


def members_of(network: Policy) -> list[Policy]:
    """Return the networks that are trained one after the other: an ensemble's, or it alone."""
    if not isinstance(network, Ensemble):
        return [network]
    return [cast(Policy, member) for member in network.members]


def chosen_by_people(streams: Streams) -> np.ndarray:
    """Return weights [U]: 1 for units people chose themselves, or liked when they were shown.

    History without probabilities is people's own doing, unless it says that a unit was shown and
    not clicked. What a policy showed, ours or one whose probabilities were imported, and nobody
    liked is not imitated: pre-training on it would clone the log.
    """
    own = np.isnan(streams.slots.behaviour_logp)
    kinds = [channel.kind for channel in streams.schema.channels]
    for number in (n for n, kind in enumerate(kinds) if kind == Kind.CLICK):
        own &= streams.slots.feedback[:, number] != 0  # an explicit no; silence is NaN
    return (own | (streams.slots.reward > 0)).astype(np.float64)


def by_reward(streams: Streams, share: float) -> np.ndarray:
    """Return weights [U]: (1 - share) + share * reward, the reward cut off to [0, 1].

    The likelihood of what people chose, weighted by how they liked it: reward-weighted regression
    (Peters & Schaal, ICML 2007, equation 8) with the log as its only rollout.
    """
    return np.asarray(1.0 - share + share * np.clip(streams.slots.reward, 0.0, 1.0))


def without_answers(streams: Streams, slots: np.ndarray) -> Streams:
    """Return ``streams`` in which nobody knows what was answered to ``slots``, bool [U].

    Held-out units stand in the same rows as those that are learned from, and the feedback head
    learns from every answer there is: what was answered to them would tell what they are.
    """
    feedback = streams.slots.feedback.copy()
    feedback[slots] = np.nan
    return replace(streams, slots=replace(streams.slots, feedback=feedback))


def weighted(streams: Streams, weight: np.ndarray) -> Streams:
    """Return ``streams`` in which the slots count with ``weight`` [U]."""
    return replace(streams, slots=replace(streams.slots, weight=weight.astype(np.float64)))


def split_of(section: Pretrain, streams: Streams, snapshot: Snapshot) -> Split:
    """Return what is held out by ``[pretrain] split``, or nothing if so configured.

    Raises:
        ValueError: a split by time was asked for, and there are no times to split by.
    """
    if not section.validation or not len(streams.slots.unit):
        nothing = np.empty(0, dtype=np.int64)
        return Split(np.ones(len(streams.slots.unit), dtype=bool), nothing, nothing)
    if section.split == "time":
        return by_time(streams, snapshot.decisions.made_at, section.split_share)
    return leave_one_out(streams)


def repeats(bench: Bench) -> bool:
    """Say whether the domain lets a subject have a unit twice."""
    return bench.domain.choices({}).seen


def with_prior(
    network: Policy, streams: Streams, weights: np.ndarray, validation: np.ndarray, bench: Bench
) -> tuple[Policy, dict[str, float]]:
    """Return ``network`` with the transition prior at the weight that validates best.

    The prior is added after training: inside the training loop it lets the network over-fit sooner.
    """
    prior = TransitionPrior(network).fit(sequences_of(streams, weights))
    if not len(validation):
        prior.weight = UNTUNED
        return prior, {"prior_weight": prior.weight, "prior_depth": prior.depth}
    scores = _tried(prior, streams, validation, bench)
    (weight, depth), score = max(scores.items(), key=lambda one: (one[1], one[0]))
    if weight == 0.0:
        return network, {"prior_weight": 0.0}
    prior.weight, prior.depth = weight, depth
    return prior, {"ndcg@10": score, "prior_weight": weight, "prior_depth": depth}


@torch.no_grad()
def _tried(
    prior: TransitionPrior, streams: Streams, slots: np.ndarray, bench: Bench
) -> dict[tuple[float, int], float]:
    """Return the NDCG@10 of each weight and depth; the network inside reads everything once."""
    pairs = list(product(PRIOR_WEIGHTS, PRIOR_DEPTHS))
    found = {pair: np.empty(len(streams.slots.unit)) for pair in pairs}
    prior.weight = 1.0
    window, seen = bench.config.policy.window, repeats(bench)
    for decided, batch in decisions(streams, slots, window=window, seen=seen):
        logits = cast(Policy, prior.inner).forward(batch, LOGITS).logits
        assert logits is not None
        for depth in PRIOR_DEPTHS:
            prior.depth = depth
            bonus = prior.bonus(batch)
            for weight in PRIOR_WEIGHTS:
                scored = (logits + weight * bonus).numpy()
                found[weight, depth][decided] = ranks(scored, streams.slots.unit[decided])
    return {
        pair: float(subject_means(streams, slots, ndcg(of_pair[slots], 10)).mean())
        for pair, of_pair in found.items()
    }


def sequences_of(streams: Streams, weights: np.ndarray) -> list[np.ndarray]:
    """Return the units each subject chose, those of weight 0 left out."""
    kept = weights > 0
    bounds = streams.slot_offsets
    return [streams.slots.unit[low:high][kept[low:high]] for low, high in pairwise(bounds)]


def without_floor(policy: Policy) -> Policy:
    """Return what a version decides when it does not explore."""
    return cast(Policy, policy.inner) if isinstance(policy, Floor) else policy


def _validation(streams: Streams, split: Split, *, seen: bool) -> np.ndarray:
    """Return the validation slots that are people's own choice and may be ranked."""
    chosen = chosen_by_people(streams) > 0
    slots = split.validation[chosen[split.validation]]
    return slots if seen else fresh_targets(streams, slots)


def _run(
    bench: Bench,
    step: str,
    snapshot: Snapshot,
    *,
    parent: Version | None,
    member: int = 0,
    reward: str | None = None,
) -> Run:
    inputs = {
        "step": step,
        "snapshot": {"watermark": snapshot.watermark, "digest": snapshot.digest()},
        "configuration": bench.asked_for(),
        "parent": None if parent is None else parent.name,
        "code": current_code().digest,
        "member": member,
    } | ({} if reward is None else {"reward": reward})
    return Run.open(bench.runs, inputs, bench.reporter(step))


def _register(
    bench: Bench,
    policy: Policy,
    vocabulary: Vocabulary,
    snapshot: Snapshot,
    *,
    step: str,
    metrics: Mapping[str, Any],
    parent: Version | None = None,
    reward: str | None = None,
) -> Version:
    """Save ``policy`` with the exploration floor around it, and its card."""
    config = bench.config
    explored = Floor(policy, share=config.serve.floor)
    card = Card(
        kind=str(policy.spec()["kind"]),
        step=step,
        parent=None if parent is None else parent.name,
        snapshot=Data(watermark=snapshot.watermark, digest=snapshot.digest()),
        configuration=bench.asked_for(),
        seed=config.workspace.seed,
        code=current_code(),
        environment=current_environment(device="cpu", threads=config.workspace.threads),
        metrics=dict(metrics),
        created_at=bench.clock(),
        reward=reward,
    )
    with bench.registry.new(card) as draft:
        save(explored, vocabulary, draft.folder)
    return draft.version
