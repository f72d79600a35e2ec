"""The promises of :class:`heedful.contract.Domain`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heedful.checks.failure import CheckFailure, expect, expect_equal
from heedful.checks.records import place_of, records_of
from heedful.contract import Conversation, Domain, Environment, Stream, Streams, stream_of
from heedful.contract.stream import pad
from heedful.loop.collect import Collector
from heedful.policy import Recurrent, Vocabulary, replay
from heedful.record import Context, Kind
from heedful.store import Snapshot

ENVIRONMENTS, TURNS, WINDOW = 4, 12, 16
MEMBERS = (
    *("name", "length", "channels", "features"),
    *("vocabulary", "schema", "observe", "encode"),
    *("choices", "environment", "context", "action"),
)
COLUMNS = ("kind", "unit", "channel", "value", "features", "time")


def check_domain(
    domain: Domain,
    *,
    snapshot: Snapshot | None = None,
    vocabulary: Vocabulary | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Check that ``domain`` keeps the promises of :class:`heedful.contract.Domain`.

    On its own environment's rollout, on ``snapshot``, or on both: channels, vocabulary and schema
    belong together; contexts are read in the shape they should be; what was chosen was possible;
    ``encode`` gives, column for column, the events that a server's stream has record by record; a
    policy's log-probabilities replay as they were drawn, and stay the same whatever is learned
    later.

    Args:
        domain: what to check.
        snapshot: things that happened in it; needed where it has no environment.
        vocabulary: units its environment knows; read from ``snapshot`` by default.
        options: of its environment.
        seed: of everything random.

    Raises:
        CheckFailure: says which promise is broken, and how.
    """
    _check_attributes(domain)
    environment = domain.environment(ENVIRONMENTS, seed, options or {})
    expect(
        environment is not None or snapshot is not None,
        "there is something to check the domain on",
        expected="an environment, or check_domain(..., snapshot=...)",
        found="neither",
        why="a domain is known by how it reads what happened",
    )
    if vocabulary is None:
        vocabulary = domain.vocabulary(Snapshot.of([]) if snapshot is None else snapshot)
    policy = _policy(domain, vocabulary, seed)
    if isinstance(domain, Conversation):
        _check_talk(domain, domain.choices({}).end)
    if snapshot is not None:
        _check_reading(domain, vocabulary, snapshot, policy)
    if environment is not None:
        _check_rollout(domain, vocabulary, environment, policy, seed)


def _check_attributes(domain: Domain) -> None:
    missing = [name for name in MEMBERS if not hasattr(domain, name)]
    expect(
        not missing,
        "the domain has every member of the protocol",
        expected=MEMBERS,
        found=f"{type(domain).__name__} without {missing}",
        why="the core asks for each of them",
    )
    kinds = [channel.kind for channel in domain.channels]
    unknown = sorted(set(kinds) - {kind.value for kind in Kind})
    expect(
        not unknown and len(set(kinds)) == len(kinds),
        "channels are different kinds of feedback",
        expected=f"some of {[kind.value for kind in Kind]}, once each",
        found=kinds,
        why="feedback finds its channel by its kind",
    )
    inverted = [channel.kind for channel in domain.channels if not channel.low < channel.high]
    why = "values are scaled from low..high to 0..1"
    expect(not inverted, "low < high in each channel", expected=[], found=inverted, why=why)
    expect(
        domain.length >= 1, "length", expected=">= 1", found=domain.length, why="units a decision"
    )


def _check_talk(domain: Conversation, end: str | None) -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello!"}]
    found = [list(domain.said(context)) for context in (domain.heard(messages, turn=0), {})]
    why = "a server finds a conversation by what was said in it, which it reads from the log"
    expect(
        found == [messages, []],
        "said(heard(messages)) are the messages",
        expected=[messages, []],
        found=found,
        why=why,
    )
    units = domain.units("Hello!")
    why = "an edited reply is learned from as a reply that was drawn is, its end too"
    expect(
        units[-1] == end,
        "units(text) end with the end unit of choices",
        expected=end,
        found=units[-1],
        why=why,
    )


def _policy(domain: Domain, vocabulary: Vocabulary, seed: int) -> Recurrent:
    """Return an untrained network that reads everything the domain's events say."""
    schema = domain.schema(vocabulary)
    found = (schema.size, schema.channels, schema.features)
    expected = (len(vocabulary), domain.channels, domain.features)
    why = "a network is built from the schema and fed with the events"
    expect(found == expected, "schema(vocabulary)", expected=expected, found=found, why=why)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Recurrent(schema, width=8).double().eval()
        for table in (
            policy.embed.unit,
            policy.embed.kind,
            policy.embed.channel,
            policy.embed.value,
        ):
            torch.nn.init.normal_(table.weight)
    return policy


def _check_rollout(
    domain: Domain, vocabulary: Vocabulary, environment: Environment, policy: Recurrent, seed: int
) -> None:
    try:
        observation, _ = environment.reset(seed=seed)
        _check_context(domain, vocabulary, domain.context(observation[0]))
        collector = Collector(domain, vocabulary, environment, window=WINDOW, seed=seed)
        rollout = collector.play(policy, TURNS)
    finally:
        environment.close()
    names, table = rollout.names.units, rollout.decisions
    units = [names[int(code)] for code in table.units[: table.offsets[1]]]
    found = np.shape(domain.action(units, vocabulary))
    why = "actions of all environments are stacked"
    expect(found == (domain.length,), "action", expected=(domain.length,), found=found, why=why)
    _check_reading(domain, vocabulary, rollout, policy)
    streams = domain.encode(rollout, vocabulary)
    batch = streams.batch(streams.windows(WINDOW))
    with torch.no_grad():
        replayed = torch.where(batch.mask, replay(policy, batch), 0.0)
    promise, why = "what was drawn replays", "importance weights are ratios of these two numbers"
    expect_equal(promise, batch.behaviour_logps, replayed, within=1e-9, why=why)


def _check_reading(
    domain: Domain, vocabulary: Vocabulary, snapshot: Snapshot, policy: Recurrent
) -> None:
    _check_contexts(domain, vocabulary, snapshot)
    streams = domain.encode(snapshot, vocabulary, gamma=0.9)
    _check_slots(streams, snapshot)
    _check_streams(domain, vocabulary, snapshot, streams)
    _check_possible(streams)
    _check_late(domain, vocabulary, snapshot, streams, policy)


def _check_contexts(domain: Domain, vocabulary: Vocabulary, snapshot: Snapshot) -> None:
    for text in sorted({*snapshot.decisions.contexts, *snapshot.ends.contexts} - {""}):
        _check_context(domain, vocabulary, json.loads(text))


def _check_context(domain: Domain, vocabulary: Vocabulary, context: Context) -> None:
    promise = f"observe({json.dumps(dict(context))})"
    units, numbers = domain.observe(context, vocabulary)
    found = (np.shape(units), np.shape(numbers))
    expected = ((len(units),), (len(units), domain.features))
    why = "each event of a context has one unit (or -1) and F numbers"
    expect(found == expected, promise, expected=expected, found=found, why=why)
    bad = [int(unit) for unit in units if not -1 <= int(unit) < len(vocabulary)]
    expect(
        not bad and bool(np.isfinite(numbers).all()),
        promise,
        expected=f"units -1..{len(vocabulary) - 1} and finite numbers",
        found=bad or "NaN or infinity",
        why="a network looks units up in a table",
    )


def _check_slots(streams: Streams, snapshot: Snapshot) -> None:
    """Every known unit is a slot, once."""
    slots, decisions = streams.slots, snapshot.decisions
    flat = decisions.offsets[slots.decision] + slots.position
    twice = len(flat) - len(np.unique(flat))
    expect(
        twice == 0,
        "a unit is one slot",
        expected=0,
        found=f"{twice} twice",
        why="it was one choice",
    )
    logps = decisions.logps[flat]
    same = np.array_equal(logps, slots.behaviour_logp, equal_nan=True)
    why = "log-probabilities belong to their units"
    expect(same, "behaviour log-probabilities", expected=logps, found=slots.behaviour_logp, why=why)


def _check_streams(
    domain: Domain, vocabulary: Vocabulary, snapshot: Snapshot, streams: Streams
) -> None:
    """What training reads all at once is what a server has read record by record."""
    served: defaultdict[str, Stream] = defaultdict(lambda: Stream(domain, vocabulary))
    for _, record in records_of(snapshot):
        place = place_of(snapshot, record)
        if place is not None:
            served[stream_of(domain, *place)].append(record)
    why = "training has to see what serving saw, or replayed log-probabilities are not those told"
    names = _stream_names(domain, snapshot, streams)
    for index, stream in enumerate(names):
        low, high = int(streams.offsets[index]), int(streams.offsets[index + 1])
        events = pad([served[stream].since(0)], domain.features)
        for name in COLUMNS:
            found = torch.from_numpy(
                np.asarray(getattr(streams.events, name)[low:high], np.float64)
            )
            promise = f"encode: {name} of the events of {stream}"
            expected = getattr(events, name)[0].double()
            expect_equal(promise, expected, found, within=1e-6, why=why)


def _stream_names(domain: Domain, snapshot: Snapshot, streams: Streams) -> list[str]:
    """Return what each stream is called, in their order."""
    if isinstance(domain, Conversation):
        episodes = np.unique(snapshot.decisions.episode)
        return [snapshot.names.episodes[int(code)] for code in episodes]
    return [snapshot.names.subjects[int(code)] for code in streams.subjects]


def _check_possible(streams: Streams) -> None:
    batch = streams.batch(streams.windows(WINDOW))
    possible = batch.choices.mask(batch.mask)
    if possible is None:
        return
    chosen = possible.gather(1, batch.units[batch.mask][:, None])[:, 0]
    expect(
        bool(chosen.all()),
        "what was chosen was possible",
        expected="the choice set of each decision allows its units",
        found=f"{int((~chosen).sum())} of {len(chosen)} units were forbidden",
        why="its log-probability would be minus infinity",
    )


def _check_late(
    domain: Domain,
    vocabulary: Vocabulary,
    snapshot: Snapshot,
    streams: Streams,
    policy: Recurrent,
) -> None:
    """What the log learned after its middle leaves log-probabilities before it as they were."""
    earlier = snapshot.until(snapshot.watermark // 2)
    old = _logps(domain.encode(earlier, vocabulary, gamma=0.9), policy)
    new = _logps(streams, policy)
    lost = sorted(set(old) - set(new))
    if lost:
        raise CheckFailure(
            "later rows remove no slot",
            expected="all",
            found=f"lost {lost[:3]}",
            why="they are late",
        )
    expect_equal(
        "later rows never change an old log-probability",
        torch.tensor([old[slot] for slot in old], dtype=torch.float64),
        torch.tensor([new[slot] for slot in old], dtype=torch.float64),
        within=1e-9,
        why="late feedback was not known when the unit was chosen",
    )


def _logps(streams: Streams, policy: Recurrent) -> dict[tuple[int, int], float]:
    """Return each slot's log-probability by its decision's sequence number and its position."""
    if not len(streams.slots.unit):
        return {}
    windows = streams.windows(WINDOW)
    batch = streams.batch(windows)
    with torch.no_grad():
        logps: Tensor = replay(policy, batch)[batch.mask]
    order = np.concatenate([np.arange(row.slots.start, row.slots.stop) for row in windows])
    keys = zip(
        streams.slots.seq[order].tolist(), streams.slots.position[order].tolist(), strict=True
    )
    return dict(zip(keys, logps.tolist(), strict=True))
