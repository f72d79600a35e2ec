"""From a log of conversations to a reward of replies, and from a file to a reader of labels."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heedful.loop.replies import fit_classes, label_columns, reply_reward
from heedful.record import UNKNOWN, Decision, Feedback, Kind, Outcome, Preference, Value
from heedful.reward import Fitted, RewardError, scored
from heedful.store import Record
from heedful.store.log import Log
from heedful.workspace import Workspace
from tests.reward.logs import decision
from tests.reward.test_classes import labelled
from tests.reward.test_replies import BAD, GOOD
from tests.reward.test_replies import reply as worded

SETTINGS = """
[workspace]
domain = "dialogue"

[domain]
text = ["text.txt"]
vocabulary = 300

[pretrain]
split = "episode"

[reward]
kind = "ratings"
replies = "auto"
"""
N = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in whose log each question has a friendly reply and a rude one."""
    folder = tmp_path_factory.mktemp("replies") / "talk"
    Workspace.create(folder, domain="dialogue", settings=SETTINGS).close()
    (folder / "text.txt").write_text("\n".join([*GOOD, *BAD] * 20))
    with Workspace.open(folder) as workspace:
        rng = np.random.default_rng(0)
        replies = [
            _reply(workspace, number, side, worded(rng, kind))
            for number in range(N)
            for side, kind in enumerate((GOOD, BAD))
        ]
    _append(folder, replies)
    return folder


def _append(folder: Path, records: list[Record]) -> None:
    with Log.open(folder / "log.db", write=True) as log:
        log.append(records)


def _reply(workspace: Workspace, number: int, side: int, text: str) -> Decision:
    messages = [{"role": "user", "content": f"question {number}"}]
    return Decision(
        id=f"d{number}-{side}",
        episode=f"e{number}-{side}",
        step=0,
        subject=f"s{number}",
        units=workspace.domain.units(text),  # type: ignore[attr-defined]  # a Conversation
        logps=UNKNOWN,
        policy="p",
        made_at=float(number),
        context=workspace.domain.heard(messages, turn=0),  # type: ignore[attr-defined]
        choices="all",
        vocabulary=workspace.domain.vocabulary(workspace.log.snapshot()).digest(),
    )


def _said(number: int, side: int, kind: Kind, value: Value) -> Feedback:
    return Feedback(
        id=f"f{kind}{number}-{side}",
        by=f"s{number}",
        about=f"d{number}-{side}",
        kind=kind,
        value=value,
        given_at=100.0,
        received_at=100.0,
    )


@pytest.fixture
def talk(folder: Path, tmp_path: Path) -> Iterator[Workspace]:
    """A copy of that workspace that a test may add feedback to."""
    shutil.copytree(folder, tmp_path / "talk")
    with Workspace.open(tmp_path / "talk") as workspace:
        yield workspace


def test_preferences_teach_a_reward_that_whoever_talks_can_use(talk: Workspace) -> None:
    better = [Preference(Outcome.CHOSEN, f"d{number}-1") for number in range(N)]
    preferred = [_said(i, 0, Kind.PREFERENCE, one) for i, one in enumerate(better)]
    other = _said(1, 1, Kind.PREFERENCE, Preference(Outcome.CHOSEN, "d2-0"))
    _append(talk.folder, [*preferred, other])
    fit = talk.reward()
    assert 0.6 * N < fit.metrics["replies/comparisons"] < N  # some are held out
    assert fit.metrics["replies/comparisons_of_other_prompts"] == 1
    assert fit.metrics["replies/accuracy"] > 0.9
    assert abs(fit.metrics["replies/accuracy_longer"] - 0.5) < 0.5
    assert fit.metrics["replies/log_loss"] < fit.metrics["replies/log_loss_constant"]
    assert abs(fit.metrics["replies/length"]) <= 1
    reward = reply_reward(talk.bench())
    told = scored(reward, ["question 1"] * 2, ["thank you, glad to help", "go away"])
    assert told[0] > told[1]
    assert reply_reward(talk.bench(), fit.name)(["q"], ["hm"]) == reward(["q"], ["hm"])


def test_thumbs_and_ratings_do_where_nothing_was_compared(talk: Workspace) -> None:
    each = [(number, side) for number in range(N) for side in (0, 1)]
    _append(talk.folder, [_said(i, side, Kind.CLICK, side == 0) for i, side in each])
    metrics = talk.reward().metrics
    assert 1.2 * N < metrics["replies/thumbs"] < 2 * N
    assert metrics["replies/up"] == 0.5
    assert metrics["replies/auc"] > 0.95
    _append(talk.folder, [_said(i, side, Kind.RATING, 5.0 - 3.0 * side) for i, side in each])
    metrics = talk.reward().metrics  # ratings say more than thumbs
    assert 1.2 * N < metrics["replies/ratings"] < 2 * N
    assert metrics["replies/mae"] < 0.5 * metrics["replies/mae_constant"]
    folder = talk.folder
    talk.close()
    named = {"reward.replies": "thumbs", "reward.members": 3, "reward.pessimism": 1.0}
    with Workspace.open(folder, named) as again:
        assert again.reward().metrics["replies/spread"] > 0
        assert reply_reward(again.bench()).pessimism == 1.0


def test_plain_text_in_the_log_is_no_obstacle(talk: Workspace) -> None:
    text = replace(_reply(talk, N, 0, "it says thank you"), context={}, id="text", episode="text")
    each = [(number, side) for number in range(N) for side in (0, 1)]
    _append(talk.folder, [text, *(_said(i, side, Kind.CLICK, side == 0) for i, side in each)])
    assert talk.reward().metrics["replies/auc"] > 0.95


def test_too_little_is_refused_with_what_there_is(talk: Workspace) -> None:
    _append(talk.folder, [_said(number, 0, Kind.CLICK, True) for number in range(3)])
    with pytest.raises(RewardError, match="holds 0 comparisons, 0 ratings, 3 thumbs that may"):
        talk.reward()
    with pytest.raises(RewardError, match=r"no reward of replies .* set reward\.replies"):
        reply_reward(talk.bench())


def test_a_domain_without_conversations_has_no_replies(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "shop", domain="recommendation").close()
    _append(tmp_path / "shop", [decision(1, "ada", ["a", "b", "c"])])
    with (
        Workspace.open(tmp_path / "shop", {"reward.replies": "auto"}) as shop,
        pytest.raises(RewardError, match="reads conversations, and recommendation has none"),
    ):
        shop.reward()


def test_labels_from_a_file_are_fitted_measured_and_named_on_the_card(
    talk: Workspace, tmp_path: Path
) -> None:
    texts, labels = labelled(4)
    rows = [
        "text,label",
        *(f'"{t} {i}",{label}' for i, (t, label) in enumerate(zip(texts, labels, strict=True))),
    ]
    (talk.folder / "labels.csv").write_text("\n".join(rows))
    folder = talk.folder
    talk.close()
    asked = {"reward.replies": "none", "reward.labels_file": "labels.csv"}
    with Workspace.open(folder, asked) as again:
        fit = again.reward()
        assert fit.metrics["labels/messages"] == 48
        assert fit.metrics["labels/classes"] == 3
        assert fit.metrics["labels/accuracy"] > fit.metrics["labels/accuracy_majority"] + 0.3
        shelf = again.bench().shelf
        classes = Fitted.load(shelf.folder(fit.name)).classes
        assert classes is not None
        assert classes.facts("intent", ["thank you"])[0]["intent"] == "thanks"
        card = json.loads((shelf.folder(fit.name) / "card.json").read_text())
        assert len(card["configuration"]["classes"]["sha256"]) == 64
        asks = [
            {"role": "user", "content": "hello there"},
            {"role": "user", "content": "thank you"},
        ]
        columns = label_columns(again.bench(), [{"messages": asks}, {"messages": asks[:1]}])
        assert columns["label"][0] == "thanks"
        assert {name for name in columns if "." in name} == {
            f"label.{one}" for one in classes.labels
        }
        assert sum(columns[f"label.{one}"][1] for one in classes.labels) == pytest.approx(1)
    with Workspace.open(folder, {"reward.replies": "none"}) as without:
        assert label_columns(without.bench(), [{"messages": asks}]) == {}


def test_a_label_that_is_missing_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("text,label\nfine,good\nhm,\n")
    with pytest.raises(RewardError, match=r"labels\.csv: line 3: there is no label"):
        fit_classes(file)
