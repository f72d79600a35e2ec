"""A policy without memory: the last context says all there is to know, as a game's screen does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn

from heedful.policy.batch import (
    Batch,
    EventKind,
    Events,
    Outputs,
    Schema,
    outputs_from_logits,
    scatter,
)
from heedful.policy.choices import Choices

POLICY_GAIN = 0.01
"""Of the last layer of the policy: at first all moves are nearly as likely."""
ACTIVATIONS: Mapping[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
SMALL = 8
"""Pixels of a side that strided convolutions leave at most."""


@dataclass(frozen=True, slots=True, eq=False)
class LastContext:
    """The numbers of each stream's last context, [B, F]; zeros before there was any."""

    seen: Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.seen)

    def select(self, rows: Tensor) -> Self:
        """Return some of the streams."""
        return type(self)(self.seen[rows])

    def stack(self, others: Sequence[Self]) -> Self:
        """Return the streams of all the states."""
        return type(self)(torch.cat([self.seen, *(other.seen for other in others)]))


class Feedforward(nn.Module):
    """Perceptrons over the numbers of the last context: an actor, and a critic of its own.

    For Markov decision processes, where earlier events have nothing to add; what needs memory
    wants a :class:`~heedful.policy.Recurrent` or a :class:`~heedful.policy.Transformer`. Actor and
    critic share nothing but the convolutions of an image: on small problems a shared body learns
    slower. Layers are orthogonal with gain sqrt 2, the actor's last one with 0.01, the critic's
    with 1 (Andrychowicz et al., arXiv 2006.05990, section 3.2, and Huang et al., *The 37
    implementation details of PPO*, ICLR blog 2022, detail 2).

    Units of one decision do not depend on each other but through what is possible: a decision of
    several units, one per factor of a multi-discrete move, is as likely in any order.
    """

    kind = "feedforward"
    memoryless = True

    def __init__(
        self,
        schema: Schema,
        *,
        width: int = 64,
        layers: int = 2,
        dropout: float = 0.0,
        image: Sequence[int] | None = None,
        activation: Literal["tanh", "relu"] = "tanh",
    ) -> None:
        """Make a network.

        Args:
            schema: with F >= 1 numbers of a context.
            width: size of a hidden layer.
            layers: hidden layers of actor and critic.
            dropout: share of hidden numbers dropped in training; 0 for reinforcement.
            image: (channels, rows, columns) that the F numbers are, where they are pixels.
            activation: of hidden numbers: "tanh" learns policies well, "relu" action values, which
                have no bounds.

        Raises:
            ValueError: contexts carry no numbers, or not as many as the image has; there is no such
                activation.
        """
        super().__init__()
        if schema.features < 1:
            raise ValueError(
                "a feedforward policy reads the numbers of a context, and contexts carry none: use "
                'policy.kind = "recurrent" or "transformer"'
            )
        if image is not None and math.prod(image) != schema.features:
            raise ValueError(
                f"an image of {tuple(image)} has {math.prod(image)} numbers, a context "
                f"{schema.features}: give (channels, rows, columns) of what is observed"
            )
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is unknown: use {', '.join(ACTIVATIONS)}")
        self.schema, self.width, self.layers, self.dropout = schema, width, layers, dropout
        self.activation: Literal["tanh", "relu"] = activation
        self.image = None if image is None else tuple(image)
        self.eye = None if self.image is None else _convolutions(self.image)
        size = schema.features if self.eye is None else _size_behind(self.eye, image)
        make = partial(
            _perceptron, size, width, layers, dropout=dropout, bend=ACTIVATIONS[activation]
        )
        self.actor, self.critic = make(schema.size, POLICY_GAIN), make(1, 1.0)

    def spec(self) -> dict[str, object]:
        """Return the arguments this network was made with."""
        return {
            "kind": self.kind,
            "schema": self.schema.to_dict(),
            "width": self.width,
            "layers": self.layers,
            "dropout": self.dropout,
            "image": None if self.image is None else list(self.image),
            **({} if self.activation == "tanh" else {"activation": self.activation}),
        }

    def parameters_of(self, scope: str) -> list[nn.Parameter]:
        """Return what fine-tuning may change: the last linear layers ("heads"), and more.

        "last_block" adds the layers before those, "all" the rest.
        """
        count = {"heads": 1, "last_block": 2}.get(scope)
        if count is None:
            return list(self.parameters())
        chosen = []
        for body in (self.actor, self.critic):
            linear = [layer for layer in body if isinstance(layer, nn.Linear)]
            chosen += [p for layer in linear[-count:] for p in layer.parameters()]
        return chosen

    def grown(self, schema: Schema) -> Self:
        """Return a copy over more units: what is new is worth the mean of the old ones.

        Raises:
            ValueError: contexts have become wider, too.
        """
        if schema.features != self.schema.features:
            raise ValueError(
                f"a feedforward policy of {self.schema.features} numbers cannot read "
                f"{schema.features}: train from scratch"
            )
        options = {k: v for k, v in self.spec().items() if k not in ("kind", "schema")}
        with torch.random.fork_rng(devices=[]):
            larger = type(self)(schema, **options)  # type: ignore[arg-type]
        larger.to(self._weight)
        numbers, size = self.state_dict(), self.schema.size
        for name in (f"actor.{len(self.actor) - 1}.{part}" for part in ("weight", "bias")):
            mean = numbers[name].mean(0, keepdim=True)
            more = [schema.size - size] + [-1] * (mean.dim() - 1)
            numbers[name] = torch.cat([numbers[name], mean.expand(more)])
        larger.load_state_dict(numbers)
        return larger.train(self.training)

    def start(self, n: int) -> LastContext:
        """Return ``n`` streams that have seen nothing."""
        return LastContext(self._weight.new_zeros(n, self.schema.features))

    def step(
        self, state: LastContext, events: Events, choices: Choices
    ) -> tuple[LastContext, Tensor]:
        """Look at the last context among ``events``, or go on seeing the one before."""
        if events.kind.shape[1]:
            known, new = _last(events)
            state = LastContext(torch.where(known, new.to(state.seen), state.seen))
        return state, choices.apply(self.actor(self._looked(state.seen)))

    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        """Answer ``need`` at the slots of ``batch``, with gradient; feedback is not predicted."""
        slots = batch.slots
        looked = self._looked(self._seen(batch, slots))
        given = Outputs(
            values=scatter(self.critic(looked)[:, 0], slots) if "values" in need else None,
            feedback=looked.new_zeros(*batch.mask.shape, len(self.schema.channels))
            if "feedback" in need
            else None,
        )
        if not need & {"logps", "entropy", "logits"}:
            return given
        of_units = batch.mask[slots]
        asked = looked if bool(of_units.all()) else looked[of_units]
        logits = batch.choices.apply(self.actor(asked), batch.mask)
        return outputs_from_logits(logits, batch, need, given)

    @property
    def _weight(self) -> Tensor:
        return cast(nn.Linear, self.actor[-1]).weight

    def _seen(self, batch: Batch, slots: Tensor) -> Tensor:
        """Return the numbers of the last context at each of the N slots, [N, F]."""
        if batch.mask.shape[1] == batch.events.kind.shape[1] == 1:  # single decisions
            known, new = _last(batch.events)
            return torch.where(known, new.to(self._weight), 0.0)[slots[:, 0]]
        row, slot = torch.nonzero(slots, as_tuple=True)
        last = _last_context(batch.events)[row, batch.positions[row, slot]]
        seen = batch.events.features[row, last.clamp(min=0)].to(self._weight)
        return torch.where((last >= 0)[:, None], seen, 0.0)

    def _looked(self, seen: Tensor) -> Tensor:
        """Return what actor and critic read, [N, ...]: an image through its convolutions."""
        if self.eye is None:
            return seen
        return cast(Tensor, self.eye(seen.reshape(-1, *cast(Sequence[int], self.image))))


def _last(events: Events) -> tuple[Tensor, Tensor]:
    """Return whether there is a context in each row, bool [B, 1], and the last one's, [B, F]."""
    if events.kind.shape[1] == 1:
        return events.kind == EventKind.CONTEXT, events.features[:, 0]
    last = _last_context(events)[:, -1]
    rows = torch.arange(len(last), device=last.device)
    return (last >= 0)[:, None], events.features[rows, last.clamp(min=0)]


def _last_context(events: Events) -> Tensor:
    """Return the place of the last context so far at each event, [B, L]; -1 before there is any."""
    place = torch.arange(events.kind.shape[1], device=events.kind.device)
    at = torch.where(events.kind == EventKind.CONTEXT, place, -1)
    return at.cummax(1).values


def _perceptron(
    size: int,
    width: int,
    layers: int,
    outputs: int,
    gain: float,
    *,
    dropout: float,
    bend: type[nn.Module],
) -> nn.Sequential:
    found: list[nn.Module] = []
    for _ in range(layers):
        found += [_orthogonal(nn.Linear(size, width), math.sqrt(2)), bend()]
        found += [nn.Dropout(dropout)] if dropout else []
        size = width
    return nn.Sequential(*found, _orthogonal(nn.Linear(size, outputs), gain))


def _convolutions(image: Sequence[int]) -> nn.Sequential:
    """Return 3 x 3 convolutions that halve an image until its short side is small."""
    channels, side, width = image[0], min(image[1:]), 16
    found: list[nn.Module] = []
    while not found or side > SMALL:
        stride = 2 if side > SMALL else 1
        layer = nn.Conv2d(channels, width, 3, stride=stride, padding=1)
        found += [_orthogonal(layer, math.sqrt(2)), nn.ReLU()]
        channels, side, width = width, math.ceil(side / stride), 32
    return nn.Sequential(*found, nn.Flatten())


def _size_behind(eye: nn.Sequential, image: Sequence[int] | None) -> int:
    assert image is not None
    with torch.no_grad():
        return int(eye(torch.zeros(1, *image)).shape[1])


def _orthogonal(layer: nn.Linear | nn.Conv2d, gain: float) -> nn.Module:
    nn.init.orthogonal_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
