"""Short replies in a world of three tokens, and what a table says of them without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heedful.policy import Batch, Choices, EventKind, Events, Schema, TabularQ

WORLD = Schema(3)
Words = Sequence[Sequence[int]]

PROMPTS = [[0, 1], [0, 1], [2], [2], [], []]
ANSWERS = [[0, 2], [1], [1, 0, 2], [2], [0, 0], [1, 2]]


def table(seed: int) -> TabularQ:
    """Return a Markov chain over tokens with random transitions, in float64."""
    made = TabularQ(WORLD, states=4, look="unit").double().eval()
    made.q.data = torch.randn(4, 3, dtype=torch.float64, generator=torch.manual_seed(seed))
    return made


def replies(
    prompts: Words,
    answers: Words,
    rewards: Sequence[float],
    *,
    pairs: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
) -> Batch:
    """Return one reply a row; its reward stands at its last token, padding on the right."""
    n, width = len(answers), max(map(len, answers))
    lengths = torch.tensor([1 + len(p) + len(a) for p, a in zip(prompts, answers, strict=True)])
    kind = torch.full((n, int(lengths.max())), int(EventKind.PAD))
    unit = torch.full_like(kind, -1)
    shape = (n, width)
    mask, units = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.int64)
    earned = torch.zeros(shape, dtype=torch.float64)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        kind[row, : lengths[row]] = int(EventKind.UNIT)
        unit[row, 1 : lengths[row]] = torch.tensor([*prompt, *answer])
        mask[row, : len(answer)], units[row, : len(answer)] = True, torch.tensor(answer)
        earned[row, len(answer) - 1] = rewards[row]
    kind[:, 0] = int(EventKind.START)
    first = torch.tensor([len(p) for p in prompts])[:, None]
    time = torch.full(kind.shape, torch.nan, dtype=torch.float64)
    zeros = torch.zeros(kind.shape)
    features = torch.zeros(*kind.shape, 0)
    weight = torch.ones(n) if weights is None else torch.tensor(weights)

    def numbered(numbers: Sequence[int] | None) -> Tensor | None:
        if numbers is None:
            return None
        return torch.where(mask, torch.tensor(numbers)[:, None], -1)

    return Batch(
        events=Events(kind, unit, zeros.long(), zeros, features, time, lengths),
        positions=torch.where(mask, first + torch.arange(width), 0),
        units=units,
        decisions=torch.where(mask, torch.arange(n)[:, None], -1),
        mask=mask,
        bootstrap=torch.zeros(shape, dtype=torch.bool),
        choices=Choices(WORLD.size, shape),
        behaviour_logps=torch.full(shape, torch.nan, dtype=torch.float64),
        rewards=earned,
        discounts=mask.double(),
        weights=weight[:, None].double() * mask,
        feedback=torch.full((*shape, 0), torch.nan),
        pairs=numbered(pairs),
        groups=numbered(groups),
    )


def log_p(q: NDArray[np.float64], prompt: Sequence[int], answer: Sequence[int]) -> float:
    """Return the log-probability of a reply, token by token, the last one included."""
    total, state = 0.0, prompt[-1] + 1 if prompt else 0
    for token in answer:
        total += q[state, token] - np.log(np.exp(q[state]).sum())
        state = token + 1
    return float(total)


def slope(loss: Callable[[NDArray[np.float64]], float], policy: TabularQ) -> Tensor:
    """Return d loss / d q by central differences: no autograd takes part in it."""
    q = policy.q.detach().numpy().copy()
    found = np.zeros_like(q)
    for place in np.ndindex(*q.shape):
        step = np.zeros_like(q)
        step[place] = 1e-5
        found[place] = (loss(q + step) - loss(q - step)) / 2e-5
    return torch.from_numpy(found)


def gradient(value: Tensor, policy: TabularQ) -> Tensor:
    """Return d value / d q."""
    return torch.autograd.grad(value, policy.q, retain_graph=True)[0]
