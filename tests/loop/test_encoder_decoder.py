"""An M2M-100 made here goes all the way: pre-training, DPO, PPO, and a service it replies in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heedful.contract import Session, Stream, as_rule, decide
from heedful.policy import load
from heedful.record import Kind, Outcome, Preference
from heedful.serve import DecisionAnswer, DecisionRequest, FeedbackRequest
from heedful.workspace import Workspace
from tests.loop.test_language_model import ASKED, FORMS, SETTINGS, made, speak

pytest.importorskip("transformers")
LEARNING = """
[reinforce]
objective = "dpo"
epochs = 6
batch = 16
learning_rate = 0.002
held_out = 0.0
[interact]
reward = "tests.loop.test_encoder_decoder:brief"
rounds = 12
environments = 24
learning_rate = 0.003
kl = 0.01
"""


def brief(
    prompts: Sequence[str], completions: Sequence[str], **columns: Sequence[Any]
) -> list[float | None]:
    """A taste that pre-training does not teach."""
    return [-len(completion) / 10 for completion in completions]


def replies(workspace: Workspace, version: str) -> list[str]:
    """Return 120 replies."""
    loaded, domain = load(workspace.registry.folder(version)), workspace.domain
    rng, said = torch.Generator().manual_seed(5), []
    for asked in ASKED:
        context = domain.heard([{"role": "user", "content": asked}], turn=0)  # type: ignore[attr-defined]
        drawn = decide(
            loaded.policy,
            [Session(Stream(domain, loaded.vocabulary)) for _ in range(40)],
            [context] * 40,
            [as_rule(domain.choices({}), loaded.vocabulary)] * 40,
            rng,
            length=domain.length,
            window=64,
            now=0.0,
        )
        names = loaded.vocabulary.units
        for row in drawn.acts.units.tolist():
            said.append(domain.text([names[u] for u in row if u >= 0]))  # type: ignore[attr-defined]
    return said


def beginning(said: list[str]) -> float:
    """Return how many begin as people like it."""
    return float(np.mean([reply.startswith("so") for reply in said]))


def compare(workspace: Workspace, rounds: int) -> None:
    """Serve pairs of replies to the same question, and prefer those that begin with "so"."""
    domain = workspace.domain
    with workspace.serving(seed=1) as service:
        for number in range(rounds):
            context = domain.heard(  # type: ignore[attr-defined]
                [{"role": "user", "content": ASKED[number % 3]}], turn=0
            )
            asked = [DecisionRequest(user=f"u{number}-{side}", context=context) for side in "ab"]
            first, second = service.decide(asked)
            assert isinstance(first, DecisionAnswer)
            assert isinstance(second, DecisionAnswer)
            likes = [domain.text(one.units).startswith("so") for one in (first, second)]  # type: ignore[attr-defined]
            if likes[0] == likes[1]:
                continue
            better, worse = (first, second) if likes[0] else (second, first)
            value = Preference(Outcome.CHOSEN, worse.id)
            service.feedback(
                [FeedbackRequest(decision=better.id, kind=Kind.PREFERENCE, value=value)]
            )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:reinforce:heedful.config.ConfigWarning")
def test_an_encoder_decoder_goes_all_the_way(tmp_path: Path) -> None:
    made(tmp_path / "w" / "model", "m2m_100", **FORMS["m2m_100"])
    settings = SETTINGS.format(more="") + LEARNING
    Workspace.create(tmp_path / "w", domain="dialogue", settings=settings).close()
    with Workspace.open(tmp_path / "w") as workspace:
        speak(workspace, 48)
        first = workspace.pretrain()
        workspace.promote(first, by="test")
        compare(workspace, 150)
        preferred = workspace.reinforce()
        assert workspace.registry.card(preferred.name).step == "reinforce"
        before = replies(workspace, first.name)
        assert beginning(replies(workspace, preferred.name)) > beginning(before) + 0.1
    with Workspace.open(tmp_path / "w", {"reinforce.objective": "ppo"}) as workspace:
        played = workspace.reinforce()
        lengths = [
            np.mean([len(reply) for reply in said])
            for said in (replies(workspace, played.name), before)
        ]
        assert lengths[0] < 0.8 * lengths[1]
        workspace.promote(played, by="test", why="to hear it speak")
        with workspace.serving() as service:
            context = workspace.domain.heard(  # type: ignore[attr-defined]
                [{"role": "user", "content": "tell me"}], turn=0
            )
            [answer] = service.decide([DecisionRequest(user="zoë", context=context)])
            assert isinstance(answer, DecisionAnswer)
            assert answer.policy == played.name
