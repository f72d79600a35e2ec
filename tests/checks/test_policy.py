"""Planted faults: each of them is found, and the message says which promise is broken."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from heedful.checks import EXAMPLE_SCHEMA, CheckFailure, check_policy
from heedful.policy import (
    Batch,
    Choices,
    Events,
    Floor,
    Outputs,
    Popularity,
    Recurrent,
    Schema,
    Transformer,
)


class Honest(Recurrent):
    """What the faults are planted in."""


class LeaksTheFuture(Honest):
    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        ahead = (batch.positions + 1).clamp(max=batch.events.kind.shape[1] - 1)
        return super().forward(batch.filled(positions=ahead), need)


class LeaksTheRowsMean(Honest):
    """Sees what is said at every place of the row, the later ones included."""

    def _read(self, x: Tensor, at: Tensor, lengths: Tensor) -> Tensor:
        known = super()._read(x, at, lengths)
        return known + 0.1 * known.mean(dim=1, keepdim=True)


class ValueSeesTheFuture(Honest):
    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        outputs = super().forward(batch, need)
        if outputs.values is None:
            return outputs
        coming = batch.events.value.sum(1, keepdim=True) * batch.slots
        return replace(outputs, values=outputs.values + coming)


class ChangesStepOnly(Honest):
    def step(self, state: Any, events: Events, choices: Choices) -> tuple[Any, Tensor]:
        state, logits = super().step(state, events, choices)
        return state, logits / 0.9


class ForgetsFeedback(Honest):
    """Reads feedback in training, and not when it serves."""

    def step(self, state: Any, events: Events, choices: Choices) -> tuple[Any, Tensor]:
        deaf = replace(events, channel=torch.zeros_like(events.channel))
        return super().step(state, deaf, choices)


class WritesIntoItsState(Honest):
    def step(self, state: Any, events: Events, choices: Choices) -> tuple[Any, Tensor]:
        new, logits = super().step(state, events, choices)
        if len(new) == len(state):
            state.sums.copy_(new.sums)
        return new, logits


class IgnoresItsPrefix(Honest):
    """Starts anew with every step, as if there were only one."""

    def step(self, state: Any, events: Events, choices: Choices) -> tuple[Any, Tensor]:
        return super().step(self.start(len(state)), events, choices)


class IgnoresChoices(Honest):
    def step(self, state: Any, events: Events, choices: Choices) -> tuple[Any, Tensor]:
        return super().step(state, events, Choices.everything(self.schema.size, len(state)))


class IgnoresChoicesInTraining(Honest):
    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        free = Choices.everything(self.schema.size, len(batch), batch.mask.shape[1])
        return super().forward(replace(batch, choices=free), need)


class MixesRows(Honest):
    def _score(self, known: Tensor) -> Tensor:
        return super()._score(known + 0.1 * known.mean(0, keepdim=True))


class DropsInEvaluation(Honest):
    def _score(self, known: Tensor) -> Tensor:
        return super()._score(nn.functional.dropout(known, 0.5))


class AnswersHalf(Honest):
    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        return replace(super().forward(batch, need), values=None)


class EntropyInBits(Honest):
    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        outputs = super().forward(batch, need)
        return replace(
            outputs, entropy=None if outputs.entropy is None else outputs.entropy / 0.693
        )


class FormIsNoJson(Honest):
    def spec(self) -> dict[str, object]:
        return {**super().spec(), "schema": self.schema}


class KindIsNotInstalled(Honest):
    def spec(self) -> dict[str, object]:
        return {**super().spec(), "kind": "at home"}


class KeepsNumbersBack(Honest):
    """Has a number that is not saved with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shift = torch.randn(EXAMPLE_SCHEMA.size)

    def _score(self, known: Tensor) -> Tensor:
        return super()._score(known) + self.shift.to(known.dtype)


class ForgetsWhenItGrows(Honest):
    def grown(self, schema: Schema) -> "ForgetsWhenItGrows":
        return type(self)(schema, width=self.width).to(self.bias).eval()


class GradientIsNan(Honest):
    """A square root of zero, hidden behind a mask: fine forwards, NaN backwards."""

    def _score(self, known: Tensor) -> Tensor:
        logits = super()._score(known)
        root = torch.where(logits > 1e9, torch.sqrt(logits - logits), 0.0)
        return logits + root


class SelectsTheFirstRows(Transformer):
    def start(self, n: int) -> Any:
        return _Unselectable(super().start(n))

    def step(self, state: Any, events: Events, choices: Choices) -> tuple[Any, Tensor]:
        inner, logits = super().step(state.inner, events, choices)
        return _Unselectable(inner), logits


class _Unselectable:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def select(self, rows: Tensor) -> Any:
        return _Unselectable(self.inner.select(torch.arange(len(rows))))

    def stack(self, others: Any) -> Any:
        return _Unselectable(self.inner.stack([other.inner for other in others]))


class FloorInStepOnly(Floor):
    """A wrapper that changes step, but not forward: what is logged is not what is replayed."""

    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        return self.inner.forward(batch, need)


def made(kind: Callable[..., nn.Module], **options: Any) -> nn.Module:
    torch.manual_seed(0)
    policy = kind(EXAMPLE_SCHEMA, width=8, **options)
    for parameter in policy.parameters():
        nn.init.normal_(parameter, std=0.5)
    return policy.double().eval()


def test_an_honest_policy_passes() -> None:
    check_policy(made(Honest))


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        (LeaksTheFuture, "step gives the log-probabilities of forward"),
        (LeaksTheRowsMean, "step gives the log-probabilities of forward"),
        (ValueSeesTheFuture, "values does not see later events"),
        (ChangesStepOnly, "step gives the log-probabilities of forward"),
        (ForgetsFeedback, "step gives the log-probabilities of forward"),
        (WritesIntoItsState, "step leaves the old state as it was"),
        (IgnoresItsPrefix, "step gives the log-probabilities of forward"),
        (IgnoresChoices, "step gives the log-probabilities of forward"),
        (IgnoresChoicesInTraining, "what the choices forbid has a logit of minus infinity"),
        (MixesRows, "step gives the log-probabilities of forward|rows are independent"),
        (DropsInEvaluation, "asked alone"),
        (AnswersHalf, "forward answers everything it was asked"),
        (EntropyInBits, "entropy"),
        (FormIsNoJson, r"spec\(\) is JSON"),
        (KindIsNotInstalled, "load reads what save wrote"),
        (KeepsNumbersBack, "a loaded policy's log-probabilities"),
        (GradientIsNan, "gradients are finite"),
        (ForgetsWhenItGrows, "of old units after growth"),
    ],
)
def test_a_planted_fault_is_found(fault: Callable[..., nn.Module], promise: str) -> None:
    with pytest.raises(CheckFailure, match=promise):
        check_policy(made(fault))


def test_a_state_that_selects_the_wrong_rows_is_found() -> None:
    with pytest.raises(CheckFailure, match="select picks streams"):
        check_policy(made(SelectsTheFirstRows, heads=2))


def test_a_wrapper_that_changes_step_but_not_forward_is_found() -> None:
    with pytest.raises(CheckFailure, match="every importance weight is wrong"):
        check_policy(FloorInStepOnly(made(Recurrent), share=0.2).eval())


def test_training_mode_is_found() -> None:
    with pytest.raises(CheckFailure, match="evaluation mode"):
        check_policy(Popularity(EXAMPLE_SCHEMA))


def test_a_failure_says_what_was_expected_found_and_why() -> None:
    with pytest.raises(CheckFailure, match=r"(?s)expected: .*found: .*why: .*importance weight"):
        check_policy(made(ChangesStepOnly))
