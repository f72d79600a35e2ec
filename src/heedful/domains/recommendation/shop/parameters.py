"""What a shop is made of: every number that `heedful/Shop-v0` depends on, with its unit."""

from dataclasses import dataclass, fields
from math import isfinite

__all__ = ["ShopParameters"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopParameters:
    """The numbers of a simulated shop; the defaults are the benchmark and stay as they are.

    They were fixed before any policy was trained, so that a clear gap lies between the popular
    items and an oracle, and so that a taste can be read from a few clicks: `python -m
    heedful.domains.recommendation.shop` prints both.

    Attributes:
        world_seed: seed of the catalogue; people have their own, given to `reset`.
        items: how many items the shop has.
        slate: how many different items one decision shows.
        genres: how many clusters the items lie in.
        dimension: length of taste and item vectors, at least `genres`.
        item_spread: length of an item's own part beside its genre's, before normalising.
        taste_spread: the same for a person's own part beside the favourite genres'.
        genre_skew: how unevenly people favour genres: share of genre g is (g + 1)^-genre_skew.
        popularity_skew: scale of item appeal in logits, exponentially distributed, mean zero.
        strength: logits that one unit of affinity (cosine of taste and item) adds.
        bias: logit of a click on an examined item of average appeal and no affinity.
        evening: amplitude in logits of a daily mood that peaks at 20 h.
        examination_decay: position k (from 0) is looked at with probability decay^k.
        item_boredom: logits that one recent exposure of the same item takes away.
        genre_boredom: logits that one recent whole slate of the same genre takes away.
        boredom_memory: share of boredom that is left after one more decision.
        boredom_rest: share of boredom that is left when the person comes back.
        drift: size of the wandering of tastes around home, relative to a taste's length 1.
        drift_memory: correlation of that wandering from one decision to the next.
        switch_at: after so many decisions since `reset` all tastes are redrawn, once.
        turn_at: after so many decisions since `reset` everybody's tastes begin to turn, each from
            its genres to the next ones; below 0 for people who come when it has begun.
        turn_over: decisions that the turn takes; 1 is at once.
        rating_rate: share of clicks that lead to a rating.
        comment_rate: share of clicks that lead to a comment.
        prompt_rate: chance per decision that feedback on its way arrives: delays are geometric.
        patience: decisions after which feedback that has not been given never comes.
        rating_base: mean rating of a clicked item at no affinity, before rounding to 1..5.
        rating_slope: mean rating that one unit of affinity adds.
        rating_noise: standard deviation of that rating before rounding.
        explicit_no: send a click of value False for every shown item that was not clicked.
        leave_pleased: chance to leave after a slate with a click.
        leave_unmoved: chance to leave after a slate without one.
        max_visit: decisions after which a visit is cut off.

    Raises:
        ValueError: a value is out of its range; the message names the field and the range.
    """

    world_seed: int = 0
    items: int = 200
    slate: int = 5
    genres: int = 6
    dimension: int = 8
    item_spread: float = 0.45
    taste_spread: float = 0.45
    genre_skew: float = 0.4
    popularity_skew: float = 0.6
    strength: float = 4.6
    bias: float = -3.3
    evening: float = 0.3
    examination_decay: float = 0.9
    item_boredom: float = 0.5
    genre_boredom: float = 0.15
    boredom_memory: float = 0.7
    boredom_rest: float = 0.3
    drift: float = 0.0
    drift_memory: float = 0.98
    switch_at: int | None = None
    turn_at: int | None = None
    turn_over: int = 1
    rating_rate: float = 0.3
    comment_rate: float = 0.08
    prompt_rate: float = 0.35
    patience: int = 12
    rating_base: float = 2.3
    rating_slope: float = 2.4
    rating_noise: float = 0.6
    explicit_no: bool = False
    leave_pleased: float = 0.1
    leave_unmoved: float = 0.2
    max_visit: int = 30

    def __post_init__(self) -> None:
        """Refuse values that make no shop."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not isfinite(value):
                raise ValueError(f"ShopParameters.{field.name} is {value}: give a finite number")
        for name in ("items", "slate", "genres", "patience", "max_visit", "turn_over"):
            self._within(name, 1, None)
        for name in _SHARES:
            self._within(name, 0.0, 1.0)
        for name in _SIZES:
            self._within(name, 0.0, None)
        self._within("world_seed", 0, None)
        if self.switch_at is not None:
            self._within("switch_at", 1, None)
        self._within("slate", 1, self.items)
        self._within("genres", 1, min(self.items, self.dimension))
        if self.prompt_rate == 0 or self.examination_decay == 0:
            raise ValueError(
                "ShopParameters.prompt_rate and examination_decay must be above 0; "
                "for no late feedback set rating_rate and comment_rate to 0"
            )

    def _within(self, name: str, low: float, high: float | None) -> None:
        value = getattr(self, name)
        if value < low or (high is not None and value > high):
            span = f"at least {low}" if high is None else f"within {low}..{high}"
            raise ValueError(f"ShopParameters.{name} is {value}: it must be {span}")


_SHARES = (
    "examination_decay",
    "boredom_memory",
    "boredom_rest",
    "drift_memory",
    "rating_rate",
    "comment_rate",
    "prompt_rate",
    "leave_pleased",
    "leave_unmoved",
)
_SIZES = (
    "item_spread",
    "taste_spread",
    "genre_skew",
    "popularity_skew",
    "strength",
    "item_boredom",
    "genre_boredom",
    "drift",
    "rating_noise",
)
