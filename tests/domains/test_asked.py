"""Prompts, replies, and a function that judges them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from heedful.domains.dialogue import Dialogue
from heedful.domains.dialogue.environment import Asked
from heedful.loop.rollouts import Recorded
from heedful.policy import Transformer
from heedful.reward import RewardError
from heedful.store import Snapshot

PROMPTS = [{"messages": [{"role": "user", "content": text}], "turn": 0} for text in "abc"]


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Dialogue:
    folder = tmp_path_factory.mktemp("asked")
    (folder / "text.txt").write_text("a b c d e f. " * 50)
    return Dialogue({"text": ["text.txt"], "vocabulary": 280, "prompt": 16, "reply": 4}, folder)


def letters(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
    return [float(len(text)) for text in completions]


def asked(domain: Dialogue, n: int = 4, **options: Any) -> Asked:
    made = domain.environment(n, 0, {"prompts": PROMPTS, "judge": letters, **options})
    assert isinstance(made, Asked)
    return made


def said(domain: Dialogue, *texts: str) -> np.ndarray:
    vocabulary = domain.vocabulary(Snapshot.of([]))
    return np.stack([domain.action(domain.units(text), vocabulary) for text in texts])


def test_a_group_is_asked_the_same_and_says_so(domain: Dialogue) -> None:
    environment = asked(domain, 6, group=3)
    for observation, info in (environment.reset(seed=1), environment._ask()):
        assert len(set(observation[:3])) == len(set(observation[3:])) == 1
        assert len(set(info["group"][:3])) == len(set(info["group"][3:])) == 1
        assert info["group"][0] != info["group"][3]
    assert environment.reset(seed=1)[0].tolist() == environment.reset(seed=1)[0].tolist()
    with pytest.raises(ValueError, match="multiple of the group"):
        asked(domain, 4, group=3)


def test_replies_are_judged_as_text_and_every_conversation_is_over(domain: Dialogue) -> None:
    environment = asked(domain, 2)
    environment.reset(seed=0)
    _, rewards, terminated, truncated, info = environment.step(said(domain, "ab", ""))
    assert rewards.tolist() == [2.0, 0.0], "an empty reply is judged like any other"
    assert terminated.all()
    assert not truncated.any()
    assert info["scored"].all()


def test_a_reply_without_its_end_earns_what_was_said_or_is_not_scored(domain: Dialogue) -> None:
    cut = said(domain, "abc")
    cut[cut == int(domain._vocabulary.indexes([domain.template.end])[0])] = cut[0, 0]
    environment = asked(domain, 1, unfinished=-1.0)
    environment.reset()
    assert environment.step(cut)[1].tolist() == [-1.0]
    environment = asked(domain, 1)
    environment.reset()
    assert environment.step(cut)[4]["scored"].tolist() == [False]


@pytest.mark.parametrize(
    ("gives", "words"),
    [
        ([1.0], "returned 1 numbers for 2 completions"),
        ([1.0, math.nan], "row 1"),
        (["good", 1.0], "row 0"),
    ],
)
def test_a_judge_that_gives_no_number_is_named(
    domain: Dialogue, gives: list[Any], words: str
) -> None:
    def strict(prompts: Any, completions: Any) -> Any:
        return gives

    environment = asked(domain, 2, judge=strict)
    environment.reset()
    with pytest.raises(RewardError, match=f"strict.*{words}"):
        environment.step(said(domain, "one", "two"))


def test_what_a_judge_has_no_opinion_of_is_not_scored(domain: Dialogue) -> None:
    environment = asked(domain, 2, judge=lambda prompts, completions: [None, 2.0])
    environment.reset()
    _, rewards, _, _, info = environment.step(said(domain, "one", "two"))
    assert info["scored"].tolist() == [False, True]
    assert rewards.tolist() == [0.0, 2.0]


def test_columns_reach_the_judge_with_their_prompts(domain: Dialogue) -> None:
    seen: list[tuple[str, object]] = []

    def judge(prompts: Sequence[str], completions: Sequence[str], topic: Sequence[object]) -> Any:
        seen.extend(zip(prompts, topic, strict=True))
        return [0.0] * len(prompts)

    environment = asked(domain, 3, judge=judge, columns={"topic": ["A", "B", "C"]})
    environment.reset(seed=3)
    environment.step(said(domain, "x", "y", "z"))
    assert sorted(seen) == [("a", "A"), ("b", "B"), ("c", "C")]


def test_what_was_drawn_is_what_is_replayed_and_no_conversation_leaks(domain: Dialogue) -> None:
    """Two rounds of one environment: the second conversation knows nothing of the first."""
    vocabulary = domain.vocabulary(Snapshot.of([]))
    torch.manual_seed(0)
    policy = Transformer(domain.schema(vocabulary), width=16, layers=1).double().eval()
    rollouts = Recorded(
        domain,
        vocabulary,
        asked(domain, 2, unfinished=None, group=2),
        decisions=2,
        window=64,
        gamma=1.0,
        seed=0,
        fresh=True,
        text=domain.text,
    )
    rollout = rollouts.play(policy, 0)
    batch = rollout.batch
    assert len(batch) == 4
    logps = policy.forward(batch, frozenset({"logps"})).logps
    assert logps is not None
    torch.testing.assert_close(
        logps[batch.mask], batch.behaviour_logps[batch.mask], rtol=0, atol=1e-9
    )
    cut = batch.mask.sum(1) == 4
    assert bool(torch.isnan(batch.rewards[cut]).all(1).any()) or not bool(cut.any())
    assert batch.groups is not None
    assert batch.groups[:, 0].tolist() in ([0, 1, 0, 1], [0, 0, 1, 1])
    assert set(rollout.metrics) == {"unscored", "unfinished"}
    assert set(rollout.samples[0]) == {"context", "decision", "reward"}
