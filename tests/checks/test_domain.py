from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from heedful.checks import CheckFailure, check_domain
from heedful.contract import Observed, Streams
from heedful.policy import Channel, Schema, Vocabulary
from heedful.record import ChoiceSet, Context
from heedful.store import Snapshot
from tests.contract.logs import random_log
from tests.contract.toys import TOYS, Grid, Replies, Slates, Toy

toys = pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)


@toys
def test_the_toys_pass_on_their_environments(toy: Toy) -> None:
    check_domain(toy)


@toys
@pytest.mark.parametrize("seed", range(3))
def test_the_toys_pass_on_random_logs(toy: Toy, seed: int) -> None:
    check_domain(toy, snapshot=random_log(toy, seed, 60).snapshot())


class WithoutEnvironment(Slates):
    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Any:
        return None


def test_a_domain_without_an_environment_is_checked_on_what_happened() -> None:
    check_domain(WithoutEnvironment(), snapshot=random_log(Slates(), 0, 40).snapshot())
    with pytest.raises(CheckFailure, match="something to check the domain on"):
        check_domain(WithoutEnvironment())


class SchemaOfAnother(Slates):
    def schema(self, vocabulary: Vocabulary) -> Schema:
        return Schema(len(vocabulary) + 1, self.channels)


class TwoChannelsOfOneKind(Slates):
    channels = (Channel("click", binary=True), Channel("click", binary=False))


class UnknownKind(Slates):
    channels = (Channel("applause", binary=True),)


class Upside(Slates):
    channels = (Channel("click", binary=True, low=1.0, high=0.0),)


class FlatNumbers(Grid):
    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        return np.full(1, -1, np.int32), np.zeros((1, 3), np.float32)


class StrangeUnits(Grid):
    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        units, numbers = super().observe(context, vocabulary)
        return units + 99, numbers


class SeesTheWholeLog(Slates):
    """Fuses late feedback into its unit: the past changes."""

    def encode(self, snapshot: Snapshot, vocabulary: Vocabulary, **options: Any) -> Streams:
        streams = super().encode(snapshot, vocabulary, **options)
        events = streams.events
        value = np.where(events.kind == 3, float(len(snapshot.feedback.seq)), events.value)
        channel = np.where(events.kind == 3, 1, events.channel)
        return replace(streams, events=replace(events, value=value, channel=channel))


class DropsFeedback(Slates):
    def encode(self, snapshot: Snapshot, vocabulary: Vocabulary, **options: Any) -> Streams:
        streams = super().encode(snapshot, vocabulary, **options)
        events = replace(streams.events, channel=np.zeros_like(streams.events.channel))
        return replace(streams, events=events)


class Forgetful(Replies):
    """Remembers its choice sets wrongly: the token it says most was never possible."""

    def encode(self, snapshot: Snapshot, vocabulary: Vocabulary, **options: Any) -> Streams:
        streams = super().encode(snapshot, vocabulary, **options)
        favourite = np.bincount(streams.slots.unit).argmax(keepdims=True)
        rules = tuple(replace(rule, forbidden=favourite) for rule in streams.rules)
        return replace(streams, rules=rules)


class LongActions(Slates):
    def action(self, units: Any, vocabulary: Vocabulary) -> np.ndarray:
        return super().action(units, vocabulary)[:1]


class MixesUpLogps(Slates):
    def encode(self, snapshot: Snapshot, vocabulary: Vocabulary, **options: Any) -> Streams:
        streams = super().encode(snapshot, vocabulary, **options)
        slots = replace(streams.slots, behaviour_logp=streams.slots.behaviour_logp[::-1])
        return replace(streams, slots=slots)


class NoChoices:
    """Not a domain at all."""

    name, length, channels, features = "none", 1, (), 0


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        (SchemaOfAnother, r"schema\(vocabulary\)"),
        (TwoChannelsOfOneKind, "channels are different kinds of feedback"),
        (UnknownKind, "channels are different kinds of feedback"),
        (Upside, "low < high"),
        (FlatNumbers, r'observe\(\{"at"'),
        (StrangeUnits, r'observe\(\{"at"'),
        (SeesTheWholeLog, "encode: "),
        (DropsFeedback, "encode: channel"),
        (Forgetful, "what was chosen was possible"),
        (LongActions, "action"),
        (MixesUpLogps, "behaviour log-probabilities"),
        (NoChoices, "every member of the protocol"),
    ],
)
def test_a_planted_fault_is_found(fault: type, promise: str) -> None:
    with pytest.raises(CheckFailure, match=promise):
        check_domain(fault())


class WidensItsChoices(Slates):
    """Says afterwards that less was possible than when it drew."""

    asked = 0

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        return ChoiceSet(forbidden=("item-5",))

    def encode(self, snapshot: Snapshot, vocabulary: Vocabulary, **options: Any) -> Streams:
        streams = super().encode(snapshot, vocabulary, **options)
        none = np.empty(0, np.int64)
        return replace(streams, rules=tuple(replace(r, forbidden=none) for r in streams.rules))


def test_choices_that_are_read_otherwise_than_they_were_drawn_are_found() -> None:
    with pytest.raises(CheckFailure, match="what was drawn replays"):
        check_domain(WidensItsChoices())
