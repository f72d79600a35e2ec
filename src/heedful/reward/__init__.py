"""How we read people: feedback -> number.

What is exported here needs NumPy alone. :mod:`heedful.reward.answers`, the click model, is a
network and is imported by name.
"""

from heedful.reward.comments import CommentReader, Comments, Pairs, Readings
from heedful.reward.ensemble import agreement, disputed, pessimistic, resamples
from heedful.reward.fitted import Fitted, ReadRatings
from heedful.reward.groups import Groups, groups
from heedful.reward.isotonic import Calibration, isotonic
from heedful.reward.measures import MEASURES, View, measured, measured_units
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
    parts_of,
    said,
)
from heedful.reward.subjects import SubjectScales
from heedful.reward.trusted import approved

__all__ = [
    "MEASURES",
    "Calibration",
    "Clicks",
    "CommentReader",
    "Comments",
    "Earned",
    "Fitted",
    "Given",
    "Groups",
    "Mixture",
    "Pairs",
    "Ratings",
    "ReadRatings",
    "Readings",
    "Reward",
    "RewardError",
    "SubjectScales",
    "View",
    "agreement",
    "approved",
    "disputed",
    "earn",
    "from_config",
    "groups",
    "isotonic",
    "measured",
    "measured_units",
    "parts_of",
    "pessimistic",
    "resamples",
    "said",
]
