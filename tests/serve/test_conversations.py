"""A domain of conversations behind the server: several at once, and none hears of another."""

import random
from pathlib import Path

import pytest
import torch

from heedful.domains.dialogue import Dialogue, Tokenizer
from heedful.policy.huggingface import HuggingFace
from heedful.record import Kind
from heedful.serve import DecisionAnswer, DecisionRequest, EndRequest, FeedbackRequest
from heedful.store import Snapshot
from tests.serve.world import Workspace, add_version, load_exactly, replay_error

WORDS = ["a", "tree", "is", "what", "people", "say", "about", "other", "trees"]


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Dialogue:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "text.txt").write_text(" ".join(WORDS) * 20)
    return Dialogue({"text": ["text.txt"], "vocabulary": 300, "prompt": 12, "reply": 5}, folder)


class Talk:
    """People in two conversations each, who answer, comment and come back, from a seed."""

    def __init__(self, workspace: Workspace, domain: Dialogue, seed: int) -> None:
        self.workspace, self.domain = workspace, domain
        self.random = random.Random(seed)
        self.turns: dict[tuple[str, str], int] = {}
        self.open = ["x", "y"]
        self.answers: list[tuple[str, DecisionAnswer]] = []

    def go_on(self, service, n: int) -> None:
        for _ in range(n):
            self.workspace.clock.now += self.random.random()
            happens = self.random.random()
            if self.answers and happens < 0.4:
                self.answer(service)
            elif self.turns and happens < 0.5:
                self.end(service)
            else:
                self.say(service)

    def say(self, service) -> None:
        user, session = self.random.choice(("ada", "bob")), self.random.choice(self.open)
        turn = self.turns.get((user, session), 0)
        self.turns[user, session] = turn + 1
        said = " ".join(self.random.choices(WORDS, k=3))
        context = self.domain.heard([{"role": "user", "content": said}], turn=turn)
        [answer] = service.decide([DecisionRequest(user=user, session=session, context=context)])
        assert isinstance(answer, DecisionAnswer)
        self.answers.append((user, answer))

    def end(self, service) -> None:
        over = self.open.pop(0)
        self.open.append(f"{over}+")
        users = [user for user, session in self.turns if session == over]
        service.end([EndRequest(user=user, session=over) for user in users])

    def answer(self, service) -> None:
        _, answer = self.random.choice(self.answers)
        kind, value = self.random.choice(
            [(Kind.CLICK, True), (Kind.CLICK, False), (Kind.RATING, 4.0), (Kind.COMMENT, "a tree")]
        )
        service.feedback([FeedbackRequest(decision=answer.id, kind=kind, value=value)])


@pytest.mark.parametrize("seed", range(3))
def test_replies_replay_from_the_log_as_they_were_served(
    tmp_path: Path, domain: Dialogue, seed: int
) -> None:
    workspace = Workspace(tmp_path, domain=domain)
    talk = Talk(workspace, domain, seed)
    for _ in range(2):  # the second service reads the first one's conversations from the log
        with workspace.serve(load=load_exactly, seed=seed) as service:
            talk.go_on(service, 25)
    assert replay_error(workspace, load=load_exactly) < 1e-9
    assert len(set(workspace.log.snapshot().names.episodes)) == len(talk.turns) > 2
    workspace.close()


def test_a_model_of_hugging_face_is_talked_to(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = Tokenizer.train([" ".join(WORDS) * 20], 300)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer) + 4,  # as some are padded to a round number
        n_positions=128,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=tokenizer.start,
        eos_token_id=tokenizer.end,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save(tmp_path / "model")
    domain = Dialogue({"model": "model", "prompt": 12, "reply": 5}, tmp_path)
    vocabulary = domain.vocabulary(Snapshot.of([]))
    policy = HuggingFace.from_folder(
        tmp_path / "model", domain.schema(vocabulary), marks=domain.marks
    )
    workspace = Workspace(tmp_path, domain=domain, live=False)
    version = add_version(
        workspace.registry, seed=0, units=vocabulary.units, domain=domain, policy=policy
    )
    workspace.registry.promote(version, by="test", why="the first")
    messages = []
    with workspace.serve(load=load_exactly, window=64) as service:
        for thumb in (True, False, True):
            messages.append({"role": "user", "content": "people say trees"})
            [reply] = service.decide([DecisionRequest(user="ada", messages=messages)])
            assert isinstance(reply, DecisionAnswer)
            messages.append({"role": "assistant", "content": reply.text or ""})
            said = FeedbackRequest(decision=reply.id, kind=Kind.CLICK, value=thumb)
            service.feedback([said])
    assert set(workspace.log.snapshot().decisions.episode.tolist()) == {0}
    assert replay_error(workspace, load=load_exactly, window=64) < 1e-9
    workspace.close()
