"""How we read people: feedback -> number.

What is exported here needs NumPy alone. :mod:`heedful.reward.answers`, the click model, is a
network and is imported by name.
"""

from heedful.reward.classes import TextClassifier
from heedful.reward.comments import CommentReader, Comments, Pairs, Readings
from heedful.reward.conversations import Exchanges, transcript
from heedful.reward.ensemble import agreement, disputed, pessimistic, resamples
from heedful.reward.exchanges import exchange_rows, length_correlation
from heedful.reward.fitted import Fitted, ReadRatings
from heedful.reward.groups import Groups, groups
from heedful.reward.isotonic import Calibration, isotonic
from heedful.reward.judgements import Comparisons, Rated
from heedful.reward.likelihood import Compared
from heedful.reward.measures import MEASURES, View, measured, measured_units
from heedful.reward.replies import NgramReward, left_out_scores
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
from heedful.reward.text import Moments, Normalised, TextReward, Total, scored, text_reward
from heedful.reward.trusted import approved
from heedful.reward.worth import ReplyReward, Scale, Worth

__all__ = [
    "MEASURES",
    "Calibration",
    "Clicks",
    "CommentReader",
    "Comments",
    "Compared",
    "Comparisons",
    "Earned",
    "Exchanges",
    "Fitted",
    "Given",
    "Groups",
    "Mixture",
    "Moments",
    "NgramReward",
    "Normalised",
    "Pairs",
    "Rated",
    "Ratings",
    "ReadRatings",
    "Readings",
    "ReplyReward",
    "Reward",
    "RewardError",
    "Scale",
    "SubjectScales",
    "TextClassifier",
    "TextReward",
    "Total",
    "View",
    "Worth",
    "agreement",
    "approved",
    "disputed",
    "earn",
    "exchange_rows",
    "from_config",
    "groups",
    "isotonic",
    "left_out_scores",
    "length_correlation",
    "measured",
    "measured_units",
    "parts_of",
    "pessimistic",
    "resamples",
    "said",
    "scored",
    "text_reward",
    "transcript",
]
