"""The proof of the server: the log, replayed, gives the probabilities that were served."""

import dataclasses
import random
import tempfile
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.contract import Stream
from heedful.policy import Loaded, Vocabulary, load
from heedful.record import ALL_UNITS, Described, Description, Kind
from heedful.serve import (
    DecisionAnswer,
    DecisionRequest,
    EndRequest,
    FeedbackRequest,
    Limits,
    Service,
    ServiceError,
)
from heedful.serve.history import records
from tests.serve.world import Shop, Workspace, add_version, load_exactly, replay_error

Load = Callable[[Path], Loaded]

SOME = ["item-4", "item-5", "item-6", "item-11", "item-17", "item-20"]
CROSSED = [
    {"least": 1, "units": units}
    for units in (["item-1", "item-2"], ["item-0", "item-4"], ["item-2", "item-4"])
]
COLOURS = [
    Description(of=Described.UNIT, name=unit, facts={"colour": colours}, given_at=0.0)
    for unit, colours in zip(Shop.units, 8 * [["red"], ["red", "blue"], ["green"]], strict=True)
]
RULES = {
    "require": [
        [{"least": 1, "fact": "colour", "is": "blue"}],
        [{"least": 1, "units": SOME}],
        *(list(order) for order in permutations(CROSSED)),
    ],
    "cap": [{"colour": 1}, {"colour": 2}, [{"most": 1, "units": SOME}]],
    "diversity": [{"colour": 2.5}, [{"weight": 0.5, "fact": "colour", "is": "red"}]],
}
USERS = ("ada", "bob", "eve", "zoë")


class Life:
    """What people and operators may do to a service, drawn at random from a seed."""

    def __init__(self, workspace: Workspace, seed: int, load: Load = load) -> None:
        self.workspace, self.random, self.load = workspace, random.Random(seed), load
        self.decided: list[tuple[str, DecisionAnswer]] = []
        self.said: list[FeedbackRequest] = []
        self.n_versions = 1
        workspace.log.describe(COLOURS)
        self.service = self._start()

    def _start(self) -> Service:
        # Two subjects in memory and four in the world: most decisions rebuild somebody.
        limits = Limits(subjects=2, turn=8)
        return self.workspace.serve(limits=limits, seed=self.n_versions, load=self.load)

    def act(self, verb: str) -> None:
        self.workspace.clock.now += self.random.choice((1, 5, 60, 200))
        getattr(self, verb)()

    def decide(self) -> None:
        requests = [self._request() for _ in range(self.random.randint(1, 5))]
        for request, answer in zip(requests, self.service.decide(requests), strict=True):
            cramped = "allowed" in request.choices or request.length == 1
            if isinstance(answer, ServiceError) and cramped and "require" in request.choices:
                assert answer.reason == "nothing_to_choose"
                assert str(answer).startswith("require.")
                continue
            assert isinstance(answer, DecisionAnswer), answer
            self.decided.append((request.user, answer))

    def _request(self) -> DecisionRequest:
        choices: dict[str, object] = {}
        if self.random.random() < 0.2:
            choices["allowed"] = self.random.sample(Shop.units, 6)
        if self.random.random() < 0.3:
            choices["forbidden"] = ["item-3", "item-5"]
        for rule, entries in RULES.items():
            if self.random.random() < 0.25:
                choices[rule] = self.random.choice(entries)
        return DecisionRequest(
            user=self.random.choice(USERS),
            context={"hour": self.random.randint(0, 23)} if self.random.random() < 0.5 else {},
            choices=choices,
            length=self.random.choice((None, 1, 4)),
        )

    def tell(self) -> None:
        """Say something about decisions old and new, some of it twice."""
        rows = [self._feedback() for _ in range(self.random.randint(1, 4)) if self.decided]
        self.service.feedback(rows + rows[:1])
        self.said += rows

    def tell_at_once(self) -> None:
        """Say something about the very last decision: it may be fused into its unit's event."""
        if self.decided:
            _, answer = self.decided[-1]
            unit = self.random.choice((ALL_UNITS, len(answer.units) - 1, 0))
            row = FeedbackRequest(decision=answer.id, kind=Kind.CLICK, value=True, unit=unit)
            self.service.feedback([row])

    def _feedback(self) -> FeedbackRequest:
        _, answer = self.random.choice(self.decided)
        kind, value = self.random.choice(
            ((Kind.CLICK, True), (Kind.CLICK, False), (Kind.RATING, 4.0), (Kind.COMMENT, "so-so"))
        )
        unit = self.random.randint(ALL_UNITS, len(answer.units) - 1)
        user = self.random.choice((None, "bob"))
        return FeedbackRequest(decision=answer.id, kind=kind, value=value, unit=unit, user=user)

    def take_back(self) -> None:
        if self.said:
            said = self.random.choice(self.said)
            back = dataclasses.replace(said, id=f"back-{said.id}", value=None, retracts=said.id)
            self.service.feedback([back])

    def end(self) -> None:
        if self.decided:
            user, _ = self.random.choice(self.decided)
            context = {"hour": 7} if self.random.random() < 0.5 else {}
            self.service.end([EndRequest(user=user, context=context)])

    def restart(self) -> None:
        self.service.close()
        self.service = self._start()

    def promote(self) -> None:
        registry = self.workspace.registry
        if self.n_versions < 3:
            self.n_versions += 1
            version = add_version(registry, seed=self.n_versions)
            registry.promote(version, by="test", why="a test")

    def close(self) -> None:
        self.service.close()
        self.workspace.close()


VERBS = (
    "decide", "decide", "decide", "tell", "tell", "tell_at_once", "take_back", "end", "restart",
    "promote",
)  # fmt: skip


def lived(verbs: list[str], seed: int, load: Load) -> float:
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Workspace(Path(folder)), seed, load)
        try:
            life.decide()
            for verb in verbs:
                life.act(verb)
            return replay_error(life.workspace, load=load)
        finally:
            life.close()


@settings(max_examples=8)
@given(verbs=st.lists(st.sampled_from(VERBS), min_size=5, max_size=25), seed=st.integers(0, 999))
def test_the_log_replays_to_what_was_served(verbs, seed):
    assert lived(verbs, seed, load_exactly) < 1e-9
    assert lived(verbs, seed, load) < 1e-4


@pytest.mark.slow
def test_long_lives_replay_to_what_was_served():
    chosen = random.Random(0)
    for seed in range(20):
        assert lived(chosen.choices(VERBS, k=120), seed, load_exactly) < 1e-9


@pytest.mark.parametrize("order", list(permutations(CROSSED)))
def test_the_order_in_which_rules_are_asked_for_does_not_matter(workspace, service, order):
    request = {"require": list(order)}
    service.decide([DecisionRequest(user=f"u{n}", length=2, choices=request) for n in range(40)])
    assert replay_error(workspace) < 1e-4


def test_each_request_is_refused_in_its_own_words(service):
    for order in (["gone"], ["item-1"]), (["item-1"], ["gone"]):
        asked = [{"least": 1, "units": units} for units in order]
        (answer,) = service.decide([DecisionRequest(user="ada", choices={"require": asked})])
        assert str(answer).startswith(f"require.{order.index(['gone'])}:")


def test_the_proof_fails_where_the_floor_is_another(workspace, service):
    service.decide([DecisionRequest(user="ada")])
    assert replay_error(workspace, floor=0.5) > 1e-3


def test_the_proof_fails_where_the_window_is_another(workspace, service):
    for _ in range(12):
        service.decide([DecisionRequest(user="ada")])
    assert replay_error(workspace) < 1e-4
    assert replay_error(workspace, window=8) > 1e-4


def test_a_history_read_back_is_the_stream_that_was(tmp_path):
    life = Life(Workspace(tmp_path), 4)
    for verb in (*VERBS, *VERBS, *VERBS):
        life.act(verb)
    snapshot = life.workspace.log.snapshot()
    vocabulary = Vocabulary(Shop.units)
    streams = Shop().encode(snapshot, vocabulary)
    built = {name: Stream(Shop(), vocabulary) for name in snapshot.names.subjects}
    for subject, record in records(snapshot):
        built[subject].append(record)
    lengths = [len(built[snapshot.names.subjects[code]]) for code in streams.subjects]
    assert lengths == (streams.offsets[1:] - streams.offsets[:-1]).tolist()
    kinds = [
        event[0]
        for code in streams.subjects
        for event in built[snapshot.names.subjects[code]].since(0)
    ]
    assert kinds == streams.events.kind.tolist()
    life.close()
