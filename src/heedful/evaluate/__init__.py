"""What a policy is worth: ranking metrics, off-policy estimates, and the gate it must pass.

What is exported here are functions of arrays, NumPy only; what the arrays hold comes from above.
Off-policy estimates for slates and sequences are in :mod:`heedful.evaluate.slates`, by empirical
likelihood in :mod:`heedful.evaluate.likelihood`; bounds on a mean in
:mod:`heedful.evaluate.bounds` (looked at once) and :mod:`heedful.evaluate.sequences` (at every
row).
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
from heedful.evaluate.cross_fitting import CrossFitted, cross_fit
from heedful.evaluate.elo import Ratings, elo
from heedful.evaluate.estimators import (
    OffPolicyEstimate,
    Running,
    clipped_ips,
    clustered,
    dm,
    dr,
    dr_shrunk,
    expected_under,
    ips,
    mips,
    sndr,
    snips,
    sub_gaussian_dr,
    sub_gaussian_ips,
    switch_dr,
)
from heedful.evaluate.evidence import Evidence, assignment, off_policy, paired
from heedful.evaluate.gate import (
    ASSIGNMENT_FRACTIONS,
    OFF_POLICY_FRACTIONS,
    EProcess,
    alpha_of,
    log_evidence,
)
from heedful.evaluate.guarded import Guarded, Levels, equal_service, kept_within, not_worse
from heedful.evaluate.health import HealthCheck, duplicates, join_rate
from heedful.evaluate.intervals import Interval, bootstrap, ratio
from heedful.evaluate.ranking import coverage, hit_rate, mrr, ndcg, ranks
from heedful.evaluate.verdict import Verdict, judge
from heedful.evaluate.weights import effective_sample_size, importance_weights, mean_weight
from heedful.evaluate.win_rate import length_controlled, win_rate

__all__ = [
    "ASSIGNMENT_FRACTIONS",
    "OFF_POLICY_FRACTIONS",
    "AdaptiveEProcess",
    "Betting",
    "CrossFitted",
    "EProcess",
    "Evidence",
    "Guarded",
    "HealthCheck",
    "Interval",
    "Levels",
    "OffPolicyEstimate",
    "Ratings",
    "Reliability",
    "Running",
    "SubjectRewards",
    "Verdict",
    "alpha_of",
    "assignment",
    "auc",
    "bootstrap",
    "brier",
    "calibration_error",
    "clipped_ips",
    "clustered",
    "coverage",
    "cross_fit",
    "dm",
    "dr",
    "dr_shrunk",
    "duplicates",
    "e_process",
    "effective_sample_size",
    "elo",
    "equal_service",
    "expected_under",
    "hit_rate",
    "importance_weights",
    "ips",
    "join_rate",
    "judge",
    "kept_within",
    "length_controlled",
    "log_evidence",
    "log_evidence_by",
    "log_loss",
    "mean_weight",
    "mips",
    "mrr",
    "ndcg",
    "not_worse",
    "off_policy",
    "paired",
    "per_subject",
    "ranks",
    "ratio",
    "reliability",
    "sndr",
    "snips",
    "sub_gaussian_dr",
    "sub_gaussian_ips",
    "switch_dr",
    "win_rate",
]
