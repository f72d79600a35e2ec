"""Every policy there is keeps every promise of the protocol, alone and wrapped."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from heedful.checks import EXAMPLE_SCHEMA, check_policy, random_batch
from heedful.checks.splice import after_start, cut
from heedful.policy import (
    Choices,
    Ensemble,
    EpsilonGreedy,
    Floor,
    Greedy,
    Mask,
    Policy,
    Popularity,
    Recurrent,
    Schema,
    TabularQ,
    Temperature,
    TopP,
    Transformer,
    TransitionPrior,
)
from heedful.policy.network import Network

BARE = Schema(4)
DESCRIBED = replace(EXAMPLE_SCHEMA, unit_features=3)
SEQUENCES = [np.arange(4), np.array([3, 1, 2])]


def filled(policy: nn.Module, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    for parameter in policy.parameters():
        nn.init.normal_(parameter, std=0.5)
    if isinstance(policy, Network) and policy.schema.unit_features:
        chosen = torch.arange(policy.schema.size) != 2  # unit 2 is cold
        policy.describe(torch.randn(len(chosen), policy.schema.unit_features), chosen)
    return policy.eval()


def transformer(schema: Schema) -> nn.Module:
    return filled(Transformer(schema, width=16, layers=2, heads=2, dropout=0.3))


def recurrent(schema: Schema) -> nn.Module:
    return filled(Recurrent(schema, width=8, layers=2, dropout=0.3))


def table(schema: Schema) -> nn.Module:
    return filled(TabularQ(schema, states=schema.size + 1, look="unit"))


MAKERS = {
    "transformer": transformer,
    "recurrent": recurrent,
    "plain transformer": lambda s: filled(
        Transformer(s, width=16, layers=2, heads=2, dropout=0.3, plain=True)
    ),
    "plain recurrent": lambda s: filled(Recurrent(s, width=8, layers=2, plain=True)),
    "popularity": lambda s: Popularity(s, sharpness=2.0).fit(torch.arange(s.size).float()),
    "tabular": table,
    "floor": lambda s: Floor(transformer(s), share=0.2),
    "temperature": lambda s: Temperature(recurrent(s), temperature=0.5),
    "top-p": lambda s: TopP(recurrent(s), p=0.8),
    "greedy": lambda s: Greedy(table(s)),
    "epsilon-greedy": lambda s: EpsilonGreedy(table(s), share=0.3),
    "mask": lambda s: Mask(Floor(recurrent(s), share=0.1), forbidden=[1]),
    "ensemble": lambda s: Ensemble([transformer(s), filled(recurrent(s), 1)]),
    "prior": lambda s: TransitionPrior(transformer(s), weight=0.5).fit(SEQUENCES),
    "floor, prior, temperature": lambda s: Floor(
        TransitionPrior(Temperature(recurrent(s), temperature=2.0)).fit(SEQUENCES), share=0.1
    ),
}


@pytest.mark.parametrize(
    "schema", [EXAMPLE_SCHEMA, BARE, DESCRIBED], ids=["rich", "bare", "described"]
)
@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("name", MAKERS)
def test_policies_keep_their_promises(name: str, double: bool, schema: Schema) -> None:
    policy = MAKERS[name](schema).eval()
    check_policy(policy.double() if double else policy)


def test_a_table_over_contexts_keeps_its_promises() -> None:
    numbers = torch.tensor([[float(state), 0.5] for state in range(4)])
    policy = filled(TabularQ(EXAMPLE_SCHEMA, states=4))
    check_policy(policy, features=numbers)


@pytest.mark.parametrize("name", ["transformer", "recurrent", "ensemble", "prior", "tabular"])
@settings(max_examples=25)
@given(seed=st.integers(0, 1000), edges=st.lists(st.integers(0, 13), max_size=6), data=st.data())
def test_any_split_of_the_events_into_steps(name: str, seed: int, edges: list[int], data) -> None:
    """Ragged rows, other splits in each row, empty steps; states are reordered at each edge."""
    policy: Policy = MAKERS[name](EXAMPLE_SCHEMA).double()
    batch = random_batch(EXAMPLE_SCHEMA, seed=seed, rows=3)
    free = Choices.everything(EXAMPLE_SCHEMA.size, 3)
    with torch.no_grad():
        _, whole = policy.step(policy.start(3), after_start(batch.events), free)
        state, order, events = policy.start(3), torch.arange(3), batch.events
        read = torch.ones(3, dtype=torch.int64)
        for edge in [*edges, 99]:
            shift = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=3, max_size=3)))
            upto = torch.minimum(torch.clamp(edge + shift, min=1), events.lengths)
            upto = torch.maximum(read, upto)
            state, logits = policy.step(state, cut(events, read, upto), free)
            turn = torch.tensor(data.draw(st.permutations(range(3))))
            state, events, read = state.select(turn), events.select(turn), upto[turn]
            order, logits = order[turn], logits[turn]
    torch.testing.assert_close(logits, whole[order], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["transformer", "recurrent", "ensemble", "prior", "tabular"])
def test_stacked_states_of_different_lengths(name: str) -> None:
    policy: Policy = MAKERS[name](EXAMPLE_SCHEMA).double()
    long = after_start(random_batch(EXAMPLE_SCHEMA, seed=1, rows=2, length=14).events)
    short = after_start(random_batch(EXAMPLE_SCHEMA, seed=2, rows=3, length=5).events)
    more = after_start(random_batch(EXAMPLE_SCHEMA, seed=3, rows=5, length=6).events)
    with torch.no_grad():
        states, expected = [], []
        for events, first in ((long, 0), (short, 2)):
            n = len(events)
            own = more.select(torch.arange(first, first + n))
            state, _ = policy.step(policy.start(n), events, Choices.everything(7, n))
            expected.append(policy.step(state, own, Choices.everything(7, n))[1])
            states.append(state)
        joint = states[0].stack(states[1:])
        assert len(joint) == 5
        _, found = policy.step(joint, more, Choices.everything(7, 5))
    torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=1e-10)
