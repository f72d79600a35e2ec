"""A model in Hugging Face's layout goes through the steps: pre-training, serving, fine-tuning."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from heedful.domains.dialogue import Dialogue
from heedful.loop.answers import train_answers
from heedful.loop.start import network_within
from heedful.policy import HuggingFace, load
from heedful.record import UNKNOWN, Decision, Kind
from heedful.serve import DecisionRequest, FeedbackRequest
from heedful.workspace import Workspace

transformers = pytest.importorskip("transformers")
SETTINGS = """
[workspace]
domain = "dialogue"
[domain]
model = "model"
reply = 8
prompt = 16
[policy]
kind = "huggingface"
model = "model"
window = 64
prior = false
{more}
[pretrain]
epochs = 6
batch = 8
learning_rate = 0.01
validation = false
ema = 0.0
[serve]
floor = 0.001
"""
REPLIES = ["so do I", "not I", "I do"]
"""What is said to each of three, always the same."""


def made(folder: Path, kind: str, **form: Any) -> None:
    """Write a small model and a tokenizer of its own."""
    words = " ".join(["ask me", "tell me", "do you", *REPLIES]) * 20
    folder.mkdir(parents=True)
    (folder / "text.txt").write_text(words)
    domain = Dialogue({"text": ["text.txt"], "vocabulary": 300}, folder)
    tokenizer = domain.tokenizer
    torch.manual_seed(0)
    ends = {"bos_token_id": tokenizer.start, "eos_token_id": tokenizer.end}
    if kind == "m2m_100":
        ends |= {"decoder_start_token_id": tokenizer.end}
    config = transformers.AutoConfig.for_model(kind, vocab_size=len(tokenizer), **ends, **form)
    auto = transformers.AutoModelForCausalLM
    if config.is_encoder_decoder:
        auto = transformers.AutoModelForSeq2SeqLM
    auto.from_config(config).save_pretrained(folder)
    tokenizer.save(folder)


FORMS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "m2m_100": {
        "d_model": 32,
        "max_position_embeddings": 64,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
    },
}


ASKED = ["ask me", "tell me", "do you"]


def speak(workspace: Workspace, n: int) -> None:
    """Log ``n`` conversations of one reply each, made elsewhere."""
    domain = workspace.domain
    assert isinstance(domain, Dialogue)
    choices = domain.choices({})
    decisions = [
        Decision(
            id=f"d{number}",
            episode=f"e{number}",
            step=0,
            subject=f"s{number}",
            context=domain.heard([{"role": "user", "content": ASKED[number % 3]}], turn=0),
            choices=choices.digest(),
            units=domain.units(REPLIES[number % 3]),
            logps=UNKNOWN,
            policy="elsewhere",
            made_at=float(number),
            vocabulary="v",
        )
        for number in range(n)
    ]
    with workspace.writing() as log:
        log.append(decisions, choice_sets=[choices])


def opened(folder: Path, more: str = "") -> Workspace:
    settings = SETTINGS.format(more=more)
    Workspace.create(folder, domain="dialogue", settings=settings).close()
    return Workspace.open(folder)


@pytest.mark.parametrize(
    ("kind", "more"),
    [("gpt2", ""), ("gpt2", 'adapter = "lora"\nrecompute = true'), ("m2m_100", "")],
)
def test_a_model_in_a_folder_is_trained_and_served(tmp_path: Path, kind: str, more: str) -> None:
    made(tmp_path / "w" / "model", kind, **FORMS[kind])
    with opened(tmp_path / "w", more) as workspace:
        speak(workspace, 48)
        version = workspace.pretrain()
        policy = network_within(load(workspace.registry.folder(version.name)).policy)
        assert isinstance(policy, HuggingFace)
        assert policy.reader.marks.keys() == {"click", "rating", "comment"}
        if "lora" in more:
            check_adapted(policy, tmp_path / "w" / "model")
        workspace.promote(version, by="ada")
        with workspace.serving() as service:
            requests = [
                DecisionRequest(
                    user=asked,
                    context=workspace.domain.heard([{"role": "user", "content": asked}], turn=0),
                )
                for asked in ASKED
            ]
            answers = service.decide(requests)
            service.feedback(
                [
                    FeedbackRequest(decision=answer.id, kind=Kind.CLICK, value=liked)
                    for answer, liked in zip(answers, (True, False, True), strict=True)
                ]
            )
        logps = [logp for answer in answers for logp in answer.logps]
        assert len(logps) >= 3
        uniform = -math.log(policy.schema.size)
        assert sum(logps) / len(logps) > uniform + (0 if "lora" in more else 1)
        after = workspace.reinforce()
        better = network_within(load(workspace.registry.folder(after.name)).policy)
        assert isinstance(better, HuggingFace)
        pairs = zip(better.parameters(), policy.parameters(), strict=True)
        assert any(not torch.equal(new, old) for new, old in pairs)
        if "lora" in more:
            check_adapted(better, tmp_path / "w" / "model")


def check_adapted(policy: HuggingFace, folder: Path) -> None:
    """The model is what it was, and the adapter is not."""
    numbers, before = policy.state_dict(), load_file(folder / "model.safetensors")
    weight = "transformer.h.0.mlp.c_fc"
    assert torch.equal(numbers[f"model.{weight}.base_layer.weight"], before[f"{weight}.weight"])
    assert float(numbers[f"model.{weight}.lora_B.default.weight"].abs().max()) > 0


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    made(tmp_path / "w" / "model", "gpt2", **FORMS["gpt2"])
    (tmp_path / "w" / "model" / "model.safetensors").unlink()
    with opened(tmp_path / "w") as workspace:
        speak(workspace, 3)
        with pytest.raises(ValueError, match=r"w/model holds no weights"):
            workspace.pretrain()


def test_a_window_longer_than_the_positions_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "w" / "model", "gpt2", **FORMS["gpt2"] | {"n_positions": 63})
    with opened(tmp_path / "w") as workspace:
        speak(workspace, 3)
        with pytest.raises(
            ValueError, match=r"window = 64 events do not fit into the 63 positions"
        ):
            workspace.pretrain()


def test_what_silence_means_is_not_learned_with_it(tmp_path: Path) -> None:
    made(tmp_path / "w" / "model", "gpt2", **FORMS["gpt2"])
    with opened(tmp_path / "w") as workspace:
        speak(workspace, 3)
        snapshot = workspace.log.snapshot()
        vocabulary = workspace.domain.vocabulary(snapshot)
        streams = workspace.domain.encode(snapshot, vocabulary)
        nothing = np.zeros(len(streams.slots.unit))
        with pytest.raises(ValueError, match=r"policy.kind is 'huggingface': set silence"):
            train_answers(
                workspace.bench(),
                snapshot,
                streams,
                vocabulary,
                0,
                weights=nothing,
                validation=np.empty(0, np.int64),
                channel=0,
            )
