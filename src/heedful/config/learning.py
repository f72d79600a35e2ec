"""``[policy]``, ``[pretrain]``, ``[tune]``: a network, and what people's choices teach it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from heedful.config.fields import key
from heedful.config.rates import RATES
from heedful.config.section import NAME, Section


class Policy(Section):
    """The network that chooses."""

    kind: str = key(
        "recurrent", 'the network: "recurrent", "transformer", "huggingface"', pattern=NAME
    )
    model: str = key("", 'kind "huggingface": the folder of the model, from the workspace\'s')
    adapter: Literal["none", "lora", "ia3", "prefix"] = key(
        "none", 'kind "huggingface": what is trained beside the model, which is frozen then'
    )
    adapter_size: int = key(8, '"lora": the rank of a product; "prefix": its tokens', ge=1, le=4096)
    recompute: bool = key(
        False, 'kind "huggingface": compute blocks again for the gradient, to save memory'
    )
    width: int = key(64, "size of a hidden vector", unit="numbers", ge=1, le=16_384)
    members: list[str] = key(
        [], "an ensemble: the networks whose probabilities are averaged; empty: one of kind"
    )
    layers: int = key(
        0, "blocks on top of each other; 0: as suits the network, 2 or, recurrent, 1", ge=0, le=256
    )
    heads: int = key(2, "attention heads; they divide the width", ge=1, le=256)
    dropout: float = key(0.4, "share of hidden numbers dropped in training", ge=0, lt=1)
    id_dropout: float = key(
        0.1, "share of described units known by that alone in a training step", ge=0, lt=1
    )
    window: int = key(200, "how long a stream is remembered", unit="events", ge=1, le=1_000_000)
    prior: bool = key(True, "add the log-scores of item-to-item transitions to the logits")
    plain: bool = key(
        False, "a network for language: no linear memory, no sense of time, no bias of each unit"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided among {self.heads} heads")
        if ("huggingface" in (self.kind, *self.members)) != bool(self.model):
            raise ValueError('model names the folder for kind = "huggingface": both, or neither')
        return self


class Pretrain(Section):
    """Self-supervised training on the log: predict the next unit, or hidden ones."""

    objective: Literal["next", "masked", "both"] = key(
        "next", "what is predicted: each next unit, hidden ones from both their sides, or both"
    )
    masked_share: float = key(
        0.2, 'objective "masked" or "both": share of the units that are hidden', gt=0, lt=1
    )
    bidirectional: bool = key(
        False, "transformer: ask for hidden units in place, attending to both sides"
    )
    epochs: int = key(30, "at most this many passes over the streams", ge=1, le=100_000)
    batch: int = key(32, "streams per step", unit="streams", ge=1, le=1_000_000)
    optimiser: Literal["adamw", "adam", "rmsprop", "muon"] = key("adamw", "the rule of a step")
    learning_rate: float = key(
        0.0,
        "highest step size; 0: the optimiser's own, or 1e-5 for a model from elsewhere",
        ge=0,
        le=1,
    )
    schedule: Literal["auto", "cosine", "linear", "constant", "plateau"] = key(
        "auto", "how the rate falls; auto: cosine, or plateau for a model from elsewhere"
    )
    precision: Literal["float32", "bfloat16"] = key(
        "float32", "what matrices are multiplied in; bfloat16 is faster on processors that have it"
    )
    weight_decay: float = key(
        0.01, "adamw's and muon's decoupled weight decay; the others have none", ge=0, le=10
    )
    warmup: float = key(0.05, "share of the steps in which the rate rises", ge=0, le=1)
    clip: float = key(1.0, "longest gradient, in its 2-norm", gt=0, le=1e6)
    feedback_dropout: float = key(
        0.1, "share of feedback hidden in training, so that unknown is at home", ge=0, le=1
    )
    feedback_weight: float = key(0.1, "weight of the loss of the feedback head", ge=0, le=1e3)
    hindsight: float = key(
        0.8,
        "where outcomes can be asked for: share of the episodes learned as if theirs had been",
        ge=0,
        le=1,
    )
    reward_weight: float = key(
        0.0, "how far units count by their reward; 0: all alike, 1: in proportion", ge=0, le=1
    )
    validation: bool = key(True, "hold units out: to choose the best epoch, and for the test")
    split: Literal["leave-one-out", "time", "episode", "subject"] = key(
        "leave-one-out",
        "what is held out: each subject's last two units, the latest of all, whole episodes, or "
        "whole subjects",
    )
    split_share: float = key(
        0.1,
        "other splits: share of the units, episodes or subjects to validate and to test on",
        gt=0,
        lt=0.5,
    )
    criterion: Literal["auto", "ranking", "likelihood"] = key(
        "auto",
        'what the best epoch is best at; auto: likelihood with split "episode" or "subject", else '
        "ranking",
    )
    patience: int = key(10, "epochs without a better validation before it stops", ge=1, le=100_000)
    ema: float = key(0.99, "decay per step of the weights' moving average; 0: off", ge=0, lt=1)
    crop: float = key(0.0, "share of the rows cut to a random stretch of them", ge=0, le=1)
    mask: float = key(0.0, "share of the history's units read as unknown", ge=0, lt=1)
    substitute: float = key(0.0, "share of the history's units read as similar ones", ge=0, lt=1)
    adversarial: float = key(
        0.0, "how far units' vectors are moved for the worse, over their length; 0: off", ge=0, le=1
    )

    @property
    def rate(self) -> float:
        """The highest step size: what was asked for, or the optimiser's own.

        >>> Pretrain().rate, Pretrain(learning_rate=0.5).rate
        (0.002, 0.5)
        """
        return self.learning_rate or RATES[self.optimiser].default

    @property
    def by_likelihood(self) -> bool:
        """Whether held-out likelihood chooses the best epoch, and is what ``evaluate`` shows."""
        auto = self.criterion == "auto" and self.split in ("episode", "subject")
        return auto or self.criterion == "likelihood"

    @property
    def decay(self) -> float:
        """The weight decay, of AdamW and Muon alone.

        Added to a gradient, as the others would, it is scaled up with it: nothing was learned then.
        """
        return self.weight_decay if self.optimiser in ("adamw", "muon") else 0.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.bidirectional and self.objective == "next":
            raise ValueError(
                'bidirectional asks for hidden units: set objective = "masked" or "both" with it'
            )
        if self.schedule == "plateau" and not self.validation:
            raise ValueError(
                'schedule = "plateau" follows what is held out: set validation = true with it'
            )
        return self


class Tune(Section):
    """Fine-tuning on few trusted labels: what should have been chosen."""

    trusted: list[str] = key(
        [], "user ids of people whose clicks and ratings are labels, beside all demonstrations"
    )
    scope: Literal["heads", "last_block", "all"] = key(
        "last_block", "what may change: output heads, the last block too, or everything"
    )
    epochs: int = key(300, "at most this many passes over the labels", ge=1, le=100_000)
    batch: int = key(8, "labels per step", unit="labels", ge=1, le=1_000_000)
    learning_rate: float = key(2e-4, "AdamW's highest step size", gt=0, le=1)
    kl: float = key(0.1, "weight of the divergence from the parent, per unit", ge=0, le=1e3)
    minimum: int = key(20, "refuse to tune on fewer", unit="labels", ge=2, le=1_000_000)
    held_out: float = key(
        0.2, "share of the labels, whole subjects, that says when to stop", gt=0, le=0.5
    )
    patience: int = key(10, "passes without a better one before it stops", ge=1, le=100_000)
