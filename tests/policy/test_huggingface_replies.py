from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from heedful.checks import EXAMPLE_SCHEMA, check_policy, random_batch
from heedful.policy import Choices, EventKind, Events, HuggingFace, replay, sample
from tests.policy.language_models import PAIRS, WORDS, config_of, language_model, rows_of, stream

transformers = pytest.importorskip("transformers")
LOGPS = frozenset({"logps"})
FREE = Choices.everything(WORDS.size, 1)


def pair(**options: Any) -> HuggingFace:
    options.setdefault("marks", {"click": [8, 9]})
    return language_model("m2m_100", WORDS, **options)


def heard_by(policy: HuggingFace) -> list[int]:
    """Return a list that gets the number of rows of each pass of the encoder."""
    rows: list[int] = []
    policy.model.get_encoder().register_forward_hook(
        lambda module, inputs, output: rows.append(len(output.last_hidden_state))
    )
    return rows


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("forced", [None, 3])
def test_it_is_a_policy(kind: str, forced: int | None) -> None:
    policy = language_model(kind, bos=None if kind == "bart" else 1, forced_bos=forced)
    check_policy(policy.double() if forced else policy)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("forced", [None, 20])
def test_log_probabilities_are_those_of_a_plain_forward_pass(
    dtype: torch.dtype, within: float, forced: int | None
) -> None:
    policy = pair(forced_bos=forced).to(dtype)
    batch = stream([4, 7, 2, 5, 6, 3], reply=3)
    plain = transformers.AutoModelForSeq2SeqLM.from_config(policy.model.config).to(dtype).eval()
    plain.load_state_dict(policy.model.state_dict())
    opening = [2] if forced is None else [2, forced]
    with torch.no_grad():
        logits = plain(
            input_ids=torch.tensor([[1, 4, 7, 2, 2]]),
            decoder_input_ids=torch.tensor([[*opening, 5, 6]]),
        ).logits[0, len(opening) - 1 :, : WORDS.size]
    expected = torch.log_softmax(logits.double(), -1)[[0, 1, 2], [5, 6, 3]]
    torch.testing.assert_close(
        replay(policy, batch)[0].detach().double(), expected, rtol=0, atol=within
    )


def test_each_decision_of_a_row_has_its_own_prompt() -> None:
    """A row of two replies, with an answer to the first, is what the two are one by one."""
    policy, both = pair(), stream([4, 7, 5, 6, 11, 12, 13], reply=5)
    kind = both.events.kind
    kind[0, 5:6] = int(EventKind.CONTEXT)  # START 4 7 | 5 6 | 11 | 12 13
    both.events.channel[0, 4], both.events.value[0, 4] = 1, 1.0
    at = torch.tensor([[True, True, False, True, True]])
    found = replay(policy, both.filled(mask=at))[0]
    first = replay(policy, stream([4, 7, 5, 6], reply=2))[0]
    second = replay(policy, stream([4, 7, 5, 6, 9, 11, 12, 13], reply=2))[0]
    torch.testing.assert_close(found[at[0]], torch.cat([first, second]))


def test_the_encoder_hears_each_prompt_once() -> None:
    policy = pair()
    group = [stream([4, 7, 2, 5 + i, 6 + i, 3], reply=3) for i in range(4)]
    other = stream([4, 7, 9, 5, 6, 3], reply=3)
    rows = heard_by(policy)
    together = replay(policy, rows_of([*group, other]))
    assert rows == [2]
    alone = torch.cat([replay(policy, one) for one in [*group, other]])
    torch.testing.assert_close(together, alone)


def test_a_group_draws_from_one_prompt_heard_once() -> None:
    policy = pair()
    rows = heard_by(policy)
    prompt = Events.of_units(torch.tensor([7]))
    prompt = replace(prompt, kind=torch.full_like(prompt.kind, int(EventKind.CONTEXT)))
    state, _ = policy.step(policy.start(1), prompt, FREE)
    assert rows == [1, 1]  # START alone, then the prompt
    state = state.select(torch.zeros(5, dtype=torch.int64))
    choices = Choices(WORDS.size, (5, 1), repeat=torch.ones(5, dtype=torch.bool), end=2)
    sample(policy, state, choices, torch.Generator().manual_seed(0), length=8)
    assert rows == [1, 1]
    asked = prompt.select(torch.tensor([0, 0, 0]))
    policy.step(policy.start(3), asked, Choices.everything(WORDS.size, 3))
    assert rows == [1, 1, 1, 1]


def test_prompts_nobody_replies_to_are_forgotten() -> None:
    policy = pair()
    prompts = Events.of_units(torch.tensor([7, 8, 7]))
    prompts = replace(prompts, kind=torch.full_like(prompts.kind, int(EventKind.CONTEXT)))
    state, _ = policy.step(policy.start(3), prompts, Choices.everything(WORDS.size, 3))
    assert len(state.heard.real) == 2
    assert len(state.select(torch.tensor([0, 2])).heard.real) == 1


def test_the_gradient_reaches_both_halves() -> None:
    policy, batch = pair(), stream([4, 7, 2, 5, 6, 3], reply=3)
    replay(policy, batch).sum().backward()
    for half in (policy.model.get_encoder(), policy.model.get_decoder()):
        weight = half.layers[0].self_attn.q_proj.weight
        assert weight.grad is not None
        assert float(weight.grad.abs().max()) > 0


def test_a_prompt_or_a_reply_longer_than_the_positions_is_refused() -> None:
    policy = pair()
    replay(policy, stream([3] * 62, reply=1))  # START, 61 tokens, the end of the source
    with pytest.raises(ValueError, match="65 tokens is longer than the 64 positions"):
        replay(policy, stream([3] * 64, reply=1))
    with pytest.raises(ValueError, match="longer than the 64 positions"):
        replay(policy, stream([3] * 67, reply=66))
    state = policy.start(1)
    more = replace(stream([3] * 64, reply=64).events)
    inside = replace(more, kind=torch.full_like(more.kind, int(EventKind.UNIT)))
    with pytest.raises(ValueError, match="longer than the 64 positions"):
        policy.step(state, inside, FREE)


def test_it_comes_from_a_folder_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(**config_of("m2m_100", rows=24))
    plain = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    plain.save_pretrained(tmp_path)
    policy = HuggingFace.from_folder(
        tmp_path, replace(WORDS, size=26), marks={"click": [24, 25]}, forced_bos=5
    )
    batch = replace(stream([4, 7, 2], reply=1), choices=Choices.everything(26, 1))
    logits = plain(torch.tensor([[1, 4, 7, 2]]), decoder_input_ids=torch.tensor([[2, 5]])).logits
    found = policy.forward(batch, frozenset({"logits"})).logits
    torch.testing.assert_close(found[:, :24], logits[0, 1:])


@pytest.mark.parametrize(
    ("kind", "changed", "options", "message"),
    [
        ("gpt2", {}, {"forced_bos": 3}, "belong to encoder-decoders, and 'gpt2' is none"),
        ("t5", {"decoder_start_token_id": None}, {}, "what its decoder begins with"),
        ("t5", {"bos_token_id": None}, {"source_end": None}, "something to hear"),
    ],
)
def test_forms_that_make_no_sense_are_refused(
    kind: str, changed: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    config = config_of(kind, rows=32) | changed
    with pytest.raises(ValueError, match=message):
        HuggingFace(WORDS, config=config, **options)


def test_fine_tuning_finds_the_end_of_the_decoder() -> None:
    policy = language_model("m2m_100", EXAMPLE_SCHEMA)
    name_of = {id(parameter): name for name, parameter in policy.named_parameters()}
    names = {name_of[id(p)] for p in policy.parameters_of("last_block")}
    assert "model.model.decoder.layer_norm.weight" in names
    assert any("decoder.layers.1." in name for name in names)
    assert not any("encoder.layers" in name or "layers.0." in name for name in names)
    assert replay(policy, random_batch(EXAMPLE_SCHEMA)).requires_grad
