"""A larger vocabulary: nothing that was learned is lost, and the new units begin somewhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.policy import (
    Choices,
    EpsilonGreedy,
    Floor,
    Policy,
    Popularity,
    Recurrent,
    Schema,
    TabularQ,
    TransitionPrior,
    Vocabulary,
    grow,
    load,
    replay,
    save,
)
from tests.policy.test_protocol import MAKERS

V, MORE = EXAMPLE_SCHEMA.size, 3
LARGER = replace(EXAMPLE_SCHEMA, size=V + MORE)


def logits(policy: Policy) -> torch.Tensor:
    """Score the next unit after some events, with nothing forbidden."""
    batch = random_batch(EXAMPLE_SCHEMA)
    free = Choices.everything(policy.schema.size, len(batch))
    with torch.no_grad():
        return policy.step(policy.start(len(batch)), batch.events, free)[1]


@pytest.mark.parametrize("name", ["transformer", "recurrent", "popularity", "tabular", "prior"])
def test_old_units_keep_their_scores(name: str) -> None:
    policy = MAKERS[name](EXAMPLE_SCHEMA).double()
    found, expected = logits(grow(policy, LARGER))[:, :V], logits(policy)
    # A larger matrix is multiplied in other blocks: the same numbers, added in another order.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_a_new_unit_is_an_average_one_to_a_network() -> None:
    policy = MAKERS["recurrent"](EXAMPLE_SCHEMA)
    grown = grow(policy, LARGER)
    new = logits(grown)[:, V:]
    torch.testing.assert_close(new, policy.bias.mean().expand_as(new).detach())
    answers = grown.feedback_head.bias.weight
    torch.testing.assert_close(answers[V], policy.feedback_head.bias.weight[:V].mean(0))
    for grown_table, table in (
        (grown.embed.unit, policy.embed.unit),
        (grown.memory.key, policy.memory.key),
        (grown.feedback_head.bias, policy.feedback_head.bias),
    ):
        assert torch.equal(grown_table.weight[:V], table.weight[:V])
        assert torch.equal(grown_table.weight[-1], table.weight[-1]), "the unit nobody knows"
    assert not grown.embed.unit.weight[V:-1].any()


def test_new_units_learn() -> None:
    grown = grow(MAKERS["recurrent"](EXAMPLE_SCHEMA), LARGER)
    batch = random_batch(LARGER)
    replay(grown, batch).sum().backward()
    assert grown.embed.unit.weight.grad[V:-1].any(1).all()


def test_a_new_unit_has_been_liked_by_nobody() -> None:
    policy = grow(Popularity(Schema(2)).fit(torch.tensor([3.0, 0.0])), Schema(3))
    assert policy.counts.tolist() == [3.0, 0.0, 0.0]


def test_a_new_action_is_worth_the_mean_of_its_state_and_has_a_state_of_its_own() -> None:
    policy = TabularQ(Schema(2), states=3, look="unit")
    policy.load_state_dict({"q": torch.tensor([[1.0, 3.0], [0.0, -2.0], [4.0, 4.0]])})
    grown = grow(policy, Schema(3))
    assert grown.q.tolist() == [[1, 3, 2], [0, -2, -1], [4, 4, 4], [0, 0, 0]]
    assert grown.states == 4


def test_the_prior_gives_new_units_the_mean_of_the_others() -> None:
    policy = TransitionPrior(Popularity(Schema(4), sharpness=0.0)).fit([np.arange(4)])
    grown = grow(policy, Schema(6))
    events = random_batch(Schema(4)).events
    free = Choices.everything(6, len(events))
    _, scores = grown.step(grown.start(len(events)), events, free)
    torch.testing.assert_close(scores[:, 4:], scores[:, :4].mean(1, keepdim=True).expand(-1, 2))


@pytest.mark.parametrize("name", MAKERS)
def test_what_has_grown_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    grown = grow(MAKERS[name](EXAMPLE_SCHEMA), LARGER)
    save(grown, Vocabulary(f"unit-{i}" for i in range(V + MORE)), tmp_path)
    loaded = load(tmp_path).policy
    assert loaded.spec() == grown.spec()
    assert torch.equal(logits(loaded), logits(grown))


@pytest.mark.parametrize("name", ["transformer", "recurrent"])
def test_descriptions_may_come_later_and_change_no_score_by_coming(name: str) -> None:
    policy = MAKERS[name](EXAMPLE_SCHEMA).double()
    described = grow(policy, replace(LARGER, unit_features=4))
    described.describe(torch.randn(V + MORE, 4), torch.zeros(V + MORE, dtype=torch.bool))
    torch.testing.assert_close(logits(described)[:, :V], logits(policy), rtol=0, atol=1e-13)
    assert described.embed.unit.cold.tolist() == [False] * V + [True] * MORE + [False]
    again = grow(described, replace(LARGER, size=V + MORE + 1, unit_features=4))
    assert again.embed.unit.cold.tolist() == [False] * V + [True] * (MORE + 1) + [False]


def test_wider_contexts_change_no_score_by_coming() -> None:
    policy = MAKERS["transformer"](EXAMPLE_SCHEMA)
    wider = replace(EXAMPLE_SCHEMA, features=EXAMPLE_SCHEMA.features + 2)
    batch = random_batch(EXAMPLE_SCHEMA)
    more = nn.functional.pad(batch.events.features, (0, 2), value=1.0)
    batch_of_more = replace(batch, events=replace(batch.events, features=more))
    torch.testing.assert_close(
        replay(grow(policy, wider), batch_of_more), replay(policy, batch), rtol=0, atol=1e-6
    )


def test_wrappers_keep_their_options() -> None:
    policy = Floor(EpsilonGreedy(MAKERS["tabular"](EXAMPLE_SCHEMA), share=0.25), share=0.1)
    grown = grow(policy, LARGER)
    assert (grown.share, grown.inner.share, grown.schema) == (0.1, 0.25, LARGER)


def test_the_same_schema_gives_the_policy_itself() -> None:
    policy = Recurrent(EXAMPLE_SCHEMA, width=8)
    assert grow(policy, EXAMPLE_SCHEMA) is policy


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (replace(EXAMPLE_SCHEMA, size=V - 1), "cannot grow to 6 units"),
        (replace(EXAMPLE_SCHEMA, features=0), "cannot grow to 7 units, 0 numbers"),
        (replace(EXAMPLE_SCHEMA, channels=()), "other feedback"),
    ],
)
def test_what_would_lose_something_is_refused(schema: Schema, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grow(Recurrent(EXAMPLE_SCHEMA, width=8), schema)


def test_another_description_than_was_learned_is_refused() -> None:
    policy = Recurrent(replace(EXAMPLE_SCHEMA, unit_features=3), width=8)
    with pytest.raises(ValueError, match="3 of a unit's description cannot grow"):
        grow(policy, replace(EXAMPLE_SCHEMA, unit_features=4))


def test_a_kind_that_cannot_grow_says_so() -> None:
    class Fixed:
        schema = EXAMPLE_SCHEMA

    with pytest.raises(ValueError, match="Fixed has no method `grown`"):
        grow(Fixed(), LARGER)  # type: ignore[arg-type]
