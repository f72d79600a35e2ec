"""A policy that sees the last context, and nothing else."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from heedful.checks import EXAMPLE_SCHEMA, check_policy, random_batch
from heedful.policy import (
    Choices,
    EventKind,
    Events,
    Feedforward,
    Floor,
    Policy,
    Schema,
    build,
    grow,
)

IMAGE = replace(EXAMPLE_SCHEMA, features=2 * 3 * 5)


def make(schema: Schema = EXAMPLE_SCHEMA, **options: object) -> Feedforward:
    torch.manual_seed(0)
    policy = Feedforward(schema, width=8, **options)  # type: ignore[arg-type]
    for parameter in policy.actor.parameters():  # at first all moves are nearly as likely
        nn.init.normal_(parameter, std=0.5)
    return policy.eval()


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize(
    "policy",
    [
        lambda: make(),
        lambda: make(dropout=0.3, layers=1),
        lambda: make(IMAGE, image=(2, 3, 5)),
        lambda: Floor(make(), share=0.1),
    ],
    ids=["numbers", "dropout", "image", "floor"],
)
def test_it_keeps_every_promise(policy, double: bool) -> None:
    made = policy().eval()
    check_policy(made.double() if double else made)


def test_what_was_before_the_last_context_changes_nothing() -> None:
    batch = random_batch(EXAMPLE_SCHEMA, seed=3)
    kind, unit = batch.events.kind, batch.events.unit
    other = replace(batch.events, unit=torch.where(kind == EventKind.UNIT, (unit + 1) % 7, unit))
    policy: Policy = make()
    before = policy.forward(batch, frozenset({"logps", "values"}))
    after = policy.forward(replace(batch, events=other), frozenset({"logps", "values"}))
    assert torch.equal(before.logps, after.logps)
    assert torch.equal(before.values, after.values)
    assert before.values[batch.slots].unique().numel() > 1


@torch.no_grad()
def test_it_starts_nearly_indifferent_and_the_critic_does_not() -> None:
    torch.manual_seed(1)
    policy = Feedforward(Schema(4, features=3))
    seen = torch.randn(50, 3)
    p = torch.softmax(policy.actor(seen), -1)
    assert float((p - 0.25).abs().max()) < 0.02
    assert float(policy.critic(seen).std()) > 0.1
    first = policy.actor[0].weight  # orthogonal columns of length sqrt 2
    torch.testing.assert_close(first.T @ first, 2.0 * torch.eye(3))


def test_convolutions_shrink_a_large_image_and_keep_a_small_one() -> None:
    large = Feedforward(Schema(3, features=4 * 84 * 84), image=(4, 84, 84))
    small = Feedforward(Schema(3, features=2 * 6 * 7), image=(2, 6, 7))
    assert large.actor[0].in_features == 32 * 6 * 6
    assert small.actor[0].in_features == 16 * 6 * 7


def test_before_the_first_context_it_sees_zeros() -> None:
    policy = make()
    nothing, everything = Events.none(2, 2), Choices.everything(7, 2)
    _, logits = policy.step(policy.start(2), nothing, everything)
    torch.testing.assert_close(logits, policy.actor(torch.zeros(2, 2)))


def test_what_it_cannot_read_is_refused() -> None:
    with pytest.raises(ValueError, match="contexts carry none"):
        Feedforward(Schema(3))
    with pytest.raises(ValueError, match=r"\(2, 3, 5\) has 30 numbers, a context 2"):
        Feedforward(EXAMPLE_SCHEMA, image=(2, 3, 5))
    with pytest.raises(ValueError, match="cannot read 3: train from scratch"):
        grow(make(), replace(EXAMPLE_SCHEMA, features=3))


def test_the_scopes_of_fine_tuning_contain_each_other() -> None:
    policy = make()
    heads, last, every = (policy.parameters_of(s) for s in ("heads", "last_block", "all"))
    assert [len(heads), len(last), len(every)] == [4, 8, 12]
    assert {id(p) for p in heads} < {id(p) for p in last} < {id(p) for p in every}


@torch.no_grad()
def test_hidden_numbers_bend_as_asked() -> None:
    torch.manual_seed(0)
    schema = Schema(3, features=2)
    plain, bent = Feedforward(schema), Feedforward(schema, activation="relu")
    assert "activation" not in plain.spec(), "cards and folders of old stay what they were"
    seen = 100.0 * torch.randn(50, 2)
    hidden = bent.actor[:2](seen)
    assert float(hidden.min()) == 0.0
    assert float(hidden.max()) > 10.0
    assert float(plain.actor[:2](seen).abs().max()) <= 1.0
    again = build(bent.spec())
    again.load_state_dict(bent.state_dict())
    assert torch.equal(again.actor(seen), bent.actor(seen))
    with pytest.raises(ValueError, match="activation 'sine' is unknown: use tanh, relu"):
        Feedforward(schema, activation="sine")  # type: ignore[arg-type]
