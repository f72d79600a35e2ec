"""A workspace of conversations that learns as its feedback asks for, and by playing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heedful.config import Config
from heedful.domains.dialogue import Dialogue
from heedful.loop.improve import openings
from heedful.loop.router import NothingToLearnError
from heedful.record import UNKNOWN, Decision, Feedback, Kind, Outcome, Preference
from heedful.reward import RewardError
from heedful.store import Record, Snapshot
from heedful.workspace import Workspace
from tests.cli.calls import run

SETTINGS = """\
[workspace]
domain = "dialogue"

[domain]
text = ["corpus.txt"]
vocabulary = 290
reply = 6
prompt = 16

[policy]
kind = "transformer"
width = 16
layers = 1
window = 64
prior = false

[pretrain]
epochs = 12
batch = 8
ema = 0.0
learning_rate = 0.01
validation = false

[reinforce]
epochs = 2
learning_rate = 0.001
batch = 16

[interact]
rounds = 2
environments = 8
group = 4
reward = "tests.loop.test_improve:shouts"
"""


def shouts(prompts: Sequence[str], completions: Sequence[str], **_: Any) -> list[float | None]:
    """Judge replies by how loud they are; of silence there is nothing to say."""
    return [float(text.count("!")) if text else None for text in completions]


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Workspace]:
    """Return a workspace whose first version is live, and in which people compared replies."""
    (tmp_path / "corpus.txt").write_text("a! b? c. a b c ! ? .\n" * 40)
    Workspace.create(tmp_path, settings=SETTINGS).close()
    with Workspace.open(tmp_path) as workspace:
        append(workspace, list(compared(workspace.domain)))
        workspace.promote(workspace.pretrain(), by="test", why="the first")
        yield workspace


def append(workspace: Workspace, records: list[Record]) -> None:
    with workspace.writing() as log:
        receipts = log.append(records, choice_sets=[workspace.domain.choices({})])
    assert {receipt.status for receipt in receipts} == {"added"}


def reply(domain: Any, name: str, asked: str, text: str) -> Decision:
    assert isinstance(domain, Dialogue)
    return Decision(
        id=name,
        episode=f"talk-{name}",
        step=0,
        subject=f"somebody-{name}",
        units=domain.units(text),
        logps=UNKNOWN,
        policy="elsewhere",
        made_at=0.0,
        context=domain.heard([{"role": "user", "content": asked}], turn=0),
        choices=domain.choices({}).digest(),
        vocabulary="elsewhere",
    )


def said(about: str, kind: Kind, value: Any, name: str = "") -> Feedback:
    return Feedback(
        id=f"{about}/{kind}/{name}",
        by="who",
        about=about,
        kind=kind,
        value=value,
        given_at=0.0,
        received_at=0.0,
    )


def compared(domain: Any) -> Iterator[Record]:
    for number in range(24):
        asked = "abc"[number % 3] + "?" * (number % 4)
        yield reply(domain, f"{number}-loud", asked, "a!")
        yield reply(domain, f"{number}-calm", asked, "b.")
        chosen = Preference(Outcome.CHOSEN, f"{number}-calm")
        yield said(f"{number}-loud", Kind.PREFERENCE, chosen)


def with_settings(workspace: Workspace, **keys: object) -> None:
    """Change ``section__key`` settings of an open workspace."""
    data = json.loads(workspace.config.model_dump_json(by_alias=True))
    for key, value in keys.items():
        section, _, name = key.partition("__")
        data[section][name] = value
    workspace.config = Config.model_validate(data)


def metrics_of(workspace: Workspace, version: Any) -> dict[str, Any]:
    return dict(workspace.registry.card(version.name).metrics)


def test_comparisons_go_to_dpo_and_once_learned_they_are_not_learned_again(
    talk: Workspace,
) -> None:
    learns = talk.canary().learns
    assert learns is not None
    assert learns.to_dict() == {
        "objective": "dpo",
        "asked": "auto",
        "uses": {"reinforce": 0, "dpo": 48, "ipo": 48, "kto": 0, "regression": 0},
    }
    version = talk.reinforce()
    metrics = metrics_of(talk, version)
    assert (metrics["objective"], metrics["could_learn_from"]) == ("dpo", {"dpo": 48, "ipo": 48})
    assert metrics["chosen_reward"] > metrics["rejected_reward"]
    assert metrics["rows"] + 2 <= 24
    assert list((talk.runs / "reference").glob("*.safetensors"))
    talk.promote(version, by="test", why="to go on")
    learns = talk.canary().learns
    assert learns is not None
    assert set(learns.found.uses().values()) == {0}


def test_thumbs_go_to_kto_and_ratings_to_regression(talk: Workspace) -> None:
    append(
        talk,
        [
            said(f"{n}-{how}", Kind.CLICK, how == "loud")
            for n in range(24)
            for how in ("loud", "calm")
        ],
    )
    with_settings(talk, reinforce__objective="kto")
    metrics = metrics_of(talk, talk.reinforce())
    assert metrics["objective"] == "kto"
    assert metrics["liked_reward"] > metrics["disliked_reward"]
    with_settings(talk, reinforce__objective="regression", reward__kind="ratings")
    refused = talk.canary()
    assert refused.learns is None
    assert "decisions of which [reward] reads a number" in refused.refused
    with pytest.raises(NothingToLearnError, match='It can feed "dpo" \\(48\\)'):
        talk.reinforce()
    append(
        talk,
        [
            said(f"{n}-{how}", Kind.RATING, 4.0 + (how == "loud"))
            for n in range(24)
            for how in ("loud", "calm")
        ],
    )
    metrics = metrics_of(talk, talk.reinforce())
    assert (metrics["objective"], metrics["rows"] > 30) == ("regression", True)


@pytest.mark.parametrize("objective", ["ppo", "rloo", "grpo"])
def test_it_plays_against_a_judge(talk: Workspace, objective: str) -> None:
    with_settings(talk, reinforce__objective=objective)
    version = talk.reinforce()
    metrics = metrics_of(talk, version)
    assert metrics["objective"] == objective
    assert metrics["sampler_gap"] < 1e-4
    assert "collapse" not in metrics
    assert ("dead_groups" in metrics) == (objective != "ppo")
    samples = (next(talk.runs.glob("*/samples.jsonl"))).read_text().splitlines()
    assert set(json.loads(samples[0])) == {"step", "context", "decision", "reward"}


def test_only_what_somebody_asked_is_asked_again(talk: Workspace) -> None:
    """Plain text lies in the log as well, and decisions that nobody asked in words."""
    text = reply(talk.domain, "text", "", "a b c")
    text, bare = (
        replace(text, id=n, episode=n, context=c) for n, c in (("t", {}), ("b", {"x": 1}))
    )
    append(talk, [text, bare])
    asked = openings(talk.domain, talk.log.snapshot())  # type: ignore[arg-type]
    assert len(asked) == 12
    assert all(context["messages"] for context in asked)
    unasked = Snapshot.of([text, bare], choice_sets=[talk.domain.choices({})])
    with pytest.raises(ValueError, match="nothing to ask"):
        openings(talk.domain, unasked)  # type: ignore[arg-type]


def test_without_a_judge_or_an_environment_it_says_what_to_do(talk: Workspace) -> None:
    with_settings(talk, reinforce__objective="ppo", interact__reward="")
    with pytest.raises(RewardError, match=r"\[interact\] reward"):
        talk.reinforce()
    with_settings(talk, interact__reward="tests.loop.test_improve:deaf")
    with pytest.raises(RewardError, match="test_improve:deaf"):
        talk.reinforce()


def test_the_reward_that_was_fitted_to_the_log_judges_where_none_is_named(talk: Workspace) -> None:
    with_settings(talk, reward__replies="comparisons")
    talk.reward()
    with_settings(talk, reinforce__objective="ppo", interact__reward="")
    talk.reinforce()
    samples = next(talk.runs.glob("*/samples.jsonl")).read_text().splitlines()
    assert len({json.loads(line)["reward"] for line in samples}) > 1


def test_a_collapse_leaves_the_last_policy_that_was_well_and_says_so(talk: Workspace) -> None:
    changes = {"learning_rate": 1.0, "rounds": 30, "kl": 0.0, "clip_high": 1e3, "patience": 1}
    with_settings(
        talk, reinforce__objective="ppo", **{f"interact__{k}": v for k, v in changes.items()}
    )
    metrics = metrics_of(talk, talk.reinforce())
    assert metrics["collapsed"] == 1.0
    assert metrics["collapse"]


def test_the_command_says_so_and_fails(talk: Workspace) -> None:
    """What is left can be tried all the same: it is a candidate."""
    talk.close()
    settings = ("reinforce.objective=ppo", "interact.learning_rate=1.0", "interact.rounds=30")
    settings += ("interact.kl=0.0", "interact.clip_high=1000.0", "interact.patience=1")
    words = [word for setting in settings for word in ("--set", setting)]
    done = run("reinforce", talk.folder, *words)
    assert done.exit_code == 1
    assert "learning collapsed and was stopped: " in done.stderr
    assert "is a candidate" in done.stdout
    done = run("canary", talk.folder)
    assert "heedful reinforce learns by dpo, chosen by the log" in " ".join(done.stdout.split())
