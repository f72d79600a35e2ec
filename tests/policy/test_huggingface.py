import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from heedful.checks import EXAMPLE_SCHEMA, check_policy, random_batch
from heedful.policy import (
    Batch,
    Choices,
    EventKind,
    Events,
    PolicyFolderError,
    Vocabulary,
    build,
    clone,
    grow,
    load,
    replay,
    save,
)
from heedful.policy.huggingface import HuggingFace
from tests.policy.language_models import (
    CONFIGS,
    ODD,
    WORDS,
    config_of,
    language_model,
    rows_of,
    stream,
)

transformers = pytest.importorskip("transformers")
LOGPS = frozenset({"logps"})
kinds = pytest.mark.parametrize("kind", CONFIGS)
MAMBA = {"model_type": "mamba", "vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 1}


@pytest.mark.parametrize("kind", CONFIGS | ODD)
@pytest.mark.parametrize("bos", [1, None])
def test_it_is_a_policy(kind: str, bos: int | None) -> None:
    # Some of the odd ones attend in float32 whatever they are made of.
    double = bos is None and kind in CONFIGS
    check_policy(language_model(kind, bos=bos).to(torch.float64 if double else torch.float32))


@kinds
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
def test_log_probabilities_are_those_of_a_plain_forward_pass(
    kind: str, dtype: torch.dtype, within: float
) -> None:
    policy = language_model(kind, WORDS, marks={"click": [8, 9]}).to(dtype)
    batch = stream([4, 7, 2, 5, 6, 3], reply=3)
    batch.events.channel[0, 4], batch.events.value[0, 4] = 1, 1.0  # the first unit was liked
    plain = transformers.AutoModelForCausalLM.from_config(policy.model.config).to(dtype).eval()
    plain.load_state_dict(policy.model.state_dict())
    with torch.no_grad():
        logits = plain(torch.tensor([[1, 4, 7, 2, 5, 9, 6, 3]])).logits[0, :, : WORDS.size]
    expected = torch.log_softmax(logits.double(), -1)[[3, 5, 6], [5, 6, 3]]
    torch.testing.assert_close(
        replay(policy, batch)[0].detach().double(), expected, rtol=0, atol=within
    )


def test_capped_logits_stay_capped() -> None:
    policy = language_model("gemma2", WORDS, marks={})
    logits = policy.forward(stream([4, 7, 2], reply=2), frozenset({"logits"})).logits
    plain = policy.model(torch.tensor([[1, 4, 7, 2]])).logits[0, 1:3, : WORDS.size]
    torch.testing.assert_close(logits, plain)


def test_half_precision_is_scored_in_float32() -> None:
    policy, batch = language_model("llama", WORDS, marks={}).bfloat16(), stream([4, 7, 2], reply=2)
    outputs = policy.forward(batch, frozenset({"logits", "logps", "values"}))
    expected = torch.log_softmax(outputs.logits.double(), -1)[[0, 1], [7, 2]]
    torch.testing.assert_close(outputs.logps[0].double(), expected, rtol=0, atol=1e-6)
    state, logits = policy.step(policy.start(1), Events.none(1), Choices.everything(30, 1))
    assert outputs.logits.dtype == logits.dtype == torch.float32
    assert state.layers[0][0].dtype == torch.bfloat16


def test_the_language_head_sees_the_slots_only() -> None:
    policy, batch = language_model("llama"), random_batch(EXAMPLE_SCHEMA)
    seen: list[int] = []
    policy.model.lm_head.register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0].shape[:-1].numel())
    )
    policy.forward(batch, LOGPS)
    policy.forward(batch, frozenset({"values"}))
    assert seen == [int(batch.mask.sum()), 0]


def groups() -> Batch:
    """Return two groups of replies of different lengths to prompts of different lengths."""
    asked = [[4, 7, 2, 11, 9, 14, 3, 8], [4, 7, 5]]
    replies = [[5, 6], [6], [13, 5, 6], [2, 2, 2, 2]]
    rows = [stream([*prompt, *said], reply=len(said)) for prompt in asked for said in replies]
    return rows_of([padded(row, length=14, slots=4) for row in rows])


def padded(batch: Batch, *, length: int, slots: int) -> Batch:
    """Return ``batch``, a row, in more columns."""
    events, more, room = (
        batch.events,
        length - batch.events.kind.shape[1],
        slots - len(batch.units[0]),
    )
    wide = {
        name: functional.pad(getattr(events, name), (0, more), value=nothing)
        for name, nothing in (("kind", 0), ("unit", -1), ("channel", 0), ("value", 0))
    }
    time = functional.pad(events.time, (0, more), value=torch.nan)
    events = replace(events, **wide, time=time, features=torch.zeros(1, length, 0))
    own = {
        name: functional.pad(getattr(batch, name), (0, room))
        for name in ("positions", "units", "decisions", "mask", "bootstrap", "weights")
    }
    return replace(batch, events=events, feedback=torch.full((1, slots, 1), torch.nan), **own)


@kinds
def test_a_group_shares_its_prompt_forwards_and_backwards(kind: str) -> None:
    policy, batch = language_model(kind, WORDS, marks={}).double(), groups()
    found: list[list[torch.Tensor]] = []
    computed: list[int] = []
    scale = torch.randn(batch.mask.shape, generator=torch.Generator().manual_seed(0))
    policy.model.get_input_embeddings().register_forward_hook(
        lambda module, inputs, output: computed.append(inputs[0].numel())
    )
    for shares in (True, False):
        policy.body.shares = shares
        policy.zero_grad()
        logps = replay(policy, batch)
        (logps * scale).sum().backward()
        gradients = [p.grad.clone() for p in policy.parameters() if p.grad is not None]
        found.append([logps.detach(), *gradients])
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0.0, atol=1e-9)
    for one, other in zip(*found, strict=True):  # some norms compute in float32 whatever comes
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    # Two prompts of up to 8 tokens, the last of each with its replies; against all eight rows.
    assert computed == [2 * 8, 8 * 5, 8 * 13]


def test_what_has_nothing_in_common_is_read_in_one_pass() -> None:
    policy = language_model("gpt2", WORDS, marks={})
    passes: list[int] = []
    policy.model.transformer.ln_f.register_forward_hook(lambda *_: passes.append(1))
    replay(policy, rows_of([stream([4 + i, 7, 2, 5], reply=1) for i in range(4)]))
    assert len(passes) == 1


def test_before_any_token_every_unit_is_as_likely() -> None:
    policy = language_model("gpt2", bos=None)
    free = Choices.everything(EXAMPLE_SCHEMA.size, 2)
    state, logits = policy.step(policy.start(2), Events.none(2, 2), free)
    assert torch.equal(logits, torch.zeros(2, EXAMPLE_SCHEMA.size))
    _, told = policy.step(state, Events.of_units(torch.tensor([3, -1]), 2), free)
    assert float(told[0].std()) > 0.01
    assert torch.equal(told[1], torch.zeros(EXAMPLE_SCHEMA.size))


def test_an_answer_changes_what_is_said_next() -> None:
    policy, batch = language_model("gpt2"), random_batch(EXAMPLE_SCHEMA, rows=1)
    batch.events.kind[0, 1], batch.events.channel[0, 1] = int(EventKind.UNIT), 1
    found = []
    for value in (0.0, 1.0):
        batch.events.value[0, 1] = value
        found.append(replay(policy, batch)[0])
    after = batch.mask[0] & (batch.positions[0] >= 1)
    assert (found[0] - found[1])[after].abs().min() > 1e-4
    assert torch.equal(found[0][0], found[1][0])


def test_dropout_only_in_training() -> None:
    policy, batch = language_model("gpt2"), random_batch(EXAMPLE_SCHEMA)
    assert torch.equal(replay(policy, batch), replay(policy, batch))
    policy.train()
    assert not torch.equal(replay(policy, batch), replay(policy, batch))


def test_the_value_of_a_new_policy_is_zero_and_answers_depend_on_the_unit() -> None:
    policy, batch = language_model("gpt2"), random_batch(EXAMPLE_SCHEMA)
    need = frozenset({"values", "feedback"})
    first = policy.forward(batch, need)
    other = policy.forward(batch.filled(units=(batch.units + 1) % 7), need)
    assert first.logps is None
    assert first.values.abs().max() == 0
    assert not torch.allclose(first.feedback[batch.mask], other.feedback[batch.mask], atol=1e-3)


def test_a_stream_longer_than_the_positions_is_refused() -> None:
    policy = language_model("gpt2", WORDS, marks={})
    assert policy.positions == 64
    fits, more = stream([3] * 63, reply=1), stream([3] * 64, reply=1)
    replay(policy, fits)
    with pytest.raises(ValueError, match="65 tokens is longer than the 64 positions"):
        replay(policy, more)
    free = Choices.everything(WORDS.size, 1)
    inside = replace(fits.events, kind=fits.events.kind.clamp(min=int(EventKind.CONTEXT)))
    state, _ = policy.step(policy.start(1), inside, free)
    with pytest.raises(ValueError, match="longer than the 64 positions"):
        policy.step(state, Events.of_units(torch.tensor([3])), free)


def test_it_does_not_read_both_ways() -> None:
    batch = replace(random_batch(EXAMPLE_SCHEMA), both_ways=True)
    with pytest.raises(ValueError, match=r"bidirectional = false"):
        replay(language_model("gpt2"), batch)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_scopes(kind: str) -> None:
    policy = language_model(kind)
    name_of = {id(parameter): name for name, parameter in policy.named_parameters()}
    heads = {name_of[id(p)] for p in policy.parameters_of("heads")}
    norm = {"gpt2": {"model.transformer.ln_f.weight", "model.transformer.ln_f.bias"}}
    own = {
        f"{head}.{part}" for head in ("value_head", "feedback_head") for part in ("weight", "bias")
    }
    assert heads == own | norm.get(kind, {"model.model.norm.weight"})
    block = {name_of[id(p)] for p in policy.parameters_of("last_block")} - heads
    assert block == {name for name in name_of.values() if ".h.1." in name or ".layers.1." in name}
    assert len(policy.parameters_of("all")) == len(name_of)


@pytest.mark.parametrize("kind", ["gpt2", "qwen2"])
def test_tied_tables_are_saved_once_and_stay_tied(kind: str, tmp_path: Path) -> None:
    policy = language_model(kind)
    save(policy, Vocabulary("abcdefg"), tmp_path)
    assert "model.lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    loaded = load(tmp_path).policy
    assert loaded.spec() == policy.spec()
    assert loaded.model.lm_head.weight is loaded.model.get_input_embeddings().weight
    copy, batch = clone(policy.double()), random_batch(EXAMPLE_SCHEMA)
    assert torch.equal(replay(copy, batch), replay(policy, batch))


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_new_units_begin_as_the_mean(kind: str) -> None:
    policy = language_model(kind)
    before = [policy.model.get_input_embeddings().weight[:7], policy.model.lm_head.weight[:7]]
    larger = grow(policy, replace(EXAMPLE_SCHEMA, size=12))
    after = [larger.model.get_input_embeddings().weight, larger.model.lm_head.weight]
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new[:7], old)
        assert torch.allclose(new[7:12], old.mean(0), atol=1e-6)
    assert (after[0] is after[1]) == (kind == "gpt2")
    assert build(larger.spec()).schema.size == 12


def test_descriptions_are_refused() -> None:
    described = replace(EXAMPLE_SCHEMA, unit_features=3)
    with pytest.raises(ValueError, match="does not read descriptions"):
        language_model("gpt2", described)
    with pytest.raises(ValueError, match="does not read descriptions"):
        grow(language_model("gpt2"), replace(described, size=9))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(**config_of("llama", rows=24))
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    return tmp_path


def test_a_folder_in_the_usual_layout(folder: Path) -> None:
    words = replace(WORDS, size=24)
    policy = HuggingFace.from_folder(folder, words, marks={"click": [8, 9]})
    assert not policy.training
    batch = stream([4, 7, 2], reply=2)
    batch = replace(batch, choices=Choices.everything(24, 1, 2))
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder)
    logits = plain(torch.tensor([[1, 4, 7]])).logits[0, 1:]
    expected = torch.log_softmax(logits, -1)[[0, 1], [7, 2]]
    torch.testing.assert_close(replay(policy, batch)[0], expected)


def test_added_tokens_begin_as_the_mean(folder: Path) -> None:
    table = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    marked = HuggingFace.from_folder(folder, replace(WORDS, size=26), marks={"click": [24, 25]})
    new = marked.model.get_input_embeddings().weight
    assert torch.equal(new[:24], table)
    assert torch.allclose(new[24:], table.mean(0), atol=1e-6)
    padded = HuggingFace.from_folder(folder, replace(WORDS, size=20), added=2)
    new = padded.model.get_input_embeddings().weight
    assert torch.equal(new[:18], table[:18])
    assert len(new) == 24
    assert not torch.allclose(new[18], table[18])


def test_marks_that_are_none_of_the_folders_tokens_begin_as_the_mean(folder: Path) -> None:
    """Models have more rows than tokens, which nothing was learned in; marks often fall there."""
    table = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    tokens = {"vocab": {chr(97 + token): token for token in range(21)}}
    written = {"model": tokens, "added_tokens": [{"id": 21, "content": "<end>"}]}
    (folder / "tokenizer.json").write_text(json.dumps(written))
    marked = HuggingFace.from_folder(folder, replace(WORDS, size=24), marks={"click": [21, 22]})
    new = marked.model.get_input_embeddings().weight
    assert torch.equal(new[21], table[21])
    assert torch.allclose(new[22], table[torch.arange(24) != 22].mean(0), atol=1e-6)
    assert torch.equal(new[23], table[23])


def test_a_tokenizer_larger_than_the_model_is_refused(folder: Path) -> None:
    with pytest.raises(PolicyFolderError, match=r"has 27 tokens and the model 24 \(token 26"):
        HuggingFace.from_folder(folder, replace(WORDS, size=27), marks={"click": [24, 25]})


def rewrite(folder: Path, **changed: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: rewrite(f, model_type="own", auto_map={"AutoConfig": "x.Y"}), "code of its own"),
        (lambda f: rewrite(f, model_type="lama"), "knows no model of type 'lama'"),
        (lambda f: rewrite(f, model_type="resnet"), "'resnet' does not generate text"),
        (lambda f: (f / "config.json").unlink(), "holds no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "is no JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "is no object"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "pickled weights only .pytorch_model.bin.*convert them to safetensors",
        ),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 100), "the model cannot be read"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder: Path, harm: Any, message: str) -> None:
    harm(folder)
    with pytest.raises(PolicyFolderError, match=message):
        HuggingFace.from_folder(folder, replace(WORDS, size=24))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(PolicyFolderError, match="no such folder"):
        HuggingFace.from_folder(tmp_path / "model", WORDS)


@pytest.mark.parametrize(
    ("norm", "message"),
    [(torch.ones(7), "the model cannot be read"), (None, "the weights lack model.norm.weight")],
)
def test_weights_that_do_not_fit_are_refused(folder: Path, norm: Any, message: str) -> None:
    numbers = load_file(folder / "model.safetensors")
    del numbers["model.norm.weight"]
    numbers |= {} if norm is None else {"model.norm.weight": norm}
    save_file(numbers, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PolicyFolderError, match=message):
        HuggingFace.from_folder(folder, replace(WORDS, size=24))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "give a model's configuration"),
        (
            {"model_type": "mamba", "vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 1},
            "more than keys",
        ),
        (
            {"model_type": "gpt2", "vocab_size": 12, "n_embd": 4, "n_head": 1, "n_layer": 1},
            "resize",
        ),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(config: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HuggingFace(WORDS, config=config)


def test_without_transformers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'heedful\[dialogue\]'"):
        HuggingFace(WORDS, config=config_of("gpt2"))
