"""What we want: losses and returns as pure functions, and the one loop that descends them."""

from heedful.objectives.adversarial import adversarial
from heedful.objectives.constrained import (
    Alike,
    Bound,
    Gap,
    Lagrangian,
    Limit,
    Price,
    weights_of_decisions,
)
from heedful.objectives.descend import RULES, Means, Metrics, Optimiser, Schedule, Sweep, descend
from heedful.objectives.infilling import infill
from heedful.objectives.joint import balanced, joint, ours
from heedful.objectives.loss import Loss
from heedful.objectives.near import IMITATE_NEEDS, PARENT_NEEDS, divergence, imitate
from heedful.objectives.policy_gradient import (
    NEEDS,
    UnknownProbabilityError,
    importance,
    ppo,
    reinforce,
)
from heedful.objectives.prepare import prepare
from heedful.objectives.returns import generalised_advantages
from heedful.objectives.supervised import (
    NEXT_UNIT_NEEDS,
    feedback_loss,
    masked_unit,
    next_unit,
)

__all__ = [
    "IMITATE_NEEDS",
    "NEEDS",
    "NEXT_UNIT_NEEDS",
    "PARENT_NEEDS",
    "RULES",
    "Alike",
    "Bound",
    "Gap",
    "Lagrangian",
    "Limit",
    "Loss",
    "Means",
    "Metrics",
    "Optimiser",
    "Price",
    "Schedule",
    "Sweep",
    "UnknownProbabilityError",
    "adversarial",
    "balanced",
    "descend",
    "divergence",
    "feedback_loss",
    "generalised_advantages",
    "imitate",
    "importance",
    "infill",
    "joint",
    "masked_unit",
    "next_unit",
    "ours",
    "ppo",
    "prepare",
    "reinforce",
    "weights_of_decisions",
]
