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
from heedful.objectives.descend import (
    RULES,
    Means,
    Metrics,
    Optimiser,
    Plateau,
    Rates,
    Schedule,
    Sweep,
    descend,
)
from heedful.objectives.infilling import infill
from heedful.objectives.joint import balanced, joint, ours
from heedful.objectives.loss import Loss
from heedful.objectives.matching import matching, mixed
from heedful.objectives.muon import Muon, hidden_matrices
from heedful.objectives.near import IMITATE_NEEDS, PARENT_NEEDS, divergence, imitate
from heedful.objectives.policy_gradient import (
    NEEDS,
    UnknownProbabilityError,
    importance,
    ppo,
    reinforce,
)
from heedful.objectives.preference import DIRECT_NEEDS, dpo
from heedful.objectives.prepare import drift, prepare
from heedful.objectives.prospect import kto, mismatched, mismatched_drift
from heedful.objectives.regression import weighted_regression
from heedful.objectives.relative import Compared, compare, grpo, live, relative_advantages
from heedful.objectives.returns import Ahead, generalised_advantages, n_step, v_trace
from heedful.objectives.supervised import (
    NEXT_UNIT_NEEDS,
    feedback_loss,
    masked_unit,
    next_unit,
)
from heedful.objectives.temporal_difference import (
    Q_NEEDS,
    double_q_target,
    expected_sarsa_target,
    q_learning_target,
    q_loss,
    sarsa_target,
)

__all__ = [
    "DIRECT_NEEDS",
    "IMITATE_NEEDS",
    "NEEDS",
    "NEXT_UNIT_NEEDS",
    "PARENT_NEEDS",
    "Q_NEEDS",
    "RULES",
    "Ahead",
    "Alike",
    "Bound",
    "Compared",
    "Gap",
    "Lagrangian",
    "Limit",
    "Loss",
    "Means",
    "Metrics",
    "Muon",
    "Optimiser",
    "Plateau",
    "Price",
    "Rates",
    "Schedule",
    "Sweep",
    "UnknownProbabilityError",
    "adversarial",
    "balanced",
    "compare",
    "descend",
    "divergence",
    "double_q_target",
    "dpo",
    "drift",
    "expected_sarsa_target",
    "feedback_loss",
    "generalised_advantages",
    "grpo",
    "hidden_matrices",
    "imitate",
    "importance",
    "infill",
    "joint",
    "kto",
    "live",
    "masked_unit",
    "matching",
    "mismatched",
    "mismatched_drift",
    "mixed",
    "n_step",
    "next_unit",
    "ours",
    "ppo",
    "prepare",
    "q_learning_target",
    "q_loss",
    "reinforce",
    "relative_advantages",
    "sarsa_target",
    "v_trace",
    "weighted_regression",
    "weights_of_decisions",
]
