import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heedful.config import Pretrain
from heedful.evaluate.held_out import leave_one_out
from heedful.loop import form, lessons
from heedful.loop.pretrain import Best, Training
from heedful.objectives import next_unit
from heedful.policy import Batch, EventKind, load
from heedful.workspace import RUNS, Workspace
from tests.small_shop import COLUMNS, LENGTH, TINY, write_ratings


def kept(scores: list[float | None]) -> tuple[int, float | None]:
    """Return which of epochs with these scores is kept, and its score."""
    watch = Best(patience=9)
    for epoch, score in enumerate(scores):
        watch.look(epoch, score, nn.Linear(1, 1))
    return watch.epoch, watch.score


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.1, 0.3, 0.2], (1, 0.3)),
        ([0.1, 0.0, 0.05], (0, 0.1)),  # a zero is a score like another
        ([0.0, 0.0, 0.0], (2, 0.0)),  # nothing learned yet: going on is no reason to stop
        ([0.2, 0.2], (0, 0.2)),
        ([None, None], (1, None)),
    ],
)
def test_the_best_epoch_is_kept(scores: list[float | None], best: tuple[int, float | None]) -> None:
    assert kept(scores) == best


def test_what_was_not_validated_has_no_score(tmp_path: Path) -> None:
    file = tmp_path / "ratings.csv"
    rows = [f"user-{n},item-{n % 5},{n % 5 + 1},{n}" for n in range(20)]  # one unit a subject
    file.write_text("\n".join(["user,item,rating,position", *rows]))
    Workspace.create(tmp_path / "shop").close()
    with Workspace.open(tmp_path / "shop", TINY | COLUMNS) as workspace:
        workspace.import_file(file)
        version = workspace.pretrain()
        card = workspace.registry.card(version.name)
        assert "ndcg@10" not in card.metrics
        assert card.metrics["epoch"] == TINY["pretrain.epochs"] - 1
        assert workspace.evaluate(version).ranking is None
    (curve,) = (tmp_path / "shop" / RUNS).glob("*/metrics.jsonl")
    lines = [json.loads(line) for line in curve.read_text().splitlines()]
    assert not any("ndcg@10" in line for line in lines)


EVERYTHING = {
    "pretrain.crop": 0.5,
    "pretrain.mask": 0.1,
    "pretrain.substitute": 0.1,
    "pretrain.adversarial": 0.1,
}
KINDS: dict[str, Mapping[str, object]] = {
    "masked": {"pretrain.objective": "masked"},
    "both": {"pretrain.objective": "both"},
    "bidirectional": {
        "pretrain.objective": "both",
        "pretrain.bidirectional": True,
        "policy.kind": "transformer",
    },
    "defended": EVERYTHING,
    "all": {"pretrain.objective": "both", "pretrain.optimiser": "rmsprop", **EVERYTHING},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Workspace.create(tmp_path / "shop").close()
    with Workspace.open(tmp_path / "shop", TINY | COLUMNS) as workspace:
        workspace.import_file(write_ratings(tmp_path / "ratings.csv"))
    return tmp_path / "shop"


def opened(folder: Path, changes: Mapping[str, object]) -> Workspace:
    return Workspace.open(folder, TINY | {"policy.prior": False} | changes)


class Stops:
    """A reporter that stops the work after an epoch, as Ctrl-C would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def update(self, done: int, total: int, text: str = "") -> None:
        if done == self.after:
            raise KeyboardInterrupt

    def close(self) -> None:
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_taken_up_again_the_bits_are_the_same(folder: Path, kind: str) -> None:
    changes = {"pretrain.epochs": 3, "pretrain.patience": 9, **KINDS[kind]}
    with opened(folder, changes) as workspace:
        workspace.reporter = lambda _title: Stops(after=1)
        with pytest.raises(KeyboardInterrupt):
            workspace.pretrain()
        assert workspace.registry.versions() == []
    with opened(folder, changes) as workspace:
        resumed, undisturbed = (workspace.pretrain().name for _ in range(2))
    weights = {
        (folder / "policies" / name / "model.safetensors").read_bytes()
        for name in (resumed, undisturbed)
    }
    assert len(weights) == 1


def test_what_stopped_by_patience_does_not_go_on_when_it_is_taken_up(folder: Path) -> None:
    """Killed in the second member: the first one had its last epoch and is not trained further."""
    changes = {
        "policy.members": ["recurrent", "recurrent"],
        "pretrain.epochs": 9,
        "pretrain.patience": 1,
        "pretrain.learning_rate": 0.02,
    }
    passes: list[int] = []

    class Counts(Stops):
        def update(self, done: int, total: int, text: str = "") -> None:
            passes.append(done)
            super().update(done, total, text)

    with opened(folder, changes) as workspace:
        workspace.reporter = lambda _title: Counts(after=0)
        undisturbed = workspace.pretrain().name
        whole, members = passes.copy(), [n for n in passes if n == 1]
        assert len(members) == 2
        assert len(whole) < 18  # patience ended at least one of them
        end = len(whole) - whole[::-1].index(1) - 1  # passes of the first member
        passes.clear()

        class Second(Counts):
            def update(self, done: int, total: int, text: str = "") -> None:
                super().update(done, total, text)
                if len(passes) == end + 1:
                    raise KeyboardInterrupt

        workspace.reporter = lambda _title: Second(after=0)
        with pytest.raises(KeyboardInterrupt):
            workspace.pretrain()
        workspace.reporter = lambda _title: Counts(after=0)
        resumed = workspace.pretrain().name
    assert passes == whole
    files = [folder / "policies" / name / "model.safetensors" for name in (undisturbed, resumed)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.fixture
def training(folder: Path, request: pytest.FixtureRequest) -> Iterator[Training]:
    changes: Mapping[str, object] = request.param
    with opened(folder, changes) as workspace:
        yield trained_by(workspace)


def trained_by(workspace: Workspace) -> Training:
    bench = workspace.bench()
    snapshot = bench.log.snapshot()
    vocabulary = bench.domain.vocabulary(snapshot)
    torch.manual_seed(0)
    network = form.network_of(bench, bench.domain.schema(vocabulary))
    streams = bench.encode(snapshot, vocabulary)
    weights = lessons.chosen_by_people(streams) * leave_one_out(streams).train
    return Training(network, streams, bench.config.pretrain, weights, 40, seed=0)


def batches(training: Training) -> list[Batch]:
    return list(training.batches(0, np.random.default_rng(0)))


@pytest.mark.parametrize(
    "training", [KINDS[kind] for kind in ("masked", "both", "bidirectional", "all")], indirect=True
)
def test_what_is_held_out_is_never_read_by_what_asks_for_hidden_units(training: Training) -> None:
    slots, streams = training.streams.slots, training.streams
    held_out = [
        (stream, int(slots.event[slot]))
        for slot, stream in enumerate(slots.stream)
        if slots.weight[slot] == 0
    ]
    assert len(held_out) == 2 * len(streams)
    for epoch in range(3):
        for row in training.rows(epoch):
            inside = range(row.first, row.last)
            assert not any(stream == row.stream and at in inside for stream, at in held_out)


@pytest.mark.parametrize("training", [KINDS["both"]], indirect=True)
def test_both_asks_for_everything_next_and_a_share_hidden(training: Training) -> None:
    found = batches(training)
    gaps = sum(int(batch.gaps.sum()) for batch in found if batch.gaps is not None)
    asked = sum(int((batch.mask & ~gaps_of(batch)).sum()) for batch in found)
    learned = int((training.streams.slots.weight > 0).sum())
    assert asked == learned
    assert 0.1 * learned < gaps < 0.3 * learned


@pytest.mark.parametrize("training", [KINDS["masked"]], indirect=True)
def test_masked_asks_for_the_last_unit_and_a_share_hidden(training: Training) -> None:
    for batch in batches(training):
        assert bool(((batch.mask & ~gaps_of(batch)).sum(1) == 1).all())


@pytest.mark.parametrize("training", [KINDS["bidirectional"]], indirect=True)
def test_both_ways_takes_turns(training: Training) -> None:
    found = batches(training)
    assert [batch.both_ways for batch in found] == [False, True] * (len(found) // 2)
    assert [batch.gaps is None for batch in found] == [True, False] * (len(found) // 2)
    assert training.optimiser.schedule.steps == len(found) * training.section.epochs


@pytest.mark.parametrize("training", [EVERYTHING], indirect=True)
def test_defences_change_what_is_read_and_not_what_is_asked(training: Training) -> None:
    asked = {
        (int(batch.decisions[row, slot]), int(batch.units[row, slot]))
        for batch in batches(training)
        for row, slot in torch.nonzero(batch.mask & (batch.weights > 0)).tolist()
    }
    slots = training.streams.slots
    known = set(zip(slots.decision.tolist(), slots.unit.tolist(), strict=True))
    assert asked < known, "some were cropped away; none is another"
    read = torch.cat([b.events.unit[b.events.kind == EventKind.UNIT] for b in batches(training)])
    assert 0.05 < float((read == -1).float().mean()) < 0.2


def test_off_is_the_plain_next_unit(folder: Path) -> None:
    with opened(folder, {"pretrain.feedback_dropout": 0.0}) as workspace:
        training = trained_by(workspace)
        training.module.eval()
        for batch in batches(training):
            assert batch.gaps is None
            outputs = training.policy.forward(batch, frozenset({"logps", "feedback"}))
            channels = training.streams.schema.channels
            weight = Pretrain().feedback_weight
            plain = next_unit(outputs, batch, channels=channels, feedback_weight=weight)
            assert torch.equal(training.loss(batch).value, plain.value)


def gaps_of(batch: Batch) -> Tensor:
    return torch.zeros_like(batch.mask) if batch.gaps is None else batch.gaps


def test_a_policy_without_vectors_cannot_be_moved(folder: Path) -> None:
    class Table(nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, batch: Batch, need: frozenset[str]) -> Any:
            return self.inner(batch, need)

    with opened(folder, {"pretrain.adversarial": 0.1}) as workspace:
        training = trained_by(workspace)
        training.policy = training.module = Table(training.policy)  # type: ignore[assignment]
        with pytest.raises(ValueError, match="set it to 0"):
            training.loss(batches(training)[0])


@pytest.mark.parametrize(("rule", "decays"), [("adamw", True), ("adam", False), ("rmsprop", False)])
def test_only_decoupled_decay_is_used(folder: Path, rule: str, decays: bool) -> None:
    with opened(folder, {"pretrain.optimiser": rule}) as workspace:
        groups = trained_by(workspace).optimiser._rule.param_groups
    assert any(group["weight_decay"] > 0 for group in groups) == decays


def test_answers_to_units_held_out_are_not_learned_from(tmp_path: Path) -> None:
    """Other ratings of the last two units of everybody leave the same weights, to the bit."""
    file = write_ratings(tmp_path / "ratings.csv")
    header, *rows = file.read_text().splitlines()
    turned = [
        f"{user},{item},{6 - int(rating) if int(place) % LENGTH >= LENGTH - 2 else rating},{place}"
        for user, item, rating, place in (row.split(",") for row in rows)
    ]
    assert turned != rows
    found = []
    for name, lines in (("one", rows), ("other", turned)):
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *lines]))
        Workspace.create(tmp_path / name, secret="00" * 32).close()
        with Workspace.open(tmp_path / name, TINY | COLUMNS) as workspace:
            workspace.import_file(tmp_path / f"{name}.csv")
            version = workspace.pretrain()
            policy = load(workspace.registry.folder(version.name)).policy
            found.append(policy.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
