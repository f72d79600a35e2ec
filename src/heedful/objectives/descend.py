"""The one optimiser loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from heedful.objectives.loss import Loss
from heedful.objectives.muon import Muon
from heedful.policy import Batch

Metrics = Mapping[str, float]


class Means:
    """The mean of each metric over a pass: what :func:`descend` may be given as ``on_step``."""

    def __init__(self) -> None:
        """Begin with no step."""
        self._totals: dict[str, float] = {}
        self._steps = 0

    def __call__(self, _step: int, metrics: Metrics) -> None:
        """Count a step."""
        self._steps += 1
        for name, value in metrics.items():
            self._totals[name] = self._totals.get(name, 0.0) + value

    def found(self) -> dict[str, float]:
        """Return the means."""
        return {name: total / self._steps for name, total in self._totals.items()}


# Fused: a step of a small network costs a quarter of what it does tensor by tensor.
RULES: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": partial(torch.optim.AdamW, fused=True),
    "adam": partial(torch.optim.Adam, fused=True),
    "rmsprop": torch.optim.RMSprop,
    "muon": Muon,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Which learning rate at which step.

    Attributes:
        peak: the highest rate.
        steps: how many steps there will be.
        warmup: share of them in which the rate rises from 0.
        decay: "cosine" or "linear" to 0 after that, or "constant".
    """

    peak: float
    steps: int
    warmup: float = 0.0
    decay: Literal["cosine", "linear", "constant"] = "constant"

    def rate(self, step: int) -> float:
        """Return the rate of step ``step``, counted from 0.

        >>> Schedule(peak=1.0, steps=10, warmup=0.2, decay="linear").rate(0)
        0.5
        """
        warm = max(1, math.ceil(self.warmup * self.steps)) if self.warmup else 0
        if step < warm:
            return self.peak * (step + 1) / warm
        share = (step - warm) / max(1, self.steps - warm)
        match self.decay:
            case "cosine":
                return self.peak * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
            case "linear":
                return self.peak * max(0.0, 1.0 - share)
            case "constant":
                return self.peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A rate that grows by the same factor each step, for :mod:`heedful.loop.range_test`.

    Attributes:
        low, high: the first rate and the last, both above 0.
        steps: how many steps lie between.
    """

    low: float
    high: float
    steps: int

    def rate(self, step: int) -> float:
        """Return the rate of step ``step``, counted from 0.

        >>> [round(Sweep(low=1e-4, high=1e-2, steps=3).rate(step), 6) for step in range(3)]
        [0.0001, 0.001, 0.01]
        """
        return float(self.low * (self.high / self.low) ** (step / max(1, self.steps - 1)))


@dataclass(slots=True, kw_only=True)
class Plateau:
    """A rate that halves whenever the validation has stopped falling, down to a floor.

    The caller tells it each validation loss (:meth:`look`). The first one that is no better than
    the best so far halves the rate; one that would fall below ``floor`` ends the descent instead,
    which is called converged.

    Attributes:
        peak: the highest rate.
        steps: in how many steps, at most.
        warmup: share of them in which the rate rises from 0.
        floor: the lowest rate, as a share of ``peak``.
        best: the lowest loss so far, ``None`` before the first.
        share: the rate now, as a share of ``peak``.
    """

    peak: float
    steps: int
    warmup: float = 0.0
    floor: float = 2.0**-6
    best: float | None = None
    share: float = 1.0

    def rate(self, step: int) -> float:
        """Return the rate of step ``step``, counted from 0."""
        rising = Schedule(peak=self.peak, steps=self.steps, warmup=self.warmup)
        return rising.rate(step) * max(self.share, self.floor)

    def look(self, loss: float) -> None:
        """Take in a validation loss: lower is better.

        >>> plateau = Plateau(peak=1.0, steps=100)
        >>> for loss in (3.0, 2.0, 2.5):
        ...     plateau.look(loss)
        >>> plateau.rate(7), plateau.converged
        (0.5, False)
        """
        if self.best is None or loss < self.best:
            self.best = loss
        else:
            self.share /= 2.0

    @property
    def converged(self) -> bool:
        """Whether the rate would fall below its floor."""
        return self.share < self.floor


Rates = Schedule | Sweep | Plateau
"""Which learning rate at which step."""

PRECISIONS: Mapping[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16}
"""What matrices are multiplied in; ``None``: in the precision of the parameters."""


class Optimiser:
    """A rule with a schedule, a bound on the gradient's norm, and a size of micro-batch.

    The rules: ``"adamw"`` (Loshchilov & Hutter, arXiv 1711.05101), whose decay is decoupled from
    the gradient; ``"adam"`` (Kingma & Ba, arXiv 1412.6980) and ``"rmsprop"`` (Tieleman & Hinton
    2012), to whose gradient the decay is added; ``"muon"`` (:mod:`heedful.objectives.muon`) for the
    hidden ``matrices``, with AdamW for all else.

    It can be written down between any two steps and taken up again (:meth:`tensors`,
    :meth:`restore`): the steps after that are the same to the last bit.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        schedule: Rates,
        *,
        rule: str = "adamw",
        weight_decay: float = 0.0,
        clip: float = 1.0,
        micro_batch: int = 1_000_000,
        eps: float = 1e-8,
        precision: str = "float32",
        matrices: Sequence[nn.Parameter] = (),
    ) -> None:
        """Decay matrices only: shrinking a norm or a bias has no use (GPT-3, appendix B).

        With ``precision`` "bfloat16" the loss multiplies matrices in bfloat16; parameters, sums and
        softmax stay in float32. Where a processor has it in hardware that takes half the time.

        Raises:
            ValueError: there is no such ``rule``, or no such ``precision``.
        """
        if precision not in PRECISIONS:
            names = ", ".join(PRECISIONS)
            raise ValueError(f"precision {precision!r} is unknown: use one of {names}")
        if rule not in RULES:
            raise ValueError(f"optimiser {rule!r} is unknown: use one of {', '.join(RULES)}")
        self.parameters = list(parameters)
        hidden = {id(p) for p in matrices} if rule == "muon" else set()
        rest = [p for p in self.parameters if id(p) not in hidden]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in rest if p.dim() >= 2], "weight_decay": weight_decay},
            {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
        ]
        if hidden:
            turned = [p for p in self.parameters if id(p) in hidden]
            groups.append({"params": turned, "weight_decay": weight_decay, "matrices": True})
        filled = [group for group in groups if group["params"]]
        self._rule = RULES[rule](filled, lr=schedule.rate(0), eps=eps)
        self.schedule, self.clip, self.micro_batch = schedule, clip, micro_batch
        self.precision = PRECISIONS[precision]
        self.step_count = 0

    def step(self, count: float) -> Metrics:
        """Divide the summed gradient by ``count``, bound it, and move.

        A gradient that is not finite moves nothing, and says so in ``skipped``.
        """
        rate = self.schedule.rate(self.step_count)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        torch._foreach_div_(gradients, max(count, 1e-12))
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.step_count += 1
        if not bool(torch.isfinite(norm)):
            return {"learning_rate": rate, "gradient_norm": float(norm), "skipped": 1.0}
        for group in self._rule.param_groups:
            group["lr"] = rate
        self._rule.step()
        return {"learning_rate": rate, "gradient_norm": float(norm), "skipped": 0.0}

    def clear(self) -> None:
        """Forget the gradient."""
        self._rule.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that has to survive, as tensors with names."""
        found = {"step_count": torch.tensor(self.step_count)}
        for index, state in self._rule.state_dict()["state"].items():
            found |= {f"{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`tensors` gave."""
        self.step_count = int(tensors["step_count"])
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            if name != "step_count":
                index, key = name.split(".", 1)
                state.setdefault(int(index), {})[key] = tensor
        self._rule.load_state_dict({**self._rule.state_dict(), "state": state})


def descend(
    loss: Callable[[Batch], Loss],
    batches: Iterable[Batch],
    *,
    optimiser: Optimiser,
    on_step: Callable[[int, Metrics], None] = lambda _step, _metrics: None,
) -> None:
    """Take one step downhill for each batch.

    Each batch is an accumulation window: it is worked off in micro-batches, and when the device's
    memory runs out the micro-batch halves and the step starts again; the gradient stays the same.

    Args:
        loss: a batch to its summed loss.
        batches: one for each step.
        optimiser: what moves the parameters.
        on_step: told the number of the step just taken (from 1) and its metrics; the loop above
            keeps checkpoints, draws curves, or raises to stop.
    """
    for batch in batches:
        metrics = _accumulate(loss, batch, optimiser)
        count = metrics.pop("count")
        moved = optimiser.step(count)
        shown = {name: value / max(count, 1e-12) for name, value in metrics.items()}
        on_step(optimiser.step_count, {**shown, **moved, "count": count})


def _accumulate(
    loss: Callable[[Batch], Loss], batch: Batch, optimiser: Optimiser
) -> dict[str, float]:
    while True:
        try:
            return _sum(loss, batch, optimiser)
        except torch.OutOfMemoryError:
            if min(optimiser.micro_batch, len(batch)) <= 1:
                raise
            optimiser.micro_batch = max(1, min(optimiser.micro_batch, len(batch)) // 2)
            optimiser.clear()


def _sum(loss: Callable[[Batch], Loss], batch: Batch, optimiser: Optimiser) -> dict[str, float]:
    optimiser.clear()
    total: dict[str, float] = {"count": 0.0, "loss": 0.0}
    for micro in (
        batch.split(optimiser.micro_batch) if len(batch) > optimiser.micro_batch else [batch]
    ):
        with _precision(optimiser, micro):
            part = loss(micro)
        part.value.backward()  # type: ignore[no-untyped-call]
        total["count"] += float(part.count)
        total["loss"] += float(part.value.detach())
        for name, value in part.metrics.items():
            total[name] = total.get(name, 0.0) + float(value)
    return total


def _precision(optimiser: Optimiser, batch: Batch) -> AbstractContextManager[object]:
    if optimiser.precision is None:
        return nullcontext()
    return torch.autocast(batch.positions.device.type, optimiser.precision)
