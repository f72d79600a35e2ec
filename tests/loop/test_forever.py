"""The loop as a service, in this process: when it turns, what it says, how it fails."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heedful.loop import turn as turning
from heedful.loop.forever import LONGEST, Backoff, due, forever, look
from heedful.loop.run import Checkpoint, Run
from heedful.loop.turn import Turn, turn
from heedful.store import StoreError
from heedful.workspace import Workspace
from tests.small_shop import Shop, new_shop

ROWS, EVERY = 30, 1000.0
SERVICE = {"loop.rows": ROWS, "loop.every": EVERY, "loop.look": 5.0, "gate.minimum_subjects": 10}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with a first version and a second one, refused, so that a trial is over."""
    folder = tmp_path_factory.mktemp("opened") / "shop"
    shop = new_shop(folder)
    turn(shop.workspace.bench())
    shop.close()
    return folder


@pytest.fixture
def shop(opened: Path, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(Path(shutil.copytree(opened, tmp_path / "shop")), SERVICE)
    shop.now = shop.workspace.registry.card("0001").created_at
    yield shop
    shop.close()


class Waits:
    """Waits by letting something else happen, and says stop after the last of it."""

    def __init__(self, *meanwhile: Callable[[], None]) -> None:
        self.meanwhile, self.waited = list(meanwhile), list[float]()

    def __call__(self, seconds: float) -> bool:
        self.waited.append(seconds)
        if not self.meanwhile:
            return True
        self.meanwhile.pop(0)()
        return False


def nothing() -> None:
    """Happen."""


def test_enough_new_rows_trigger_training(shop: Shop) -> None:
    bench = shop.workspace.bench()
    assert not due(bench)
    shop.visit(ROWS // 2 - 1, lambda version: 0.5)  # two decisions each
    assert not due(bench)
    assert look(bench) is None
    shop.visit(1, lambda version: 0.5)
    assert due(bench)


def test_time_triggers_training_if_there_is_anything(shop: Shop) -> None:
    bench = shop.workspace.bench()
    shop.now += EVERY
    assert not due(bench), "nothing is new"
    shop.visit(1, lambda version: 0.5)
    assert due(bench)
    shop.now -= EVERY
    assert not due(bench)


def test_a_first_version_and_an_untried_one_are_due_at_once(tmp_path: Path, shop: Shop) -> None:
    shop.visit(2, lambda version: 0.5)
    assert not due(shop.workspace.bench())
    shop.workspace.reinforce()  # and the loop was killed before its trial began
    assert due(shop.workspace.bench())
    Workspace.create(tmp_path / "new").close()
    with Workspace.open(tmp_path / "new") as workspace:
        assert due(workspace.bench())


def test_training_that_was_killed_goes_on_with_the_rows_it_began_with(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.visit(20, lambda version: 0.5)
    began = shop.workspace.log.watermark()
    save = Run.save

    def killed(run: Run, checkpoint: Checkpoint) -> None:
        save(run, checkpoint)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        look(shop.workspace.bench())
    monkeypatch.undo()
    shop.visit(5, lambda version: 0.5)
    assert look(shop.workspace.bench()).action == "trial begun"
    registry = shop.workspace.registry
    assert registry.card("0002").snapshot.watermark == began
    assert registry.trial().watermark == shop.workspace.log.watermark() > began, "judged on fresh"


def test_it_trains_tries_promotes_and_says_each_once(shop: Shop) -> None:
    told: list[Turn] = []
    waits = Waits(
        nothing,
        lambda: shop.visit(20, lambda version: 0.4),
        nothing,  # on trial, and nobody came
        nothing,
        lambda: shop.visit(120, lambda version: 0.95 if version == "0002" else 0.05),
        nothing,
    )
    forever(shop.workspace.bench, told.append, waits, by="a test")
    actions = [done.action for done in told]
    assert actions[:3] == ["trial begun", "waiting", "promoted"], "nothing new is not said twice"
    assert told[3].action == "trial begun", "those who came meanwhile are learned from"
    assert waits.waited == [5.0] * 7
    live = shop.workspace.registry.live()
    assert live is not None
    assert live.name == "0002"


def test_a_failure_is_said_once_and_waited_for_longer(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.visit(20, lambda version: 0.5)
    whole = turning.steps.reinforced

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def space() -> None:
        monkeypatch.setattr(turning.steps, "reinforced", whole)

    monkeypatch.setattr(turning.steps, "reinforced", full)
    told: list[Turn] = []
    waits = Waits(nothing, nothing, nothing, space, nothing)
    with caplog.at_level(logging.WARNING, "heedful.loop"):
        forever(shop.workspace.bench, told.append, waits)
    assert waits.waited == [5.0, 10.0, 20.0, 40.0, 5.0, 5.0]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "No space left on device" in said[0]
    assert said[1] == "well again after 4 failures"
    assert [done.action for done in told] == ["trial begun", "waiting"]


def test_a_damaged_candidate_is_not_promoted_and_does_not_end_the_loop(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.visit(20, lambda version: 0.5)
    assert look(shop.workspace.bench()).action == "trial begun"
    shop.visit(120, lambda version: 0.95 if version == "0002" else 0.05)
    weights = shop.workspace.registry.folder("0002") / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    waits = Waits(nothing, nothing)
    with caplog.at_level(logging.WARNING, "heedful.loop"):
        forever(shop.workspace.bench, lambda done: None, waits)
    live = shop.workspace.registry.live()
    assert live is not None
    assert live.name == "0001"
    (said,) = [record.getMessage() for record in caplog.records]
    assert "0002" in said
    assert waits.waited == [5.0, 10.0, 20.0]


def test_the_longest_wait_is_bounded_however_long_it_fails() -> None:
    backoff = Backoff(first=5.0)
    waits = [backoff.failed(OSError("gone")) for _ in range(5000)]
    assert waits[:3] == [5.0, 10.0, 20.0]
    assert set(waits[10:]) == {LONGEST}
    assert Backoff(first=3600.0).failed(OSError("gone")) == 3600.0


def test_what_the_listener_raises_ends_it(shop: Shop) -> None:
    shop.visit(20, lambda version: 0.5)

    def gone(_: Turn) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        forever(shop.workspace.bench, gone, Waits(nothing))


def test_a_workspace_has_one_loop_and_the_second_is_told_who_holds_it(shop: Shop) -> None:
    import os

    folder = shop.workspace.folder

    def another(_: float) -> bool:
        with (
            Workspace.open(folder) as second,
            pytest.raises(StoreError, match=f"process {os.getpid()} runs the loop"),
        ):
            second.turn()
        return True

    shop.workspace.forever(lambda done: None, another)
    shop.workspace.turn()  # and it is free again
