"""``[reward]``, ``[constraints]``, ``[reinforce]``, ``[interact]``: what is wanted, and the way."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from heedful.config.fields import key
from heedful.config.section import YEAR, Number, Section

Share = Annotated[float, Field(ge=0, le=1)]
FUNCTION = r"^$|^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


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
