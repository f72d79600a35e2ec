"""Step 5, the judging half: from the log's rows to a verdict on a candidate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from heedful.config import Gate
from heedful.contract import Domain
from heedful.evaluate import (
    OffPolicyEstimate,
    Verdict,
    clipped_ips,
    clustered,
    importance_weights,
    ips,
    judge,
    off_policy,
    snips,
)
from heedful.evaluate.slates import cascade_dr, cascade_dr_rows
from heedful.loop.units import LoggedUnits, UnitReader
from heedful.policy import Policy, Vocabulary
from heedful.policy.protocol import LOGPS
from heedful.reward import Earned
from heedful.store.registry import Trial, is_version, uniform
from heedful.store.snapshot import Snapshot

_LOGITS = 1 << 24  # numbers in memory at once, 64 MiB


class NotFreshError(ValueError):
    """A candidate was to be judged on rows it may have been trained on."""


@dataclass(frozen=True, slots=True)
class TrialRows:
    """The decisions of a trial.

    Attributes:
        rows: int64, rows of the snapshot's decisions.
        candidate: bool, the row's subject was the candidate's at that moment.
        strange: int64, rows within their subject's window that another version than the arm's
            made; they are left out with all others of their subjects.
    """

    rows: np.ndarray
    candidate: np.ndarray
    strange: np.ndarray


def trial_rows(trial: Trial, snapshot: Snapshot, window: float) -> TrialRows:
    """Return the decisions made since ``trial`` began, with the arm of each.

    The arm follows from the subject, the trial's salt and the share at that moment. A subject for
    whom another version than its arm's decided (an old server, say) is left out whole: several
    versions in one record measure neither (failure mode F13). That is settled when its window
    closes, ``window`` seconds after its first decision: what comes later takes nobody out who was
    judged. Decisions that a person let through are left out one by one: which ones were held was
    drawn without looking at the arm. What no version of ours decided, such as an imported history,
    is nobody's arm, and may well be told because of what somebody did.
    """
    decisions, names = snapshot.decisions, snapshot.names
    ours = np.array([is_version(name) for name in names.policies], dtype=bool)
    fresh = np.flatnonzero(decisions.seq > trial.watermark)
    fresh = fresh[ours[decisions.policy[fresh]]]
    subjects = decisions.subject[fresh]
    drawn, present = np.zeros(len(names.subjects)), np.unique(subjects)
    drawn[present] = [uniform(trial.salt, names.subjects[int(code)]) for code in present]
    arm = drawn[subjects] < trial.shares_at(decisions.made_at[fresh])
    policies = np.array(list(names.policies), dtype=object)[decisions.policy[fresh]]
    strange = policies != np.where(arm, trial.candidate, trial.baseline)
    opened = np.full(len(names.subjects), np.inf)
    np.minimum.at(opened, subjects, decisions.made_at[fresh])
    early = strange & (decisions.made_at[fresh] < opened[subjects] + window)
    kept = ~np.isin(subjects, np.unique(subjects[early])) & ~strange
    return TrialRows(fresh[kept], arm[kept], fresh[early])


@dataclass(frozen=True, slots=True)
class Value:
    """What a candidate would have earned per decision, from the log of the live version.

    Standard errors let the decisions of one subject go together.

    Attributes:
        ips: unbiased where the live version explores whatever the candidate chooses.
        snips: steadier, and blind to what was never shown.
        clipped: IPS with no weight above the square root of the number of decisions.
        dr: the doubly robust one for slates, with a cross-fitted reward model; ``None`` for slates
            that are long, or where too few subjects are there to fit it.
        live: what the live version earned on the same decisions: its weights are all 1.
        gain: ``dr``, else ``snips``, minus ``live``, paired: what moves both moves it little.
    """

    ips: OffPolicyEstimate
    snips: OffPolicyEstimate
    clipped: OffPolicyEstimate
    dr: OffPolicyEstimate | None
    live: OffPolicyEstimate
    gain: OffPolicyEstimate

    def by_name(self) -> dict[str, OffPolicyEstimate]:
        """Return the estimates there are, the most trusted first, and the live version's last."""
        found = {"dr": self.dr, "snips": self.snips, "ips": self.ips, "clipped_ips": self.clipped}
        known = {name: estimate for name, estimate in found.items() if estimate is not None}
        return known | {"live": self.live}


@dataclass(frozen=True, slots=True)
class Logged:
    """Logged decisions with known probabilities, replayed by a candidate; in the log's order.

    Attributes:
        candidate, behaviour: float64 [n], log-probability of the whole decision.
        rewards: float64 [n].
        subjects: int32 [n].
        units: the same by unit, with a reward model; ``None`` where there is none.
    """

    candidate: np.ndarray
    behaviour: np.ndarray
    rewards: np.ndarray
    subjects: np.ndarray
    units: LoggedUnits | None = None


@torch.no_grad()
def replay_log(
    domain: Domain,
    vocabulary: Vocabulary,
    candidate: Policy,
    snapshot: Snapshot,
    earned: Earned,
    *,
    after: int,
    made_by: str,
    window: int,
    batch: int = 64,
) -> Logged:
    """Replay what version ``made_by`` decided after sequence number ``after``.

    Only matured decisions whose probabilities are known and whose units the candidate knows count.

    Raises:
        NotFreshError: there is no such decision: the candidate may have seen all there are.
    """
    streams = domain.encode(snapshot, vocabulary, rewards=earned.units, matured=earned.matured)
    slots, decisions = streams.slots, snapshot.decisions
    lengths = np.diff(decisions.offsets)
    whole = np.bincount(slots.decision, minlength=len(lengths)) == lengths
    version = np.array([name == made_by for name in snapshot.names.policies], dtype=bool)
    wanted = (slots.seq > after) & ~np.isnan(slots.behaviour_logp)
    wanted &= whole[slots.decision] & version[decisions.policy[slots.decision]]
    if not wanted.any():
        raise NotFreshError(
            f"version {made_by} made no matured decision with probabilities after sequence number "
            f"{after}, where the candidate's training data end: serve it for a while, then judge"
        )
    total = np.zeros(len(lengths))
    reader = UnitReader(streams, wanted, snapshot)
    need = LOGPS | {"logits"} if reader.wants_logits else LOGPS
    if reader.wants_logits:
        batch = max(1, min(batch, _LOGITS // (window * streams.schema.size)))
    rows = streams.windows(window, wanted)
    for low in range(0, len(rows), batch):
        group = rows[low : low + batch]
        block = streams.batch(group)
        said = candidate.forward(block, need)
        assert said.logps is not None
        logps = said.logps[block.mask]
        np.add.at(total, block.decisions[block.mask].numpy(), logps.double().numpy())
        reader.read(np.concatenate([np.array(row.slots) for row in group]), logps, said.logits)
    kept = np.unique(slots.decision[wanted])
    known = np.nan_to_num(slots.behaviour_logp)
    behaviour = np.bincount(slots.decision, weights=known, minlength=len(lengths))
    return Logged(
        total[kept],
        behaviour[kept],
        earned.decisions[kept],
        decisions.subject[kept],
        reader.units(),
    )


def value_of(logged: Logged) -> Value:
    """Return the candidate's estimated reward per decision, with its standard error and health."""
    log = (logged.candidate, logged.behaviour, logged.rewards)
    w, r, who = importance_weights(*log[:2]), logged.rewards, logged.subjects
    plain, normalised, most = ips(*log), snips(*log), math.sqrt(len(r))
    clipped = clipped_ips(*log, most)
    live, doubly = ips(logged.behaviour, logged.behaviour, r), None
    trusted, influence = normalised, w * (r - normalised.value) / w.mean()
    by_snips = clustered(normalised, influence, who)
    if logged.units is not None:
        units = logged.units
        rows = (units.candidate, units.behaviour, units.rewards, units.q_logged, units.q_policy)
        trusted = cascade_dr(*rows)
        influence = cascade_dr_rows(*rows) - trusted.value
        doubly = clustered(trusted, influence, who)
    gain = replace(trusted, value=trusted.value - live.value)
    return Value(
        ips=clustered(plain, w * r - plain.value, who),
        snips=by_snips,
        clipped=clustered(clipped, np.minimum(w, most) * r - clipped.value, who),
        dr=doubly,
        live=clustered(live, r - live.value, who),
        gain=clustered(gain, influence - (r - live.value), who),
    )


def judge_log(logged: Logged, gate: Gate, *, k: int) -> Verdict:
    """Judge by logged probabilities: a verdict on short slates, elsewhere a pre-screen.

    The null is per decision, given the past: where a few subjects decide very often and disagree,
    their pasts tell what they like, and the test errs more often than alpha. A promotion therefore
    rests on a trial; this tells what to try.
    """
    evidence = off_policy(
        logged.candidate,
        logged.behaviour,
        logged.behaviour,
        logged.rewards,
        margin=gate.margin,
        subjects=logged.subjects,
    )
    return judge(
        evidence,
        alpha=gate.alpha,
        k=k,
        rollback_alpha=gate.rollback_alpha,
        betting=gate.betting,
    )
