"""Preferences between clips of play: which of two is better, and a reward learned from that.

`trajectories` play and keep seeds and moves, `horizon` hides how episodes end, `sampling` chooses
what to ask, `teachers` answer as people might, `rendering` plays a clip again and `showing` shows
one of the log as well as can be, `rounds` learn, and `learned` gives any Gymnasium environment the
learned reward. `logged` writes play into the log, where `heedful label` asks people about it.
"""

from heedful.domains.games.clips.features import Cases, Numbers, StepFeatures, features_of
from heedful.domains.games.clips.horizon import FixedHorizon
from heedful.domains.games.clips.learned import LearnedReward, LearnedRewardVector
from heedful.domains.games.clips.logged import records
from heedful.domains.games.clips.rendering import NotTheSameError, mode_of, rendered, replayed
from heedful.domains.games.clips.rounds import (
    Agreement,
    Asking,
    Lesson,
    learn_reward,
    taught,
)
from heedful.domains.games.clips.sampling import disputed_pairs, random_pairs, spans, stacked
from heedful.domains.games.clips.showing import shown
from heedful.domains.games.clips.teachers import Teacher, six_teachers
from heedful.domains.games.clips.trajectories import Plays, Trajectory, play
from heedful.reward.questions import Answer

__all__ = [
    "Agreement",
    "Answer",
    "Asking",
    "Cases",
    "FixedHorizon",
    "LearnedReward",
    "LearnedRewardVector",
    "Lesson",
    "NotTheSameError",
    "Numbers",
    "Plays",
    "StepFeatures",
    "Teacher",
    "Trajectory",
    "disputed_pairs",
    "features_of",
    "learn_reward",
    "mode_of",
    "play",
    "random_pairs",
    "records",
    "rendered",
    "replayed",
    "shown",
    "six_teachers",
    "spans",
    "stacked",
    "taught",
]
