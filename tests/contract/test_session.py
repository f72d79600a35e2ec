import numpy as np
import pytest
import torch

from heedful.contract import Session, Stream, as_choices, as_rule, decide
from heedful.loop.collect import Collector
from heedful.policy import NothingToChooseError, replay
from heedful.record import ALL_UNITS, ChoiceSet, Decision, Feedback, Group, Kind
from heedful.store import Snapshot
from tests.contract.policies import SORTS, make
from tests.contract.toys import TOYS, Slates, Toy

toys = pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)


def replayed(toy: Toy, snapshot: Snapshot, policy, window: int) -> tuple[torch.Tensor, ...]:
    streams = toy.encode(snapshot, toy.vocabulary(snapshot))
    batch = streams.batch(streams.windows(window))
    with torch.no_grad():
        logps = replay(policy, batch)
    return logps[batch.mask].double(), batch.behaviour_logps[batch.mask]


@toys
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize(
    ("double", "within"), [(True, 1e-9), (False, 1e-4)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("window", [8, 32])
def test_replay_gives_what_the_sampler_said(
    toy: Toy, sort: str, double: bool, within: float, window: int
) -> None:
    """Ten decisions of four subjects: windows are crossed, episodes end, feedback is late."""
    policy = make(sort, toy, double=double)
    environment = toy.environment(4, 0, {})
    collector = Collector(toy, toy.vocabulary(None), environment, window=window, seed=0)
    for _ in range(2):
        logps, told = replayed(toy, collector.play(policy, 10), policy, window)
        assert len(told) >= 40
        torch.testing.assert_close(logps, told, rtol=0, atol=within)


class Shop:
    """Four subjects decided for in pairs by ``decide`` and ``commit``, as a server does it."""

    def __init__(self, policy, window: int, choices: list[ChoiceSet]) -> None:
        self.toy, self.policy, self.window, self.choices = Slates(), policy, window, choices
        self.vocabulary = self.toy.vocabulary(Snapshot.of([]))
        self.sessions = [Session(Stream(self.toy, self.vocabulary)) for _ in range(4)]
        self.records: list[Decision | Feedback] = []
        self.rng = torch.Generator().manual_seed(0)

    def visit(self, rows: list[int], *, keep: bool = True) -> None:
        choices = [self.choices[row] for row in rows]
        now = 7e3 * len(self.records)
        prepared = decide(
            self.policy,
            [self.sessions[row] for row in rows],
            [{}] * len(rows),
            [as_rule(choice, self.vocabulary) for choice in choices],
            self.rng,
            length=2,
            window=self.window,
            now=now,
        )
        if not keep:
            return
        for i, row in enumerate(rows):
            units = prepared.acts.units[i].tolist()
            decision = Decision(
                id=f"d{len(self.records)}",
                episode=f"e{row}",
                step=0,
                subject=f"s{row}",
                units=tuple(self.vocabulary.units[u] for u in units if u >= 0),
                logps=tuple(prepared.acts.logps[i, : int(prepared.acts.lengths[i])].tolist()),
                policy="p",
                made_at=now,
                context={},
                choices=choices[i].digest(),
                vocabulary="v",
            )
            prepared.commit(i, self.sessions[row], decision)
            self.records.append(decision)

    def click(self, row: int, age: int, unit: int) -> None:
        own = [r for r in self.records if isinstance(r, Decision) and r.subject == f"s{row}"]
        if len(own) <= age:
            return
        click = Feedback(
            id=f"f{len(self.records)}",
            by=f"s{row}",
            about=own[-1 - age].id,
            unit=unit,
            kind=Kind.CLICK,
            value=True,
            given_at=6e3 * len(self.records),
            received_at=6e3 * len(self.records),
        )
        self.sessions[row].stream.append(click)
        self.records.append(click)


SETS = [
    ChoiceSet(),
    ChoiceSet(seen=False, forbidden=("item-5",)),
    ChoiceSet(allowed=("item-0", "item-2", "item-4")),
    ChoiceSet(repeat=True),
]
ODD, LOW = ("item-1", "item-3", "item-5"), ("item-0", "item-1", "item-2")
RULED = [
    ChoiceSet(groups=(Group(units=LOW, most=1, penalty=0.5), Group(units=ODD, penalty=1.5))),
    ChoiceSet(groups=(Group(units=ODD, least=2),)).within(2),
    ChoiceSet(groups=(Group(units=ODD, most=1), Group(units=LOW, least=1))).within(2),
    ChoiceSet(repeat=True, groups=(Group(units=("item-4",), least=1),)).within(2),
]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("sets", [SETS, RULED], ids=["sets", "groups"])
def test_a_server_that_keeps_states_tells_what_training_replays(
    sort: str, sets: list[ChoiceSet]
) -> None:
    """Pairs in turn, all sorts of choice sets, feedback of all ages, decisions not kept."""
    policy = make(sort, Slates())
    shop = Shop(policy, 8, sets)
    rng = np.random.default_rng(0)
    for turn in range(24):
        rows = rng.choice(4, 2, replace=False).tolist()
        rows = [
            row for row in rows if row != 1 or turn < 6 or sets[1].seen
        ]  # 1 runs out of unseen items
        shop.visit(rows, keep=bool(rng.random() < 0.8)) if rows else None
        for row in rows:
            shop.click(row, age=int(rng.integers(3)), unit=int(rng.integers(ALL_UNITS, 1)))
    snapshot = Snapshot.of(shop.records, choice_sets=sets)
    logps, told = replayed(shop.toy, snapshot, policy, 8)
    torch.testing.assert_close(logps, told, rtol=0, atol=1e-9)


@pytest.mark.parametrize("window", [4, 8])
def test_rules_about_groups_are_kept_and_replay_wherever_windows_cut(window: int) -> None:
    """Windows shorter than what is decided in them: some begin in the middle of a decision."""
    policy = make("transformer", Slates())
    shop = Shop(policy, window, RULED)
    for turn in range(40):
        shop.visit([turn % 4])
        shop.click(turn % 4, age=turn % 3, unit=turn % 2)
    for decision in shop.records:
        if isinstance(decision, Decision):
            choices = RULED[int(decision.subject[1:])]
            for group in choices.groups:
                held = sum(unit in group.units for unit in decision.units)
                assert held >= group.least
                assert group.most is None or held <= group.most
    snapshot = Snapshot.of(shop.records, choice_sets=RULED)
    logps, told = replayed(shop.toy, snapshot, policy, window)
    assert len(told) == 80
    torch.testing.assert_close(logps, told, rtol=0, atol=1e-9)
    streams = shop.toy.encode(snapshot, shop.vocabulary)
    for length in (3, 5):
        batch = streams.batch(streams.chunks(length, np.random.default_rng(0)))
        possible = batch.choices.mask(batch.mask)
        assert bool(possible.gather(1, batch.units[batch.mask][:, None]).all())


def test_what_cannot_be_had_is_said_before_anything_is_drawn() -> None:
    vocabulary = Slates().vocabulary(Snapshot.of([]))
    seen = ChoiceSet(seen=False, groups=(Group(units=LOW, least=1, name="require.0"),)).within(2)
    with pytest.raises(NothingToChooseError, match=r"row 1: require.0: requires 1 of its units"):
        as_choices([as_rule(seen, vocabulary)] * 2, [{0, 1}, {0, 1, 2}], 6)


def test_a_decision_that_is_not_kept_changes_nothing() -> None:
    policy = make("transformer", Slates())
    kept, dropped = (Shop(policy, 8, SETS) for _ in range(2))
    for shop in (kept, dropped):
        shop.visit([0, 2])
    before = dropped.rng.get_state()
    dropped.visit([0, 3], keep=False)
    dropped.rng.set_state(before)
    for shop in (kept, dropped):
        shop.visit([0, 2])
    assert kept.records == dropped.records


def test_feedback_conditions_the_very_next_decision() -> None:
    policy = make("transformer", Slates())
    told = []
    for clicked in (False, True):
        shop = Shop(policy, 8, SETS)
        shop.visit([0])
        if clicked:
            shop.click(0, age=0, unit=1)
        shop.visit([0])
        told.append(shop.records[-1])
    assert told[0].logps != told[1].logps


def test_an_empty_context_is_no_event() -> None:
    """A reader is asked only about contexts that say something, when serving as in training."""
    toy = TOYS[2]
    stream = Stream(toy, toy.vocabulary(Snapshot.of([])))
    assert stream.context({}) == []
    assert len(stream.context({"at": [1.0, 0.0]})) == 1


def test_different_ends_cannot_be_drawn_together() -> None:
    vocabulary = Slates().vocabulary(Snapshot.of([]))
    rules = [as_rule(ChoiceSet(end=end), vocabulary) for end in (None, "item-0")]
    with pytest.raises(ValueError, match="separate calls"):
        as_choices(rules, [set(), set()], 6)
