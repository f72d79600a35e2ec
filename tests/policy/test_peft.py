import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from heedful.checks import EXAMPLE_SCHEMA, check_policy, random_batch
from heedful.policy import Floor, HuggingFace, Vocabulary, clone, load, replay, save
from tests.policy.language_models import WORDS, config_of, language_model, stream

pytest.importorskip("peft")
LORA, IA3, PREFIX = {"kind": "lora", "rank": 2}, {"kind": "ia3"}, {"kind": "prefix", "length": 3}
adapters = pytest.mark.parametrize("adapter", [LORA, IA3, PREFIX], ids=lambda a: a["kind"])
BATCH = random_batch(EXAMPLE_SCHEMA)


def stirred(policy: HuggingFace) -> HuggingFace:
    """Move the adapter away from where it begins, where it does nothing."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name.startswith(("model.", "prefix.")):
                parameter += 0.3 * torch.randn_like(parameter)
    return policy


@pytest.mark.parametrize(
    ("kind", "adapter"),
    [
        ("gpt2", LORA),
        ("gpt2", IA3),
        ("gpt2", PREFIX),
        ("llama", PREFIX),
        ("qwen2", LORA),
        ("mistral", PREFIX),
        ("m2m_100", LORA),
    ],
)
def test_it_is_a_policy(kind: str, adapter: dict[str, Any]) -> None:
    check_policy(stirred(language_model(kind, adapter=adapter)))


@adapters
def test_only_the_adapter_and_the_heads_are_trained(adapter: dict[str, Any]) -> None:
    policy = language_model("gpt2", adapter=adapter).requires_grad_()
    wrapped = Floor(policy, share=0.1).requires_grad_()
    names = {name for name, _ in wrapped.named_parameters()}
    own = ("lora_", "ia3_", "inner.prefix.", "inner.value_head.", "inner.feedback_head.")
    assert names == {name for name in names if any(part in name for part in own)}
    assert any("lora_" in name or "ia3_" in name or "prefix" in name for name in names)
    assert len(policy.parameters_of("all")) == len(names)
    heads = {id(p) for p in policy.parameters_of("heads")}
    assert heads == {id(p) for n, p in policy.named_parameters() if "head" in n.split(".")[0]}


@adapters
def test_training_moves_the_policy_and_not_its_reference(adapter: dict[str, Any]) -> None:
    policy = language_model("gpt2", adapter=adapter)
    reference = policy.without_adapter()
    before = replay(reference, BATCH).detach()
    if adapter is not PREFIX:  # the others begin where they change nothing
        torch.testing.assert_close(replay(policy, BATCH), before)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        (-replay(policy, BATCH).sum()).backward()
        optimiser.step()
    assert replay(policy, BATCH).sum() > before.sum() + 1
    assert torch.equal(replay(reference, BATCH), before)


@adapters
def test_the_reference_is_the_model_without_an_adapter(adapter: dict[str, Any]) -> None:
    policy, plain = stirred(language_model("gpt2", adapter=adapter)), language_model("gpt2")
    base = {
        name.replace(".base_layer", ""): numbers
        for name, numbers in policy.state_dict().items()
        if "lora_" not in name and "ia3_" not in name and not name.startswith("prefix.")
    }
    plain.load_state_dict(base)
    expected = replay(plain, BATCH).detach()
    assert (replay(policy, BATCH) - expected).abs().max() > 0.01
    reference = policy.without_adapter()
    assert torch.equal(replay(reference, BATCH), expected)
    check_steps(reference, plain)
    assert (replay(policy, BATCH) - expected).abs().max() > 0.01  # it is on again
    assert all(parameter.requires_grad for parameter in policy.parameters())
    assert reference.schema == policy.schema
    assert reference.spec()["adapter"] is None
    assert reference.grown(replace(EXAMPLE_SCHEMA, size=9)).schema.size == 9


def check_steps(one: Any, other: Any) -> None:
    """Both say the same of the next unit after the same events."""
    rows = len(BATCH)
    choices = BATCH.choices.everything(7, rows)
    told = [policy.step(policy.start(rows), BATCH.events, choices)[1] for policy in (one, other)]
    torch.testing.assert_close(*told)


def test_lora_is_a_product_added_to_a_weight() -> None:
    """W + (alpha / r) B A, put into a plain model by hand."""
    policy = stirred(language_model("llama", adapter={**LORA, "alpha": 6.0}))
    plain, numbers = language_model("llama"), dict(policy.state_dict())
    merged = {}
    for name in plain.state_dict():
        layer = name.removesuffix(".weight")
        merged[name] = numbers.get(name, numbers.get(f"{layer}.base_layer.weight"))
        if f"{layer}.lora_A.default.weight" in numbers:
            low, high = (numbers[f"{layer}.lora_{part}.default.weight"] for part in "BA")
            merged[name] = merged[name] + 3.0 * low @ high
    plain.load_state_dict(merged)
    torch.testing.assert_close(replay(policy, BATCH), replay(plain, BATCH))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox"])
def test_a_new_prefix_is_tokens_in_front_of_every_stream(kind: str) -> None:
    policy = language_model(kind, WORDS, marks={}, adapter=PREFIX)
    plain = language_model(kind, WORDS, marks={}, start=None)
    plain.model.load_state_dict(policy.model.state_dict())
    found = replay(policy, stream([4, 7, 5, 6], reply=2))
    expected = replay(plain, stream([0, 1, 2, 1, 4, 7, 5, 6], reply=2))  # 1 is START
    torch.testing.assert_close(found, expected)
    assert policy.positions == 61


@adapters
def test_a_saved_version_holds_base_and_adapter(adapter: dict[str, Any], tmp_path: Path) -> None:
    policy = stirred(language_model("gpt2", adapter=adapter))
    save(policy, Vocabulary("abcdefg"), tmp_path)
    loaded = load(tmp_path).policy
    assert loaded.spec() == policy.spec()
    for one, other in ((loaded, policy), (clone(loaded), policy)):
        assert torch.equal(replay(one, BATCH), replay(other, BATCH))
    base, again = loaded.without_adapter(), policy.without_adapter()
    assert torch.equal(replay(base, BATCH), replay(again, BATCH))


@pytest.mark.parametrize("kind", ["gpt2", "m2m_100"])
@pytest.mark.parametrize("adapter", [None, LORA])
def test_recomputed_blocks_give_the_same_gradient(kind: str, adapter: dict[str, Any]) -> None:
    """A frozen base included, in evaluation mode, where dropout is off."""
    found, passes = [], []
    for recomputed in (False, True):
        policy = stirred(language_model(kind, adapter=adapter, recomputed=recomputed))
        runs = counted(policy)
        replay(policy, BATCH).sum().backward()
        found.append({n: p.grad for n, p in policy.named_parameters() if p.grad is not None})
        passes.append(runs())
    assert set(found[0]) == set(found[1])
    assert len(found[0]) >= 2
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name])
    assert passes[1] == 2 * passes[0]
    assert not policy.training


def counted(policy: HuggingFace) -> Callable[[], int]:
    """Count how often the attention of the last block runs."""
    runs: list[int] = []
    norm = [m for m in policy.modules() if isinstance(m, nn.LayerNorm)][-2]
    norm.register_forward_hook(lambda module, inputs, output: runs.append(1))
    return lambda: len(runs)


def test_without_gradient_nothing_is_computed_twice() -> None:
    policy = language_model("gpt2", recomputed=True)
    runs = counted(policy)
    with torch.no_grad():
        replay(policy, BATCH)
    assert runs() == 1


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("gpt2", {"adapter": {"kind": "bottle"}}, "no adapter of kind 'bottle'; there are lora"),
        ("gpt2", {"adapter": {"kind": "lora", "size": 3}}, "has no option 'size'; it has rank"),
        ("gpt2", {"adapter": {"kind": "lora", "targets": ["x"]}}, "Target modules .*not found"),
        ("m2m_100", {"adapter": IA3}, "type 'm2m_100'.*name the layers as targets"),
        ("m2m_100", {"adapter": PREFIX}, "a prefix is for causal models"),
        ("gpt2", {"adapter": PREFIX, "recomputed": True}, "blocks are computed once"),
    ],
)
def test_adapters_that_cannot_be(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        language_model(kind, **options)


def test_without_an_adapter_there_is_no_view() -> None:
    with pytest.raises(ValueError, match="has no adapter"):
        language_model("gpt2").without_adapter()


def test_without_peft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"pip install 'heedful\[dialogue\]'"):
        HuggingFace(WORDS, config=config_of("gpt2", rows=32), adapter=LORA)
