"""What a policy is worth: ranking metrics, off-policy estimates, and the gate it must pass.

What is exported here are functions of arrays, NumPy only; what the arrays hold comes from above.
"""

from heedful.evaluate.adaptive import AdaptiveEProcess, Betting, e_process, log_evidence_by
from heedful.evaluate.calibration import (
    Reliability,
    auc,
    brier,
    calibration_error,
    log_loss,
    reliability,
)
from heedful.evaluate.cohort import SubjectRewards, per_subject
from heedful.evaluate.estimators import (
    OffPolicyEstimate,
    effective_sample_size,
    importance_weights,
    ips,
    mean_weight,
    snips,
)
from heedful.evaluate.evidence import Evidence, assignment, off_policy
from heedful.evaluate.gate import (
    ASSIGNMENT_FRACTIONS,
    OFF_POLICY_FRACTIONS,
    EProcess,
    alpha_of,
    log_evidence,
)
from heedful.evaluate.guarded import Guarded, Levels, equal_service, kept_within, not_worse
from heedful.evaluate.health import HealthCheck, duplicates, join_rate
from heedful.evaluate.intervals import Interval, bootstrap
from heedful.evaluate.ranking import coverage, hit_rate, mrr, ndcg, ranks
from heedful.evaluate.verdict import Verdict, judge

__all__ = [
    "ASSIGNMENT_FRACTIONS",
    "OFF_POLICY_FRACTIONS",
    "AdaptiveEProcess",
    "Betting",
    "EProcess",
    "Evidence",
    "Guarded",
    "HealthCheck",
    "Interval",
    "Levels",
    "OffPolicyEstimate",
    "Reliability",
    "SubjectRewards",
    "Verdict",
    "alpha_of",
    "assignment",
    "auc",
    "bootstrap",
    "brier",
    "calibration_error",
    "coverage",
    "duplicates",
    "e_process",
    "effective_sample_size",
    "equal_service",
    "hit_rate",
    "importance_weights",
    "ips",
    "join_rate",
    "judge",
    "kept_within",
    "log_evidence",
    "log_evidence_by",
    "log_loss",
    "mean_weight",
    "mrr",
    "ndcg",
    "not_worse",
    "off_policy",
    "per_subject",
    "ranks",
    "reliability",
    "snips",
]
