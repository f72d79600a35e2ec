"""Every key of ``heedful.toml``, one line each: type, default, meaning, unit, bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from heedful.config.errors import ConfigError
from heedful.config.fields import key, toml
from heedful.config.rates import RATES, TOO_NEAR

Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Scalar = bool | int | float | str
Margin = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Inner = Annotated[float, Field(gt=0, lt=1)]
Option = Scalar | list[Scalar]

NAME = r"^[a-z][a-z0-9_-]*$"
FUNCTION = r"^$|^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
DAY = 86_400.0
YEAR = 365 * DAY


class Section(BaseModel):
    """A table of ``heedful.toml``: immutable, typed as TOML is, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True
    )


class Workspace(Section):
    """What is learnt here, and how the machine is used."""

    domain: str = key("recommendation", "what a unit is: the name of a domain", pattern=NAME)
    seed: int = key(0, "where all randomness starts: same seed, same bits", ge=0, lt=2**32)
    threads: int = key(1, "threads per process; small models are fastest with one", ge=1, le=1024)


class Import(Section):
    """Columns of the files that ``heedful import`` reads; all empty: the format is recognised."""

    subject: str = key("", "column of the person")
    unit: str = key("", "column of what was chosen: item, token or move")
    rating: str = key("", "column of the rating")
    click: str = key("", "column of the click: 0 or 1, true or false")
    comment: str = key("", "column of the comment")
    time: str = key("", "column of the event time: seconds, milliseconds or ISO 8601")
    order: str = key("", "column of a running number, where there are no times")
    session: str = key("", "column of the session; empty: one stream per person")
    decision: str = key("", "column that is alike in rows chosen together, as one slate")
    position: str = key("", "column of the place in the slate, from 0 or 1")
    propensity: str = key("", "column of the probability of the choice, given those before it")
    policy: str = key("", "column of who acted")
    context: list[str] = key([], "columns of what was known when it was chosen")
    anonymous: bool = key(False, "nobody is named: each decision is a subject of its own")
    made_by: str = key("", "who acted, where no column says so", max_length=193)
    bot_rate: float = key(
        0.0, "faster for ten minutes is no person; 0: off", unit="decisions a minute", ge=0, le=1e6
    )
    rating_min: float | None = key(None, "lowest rating, lower ones are bad rows", ge=-1e6, le=1e6)
    rating_max: float | None = key(None, "highest rating, higher ones are bad", ge=-1e6, le=1e6)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.time and self.order:
            raise ValueError("rows are sequenced by time or by order: name one of the two columns")
        if self.subject and self.anonymous:
            raise ValueError("rows name their subject or are anonymous: say one of the two")
        if bool(self.subject or self.anonymous) != bool(self.unit):
            raise ValueError("name both the subject and the unit column, or neither")
        low, high = self.rating_min, self.rating_max
        if low is not None and high is not None and low >= high:
            raise ValueError("rating_min must be below rating_max")
        return self


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


class Reward(Section):
    """How feedback is read: what the policy is asked to make more of."""

    kind: Literal["clicks", "ratings", "mixture", "function"] = key("clicks", "what counts")
    weights: dict[str, Number] = key({}, "mixture: weight of each kind of feedback, by its name")
    function: str = key("", 'function: a Python function as "module:name"', pattern=FUNCTION)
    maturity: float = key(
        0.0, "after this long, silence counts as zero", unit="seconds", ge=0, le=YEAR
    )
    rating_min: float = key(1.0, "the rating that is worth 0", ge=-1e6, le=1e6)
    rating_max: float = key(5.0, "the rating that is worth 1", ge=-1e6, le=1e6)
    comments: bool = key(
        False, "read a rating from a comment that came without one: heedful reward learns to"
    )
    comments_file: str = key(
        "", "learn to read from this CSV or TSV with comments and ratings, not from the log"
    )
    replies: Literal["none", "auto", "comparisons", "ratings", "thumbs"] = key(
        "none", "learn what replies are worth by their words, from what is named or what there is"
    )
    labels_file: str = key(
        "", "learn to read labels, intents say, from this CSV or TSV with text and label"
    )
    normalise: Literal["none", "subject"] = key(
        "none", "learn from ratings as given, or made comparable between subjects"
    )
    clips: bool = key(
        False, "learn what steps are worth from people who compare clips: heedful label asks them"
    )
    silence: Literal["zero", "model"] = key(
        "zero", "learn that no answer (yet) is worth nothing, or what a model expects"
    )
    members: int = key(
        1, "models of each sort, on other draws of subjects: their spread is doubt", ge=1, le=100
    )
    pessimism: float = key(
        0.0, "what a model says counts less by so many of its standard deviations", ge=0, le=100
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rating_min >= self.rating_max:
            raise ValueError("rating_min must be below rating_max")
        if (self.kind == "mixture") != bool(self.weights):
            raise ValueError('weights belong to kind = "mixture", which needs at least one')
        if (self.kind == "function") != bool(self.function):
            raise ValueError('function = "module:name" belongs to kind = "function", both or none')
        rated = self.kind == "ratings" or "rating" in self.weights
        if (self.comments or self.normalise != "none") and not rated:
            raise ValueError(
                'comments and normalise belong to kind = "ratings", or to a mixture with a '
                'weight of "rating"'
            )
        if self.comments_file and not self.comments:
            raise ValueError("comments_file belongs to comments = true")
        if self.silence == "model" and self.kind not in ("clicks", "ratings"):
            raise ValueError('silence = "model" belongs to kind = "clicks" or kind = "ratings"')
        return self

    @property
    def fitted(self) -> bool:
        """Whether it takes models, which ``heedful reward`` fits."""
        counted = self.normalise == "none" and self.silence == "zero"
        asked = self.comments or self.clips or self.replies != "none" or bool(self.labels_file)
        return asked or not counted


class Reinforce(Section):
    """Learning from the feedback in the log."""

    objective: Literal[
        "auto",
        "reinforce",
        "dpo",
        "ipo",
        "kto",
        "regression",
        "ppo",
        "rloo",
        "grpo",
        "dqn",
    ] = key("auto", "how it learns; auto: as most of the feedback in the log asks for")
    epochs: int = key(4, "passes over the rewarded decisions", ge=1, le=100_000)
    batch: int = key(64, "streams per step", unit="streams", ge=1, le=1_000_000)
    learning_rate: float = key(1e-4, "AdamW's highest step size", gt=0, le=1)
    cap: float = key(2.0, "highest importance weight of a unit", ge=1, le=1e6)
    kl: float = key(0.05, "weight of the divergence from the pre-trained policy", ge=0, le=1e3)
    entropy: float = key(0.0, "weight of the entropy bonus", ge=0, le=1e3)
    value_weight: float = key(0.5, "weight of the loss of the value head", ge=0, le=1e3)
    feedback_weight: float = key(0.1, "weight of the loss of the feedback head", ge=0, le=1e3)
    hindsight: float = key(
        0.8,
        "where outcomes can be asked for: share of the episodes learned as if theirs had been",
        ge=0,
        le=1,
    )
    next_unit: float = key(
        0.0, "weight of the likelihood of what people chose themselves, seen again", ge=0, le=1e3
    )
    replay: float = key(
        0.5, "older streams learned from again, as a share of the new ones", ge=0, le=100
    )
    lam: float = key(
        1.0,
        "lambda of the advantages; below 1 the value head stands in for what follows",
        ge=0,
        le=1,
    )
    gamma: float = key(
        0.0, "discount between decisions; 0: a decision answers for itself", ge=0, le=1
    )
    v_trace: bool = key(
        False, "returns are those of the policy there is now, not of those who acted (V-trace)"
    )
    beta: float = key(
        0.1, "dpo, ipo, kto: how dearly leaving the first policy is paid for", gt=0, le=1e3
    )
    margin: float = key(
        0.0, "dpo, ipo: ask for so much more where the ratings lie 1 apart", ge=0, le=1e3
    )
    noise: float = key(
        0.0, "dpo, ipo: share of comparisons thought to be the wrong way round", ge=0, lt=0.5
    )
    temperature: float = key(
        1.0,
        "regression: how much more what paid counts, in standard deviations of the reward",
        gt=0,
        le=1e3,
    )
    held_out: float = key(
        0.1, "dpo, ipo, kto, regression: share of the conversations it is judged on", ge=0, le=0.5
    )


class Interact(Section):
    """Learning from what the policy does itself: in an environment, or judged by a reward."""

    reward: str = key(
        "",
        'conversations: who judges replies, as "module:name"; empty: the reward fitted to the log',
        pattern=FUNCTION,
    )
    unfinished: float = key(
        -1.0, "conversations: what a reply earns that was cut off before its end", ge=-1e9, le=1e9
    )
    rounds: int = key(100, "how often it plays, and then learns from it", ge=1, le=10_000_000)
    opponents: Literal["environment", "uniform", "prioritised"] = key(
        "environment",
        "games: against the environment's opponent; or itself and its past, drawn uniformly or the "
        "harder the more often",
    )
    others: float = key(
        0.0,
        "share of the games that are against the environment's own opponent all the same",
        ge=0,
        lt=1,
    )
    pool: int = key(20, "versions of its past that it is played against", ge=2, le=10_000)
    pool_every: int = key(10, "rounds between two of them", ge=1, le=1_000_000)
    environments: int = key(64, "environments that are played side by side", ge=1, le=100_000)
    decisions: int = key(1, "decisions in each of them in a round", ge=1, le=1_000_000)
    group: int = key(
        4, "decisions for one and the same asking, compared by rloo and grpo", ge=1, le=10_000
    )
    epochs: int = key(
        2, "passes over the decisions of a round; dqn: times each is learned from", ge=1, le=10_000
    )
    batch: int = key(64, "streams per step", unit="streams", ge=1, le=1_000_000)
    learning_rate: float = key(3e-4, "AdamW's highest step size", gt=0, le=1)
    decay: Literal["linear", "constant"] = key("linear", "how the step size goes on from there")
    clip: float = key(1.0, "longest gradient, in its 2-norm", gt=0, le=1e6)
    clip_low: float = key(0.2, "how far a unit's probability may fall in a round", gt=0, lt=1)
    clip_high: float = key(0.2, "how far it may rise: its share", gt=0, le=1e6)
    dual_clip: float = key(
        3.0, "grpo, rloo: what did not pay pulls at most so many times its advantage", gt=1, le=1e6
    )
    value_clip: float = key(
        0.0, "ppo: how far the value may move in a round, in units of reward; 0: any", ge=0, le=1e9
    )
    kl: float = key(0.05, "weight of the divergence from the policy it starts from", ge=0, le=1e3)
    kl_in: Literal["reward", "loss"] = key(
        "reward", "where it enters: k1 charged to the reward, or k2 in the loss"
    )
    match: float = key(
        0.0,
        "share of the reward that is for doing what the policy it starts from would have done",
        ge=0,
        le=1,
    )
    entropy: float = key(0.0, "ppo, reinforce: weight of the entropy bonus", ge=0, le=1e3)
    value_weight: float = key(0.5, "ppo, reinforce: weight of the value's loss", ge=0, le=1e3)
    lam: float = key(0.95, "ppo, reinforce: lambda of the advantages", ge=0, le=1)
    gamma: float = key(1.0, "discount between decisions", ge=0, le=1)
    whiten: bool = key(True, "ppo, reinforce: advantages get mean 0 and variance 1 in a round")
    normalise: int = key(
        0,
        "rounds of the first policy on which rewards get mean 0, variance 1; returns variance 1",
        ge=0,
        le=10_000,
    )
    deviation: bool = key(False, "grpo: divide by the standard deviation of the group")
    per: Literal["decisions", "units", "constant"] = key(
        "decisions", "grpo: what counts alike; constant: units, over the longest decision"
    )
    memory: int = key(
        50_000, "dqn: how many of the last decisions are learned from", ge=1, le=100_000_000
    )
    warm_up: int = key(1_000, "dqn: decisions before it begins to learn", ge=1, le=100_000_000)
    n_step: int = key(
        3, "dqn: rewards added up before a value stands in for the rest", ge=1, le=1_000
    )
    target: int = key(
        250, "dqn: steps until the copy that judges what follows is renewed", ge=1, le=10_000_000
    )
    epsilon: float = key(0.05, "dqn: share of moves by chance, in the end", gt=0, le=1)
    exploring: float = key(
        0.2, "dqn: share of the rounds in which they fall to that, from all of them", gt=0, le=1
    )
    kl_limit: float = key(
        2.0, "collapsed above this divergence; 0: never", unit="nats a unit", ge=0, le=1e6
    )
    entropy_floor: float = key(
        0.01, "collapsed below this share of the first round's entropy; 0: never", ge=0, lt=1
    )
    fall: float = key(
        2.0,
        "collapsed when the reward has fallen by so many of its standard deviations; 0: never",
        ge=0,
        le=1e6,
    )
    cut_off: float = key(
        0.95, "collapsed when more of the decisions come to no end of their own", gt=0, le=1
    )
    patience: int = key(3, "rounds on end that it has to look so", ge=1, le=1_000_000)
    keep: Literal["best", "last"] = key(
        "best", "which policy is left: the one that earned most, or the last one"
    )
    save: int = key(10, "rounds between two checkpoints", ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.environments % self.group:
            raise ValueError(
                f"environments ({self.environments}) has to be a multiple of group ({self.group})"
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


class Constraints(Section):
    """What a policy must keep to, whatever it earns: in training and at the gate."""

    at_most: dict[str, Share] = key({}, "mean per decision, by measure: flagged = 0.02")
    at_least: dict[str, Share] = key({}, "mean per decision, by measure: long_tail = 0.2")
    equal: dict[str, Share] = key(
        {}, "by fact of the subjects: how far the mean rewards of its groups may lie apart"
    )
    margin: float = key(
        0.01, "the gate asks for evidence that no limit is missed by more than this", gt=0, lt=1
    )
    price_rate: float = key(
        15.0,
        "how far a price moves in a whole training, per 1 that its limit is missed by",
        gt=0,
        le=1e6,
    )
    price_max: float = key(
        10.0, "highest price: mean reward per unit that 1 of a measure may cost", gt=0, le=1e6
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.at_least.keys() & self.at_most.keys():
            if self.at_least[name] > self.at_most[name]:
                raise ValueError(f"at_least {name} must not be above at_most {name}")
        return self

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.at_most or self.at_least or self.equal)


class Gate(Section):
    """The evidence a candidate must bring before it goes live."""

    alpha: float = key(0.05, "probability of ever promoting what is no better", gt=0, lt=0.5)
    shares: list[Inner] = key(
        [0.5], "share of subjects who get the candidate, by stage of a trial: [0.1, 0.5]"
    )
    margin: float = key(0.0, "by how much it must be better, in scaled reward", ge=-1, lt=1)
    window: float = key(
        DAY, "how long a subject's answers are collected", unit="seconds", gt=0, le=YEAR
    )
    maturity: float = key(0.0, "wait for late answers after that", unit="seconds", ge=0, le=YEAR)
    minimum_subjects: int = key(
        100, "no verdict, and no next stage, before this many", unit="subjects", ge=1, le=10**9
    )
    maximum_subjects: int = key(
        10_000, "a trial that has not convinced by then ends", unit="subjects", ge=1, le=10**9
    )
    approval: bool = key(False, "whether a person must say yes as well")
    evidence: Literal["assignment", "paired"] = key(
        "assignment",
        "where it comes from: a trial on people, or games that candidate and live version play",
    )
    pairs: int = key(
        2000, "paired: games of each of the two, at most", unit="games", ge=30, le=10_000_000
    )
    returns: list[Number] = key(
        [], "paired: the returns that count 0 and 1; empty: as the domain reads a reward"
    )
    betting: Literal["mixture", "agrapa"] = key(
        "mixture", "how evidence is bet for: twelve stakes at once, or one that moves"
    )
    rollback_alpha: float = key(
        0.2, "probability of ever rolling back what is not worse", gt=0, lt=1
    )
    not_more: dict[str, Margin] = key(
        {}, "guardrails: by how much a measure may exceed the live policy's: flagged = 0.01"
    )
    not_less: dict[str, Margin] = key(
        {}, "guardrails: by how much a measure may fall below it: clicked = 0.01"
    )

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, data: Any) -> Any:
        if isinstance(data, dict) and "share" in data:
            stages = f"[{toml(data['share'])}]"
            raise ValueError(
                f"share is now shares, one for each stage of a trial: write shares = {stages}"
            )
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.shares or self.shares != sorted(set(self.shares)):
            raise ValueError("shares needs at least one stage, and each above the one before")
        if self.returns and (len(self.returns) != 2 or not self.returns[0] < self.returns[1]):
            raise ValueError("returns needs two numbers, the lower one first: [-1.0, 1.0]")
        if self.minimum_subjects > self.maximum_subjects:
            raise ValueError("minimum_subjects must not be above maximum_subjects")
        if self.minimum_subjects * len(self.shares) > self.maximum_subjects:
            raise ValueError(
                f"maximum_subjects leaves no room for minimum_subjects in each of the "
                f"{len(self.shares)} stages of shares: raise it, or take fewer stages"
            )
        return self


class Loop(Section):
    """How ``heedful run --forever`` keeps turning, and how much it may forget."""

    rows: int = key(
        1000, "train after this many new rewarded decisions", unit="decisions", ge=1, le=10**12
    )
    every: float = key(
        DAY, "train after this long if there are any at all", unit="seconds", gt=0, le=YEAR
    )
    look: float = key(
        60.0, "look at the log and at the open trial this often", unit="seconds", gt=0, le=DAY
    )
    cohorts: int = key(
        4, "parts of the past, by first visit, on which a candidate is compared", ge=1, le=1000
    )
    forgetting: float = key(
        0.0,
        "largest rise of the loss on what one of them liked; 0: report only",
        unit="nats",
        ge=0,
        le=100,
    )


class Serve(Section):
    """How it meets people."""

    host: str = key("127.0.0.1", "address to listen on", min_length=1, max_length=255)
    port: int = key(8642, "port to listen on; 0: any free one", ge=0, le=65_535)
    floor: float = key(
        0.05, "share of decisions drawn uniformly: the next gate needs it", gt=0, le=1
    )
    slate: int = key(5, "units per decision, unless asked otherwise", unit="units", ge=1, le=1000)
    hold: float = key(
        0.0, "share of decisions that wait for a person before they are shown", ge=0, lt=1
    )
    session_gap: float = key(
        1800.0, "silence after which a new session begins", unit="seconds", gt=0, le=YEAR
    )
    body_limit: int = key(
        1_048_576, "largest request body", unit="bytes", ge=1024, le=1_073_741_824
    )


class Config(Section):
    """All of ``heedful.toml``. One attribute per table; ``import_`` is the table ``[import]``."""

    workspace: Workspace = Workspace()
    import_: Import = Field(default=Import(), alias="import")
    domain: dict[str, Option] = Field(
        default={}, description="Options of the domain, which checks them itself."
    )
    policy: Policy = Policy()
    pretrain: Pretrain = Pretrain()
    reward: Reward = Reward()
    reinforce: Reinforce = Reinforce()
    interact: Interact = Interact()
    tune: Tune = Tune()
    constraints: Constraints = Constraints()
    gate: Gate = Gate()
    loop: Loop = Loop()
    serve: Serve = Serve()
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        kinds = self.policy.members or [self.policy.kind]
        if self.pretrain.bidirectional and "recurrent" in kinds:
            raise ValueError(
                "pretrain.bidirectional needs a network that can read from right to left: set "
                'policy.kind = "transformer" with it'
            )
        return self

    def located(self, error: ConfigError) -> ConfigError:
        """Return ``error``, with the flag or variable at fault where one set the key."""
        problems = [
            replace(problem, source=self._origins.get(problem.key, problem.source))
            for problem in error.problems
        ]
        return ConfigError(problems)

    def doubts(self) -> tuple[str, ...]:
        """Return what is allowed and yet unlikely to be meant, each with what to do about it."""
        pretrain, found = self.pretrain, []
        highest = RATES[pretrain.optimiser].highest
        if pretrain.rate > highest:
            found.append(
                f"pretrain.learning_rate = {toml(pretrain.rate)} is high for {pretrain.optimiser}, "
                f"which learned less above {toml(highest)} when it was measured: try a lower one, "
                "or see heedful pretrain --range-test"
            )
        if self.reinforce.learning_rate > pretrain.rate / TOO_NEAR:
            found.append(
                f"reinforce.learning_rate = {toml(self.reinforce.learning_rate)} is above a tenth "
                f"of pre-training's {toml(pretrain.rate)}: reinforcement may undo what was learned "
                "before; one to two orders below is usual"
            )
        return tuple(found)

    def canonical(self) -> dict[str, dict[str, Any]]:
        """Return plain JSON values by table and key, every key present, for a policy's card.

        >>> Config().canonical()["gate"]["alpha"]
        0.05
        """
        return self.model_dump(mode="json", by_alias=True)
