import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from heedful.record import UNKNOWN, ChoiceSet, Decision, Group, RecordError
from heedful.store import registry as registry_module
from heedful.store.registry import (
    Card,
    Code,
    Data,
    Environment,
    Held,
    ManifestError,
    Registry,
    RegistryBusyError,
    RegistryError,
    assigned,
    replayed,
)

CARD = Card(
    kind="popularity",
    step="pretrain",
    parent=None,
    snapshot=Data(watermark=10, digest="ab"),
    configuration={"epochs": 1},
    seed=0,
    code=Code(version="0.1.0", revision=None, digest="cd"),
    environment=Environment(python="3", platform="x", device="cpu", threads=1, packages={}),
    created_at=0.0,
)
BY = {"by": "ada", "why": "because"}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path) as opened:
        yield opened


def add(registry: Registry, count: int = 1) -> list[str]:
    names = []
    for _ in range(count):
        with registry.new(CARD) as draft:
            (draft.folder / "model.safetensors").write_bytes(b"weights" * 100)
        names.append(draft.version.name)
    return names


def begin(registry: Registry, candidate: str, salt: str = "s1") -> None:
    k = registry.judged() + 1
    registry.begin_trial(candidate, [0.5], salt=salt, watermark=5, k=k, alpha=0.01, by="ada")


def states(registry: Registry) -> list[str]:
    return [version.state for version in registry.versions()]


def test_a_new_version_is_a_candidate_with_its_card(registry: Registry, tmp_path: Path) -> None:
    with registry.new(CARD, by="loop") as draft:
        (draft.folder / "tokenizer").mkdir()
        (draft.folder / "tokenizer" / "vocab.json").write_text("{}")
    assert (draft.version.name, draft.version.state) == ("0001", "candidate")
    assert draft.folder == registry.folder("0001") == tmp_path / "policies" / "0001"
    assert registry.card("0001") == replace(CARD, number=1)
    assert registry.live() is None
    files = json.loads((draft.folder / "manifest.json").read_text())["files"]
    assert set(files) == {"card.json", "tokenizer/vocab.json"}


def test_numbers_rise_and_names_have_at_least_four_digits(registry: Registry) -> None:
    assert add(registry, 2) == ["0001", "0002"]
    (registry._policies / "12345").mkdir()
    assert add(registry) == ["12346"]


def test_a_parent_must_exist(registry: Registry) -> None:
    with (
        pytest.raises(RegistryError, match="no policy version 0004; none is registered"),
        registry.new(replace(CARD, parent="0004")),
    ):
        pytest.fail("the block must not run")


def test_promotion_retires_the_live_version(registry: Registry) -> None:
    add(registry, 2)
    assert registry.promote("0001", **BY).state == "live"
    registry.promote("0002", by="ada", why="better", evidence={"e": 31.5})
    assert states(registry) == ["retired", "live"]
    assert registry.live() == registry.version("0002")
    last = registry.audit()[-1]
    assert (last.who, last.action, last.version, last.previous, last.why, last.evidence) == (
        *("ada", "promoted", "0002", "0001", "better"),
        {"e": 31.5},
    )


def test_rollback_walks_down_the_trail_and_promotion_builds_on_where_it_stands(
    registry: Registry,
) -> None:
    for name in add(registry, 3):
        registry.promote(name, **BY)
    registry.promote("0001", **BY)
    assert [registry.rollback(**BY).name for _ in range(2)] == ["0003", "0002"]
    registry.promote(add(registry)[0], **BY)
    assert [registry.rollback(**BY).name for _ in range(2)] == ["0002", "0001"]
    with pytest.raises(RegistryError, match="no version was live before"):
        registry.rollback(**BY)
    assert states(registry) == ["live", "retired", "retired", "retired"]


def test_what_is_live_or_refused_is_not_promoted(registry: Registry) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    registry.refuse("0002", **BY)
    with pytest.raises(RegistryError, match="state 'live'; this takes one that is candidate or"):
        registry.promote("0001", **BY)
    with pytest.raises(RegistryError, match="'refused'"):
        registry.promote("0002", **BY)
    with pytest.raises(RegistryError, match="'live'"):
        registry.refuse("0001", **BY)
    assert states(registry) == ["live", "refused"]


def test_a_damaged_version_is_not_promoted_nor_rolled_back_to(registry: Registry) -> None:
    first, second, third = add(registry, 3)
    registry.promote(first, **BY)
    registry.promote(second, **BY)
    for name in (first, third):
        (registry._policies / name / "model.safetensors").write_bytes(b"")
    before = registry.generation()
    with pytest.raises(ManifestError):
        registry.promote(third, **BY)
    with pytest.raises(ManifestError):
        registry.rollback(**BY)
    with pytest.raises(ManifestError):
        begin(registry, third)
    assert (registry.live(), registry.generation()) == (registry.version(second), before)


@pytest.mark.parametrize("by_and_why", [{"by": "", "why": "x"}, {"by": "x", "why": " "}])
def test_the_audit_wants_a_name_and_a_reason(
    registry: Registry, by_and_why: dict[str, str]
) -> None:
    add(registry)
    with pytest.raises(RegistryError, match="is empty"):
        registry.promote("0001", **by_and_why)
    with pytest.raises(RegistryError, match="evidence cannot be written as JSON"):
        registry.promote("0001", **BY, evidence={"e": float("nan")})
    assert registry.live() is None


@pytest.mark.parametrize(
    "name", ["../0001", "1", "00001", "0000", "", "0001/", "000\u0661", "0001\n", "9" * 30]
)
def test_names_are_checked(registry: Registry, name: str) -> None:
    add(registry)
    for call in (registry.version, registry.folder, registry.card, registry.verify):
        with pytest.raises(RegistryError, match="names no policy version"):
            call(name)


def test_an_unknown_version_names_the_newest(registry: Registry) -> None:
    add(registry, 2)
    with pytest.raises(RegistryError, match="no policy version 0009; the newest is 0002"):
        registry.promote("0009", **BY)


def test_the_audit_cannot_be_changed(registry: Registry, tmp_path: Path) -> None:
    add(registry)
    connection = sqlite3.connect(tmp_path / "registry.db")
    for statement in ("DELETE FROM audit", "UPDATE audit SET who = 'eve'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_the_database_itself_refuses_a_second_live_version(
    registry: Registry, tmp_path: Path
) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    connection = sqlite3.connect(tmp_path / "registry.db")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE versions SET state = 'live'")
    connection.close()


def test_the_generation_rises_with_every_change_and_others_see_it(
    registry: Registry, tmp_path: Path
) -> None:
    with Registry.open(tmp_path) as other:
        seen = [other.generation()]
        add(registry, 2)
        seen.append(other.generation())
        registry.promote("0001", **BY)
        seen.append(other.generation())
        begin(registry, "0002")
        seen.append(other.generation())
        registry.end_trial("stopped", **BY)
        seen.append(other.generation())
        registry.judge("0002", **BY)
        seen.append(other.generation())
        registry.refuse("0002", **BY)
        seen.append(other.generation())
    assert seen == sorted(set(seen))
    assert registry.generation() == seen[-1]


def test_a_trial_stands_until_it_is_ended(registry: Registry, tmp_path: Path) -> None:
    add(registry, 3)
    registry.promote("0001", **BY)
    begin(registry, "0002")
    with Registry.open(tmp_path) as other:
        trial = other.trial()
    assert trial is not None
    assert (trial.k, trial.candidate, trial.baseline) == (1, "0002", "0001")
    assert (trial.share, trial.salt, trial.watermark, trial.alpha) == (0.5, "s1", 5, 0.01)
    assert states(registry) == ["live", "canary", "candidate"]
    for attempt in (
        lambda: begin(registry, "0003", "s2"),
        lambda: registry.promote("0003", **BY),
        lambda: registry.promote("0002", **BY),
    ):
        with pytest.raises(RegistryError, match="0002 is on trial"):
            attempt()
    with pytest.raises(RegistryError, match="'canary'"):
        registry.refuse("0002", **BY)


@pytest.mark.parametrize(
    ("outcome", "after", "action"),
    [
        ("promoted", ["retired", "live"], "promoted"),
        ("refused", ["live", "refused"], "refused"),
        ("stopped", ["live", "candidate"], "trial ended"),
    ],
)
def test_a_trial_and_its_verdict_end_together(
    registry: Registry, outcome: str, after: list[str], action: str
) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    begin(registry, "0002")
    version = registry.end_trial(outcome, **BY, evidence={"e": 99.0})
    assert (version.name, version.state, states(registry)) == ("0002", after[1], after)
    assert registry.trial() is None
    (trial,) = registry.trials()
    assert trial.outcome == outcome
    assert trial.ended_at is not None
    last = registry.audit()[-1]
    assert (last.action, last.version) == (action, "0002")
    expected = {"k": 1, "outcome": "stopped"} if outcome == "stopped" else {"e": 99.0}
    assert last.evidence == expected
    with pytest.raises(RegistryError, match="no trial is open"):
        registry.end_trial("refused", **BY)


def test_rollback_stops_a_trial_whose_baseline_it_takes_away(registry: Registry) -> None:
    add(registry, 3)
    registry.promote("0001", **BY)
    registry.promote("0002", **BY)
    begin(registry, "0003")
    registry.rollback(**BY)
    assert states(registry) == ["live", "retired", "candidate"]
    assert [trial.outcome for trial in registry.trials()] == ["stopped"]


def test_every_judgement_is_counted_once_whatever_becomes_of_it(registry: Registry) -> None:
    add(registry, 3)
    registry.promote("0001", **BY)
    assert registry.judge("0002", **BY) == 1
    begin(registry, "0002")
    registry.end_trial("stopped", **BY)
    begin(registry, "0002", "s2")
    registry.end_trial("refused", **BY)
    assert registry.judged() == 3
    with pytest.raises(RegistryError, match="k is 3, but 3 candidates were judged before"):
        registry.begin_trial("0003", [0.5], salt="s3", watermark=0, k=3, alpha=0.01, by="ada")
    with pytest.raises(RegistryError, match="salt was used before"):
        begin(registry, "0003", "s2")
    assert (registry.judged(), states(registry)[2]) == (3, "candidate")


def test_nothing_is_tried_against_nothing(registry: Registry) -> None:
    add(registry)
    with pytest.raises(RegistryError, match="no version is live"):
        begin(registry, "0001")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shares", [0.0]),
        ("shares", [0.5, 1.0]),
        ("shares", [float("nan")]),
        ("alpha", 0.0),
        ("alpha", 1.0),
        ("watermark", -1),
        ("salt", ""),
    ],
)
def test_the_arguments_of_a_trial_are_bounded(registry: Registry, name: str, value: object) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    arguments = {"shares": [0.5], "salt": "s", "watermark": 0, "k": 1, "alpha": 0.05, "by": "ada"}
    with pytest.raises(RegistryError, match=name):
        registry.begin_trial("0002", **(arguments | {name: value}))


def test_assignment_is_sticky_has_its_share_and_differs_between_trials(
    registry: Registry,
) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    begin(registry, "0002")
    trial = registry.trial()
    assert trial is not None
    people = [f"subject-{number}" for number in range(20_000)]
    for share in (0.1, 0.5, 0.9):
        drawn = [assigned(replace(trial, shares=(share,)), person) for person in people]
        spread = (share * (1 - share) / len(people)) ** 0.5
        assert abs(sum(drawn) / len(people) - share) < 4 * spread
        assert drawn == [assigned(replace(trial, shares=(share,)), person) for person in people]
    first = [assigned(trial, person) for person in people]
    second = [assigned(replace(trial, salt="other"), person) for person in people]
    agreement = sum(a == b for a, b in zip(first, second, strict=True)) / len(people)
    assert abs(agreement - 0.5) < 4 * (0.25 / len(people)) ** 0.5


def test_a_busy_registry_says_so(tmp_path: Path) -> None:
    with Registry.open(tmp_path, timeout=0.05) as registry:
        add(registry)
        other = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RegistryBusyError, match="another process is changing the registry"):
            registry.promote("0001", **BY)
        assert registry.versions()[0].state == "candidate"
        other.execute("ROLLBACK")
        other.close()
        registry.promote("0001", **BY)


def test_threads_share_a_registry(registry: Registry) -> None:
    names = add(registry, 5)
    registry.promote(names[0], **BY)
    done = threading.Event()

    def watch() -> set[int]:
        seen = set()
        while not done.is_set():
            seen.add([version.state for version in registry.versions()].count("live"))
            registry.generation()
        return seen

    with ThreadPoolExecutor(4) as pool:
        watchers = [pool.submit(watch) for _ in range(4)]
        for name in names[1:]:
            registry.promote(name, **BY)
        done.set()
        assert [watcher.result() for watcher in watchers] == [{1}] * 4


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    Registry.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "registry.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RegistryError, match="schema 99 is newer than this heedful"):
        Registry.open(tmp_path)


def test_a_damaged_database_is_refused_with_the_way_back(tmp_path: Path) -> None:
    with Registry.open(tmp_path) as registry:
        add(registry, 2)
        registry.promote("0001", **BY)
    (tmp_path / "registry.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(RegistryError, match="restore it from a backup, or move it away"):
        Registry.open(tmp_path)
    (tmp_path / "registry.db").unlink()
    with Registry.open(tmp_path) as registry:
        assert states(registry) == ["candidate", "candidate"]
        assert [entry.action for entry in registry.audit()] == ["adopted", "adopted"]


def test_a_workspace_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="No such file"):
        Registry.open(tmp_path / "nowhere")


# Stages


def staged(registry: Registry, shares: list[float]) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    registry.begin_trial(
        "0002", shares, salt="s", watermark=0, k=1, alpha=0.01, by="ada", at=1000.0
    )


def test_a_trial_is_raised_stage_by_stage(registry: Registry) -> None:
    staged(registry, [0.1, 0.3, 0.5])
    trial = registry.trial()
    assert trial is not None
    assert (trial.stage, trial.share, trial.since) == (0, 0.1, (1000.0,))
    raised = registry.raise_share(trial, 2000.0, **BY, evidence={"rows": 7})
    assert raised == registry.trial()
    assert (raised.stage, raised.share, raised.since) == (1, 0.3, (1000.0, 2000.0))
    last = registry.audit()[-1]
    assert (last.action, last.version, last.evidence) == (
        *("raised", "0002"),
        {"rows": 7, "k": 1, "stage": 1, "share": 0.3, "since": 2000.0},
    )
    with pytest.raises(RegistryBusyError, match="ended or raised the trial just now"):
        registry.raise_share(trial, 3000.0, **BY)
    with pytest.raises(RegistryError, match="would begin before"):
        registry.raise_share(raised, 2000.0, **BY)
    last_one = registry.raise_share(raised, 3000.0, **BY)
    with pytest.raises(RegistryError, match="in its last stage, 50%"):
        registry.raise_share(last_one, 4000.0, **BY)
    assert registry.check() == []
    registry.end_trial("promoted", **BY)
    assert states(registry) == ["retired", "live"]
    assert registry.trials()[0].shares == (0.1, 0.3, 0.5)


def test_shares_rise(registry: Registry) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    arguments = {"salt": "s", "watermark": 0, "k": 1, "alpha": 0.05, "by": "ada"}
    for shares in ([], [0.5, 0.5], [0.5, 0.1]):
        with pytest.raises(RegistryError, match="shares are"):
            registry.begin_trial("0002", shares, **arguments)


def test_nobody_goes_back_when_the_share_rises(registry: Registry) -> None:
    staged(registry, [0.1, 0.5])
    trial = registry.trial()
    assert trial is not None
    raised = registry.raise_share(trial, 2000.0, **BY)
    people = [f"subject-{number}" for number in range(2000)]
    before = {name for name in people if assigned(raised, name, 1999.9)}
    after = {name for name in people if assigned(raised, name, 2000.0)}
    assert before < after
    assert before == {name for name in people if assigned(trial, name)}


# Stopped, blocked, held


def test_what_is_stopped_is_refused_and_never_live_again(registry: Registry) -> None:
    first, second, third, fourth = add(registry, 4)
    for name in (first, second, third):
        registry.promote(name, **BY)
    assert registry.stop(second, **BY).state == "refused"
    assert registry.rollback(**BY).name == first, "it is passed over"
    registry.stop(fourth, by="ada", why="smells")
    assert states(registry) == ["live", "refused", "retired", "refused"]
    last = registry.audit()[-1]
    assert (last.who, last.action, last.version, last.why) == ("ada", "stopped", "0004", "smells")
    for call in (registry.promote, registry.stop):
        with pytest.raises(RegistryError, match="'refused'"):
            call(second, **BY)
    assert registry.check() == []


def test_stopping_what_is_live_returns_to_the_one_before(registry: Registry) -> None:
    for name in add(registry, 3)[:2]:
        registry.promote(name, **BY)
    begin(registry, "0003")
    registry.stop("0002", **BY)
    assert states(registry) == ["live", "refused", "candidate"]
    assert [trial.outcome for trial in registry.trials()] == ["stopped"]
    happened = [(entry.action, entry.version) for entry in registry.audit()[-3:]]
    assert happened == [("trial ended", "0003"), ("rolled back", "0001"), ("stopped", "0002")]
    assert registry.check() == []


def test_stopping_the_only_one_is_refused_with_the_way_out(registry: Registry) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    before = registry.generation()
    with pytest.raises(RegistryError, match="Promote another one first, then stop this one"):
        registry.stop("0001", **BY)
    assert (states(registry), registry.generation()) == (["live", "candidate"], before)
    registry.promote("0002", **BY)
    registry.stop("0001", **BY)
    with pytest.raises(RegistryError, match="none was live before it"):
        registry.stop("0002", **BY)


def test_stopping_a_canary_ends_its_trial(registry: Registry) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    begin(registry, "0002")
    registry.stop("0002", **BY)
    assert (states(registry), registry.trial()) == (["live", "refused"], None)
    assert [entry.action for entry in registry.audit()[-2:]] == ["trial ended", "stopped"]


def test_units_are_blocked_and_unblocked_once(registry: Registry, tmp_path: Path) -> None:
    registry.block("item 1", **BY)
    with pytest.raises(RegistryError, match="blocked already"):
        registry.block("item 1", **BY)
    with Registry.open(tmp_path) as other:
        assert other.blocked() == {"item 1"}
        other.unblock("item 1", by="bob", why="a mistake")
    assert registry.blocked() == frozenset()
    with pytest.raises(RegistryError, match="'item 1' is not blocked; blocked: none is"):
        registry.unblock("item 1", **BY)
    with pytest.raises(RecordError):
        registry.block("", **BY)
    happened = [(entry.who, entry.action, entry.unit, entry.version) for entry in registry.audit()]
    assert happened == [("ada", "blocked", "item 1", None), ("bob", "unblocked", "item 1", None)]
    assert registry.check() == []


def drawn(name: str, subject: str = "ann", at: float = 10.0) -> Held:
    choices = ChoiceSet(forbidden=("x",), groups=(Group(units=("a", "b"), most=1),))
    decision = Decision(
        id=name,
        episode="e",
        step=2,
        subject=subject,
        units=("a", "c"),
        logps=(-0.1, -2.0 / 3.0),
        policy="0001",
        made_at=at,
        context={"hour": 3},
        choices=choices.digest(),
        vocabulary="v",
    )
    return Held(decision=decision, choices=choices)


def test_a_held_decision_comes_back_as_it_was_drawn_and_is_answered_once(
    registry: Registry, tmp_path: Path
) -> None:
    add(registry)
    unknown = replace(drawn("d2", at=5.0).decision, logps=UNKNOWN)
    registry.hold([drawn("d1"), replace(drawn("d2"), decision=unknown)])
    with Registry.open(tmp_path) as other:
        assert [held.decision.id for held in other.waiting()] == ["d2", "d1"]
        assert other.held("d1") == drawn("d1")
        assert other.held("d2").decision.logps is UNKNOWN
    assert (registry.held("d3"), registry.n_held()) == (None, 2)
    assert registry.first_held(0.0) == {"ann": 5.0}
    assert registry.first_held(7.0) == {"ann": 10.0}
    said = registry.review("d1", approve=True, **BY, at=20.0)
    assert (said.answer, said.answered_at) == ("approved", 20.0)
    assert [held.decision.id for held in registry.waiting()] == ["d2"]
    last = registry.audit()[-1]
    assert (last.action, last.version, last.evidence["decision"]) == ("approved", "0001", "d1")
    with pytest.raises(RegistryError, match="was approved before"):
        registry.review("d1", approve=False, **BY)
    with pytest.raises(RegistryError, match="no decision d9 is held"):
        registry.review("d9", approve=True, **BY)
    with pytest.raises(RegistryError, match="draw it anew"):
        registry.hold([drawn("d4"), drawn("d1")])
    assert registry.n_held() == 2, "all of them or none"
    assert registry.check() == []


# The audit, played


def test_an_audit_that_does_not_lead_to_what_is_there_is_found_out(
    registry: Registry, tmp_path: Path
) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    connection = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    connection.execute("UPDATE versions SET state = 'refused' WHERE number = 2")
    connection.execute("INSERT INTO blocked VALUES ('x')")
    assert registry.check() == [
        "version 0002 is refused, and by the audit it is candidate",
        "unit 'x' is blocked, and by the audit it is not blocked",
    ]
    connection.close()


def test_an_audit_that_contradicts_itself_says_where(registry: Registry) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    registry.promote("0002", **BY)
    *before, last = registry.audit()
    standing = replayed([*before, replace(last, previous=None)])
    assert standing.states == {"0001": "retired", "0002": "live"}
    assert standing.faults == [
        f"audit {last.id}: nothing was live before it, and by the entries before 0001"
    ]


def test_a_registry_of_the_first_schema_is_brought_to_the_newest(tmp_path: Path) -> None:
    """Its trial goes on as one of a single stage, and its audit says the same as before."""
    with Registry.open(tmp_path) as registry:
        add(registry, 3)
    folder = Path(registry_module.__file__).parent / "migrations"
    first = (folder / "0001_registry.sql").read_text("utf-8")
    with sqlite3.connect(tmp_path / "registry.db") as new:
        manifests = dict(new.execute("SELECT number, manifest FROM versions"))
    new.close()
    (tmp_path / "registry.db").unlink()
    old = sqlite3.connect(tmp_path / "registry.db")
    old.executescript(first)
    for number, state in ((1, "retired"), (2, "live"), (3, "trial")):
        row = (number, state, manifests[number], 1.0)
        old.execute("INSERT INTO versions VALUES (?, ?, ?, ?)", row)
        old.execute(
            "INSERT INTO audit (at, who, action, version, previous, why, evidence)"
            " VALUES (1, 'ada', 'created', ?, NULL, 'x', '{}')",
            (number,),
        )
    for action, number, previous in (
        ("promoted", 1, None),
        ("promoted", 2, 1),
        ("trial begun", 3, None),
    ):
        old.execute(
            "INSERT INTO audit (at, who, action, version, previous, why, evidence)"
            " VALUES (2, 'ada', ?, ?, ?, 'x', '{\"a\": 1}')",
            (action, number, previous),
        )
    old.execute("INSERT INTO trail (version) VALUES (1), (2)")
    old.execute("INSERT INTO judgements VALUES (1, 3)")
    old.execute("INSERT INTO trials VALUES (1, 3, 2, 0.25, 's', 9, 0.01, 50.0, 'ada', NULL, NULL)")
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    with Registry.open(tmp_path) as registry:
        assert registry.check() == []
        assert states(registry) == ["retired", "live", "canary"]
        trial = registry.trial()
        assert trial is not None
        assert (trial.shares, trial.since, trial.last_stage) == ((0.25,), (50.0,), True)
        assert [entry.id for entry in registry.audit()] == [1, 2, 3, 4, 5, 6]
        assert registry.audit()[-1].evidence == {"a": 1}
        registry.end_trial("promoted", **BY)
        assert registry.rollback(**BY).name == "0002"
        assert registry.audit()[-1].id == 9


def test_a_share_is_not_raised_without_notice(registry: Registry) -> None:
    staged(registry, [0.1, 0.5])
    trial = registry.trial()
    assert trial is not None
    with pytest.raises(RegistryBusyError, match="busy for too long"):
        registry.raise_share(trial, 2000.0, now=lambda: 1997.0, notice=5.0, **BY)
    assert registry.trial() == trial


def test_a_promotion_by_hand_ends_a_trial_in_one_step(registry: Registry) -> None:
    staged(registry, [0.5])
    add(registry)
    registry.promote("0003", despite_trial=True, evidence={"forced": True}, **BY)
    assert registry.trial() is None
    assert states(registry) == ["retired", "candidate", "live"]
    assert [entry.action for entry in registry.audit()][-2:] == ["trial ended", "promoted"]
    assert registry.check() == []
    with pytest.raises(RegistryError, match="in the state 'live'"):
        registry.promote("0003", despite_trial=True, **BY)


def test_a_verdict_ends_the_trial_it_is_about_and_no_other(registry: Registry) -> None:
    staged(registry, [0.5])
    judged = registry.trial()
    registry.stop("0002", **BY)
    add(registry)
    begin(registry, "0003")
    for outcome in ("promoted", "refused"):
        with pytest.raises(RegistryBusyError):
            registry.end_trial(outcome, seen=judged, **BY)
    assert states(registry) == ["live", "refused", "canary"]


def test_terms_stay_with_their_trial(registry: Registry) -> None:
    add(registry, 2)
    registry.promote("0001", **BY)
    terms = {"gate": {"betting": "mixture", "margin": 0.0}}
    begun = registry.begin_trial(
        "0002", [0.5], salt="s", watermark=0, k=1, alpha=0.01, by="ada", terms=terms
    )
    assert begun.terms == terms
    assert registry.trial() == begun
