"""No step learns from what is held out: neither which units they were, nor the answers to them."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heedful.loop.reward import train_units
from heedful.record import ALL_UNITS, Kind
from heedful.store.columns import Texts
from heedful.store.log import Log
from heedful.store.snapshot import Snapshot
from heedful.workspace import Workspace
from tests.loop.test_reward import GUESSED, at
from tests.loop.test_reward import opened as opened

KINDS = list(Kind)
READ = {
    "reward.kind": "ratings",
    "reward.comments": True,
    "reward.normalise": "subject",
}
FAR = {
    "reinforce.gamma": 0.9,
    "reinforce.lam": 1.0,
    "reinforce.next_unit": 0.5,
    "reinforce.learning_rate": 1e-3,
    "pretrain.learning_rate": 0.02,
}


def turned(snapshot: Snapshot, held_out: np.ndarray) -> Snapshot:
    """Return ``snapshot`` with other answers to the units ``held_out``, bool [M]."""
    feedback, decisions = snapshot.feedback, snapshot.decisions
    known = feedback.decision >= 0
    first = decisions.offsets[np.where(known, feedback.decision, 0)]
    last = decisions.offsets[np.where(known, feedback.decision, 0) + 1] - 1
    flat = np.where(feedback.unit == ALL_UNITS, last, first + feedback.unit)
    about = known & held_out[flat]
    value = feedback.value.copy()
    for kind, opposite in ((Kind.CLICK, 1.0), (Kind.RATING, 6.0)):
        rows = about & (feedback.kind == KINDS.index(kind))
        value[rows] = opposite - value[rows]
    comment = about & (feedback.kind == KINDS.index(Kind.COMMENT))
    texts = [
        "dreadful, a waste" if turn else text
        for turn, text in zip(comment.tolist(), feedback.texts, strict=True)
    ]
    assert about.sum() > 20
    return replace(snapshot, feedback=replace(feedback, value=value, texts=Texts.of(texts)))


def renamed(snapshot: Snapshot, held_out: np.ndarray) -> Snapshot:
    """Return ``snapshot`` with other units in the place of those ``held_out``, bool [M]."""
    decisions = snapshot.decisions
    units = decisions.units.copy()
    units[held_out] = (units[held_out] + 1) % len(snapshot.names.units)
    return replace(snapshot, decisions=replace(decisions, units=units))


def kept_bits(folder: Path) -> dict[str, bytes]:
    """Return what the newest version and the newest reward consist of."""
    found = {}
    for kind in ("policies", "rewards"):
        newest = max((folder / kind).glob("[0-9]*"), default=None)
        assert newest is not None or kind == "rewards"
        files = sorted(newest.rglob("*")) if newest else []
        files = [f for f in files if f.is_file() and f.name not in ("card.json", "manifest.json")]
        found |= {f"{kind}/{file.parent.name}/{file.name}": file.read_bytes() for file in files}
    return found


def reinforced(workspace: Workspace) -> None:
    workspace.reinforce("0002")


def rewarded(workspace: Workspace) -> None:
    workspace.reward()


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        (FAR, reinforced),
        (READ, rewarded),
        (GUESSED, rewarded),
    ],
    ids=["reinforce", "comments and scales", "answers"],
)
def test_answers_to_what_is_held_out_change_nothing(
    opened: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    step: Callable[[Workspace], None],
) -> None:
    bits = {}
    snapshot_of = Log.snapshot
    for name in ("true", "turned", "learned from"):
        folder = Path(shutil.copytree(opened, tmp_path / name))
        with at(folder, settings) as workspace:
            train = train_units(workspace.bench(), workspace.log.snapshot())
            some = train & (np.arange(len(train)) % 3 == 0)
            nothing = np.zeros_like(train)
            changed = {"true": nothing, "turned": ~train, "learned from": some}[name]

            def look(log: Log, watermark: int | None = None, *, change=changed) -> Snapshot:
                found = snapshot_of(log, watermark)
                return turned(found, change) if change.any() else found

            monkeypatch.setattr(Log, "snapshot", look)
            step(workspace)
            monkeypatch.setattr(Log, "snapshot", snapshot_of)
        bits[name] = kept_bits(folder)
    assert bits["true"] == bits["turned"]
    assert bits["true"] != bits["learned from"]  # else the above would prove nothing


def test_the_prior_counts_no_unit_that_is_held_out(
    opened: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which weight it gets is for validation to say, so that is fixed."""
    monkeypatch.setattr("heedful.loop.form.PRIOR_WEIGHTS", (1.0,))
    monkeypatch.setattr("heedful.loop.form.PRIOR_DEPTHS", (2,))
    bits = []
    snapshot_of = Log.snapshot
    for name in ("true", "renamed"):
        folder = Path(shutil.copytree(opened, tmp_path / name))
        with at(folder, {"pretrain.epochs": 1, "policy.prior": True}) as workspace:
            train = train_units(workspace.bench(), workspace.log.snapshot())

            changed = ~train if name == "renamed" else np.zeros_like(train)

            def look(log: Log, watermark: int | None = None, *, change=changed) -> Snapshot:
                return renamed(snapshot_of(log, watermark), change)

            monkeypatch.setattr(Log, "snapshot", look)
            workspace.pretrain()
            monkeypatch.setattr(Log, "snapshot", snapshot_of)
        bits.append(kept_bits(folder))
    assert bits[0] == bits[1]


def test_what_people_earned_weighs_in_pre_training_where_that_is_asked_for(
    opened: Path, tmp_path: Path
) -> None:
    bits = []
    for weight in (0.0, 0.9):
        folder = Path(shutil.copytree(opened, tmp_path / str(weight)))
        with at(folder, {"reward.kind": "ratings", "pretrain.reward_weight": weight}) as workspace:
            workspace.pretrain()
        bits.append(kept_bits(folder))
    assert bits[0] != bits[1]
