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
from heedful.reward.trusted import approved

__all__ = [
    "Clicks",
    "Earned",
    "Given",
    "Mixture",
    "Ratings",
    "Reward",
    "RewardError",
    "approved",
    "earn",
    "from_config",
    "said",
]
