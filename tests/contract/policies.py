"""One policy of every sort for a toy domain."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import nn

from heedful.policy import (
    EpsilonGreedy,
    Floor,
    Policy,
    Popularity,
    Recurrent,
    TabularQ,
    Temperature,
    Transformer,
    TransitionPrior,
)
from tests.contract.toys import Toy

SORTS = ("transformer", "recurrent", "popularity", "tabular", "prior")


def make(sort: str, toy: Toy, *, double: bool = True, seed: int = 0) -> Policy:
    """Return a policy whose numbers are random, so that every event it reads matters."""
    torch.manual_seed(seed)
    schema = toy.schema(toy.vocabulary(None))  # type: ignore[arg-type]
    if sort == "transformer":
        policy: nn.Module = Transformer(schema, width=16, layers=2, heads=2)
    elif sort == "recurrent":
        policy = Recurrent(schema, width=12, layers=2)
    elif sort == "popularity":
        policy = Popularity(schema).fit(torch.arange(schema.size).float())
    elif sort == "tabular":
        policy = TabularQ(schema, states=toy.states, look=toy.look)
        policy = EpsilonGreedy(Temperature(policy, temperature=0.7), share=0.4)
    else:
        inner = Floor(Transformer(schema, width=16, layers=1, heads=2), share=0.1)
        policy = TransitionPrior(inner, weight=0.5).fit([np.arange(schema.size)] * 2)
    for parameter in policy.parameters():
        nn.init.normal_(parameter, std=0.5)
    policy.double() if double else policy.float()
    return cast(Policy, policy.eval())
