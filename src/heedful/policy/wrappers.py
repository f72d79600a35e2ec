"""Policies around policies: they see the choices and transform logits.

They do so the same way when a unit is drawn and when it is replayed, so logged probabilities stay
true.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from heedful.policy.batch import Batch, Events, Outputs, Schema, outputs_from_logits
from heedful.policy.choices import IMPOSSIBLE, Choices
from heedful.policy.growth import grow
from heedful.policy.protocol import Policy, State


class LogitWrapper(nn.Module, ABC):
    """A policy whose logits are a function of another's logits and of what is possible.

    Subclasses give :meth:`transform` and :meth:`options`; nothing else may differ between drawing
    and replaying.
    """

    kind: str

    def __init__(self, inner: Policy) -> None:
        """Stand around ``inner``."""
        super().__init__()
        self.inner = cast(Any, inner)

    @abstractmethod
    def transform(self, logits: Tensor, possible: Tensor | None) -> Tensor:
        """Return new logits [N, V]; ``possible`` bool [N, V] or ``None``, as in the choices."""

    @abstractmethod
    def options(self) -> dict[str, object]:
        """Return the arguments besides ``inner``."""

    @property
    def schema(self) -> Schema:
        """The schema of the policy inside."""
        return cast(Schema, self.inner.schema)

    def spec(self) -> dict[str, object]:
        """Return the form of this wrapper and of what is inside."""
        return {"kind": self.kind, **self.options(), "inner": self.inner.spec()}

    def grown(self, schema: Schema) -> Self:
        """Return the same around what is inside, grown."""
        options: dict[str, Any] = self.options()
        larger = type(self)(grow(self.inner, schema), **options)
        larger.training = self.training  # train() would reach what is inside too
        return larger

    def start(self, n: int) -> State:
        """Return ``n`` streams."""
        return cast(State, self.inner.start(n))

    def step(self, state: Any, events: Events, choices: Choices) -> tuple[Any, Tensor]:
        """Append events and score the next unit."""
        state, logits = self.inner.step(state, events, choices)
        return state, self.transform(logits, choices.mask())

    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        """Answer ``need`` at the slots of ``batch``, with gradient."""
        if not need & {"logps", "entropy", "logits"}:
            return cast(Outputs, self.inner(batch, need))
        given = self.inner(batch, (need - {"logps", "entropy"}) | {"logits"})
        logits = self.transform(given.logits, batch.choices.mask(batch.mask))
        return outputs_from_logits(
            logits, batch, need, Outputs(values=given.values, feedback=given.feedback)
        )


class Floor(LogitWrapper):
    """Exploration that never goes to zero: p' = (1 - share) p + share / (number possible).

    The next gate needs the support: with a floor no importance weight of any candidate on this
    policy's log exceeds (number possible) / share for one unit.
    """

    kind = "floor"

    def __init__(self, inner: Policy, *, share: float) -> None:
        """Give ``share`` in (0, 1] of the probability to all possible units alike."""
        super().__init__(inner)
        if not 0.0 < share <= 1.0:
            raise ValueError(f"the floor's share is {share}; it must lie in (0, 1]")
        if any(isinstance(module, Mask) for module in self.modules()):
            raise ValueError("a floor around a mask would explore what the mask forbids: swap them")
        self.share = share

    def options(self) -> dict[str, object]:
        """Return the share."""
        return {"share": self.share}

    def transform(self, logits: Tensor, possible: Tensor | None) -> Tensor:
        """Mix with the uniform distribution over what is possible."""
        n_possible: Tensor | float = float(logits.shape[-1])
        if possible is not None:
            n_possible = possible.sum(-1, keepdim=True).to(logits.dtype)
        uniform = math.log(self.share) - torch.log(torch.as_tensor(n_possible, dtype=logits.dtype))
        kept = math.log1p(-self.share) if self.share < 1.0 else IMPOSSIBLE
        mixed = torch.logaddexp(torch.log_softmax(logits, -1) + kept, uniform.expand_as(logits))
        return mixed if possible is None else mixed.masked_fill(~possible, IMPOSSIBLE)


class Temperature(LogitWrapper):
    """Logits divided by a temperature: below 1 sharper, above 1 flatter."""

    kind = "temperature"

    def __init__(self, inner: Policy, *, temperature: float) -> None:
        """Divide by ``temperature`` > 0."""
        super().__init__(inner)
        if not temperature > 0.0:
            raise ValueError(f"the temperature is {temperature}; it must be above 0 (see Greedy)")
        self.temperature = temperature

    def options(self) -> dict[str, object]:
        """Return the temperature."""
        return {"temperature": self.temperature}

    def transform(self, logits: Tensor, possible: Tensor | None) -> Tensor:
        """Divide the logits."""
        return logits / self.temperature


class TopP(LogitWrapper):
    """The smallest set of units whose probabilities reach p, renormalised.

    Nucleus sampling: Holtzman et al., arXiv 1904.09751.
    """

    kind = "top_p"

    def __init__(self, inner: Policy, *, p: float) -> None:
        """Keep mass ``p`` in (0, 1]."""
        super().__init__(inner)
        if not 0.0 < p <= 1.0:
            raise ValueError(f"top-p is {p}; it must lie in (0, 1]")
        self.p = p

    def options(self) -> dict[str, object]:
        """Return p."""
        return {"p": self.p}

    def transform(self, logits: Tensor, possible: Tensor | None) -> Tensor:
        """Rule out every unit before which mass p has already been reached."""
        order = torch.argsort(logits, dim=-1, descending=True, stable=True)
        sorted_p = torch.softmax(logits.double(), -1).gather(-1, order)
        reached = torch.cumsum(sorted_p, -1) - sorted_p >= self.p
        reached[..., 0] = False
        out = torch.zeros_like(reached).scatter(-1, order, reached)
        return logits.masked_fill(out, IMPOSSIBLE)


class Greedy(LogitWrapper):
    """Always the best unit; of several, the first in the vocabulary. No support for any gate."""

    kind = "greedy"

    def options(self) -> dict[str, object]:
        """Return nothing: greed has no dials."""
        return {}

    def transform(self, logits: Tensor, possible: Tensor | None) -> Tensor:
        """Rule out all but the first of the best."""
        best = torch.zeros_like(logits, dtype=torch.bool)
        best.scatter_(-1, logits.argmax(-1, keepdim=True), value=True)
        return logits.masked_fill(~best, IMPOSSIBLE)


class EpsilonGreedy(Floor):
    """Greedy, but a share of decisions is uniform (Sutton & Barto 2018, section 2.2)."""

    kind = "epsilon_greedy"

    def __init__(self, inner: Policy, *, share: float) -> None:
        """Explore in ``share`` of the choices."""
        super().__init__(Greedy(inner), share=share)

    def spec(self) -> dict[str, object]:
        """Return the form; the greedy policy inside is implied."""
        return {"kind": self.kind, **self.options(), "inner": self.inner.inner.spec()}

    def grown(self, schema: Schema) -> Self:
        """Return the same around what the greedy policy inside stands around, grown."""
        larger = type(self)(grow(self.inner.inner, schema), share=self.share)
        larger.training = self.training
        return larger


class Mask(LogitWrapper):
    """A rule of the house: some units are never chosen, whatever the caller allows."""

    kind = "mask"
    forbidden: Tensor

    def __init__(self, inner: Policy, *, forbidden: list[int]) -> None:
        """Forbid the units with these indexes."""
        super().__init__(inner)
        self.indexes = sorted(set(forbidden))
        mask = torch.zeros(inner.schema.size, dtype=torch.bool)
        mask[self.indexes] = True
        self.register_buffer("forbidden", mask, persistent=False)

    def options(self) -> dict[str, object]:
        """Return the indexes."""
        return {"forbidden": self.indexes}

    def transform(self, logits: Tensor, possible: Tensor | None) -> Tensor:
        """Rule the units out."""
        return logits.masked_fill(self.forbidden, IMPOSSIBLE)
