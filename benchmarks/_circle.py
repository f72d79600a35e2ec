"""The circle for conversations: people talk, a policy learns from the log, and is judged."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._talkers import (
    KIND,
    LONGER,
    SHORTER,
    asking,
    corpus,
    history,
    n_sentences,
    parts,
    people,
    sentence,
    talk,
    written,
)
from heedful.config import ConfigWarning
from heedful.contract import Session, Stream, as_rule, decide
from heedful.demo import Clock
from heedful.domains.dialogue import Dialogue
from heedful.loop.wins import Wins, wins
from heedful.policy import load
from heedful.record import UNKNOWN, Decision, Feedback, Kind, Value
from heedful.workspace import Workspace

SETTINGS = """\
[workspace]
domain = "dialogue"
seed = {seed}

[domain]
text = ["corpus.txt"]
vocabulary = 400
reply = 32
prompt = 32

[policy]
kind = "transformer"
width = 64
layers = 2
dropout = 0.0
window = 256
prior = false
plain = true

[pretrain]
epochs = 40
learning_rate = 0.003
validation = false
feedback_dropout = 0.1

[gate]
window = 1000
minimum_subjects = 100
maximum_subjects = 1500
not_more = {{ flagged = 0.05 }}

[serve]
floor = 0.0001
"""
AN_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything: people of each group, groups of a round, rounds, and history."""

    people: int = 200
    groups: int = 5
    rounds: int = 3
    history: int = 800


def circle(folder: Path, seed: int, scale: Scale) -> dict[str, Any]:
    """Let the circle turn in a new workspace; return what each round brought, as JSON."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "corpus.txt").write_text(corpus(500, seed), "utf-8")
    Workspace.create(folder, settings=SETTINGS.format(seed=seed), secret="00" * 32).close()
    with Workspace.open(folder) as workspace:
        domain = workspace.domain
        assert isinstance(domain, Dialogue)
        workspace.clock = clock = Clock(1e9)
        with workspace.writing() as log:
            choices = [domain.choices({})]
            log.append(list(history(domain, scale.history, 1000 + seed)), choice_sets=choices)
        first = workspace.promote(workspace.pretrain(), by="benchmark", why="the first")
        rng = np.random.default_rng(seed)
        with workspace.serving() as service:
            rounds = []
            for number in range(scale.rounds + 1):
                turn = None if number == 0 else _turn(workspace)
                found, won = [], None
                for group in range(scale.groups):
                    some = people(scale.people, f"person-{number}-{group}", rng)
                    found.append(talk(service, domain, some, rng))
                    clock.now += AN_HOUR
                    trial = workspace.registry.trial()
                    if trial is not None:
                        won = wins(workspace.bench(), trial)
                        turn = _turn(workspace)
                worth = np.concatenate(found)
                rounds.append(_round(workspace, worth, turn, won))
        live = workspace.registry.live()
        assert live is not None
        asked = {
            name: conditioned(workspace, version)
            for name, version in (("pre-trained", first.name), ("after the circle", live.name))
        }
    return {"rounds": rounds, "asked": asked}


def _turn(workspace: Workspace) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConfigWarning)
        return workspace.turn()


def _round(workspace: Workspace, worth: np.ndarray, turn: Any, won: Wins | None) -> dict[str, Any]:
    live = workspace.registry.live()
    assert live is not None
    found = {"gold": worth.mean(1).tolist(), "live": live.name, "action": "first"}
    if turn is not None:
        found |= {"action": turn.action, "policy": turn.policy, "words": turn.words}
        found |= {"wins": None if won is None else won.to_dict()}
    return found


# What feedback in the conversation does to the next reply


def conditioned(workspace: Workspace, version: str, n: int = 400) -> dict[str, list[float]]:
    """Return what each kind of feedback changes in the next reply of ``version``, [n] each.

    The same conversations with the feedback and without it, drawn with the same random numbers:
    sentences after a comment that asks for fewer or for more, and whether it is kind after a thumb
    down.
    """
    domain = workspace.domain
    assert isinstance(domain, Dialogue)
    loaded = load(workspace.registry.folder(version))
    rng = np.random.default_rng(7)
    begun = [
        (str(topic), str(rng.choice(("rain", "bread"))))
        for topic in rng.choice(("cats", "ships"), n)
    ]
    replies = [written(1, [sentence(t, rng) for _ in range(2)]) for t, _ in begun]

    def next_replies(kind: Kind | None, value: Value | None) -> list[str]:
        sessions = []
        for (topic, _), reply in zip(begun, replies, strict=True):
            stream = Stream(domain, loaded.vocabulary)
            stream.append(_said(domain, topic, reply))
            if kind is not None:
                stream.append(_told(kind, value))
            sessions.append(Session(stream))
        drawn = decide(
            loaded.policy,
            sessions,
            [asking(domain, topic, 1) for _, topic in begun],
            [as_rule(domain.choices({}), loaded.vocabulary)] * n,
            torch.Generator().manual_seed(3),
            length=domain.length,
            window=workspace.config.policy.window,
            now=float("nan"),
        )
        units = [
            [loaded.vocabulary.units[u] for u in row if u >= 0] for row in drawn.acts.units.tolist()
        ]
        return [domain.text(row) for row in units]

    plain = next_replies(None, None)
    shorter, longer = (next_replies(Kind.COMMENT, text) for text in (SHORTER, LONGER))
    down = next_replies(Kind.CLICK, False)
    return {
        "sentences after “shorter please”": _apart([n_sentences(r) for r in shorter], plain),
        "sentences after “longer please”": _apart([n_sentences(r) for r in longer], plain),
        "kind replies after a thumb down": [
            float(parts(a)[0] == KIND) - float(parts(b)[0] == KIND)
            for a, b in zip(down, plain, strict=True)
        ],
    }


def _apart(counts: Sequence[int], plain: Sequence[str]) -> list[float]:
    return [float(count - n_sentences(reply)) for count, reply in zip(counts, plain, strict=True)]


def _said(domain: Dialogue, topic: str, reply: str) -> Decision:
    return Decision(
        id="d",
        episode="e",
        step=0,
        subject="somebody",
        units=domain.units(reply),
        logps=UNKNOWN,
        policy="people",
        made_at=0.0,
        context=asking(domain, topic, 0),
        choices=domain.choices({}).digest(),
        vocabulary="people",
    )


def _told(kind: Kind, value: Value | None) -> Feedback:
    return Feedback(
        id="f", by="somebody", about="d", kind=kind, value=value, given_at=1.0, received_at=1.0
    )
