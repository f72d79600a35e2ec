import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from heedful.store.registry import (
    Card,
    Code,
    Data,
    Environment,
    ManifestError,
    Registry,
    RegistryBusyError,
    RegistryError,
    assigned,
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
