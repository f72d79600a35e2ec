"""How we read people: feedback -> number."""

from heedful.reward.rewards import (
    Clicks,
    Earned,
    Given,
    Mixture,
    Ratings,
    Reward,
    RewardError,
    earn,
    from_config,
    said,
)

__all__ = [
    "Clicks",
    "Earned",
    "Given",
    "Mixture",
    "Ratings",
    "Reward",
    "RewardError",
    "earn",
    "from_config",
    "said",
]
