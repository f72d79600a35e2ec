import pytest
import torch

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.policy import Choices, EventKind, Events, Schema, TabularQ


def test_the_state_is_the_number_in_the_last_context() -> None:
    policy = TabularQ(Schema(3, features=1), states=4)
    policy.q.data.copy_(torch.arange(12.0).view(4, 3))
    kinds = [EventKind.CONTEXT, EventKind.UNIT, EventKind.CONTEXT, EventKind.UNIT]
    events = Events(
        kind=torch.tensor([kinds]),
        unit=torch.tensor([[-1, 0, -1, 1]]),
        channel=torch.zeros(1, 4, dtype=torch.int64),
        value=torch.zeros(1, 4),
        features=torch.tensor([[[3.0], [0.0], [2.0], [0.0]]]),
        time=torch.full((1, 4), torch.nan, dtype=torch.float64),
        lengths=torch.tensor([4]),
    )
    state, logits = policy.step(policy.start(1), events, Choices.everything(3, 1))
    assert state.row.tolist() == [2]
    assert logits.tolist() == [[6.0, 7.0, 8.0]]


def test_values_are_the_best_q() -> None:
    policy = TabularQ(EXAMPLE_SCHEMA, states=8, look="unit")
    torch.nn.init.normal_(policy.q)
    batch = random_batch(EXAMPLE_SCHEMA)
    values = policy.forward(batch, frozenset({"values"})).values
    assert values is not None
    assert set(values[batch.slots].tolist()) <= set(policy.q.amax(1).tolist())
    assert values[~batch.slots].abs().sum() == 0


def test_a_table_needs_states_it_can_tell_apart() -> None:
    with pytest.raises(ValueError, match="feature 0"):
        TabularQ(Schema(3), states=4)
    with pytest.raises(ValueError, match="needs 4 states"):
        TabularQ(Schema(3), states=3, look="unit")


@pytest.mark.parametrize("number", [-1.0, 8.0])
def test_a_context_outside_the_table_is_refused(number: float) -> None:
    policy = TabularQ(EXAMPLE_SCHEMA, states=8)
    batch = random_batch(EXAMPLE_SCHEMA, features=torch.tensor([[number, 0.0]]))
    with pytest.raises(ValueError, match=r"number a state 0\.\.7"):
        policy.forward(batch, frozenset({"logps"}))
