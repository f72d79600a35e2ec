"""What we want: losses and returns as pure functions, and the one loop that descends them."""

from heedful.objectives.descend import Metrics, Optimiser, Schedule, descend
from heedful.objectives.loss import Loss
from heedful.objectives.policy_gradient import (
    NEEDS,
    UnknownProbabilityError,
    importance,
    ppo,
    reinforce,
)
from heedful.objectives.prepare import prepare
from heedful.objectives.returns import generalised_advantages
from heedful.objectives.supervised import NEXT_UNIT_NEEDS, feedback_loss, next_unit

__all__ = [
    "NEEDS",
    "NEXT_UNIT_NEEDS",
    "Loss",
    "Metrics",
    "Optimiser",
    "Schedule",
    "UnknownProbabilityError",
    "descend",
    "feedback_loss",
    "generalised_advantages",
    "importance",
    "next_unit",
    "ppo",
    "prepare",
    "reinforce",
]
